//! `serve` keeps the platform as declared.

use portreeve_tests::OrFail as _;
use portreeve_tests::api::documents;
use portreeve_tests::api_proxy::{ApiProxy, Fault, Match};
use portreeve_tests::daemon::Daemon;
use serde_json::{Value, json};

use crate::site::{Site, config};

/// The configuration of a daemon that keeps the site's platform and looks at it every second.
pub(crate) fn configuration(site: &Site) -> Value {
    json!({
        "cluster": {"kubeconfig": site.plane.kubeconfig()},
        "leader": {"lease": site.name},
        "platform": {"file": site.folder.join("platform.yaml"), "interval": "1s"},
        "posture": {"frameworks": ["nsa"]},
        "customResources": {"exceptionNamespaces": ["excepted-*"]},
    })
}

pub(crate) async fn keeping(site: &Site) -> Daemon {
    started(site, &configuration(site)).await
}

/// A daemon of this configuration, with the namespace that its lease is in.
pub(crate) async fn started(site: &Site, configuration: &Value) -> Daemon {
    let own = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "portreeve-system"}});
    let _there = site.api().create(&own).await;
    let mut daemon = Daemon::configured(configuration, &[]);
    daemon.start().await;
    daemon
}

fn value(object: &Value) -> Option<&str> {
    object["data"]["value"].as_str()
}

/// Waits until a ConfigMap of the component has this value.
pub(crate) async fn until_value(site: &Site, name: &str, wanted: &str) {
    let probe = |object: &Value| (value(object) == Some(wanted)).then_some(());
    site.api().wait_for(&site.config_map(name), wanted, probe).await;
}

/// The open finding of a code about the component.
pub(crate) async fn finding(daemon: &Daemon, code: &str) -> Value {
    daemon.wait_for(&format!("code={code}"), "a finding about the component", |found| found.first().cloned()).await
}

/// Waits until there is no open finding of a code.
pub(crate) async fn resolved(daemon: &Daemon, code: &str) {
    let none = |found: &[Value]| found.is_empty().then_some(());
    daemon.wait_for(&format!("code={code}"), "no finding any more", none).await;
}

pub(crate) fn message(finding: &Value) -> &str {
    finding["message"].as_str().unwrap_or_default()
}

#[tokio::test]
async fn drift_is_corrected_and_said_and_changes_of_the_folder_are_followed() {
    let site = Site::new("correct").await;
    site.component("drift: correct");
    site.write("app/a.yaml", &config("a", "1"));
    site.write("app/b.yaml", &config("b", "1"));
    let mut daemon = keeping(&site).await;
    until_value(&site, "a", "1").await;
    site.api().merge(&site.config_map("a"), &json!({"data": {"value": "other"}})).await.unwrap();
    until_value(&site, "a", "1").await;
    let found = daemon.wait_for("code=PR-5005&state=all", "drift", |found| found.first().cloned()).await;
    assert!(message(&found).contains("ConfigMap/a is modified (data.value"), "{found}");
    resolved(&daemon, "PR-5005").await;
    site.api().delete(&site.config_map("b")).await.unwrap();
    until_value(&site, "b", "1").await;
    site.write("app/a.yaml", &config("a", "2"));
    until_value(&site, "a", "2").await;
    let healthy = "portreeve_platform_components{state=healthy}";
    daemon.wait_for_metric(healthy, 1.0).await;
    assert!(daemon.metric("portreeve_platform_writes_total").await >= 5.0);
    // A broken folder changes nothing, and says so.
    site.write("app/bad.yaml", "kind: [");
    site.remove("app/b.yaml");
    let found = finding(&daemon, "PR-5001").await;
    assert!(message(&found).contains("bad.yaml"), "{found}");
    assert!(site.api().get(&site.config_map("b")).await.is_ok());
    site.remove("app/bad.yaml");
    resolved(&daemon, "PR-5001").await;
    let gone = || async { site.api().get(&site.config_map("b")).await.is_err().then_some(()) };
    portreeve_tests::process::until(portreeve_tests::process::START, gone).await.or_fail("b is deleted");
    // Suspended outlives a restart.
    assert_eq!(site.run_async(&["suspend"]).await.code, Some(0), "the daemon gives the lease");
    daemon.kill();
    site.write("app/a.yaml", &config("a", "3"));
    daemon.start().await;
    finding(&daemon, "PR-5008").await;
    assert_eq!(value(&site.api().get(&site.config_map("a")).await.unwrap()), Some("2"));
    // And whatever else stops the component.
    site.write("app/bad.yaml", "kind: [");
    finding(&daemon, "PR-5001").await;
    assert_eq!(daemon.findings("code=PR-5008").await.len(), 1);
}

