//! Two components that objects move between, and a proxy before the API server.

use portreeve_tests::OrFail as _;
use portreeve_tests::api_proxy::ApiProxy;
use serde_json::{Value, json};

use crate::site::{Site, config};

/// A site whose commands reach the API server through a proxy.
pub(crate) async fn proxied(prefix: &str) -> (Site, ApiProxy) {
    let site = Site::new(prefix).await;
    let proxy = ApiProxy::start(site.plane).await;
    site.configure(json!({"cluster": {"kubeconfig": proxy.kubeconfig()}}));
    (site, proxy)
}

/// The item of a component of this name and folder; `extra` are further keys.
pub(crate) fn item(site: &Site, name: &str, extra: &str) -> String {
    format!("- {{name: {name}, namespace: {}, source: {{folder: {name}}}{extra}}}\n", site.namespace)
}

/// UID and component of a ConfigMap.
pub(crate) async fn holder(site: &Site, name: &str) -> (String, String) {
    let live = site.api().get(&site.config_map(name)).await.or_fail(name);
    let word = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    (word(&live["metadata"]["uid"]), word(&live["metadata"]["labels"]["portreeve.dev/component"]))
}

/// The names that a component's inventory lists.
pub(crate) async fn listed(site: &Site, component: &str) -> Vec<String> {
    let rows = site.inventory(component).await;
    rows.iter().map(|row| row[3].as_str().unwrap_or_default().to_owned()).collect()
}

/// Two components that are applied anew: `from` has x and stays, `to` has z.
pub(crate) async fn two(site: &Site) {
    let inventories = ["from", "to"].map(|name| format!("platform.{}.{name}", site.name));
    let inventories = inventories.map(|name| format!("/api/v1/namespaces/portreeve-system/configmaps/{name}"));
    for path in ["x", "stays", "z"].map(|name| site.config_map(name)).iter().chain(&inventories) {
        let _was_there = site.api().delete(path).await;
    }
    for folder in ["from", "to"] {
        let _was_there = std::fs::remove_dir_all(site.folder.join(folder));
    }
    site.write("from/x.yaml", &config("x", "1"));
    site.write("from/stays.yaml", &config("stays", "1"));
    site.write("to/z.yaml", &config("z", "1"));
    let output = site.run_async(&["apply", "--yes"]).await;
    assert_eq!(output.code, Some(0), "{}{}", output.stdout, output.stderr);
}

pub(crate) fn moved(site: &Site, name: &str) {
    site.remove(&format!("from/{name}.yaml"));
    site.write(&format!("to/{name}.yaml"), &config(name, "1"));
}
