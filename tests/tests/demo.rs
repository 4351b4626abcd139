//! `portreeve demo`: the promises of the first minute, on the built binary.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use portreeve_tests::OrFail;
use portreeve_tests::binary::Portreeve;
use portreeve_tests::folder_cluster::{Doors, PATIENCE, is_about};
use portreeve_tests::process::{Running, START, free_port, scratch, until};
use serde_json::Value;
use tokio::time::Instant;

/// How soon after `ready` the findings are there.
const SOON: Duration = Duration::from_secs(3);

struct Demo {
    folder: PathBuf,
    ports: [u16; 3],
}

impl Demo {
    fn new() -> Self {
        Self { folder: scratch("demo"), ports: [free_port(), free_port(), free_port()] }
    }

    fn command(&self) -> Command {
        let mut command = Portreeve::command();
        command.arg("demo").current_dir(&self.folder);
        for (name, port) in ["--listen", "--metrics-listen", "--registry-listen"].iter().zip(self.ports) {
            command.args([*name, &format!("127.0.0.1:{port}")]);
        }
        command
    }

    async fn start(&self) -> Running {
        let mut running = Running::start("demo", &mut self.command());
        let ready = running.line("ready ", START).await;
        assert_eq!(ready, format!("ready http://127.0.0.1:{}/", self.ports[0]));
        running
    }

    fn doors(&self) -> Doors {
        Doors::at(self.ports[0], self.ports[1])
    }

    fn manifest(&self, name: &str) -> PathBuf {
        self.folder.join(".demo/manifests").join(name)
    }
}

async fn ends_well(mut demo: Running, signal: &str) {
    demo.signal(signal);
    let status = demo.ended(START).await;
    assert_eq!(status.code(), Some(0), "after {signal}: {}", demo.stderr());
}

fn edit(file: &Path, from: &str, to: &str) {
    let text = fs::read_to_string(file).or_fail("a manifest");
    assert!(text.contains(from), "the manifest has {from}");
    fs::write(file, text.replace(from, to)).or_fail("a manifest");
}

#[tokio::test]
async fn findings_come_with_evidence_at_once_and_the_printed_gate_says_why() {
    let demo = Demo::new();
    let mut running = demo.start().await;
    let (ready, doors) = (Instant::now(), demo.doors());
    let is_privileged = |open: &[Value]| open.iter().any(|finding| is_about(finding, "C-0057", "conda-store-worker"));
    let is_unsigned = |open: &[Value]| open.iter().any(|finding| is_about(finding, "PR-1001", "demo/unsigned"));
    let open = doors.until_open("findings", |open| is_privileged(open) && is_unsigned(open)).await;
    assert!(ready.elapsed() < SOON, "findings came {:?} after ready", ready.elapsed());
    assert!(open.iter().all(|finding| !finding["locations"].as_array().is_none_or(Vec::is_empty)), "{open:#?}");
    let page = doors.get("/").await.body;
    assert!(page.contains("C-0057") && page.contains("conda-store-worker"), "{page}");
    doors.until_sample("portreeve_scan_last_success_timestamp_seconds{scanner=\"images\"}", |at| at > 1.7e9).await;
    assert!(doors.sample("portreeve_findings{severity=\"high\",verdict=\"fail\"}").await > 0.0);
    for (result, count) in [("verified", 2.0), ("unsigned", 1.0)] {
        let series = format!("portreeve_image_verifications_total{{result=\"{result}\"}}");
        doors.until_sample(&series, |value| value >= count).await;
    }
    shows_how_to_fix(&doors, &open).await;

    let gate = running.line("gate: ", START).await;
    let gate = gate.strip_prefix("gate: ").or_fail("the line of the gate");
    let binaries = Portreeve::path().parent().or_fail("a binary stands in a folder");
    let path = format!("{}:{}", binaries.display(), std::env::var("PATH").or_fail("PATH"));
    let mut shell = Command::new("sh");
    shell.args(["-c", gate]).current_dir(&demo.folder).env("PATH", path).env("HOME", scratch("home"));
    let printed = Portreeve::finish(&mut shell);
    assert_eq!(printed.code, Some(11), "{printed:?}");
    assert!(printed.stdout.contains("PR-1001") && printed.stdout.contains("unsigned"), "{}", printed.stdout);
    ends_well(running, "INT").await;
}

