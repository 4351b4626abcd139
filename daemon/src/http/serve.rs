//! One listener until the shutdown.

use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use axum::Router;
use axum_server::Handle;
use hyper_util::rt::TokioTimer;
use tokio_util::sync::CancellationToken;

/// Time for a client to send the head of a request.
const HEAD: Duration = Duration::from_secs(5);
/// The longest head.
const MAX_HEAD: usize = 16 * 1024;
/// Time for answers that are under way at the shutdown.
const DRAIN: Duration = Duration::from_secs(5);

/// A listener that failed.
#[derive(Debug, thiserror::Error)]
#[error("the HTTP listener failed")]
pub struct ServeError(#[from] std::io::Error);

/// Ends the connections of a server that is dropped: they would go on answering from its router.
struct EndOnDrop(Handle<SocketAddr>);

impl Drop for EndOnDrop {
    fn drop(&mut self) {
        self.0.shutdown();
    }
}

/// Serves the router until `shutdown`, then lets answers under way finish. Dropping it ends it at once.
pub async fn serve(listener: TcpListener, router: Router, shutdown: CancellationToken) -> Result<(), ServeError> {
    listener.set_nonblocking(true)?;
    let handle: Handle<SocketAddr> = Handle::new();
    let _ended = EndOnDrop(handle.clone());
    let mut server = axum_server::from_tcp(listener)?.handle(handle.clone()).http1_only();
    let http1 = &mut server.http_builder().http1();
    http1.timer(TokioTimer::new()).header_read_timeout(HEAD).max_buf_size(MAX_HEAD);
    let mut serving = std::pin::pin!(server.serve(router.into_make_service()));
    tokio::select! {
        ended = &mut serving => return Ok(ended?),
        () = shutdown.cancelled() => handle.graceful_shutdown(Some(DRAIN)),
    }
    Ok(serving.await?)
}
