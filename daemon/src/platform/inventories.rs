//! The inventories of the cluster, read. What one says is [`super::inventory`].

use std::collections::BTreeMap;

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