/// The page of a finding has what was seen, why it matters and what to do.
async fn shows_how_to_fix(doors: &Doors, open: &[Value]) {
    for (code, subject, evidence) in
        [("C-0057", "conda-store-worker", "privileged"), ("PR-1001", "demo/unsigned", "demo/unsigned:1")]
    {
        let finding = open.iter().find(|finding| is_about(finding, code, subject)).or_fail(code);
        let fingerprint = finding["fingerprint"].as_str().or_fail("a fingerprint");
        let page = doors.get(&format!("/findings/{fingerprint}")).await;
        assert_eq!(page.status, 200);
        for part in ["Evidence", "Why it matters", "How to fix", code, evidence] {
            assert!(page.body.contains(part), "{part} is on the page of {code}:\n{}", page.body);
        }
        assert!(!page.body.contains("No evidence was recorded"), "{code}");
    }
}

#[tokio::test]
async fn an_edit_of_the_manifests_changes_page_api_and_metrics() {
    let demo = Demo::new();
    let running = demo.start().await;
    let doors = demo.doors();
    let has = |open: &[Value], code: &str, subject: &str| open.iter().any(|finding| is_about(finding, code, subject));
    doors.until_open("the first findings", |open| has(open, "C-0057", "conda-store-worker")).await;

    let resolved = doors.sample("portreeve_findings_resolved_total").await;
    edit(&demo.manifest("conda-store.yaml"), "privileged: true", "privileged: false");
    doors.until_open("a fix", |open| !has(open, "C-0057", "conda-store-worker")).await;
    doors.until_sample("portreeve_findings_resolved_total", |value| value > resolved).await;

    let objects = doors.until_sample("portreeve_index_objects", |value| value > 0.0).await;
    let pod = "apiVersion: v1\nkind: Pod\nmetadata: {name: miner, namespace: lab}\nspec:\n  containers:\n    - name: dig\n      \
               image: quay.io/x/dig:1\n      securityContext: {privileged: true}\n";
    fs::write(demo.manifest("miner.yaml"), pod).or_fail("a manifest");
    doors.until_open("a new Pod", |open| has(open, "C-0057", "miner")).await;
    assert!(doors.get("/?namespace=lab").await.body.contains("miner"));
    doors.until_sample("portreeve_index_objects", |value| value > objects).await;

    // What cannot be read is not gone: the findings stay, and a new one says what is wrong with the file.
    edit(&demo.manifest("miner.yaml"), "metadata: {name", "metadata: {{name");
    let open = doors.until_open("a broken file", |open| has(open, "PR-0001", "miner.yaml")).await;
    assert!(has(&open, "C-0057", "miner"), "a broken file hides nothing: {open:#?}");

    fs::remove_file(demo.manifest("miner.yaml")).or_fail("a manifest");
    doors.until_open("a deletion", |open| !has(open, "C-0057", "miner") && !has(open, "PR-0001", "miner")).await;
    doors.until_sample("portreeve_index_objects", |value| value == objects).await;
    assert!(!doors.get("/").await.body.contains("miner"));
    ends_well(running, "TERM").await;
}

