//! What reviews may cost: bytes of one, time of its body, and memory of all that are in work at one time.
//!
//! Small reviews and large ones have rooms of their own, so that those that people and controllers make every day never
//! wait behind a few that are huge. Within a room the first who came is the first who enters.

use std::time::Duration;

use axum::body::{Body, HttpBody as _};
use axum::http::StatusCode;
use futures::StreamExt as _;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::timeout;

use crate::judge::review::request::{MAX_REVIEW_BYTES, MAX_REVIEW_VALUES, ReviewError, ReviewRequest};
use crate::registry::Deadline;

/// How long a body may take to arrive once there is room for it.
const BODY_TIMEOUT: Duration = Duration::from_secs(5);

/// Bodies that are small, and bytes of all of them that are read at a time.
const SMALL_BODY: usize = 256 << 10;
const SMALL_BODIES: usize = 16 << 20;
/// Bytes of large bodies that are read at a time: three of the largest.
const LARGE_BODIES: usize = 3 * MAX_REVIEW_BYTES;

/// Trees that are small, and values of all of them that are judged at a time. A value costs about 250 bytes.
const SMALL_TREE: usize = 10_000;
const SMALL_TREES: usize = 200_000;
/// Values of large trees that are judged at a time: one of the largest.
const LARGE_TREES: usize = MAX_REVIEW_VALUES;
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
            Self::Busy | Self::Unsettled => StatusCode::SERVICE_UNAVAILABLE,
        }
    }
}

/// A budget in two parts.
struct Room {
    small: Semaphore,
    large: Semaphore,
    /// The heaviest that is small.
    threshold: usize,
    /// The heaviest there is; what weighs more is refused when it is read.
    most: usize,
}

impl Room {
    fn new((threshold, small): (usize, usize), (most, large): (usize, usize)) -> Self {
        Self { small: Semaphore::new(small), large: Semaphore::new(large), threshold, most }
    }

    async fn enter(&self, weight: usize, deadline: Deadline) -> Result<SemaphorePermit<'_>, Refused> {
        let weight = weight.min(self.most);
        let part = if weight <= self.threshold { &self.small } else { &self.large };
        let entered = part.acquire_many(u32::try_from(weight).unwrap_or(u32::MAX));
        // Nobody closes a room.
        timeout(deadline.remaining(), entered).await.ok().and_then(Result::ok).ok_or(Refused::Busy)
    }
}

/// The budgets of a webhook.
pub(super) struct Intake {
    bodies: Room,
    trees: Room,
}

impl Default for Intake {
    fn default() -> Self {
        Self {
            bodies: Room::new((SMALL_BODY, SMALL_BODIES), (MAX_REVIEW_BYTES, LARGE_BODIES)),
            trees: Room::new((SMALL_TREE, SMALL_TREES), (MAX_REVIEW_VALUES, LARGE_TREES)),
        }
    }
}

impl Intake {
    /// Reads a review, and the room that it has until it is answered. Its text is gone when it is parsed.
    pub(super) async fn review(
        &self,
        body: Body,
        deadline: Deadline,
    ) -> Result<(ReviewRequest, SemaphorePermit<'_>), Refused> {
        let announced = body.size_hint().upper().and_then(|bytes| usize::try_from(bytes).ok());
        if announced.is_some_and(|bytes| bytes > MAX_REVIEW_BYTES) {
            return Err(Refused::TooLarge);
        }
        let _bytes = self.bodies.enter(announced.unwrap_or(MAX_REVIEW_BYTES), deadline).await?;
        let patience = BODY_TIMEOUT.min(deadline.remaining());
        let bytes = timeout(patience, collected(body, announced)).await.unwrap_or(Err(Refused::Slow(patience)))?;
        let values = self.trees.enter(most_values(&bytes), deadline).await?;
        Ok((ReviewRequest::parse(&bytes)?, values))
    }
}

fn told(time: Duration) -> String {
    if time.subsec_nanos() == 0 { format!("{} s", time.as_secs()) } else { format!("{} ms", time.as_millis()) }
}

/// The whole body. One that does not say how large it is is read to where it is too large.
async fn collected(body: Body, announced: Option<usize>) -> Result<Vec<u8>, Refused> {
    let mut bytes = Vec::with_capacity(announced.unwrap_or_default().min(MAX_REVIEW_BYTES));
    let mut chunks = body.into_data_stream();
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk.map_err(|_| Refused::Broken)?;
        if bytes.len() + chunk.len() > MAX_REVIEW_BYTES {
            return Err(Refused::TooLarge);
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes)
}

/// At most so many values are in a JSON text, and what is found about its images counts as more: each value but the
/// first follows a comma, or an opened list or map; each image has its key, as it is or written with an escape.
fn most_values(text: &[u8]) -> usize {
    let values = text.iter().filter(|byte| matches!(byte, b',' | b'[' | b'{')).count();
    let is_image = |(at, byte): &(usize, &u8)| match byte {
        b'"' => text[*at..].starts_with(b"\"image\""),
        b'\\' => text.get(at + 1) == Some(&b'u'),
        _ => false,
    };
    1 + values + OF_IMAGE * text.iter().enumerate().filter(is_image).count()
}

#[cfg(test)]
mod tests;
