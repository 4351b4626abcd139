//! List and watch of every kind of the table: what the API server says, as events for the index.
//!
//! An API server that is away is asked again with growing pauses; the index keeps what it knows, and is told when the
//! outage lasts. A kind that may not be read, or that alone is not answered, is reported as hidden and asked again, so
//! that a granted role is noticed.

mod pulse;
mod raw;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use kube::api::{ApiResource, ListParams};
use kube::runtime::watcher::{self, DefaultBackoff, InitialListStrategy};
use kube::runtime::{WatchStreamExt, watcher as watch_api};
use kube::{Api, Client};
use portreeve_reports::Cause;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::cluster::index::Item;
use crate::cluster::kinds::WatchedKind;
use crate::cluster::writer::Event;
use crate::config::valid::ClusterRead;
use pulse::Pulse;
use raw::RawObject;

/// How long the first event of a streamed list may take. Servers from before streaming lists never send its end.
const STREAM_PATIENCE: Duration = Duration::from_secs(30);
/// Pauses before a kind that was refused is asked for again.
const SHORTEST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// Pause before a kind of ours that is not installed is asked for again.
const ABSENT_PAUSE: Duration = Duration::from_secs(2);
/// Objects of one page of a list.
const PAGE: u32 = 500;

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
        let mut strategy = InitialListStrategy::StreamingList;
        let mut pause = SHORTEST_PAUSE;
        let mut pulse = Pulse::new(Instant::now());
        let mut hidden = None;
        loop {
            match self.watch(kind, strategy.clone(), (&mut pause, &mut pulse)).await {
                Restart::ListInstead => strategy = InitialListStrategy::ListWatch,
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
        strategy: InitialListStrategy,
        (pause, pulse): (&mut Duration, &mut Pulse),
    ) -> Restart {
        let is_streamed = strategy == InitialListStrategy::StreamingList;
        let api: Api<RawObject> = Api::all_with(self.client.clone(), &resource(kind));
        let config = watcher::Config { initial_list_strategy: strategy, ..watcher::Config::default() };
        let mut stream = std::pin::pin!(watch_api(api, config).backoff(DefaultBackoff::default()));
        let mut listed: Option<Vec<Item>> = None;
        let mut is_synced = false;
        let mut heard = Instant::now();
        loop {
            let next = tokio::select! {
                next = stream.next() => next,
                // Once for each silence, however often the API server is asked meanwhile.
                () = tokio::time::sleep_until(heard + STREAM_PATIENCE), if is_streamed && !is_synced => None,
                () = tokio::time::sleep_until(pulse.due()) => match self.feel(kind, pulse).await {
                    Some(restart) => return restart,
                    None => continue,
                },
            };
            heard = Instant::now();
            let next = match next {
                Some(Ok(event)) => event,
                Some(Err(error)) => match self.failed(kind, &error, is_streamed) {
                    Some(restart) => return restart,
                    None => {
                        pulse.failed(Instant::now());
                        continue;
                    }
                },
                // The stream has ended, or a streamed list that was waited for says nothing.
                None => return Restart::ListInstead,
            };
            let Some(event) = fold(kind, next, &mut listed) else { continue };
            pulse.heard(Instant::now());
            if matches!(event, Event::Listed(..)) {
                is_synced = true;
                pulse.known(Instant::now());
                *pause = SHORTEST_PAUSE;
            }
            if self.events.send(event).await.is_err() {
                return Restart::Ended;
            }
        }
    }

    /// Asks the API server whether it is there. A watch that works says nothing while nothing happens.
    async fn feel(&self, kind: &'static WatchedKind, pulse: &mut Pulse) -> Option<Restart> {
        let asked = pulse::ask(&self.client, &resource(kind)).await;
        let Err(why) = asked else { return pulse.answered(Instant::now()).then_some(Restart::Back) };
        if !pulse.unanswered(Instant::now()) {
            return None;
        }
        if !pulse.is_known() {
            // One kind alone must not keep all others from being judged. An API server that is away is waited for.
            let is_alone = pulse::is_there(&self.client).await;
            return is_alone.then_some(Restart::Hidden(Cause::Unreachable, why));
        }
        tracing::warn!(kind = kind.plural, why, "a kind cannot be followed; what is known of it is kept");
        self.events.send(Event::Away(kind, why)).await.is_err().then_some(Restart::Ended)
    }

    /// Whether the failure needs more than the watcher's own next try.
    fn failed(&self, kind: &'static WatchedKind, error: &watcher::Error, is_streamed: bool) -> Option<Restart> {
        if kind.is_rule() && status(error).is_some_and(|status| status.code == 404) {
            return Some(Restart::Absent);
        }
        (self.on_restart.0)(kind.plural);
        let Some(status) = status(error) else {
            tracing::warn!(kind = kind.plural, %error, "a watch failed; trying again");
            return None;
        };
        match status.code {
            401 | 403 => Some(Restart::Hidden(Cause::Forbidden, said(status))),
            404 => Some(Restart::Hidden(Cause::NotVisible, "the API server does not serve this kind".to_owned())),
            // What servers without the feature answer to a list that is to be streamed.
            400 | 422 if is_streamed => Some(Restart::ListInstead),
            code => {
                tracing::warn!(kind = kind.plural, code, "a watch was refused; trying again");
                None
            }
        }
    }
}

/// The watcher's events as the index's. A list is handed over when it is complete: only then is absence proven.
fn fold(kind: &'static WatchedKind, event: watcher::Event<RawObject>, listed: &mut Option<Vec<Item>>) -> Option<Event> {
    match event {
        watcher::Event::Apply(object) => Some(Event::Applied(object.into_item(kind))),
        watcher::Event::Delete(object) => Some(Event::Deleted(object.key(kind))),
        watcher::Event::Init => {
            *listed = Some(Vec::new());
            None
        }
        watcher::Event::InitApply(object) => {
            listed.get_or_insert_default().push(object.into_item(kind));
            None
        }
        watcher::Event::InitDone => Some(Event::Listed(kind, listed.take().unwrap_or_default())),
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

fn status(error: &watcher::Error) -> Option<&kube::core::Status> {
    use watcher::Error::{InitialListFailed, NoResourceVersion, WatchError, WatchFailed, WatchStartFailed};
    match error {
        InitialListFailed(error) | WatchStartFailed(error) | WatchFailed(error) => match error {
            kube::Error::Api(status) => Some(status),
            _ => None,
        },
        WatchError(status) => Some(status),
        NoResourceVersion => None,
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
