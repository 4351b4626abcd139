//! Registries and daemons that are away.

use std::time::{Duration, Instant};

use portreeve_tests::OrFail as _;
use portreeve_tests::api::http_client;
use portreeve_tests::chart::NAMESPACE;
use portreeve_tests::process::{START, until};
use portreeve_tests::stage::certify;
use reqwest::tls::TlsInfo;
use serde_json::json;

use crate::world::{DEADLINE, exclusive, pod, shared};

/// Two webhooks with a deadline each, and some air; the API server would wait ten seconds for each.
const IN_TIME: Duration = Duration::from_secs(2 * DEADLINE + 4);

#[tokio::test]
async fn a_registry_that_is_down_or_hangs_denies_in_enforce_and_warns_elsewhere_within_the_deadline() {
    let world = shared().await;
    let (enforce, warn) = (world.plane.namespace("enforce").await, world.plane.namespace("lab").await);
    let hanging = world.hanging.local_addr().unwrap().to_string();
    for (name, host) in [("down", &world.down), ("hanging", &hanging)] {
        let image = format!("{host}/shop/app:1");
        let started = Instant::now();
        let message = world.denial(&pod(&enforce, name, &image)).await;
        assert!(started.elapsed() < IN_TIME, "{name}: {:?}", started.elapsed());
        let expected = format!("PR-1001 could not be told: {image} could not be verified");
        assert!(message.contains(&expected), "{message}");
        let warned = world.create(&pod(&warn, name, &image)).await.unwrap().warnings;
        assert!(warned.iter().any(|warning| warning.contains(&expected)), "{warned:?}");
    }
}

/// P2: our outage blocks what `enforce` names and nothing else.
#[tokio::test]
async fn with_the_daemon_stopped_enforce_namespaces_are_denied_and_the_cluster_goes_on() {
    let mut world = exclusive().await;
    let (enforce, warn) = (world.plane.namespace("enforce").await, world.plane.namespace("lab").await);
    let account = json!({"apiVersion": "v1", "kind": "ServiceAccount",
        "metadata": {"name": "default", "namespace": "kube-system"}});
    world.api().create(&account).await.unwrap();
    let image = world.signed("shop/outage:1");
    world.daemon.kill();
    let refused = world.create(&pod(&enforce, "one", &image)).await.unwrap_err();
    assert!(refused.message.contains(r#"failed calling webhook "enforce.portreeve.dev""#), "{refused}");
    for namespace in ["kube-system", NAMESPACE, &warn] {
        world.create(&pod(namespace, "one", &image)).await.unwrap_or_else(|status| panic!("{namespace}: {status}"));
    }
    world.rescuer().create(&pod(&enforce, "rescued", &image)).await.unwrap();
    let config = world.config.clone();
    world.restart(&config).await;
    world.create(&pod(&enforce, "one", &image)).await.unwrap();
}

#[tokio::test]
async fn a_replaced_certificate_is_served_without_a_restart() {
    let world = shared().await;
    let namespace = world.plane.namespace("enforce").await;
    let renewed = world.authority.loopback();
    certify(&world.daemon, &renewed);
    let ca = reqwest::Certificate::from_pem(world.authority.pem().as_bytes()).unwrap();
    let client = http_client().tls_certs_only([ca]).tls_info(true).build().unwrap();
    let is_renewed = || async {
        let answer = client.get(&world.webhook).send().await.ok()?;
        let presented = answer.extensions().get::<TlsInfo>()?.peer_certificate()?;
        (presented == renewed.der).then_some(())
    };
    until(START, is_renewed).await.or_fail("the new certificate is served");
    world.create(&pod(&namespace, "one", &world.signed("shop/renewed:1"))).await.unwrap();
}
