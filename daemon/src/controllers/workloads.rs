//! Posture of what is in the cluster: on every change, and all of it when the rescan is due.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use portreeve_policies::object::Object;
use portreeve_reports::code::UNREADABLE_INPUT;
use portreeve_reports::{CodeEntry, Finding, FindingBuilder, Location, Subject, SubjectKey, Verdict};
use portreeve_secrets::sops;
use tokio_util::sync::CancellationToken;

use crate::cluster::index::SubjectState;
use crate::controllers::Means;
use crate::controllers::record::{Round, is_image, is_rule};
use crate::judge::JudgeOptions;
use crate::judge::secrets::{EncryptedFile, Opening};
use crate::registry::Deadline;
use crate::runtime::metrics::Scanner;
use crate::runtime::supervisor::blocking;
use crate::scheduler::plan::Queue;

/// How long events of one subject are gathered.
const DEBOUNCE: Duration = Duration::from_millis(5);
/// The most subjects of one round after events.
const ROUND: usize = 64;
/// The most subjects of one round of a rescan: an event waits behind at most one.
const RESCAN_ROUND: usize = 16;
/// When what was not stored is judged again.
const RETRY: Duration = Duration::from_secs(5);
/// How long nothing to do is slept through; events and rescans end it.
const IDLE: Duration = Duration::from_secs(3_600);

/// Judges the posture of objects, and encrypted files among manifests.
#[derive(Clone)]
pub struct Workloads {
    /// What every controller works with.
    pub means: Means,
    /// What encrypted files are judged with.
    pub opening: Arc<Opening>,
}

/// What is to be judged.
struct Waiting {
    /// After events.
    urgent: Queue<SubjectKey>,
    /// Of a rescan.
    rescan: Queue<SubjectKey>,
    /// Whether a rescan is under way.
    is_scanning: bool,
    /// Not stored.
    failed: Queue<SubjectKey>,
    /// Subjects of the store that were neither seen nor proven to be gone.
    unproven: Vec<SubjectKey>,
}

impl Workloads {
    /// Judges until the shutdown. `stored` are the subjects with open findings as of the start: those that the first
    /// sync proves to be gone are resolved.
    pub async fn run(self, stored: Vec<SubjectKey>, shutdown: CancellationToken) {
        let is_synced = tokio::select! {
            is_synced = async {
                self.means.judge.settled().await;
                self.means.cluster.synced().await
            } => is_synced,
            () = shutdown.cancelled() => false,
        };
        if !is_synced {
            return shutdown.cancelled().await;
        }
        let others = self.means.scans.subjects();
        let is_other = |subject: &SubjectKey| is_image(subject) || is_rule(subject) || others.contains(subject);
        let mut waiting = Waiting::new(stored.into_iter().filter(|subject| !is_other(subject)).collect());
        self.plan_rescan(&mut waiting);
        loop {
            if waiting.scan_ended() {
                self.means.scans.ended(Scanner::Posture).await;
            }
            let pause = waiting.pause(Instant::now());
            // In no fixed order: a stream of events must not keep the rounds from their turn.
            tokio::select! {
                () = shutdown.cancelled() => return,
                change = self.means.feed.take() => {
                    waiting.changed(change.subjects, Instant::now());
                    self.prove_gone(&mut waiting);
                }
                () = self.means.rescan.fired() => self.plan_rescan(&mut waiting),
                () = self.means.scans.needs_changed() => self.means.scans.audit().await,
                () = tokio::time::sleep(pause) => self.round(&mut waiting).await,
            }
        }
    }

    fn plan_rescan(&self, waiting: &mut Waiting) {
        self.means.scans.begin(Scanner::Posture);
        waiting.is_scanning = true;
        let now = Instant::now();
        for subject in self.means.cluster.everything().subjects {
            waiting.rescan.push(subject, now);
        }
        self.prove_gone(waiting);
    }

    /// Subjects of an earlier run that are proven not to exist: the index knows nothing of them, which the round
    /// takes for a deletion. A kind that is hidden now may be listed later, and prove it then.
    fn prove_gone(&self, waiting: &mut Waiting) {
        let now = Instant::now();
        waiting.unproven.retain(|subject| !self.means.cluster.is_known(subject));
        let is_gone = |subject: &mut SubjectKey| self.means.cluster.is_proven_absent(subject);
        for subject in waiting.unproven.extract_if(.., is_gone) {
            waiting.rescan.push(subject, now);
        }
    }

    async fn round(&self, waiting: &mut Waiting) {
        let subjects = waiting.take(Instant::now());
        if subjects.is_empty() {
            return;
        }
        for subject in self.judge(subjects).await {
            waiting.failed.push(subject, Instant::now());
        }
    }

    /// Judges the subjects and records the outcome; those that were not stored come back.
    async fn judge(&self, subjects: Vec<SubjectKey>) -> BTreeSet<SubjectKey> {
        let at = Timestamp::now();
        let (world, states) = self.means.cluster.subjects(subjects);
        let mut round = Round::new(&self.means.recorder, &self.means.tally, at);
        let (mut objects, mut encrypted) = (Vec::<Object>::new(), Vec::new());
        let mut batches: BTreeMap<SubjectKey, Vec<Finding>> = BTreeMap::new();
        for (subject, state) in states {
            match state {
                Some(SubjectState { objects: members, findings, encrypted: file }) => {
                    objects.extend(members);
                    encrypted.extend(file.map(|file| (subject.clone(), file)));
                    batches.insert(subject, findings);
                }
                None => round.deleted(subject).await,
            }
        }
        let judge = self.means.judge.now();
        let version = judge.version();
        // Posture waits for nothing; the deadline is for images.
        let options = JudgeOptions { now: at, deadline: Deadline::after(Duration::ZERO) };
        let opening = Arc::clone(&self.opening);
        let (judged, mut batches) = blocking(move || {
            let mut judged = judge.posture(&objects, &world, &options);
            judged.merge(judge.encrypted(encrypted.iter().map(|(_, file)| file.as_ref()), &opening, &options));
            for (subject, file) in &encrypted {
                batches.entry(subject.clone()).and_modify(|read| *read = opened(std::mem::take(read), file, &opening));
            }
            (judged, batches)
        })
        .await;
        for finding in judged.findings {
            batches.entry(finding.subject.key()).or_default().push(finding);
        }
        for (subject, findings) in batches {
            let unasked = unasked(&findings);
            round.judged_beside(subject, findings, unasked).await;
        }
        let failed = round.finish().await;
        self.means.scans.judged(Scanner::Posture, (version, &judged.usage), failed.is_empty()).await;
        failed
    }
}

