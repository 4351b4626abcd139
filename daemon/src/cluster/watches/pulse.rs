//! Whether the API server is there, for one kind: failures that last are told apart from a connection that was renewed,
//! and a watch that is silent because nothing happens from one that nobody serves any more.

use std::time::Duration;

use kube::Client;
use kube::api::{Api, ApiResource, ListParams};
use tokio::time::Instant;

use super::raw::RawObject;
use crate::cluster::request::{Failed, within_time};
use crate::runtime::errors::chain;

/// How long failures may go on before they are told: a restart of one of several API servers is over by then.
pub(super) const GRACE: Duration = Duration::from_secs(10);
/// After how long a silence the API server is asked whether it is there.
const SILENCE: Duration = Duration::from_secs(60);
/// How long it may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// See the module.
#[derive(Debug)]
pub(super) struct Pulse {
    state: State,
    due: Instant,
    /// Whether the index was told of the kind by an answer. Before that there is nothing to keep, and silence is no peace.
    is_known: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Well,
    /// Something failed and nothing was heard since.
    Failing,
    /// The outage was told.
    Away,
}

impl Pulse {
    /// Well until something else is heard.
    pub(super) fn new(now: Instant) -> Self {
        Self { state: State::Well, due: now + GRACE, is_known: false }
    }

    /// Whether the index knows the kind.
    pub(super) fn is_known(&self) -> bool {
        self.is_known
    }

    /// When the API server is to be asked.
    pub(super) fn due(&self) -> Instant {
        self.due
    }

    /// An event came. One does not end an outage that was told: the list does.
    pub(super) fn heard(&mut self, now: Instant) {
        if self.state != State::Away {
            self.is_well(now);
        }
    }

    /// The index is told of the kind, all of it or why not.
    pub(super) fn known(&mut self, now: Instant) {
        self.is_known = true;
        self.is_well(now);
    }

    /// The watch failed and is tried again.
    pub(super) fn failed(&mut self, now: Instant) {
        if self.state == State::Well {
            (self.state, self.due) = (State::Failing, now + GRACE);
        }
    }

    /// The API server has answered; whether it does so again after an outage that was told.
    pub(super) fn answered(&mut self, now: Instant) -> bool {
        let was_away = self.state == State::Away;
        self.due = now + if was_away || !self.is_known { GRACE } else { SILENCE };
        if !was_away {
            self.state = State::Well;
        }
        was_away
    }

    /// The API server has not answered; whether that is to be told now. Of a kind that the index does not know it is
    /// told each time: whether anything can be told of it depends on the others.
    pub(super) fn unanswered(&mut self, now: Instant) -> bool {
        self.due = now + GRACE;
        let is_news = self.state == State::Failing;
        self.state = match self.state {
            State::Well => State::Failing,
            State::Failing if self.is_known => State::Away,
            other => other,
        };
        is_news
    }

    fn is_well(&mut self, now: Instant) {
        (self.state, self.due) = (State::Well, now + SILENCE);
    }
}

/// Whether the API server answers at all.
pub(super) async fn is_there(client: &Client) -> bool {
    within_time(PATIENCE, client.apiserver_version()).await.is_ok()
}

/// Asks for one object of the kind. A refusal is an answer, too: the watch is told what is refused.
pub(super) async fn ask(client: &Client, kind: &ApiResource) -> Result<(), String> {
    let api: Api<RawObject> = Api::all_with(client.clone(), kind);
    match within_time(PATIENCE, api.list(&ListParams::default().limit(1))).await {
        Ok(_) | Err(Failed::Changed) => Ok(()),
        Err(failed) if matches!(failed.code(), Some(400..500)) => Ok(()),
        Err(Failed::TimedOut) => Err(format!("no answer within {} s", PATIENCE.as_secs())),
        Err(Failed::Refused(error)) => match *error {
            kube::Error::Api(status) => Err(super::said(&status)),
            error => Err(chain(&error)),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_are_told_after_the_grace_once_of_a_kind_that_is_known() {
        let now = Instant::now();
        let mut pulse = Pulse::new(now);
        assert_eq!(pulse.due(), now + GRACE, "a first listing that hangs fails nowhere");
        assert!(!pulse.unanswered(now));
        assert!(pulse.unanswered(now) && pulse.unanswered(now), "each time, as nothing is known yet");
        pulse.known(now);
        pulse.failed(now);
        assert_eq!(pulse.due(), now + GRACE);
        let later = now + GRACE / 2;
        pulse.failed(later);
        assert_eq!(pulse.due(), now + GRACE, "further failures do not put it off");
        assert!(pulse.unanswered(later));
        assert!(!pulse.unanswered(later), "once");
        pulse.heard(later);
        assert!(pulse.answered(later), "then all is listed again");
        pulse.known(later);
        assert!(!pulse.answered(later));
    }

    #[test]
    fn a_silent_watch_is_well_when_the_api_server_answers_and_away_when_it_does_not_twice() {
        let now = Instant::now();
        let mut pulse = Pulse::new(now);
        pulse.known(now);
        assert_eq!(pulse.due(), now + SILENCE);
        pulse.failed(now);
        assert!(!pulse.answered(now));
        assert_eq!(pulse.due(), now + SILENCE, "the connection was renewed");
        assert!(!pulse.unanswered(now));
        assert_eq!(pulse.due(), now + GRACE);
        assert!(pulse.unanswered(now));
    }
}
