//! The credentials of the cluster: when what holds them changes, when the rescan is due, and when time alone changes a
//! verdict, because one comes near its expiry.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use portreeve_reports::{Finding, SubjectKey};
use portreeve_secrets::credentials::{Class, Credential, Expiry, Limits};
use tokio_util::sync::CancellationToken;

use crate::cluster::feed::Change;
use crate::cluster::key::ObjectKey;
use crate::cluster::kinds::WatchedKind;
use crate::cluster::problem::kind_subject;
use crate::controllers::Means;
use crate::controllers::record::Round;
use crate::judge::JudgeOptions;
use crate::registry::Deadline;
use crate::runtime::metrics::{HolderKind, Scanner};
use crate::scheduler::plan::Queue;

/// How long events of one object are gathered.
const DEBOUNCE: Duration = Duration::from_millis(5);
/// The most objects of one round.
const ROUND: usize = 64;
/// When what was not stored is judged again.
const RETRY: Duration = Duration::from_secs(5);
/// How long nothing to do is slept through at most: a clock that is set forward is seen within this time.
const IDLE: Duration = Duration::from_secs(60);

/// Judges the credentials that Secrets hold and that objects refer to.
#[derive(Clone)]
pub struct Credentials(pub Means);

/// What is known of an object with credentials.
#[derive(Default)]
struct Holder {
    /// The subjects that findings were recorded about.
    recorded: BTreeSet<SubjectKey>,
    /// The expiry of each credential, for the metrics.
    expiries: Vec<(Class, Expiry)>,
    /// When time alone changes a verdict.
    next_change: Option<Timestamp>,
}

/// What the controller knows and has to do.
struct Work {
    holders: BTreeMap<ObjectKey, Holder>,
    queue: Queue<ObjectKey>,
    /// Not stored.
    failed: Queue<ObjectKey>,
    /// What the scan that is under way has still to judge; `None` between two.
    scan: Option<BTreeSet<ObjectKey>>,
    /// Credentials of the store that were neither seen nor proven to be gone.
    unproven: BTreeSet<SubjectKey>,
    /// Objects of which not all was looked into.
    partly: BTreeSet<ObjectKey>,
    /// Kinds that are listed, as far as changes have said so: all that may hold credentials was put into the queue.
    listed: BTreeSet<HolderKind>,
    /// Those of them of which all that was listed was looked into once.
    looked: BTreeSet<HolderKind>,
    /// The kinds that the metrics say are read.
    read: Vec<HolderKind>,
}

impl Credentials {
    /// Judges until the shutdown. `stored` are the subjects with open findings as of the start.
    pub async fn run(self, stored: Vec<SubjectKey>, shutdown: CancellationToken) {
        let ready = async {
            let is_synced = self.0.cluster.synced().await;
            self.0.judge.settled().await;
            is_synced
        };
        let is_synced = tokio::select! {
            is_synced = ready => is_synced,
            () = shutdown.cancelled() => false,
        };
        if !is_synced {
            return shutdown.cancelled().await;
        }
        let mut work = Work::new(stored);
        let is_listed = |kind: HolderKind| self.0.cluster.is_kind_listed("", kind.as_str());
        work.changed(self.0.cluster.everything(), is_listed);
        self.begin_scan(&mut work);
        self.resolve_gone(&mut work, Timestamp::now()).await;
        loop {
            if work.scan_ended() {
                self.0.scans.ended(Scanner::Credentials).await;
            }
            let pause = work.pause(Instant::now(), Timestamp::now());
            tokio::select! {
                () = shutdown.cancelled() => return,
                change = self.0.feed.take() => work.changed(change, is_listed),
                () = self.0.rescan.fired() => self.begin_scan(&mut work),
                () = tokio::time::sleep(pause) => self.round(&mut work).await,
            }
            self.count(&mut work, false);
        }
    }

    fn begin_scan(&self, work: &mut Work) {
        self.0.scans.begin(Scanner::Credentials);
        work.push_all(Instant::now());
    }

    /// Judges what is due and records the outcome.
    async fn round(&self, work: &mut Work) {
        let now = Timestamp::now();
        work.push_changing(now);
        let keys = work.take(Instant::now());
        if !keys.is_empty() {
            self.judge(work, keys, now).await;
            self.count(work, true);
        }
        self.resolve_gone(work, now).await;
    }