/// What of an encrypted file could not be read stays so unless opening it shows Secrets alone. That it was read resolves
/// what was said of it before.
fn opened(read: Vec<Finding>, file: &EncryptedFile, opening: &Opening) -> Vec<Finding> {
    let mut left = opening.still_unreadable(read, [file]);
    if left.is_empty() {
        let whole = FindingBuilder::new(UNREADABLE_INPUT.code(), UNREADABLE_INPUT.severity, Verdict::Pass)
            .subject(Subject::File { path: file.shown.clone() })
            .location(Location { file: Some(file.shown.as_str().into()), ..Location::default() })
            .message("it was opened, and all in it are Secrets");
        left.extend(whole.build());
    }
    left
}

/// Of a file that was read whole, what is asked of encrypted files and was not asked of this one: it is another file than
/// it was. One that could not be read may still be encrypted.
fn unasked(findings: &[Finding]) -> Vec<Finding> {
    let Some(Finding { subject: subject @ Subject::File { path }, .. }) = findings.first() else { return Vec::new() };
    let read: Vec<Verdict> = of_code(findings, &UNREADABLE_INPUT).collect();
    if read.is_empty() || read.iter().any(|verdict| *verdict != Verdict::Pass) {
        return Vec::new();
    }
    let finding = |entry: &CodeEntry| {
        FindingBuilder::new(entry.code(), entry.severity, Verdict::NotApplicable)
            .subject(subject.clone())
            .location(Location { file: Some(path.as_str().into()), ..Location::default() })
            .message(format!("{path}: this is not asked of it"))
            .build()
            .ok()
    };
    let is_unasked = |entry: &&CodeEntry| of_code(findings, entry).next().is_none();
    sops::CODES.iter().filter(is_unasked).filter_map(finding).collect()
}

fn of_code<'f>(findings: &'f [Finding], entry: &'f CodeEntry) -> impl Iterator<Item = Verdict> + 'f {
    findings.iter().filter(|finding| finding.code.as_str() == entry.code).map(|finding| finding.verdict)
}

impl Waiting {
    fn new(unproven: Vec<SubjectKey>) -> Self {
        Self {
            urgent: Queue::new(DEBOUNCE),
            rescan: Queue::new(Duration::ZERO),
            is_scanning: false,
            failed: Queue::new(RETRY),
            unproven,
        }
    }

    /// Whether the last subject of a rescan has been judged; says it once.
    fn scan_ended(&mut self) -> bool {
        let is_ended = self.is_scanning && self.rescan.is_empty();
        self.is_scanning &= !is_ended;
        is_ended
    }

    fn changed(&mut self, subjects: BTreeSet<SubjectKey>, now: Instant) {
        subjects.into_iter().for_each(|subject| self.urgent.push(subject, now));
    }

    /// How long until there is something to do.
    fn pause(&self, now: Instant) -> Duration {
        let due = [&self.urgent, &self.rescan, &self.failed].into_iter().filter_map(Queue::next_due).min();
        due.map_or(IDLE, |due| due.saturating_duration_since(now))
    }

    /// The subjects of the next round: events first, then a rescan, then what failed.
    fn take(&mut self, now: Instant) -> Vec<SubjectKey> {
        let mut queues =
            [(&mut self.urgent, ROUND), (&mut self.rescan, RESCAN_ROUND), (&mut self.failed, RESCAN_ROUND)]
                .into_iter()
                .map(|(queue, most)| queue.take_due(now, most));
        queues.find(|taken| !taken.is_empty()).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: &str) -> SubjectKey {
        SubjectKey(name.to_owned())
    }

    #[test]
    fn events_go_before_a_rescan_and_failures_after_it() {
        let start = Instant::now();
        let mut waiting = Waiting::new(Vec::new());
        (0..20).for_each(|number| waiting.rescan.push(key(&format!("rescan-{number}")), start));
        waiting.failed.push(key("failed"), start);
        assert_eq!(waiting.take(start).len(), RESCAN_ROUND);
        waiting.changed([key("event")].into(), start);
        assert_eq!(waiting.take(start + RETRY), [key("event")]);
        assert_eq!(waiting.take(start + RETRY).len(), 4);
        assert_eq!(waiting.take(start + RETRY), [key("failed")]);
        assert!(waiting.take(start + RETRY).is_empty());
    }

    #[test]
    fn an_event_is_due_after_the_debounce_and_a_failure_after_the_retry() {
        let start = Instant::now();
        let mut waiting = Waiting::new(Vec::new());
        assert_eq!(waiting.pause(start), IDLE);
        waiting.failed.push(key("failed"), start);
        assert_eq!(waiting.pause(start), RETRY);
        waiting.changed([key("event")].into(), start);
        assert_eq!(waiting.pause(start), DEBOUNCE);
        waiting.rescan.push(key("rescan"), start);
        assert_eq!(waiting.pause(start), Duration::ZERO);
    }
}
