//! Where a platform starts from and ends at in the tests that kill what writes it.

use portreeve_tests::OrFail as _;
use serde_json::{Value, json};

use crate::site::{Site, config};

/// An object that is not ours, which is there in the end as in the beginning.
pub(crate) const THEIRS: (&str, &str) = ("foreign", "theirs");

/// What every run ends at, whatever happened before: names and values of the namespace's ConfigMaps, and whether the
/// inventory lists exactly the objects that are there, by UID.
pub(crate) async fn end_state(site: &Site) -> (Vec<(String, String)>, bool) {
    let path = format!("/api/v1/namespaces/{}/configmaps", site.namespace);
    let listed = site.api().get(&path).await.or_fail("the ConfigMaps of the namespace");
    let items = listed["items"].as_array().or_fail("a list has items").clone();
    let word = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let found = items.iter().map(|item| (word(&item["metadata"]["name"]), word(&item["data"]["value"]))).collect();
    let labelled = |item: &&Value| item["metadata"]["labels"]["portreeve.dev/component"] == "app";
    let mut live: Vec<String> = items.iter().filter(labelled).map(|item| word(&item["metadata"]["uid"])).collect();
    let mut listed: Vec<String> = site.inventory("app").await.iter().map(|row| word(&row[4])).collect();
    live.sort();
    listed.sort();
    (found, live == listed)
}

/// The lease of a dead process would be waited for; that it runs out is the lease's own test.
pub(crate) async fn forget_lease(site: &Site) {
    let lease = format!("/apis/coordination.k8s.io/v1/namespaces/portreeve-system/leases/{}", site.name);
    let _gone = site.api().delete(&lease).await;
}

/// Replaces the component's manifests.
pub(crate) fn manifests(site: &Site, all: &[(&str, &str)]) {
    std::fs::remove_dir_all(site.folder.join("app")).or_fail("the component's folder");
    all.iter().for_each(|(name, value)| site.write(&format!("app/{name}.yaml"), &config(name, value)));
}

/// An object that is not ours, and nothing of ours: by the API and not by `destroy`, which is itself tried here.
pub(crate) async fn nothing(site: &Site) {
    let foreign = json!({"apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": "foreign", "namespace": site.namespace}, "data": {"value": "theirs"}});
    let _was_there = site.api().create(&foreign).await;
    let own = ["a", "b", "c"].map(|name| site.config_map(name));
    let inventories = [format!("platform.{}", site.name), format!("platform.{}.app", site.name)]
        .map(|name| format!("/api/v1/namespaces/portreeve-system/configmaps/{name}"));
    for path in own.iter().chain(&inventories) {
        let _was_there = site.api().delete(path).await;
    }
    manifests(site, &[("a", "1"), ("b", "1")]);
}