#[tokio::test]
async fn drift_is_only_said_where_the_mode_is_warn_and_never_fought_over() {
    let site = Site::new("warn").await;
    site.component("drift: warn");
    site.write("app/a.yaml", &config("a", "1"));
    let daemon = keeping(&site).await;
    until_value(&site, "a", "1").await;
    site.api().merge(&site.config_map("a"), &json!({"data": {"value": "tuned"}})).await.unwrap();
    finding(&daemon, "PR-5005").await;
    daemon.wait_for_metric("portreeve_platform_drift{class=modified}", 1.0).await;
    let live = site.api().get(&site.config_map("a")).await.unwrap();
    assert_eq!(value(&live), Some("tuned"));
    // Somebody declares the field: that is a finding about its owner.
    let theirs = format!(
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: a, namespace: {}}}\ndata: {{value: operator}}\n",
        site.namespace
    );
    site.api().apply_object(&documents(&theirs)[0], "").await.unwrap();
    let found = finding(&daemon, "PR-5004").await;
    assert!(message(&found).contains("data.value is tests's"), "{found}");
    resolved(&daemon, "PR-5005").await;
    assert_eq!(value(&site.api().get(&site.config_map("a")).await.unwrap()), Some("operator"));
}

#[tokio::test]
async fn corrections_that_do_not_last_stop_and_are_said() {
    let site = Site::new("fight").await;
    site.component("drift: correct");
    site.write("app/a.yaml", &config("a", "1"));
    let daemon = keeping(&site).await;
    until_value(&site, "a", "1").await;
    for round in 0..4 {
        let patch = json!({"data": {"value": format!("fight {round}")}});
        site.api().merge(&site.config_map("a"), &patch).await.unwrap();
        if round < 3 {
            until_value(&site, "a", "1").await;
        }
    }
    let found = finding(&daemon, "PR-5006").await;
    assert!(message(&found).contains("ConfigMap/a changes as often as it is corrected"), "{found}");
    assert_eq!(value(&site.api().get(&site.config_map("a")).await.unwrap()), Some("fight 3"));
    // A new manifest is a new start.
    site.write("app/a.yaml", &config("a", "2"));
    until_value(&site, "a", "2").await;
    resolved(&daemon, "PR-5006").await;
}

#[tokio::test]
async fn what_fails_the_gate_or_is_refused_is_a_finding_and_stops_no_other_component() {
    let site = Site::new("kept").await;
    let namespace = &site.namespace;
    let item = |name: &str| format!("- {{name: {name}, namespace: {namespace}, source: {{folder: {name}}}}}\n");
    site.platform(&["bad", "refused", "well"].map(item).concat());
    let text = std::fs::read_to_string(site.folder.join("platform.yaml")).unwrap();
    site.write("platform.yaml", &text.replace("failOn: critical", "failOn: high"));
    let pod = "apiVersion: v1\nkind: Pod\nmetadata: {name: root}\nspec: {containers: [{name: a, image: 'example.org/a:1', \
        securityContext: {privileged: true}}]}\n";
    site.write("bad/pod.yaml", pod);
    site.write("refused/a.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x}\ndota: {}\n");
    site.write("well/a.yaml", &config("well", "1"));
    let daemon = keeping(&site).await;
    until_value(&site, "well", "1").await;
    let found = finding(&daemon, "PR-5002").await;
    assert!(found["evidence"].to_string().contains("privileged"), "{found}");
    assert_eq!(found["subject"]["type"], "component");
    let found = finding(&daemon, "PR-5003").await;
    assert!(message(&found).contains("dota"), "{found}");
    assert!(site.api().get(&format!("/api/v1/namespaces/{namespace}/pods/root")).await.is_err());
}

