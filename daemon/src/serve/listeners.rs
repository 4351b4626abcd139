//! The two addresses of http, taken before anything else starts.

use std::net::{SocketAddr, TcpListener};

use tokio_util::sync::CancellationToken;

use super::{ServeError, process};
use crate::config::Config;
use crate::http;

/// The two addresses of http.
pub(super) struct Listeners {
    pub(super) dashboard: TcpListener,
    pub(super) metrics: TcpListener,
}

impl Listeners {
    pub(super) fn bind(config: &Config) -> Result<Self, ServeError> {
        let bind = |key, address| {
            let listener = TcpListener::bind(address);
            listener.map_err(|error| ServeError::Listen { key, address, reason: error.to_string() })
        };
        Ok(Self {
            dashboard: bind("http.listen", config.http_listen)?,
            metrics: bind("http.metricsListen", config.metrics_listen)?,
        })
    }

    pub(super) fn dashboard_address(&self) -> Result<SocketAddr, ServeError> {
        self.dashboard.local_addr().map_err(process)
    }

    /// Health before the cluster is known: alive, not ready.
    pub(super) async fn serve_starting(&self) -> http::ServeError {
        let served = match self.metrics.try_clone() {
            Ok(listener) => http::serve(listener, http::starting(), CancellationToken::new()).await,
            Err(error) => Err(error.into()),
        };
        match served {
            Err(error) => error,
            Ok(()) => std::future::pending().await,
        }
    }
}
