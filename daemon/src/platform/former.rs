//! Platforms that this one may have been under another name. Pure.

use std::collections::BTreeMap;

use portreeve_api::platform::Component;

use super::inventories::Inventories;
use super::inventory::{self, DamagedInventory, Inventory};

/// Another platform that has objects where a component of the same name of this one has its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Former {
    /// Its name.
    pub platform: String,
    /// Its inventories that list something.
    pub inventories: Vec<String>,
    /// How many objects they list.
    pub objects: usize,
}

impl std::fmt::Display for Former {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { platform, inventories, objects } = self;
        write!(
            f,
            "the platform '{platform}' has {objects} objects of components that this platform has too ({}); they are \
             neither kept nor deleted. If this platform was renamed, give it that name back, or destroy that one by a \
             platform file of its name",
            inventories.join(", ")
        )
    }
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
    use super::super::inventory::WHOLE;
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
        let said = former.to_string();
        assert!(said.contains("platform.old.hub") && !said.contains("this file"), "a resource is no file: {said}");
        assert_eq!(Former::of(&other("hub", "elsewhere"), &ours), []);
        assert_eq!(Former::of(&other("base", "hub"), &ours), []);
    }
}