#[tokio::test]
async fn exceptions_of_the_cluster_count_at_the_gate_and_stop_counting_when_they_go() {
    let site = Site::new("excepted").await;
    for definition in documents(&portreeve_tests::binary::Portreeve::run(["crds"]).stdout) {
        site.api().create(&definition).await.or_fail("a definition");
    }
    let kind = format!("/apis/portreeve.dev/v1alpha1/namespaces/{}/exceptions", site.namespace);
    site.api().wait_for(&kind, "the kind is served", |_| Some(())).await;
    let text = std::fs::read_to_string(site.folder.join("platform.yaml")).unwrap();
    site.write("platform.yaml", &text.replace("failOn: critical", "failOn: high"));
    let pod = |name: &str| {
        format!(
            "apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}}}\nspec: {{containers: [{{name: a, image: \
             'example.org/a:1', securityContext: {{privileged: true}}}}]}}\n"
        )
    };
    site.write("app/pod.yaml", &pod("root"));
    let daemon = keeping(&site).await;
    let found = finding(&daemon, "PR-5002").await;
    let codes: std::collections::BTreeSet<&str> =
        found["evidence"].as_array().unwrap().iter().filter_map(|pair| pair["name"].as_str()).collect();
    let exception = json!({"apiVersion": "portreeve.dev/v1alpha1", "kind": "Exception",
        "metadata": {"name": "root", "namespace": site.namespace},
        "spec": {"codes": codes, "subjects": {"names": ["root"]}, "owner": "tests",
            "reason": "accepted for the test", "expires": "2099-01-31"}});
    site.api().create(&exception).await.unwrap();
    resolved(&daemon, "PR-5002").await;
    let namespace = &site.namespace;
    assert!(site.api().get(&format!("/api/v1/namespaces/{namespace}/pods/root")).await.is_ok());
    let path = format!("/apis/portreeve.dev/v1alpha1/namespaces/{namespace}/exceptions/root");
    site.api().delete(&path).await.unwrap();
    finding(&daemon, "PR-5002").await;
}

#[tokio::test]
async fn what_was_said_of_a_platform_that_is_not_kept_any_more_is_resolved() {
    let site = Site::new("former").await;
    site.write("app/bad.yaml", "kind: [");
    let mut daemon = keeping(&site).await;
    finding(&daemon, "PR-5001").await;
    daemon.kill();
    let text = std::fs::read_to_string(site.folder.join("platform.yaml")).unwrap();
    let (old, new) = (format!("metadata: {{name: {}}}", site.name), format!("metadata: {{name: {}-new}}", site.name));
    site.write("platform.yaml", &text.replace(&old, &new));
    daemon.start().await;
    let is_new = |found: &[Value]| match found {
        [one] => one["subject"]["platform"].as_str().is_some_and(|name| name.ends_with("-new")).then_some(()),
        _ => None,
    };
    daemon.wait_for("code=PR-5001", "a finding of the new name alone", is_new).await;
    daemon.kill();
    let mut config = configuration(&site);
    config.as_object_mut().unwrap().remove("platform");
    daemon.configure(&config);
    daemon.start().await;
    resolved(&daemon, "PR-5001").await;
}

