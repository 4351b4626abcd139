//! Keeps Secrets like the encrypted files that declare them: at the start, when a file changes, and at an interval. The
//! MAC of a file is right before anything is compared, nothing is written without the lease, and plaintext lives as long
//! as one look.
//!
//! Nobody waits for a Secret that is not answered: its look goes on beside what follows, and what comes of it is dealt
//! with when it comes. One that failed before is not waited for at all.

mod look;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use futures::StreamExt as _;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use jiff::Timestamp;
use portreeve_reports::finding::BuildError;
use portreeve_reports::{CodeEntry, Finding, Subject, SubjectKey};
use portreeve_secrets::sync::{Difference, Kept, Origin, State};
use portreeve_secrets::{sops, sync};
use tokio_util::sync::CancellationToken;

use super::ledger::{Keeper, Ledger, Needs};
use super::{dice, soon};
use crate::cluster::apply::{ApiFailure, Applier, Force};
use crate::config::valid::{SecretSync, SecretsConfig, SyncMode};
use crate::judge::CurrentJudge;
use crate::judge::source::{repository_path, repository_root};
use crate::platform::budget::{Budget, pause};
use crate::platform::fields;
use crate::runtime::leader::{LeadershipWatch, Leading};
use crate::runtime::metrics::{SecretMetrics, SyncState};
use crate::runtime::supervisor::blocking;
use crate::store::RecorderHandle;

use look::{Looked, Opened};

/// How often the files are looked at for changes.
const FILES: Duration = Duration::from_secs(1);
/// How long a file's Secrets are waited for together. Those that are silent use it up for the files that follow.
const TOGETHER: Duration = Duration::from_millis(300);

/// What the controller works with.
pub struct SecretsController {
    /// The declared Secrets.
    pub secrets: SecretsConfig,
    /// The cluster's identity.
    pub cluster: String,
    /// The way to the API server.
    pub applier: Applier,
    /// Who leads.
    pub leadership: LeadershipWatch,
    /// Whose exceptions are in force.
    pub judge: CurrentJudge,
    /// The store.
    pub recorder: RecorderHandle,
    /// What is needed of the exceptions.
    pub needs: Needs,
    /// Counts.
    pub metrics: SecretMetrics,
}

/// The subjects of the findings about these files: no object of the cluster proves them gone.
pub fn subjects(secrets: &SecretsConfig) -> BTreeSet<SubjectKey> {
    secrets.sync.iter().map(|sync| subject(&shown(&sync.file))).collect()
}

fn subject(shown: &str) -> SubjectKey {
    Subject::File { path: shown.to_owned() }.key()
}

fn shown(file: &Path) -> String {
    repository_path(file, repository_root().as_deref())
}

/// What is remembered from round to round. A restart forgets it: nothing but pauses is lost.
struct Memory {
    budget: Budget,
    /// By the place in the configuration.
    known: BTreeMap<usize, Known>,
    ledger: Ledger,
    writes: u64,
    /// Looks that nobody waits for.
    late: FuturesUnordered<Look>,
    /// What was found of the files themselves last.
    files: BTreeMap<PathBuf, Vec<Finding>>,
}

/// A look under way, by the place in the configuration.
type Look = BoxFuture<'static, (usize, Looked)>;

/// What is remembered of a declared Secret.
#[derive(Default)]
struct Known {
    state: Option<SyncState>,
    failures: u32,
    not_before: Option<Instant>,
    /// Whether the last failure was that of an API server that did not answer.
    is_unanswered: bool,
    /// Whether a look is under way.
    is_asked: bool,
    /// The content that was seen or written last: what differs from it without the file having changed is drift.
    content: Option<String>,
    /// Whether somebody's change was counted that is not put right yet.
    is_drifted: bool,
    /// What was found of it last.
    findings: Vec<Finding>,
}

/// One file with all Secrets that it declares: findings about a file come together.
struct Group<'a> {
    file: &'a Path,
    shown: String,
    items: Vec<(usize, &'a SecretSync)>,
}

impl SecretsController {
    /// Keeps the Secrets until the shutdown.
    pub async fn run(mut self, shutdown: CancellationToken) {
        let (judge, recorder) = (self.judge.clone(), self.recorder.clone());
        let ledger = Ledger::new(Keeper::Secrets, (judge, recorder), self.needs.clone());
        let (known, files, late) = (BTreeMap::new(), BTreeMap::new(), FuturesUnordered::new());
        let mut memory = Memory { budget: Budget::default(), known, ledger, writes: 0, late, files };
        tokio::select! {
            () = self.judge.settled() => {}
            () = shutdown.cancelled() => return,
        }
        loop {
            let leading = tokio::select! {
                leading = self.leadership.leading() => leading,
                () = shutdown.cancelled() => return,
            };
            memory.ledger.begin();
            let before = self.signatures().await;
            tokio::select! {
                () = self.round(&leading, &mut memory) => {}
                // A write that is cut off is found by the next look.
                () = shutdown.cancelled() => return,
            }
            // Whoever asked for the lease gets it between two rounds.
            drop(leading);
            tokio::select! {
                () = self.pause(&before, &mut memory) => {}
                () = shutdown.cancelled() => return,
            }
        }
    }

