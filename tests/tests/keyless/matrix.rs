//! Every way of signing, in both registries, asked about in every way, at all doors.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use portreeve_tests::OrFail as _;
use portreeve_tests::binary::Portreeve;
use portreeve_tests::doors::admission::{self, Change, review};
use portreeve_tests::doors::ci::gate_by;
use portreeve_tests::doors::daemon::seen;
use portreeve_tests::doors::findings::{AllSeen, ImageOutcome, Seen, differences, shortened};
use portreeve_tests::folder_cluster::{FolderCluster, pod};
use serde_json::{Value, json};

use crate::harbour::{Berth, Case, Harbour};

/// Where Pods are denied for what their images are.
const NAMESPACE: &str = "enforced";
/// A control that a Pod with one container and nothing else passes.
const ONE_CONTROL: [&str; 2] = ["--control", "C-0057"];
/// Cases in work at one time.
const AT_ONCE: usize = 3;

const DOORS: [&str; 6] = ["flags", "policy", "gate", "admission", "watch", "rescan"];

/// What each door came to about each image.
type Row = [Option<ImageOutcome>; DOORS.len()];
type Rows = BTreeMap<String, Row>;
/// What one door came to, by image.
type Outcomes = BTreeMap<String, Option<ImageOutcome>>;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn every_door_believes_what_cosign_signs_from_its_signer_alone() {
    let harbour = Harbour::shared().await;
    let mut waiting = Case::all().into_iter();
    let mut working: tokio::task::JoinSet<(Case, Rows)> = tokio::task::JoinSet::new();
    let mut judged = Vec::new();
    loop {
        while working.len() < AT_ONCE
            && let Some(case) = waiting.next()
        {
            working.spawn(async move { (case, Site::new(case, harbour).judged().await) });
        }
        let Some(done) = working.join_next().await else { break };
        judged.push(done.or_fail("a case"));
    }
    judged.sort_by_key(|(case, _)| Case::all().iter().position(|known| known == case));
    print(harbour, &judged);
    let wrong: Vec<String> = judged.iter().flat_map(|(case, rows)| wrong(harbour, *case, rows)).collect();
    assert!(wrong.is_empty(), "{} rows\n{}", wrong.len(), wrong.join("\n"));
}

/// The rows in which a door is not as expected. Flags may have nothing to say; every other door must.
fn wrong(harbour: &Harbour, case: Case, rows: &Rows) -> Vec<String> {
    let mut wrong = Vec::new();
    for berth in harbour.berths.iter().filter(|berth| case.is_of(berth)) {
        let row = rows.get(&berth.image).or_fail("every image has a row");
        let expected = case.expected(berth);
        let is_right = |(door, outcome): (&str, &Option<ImageOutcome>)| {
            *outcome == Some(expected) || (door == "flags" && outcome.is_none())
        };
        if !DOORS.into_iter().zip(row).all(is_right) {
            wrong.push(format!("{} {}: {expected:?} expected, {row:?}", case.name(), berth.name()));
        }
    }
    wrong
}

/// One case: its policy, its Pods, and a daemon that has not started.
pub(crate) struct Site {
    case: Case,
    harbour: &'static Harbour,
    berths: Vec<&'static Berth>,
    cluster: FolderCluster,
    root: PathBuf,
}

impl Site {
    pub(crate) fn new(case: Case, harbour: &'static Harbour) -> Self {
        let sections = json!({"policy": "image-policy.yaml", "rescan": "* * * * * *"});
        let more = format!("images: {sections}\nregistries: {}\ntelemetry: {{log: warn}}\n", harbour.registries());
        let cluster = FolderCluster::new(&more);
        let berths: Vec<_> = harbour.berths.iter().filter(|berth| case.is_of(berth)).collect();
        let root = cluster.root().join("trusted_root.json");
        fs::write(&root, case.root(harbour.sigstore).bytes()).or_fail("a trusted root");
        for (name, signer) in [("release.pub", &harbour.signer), ("stranger.pub", &harbour.stranger)] {
            fs::copy(signer.cosign().public_key(), cluster.root().join(name)).or_fail("a public key");
        }
        let site = Self { case, harbour, berths, cluster, root };
        fs::write(site.policy_file(), site.policy().to_string()).or_fail("an image policy");
        site
    }

