//! Made, changed, corrected, rotated; and nothing of it said anywhere.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use portreeve_tests::binary::Portreeve;
use portreeve_tests::daemon::Daemon;
use serde_json::json;

use crate::site::{CANARY, Site, finding, resolved, synced};

/// How often the daemon has looked: the time of its last success moves with each look.
async fn looked_again(daemon: &Daemon) {
    let last = daemon.metric("portreeve_secrets_last_success").await;
    let moved = || async { (daemon.metric("portreeve_secrets_last_success").await > last).then_some(()) };
    for _ in 0..2 {
        portreeve_tests::process::until(portreeve_tests::process::START, moved).await.expect("another look");
    }
}

#[tokio::test]
async fn a_secret_is_made_follows_its_file_and_a_rotation_writes_nothing() {
    let site = Site::new("follow").await;
    site.map("hub.yaml", &format!("password: {CANARY}\nuser: hub\n"));
    site.manifest("web.yaml", "web", "type: kubernetes.io/basic-auth\nstringData: {username: u, password: p}\n");
    let daemon = site.keeping(json!([site.item("hub.yaml", "hub"), {"file": site.file("web.yaml")}])).await;
    site.until_data("hub", json!({"password": CANARY, "user": "hub"})).await;
    site.until_data("web", json!({"username": "u", "password": "p"})).await;
    synced(&daemon, 2.0).await;
    let live = site.api().get(&site.path("web")).await.unwrap();
    assert_eq!((&live["type"], &live["metadata"]["labels"]["team"]), (&json!("kubernetes.io/basic-auth"), &json!("a")));
    assert_eq!(live["metadata"]["managedFields"][0]["manager"], "portreeve");
    let content = |live: &serde_json::Value| live["metadata"]["annotations"]["portreeve.dev/content"].clone();
    assert_eq!(content(&live).as_str().map(str::len), Some(64));
    assert_eq!(site.proxy.writes().len(), 2, "one write a Secret: {:?}", site.proxy.writes());

    let before = site.api().get(&site.path("hub")).await.unwrap();
    let mut rotate = Portreeve::command();
    rotate.args(["secrets", "rotate"]).arg(site.file("hub.yaml")).env("SOPS_AGE_KEY_FILE", &site.key.file);
    assert_eq!(Portreeve::finish(&mut rotate).code, Some(0));
    looked_again(&daemon).await;
    assert_eq!(site.proxy.writes().len(), 2, "the same content under another key is no write");
    assert_eq!(site.api().get(&site.path("hub")).await.unwrap(), before);

    site.map("hub.yaml", "password: second\n");
    site.until_data("hub", json!({"password": "second"})).await;
    looked_again(&daemon).await;
    assert_eq!(site.proxy.writes().len(), 3, "a changed value is one write: {:?}", site.proxy.writes());
    assert_eq!(daemon.metric("portreeve_secrets_writes_total").await, 3.0);
    assert_eq!(daemon.metric("portreeve_secrets_drift_total").await, 0.0);
}

#[tokio::test]
async fn drift_is_corrected_and_said_and_no_plaintext_is_anywhere() {
    let site = Site::new("drift").await;
    site.map("hub.yaml", &format!("password: {CANARY}\n"));
    let mut daemon = site.keeping(json!([site.item("hub.yaml", "hub")])).await;
    let wanted = json!({"password": CANARY});
    site.until_data("hub", wanted.clone()).await;
    site.change("hub", json!({"password": "canary-by-hand", "more": "canary-more"})).await;
    site.until_data("hub", wanted.clone()).await;
    let said = daemon.wait_for("code=PR-3008&state=all", "drift", |found| found.first().cloned()).await;
    let message = said["message"].as_str().unwrap();
    assert!(message.contains("data.password, data.more differ"), "{said}");
    resolved(&daemon, "PR-3008").await;
    site.api().delete(&site.path("hub")).await.unwrap();
    site.until_data("hub", wanted).await;
    daemon.wait_for_metric("portreeve_secrets_drift_total", 2.0).await;
    synced(&daemon, 1.0).await;
    // Everything that the daemon says or keeps.
    let mut said = vec![daemon.log(), daemon.process().stdout()];
    for path in ["/", "/api/v1/findings?limit=500&state=all", "/api/v1/summary"] {
        said.extend(daemon.page(path).await.map(|(_, text)| text));
    }
    said.extend(daemon.health("/metrics").await.map(|(_, text)| text));
    for entry in std::fs::read_dir(daemon.folder()).unwrap() {
        let bytes = std::fs::read(entry.unwrap().path()).unwrap_or_default();
        said.push(String::from_utf8_lossy(&bytes).into_owned());
    }
    assert!(said.len() >= 6, "{}", said.len());
    for text in &said {
        for canary in [CANARY, "canary-by-hand", "canary-more"] {
            assert!(!text.contains(canary) && !text.contains(&STANDARD.encode(canary)), "{canary} in {text}");
        }
    }
    assert!(daemon.log().contains("/Secret/hub"), "log lines name the object");
}

