use std::sync::Arc;
use std::time::Duration;

use portreeve_policies::object::{ReadOptions, read_objects};
use portreeve_reports::{Cause, SubjectKey};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::Means;
use super::images::Images;
use super::workloads::Workloads;
use crate::cluster::feed::Feed;
use crate::cluster::index::Item;
use crate::cluster::key::ObjectKey;
use portreeve_secrets::credentials::Values;

use crate::cluster::kinds::{KINDS, WatchedKind};
use crate::cluster::writer::{Event, index};
use crate::judge::{CurrentJudge, FileSource, Judge, JudgeSettings, Rules};
use crate::registry::{RegistryClient, RegistryOptions};
use crate::runtime::readiness::Parts;
use crate::scheduler::driver::Trigger;
use crate::store::{Retention, Store, StoreUrl, SubjectFindings, recorder};

const PATIENCE: Duration = Duration::from_secs(20);

/// The daemon's middle: writer, controllers, recorder and a real store.
struct Daemon {
    events: mpsc::Sender<Event>,
    store: Store,
}

impl Daemon {
    /// Runs `test` beside the tasks; `before` are findings of an earlier run.
    async fn with<F: AsyncFnOnce(&Self)>(before: Vec<SubjectFindings>, test: F) {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&StoreUrl::sqlite(folder.path().join("portreeve.db")), "test").await.unwrap();
        store.record_many(before).await.unwrap();
        let stored = store.subjects().await.unwrap();
        let (recorder_task, recorder) = recorder(store.clone(), Retention::default());
        let tally = Arc::new(crate::judge::tally::Tally::new(0));
        let (workload_feed, image_feed) = (Feed::default(), Feed::default());
        let permit = Parts::new().permit("index");
        let (writer, events, cluster) = index(vec![workload_feed.clone(), image_feed.clone()], permit);
        let judge = CurrentJudge::new(judge());
        judge.settle();
        let metrics = Arc::new(crate::runtime::metrics::Metrics::new("test"));
        let scans = super::scans::Scans::new(
            (judge.clone(), cluster.clone()),
            (store.clone(), recorder.clone()),
            Arc::clone(&tally),
            metrics,
            (super::ledger::Needs::default(), true),
        );
        let means = Means {
            judge: judge.clone(),
            cluster: cluster.clone(),
            feed: workload_feed,
            recorder: recorder.clone(),
            tally: Arc::clone(&tally),
            rescan: Trigger::default(),
            scans: scans.clone(),
        };
        let workloads = Workloads { means, opening: Arc::default() };
        let images =
            Images(Means { judge, cluster, feed: image_feed, recorder, tally, rescan: Trigger::default(), scans });
        let shutdown = CancellationToken::new();
        let this = Self { events, store };
        let tested = async {
            test(&this).await;
            shutdown.cancel();
        };
        let all = async {
            tokio::join!(
                writer.run(shutdown.clone()),
                workloads.run(stored.clone(), shutdown.clone()),
                images.run(stored.clone(), shutdown.clone()),
                recorder_task.run(shutdown.clone()),
                tested,
            )
        };
        tokio::time::timeout(PATIENCE, all).await.expect("the controllers answer in time");
    }

    async fn send(&self, event: Event) {
        self.events.send(event).await.unwrap();
    }

    async fn list_nothing(&self) {
        for kind in &KINDS {
            self.send(Event::Listed(kind, Vec::new())).await;
        }
    }

    /// Waits until exactly these subjects have open findings.
    async fn until_open(&self, subjects: &[&SubjectKey]) {
        let mut counts = self.store.counts();
        loop {
            counts.borrow_and_update();
            let open = self.store.subjects().await.unwrap();
            if open.iter().collect::<Vec<_>>() == subjects {
                return;
            }
            counts.changed().await.unwrap();
        }
    }
}

impl Daemon {
    /// Waits until exactly these codes have open findings.
    async fn until_open_codes(&self, codes: &[&str]) {
        let mut counts = self.store.counts();
        loop {
            counts.borrow_and_update();
            let mut open = self.store.codes().await.unwrap();
            open.sort();
            if open == codes {
                return;
            }
            counts.changed().await.unwrap();
        }
    }
}

/// The real rules, as far as privileged containers go.
fn judge() -> Judge {
    // Without a provider there is no client, even for a registry that is never asked.
    drop(rustls::crypto::aws_lc_rs::default_provider().install_default());
    let settings = JudgeSettings { controls: vec!["C-0057".to_owned()], ..JudgeSettings::default() };
    let rules = Rules::load(&settings, &FileSource::WorkingTree).unwrap();
    Judge::new(rules, RegistryClient::new(RegistryOptions::default()).unwrap())
}

/// A Deployment that is bad in its type, so that its finding does not depend on rules.
fn bad(name: &str) -> Item {
    let yaml = format!(
        "{{apiVersion: apps/v1, kind: Deployment, metadata: {{name: {name}, namespace: dev}}, spec: {{template: 7}}}}"
    );
    let unreadable = read_objects(None, yaml.as_bytes(), &ReadOptions::default()).unreadable.remove(0);
    Item::Bad(ObjectKey::of_unreadable(&unreadable).unwrap(), Box::new(unreadable))
}

fn good(name: &str) -> Item {
    deployment(name, "{privileged: false}")
}

fn deployment(name: &str, security: &str) -> Item {
    let yaml = format!(
        "{{apiVersion: apps/v1, kind: Deployment, metadata: {{name: {name}, namespace: dev}}, spec: {{template: \
         {{spec: {{containers: [{{name: app, image: 'quay.io/a/b:1', securityContext: {security}}}]}}}}}}}}"
    );
    Item::good(read_objects(None, yaml.as_bytes(), &ReadOptions::default()).objects.remove(0), Values::Read)
}