    /// Counts what is known, when credentials were judged or other kinds are read than before.
    fn count(&self, work: &mut Work, is_judged: bool) {
        work.look();
        let is_read = |kind: &HolderKind| {
            let is_partly = work.partly.iter().any(|key| &*key.kind == kind.as_str());
            work.looked.contains(kind) && !is_partly && self.0.cluster.is_kind_listed("", kind.as_str())
        };
        let read: Vec<HolderKind> = HolderKind::ALL.iter().copied().filter(is_read).collect();
        if is_judged || read != work.read {
            let holders = work.holders.values().flat_map(|holder| &holder.expiries);
            let expiries = holders.map(|(class, expires)| (*class, expires));
            self.0.scans.metrics().credentials.set(expiries, |kind| read.contains(&kind));
            work.read = read;
        }
    }

    async fn judge(&self, work: &mut Work, keys: Vec<ObjectKey>, now: Timestamp) {
        let options = JudgeOptions { now, deadline: Deadline::after(Duration::ZERO) };
        let judge = self.0.judge.now();
        let limits = judge.rules().credentials.unwrap_or_default();
        let (world, held) = self.0.cluster.credentials(keys);
        let mut round = Round::new(&self.0.recorder, &self.0.tally, now);
        let mut owners: BTreeMap<SubjectKey, ObjectKey> = BTreeMap::new();
        let mut usage = portreeve_reports::exceptions::Usage::default();
        for (key, held) in held {
            let is_whole = held.as_ref().is_none_or(|held| held.is_whole);
            if is_whole {
                work.partly.remove(&key)
            } else {
                work.partly.insert(key.clone())
            };
            let credentials = held.map(|held| held.credentials).unwrap_or_default();
            let judged = judge.credentials(&credentials, &world, &options);
            usage.merge(&judged.usage);
            let holder = Holder::of(&credentials, &limits, now);
            let before = work.holders.remove(&key).map(|holder| holder.recorded).unwrap_or_default();
            let mut batches: BTreeMap<SubjectKey, Vec<Finding>> = BTreeMap::new();
            for finding in judged.findings {
                batches.entry(finding.subject.key()).or_default().push(finding);
            }
            let (kept, gone) = unseen(before, &batches, is_whole);
            for subject in gone {
                owners.insert(subject.clone(), key.clone());
                round.deleted(subject).await;
            }
            let recorded: BTreeSet<SubjectKey> = batches.keys().cloned().chain(kept).collect();
            if !recorded.is_empty() {
                work.holders.insert(key.clone(), Holder { recorded, ..holder });
            }
            for (subject, findings) in batches {
                owners.insert(subject.clone(), key.clone());
                work.unproven.remove(&subject);
                round.judged(subject, findings).await;
            }
            work.judged(&key);
        }
        let failed = round.finish().await;
        for subject in &failed {
            if let Some(key) = owners.get(subject) {
                // What is gone and was not resolved is tried again, too.
                work.holders.entry(key.clone()).or_default().recorded.insert(subject.clone());
                work.failed.push(key.clone(), Instant::now());
            }
        }
        self.0.scans.judged(Scanner::Credentials, (judge.version(), &usage), failed.is_empty()).await;
    }

    /// Credentials of an earlier run are gone when all objects of the kind that held them were listed and judged, and
    /// the one that held them is not there or was looked into as a whole.
    async fn resolve_gone(&self, work: &mut Work, now: Timestamp) {
        if work.unproven.is_empty() || !work.queue.is_empty() {
            return;
        }
        let is_gone = |subject: &SubjectKey| holder_of(subject).is_some_and(|key| self.is_proven_gone(&key));
        let gone: Vec<SubjectKey> = work.unproven.extract_if(.., is_gone).collect();
        let mut round = Round::new(&self.0.recorder, &self.0.tally, now);
        for subject in gone {
            round.deleted(subject).await;
        }
        work.unproven.extend(round.finish().await);
    }

    /// Whether a credential that was not seen in its holder is proven not to be there.
    fn is_proven_gone(&self, holder: &ObjectKey) -> bool {
        self.0.cluster.is_kind_listed(&holder.group, &holder.kind)
            && self.0.cluster.held_credentials(holder).is_none_or(|held| held.is_whole)
    }
}

