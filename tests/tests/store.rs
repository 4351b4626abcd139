//! The store under a daemon that is killed, starved of disk, doubled or given a damaged file.

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use portreeve_tests::OrFail;
use portreeve_tests::binary::Portreeve;
use portreeve_tests::folder_cluster::{FolderCluster, PATIENCE, is_about, pod, review_of};
use portreeve_tests::process::{START, free_port, run, until};
use serde_json::{Value, json};

/// Kills of the long test.
const KILLS: u64 = 10;
/// Reviewers that ask at the same time.
const REVIEWERS: usize = 3;
/// The most decisions that the API answers: a round must stay below.
const MOST_DECISIONS: usize = 1_000;

fn privileged(is_privileged: bool) -> Value {
    json!({"name": "app", "image": "quay.io/a/b:1", "securityContext": {"privileged": is_privileged}})
}

fn manifest(object: &Value) -> String {
    object.to_string()
}

/// What changes and asks while the daemon lives.
struct Load<'a> {
    cluster: &'a FolderCluster,
    number: &'a AtomicU64,
    is_over: AtomicBool,
    acknowledged: Mutex<BTreeSet<String>>,
}

impl<'a> Load<'a> {
    fn new(cluster: &'a FolderCluster, number: &'a AtomicU64) -> Self {
        Self { cluster, number, is_over: AtomicBool::new(false), acknowledged: Mutex::default() }
    }

    fn goes_on(&self) -> bool {
        !self.is_over.load(Ordering::Relaxed)
    }

    fn next(&self) -> u64 {
        self.number.fetch_add(1, Ordering::Relaxed)
    }

    fn acknowledged(&self) -> usize {
        self.acknowledged.lock().or_fail("the list of decisions").len()
    }

    /// Rewrites the manifests, each time otherwise.
    async fn rewrite(&self) {
        let mut ticks = tokio::time::interval(Duration::from_millis(10));
        while self.goes_on() {
            let number = self.next();
            let name = format!("pod-{}", number % 20);
            let object = pod("dev", &name, privileged(number.is_multiple_of(3)));
            self.cluster.write(&format!("{name}.json"), &manifest(&object));
            ticks.tick().await;
        }
    }

    /// Asks until the daemon is gone, and notes what was answered.
    async fn ask(&self) {
        while self.goes_on() && self.acknowledged() < MOST_DECISIONS - 10 * REVIEWERS {
            let uid = format!("uid-{}", self.next());
            let review = review_of(&uid, &pod("dev", "asked", privileged(true)));
            let Ok(answer) = self.cluster.validate(&review).await else { break };
            assert_eq!(answer.json()["response"]["uid"], uid, "{answer:?}");
            self.acknowledged.lock().or_fail("the list of decisions").insert(uid);
        }
    }

    /// Kills the daemon after so many answers.
    async fn kill_after(&self, answers: usize, mut daemon: portreeve_tests::process::Running) -> String {
        daemon.until("answers", PATIENCE, |_| async move { (self.acknowledged() >= answers).then_some(()) }).await;
        daemon.kill();
        self.is_over.store(true, Ordering::Relaxed);
        daemon.stderr()
    }
}

/// What a fresh look at the manifests finds, without passes: fingerprint and verdict.
fn checked(cluster: &FolderCluster) -> BTreeSet<(String, String)> {
    let mut command = Portreeve::command();
    command.arg("check").arg("--config").arg(cluster.config()).args(["--format", "json"]).arg(cluster.manifests());
    let report: Value = serde_json::from_str(&Portreeve::finish(&mut command).stdout).or_fail("a report");
    let findings = report["findings"].as_array().or_fail("findings of a report");
    let is_open = |finding: &&Value| !["pass", "not-applicable"].contains(&finding["verdict"].as_str().unwrap_or(""));
    findings.iter().filter(is_open).map(identity).collect()
}

fn identity(finding: &Value) -> (String, String) {
    let text = |name: &str| finding[name].as_str().unwrap_or_default().to_owned();
    (text("fingerprint"), text("verdict"))
}

