//! A store on PostgreSQL: a daemon that is killed, a server that is killed, and replicas.

use std::sync::atomic::AtomicU64;

use portreeve_tests::OrFail;
use portreeve_tests::cosign::{Cosign, Storage};
use portreeve_tests::folder_cluster::{FolderCluster, PATIENCE, is_about, pod, review_of};
use portreeve_tests::postgres::{self, Postgres};
use portreeve_tests::process::START;
use portreeve_tests::registry::Registry;
use serde_json::{Value, json};

use crate::load::{Load, kill_again_and_again, lost, manifest, privileged, until_as_checked, write_policy};

#[tokio::test]
async fn a_kill_at_any_moment_loses_nothing_that_was_acknowledged() {
    let server = Postgres::start().await;
    let cluster = FolderCluster::on_postgres(&server, "telemetry: {format: json}\n");
    kill_again_and_again(&cluster, 5).await;
    let _daemon = cluster.serve().await;
    until_as_checked(&cluster).await;
}

#[tokio::test]
async fn a_killed_server_loses_nothing_that_was_acknowledged_and_its_return_is_told() {
    let mut server = Postgres::start().await;
    // Posture denies here: an answer by verdict is one that denies and one that allows.
    let more = "posture: {enforce: [nsa]}\ntelemetry: {format: json}\n";
    let cluster = FolderCluster::on_postgres(&server, more);
    let doors = cluster.doors();
    let mut daemon = cluster.serve().await;
    let number = AtomicU64::new(0);
    let load = Load::new(&cluster, &number);
    let cut = async {
        daemon.until("answers", PATIENCE, |_| async { (load.acknowledged() >= 50).then_some(()) }).await;
        server.kill();
        load.end();
    };
    tokio::join!(cut, load.rewrite(), load.ask(), load.ask(), load.ask());
    let acknowledged = load.into_acknowledged();

    let ask = async |uid: &str, namespace: &str| {
        let review = review_of(uid, &pod(namespace, "asked", privileged(true)));
        cluster.validate(&review).await.or_fail("an answer").json()["response"].clone()
    };
    for number in 0..5 {
        assert_eq!(ask(&format!("denied-{number}"), "enforced").await["allowed"], false);
        assert_eq!(ask(&format!("warned-{number}"), "dev").await["allowed"], true);
    }
    doors.until_sample("portreeve_store_lost_total", |lost| lost >= 10.0).await;
    cluster.write("worse.json", &manifest(&pod("dev", "worse", privileged(true))));
    doors.until_sample("portreeve_store_lost_total", |lost| lost > 10.0).await;
    assert_eq!(doors.health("/readyz").await.status, 200, "the doors still answer");

    server.start_again().await;
    assert_eq!(ask("after", "dev").await["allowed"], true);
    let is_whole = |open: &[Value]| {
        open.iter().any(|finding| is_about(finding, "PR-0005", "store"))
            && open.iter().any(|finding| is_about(finding, "C-0057", "worse"))
    };
    doors.until_open("recovery", is_whole).await;
    daemon.line("PR-0005", START).await;
    assert_eq!(doors.get("/api/v1/summary").await.json()["store"]["writable"], true);
    let log = daemon.stderr();
    let missing = lost(&cluster, &acknowledged, &log).await;
    assert!(acknowledged.len() >= 50 && missing.is_empty(), "{missing:?} are lost\n{log}");
    assert!(!log.contains(postgres::PASSWORD), "the password is nobody's business");
}