    /// Its configuration.
    pub(crate) fn config(&self) -> PathBuf {
        self.cluster.config()
    }

    pub(crate) fn policy_file(&self) -> PathBuf {
        self.cluster.root().join("image-policy.yaml")
    }

    fn policy(&self) -> Value {
        let rules = self.berths.iter().map(|berth| {
            json!({"name": berth.name(), "images": [berth.repository()],
                "authorities": {"list": [self.case.authority(berth, self.harbour)]}})
        });
        json!({"apiVersion": "portreeve.dev/v1alpha1", "kind": "ImagePolicy", "metadata": {"name": "default"},
            "spec": {"trustRoots": [{"name": "root", "trustedRootFile": "trusted_root.json"}],
                "rules": rules.collect::<Vec<_>>()}})
    }

    fn pods(&self) -> Vec<(&'static Berth, Value)> {
        let pod = |berth: &Berth| pod(NAMESPACE, &berth.name(), json!({"name": "main", "image": berth.image}));
        self.berths.iter().map(|berth| (*berth, pod(berth))).collect()
    }

    /// Takes the images through every door.
    async fn judged(self) -> Rows {
        let pods = self.pods();
        pods.iter().for_each(|(berth, pod)| self.cluster.write(&format!("{}.json", berth.name()), &pod.to_string()));
        let daemon = self.cluster.serve().await;
        let (watched, rescanned) = self.watched().await;
        let (admitted, answered) = self.admitted(&pods).await;
        drop(daemon);
        let (gated, files) = self.gated(&pods);
        for (door, found) in [("watch", &watched), ("rescan", &rescanned)] {
            let lines = differences(("gate", &files), (door, &seen(found)));
            assert!(lines.is_empty(), "{}\n{}", self.case.name(), lines.join("\n"));
        }
        let lines = differences(("gate", &shortened(&files)), ("admission", &shortened(&answered)));
        assert!(lines.is_empty(), "{}\n{}", self.case.name(), lines.join("\n"));
        let (flags, policy) = (self.verified_by_flags(), self.verified_by_policy());
        let row = |berth: &&Berth| {
            let image = berth.image.as_str();
            let of = |door: &Outcomes| door.get(image).copied().flatten();
            let row =
                [of(&flags), of(&policy), of(&gated), of(&admitted), open(&watched, image), open(&rescanned, image)];
            (image.to_owned(), row)
        };
        self.berths.iter().map(row).collect()
    }

    /// The open findings about images, after all of them were judged once, and again by the schedule.
    async fn watched(&self) -> (Vec<Value>, Vec<Value>) {
        let doors = self.cluster.doors();
        let scans = r#"portreeve_scans_total{scanner="images",result="success"}"#;
        let wanted = self.berths.iter().filter(|berth| self.case.expected(berth) != ImageOutcome::Verified).count();
        let of_images = |open: &[Value]| -> Vec<Value> {
            open.iter().filter(|finding| finding["subject"]["type"] == "image").cloned().collect()
        };
        doors.until_sample(scans, |scans| scans >= 1.0).await;
        let watched = of_images(&doors.until_open("the images", |open| of_images(open).len() >= wanted).await);
        let before = doors.sample(scans).await;
        // The next one may be under way.
        doors.until_sample(scans, |scans| scans >= before + 2.0).await;
        (watched, of_images(&doors.open().await))
    }

    async fn admitted(&self, pods: &[(&Berth, Value)]) -> (Outcomes, AllSeen) {
        let (mut outcomes, mut all) = (BTreeMap::new(), AllSeen::new());
        for (berth, pod) in pods {
            let answer = self.cluster.validate(&review(pod, Change::Create)).await.or_fail("an answer").json();
            let response = &answer["response"];
            let told: AllSeen = admission::told(response).into_iter().filter(Seen::is_of_image).collect();
            let passed = response["auditAnnotations"]["passed"].as_str().unwrap_or_default().split_whitespace();
            let failed = told.iter().map(|seen| (seen.code.as_str(), seen.verdict.as_str()));
            let outcome = ImageOutcome::of(failed.chain(passed.map(|code| (code, "pass"))));
            let is_verified = outcome == Some(ImageOutcome::Verified);
            assert_eq!(response["allowed"], is_verified, "{} {}: {answer}", self.case.name(), berth.name());
            outcomes.insert(berth.image.clone(), outcome);
            all.extend(told);
        }
        (outcomes, all)
    }

