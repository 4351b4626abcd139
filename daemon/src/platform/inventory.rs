//! What a component has put into the cluster: written before applying, shrunk after deleting, so that no crash forgets
//! an object. Pure.
//!
//! An entry begins as an intent without a UID; once the object is applied it has the UID, and the digest of what was
//! asked for (of a Secret without its values: whoever reads ConfigMaps could try them out). Only an object with that UID
//! is ever deleted.

use std::collections::{BTreeMap, BTreeSet};

use portreeve_api::platform::Component;
use serde_json::{Value, json};

use crate::cluster::apply::Address;
use crate::cluster::key::ObjectKey;

/// Label of inventories and objects: the platform.
pub const PLATFORM_LABEL: &str = "portreeve.dev/platform";
/// Label of inventories and objects: the component.
pub const COMPONENT_LABEL: &str = "portreeve.dev/component";
/// Label that tells inventories from the objects they list.
pub const INVENTORY_LABEL: &str = "portreeve.dev/inventory";
/// Annotation of an inventory: nothing is applied while it is `true`.
pub const SUSPENDED: &str = "portreeve.dev/suspended";
/// The key that entries are under.
const ENTRIES: &str = "entries";
/// The key of what the component says about its end.
const POLICY: &str = "policy";
/// The name that stands for the whole platform where a component's would.
pub const WHOLE: &str = "";

/// What is known of one object of a component.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Where it is.
    pub address: Address,
    /// Its UID, once it was applied.
    pub uid: Option<String>,
    /// Digest of what was applied.
    pub digest: Option<String>,
}

/// What a component says about its end. It is kept with what the component has, since the file forgets both at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Whether objects that are no longer declared are deleted.
    pub prune: bool,
    /// Whether what holds data stays.
    pub retain: bool,
    /// The most objects that one run deletes without being told so.
    pub max_prune: usize,
    /// Components that it needs, and that go after it.
    pub depends_on: Vec<String>,
}

impl Policy {
    /// What a component of the file says.
    pub fn of(component: &Component) -> Self {
        Self {
            prune: component.prune,
            retain: component.retain,
            max_prune: component.max_prune,
            depends_on: component.depends_on.clone(),
        }
    }

    fn to_json(&self) -> Value {
        json!({"prune": self.prune, "retain": self.retain, "maxPrune": self.max_prune, "dependsOn": self.depends_on})
    }

    fn of_json(text: &str) -> Option<Self> {
        let value: Value = serde_json::from_str(text).ok()?;
        let names = value.get("dependsOn")?.as_array()?.iter().map(|name| name.as_str().map(str::to_owned));
        Some(Self {
            prune: value.get("prune")?.as_bool()?,
            retain: value.get("retain")?.as_bool()?,
            max_prune: usize::try_from(value.get("maxPrune")?.as_u64()?).ok()?,
            depends_on: names.collect::<Option<_>>()?,
        })
    }
}

/// The inventory of a component.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Inventory {
    entries: BTreeMap<ObjectKey, Entry>,
    /// What the component said about its end when it was last in the file; `None` before it was ever applied.
    pub policy: Option<Policy>,
    /// Whether the component is suspended.
    pub is_suspended: bool,
    /// The stored object, when there is one: its `resourceVersion` guards the next write.
    pub version: Option<String>,
}

/// An inventory that cannot be read. It is never taken for an empty one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the inventory {0} cannot be read: {1}; restore the ConfigMap before anything is applied or deleted")]
pub struct DamagedInventory(String, String);

impl Inventory {
    /// The entries.
    pub fn entries(&self) -> impl ExactSizeIterator<Item = &Entry> {
        self.entries.values()
    }

    /// The entry of an object.
    pub fn get(&self, key: &ObjectKey) -> Option<&Entry> {
        self.entries.get(key)
    }

