//! Custom resources that are rules: what they say is laid over the files, what that changes is judged again, and each
//! of them hears what became of it.
//!
//! A `Platform` is no rule; what the one that the configuration names asks for is handed to who keeps it.
//!
//! The rules are replaced as a whole, in every replica. A resource that cannot be used changes nothing for the others; its
//! finding ([`Teller`]) and its status ([`StatusWriter`]) say why, and are written by one replica.

mod conditions;
mod held;
mod platforms;
mod status;
mod teller;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::civil::Date;
use jiff::{Timestamp, tz::TimeZone};
use portreeve_reports::SubjectKey;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use crate::cluster::feed::{Change, Feed};
use crate::cluster::key::ObjectKey;
use crate::cluster::writer::{ClusterView, Event};
use crate::config::valid::{Namespaces, PlatformSource};
use crate::judge::CurrentJudge;
use crate::judge::resources::{Account, ResourceId, RuleKind, platforms};
use crate::runtime::readiness::Permit;
use crate::runtime::supervisor::blocking;
use crate::scheduler::driver::Trigger;
pub(super) use conditions::READY;
pub use held::Heard;
use held::Held;
pub use platforms::{About, Declared, Ready};
pub use status::StatusWriter;
pub use teller::Teller;

/// The most events folded in before the rules are replaced.
const BATCH: usize = 1_024;
/// The least time between two whole scans: what a change reaches is judged at once, and the scan only tells what is
/// unused since.
const SCANS_APART: Duration = Duration::from_secs(10);
/// How long nothing to do is slept through; events end it, and so does midnight.
const IDLE: Duration = Duration::from_secs(3_600);
/// In UTC, by which exceptions expire.
const DAY: i64 = 86_400;

/// What the controller works with.
pub struct RuleResources {
    /// Whose rules are replaced.
    pub judge: CurrentJudge,
    /// Namespaces whose exceptions count.
    pub allowed: Namespaces,
    /// What may have to be judged again.
    pub cluster: ClusterView,
    /// Where it is asked for: of the workloads, of the images and of the credentials.
    pub feeds: [Feed; 3],
    /// Whole scans of the three.
    pub rescans: [Trigger; 3],
    /// What is to be said about the resources.
    pub heard: watch::Sender<Arc<Heard>>,
    /// What is kept of the platforms.
    pub platform: Option<PlatformSource>,
    /// What the platform that is followed asks for.
    pub declared: watch::Sender<Declared>,
    /// What time it is.
    pub clock: fn() -> Timestamp,
    /// Released when all kinds were heard.
    pub permit: Option<Permit>,
}

/// What the controller knows and has to do.
struct Work {
    held: Held,
    accounts: BTreeMap<ResourceId, Account>,
    /// Whether the rules in force stand for image policies that could not be seen.
    are_policies_hidden: bool,
    /// How many exceptions have expired, once that was counted.
    expired: Option<usize>,
    scan_due: Option<Instant>,
    scanned: Option<Instant>,
}

impl RuleResources {
    /// Follows the resources until the shutdown.
    pub async fn run(mut self, mut events: mpsc::Receiver<Event>, shutdown: CancellationToken) {
        let mut work = Work::new();
        let mut batch = Vec::new();
        loop {
            let pause = work.pause(Instant::now()).min(until_midnight((self.clock)()));
            tokio::select! {
                () = shutdown.cancelled() => return,
                received = events.recv_many(&mut batch, BATCH) => {
                    if received == 0 {
                        return shutdown.cancelled().await;
                    }
                }
                () = tokio::time::sleep(pause) => {}
            }
            let changed = work.held.fold(batch.drain(..));
            if work.held.is_heard() {
                self.lay(&mut work, changed).await;
            }
            if work.takes_scan(Instant::now()) {
                self.rescans.iter().for_each(Trigger::fire);
            }
        }
    }

    /// Lays the resources over the files, and replaces the rules where that says something else than before.
    async fn lay(&mut self, work: &mut Work, changed: BTreeSet<ResourceId>) {
        let is_first = !self.judge.is_settled();
        let hidden = work.held.are_policies_hidden();
        if is_first || !changed.is_empty() || hidden != work.are_policies_hidden {
            work.are_policies_hidden = hidden;
            let (judge, resources, allowed) = (self.judge.now(), work.held.resources(), self.allowed.clone());
            let laid = blocking(move || {
                let laid = judge.rules().laid_over(&resources, &allowed);
                if hidden { laid.beside_unseen_policies() } else { laid }
            });
            let mut laid = laid.await;
            laid.accounts.extend(platforms(&work.held.resources(), self.platform.as_ref()));
            let counted = |accounts: &BTreeMap<ResourceId, Account>, id: &ResourceId| {
                accounts.get(id).is_some_and(Account::is_accepted)
            };
            let affected = differing(&work.accounts, &laid.accounts).into_iter().chain(changed);
            let is_rule = |id: &ResourceId| id.kind != RuleKind::Platform;
            let counting: BTreeSet<_> = affected
                .filter(|id| is_rule(id) && (counted(&work.accounts, id) || counted(&laid.accounts, id)))
                .collect();
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
        }
        let today = day_of((self.clock)());
        work.note_expired(today);
        self.heard.send_replace(Arc::new(work.held.heard(&work.accounts, today)));
        if let Some(PlatformSource::Resource { name, .. }) = &self.platform {
            let now = work.held.declared(name, &work.accounts);
            self.declared.send_if_modified(|declared| std::mem::replace(declared, now.clone()) != now);
        }
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
        let [workloads, images, credentials] = &self.feeds;
        let subjects = everything.subjects.into_iter().filter(|subject| reach.contains(subject)).collect();
        workloads.push(Change { subjects, ..Change::default() });
        let in_reach = |key: &&ObjectKey| reach.is_cluster || reach.namespaces.contains(&*key.namespace);
        let holders = everything.objects.iter().filter(in_reach).cloned().collect();
        credentials.push(Change { objects: holders, ..Change::default() });
        if is_other_policy || reach.is_cluster {
            images.push(Change { objects: everything.objects, ..Change::default() });
        }
        work.plan_scan(Instant::now());
    }
}

impl Work {
    fn new() -> Self {
        Self {
            held: Held::new(),
            accounts: BTreeMap::new(),
            are_policies_hidden: false,
            expired: None,
            scan_due: None,
            scanned: None,
        }
    }

    /// What an exception covered until yesterday is judged again today.
    fn note_expired(&mut self, today: Date) {
        let is_expired = |account: &&Account| account.until.is_some_and(|day| day < today);
        let expired = self.accounts.values().filter(is_expired).count();
        if self.expired.replace(expired).is_some_and(|before| before < expired) {
            self.plan_scan(Instant::now());
        }
    }

    /// How long until there is something to do.
    fn pause(&self, now: Instant) -> Duration {
        self.scan_due.map_or(IDLE, |due| due.saturating_duration_since(now))
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
}

fn day_of(now: Timestamp) -> Date {
    now.to_zoned(TimeZone::UTC).date()
}

/// How long until another day begins.
fn until_midnight(now: Timestamp) -> Duration {
    Duration::from_secs((DAY - now.as_second().rem_euclid(DAY)).unsigned_abs())
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
