//! What the conditions of a resource are to say, and what they say. Pure.

use jiff::Timestamp;
use jiff::civil::Date;
use portreeve_reports::source::Node;

use super::platforms::About;
use crate::cluster::status::Condition;
use crate::judge::resources::{Account, RuleKind};

/// Whether it counts.
const ACCEPTED: &str = "Accepted";
/// Whether an exception that counts has not expired.
const IN_FORCE: &str = "InForce";
/// Whether a platform is as declared, and healthy.
pub(in crate::controllers) const READY: &str = "Ready";
/// Our conditions. Those of others are not touched.
const OURS: [&str; 3] = [ACCEPTED, IN_FORCE, READY];

/// A condition as it is, and since when.
pub(super) type Said = (Condition, String);

/// What the status of a resource is to say, and what it says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Statement {
    pub(super) account: Account,
    /// The object's UID.
    pub(super) uid: String,
    wanted: Vec<Condition>,
    said: Vec<Said>,
}

impl Statement {
    /// The statement about a resource of this generation, as of this day.
    pub(super) fn new(
        (kind, account): (RuleKind, &Account),
        (About { uid, generation }, said): (About, Vec<Said>),
        today: Date,
    ) -> Self {
        let condition = |type_, is_true, reason: &str, message: String| Condition {
            type_,
            is_true,
            observed_generation: generation,
            reason: reason.to_owned(),
            message,
        };
        let reason = account.reason.as_str();
        let mut wanted = vec![condition(ACCEPTED, account.is_accepted(), reason, account.message.clone())];
        match (kind, account.until) {
            (_, Some(day)) if today <= day => {
                wanted.push(condition(IN_FORCE, true, "InForce", format!("until the end of {day} in UTC")));
            }
            (_, Some(day)) => {
                let message = format!("it expired at the end of {day} in UTC, and failures count again");
                wanted.push(condition(IN_FORCE, false, "Expired", message));
            }
            (RuleKind::Exception | RuleKind::ClusterException, None) => {
                wanted.push(condition(IN_FORCE, false, "NotAccepted", "the condition Accepted says why".to_owned()));
            }
            (RuleKind::Platform, None) if !account.is_accepted() => {
                let message = "nothing is changed; the condition Accepted says why".to_owned();
                wanted.push(condition(READY, false, "NotAccepted", message));
            }
            _ => {}
        }
        Self { account: account.clone(), uid, wanted, said }
    }

    /// All that is to be said. Whether a platform is ready is told by who keeps it (`ready`); until then it is what was
    /// said before, because what is not written again is taken away.
    pub(super) fn wanted(&self, ready: Option<&Condition>) -> Vec<Condition> {
        let mut wanted = self.wanted.clone();
        if wanted.iter().all(|condition| condition.type_ != READY) {
            let before = self.said.iter().find(|(said, _)| said.type_ == READY).map(|(said, _)| said);
            wanted.extend(ready.or(before).cloned());
        }
        wanted
    }

    /// Whether the status says these already.
    pub(super) fn says(&self, wanted: &[Condition]) -> bool {
        wanted.iter().all(|wanted| self.said.iter().any(|(said, _)| said == wanted))
    }

    /// Since when a condition is what it is to be.
    pub(super) fn since(&self, wanted: &Condition, now: Timestamp) -> String {
        let is_same = |said: &&Said| said.0.type_ == wanted.type_ && said.0.is_true == wanted.is_true;
        self.said.iter().find(is_same).map_or_else(|| format!("{now:.0}"), |(_, since)| since.clone())
    }
}

/// Our conditions of an object.
pub(super) fn conditions_of(object: &Node) -> Vec<Said> {
    let conditions = object.get("status").and_then(|status| status.get("conditions")?.as_list());
    conditions.unwrap_or_default().iter().filter_map(condition_of).collect()
}

