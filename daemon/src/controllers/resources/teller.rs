//! Tells the store what became of each resource and of each kind: what changed since it was told, and after a start
//! what of an earlier run does not exist any more.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use portreeve_reports::exceptions::Usage;
use portreeve_reports::{Finding, SubjectKey};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::held::{Heard, Listing};
use crate::controllers::ledger::Needs;
use crate::controllers::record::is_rule;
use crate::judge::resources::{Account, ResourceId, RuleKind, finding, subject};
use crate::judge::{CurrentJudge, Judge, JudgeOptions};
use crate::registry::Deadline;
use crate::store::{Record, RecorderHandle, SubjectFindings};

/// When what was not stored is told again.
const RETRY: Duration = Duration::from_secs(5);

/// The task that tells.
pub struct Teller {
    /// What is to be told.
    pub heard: watch::Receiver<Arc<Heard>>,
    /// The store.
    pub recorder: RecorderHandle,
    /// Whose exceptions are in force: they are for platforms. Of rules, which say what is one, none is accepted.
    pub judge: CurrentJudge,
    /// What is needed of the exceptions.
    pub needs: Needs,
}

/// One thing that is told.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Topic {
    /// What became of a resource, or that it is gone.
    Resource(ResourceId),
    /// Whether a kind, by its plural, is listed.
    Kind(&'static str),
    /// A subject of an earlier run.
    Stored(SubjectKey),
}

/// What was told, as far as the store has it.
#[derive(Default)]
struct Told {
    accounts: BTreeMap<ResourceId, Account>,
    kinds: BTreeMap<&'static str, Listing>,
    /// The rules by which it was.
    version: u64,
    /// Subjects of the store that were neither seen nor proven to be gone.
    unproven: BTreeSet<SubjectKey>,
}

impl Teller {
    /// Tells until the shutdown. `stored` are the subjects with open findings as of the start.
    pub async fn run(mut self, stored: Vec<SubjectKey>, shutdown: CancellationToken) {
        let mut told = Told { unproven: stored.into_iter().filter(is_rule).collect(), ..Told::default() };
        loop {
            let heard = Arc::clone(&self.heard.borrow_and_update());
            let judge = self.judge.now();
            told.by(judge.version());
            let is_all_stored = self.tell(&heard, &mut told, &judge).await;
            self.needs.of_resources(judge.version(), needed(&heard, &judge));
            tokio::select! {
                () = shutdown.cancelled() => return,
                () = self.judge.replaced(judge.version()) => {}
                changed = self.heard.changed() => {
                    if changed.is_err() {
                        return shutdown.cancelled().await;
                    }
                }
                () = tokio::time::sleep(RETRY), if !is_all_stored => {}
            }
        }
    }

    /// Whether the store took everything.
    async fn tell(&self, heard: &Heard, told: &mut Told, judge: &Judge) -> bool {
        let at = Timestamp::now();
        let mut sent = Vec::new();
        for topic in told.news(heard) {
            if let Some(record) = record(&topic, heard, (judge, at)) {
                sent.push((topic, self.recorder.send_when_room(record).await));
            }
        }
        let mut is_all_stored = true;
        for (topic, ack) in sent {
            match ack.committed().await {
                Ok(_) => told.was_told(&topic, heard),
                Err(error) => {
                    tracing::debug!(%error, "what became of a custom resource was not stored; telling it again later");
                    is_all_stored = false;
                }
            }
        }
        is_all_stored
    }
}

impl Told {
    /// What exceptions are for is told again by other rules.
    fn by(&mut self, version: u64) {
        if std::mem::replace(&mut self.version, version) != version {
            self.accounts.retain(|id, _| id.kind != RuleKind::Platform);
        }
    }

    fn news(&mut self, heard: &Heard) -> BTreeSet<Topic> {
        self.unproven.retain(|subject| !heard.is_known(subject));
        let now = |id: &ResourceId| heard.statements.get(id).map(|statement| &statement.account);
        let ids = self.accounts.keys().chain(heard.statements.keys());
        let resources = ids.filter(|id| self.accounts.get(id) != now(id)).cloned().map(Topic::Resource);
        let kinds = heard.listings.iter().filter(|(plural, listing)| self.kinds.get(*plural) != Some(*listing));
        let kinds = kinds.map(|(plural, _)| Topic::Kind(plural));
        let gone = self.unproven.iter().filter(|subject| heard.is_proven_absent(subject)).cloned().map(Topic::Stored);
        resources.chain(kinds).chain(gone).collect()
    }

    fn was_told(&mut self, topic: &Topic, heard: &Heard) {
        match topic {
            Topic::Resource(id) => {
                match heard.statements.get(id) {
                    Some(statement) => self.accounts.insert(id.clone(), statement.account.clone()),
                    None => self.accounts.remove(id),
                };
            }
            Topic::Kind(plural) => self.kinds.extend(heard.listings.get(plural).map(|it| (*plural, it.clone()))),
            Topic::Stored(subject) => drop(self.unproven.remove(subject)),
        }
    }
}

/// What platforms with mistakes need of the exceptions.
fn needed(heard: &Heard, judge: &Judge) -> Usage {
    let platforms = heard.statements.iter().filter(|(id, _)| id.kind == RuleKind::Platform);
    let findings = platforms.filter_map(|(id, statement)| finding(id, &statement.account)).collect();
    judge.excepted(findings, Vec::new(), &options(Timestamp::now())).usage
}

fn options(now: Timestamp) -> JudgeOptions {
    JudgeOptions { now, deadline: Deadline::after(Duration::ZERO) }
}

fn record(topic: &Topic, heard: &Heard, (judge, at): (&Judge, Timestamp)) -> Option<Record> {
    let found = |finding: Finding| {
        Record::Findings(SubjectFindings { subject: finding.subject.key(), findings: vec![finding], at })
    };
    match topic {
        Topic::Stored(subject) => Some(Record::Deleted { subject: subject.clone(), at }),
        Topic::Kind(plural) => heard.finding_of_kind(plural).map(found),
        Topic::Resource(id) => match heard.statements.get(id) {
            Some(statement) => {
                let finding = finding(id, &statement.account)?;
                let is_for_exceptions = id.kind == RuleKind::Platform;
                let excepted = |finding| judge.excepted(vec![finding], Vec::new(), &options(at)).findings.pop();
                (if is_for_exceptions { excepted(finding) } else { Some(finding) }).map(found)
            }
            None => Some(Record::Deleted { subject: subject(id).key(), at }),
        },
    }
}
