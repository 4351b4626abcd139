//! One walk of a folder behind two doors: `check` and the daemon that watches it find the same.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::symlink;

use portreeve_tests::OrFail;
use portreeve_tests::binary::Portreeve;
use portreeve_tests::folder_cluster::{FolderCluster, pod};
use portreeve_tests::process::run;
use serde_json::{Value, json};

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

    let mut check = Portreeve::command();
    // The configuration names the folder by its whole path.
    check.args(["check", "--format", "json"]).arg(cluster.manifests()).current_dir(cluster.root());
    let report = Portreeve::finish(&mut check).expect_exit(10).json();
    let checked = identities(report["findings"].as_array().or_fail("findings"));
    let about = |name: &str| checked.iter().filter(|finding| finding.split(' ').nth(2) == Some(name)).count();
    let below = |name: &str| cluster.manifests().join(name).display().to_string();
    for name in ["outside.yaml", "outside", "loop.yaml", "pipe.yaml", "broken.yaml"] {
        assert_eq!(about(&below(name)), 1, "{name}: {checked:#?}");
    }
    assert!(about("plain") > 5 && about("plain") == about("hidden"), "{checked:#?}");
    assert_eq!((about("out"), about(&below("inside.yaml")), about(&below("again"))), (0, 0, 0), "{checked:#?}");

    let _daemon = cluster.serve().await;
    let doors = cluster.doors();
    doors.until_open("as much as check found", |open| open.len() >= checked.len()).await;
    let watched = identities(&doors.open().await);
    let differ: Vec<&String> = checked.symmetric_difference(&watched).collect();
    assert!(differ.is_empty(), "{differ:#?}");
}