#[tokio::test]
async fn a_kill_at_any_moment_loses_nothing_that_was_acknowledged() {
    let cluster = FolderCluster::new("telemetry: {format: json}\n");
    let number = AtomicU64::new(0);
    let mut lived = 0;
    for round in 0..KILLS {
        let daemon = cluster.serve().await;
        let load = Load::new(&cluster, &number);
        // Spread over the first commits and over a longer life.
        let answers = usize::try_from(1 + round * round * 2).or_fail("a number of answers");
        let (log, ..) =
            tokio::join!(load.kill_after(answers, daemon), load.rewrite(), load.ask(), load.ask(), load.ask());
        let acknowledged = load.acknowledged.into_inner().or_fail("the list of decisions");
        lived += acknowledged.len();

        let daemon = cluster.serve().await;
        let stored = cluster.doors().get(&format!("/api/v1/decisions?limit={MOST_DECISIONS}")).await.json();
        let stored = stored["items"].as_array().or_fail("decisions");
        let stored: BTreeSet<&str> = stored.iter().filter_map(|decision| decision["uid"].as_str()).collect();
        // An answer does not wait for a disk that stalls; the log then says that it was not acknowledged.
        let is_told = |uid: &str| log.contains(&format!("\"{uid}\""));
        let lost: Vec<_> = acknowledged.iter().filter(|uid| !stored.contains(uid.as_str()) && !is_told(uid)).collect();
        assert!(lost.is_empty(), "round {round}: of {} decisions {lost:?} are lost\n{log}", acknowledged.len());
        drop(daemon);
    }
    assert!(lived > 100, "the daemon was killed under load: {lived} answers");

    let _daemon = cluster.serve().await;
    let expected = checked(&cluster);
    assert!(expected.len() > 20, "{expected:?}");
    let is_as_checked = |open: &[Value]| open.iter().map(identity).collect::<BTreeSet<_>>() == expected;
    cluster.doors().until_open("what a fresh check finds", is_as_checked).await;
}

/// Lets the daemon's files grow no more than this; `unlimited` gives them room again.
fn limit_files(id: u32, bytes: &str) {
    run(Command::new("prlimit").args(["--pid", &id.to_string(), &format!("--fsize={bytes}:unlimited")]));
}

#[tokio::test]
async fn a_full_disk_leaves_the_doors_answering_by_verdict_and_is_told_on_recovery() {
    // Posture denies here: an answer by verdict is one that denies and one that allows.
    let cluster = FolderCluster::new("posture: {enforce: [nsa]}\ntelemetry: {format: json}\n");
    let doors = cluster.doors();
    cluster.write("bad.json", &manifest(&pod("dev", "bad", privileged(true))));
    // The signal that comes with the limit would end a process that does not ignore it; a full disk sends none.
    let served = cluster.command();
    let mut command = Command::new("sh");
    command.args(["-c", "trap '' XFSZ; exec \"$0\" \"$@\""]).arg(served.get_program()).args(served.get_args());
    command.current_dir(cluster.root()).env_clear().env("HOME", cluster.root()).env("PATH", "/usr/bin:/bin");
    let mut daemon = Portreeve::serve_by(&mut command).await;
    doors.until_open("the first finding", |open| open.iter().any(|finding| is_about(finding, "C-0057", "bad"))).await;

    limit_files(daemon.id(), "1");
    let ask = async |uid: &str, namespace: &str| {
        let review = review_of(uid, &pod(namespace, "asked", privileged(true)));
        cluster.validate(&review).await.or_fail("an answer").json()["response"].clone()
    };
    for number in 0..5 {
        assert_eq!(ask(&format!("denied-{number}"), "enforced").await["allowed"], false);
        let warned = ask(&format!("warned-{number}"), "dev").await;
        assert_eq!(warned["allowed"], true);
        assert!(warned["warnings"].to_string().contains("C-0016"), "{warned}");
    }
    doors.until_sample("portreeve_store_lost_total", |lost| lost >= 10.0).await;
    doors.until_sample("portreeve_store_writes_total{result=\"failure\"}", |failed| failed >= 1.0).await;
    cluster.write("worse.json", &manifest(&pod("dev", "worse", privileged(true))));
    let lost = doors.until_sample("portreeve_store_lost_total", |lost| lost > 10.0).await;
    assert_eq!(doors.health("/readyz").await.status, 200, "the doors still answer");
    assert_eq!(doors.get("/api/v1/summary").await.json()["store"]["writable"], false);
    assert!(doors.get("/").await.body.contains("The store cannot be written"));
    assert!(doors.open().await.iter().any(|finding| is_about(finding, "C-0057", "bad")), "what was stored is read");

    limit_files(daemon.id(), "unlimited");
    assert_eq!(ask("after", "dev").await["allowed"], true);
    let is_whole = |open: &[Value]| {
        open.iter().any(|finding| is_about(finding, "PR-0005", "store"))
            && open.iter().any(|finding| is_about(finding, "C-0057", "worse"))
    };
    let open = doors.until_open("recovery", is_whole).await;
    let told = open.iter().find(|finding| finding["code"] == "PR-0005").or_fail("PR-0005");
    assert!(told["message"].as_str().is_some_and(|message| message.contains("lost while")), "{told}");
    daemon.line("PR-0005", START).await;
    assert_eq!(doors.get("/api/v1/summary").await.json()["store"]["writable"], true);
    assert!(doors.sample("portreeve_store_lost_total").await >= lost);
    daemon.kill();
    let _again = cluster.serve().await;
    let decisions = doors.get("/api/v1/decisions").await.json();
    let decisions = decisions["items"].as_array().or_fail("decisions");
    assert!(decisions.iter().any(|item| item["uid"] == "after"), "{decisions:?}");
    // The scan of the start has found again what still holds.
    let has = |open: &[Value], code, name| open.iter().any(|finding| is_about(finding, code, name));
    let is_found_again = |open: &[Value]| has(open, "C-0057", "worse") && !has(open, "PR-0005", "store");
    doors.until_open("the end of PR-0005", is_found_again).await;
    assert_eq!(doors.get("/api/v1/findings?code=PR-0005&state=resolved").await.json()["total"], 1);
}