#[tokio::test]
async fn an_emptied_file_takes_nothing_down_until_it_is_confirmed() {
    let site = Site::new("emptied").await;
    site.write("app/a.yaml", &config("a", "1"));
    let daemon = keeping(&site).await;
    until_value(&site, "a", "1").await;
    resolved(&daemon, "PR-5010").await;
    let text = std::fs::read_to_string(site.folder.join("platform.yaml")).unwrap();
    let (head, _) = text.split_once("components:").unwrap();
    site.write("platform.yaml", &format!("{head}components: []\n"));
    let found = finding(&daemon, "PR-5009").await;
    assert!(message(&found).contains("1 of 1 components"), "{found}");
    assert!(message(&found).contains("apply --confirm-prune"), "{found}");
    assert_eq!(value(&site.api().get(&site.config_map("a")).await.unwrap()), Some("1"));
    let output = site.run_async(&["apply", "--yes"]).await;
    assert_eq!(output.code, Some(1), "{}{}", output.stdout, output.stderr);
    let output = site.run_async(&["apply", "--yes", "--confirm-prune"]).await;
    assert_eq!(output.code, Some(0), "{}{}", output.stdout, output.stderr);
    assert!(site.api().get(&site.config_map("a")).await.is_err());
}

#[tokio::test]
async fn a_component_waits_for_the_health_of_what_it_depends_on_and_not_for_its_drift() {
    let site = Site::new("waits").await;
    let item = |name: &str, extra: &str| {
        format!("- {{name: {name}, namespace: {}, source: {{folder: {name}}}{extra}}}\n", site.namespace)
    };
    site.platform(&format!("{}{}", item("base", ", drift: warn"), item("hub", ", dependsOn: [base]")));
    site.write("base/a.yaml", &config("a", "1"));
    site.write("hub/b.yaml", &config("b", "1"));
    let daemon = keeping(&site).await;
    until_value(&site, "b", "1").await;
    site.api().merge(&site.config_map("a"), &json!({"data": {"value": "tuned"}})).await.unwrap();
    finding(&daemon, "PR-5005").await;
    site.write("hub/b.yaml", &config("b", "2"));
    until_value(&site, "b", "2").await;
    // What is not there is not healthy; the mode leaves it so.
    site.api().delete(&site.config_map("a")).await.unwrap();
    site.write("hub/b.yaml", &config("b", "3"));
    let found = finding(&daemon, "PR-5010").await;
    assert!(message(&found).contains("hub waits until base is applied and healthy"), "{found}");
    let status = site.run(&["status"]).stdout;
    assert!(status.contains("after base"), "{status}");
    assert_eq!(value(&site.api().get(&site.config_map("b")).await.unwrap()), Some("2"));
}

/// The verdict about the component, and whether the exception of a name is told as unused.
fn accepted(found: &[Value], code: &str, exception: &str) -> (Option<String>, bool) {
    let of_code = found.iter().find(|finding| finding["code"] == code && finding["subject"]["type"] == "component");
    let is_unused = found.iter().any(|finding| {
        finding["code"] == "PR-0002" && message(finding).contains(&format!("{exception} excepts no failure"))
    });
    (of_code.and_then(|finding| finding["verdict"].as_str()).map(str::to_owned), is_unused)
}

