//! One walk of a folder behind two doors: `check` and the daemon that watches it find the same.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use portreeve_tests::age::AgeKey;
use portreeve_tests::binary::Portreeve;
use portreeve_tests::folder_cluster::{FolderCluster, PATIENCE, is_about, pod, review_of};
use portreeve_tests::process::{run, until};
use portreeve_tests::{OrFail, fail};
use serde_json::{Value, json};

/// Scans of all objects since the start of a daemon.
const SCANS: &str = "portreeve_scans_total{scanner=\"posture\",result=\"success\"}";

/// `CODE verdict subject path fingerprint`.
fn identity(finding: &Value) -> String {
    let word = |value: &Value| value.as_str().unwrap_or("-").to_owned();
    let (subject, place) = (&finding["subject"], &finding["locations"][0]["objectPath"]);
    let name = if subject["type"] == "file" { word(&subject["file"]) } else { word(&subject["name"]) };
    let [code, verdict, fingerprint] = ["code", "verdict", "fingerprint"].map(|key| word(&finding[key]));
    format!("{code} {verdict} {name} {} {fingerprint}", word(place))
}

fn identities(findings: &[Value]) -> BTreeSet<String> {
    findings.iter().map(identity).collect()
}

#[tokio::test]
async fn hidden_files_links_and_loops_are_the_same_to_check_and_to_the_watch() {
    let cluster = FolderCluster::new("");
    let container = json!({"name": "app", "image": "quay.io/a/b:1", "securityContext": {"privileged": true}});
    let manifest = |name: &str| pod("dev", name, container.clone()).to_string();
    let outside = cluster.root().join("outside");
    fs::create_dir(&outside).or_fail("a folder");
    fs::write(outside.join("out.yaml"), manifest("out")).or_fail("a manifest");
    cluster.write("plain.yaml", &manifest("plain"));
    cluster.write(".hidden.yaml", &manifest("hidden"));
    cluster.write("broken.yaml", "kind: [");
    let link = |target: &str, name: &str| symlink(target, cluster.manifests().join(name)).or_fail("a link");
    link("plain.yaml", "inside.yaml");
    link("../outside/out.yaml", "outside.yaml");
    link("../outside", "outside");
    link("loop.yaml", "loop.yaml");
    link(".", "again");
    run(std::process::Command::new("mkfifo").arg(cluster.manifests().join("pipe.yaml")));

    let checked = checked(&cluster, 10);
    let about = |name: &str| checked.iter().filter(|finding| finding.split(' ').nth(2) == Some(name)).count();
    let below = |name: &str| cluster.manifests().join(name).display().to_string();
    for name in ["outside.yaml", "outside", "loop.yaml", "pipe.yaml", "broken.yaml"] {
        assert_eq!(about(&below(name)), 1, "{name}: {checked:#?}");
    }
    assert!(about("plain") > 5 && about("plain") == about("hidden"), "{checked:#?}");
    assert_eq!((about("out"), about(&below("inside.yaml")), about(&below("again"))), (0, 0, 0), "{checked:#?}");

    let _daemon = cluster.serve().await;
    watched_is(&cluster, &checked).await;
}

/// What `check` finds in the folder. The configuration names the folder by its whole path.
fn checked(cluster: &FolderCluster, exit: i32) -> BTreeSet<String> {
    let mut check = Portreeve::command();
    check.args(["check", "--format", "json"]).arg(cluster.manifests()).current_dir(cluster.root());
    let report = Portreeve::finish(&mut check).expect_exit(exit).json();
    identities(report["findings"].as_array().or_fail("findings"))
}

/// Waits until what is open is what `check` found.
async fn watched_is(cluster: &FolderCluster, checked: &BTreeSet<String>) {
    let is_so = |open: &[Value]| identities(open) == *checked;
    let found = until(PATIENCE, || async { Some(cluster.doors().open().await).filter(|open| is_so(open)) });
    if found.await.is_none() {
        let watched = identities(&cluster.doors().open().await);
        let differ: Vec<&String> = checked.symmetric_difference(&watched).collect();
        fail(format!("{differ:#?}"));
    }
}

