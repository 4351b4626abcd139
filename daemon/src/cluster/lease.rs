//! The lease of a cluster: an object of `coordination.k8s.io/v1` at an API server, a lock on the folder for a folder.
//!
//! [`Campaign`] keeps the daemon's stand for it; [`command`] takes it for one command, asking the daemon by an
//! annotation. What to do is decided by [`crate::runtime::leader::election`].

pub mod command;
pub mod folder;
mod wire;

use std::time::Duration;

use k8s_openapi::api::coordination::v1::Lease;
use kube::Client;
use rustls::crypto::SecureRandom;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::request::Failed;
use crate::config::valid::LeaderConfig;
use crate::runtime::leader::election::{Action, Election};
use crate::runtime::leader::{DURATION, EVERY, Epoch, LeadershipLost, RENEW_WITHIN, REQUEST, Seat, Tenure};
use crate::runtime::metrics::LeaderMetrics;
use wire::Leases;

/// Pause before a write that met another one.
const AGAIN: Duration = Duration::from_millis(100);
/// Pause after a renewal that came to nothing.
const HURRY: Duration = Duration::from_millis(300);
/// How long what writes may take to stop when the process ends. Less than the drain of the supervisor.
const RESIGN: Duration = Duration::from_secs(15);

/// The system gives no random numbers, without which two processes of a host could have one name.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error(
    "the system gives no random numbers, which the name of this process on the lease needs; is /dev/urandom there?"
)]
pub struct NoRandom;

/// The name of this process on a lease: no two processes have the same, not even two of one host.
pub fn identity() -> Result<String, NoRandom> {
    named_by(rustls::crypto::aws_lc_rs::default_provider().secure_random)
}

fn named_by(random: &dyn SecureRandom) -> Result<String, NoRandom> {
    let mut bytes = [0; 8];
    random.fill(&mut bytes).map_err(|_| NoRandom)?;
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let host = match host.trim() {
        "" => "portreeve",
        host => host,
    };
    Ok(format!("{host}_{:016x}", u64::from_be_bytes(bytes)))
}

/// Stands for the lease, renews it, and gives it back.
pub struct Campaign {
    leases: Leases,
    seat: Seat,
    election: Election,
    metrics: LeaderMetrics,
    tenure: Option<Tenure>,
    /// The lease as it is, as far as we know.
    known: Option<Lease>,
    renewed_at: Instant,
    said: String,
}

impl Campaign {
    /// A campaign that has not begun. `known` is the greatest term that the store has heard of.
    pub fn new(client: Client, place: LeaderConfig, seat: Seat, (identity, known): (String, Epoch)) -> Self {
        Self {
            leases: Leases::new(client, place),
            seat,
            election: Election::new(identity, known),
            metrics: LeaderMetrics::default(),
            tenure: None,
            known: None,
            renewed_at: Instant::now(),
            said: String::new(),
        }
    }

    /// The same, telling whether it leads.
    pub fn metrics(self, metrics: LeaderMetrics) -> Self {
        Self { metrics, ..self }
    }

    /// Campaigns until the shutdown, then gives the lease back when all who write have stopped.
    pub async fn run(mut self, shutdown: CancellationToken) {
        let mut pause = Duration::ZERO;
        loop {
            let deadline = self.tenure.as_ref().map(Tenure::deadline);
            tokio::select! {
                () = shutdown.cancelled() => break,
                () = at(deadline) => self.lose(LeadershipLost::Expired),
                next = self.round_after(pause) => pause = next,
            }
        }
        self.resign().await;
    }

    async fn round_after(&mut self, pause: Duration) -> Duration {
        tokio::time::sleep(pause).await;
        self.round().await
    }

    /// One look at the lease, and what follows; gives the pause until the next.
    async fn round(&mut self) -> Duration {
        if let (Some(_), Some(known)) = (&self.tenure, self.known.clone()) {
            match self.renew(&known).await {
                Some(pause) => return pause,
                None => self.known = None,
            }
        }
        let read = match self.leases.get(self.patience()).await {
            Ok(read) => read,
            Err(failed) => return self.wait_after(&failed),
        };
        self.seat.answered(true);
        match self.election.elect(Instant::now(), read.as_ref().map(wire::seen).as_ref()) {
            Action::Take(epoch) => self.take(epoch, read).await,
            Action::Renew => {
                self.known = read;
                AGAIN
            }
            Action::Wait => {
                // Somebody else has it: they write.
                self.seat.refused(None);
                if self.election.is_exhausted() {
                    self.say("its leaseTransitions cannot be increased; delete the lease and restart all replicas");
                }
                // A dead holder is followed on time, not at the look after that.
                let left = self.election.free_from().map(|free_from| free_from.duration_since(Instant::now()));
                left.map_or(EVERY, |left| left.clamp(AGAIN, EVERY))
            }
            Action::Stop(lost) => {
                self.lose(lost);
                AGAIN
            }
        }
    }

