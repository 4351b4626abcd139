//! The daemon follows resources: they come, change and go, and so do the kinds and the rights.

use std::time::Instant;

use portreeve_tests::OrFail as _;
use portreeve_tests::chart::{self, NAMESPACE, of_kind};
use serde_json::{Value, json};

use crate::site::{
    API_VERSION, PRIVILEGED, REGISTRY, daemon, definitions, exception, image_policy, install, path_of, pod, site,
    uninstall, until_resolved, until_said, until_verdict, values,
};

#[tokio::test]
async fn exceptions_come_and_go_with_their_kind_and_each_hears_what_became_of_it() {
    let (plane, mut daemon) = site(&values(&["team-*"])).await;
    let api = plane.api();
    let (team, other) = (plane.namespace("team").await, plane.namespace("other").await);
    for namespace in [&team, &other] {
        api.create(&pod(namespace, "hub")).await.unwrap();
    }
    daemon.start().await;
    let [in_team, in_other] = [&team, &other].map(|namespace| format!("code={PRIVILEGED}&namespace={namespace}"));
    until_verdict(&daemon, &in_team, "hub", "fail").await;
    until_verdict(&daemon, &in_other, "hub", "fail").await;

    // The kinds are installed while it runs.
    let definitions = definitions();
    install(api, &definitions).await;
    let (allowed, foreign) = (exception(&team, "hub", "hub"), exception(&other, "hub", "hub"));
    for resource in [&allowed, &foreign] {
        api.create(resource).await.unwrap();
    }
    let excepted = until_verdict(&daemon, &in_team, "hub", "excepted").await;
    assert!(excepted["evidence"].to_string().contains("team-platform"), "{excepted}");
    let said = until_said(api, &allowed, "Accepted").await;
    let told = until_said(api, &foreign, "NamespaceNotAllowed").await;
    assert!(told["status"]["conditions"][0]["message"].to_string().contains("customResources.exceptionNamespaces"));
    let refused = format!("code=PR-0004&namespace={other}");
    until_verdict(&daemon, &refused, "hub", "fail").await;
    until_verdict(&daemon, &in_other, "hub", "fail").await;

    // An edit holds at once, and is said of its generation.
    let elsewhere = json!({"spec": {"subjects": {"names": ["proxy"]}}});
    let started = Instant::now();
    api.merge(&path_of(&allowed), &elsewhere).await.unwrap();
    until_verdict(&daemon, &in_team, "hub", "fail").await;
    let took = started.elapsed();
    assert!(took.as_secs() < 10, "an edit took {took:?} to reach the findings");
    let edited = until_said(api, &allowed, "Accepted").await;
    let since = |resource: &Value| resource["status"]["conditions"][0]["lastTransitionTime"].clone();
    assert_eq!(since(&said), since(&edited), "it was accepted before and is");
    assert_ne!(said["metadata"]["generation"], edited["metadata"]["generation"]);
    until_verdict(&daemon, &format!("code=PR-0002&namespace={team}"), "hub", "fail").await;

    // What is said already is not written again, whatever else happens.
    api.create(&exception(&team, "later", "nothing")).await.unwrap();
    until_said(api, &exception(&team, "later", "nothing"), "Accepted").await;
    let now = api.get(&path_of(&allowed)).await.unwrap();
    assert_eq!(now["metadata"]["resourceVersion"], edited["metadata"]["resourceVersion"], "{now}");
    let fields = now["metadata"]["managedFields"].as_array().unwrap().iter();
    let ours = fields.filter(|entry| entry["manager"] == "portreeve" && entry["subresource"] == "status");
    assert_eq!(ours.count(), 1, "{now}");

    // With a resource goes what was said about it; with the kinds, what they excepted.
    api.delete(&path_of(&foreign)).await.unwrap();
    until_resolved(&daemon, &refused, "hub").await;
    api.merge(&path_of(&allowed), &json!({"spec": {"subjects": {"names": ["hub"]}}})).await.unwrap();
    until_verdict(&daemon, &in_team, "hub", "excepted").await;
    uninstall(api, &definitions).await;
    until_verdict(&daemon, &in_team, "hub", "fail").await;
    assert_eq!(daemon.health("/readyz").await.or_fail("health").0, 200);
}

