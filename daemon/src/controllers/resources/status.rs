//! Writes what became of each resource into its conditions. Nothing is written where the status says it already, and a
//! status that is refused or fought over is written ever more rarely. Many exceptions never keep a policy waiting.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use kube::Client;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::conditions::Statement;
use super::{Heard, Ready};
use crate::cluster::kinds::{RULE_KINDS, WatchedKind};
use crate::cluster::request::Failed;
use crate::cluster::status::{self, Condition};
use crate::judge::resources::{ResourceId, RuleKind};
use crate::runtime::leader::{LeadershipWatch, Leading};

/// Pauses between two writes of one status: the shortest where it is to say something new, ever longer ones where it was
/// written and does not last.
const SHORTEST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(300);
/// After this long without a write, the next one counts as the first.
const FORGET: Duration = Duration::from_secs(600);
/// How often it is looked whether this process may write by now.
const LOOK: Duration = Duration::from_secs(2);
/// The most statuses that are written before it is looked again what is to be said, and what of it comes first.
const ROUND: usize = 25;
/// When more statuses wait it is told, once in a while.
const MANY: usize = 100;
const TOLD_APART: Duration = Duration::from_secs(60);

/// The task that writes.
pub struct StatusWriter {
    /// The API server.
    pub client: Client,
    /// What is to be said.
    pub heard: watch::Receiver<Arc<Heard>>,
    /// What is to be said of the platform that is kept.
    pub ready: watch::Receiver<Option<Arc<Ready>>>,
    /// Whether this process is the one that writes.
    pub leadership: LeadershipWatch,
}

/// When a status was written, what it was to say, and how long that is left alone since.
#[derive(Clone, Debug)]
struct Written {
    at: Instant,
    wanted: Vec<Condition>,
    pause: Duration,
}

/// What was written, and when it was told how much waits.
#[derive(Default)]
struct Desk {
    written: BTreeMap<ResourceId, Written>,
    told: Option<Instant>,
}

/// A status that is to be written.
struct Due<'a> {
    id: &'a ResourceId,
    statement: &'a Statement,
    wanted: Vec<Condition>,
}

impl StatusWriter {
    /// Writes until the shutdown.
    pub async fn run(mut self, shutdown: CancellationToken) {
        let mut desk = Desk::default();
        loop {
            let heard = Arc::clone(&self.heard.borrow_and_update());
            let ready = self.ready.borrow_and_update().clone();
            let now = Instant::now();
            desk.forget(&heard, now);
            let unsaid = unsaid(&heard, ready.as_deref());
            let waiting = unsaid.len();
            let due = desk.first_due(unsaid, now);
            // The proof is held for this round only: the lease is handed over between two.
            let has_written = match self.leadership.now() {
                Some(leading) => {
                    desk.tell(waiting, now);
                    self.write_all(&due, &leading, &mut desk, &shutdown).await
                }
                None => false,
            };
            if has_written && due.len() == ROUND && !shutdown.is_cancelled() {
                continue;
            }
            tokio::select! {
                () = shutdown.cancelled() => return,
                changed = self.heard.changed() => {
                    if changed.is_err() {
                        return shutdown.cancelled().await;
                    }
                }
                Ok(()) = self.ready.changed() => {}
                () = tokio::time::sleep(LOOK), if waiting > 0 => {}
            }
        }
    }

    /// Whether any of them was written.
    async fn write_all(
        &self,
        due: &[Due<'_>],
        leading: &Leading,
        desk: &mut Desk,
        shutdown: &CancellationToken,
    ) -> bool {
        let (mut has_written, mut failed) = (false, Vec::new());
        for due in due {
            if shutdown.is_cancelled() || leading.next_step().is_err() {
                break;
            }
            match self.write(due).await {
                Ok(()) => has_written = true,
                Err(error) => failed.push((due.id, error)),
            }
            desk.wrote(due, Instant::now());
        }
        if let Some((id, error)) = failed.first() {
            let (kind, namespace, name) = (id.kind.as_str(), &id.namespace, &id.name);
            tracing::warn!(failed = failed.len(), kind, namespace, name, %error,
                "statuses were not written, this one first; trying again later");
        }
        has_written
    }

    async fn write(&self, due: &Due<'_>) -> Result<(), Failed> {
        let Some(kind) = kind_of(due.id) else { return Ok(()) };
        let now = Timestamp::now();
        let since = |condition: &Condition| (condition.clone(), due.statement.since(condition, now));
        let conditions: Vec<_> = due.wanted.iter().map(since).collect();
        status::write(&self.client, kind, (&due.id.namespace, &due.id.name), &conditions).await
    }
}

/// What is not said yet.
fn unsaid<'a>(heard: &'a Heard, ready: Option<&Ready>) -> Vec<Due<'a>> {
    let due = |(id, statement): (&'a ResourceId, &'a Statement)| {
        let is_it = |ready: &&Ready| ready.name == id.name && ready.uid == statement.uid;
        let ready = ready.filter(|ready| id.kind == RuleKind::Platform && is_it(ready));
        let wanted = statement.wanted(ready.map(|ready| &ready.condition));
        (!statement.says(&wanted)).then_some(Due { id, statement, wanted })
    };
    heard.statements.iter().filter_map(due).collect()
}

/// One platform or policy decides about more than any exception.
fn rank(kind: RuleKind) -> u8 {
    match kind {
        RuleKind::Platform => 0,
        RuleKind::ImagePolicy => 1,
        RuleKind::ClusterException => 2,
        RuleKind::Exception => 3,
    }
}

