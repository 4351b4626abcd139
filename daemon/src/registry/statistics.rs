//! Counters of the client, for metrics.

use std::sync::atomic::{AtomicU64, Ordering};

use portreeve_reports::Cause;

use super::failure::Outcome;

/// How a request ended. A closed set, so that it can be a metric label.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum RequestOutcome {
    /// Answered with what was asked for.
    Found,
    /// Answered with 404.
    Absent,
    /// Answered with something that is not what it should be.
    Unreadable,
    /// No answer, or a server error.
    Unreachable,
    /// 401 or 403.
    Forbidden,
    /// 429.
    RateLimited,
    /// The deadline passed first.
    TimedOut,
    /// A cap was reached.
    TooLarge,
}

impl RequestOutcome {
    /// All outcomes, in the order of [`Statistics::requests`].
    pub const ALL: [Self; 8] = [
        Self::Found,
        Self::Absent,
        Self::Unreadable,
        Self::Unreachable,
        Self::Forbidden,
        Self::RateLimited,
        Self::TimedOut,
        Self::TooLarge,
    ];

    /// The word used as a metric label.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Found => "found",
            Self::Absent => "absent",
            Self::Unreadable => "unreadable",
            Self::Unreachable => "unreachable",
            Self::Forbidden => "forbidden",
            Self::RateLimited => "rate-limited",
            Self::TimedOut => "timed-out",
            Self::TooLarge => "too-large",
        }
    }

    fn of<T>(outcome: &Outcome<T>) -> Self {
        match outcome {
            Ok(Some(_)) => Self::Found,
            Ok(None) => Self::Absent,
            Err(failure) => match failure.cause {
                Cause::Unreachable => Self::Unreachable,
                Cause::Forbidden => Self::Forbidden,
                Cause::RateLimited => Self::RateLimited,
                Cause::TimedOut => Self::TimedOut,
                Cause::TooLarge => Self::TooLarge,
                _ => Self::Unreadable,
            },
        }
    }
}

/// A reading of the counters. All count up from the start of the process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statistics {
    /// Requests to registries by outcome; redirects, token requests and retries are part of their request.
    pub requests: [(RequestOutcome, u64); 8],
    /// Evidence gathered from a registry.
    pub gathered: u64,
    /// Evidence answered without a request of its own: kept, or shared with a question under way.
    pub shared: u64,
}

impl Statistics {
    /// Requests that ended so.
    pub fn requests_with(&self, outcome: RequestOutcome) -> u64 {
        self.requests.iter().find(|(of, _)| *of == outcome).map_or(0, |(_, count)| *count)
    }
}

#[derive(Default)]
pub(super) struct Counters {
    requests: [AtomicU64; 8],
    gathered: AtomicU64,
    shared: AtomicU64,
}

impl Counters {
    pub(super) fn count_request<T>(&self, outcome: &Outcome<T>) {
        if let Some(counter) = self.requests.get(RequestOutcome::of(outcome) as usize) {
            counter.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(super) fn count_gathered(&self) {
        self.gathered.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn count_shared(&self) {
        self.shared.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn read(&self) -> Statistics {
        let requests = RequestOutcome::ALL.map(|outcome| {
            (outcome, self.requests.get(outcome as usize).map_or(0, |counter| counter.load(Ordering::Relaxed)))
        });
        Statistics {
            requests,
            gathered: self.gathered.load(Ordering::Relaxed),
            shared: self.shared.load(Ordering::Relaxed),
        }
    }
}
