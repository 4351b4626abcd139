//! One control plane, registry and daemon for all tests of this binary.

use std::net::TcpListener;

use portreeve_tests::api::{Accepted, Api, Status};
use portreeve_tests::control_plane::ControlPlane;
use portreeve_tests::cosign::{Cosign, Storage};
use portreeve_tests::daemon::Daemon;
use portreeve_tests::process::{START, free_port, until};
use portreeve_tests::registry::Registry;
use portreeve_tests::stage::Stage;
use portreeve_tests::tls::Authority;
use portreeve_tests::{OrFail, fail};
use serde_json::{Value, json};
use tokio::sync::{OnceCell, RwLock, RwLockReadGuard, RwLockWriteGuard};

/// The daemon's own deadline in these tests, in seconds.
pub(crate) const DEADLINE: u64 = 2;
const DRY_RUN: &str = "dryRun=All";

/// What the tests share.
pub(crate) struct World {
    pub(crate) plane: ControlPlane,
    pub(crate) daemon: Daemon,
    pub(crate) registry: Registry,
    pub(crate) signer: Cosign,
    pub(crate) authority: Authority,
    /// `https://127.0.0.1:PORT`
    pub(crate) webhook: String,
    /// As the daemon runs on it.
    pub(crate) config: Value,
    /// Image policy and key.
    pub(crate) files: Vec<(String, String)>,
    /// An image that the policy names by its digest.
    pub(crate) pinned: String,
    /// The host of a registry that is down.
    pub(crate) down: String,
    /// A registry that takes connections and never answers.
    pub(crate) hanging: TcpListener,
}

/// For tests that leave the daemon alone.
pub(crate) async fn shared() -> RwLockReadGuard<'static, World> {
    world().await.read().await
}

/// For tests that stop or configure the daemon: no other test runs meanwhile.
pub(crate) async fn exclusive() -> RwLockWriteGuard<'static, World> {
    world().await.write().await
}

async fn world() -> &'static RwLock<World> {
    static WORLD: OnceCell<RwLock<World>> = OnceCell::const_new();
    WORLD.get_or_init(|| async { RwLock::new(World::start().await) }).await
}

impl World {
    async fn start() -> Self {
        let (plane, registry) = tokio::join!(ControlPlane::start(), Registry::with_referrers());
        let signer = Cosign::new(registry.docker_config());
        let down = format!("127.0.0.1:{}", free_port());
        let hanging = TcpListener::bind("127.0.0.1:0").or_fail("a loopback port");
        let hangs_at = hanging.local_addr().or_fail("the address of a listener").to_string();
        let pinned = registry.push_image("pinned/app:1");
        let hosts = [registry.host().to_owned(), down.clone(), hangs_at];
        let stage = Stage::installed(plane, &values(&hosts, &pinned, &signer)).await.guarded().await;
        let Stage { plane, daemon, authority, webhook, config, files, .. } = stage;
        let world = Self { plane, daemon, registry, signer, authority, webhook, config, files, pinned, down, hanging };
        world.in_force().await;
        world
    }

    /// A webhook configuration takes a moment to reach the handlers of the API server.
    async fn in_force(&self) {
        let namespace = self.plane.namespace("enforce").await;
        let unsigned = self.registry.push_image("shop/first:1");
        let signed = self.signed("shop/second:1");
        let takes_hold = || async {
            let denied = self.create_dry(&pod(&namespace, "first", &unsigned)).await.err()?;
            let pinned = self.create_dry(&pod(&namespace, "second", &signed)).await.ok()?;
            (denied.message.contains("denied the request") && image_of(&pinned.object).contains('@')).then_some(())
        };
        until(START, takes_hold).await.or_fail("the webhooks come into force");
    }

    /// Starts the daemon anew on this configuration.
    pub(crate) async fn restart(&mut self, config: &Value) {
        self.daemon.kill();
        self.daemon.configure(config);
        self.daemon.start().await;
    }

    /// The administrator.
    pub(crate) fn api(&self) -> &Api {
        self.plane.api()
    }

    /// A member of the break-glass group.
    pub(crate) fn rescuer(&self) -> Api {
        self.api().impersonating("rescuer", &["system:masters", "portreeve:break-glass"])
    }

