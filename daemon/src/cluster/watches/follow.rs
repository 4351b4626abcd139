//! One kind, listed and then watched from the list's version on: a stream without an end, which goes on by itself after
//! each failure, with growing pauses.
//!
//! The client library has such a stream, too. This one goes by the version of the list, which that one keeps to itself.
//!
//! * A list is what the quorum says, not what one of several API servers has in its memory. One that is older than what
//!   was heard before is none: it proves neither that something is gone nor that it is there.
//! * A version that the API server has forgotten (410) is given up wherever that is said, and all is listed anew.

use std::time::Duration;

use futures::StreamExt;
use futures::stream::{self, BoxStream, Stream};
use kube::Api;
use kube::api::{ListParams, WatchEvent, WatchParams};
use kube::runtime::utils::Backoff;
use kube::runtime::watcher::DefaultBackoff;
use tokio::time::{Instant, timeout};

use super::raw::RawObject;
use crate::cluster::index::Item;
use crate::cluster::kinds::WatchedKind;
use crate::cluster::writer::Event;
use crate::runtime::errors::chain;

/// Objects of one page of a list.
pub(super) const PAGE: u32 = 500;
/// How long each event of a streamed list may take. Servers from before streaming lists never send its end.
const STREAM_PATIENCE: Duration = Duration::from_secs(30);
/// How long a watch may say nothing. The API server ends each after 290 s.
const SILENCE: Duration = Duration::from_secs(295);
/// A watch that ends sooner and has said nothing is not asked for again at once.
const SHORT: Duration = Duration::from_secs(1);
/// What the API server writes on the bookmark after the last object of a streamed list.
const END_OF_LIST: &str = "k8s.io/initial-events-end";

/// What the stream says.
pub(super) enum Heard {
    /// Something for the index.
    News(Event),
    /// The watch is open: from the last list on, nothing is missed.
    Open,
    /// The watch has ended, as each does after a while.
    Closed,
}

/// Why the stream begins a step anew.
#[derive(Debug, thiserror::Error)]
pub(super) enum Lost {
    /// Refused, not reached, or broken off.
    #[error("{}", said(.0))]
    Api(#[from] kube::Error),
    /// A list from before what is known.
    #[error(
        "the API server lists version {listed}, and has given version {seen} before: it is behind, or its etcd was \
         restored from a backup; after a restore, restart this process"
    )]
    Past {
        /// The version of the list.
        listed: u64,
        /// The newest that was seen.
        seen: u64,
    },
    /// Without a version nothing can be followed.
    #[error("the API server has answered without a resourceVersion")]
    NoVersion,
    /// A streamed list has ended before its last object.
    #[error("the list was broken off")]
    BrokenOff,
    /// A streamed list that was waited for says nothing.
    #[error("the list is not streamed")]
    Silent,
}

fn said(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) => super::said(status),
        error => chain(error),
    }
}

impl Lost {
    /// The API server's refusal, when it is one.
    pub(super) fn status(&self) -> Option<&kube::core::Status> {
        match self {
            Self::Api(kube::Error::Api(status)) => Some(status),
            _ => None,
        }
    }
}

/// The newest version that was seen of a kind. Versions are numbers that grow, as far as they are numbers.
#[derive(Debug, Default)]
pub(super) struct Newest(Option<u64>);

impl Newest {
    fn saw(&mut self, version: &str) -> Result<(), Lost> {
        if version.is_empty() {
            return Err(Lost::NoVersion);
        }
        self.0 = self.0.max(version.parse().ok());
        Ok(())
    }

    fn listed(&mut self, version: &str) -> Result<(), Lost> {
        match (version.parse(), self.0) {
            (Ok(listed), Some(seen)) if listed < seen => Err(Lost::Past { listed, seen }),
            _ => self.saw(version),
        }
    }
}

type Events = BoxStream<'static, kube::Result<WatchEvent<RawObject>>>;

#[derive(Default)]
enum State {
    #[default]
    Unlisted,
    Paged(Option<String>, Vec<Item>),
    Streamed(Events, Vec<Item>),
    /// To be watched from this version on.
    Listed(String),
    Watched(Watched),
}

struct Watched {
    events: Events,
    version: String,
    opened: Instant,
    is_told: bool,
    has_spoken: bool,
}

impl Watched {
    fn from(events: Events, version: String) -> State {
        State::Watched(Self { events, version, opened: Instant::now(), is_told: false, has_spoken: false })
    }
}

struct Following<'a> {
    api: Api<RawObject>,
    kind: &'static WatchedKind,
    is_streamed: bool,
    newest: &'a mut Newest,
    backoff: DefaultBackoff,
    pause: Option<Duration>,
    state: State,
}

/// See the module. `is_streamed` asks for the list as a part of the watch.
pub(super) fn follow<'a>(
    (api, kind): (Api<RawObject>, &'static WatchedKind),
    is_streamed: bool,
    newest: &'a mut Newest,
) -> impl Stream<Item = Result<Heard, Lost>> + use<'a> {
    let backoff = DefaultBackoff::default();
    let following = Following { api, kind, is_streamed, newest, backoff, pause: None, state: State::default() };
    stream::unfold(following, async |mut following| Some((following.next().await, following)))
}

