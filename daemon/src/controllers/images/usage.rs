//! Who uses which image. Pure.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use portreeve_policies::workload::{ImageUse, RunningImage, image_uses, running_images};
use portreeve_reports::{Location, ObjectRef, Subject, SubjectKey};

use crate::cluster::key::ObjectKey;
use crate::cluster::writer::ObjectState;

/// `host/path`, or what was written where that is no reference: the identity that the judge gives its findings.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct RepositoryName(pub(super) String);

impl RepositoryName {
    fn of(image: &ImageUse) -> Self {
        Self(image.reference.as_ref().map_or_else(|_| image.text.clone(), |reference| reference.repository.to_string()))
    }

    /// The subject of its findings.
    pub(super) fn subject(&self) -> SubjectKey {
        Subject::Image { repository: self.0.clone(), reference: self.0.clone(), digest: None }.key()
    }
}

/// The images that an object declares, and those that its status says run otherwise than declared. An object that is
/// judged with its owner declares nothing of its own, but what runs is its own.
pub(super) fn uses_of(state: &ObjectState) -> Vec<ImageUse> {
    let declared = image_uses(&state.object, &state.reference);
    let is_declared = |image: &RunningImage| declared.iter().any(|declared| declared.reference == image.reference);
    let running =
        running_images(&state.object).into_iter().filter(|image| image.digest.is_some() && !is_declared(image));
    let mut uses: Vec<ImageUse> = running.map(|image| running_use(state, image)).collect();
    if !state.is_covered {
        uses.extend(declared);
    }
    uses
}

fn running_use(state: &ObjectState, image: RunningImage) -> ImageUse {
    ImageUse {
        text: image.text,
        reference: image.reference,
        namespace: state.object.namespace.to_string(),
        object: Some(ObjectRef { container: Some(image.container), ..state.reference.clone() }),
        location: Location { object_path: image.object_path, ..Location::default() },
    }
}

/// The uses of every object, and the objects of every repository.
#[derive(Debug, Default)]
pub(super) struct Usage {
    objects: HashMap<ObjectKey, Vec<ImageUse>>,
    repositories: BTreeMap<RepositoryName, BTreeSet<ObjectKey>>,
    subjects: HashMap<SubjectKey, usize>,
}

impl Usage {
    /// Sets the uses of an object, none for one that is gone; the repositories whose uses are other than before.
    pub(super) fn set(&mut self, key: ObjectKey, uses: Vec<ImageUse>) -> BTreeSet<RepositoryName> {
        let before = self.objects.remove(&key).unwrap_or_default();
        let named = |uses: &[ImageUse]| uses.iter().map(RepositoryName::of).collect::<BTreeSet<_>>();
        let (old, new) = (named(&before), named(&uses));
        let of = |uses: &'_ [ImageUse], repository: &RepositoryName| -> Vec<ImageUse> {
            uses.iter().filter(|image| RepositoryName::of(image) == *repository).cloned().collect()
        };
        let is_changed = |repository: &&RepositoryName| !are_same(&of(&before, repository), &of(&uses, repository));
        let changed = old.union(&new).filter(is_changed).cloned().collect();
        old.difference(&new).for_each(|repository| self.leave(repository, &key));
        new.difference(&old).for_each(|repository| self.join(repository, &key));
        if !uses.is_empty() {
            self.objects.insert(key, uses);
        }
        changed
    }

    fn join(&mut self, repository: &RepositoryName, key: &ObjectKey) {
        self.repositories.entry(repository.clone()).or_default().insert(key.clone());
        *self.subjects.entry(repository.subject()).or_default() += 1;
    }

    fn leave(&mut self, repository: &RepositoryName, key: &ObjectKey) {
        if let Some(keys) = self.repositories.get_mut(repository) {
            keys.remove(key);
            if keys.is_empty() {
                self.repositories.remove(repository);
            }
        }
        let subject = repository.subject();
        if let Some(count) = self.subjects.get_mut(&subject) {
            *count -= 1;
            if *count == 0 {
                self.subjects.remove(&subject);
            }
        }
    }

    /// All repositories in use.
    pub(super) fn repositories(&self) -> impl Iterator<Item = &RepositoryName> {
        self.repositories.keys()
    }

    /// Whether the subject is an image in use.
    pub(super) fn is_used(&self, subject: &SubjectKey) -> bool {
        self.subjects.contains_key(subject)
    }

    /// All uses of a repository, in the order of their objects.
    pub(super) fn uses(&self, repository: &RepositoryName) -> Vec<ImageUse> {
        let keys = self.repositories.get(repository).into_iter().flatten();
        let uses = keys.filter_map(|key| self.objects.get(key)).flatten();
        uses.filter(|image| RepositoryName::of(image) == *repository).cloned().collect()
    }
}

fn are_same(left: &[ImageUse], right: &[ImageUse]) -> bool {
    let is_same = |(left, right): (&ImageUse, &ImageUse)| {
        left.text == right.text
            && left.reference == right.reference
            && left.object == right.object
            && left.location == right.location
    };
    left.len() == right.len() && left.iter().zip(right).all(is_same)
}

#[cfg(test)]
mod tests;
