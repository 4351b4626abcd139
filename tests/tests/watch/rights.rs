//! What the daemon may read, and what it says of what it may not.

use portreeve_tests::api_proxy::{ApiProxy, Fault, Match};
use portreeve_tests::chart::{NAMESPACE, of_kind};
use portreeve_tests::daemon::{Daemon, summaries};
use portreeve_tests::desk::Desk;
use portreeve_tests::process::START;
use serde_json::{Value, json};

use crate::site::{Site, configured, one, pod};

#[tokio::test]
async fn the_rights_of_the_chart_are_all_that_the_daemon_needs() {
    let site = Site::shared().await;
    let mut hidden = site.daemon.findings("code=PR-0006&state=all").await;
    // Secrets are not read unless the configuration says so.
    hidden.retain(|finding| finding["subject"]["kind"] != "Secret" || finding["cause"] != "not-visible");
    assert!(hidden.is_empty(), "{}", summaries(&hidden).join("\n"));
    let log = site.daemon.log();
    assert!(!log.contains("cannot be read") && !log.contains("was refused"), "{log}");
    assert_eq!(site.daemon.metric("portreeve_watch_restarts_total").await, 0.0, "{log}");
}

#[tokio::test]
async fn a_kind_that_may_not_be_read_is_unknown_until_it_may_and_the_others_are_judged() {
    let site = Site::shared().await;
    let mut role = of_kind(&site.objects, "ClusterRole").clone();
    role["metadata"]["name"] = "restricted".into();
    let batch = role["rules"].as_array_mut().unwrap().extract_if(.., |rule| rule["apiGroups"] == json!(["batch"]));
    let batch: Vec<Value> = batch.collect();
    assert_eq!(batch.len(), 1, "jobs and cron jobs");
    let mut binding = of_kind(&site.objects, "ClusterRoleBinding").clone();
    binding["metadata"]["name"] = "restricted".into();
    binding["roleRef"]["name"] = "restricted".into();
    binding["subjects"] = json!([{"kind": "ServiceAccount", "name": "restricted", "namespace": NAMESPACE}]);
    let account = json!({"apiVersion": "v1", "kind": "ServiceAccount",
        "metadata": {"name": "restricted", "namespace": NAMESPACE}});
    for object in [&account, &role, &binding] {
        site.plane.api().create(object).await.unwrap();
    }
    let namespace = site.plane.namespace("restricted").await;
    site.plane.api().create(&pod(&namespace, "seen", "example.org/app:1")).await.unwrap();
    let mut daemon = configured(site.plane, &site.objects, "restricted").await;
    daemon.start().await;
    let both = |found: &[Value]| {
        let forbidden: Vec<_> =
            found.iter().filter(|finding| finding["subject"]["kind"] != "Secret").cloned().collect();
        let mut kinds: Vec<_> = forbidden.iter().map(|finding| finding["subject"]["kind"].to_string()).collect();
        kinds.sort();
        (kinds == [r#""CronJob""#, r#""Job""#]).then_some(forbidden)
    };
    for finding in daemon.wait_for("code=PR-0006", "the two hidden kinds", both).await {
        assert_eq!((&finding["verdict"], &finding["cause"]), (&json!("unknown"), &json!("forbidden")), "{finding}");
    }
    let query = format!("code=C-0057&namespace={namespace}");
    daemon.wait_for(&query, "the Pod", |found| one(found, "seen").cloned()).await;
    let cron_job = json!({"apiVersion": "batch/v1", "kind": "CronJob",
        "metadata": {"name": "unseen", "namespace": namespace},
        "spec": {"schedule": "0 0 1 1 *", "jobTemplate": {"spec": {"template": {
            "spec": {"restartPolicy": "Never", "containers": [crate::site::container("example.org/app:1")]}}}}}});
    site.plane.api().create(&cron_job).await.unwrap();
    role["rules"].as_array_mut().unwrap().extend(batch);
    site.plane.api().apply_object(&role, "").await.unwrap();
    let none = |found: &[Value]| found.iter().all(|finding| finding["subject"]["kind"] == "Secret").then_some(());
    daemon.wait_for("code=PR-0006", "the granted rights are noticed", none).await;
    daemon.wait_for(&query, "the CronJob", |found| one(found, "unseen").cloned()).await;
}

/// Exceptions that nothing needs: of a credential, of an encrypted file, and of an object.
fn unneeded() -> String {
    let exception = |(name, code, kind): (&str, &str, &str)| {
        format!(
            "apiVersion: portreeve.dev/v1alpha1\nkind: ClusterException\nmetadata: {{name: {name}}}\nspec: {{codes: [{code}], \
             subjects: {{kinds: [{kind}], names: [none]}}, owner: o, reason: r, expires: 2999-01-31}}\n"
        )
    };
    let all =
        [("of-credential", "PR-4001", "Credential"), ("of-file", "PR-3001", "File"), ("of-object", "C-0057", "Pod")];
    all.map(exception).join("---\n")
}

/// The names of those that are told as unused.
fn told_as_unused(findings: &[Value]) -> Vec<&'static str> {
    let unused: Vec<_> =
        findings.iter().filter(|it| it["code"] == "PR-0002" && it["verdict"] == "fail").map(Value::to_string).collect();
    let is_told = |name: &&str| unused.iter().any(|finding| finding.contains(name));
    ["of-credential", "of-file", "of-object"].into_iter().filter(is_told).collect()
}

#[tokio::test]
async fn an_exception_for_what_could_not_be_read_is_not_told_as_unused() {
    let site = Site::shared().await;
    let proxy = ApiProxy::start(site.plane).await;
    let config = json!({"cluster": {"kubeconfig": proxy.kubeconfig()}, "secrets": {"clusterRead": "full"},
        "exceptions": ["exceptions.yaml"]});
    let desk = Desk::new();
    desk.file("portreeve.yaml", config.to_string());
    desk.file("exceptions.yaml", unneeded());
    let check = async || {
        let report = desk.run_measured(&["check", "--format", "json", "cluster"], START).await.output.json();
        told_as_unused(report["findings"].as_array().unwrap())
    };
    assert_eq!(check().await, ["of-credential", "of-object"], "an API server has no encrypted files");
    proxy.fault(Match::path("/api/v1/secrets"), Fault::Answer(403), None);
    assert_eq!(check().await, ["of-object"]);
    proxy.heal();
    proxy.fault(Match::path("/api/v1/configmaps"), Fault::Answer(403), None);
    assert_eq!(check().await, ["of-object"]);

    let mut daemon = Daemon::configured(&config, &[("exceptions.yaml".to_owned(), unneeded())]);
    daemon.start().await;
    let audited = |found: &[Value]| Some(told_as_unused(found)).filter(|told| !told.is_empty());
    assert_eq!(daemon.wait_for("code=PR-0002", "an audit", audited).await, ["of-object"]);
}