    /// Pushes and signs an image; gives `host/repository:tag`.
    pub(crate) fn signed(&self, reference: &str) -> String {
        self.signer.sign(&self.registry.push_image(reference), Storage::Tag);
        self.tagged(reference)
    }

    /// Pushes an image; gives `host/repository:tag`.
    pub(crate) fn unsigned(&self, reference: &str) -> String {
        self.registry.push_image(reference);
        self.tagged(reference)
    }

    /// `host/repository:tag`
    pub(crate) fn tagged(&self, reference: &str) -> String {
        format!("{}/{reference}", self.registry.host())
    }

    pub(crate) async fn create(&self, object: &Value) -> Result<Accepted, Status> {
        self.api().create_warned(object, "").await
    }

    pub(crate) async fn create_dry(&self, object: &Value) -> Result<Accepted, Status> {
        self.api().create_warned(object, DRY_RUN).await
    }

    /// The message with which our webhook denies the object.
    pub(crate) async fn denial(&self, object: &Value) -> String {
        match self.create(object).await {
            Err(status) => denied(&status),
            Ok(accepted) => fail(format!("it was let in: {}", accepted.object)),
        }
    }

    /// The recorded decisions about objects of this name.
    pub(crate) fn decisions(&self, name: &str) -> Vec<Value> {
        self.daemon.decisions().into_iter().filter(|decision| decision["name"] == name).collect()
    }
}

/// The message of a refusal, which is a denial by our webhook.
pub(crate) fn denied(status: &Status) -> String {
    assert_eq!(status.code, 403, "{status}");
    let prefix = "admission webhook \"enforce.portreeve.dev\" denied the request: portreeve: ";
    status.message.strip_prefix(prefix).or_fail(&format!("a denial: {status}")).to_owned()
}

fn values(hosts: &[String], pinned: &str, signer: &Cosign) -> Value {
    let registries: Vec<_> = hosts.iter().map(|host| json!({"host": host, "plainHttp": true})).collect();
    let signed: Vec<_> = hosts.iter().map(|host| format!("{host}/shop/**")).collect();
    let (repository, digest) = pinned.split_once('@').or_fail("a digest");
    let key = std::fs::read_to_string(signer.public_key()).or_fail("the public key");
    json!({
        "admission": {
            "namespaces": [{"match": ["enforce-*"], "mode": "enforce"}, {"match": ["audit-*"], "mode": "audit"}],
            "exemptNamespaces": ["enforce-free-*"],
            "deadline": format!("{DEADLINE}s"),
        },
        // No rescan falls into the tests.
        "rescan": {"images": "0 0 29 2 *", "posture": "0 0 29 2 *"},
        "registries": registries,
        "imagePolicy": {
            "spec": {"mode": "enforce", "noMatch": "deny", "rules": [
                {"name": "shop", "images": signed,
                    "authorities": {"list": [{"name": "shop key", "key": {"file": "cosign.pub"}}]}},
                {"name": "pinned", "images": [repository], "static": {"allow": [digest], "owner": "tests",
                    "reason": "the only image without a signature", "expires": "2090-01-01"}},
            ]},
            "files": {"cosign.pub": key},
        },
    })
}

/// A Pod with one container.
pub(crate) fn pod(namespace: &str, name: &str, image: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": namespace},
        "spec": {"automountServiceAccountToken": false, "containers": [{"name": "main", "image": image}]}})
}

/// A Deployment with one container.
pub(crate) fn deployment(namespace: &str, name: &str, image: &str) -> Value {
    json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name, "namespace": namespace},
        "spec": {"selector": {"matchLabels": {"app": name}}, "template": {
            "metadata": {"labels": {"app": name}}, "spec": {"containers": [{"name": "main", "image": image}]}}}})
}

/// The image of the first container.
pub(crate) fn image_of(pod: &Value) -> String {
    pod["spec"]["containers"][0]["image"].as_str().or_fail("a container has an image").to_owned()
}

/// Where a Pod stands in the API.
pub(crate) fn path_of(namespace: &str, name: &str) -> String {
    format!("/api/v1/namespaces/{namespace}/pods/{name}")
}
