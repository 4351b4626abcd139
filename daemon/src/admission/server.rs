//! The HTTPS server of the webhook: bounded bodies, bounded time, a certificate that is read again when it changes.

use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::routing::post;
use axum_server::Handle;
use axum_server::accept::NoDelayAcceptor;
use axum_server::tls_rustls::{RustlsAcceptor, RustlsConfig};
use tokio_util::sync::CancellationToken;

use super::answer::{self, AdmissionState};
use crate::config::valid::TlsFiles;
use crate::judge::review::request::MAX_REVIEW_BYTES;

/// How often the certificate files are looked at.
const RELOAD_EVERY: Duration = Duration::from_secs(10);
/// How long open connections may take to finish after the shutdown begins.
const DRAIN: Duration = Duration::from_secs(10);
/// How long a client may take to send its request's head.
const HEADER_TIMEOUT: Duration = Duration::from_secs(5);

/// Why the webhook cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum AdmissionError {
    /// The address is taken or not ours.
    #[error(
        "'admission.listen': the webhook cannot listen on {address}: {reason}; end what holds the address, or name \
         another one in the configuration"
    )]
    Listen {
        /// The address.
        address: SocketAddr,
        /// The system's words.
        reason: String,
    },
    /// The certificate or key cannot be used.
    #[error(
        "'admission.tls': the certificate {cert} and the key {key} cannot be used: {reason}; both are PEM files, the \
         certificate with its chain"
    )]
    Certificate {
        /// Certificate file.
        cert: String,
        /// Key file.
        key: String,
        /// What is wrong.
        reason: String,
    },
    /// The server ended.
    #[error("the webhook's server ended: {0}")]
    Server(String),
}

/// A webhook that has its address and its certificate.
pub struct Webhook {
    listener: TcpListener,
    tls: RustlsConfig,
    files: TlsFiles,
}

impl Webhook {
    /// Takes the address and reads the certificate.
    pub async fn bind(address: SocketAddr, files: TlsFiles) -> Result<Self, AdmissionError> {
        let listener = TcpListener::bind(address)
            .and_then(|listener| listener.set_nonblocking(true).map(|()| listener))
            .map_err(|error| AdmissionError::Listen { address, reason: error.to_string() })?;
        let tls =
            RustlsConfig::from_pem_file(&files.cert, &files.key).await.map_err(|error| unusable(&files, &error))?;
        Ok(Self { listener, tls, files })
    }

    /// The address that was taken.
    pub fn address(&self) -> std::io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Answers until the shutdown, then lets open requests finish.
    pub async fn serve(self, state: AdmissionState, shutdown: CancellationToken) -> Result<(), AdmissionError> {
        let handle = Handle::new();
        // Answers are small; waiting for more to send would cost each of them the peer's delayed acknowledgement.
        let acceptor = RustlsAcceptor::new(self.tls.clone()).acceptor(NoDelayAcceptor::new());
        let mut server = axum_server::from_tcp(self.listener)
            .map_err(|error| AdmissionError::Server(error.to_string()))?
            .acceptor(acceptor)
            .handle(handle.clone());
        server.http_builder().http1().timer(hyper_util::rt::TokioTimer::new()).header_read_timeout(HEADER_TIMEOUT);
        let serving = server.serve(router(state).into_make_service());
        tokio::pin!(serving);
        let mut reload = tokio::time::interval(RELOAD_EVERY);
        let mut known = read(&self.files).await;
        loop {
            tokio::select! {
                ended = &mut serving => return ended.map_err(|error| AdmissionError::Server(error.to_string())),
                () = shutdown.cancelled() => break,
                _ = reload.tick() => known = reload_changed(&self.tls, &self.files, known).await,
            }
        }
        handle.graceful_shutdown(Some(DRAIN));
        serving.await.map_err(|error| AdmissionError::Server(error.to_string()))
    }
}

fn router(state: AdmissionState) -> Router {
    Router::new()
        .route("/mutate", post(answer::mutate))
        .route("/validate", post(answer::validate))
        .layer(DefaultBodyLimit::max(MAX_REVIEW_BYTES))
        .with_state(state)
}

fn unusable(files: &TlsFiles, error: &std::io::Error) -> AdmissionError {
    AdmissionError::Certificate {
        cert: files.cert.display().to_string(),
        key: files.key.display().to_string(),
        reason: error.to_string(),
    }
}

/// The bytes of both files; `None` while one of them cannot be read.
async fn read(files: &TlsFiles) -> Option<(Vec<u8>, Vec<u8>)> {
    Some((tokio::fs::read(&files.cert).await.ok()?, tokio::fs::read(&files.key).await.ok()?))
}

/// Takes a changed pair; a pair that cannot be used is said, and the old one stays.
async fn reload_changed(
    tls: &RustlsConfig,
    files: &TlsFiles,
    known: Option<(Vec<u8>, Vec<u8>)>,
) -> Option<(Vec<u8>, Vec<u8>)> {
    let now = read(files).await;
    let Some((cert, key)) = now.clone().filter(|_| now != known) else { return known };
    match tls.reload_from_pem(cert, key).await {
        Ok(()) => {
            tracing::info!("the webhook's certificate was read again");
            now
        }
        Err(error) => {
            tracing::error!(error = %unusable(files, &error), "the webhook keeps its old certificate");
            known
        }
    }
}
