//! Connections of the webhook: so many at a time, each of which has to say something now and then.
//!
//! Whoever comes gets in: when there are too many, one has to go, and it is one of the address that has most. An API
//! server has few, since a request is a stream of HTTP/2, so it is never asked to go for a program that has many.
//!
//! A refusal is sent before its body has arrived. To close such a connection at once would reset it under whoever still
//! writes, and the answer would be lost with it: what comes after the last word is read and forgotten for a while.

use std::collections::HashMap;
use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::{Extension, Router};
use axum_server::accept::Accept;
use futures::future::BoxFuture;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep, sleep};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

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

/// Who is on the other side of a connection.
pub(super) struct Guest {
    address: IpAddr,
    /// When it last asked for something, or came.
    asked: Mutex<Instant>,
    gone: CancellationToken,
}

impl Guest {
    pub(super) fn address(&self) -> IpAddr {
        self.address
    }

    /// Notes that it asks for something. Words that are no request (a PING) cost nothing and prove nothing.
    pub(super) fn asks(&self) {
        *self.asked.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    /// Waits until it had to go.
    pub(super) async fn gone(&self) {
        self.gone.cancelled().await;
    }

    fn asked(&self) -> Instant {
        *self.asked.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Those who are there.
#[derive(Default)]
struct Guests(Mutex<Vec<Arc<Guest>>>);

impl Guests {
    fn present(&self) -> MutexGuard<'_, Vec<Arc<Guest>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets one in. If there are too many then, the one goes that has not asked for longest, of the address with most.
    fn enter(self: Arc<Self>, address: IpAddr) -> Place {
        // The same address, whether our socket speaks IPv6 or not.
        let address = address.to_canonical();
        let guest = Arc::new(Guest { address, asked: Mutex::new(Instant::now()), gone: CancellationToken::new() });
        let mut present = self.present();
        present.push(Arc::clone(&guest));
        if present.len() > MOST {
            let mut of = HashMap::<IpAddr, usize>::new();
            present.iter().for_each(|guest| *of.entry(guest.address).or_default() += 1);
            let rank = |guest: &Guest| (std::cmp::Reverse(of.get(&guest.address).copied()), guest.asked());
            let first = (0..present.len()).min_by_key(|at| present.get(*at).map(|guest| rank(guest)));
            if let Some(first) = first {
                present.swap_remove(first).gone.cancel();
            }
        }
        drop(present);
        Place { guests: self, guest }
    }
}

/// The place of a guest, until it leaves.
struct Place {
    guests: Arc<Guests>,
    guest: Arc<Guest>,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.guests.present().retain(|guest| !Arc::ptr_eq(guest, &self.guest));
    }
}

/// An acceptor whose connections are bounded in number and in silence, and whose requests come with their [`Guest`].
#[derive(Clone)]
pub(super) struct Bounded<A> {
    inner: A,
    guests: Arc<Guests>,
}

impl<A> Bounded<A> {
    pub(super) fn new(inner: A) -> Self {
        Self { inner, guests: Arc::default() }
    }
}

impl<A> Accept<TcpStream, Router> for Bounded<A>
where
    A: Accept<TcpStream, Router, Service = Router>,
    A::Future: Send + 'static,
    A::Stream: Send,
{
    type Stream = Bound<A::Stream>;
    type Service = Router;
    type Future = BoxFuture<'static, io::Result<(Self::Stream, Self::Service)>>;

    fn accept(&self, stream: TcpStream, service: Router) -> Self::Future {
        let place = stream.peer_addr().map(|peer| Arc::clone(&self.guests).enter(peer.ip()));
        let accepted = self.inner.accept(stream, service);
        Box::pin(async move {
            let place = place?;
            let (stream, service) = tokio::select! {
                accepted = accepted => accepted?,
                () = place.guest.gone() => return Err(io::ErrorKind::ConnectionAborted.into()),
            };
            let service = service.layer(Extension(Arc::clone(&place.guest)));
            let gone = Box::pin(place.guest.gone.clone().cancelled_owned());
            Ok((Bound { stream, silence: Box::pin(sleep(FIRST_WORD)), gone, afterwards: None, _place: place }, service))
        })
    }
}

/// A connection that fails when nothing went either way for too long, or when it has to make room.
pub(super) struct Bound<S> {
    stream: S,
    silence: Pin<Box<Sleep>>,
    gone: Pin<Box<WaitForCancellationFutureOwned>>,
    /// What is left of the time and the bytes after our last word.
    afterwards: Option<(Pin<Box<Sleep>>, usize)>,
    _place: Place,
}

impl<S> Bound<S> {
    /// Its stream, unless it has to make room.
    fn open(&mut self, context: &mut Context<'_>) -> io::Result<Pin<&mut S>>
    where
        S: Unpin,
    {
        match self.gone.as_mut().poll(context) {
            Poll::Ready(()) => Err(io::ErrorKind::ConnectionAborted.into()),
            Poll::Pending => Ok(Pin::new(&mut self.stream)),
        }
    }

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
        let tried = self.open(context)?.poll_read(context, into);
        self.heard(tried, context)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Bound<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let tried = self.open(context)?.poll_write(context, bytes);
        // A flush of nothing is always done: only bytes that went are a word.
        self.heard(tried, context)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.open(context)?.poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.open(context)?;
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

#[cfg(test)]
mod tests;