    /// Waits for the interval, or for a change of a file, which ends the pauses after failures; so does an API server that
    /// answers again. Late answers are dealt with.
    async fn pause(&mut self, before: &[Signature], memory: &mut Memory) {
        let mut end = Instant::now() + pause(self.secrets.interval, 0, dice());
        while Instant::now() < end {
            tokio::select! {
                () = tokio::time::sleep(FILES.min(end.saturating_duration_since(Instant::now()))) => {}
                Some((index, looked)) = memory.late.next() => self.late((index, looked), memory).await,
                () = self.leadership.answered_again() => {
                    memory.known.values_mut().for_each(Known::answered_again);
                    end = end.min(Instant::now() + soon());
                }
                () = memory.ledger.rules_changed() => {
                    match self.leadership.now() {
                        Some(leading) => memory.ledger.lay_again(&leading).await,
                        None => memory.ledger.pass_over(),
                    }
                }
            }
            if self.signatures().await != before {
                memory.late.clear();
                memory.known.values_mut().for_each(Known::begin_anew);
                return;
            }
        }
    }

    async fn signatures(&self) -> Vec<Signature> {
        let files: Vec<PathBuf> =
            self.secrets.sync.iter().map(|sync| sync.file.clone()).chain(self.secrets.identities.clone()).collect();
        blocking(move || files.iter().map(|file| signature(file)).collect()).await
    }

    /// One look at every Secret that is due. One that cannot be kept stops no other.
    async fn round(&self, leading: &Leading, memory: &mut Memory) {
        let (now, mut patience) = (Instant::now(), TOGETHER);
        for group in self.groups().values() {
            let is_due = |(index, _): &(usize, _)| memory.known.get(index).is_none_or(|known| known.is_due(now));
            if group.items.iter().any(is_due) {
                let looks = self.group(group, (now, &mut patience), memory).await;
                self.looked(leading, (group, &looks), memory).await;
            }
        }
        self.end_of_looks(leading, memory).await;
    }

