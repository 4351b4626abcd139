//! Writes what became of each resource into its status: the condition `Accepted`. Nothing is written where the status
//! says it already, and a status that is refused or fought over is written ever more rarely.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use kube::Client;
use portreeve_reports::source::Node;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::Heard;
use crate::cluster::kinds::{RULE_KINDS, WatchedKind};
use crate::cluster::status::{self, Condition};
use crate::judge::resources::{Account, ResourceId};
use crate::runtime::leader::LeadershipWatch;

/// The condition that is written.
const ACCEPTED: &str = "Accepted";
/// Pauses between two writes of one status.
const SHORTEST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(300);
/// After this long without a write, the next one counts as the first.
const FORGET: Duration = Duration::from_secs(600);
/// How often it is looked whether this process may write by now.
const LOOK: Duration = Duration::from_secs(2);

/// What the status of a resource is to say, and what it says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Statement {
    pub(super) account: Account,
    wanted: Condition,
    /// The condition as it is, and since when.
    said: Option<(Condition, String)>,
}

impl Statement {
    /// The statement about a resource of this generation.
    pub(super) fn new(account: &Account, generation: Option<i64>, said: Option<(Condition, String)>) -> Self {
        let wanted = Condition {
            type_: ACCEPTED,
            is_true: account.is_accepted(),
            observed_generation: generation,
            reason: account.reason.as_str().to_owned(),
            message: account.message.clone(),
        };
        Self { account: account.clone(), wanted, said }
    }

    fn is_said(&self) -> bool {
        self.said.as_ref().is_some_and(|(said, _)| *said == self.wanted)
    }

    /// Since when the condition is what it is to be.
    fn since(&self, now: Timestamp) -> String {
        match &self.said {
            Some((said, since)) if said.is_true == self.wanted.is_true => since.clone(),
            _ => format!("{now:.0}"),
        }
    }
}

/// The condition `Accepted` of an object, and since when.
pub(super) fn condition_of(object: &Node) -> Option<(Condition, String)> {
    let conditions = object.get("status")?.get("conditions")?.as_list()?;
    let condition = conditions.iter().find(|it| it.get("type").and_then(Node::as_str) == Some(ACCEPTED))?;
    let text = |key: &str| condition.get(key).and_then(Node::as_str).map(str::to_owned);
    let said = Condition {
        type_: ACCEPTED,
        is_true: text("status")? == "True",
        observed_generation: condition.get("observedGeneration").and_then(Node::as_int),
        reason: text("reason")?,
        message: text("message")?,
    };
    Some((said, text("lastTransitionTime")?))
}

/// The task that writes.
pub struct StatusWriter {
    /// The API server.
    pub client: Client,
    /// What is to be said.
    pub heard: watch::Receiver<Arc<Heard>>,
    /// Whether this process is the one that writes.
    pub leadership: LeadershipWatch,
}

/// When a status was written, and how long it is left alone since.
#[derive(Clone, Copy, Debug)]
struct Written {
    at: Instant,
    pause: Duration,
}

impl StatusWriter {
    /// Writes until the shutdown.
    pub async fn run(mut self, shutdown: CancellationToken) {
        let mut written: BTreeMap<ResourceId, Written> = BTreeMap::new();
        loop {
            let heard = Arc::clone(&self.heard.borrow_and_update());
            let statements = &heard.statements;
            let now = Instant::now();
            written.retain(|id, it| statements.contains_key(id) && now.duration_since(it.at) < FORGET);
            let unsaid = statements.iter().filter(|(_, statement)| !statement.is_said());
            let (due, later): (Vec<_>, Vec<_>) = unsaid.partition(|(id, _)| is_due(written.get(id), now));
            // The proof is held for this round only: the lease is handed over between two.
            if let Some(leading) = self.leadership.now() {
                for (id, statement) in due.iter().copied() {
                    if shutdown.is_cancelled() || leading.next_step().is_err() {
                        break;
                    }
                    self.write(id, statement).await;
                    written.insert(id.clone(), again(written.get(id).copied(), Instant::now()));
                }
            }
            let has_more = !later.is_empty() || !due.is_empty();
            tokio::select! {
                () = shutdown.cancelled() => return,
                changed = self.heard.changed() => {
                    if changed.is_err() {
                        return shutdown.cancelled().await;
                    }
                }
                () = tokio::time::sleep(LOOK), if has_more => {}
            }
        }
    }

    async fn write(&self, id: &ResourceId, statement: &Statement) {
        let Some(kind) = kind_of(id) else { return };
        let since = statement.since(Timestamp::now());
        let named = (id.namespace.as_str(), id.name.as_str());
        if let Err(error) = status::write(&self.client, kind, named, (&statement.wanted, &since)).await {
            let (kind, namespace, name) = (id.kind.as_str(), &id.namespace, &id.name);
            tracing::warn!(kind, namespace, name, %error, "a status was not written; trying again later");
        }
    }
}

fn is_due(written: Option<&Written>, now: Instant) -> bool {
    written.is_none_or(|written| now.duration_since(written.at) >= written.pause)
}

/// The pause after one more write.
fn again(before: Option<Written>, now: Instant) -> Written {
    let pause = before.map_or(SHORTEST_PAUSE, |before| (before.pause * 2).min(LONGEST_PAUSE));
    Written { at: now, pause }
}

fn kind_of(id: &ResourceId) -> Option<&'static WatchedKind> {
    RULE_KINDS.iter().find(|kind| kind.kind == id.kind.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::judge::resources::Reason;

    fn account(reason: Reason) -> Account {
        Account { reason, message: "m".to_owned() }
    }

    fn object(condition: &str) -> Node {
        use portreeve_reports::source::{Limits, yaml};
        let text = format!("{{status: {{conditions: [{condition}]}}}}");
        yaml::read(text.as_bytes(), &Limits::default()).remove(0).unwrap()
    }

    #[test]
    fn a_status_that_says_it_already_is_not_written_and_a_change_of_words_keeps_its_time() {
        let said = "{type: Accepted, status: 'True', reason: Accepted, message: m, observedGeneration: 2, \
                    lastTransitionTime: '2026-01-01T00:00:00Z'}";
        let now = "2026-02-01T00:00:00.5Z".parse().unwrap();
        let statement =
            |reason, generation| Statement::new(&account(reason), Some(generation), condition_of(&object(said)));
        assert!(statement(Reason::Accepted, 2).is_said());
        let edited = statement(Reason::Accepted, 3);
        assert!(!edited.is_said());
        assert_eq!(edited.since(now), "2026-01-01T00:00:00Z");
        assert_eq!(statement(Reason::Invalid, 2).since(now), "2026-02-01T00:00:00Z");
        for other in ["7", "{type: Ready}", "{type: Accepted, status: 7}"] {
            assert_eq!(condition_of(&object(other)), None, "{other}");
        }
    }

    #[test]
    fn a_status_that_is_fought_over_is_written_ever_more_rarely() {
        let start = Instant::now();
        let mut written = again(None, start);
        assert!(
            !is_due(Some(&written), start) && is_due(Some(&written), start + SHORTEST_PAUSE) && is_due(None, start)
        );
        for _ in 0..20 {
            written = again(Some(written), start);
        }
        assert_eq!(written.pause, LONGEST_PAUSE);
    }
}