#[tokio::test]
async fn a_store_that_cannot_be_opened_ends_the_daemon_with_the_reason_and_without_the_password() {
    let mut server = Postgres::start().await;
    let cluster = FolderCluster::on_postgres(&server, "");
    let refused = |password: &str, reason: &str| {
        let refused = portreeve_tests::binary::Portreeve::finish(cluster.command().env("PGPASSWORD", password));
        assert_eq!(refused.code, Some(1), "{refused:?}");
        assert!(refused.stderr.contains(&server.url("")), "{}", refused.stderr);
        assert!(refused.stderr.contains(reason), "{}", refused.stderr);
        assert!(!refused.stderr.contains(password), "{}", refused.stderr);
    };
    refused("not-the-password", "authentication failed: wrong or missing password; set PGPASSWORD");
    let config = std::fs::read_to_string(cluster.root().join("portreeve.yaml")).or_fail("the configuration");
    let elsewhere = config.replace(&server.url(postgres::DATABASE), &server.url("nowhere"));
    std::fs::write(cluster.root().join("portreeve.yaml"), elsewhere).or_fail("the configuration");
    refused(postgres::PASSWORD, "the database does not exist; create it");
    server.kill();
    let refused = portreeve_tests::binary::Portreeve::finish(&mut cluster.command());
    assert_eq!(refused.code, Some(1), "{refused:?}");
    assert!(refused.stderr.contains("connection refused: nothing listens there"), "{}", refused.stderr);
    assert!(!refused.stderr.contains(postgres::PASSWORD), "{}", refused.stderr);
}

#[tokio::test]
async fn what_one_replica_heard_of_a_registry_the_other_verifies_without_asking_again() {
    let server = Postgres::start().await;
    let mut registry = Registry::with_referrers().await;
    let [ours, theirs] = [(); 2].map(|()| Cosign::new(registry.docker_config()));
    let image = registry.push_image("hub/app:1");
    ours.sign(&image, Storage::Bundle);
    let more =
        format!("registries: [{{host: '{}', plainHttp: true}}]\nimages: {{policy: images.yaml}}\n", registry.host());
    let host = registry.host().to_owned();
    let replica = |key: &Cosign| {
        let cluster = FolderCluster::on_postgres(&server, &more);
        write_policy(&cluster, &host, &key.public_key());
        cluster
    };
    let object = pod("dev", "app", json!({"name": "app", "image": image}));
    let verified = "portreeve_image_verifications_total{result=\"verified\"}";
    let requests = async |cluster: &FolderCluster| {
        let samples = cluster.doors().samples().await;
        let of_registry = samples.iter().filter(|(series, _)| series.contains("registry_requests_total"));
        of_registry.map(|(_, value)| *value).sum::<f64>()
    };

    let first = replica(&ours);
    let _first = first.serve().await;
    first.validate(&review_of("first", &object)).await.or_fail("an answer");
    first.doors().until_sample(verified, |count| count >= 1.0).await;
    let until_asked = portreeve_tests::process::until(PATIENCE, || async {
        Some(requests(&first).await).filter(|requests| *requests >= 1.0)
    });
    until_asked.await.or_fail("the first replica asks the registry");
    // Evidence is written beside the answer; a decision that was committed later says that it is there.
    first.validate(&review_of("second", &object)).await.or_fail("an answer");
    registry.stop();

    let second = replica(&ours);
    let mut running = second.serve().await;
    second.validate(&review_of("third", &object)).await.or_fail("an answer");
    second.doors().until_sample(verified, |count| count >= 1.0).await;
    assert_eq!(requests(&second).await, 0.0, "the registry, which is gone, was not asked");

    running.signal("TERM");
    assert_eq!(running.ended(START).await.code(), Some(0), "what shares evidence does not keep it from ending");

    // The bytes prove nothing: a replica that trusts another key says so.
    let third = replica(&theirs);
    let _third = third.serve().await;
    third.validate(&review_of("fourth", &object)).await.or_fail("an answer");
    let untrusted = "portreeve_image_verifications_total{result=\"untrusted\"}";
    third.doors().until_sample(untrusted, |count| count >= 1.0).await;
    assert_eq!((third.doors().sample(verified).await, requests(&third).await), (0.0, 0.0));

    // Replicas answer on one store: each shows the decisions of all.
    let decisions = third.doors().get("/api/v1/decisions").await.json();
    let uids: Vec<&str> =
        decisions["items"].as_array().or_fail("decisions").iter().filter_map(|item| item["uid"].as_str()).collect();
    assert!(["first", "second", "third", "fourth"].iter().all(|uid| uids.contains(uid)), "{uids:?}");
}
