//! What must change nothing: files that are not whole or not ours, Secrets of others, an API server that says no.

use portreeve_tests::OrFail as _;
use portreeve_tests::age::AgeKey;
use portreeve_tests::api_proxy::{Fault, Match};
use portreeve_tests::binary::Portreeve;
use portreeve_tests::daemon::Daemon;
use portreeve_tests::process::{START, until};
use serde_json::{Value, json};

use crate::site::{Site, finding, resolved, synced};

/// Flips one character of the first encrypted value.
fn flip(text: &str) -> String {
    let at = text.find("ENC[AES256_GCM,data:").expect("a value") + "ENC[AES256_GCM,data:".len();
    let other = if text.as_bytes()[at] == b'A' { "B" } else { "A" };
    format!("{}{other}{}", &text[..at], &text[at + 1..])
}

#[tokio::test]
async fn a_file_that_cannot_be_used_changes_nothing_until_it_is_mended() {
    let site = Site::new("files").await;
    let file = site.file("hub.yaml");
    site.map("hub.yaml", "password: one\nuser: hub\n");
    let daemon = site.keeping(json!([site.item("hub.yaml", "hub")])).await;
    let one = json!({"password": "one", "user": "hub"});
    site.until_data("hub", one.clone()).await;
    let good = std::fs::read_to_string(&file).unwrap();
    site.proxy.forget();
    // A value that was changed without the key.
    std::fs::write(&file, flip(&good)).unwrap();
    finding(&daemon, "PR-3001").await;
    // A key that is gone.
    let without_user: String =
        good.lines().filter(|line| !line.starts_with("user:")).map(|line| format!("{line}\n")).collect();
    std::fs::write(&file, without_user).unwrap();
    finding(&daemon, "PR-3001").await;
    daemon.wait_for_metric("portreeve_secrets_synced{state=invalid}", 1.0).await;
    std::fs::write(&file, &good).unwrap();
    resolved(&daemon, "PR-3001").await;
    // A key that is not at hand.
    AgeKey::new().encrypt("password: two\n", &file, &[]);
    finding(&daemon, "PR-3002").await;
    std::fs::write(&file, &good).unwrap();
    resolved(&daemon, "PR-3002").await;
    // No file, and one that is not encrypted.
    std::fs::remove_file(&file).unwrap();
    finding(&daemon, "PR-3006").await;
    std::fs::write(&file, "password: plain\n").unwrap();
    assert!(finding(&daemon, "PR-3006").await.contains("hub.yaml"));
    std::fs::write(&file, &good).unwrap();
    resolved(&daemon, "PR-3006").await;
    // A manifest for another Secret.
    site.manifest("hub.yaml", "other", "stringData: {password: two}\n");
    assert!(finding(&daemon, "PR-3007").await.contains("the configuration says"));
    std::fs::write(&file, &good).unwrap();
    resolved(&daemon, "PR-3007").await;
    assert_eq!((site.data("hub").await, site.data("other").await), (Some(one), None));
    assert_eq!(site.proxy.writes(), [], "nothing was written");
}

