//! A budget that addresses share, so that none of them can have what the others need.
//!
//! An address has at most as much as it leaves free; if it has nothing, what it asks for only has to fit. So whoever is
//! alone leaves half, and whoever comes second finds that half, whatever the first one does. Connections would be no
//! measure: one program has as many as it likes, but only one address in each Pod it runs in.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::oneshot;
use tokio::time::timeout;

use crate::registry::Deadline;

/// A budget, in whatever is weighed.
#[derive(Clone)]
pub(super) struct Room(Arc<Mutex<Shares>>);

struct Shares {
    free: usize,
    of: HashMap<IpAddr, Share>,
}

/// What an address has, and who of it waits, the first who came first. Addresses do not wait for each other.
#[derive(Default)]
struct Share {
    held: usize,
    line: VecDeque<(usize, oneshot::Sender<Held>)>,
}

/// What somebody has of a room, until it is dropped.
pub(super) struct Held {
    room: Room,
    address: IpAddr,
    weight: usize,
}

impl Room {
    pub(super) fn new(size: usize) -> Self {
        Self(Arc::new(Mutex::new(Shares { free: size, of: HashMap::new() })))
    }

    /// Nothing of it yet.
    pub(super) fn nothing(&self, address: IpAddr) -> Held {
        Held { room: self.clone(), address, weight: 0 }
    }

    /// So much of it, when there is room for that; nothing when there was none until the deadline.
    pub(super) async fn enter(&self, address: IpAddr, weight: usize, deadline: Deadline) -> Option<Held> {
        let (admit, admitted) = oneshot::channel();
        self.change(|shares| shares.of.entry(address).or_default().line.push_back((weight, admit)));
        timeout(deadline.remaining(), admitted).await.ok()?.ok()
    }

    /// Changes something and admits whom that makes room for.
    fn change(&self, change: impl FnOnce(&mut Shares)) {
        let admitted = {
            let mut shares = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            change(&mut shares);
            shares.admitted()
        };
        for (address, weight, admit) in admitted {
            // Who has gone away gives it back, for which the lock has to be open.
            drop(admit.send(Held { room: self.clone(), address, weight }));
        }
    }
}

impl Shares {
    fn admitted(&mut self) -> Vec<(IpAddr, usize, oneshot::Sender<Held>)> {
        let mut admitted = Vec::new();
        for (address, share) in &mut self.of {
            while let Some((weight, admit)) = share.line.pop_front() {
                if admit.is_closed() {
                    continue;
                }
                if !fits(share.held, weight, self.free) {
                    share.line.push_front((weight, admit));
                    break;
                }
                share.held += weight;
                self.free -= weight;
                admitted.push((*address, weight, admit));
            }
        }
        self.of.retain(|_, share| share.held > 0 || !share.line.is_empty());
        admitted
    }

    fn give_back(&mut self, address: IpAddr, weight: usize) {
        self.free += weight;
        self.of.entry(address).or_default().held -= weight;
    }
}

/// Whether who has so much may have so much more.
fn fits(held: usize, weight: usize, free: usize) -> bool {
    free.checked_sub(weight).is_some_and(|left| held == 0 || held + weight <= left)
}

impl Held {
    /// Takes so much more, if there is room for it now.
    pub(super) fn grow(&mut self, weight: usize) -> bool {
        if weight == 0 {
            return true;
        }
        let mut shares = self.room.0.lock().unwrap_or_else(PoisonError::into_inner);
        let held = shares.of.get(&self.address).map_or(0, |share| share.held);
        if !fits(held, weight, shares.free) {
            return false;
        }
        shares.free -= weight;
        shares.of.entry(self.address).or_default().held += weight;
        self.weight += weight;
        true
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if self.weight > 0 {
            self.room.change(|shares| shares.give_back(self.address, self.weight));
        }
    }
}

#[cfg(test)]
mod tests;