    fn groups(&self) -> BTreeMap<&Path, Group<'_>> {
        let mut groups: BTreeMap<&Path, Group<'_>> = BTreeMap::new();
        for (index, sync) in self.secrets.sync.iter().enumerate() {
            let new = || Group { file: &sync.file, shown: shown(&sync.file), items: Vec::new() };
            groups.entry(&sync.file).or_insert_with(new).items.push((index, sync));
        }
        groups
    }

    /// What came of a look that nobody waited for. Without the lease it is dropped, and looked at again.
    async fn late(&mut self, (index, looked): (usize, Looked), memory: &mut Memory) {
        memory.known.entry(index).or_default().is_asked = false;
        let Some(leading) = self.leadership.now() else { return };
        let groups = self.groups();
        let is_its = |group: &&Group<'_>| group.items.iter().any(|(item, _)| *item == index);
        if let Some(group) = groups.values().find(is_its) {
            self.looked(&leading, (group, &[(index, looked)]), memory).await;
        }
        self.end_of_looks(&leading, memory).await;
    }

    /// Where no look is under way any more everything was looked at.
    async fn end_of_looks(&self, leading: &Leading, memory: &mut Memory) {
        if memory.late.is_empty() {
            memory.ledger.looked(leading).await;
        }
        self.count(memory);
    }

    /// One file: its Secrets that are due are looked at. Those that answer within the patience are given, the others are
    /// late.
    async fn group(
        &self,
        group: &Group<'_>,
        (now, patience): (Instant, &mut Duration),
        memory: &mut Memory,
    ) -> Vec<(usize, Looked)> {
        let (file, shown) = (group.file.to_owned(), group.shown.clone());
        let identities = self.secrets.identities.clone();
        let items: Vec<SecretSync> = group.items.iter().map(|(_, sync)| (*sync).clone()).collect();
        let cluster = self.cluster.clone();
        let opened = blocking(move || Opened::file((&file, &shown), &identities, &items, &cluster)).await;
        let asking: FuturesUnordered<Look> = FuturesUnordered::new();
        for (declared, (index, sync)) in opened.declared.into_iter().zip(&group.items) {
            let known = memory.known.entry(*index).or_default();
            match declared {
                None => known.invalid(),
                Some(declared) if known.is_due(now) => {
                    known.is_asked = true;
                    let (applier, index, mode) = (self.applier.clone(), *index, sync.mode);
                    let look = Box::pin(async move { (index, Looked::at(&applier, declared, mode).await) });
                    if known.failures == 0 { asking.push(look) } else { memory.late.push(look) }
                }
                Some(_) => {}
            }
        }
        memory.files.insert(group.file.to_owned(), opened.findings);
        let (looks, late) = together(asking, patience).await;
        memory.late.extend(late);
        for (index, _) in &looks {
            memory.known.entry(*index).or_default().is_asked = false;
        }
        looks
    }

    /// What was looked at of a file: what differs is said, then written, then said again. Of the others everything stays
    /// as it was found last: a finding that is left out would resolve.
    async fn looked(&self, leading: &Leading, (group, looks): (&Group<'_>, &[(usize, Looked)]), memory: &mut Memory) {
        let mut has_drift = false;
        for (index, looked) in looks {
            if memory.known.entry(*index).or_default().seen(looked, &mut memory.budget) {
                has_drift = true;
                self.metrics.drift.inc();
            }
        }
        if has_drift {
            for (index, looked) in looks {
                // Whether it can be written, and whether that lasts, is said when it was tried.
                let equal = looked.findings(&group.shown, looked.seen()).map(only_equal);
                memory.known.entry(*index).or_default().told(equal, group);
            }
            self.record(leading, group, memory).await;
        }
        for (index, looked) in looks {
            let kept = self.keep(leading, looked, (*index, memory)).await;
            let found = looked.findings(&group.shown, kept);
            memory.known.entry(*index).or_default().told(found, group);
        }
        self.record(leading, group, memory).await;
    }

    /// Writes the Secret where it differs and may be written; what came of it.
    async fn keep<'a>(&self, leading: &Leading, looked: &'a Looked, (index, memory): (usize, &mut Memory)) -> Kept<'a> {
        let key = &looked.address.key;
        let is_stalled = memory.budget.stalled(Instant::now()).contains(key);
        let known = memory.known.entry(index).or_default();
        let state = match &looked.state {
            Ok(state) => state,
            Err(failure) => {
                known.failed(failure, self.secrets.interval);
                return refused(None, failure);
            }
        };
        match (state, looked.mode) {
            (State::Same, _) => {
                known.done(SyncState::Synced, looked.declared.content());
                return Kept::Seen(state);
            }
            (State::Foreign | State::Immutable | State::OtherType(_), _) => {
                known.state = Some(SyncState::Blocked);
                return Kept::Seen(state);
            }
            (_, SyncMode::Detect) => {
                known.state = Some(SyncState::Drifted);
                return Kept::Seen(state);
            }
            _ if is_stalled => {
                known.state = Some(SyncState::Stalled);
                return Kept::Stalled(state);
            }
            _ => {}
        }
        let is_correction = known.content.is_some() || is_cluster(state);
        match self.write(leading, looked, state).await {
            Ok(()) => {
                tracing::info!(secret = %key, "a declared Secret was written");
                if is_correction {
                    memory.budget.corrected(key, Instant::now());
                }
                known.done(SyncState::Synced, looked.declared.content());
                Kept::Written(state)
            }
            Err(failure) => {
                tracing::debug!(secret = %key, %failure, "a declared Secret could not be written");
                known.failed(&failure, self.secrets.interval);
                refused(Some(state), &failure)
            }
        }
    }

    /// One apply; keys too many that are not ours alone are made ours before, so that they go with it.
    async fn write(&self, leading: &Leading, looked: &Looked, state: &State) -> Result<(), ApiFailure> {
        if let (State::Differs(Difference { extra, .. }), Some(live)) = (state, &looked.live)
            && extra.iter().any(|key| !fields::is_ours_alone(live, "data", key))
        {
            let claimed = fields::claimed(live, "data");
            self.applier.take_over(leading, &looked.address, live, &claimed).await?;
        }
        // Nothing of somebody else's is overruled while the Secret is not ours.
        let force = if matches!(state, State::Differs(_)) { Force::Yes } else { Force::No };
        self.applier.apply(leading, &looked.address, &looked.declared.manifest(), force).await.map(drop)
    }

    /// Records what was found of a file, and of each of its Secrets last.
    async fn record(&self, leading: &Leading, group: &Group<'_>, memory: &mut Memory) {
        let of_file = memory.files.get(group.file).into_iter().flatten();
        let known = group.items.iter().filter_map(|(index, _)| memory.known.get(index));
        let found = of_file.chain(known.flat_map(|known| &known.findings)).cloned().collect();
        let asked = sops::CODES.iter().chain(sync::CODES).map(CodeEntry::code);
        memory.ledger.found(leading, subject(&group.shown), (found, asked)).await;
    }

    fn count(&self, memory: &mut Memory) {
        let states = || memory.known.values().filter_map(|known| known.state);
        self.metrics.set(|state| states().filter(|found| *found == state).count());
        if states().all(|state| state == SyncState::Synced) {
            self.metrics.last_success.set(Timestamp::now().as_duration().as_secs_f64());
        }
        let writes = self.applier.writes();
        self.metrics.writes.inc_by(writes.saturating_sub(memory.writes));
        memory.writes = writes;
    }
}

