//! List and watch of every kind of the table: what the API server says, as events for the index.
//!
//! An API server that is away is asked again with growing pauses; the index keeps what it knows, and is told when the
//! outage lasts. A kind that may not be read, or that alone is not answered, is reported as hidden and asked again, so
//! that a granted role is noticed.

mod follow;
mod pulse;
mod raw;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use kube::api::{ApiResource, ListParams};
use kube::{Api, Client};
use portreeve_reports::Cause;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::cluster::index::Item;
use crate::cluster::kinds::WatchedKind;
use crate::cluster::writer::Event;
use crate::config::valid::ClusterRead;
use follow::{Heard, Lost, Newest, PAGE, follow};
use pulse::{Next, Pulse};
use raw::RawObject;

/// Pauses before a kind that was refused is asked for again.
const SHORTEST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// Pause before a kind of ours that is not installed is asked for again.
const ABSENT_PAUSE: Duration = Duration::from_secs(2);

/// Called with the kind's plural whenever its watch failed and starts again.
#[derive(Clone)]
pub struct OnRestart(Arc<dyn Fn(&'static str) + Send + Sync>);

impl OnRestart {
    /// A callback, usually a counter's.
    pub fn new(callback: impl Fn(&'static str) + Send + Sync + 'static) -> Self {
        Self(Arc::new(callback))
    }
}

impl fmt::Debug for OnRestart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OnRestart")
    }
}

/// What every watch needs.
#[derive(Clone)]
pub struct Watches {
    /// The API server.
    pub client: Client,
    /// The index.
    pub events: mpsc::Sender<Event>,
    /// Counts failures.
    pub on_restart: OnRestart,
    /// The end.
    pub shutdown: CancellationToken,
}

impl fmt::Debug for Watches {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watches").finish_non_exhaustive()
    }
}

/// Why a watch begins anew.
enum Restart {
    /// This server has no streaming lists.
    ListInstead,
    /// The kind is not installed: it has no objects.
    Absent,
    /// The kind cannot be read.
    Hidden(Cause, String),
    /// The API server answers, but not the watch.
    Again,
    /// The API server is back after an outage that was told.
    Back,
    /// The index has ended, and with it the process.
    Ended,
}

impl Watches {
    /// Watches one kind until the shutdown, unless the configuration says that it is not read.
    pub async fn run_unless_off(self, kind: &'static WatchedKind, secrets: ClusterRead) {
        match kind.read_as(secrets) {
            Ok(kind) => self.run(kind).await,
            Err(why) => {
                let event = Event::NotListed(kind, Cause::NotVisible, why.to_owned());
                // An index that has ended needs no event.
                let _ended = self.events.send(event).await;
                self.shutdown.cancelled().await;
            }
        }
    }

    /// Watches one kind until the shutdown.
    pub async fn run(self, kind: &'static WatchedKind) {
        let shutdown = self.shutdown.clone();
        tokio::select! {
            () = shutdown.cancelled() => {}
            () = self.watch_for_ever(kind) => shutdown.cancelled().await,
        }
    }

