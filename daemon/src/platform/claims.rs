//! What the components of a platform declare and have, side by side: an object that moves from one component to another
//! is handed over, and never deleted in between. Pure.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::build::Part;
use super::inventories::Inventories;
use super::inventory::{self, Inventory};
use super::prune::Whose;
use crate::cluster::key::ObjectKey;

/// What every component of a platform declares and has. The default is a platform of which nothing stays.
#[derive(Clone, Debug, Default)]
pub struct Claims {
    declared: BTreeMap<ObjectKey, String>,
    /// The same without namespaces. Files cannot tell that a custom object has none: it stands in its component's, and
    /// several components may declare it.
    anywhere: BTreeMap<ObjectKey, BTreeSet<String>>,
    /// Components whose manifests cannot be read, with their namespaces.
    unread: Vec<(String, String)>,
    /// What components have, as far as that can be read.
    held: Inventories,
}

/// Another component of the platform that a live object is with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holder<'a> {
    /// It does not declare the object any more: whoever does takes it.
    Gives(&'a str),
    /// It declares the object too, cannot be read and may do so, or is suspended: nobody takes it from there.
    Keeps(&'a str),
}

impl Claims {
    /// What these components declare, and these inventories list.
    pub fn of(parts: &[Part], inventories: &Inventories) -> Self {
        let mut claims = Self { held: inventories.clone(), ..Self::default() };
        for part in parts {
            let name = &part.component.name;
            match &part.built {
                Ok(built) => {
                    for wanted in &built.objects {
                        claims.declare(&wanted.address.key, name);
                    }
                }
                Err(_) => claims.unread.push((name.clone(), part.component.namespace.clone())),
            }
        }
        claims
    }

    fn declare(&mut self, key: &ObjectKey, component: &str) {
        self.declared.insert(key.clone(), component.to_owned());
        self.anywhere.entry(without_namespace(key)).or_default().insert(component.to_owned());
    }

    /// A component that declares a live object.
    pub fn declared_by(&self, key: &ObjectKey, live: &Value) -> Option<&str> {
        let found = if has_namespace(live) {
            self.declared.get(key)
        } else {
            self.anywhere.get(&without_namespace(key)).and_then(BTreeSet::first)
        };
        found.map(String::as_str)
    }

    fn declares(&self, component: &str, key: &ObjectKey, live: &Value) -> bool {
        if has_namespace(live) {
            return self.declared.get(key).is_some_and(|name| name == component);
        }
        self.anywhere.get(&without_namespace(key)).is_some_and(|names| names.contains(component))
    }

    /// A component whose manifests cannot be read, and that may declare a live object.
    pub fn may_be_declared_by(&self, key: &ObjectKey, live: &Value) -> Option<&str> {
        self.may_declare(key, live).next()
    }

    fn may_declare(&self, key: &ObjectKey, live: &Value) -> impl Iterator<Item = &str> {
        let namespace = has_namespace(live).then(|| key.namespace.clone());
        let may = move |own: &str| namespace.as_ref().is_none_or(|namespace| **namespace == *own);
        self.unread.iter().filter(move |(_, own)| may(own)).map(|(name, _)| name.as_str())
    }

    /// The component that a live object has gone to: its labels say so, and the component declares or lists it.
    pub fn taken_by<'a>(&self, whose: Whose<'_>, key: &ObjectKey, live: &'a Value) -> Option<&'a str> {
        let name = inventory::component_of(live)?;
        let is_declared = self.declares(name, key, live);
        let is_listed = name != whose.component
            && self.held.get(name).is_some_and(|held| held.as_ref().is_ok_and(|held| lists(held, key, live)));
        let is_its = Whose { component: name, ..whose }.has_labels(live);
        (is_its && (is_declared || is_listed)).then_some(name)
    }

    /// The other component that a live object is with: its labels say so, and the component declares it, or lists it, or
    /// cannot be asked. Labels alone are copied by operators.
    pub fn holder<'a>(&self, whose: Whose<'_>, key: &ObjectKey, live: &'a Value) -> Option<Holder<'a>> {
        let name = inventory::component_of(live).filter(|name| *name != whose.component)?;
        if !(Whose { component: name, ..whose }).has_labels(live) {
            return None;
        }
        if self.declares(name, key, live) || self.may_declare(key, live).any(|unread| unread == name) {
            return Some(Holder::Keeps(name));
        }
        match self.held.get(name)? {
            Ok(held) if !lists(held, key, live) => None,
            Ok(held) if !held.is_suspended => Some(Holder::Gives(name)),
            Ok(_) | Err(_) => Some(Holder::Keeps(name)),
        }
    }
}

/// Whether an inventory lists a live object.
fn lists(inventory: &Inventory, key: &ObjectKey, live: &Value) -> bool {
    let uid = live.pointer("/metadata/uid").and_then(Value::as_str);
    let is_same = |other: &ObjectKey| {
        other == key || (!has_namespace(live) && without_namespace(other) == without_namespace(key))
    };
    let mut entries = inventory.entries().filter(|entry| entry.uid.is_none() || entry.uid.as_deref() == uid);
    entries.any(|entry| is_same(&entry.address.key))
}

fn has_namespace(live: &Value) -> bool {
    live.pointer("/metadata/namespace").and_then(Value::as_str).is_some_and(|namespace| !namespace.is_empty())
}

fn without_namespace(key: &ObjectKey) -> ObjectKey {
    ObjectKey { namespace: "".into(), ..key.clone() }
}

#[cfg(test)]
pub(super) mod tests {
    use serde_json::json;

    use super::super::inventory::{COMPONENT_LABEL, PLATFORM_LABEL};
    use super::*;
    use crate::cluster::apply::Address;

    const BASE: Whose<'_> = Whose { platform: "demo", component: "base" };
    const HUB: Whose<'_> = Whose { platform: "demo", component: "hub" };

    /// A platform in which `component` declares the object.
    pub(in super::super) fn declaring(key: &ObjectKey, component: &str) -> Claims {
        let mut claims = Claims::default();
        claims.declare(key, component);
        claims
    }

    /// A platform with a component of this namespace that cannot be read.
    pub(in super::super) fn unread(component: &str, namespace: &str) -> Claims {
        Claims { unread: vec![(component.to_owned(), namespace.to_owned())], ..Claims::default() }
    }

    fn key(namespace: &str) -> ObjectKey {
        ObjectKey { group: "example.org".into(), kind: "Thing".into(), namespace: namespace.into(), name: "x".into() }
    }

    fn live(namespace: Option<&str>, component: &str) -> Value {
        json!({"metadata": {"uid": "u1", "namespace": namespace,
            "labels": {PLATFORM_LABEL: "demo", COMPONENT_LABEL: component}}})
    }

    fn holding(component: &str, is_suspended: bool) -> Claims {
        let address = Address { api_version: "example.org/v1".into(), key: key("dev") };
        let mut inventory = Inventory::default().with_intent([&address]);
        inventory.is_suspended = is_suspended;
        inventory.applied(&address.key, "u1", "d");
        Claims::of(&[], &BTreeMap::from([(component.to_owned(), Ok(inventory))]))
    }

    #[test]
    fn an_object_is_with_the_component_whose_label_it_has_and_whose_inventory_lists_it() {
        let there = live(Some("dev"), "base");
        let gives = Some(Holder::Gives("base"));
        assert_eq!(holding("base", false).holder(HUB, &key("dev"), &there), gives);
        assert_eq!(holding("base", false).holder(BASE, &key("dev"), &there), None, "it is its own");
        assert_eq!(Claims::default().holder(HUB, &key("dev"), &there), None, "labels alone are copied by operators");
        let other = Whose { platform: "other", component: "hub" };
        assert_eq!(holding("base", false).holder(other, &key("dev"), &there), None);
    }

    #[test]
    fn nobody_takes_an_object_from_a_component_that_declares_it_or_cannot_be_asked_or_is_suspended() {
        let there = live(Some("dev"), "base");
        let keeps = Some(Holder::Keeps("base"));
        assert_eq!(holding("base", true).holder(HUB, &key("dev"), &there), keeps, "what is suspended is left alone");
        let mut claims = holding("base", false);
        claims.unread.push(("base".to_owned(), "dev".to_owned()));
        assert_eq!(claims.holder(HUB, &key("dev"), &there), keeps, "its manifests cannot be read");
        let damaged = Inventory::of_object(&json!({"metadata": {"name": "platform.demo.base"}}));
        let claims = Claims::of(&[], &BTreeMap::from([("base".to_owned(), damaged)]));
        assert_eq!(claims.holder(HUB, &key("dev"), &there), keeps, "its inventory cannot be read");
    }

    #[test]
    fn two_components_that_declare_one_object_without_a_namespace_do_not_take_it_from_each_other() {
        // Whichever has it, and whichever of them was read last.
        for (first, second) in [("dev", "jhub"), ("jhub", "dev")] {
            let mut claims = holding("base", false);
            for namespace in [first, second] {
                claims.declare(&key(namespace), if namespace == "dev" { "base" } else { "hub" });
            }
            assert_eq!(claims.holder(HUB, &key("jhub"), &live(None, "base")), Some(Holder::Keeps("base")));
            assert_eq!(claims.holder(BASE, &key("dev"), &live(None, "hub")), Some(Holder::Keeps("hub")));
            // The one that leaves it lets go.
            assert_eq!(claims.taken_by(BASE, &key("dev"), &live(None, "hub")), Some("hub"));
        }
    }

    #[test]
    fn an_object_has_gone_to_the_component_whose_label_it_has_and_that_declares_or_lists_it() {
        let there = live(Some("dev"), "hub");
        assert_eq!(declaring(&key("dev"), "hub").taken_by(BASE, &key("dev"), &there), Some("hub"));
        assert_eq!(holding("hub", false).taken_by(BASE, &key("dev"), &there), Some("hub"));
        assert_eq!(Claims::default().taken_by(BASE, &key("dev"), &there), None);
        assert_eq!(declaring(&key("dev"), "hub").taken_by(BASE, &key("dev"), &live(Some("dev"), "base")), None);
    }

    #[test]
    fn an_object_without_a_namespace_is_the_same_in_components_of_different_namespaces() {
        let claims = declaring(&key("jhub"), "hub");
        assert_eq!(claims.declared_by(&key("dev"), &live(None, "base")), Some("hub"));
        assert_eq!(claims.declared_by(&key("dev"), &live(Some("dev"), "base")), None);
        assert_eq!(holding("base", false).holder(HUB, &key("jhub"), &live(None, "base")), Some(Holder::Gives("base")));
        // A component's own namespace has changed: what it declares is what it has.
        assert_eq!(claims.taken_by(HUB, &key("dev"), &live(None, "hub")), Some("hub"));
    }

    #[test]
    fn a_component_that_cannot_be_read_may_declare_what_is_in_its_namespace_or_in_none() {
        let claims = unread("hub", "jhub");
        assert_eq!(claims.may_be_declared_by(&key("jhub"), &live(Some("jhub"), "base")), Some("hub"));
        assert_eq!(claims.may_be_declared_by(&key("dev"), &live(None, "base")), Some("hub"));
        assert_eq!(claims.may_be_declared_by(&key("dev"), &live(Some("dev"), "base")), None);
    }
}
