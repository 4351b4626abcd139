//! What reviews may cost: bytes of one, time of its body, and memory of all that are in work at one time.
//!
//! Small reviews and large ones have rooms of their own, so that those that people and controllers make every day never
//! wait behind a few that are huge. Each room is shared by address ([`Room`]): nobody can have what others need. A body
//! has room for what of it has arrived, so one that does not come has none; and it never waits for room, so that no two
//! can wait for each other.

use std::net::IpAddr;
use std::time::Duration;

use axum::body::{Body, HttpBody as _};
use axum::http::StatusCode;
use futures::StreamExt as _;
use tokio::time::timeout;

use super::room::{Held, Room};
use crate::judge::review::request::{MAX_REVIEW_BYTES, MAX_REVIEW_VALUES, ReviewError, ReviewRequest};
use crate::registry::Deadline;

/// How long a body may take to arrive.
const BODY_TIMEOUT: Duration = Duration::from_secs(5);

/// Bytes of a body that are small, and those of all bodies that are kept at a time.
const SMALL_BODY: usize = 256 << 10;
const SMALL_BODIES: usize = 16 << 20;
/// What of bodies is beyond that: the largest one, where another address has all that it can.
const LARGE_BODIES: usize = 4 * MAX_REVIEW_BYTES;
/// What a body has room for when its first byte is there; from then on twice what has arrived.
const FIRST_BYTES: usize = 4 << 10;

/// Trees that are small, and values of all of them that are judged at a time. A value costs about 250 bytes.
const SMALL_TREE: usize = 10_000;
const SMALL_TREES: usize = 200_000;
/// Values of large trees that are judged at a time: one of the largest, where another address has one.
const LARGE_TREES: usize = 2 * MAX_REVIEW_VALUES;
/// As many values what is found about an image costs.
const OF_IMAGE: usize = 120;

/// Why a review is not answered with a decision.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refused {
    /// Too many bytes.
    #[error("the review has more than {} MiB, the most that is read", MAX_REVIEW_BYTES >> 20)]
    TooLarge,
    /// The body stopped on its way.
    #[error("the body did not arrive within {}", told(*.0))]
    Slow(Duration),
    /// The connection broke.
    #[error("the body did not arrive whole")]
    Broken,
    /// Others had all the room until the deadline.
    #[error("other reviews were in work until the deadline; more replicas share them")]
    Busy,
    /// The bodies of others have all the room.
    #[error("there is no room for the body beside those of other reviews; more replicas share them")]
    Crowded,
    /// There is no judge yet.
    #[error("the exceptions and policies of the cluster were not read yet")]
    Unsettled,
    /// It is no review.
    #[error(transparent)]
    Review(#[from] ReviewError),
}

impl Refused {
    /// The HTTP status; to each the API server applies the entry's `failurePolicy`.
    pub(super) fn status(&self) -> StatusCode {
        match self {
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Slow(_) => StatusCode::REQUEST_TIMEOUT,
            Self::Broken | Self::Review(_) => StatusCode::BAD_REQUEST,
            Self::Busy | Self::Crowded | Self::Unsettled => StatusCode::SERVICE_UNAVAILABLE,
        }
    }
}

/// The budgets of a webhook.
pub(super) struct Intake {
    small_bodies: Room,
    large_bodies: Room,
    small_trees: Room,
    large_trees: Room,
}

impl Default for Intake {
    fn default() -> Self {
        Self {
            small_bodies: Room::new(SMALL_BODIES),
            large_bodies: Room::new(LARGE_BODIES),
            small_trees: Room::new(SMALL_TREES),
            large_trees: Room::new(LARGE_TREES),
        }
    }
}

impl Intake {
    /// Reads a review from an address, and the room that it has until it is answered. Its text is gone when it is
    /// parsed.
    pub(super) async fn review(
        &self,
        (body, from): (Body, IpAddr),
        deadline: Deadline,
    ) -> Result<(ReviewRequest, Held), Refused> {
        let announced = body.size_hint().upper().and_then(|bytes| usize::try_from(bytes).ok());
        if announced.is_some_and(|bytes| bytes > MAX_REVIEW_BYTES) {
            return Err(Refused::TooLarge);
        }
        let mut kept = Kept {
            bytes: Vec::new(),
            most: announced.unwrap_or(MAX_REVIEW_BYTES).min(MAX_REVIEW_BYTES),
            room: 0,
            small: self.small_bodies.nothing(from),
            large: self.large_bodies.nothing(from),
        };
        let patience = BODY_TIMEOUT.min(deadline.remaining());
        timeout(patience, collected(body, &mut kept)).await.unwrap_or(Err(Refused::Slow(patience)))?;
        // What weighs more is refused when it is parsed.
        let values = most_values(&kept.bytes).min(MAX_REVIEW_VALUES);
        let trees = if values <= SMALL_TREE { &self.small_trees } else { &self.large_trees };
        let values = trees.enter(from, values, deadline).await.ok_or(Refused::Busy)?;
        Ok((ReviewRequest::parse(&kept.bytes)?, values))
    }
}

/// What has arrived of a body, and the room that it has.
struct Kept {
    bytes: Vec<u8>,
    /// More will not come.
    most: usize,
    room: usize,
    small: Held,
    large: Held,
}

impl Kept {
    fn keep(&mut self, chunk: &[u8]) -> Result<(), Refused> {
        let length = self.bytes.len() + chunk.len();
        if length > self.room {
            let room = length.next_power_of_two().max(FIRST_BYTES).min(self.most).max(length);
            let small = |room: usize| room.min(SMALL_BODY);
            let more = small(room) - small(self.room);
            if !(self.small.grow(more) && self.large.grow(room - self.room - more)) {
                return Err(Refused::Crowded);
            }
            self.bytes.reserve_exact(room - self.bytes.len());
            self.room = room;
        }
        self.bytes.extend_from_slice(chunk);
        Ok(())
    }
}

fn told(time: Duration) -> String {
    if time.subsec_nanos() == 0 { format!("{} s", time.as_secs()) } else { format!("{} ms", time.as_millis()) }
}

/// The whole body. One that is too large is read to where that is known, so that whoever still writes gets an answer.
async fn collected(body: Body, kept: &mut Kept) -> Result<(), Refused> {
    let mut chunks = body.into_data_stream();
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk.map_err(|_| Refused::Broken)?;
        if kept.bytes.len() + chunk.len() > MAX_REVIEW_BYTES {
            return Err(Refused::TooLarge);
        }
        kept.keep(&chunk)?;
    }
    Ok(())
}

/// At most so many values are in a JSON text, and what is found about its images counts as more: each value but the
/// first follows a comma, or an opened list or map; each image has its key, as it is or with an escape for one of its
/// letters. Other escapes are everyday: an API server writes `<`, `>` and `&` with them.
fn most_values(text: &[u8]) -> usize {
    let values = text.iter().filter(|byte| matches!(byte, b',' | b'[' | b'{')).count();
    let is_image = |(at, byte): &(usize, &u8)| match byte {
        b'"' => text[*at..].starts_with(b"\"image\""),
        b'\\' => is_escape_of_image(&text[*at..]),
        _ => false,
    };
    1 + values + OF_IMAGE * text.iter().enumerate().filter(is_image).count()
}

/// Whether a text begins with an escape of one of the letters of `image`.
fn is_escape_of_image(text: &[u8]) -> bool {
    let digit = text.strip_prefix(b"\\u006").and_then(<[u8]>::first);
    digit.is_some_and(|digit| matches!(digit, b'1' | b'5' | b'7' | b'9' | b'd' | b'D'))
}

#[cfg(test)]
mod tests;
