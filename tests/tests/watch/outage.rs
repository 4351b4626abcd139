//! An API server that is away: at the start, and in the middle.

use portreeve_tests::OrFail as _;
use portreeve_tests::api::http_client;
use portreeve_tests::chart::{self, NAMESPACE};
use portreeve_tests::control_plane::ControlPlane;
use portreeve_tests::cosign::Cosign;
use portreeve_tests::daemon::Daemon;
use portreeve_tests::process::{START, free_port, until};
use portreeve_tests::registry::Registry;
use portreeve_tests::stage;
use portreeve_tests::tls::Authority;
use reqwest::Certificate;
use serde_json::{Value, json};

use crate::site::{one, pod, values};

const OPEN: &str = "code=C-0057";
const ALL: &str = "code=C-0057&state=all";

#[tokio::test]
async fn an_api_server_that_is_away_is_waited_for_and_what_happened_meanwhile_is_caught_up_with() {
    let (mut plane, registry) = tokio::join!(ControlPlane::start(), Registry::with_referrers());
    let objects = chart::rendered(&values(&registry, &Cosign::new(registry.docker_config())));
    stage::rights(&plane, &objects).await;
    let namespace = plane.namespace("outage").await;
    let create = async |plane: &ControlPlane, name: &str| {
        plane.api().create(&pod(&namespace, name, "example.org/app:1")).await.or_fail(name);
    };
    create(&plane, "first").await;
    let authority = Authority::default();
    let (mut daemon, webhook) = admitting(&plane, &objects, &authority).await;
    plane.crash_api_server();
    away_at_the_start(&mut daemon).await;
    plane.restart_api_server().await;
    daemon.process().line("ready http://", START).await;
    daemon.wait_for_health("/readyz", 200).await;
    daemon.wait_for(OPEN, "what was there", |found| one(found, "first").cloned()).await;
    create(&plane, "second").await;
    daemon.wait_for(OPEN, "the second", |found| one(found, "second").cloned()).await;

    plane.crash_api_server();
    daemon.process().line("trying again", START).await;
    still_answers(&daemon).await;
    still_admits(&webhook, &authority).await;
    is_told(&daemon).await;
    still_answers(&daemon).await;
    still_admits(&webhook, &authority).await;
    // Stopped, the daemon cannot see the deletion happen.
    daemon.process().signal("STOP");
    plane.restart_api_server().await;
    plane.api().delete(&format!("/api/v1/namespaces/{namespace}/pods/first")).await.unwrap();
    create(&plane, "third").await;
    daemon.process().signal("CONT");
    daemon.wait_for(OPEN, "the third", |found| one(found, "third").cloned()).await;
    let is_resolved =
        |found: &[Value]| one(found, "first").filter(|it| it["lifecycle"]["state"] == "resolved").cloned();
    daemon.wait_for(ALL, "the deleted one is resolved", is_resolved).await;
    let open = daemon.findings(OPEN).await;
    assert!(one(&open, "second").is_some(), "what stayed is still there");
    is_over(&daemon).await;
    still_answers(&daemon).await;
    daemon.process().signal("TERM");
    assert!(daemon.process().ended(START).await.success(), "{}", daemon.log());
}

/// A daemon with the rights of the chart, and its webhook.
async fn admitting(plane: &ControlPlane, objects: &[Value], authority: &Authority) -> (Daemon, String) {
    let address = format!("127.0.0.1:{}", free_port());
    let (mut config, files) = chart::configuration(objects);
    // Scans go on while the API server is away.
    config["posture"]["rescan"] = "*/2 * * * * *".into();
    config["cluster"] = json!({"kubeconfig": plane.kubeconfig_for(NAMESPACE, "portreeve").await});
    config["admission"] = json!({"listen": address, "tls": {"certFile": "tls.crt", "keyFile": "tls.key"},
        "namespaces": [{"match": ["outage-*"], "mode": "enforce"}]});
    let daemon = Daemon::configured(&config, &files);
    let certified = authority.loopback();
    daemon.write("tls.crt", &certified.certificate);
    daemon.write("tls.key", &certified.key);
    (daemon, format!("https://{address}/validate"))
}