impl Desk {
    fn forget(&mut self, heard: &Heard, now: Instant) {
        let is_kept =
            |id: &ResourceId, it: &Written| heard.statements.contains_key(id) && now.duration_since(it.at) < FORGET;
        self.written.retain(|id, it| is_kept(id, it));
    }

    /// Those that are written next: by rank, and what was never written before what is written again.
    fn first_due<'a>(&self, mut unsaid: Vec<Due<'a>>, now: Instant) -> Vec<Due<'a>> {
        unsaid.retain(|due| self.written.get(due.id).is_none_or(|written| written.is_over(&due.wanted, now)));
        unsaid.sort_by_key(|due| (rank(due.id.kind), self.written.contains_key(due.id)));
        unsaid.truncate(ROUND);
        unsaid
    }

    fn tell(&mut self, waiting: usize, now: Instant) {
        let is_told = self.told.is_some_and(|told| now.duration_since(told) < TOLD_APART);
        if waiting > MANY && !is_told {
            self.told = Some(now);
            tracing::info!(waiting, "statuses of custom resources wait; those of platforms and policies come first");
        }
    }

    fn wrote(&mut self, due: &Due<'_>, now: Instant) {
        let before = self.written.get(due.id).filter(|before| before.wanted == due.wanted);
        let pause = before.map_or(SHORTEST_PAUSE, |before| (before.pause * 2).min(LONGEST_PAUSE));
        self.written.insert(due.id.clone(), Written { at: now, wanted: due.wanted.clone(), pause });
    }
}

impl Written {
    /// Whether the pause before a status that is to say this is over.
    fn is_over(&self, wanted: &[Condition], now: Instant) -> bool {
        let pause = if self.wanted == wanted { self.pause } else { SHORTEST_PAUSE };
        now.duration_since(self.at) >= pause
    }
}

fn kind_of(id: &ResourceId) -> Option<&'static WatchedKind> {
    RULE_KINDS.iter().find(|kind| kind.kind == id.kind.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::controllers::resources::{About, READY};
    use crate::judge::resources::{Account, Reason};

    fn heard(kinds: &[(RuleKind, usize)]) -> Heard {
        let account = Account { reason: Reason::Accepted, message: "m".to_owned(), until: None };
        let named = |kind: RuleKind, number: usize| {
            let id = ResourceId { kind, namespace: String::new(), name: format!("x{number:04}") };
            let about = About { uid: "first".to_owned(), generation: Some(1) };
            let statement = Statement::new((kind, &account), (about, Vec::new()), "2026-06-30".parse().unwrap());
            (id, statement)
        };
        let statements = kinds.iter().flat_map(|(kind, count)| (0..*count).map(|number| named(*kind, number)));
        Heard { statements: statements.collect(), ..Heard::default() }
    }

    #[test]
    fn platforms_and_policies_come_before_any_number_of_exceptions_and_what_was_written_last_comes_last() {
        let kinds = [(RuleKind::Exception, 2_500), (RuleKind::ImagePolicy, 1), (RuleKind::Platform, 1)];
        let (heard, now) = (heard(&kinds), Instant::now());
        let mut desk = Desk::default();
        let round = |desk: &mut Desk, now| -> Vec<ResourceId> {
            let due = desk.first_due(unsaid(&heard, None), now);
            due.iter().for_each(|due| desk.wrote(due, now));
            due.iter().map(|due| due.id.clone()).collect()
        };
        let first = round(&mut desk, now);
        assert_eq!(first.len(), ROUND);
        assert_eq!([first[0].kind, first[1].kind], [RuleKind::Platform, RuleKind::ImagePolicy]);
        let second = round(&mut desk, now + SHORTEST_PAUSE);
        assert_eq!(second[0].kind, RuleKind::Platform, "its status was not taken");
        let exceptions = |round: &[ResourceId]| -> Vec<ResourceId> {
            round.iter().filter(|id| id.kind == RuleKind::Exception).cloned().collect()
        };
        assert!(exceptions(&second).iter().all(|id| !first.contains(id)), "others are due for the first time");
    }

    #[test]
    fn a_status_that_is_fought_over_is_written_ever_more_rarely() {
        let (heard, start) = (heard(&[(RuleKind::Exception, 1)]), Instant::now());
        let mut desk = Desk::default();
        let mut due = unsaid(&heard, None).remove(0);
        let is_due = |desk: &Desk, due: &Due<'_>, after| desk.written[due.id].is_over(&due.wanted, start + after);
        desk.wrote(&due, start);
        assert!(!is_due(&desk, &due, Duration::ZERO) && is_due(&desk, &due, SHORTEST_PAUSE));
        (0..20).for_each(|_| desk.wrote(&due, start));
        assert!(!is_due(&desk, &due, LONGEST_PAUSE / 2) && is_due(&desk, &due, LONGEST_PAUSE));
        // What is new is no fight.
        due.wanted[0].observed_generation = Some(2);
        assert!(is_due(&desk, &due, SHORTEST_PAUSE));
    }

    #[test]
    fn what_became_of_a_platform_is_not_said_of_another_one_of_its_name() {
        let heard = heard(&[(RuleKind::Platform, 1)]);
        let ready = |uid: &str| Ready {
            name: "x0000".to_owned(),
            uid: uid.to_owned(),
            condition: Condition {
                type_: READY,
                is_true: true,
                observed_generation: Some(1),
                reason: "Healthy".to_owned(),
                message: "m".to_owned(),
            },
        };
        let is_ready_said =
            |uid| unsaid(&heard, Some(&ready(uid)))[0].wanted.iter().any(|condition| condition.type_ == READY);
        assert!(is_ready_said("first") && !is_ready_said("second"));
    }
}