#[tokio::test]
async fn hostile_names_are_text_on_the_page_under_a_strict_policy() {
    let demo = Demo::new();
    let running = demo.start().await;
    let doors = demo.doors();
    let evil = "<script>alert(1)</script><img src=x onerror=alert(2)>";
    let pod = |name: &str| {
        format!(
            "apiVersion: v1\nkind: Pod\nmetadata: {{name: '{name}', labels: {{a: '{evil}'}}, annotations: {{'{evil}': \
             '{evil}'}}}}\nspec:\n  volumes: [{{name: '{evil}', hostPath: {{path: '/{evil}'}}}}]\n  containers:\n    - \
             name: '{evil}'\n      image: '{evil}'\n      env: [{{name: '{evil}PASSWORD', value: '{evil}'}}]\n      \
             securityContext: {{privileged: true}}\n"
        )
    };
    fs::write(demo.manifest("evil.yaml"), pod("evil")).or_fail("a manifest");
    fs::write(demo.manifest("<script>alert(1)<img src=x>.yaml"), pod(evil)).or_fail("a manifest");
    let is_there = |open: &[Value]| {
        let about = |code, text| open.iter().any(|finding| is_about(finding, code, text));
        about("C-0057", "evil") && about("PR-0001", "alert(1)") && about("PR-1001", "alert(1)")
    };
    let open = doors.until_open("hostile findings", is_there).await;
    let hostile: Vec<Value> = open.into_iter().filter(|finding| finding.to_string().contains("alert(1)")).collect();
    let details = hostile.iter().filter_map(|finding| finding["fingerprint"].as_str());
    let mut pages = vec!["/".to_owned(), "/?q=%3Cscript%3Ealert(1)".to_owned(), "/?namespace=%3Cscript%3E".to_owned()];
    pages.extend(details.map(|fingerprint| format!("/findings/{fingerprint}")));
    for path in &pages {
        let page = doors.get(path).await;
        assert_eq!(page.status, 200, "{path}");
        assert!(!page.body.contains("<script>alert") && !page.body.contains("<img src=x"), "{path}:\n{}", page.body);
        let policy = page.head.lines().find_map(|line| line.strip_prefix("content-security-policy: "));
        let policy = policy.or_fail("a content security policy");
        assert!(policy.starts_with("default-src 'none'") && !policy.contains("unsafe"), "{policy}");
        assert!(page.head.contains("x-content-type-options: nosniff"), "{}", page.head);
    }
    assert!(pages.len() > 4, "hostile findings have pages: {pages:?}");
    ends_well(running, "INT").await;
}

#[tokio::test]
async fn a_second_run_in_the_folder_starts_anew_and_a_foreign_folder_is_left_alone() {
    let demo = Demo::new();
    let first = demo.start().await;
    edit(&demo.manifest("conda-store.yaml"), "privileged: true", "privileged: false");
    ends_well(first, "INT").await;
    let second = demo.start().await;
    let doors = demo.doors();
    let is_back = |open: &[Value]| open.iter().any(|finding| is_about(finding, "C-0057", "conda-store-worker"));
    doors.until_open("the findings of a fresh demo", is_back).await;
    ends_well(second, "TERM").await;

    let own = demo.folder.join("own");
    fs::create_dir(&own).or_fail("a folder");
    fs::write(own.join("thesis.txt"), "years of work").or_fail("a file");
    let refused = Portreeve::finish(demo.command().args(["--dir", "own"]));
    assert_eq!(refused.code, Some(2), "{refused:?}");
    assert!(refused.stderr.contains("own exists and was not made by the demo"), "{}", refused.stderr);
    assert_eq!(fs::read_to_string(own.join("thesis.txt")).or_fail("the file"), "years of work");
}

#[tokio::test]
async fn a_taken_port_ends_the_demo_and_is_named() {
    let demo = Demo::new();
    for port in demo.ports {
        let taken = std::net::TcpListener::bind(("127.0.0.1", port)).or_fail("a port");
        let refused = Portreeve::finish(&mut demo.command());
        assert!(matches!(refused.code, Some(1 | 2)), "{refused:?}");
        assert!(refused.stderr.contains(&format!("127.0.0.1:{port}")), "{}", refused.stderr);
        assert!(!refused.stdout.contains("ready"), "{}", refused.stdout);
        drop(taken);
    }
    let freed = until(PATIENCE, || async { std::net::TcpListener::bind(("127.0.0.1", demo.ports[0])).ok() });
    freed.await.or_fail("the port is free again");
}