/// No admission answer waits on the API server.
async fn still_admits(webhook: &str, authority: &Authority) {
    let ca = Certificate::from_pem(authority.pem().as_bytes()).or_fail("the CA of the webhook");
    let client = http_client().tls_certs_only([ca]).build().or_fail("an HTTP client");
    let review = json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": {"uid": "one",
        "operation": "CREATE", "namespace": "outage-0", "object": pod("outage-0", "one", "example.org/app@sha256:0")}});
    let answer = client.post(webhook).body(review.to_string()).send().await.or_fail("an answer of the webhook");
    let answer: Value = serde_json::from_str(&answer.text().await.or_fail("an answer")).or_fail("an answer in JSON");
    assert_eq!(answer["response"]["uid"], "one", "{answer}");
    assert_eq!(answer["response"]["allowed"], false, "an image that is none is denied: {answer}");
}

async fn away_at_the_start(daemon: &mut Daemon) {
    daemon.launch();
    daemon.wait_for_health("/healthz", 200).await;
    let waiting = daemon.wait_for_health("/readyz", 503).await;
    assert!(waiting.contains("waiting for the API server"), "{waiting}");
    daemon.process().line("asking again", START).await;
    assert!(!daemon.process().stdout().contains("ready"));
    daemon.wait_for_health("/healthz", 200).await;
}

const CONNECTED: &str = "portreeve_watch_connected";
const FAILED: &str = "portreeve_scans_total{scanner=\"posture\",result=\"failure\"}";
const LAST: &str = "portreeve_scan_last_success_timestamp_seconds{scanner=\"posture\"}";
const AWAY: &str = "The API server is away";

/// An outage that lasts is on the page, in the metrics and a finding of each kind, and no scan of what is no longer
/// known succeeds.
async fn is_told(daemon: &Daemon) {
    let unreachable = |found: &[Value]| {
        let of = |kind: &str| found.iter().any(|it| it["subject"]["kind"] == kind && it["cause"] == "unreachable");
        ["Pod", "Deployment", "NetworkPolicy", "ImagePolicy"].iter().all(|kind| of(kind)).then_some(())
    };
    daemon.wait_for("code=PR-0006", "an outage is a finding of each kind", unreachable).await;
    daemon.wait_for_metric(CONNECTED, 0.0).await;
    let last = sample(daemon, LAST).await;
    assert!(daemon.page("/").await.or_fail("the page").1.contains(AWAY));
    let (code, text) = daemon.health("/readyz").await.or_fail("/readyz");
    assert!(code == 200 && text.contains("the API server is away"), "{code} {text}");
    let failed = || async { (sample(daemon, FAILED).await > 0.0).then_some(()) };
    until(START, failed).await.or_fail("the next scan fails");
    assert_eq!(sample(daemon, LAST).await, last, "a scan of a stale index is no success");
}

/// One series of the metrics.
async fn sample(daemon: &Daemon, series: &str) -> f64 {
    let (_, text) = daemon.health("/metrics").await.or_fail("the metrics");
    let value = text.lines().find_map(|line| line.strip_prefix(series)).or_fail(series);
    value.trim().parse().ok().or_fail("a number")
}

/// What was told of the outage is taken back.
async fn is_over(daemon: &Daemon) {
    let none = |found: &[Value]| found.iter().all(|it| it["cause"] != "unreachable").then_some(());
    daemon.wait_for("code=PR-0006", "the outage is over", none).await;
    daemon.wait_for_metric(CONNECTED, 1.0).await;
    assert!(!daemon.page("/").await.or_fail("the page").1.contains(AWAY));
    assert_eq!(daemon.health("/readyz").await.or_fail("/readyz").1, "ok\n");
}

async fn still_answers(daemon: &Daemon) {
    for path in ["/healthz", "/readyz", "/metrics"] {
        let (code, text) = daemon.health(path).await.or_fail(path);
        assert_eq!(code, 200, "{path}: {text}");
    }
    assert!(one(&daemon.findings(OPEN).await, "second").is_some(), "what is known stays known");
    assert_eq!(daemon.page("/").await.or_fail("the page").0, 200);
}