#[tokio::test]
async fn what_no_mac_covers_is_not_written_and_a_pipe_stops_no_other_secret() {
    let site = Site::new("open").await;
    std::fs::write(site.file("open.yaml"), "user: clear\ndata_pass: one\n").unwrap();
    let mut encrypt = Portreeve::command();
    encrypt.args([
        "secrets",
        "encrypt",
        "--age",
        &site.key.recipient,
        "--mac-only-encrypted",
        "--encrypted-regex",
        "pass",
    ]);
    Portreeve::finish(encrypt.arg("--in-place").arg(site.file("open.yaml"))).expect_exit(0);
    let tampered = std::fs::read_to_string(site.file("open.yaml")).unwrap().replace("user: clear", "user: mallory");
    std::fs::write(site.file("open.yaml"), tampered).unwrap();
    portreeve_tests::process::run(std::process::Command::new("mkfifo").arg(site.file("pipe.yaml")));
    site.map("whole.yaml", "password: one\n");
    let items =
        json!([site.item("pipe.yaml", "pipe"), site.item("open.yaml", "open"), site.item("whole.yaml", "whole")]);
    // A pipe that is there at the start is refused by the configuration already.
    std::fs::rename(site.file("pipe.yaml"), site.file("a-pipe")).unwrap();
    site.map("pipe.yaml", "password: one\n");
    let daemon = site.keeping(items).await;
    site.until_data("whole", json!({"password": "one"})).await;
    assert!(finding(&daemon, "PR-3007").await.contains("mac_only_encrypted leaves clear values"));
    std::fs::rename(site.file("a-pipe"), site.file("pipe.yaml")).unwrap();
    assert!(finding(&daemon, "PR-3006").await.contains("not a regular file"));
    site.map("whole.yaml", "password: two\n");
    site.until_data("whole", json!({"password": "two"})).await;
    assert_eq!(site.data("open").await, None);
}

fn secret(site: &Site, name: &str, extra: &Value) -> Value {
    let mut secret = json!({"apiVersion": "v1", "kind": "Secret",
        "metadata": {"name": name, "namespace": site.namespace}, "stringData": {"password": "theirs"}});
    extra.as_object().or_fail("a map").iter().for_each(|(key, value)| secret[key] = value.clone());
    secret
}

#[tokio::test]
async fn secrets_of_others_and_what_cannot_be_changed_are_left_alone_and_equal_ones_are_taken_over() {
    let site = Site::new("others").await;
    for name in ["foreign", "equal", "fixed", "typed"] {
        site.map(&format!("{name}.yaml"), "password: ours\n");
    }
    site.api().create(&secret(&site, "foreign", &json!({}))).await.unwrap();
    site.api().create(&secret(&site, "equal", &json!({"stringData": {"password": "ours"}}))).await.unwrap();
    let items = ["foreign", "equal", "fixed", "typed"].map(|name| site.item(&format!("{name}.yaml"), name));
    let daemon = site.keeping(json!(items)).await;
    assert!(finding(&daemon, "PR-3009").await.contains("/Secret/foreign"));
    daemon.wait_for_metric("portreeve_secrets_synced{state=synced}", 3.0).await;
    daemon.wait_for_metric("portreeve_secrets_synced{state=blocked}", 1.0).await;
    assert_eq!(site.data("foreign").await, Some(json!({"password": "theirs"})));
    let equal = site.api().get(&site.path("equal")).await.unwrap();
    assert!(equal["metadata"]["annotations"]["portreeve.dev/content"].is_string(), "it is taken over");
    // Somebody makes ours immutable; then the file changes.
    site.api().merge(&site.path("fixed"), &json!({"immutable": true})).await.unwrap();
    site.map("fixed.yaml", "password: new\n");
    assert!(finding(&daemon, "PR-3010").await.contains("immutable"));
    assert_eq!(site.data("fixed").await, Some(json!({"password": "ours"})));
    site.api().delete(&site.path("fixed")).await.unwrap();
    site.until_data("fixed", json!({"password": "new"})).await;
    resolved(&daemon, "PR-3010").await;
    // The file becomes one of another type.
    site.manifest("typed.yaml", "typed", "type: kubernetes.io/basic-auth\nstringData: {username: u, password: ours}\n");
    assert!(finding(&daemon, "PR-3010").await.contains("type"));
    site.map("typed.yaml", "password: ours\n");
    resolved(&daemon, "PR-3010").await;
    site.api().delete(&site.path("foreign")).await.unwrap();
    site.until_data("foreign", json!({"password": "ours"})).await;
    resolved(&daemon, "PR-3009").await;
}

