//! The webhook's own certificate on the real API server: made, made known, rotated without one refused request, and
//! whole again after a crash at each of its writes.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use portreeve_tests::OrFail as _;
use portreeve_tests::api_proxy::{ApiProxy, Kill, Run, after_each_write};
use portreeve_tests::chart::{self, NAMESPACE};
use portreeve_tests::control_plane::ControlPlane;
use portreeve_tests::daemon::Daemon;
use portreeve_tests::process::{free_port, until};
use portreeve_tests::stage;
use serde_json::{Value, json};

const SECRET: &str = "/api/v1/namespaces/portreeve-system/secrets/portreeve-webhook";
const VALIDATING: &str = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations/portreeve";
const MUTATING: &str = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations/portreeve";
const PATIENCE: Duration = Duration::from_secs(60);

/// A control plane with the objects of the chart, whose webhooks call `port` on loopback and are told no CA.
struct Site {
    plane: ControlPlane,
    objects: Vec<Value>,
    port: u16,
}

impl Site {
    async fn start() -> Self {
        let plane = ControlPlane::start().await;
        let objects = chart::rendered(&json!({
            "admission": {"namespaces": [{"match": ["enforce-*"], "mode": "enforce"}]},
            "rescan": {"images": "0 0 29 2 *", "posture": "0 0 29 2 *"},
        }));
        stage::rights(&plane, &objects).await;
        let site = Self { plane, objects, port: free_port() };
        site.reset().await;
        site
    }

    /// The Secret and the webhook configurations as the chart makes them, and no lease.
    async fn reset(&self) {
        for path in [VALIDATING, MUTATING, SECRET] {
            let _was_there = self.plane.api().delete(path).await;
        }
        self.forget_lease().await;
        let secret = chart::of_kind(&self.objects, "Secret");
        self.plane.api().create(secret).await.or_fail("the chart's Secret");
        let url = format!("https://127.0.0.1:{}", self.port);
        for mut configuration in chart::webhooks(&self.objects, &url, "") {
            for entry in configuration["webhooks"].as_array_mut().or_fail("entries") {
                entry["clientConfig"].as_object_mut().or_fail("an object").remove("caBundle");
            }
            self.plane.api().create(&configuration).await.or_fail("a webhook configuration");
        }
    }

    /// No lease, so that nobody waits for a dead holder: the tests of the lease do.
    async fn forget_lease(&self) {
        let lease = format!("/apis/coordination.k8s.io/v1/namespaces/{NAMESPACE}/leases/portreeve");
        let _was_there = self.plane.api().delete(&lease).await;
    }

    /// A daemon with the rights of the chart, not started.
    fn daemon(&self, kubeconfig: PathBuf) -> Daemon {
        let (mut config, files) = chart::configuration(&self.objects);
        config["cluster"] = json!({"kubeconfig": kubeconfig});
        config["admission"]["listen"] = format!("127.0.0.1:{}", self.port).into();
        config["admission"]["tls"] = json!({"names": ["127.0.0.1"]});
        Daemon::configured(&config, &files)
    }

    async fn kubeconfig(&self) -> PathBuf {
        self.plane.kubeconfig_for(NAMESPACE, "portreeve").await
    }

    /// Creates a Pod in a namespace where an unanswered webhook denies.
    async fn is_admitted(&self, namespace: &str) -> Result<(), String> {
        let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"generateName": "p-", "namespace": namespace},
            "spec": {"automountServiceAccountToken": false,
                "containers": [{"name": "main", "image": format!("example.org/app@sha256:{}", "a".repeat(64))}]}});
        let created = self.plane.api().create_warned(&pod, "dryRun=All").await;
        created.map(drop).map_err(|status| status.to_string())
    }

    async fn admits(&self, namespace: &str) {
        let admitted = || async { self.is_admitted(namespace).await.ok() };
        if until(PATIENCE, admitted).await.is_none() {
            portreeve_tests::fail(format!("the webhook is not trusted: {:?}", self.is_admitted(namespace).await));
        }
    }

    /// The keys of the Secret, and whether every entry of both configurations has exactly its CAs.
    async fn state(&self) -> Option<(Vec<String>, String)> {
        let secret = self.plane.api().get(SECRET).await.ok()?;
        let data = secret["data"].as_object()?.clone();
        for path in [VALIDATING, MUTATING] {
            let configuration = self.plane.api().get(path).await.ok()?;
            let entries = configuration["webhooks"].as_array()?.clone();
            let first = entries.first()?["clientConfig"]["caBundle"].as_str()?.to_owned();
            entries.iter().all(|entry| entry["clientConfig"]["caBundle"] == *first).then_some(())?;
            let is_known = data["ca.crt"].as_str().is_some_and(|ca| decoded(&first).contains(&decoded(ca)));
            is_known.then_some(())?;
        }
        Some((data.keys().cloned().collect(), data["tls.crt"].as_str()?.to_owned()))
    }
}