    /// The gate once for each outcome that is expected, whose exit it must then have.
    fn gated(&self, pods: &[(&Berth, Value)]) -> (Outcomes, AllSeen) {
        let (mut outcomes, mut all) = (BTreeMap::new(), AllSeen::new());
        let mut groups: BTreeMap<ImageOutcome, Vec<Value>> = BTreeMap::new();
        for (berth, pod) in pods {
            groups.entry(self.case.expected(berth)).or_default().push(pod.clone());
        }
        for (expected, pods) in groups {
            let (exit, findings) = gate_by(&self.config(), &pods, NAMESPACE, &ONE_CONTROL);
            outcomes.extend(ImageOutcome::by_reference(&findings));
            all.extend(findings.iter().filter_map(Seen::of).filter(Seen::is_of_image));
            assert_eq!(exit, Some(expected.exit()), "{} {expected:?}: {outcomes:?}", self.case.name());
        }
        (outcomes, all)
    }

    fn verified_by_policy(&self) -> Outcomes {
        let policy = ["--image-policy".to_owned(), self.policy_file().display().to_string()];
        self.verified(|_| Some(policy.to_vec()))
    }

    fn verified_by_flags(&self) -> Outcomes {
        self.verified(|berth| self.case.flags(berth, self.harbour, &self.root))
    }

    /// `verify` once for the images of each outcome that is expected, and of the same arguments.
    fn verified(&self, arguments: impl Fn(&Berth) -> Option<Vec<String>>) -> Outcomes {
        let mut groups: BTreeMap<(ImageOutcome, Vec<String>), Vec<&str>> = BTreeMap::new();
        for berth in &self.berths {
            let Some(arguments) = arguments(berth) else { continue };
            groups.entry((self.case.expected(berth), arguments)).or_default().push(&berth.image);
        }
        let mut outcomes = BTreeMap::new();
        for ((expected, arguments), images) in groups {
            let (exit, findings) = verify(&self.config(), &arguments, &images);
            outcomes.extend(ImageOutcome::by_reference(&findings));
            assert_eq!(exit, Some(expected.exit()), "{} {arguments:?}: {outcomes:?}", self.case.name());
        }
        outcomes
    }
}

/// The exit code of `portreeve verify` and its findings, passes too.
fn verify(config: &Path, arguments: &[String], images: &[&str]) -> (Option<i32>, Vec<Value>) {
    let mut command = Portreeve::command();
    command.arg("verify").arg("--config").arg(config).args(["--format", "json", "--all-verdicts"]);
    let output = Portreeve::finish(command.args(arguments).args(images));
    let report: Value = serde_json::from_str(&output.stdout).or_fail(&output.stderr);
    (output.code, report["findings"].as_array().or_fail("findings").clone())
}

/// What a daemon that has judged an image says of it. It keeps no passes.
fn open(found: &[Value], image: &str) -> Option<ImageOutcome> {
    let of_it: Vec<Value> = found.iter().filter(|finding| finding["subject"]["reference"] == image).cloned().collect();
    if of_it.is_empty() { Some(ImageOutcome::Verified) } else { ImageOutcome::by_reference(&of_it)[image] }
}

#[expect(clippy::print_stdout, reason = "what was compared is shown with --nocapture, and when the test fails")]
fn print(harbour: &Harbour, judged: &[(Case, Rows)]) {
    println!(
        "{:<8} {:<36} {:<18} {}",
        "maker",
        "way and registry",
        "case",
        DOORS.map(|door| format!("{door:<10}")).join("")
    );
    for (case, rows) in judged {
        for berth in harbour.berths.iter().filter(|berth| case.is_of(berth)) {
            let cells = rows[&berth.image].map(|outcome| {
                format!(
                    "{:<10}",
                    outcome.map_or_else(|| "-".to_owned(), |outcome| format!("{outcome:?}").to_lowercase())
                )
            });
            println!("{:<8} {:<36} {:<18} {}", "cosign", berth.name(), case.name(), cells.join(""));
        }
    }
}
