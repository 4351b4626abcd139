//! Connections of the webhook: so many at a time, each of which has to say something now and then.
//!
//! A refusal is sent before its body has arrived. To close such a connection at once would reset it under whoever still
//! writes, and the answer would be lost with it: what comes after the last word is read and forgotten for a while.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum_server::accept::Accept;
use futures::future::BoxFuture;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, Sleep, sleep};

/// Connections at a time; each is a file descriptor, of which page, health and store need some too.
const MOST: usize = 512;
/// How long a new connection may say nothing.
const FIRST_WORD: Duration = Duration::from_secs(5);
/// How long a connection may say nothing after that: longer than any answer takes, and than an API server's pauses
/// between two pings.
const SILENCE: Duration = Duration::from_secs(60);
/// How long, and how much of it, what comes after the last word is read: until the other side closes, too.
const AFTERWARDS: Duration = Duration::from_secs(2);
const MOST_AFTERWARDS: usize = 32 << 20;

/// An acceptor whose connections are bounded in number and in silence.
#[derive(Clone)]
pub(super) struct Bounded<A> {
    inner: A,
    slots: Arc<Semaphore>,
}

impl<A> Bounded<A> {
    pub(super) fn new(inner: A) -> Self {
        Self { inner, slots: Arc::new(Semaphore::new(MOST)) }
    }
}

impl<A, I, S> Accept<I, S> for Bounded<A>
where
    A: Accept<I, S>,
    A::Future: Send + 'static,
{
    type Stream = Bound<A::Stream>;
    type Service = A::Service;
    type Future = BoxFuture<'static, io::Result<(Self::Stream, Self::Service)>>;

    fn accept(&self, stream: I, service: S) -> Self::Future {
        let slot = Arc::clone(&self.slots).try_acquire_owned();
        let accepted = self.inner.accept(stream, service);
        Box::pin(async move {
            let slot = slot.map_err(io::Error::other)?;
            let (stream, service) = accepted.await?;
            Ok((Bound { stream, silence: Box::pin(sleep(FIRST_WORD)), afterwards: None, _slot: slot }, service))
        })
    }
}

/// A connection that fails when nothing went either way for too long.
pub(super) struct Bound<S> {
    stream: S,
    silence: Pin<Box<Sleep>>,
    /// What is left of the time and the bytes after our last word.
    afterwards: Option<(Pin<Box<Sleep>>, usize)>,
    _slot: OwnedSemaphorePermit,
}

impl<S> Bound<S> {
    /// The outcome of a try to read or write, when there is one or there was none for too long.
    fn heard<T>(&mut self, tried: Poll<io::Result<T>>, context: &mut Context<'_>) -> Poll<io::Result<T>> {
        if tried.is_ready() {
            self.silence.as_mut().reset(Instant::now() + SILENCE);
            return tried;
        }
        ready!(self.silence.as_mut().poll(context));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Bound<S> {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let tried = Pin::new(&mut self.stream).poll_read(context, into);
        self.heard(tried, context)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Bound<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let tried = Pin::new(&mut self.stream).poll_write(context, bytes);
        // A flush of nothing is always done: only bytes that went are a word.
        self.heard(tried, context)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Self { stream, afterwards, .. } = &mut *self;
        if afterwards.is_none() {
            ready!(Pin::new(&mut *stream).poll_shutdown(context))?;
        }
        let (end, left) = afterwards.get_or_insert_with(|| (Box::pin(sleep(AFTERWARDS)), MOST_AFTERWARDS));
        let mut forgotten = [0; 4096];
        while *left > 0 && end.as_mut().poll(context).is_pending() {
            let mut into = ReadBuf::new(&mut forgotten);
            match ready!(Pin::new(&mut *stream).poll_read(context, &mut into)) {
                Ok(()) if !into.filled().is_empty() => *left = left.saturating_sub(into.filled().len()),
                _ => break,
            }
        }
        Poll::Ready(Ok(()))
    }
}