impl Known {
    /// Whether it is looked at now: after a failure only when the pause is over.
    fn is_due(&self, now: Instant) -> bool {
        !self.is_asked && self.not_before.is_none_or(|at| now >= at)
    }

    /// The files say something else: what was before does not count, and no look is under way any more.
    fn begin_anew(&mut self) {
        (self.failures, self.not_before, self.is_asked) = (0, None, false);
    }

    /// The API server answers again: what it did not answer is tried soon.
    fn answered_again(&mut self) {
        if std::mem::take(&mut self.is_unanswered) {
            (self.failures, self.not_before) = (0, None);
        }
    }

    /// Whether somebody changed the Secret since it was like its file last; says it once. A file that changed is a new
    /// start.
    fn seen(&mut self, looked: &Looked, budget: &mut Budget) -> bool {
        if self.content.as_deref().is_some_and(|content| content != looked.declared.content()) {
            budget.forget(&looked.address.key);
            self.content = None;
        }
        let is_news = !self.is_drifted && looked.is_drift(self.content.is_some());
        if is_news {
            tracing::warn!(secret = %looked.address.key, "a declared Secret was changed in the cluster");
            self.is_drifted = true;
        }
        is_news
    }

    /// Notes what was found. What was not found out and was open stays so.
    fn told(&mut self, found: Result<Vec<Finding>, BuildError>, group: &Group<'_>) {
        match found {
            Ok(found) => {
                let is_answered = |before: &Finding| found.iter().any(|finding| finding.code == before.code);
                self.findings.retain(|before| before.verdict.is_open() && !is_answered(before));
                self.findings.extend(found);
            }
            Err(error) => tracing::error!(%error, file = group.shown, "a finding could not be made; this is a bug"),
        }
    }

    /// Nothing is declared for it that could be used, so nothing is asked of the Secret.
    fn invalid(&mut self) {
        self.state = Some(SyncState::Invalid);
        self.findings.retain(|finding| finding.verdict.is_open());
    }

    fn done(&mut self, state: SyncState, content: &str) {
        let findings = std::mem::take(&mut self.findings);
        *self = Self { state: Some(state), content: Some(content.to_owned()), findings, ..Self::default() };
    }

    /// What fails again and again is tried less often.
    fn failed(&mut self, failure: &ApiFailure, interval: Duration) {
        (self.state, self.is_unanswered) = (Some(SyncState::Refused), failure.is_unanswered());
        self.not_before = Some(Instant::now() + pause(interval, self.failures, dice()));
        self.failures = self.failures.saturating_add(1);
    }
}

/// What is answered within the patience, and the others, which have used up half of it.
async fn together(
    mut asking: FuturesUnordered<Look>,
    patience: &mut Duration,
) -> (Vec<(usize, Looked)>, FuturesUnordered<Look>) {
    let end = tokio::time::Instant::now() + *patience;
    let mut looks = Vec::new();
    while !asking.is_empty() {
        match tokio::time::timeout_at(end, asking.next()).await {
            Ok(look) => looks.extend(look),
            Err(_) => {
                *patience /= 2;
                break;
            }
        }
    }
    looks.sort_by_key(|(index, _)| *index);
    (looks, asking)
}

/// Of the findings about a Secret whether it is like its file.
fn only_equal(mut findings: Vec<Finding>) -> Vec<Finding> {
    let code = sync::EQUAL.code();
    findings.retain(|finding| finding.code == code);
    findings
}

/// Whether somebody changed the live Secret.
fn is_cluster(state: &State) -> bool {
    matches!(state, State::Differs(Difference { origin: Origin::Cluster, .. }))
}

fn refused<'a>(state: Option<&'a State>, failure: &ApiFailure) -> Kept<'a> {
    if failure.is_refusal() || matches!(failure, ApiFailure::Changed(_) | ApiFailure::Owned(_)) {
        Kept::Refused(state, look::without_content(failure))
    } else {
        Kept::Unknown(failure.cause(), failure.to_string())
    }
}

/// What tells that a file is another one: its size, and when it was changed.
type Signature = Option<(u64, SystemTime)>;

fn signature(file: &Path) -> Signature {
    let metadata = std::fs::metadata(file).ok()?;
    Some((metadata.len(), metadata.modified().ok()?))
}
