//! Which kinds are listed, and what follows of it: what is proven, and what rules that ask about a kind are told.

use portreeve_policies::world::RelatedKind;
use portreeve_reports::Cause;
use portreeve_secrets::credentials::{self, Values};

use super::Index;
use super::anchors::Anchor;
use crate::cluster::feed::Change;
use crate::cluster::kinds::{KINDS, WatchedKind};
use crate::cluster::problem;

/// Whether a kind's objects are known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Listing {
    /// Not yet.
    Waiting,
    /// All of them.
    Listed,
    /// They were listed, and the API server has been away since: they may be other by now.
    Stale,
    /// They could not be listed; what was known before is kept.
    Hidden,
}

impl Index {
    /// Whether every kind is listed or known not to be listable.
    pub fn is_synced(&self) -> bool {
        self.listings.values().all(|listing| *listing != Listing::Waiting)
    }

    /// Number of kinds that were listed and cannot be followed since.
    pub fn stale(&self) -> usize {
        self.listings.values().filter(|listing| **listing == Listing::Stale).count()
    }

    /// Whether all objects of a kind are known.
    pub fn is_kind_listed(&self, group: &str, kind: &str) -> bool {
        WatchedKind::find(group, kind).is_some_and(|kind| self.is_listed(Some(kind)))
    }

    /// Whether all that may hold credentials was listed, and its values may be looked into.
    pub fn are_credentials_read(&self) -> bool {
        let mut holders = KINDS.iter().filter(|kind| credentials::holds_credentials(kind.group, kind.kind));
        holders.all(|kind| self.is_listed(Some(kind)) && !self.hidden_values.contains(kind.plural))
    }

    /// Whether all kinds with images were listed and all files read, so that an image nobody uses is proven to be
    /// unused.
    pub fn is_complete(&self) -> bool {
        self.is_listed(None) && self.unread.is_empty()
    }

    /// An owner of a kind that is not watched is known by what it owns: all kinds but Secrets, which are usually not
    /// read and own no workload.
    pub(super) fn is_listed(&self, kind: Option<&WatchedKind>) -> bool {
        match kind {
            Some(kind) => self.listings.get(kind.plural) == Some(&Listing::Listed),
            None => KINDS.iter().filter(|kind| !kind.is_secret()).all(|kind| self.is_listed(Some(kind))),
        }
    }

    /// A kind is listed completely.
    pub fn listed(&mut self, kind: &'static WatchedKind) -> Change {
        let before = self.listings.insert(kind.plural, Listing::Listed);
        match kind.values {
            Values::Read => self.hidden_values.remove(kind.plural),
            Values::Hidden => self.hidden_values.insert(kind.plural),
        };
        let anchor = match kind.values {
            Values::Read => Anchor { problems: Vec::new(), pass: problem::kind_listed(kind), encrypted: None },
            Values::Hidden => {
                Anchor { problems: problem::values_not_read(kind).into_iter().collect(), pass: None, encrypted: None }
            }
        };
        self.anchor(problem::kind_subject(kind).key(), anchor);
        let mut change = Change::default();
        if before != Some(Listing::Listed) {
            kind.related.into_iter().for_each(|related| self.reveal(related));
            change = self.visibility_changed(kind);
        }
        change
    }

    /// A kind cannot be listed: what rules ask about it is unknown, and what was known of its objects is kept.
    pub fn hide(&mut self, kind: &'static WatchedKind, cause: Cause, why: &str) -> Change {
        let before = self.listings.insert(kind.plural, Listing::Hidden);
        let problems = problem::kind_not_listed(kind, cause, why).into_iter().collect();
        self.anchor(problem::kind_subject(kind).key(), Anchor { problems, pass: None, encrypted: None });
        if before == Some(Listing::Hidden) {
            return Change { subjects: [problem::kind_subject(kind).key()].into(), ..Change::default() };
        }
        kind.related.into_iter().for_each(|related| self.world.hide(related, cause));
        self.visibility_changed(kind)
    }

    /// The API server is away: a kind that was listed stays known, and proves nothing until it is listed again.
    pub fn outdate(&mut self, kind: &'static WatchedKind, why: &str) -> Change {
        if let Some(listing) = self.listings.get_mut(kind.plural)
            && *listing == Listing::Listed
        {
            *listing = Listing::Stale;
        }
        let problems = problem::kind_not_followed(kind, why).into_iter().collect();
        self.anchor(problem::kind_subject(kind).key(), Anchor { problems, pass: None, encrypted: None });
        Change { subjects: [problem::kind_subject(kind).key()].into(), ..Change::default() }
    }

    /// What is asked about is known when all kinds that answer are listed: any workload may own a pod.
    fn reveal(&mut self, related: RelatedKind) {
        let mut answering = KINDS.iter().filter(|kind| kind.related == Some(related));
        if answering.all(|kind| self.is_listed(Some(kind))) {
            self.world.reveal(related);
        }
    }

    fn visibility_changed(&self, kind: &WatchedKind) -> Change {
        let mut change = if kind.related.is_some() { self.everything() } else { Change::default() };
        change.objects.clear();
        change.subjects.insert(problem::kind_subject(kind).key());
        change
    }
}