/// The object that holds a credential of the store; `None` for subjects that are not ours.
fn holder_of(subject: &SubjectKey) -> Option<ObjectKey> {
    let mut parts = subject.0.split('\u{1f}');
    let (kind, class, holder) = (parts.next()?, parts.next()?, parts.next()?);
    let is_ours = kind == "credential" && Class::ALL.iter().any(|known| known.as_str() == class);
    let mut parts = holder.rsplit('/').filter(|_| is_ours);
    let (name, kind, namespace) = (parts.next()?, parts.next()?, parts.next().unwrap_or_default());
    let group = "";
    portreeve_secrets::credentials::holds_credentials(group, kind).then(|| ObjectKey {
        group: group.into(),
        kind: kind.into(),
        namespace: namespace.into(),
        name: name.into(),
    })
}

/// Of what was recorded about a holder and is not found now: what stays open, and what is gone.
fn unseen(
    before: BTreeSet<SubjectKey>,
    now: &BTreeMap<SubjectKey, Vec<Finding>>,
    is_whole: bool,
) -> (Vec<SubjectKey>, Vec<SubjectKey>) {
    before.into_iter().filter(|subject| !now.contains_key(subject)).partition(|_| !is_whole)
}

impl Holder {
    fn of(credentials: &[Credential], limits: &Limits, now: Timestamp) -> Self {
        Self {
            recorded: BTreeSet::new(),
            expiries: credentials.iter().map(|credential| (credential.class, credential.expires.clone())).collect(),
            next_change: credentials.iter().filter_map(|credential| credential.next_change(now, limits)).min(),
        }
    }
}

impl Work {
    fn new(stored: Vec<SubjectKey>) -> Self {
        Self {
            holders: BTreeMap::new(),
            queue: Queue::new(DEBOUNCE),
            failed: Queue::new(RETRY),
            scan: None,
            unproven: stored.into_iter().filter(|subject| holder_of(subject).is_some()).collect(),
            partly: BTreeSet::new(),
            listed: BTreeSet::new(),
            looked: BTreeSet::new(),
            read: Vec::new(),
        }
    }

    /// Looks at the objects that came, changed or went, as far as they may hold credentials.
    fn changed(&mut self, change: Change, is_listed: impl Fn(HolderKind) -> bool) {
        let now = Instant::now();
        for kind in HolderKind::ALL.iter().filter(|kind| change.subjects.contains(&subject_of(**kind))) {
            // What was hidden has to be looked into.
            self.looked.remove(kind);
            if is_listed(*kind) {
                self.listed.insert(*kind)
            } else {
                self.listed.remove(kind)
            };
        }
        let may_hold = |key: &ObjectKey| portreeve_secrets::credentials::holds_credentials(&key.group, &key.kind);
        change.objects.into_iter().filter(may_hold).for_each(|key| self.queue.push(key, now));
    }

    /// Takes note of kinds of which nothing waits any more. What changes later waits a moment, and was looked into before.
    fn look(&mut self) {
        let waits = |kind: &HolderKind| self.queue.keys().any(|key| &*key.kind == kind.as_str());
        let looked: Vec<HolderKind> =
            self.listed.iter().filter(|kind| !self.looked.contains(kind) && !waits(kind)).copied().collect();
        self.looked.extend(looked);
    }

    fn push_all(&mut self, now: Instant) {
        let all: BTreeSet<ObjectKey> = self.holders.keys().cloned().collect();
        all.iter().for_each(|key| self.queue.push(key.clone(), now));
        self.scan = Some(all);
    }

    /// Puts what time has changed into the queue.
    fn push_changing(&mut self, now: Timestamp) {
        let is_due = |holder: &Holder| holder.next_change.is_some_and(|at| at <= now);
        for (key, _) in self.holders.iter().filter(|(_, holder)| is_due(holder)) {
            self.queue.push(key.clone(), Instant::now());
        }
    }

    fn take(&mut self, now: Instant) -> Vec<ObjectKey> {
        let due = self.queue.take_due(now, ROUND);
        if due.is_empty() { self.failed.take_due(now, ROUND) } else { due }
    }

    fn judged(&mut self, key: &ObjectKey) {
        if let Some(left) = &mut self.scan {
            left.remove(key);
        }
    }