    async fn watch_for_ever(&self, kind: &'static WatchedKind) {
        let mut is_streamed = true;
        let mut pause = SHORTEST_PAUSE;
        let mut pulse = Pulse::new(Instant::now());
        let mut newest = Newest::default();
        let mut hidden = None;
        loop {
            match self.watch(kind, (is_streamed, &mut newest), (&mut pause, &mut pulse)).await {
                Restart::ListInstead => is_streamed = false,
                Restart::Again => tracing::debug!(kind = kind.plural, "a watch is not answered; listing again"),
                Restart::Back => tracing::info!(kind = kind.plural, "the API server is back; listing again"),
                Restart::Hidden(cause, why) => {
                    // What nobody answered is not known by that.
                    if cause != Cause::Unreachable {
                        pulse.known(Instant::now());
                    }
                    // Each refusal in a row is told by the finding, and said once.
                    if pause == SHORTEST_PAUSE || hidden.as_ref() != Some(&(cause, why.clone())) {
                        tracing::warn!(kind = kind.plural, %cause, why, "a kind cannot be read; asking again");
                    }
                    hidden = Some((cause, why.clone()));
                    if self.events.send(Event::NotListed(kind, cause, why)).await.is_err() {
                        return;
                    }
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
                Restart::Absent => {
                    tracing::debug!(kind = kind.plural, "a kind of ours is not installed");
                    pulse.known(Instant::now());
                    if self.events.send(Event::Listed(kind, Vec::new())).await.is_err() {
                        return;
                    }
                    tokio::time::sleep(ABSENT_PAUSE).await;
                }
                Restart::Ended => return,
            }
        }
    }

    async fn watch(
        &self,
        kind: &'static WatchedKind,
        (is_streamed, newest): (bool, &mut Newest),
        (pause, pulse): (&mut Duration, &mut Pulse),
    ) -> Restart {
        let api: Api<RawObject> = Api::all_with(self.client.clone(), &resource(kind));
        let mut stream = std::pin::pin!(follow((api, kind), is_streamed, newest));
        // Of an outage that was told, a list is the end only when it can be followed.
        let mut held: Option<Event> = None;
        loop {
            let next = tokio::select! {
                next = stream.next() => next,
                () = tokio::time::sleep_until(pulse.due()) => match self.feel(kind, pulse).await {
                    Some(restart) => return restart,
                    None => continue,
                },
            };
            // The stream has no end.
            let Some(next) = next else { return Restart::Again };
            let is_over = match next {
                Ok(Heard::News(list @ Event::Listed(..))) if pulse.is_told() => {
                    held = Some(list);
                    false
                }
                Ok(Heard::News(event)) => !self.pass_on(event, (pause, pulse)).await,
                Ok(Heard::Open) => {
                    let is_over = match held.take() {
                        Some(list) => !self.pass_on(list, (pause, pulse)).await,
                        None if pulse.is_told() => return Restart::Back,
                        None => false,
                    };
                    pulse.open(Instant::now());
                    is_over
                }
                Ok(Heard::Closed) => {
                    pulse.closed(Instant::now());
                    false
                }
                Err(lost) => match self.failed(kind, &lost, (is_streamed, pulse)).await {
                    Some(restart) => return restart,
                    None => false,
                },
            };
            if is_over {
                return Restart::Ended;
            }
        }
    }

    /// Hands an event to the index; whether that is still there.
    async fn pass_on(&self, event: Event, (pause, pulse): (&mut Duration, &mut Pulse)) -> bool {
        if matches!(event, Event::Listed(..)) {
            pulse.listed(Instant::now());
            *pause = SHORTEST_PAUSE;
        } else {
            pulse.heard(Instant::now());
        }
        self.events.send(event).await.is_ok()
    }

    /// Asks the API server whether it is there. A watch that works says nothing while nothing happens.
    async fn feel(&self, kind: &'static WatchedKind, pulse: &mut Pulse) -> Option<Restart> {
        let why = match pulse::ask(&self.client, &resource(kind)).await {
            Err(why) if pulse.unanswered(Instant::now()) => why,
            Err(_) => return None,
            Ok(()) => match pulse.answered(Instant::now()) {
                Next::Wait => return None,
                Next::Again => return Some(Restart::Again),
                Next::Back => return Some(Restart::Back),
                Next::Tell => "it answers lists, but not the watch".to_owned(),
            },
        };
        self.tell(kind, pulse, why).await
    }

    /// Tells that a kind cannot be followed.
    async fn tell(&self, kind: &'static WatchedKind, pulse: &Pulse, why: String) -> Option<Restart> {
        if !pulse.is_known() {
            // One kind alone must not keep all others from being judged. An API server that is away is waited for.
            let is_alone = pulse::is_there(&self.client).await;
            return is_alone.then_some(Restart::Hidden(Cause::Unreachable, why));
        }
        tracing::warn!(kind = kind.plural, why, "a kind cannot be followed; what is known of it is kept");
        self.events.send(Event::Away(kind, why)).await.is_err().then_some(Restart::Ended)
    }

    /// Whether the failure needs more than the stream's own next try.
    async fn failed(
        &self,
        kind: &'static WatchedKind,
        lost: &Lost,
        (is_streamed, pulse): (bool, &mut Pulse),
    ) -> Option<Restart> {
        if matches!(lost, Lost::Silent) {
            return Some(Restart::ListInstead);
        }
        let code = lost.status().map(|status| status.code);
        if kind.is_rule() && code == Some(404) {
            return Some(Restart::Absent);
        }
        (self.on_restart.0)(kind.plural);
        match code {
            Some(401 | 403) => return Some(Restart::Hidden(Cause::Forbidden, lost.to_string())),
            Some(404) => {
                let why = "the API server does not serve this kind";
                return Some(Restart::Hidden(Cause::NotVisible, why.to_owned()));
            }
            // What servers without the feature answer to a list that is to be streamed.
            Some(400 | 422) if is_streamed => return Some(Restart::ListInstead),
            Some(code) => tracing::warn!(kind = kind.plural, code, "a watch was refused; trying again"),
            None => tracing::warn!(kind = kind.plural, error = %lost, "a watch failed; trying again"),
        }
        if !pulse.failed(Instant::now()) {
            return None;
        }
        self.tell(kind, pulse, lost.to_string()).await
    }
}

/// Lists one kind once, page by page.
pub(super) async fn list(client: &Client, kind: &'static WatchedKind) -> Result<Vec<Item>, kube::Error> {
    let api: Api<RawObject> = Api::all_with(client.clone(), &resource(kind));
    let mut parameters = ListParams::default().limit(PAGE);
    let mut items = Vec::new();
    loop {
        let page = api.list(&parameters).await?;
        items.extend(page.items.into_iter().map(|object| object.into_item(kind)));
        match page.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) => parameters = parameters.continue_token(&token),
            None => return Ok(items),
        }
    }
}

/// What a refusal says; never nothing.
pub(super) fn said(status: &kube::core::Status) -> String {
    match status.message.trim() {
        "" => format!("the API server answered {} without saying why", status.code),
        message => message.to_owned(),
    }
}

/// The kind as the client names it.
pub(super) fn resource(kind: &WatchedKind) -> ApiResource {
    ApiResource {
        group: kind.group.to_owned(),
        version: kind.version.to_owned(),
        api_version: kind.api_version(),
        kind: kind.kind.to_owned(),
        plural: kind.plural.to_owned(),
    }
}

#[cfg(test)]
mod tests;
