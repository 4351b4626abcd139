//! Why `serve` ends other than by a signal.

use std::net::SocketAddr;

use portreeve_reports::gate::ExitCode;

use crate::admission::AdmissionError;
use crate::cluster::client::ClientError;
use crate::runtime::supervisor::RunError;
use crate::store::StoreError;

/// Why the daemon did not start, or ended other than by a signal.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The store cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The store's address cannot be used.
    #[error("'store.url': {0}")]
    StoreUrl(#[from] crate::store::InvalidStoreUrl),
    /// The API server's address or credentials cannot be used.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// The folder that stands for the cluster is not there.
    #[error("'cluster.folder': {0} is not a folder")]
    NoFolder(String),
    /// A folder that stands for a cluster takes no objects.
    #[error("'platform' needs an API server to deploy to, and 'cluster.folder' names a folder; remove one of them")]
    PlatformWithoutApiServer,
    /// A folder that stands for a cluster takes no Secrets.
    #[error("'secrets.sync' needs an API server to write to, and 'cluster.folder' names a folder; remove one of them")]
    SecretsWithoutApiServer,
    /// There is no Secret in a folder.
    #[error(
        "'admission.tls.certFile' and 'admission.tls.keyFile' are missing: the API server speaks https to webhooks \
         only, and a folder has no Secret for a certificate of our own"
    )]
    NoCertificate,
    /// The webhook cannot be served.
    #[error(transparent)]
    Admission(#[from] AdmissionError),
    /// The process cannot be named.
    #[error(transparent)]
    NoRandom(#[from] crate::cluster::lease::NoRandom),
    /// An address is taken or not ours.
    #[error(
        "'{key}': cannot listen on {address}: {reason}; end what holds the address, or name another one in the \
         configuration"
    )]
    Listen {
        /// The key that names the address.
        key: &'static str,
        /// The address.
        address: SocketAddr,
        /// The system's words.
        reason: String,
    },
    /// Logs, signals or threads.
    #[error("{0}")]
    Process(String),
    /// A task ended, or the drain took too long.
    #[error(transparent)]
    Run(#[from] RunError),
}

impl ServeError {
    /// The exit code of the process.
    pub fn exit(&self) -> ExitCode {
        match self {
            Self::Store(StoreError::NoFolder(_))
            | Self::StoreUrl(_)
            | Self::Client(_)
            | Self::NoFolder(_)
            | Self::PlatformWithoutApiServer
            | Self::SecretsWithoutApiServer
            | Self::NoCertificate
            | Self::Admission(_)
            | Self::Listen { .. } => ExitCode::Usage,
            Self::Run(RunError::TaskPanicked { .. }) => ExitCode::Bug,
            _ => ExitCode::Unclassified,
        }
    }
}