    /// Takes the lease as it was read.
    async fn take(&mut self, epoch: Epoch, read: Option<Lease>) -> Duration {
        let sent = Instant::now();
        let taken = wire::taken(read, &self.leases.place, self.election.identity(), epoch);
        match self.leases.put(&taken, REQUEST).await {
            Ok(lease) => {
                self.election.taken(epoch);
                self.tenure = Some(self.seat.begin(epoch, sent + RENEW_WITHIN));
                (self.known, self.renewed_at) = (Some(lease), sent);
                self.metrics.leading.set(1);
                self.said.clear();
                self.seat.refused(None);
                tracing::info!(lease = self.leases.shown(), %epoch, identity = self.election.identity(), "this process leads");
                EVERY
            }
            Err(Failed::Changed) => AGAIN,
            Err(failed) => self.wait_after(&failed),
        }
    }

    /// Renews the lease as it is known, or goes on with giving it back; `None` when it is another by now.
    async fn renew(&mut self, known: &Lease) -> Option<Duration> {
        let patience = self.patience();
        let tenure = self.tenure.as_mut()?;
        if let Some(by) = wire::requested_by(known) {
            tenure.ask_back(LeadershipLost::Yielded { to: by });
            if tenure.is_given_back() {
                self.give_back(known).await;
                return Some(EVERY);
            }
            if self.renewed_at.elapsed() < EVERY {
                return Some(AGAIN);
            }
        }
        let sent = Instant::now();
        match self.leases.put(&wire::renewed(known), patience).await {
            Ok(lease) => {
                self.seat.answered(true);
                let renewed = tenure.renewed(sent);
                let is_asked = wire::requested_by(&lease).is_some();
                (self.known, self.renewed_at) = (Some(lease), sent);
                if let Err(lost) = renewed {
                    self.lose(lost);
                    return Some(AGAIN);
                }
                Some(if is_asked { AGAIN } else { EVERY })
            }
            Err(Failed::Changed) => None,
            // It may have been renewed all the same; the next try tells.
            Err(failed) => Some(self.wait_after(&failed)),
        }
    }

    /// Everybody has stopped: the lease is free for who asked, and for anybody after a while.
    async fn give_back(&mut self, known: &Lease) {
        if let Err(failed) = self.leases.put(&wire::given_back(known), REQUEST).await {
            self.wait_after(&failed);
        }
        self.election.stand_back(Instant::now() + DURATION);
        self.end(LeadershipLost::Released);
        tracing::info!(lease = self.leases.shown(), "the lease was given back");
    }

    fn lose(&mut self, lost: LeadershipLost) {
        tracing::warn!(lease = self.leases.shown(), %lost, "this process does not lead any more");
        self.election.stand_back(Instant::now());
        self.end(lost);
    }

    fn end(&mut self, reason: LeadershipLost) {
        self.metrics.leading.set(0);
        self.known = None;
        if let Some(tenure) = self.tenure.take() {
            tenure.end(reason);
        }
    }

    /// Waits, renewing, until all who write have stopped; then the next may begin at once.
    async fn resign(mut self) {
        let until = Instant::now() + RESIGN;
        while let Some(tenure) = &mut self.tenure {
            tenure.ask_back(LeadershipLost::Released);
            if tenure.is_given_back() {
                break;
            }
            if Instant::now() >= until.min(tenure.deadline()) {
                return;
            }
            if let (true, Some(known)) = (self.renewed_at.elapsed() >= EVERY, self.known.clone()) {
                // A renewal that fails leaves the term to its deadline.
                let _pause = self.renew(&known).await;
            }
            tokio::time::sleep(AGAIN).await;
        }
        if self.tenure.is_some() {
            self.give_back_as_it_is().await;
        }
    }

    /// Gives the lease back as it is read now: a renewal that the end of the process cut off may have changed it.
    async fn give_back_as_it_is(&mut self) {
        let Ok(Some(lease)) = self.leases.get(self.patience()).await else { return };
        if self.election.elect(Instant::now(), Some(&wire::seen(&lease))) == Action::Renew {
            self.give_back(&lease).await;
        }
    }

    fn wait_after(&mut self, failed: &Failed) -> Duration {
        let why = format!("{failed}{}", wire::hint(failed));
        self.say(&why);
        self.seat.answered(failed.is_answer());
        if matches!(failed.code(), Some(403 | 404)) {
            self.seat.refused(Some(format!("the lease {} cannot be had: {why}", self.leases.shown())));
        }
        if self.tenure.is_some() { HURRY } else { EVERY }
    }

    /// How long a request may take: less and less when a term is about to end, so that one lost answer does not end it.
    fn patience(&self) -> Duration {
        let left = self.tenure.as_ref().map(|tenure| tenure.deadline().duration_since(Instant::now()) / 2);
        left.map_or(REQUEST, |left| left.min(REQUEST))
    }

    /// Says something once, until it is something else.
    fn say(&mut self, text: &str) {
        if self.said != text {
            tracing::warn!(lease = self.leases.shown(), "the lease cannot be had: {text}");
            text.clone_into(&mut self.said);
        }
    }
}

async fn at(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use rustls::crypto::GetRandomFailed;

    use super::*;

    #[derive(Debug)]
    struct Dry;

    impl SecureRandom for Dry {
        fn fill(&self, _: &mut [u8]) -> Result<(), GetRandomFailed> {
            Err(GetRandomFailed)
        }
    }

    #[test]
    fn without_random_numbers_no_process_has_a_name() {
        assert!(named_by(&Dry).is_err());
        assert_ne!(identity().unwrap(), identity().unwrap());
    }
}
