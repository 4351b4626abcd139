//! A namespace, a key, declared files, and daemons that keep their Secrets.

use std::path::PathBuf;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use portreeve_tests::OrFail as _;
use portreeve_tests::age::AgeKey;
use portreeve_tests::api::Api;
use portreeve_tests::api_proxy::{ApiProxy, Match};
use portreeve_tests::control_plane::ControlPlane;
use portreeve_tests::daemon::Daemon;
use portreeve_tests::process::scratch;
use serde_json::{Value, json};

/// What stands in values and must stand nowhere else.
pub(crate) const CANARY: &str = "canary-9f3b7c";

pub(crate) struct Site {
    pub(crate) plane: &'static ControlPlane,
    pub(crate) namespace: String,
    pub(crate) folder: PathBuf,
    pub(crate) key: AgeKey,
    pub(crate) proxy: ApiProxy,
}

impl Site {
    pub(crate) async fn new(prefix: &str) -> Self {
        let plane = ControlPlane::shared().await;
        let namespace = plane.namespace(prefix).await;
        let own = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "portreeve-system"}});
        let _there = plane.api().create(&own).await;
        let proxy = ApiProxy::start(plane).await;
        proxy.note_only(Match::path("/secrets/"));
        Self { plane, namespace, folder: scratch("declared"), key: AgeKey::new(), proxy }
    }

    pub(crate) fn api(&self) -> &Api {
        self.plane.api()
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// A plain map, encrypted.
    pub(crate) fn map(&self, name: &str, text: &str) {
        self.key.encrypt(text, &self.file(name), &[]);
    }

    /// A manifest of a Secret of this namespace, encrypted.
    pub(crate) fn manifest(&self, file: &str, name: &str, rest: &str) {
        let text = format!(
            "apiVersion: v1\nkind: Secret\nmetadata: {{name: {name}, namespace: {}, labels: {{team: a}}}}\n{rest}",
            self.namespace
        );
        self.key.encrypt(&text, &self.file(file), &["--encrypted-regex", "^(data|stringData)$"]);
    }

    /// An item for a plain map.
    pub(crate) fn item(&self, file: &str, name: &str) -> Value {
        json!({"file": self.file(file), "namespace": self.namespace, "name": name})
    }

    /// A daemon that keeps these, with `extra` laid over `secrets`.
    pub(crate) fn configured(&self, sync: Value, extra: Value) -> Daemon {
        Daemon::configured(&self.config(sync, extra), &[])
    }

    /// The configuration of such a daemon.
    pub(crate) fn config(&self, sync: Value, extra: Value) -> Value {
        let mut secrets = json!({"identities": [{"file": self.key.file}], "interval": "1s", "sync": sync});
        let extra = extra.as_object().or_fail("a map").clone();
        extra.into_iter().for_each(|(key, value)| secrets[key] = value);
        json!({
            "cluster": {"kubeconfig": self.proxy.kubeconfig()},
            "leader": {"lease": self.namespace},
            "posture": {"frameworks": ["nsa"]},
            "secrets": secrets,
        })
    }

    /// The same, started.
    pub(crate) async fn keeping(&self, sync: Value) -> Daemon {
        let mut daemon = self.configured(sync, json!({}));
        daemon.start().await;
        daemon
    }

    pub(crate) fn path(&self, name: &str) -> String {
        format!("/api/v1/namespaces/{}/secrets/{name}", self.namespace)
    }

    /// The live Secret's data, decoded; `None` when it is not there.
    pub(crate) async fn data(&self, name: &str) -> Option<Value> {
        let secret = self.api().get(&self.path(name)).await.ok()?;
        let decode = |value: &Value| {
            let bytes = STANDARD.decode(value.as_str().or_fail("base64 text")).or_fail("base64");
            json!(String::from_utf8(bytes).or_fail("text"))
        };
        let data = secret["data"].as_object().cloned().unwrap_or_default();
        Some(data.iter().map(|(key, value)| (key.clone(), decode(value))).collect::<serde_json::Map<_, _>>().into())
    }

    /// Waits until the live Secret holds exactly this.
    pub(crate) async fn until_data(&self, name: &str, wanted: Value) {
        let is_so = || async { (self.data(name).await.as_ref() == Some(&wanted)).then_some(()) };
        let came = portreeve_tests::process::until(portreeve_tests::process::START, is_so).await;
        assert!(came.is_some(), "{name} is {:?}, not {wanted}", self.data(name).await);
    }

    /// Changes the live Secret as a person would.
    pub(crate) async fn change(&self, name: &str, data: Value) {
        let encode = |value: &Value| value.as_str().map_or(Value::Null, |text| json!(STANDARD.encode(text)));
        let data = data.as_object().or_fail("a map");
        let data: serde_json::Map<_, _> = data.iter().map(|(key, value)| (key.clone(), encode(value))).collect();
        self.api().merge(&self.path(name), &json!({"data": data})).await.or_fail("a change by hand");
    }

    /// The lease of a killed daemon would be waited for.
    pub(crate) async fn forget_lease(&self) {
        let lease = format!("/apis/coordination.k8s.io/v1/namespaces/portreeve-system/leases/{}", self.namespace);
        let _gone = self.api().delete(&lease).await;
    }
}

/// The open finding of a code.
pub(crate) async fn finding(daemon: &Daemon, code: &str) -> String {
    let first = |found: &[Value]| found.first().cloned();
    let found = daemon.wait_for(&format!("code={code}"), "a finding", first).await;
    found["message"].as_str().or_fail("a message").to_owned()
}

/// Waits until there is no open finding of a code.
pub(crate) async fn resolved(daemon: &Daemon, code: &str) {
    let none = |found: &[Value]| found.is_empty().then_some(());
    daemon.wait_for(&format!("code={code}"), "no finding any more", none).await;
}

/// Waits for as many looks at a Secret as it takes to be sure that it is left alone.
pub(crate) async fn synced(daemon: &Daemon, count: f64) {
    daemon.wait_for_metric("portreeve_secrets_synced{state=synced}", count).await;
}
