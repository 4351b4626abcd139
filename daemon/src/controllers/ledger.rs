//! What a keeper (of the platform, of declared Secrets) finds: recorded with the exceptions in force laid over it, told
//! once, and held as it was found, so that other rules are laid over it at once and not at the next look.
//!
//! What is needed of the exceptions by all of it goes to [`Needs`], where the audit of whole scans reads it.
//!
//! * A keeper that has not looked yet, and one that there is not, have asked nothing: an exception of theirs is neither
//!   used nor unused. The audit waits for the first look, so that a restart does not resolve what it is about to say
//!   again; but a bounded time, since a process that does not lead never looks.
//! * A question that one subject left without an answer, or that does not apply to it (a component that is suspended was
//!   not applied), was not asked.
//! * What the gate of a component asks is no question of the keeper, and needs exceptions all the same: it comes beside
//!   what was found, and counts for what is needed alone.
//! * Subjects are components and files, which belong to no namespace, whatever they write to: only cluster exceptions
//!   reach them. The right to write in one namespace of a platform is not the right to silence who keeps it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use portreeve_reports::exceptions::Usage;
use portreeve_reports::{Code, CodeEntry, Finding, SubjectKey, Verdict};
use tokio::sync::Notify;
use tokio::time::Instant;

use super::said::Said;
use crate::judge::{CurrentJudge, JudgeOptions};
use crate::registry::Deadline;
use crate::runtime::leader::Leading;
use crate::store::{Record, RecorderHandle, SubjectFindings};

/// How long the audit waits for the first look of a keeper.
const FIRST_LOOK: Duration = Duration::from_secs(30);

/// Who keeps something as declared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Keeper {
    /// The platform's.
    Platform,
    /// That of declared Secrets.
    Secrets,
    /// Nobody in particular: mistakes of custom resources are told by who reads them.
    Resources,
}

impl Keeper {
    /// The questions that it asks.
    fn codes(self) -> BTreeSet<Code> {
        let entries = match self {
            Self::Platform => vec![portreeve_api::platform::CODES],
            Self::Secrets => vec![portreeve_secrets::sops::CODES, portreeve_secrets::sync::CODES],
            Self::Resources => Vec::new(),
        };
        entries.into_iter().flatten().map(CodeEntry::code).collect()
    }

    fn as_str(self) -> &'static str {
        match self {
            Self::Platform => "platform",
            Self::Secrets => "declared Secret",
            Self::Resources => "custom resource",
        }
    }
}

/// What all keepers of the process need of the exceptions. Clones share it.
#[derive(Clone, Default)]
pub struct Needs {
    inner: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    told: Mutex<BTreeMap<Keeper, Told>>,
    /// Whether the audit has not been asked for since something else was told. It outlives the wait for it.
    is_owed: AtomicBool,
    news: Notify,
}

/// What is known of a keeper.
enum Told {
    /// It has not looked at everything yet.
    Since(Instant),
    /// What all that it keeps needs.
    Need(Need),
}

/// By one version of the rules.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Need {
    version: u64,
    usage: Usage,
    asked: BTreeSet<Code>,
}

impl Needs {
    /// What was needed by this version of the rules, and which questions were asked everywhere.
    pub(super) fn by(&self, version: u64) -> (Usage, BTreeSet<Code>) {
        let (mut usage, mut asked) = (Usage::default(), BTreeSet::new());
        for told in self.told().values() {
            if let Told::Need(need) = told
                && need.version == version
            {
                usage.merge(&need.usage);
                asked.extend(need.asked.iter().cloned());
            }
        }
        (usage, asked)
    }

    /// Whether a first look is still waited for.
    pub(super) fn are_awaited(&self) -> bool {
        self.awaited_until().is_some_and(|until| Instant::now() < until)
    }

    /// Waits until the audit is owed and no first look is waited for. For one task, which audits then; nothing is lost
    /// when the wait is cancelled.
    pub(super) async fn news(&self) {
        loop {
            match self.awaited_until().filter(|until| Instant::now() < *until) {
                Some(until) => tokio::select! {
                    () = self.inner.news.notified() => {}
                    () = tokio::time::sleep_until(until) => {}
                },
                None if self.inner.is_owed.swap(false, Ordering::AcqRel) => return,
                None => self.inner.news.notified().await,
            }
        }
    }

