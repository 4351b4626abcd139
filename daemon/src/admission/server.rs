//! The HTTPS server of the webhook: bounded bodies, bounded time, a certificate that is read again when it changes.

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::routing::post;
use axum_server::Handle;
use axum_server::accept::NoDelayAcceptor;
use axum_server::tls_rustls::{RustlsAcceptor, RustlsConfig};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use jiff::Timestamp;
use prometheus_client::metrics::gauge::Gauge;
use tokio_util::sync::CancellationToken;

use super::answer::{self, AdmissionState, Door};
use super::certificates::{PemPair, SecretReader, expiry};
use super::connections::Bounded;
use super::intake::Intake;
use crate::config::load::read_capped;
use crate::config::valid::{Tls, TlsFiles};
use crate::runtime::readiness::Permit;
use crate::runtime::supervisor::blocking;

/// Largest file of a certificate or of its key.
const MAX_PEM: usize = 1 << 20;

/// How often the certificate is looked at.
const RELOAD_EVERY: Duration = Duration::from_secs(5);
/// How often it is looked for before there is one.
const FIRST_LOOKS: Duration = Duration::from_millis(500);
/// How long open connections may take to finish after the shutdown begins.
const DRAIN: Duration = Duration::from_secs(10);
/// How long a client may take to shake hands.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a client may take to send its request's head; one that sends no further request is gone by then too.
const HEADER_TIMEOUT: Duration = Duration::from_secs(5);
/// Most bytes of a connection that wait unread, of HTTP/1, of a stream and of all streams of HTTP/2.
const WAITING: usize = 64 << 10;
const WAITING_IN_STREAM: u32 = 64 << 10;
const WAITING_IN_STREAMS: u32 = 128 << 10;
/// Requests of one HTTP/2 connection at a time, and bytes of the head of one. Who has more requests opens another one.
const STREAMS: u32 = 32;
const HEAD: u32 = 8 << 10;

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

/// Where the certificate is read from.
#[derive(Clone)]
pub enum CertificateSource {
    /// PEM files.
    Files(TlsFiles),
    /// The Secret that the leader keeps.
    Secret(Box<SecretReader>),
}

/// A webhook that has its address, and its certificate when that is in files.
pub struct Webhook {
    listener: TcpListener,
    tls: Option<RustlsConfig>,
}

impl Webhook {
    /// Takes the address and reads the certificate.
    pub async fn bind(address: SocketAddr, tls: &Tls) -> Result<Self, AdmissionError> {
        let listener = TcpListener::bind(address)
            .and_then(|listener| listener.set_nonblocking(true).map(|()| listener))
            .map_err(|error| AdmissionError::Listen { address, reason: error.to_string() })?;
        let tls = match tls {
            Tls::Files(files) => {
                let read = RustlsConfig::from_pem_file(&files.cert, &files.key).await;
                Some(read.map_err(|error| unusable(files, &error))?)
            }
            Tls::Managed(_) => None,
        };
        Ok(Self { listener, tls })
    }

    /// The address that was taken.
    pub fn address(&self) -> std::io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Answers, from when there is a certificate, until the shutdown; then lets open requests finish.
    pub async fn serve(
        self,
        (state, certificates): (AdmissionState, CertificateSource),
        permit: Permit,
        shutdown: CancellationToken,
    ) -> Result<(), AdmissionError> {
        let expiry = state.metrics.admission.certificate_expiry.clone();
        let mut served = Served { source: certificates, known: None, tls: self.tls, expiry };
        let tls = tokio::select! {
            tls = served.first() => tls,
            () = shutdown.cancelled() => return Ok(()),
        };
        permit.release();
        let handle = Handle::new();
        // Answers are small; waiting for more to send would cost each of them the peer's delayed acknowledgement.
        let acceptor = RustlsAcceptor::new(tls).handshake_timeout(HANDSHAKE_TIMEOUT).acceptor(NoDelayAcceptor::new());
        let mut server = axum_server::from_tcp(self.listener)
            .map_err(|error| AdmissionError::Server(error.to_string()))?
            .acceptor(Bounded::new(acceptor))
            .handle(handle.clone());
        bound(server.http_builder());
        let serving = server.serve(router(state).into_make_service());
        tokio::pin!(serving);
        let mut reload = tokio::time::interval(RELOAD_EVERY);
        loop {
            tokio::select! {
                ended = &mut serving => return ended.map_err(|error| AdmissionError::Server(error.to_string())),
                () = shutdown.cancelled() => break,
                _ = reload.tick() => served.look().await,
            }
        }
        handle.graceful_shutdown(Some(DRAIN));
        serving.await.map_err(|error| AdmissionError::Server(error.to_string()))
    }
}

/// The certificate as it is served.
struct Served {
    source: CertificateSource,
    known: Option<PemPair>,
    tls: Option<RustlsConfig>,
    expiry: Gauge,
}

impl Served {
    /// Waits until there is one.
    async fn first(&mut self) -> RustlsConfig {
        loop {
            self.look().await;
            if let Some(tls) = &self.tls {
                return tls.clone();
            }
            tokio::time::sleep(FIRST_LOOKS).await;
        }
    }

    /// Takes a changed pair; a pair that cannot be used is said, and the old one stays.
    async fn look(&mut self) {
        let Some((certificate, key)) = self.read().await.filter(|read| self.known.as_ref() != Some(read)) else {
            return;
        };
        let taken = match &self.tls {
            Some(tls) => tls.reload_from_pem(certificate.clone(), key.clone()).await,
            None => RustlsConfig::from_pem(certificate.clone(), key.clone()).await.map(|tls| self.tls = Some(tls)),
        };
        match taken {
            Ok(()) => {
                let expires = expiry(&certificate);
                self.expiry.set(expires.map_or(0, Timestamp::as_second));
                let expires = expires.map(tracing::field::display);
                tracing::info!(expires, "the webhook's certificate was read");
            }
            Err(error) => tracing::error!(%error, "a certificate cannot be used; the webhook keeps the one it has"),
        }
        // One that cannot be used is not tried again until it is another.
        self.known = Some((certificate, key));
    }

    async fn read(&self) -> Option<PemPair> {
        match &self.source {
            CertificateSource::Files(files) => {
                let (cert, key) = (files.cert.clone(), files.key.clone());
                blocking(move || Some((read_capped(&cert, MAX_PEM).ok()?, read_capped(&key, MAX_PEM).ok()?))).await
            }
            CertificateSource::Secret(secret) => secret.read().await,
        }
    }
}

fn bound(http: &mut Builder<TokioExecutor>) {
    http.http1().timer(TokioTimer::new()).header_read_timeout(HEADER_TIMEOUT).max_buf_size(WAITING);
    http.http2()
        .initial_stream_window_size(WAITING_IN_STREAM)
        .initial_connection_window_size(WAITING_IN_STREAMS)
        .max_concurrent_streams(STREAMS)
        .max_header_list_size(HEAD);
}

fn router(state: AdmissionState) -> Router {
    Router::new()
        .route("/mutate", post(answer::mutate))
        .route("/validate", post(answer::validate))
        .with_state(Arc::new(Door { state, intake: Intake::default() }))
}

fn unusable(files: &TlsFiles, error: &std::io::Error) -> AdmissionError {
    AdmissionError::Certificate {
        cert: files.cert.display().to_string(),
        key: files.key.display().to_string(),
        reason: error.to_string(),
    }
}
