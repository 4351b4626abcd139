//! One evaluation behind four doors: generated objects and images, judged by `gate` on files, by the daemon that
//! watches the real API server, by its schedule, and at admission over HTTPS, have the same findings; with mutation
//! off and with mutation on.

#[path = "doors/exceptions.rs"]
mod exceptions;
#[path = "doors/pod_security.rs"]
mod pod_security;

use std::collections::BTreeMap;
use std::path::Path;

use portreeve_tests::OrFail;
use portreeve_tests::binary::Portreeve;
use portreeve_tests::control_plane::ControlPlane;
use portreeve_tests::doors::admission::{Change, review, told, validate};
use portreeve_tests::doors::ci::gate;
use portreeve_tests::doors::daemon::{self, Daemon, head};
use portreeve_tests::doors::findings::{AllSeen, Answer, Answers, Counts, Seen, differences, shortened};
use portreeve_tests::doors::images::Images;
use portreeve_tests::doors::objects::{Objects, WORKLOADS};
use portreeve_tests::doors::{create, delete_all, without_init_containers};
use portreeve_tests::process::scratch;
use serde_json::Value;

/// Another seed makes other objects: `DOORS_SEED=7 cargo test --test doors`.
const SEED: u64 = 20_260_301;
/// Objects of each workload kind.
const EACH: usize = 14;
/// A schedule that is not due while the test runs.
const NEVER: &str = "0 0 29 2 *";
/// Every second.
const ALWAYS: &str = "* * * * * *";
/// The fewest passes and failures of each control, at each door.
const FEWEST: usize = 20;
/// What no API server of this version lets in, so that only the controls' own examples fail.
const REFUSED_BEFORE: [&str; 1] = ["PR-7005"];
/// What the one object of a review cannot answer: it depends on others.
const RELATIONAL: [&str; 2] = ["C-0030", "C-0034"];

/// How each door answered, over the whole run.
type Doors = BTreeMap<&'static str, Counts>;

/// The control plane, the images, a watching daemon and the objects.
struct Harbour {
    seed: u64,
    plane: &'static ControlPlane,
    images: Images,
    namespace: String,
    objects: Objects,
    watching: Daemon,
}

impl Harbour {
    async fn new() -> Self {
        let seed = std::env::var("DOORS_SEED").ok().map_or(SEED, |seed| seed.parse().or_fail("DOORS_SEED is a number"));
        let (plane, images) = tokio::join!(ControlPlane::shared(), Images::new());
        let namespace = plane.namespace("doors").await;
        let objects = Objects::generate(seed, EACH, &namespace, &images);
        let watching = Daemon::start(plane, &images, &namespace, NEVER).await;
        Self { seed, plane, images, namespace, objects, watching }
    }

    /// Creates the objects and takes them through every door.
    async fn round(&self, mutates: bool, doors: &mut Doors) -> (AllSeen, Vec<Value>) {
        let mutating = mutates.then_some(&self.watching);
        let (created, pinned) = create(self.plane.api(), &self.objects, mutating).await;
        assert_eq!(pinned > 0, mutates, "{pinned} images pinned");
        let (files, answers) = gate(self.watching.config(), &self.objects.manifests(&self.namespace), &self.namespace);
        let open = self.watching.until_seen("watch", &files).await;
        count(doors, "watch", daemon::answers(&open).with_passes_of(&answers));
        let scheduled = Daemon::start(self.plane, &self.images, &self.namespace, ALWAYS).await;
        scheduled.until_seen("schedule", &files).await;
        scheduled.until_rescanned().await;
        let open = scheduled.until_seen("schedule", &files).await;
        count(doors, "schedule", daemon::answers(&open).with_passes_of(&answers));
        count(doors, "files", answers);
        drop(scheduled);
        let objects = self.all(created).await;
        let (admitted, answers) = validate(&self.watching, &objects).await;
        assert_agree(("files", &shortened(&files)), ("admission", &shortened(&admitted)));
        count(doors, "admission", answers);
        (files, objects)
    }

    /// The objects with the service account that was there before.
    async fn all(&self, mut created: Vec<Value>) -> Vec<Value> {
        let path = format!("/api/v1/namespaces/{}/serviceaccounts/default", self.namespace);
        let mut account = self.plane.api().get(&path).await.or_fail("the default service account");
        account["apiVersion"] = "v1".into();
        account["kind"] = "ServiceAccount".into();
        created.push(account);
        created
    }
}

fn count(doors: &mut Doors, door: &'static str, answers: Answers) {
    doors.entry(door).or_default().add(&answers.counts());
}

fn assert_agree(left: (&str, &AllSeen), right: (&str, &AllSeen)) {
    let lines = differences(left, right);
    assert!(lines.is_empty(), "{} and {}: {} differences\n{}", left.0, right.0, lines.len(), head(&lines));
}

