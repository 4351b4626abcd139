//! What becomes of objects that are no longer declared. Pure.

use serde_json::Value;

use super::claims::Claims;
use super::fields;
use super::inventory::{COMPONENT_LABEL, Entry, PLATFORM_LABEL};
use super::waves::is_retained;
use crate::cluster::apply::ApiFailure;

/// Whose the objects are: the two labels.
#[derive(Clone, Copy, Debug)]
pub struct Whose<'a> {
    /// The platform.
    pub platform: &'a str,
    /// The component.
    pub component: &'a str,
}

impl Whose<'_> {
    /// Whether an object has our labels.
    pub fn has_labels(&self, object: &Value) -> bool {
        let labels = object.pointer("/metadata/labels");
        let is = |key: &str, value: &str| labels.and_then(|labels| labels.get(key)?.as_str()) == Some(value);
        is(PLATFORM_LABEL, self.platform) && is(COMPONENT_LABEL, self.component)
    }

    /// Whether a live object is the one that the entry stands for. Without a UID (a crash between applying and noting
    /// it) it must have both our labels and our name among its managers: labels alone are copied by operators.
    pub fn is_entrys(&self, entry: &Entry, live: &Value) -> bool {
        match &entry.uid {
            Some(uid) => live.pointer("/metadata/uid").and_then(Value::as_str) == Some(uid),
            None => self.has_labels(live) && fields::is_managed(live),
        }
    }

    /// The selector of our labels.
    pub fn selector(&self) -> String {
        format!("{PLATFORM_LABEL}={},{COMPONENT_LABEL}={}", self.platform, self.component)
    }
}

/// What becomes of one object that is no longer declared.
#[derive(Clone, Debug, PartialEq)]
pub enum Fate {
    /// It is deleted, as it was looked at.
    Delete(Box<Value>),
    /// It stays and is nobody's from now on: its kind holds data.
    Retain,
    /// It is gone already.
    Gone,
    /// It is being deleted; it is remembered until it is gone.
    Ending,
    /// It is not ours (any more), and is left alone.
    NotOurs(&'static str),
    /// Pruning is off; it is remembered.
    Kept,
    /// The named component has it now (or has had it all along, under a name that means the same): it is forgotten here.
    HandedOver(String),
    /// The named component declares it and has not taken it yet; it is remembered until then.
    Awaited(String),
    /// The named component cannot be read and may declare it; it is remembered.
    Undecided(String),
    /// Its version is served no more, and its kind is: it may live on, and is remembered.
    NotServed(ApiFailure),
}

impl Fate {
    /// Whether nothing is done, and it stays in the inventory.
    pub fn is_remembered(&self) -> bool {
        matches!(self, Self::Kept | Self::Ending | Self::Awaited(_) | Self::Undecided(_))
    }
}

/// Decides by the entry, by what is there, and by what other components claim.
pub fn fate(
    whose: Whose<'_>,
    entry: &Entry,
    live: Option<&Value>,
    claims: &Claims,
    (prune, retain): (bool, bool),
) -> Fate {
    let Some(live) = live else { return Fate::Gone };
    let key = &entry.address.key;
    if let Some(other) = claims.taken_by(whose, key, live) {
        return Fate::HandedOver(other.to_owned());
    }
    if !whose.is_entrys(entry, live) {
        return Fate::NotOurs("it was made anew by somebody else");
    }
    if !whose.has_labels(live) {
        return Fate::NotOurs("our label was taken from it");
    }
    if live.pointer("/metadata/deletionTimestamp").is_some() {
        return Fate::Ending;
    }
    if let Some(other) = claims.declared_by(key, live) {
        return Fate::Awaited(other.to_owned());
    }
    if !prune {
        return Fate::Kept;
    }
    if let Some(other) = claims.may_be_declared_by(key, live) {
        return Fate::Undecided(other.to_owned());
    }
    if retain && is_retained(key) {
        return Fate::Retain;
    }
    Fate::Delete(Box::new(live.clone()))
}

/// Why a run does not delete what it would: it was not told that so much may go.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TooMuch {
    /// More objects of a component than its `maxPrune`.
    #[error("{deletions} objects would be deleted, at most {limit} may be (maxPrune)")]
    OfComponent {
        /// How many would be.
        deletions: usize,
        /// How many may be.
        limit: usize,
    },
    /// More objects of all components than the platform's `maxPrune`.
    #[error(
        "{deletions} objects of all components would be deleted in one run, at most {limit} may be (spec.maxPrune)"
    )]
    OfPlatform {
        /// How many would be.
        deletions: usize,
        /// How many may be.
        limit: usize,
    },
    /// The platform has lost more than half of what runs.
    #[error(
        "{removed} of {known} components that run are not in the platform any more, and more than half are not taken \
         down unasked"
    )]
    MostComponents {
        /// How many would be taken down.
        removed: usize,
        /// How many have something in the cluster.
        known: usize,
    },
}

/// What a run would delete over all components.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sweep {
    /// Objects.
    pub deletions: usize,
    /// Components that are not in the platform any more and have something to delete.
    pub removed: usize,
    /// Components that have something in the cluster.
    pub known: usize,
}