#[tokio::test]
async fn detect_only_says_and_never_writes() {
    let site = Site::new("detect").await;
    site.map("hub.yaml", "password: one\n");
    let mut item = site.item("hub.yaml", "hub");
    item["mode"] = json!("detect");
    let daemon = site.keeping(json!([item])).await;
    assert!(finding(&daemon, "PR-3008").await.contains("it is not there"));
    let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "hub", "namespace": site.namespace},
        "stringData": {"password": "one"}});
    site.api().create(&secret).await.unwrap();
    resolved(&daemon, "PR-3008").await;
    site.change("hub", json!({"password": "two"})).await;
    assert!(finding(&daemon, "PR-3008").await.contains("data.password differ"));
    daemon.wait_for_metric("portreeve_secrets_synced{state=drifted}", 1.0).await;
    assert_eq!(site.data("hub").await, Some(json!({"password": "two"})));
    assert_eq!(site.proxy.writes(), []);
}

#[tokio::test]
async fn corrections_that_do_not_last_stop_until_the_file_changes() {
    let site = Site::new("fight").await;
    site.map("hub.yaml", "password: one\n");
    let daemon = site.keeping(json!([site.item("hub.yaml", "hub")])).await;
    site.until_data("hub", json!({"password": "one"})).await;
    for round in 0..4 {
        site.change("hub", json!({"password": format!("fight {round}")})).await;
        if round < 3 {
            site.until_data("hub", json!({"password": "one"})).await;
        }
    }
    assert!(finding(&daemon, "PR-3012").await.contains("changes as often as it is corrected"));
    assert_eq!(site.data("hub").await, Some(json!({"password": "fight 3"})));
    site.map("hub.yaml", "password: two\n");
    site.until_data("hub", json!({"password": "two"})).await;
    resolved(&daemon, "PR-3012").await;
    resolved(&daemon, "PR-3008").await;
}

#[tokio::test]
async fn an_exception_for_a_declared_file_counts_and_is_told_when_nothing_needs_it() {
    let site = Site::new("accepted").await;
    site.map("hub.yaml", "password: one\n");
    let exception = |name: &str, code: &str| {
        format!(
            "---\napiVersion: portreeve.dev/v1alpha1\nkind: ClusterException\nmetadata: {{name: {name}}}\nspec: {{codes: [{code}], \
             subjects: {{kinds: [File]}}, owner: team, reason: it is made by hand, expires: 2099-01-31}}\n"
        )
    };
    std::fs::write(site.file("exceptions.yaml"), exception("by-hand", "PR-3008") + &exception("never", "PR-3009"))
        .unwrap();
    let mut item = site.item("hub.yaml", "hub");
    item["mode"] = json!("detect");
    let mut config = site.config(json!([item]), json!({}));
    config["exceptions"] = json!([site.file("exceptions.yaml")]);
    let mut daemon = Daemon::configured(&config, &[]);
    daemon.start().await;
    let is_unused = |found: &[serde_json::Value], name: &str| {
        let says = |it: &&serde_json::Value| it["message"].as_str().is_some_and(|message| message.contains(name));
        found.iter().filter(|it| it["code"] == "PR-0002").any(|it| says(&it))
    };
    let is_accepted = |found: &[serde_json::Value]| {
        let missing = found.iter().find(|it| it["code"] == "PR-3008")?;
        let is_so = missing["verdict"] == "excepted" && is_unused(found, "never") && !is_unused(found, "by-hand");
        is_so.then_some(())
    };
    daemon.wait_for("", "one is needed and one is not", is_accepted).await;
    let data = json!({"password": STANDARD.encode("one")});
    let secret = json!({"apiVersion": "v1", "kind": "Secret", "type": "Opaque", "data": data,
        "metadata": {"name": "hub", "namespace": site.namespace}});
    site.api().create(&secret).await.unwrap();
    daemon.wait_for("", "none is needed", |found| is_unused(found, "by-hand").then_some(())).await;
    resolved(&daemon, "PR-3008").await;
}