#[tokio::test(flavor = "multi_thread")]
async fn all_doors_find_the_same_in_the_same_objects() {
    let harbour = Harbour::new().await;
    let mut doors = Doors::new();
    let (files, objects) = harbour.round(false, &mut doors).await;
    for verdict in ["fail", "unknown", "excepted"] {
        assert!(files.iter().any(|seen| seen.verdict == verdict), "nothing is {verdict}");
    }
    assert!(files.iter().all(|seen| seen.verdict != "error"), "a control is broken");
    assert_reviews_agree(&harbour.watching, &objects).await;
    assert_init_containers_count(&harbour, &files, &objects).await;

    delete_all(harbour.plane.api(), &harbour.namespace).await;
    let left: AllSeen = files.iter().filter(|seen| seen.subject.contains(r#""name":"default""#)).cloned().collect();
    assert!(!left.is_empty() && left.iter().all(|seen| seen.code == "C-0034"), "{left:?}");
    harbour.watching.until_seen("watch", &left).await;
    let (pinned, _) = harbour.round(true, &mut doors).await;
    assert_agree(("mutation off", &files), ("mutation on", &pinned));

    print(harbour.seed, &doors);
    let short: Vec<String> = doors.iter().flat_map(|(door, counts)| too_few(door, counts)).collect();
    assert!(short.is_empty(), "{}", short.join("\n"));
}

/// The comparison is no formality: a door that drops init containers is found out.
async fn assert_init_containers_count(harbour: &Harbour, files: &AllSeen, objects: &[Value]) {
    let manifests = without_init_containers(&harbour.objects.manifests(&harbour.namespace));
    let (forgetful, _) = gate(harbour.watching.config(), &manifests, &harbour.namespace);
    assert!(differences(("files", files), ("forgetful files", &forgetful)).iter().any(|line| line.contains("init-")));
    let (forgetful, _) = validate(&harbour.watching, &without_init_containers(objects)).await;
    let lines = differences(("files", &shortened(files)), ("forgetful admission", &shortened(&forgetful)));
    assert!(lines.iter().any(|line| line.contains("initContainers")), "{}", head(&lines));
}

/// `portreeve review` says what the webhook says, but for what depends on other objects.
async fn assert_reviews_agree(daemon: &Daemon, objects: &[Value]) {
    let file = scratch("review").join("review.json");
    for (_, kind, _) in WORKLOADS {
        let object = objects.iter().find(|object| object["kind"] == kind && !object["spec"].is_null()).or_fail(kind);
        let asked = review(object, Change::Create);
        std::fs::write(&file, asked.to_string()).or_fail("a review");
        let answered = reviewed(daemon.config(), &file);
        let served = daemon.review("/validate", &asked).await;
        assert_eq!(answered["allowed"], served["allowed"]);
        let alone = |response: &Value| -> AllSeen {
            told(response).into_iter().filter(|seen: &Seen| !RELATIONAL.contains(&seen.code.as_str())).collect()
        };
        assert_agree(("review", &alone(&answered)), ("webhook", &alone(&served)));
        let hidden = told(&answered).into_iter().filter(|seen| seen.code == "C-0030");
        assert!(hidden.map(|seen| seen.verdict).eq(["unknown", "unknown"]), "{answered}");
    }
}

fn reviewed(config: &Path, file: &Path) -> Value {
    let output = Portreeve::finish(Portreeve::command().arg("review").arg(file).arg("--config").arg(config));
    assert_eq!(output.code, Some(0), "{}", output.stderr);
    let answer: Value = serde_json::from_str(&output.stdout).or_fail("review prints JSON");
    answer["response"].clone()
}

fn too_few(door: &str, counts: &Counts) -> Vec<String> {
    let asked = counts.codes().filter(|code| is_control(code) || code.starts_with("PR-1"));
    let is_refused_before = |code: &str, answer| answer == Answer::Fail && REFUSED_BEFORE.contains(&code);
    let mut short: Vec<String> = asked
        .flat_map(|code| [Answer::Pass, Answer::Fail].map(|answer| (code, answer, counts.of(code, answer))))
        .filter(|(code, answer, number)| *number < FEWEST && !is_refused_before(code, *answer))
        .map(|(code, answer, number)| format!("{door}: {code} has {number} of {answer:?}, fewer than {FEWEST}"))
        .collect();
    let controls = counts.codes().filter(|code| is_control(code)).count();
    short.extend((controls != 28).then(|| format!("{door}: {controls} controls were answered, not 28")));
    short
}

fn is_control(code: &str) -> bool {
    code.starts_with("C-") || code.starts_with("PR-7")
}

#[expect(clippy::print_stdout, reason = "how much was compared is shown with --nocapture, and when the test fails")]
fn print(seed: u64, doors: &Doors) {
    println!("seed {seed}");
    println!("pass/fail/unknown {}", doors.keys().map(|door| format!("{door:>14}")).collect::<String>());
    for code in doors["files"].codes() {
        let cells: String = doors.values().map(|counts| format!("  {}", counts.cell(code))).collect();
        println!("{code:<18}{cells}");
    }
}