impl Following<'_> {
    async fn next(&mut self) -> Result<Heard, Lost> {
        if let Some(pause) = self.pause.take() {
            tokio::time::sleep(pause).await;
        }
        loop {
            match self.step().await {
                Ok(None) => {}
                Ok(Some(heard)) => return Ok(heard),
                Err(lost) => {
                    self.pause = self.backoff.next();
                    return Err(lost);
                }
            }
        }
    }

    /// What fails is listed anew, unless its step leaves another state.
    async fn step(&mut self) -> Result<Option<Heard>, Lost> {
        match std::mem::take(&mut self.state) {
            State::Unlisted if self.is_streamed => {
                let parameters = WatchParams { send_initial_events: true, ..WatchParams::default() };
                let events = timeout(STREAM_PATIENCE, self.api.watch(&parameters, "")).await;
                self.state = State::Streamed(events.map_err(|_| Lost::Silent)??.boxed(), Vec::new());
                Ok(None)
            }
            State::Unlisted => self.page(None, Vec::new()).await,
            State::Paged(token, items) => self.page(token, items).await,
            State::Streamed(events, items) => self.streamed(events, items).await,
            State::Listed(version) => self.open(version).await,
            State::Watched(watched) => self.hear(watched).await,
        }
    }

    async fn page(&mut self, token: Option<String>, mut items: Vec<Item>) -> Result<Option<Heard>, Lost> {
        let parameters = ListParams { continue_token: token, ..ListParams::default().limit(PAGE) };
        let page = self.api.list(&parameters).await?;
        let version = page.metadata.resource_version.unwrap_or_default();
        self.newest.listed(&version)?;
        items.extend(page.items.into_iter().map(|object| object.into_item(self.kind)));
        match page.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) => {
                self.state = State::Paged(Some(token), items);
                Ok(None)
            }
            None => {
                self.state = State::Listed(version);
                Ok(Some(Heard::News(Event::Listed(self.kind, items))))
            }
        }
    }

    async fn streamed(&mut self, mut events: Events, mut items: Vec<Item>) -> Result<Option<Heard>, Lost> {
        let next = timeout(STREAM_PATIENCE, events.next()).await.map_err(|_| Lost::Silent)?;
        match next.ok_or(Lost::BrokenOff)?? {
            WatchEvent::Added(object) | WatchEvent::Modified(object) => items.push(object.into_item(self.kind)),
            WatchEvent::Bookmark(mark) if mark.metadata.annotations.contains_key(END_OF_LIST) => {
                let version = mark.metadata.resource_version;
                self.newest.listed(&version)?;
                self.state = Watched::from(events, version);
                return Ok(Some(Heard::News(Event::Listed(self.kind, items))));
            }
            WatchEvent::Bookmark(_) => {}
            WatchEvent::Deleted(gone) => {
                let gone = gone.key(self.kind);
                items.retain(|item| item.key() != gone);
            }
            WatchEvent::Error(status) => return Err(Lost::Api(kube::Error::Api(status))),
        }
        self.state = State::Streamed(events, items);
        Ok(None)
    }

    async fn open(&mut self, version: String) -> Result<Option<Heard>, Lost> {
        match self.api.watch(&WatchParams::default(), &version).await {
            Ok(events) => {
                self.state = Watched::from(events.boxed(), version);
                Ok(None)
            }
            Err(error) => {
                let is_forgotten = matches!(&error, kube::Error::Api(status) if status.code == 410);
                if !is_forgotten {
                    self.state = State::Listed(version);
                }
                Err(error.into())
            }
        }
    }

    async fn hear(&mut self, mut watched: Watched) -> Result<Option<Heard>, Lost> {
        if !watched.is_told {
            self.state = State::Watched(Watched { is_told: true, ..watched });
            return Ok(Some(Heard::Open));
        }
        let (version, heard) = match timeout(SILENCE, watched.events.next()).await {
            Ok(Some(Ok(event))) => self.event(event)?,
            // What is no event, or says that there will be none, would come again.
            Ok(Some(Err(error @ (kube::Error::Api(_) | kube::Error::SerdeError(_))))) => return Err(error.into()),
            Ok(Some(Err(error))) => {
                self.state = State::Listed(watched.version);
                return Err(error.into());
            }
            Ok(None) | Err(_) => {
                if !watched.has_spoken && watched.opened.elapsed() < SHORT {
                    self.pause = self.backoff.next();
                }
                self.state = State::Listed(watched.version);
                return Ok(Some(Heard::Closed));
            }
        };
        self.newest.saw(&version)?;
        self.backoff.reset();
        self.state = State::Watched(Watched { version, has_spoken: true, ..watched });
        Ok(heard)
    }

    /// The version of an event, and what it says.
    fn event(&self, event: WatchEvent<RawObject>) -> Result<(String, Option<Heard>), Lost> {
        match event {
            WatchEvent::Added(object) | WatchEvent::Modified(object) => {
                Ok((object.version(), Some(Heard::News(Event::Applied(object.into_item(self.kind))))))
            }
            WatchEvent::Deleted(object) => {
                Ok((object.version(), Some(Heard::News(Event::Deleted(object.key(self.kind))))))
            }
            WatchEvent::Bookmark(mark) => Ok((mark.metadata.resource_version, None)),
            WatchEvent::Error(status) => Err(Lost::Api(kube::Error::Api(status))),
        }
    }
}