#[tokio::test]
async fn an_exception_for_a_component_counts_is_used_while_it_is_needed_and_is_told_when_it_is_not() {
    let site = Site::new("accepted").await;
    site.component("drift: warn");
    site.write("app/a.yaml", &config("a", "1"));
    let exception = |kind: &str, name: &str, code: &str, scope: &str| {
        format!(
            "---\napiVersion: portreeve.dev/v1alpha1\nkind: {kind}\nmetadata: {{name: {name}{scope}}}\nspec:\n  codes: \
             [{code}]\n  subjects: {{kinds: [Component], names: [{}/app]}}\n  owner: team\n  reason: tuned by hand\n  \
             expires: 2099-01-31\n",
            site.name
        )
    };
    let of_namespace = format!(", namespace: {}", site.namespace);
    let file = [
        exception("ClusterException", "tuned", "PR-5005", ""),
        exception("ClusterException", "never", "PR-5008", ""),
        // The component writes into this namespace, and is not of it.
        exception("Exception", "theirs", "PR-5004", &of_namespace),
    ];
    site.write("exceptions.yaml", &file.concat());
    let mut configuration = configuration(&site);
    configuration["exceptions"] = json!([site.folder.join("exceptions.yaml")]);
    let mut daemon = started(&site, &configuration).await;
    until_value(&site, "a", "1").await;
    let both = |found: &[Value]| {
        let unused = |name| accepted(found, "PR-5005", name).1;
        (unused("tuned") && unused("never") && unused("theirs")).then_some(())
    };
    daemon.wait_for("code=PR-0002", "all of them are unused", both).await;

    site.api().merge(&site.config_map("a"), &json!({"data": {"value": "tuned"}})).await.unwrap();
    let is_needed = |found: &[Value]| {
        let needed = accepted(found, "PR-5005", "tuned") == (Some("excepted".to_owned()), false);
        (needed && accepted(found, "PR-5005", "never").1).then_some(())
    };
    daemon.wait_for("", "it is excepted, and one of two is unused", is_needed).await;

    // An exception of the namespace does not reach who keeps the platform.
    let theirs = format!(
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: a, namespace: {}}}\ndata: {{value: operator}}\n",
        site.namespace
    );
    site.api().apply_object(&documents(&theirs)[0], "").await.unwrap();
    let is_failure = |found: &[Value]| {
        let (verdict, is_unused) = accepted(found, "PR-5004", "theirs");
        (verdict.as_deref() == Some("fail") && is_unused && accepted(found, "PR-5005", "tuned").1).then_some(())
    };
    daemon.wait_for("", "it fails, and what is not needed any more is unused", is_failure).await;
    // A start says the same again, and resolved nothing of it meanwhile.
    let never = |found: &[Value]| found.iter().find(|finding| message(finding).contains("never")).cloned();
    let before = never(&daemon.findings("code=PR-0002").await).or_fail("one that was never needed");
    daemon.kill();
    daemon.start().await;
    let said =
        |found: &[Value]| never(found).filter(|now| now["lifecycle"]["lastSeen"] != before["lifecycle"]["lastSeen"]);
    let after = daemon.wait_for("code=PR-0002", "it is said again", said).await;
    assert_eq!(after["lifecycle"]["reopened"], 0, "{after}");
    daemon.wait_for("", "the same", is_failure).await;
}

#[tokio::test]
async fn an_exception_that_only_the_gate_of_a_component_needs_is_used() {
    let site = Site::new("gated").await;
    let item = |name: &str, extra: &str| {
        format!("- {{name: {name}, namespace: {}, source: {{folder: {name}}}{extra}}}\n", site.namespace)
    };
    // It waits for what cannot be read: its Pod is judged, and is not in the cluster.
    site.platform(&format!("{}{}", item("base", ""), item("app", ", dependsOn: [base]")));
    site.write("base/bad.yaml", "kind: [");
    let pod = "apiVersion: v1\nkind: Pod\nmetadata: {name: root}\nspec: {containers: [{name: a, image: 'example.org/a:1', \
        securityContext: {privileged: true}}]}\n";
    site.write("app/pod.yaml", pod);
    let exception = |name: &str| {
        format!(
            "---\napiVersion: portreeve.dev/v1alpha1\nkind: Exception\nmetadata: {{name: {name}, namespace: {}}}\nspec: \
             {{codes: [C-0057], subjects: {{names: [{name}]}}, owner: team, reason: r, expires: 2099-01-31}}\n",
            site.namespace
        )
    };
    site.write("exceptions.yaml", &(exception("root") + &exception("never")));
    let mut configuration = configuration(&site);
    configuration["exceptions"] = json!([site.folder.join("exceptions.yaml")]);
    let daemon = started(&site, &configuration).await;
    let is_unused = |found: &[Value], name: &str| {
        found.iter().any(|finding| message(finding).contains(&format!("{name} excepts no failure")))
    };
    let audited = |found: &[Value]| is_unused(found, "never").then(|| found.to_vec());
    let found = daemon.wait_for("code=PR-0002", "an audit", audited).await;
    assert!(!is_unused(&found, "root"), "{found:#?}");
}

