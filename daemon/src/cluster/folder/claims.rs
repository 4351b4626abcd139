//! Which file says what about which object. An object that stands in several files is the one of the last file, as
//! when the files are applied in order; a deleted file takes only what no other file has.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use portreeve_policies::object::Unreadable;
use portreeve_reports::{Cause, Finding};
use portreeve_secrets::credentials::Values;

use crate::cluster::index::Item;
use crate::cluster::key::ObjectKey;
use crate::cluster::writer::Event;
use crate::judge::content::Content;

/// What the files of a folder say.
#[derive(Debug, Default)]
pub(super) struct Claims {
    files: HashMap<Arc<str>, BTreeSet<ObjectKey>>,
    objects: HashMap<ObjectKey, BTreeMap<Arc<str>, Item>>,
}

impl Claims {
    /// A file was read. Objects that it no longer has are gone, unless a part of it could not be read.
    pub(super) fn file_read(&mut self, name: &str, read: Content) -> Vec<Event> {
        let name: Arc<str> = name.into();
        let mut problems: Vec<Finding> = Vec::new();
        let mut items: Vec<Item> = read.objects.into_iter().map(|object| Item::good(object, Values::Read)).collect();
        for unreadable in read.unreadable {
            match ObjectKey::of_unreadable(&unreadable) {
                Some(key) => items.push(Item::Bad(key, Box::new(unreadable))),
                None => problems.push(unreadable.finding()),
            }
        }
        let now: BTreeSet<ObjectKey> = items.iter().map(Item::key).collect();
        let mut before = self.files.remove(&name).unwrap_or_default();
        let mut events = Vec::new();
        if problems.is_empty() {
            let gone = before.difference(&now).cloned().collect::<Vec<_>>();
            events.extend(gone.iter().filter_map(|key| self.withdraw(key, &name)));
            before.clear();
        }
        events.extend(items.into_iter().filter_map(|item| self.claim(&name, item)));
        self.files.insert(Arc::clone(&name), &before | &now);
        events.push(Event::FileRead(name, problems, read.encrypted.map(Arc::new)));
        events
    }

    /// A file is gone.
    pub(super) fn file_gone(&mut self, name: &str) -> Vec<Event> {
        let keys = self.files.remove(name).unwrap_or_default();
        let mut events: Vec<Event> = keys.iter().filter_map(|key| self.withdraw(key, name)).collect();
        events.push(Event::FileGone(name.into()));
        events
    }

    fn claim(&mut self, name: &Arc<str>, item: Item) -> Option<Event> {
        let claims = self.objects.entry(item.key()).or_default();
        claims.insert(Arc::clone(name), item);
        claims.last_key_value().map(|(_, item)| Event::Applied(item.clone()))
    }

    fn withdraw(&mut self, key: &ObjectKey, name: &str) -> Option<Event> {
        let claims = self.objects.get_mut(key)?;
        claims.remove(name);
        match claims.last_key_value() {
            Some((_, item)) => Some(Event::Applied(item.clone())),
            None => {
                self.objects.remove(key);
                Some(Event::Deleted(key.clone()))
            }
        }
    }
}

/// The event of a file or folder that could not be read at all: what it said before is kept.
pub(super) fn unreadable(name: &str, cause: Cause, why: &str) -> Event {
    Event::FileRead(name.into(), vec![Unreadable::of_file(name, cause, why).finding()], None)
}