#[tokio::test]
async fn an_api_server_that_says_no_is_a_finding_and_stops_no_other_secret() {
    let site = Site::new("refuse").await;
    let absent = format!("{}-absent", site.namespace);
    site.map("a.yaml", "password: a\n");
    site.map("b.yaml", "password: b\n");
    site.map("c.yaml", "password: c\n");
    site.map("d.yaml", "password: d\n");
    let mut nowhere = site.item("c.yaml", "c");
    nowhere["namespace"] = json!(absent);
    site.proxy.fault(Match::path("/secrets/a").method("GET"), Fault::Answer(403), Some(2));
    site.proxy.fault(Match::path("/secrets/b").method("PATCH"), Fault::Answer(409), Some(2));
    let items = json!([site.item("a.yaml", "a"), site.item("b.yaml", "b"), nowhere, site.item("d.yaml", "d")]);
    let daemon = site.keeping(items).await;
    site.until_data("d", json!({"password": "d"})).await;
    for text in ["answers 403", "answers 409", "-absent\\\" not found"] {
        let told = |found: &[Value]| found.iter().any(|one| one["message"].to_string().contains(text)).then_some(());
        daemon.wait_for("code=PR-3011&state=all", text, told).await;
    }
    site.until_data("a", json!({"password": "a"})).await;
    site.until_data("b", json!({"password": "b"})).await;
    site.plane.create_namespace(&absent).await;
    resolved(&daemon, "PR-3011").await;
    let made = site.api().get(&format!("/api/v1/namespaces/{absent}/secrets/c")).await;
    assert!(made.is_ok(), "{made:?}");
}

#[tokio::test]
async fn a_target_that_cannot_be_written_delays_no_other_of_its_file() {
    let site = Site::new("beside").await;
    site.map("hub.yaml", "password: one\n");
    let mut nowhere = site.item("hub.yaml", "x");
    nowhere["namespace"] = json!(format!("{}-absent", site.namespace));
    site.proxy.count(Match::path("/secrets/x").method("GET"));
    let daemon = site.keeping(json!([site.item("hub.yaml", "same"), nowhere])).await;
    let one = json!({"password": "one"});
    site.until_data("same", one.clone()).await;
    assert!(finding(&daemon, "PR-3011").await.contains("/Secret/x"));
    // By now there are some seconds between two tries, and the last was a moment ago.
    let tried = || async { Some(site.proxy.counted()).filter(|tries| *tries >= 4) };
    let tries = until(START, tried).await.or_fail("it is tried again and again");
    site.change("same", json!({"password": "by hand"})).await;
    site.until_data("same", one).await;
    assert_eq!(site.proxy.counted(), tries, "the other is put right without a look at the one that cannot be");
    let said = daemon.wait_for("code=PR-3008&state=all", "drift", |found| {
        found.iter().find(|one| one["message"].to_string().contains("/Secret/same")).cloned()
    });
    assert!(said.await["message"].to_string().contains("data.password differ"));
    stays_open(&daemon).await;
}

#[tokio::test]
async fn targets_that_are_not_answered_hold_up_the_others_once_and_briefly() {
    let site = Site::new("hang").await;
    site.map("hub.yaml", "password: one\n");
    let silent = ["silent-a", "silent-b", "silent-c"];
    silent.iter().for_each(|name| site.proxy.fault(Match::path(&site.path(name)), Fault::Hang, None));
    let items = silent.iter().chain(&["same"]).map(|name| site.item("hub.yaml", name));
    let daemon = site.keeping(json!(items.collect::<Vec<_>>())).await;
    site.until_data("same", json!({"password": "one"})).await;
    let told = |found: &[Value]| {
        let is_told =
            |name: &str| found.iter().any(|one| one["message"].to_string().contains(&format!("/Secret/{name}")));
        (found.len() == silent.len() && silent.iter().all(|name| is_told(name))).then(|| found.to_vec())
    };
    let found = daemon.wait_for("code=PR-3011", "each that is not answered", told).await;
    assert!(found.iter().all(|one| one["message"].to_string().contains("no answer within 3 s")), "{found:#?}");
    site.proxy.heal();
    site.until_data("silent-c", json!({"password": "one"})).await;
}

