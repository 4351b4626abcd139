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
    /// Something failed, or the list is not followed yet, and nothing was heard since.
    Failing,
    /// That has lasted, and the API server answers other requests.
    Doubtful,
    /// The outage was told.
    Away,
    /// It was told, and the API server answers again: what it lists is not followed yet.
    Returning,
}

/// What follows of an answer of the API server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Nothing.
    Wait,
    /// The watch begins anew, with a list.
    Again,
    /// The same, after an outage that was told.
    Back,
    /// It is to be told that the kind cannot be followed.
    Tell,
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

    /// Whether an outage was told that is not over.
    pub(super) fn is_told(&self) -> bool {
        matches!(self.state, State::Away | State::Returning)
    }

    /// When the API server is to be asked.
    pub(super) fn due(&self) -> Instant {
        self.due
    }

    /// An event came. One does not end an outage that was told: a list that is followed does.
    pub(super) fn heard(&mut self, now: Instant) {
        if !self.is_told() {
            self.is_well(now);
        }
    }

    /// The index is told of the kind's objects.
    pub(super) fn listed(&mut self, now: Instant) {
        self.is_known = true;
        self.closed(now);
    }

    /// There is no watch. Until one is open, nothing is heard.
    pub(super) fn closed(&mut self, now: Instant) {
        if self.state == State::Well {
            (self.state, self.due) = (State::Failing, now + GRACE);
        }
    }

    /// The watch is open.
    pub(super) fn open(&mut self, now: Instant) {
        self.is_well(now);
    }

    /// The index is told why it has nothing of the kind.
    pub(super) fn known(&mut self, now: Instant) {
        self.is_known = true;
        self.is_well(now);
    }

    /// The watch failed and is tried again; whether that is to be told now.
    pub(super) fn failed(&mut self, now: Instant) -> bool {
        self.closed(now);
        self.state == State::Doubtful && self.lasts(now)
    }

    /// The API server has answered. Lists are not all: a watch that is refused meanwhile sees nothing.
    pub(super) fn answered(&mut self, now: Instant) -> Next {
        self.due = now + if self.state == State::Well && self.is_known { SILENCE } else { GRACE };
        match self.state {
            State::Well | State::Returning => Next::Wait,
            State::Failing => {
                self.state = State::Doubtful;
                if self.is_known { Next::Again } else { Next::Wait }
            }
            // A first list may take its time.
            State::Doubtful if !self.is_known => Next::Wait,
            State::Doubtful => {
                self.lasts(now);
                Next::Tell
            }
            State::Away => {
                self.state = State::Returning;
                Next::Back
            }
        }
    }

    /// The API server has not answered; whether that is to be told now. Of a kind that the index does not know it is
    /// told each time: whether anything can be told of it depends on the others.
    pub(super) fn unanswered(&mut self, now: Instant) -> bool {
        self.due = now + GRACE;
        match self.state {
            State::Failing | State::Doubtful => return self.lasts(now),
            State::Well => self.state = State::Failing,
            State::Away | State::Returning => self.state = State::Away,
        }
        false
    }

    /// What fails has failed for long.
    fn lasts(&mut self, now: Instant) -> bool {
        self.due = now + GRACE;
        if self.is_known {
            self.state = State::Away;
        }
        true
    }

    fn is_well(&mut self, now: Instant) {
        (self.state, self.due) = (State::Well, now + SILENCE);
    }
}

/// Whether the API server can answer what it is asked. Its version it knows without its etcd.
pub(super) async fn is_there(client: &Client) -> bool {
    let Ok(request) = http::Request::get("/readyz").body(Vec::new()) else { return false };
    within_time(PATIENCE, client.request_text(request)).await.is_ok()
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

    #[tokio::test]
    async fn an_api_server_that_only_knows_its_version_is_not_there() {
        for (code, is_ready) in [(500, false), (200, true)] {
            let version = async || r#"{"major": "1", "minor": "34", "gitVersion": "v1.34.0"}"#;
            let ready = async move || (http::StatusCode::from_u16(code).unwrap(), "etcd");
            let app = axum::Router::new()
                .route("/version", axum::routing::get(version))
                .route("/readyz", axum::routing::get(ready));
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            let url = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
            // Without a provider there is no client, even for http.
            drop(rustls::crypto::aws_lc_rs::default_provider().install_default());
            let client = Client::try_from(kube::Config::new(url)).unwrap();
            tokio::select! {
                is_there = is_there(&client) => assert_eq!(is_there, is_ready, "{code}"),
                _ended = axum::serve(listener, app) => panic!("the server ended"),
            }
        }
    }

    #[test]
    fn failures_are_told_after_the_grace_once_of_a_kind_that_is_known() {
        let now = Instant::now();
        let mut pulse = Pulse::new(now);
        assert_eq!(pulse.due(), now + GRACE, "a first listing that hangs fails nowhere");
        assert!(!pulse.unanswered(now));
        assert!(pulse.unanswered(now) && pulse.unanswered(now), "each time, as nothing is known yet");
        pulse.known(now);
        assert!(!pulse.failed(now));
        assert_eq!(pulse.due(), now + GRACE);
        let later = now + GRACE / 2;
        assert!(!pulse.failed(later));
        assert_eq!(pulse.due(), now + GRACE, "further failures do not put it off");
        assert!(pulse.unanswered(later) && pulse.is_told());
        assert!(!pulse.unanswered(later), "once");
        pulse.heard(later);
        assert_eq!(pulse.answered(later), Next::Back, "then all is listed again");
        assert_eq!(pulse.answered(later), Next::Wait, "a list that takes its time is not begun anew");
        pulse.listed(later);
        assert!(pulse.is_told(), "until it is followed");
        pulse.open(later);
        assert_eq!((pulse.is_told(), pulse.answered(later)), (false, Next::Wait));
    }

    #[test]
    fn a_silent_watch_is_well_when_the_api_server_answers_and_away_when_it_does_not_twice() {
        let now = Instant::now();
        let mut pulse = Pulse::new(now);
        pulse.known(now);
        assert_eq!(pulse.due(), now + SILENCE);
        pulse.failed(now);
        pulse.open(now);
        assert_eq!(pulse.answered(now), Next::Wait);
        assert_eq!(pulse.due(), now + SILENCE, "the connection was renewed");
        assert!(!pulse.unanswered(now));
        assert_eq!(pulse.due(), now + GRACE);
        assert!(pulse.unanswered(now));
    }

    #[test]
    fn a_watch_that_is_not_had_while_lists_are_is_begun_anew_and_then_told() {
        let now = Instant::now();
        for fails in [true, false] {
            let mut pulse = Pulse::new(now);
            pulse.listed(now);
            assert_eq!(pulse.due(), now + GRACE, "a watch that is never open need not fail");
            assert!(!fails || !pulse.failed(now));
            assert_eq!(pulse.answered(now), Next::Again);
            pulse.listed(now);
            assert!(if fails { pulse.failed(now) } else { pulse.answered(now) == Next::Tell });
            assert!(pulse.is_told() && !pulse.failed(now), "once");
        }
    }

    #[test]
    fn a_first_list_that_is_slow_is_not_taken_for_one_that_fails() {
        let now = Instant::now();
        let mut pulse = Pulse::new(now);
        assert!(!pulse.failed(now));
        assert_eq!((pulse.answered(now), pulse.answered(now)), (Next::Wait, Next::Wait));
        assert!(pulse.failed(now), "what lasts is told");
    }
}
