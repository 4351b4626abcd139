//! Who may write: at most one process of a cluster at a time leads.
//!
//! Leading comes in terms. What writes holds a [`Leading`], which is the proof of one term: it asks
//! [`check`](Leading::check) before each write, and [`next_step`](Leading::next_step) where it may stop for somebody
//! who asked for the lease. A term ends locally, by the monotonic clock and before anybody else may begin the next
//! one, so that neither a stalled renewal nor a process that slept leads on.
//!
//! * [`election`] decides, from what a lease says and when it changed; it is pure.
//! * What reads and writes the lease ([`crate::cluster::lease`]) opens terms through a [`Seat`].

pub mod election;

use std::convert::Infallible;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::mpsc::error::TryRecvError;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// How long others leave a lease alone that its holder does not renew.
pub const DURATION: Duration = Duration::from_secs(10);
/// How long a term lasts after the last renewal that was answered. What is left of [`DURATION`] is for writes that
/// are on their way when the term ends.
pub const RENEW_WITHIN: Duration = Duration::from_secs(6);
/// How long a request about the lease, and each write of a leader, may take.
pub const REQUEST: Duration = Duration::from_secs(3);
/// How often the holder renews and others look.
pub const EVERY: Duration = Duration::from_secs(2);

/// The number of a term: `leaseTransitions` of the lease. A later term has a greater one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Epoch(u64);

impl Epoch {
    /// The term of this number.
    pub const fn new(number: u64) -> Self {
        Self(number)
    }

    /// The number.
    pub const fn number(self) -> u64 {
        self.0
    }

    /// The term after this one.
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Why a term is over.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LeadershipLost {
    /// The lease could not be renewed in time.
    #[error("the lease could not be renewed within {} s", RENEW_WITHIN.as_secs())]
    Expired,
    /// Somebody else holds the lease.
    #[error("the lease is held by {by}")]
    Taken {
        /// The holder.
        by: String,
    },
    /// The lease was deleted or edited.
    #[error("the lease was {how} by somebody else")]
    Tampered {
        /// `deleted` or `edited`.
        how: &'static str,
    },
    /// Somebody asked for the lease, and gets it.
    #[error("the lease is handed over to {to}")]
    Yielded {
        /// Who asked.
        to: String,
    },
    /// We gave it back.
    #[error("the lease was given back")]
    Released,
}

/// The proof that this process leads, for one term. Clones prove the same term; the lease is given back when the last
/// of them is dropped.
#[derive(Clone, Debug)]
pub struct Leading {
    term: Arc<Term>,
    _held: mpsc::Sender<Infallible>,
}

#[derive(Debug)]
struct Term {
    epoch: Epoch,
    state: Mutex<State>,
    lost: CancellationToken,
    /// Cancelled when somebody asks for the lease, and when the term is over.
    yielding: CancellationToken,
}

#[derive(Debug)]
struct State {
    deadline: Instant,
    lost: Option<LeadershipLost>,
    /// Why no next step may begin.
    closing: Option<LeadershipLost>,
}

impl Leading {
    /// The number of the term.
    pub fn epoch(&self) -> Epoch {
        self.term.epoch
    }

    /// Whether a write may begin now. It must be answered within [`REQUEST`], or be fenced by the [`Epoch`] or a
    /// `resourceVersion`.
    pub fn check(&self) -> Result<(), LeadershipLost> {
        self.term.check(Instant::now())
    }

    /// Whether a next step may begin now: [`check`](Self::check), and nobody asked for the lease.
    pub fn next_step(&self) -> Result<(), LeadershipLost> {
        self.check()?;
        self.term.state().closing.clone().map_or(Ok(()), Err)
    }

    /// Cancelled when the term is over.
    pub fn lost(&self) -> &CancellationToken {
        &self.term.lost
    }

    /// Waits until no next step may begin.
    pub async fn over(&self) -> LeadershipLost {
        loop {
            // The token of a term that ran out while nobody looked is cancelled by the look.
            tokio::select! {
                () = self.term.yielding.cancelled() => {}
                () = tokio::time::sleep(EVERY) => {}
            }
            if let Err(lost) = self.next_step() {
                return lost;
            }
        }
    }
}

impl Term {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn check(&self, now: Instant) -> Result<(), LeadershipLost> {
        let is_late = {
            let state = self.state();
            if let Some(lost) = &state.lost {
                return Err(lost.clone());
            }
            now >= state.deadline
        };
        if is_late {
            self.end(LeadershipLost::Expired);
            return Err(LeadershipLost::Expired);
        }
        Ok(())
    }

