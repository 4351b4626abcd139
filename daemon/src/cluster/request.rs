//! One request to the API server that does not wait for ever.

use std::time::Duration;

use crate::runtime::leader::REQUEST;

/// The field manager of all that we write.
pub const FIELD_MANAGER: &str = "portreeve";

/// Why a request came to nothing.
#[derive(Debug, thiserror::Error)]
pub enum Failed {
    /// Somebody else wrote or deleted the object meanwhile.
    #[error("it was changed by somebody else meanwhile")]
    Changed,
    /// No answer in time; whether it was done is not known.
    #[error("the API server did not answer in time")]
    TimedOut,
    /// Refused, or not reached.
    #[error("{}", said(.0))]
    Refused(Box<kube::Error>),
}

/// The API server's own words, without the rest of its answer.
fn said(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) if !status.message.is_empty() => status.message.clone(),
        error => error.to_string(),
    }
}

impl Failed {
    /// Whether the API server answered, be it no.
    pub fn is_answer(&self) -> bool {
        matches!(self, Self::Changed) || self.code().is_some_and(|code| code < 500)
    }

    /// The HTTP code of a refusal.
    pub fn code(&self) -> Option<u16> {
        match self {
            Self::Refused(error) => match error.as_ref() {
                kube::Error::Api(status) => Some(status.code),
                _ => None,
            },
            Self::Changed | Self::TimedOut => None,
        }
    }
}

/// The answer to a request, within the time that a leader's write may take.
pub async fn within<T>(request: impl Future<Output = Result<T, kube::Error>>) -> Result<T, Failed> {
    within_time(REQUEST, request).await
}

/// The answer to a request, within a time.
pub async fn within_time<T>(
    time: Duration,
    request: impl Future<Output = Result<T, kube::Error>>,
) -> Result<T, Failed> {
    match tokio::time::timeout(time, request).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(kube::Error::Api(status))) if status.code == 409 => Err(Failed::Changed),
        Ok(Err(error)) => Err(Failed::Refused(Box::new(error))),
        Err(_) => Err(Failed::TimedOut),
    }
}
