//! Custom resources that are rules: what they say is laid over the files, what that changes is judged again, and each
//! of them hears what became of it.
//!
//! The rules are replaced as a whole. A resource that cannot be used changes nothing for the others; its finding and
//! its status say why.

mod held;
mod status;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use portreeve_reports::SubjectKey;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use crate::cluster::feed::{Change, Feed};
use crate::cluster::writer::{ClusterView, Event};
use crate::config::valid::Namespaces;
use crate::controllers::record::is_rule;
use crate::judge::CurrentJudge;
use crate::judge::resources::{Account, ResourceId, RuleKind, finding, subject};
use crate::runtime::readiness::Permit;
use crate::runtime::supervisor::blocking;
use crate::scheduler::driver::Trigger;
use crate::store::{Record, RecorderHandle, SubjectFindings};
use held::Held;
pub use status::{Statement, Statements, StatusWriter};

/// The most events folded in before the rules are replaced.
const BATCH: usize = 1_024;
/// When what was not stored is told again.
const RETRY: Duration = Duration::from_secs(5);
/// The least time between two whole scans: what a change reaches is judged at once, and the scan only tells what is
/// unused since.
const SCANS_APART: Duration = Duration::from_secs(30);
/// How long nothing to do is slept through; events end it.
const IDLE: Duration = Duration::from_secs(3_600);

/// What the controller works with.
pub struct RuleResources {
    /// Whose rules are replaced.
    pub judge: CurrentJudge,
    /// Namespaces whose exceptions count.
    pub allowed: Namespaces,
    /// What may have to be judged again.
    pub cluster: ClusterView,
    /// Where it is asked for: of the workloads and of the images.
    pub feeds: [Feed; 2],
    /// Whole scans of the workloads and of the images.
    pub rescans: [Trigger; 2],
    /// The store.
    pub recorder: RecorderHandle,
    /// What statuses are to say.
    pub statements: watch::Sender<Arc<Statements>>,
    /// Released when all kinds were heard.
    pub permit: Option<Permit>,
}

/// What is to be told to the store.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(self) enum Told {
    /// What became of a resource, or that it is gone.
    Resource(ResourceId),
    /// Whether a kind, by its plural, is listed.
    Kind(&'static str),
    /// A subject of an earlier run that does not exist any more.
    Gone(SubjectKey),
}

/// What the controller knows and has to do.
struct Work {
    held: Held,
    accounts: BTreeMap<ResourceId, Account>,
    untold: BTreeSet<Told>,
    /// Subjects of the store that were neither seen nor proven to be gone.
    unproven: Vec<SubjectKey>,
    scan_due: Option<Instant>,
    scanned: Option<Instant>,
}

impl RuleResources {
    /// Follows the resources until the shutdown. `stored` are the subjects with open findings as of the start.
    pub async fn run(
        mut self,
        mut events: mpsc::Receiver<Event>,
        stored: Vec<SubjectKey>,
        shutdown: CancellationToken,
    ) {
        let mut work = Work::new(stored.into_iter().filter(is_rule).collect());
        let mut batch = Vec::new();
        loop {
            let pause = work.pause(Instant::now());
            tokio::select! {
                () = shutdown.cancelled() => return,
                received = events.recv_many(&mut batch, BATCH) => {
                    if received == 0 {
                        return shutdown.cancelled().await;
                    }
                }
                () = tokio::time::sleep(pause) => {}
            }
            let changed = work.held.fold(batch.drain(..), &mut work.untold);
            if work.held.is_heard() {
                self.lay(&mut work, changed).await;
            }
            if work.takes_scan(Instant::now()) {
                self.rescans.iter().for_each(Trigger::fire);
            }
            self.tell(&mut work).await;
        }
    }

    /// Lays the resources over the files, and replaces the rules where that says something else than before.
    async fn lay(&mut self, work: &mut Work, changed: BTreeSet<ResourceId>) {
        let is_first = !self.judge.is_settled();
        if is_first || !changed.is_empty() {
            let (judge, resources, allowed) = (self.judge.now(), work.held.resources(), self.allowed.clone());
            let laid = blocking(move || judge.rules().laid_over(&resources, &allowed)).await;
            let counted = |accounts: &BTreeMap<ResourceId, Account>, id: &ResourceId| {
                accounts.get(id).is_some_and(Account::is_accepted)
            };
            let affected = differing(&work.accounts, &laid.accounts).into_iter().chain(changed);
            let (counting, others): (BTreeSet<_>, BTreeSet<_>) =
                affected.partition(|id| counted(&work.accounts, id) || counted(&laid.accounts, id));
            let policy = |rules: &crate::judge::Rules| rules.image_policy.as_ref().map(|it| it.digest().to_owned());
            let is_other_policy = policy(self.judge.now().rules()) != policy(&laid.rules);
            work.accounts = laid.accounts;
            if is_first || is_other_policy || !counting.is_empty() {
                self.judge.replace(laid.rules);
            }
            match is_first {
                true => self.settle(),
                false => self.judge_again(work, &counting, is_other_policy),
            }
            work.untold.extend(counting.into_iter().chain(others).map(Told::Resource));
        }
        work.prove_gone();
        self.statements.send_replace(Arc::new(work.held.statements(&work.accounts)));
    }