impl Sweep {
    /// Whether it is more than one run deletes unasked.
    pub fn too_much(self, limit: usize) -> Option<TooMuch> {
        let Self { deletions, removed, known } = self;
        if removed * 2 > known {
            return Some(TooMuch::MostComponents { removed, known });
        }
        (deletions > limit).then_some(TooMuch::OfPlatform { deletions, limit })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::claims::tests::{declaring, unread};
    use super::*;
    use crate::cluster::apply::Address;
    use crate::cluster::key::ObjectKey;

    const WHOSE: Whose<'_> = Whose { platform: "demo", component: "hub" };

    fn entry(kind: &str, uid: Option<&str>) -> Entry {
        let key = ObjectKey { group: "".into(), kind: kind.into(), namespace: "dev".into(), name: "x".into() };
        let address = Address { api_version: "v1".into(), key };
        Entry { address, uid: uid.map(str::to_owned), digest: None }
    }

    fn live(uid: &str, component: &str, manager: &str) -> Value {
        json!({"metadata": {"uid": uid, "namespace": "dev", "labels": {PLATFORM_LABEL: "demo", COMPONENT_LABEL: component},
            "managedFields": [{"manager": manager, "operation": "Apply"}]}})
    }

    fn decide(entry: &Entry, live: Option<&Value>) -> Fate {
        fate(WHOSE, entry, live, &Claims::default(), (true, true))
    }

    #[test]
    fn only_the_object_of_the_noted_uid_is_deleted() {
        let noted = entry("ConfigMap", Some("u1"));
        assert_eq!(decide(&noted, None), Fate::Gone);
        assert!(matches!(decide(&noted, Some(&live("u1", "hub", "portreeve"))), Fate::Delete(_)));
        assert!(matches!(decide(&noted, Some(&live("u2", "hub", "portreeve"))), Fate::NotOurs(_)));
        assert!(matches!(decide(&noted, Some(&live("u1", "other", "portreeve"))), Fate::NotOurs(_)));
    }

    #[test]
    fn an_intent_without_a_uid_needs_our_manager_and_our_labels() {
        let intent = entry("ConfigMap", None);
        assert!(matches!(decide(&intent, Some(&live("u1", "hub", "portreeve"))), Fate::Delete(_)));
        // An operator copied the labels of its parent.
        assert!(matches!(decide(&intent, Some(&live("u1", "hub", "operator"))), Fate::NotOurs(_)));
        assert!(matches!(decide(&intent, Some(&live("u1", "other", "portreeve"))), Fate::NotOurs(_)));
    }

    #[test]
    fn what_holds_data_is_retained_unless_the_component_says_otherwise() {
        let claim = entry("PersistentVolumeClaim", Some("u1"));
        let there = live("u1", "hub", "portreeve");
        assert_eq!(decide(&claim, Some(&there)), Fate::Retain);
        assert!(matches!(fate(WHOSE, &claim, Some(&there), &Claims::default(), (true, false)), Fate::Delete(_)));
        let noted = entry("ConfigMap", Some("u1"));
        assert_eq!(fate(WHOSE, &noted, Some(&there), &Claims::default(), (false, true)), Fate::Kept);
    }

    #[test]
    fn what_is_being_deleted_is_remembered() {
        let mut ending = live("u1", "hub", "portreeve");
        ending["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
        assert_eq!(decide(&entry("ConfigMap", Some("u1")), Some(&ending)), Fate::Ending);
    }

    #[test]
    fn what_another_component_declares_is_handed_over_and_never_deleted() {
        let (there, taken) = (live("u1", "hub", "portreeve"), live("u1", "late", "portreeve"));
        // Whether it would be pruned or retained: it is forgotten only when the other has it.
        for (kind, rules) in [("ConfigMap", (true, true)), ("ConfigMap", (false, true)), ("Namespace", (true, true))] {
            let moved = entry(kind, Some("u1"));
            let claims = declaring(&moved.address.key, "late");
            let decide = |live: &Value| fate(WHOSE, &moved, Some(live), &claims, rules);
            assert_eq!(decide(&there), Fate::Awaited("late".to_owned()));
            assert_eq!(decide(&taken), Fate::HandedOver("late".to_owned()));
            // Somebody else's of that name is not waited with.
            assert!(matches!(decide(&live("u2", "hub", "portreeve")), Fate::NotOurs(_)));
        }
    }

    #[test]
    fn nothing_is_deleted_that_a_component_without_readable_manifests_may_declare() {
        let noted = entry("ConfigMap", Some("u1"));
        let there = live("u1", "hub", "portreeve");
        let decide = |claims: &Claims| fate(WHOSE, &noted, Some(&there), claims, (true, true));
        assert_eq!(decide(&unread("late", "dev")), Fate::Undecided("late".to_owned()));
        assert!(matches!(decide(&unread("late", "elsewhere")), Fate::Delete(_)));
    }

    #[test]
    fn a_run_that_takes_down_most_of_the_platform_or_more_than_its_limit_is_too_much() {
        let sweep = |deletions, removed, known| Sweep { deletions, removed, known }.too_much(50);
        assert_eq!(sweep(0, 0, 0), None);
        assert_eq!(sweep(50, 1, 2), None, "half may go");
        assert_eq!(sweep(1, 1, 1), Some(TooMuch::MostComponents { removed: 1, known: 1 }), "all may not");
        assert_eq!(sweep(2, 2, 3), Some(TooMuch::MostComponents { removed: 2, known: 3 }));
        assert_eq!(sweep(51, 1, 20), Some(TooMuch::OfPlatform { deletions: 51, limit: 50 }));
    }
}