#[tokio::test]
async fn image_policies_of_the_cluster_judge_together_and_one_that_cannot_be_used_denies_in_its_place() {
    let (plane, mut daemon) = site(&values(&[])).await;
    let api = plane.api();
    install(api, &definitions()).await;
    let namespace = plane.namespace("images").await;
    api.create(&pod(&namespace, "app")).await.unwrap();
    daemon.start().await;

    let first = image_policy("first", &format!("{REGISTRY}/app"));
    api.create(&first).await.unwrap();
    let finding = daemon.wait_for("", "the ban", |found| {
        let images: Vec<Value> = found.iter().filter(|it| it["subject"]["type"] == "image").cloned().collect();
        images.iter().find(|it| it["verdict"] == "fail" || it["verdict"] == "unknown").cloned()
    });
    let finding = finding.await;
    assert_eq!(finding["effect"], "warn", "{finding}");
    until_said(api, &first, "Accepted").await;

    // The older of two that tie is in force, and the younger says so.
    let second = image_policy("second", &format!("{REGISTRY}/app"));
    api.create(&second).await.unwrap();
    let told = until_said(api, &second, "Conflict").await;
    assert!(told["status"]["conditions"][0]["message"].to_string().contains("ImagePolicy first came first"), "{told}");
    until_verdict(&daemon, "code=PR-0008", "second", "fail").await;

    // A file of the daemon's machine is nothing that a resource may name.
    let mut third = image_policy("third", "quay.io/**");
    third["spec"]["rules"][0] = json!({"name": "files", "images": ["quay.io/**"], "authorities": {"list": [
        {"name": "key", "key": {"file": "/etc/passwd"}}]}});
    api.create(&third).await.unwrap();
    let told = until_said(api, &third, "Invalid").await;
    assert!(told["status"]["conditions"][0]["message"].to_string().contains("has no files"), "{told}");

    // What no rule names is denied in the place of the two.
    let other = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "other", "namespace": namespace},
        "spec": {"automountServiceAccountToken": false, "containers": [{"name": "main", "image": format!("{REGISTRY}/other:1")}]}});
    api.create(&other).await.unwrap();
    let is_blocked = |found: &[Value]| {
        let of_image = |it: &&Value| {
            it["subject"]["reference"].as_str().is_some_and(|it| it.starts_with(&format!("{REGISTRY}/other")))
        };
        found.iter().find(|it| of_image(it) && it["effect"] == "block").cloned()
    };
    daemon.wait_for("", "what no rule names", is_blocked).await;
    for policy in [&second, &third] {
        api.delete(&path_of(policy)).await.unwrap();
    }
    until_resolved(&daemon, "code=PR-0008", "second").await;
    let is_let_in = |found: &[Value]| is_blocked(found).is_none().then_some(());
    daemon.wait_for("", "what no rule names is let in again", is_let_in).await;
    api.delete(&path_of(&first)).await.unwrap();
    let none = |found: &[Value]| found.iter().all(|it| it["subject"]["type"] != "image").then_some(());
    daemon.wait_for("", "no policy, no question", none).await;
}

#[tokio::test]
async fn kinds_that_may_not_be_read_are_unknown_until_they_may() {
    let (plane, _) = site(&values(&["team-*"])).await;
    let api = plane.api();
    install(api, &definitions()).await;
    let objects = chart::rendered(&values(&["team-*"]));
    let [mut account, mut role, mut binding, _, mut leading] = chart::rights(&objects).map(Clone::clone);
    for object in [&mut account, &mut role, &mut binding] {
        object["metadata"]["name"] = "restricted".into();
    }
    binding["roleRef"]["name"] = "restricted".into();
    binding["subjects"][0]["name"] = "restricted".into();
    let rules = role["rules"].as_array_mut().unwrap();
    let taken: Vec<Value> = rules.extract_if(.., |rule| rule["apiGroups"] == json!(["portreeve.dev"])).collect();
    assert_eq!(taken.len(), 2, "reading, and the status");
    leading["metadata"]["name"] = "restricted".into();
    leading["subjects"][0]["name"] = "restricted".into();
    for object in [&account, &role, &binding, &leading] {
        api.create(object).await.unwrap();
    }
    let team = plane.namespace("team").await;
    api.create(&pod(&team, "hub")).await.unwrap();
    api.create(&exception(&team, "hub", "hub")).await.unwrap();
    let mut daemon = daemon(&plane, &objects, "restricted").await;
    daemon.start().await;
    let ours = |found: &[Value]| -> Vec<Value> {
        found.iter().filter(|it| it["subject"]["apiVersion"] == API_VERSION).cloned().collect()
    };
    let four = |found: &[Value]| Some(ours(found)).filter(|found| found.len() == 4);
    for finding in daemon.wait_for("code=PR-0006", "four kinds", four).await {
        assert_eq!((&finding["verdict"], &finding["cause"]), (&json!("unknown"), &json!("forbidden")), "{finding}");
    }
    let query = format!("code={PRIVILEGED}&namespace={team}");
    until_verdict(&daemon, &query, "hub", "fail").await;
    let is_denied = |found: &[Value]| found.iter().any(|it| it["verdict"] == "fail").then_some(());
    daemon.wait_for("code=PR-1003", "images are denied: an unseen policy may forbid them", is_denied).await;
    role["rules"].as_array_mut().unwrap().extend(taken);
    api.apply_object(&role, "").await.unwrap();
    until_verdict(&daemon, &query, "hub", "excepted").await;
    daemon.wait_for("code=PR-0006", "granted", |found| ours(found).is_empty().then_some(())).await;
    daemon.wait_for("code=PR-1003", "there is no policy", |found| found.is_empty().then_some(())).await;
    until_said(api, &exception(&team, "hub", "hub"), "Accepted").await;
    assert_eq!(of_kind(&objects, "ServiceAccount")["metadata"]["namespace"], NAMESPACE);
}
