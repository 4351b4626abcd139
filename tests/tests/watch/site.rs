//! The shared control plane, registry and daemon, and objects to judge.

use portreeve_tests::OrFail as _;
use portreeve_tests::chart::{self, NAMESPACE};
use portreeve_tests::control_plane::ControlPlane;
use portreeve_tests::cosign::{Cosign, Storage};
use portreeve_tests::daemon::Daemon;
use portreeve_tests::process::run;
use portreeve_tests::registry::Registry;
use portreeve_tests::stage;
use serde_json::{Value, json};
use tokio::sync::OnceCell;

/// What the tests share. The daemon runs with exactly the chart's rights.
pub(crate) struct Site {
    pub(crate) plane: &'static ControlPlane,
    pub(crate) registry: Registry,
    pub(crate) signer: Cosign,
    pub(crate) daemon: Daemon,
    /// The objects of the chart.
    pub(crate) objects: Vec<Value>,
    /// A Pod that was there before the daemon: its namespace.
    pub(crate) early: String,
}

impl Site {
    /// The site of this process.
    pub(crate) async fn shared() -> &'static Self {
        static SITE: OnceCell<Site> = OnceCell::const_new();
        SITE.get_or_init(Self::start).await
    }

    async fn start() -> Self {
        let (plane, registry) = tokio::join!(ControlPlane::shared(), Registry::with_referrers());
        let signer = Cosign::new(registry.docker_config());
        let objects = chart::rendered(&values(&registry, &signer));
        stage::rights(plane, &objects).await;
        let early = plane.namespace("early").await;
        let unsigned = registry.push_image("shop/early:1");
        plane.api().create(&pod(&early, "early", &unsigned)).await.or_fail("a Pod");
        let mut daemon = configured(plane, &objects, "portreeve").await;
        daemon.start().await;
        Self { plane, registry, signer, daemon, objects, early }
    }

    /// Pushes and signs an image; gives `host/repository:tag`.
    pub(crate) fn signed(&self, reference: &str) -> String {
        self.signer.sign(&self.registry.push_image(reference), Storage::Tag);
        format!("{}/{reference}", self.registry.host())
    }

    /// Pushes an image; gives `host/repository:tag`.
    pub(crate) fn unsigned(&self, reference: &str) -> String {
        self.registry.push_image(reference);
        format!("{}/{reference}", self.registry.host())
    }

    /// The digest behind a tag.
    pub(crate) fn digest(&self, image: &str) -> String {
        run(self.registry.crane().args(["digest", image])).trim().to_owned()
    }
}

/// A daemon that watches with the rights of a ServiceAccount of the release's namespace; not started.
pub(crate) async fn configured(plane: &ControlPlane, objects: &[Value], account: &str) -> Daemon {
    let (mut config, files) = chart::configuration(objects);
    config["cluster"] = json!({"kubeconfig": plane.kubeconfig_for(NAMESPACE, account).await});
    Daemon::configured(&config, &files)
}

/// Values of the chart: images of the registry must be signed; no webhook, and no rescan falls into the tests.
pub(crate) fn values(registry: &Registry, signer: &Cosign) -> Value {
    let key = std::fs::read_to_string(signer.public_key()).or_fail("the public key");
    json!({
        "admission": {"enabled": false},
        "rescan": {"images": "0 0 29 2 *", "posture": "0 0 29 2 *"},
        "registries": [{"host": registry.host(), "plainHttp": true}],
        "imagePolicy": {
            "spec": {"mode": "enforce", "noMatch": "allow", "rules": [{
                "name": "shop", "images": [format!("{}/shop/**", registry.host())],
                "authorities": {"list": [{"name": "shop key", "key": {"file": "cosign.pub"}}]},
            }]},
            "files": {"cosign.pub": key},
        },
    })
}

/// A Pod with one privileged container.
pub(crate) fn pod(namespace: &str, name: &str, image: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": namespace},
        "spec": {"automountServiceAccountToken": false, "containers": [container(image)]}})
}

/// A privileged container.
pub(crate) fn container(image: &str) -> Value {
    json!({"name": "main", "image": image, "securityContext": {"privileged": true}})
}

/// The one finding of a code about an object of this name.
pub(crate) fn one<'a>(findings: &'a [Value], name: &str) -> Option<&'a Value> {
    let mut found = findings.iter().filter(|finding| finding["subject"]["name"] == name);
    found.next().filter(|_| found.next().is_none())
}

/// The finding about an image whose reference starts so.
pub(crate) fn about<'a>(findings: &'a [Value], image: &str) -> Option<&'a Value> {
    let is_about =
        |finding: &&Value| finding["subject"]["reference"].as_str().is_some_and(|text| text.starts_with(image));
    findings.iter().find(is_about)
}