#[tokio::test]
async fn a_second_daemon_on_a_store_ends_with_the_name_of_the_lock() {
    let cluster = FolderCluster::new("");
    let first = cluster.serve().await;
    let other = cluster.root().join("other.yaml");
    let text = format!(
        "cluster: {{folder: manifests, name: folder}}\nstore: {{url: 'sqlite://store/portreeve.db'}}\n\
         http: {{listen: '127.0.0.1:{}', metricsListen: '127.0.0.1:{}'}}\n",
        free_port(),
        free_port()
    );
    fs::write(&other, text).or_fail("a configuration");
    let second = Portreeve::finish(Portreeve::command().arg("serve").arg("--config").arg(&other));
    assert_eq!(second.code, Some(1), "{second:?}");
    assert!(second.stderr.contains("portreeve.db.lock") && second.stderr.contains("stop it"), "{}", second.stderr);
    assert_eq!(cluster.doors().health("/readyz").await.status, 200);
    // A killed owner leaves its lock file, and nobody is locked out by it.
    drop(first);
    cluster.serve().await;
}

#[tokio::test]
async fn a_damaged_database_is_refused_with_what_to_do_and_left_as_it_is() {
    let cluster = FolderCluster::new("");
    cluster.write("bad.json", &manifest(&pod("dev", "bad", privileged(true))));
    let mut daemon = cluster.serve().await;
    cluster.doors().until_open("a finding", |open| !open.is_empty()).await;
    daemon.signal("TERM");
    assert_eq!(daemon.ended(START).await.code(), Some(0));
    let whole = fs::read(cluster.database()).or_fail("the database");
    let mut header = whole.clone();
    header[..64].fill(b'x');
    let mut pages = whole.clone();
    pages[4096..].iter_mut().for_each(|byte| *byte ^= 0x5a);
    let damages = [header, pages, whole[..whole.len() / 2].to_vec(), Vec::new(), b"not a database\n".repeat(500)];
    for damaged in damages {
        remove_logs(&cluster);
        fs::write(cluster.database(), &damaged).or_fail("the database");
        let refused = Portreeve::finish(&mut cluster.command());
        assert_eq!(refused.code, Some(1), "{refused:?}");
        let hints = ["restore it from a backup", "correct store.url"];
        assert!(hints.iter().any(|hint| refused.stderr.contains(hint)), "{}", refused.stderr);
        assert!(refused.stderr.contains("portreeve.db") && !refused.stdout.contains("ready"), "{refused:?}");
        assert!(fs::read(cluster.database()).or_fail("the database") == damaged, "a refused file is left as it is");
    }
    remove_logs(&cluster);
    fs::write(cluster.database(), &whole).or_fail("the database");
    let _daemon = cluster.serve().await;
    let is_back = until(PATIENCE, || async { (!cluster.doors().open().await.is_empty()).then_some(()) });
    is_back.await.or_fail("the findings of the restored store");
}

/// A copy of a database is restored without the log of another.
fn remove_logs(cluster: &FolderCluster) {
    for suffix in ["-wal", "-shm"] {
        let log = format!("{}{suffix}", cluster.database().display());
        if fs::exists(&log).or_fail("the store's folder") {
            fs::remove_file(log).or_fail("the log of a database");
        }
    }
}