#[tokio::test]
async fn exceptions_about_a_platform_are_not_unused_where_none_is_kept() {
    let site = Site::new("unkept").await;
    let text = |codes: &str| {
        format!(
            "---\napiVersion: portreeve.dev/v1alpha1\nkind: ClusterException\nmetadata: {{name: e-{}}}\nspec: {{codes: \
             {codes}, owner: team, reason: r, expires: 2099-01-31}}\n",
            codes.trim_matches(['[', ']']).to_lowercase()
        )
    };
    site.write("exceptions.yaml", &(text("[PR-5005]") + &text("[PR-3008]") + &text("[C-0057]")));
    let mut configuration = configuration(&site);
    configuration["exceptions"] = json!([site.folder.join("exceptions.yaml")]);
    configuration.as_object_mut().unwrap().remove("platform");
    let daemon = started(&site, &configuration).await;
    let found = daemon.wait_for("code=PR-0002", "an audit", |found| found.first().map(|_| found.to_vec())).await;
    assert!(found.len() == 1 && message(&found[0]).contains("e-c-0057"), "{found:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_component_is_counted_as_healthy_that_was_not_looked_at() {
    let site = Site::new("counted").await;
    let proxy = ApiProxy::start(site.plane).await;
    site.write("app/a.yaml", &config("a", "1"));
    let mut configuration = configuration(&site);
    configuration["cluster"]["kubeconfig"] = json!(proxy.kubeconfig());
    let daemon = started(&site, &configuration).await;
    let counted = async |healthy: f64, invalid: f64| {
        daemon.wait_for_metric("portreeve_platform_components{state=healthy}", healthy).await;
        daemon.wait_for_metric("portreeve_platform_components{state=invalid}", invalid).await;
    };
    counted(1.0, 0.0).await;
    site.component("sourcce: typo");
    counted(0.0, 1.0).await;
    site.component("");
    counted(1.0, 0.0).await;
    site.remove("platform.yaml");
    counted(0.0, 1.0).await;
    site.component("");
    counted(1.0, 0.0).await;
    // While the API server is away the lease is lost, too, and then nobody knows anything.
    proxy.fault(Match::path("/"), Fault::Drop, None);
    proxy.cut();
    daemon.wait_for_metric("portreeve_leader", 0.0).await;
    daemon.wait_for_metric("portreeve_platform_components", 0.0).await;
    proxy.heal();
    counted(1.0, 0.0).await;
}

/// How long a daemon may take to hear that the API server answers again, and to try what it did not answer: less than the
/// pause after a failure.
const AGAIN: std::time::Duration = std::time::Duration::from_secs(40);

#[tokio::test(flavor = "multi_thread")]
async fn what_an_api_server_did_not_answer_is_tried_soon_after_it_answers_again() {
    let site = Site::new("returned").await;
    let proxy = ApiProxy::start(site.plane).await;
    site.write("app/a.yaml", &config("a", "1"));
    let mut configuration = configuration(&site);
    configuration["cluster"]["kubeconfig"] = json!(proxy.kubeconfig());
    configuration["platform"]["interval"] = json!("2m");
    proxy.fault(Match::path(&format!("/namespaces/{}/configmaps", site.namespace)), Fault::Drop, None);
    let daemon = started(&site, &configuration).await;
    assert!(message(&finding(&daemon, "PR-5003").await).contains("could not be asked"));
    proxy.fault(Match::path("/"), Fault::Drop, None);
    proxy.cut();
    daemon.wait_for_metric("portreeve_leader", 0.0).await;
    proxy.heal();
    let is_there = || async { site.api().get(&site.config_map("a")).await.ok() };
    let came = portreeve_tests::process::until(AGAIN, is_there).await;
    assert!(came.is_some(), "{}", daemon.log());
    resolved(&daemon, "PR-5003").await;
}
