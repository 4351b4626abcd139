//! Looking up names of hosts that nobody configured. The system's look-up cannot be ended and may take half a minute, on
//! a thread of the pool that all of the process needs; whoever can create a Pod says which names, and may have name
//! servers that never answer.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use moka::sync::Cache;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::runtime::supervisor::blocking;

/// Names that are looked up at one time, and those of them that are of one zone.
const LOOK_UPS: usize = 32;
const OF_ZONE: usize = 8;
/// How long a look-up is waited for; of a name whose addresses are known, room for it included.
const PATIENCE: Duration = Duration::from_secs(3);
const PATIENCE_WITH_KNOWN: Duration = Duration::from_secs(1);
/// How long addresses are kept for when a look-up does not answer.
const KNOWN: Duration = Duration::from_secs(24 * 3600);
/// How long a name is not asked for again that was not answered: about as long as its look-up may still be under way.
const SILENT: Duration = Duration::from_secs(30);
/// Names, and zones, that are kept.
const KEPT: u64 = 4096;

/// The addresses of a name, or why there are none.
pub(super) type Answer = Result<Vec<SocketAddr>, Box<dyn std::error::Error + Send + Sync>>;
/// Asks for the addresses of a name and waits for them.
pub(super) type LookUp = Arc<dyn Fn(&str) -> Answer + Send + Sync>;

/// Names that were looked up, and room for look-ups.
pub(super) struct Names {
    look_up: LookUp,
    room: Arc<Semaphore>,
    zones: Cache<String, Arc<Semaphore>>,
    known: Cache<String, Vec<SocketAddr>>,
    silent: Cache<String, ()>,
}

/// A name that was not looked up to its end.
#[derive(Debug, thiserror::Error)]
#[error("its name servers did not answer within {} s; it is looked up again after {} s", PATIENCE.as_secs(), SILENT.as_secs())]
struct Unanswered;

impl Names {
    pub(super) fn new(look_up: LookUp) -> Self {
        Self {
            look_up,
            room: Arc::new(Semaphore::new(LOOK_UPS)),
            zones: Cache::new(KEPT),
            known: Cache::builder().max_capacity(KEPT).time_to_live(KNOWN).build(),
            silent: Cache::builder().max_capacity(KEPT).time_to_live(SILENT).build(),
        }
    }

    /// The addresses of a name; those of before if it has some and the look-up does not answer soon.
    pub(super) async fn addresses(&self, name: &str) -> Answer {
        match self.known.get(name) {
            None if self.is_silent(name) => Err(Unanswered.into()),
            None => self.looked_up(name).await,
            Some(known) if self.is_silent(name) => Ok(known),
            Some(known) => timeout(PATIENCE_WITH_KNOWN, self.looked_up(name)).await.unwrap_or_else(|_| {
                self.silent.insert(name.to_owned(), ());
                Ok(known)
            }),
        }
    }

    fn is_silent(&self, name: &str) -> bool {
        self.silent.contains_key(name)
    }

    async fn looked_up(&self, name: &str) -> Answer {
        let zone = self.zones.get_with(zone(name).to_owned(), || Arc::new(Semaphore::new(OF_ZONE)));
        let room = (zone.acquire_owned().await?, Arc::clone(&self.room).acquire_owned().await?);
        // Those who waited for room behind a look-up of the same name do not ask for it again.
        if self.is_silent(name) {
            return Err(Unanswered.into());
        }
        let (look_up, asked) = (Arc::clone(&self.look_up), name.to_owned());
        let answer = blocking(move || {
            // Until the look-up has ended, whether or not somebody still waits for it.
            let _room = room;
            look_up(&asked)
        });
        let Ok(answer) = timeout(PATIENCE, answer).await else {
            self.silent.insert(name.to_owned(), ());
            return Err(Unanswered.into());
        };
        let addresses = answer?;
        self.known.insert(name.to_owned(), addresses.clone());
        Ok(addresses)
    }
}

/// The last two labels of a name: who has these has all names below, as many as they like.
fn zone(name: &str) -> &str {
    let name = name.trim_end_matches('.');
    name.rmatch_indices('.').nth(1).map_or(name, |(dot, _)| &name[dot + 1..])
}

#[cfg(test)]
mod tests;
