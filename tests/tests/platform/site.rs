//! A platform file with its folders and configuration, and the commands on it.

use std::fs;
use std::path::PathBuf;

use portreeve_tests::OrFail as _;
use portreeve_tests::api::Api;
use portreeve_tests::binary::{Output, Portreeve};
use portreeve_tests::control_plane::ControlPlane;
use portreeve_tests::process::scratch;
use serde_json::{Value, json};

/// A platform of one component `app`, unless a test writes more.
pub(crate) struct Site {
    pub(crate) plane: &'static ControlPlane,
    pub(crate) namespace: String,
    /// The platform's name: that of the namespace.
    pub(crate) name: String,
    pub(crate) folder: PathBuf,
}

impl Site {
    /// A new namespace, and an empty folder for the component.
    pub(crate) async fn new(prefix: &str) -> Self {
        let plane = ControlPlane::shared().await;
        let namespace = plane.namespace(prefix).await;
        let own = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "portreeve-system"}});
        let _is_there = plane.api().create(&own).await;
        let site = Self { plane, name: namespace.clone(), namespace, folder: scratch("platform") };
        fs::create_dir(site.folder.join("app")).or_fail("the component's folder");
        // The lease is per platform in these tests, so that they do not wait for each other.
        site.configure(json!({}));
        site.component("");
        site
    }

    /// The configuration, with these sections laid over the usual ones.
    pub(crate) fn configure(&self, sections: Value) {
        let mut config = json!({
            "cluster": {"kubeconfig": self.plane.kubeconfig()},
            "leader": {"lease": self.name},
        });
        let sections = sections.as_object().or_fail("sections").clone();
        sections.into_iter().for_each(|(key, value)| config[key] = value);
        self.write("portreeve.yaml", &config.to_string());
    }

    /// Writes the platform file; `extra` are further keys of the component, such as `adopt: true`.
    pub(crate) fn component(&self, extra: &str) {
        let namespace = &self.namespace;
        let comma = if extra.is_empty() { "" } else { ", " };
        self.platform(&format!("- {{name: app, namespace: {namespace}, source: {{folder: app}}{comma}{extra}}}"));
    }

    /// Writes the platform file with these components (YAML items).
    pub(crate) fn platform(&self, components: &str) {
        let name = &self.name;
        let head = format!("apiVersion: portreeve.dev/v1alpha1\nkind: Platform\nmetadata: {{name: {name}}}\nspec:\n");
        let gate = "  gate: {frameworks: [nsa], failOn: critical}\n  components:\n";
        let items: String = components.lines().map(|line| format!("    {line}\n")).collect();
        self.write("platform.yaml", &format!("{head}{gate}{items}"));
    }

    /// Writes a file of the platform's folder.
    pub(crate) fn write(&self, name: &str, text: &str) {
        let path = self.folder.join(name);
        fs::create_dir_all(path.parent().or_fail("a file is in a folder")).or_fail(name);
        fs::write(path, text).or_fail(name);
    }

    /// Removes a file of the component.
    pub(crate) fn remove(&self, name: &str) {
        fs::remove_file(self.folder.join(name)).or_fail(name);
    }

    /// Runs `portreeve platform …`.
    pub(crate) fn run(&self, arguments: &[&str]) -> Output {
        let mut command = Portreeve::command();
        command.current_dir(&self.folder).arg("platform").args(arguments);
        Portreeve::finish(&mut command)
    }

    /// Runs `portreeve platform …` beside other work of the test, such as that of a proxy.
    pub(crate) async fn run_async(&self, arguments: &[&str]) -> Output {
        let arguments: Vec<String> = arguments.iter().map(|&argument| argument.to_owned()).collect();
        let folder = self.folder.clone();
        let run = move || Portreeve::finish(Portreeve::command().current_dir(folder).arg("platform").args(arguments));
        tokio::task::spawn_blocking(run).await.or_fail("a command")
    }

    pub(crate) fn api(&self) -> &Api {
        self.plane.api()
    }

    /// The path of a ConfigMap of the component.
    pub(crate) fn config_map(&self, name: &str) -> String {
        format!("/api/v1/namespaces/{}/configmaps/{name}", self.namespace)
    }

    /// The rows of a component's inventory: version, kind, namespace, name, UID, digest.
    pub(crate) async fn inventory(&self, component: &str) -> Vec<Value> {
        let path = format!("/api/v1/namespaces/portreeve-system/configmaps/platform.{}.{component}", self.name);
        match self.api().get(&path).await {
            Ok(object) => {
                let rows = object["data"]["entries"].as_str().or_fail("an inventory has entries");
                serde_json::from_str(rows).or_fail("entries are JSON")
            }
            Err(_) => Vec::new(),
        }
    }
}

/// A ConfigMap with one value.
pub(crate) fn config(name: &str, value: &str) -> String {
    format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}}}\ndata: {{value: '{value}'}}\n")
}