fn condition_of(condition: &Node) -> Option<Said> {
    let text = |key: &str| condition.get(key).and_then(Node::as_str).map(str::to_owned);
    let name = text("type")?;
    let said = Condition {
        type_: OURS.into_iter().find(|ours| *ours == name)?,
        is_true: text("status")? == "True",
        observed_generation: condition.get("observedGeneration").and_then(Node::as_int),
        reason: text("reason")?,
        message: text("message")?,
    };
    Some((said, text("lastTransitionTime")?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::judge::resources::Reason;

    fn about(generation: Option<i64>) -> About {
        About { uid: "1".to_owned(), generation }
    }

    fn account(reason: Reason, until: Option<Date>) -> Account {
        Account { reason, message: "m".to_owned(), until }
    }

    fn said(conditions: &str) -> Vec<Said> {
        use portreeve_reports::source::{Limits, yaml};
        let text = format!("{{status: {{conditions: [{conditions}]}}}}");
        conditions_of(yaml::read(text.as_bytes(), &Limits::default())[0].as_ref().unwrap())
    }

    fn condition(type_: &str, status: &str) -> String {
        format!(
            "{{type: {type_}, status: '{status}', reason: Accepted, message: m, observedGeneration: 2, \
             lastTransitionTime: '2026-01-01T00:00:00Z'}}"
        )
    }

    fn day(text: &str) -> Date {
        text.parse().unwrap()
    }

    #[test]
    fn a_status_that_says_it_already_is_not_written_and_a_change_of_words_keeps_its_time() {
        let now = "2026-02-01T00:00:00.5Z".parse().unwrap();
        let statement = |reason, generation| {
            let account = account(reason, None);
            let said = said(&condition("Accepted", "True"));
            Statement::new((RuleKind::ImagePolicy, &account), (about(Some(generation)), said), day("2026-02-01"))
        };
        let is_said = |statement: &Statement| statement.says(&statement.wanted(None));
        assert!(is_said(&statement(Reason::Accepted, 2)));
        let edited = statement(Reason::Accepted, 3);
        assert!(!is_said(&edited));
        let since = |statement: &Statement| statement.since(&statement.wanted(None)[0], now);
        assert_eq!(since(&edited), "2026-01-01T00:00:00Z");
        assert_eq!(since(&statement(Reason::Invalid, 2)), "2026-02-01T00:00:00Z");
        for other in ["7", "{type: Accepted, status: 7}", &condition("Theirs", "True")] {
            assert_eq!(said(other), [], "{other}");
        }
    }

    #[test]
    fn an_exception_is_in_force_through_its_last_day_and_says_when_it_no_longer_is() {
        let account = account(Reason::Accepted, Some(day("2026-06-30")));
        let in_force = |today| {
            let statement = Statement::new((RuleKind::Exception, &account), (about(Some(1)), Vec::new()), day(today));
            let wanted = statement.wanted(None);
            assert!(wanted[0].type_ == ACCEPTED && wanted[0].is_true, "it is valid still");
            (wanted[1].type_, wanted[1].is_true, wanted[1].reason.clone())
        };
        assert_eq!(in_force("2026-06-30"), (IN_FORCE, true, "InForce".to_owned()));
        assert_eq!(in_force("2026-07-01"), (IN_FORCE, false, "Expired".to_owned()));
        let refused = self::account(Reason::Invalid, None);
        let statement = Statement::new((RuleKind::Exception, &refused), (about(None), Vec::new()), day("2026-06-30"));
        assert_eq!(statement.wanted(None)[1].reason, "NotAccepted");
    }

    #[test]
    fn what_was_said_of_a_platform_stays_until_its_keeper_says_otherwise() {
        let before = said(&[condition("Accepted", "True"), condition("Ready", "True")].join(","));
        let statement = |reason| {
            let account = account(reason, None);
            Statement::new((RuleKind::Platform, &account), (about(Some(2)), before.clone()), day("2026-06-30"))
        };
        let accepted = statement(Reason::Accepted);
        assert!(accepted.says(&accepted.wanted(None)) && accepted.wanted(None).len() == 2);
        let mut worse = accepted.wanted(None)[1].clone();
        worse.is_true = false;
        assert_eq!(accepted.wanted(Some(&worse))[1], worse);
        let refused = statement(Reason::Invalid).wanted(None);
        assert_eq!((refused[1].is_true, refused[1].reason.as_str()), (false, "NotAccepted"));
    }
}
