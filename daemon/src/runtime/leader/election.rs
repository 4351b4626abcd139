//! What to do about a lease: pure. The clock is ours and monotonic, and says only how long a lease has been as it is;
//! the times that stand in a lease are those of somebody else's clock and are compared, never believed.

use tokio::time::Instant;

use super::{DURATION, Epoch, LeadershipLost};

/// The greatest `leaseTransitions`, which the API keeps in 32 bits.
const LAST_EPOCH: u64 = i32::MAX as u64;

/// A lease as it was read. Annotations are not among it: who asks for a lease does not renew it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SeenLease {
    /// The holder; `None` when there is none.
    pub holder: Option<String>,
    /// `leaseTransitions`; below 0 is 0.
    pub transitions: u64,
    /// `renewTime` as text. A holder that gives the lease back leaves none.
    pub renewed: Option<String>,
}

/// What to do now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Take the lease for this term.
    Take(Epoch),
    /// Go on holding it.
    Renew,
    /// Leave it.
    Wait,
    /// It was ours; stop.
    Stop(LeadershipLost),
}

/// One process that stands for election.
#[derive(Clone, Debug)]
pub struct Election {
    identity: String,
    /// The greatest term that anybody is known to have had.
    known: Epoch,
    held: Option<Epoch>,
    /// The lease as it last changed, and from when on it may be taken.
    seen: Option<(Option<SeenLease>, Instant)>,
    stands_back_until: Option<Instant>,
}

impl Election {
    /// A process that has not looked yet. `known` is the greatest term that its store has heard of: a lease that was
    /// deleted does not begin again below it.
    pub fn new(identity: String, known: Epoch) -> Self {
        Self { identity, known, held: None, seen: None, stands_back_until: None }
    }

    /// The name of this process on the lease.
    pub fn identity(&self) -> &str {
        &self.identity
    }

    /// What to do about the lease as it was read at `now`; `None` when there is none.
    pub fn elect(&mut self, now: Instant, lease: Option<&SeenLease>) -> Action {
        if let (Some(epoch), Some(lease)) = (self.held, lease)
            && self.is_ours(lease)
            && lease.transitions == epoch.number()
        {
            self.note(now, Some(lease));
            return Action::Renew;
        }
        if self.held.take().is_some() {
            self.note(now, lease);
            return Action::Stop(self.reason(lease));
        }
        self.note(now, lease);
        let is_free = self.seen.as_ref().is_some_and(|(_, free_from)| now >= *free_from);
        let may_stand = self.stands_back_until.is_none_or(|until| now >= until);
        if is_free && may_stand && self.known.number() < LAST_EPOCH {
            Action::Take(self.known.next())
        } else {
            Action::Wait
        }
    }

    /// The lease was taken for this term.
    pub fn taken(&mut self, epoch: Epoch) {
        self.held = Some(epoch);
        self.known = self.known.max(epoch);
    }

    /// The term is over without a word from the lease: it ran out, or we gave it back. Nobody of ours takes it again
    /// before `until`, unless somebody else had it meanwhile.
    pub fn stand_back(&mut self, until: Instant) {
        self.held = None;
        self.stands_back_until = Some(until);
    }

    /// From when on the lease as it was seen may be taken.
    pub fn free_from(&self) -> Option<Instant> {
        self.seen.as_ref().map(|(_, free_from)| *free_from)
    }

    /// Whether terms have run out: the number of the last one cannot be increased.
    pub fn is_exhausted(&self) -> bool {
        self.known.number() >= LAST_EPOCH
    }

    fn is_ours(&self, lease: &SeenLease) -> bool {
        lease.holder.as_deref() == Some(self.identity.as_str())
    }

    fn reason(&self, lease: Option<&SeenLease>) -> LeadershipLost {
        match lease {
            None => LeadershipLost::Tampered { how: "deleted" },
            Some(lease) if self.is_ours(lease) => LeadershipLost::Tampered { how: "edited" },
            Some(SeenLease { holder: Some(by), .. }) => LeadershipLost::Taken { by: by.clone() },
            Some(_) => LeadershipLost::Tampered { how: "edited" },
        }
    }

    /// Remembers when the lease changed, and from when on it may be taken.
    fn note(&mut self, now: Instant, lease: Option<&SeenLease>) {
        if let Some(lease) = lease {
            self.known = self.known.max(Epoch::new(lease.transitions));
            if lease.holder.is_some() && !self.is_ours(lease) {
                self.stands_back_until = None;
            }
        }
        let before = match &self.seen {
            Some((seen, _)) if seen.as_ref() == lease => return,
            Some((seen, _)) => seen.clone(),
            None => None,
        };
        let was_another = before.as_ref().is_some_and(|before| before.holder.is_some() && !self.is_ours(before));
        let is_free = match lease {
            // Deleted below a holder, which may not know yet.
            None => !was_another,
            Some(lease) if self.is_ours(lease) => true,
            // A holder that gave it back left no time; without a holder but with a time, somebody edited it.
            Some(lease) => lease.holder.is_none() && lease.renewed.is_none(),
        };
        let free_from = if is_free { now } else { now + DURATION };
        self.seen = Some((lease.cloned(), free_from));
    }
}

#[cfg(test)]
mod tests;
