//! What a process applied of Secrets. The inventory knows none of their values, and whoever writes them under our name
//! would pass for us. Pure.

use std::collections::{BTreeMap, BTreeSet};

use super::Planned;
use crate::cluster::key::ObjectKey;
use crate::platform::build::Wanted;
use crate::platform::secret::is_secret;

/// The manifests of a component's Secrets that were applied last, by digests that follow from values: they stay in this
/// process, and are shown nowhere. A process that begins knows of none.
#[derive(Clone, Default)]
pub struct AppliedSecrets(BTreeMap<ObjectKey, String>);

impl AppliedSecrets {
    /// Whether this very manifest was applied; `None` where that is not known.
    pub fn has(&self, wanted: &Wanted) -> Option<bool> {
        self.0.get(&wanted.address.key).map(|applied| *applied == wanted.digest)
    }

    /// Notes what a round applied or found applied, of all objects of the component.
    pub fn note(&mut self, objects: &[Planned], written: &[ObjectKey]) {
        let written: BTreeSet<&ObjectKey> = written.iter().collect();
        let mut before = std::mem::take(&mut self.0);
        for planned in objects.iter().filter(|planned| is_secret(&planned.wanted.address.key)) {
            let key = &planned.wanted.address.key;
            let is_applied = !planned.action.writes() || written.contains(key);
            let digest = if is_applied { Some(planned.wanted.digest.clone()) } else { before.remove(key) };
            self.0.extend(digest.map(|digest| (key.clone(), digest)));
        }
    }
}

impl std::fmt::Debug for AppliedSecrets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AppliedSecrets").finish_non_exhaustive()
    }
}