    fn settle(&mut self) {
        self.judge.settle();
        self.permit.take().into_iter().for_each(Permit::release);
    }

    /// Has everything judged again that a changed resource could reach; what is unused since is told by a whole scan.
    fn judge_again(&self, work: &mut Work, changed: &BTreeSet<ResourceId>, is_other_policy: bool) {
        if changed.is_empty() && !is_other_policy {
            return;
        }
        let reach = Reach::of(changed);
        let everything = self.cluster.everything();
        let subjects = everything.subjects.into_iter().filter(|subject| reach.contains(subject)).collect();
        self.feeds[0].push(Change { subjects, ..Change::default() });
        if is_other_policy || reach.is_cluster {
            self.feeds[1].push(Change { objects: everything.objects, ..Change::default() });
        }
        work.plan_scan(Instant::now());
    }

    /// Tells the store what became of the resources; what it does not take is told later.
    async fn tell(&self, work: &mut Work) {
        let at = Timestamp::now();
        let mut sent = Vec::new();
        for told in std::mem::take(&mut work.untold) {
            if let Some(record) = work.record(&told, at) {
                sent.push((told, self.recorder.send_when_room(record).await));
            }
        }
        for (told, ack) in sent {
            if let Err(error) = ack.committed().await {
                tracing::warn!(%error, "what became of a custom resource was not stored; telling it again later");
                work.untold.insert(told);
            }
        }
    }
}

impl Work {
    fn new(unproven: Vec<SubjectKey>) -> Self {
        Self {
            held: Held::new(),
            accounts: BTreeMap::new(),
            untold: BTreeSet::new(),
            unproven,
            scan_due: None,
            scanned: None,
        }
    }

    /// How long until there is something to do.
    fn pause(&self, now: Instant) -> Duration {
        let scan = self.scan_due.map(|due| due.saturating_duration_since(now));
        let retry = (!self.untold.is_empty()).then_some(RETRY);
        scan.into_iter().chain(retry).min().unwrap_or(IDLE)
    }

    fn plan_scan(&mut self, now: Instant) {
        let earliest = self.scanned.map_or(now, |scanned| now.max(scanned + SCANS_APART));
        self.scan_due.get_or_insert(earliest);
    }

    /// Whether a scan is due; says it once.
    fn takes_scan(&mut self, now: Instant) -> bool {
        let is_due = self.scan_due.take_if(|due| *due <= now).is_some();
        if is_due {
            self.scanned = Some(now);
        }
        is_due
    }

    fn prove_gone(&mut self) {
        let held = &self.held;
        self.unproven.retain(|subject| !held.is_known(subject));
        let gone = self.unproven.extract_if(.., |subject| held.is_proven_absent(subject));
        self.untold.extend(gone.map(Told::Gone));
    }

    fn record(&self, told: &Told, at: Timestamp) -> Option<Record> {
        match told {
            Told::Gone(subject) => Some(Record::Deleted { subject: subject.clone(), at }),
            Told::Kind(plural) => {
                let finding = self.held.finding_of_kind(plural)?;
                Some(found(finding, at))
            }
            Told::Resource(id) => match self.accounts.get(id) {
                Some(account) => finding(id, account).map(|finding| found(finding, at)),
                None => Some(Record::Deleted { subject: subject(id).key(), at }),
            },
        }
    }
}

fn found(finding: portreeve_reports::Finding, at: Timestamp) -> Record {
    Record::Findings(SubjectFindings { subject: finding.subject.key(), findings: vec![finding], at })
}

/// The resources of which the two say something else.
fn differing(before: &BTreeMap<ResourceId, Account>, now: &BTreeMap<ResourceId, Account>) -> Vec<ResourceId> {
    let ids = before.keys().chain(now.keys());
    ids.filter(|id| before.get(id) != now.get(id)).cloned().collect()
}

/// What changed resources can reach.
#[derive(Debug, Default)]
struct Reach {
    namespaces: BTreeSet<String>,
    is_cluster: bool,
}

impl Reach {
    fn of(changed: &BTreeSet<ResourceId>) -> Self {
        let exceptions = changed.iter().filter(|id| id.kind == RuleKind::Exception);
        Self {
            namespaces: exceptions.map(|id| id.namespace.clone()).collect(),
            is_cluster: changed.iter().any(|id| id.kind == RuleKind::ClusterException),
        }
    }

    fn contains(&self, subject: &SubjectKey) -> bool {
        let parts: Vec<&str> = subject.0.split('\u{1f}').collect();
        match parts[..] {
            ["object", _, _, namespace, ..] if !namespace.is_empty() => self.namespaces.contains(namespace),
            _ => self.is_cluster,
        }
    }
}

#[cfg(test)]
mod tests;