    /// Whether the last object of a scan has been judged; says it once. What waits from before counts, too.
    fn scan_ended(&mut self) -> bool {
        let is_idle = self.queue.is_empty();
        self.scan.take_if(|left| left.is_empty() && is_idle).is_some()
    }

    /// How long until there is something to do.
    fn pause(&self, now: Instant, time: Timestamp) -> Duration {
        let due = [&self.queue, &self.failed].into_iter().filter_map(Queue::next_due).min();
        let due = due.map_or(IDLE, |due| due.saturating_duration_since(now));
        let changes = self.holders.values().filter_map(|holder| holder.next_change).min();
        let change = changes.map_or(IDLE, |at| Duration::try_from(at.duration_since(time)).unwrap_or_default());
        due.min(change).min(IDLE)
    }
}

/// The subject of what is said of the kind as a whole.
fn subject_of(kind: HolderKind) -> SubjectKey {
    let watched = WatchedKind::find("", kind.as_str());
    watched.map_or_else(|| SubjectKey(String::new()), |kind| kind_subject(kind).key())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: &str) -> ObjectKey {
        ObjectKey { group: "".into(), kind: "Secret".into(), namespace: "dev".into(), name: name.into() }
    }

    #[test]
    fn only_credentials_of_secrets_and_config_maps_are_ours() {
        let subject = |class: &str, holder: &str| SubjectKey(["credential", class, holder, "token"].join("\u{1f}"));
        assert_eq!(holder_of(&subject("jwt", "dev/Secret/a")), Some(key("a")));
        assert_eq!(holder_of(&subject("jwt", "dev/ConfigMap/a")).map(|key| key.kind), Some("ConfigMap".into()));
        assert_eq!(holder_of(&subject("break-glass", "dev/Secret/a")), None);
        assert_eq!(holder_of(&subject("jwt", "someone")), None);
        assert_eq!(holder_of(&SubjectKey("object\u{1f}\u{1f}Secret\u{1f}dev\u{1f}a".to_owned())), None);
    }

    #[test]
    fn what_time_changes_is_judged_when_it_does_and_not_before() {
        let mut work = Work::new(Vec::new());
        let soon: Timestamp = "2026-01-01T00:00:30Z".parse().unwrap();
        work.holders.insert(key("tls"), Holder { next_change: Some(soon), ..Holder::default() });
        let before = "2026-01-01T00:00:00Z".parse().unwrap();
        work.push_changing(before);
        assert!(work.queue.is_empty());
        assert_eq!(work.pause(Instant::now(), before), Duration::from_secs(30));
        work.push_changing(soon);
        assert_eq!(work.take(Instant::now() + DEBOUNCE), [key("tls")]);
    }

    #[test]
    fn a_kind_that_is_granted_later_is_looked_into_before_it_counts_as_read() {
        let mut work = Work::new(Vec::new());
        let kinds = || HolderKind::ALL.iter().map(|kind| subject_of(*kind)).collect();
        let config_map = ObjectKey { kind: "ConfigMap".into(), ..key("a") };
        let start = Change { subjects: kinds(), objects: [config_map.clone()].into() };
        work.changed(start, |kind| kind == HolderKind::ConfigMap);
        work.look();
        assert!(work.looked.is_empty(), "it waits");
        assert_eq!(work.take(Instant::now() + DEBOUNCE), [config_map]);
        work.look();
        assert_eq!(work.looked, [HolderKind::ConfigMap].into());
        let granted = Change { subjects: [subject_of(HolderKind::Secret)].into(), objects: [key("b")].into() };
        work.changed(granted, |_| true);
        work.look();
        assert_eq!(work.looked, [HolderKind::ConfigMap].into(), "its Secrets wait");
        assert_eq!(work.take(Instant::now() + DEBOUNCE), [key("b")]);
        work.look();
        assert_eq!(work.looked.len(), 2);
    }

    #[test]
    fn a_scan_ends_when_all_of_it_and_all_before_it_was_judged() {
        let mut work = Work::new(Vec::new());
        work.changed(Change { objects: [key("a")].into(), ..Change::default() }, |_| true);
        work.push_all(Instant::now());
        assert!(!work.scan_ended(), "a waits");
        assert_eq!(work.take(Instant::now() + DEBOUNCE), [key("a")]);
        assert!(work.scan_ended());
        assert!(!work.scan_ended(), "once");
    }
}
