//! T06: objects that no API server would send are kept as data: unknown, while the others are judged.

use portreeve_tests::OrFail as _;
use portreeve_tests::daemon::{Daemon, summaries};
use portreeve_tests::desk::Desk;
use portreeve_tests::faults::FaultyApiServer;
use serde_json::{Value, json};

use crate::site::{Site, one, pod};

/// Spoils Pods by their names.
fn spoil(object: &mut Value) {
    match object["metadata"]["name"].as_str().unwrap_or_default() {
        "no-list" => object["spec"]["containers"] = "not a list".into(),
        "no-spec" => object["spec"] = json!(["not a map"]),
        "no-labels" => object["metadata"]["labels"] = 7.into(),
        _ => {}
    }
}

#[tokio::test]
async fn t06_malformed_objects_of_an_api_server_are_unknown_and_the_others_are_judged() {
    let site = Site::shared().await;
    let namespace = site.plane.namespace("faulty").await;
    for name in ["good", "no-list", "no-spec", "no-labels"] {
        site.plane.api().create(&pod(&namespace, name, "example.org/app:1")).await.or_fail(name);
    }
    let faulty = FaultyApiServer::before(site.plane, spoil).await;

    let desk = Desk::new();
    let config = json!({"cluster": {"kubeconfig": faulty.kubeconfig()}});
    desk.file("portreeve.yaml", config.to_string());
    // The proxy runs in this process: the command must not hold its thread.
    let arguments = ["check", "--control", "C-0057", "--format", "json", "cluster"];
    let listed = desk.run_measured(&arguments, std::time::Duration::from_secs(60)).await;
    let report = listed.output.expect_exit(10).json();
    are_told(report["findings"].as_array().or_fail("findings"), &namespace);

    let mut daemon = Daemon::configured(&config, &[]);
    daemon.start().await;
    let query = format!("namespace={namespace}");
    let found = daemon.wait_for(&query, "all four Pods", |found| {
        let has = |name: &str| found.iter().any(|finding| finding["subject"]["name"] == name);
        ["good", "no-list", "no-spec", "no-labels"].iter().all(|name| has(name)).then(|| found.to_vec())
    });
    are_told(&found.await, &namespace);
    // The deletion of what could not be read is honoured.
    site.plane.api().delete(&format!("/api/v1/namespaces/{namespace}/pods/no-list")).await.or_fail("a deletion");
    daemon.wait_for(&query, "the deletion", |found| one(found, "no-list").is_none().then_some(())).await;
    assert!(one(&daemon.findings(&query).await, "no-spec").is_some());
}

fn are_told(findings: &[Value], namespace: &str) {
    let of = |name: &str, code: &str| {
        let is_it = |finding: &&Value| {
            let subject = &finding["subject"];
            finding["code"] == code && subject["namespace"] == namespace && subject["name"] == name
        };
        findings.iter().find(is_it).map(|finding| (finding["verdict"].clone(), finding["cause"].clone()))
    };
    for name in ["no-list", "no-spec", "no-labels"] {
        let told = of(name, "PR-0001");
        assert_eq!(told, Some(("unknown".into(), "unreadable".into())), "{name}: {:#?}", summaries(findings));
        assert_eq!(of(name, "C-0057"), None, "{name} is not judged");
    }
    assert_eq!(of("good", "C-0057").map(|(verdict, _)| verdict), Some("fail".into()));
}
