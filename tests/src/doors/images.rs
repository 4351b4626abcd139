//! The few images that generated objects use: each kind of answer that image trust can give is among them.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::OrFail;
use crate::cosign::{Cosign, Storage};
use crate::registry::Registry;

/// A registry with the images, and the public key that the policy trusts.
pub struct Images {
    registry: Registry,
    key: PathBuf,
}

impl Images {
    /// Starts a registry, fills it and signs.
    pub async fn new() -> Self {
        let registry = Registry::with_referrers().await;
        let ours = Cosign::new(registry.docker_config());
        let stranger = Cosign::new(registry.docker_config());
        ours.sign(&registry.push_image("team/classic:1"), Storage::Tag);
        ours.sign(&registry.push_image("team/bundle:1"), Storage::Bundle);
        ours.sign(&registry.push_image("team/tool:latest"), Storage::Bundle);
        ours.sign(&registry.push_image("team/mixed:good"), Storage::Tag);
        registry.push_image("team/mixed:bad");
        registry.push_image("team/unsigned:1");
        stranger.sign(&registry.push_image("vendor/stranger:1"), Storage::Bundle);
        registry.push_image("outside/nobody:1");
        Self { registry, key: ours.public_key() }
    }

    /// `127.0.0.1:PORT`.
    pub fn host(&self) -> &str {
        self.registry.host()
    }

    /// References that the policy lets run, floating ones among them.
    pub fn trusted(&self) -> Vec<String> {
        self.references(&["team/classic:1", "team/bundle:1", "team/tool", "team/tool:latest"])
    }

    /// References of all kinds: unsigned, by a stranger, of no rule, not there, and one that is no reference.
    pub fn any(&self) -> Vec<String> {
        let mut all = self.references(&[
            "team/mixed:good",
            "team/mixed:bad",
            "team/unsigned:1",
            "vendor/stranger:1",
            "vendor/stranger:1",
            "outside/nobody:1",
            "outside/nobody:1",
            "team/gone:7",
        ]);
        all.extend(self.trusted());
        all.push("Not/An.Image:1".to_owned());
        all
    }

    /// Writes the image policy and its key into a folder; gives the name of the policy's file.
    pub fn write_policy(&self, folder: &Path) -> &'static str {
        std::fs::copy(&self.key, folder.join("release.pub")).or_fail("copying the public key");
        let rule = |name: &str| {
            let list = json!([{"name": "release", "key": {"file": "release.pub", "log": "optional"}}]);
            json!({"name": name, "images": [format!("{}/{name}/**", self.host())], "authorities": {"list": list}})
        };
        let policy = json!({
            "apiVersion": "portreeve.dev/v1alpha1", "kind": "ImagePolicy", "metadata": {"name": "default"},
            "spec": {"mode": "enforce", "noMatch": "deny", "rules": [rule("team"), rule("vendor")]},
        });
        std::fs::write(folder.join("image-policy.yaml"), policy.to_string()).or_fail("the image policy");
        "image-policy.yaml"
    }

    /// The parameters of controls under which this registry's own images pass.
    pub fn params(&self) -> Value {
        json!({"imageRepositoryAllowList": [format!("{}/team", self.host())], "memory_limit_max": "1Gi"})
    }

    fn references(&self, names: &[&str]) -> Vec<String> {
        names.iter().map(|name| format!("{}/{name}", self.host())).collect()
    }
}