    /// Custom resources with mistakes need this of the exceptions. They are no questions that anybody asks of all.
    pub(super) fn of_resources(&self, version: u64, usage: Usage) {
        self.tell(Keeper::Resources, Need { version, usage, asked: BTreeSet::new() });
    }

    fn awaited_until(&self) -> Option<Instant> {
        let since = |told: &Told| if let Told::Since(since) = told { Some(*since + FIRST_LOOK) } else { None };
        self.told().values().filter_map(since).max()
    }

    fn tell(&self, keeper: Keeper, need: Need) {
        let is_news = match self.told().insert(keeper, Told::Need(need.clone())) {
            Some(Told::Need(before)) => before != need,
            _ => true,
        };
        if is_news {
            self.owe();
        }
    }

    /// A keeper may look from now on.
    fn await_from(&self, keeper: Keeper, since: Instant) {
        self.told().insert(keeper, Told::Since(since));
        self.owe();
    }

    fn owe(&self) {
        self.inner.is_owed.store(true, Ordering::Release);
        self.inner.news.notify_one();
    }

    fn told(&self) -> MutexGuard<'_, BTreeMap<Keeper, Told>> {
        self.inner.told.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// See the module.
pub(super) struct Ledger {
    keeper: Keeper,
    judge: CurrentJudge,
    recorder: RecorderHandle,
    needs: Needs,
    entries: BTreeMap<SubjectKey, Entry>,
    has_begun: bool,
    /// Whether everything was looked at once.
    is_whole: bool,
    /// The rules that were laid over everything last.
    version: u64,
}

/// What is known of a subject.
#[derive(Default)]
struct Entry {
    found: Vec<Finding>,
    /// What its gate found, as far as exceptions are for it.
    at_gate: Vec<Finding>,
    /// What was asked of it and not answered.
    unanswered: BTreeSet<Code>,
    usage: Usage,
    version: u64,
    is_stored: bool,
    said: Said,
}

impl Ledger {
    /// Nothing was looked at yet.
    pub(super) fn new(keeper: Keeper, (judge, recorder): (CurrentJudge, RecorderHandle), needs: Needs) -> Self {
        needs.await_from(keeper, Instant::now());
        let version = judge.now().version();
        Self { keeper, judge, recorder, needs, entries: BTreeMap::new(), has_begun: false, is_whole: false, version }
    }

    /// This process may look from now on. The audit waits from here: a follower may lead long after its start.
    pub(super) fn begin(&mut self) {
        if !std::mem::replace(&mut self.has_begun, true) {
            self.needs.await_from(self.keeper, Instant::now());
        }
    }

    /// Notes what the gate of a subject found, before what was found of the subject itself is recorded.
    pub(super) fn passed_gate(&mut self, subject: &SubjectKey, found: Vec<Finding>) {
        self.entries.entry(subject.clone()).or_default().at_gate = found;
    }

    /// Records what was found of a subject of which these questions are asked; whether the store has it.
    pub(super) async fn found(
        &mut self,
        leading: &Leading,
        subject: SubjectKey,
        findings: (Vec<Finding>, impl Iterator<Item = Code>),
    ) -> bool {
        self.judged(self.recorder.of_leader(leading.epoch()), subject, findings).await
    }

    /// Records one answer beside the others about a subject, without a term: why there is none, in a store that is this
    /// process's alone.
    pub(super) async fn found_without_term(&mut self, subject: SubjectKey, finding: Finding) -> bool {
        self.pass_over();
        let before = self.entries.get(&subject);
        let before = before.map(|entry| (entry.found.clone(), entry.unanswered.clone()));
        let (mut found, unanswered) = before.unwrap_or_default();
        found.retain(|other| other.code != finding.code);
        found.push(finding);
        self.judged(self.recorder.clone(), subject, (found, unanswered.into_iter())).await
    }