    /// Ends the term; the first reason stays.
    fn end(&self, reason: LeadershipLost) {
        self.state().lost.get_or_insert(reason);
        self.lost.cancel();
        self.yielding.cancel();
    }
}

/// Follows who leads; clones see the same.
#[derive(Clone, Debug)]
pub struct LeadershipWatch {
    terms: watch::Receiver<Option<Handle>>,
    refusal: watch::Receiver<Option<String>>,
    silences: watch::Receiver<u64>,
    /// Those that were over when they were looked at last.
    known: u64,
}

/// A term as the watch keeps it: not one of those that the lease waits for.
#[derive(Clone, Debug)]
struct Handle {
    term: Arc<Term>,
    held: mpsc::WeakSender<Infallible>,
}

impl LeadershipWatch {
    /// Waits until this process leads. Without anybody who could make it lead it waits for ever.
    pub async fn leading(&mut self) -> Leading {
        loop {
            if let Some(leading) = self.now() {
                return leading;
            }
            if self.terms.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }

    /// Waits until why nobody can lead is something else than this.
    pub async fn other_refusal(&mut self, known: Option<&str>) -> Option<String> {
        let other = self.refusal.wait_for(|refusal| refusal.as_deref() != known).await.map(|refusal| refusal.clone());
        match other {
            Ok(refusal) => refusal,
            Err(_) => std::future::pending().await,
        }
    }

    /// Waits until what keeps the lease answers again that did not: an outage that nobody saw here is over, too.
    pub async fn answered_again(&mut self) {
        let known = self.known;
        let over = self.silences.wait_for(|turns| turns % 2 == 0 && *turns != known).await.map(|turns| *turns);
        match over {
            Ok(turns) => self.known = turns,
            Err(_) => std::future::pending().await,
        }
    }

    /// The term, when this process leads now.
    pub fn now(&mut self) -> Option<Leading> {
        let handle = self.terms.borrow_and_update().clone()?;
        let leading = Leading { term: handle.term, _held: handle.held.upgrade()? };
        leading.next_step().ok().map(|()| leading)
    }
}

/// Where terms begin. Whoever has it must hold what makes a term the only one.
#[derive(Debug)]
pub struct Seat {
    terms: watch::Sender<Option<Handle>>,
    refusal: watch::Sender<Option<String>>,
    /// How often what keeps the lease fell silent or answered again: odd while it is silent.
    silences: watch::Sender<u64>,
}

impl Seat {
    /// A seat that nobody has taken, and what follows it.
    pub fn new() -> (Self, LeadershipWatch) {
        let (terms, of_watch) = watch::channel(None);
        let (refusal, why) = watch::channel(None);
        let (silences, heard) = watch::channel(0);
        let watch = LeadershipWatch { terms: of_watch, refusal: why, silences: heard, known: 0 };
        (Self { terms, refusal, silences }, watch)
    }

    /// Nobody can lead, since what makes a term the only one is refused; `None` when it is not, or not any more.
    pub fn refused(&self, why: Option<String>) {
        self.refusal.send_if_modified(|refusal| std::mem::replace(refusal, why.clone()) != why);
    }

    /// Whether what keeps the lease answers: an answer of any kind, or none.
    pub fn answered(&self, is_answered: bool) {
        self.silences.send_if_modified(|turns| {
            let is_news = (*turns % 2 == 0) != is_answered;
            *turns += u64::from(is_news);
            is_news
        });
    }

    /// Begins a term that lasts until `deadline` unless it is renewed.
    pub fn begin(&self, epoch: Epoch, deadline: Instant) -> Tenure {
        let (held, gone) = mpsc::channel(1);
        let term = Arc::new(Term {
            epoch,
            state: Mutex::new(State { deadline, lost: None, closing: None }),
            lost: CancellationToken::new(),
            yielding: CancellationToken::new(),
        });
        self.terms.send_replace(Some(Handle { term: Arc::clone(&term), held: held.downgrade() }));
        Tenure { term, held: Some(held), gone, terms: self.terms.clone() }
    }
}

/// A term, in the hands of what renews it. Dropping it ends the term.
#[derive(Debug)]
pub struct Tenure {
    term: Arc<Term>,
    held: Option<mpsc::Sender<Infallible>>,
    gone: mpsc::Receiver<Infallible>,
    terms: watch::Sender<Option<Handle>>,
}

impl Tenure {
    /// A proof of this term; `None` once it was asked back.
    pub fn leading(&self) -> Option<Leading> {
        Some(Leading { term: Arc::clone(&self.term), _held: self.held.clone()? })
    }

    /// The number of the term.
    pub fn epoch(&self) -> Epoch {
        self.term.epoch
    }

    /// When the term ends unless it is renewed.
    pub fn deadline(&self) -> Instant {
        self.term.state().deadline
    }

    /// A renewal that was sent at `sent` was answered. One that comes too late renews nothing.
    pub fn renewed(&self, sent: Instant) -> Result<(), LeadershipLost> {
        self.term.check(Instant::now())?;
        self.term.state().deadline = sent + RENEW_WITHIN;
        Ok(())
    }

    /// Asks all who write to stop at their next step, and hands out no further proof; the first reason stays.
    pub fn ask_back(&mut self, why: LeadershipLost) {
        self.term.state().closing.get_or_insert(why);
        self.held = None;
        self.terms.send_replace(None);
        self.term.yielding.cancel();
    }

    /// Whether everybody who wrote has stopped, after [`ask_back`](Self::ask_back).
    pub fn is_given_back(&mut self) -> bool {
        matches!(self.gone.try_recv(), Err(TryRecvError::Disconnected))
    }

    /// Ends the term with a reason.
    pub fn end(self, reason: LeadershipLost) {
        self.term.end(reason);
    }
}

impl Drop for Tenure {
    fn drop(&mut self) {
        self.terms.send_replace(None);
        self.term.end(LeadershipLost::Released);
    }
}

#[cfg(test)]
mod tests;