    /// Old and new: what is there stays, and what will be applied is there before it is.
    #[must_use]
    pub fn with_intent<'a>(&self, wanted: impl IntoIterator<Item = &'a Address>) -> Self {
        let mut next = self.clone();
        for address in wanted {
            let intent = Entry { address: address.clone(), uid: None, digest: None };
            let entry = next.entries.entry(address.key.clone()).or_insert(intent);
            entry.address.clone_from(address);
        }
        next
    }

    /// An object was applied.
    pub fn applied(&mut self, key: &ObjectKey, uid: &str, digest: &str) {
        if let Some(entry) = self.entries.get_mut(key) {
            (entry.uid, entry.digest) = (Some(uid.to_owned()), Some(digest.to_owned()));
        }
    }

    /// An object is gone, or is not ours any more.
    pub fn remove(&mut self, key: &ObjectKey) {
        self.entries.remove(key);
    }

    /// Entries of what is no longer wanted.
    pub fn left_over(&self, wanted: &BTreeSet<&ObjectKey>) -> Vec<Entry> {
        self.entries.values().filter(|entry| !wanted.contains(&entry.address.key)).cloned().collect()
    }

    /// Whether both would be stored alike.
    pub fn says_the_same(&self, other: &Self) -> bool {
        self.entries == other.entries && self.policy == other.policy && self.is_suspended == other.is_suspended
    }

    /// As a ConfigMap of our own namespace.
    pub fn to_object(&self, own: &str, (platform, component): (&str, &str)) -> Value {
        let rows: Vec<Value> = self.entries.values().map(row).collect();
        let mut labels = json!({PLATFORM_LABEL: platform, INVENTORY_LABEL: "true"});
        if component != WHOLE {
            labels[COMPONENT_LABEL] = json!(component);
        }
        let mut object = json!({"apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {"name": name(platform, component), "namespace": own, "labels": labels},
            "data": {ENTRIES: Value::Array(rows).to_string()}});
        if let Some(policy) = &self.policy {
            object["data"][POLICY] = json!(policy.to_json().to_string());
        }
        if self.is_suspended {
            object["metadata"]["annotations"] = json!({SUSPENDED: "true"});
        }
        if let Some(version) = &self.version {
            object["metadata"]["resourceVersion"] = json!(version);
        }
        object
    }

    /// Of a ConfigMap.
    pub fn of_object(object: &Value) -> Result<Self, DamagedInventory> {
        let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str);
        let name = text("/metadata/name").unwrap_or_default();
        let damaged = |why: &str| DamagedInventory(name.to_owned(), why.to_owned());
        let rows: Vec<Value> = match text("/data/entries") {
            Some(rows) => serde_json::from_str(rows).map_err(|error| damaged(&error.to_string()))?,
            None => return Err(damaged("it has no entries")),
        };
        let mut entries = BTreeMap::new();
        for row in &rows {
            let entry = entry(row).ok_or_else(|| damaged("an entry is not one of ours"))?;
            entries.insert(entry.address.key.clone(), entry);
        }
        let policy = match object.pointer("/data").and_then(|data| data.get(POLICY)) {
            Some(policy) => {
                let policy = policy.as_str().and_then(Policy::of_json);
                Some(policy.ok_or_else(|| damaged("its policy is not one of ours"))?)
            }
            None => None,
        };
        let annotation = object.pointer("/metadata/annotations").and_then(|all| all.get(SUSPENDED)?.as_str());
        Ok(Self {
            entries,
            policy,
            is_suspended: annotation == Some("true"),
            version: text("/metadata/resourceVersion").map(str::to_owned),
        })
    }
}

/// Name of the ConfigMap of a component, or of the whole platform.
pub fn name(platform: &str, component: &str) -> String {
    match component {
        WHOLE => format!("platform.{platform}"),
        component => format!("platform.{platform}.{component}"),
    }
}

/// Where the ConfigMap is, in our own namespace.
pub fn address(own: &str, (platform, component): (&str, &str)) -> Address {
    Address {
        api_version: "v1".into(),
        key: ObjectKey {
            group: "".into(),
            kind: "ConfigMap".into(),
            namespace: own.into(),
            name: name(platform, component).into(),
        },
    }
}

/// The component of an inventory; `None` for that of the whole platform.
pub fn component_of(object: &Value) -> Option<&str> {
    object.pointer("/metadata/labels")?.get(COMPONENT_LABEL)?.as_str()
}

/// Short, so that thousands of entries fit into one ConfigMap (1 MiB).
fn row(entry: &Entry) -> Value {
    let Address { api_version, key } = &entry.address;
    json!([&**api_version, &*key.kind, &*key.namespace, &*key.name, entry.uid, entry.digest])
}