#[tokio::test]
async fn encrypted_files_and_admission_reviews_are_the_same_to_check_and_to_the_watch() {
    let cluster = FolderCluster::new(
        "secrets: {identities: [{file: key.txt}]}\nposture: {frameworks: [nsa], params: manifests/params.yaml}\n",
    );
    let key = AgeKey::new();
    cluster.write("params.yaml", "imageRepositoryAllowList: [quay.io]\n");
    fs::copy(&key.file, cluster.root().join("key.txt")).or_fail("the identity");
    let file = |name: &str| cluster.manifests().join(name);
    let secret = "apiVersion: v1\nkind: Secret\nmetadata: {name: s, namespace: d}\nstringData: {password: hunter2}\n";
    key.encrypt(secret, &file("secret.sops.yaml"), &["--encrypted-regex", "^(data|stringData)$"]);
    key.encrypt("password: hunter2\n", &file("map.sops.yaml"), &[]);
    let rules = format!("creation_rules: [{{path_regex: /clear, age: {}}}]\n", key.recipient);
    fs::write(cluster.root().join(".sops.yaml"), rules).or_fail("creation rules");
    cluster.write("clear.yaml", secret);
    key.encrypt("password: hunter3\n", &file("changed.sops.yaml"), &[]);
    AgeKey::new().encrypt("password: hunter4\n", &file("foreign.sops.yaml"), &[]);
    break_mac(&file("changed.sops.yaml"));
    // Kind and all: what is in it can be judged by whoever can open it.
    key.encrypt(secret, &file("whole.sops.yaml"), &[]);
    key.encrypt(&secret.replace("Secret", "Pod"), &file("pod.sops.yaml"), &[]);
    AgeKey::new().encrypt(secret, &file("later.sops.yaml"), &[]);
    cluster.write("broken.sops.yaml", "password: ENC[nothing]\nsops: {mac: 1}\n");
    let container = json!({"name": "app", "image": "quay.io/a/b:1", "securityContext": {"privileged": true}});
    cluster.write("review.json", &review_of("1", &pod("dev", "reviewed", container.clone())).to_string());
    let mut deletion = review_of("2", &pod("dev", "deleted", container));
    deletion["request"]["operation"] = "DELETE".into();
    cluster.write("deletion.json", &deletion.to_string());
    cluster
        .write("no-review.json", &json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview"}).to_string());

    let before = checked(&cluster, 14);
    let has = |code: &str, name: &str| {
        let starts = |finding: &&String| finding.starts_with(code) && finding.contains(name);
        assert!(before.iter().any(|finding| starts(&finding)), "{code} {name}: {before:#?}");
    };
    has("PR-3001 fail", "changed.sops.yaml");
    has("PR-3002", "foreign.sops.yaml");
    has("PR-3013 fail", "clear.yaml");
    has("PR-0001 unknown", "broken.sops.yaml");
    has("PR-0001 unknown", "no-review.json");
    has("PR-0001 unknown", "pod.sops.yaml");
    has("PR-0001 unknown", "later.sops.yaml");
    assert!(!before.iter().any(|finding| finding.contains("whole.sops.yaml")), "{before:#?}");
    has("C-0057 fail", "reviewed");
    for passed_over in ["deleted", "deletion", "params.yaml"] {
        assert!(!before.iter().any(|finding| finding.contains(passed_over)), "{before:#?}");
    }

    let _daemon = cluster.serve().await;
    watched_is(&cluster, &before).await;
    key.encrypt("password: hunter3\n", &file("changed.sops.yaml"), &[]);
    key.encrypt(secret, &file("later.sops.yaml"), &[]);
    break_mac(&file("map.sops.yaml"));
    key.encrypt("password: hunter5\n", &file("decrypted.yaml"), &[]);
    break_mac(&file("decrypted.yaml"));
    let after = checked(&cluster, 14);
    assert!(after != before && !after.iter().any(|finding| finding.contains("later.sops.yaml")), "{after:#?}");
    watched_is(&cluster, &after).await;
    // Decrypted in its place it is a manifest as any other, and no broken one: with values in clear, and without.
    for (kind, rest) in [("Secret", ", stringData: {password: hunter5}"), ("ConfigMap", "")] {
        let text = format!("{{apiVersion: v1, kind: {kind}, metadata: {{name: decrypted, namespace: dev}}{rest}}}\n");
        cluster.write("decrypted.yaml", &text);
        let plain = checked(&cluster, 14);
        let is_broken = |finding: &String| finding.starts_with("PR-3001") && finding.contains("decrypted.yaml");
        assert!(after.iter().any(is_broken) && !plain.iter().any(is_broken), "{plain:#?}");
        watched_is(&cluster, &plain).await;
    }
}

#[tokio::test]
async fn after_a_restart_a_file_that_cannot_be_read_resolves_nothing() {
    let cluster = FolderCluster::new("");
    let container = json!({"name": "app", "image": "quay.io/a/b:1", "securityContext": {"privileged": true}});
    let good = pod("dev", "web", container).to_string();
    cluster.write("web.yaml", &good);
    cluster.write("other.yaml", "{apiVersion: v1, kind: ConfigMap, metadata: {name: other, namespace: dev}}\n");
    let has = |open: &[Value], code: &str, name: &str| open.iter().any(|finding| is_about(finding, code, name));
    let mut daemon = cluster.serve().await;
    cluster.doors().until_open("a finding", |open| has(open, "C-0057", "web")).await;
    let file = cluster.manifests().join("web.yaml");
    let encrypted = || AgeKey::new().encrypt(&good, &file, &[]);
    let breaks: [&dyn Fn(); 3] = [&encrypted, &|| cluster.write("web.yaml", "a: [\n"), &|| {
        fs::write(cluster.root().join("moved.yaml"), &good).or_fail("a manifest");
        // In one step: a moment without the file would prove that it went away.
        let link = cluster.root().join("link");
        symlink("../moved.yaml", &link).and_then(|()| fs::rename(&link, &file)).or_fail("a link");
    }];
    for break_it in breaks {
        break_it();
        cluster.doors().until_open("unreadable", |open| has(open, "PR-0001", "web.yaml")).await;
        daemon.kill();
        daemon = cluster.serve().await;
        // What is not kept is resolved before the first scan ends.
        cluster.doors().until_sample(SCANS, |scans| scans >= 1.0).await;
        let open = cluster.doors().open().await;
        assert!(has(&open, "PR-0001", "web.yaml") && has(&open, "C-0057", "web"), "{open:#?}");
    }
    fs::remove_file(&file).or_fail("the link");
    cluster.doors().until_open("what went away", |open| !has(open, "C-0057", "web")).await;
}

/// Changes a byte of an encrypted file's MAC.
fn break_mac(file: &Path) {
    let text = fs::read_to_string(file).or_fail("an encrypted file");
    let (before, mac) = text.split_once("mac: ENC[AES256_GCM,data:").or_fail("a MAC");
    let flipped = if mac.starts_with('A') { "B" } else { "A" };
    fs::write(file, format!("{before}mac: ENC[AES256_GCM,data:{flipped}{}", &mac[1..])).or_fail("an encrypted file");
}

/// Objects of one file that are read.
const MOST_OBJECTS: usize = 20_000;

fn config_maps(count: usize) -> String {
    let one = |number| format!("---\napiVersion: v1\nkind: ConfigMap\nmetadata: {{name: c{number}, namespace: dev}}\n");
    (0..count).map(one).collect()
}

fn privileged(name: &str) -> String {
    pod("dev", name, json!({"name": "app", "image": "quay.io/a/b:1", "securityContext": {"privileged": true}}))
        .to_string()
}

#[tokio::test]
async fn what_is_beyond_the_objects_of_a_file_is_unknown_to_check_and_to_the_watch() {
    let cluster = FolderCluster::new("");
    cluster.write("at.yaml", &config_maps(MOST_OBJECTS));
    cluster.write("above.yaml", &config_maps(MOST_OBJECTS + 1));
    cluster.write("small.yaml", &privileged("small"));
    let checked = checked(&cluster, 10);
    let unread: Vec<&String> = checked.iter().filter(|finding| finding.starts_with("PR-0001 unknown")).collect();
    assert!(unread.len() == 1 && unread[0].contains("above.yaml"), "{unread:#?}");
    let _daemon = cluster.serve().await;
    watched_is(&cluster, &checked).await;
}

#[tokio::test]
async fn a_small_file_is_judged_before_the_end_of_a_flood_of_objects() {
    let cluster = FolderCluster::new("");
    let _daemon = cluster.serve().await;
    let one = |number| format!("---\n{}\n", privileged(&format!("flood-{number}")));
    cluster.write("flood.yaml", &(0..=MOST_OBJECTS).map(one).collect::<String>());
    let count = async |query: &str| {
        let page = cluster.doors().get(&format!("/api/v1/findings?limit=1&{query}")).await.json();
        page["total"].as_u64().unwrap_or_default()
    };
    let found = |code: &'static str| until(PATIENCE, move || async move { (count(code).await > 0).then_some(()) });
    found("code=C-0057").await.or_fail("the flood is judged");
    cluster.write(
        "small.yaml",
        &pod("dev", "small", json!({"name": "app", "image": "quay.io/a/b:1"}))
            .to_string()
            .replace("\"spec\":{", "\"spec\":{\"hostPID\":true,"),
    );
    found("code=C-0038").await.or_fail("the small file is judged");
}
