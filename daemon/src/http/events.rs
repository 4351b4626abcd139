//! `/events`: tells a page that something changed. It holds no findings; the page asks for what it shows.

use std::convert::Infallible;
use std::sync::LazyLock;
use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures::Stream;
use tokio::sync::{Semaphore, SemaphorePermit, watch};
use tokio_util::sync::CancellationToken;

use super::Parts;
use crate::store::{Board, Counts};

/// Pages that listen at one time. One more is told to ask again later.
static LISTENERS: LazyLock<Semaphore> = LazyLock::new(|| Semaphore::new(64));
/// The shortest time between two events of a stream: a rescan changes thousands of rows, a page reloads twice.
const GAP: Duration = Duration::from_millis(300);
/// How often a quiet stream shows that it lives.
const ALIVE: Duration = Duration::from_secs(15);

struct Listener {
    counts: watch::Receiver<Counts>,
    board: watch::Receiver<Board>,
    shutdown: CancellationToken,
    is_new: bool,
    _slot: SemaphorePermit<'static>,
}

/// One event at once, then one for each change, at most one each [`GAP`].
pub(super) async fn stream(State(parts): State<Parts>) -> Response {
    let Ok(slot) = LISTENERS.try_acquire() else {
        return (StatusCode::SERVICE_UNAVAILABLE, "too many pages listen; this one can be reloaded by hand\n")
            .into_response();
    };
    let listener = Listener {
        counts: parts.store.counts(),
        board: parts.board.clone(),
        shutdown: parts.shutdown.clone(),
        is_new: true,
        _slot: slot,
    };
    Sse::new(changes(listener)).keep_alive(KeepAlive::new().interval(ALIVE)).into_response()
}

fn changes(listener: Listener) -> impl Stream<Item = Result<Event, Infallible>> {
    futures::stream::unfold(listener, |mut listener| async {
        let revision = listener.next().await?;
        Some((Ok(Event::default().event("changed").data(revision.to_string())), listener))
    })
}

impl Listener {
    /// The revision after the next change; `None` at the shutdown.
    async fn next(&mut self) -> Option<u64> {
        if !std::mem::take(&mut self.is_new) {
            tokio::select! {
                () = self.shutdown.cancelled() => return None,
                changed = self.counts.changed() => changed.ok()?,
                changed = self.board.changed() => changed.ok()?,
            }
            tokio::select! {
                () = self.shutdown.cancelled() => return None,
                () = tokio::time::sleep(GAP) => {}
            }
        }
        self.board.mark_unchanged();
        Some(self.counts.borrow_and_update().revision)
    }
}
