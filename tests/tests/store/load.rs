//! What changes and asks while the daemon lives, and what must be there after it was killed.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use portreeve_tests::OrFail;
use portreeve_tests::binary::Portreeve;
use portreeve_tests::folder_cluster::{FolderCluster, PATIENCE, pod, review_of};
use portreeve_tests::process::Running;
use serde_json::{Value, json};

/// Reviewers that ask at the same time.
const REVIEWERS: usize = 3;
/// The most decisions that the API answers: a round must stay below.
const MOST_DECISIONS: usize = 1_000;

pub(crate) fn privileged(is_privileged: bool) -> Value {
    json!({"name": "app", "image": "quay.io/a/b:1", "securityContext": {"privileged": is_privileged}})
}

pub(crate) fn manifest(object: &Value) -> String {
    object.to_string()
}

/// What changes and asks while the daemon lives.
pub(crate) struct Load<'a> {
    cluster: &'a FolderCluster,
    number: &'a AtomicU64,
    is_over: AtomicBool,
    acknowledged: Mutex<BTreeSet<String>>,
}

impl<'a> Load<'a> {
    pub(crate) fn new(cluster: &'a FolderCluster, number: &'a AtomicU64) -> Self {
        Self { cluster, number, is_over: AtomicBool::new(false), acknowledged: Mutex::default() }
    }

    fn goes_on(&self) -> bool {
        !self.is_over.load(Ordering::Relaxed)
    }

    fn next(&self) -> u64 {
        self.number.fetch_add(1, Ordering::Relaxed)
    }

    pub(crate) fn acknowledged(&self) -> usize {
        self.acknowledged.lock().or_fail("the list of decisions").len()
    }

    /// Nothing changes and nobody asks any more.
    pub(crate) fn end(&self) {
        self.is_over.store(true, Ordering::Relaxed);
    }

    /// Rewrites the manifests, each time otherwise.
    pub(crate) async fn rewrite(&self) {
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
    pub(crate) async fn ask(&self) {
        while self.goes_on() && self.acknowledged() < MOST_DECISIONS - 10 * REVIEWERS {
            let uid = format!("uid-{}", self.next());
            let review = review_of(&uid, &pod("dev", "asked", privileged(true)));
            let Ok(answer) = self.cluster.validate(&review).await else { break };
            assert_eq!(answer.json()["response"]["uid"], uid, "{answer:?}");
            self.acknowledged.lock().or_fail("the list of decisions").insert(uid);
        }
    }

    /// What was answered.
    pub(crate) fn into_acknowledged(self) -> BTreeSet<String> {
        self.acknowledged.into_inner().or_fail("the list of decisions")
    }

    /// Kills the daemon after so many answers.
    pub(crate) async fn kill_after(&self, answers: usize, mut daemon: Running) -> String {
        daemon.until("answers", PATIENCE, |_| async move { (self.acknowledged() >= answers).then_some(()) }).await;
        daemon.kill();
        self.end();
        daemon.stderr()
    }
}

/// What a fresh look at the manifests finds, without passes: fingerprint and verdict.
pub(crate) fn checked(cluster: &FolderCluster) -> BTreeSet<(String, String)> {
    let mut command = Portreeve::command();
    command.arg("check").arg("--config").arg(cluster.config()).args(["--format", "json"]).arg(cluster.manifests());
    let report: Value = serde_json::from_str(&Portreeve::finish(&mut command).stdout).or_fail("a report");
    let findings = report["findings"].as_array().or_fail("findings of a report");
    let is_open = |finding: &&Value| !["pass", "not-applicable"].contains(&finding["verdict"].as_str().unwrap_or(""));
    findings.iter().filter(is_open).map(identity).collect()
}

pub(crate) fn identity(finding: &Value) -> (String, String) {
    let text = |name: &str| finding[name].as_str().unwrap_or_default().to_owned();
    (text("fingerprint"), text("verdict"))
}

/// The uids of `acknowledged` that are not stored, but for those of which the log says that they were not recorded, or
/// answered before their commit: an answer does not wait for a store that stalls.
pub(crate) async fn lost(cluster: &FolderCluster, acknowledged: &BTreeSet<String>, log: &str) -> Vec<String> {
    let stored = cluster.doors().get(&format!("/api/v1/decisions?limit={MOST_DECISIONS}")).await.json();
    let stored = stored["items"].as_array().or_fail("decisions");
    let stored: BTreeSet<&str> = stored.iter().filter_map(|decision| decision["uid"].as_str()).collect();
    let is_told = |uid: &str| log.contains(&format!("\"{uid}\""));
    acknowledged.iter().filter(|uid| !stored.contains(uid.as_str()) && !is_told(uid)).cloned().collect()
}

/// Kills the daemon at `kills` moments under load, starts it again each time, and looks for what was acknowledged.
pub(crate) async fn kill_again_and_again(cluster: &FolderCluster, kills: u64) {
    let number = AtomicU64::new(0);
    let mut lived = 0;
    for round in 0..kills {
        let daemon = cluster.serve().await;
        let load = Load::new(cluster, &number);
        // Spread over the first commits and over a longer life.
        let answers = usize::try_from(1 + round * round * 2).or_fail("a number of answers");
        let (log, ..) =
            tokio::join!(load.kill_after(answers, daemon), load.rewrite(), load.ask(), load.ask(), load.ask());
        let acknowledged = load.into_acknowledged();
        lived += acknowledged.len();
        let _daemon = cluster.serve().await;
        let lost = lost(cluster, &acknowledged, &log).await;
        assert!(lost.is_empty(), "round {round}: of {} decisions {lost:?} are lost\n{log}", acknowledged.len());
    }
    assert!(lived > 50, "the daemon was killed under load: {lived} answers");
}

/// Waits until what is open is what a fresh look at the manifests finds.
pub(crate) async fn until_as_checked(cluster: &FolderCluster) {
    let expected = checked(cluster);
    assert!(expected.len() > 20, "{expected:?}");
    let is_as_checked = |open: &[Value]| open.iter().map(identity).collect::<BTreeSet<_>>() == expected;
    cluster.doors().until_open("what a fresh check finds", is_as_checked).await;
}

/// An image policy, `images.yaml`, that wants a signature by this key of every image of the host.
pub(crate) fn write_policy(cluster: &FolderCluster, host: &str, key: &Path) {
    fs::copy(key, cluster.root().join("key.pub")).or_fail("a key");
    let policy = format!(
        "apiVersion: portreeve.dev/v1alpha1\nkind: ImagePolicy\nmetadata: {{name: signed}}\nspec:\n  mode: enforce\n  \
         noMatch: allow\n  rules:\n  - name: all\n    images: ['{host}/**']\n    \
         authorities: {{list: [{{name: ours, key: {{file: key.pub}}}}]}}\n"
    );
    fs::write(cluster.root().join("images.yaml"), policy).or_fail("an image policy");
}
