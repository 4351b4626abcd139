//! The inventories of the cluster: those of a platform, and those that it may have left under another name.

use std::collections::BTreeMap;

use portreeve_api::platform::Component;
use serde_json::Value;

use super::inventory::{self, DamagedInventory, Inventory, WHOLE};
use crate::cluster::apply::{ApiFailure, Applier};

/// The inventories of a platform by component; [`WHOLE`] is the platform's own.
pub type Inventories = BTreeMap<String, Result<Inventory, DamagedInventory>>;

/// The inventories of a platform, and those of others by their names.
pub async fn inventories(
    applier: &Applier,
    platform: &str,
) -> Result<(Inventories, BTreeMap<String, Inventories>), ApiFailure> {
    let selector = format!("{}=true", inventory::INVENTORY_LABEL);
    let listed = applier.list(&inventory::address(applier.own_namespace(), (platform, WHOLE)), &selector).await?;
    let mut all: BTreeMap<String, Inventories> = BTreeMap::new();
    for object in &listed {
        let component = inventory::component_of(object).unwrap_or(WHOLE).to_owned();
        all.entry(platform_of(object)).or_default().insert(component, Inventory::of_object(object));
    }
    let own = all.remove(platform).unwrap_or_default();
    Ok((own, all))
}

fn platform_of(object: &Value) -> String {
    let labels = object.pointer("/metadata/labels");
    labels.and_then(|labels| labels.get(inventory::PLATFORM_LABEL)?.as_str()).unwrap_or_default().to_owned()
}

/// Another platform that has objects where a component of the same name of this one has its own.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the platform '{platform}' has {objects} objects of components that are in this file ({}); they are neither kept nor \
     deleted. If this platform was renamed, give it that name back, or destroy that one with a file of its name",
    .inventories.join(", ")
)]
pub struct Former {
    /// Its name.
    pub platform: String,
    /// Its inventories that list something.
    pub inventories: Vec<String>,
    /// How many objects they list.
    pub objects: usize,
}

impl Former {
    /// Those among other platforms that may have been this one: platforms share a cluster, and hardly a component's name
    /// in one namespace.
    pub fn of(others: &BTreeMap<String, Inventories>, components: &[Component]) -> Vec<Self> {
        let is_shared = |(name, known): (&String, &Result<Inventory, DamagedInventory>)| {
            let Ok(inventory) = known else { return false };
            let mut same = components.iter().filter(|component| component.name == *name);
            same.any(|component| inventory.entries().any(|entry| *entry.address.key.namespace == *component.namespace))
        };
        let shared = others.iter().filter(|(_, inventories)| inventories.iter().any(is_shared));
        shared.map(|(platform, inventories)| Self::with(platform, inventories)).collect()
    }

    fn with(platform: &str, inventories: &Inventories) -> Self {
        let counted = inventories.iter().map(|(component, known)| {
            let count = known.as_ref().map_or(0, |inventory| inventory.entries().len());
            (inventory::name(platform, component), count, known.is_err())
        });
        let listed: Vec<_> = counted.filter(|(_, count, is_damaged)| *count > 0 || *is_damaged).collect();
        Self {
            platform: platform.to_owned(),
            objects: listed.iter().map(|(_, count, _)| count).sum(),
            inventories: listed.into_iter().map(|(name, _, _)| name).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::apply::Address;
    use crate::cluster::key::ObjectKey;
    use crate::platform::keep::removed_component;

    /// In the namespace of its name.
    fn component(name: &str) -> Component {
        Component { namespace: name.to_owned(), ..removed_component(name, None) }
    }

    fn other(component: &str, namespace: &str) -> BTreeMap<String, Inventories> {
        let key =
            ObjectKey { group: "".into(), kind: "ConfigMap".into(), namespace: namespace.into(), name: "x".into() };
        let inventory = Inventory::default().with_intent([&Address { api_version: "v1".into(), key }]);
        let own = [(WHOLE.to_owned(), Ok(Inventory::default())), (component.to_owned(), Ok(inventory))];
        BTreeMap::from([("old".to_owned(), BTreeMap::from(own))])
    }

    #[test]
    fn a_platform_with_a_component_of_the_same_name_and_namespace_may_be_this_one_under_its_former_name() {
        let ours = [component("hub")];
        let found = Former::of(&other("hub", "hub"), &ours);
        let [former] = &found[..] else { panic!("{found:?}") };
        assert_eq!((former.objects, &former.inventories[..]), (1, &["platform.old.hub".to_owned()][..]));
        assert!(former.to_string().contains("platform.old.hub"), "{former}");
        assert_eq!(Former::of(&other("hub", "elsewhere"), &ours), []);
        assert_eq!(Former::of(&other("base", "hub"), &ours), []);
    }
}