fn entry(row: &Value) -> Option<Entry> {
    let [api_version, kind, namespace, name, uid, digest] = row.as_array()?.as_slice() else { return None };
    let api_version = api_version.as_str()?;
    let text = |value: &Value| match value {
        Value::Null => Some(None),
        other => other.as_str().map(|text| Some(text.to_owned())),
    };
    Some(Entry {
        address: Address {
            api_version: api_version.into(),
            key: ObjectKey {
                group: api_version.split_once('/').map_or("", |(group, _)| group).into(),
                kind: kind.as_str()?.into(),
                namespace: namespace.as_str()?.into(),
                name: name.as_str()?.into(),
            },
        },
        uid: text(uid)?,
        digest: text(digest)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(kind: &str, name: &str) -> Address {
        let key = ObjectKey { group: "apps".into(), kind: kind.into(), namespace: "dev".into(), name: name.into() };
        Address { api_version: "apps/v1".into(), key }
    }

    #[test]
    fn intent_keeps_what_was_there_and_adds_what_will_be() {
        let (old, new) = (at("Deployment", "old"), at("Deployment", "new"));
        let mut inventory = Inventory::default().with_intent([&old]);
        inventory.applied(&old.key, "uid-1", "d1");
        let both = inventory.with_intent([&new]);
        assert_eq!(both.entries().len(), 2);
        assert_eq!(both.get(&old.key).unwrap().uid.as_deref(), Some("uid-1"));
        assert_eq!(both.get(&new.key).unwrap().uid, None);
        assert_eq!(both.with_intent([&new, &old]), both);
        let left = both.left_over(&BTreeSet::from([&new.key]));
        assert_eq!(left.iter().map(|entry| &entry.address).collect::<Vec<_>>(), [&old]);
    }

    #[test]
    fn a_config_map_holds_all_of_it() {
        let (first, second) = (at("Deployment", "a"), at("StatefulSet", "b"));
        let mut inventory = Inventory { is_suspended: true, version: Some("7".to_owned()), ..Inventory::default() };
        inventory = inventory.with_intent([&first, &second]);
        inventory.applied(&first.key, "u", "d");
        inventory.policy =
            Some(Policy { prune: false, retain: true, max_prune: 7, depends_on: vec!["base".to_owned()] });
        let object = inventory.to_object("own", ("demo", "hub"));
        assert_eq!(object["metadata"]["name"], "platform.demo.hub");
        assert_eq!(component_of(&object), Some("hub"));
        assert_eq!(Inventory::of_object(&object), Ok(inventory));
        assert_eq!(component_of(&Inventory::default().to_object("own", ("demo", WHOLE))), None);
    }

    #[test]
    fn a_damaged_inventory_is_never_an_empty_one() {
        let good = Inventory::default().with_intent([&at("Deployment", "a")]).to_object("own", ("demo", "hub"));
        for entries in [json!("["), json!("[[1]]"), json!("[[\"v1\",\"Pod\",\"a\",\"b\",1,null]]"), json!(null)] {
            let mut bad = good.clone();
            bad["data"]["entries"] = entries;
            let said = Inventory::of_object(&bad).unwrap_err().to_string();
            assert!(said.contains("platform.demo.hub cannot be read"), "{said}");
        }
        let whole = r#"{"prune":true,"retain":true,"maxPrune":-1,"dependsOn":[]}"#;
        for policy in ["", "{}", whole] {
            let mut bad = good.clone();
            bad["data"]["policy"] = json!(policy);
            assert!(Inventory::of_object(&bad).is_err(), "{policy}");
        }
    }

    #[test]
    fn thousands_of_entries_fit_into_a_config_map() {
        let addresses: Vec<Address> =
            (0..5_000).map(|n| at("Deployment", &format!("a-name-of-a-usual-length-{n:06}"))).collect();
        let mut inventory = Inventory::default().with_intent(&addresses);
        for address in &addresses {
            inventory.applied(&address.key, "6f1f7a2e-0c5b-4a7e-9d5c-2b8f8f3f1a11", "0123456789abcdef");
        }
        assert!(inventory.to_object("own", ("demo", "hub")).to_string().len() < 1 << 20);
    }
}