fn subject(name: &str) -> SubjectKey {
    SubjectKey(["object", "apps", "Deployment", "dev", name].join("\u{1f}"))
}

fn stored(name: &str) -> SubjectFindings {
    let Item::Bad(_, unreadable) = bad(name) else { panic!("it is bad") };
    let at = "2026-01-01T00:00:00Z".parse().unwrap();
    SubjectFindings { subject: subject(name), findings: vec![unreadable.finding()], at }
}

#[tokio::test]
async fn an_event_becomes_a_finding_and_the_next_one_resolves_it() {
    Daemon::with(Vec::new(), async |daemon| {
        daemon.list_nothing().await;
        daemon.send(Event::Applied(bad("hub"))).await;
        daemon.send(Event::Applied(bad("proxy"))).await;
        daemon.until_open(&[&subject("hub"), &subject("proxy")]).await;
        daemon.send(Event::Applied(good("hub"))).await;
        daemon.until_open(&[&subject("proxy")]).await;
        daemon.send(Event::Deleted(bad("proxy").key())).await;
        daemon.until_open(&[]).await;
    })
    .await;
}

#[tokio::test]
async fn a_failure_opens_and_its_fix_resolves() {
    Daemon::with(Vec::new(), async |daemon| {
        daemon.list_nothing().await;
        daemon.send(Event::Applied(deployment("hub", "{privileged: true}"))).await;
        daemon.until_open(&[&subject("hub")]).await;
        daemon.send(Event::Applied(deployment("hub", "{privileged: false}"))).await;
        daemon.until_open(&[]).await;
    })
    .await;
}

#[tokio::test]
async fn subjects_that_went_away_while_we_were_down_are_resolved_by_the_first_sync() {
    Daemon::with(vec![stored("gone"), stored("here")], async |daemon| {
        daemon.until_open(&[&subject("gone"), &subject("here")]).await;
        daemon.send(Event::Applied(bad("here"))).await;
        for kind in &KINDS {
            let items = if kind.kind == "Deployment" { vec![bad("here")] } else { Vec::new() };
            daemon.send(Event::Listed(kind, items)).await;
        }
        daemon.until_open(&[&subject("here")]).await;
    })
    .await;
}

#[tokio::test]
async fn a_kind_that_cannot_be_listed_is_a_finding_and_proves_nothing_gone() {
    let hidden = SubjectKey(["object", "apps", "Deployment", "", "*"].join("\u{1f}"));
    let deployments = WatchedKind::find("apps", "Deployment").unwrap();
    Daemon::with(vec![stored("gone")], async |daemon| {
        for kind in KINDS.iter().filter(|kind| *kind != deployments) {
            daemon.send(Event::Listed(kind, Vec::new())).await;
        }
        daemon.send(Event::NotListed(deployments, Cause::Forbidden, "no".to_owned())).await;
        daemon.until_open(&[&hidden, &subject("gone")]).await;
        daemon.send(Event::Listed(deployments, Vec::new())).await;
        daemon.until_open(&[]).await;
    })
    .await;
}

#[tokio::test]
async fn images_that_nobody_uses_any_more_are_gone() {
    let image = SubjectKey("image\u{1f}quay.io/old/app".to_owned());
    let mut old = stored("x");
    let subject = portreeve_reports::Subject::Image {
        repository: "quay.io/old/app".to_owned(),
        reference: "quay.io/old/app:1".to_owned(),
        digest: None,
    };
    let finding = portreeve_reports::FindingBuilder::new(
        portreeve_reports::Code::parse("PR-1001").unwrap(),
        portreeve_reports::Severity::High,
        portreeve_reports::Verdict::Fail,
    );
    let finding = finding.subject(subject).location(portreeve_reports::Location::default()).build().unwrap();
    (old.subject, old.findings) = (image.clone(), vec![finding]);
    Daemon::with(vec![old], async |daemon| {
        daemon.until_open(&[&image]).await;
        daemon.list_nothing().await;
        daemon.until_open(&[]).await;
    })
    .await;
}

#[tokio::test]
async fn a_file_that_was_encrypted_and_is_read_whole_as_another_has_nothing_of_an_encrypted_one_open() {
    let path = "a.yaml";
    let about = portreeve_reports::Subject::File { path: path.to_owned() };
    let broken = portreeve_secrets::sops::CODES[0];
    let finding =
        portreeve_reports::FindingBuilder::new(broken.code(), broken.severity, portreeve_reports::Verdict::Fail);
    let place = portreeve_reports::Location { file: Some(path.into()), ..portreeve_reports::Location::default() };
    let finding = finding.message("broken").subject(about.clone()).location(place).build().unwrap();
    let at = "2026-01-01T00:00:00Z".parse().unwrap();
    let before = SubjectFindings { subject: about.key(), findings: vec![finding], at };
    let unreadable = portreeve_policies::object::Unreadable::of_file(path, Cause::Unreadable, "cut off");
    Daemon::with(vec![before], async |daemon| {
        daemon.list_nothing().await;
        daemon.send(Event::FileRead(path.into(), vec![unreadable.finding()], None)).await;
        daemon.until_open_codes(&["PR-0001", "PR-3001"]).await;
        daemon.send(Event::FileRead(path.into(), Vec::new(), None)).await;
        daemon.until_open_codes(&[]).await;
    })
    .await;
}
