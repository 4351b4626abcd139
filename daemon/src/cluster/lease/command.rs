//! The lease for one command, such as `platform apply` from a laptop.

use std::time::Duration;

use kube::Client;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{Campaign, identity, wire};
use crate::config::valid::LeaderConfig;
use crate::runtime::leader::{Epoch, LeadershipLost, Leading, REQUEST, Seat};

/// Pause between two looks at a lease that somebody else holds.
const LOOK: Duration = Duration::from_millis(500);

/// How long work goes on that has lost the lease: a write under way is answered, or given up, in that time.
const LAST_WORDS: Duration = Duration::from_secs(4);

/// Why a command does not lead.
#[derive(Debug, thiserror::Error)]
#[error("the lease {place} {state}")]
pub struct HeldBy {
    /// The lease, `namespace/name`.
    pub place: String,
    /// Who holds it; `None` when it could not be had for another reason.
    pub holder: Option<String>,
    state: String,
}

/// A lease that a command has. It is renewed while [`during`](Self::during) runs.
pub struct CommandLease {
    campaign: Campaign,
    leading: Leading,
}

/// Asks the holder for the lease and waits for it, at most for `wait`.
pub async fn acquire_for_command(client: Client, place: LeaderConfig, wait: Duration) -> Result<CommandLease, HeldBy> {
    let until = Instant::now() + wait;
    let (seat, mut watch) = Seat::new();
    let nameless =
        |error| HeldBy { place: place.lease.clone(), holder: None, state: format!("cannot be had: {error}") };
    let identity = identity().map_err(nameless)?;
    let mut campaign = Campaign::new(client, place, seat, (identity, Epoch::default()));
    let mut has_asked = false;
    loop {
        // Nothing is held yet that could be lost.
        let _pause = campaign.round().await;
        if let Some(leading) = watch.now() {
            return Ok(CommandLease { campaign, leading });
        }
        if Instant::now() >= until {
            return Err(refusal(campaign, has_asked, wait).await);
        }
        if !has_asked {
            has_asked = campaign.leases.ask(Some(campaign.election.identity())).await.is_ok();
        }
        tokio::time::sleep(LOOK).await;
    }
}

impl CommandLease {
    /// The proof of the term.
    pub fn leading(&self) -> Leading {
        self.leading.clone()
    }

    /// Does the work; then gives the lease back. Work that does not end soon by itself when the lease is lost is dropped:
    /// it can write nothing more, and may say what it has written.
    pub async fn during<T>(self, work: impl Future<Output = T>) -> Result<T, LeadershipLost> {
        let stop = CancellationToken::new();
        let (leading, stopping) = (self.leading, stop.clone());
        let working = async move {
            let lost = leading.lost().clone();
            let done = tokio::select! {
                biased;
                done = work => Ok(done),
                () = async { lost.cancelled().await; tokio::time::sleep(LAST_WORDS).await } => {
                    Err(leading.check().err().unwrap_or(LeadershipLost::Expired))
                }
            };
            drop(leading);
            stopping.cancel();
            done
        };
        let ((), done) = tokio::join!(self.campaign.run(stop), working);
        done
    }
}

/// Says who holds the lease, and takes our question back.
async fn refusal(campaign: Campaign, has_asked: bool, wait: Duration) -> HeldBy {
    if has_asked {
        // A question that stays makes the holder pause once for nobody.
        let _taken_back = campaign.leases.ask(None).await;
    }
    let read = campaign.leases.get(REQUEST).await;
    let place = campaign.leases.shown();
    let lease = match read {
        Ok(lease) => lease.unwrap_or_default(),
        Err(failed) => return HeldBy { place, holder: None, state: format!("cannot be had: {failed}") },
    };
    let holder = wire::seen(&lease).holder;
    let since = lease.spec.and_then(|spec| spec.acquire_time).map_or_else(String::new, |at| format!(" since {}", at.0));
    let state = match &holder {
        Some(holder) => format!("is held by {holder}{since}; it did not give it up within {} s", wait.as_secs()),
        None if campaign.said.is_empty() => format!("could not be had within {} s", wait.as_secs()),
        None => format!("cannot be had: {}", campaign.said),
    };
    HeldBy { place, holder, state }
}
