//! What the API server may say other than yes.

use std::time::Duration;

use portreeve_reports::Cause;
use portreeve_reports::source::shown;

use super::words::{Words, cut};
use crate::runtime::errors::chain;
use crate::runtime::leader::LeadershipLost;

/// Most conflicts that are told.
const MAX_TOLD: usize = 20;

/// A field that another manager owns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldConflict {
    /// `.spec.replicas`, as the server names it.
    pub field: String,
    /// Who owns it, in the server's words.
    pub owner: String,
}

/// Why a request did not do what it should.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum ApiFailure {
    /// 401 or 403.
    #[error("refused: {0}")]
    Forbidden(String),
    /// 404: the object, or what it is in.
    #[error("not found: {0}")]
    NotFound(String),
    /// Other managers own fields.
    #[error("{} field(s) belong to others: {}", .0.len(), told(.0))]
    Owned(Vec<FieldConflict>),
    /// 409: it was changed or replaced since it was read.
    #[error("it changed meanwhile: {0}")]
    Changed(String),
    /// 409: there is one already.
    #[error("it exists already: {0}")]
    AlreadyExists(String),
    /// 400 or 422: the object is not one that the server takes.
    #[error("not accepted: {0}")]
    Invalid(String),
    /// The server serves no such kind.
    #[error("the API server serves no {0}; is its resource definition applied?")]
    UnknownKind(String),
    /// The server serves the kind in other versions only.
    #[error(
        "the API server serves the kind of {0} in other versions only; declare it in one of them, or delete it yourself"
    )]
    OldVersion(String),
    /// 429.
    #[error("too many requests: {0}")]
    RateLimited(String),
    /// 500: the server, or a webhook that it asks, cannot deal with this object.
    #[error("the API server fails at it: {0}")]
    Failed(String),
    /// The time that the command was given is over.
    #[error(
        "the time of the command is over (--timeout); a longer one lets it end, and what is done is not done again"
    )]
    OutOfTime,
    /// No answer in time.
    #[error("no answer within {} s", .0.as_secs())]
    TimedOut(Duration),
    /// No answer, or one that is none.
    #[error("the API server could not be asked: {0}")]
    Unreachable(String),
    /// No answer to one question of several: which one, and the failure.
    #[error("{question}: {failure}")]
    At {
        /// What was asked, and how a person asks the same.
        question: String,
        /// What came of it.
        failure: Box<ApiFailure>,
    },
    /// A cap of ours.
    #[error("{0}")]
    TooLarge(String),
    /// We do not lead any more.
    #[error(transparent)]
    Lost(#[from] LeadershipLost),
}

impl ApiFailure {
    /// Why a verdict that needed the answer is unknown.
    pub fn cause(&self) -> Cause {
        match self {
            Self::At { failure, .. } => failure.cause(),
            Self::Forbidden(_) => Cause::Forbidden,
            Self::RateLimited(_) => Cause::RateLimited,
            Self::TimedOut(_) | Self::OutOfTime => Cause::TimedOut,
            Self::TooLarge(_) => Cause::TooLarge,
            Self::Unreachable(_) | Self::Failed(_) | Self::Lost(_) => Cause::Unreachable,
            _ => Cause::Unreadable,
        }
    }

    /// Whether the server said no, rather than nothing: asking again changes nothing by itself.
    pub fn is_refusal(&self) -> bool {
        !matches!(
            self.itself(),
            Self::RateLimited(_)
                | Self::TimedOut(_)
                | Self::OutOfTime
                | Self::Unreachable(_)
                | Self::Failed(_)
                | Self::Changed(_)
                | Self::Lost(_)
        )
    }

    /// Whether it is said of the object that was asked about, and others may do better.
    pub fn is_about_object(&self) -> bool {
        self.is_refusal() || matches!(self.itself(), Self::Failed(_))
    }

    /// Whether there was no answer: not about what was asked, but about who was.
    pub fn is_unanswered(&self) -> bool {
        matches!(self.itself(), Self::TimedOut(_) | Self::Unreachable(_))
    }

    /// The same, with the question that was not answered: one kind may fail where all others are served.
    #[must_use]
    pub fn at(self, question: impl std::fmt::Display) -> Self {
        match self {
            Self::Failed(_) | Self::TimedOut(_) | Self::Unreachable(_) | Self::RateLimited(_) => {
                Self::At { question: question.to_string(), failure: Box::new(self) }
            }
            other => other,
        }
    }

    fn itself(&self) -> &Self {
        if let Self::At { failure, .. } = self { failure } else { self }
    }
}

impl ApiFailure {
    pub(super) fn of(error: kube::Error, told: Words) -> Self {
        let status = match error {
            kube::Error::Api(status) => status,
            other => return Self::Unreachable(cut(&chain(&other))),
        };
        // Where an object is not there, or has changed, the server itself names it and nothing else.
        let is_name_only = matches!(status.code, 404 | 409) && !status.message.starts_with("admission webhook");
        let message = if is_name_only { Words::Told } else { told }.of(&status);
        let causes = status.details.iter().flat_map(|details| &details.causes);
        // Causes name managers and fields, no values.
        let owned: Vec<FieldConflict> = causes
            .filter(|cause| cause.reason == "FieldManagerConflict")
            .take(MAX_TOLD)
            .map(|cause| FieldConflict { field: shown(&cause.field), owner: cut(&cause.message) })
            .collect();
        match (status.code, status.reason.as_str()) {
            (401 | 403, _) => Self::Forbidden(message),
            (404, _) => Self::NotFound(message),
            (409, _) if !owned.is_empty() => Self::Owned(owned),
            (409, "AlreadyExists") => Self::AlreadyExists(message),
            (409, _) => Self::Changed(message),
            (400 | 405 | 413 | 415 | 422, _) => Self::Invalid(message),
            // Server-side apply answers so to fields that its schema does not have, and to bytes that are no base64.
            (500, _) if is_mistake(&status.message) => Self::Invalid(message),
            (500, _) => Self::Failed(message),
            (429, _) => Self::RateLimited(message),
            (code, _) => Self::Unreachable(format!("it answers {code}: {message}")),
        }
    }
}

fn is_mistake(message: &str) -> bool {
    message.contains("failed to create typed patch object") || message.contains("illegal base64 data")
}

fn told(conflicts: &[FieldConflict]) -> String {
    let list: Vec<String> =
        conflicts.iter().map(|conflict| format!("{} ({})", conflict.field, conflict.owner)).collect();
    list.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of_secret(code: u16, message: &str) -> ApiFailure {
        let status = kube::core::Status { code, message: message.to_owned(), ..kube::core::Status::default() };
        ApiFailure::of(kube::Error::Api(Box::new(status)), Words::Withheld)
    }

    #[test]
    fn a_failure_at_one_object_is_about_it_and_an_absent_server_is_not() {
        assert!(of_secret(500, "x").is_about_object() && !of_secret(500, "x").is_refusal());
        assert!(!of_secret(503, "x").is_about_object() && of_secret(403, "x").is_about_object());
    }
}