fn decoded(base64: &str) -> String {
    use base64::Engine as _;
    let bytes = base64::engine::general_purpose::STANDARD.decode(base64).or_fail("base64");
    String::from_utf8(bytes).or_fail("PEM")
}

#[tokio::test]
async fn a_rotation_refuses_no_request_and_both_replicas_serve_the_new_certificate() {
    let site = Site::start().await;
    let mut daemon = site.daemon(site.kubeconfig().await);
    daemon.start().await;
    let namespace = site.plane.namespace("enforce").await;
    site.admits(&namespace).await;
    let (_, first) = site.state().await.or_fail("a certificate that is known");
    let expires = daemon.metric("portreeve_webhook_certificate_expiry_timestamp_seconds").await;
    assert!(expires > 0.0);
    let ask = json!({"metadata": {"annotations": {"portreeve.dev/rotate": "now"}}});
    site.plane.api().merge(SECRET, &ask).await.unwrap();
    let started = Instant::now();
    let mut requests = 0;
    let mut served_since: Option<Instant> = None;
    // Until some time after the new one is served.
    while served_since.is_none_or(|since| since.elapsed() < Duration::from_secs(8)) {
        site.is_admitted(&namespace).await.or_fail("a request during the rotation");
        requests += 1;
        let promoted = site.state().await.is_some_and(|(_, now)| now != first);
        if promoted && served_since.is_none() {
            served_since = Some(Instant::now());
        }
        assert!(started.elapsed() < Duration::from_secs(120), "{:?}\n{}", site.state().await, daemon.log());
    }
    let (keys, _) = site.state().await.or_fail("a certificate that is known");
    assert!(keys.iter().any(|key| key == "previous-ca.crt"), "the previous CA stays known: {keys:?}");
    assert_eq!(daemon.log().matches("the webhook's certificate was read").count(), 2, "{}", daemon.log());
    let secret = site.plane.api().get(SECRET).await.unwrap();
    assert_eq!(secret["metadata"]["annotations"]["portreeve.dev/rotate"], Value::Null);
    println!("{requests} requests during a rotation, none refused");

    // A caBundle that somebody else wrote is ours again, and nothing else of the entry is.
    let mut broken = site.plane.api().get(VALIDATING).await.unwrap()["webhooks"].clone();
    broken[0]["clientConfig"]["caBundle"] = Value::Null;
    broken[0]["timeoutSeconds"] = 7.into();
    site.plane.api().merge(VALIDATING, &json!({"webhooks": broken})).await.unwrap();
    let is_mended = || async { site.state().await };
    until(PATIENCE, is_mended).await.or_fail("the caBundle is mended");
    let mended = site.plane.api().get(VALIDATING).await.unwrap();
    assert_eq!(mended["webhooks"][0]["timeoutSeconds"], 7);
    // What cannot be used is made anew.
    site.plane.api().merge(SECRET, &json!({"data": {"tls.key": "bm8ga2V5"}})).await.unwrap();
    site.admits(&namespace).await;
}

#[tokio::test]
async fn killed_after_each_write_the_next_daemon_comes_to_the_same_end() {
    let site = Site::start().await;
    let proxy = ApiProxy::start(&site.plane).await;
    let kubeconfig = proxy.kubeconfig_with(&site.plane.token_for(NAMESPACE, "portreeve").await);
    let namespace = site.plane.namespace("enforce").await;
    let (site, proxy, namespace) = (&site, &proxy, namespace.as_str());
    let whole = || async {
        let (keys, _) = site.state().await?;
        (keys == ["ca.crt", "tls.crt", "tls.key"]).then_some(())
    };
    let run = |n: usize, when: Kill| {
        let mut daemon = site.daemon(kubeconfig.clone());
        async move {
            site.reset().await;
            let process = daemon.launch().id();
            proxy.kill_at(n, process, when);
            let ended = || async {
                // Looked at twice: the write that makes it whole may be the one that is killed at.
                let is_whole = whole().await.is_some() && whole().await.is_some();
                if proxy.has_killed() { Some(Run::Killed) } else { is_whole.then_some(Run::Finished) }
            };
            until(PATIENCE, ended).await.or_fail("the end of a run")
        }
    };
    let again = |_| {
        let mut daemon = site.daemon(kubeconfig.clone());
        async move {
            site.forget_lease().await;
            daemon.start().await;
            until(PATIENCE, whole).await.or_fail("the same end");
            site.admits(namespace).await;
        }
    };
    let points = after_each_write(proxy, run, again).await;
    for part in ["/leases", "/secrets/portreeve-webhook", "/mutatingwebhook", "/validatingwebhook"] {
        assert!(points.iter().any(|write| write.path.contains(part)), "no crash after a write to {part}: {points:?}");
    }
}
