//! What becomes of objects that are no longer declared. Pure.

use serde_json::Value;

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
    /// Its version is served no more, and its kind is: it may live on, and is remembered.
    NotServed(ApiFailure),
}

/// Decides by the entry and by what is there.
pub fn fate(whose: Whose<'_>, entry: &Entry, live: Option<&Value>, (prune, retain): (bool, bool)) -> Fate {
    let Some(live) = live else { return Fate::Gone };
    if !whose.is_entrys(entry, live) {
        return Fate::NotOurs("it was made anew by somebody else");
    }
    if !whose.has_labels(live) {
        return Fate::NotOurs("our label was taken from it");
    }
    if live.pointer("/metadata/deletionTimestamp").is_some() {
        return Fate::Ending;
    }
    if !prune {
        return Fate::Kept;
    }
    if retain && is_retained(&entry.address.key) {
        return Fate::Retain;
    }
    Fate::Delete(Box::new(live.clone()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

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
        json!({"metadata": {"uid": uid, "labels": {PLATFORM_LABEL: "demo", COMPONENT_LABEL: component},
            "managedFields": [{"manager": manager, "operation": "Apply"}]}})
    }

    fn decide(entry: &Entry, live: Option<&Value>) -> Fate {
        fate(WHOSE, entry, live, (true, true))
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
        assert!(matches!(fate(WHOSE, &claim, Some(&there), (true, false)), Fate::Delete(_)));
        assert_eq!(fate(WHOSE, &entry("ConfigMap", Some("u1")), Some(&there), (false, true)), Fate::Kept);
    }

    #[test]
    fn what_is_being_deleted_is_remembered() {
        let mut ending = live("u1", "hub", "portreeve");
        ending["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
        assert_eq!(decide(&entry("ConfigMap", Some("u1")), Some(&ending)), Fate::Ending);
    }
}