/// Less than what a target may take to answer.
const MEANWHILE: std::time::Duration = std::time::Duration::from_millis(2_500);

#[tokio::test]
async fn nobody_waits_for_a_target_that_is_not_answered() {
    let site = Site::new("silent").await;
    ["a.yaml", "b.yaml"].iter().for_each(|file| site.map(file, "password: one\n"));
    let silent = || Match::path(&site.path("silent"));
    site.proxy.fault(silent(), Fault::Hang, None);
    site.proxy.count(silent().method("GET"));
    let items =
        [("a.yaml", "silent"), ("a.yaml", "beside"), ("b.yaml", "later")].map(|(file, name)| site.item(file, name));
    let daemon = site.keeping(json!(items)).await;
    let asked = |times: usize| {
        let site = &site;
        async move { until(START, || async { (site.proxy.counted() >= times).then_some(()) }).await.or_fail("a question") }
    };
    let are_both = |value: &'static str| {
        let site = &site;
        async move {
            let wanted = Some(json!({"password": value}));
            (site.data("beside").await == wanted && site.data("later").await == wanted).then_some(())
        }
    };
    asked(1).await;
    assert!(until(MEANWHILE, || are_both("one")).await.is_some(), "those beside it and in later files are written");
    assert!(finding(&daemon, "PR-3011").await.contains("/Secret/silent: no answer within 3 s"));
    // Nor when it is asked again.
    let again = site.proxy.counted() + 1;
    asked(again).await;
    site.change("beside", json!({"password": "by hand"})).await;
    site.change("later", json!({"password": "by hand"})).await;
    assert!(until(MEANWHILE, || are_both("one")).await.is_some(), "they are put right meanwhile");
    stays_open(&daemon).await;
    site.proxy.heal();
    site.until_data("silent", json!({"password": "one"})).await;
    resolved(&daemon, "PR-3011").await;
}

#[tokio::test]
async fn a_deletion_that_cannot_be_put_right_is_one_drift_and_one_finding_until_it_is() {
    let site = Site::new("held").await;
    site.map("man.yaml", "password: one\n");
    let daemon = site.keeping(json!([site.item("man.yaml", "man"), site.item("man.yaml", "other")])).await;
    let one = json!({"password": "one"});
    site.until_data("man", one.clone()).await;
    site.until_data("other", one.clone()).await;
    synced(&daemon, 2.0).await;
    site.proxy.fault(Match::path("/secrets/man").method("PATCH"), Fault::Answer(403), None);
    site.proxy.count(Match::path("/secrets/man").method("PATCH"));
    site.api().delete(&site.path("man")).await.unwrap();
    finding(&daemon, "PR-3011").await;
    // Drift of the other Secret of the file is said meanwhile, and says nothing of this one.
    site.change("other", json!({"password": "by hand"})).await;
    site.until_data("other", one.clone()).await;
    let tried = || async { (site.proxy.counted() >= 4).then_some(()) };
    until(START, tried).await.or_fail("it is tried again and again");
    stays_open(&daemon).await;
    assert!(finding(&daemon, "PR-3008").await.contains("it is not there"));
    assert_eq!(daemon.metric("portreeve_secrets_drift_total").await, 2.0, "the deletion, and the change of the other");
    assert_eq!(daemon.log().matches("was changed in the cluster").count(), 2);
    site.proxy.heal();
    site.until_data("man", one).await;
    resolved(&daemon, "PR-3011").await;
    resolved(&daemon, "PR-3008").await;
}

/// What cannot be written is open, and was all the time.
async fn stays_open(daemon: &Daemon) {
    let found = daemon.findings("code=PR-3011").await;
    assert_eq!(found.len(), 1, "{found:#?}");
    assert_eq!(found[0]["lifecycle"]["reopened"], 0, "{found:#?}");
}