    async fn judged(
        &mut self,
        recorder: RecorderHandle,
        subject: SubjectKey,
        (found, asked): (Vec<Finding>, impl Iterator<Item = Code>),
    ) -> bool {
        let is_answer = |finding: &&Finding| finding.verdict != Verdict::NotApplicable;
        let answered: BTreeSet<&Code> = found.iter().filter(is_answer).map(|finding| &finding.code).collect();
        let unanswered = asked.filter(|code| !answered.contains(code)).collect();
        let before = self.entries.remove(&subject).unwrap_or_default();
        let entry = self.entries.entry(subject.clone()).or_insert(Entry { found, unanswered, ..before });
        let judge = self.judge.now();
        let options = JudgeOptions { now: Timestamp::now(), deadline: Deadline::after(Duration::ZERO) };
        let judged = judge.excepted(entry.found.clone(), Vec::new(), &options);
        (entry.usage, entry.version) = (judged.usage, judge.version());
        // Who waits for the store may give up.
        entry.is_stored = false;
        entry.usage.merge(&judge.excepted(entry.at_gate.clone(), Vec::new(), &options).usage);
        for finding in entry.said.news(&judged.findings) {
            let (subject, kept) = (finding.subject.display(), self.keeper.as_str());
            match finding.verdict {
                Verdict::Excepted => {
                    tracing::info!(subject, code = %finding.code, message = finding.message, "{kept}, excepted");
                }
                _ => tracing::warn!(subject, code = %finding.code, message = finding.message, "{kept}"),
            }
        }
        let findings = SubjectFindings { subject: subject.clone(), findings: judged.findings, at: options.now };
        let is_stored = record((self.keeper, &recorder), Record::Findings(findings)).await;
        if let Some(entry) = self.entries.get_mut(&subject) {
            entry.is_stored = is_stored;
        }
        is_stored
    }

    /// Resolves what is stored of a subject that is gone; whether the store has done so.
    pub(super) async fn gone(&mut self, leading: &Leading, subject: SubjectKey) -> bool {
        self.entries.remove(&subject);
        let recorder = self.recorder.of_leader(leading.epoch());
        record((self.keeper, &recorder), Record::Deleted { subject, at: Timestamp::now() }).await
    }

    /// Forgets subjects that are not kept any more. What is stored of them is somebody else's to resolve.
    pub(super) fn retain(&mut self, is_kept: impl Fn(&SubjectKey) -> bool) {
        self.entries.retain(|subject, _| is_kept(subject));
    }

    /// Everything was looked at: from now on the audit counts what is needed.
    pub(super) async fn looked(&mut self, leading: &Leading) {
        self.is_whole = true;
        self.lay_again(leading).await;
    }

    /// Lays the rules in force over what was found by others, records again what the store did not take, and tells what
    /// is needed.
    pub(super) async fn lay_again(&mut self, leading: &Leading) {
        self.version = self.judge.now().version();
        let is_due = |entry: &Entry| entry.version != self.version || !entry.is_stored;
        let due: Vec<SubjectKey> =
            self.entries.iter().filter(|(_, entry)| is_due(entry)).map(|(subject, _)| subject.clone()).collect();
        for subject in due {
            let Some(entry) = self.entries.get(&subject) else { continue };
            let (found, unanswered) = (entry.found.clone(), entry.unanswered.clone());
            self.found(leading, subject, (found, unanswered.into_iter())).await;
        }
        self.tell();
    }

    /// Waits until other rules are in force than those that were laid over everything last.
    pub(super) async fn rules_changed(&self) {
        self.judge.replaced(self.version).await;
    }

    /// Other rules are in force, and this process may not write what they make of it: the next look does.
    pub(super) fn pass_over(&mut self) {
        self.version = self.judge.now().version();
    }

    fn tell(&self) {
        let is_same = self.entries.values().all(|entry| entry.version == self.version);
        if !self.is_whole || !is_same {
            return;
        }
        let (mut usage, mut asked) = (Usage::default(), self.keeper.codes());
        for entry in self.entries.values() {
            usage.merge(&entry.usage);
            asked.retain(|code| !entry.unanswered.contains(code));
        }
        self.needs.tell(self.keeper, Need { version: self.version, usage, asked });
    }
}

async fn record((keeper, recorder): (Keeper, &RecorderHandle), record: Record) -> bool {
    let committed = recorder.send_when_room(record).await.committed().await;
    committed
        .inspect_err(|error| tracing::debug!(%error, "{}: not stored; the next round says it again", keeper.as_str()))
        .is_ok()
}

#[cfg(test)]
mod tests;
