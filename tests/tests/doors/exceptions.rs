//! Exceptions of files and of the cluster, modes of namespaces and frameworks act alike at all doors; and a door that
//! ignores exceptions is found out.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use portreeve_tests::OrFail as _;
use portreeve_tests::api::{Api, documents};
use portreeve_tests::binary::Portreeve;
use portreeve_tests::control_plane::ControlPlane;
use portreeve_tests::doors::admission::{Change, review, validate};
use portreeve_tests::doors::ci::gate;
use portreeve_tests::doors::create;
use portreeve_tests::doors::daemon::{Daemon, head};
use portreeve_tests::doors::dice::Dice;
use portreeve_tests::doors::findings::{AllSeen, differences, shortened};
use portreeve_tests::doors::images::Images;
use portreeve_tests::doors::objects::Objects;
use portreeve_tests::process::{START, until};
use serde_json::{Value, json};

use super::{ALWAYS, NEVER, SEED, assert_agree};

/// Objects of each workload kind.
const EACH: usize = 3;

/// Exceptions of both sources: in files, in the cluster.
struct Accepted {
    in_files: Vec<Value>,
    in_cluster: Vec<Value>,
}

/// A document that excepts one failure and no other.
fn exception(number: usize, seen: &Value, code: &str, namespace: &str) -> Value {
    let subject = &seen["subject"];
    let kind = if subject["type"] == "image" { "ClusterException" } else { "Exception" };
    let mut subjects = match kind {
        "Exception" => json!({"kinds": [subject["kind"]], "names": [subject["name"]]}),
        _ => {
            let reference = subject["reference"].as_str().or_fail("a reference");
            let (repository, _) = reference.rsplit_once(':').or_fail("a tag");
            json!({"kinds": ["Image"], "names": [repository]})
        }
    };
    if let Some(container) = subject["container"].as_str() {
        subjects["containers"] = json!([container]);
    }
    let mut metadata = json!({"name": format!("accepted-{number}")});
    if kind == "Exception" {
        metadata["namespace"] = namespace.into();
    }
    json!({"apiVersion": "portreeve.dev/v1alpha1", "kind": kind, "metadata": metadata, "spec": {
        "codes": [code], "subjects": subjects, "owner": "team", "reason": "drawn", "expires": "2099-01-31"}})
}

/// Some of the failures, in turn by file and by resource; and exceptions that must not cover anything.
fn drawn(seed: u64, failures: &AllSeen, namespace: &str) -> Accepted {
    let mut dice = Dice::new(seed);
    let mut accepted = Accepted { in_files: Vec::new(), in_cluster: Vec::new() };
    let is_image = |code: &str| code == "PR-1001";
    let failures: Vec<_> = failures.iter().filter(|seen| seen.verdict == "fail").collect();
    let wanted = failures.iter().filter(|seen| seen.code.starts_with("C-") || is_image(&seen.code));
    for (number, seen) in wanted.enumerate() {
        if !dice.percent(25) {
            continue;
        }
        let subject: Value = serde_json::from_str(&seen.subject).or_fail("a subject");
        let document = exception(number, &json!({"subject": subject}), &seen.code, namespace);
        let sources = [&mut accepted.in_files, &mut accepted.in_cluster];
        let [files, cluster] = sources;
        if dice.percent(50) { files.push(document) } else { cluster.push(document) }
    }
    let mut expired = accepted.in_cluster.first().or_fail("one is drawn").clone();
    expired["metadata"]["name"] = "expired".into();
    expired["spec"]["expires"] = "2020-01-31".into();
    let left = failures.iter().rev().find(|seen| seen.code.starts_with("C-")).or_fail("failures of objects");
    let subject: Value = serde_json::from_str(&left.subject).or_fail("a subject");
    // Each of the two lacks what the other has.
    for (name, subjects) in [
        ("half-one", json!({"names": [subject["name"]], "kinds": ["Nothing"]})),
        ("half-two", json!({"names": ["nothing"], "kinds": [subject["kind"]]})),
    ] {
        let spec = json!({"codes": [left.code], "subjects": subjects, "owner": "team", "reason": "half",
            "expires": "2099-01-31"});
        accepted.in_cluster.push(json!({"apiVersion": "portreeve.dev/v1alpha1", "kind": "Exception",
            "metadata": {"name": name, "namespace": namespace}, "spec": spec}));
    }
    accepted.in_cluster.push(expired);
    accepted
}

async fn install(api: &Api) {
    for definition in documents(&Portreeve::run(["crds"]).stdout) {
        api.apply_object(&definition, "").await.or_fail("a definition");
        let plural = definition["spec"]["names"]["plural"].as_str().or_fail("a plural");
        let path = format!("/apis/portreeve.dev/v1alpha1/{plural}");
        until(START, || async { api.get(&path).await.ok() }).await.or_fail(plural);
    }
}

fn stream(documents: &[Value]) -> String {
    documents.iter().map(Value::to_string).collect::<Vec<_>>().join("\n---\n")
}

/// The configuration of a daemon with other files of exceptions.
fn configured(config: &Path, name: &str, exceptions: &[&str]) -> PathBuf {
    let text = std::fs::read_to_string(config).or_fail("the configuration");
    let mut changed: Value = serde_json::from_str(&text).or_fail("the configuration is JSON");
    changed["exceptions"] = json!(exceptions);
    let path = config.with_file_name(name);
    std::fs::write(&path, changed.to_string()).or_fail(name);
    path
}

fn sections(namespace: &str, mode: &str, exception_namespaces: &[&str]) -> Value {
    json!({
        // The parameters are of controls that the framework does not ask.
        "posture": {"frameworks": ["nsa"], "enforce": ["nsa"], "params": null},
        "admission": {"namespaces": [{"match": [namespace], "mode": mode}]},
        "customResources": {"exceptionNamespaces": exception_namespaces},
    })
}

async fn allowed(daemon: &Daemon, objects: &[Value]) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for object in objects {
        let response = daemon.review("/validate", &review(object, Change::Create)).await;
        if response["allowed"] == true {
            names.insert(format!("{} {}", object["kind"], object["metadata"]["name"]));
        }
    }
    names
}

#[tokio::test(flavor = "multi_thread")]
async fn exceptions_modes_and_frameworks_act_alike_at_all_doors() {
    // Images are of the whole cluster: those of another test would be seen here, and these there.
    let (plane, images) = tokio::join!(ControlPlane::start(), Images::new());
    let api = plane.api();
    install(api).await;
    let namespace = plane.namespace("accepted").await;
    let objects = Objects::generate(SEED, EACH, &namespace, &images);
    let manifests = objects.manifests(&namespace);
    let none = [("exceptions.yaml", String::new()), ("cluster.yaml", String::new())];
    let strict_sections = sections(&namespace, "enforce", &[]);
    let strict = Daemon::start_with(&plane, &images, (&namespace, NEVER), (&strict_sections, &none)).await;
    let (failures, _) = gate(strict.config(), &manifests, &namespace);
    let nsa = failures.iter().all(|seen| seen.code != "C-0018");
    assert!(nsa, "probes are no question of the framework");

    let accepted = drawn(SEED, &failures, &namespace);
    assert!(accepted.in_files.len() > 3 && accepted.in_cluster.len() > 6, "enough of both are drawn");
    let files = [("exceptions.yaml", stream(&accepted.in_files)), ("cluster.yaml", stream(&accepted.in_cluster))];
    let lenient = sections(&namespace, "warn", &[&namespace]);
    let watching = Daemon::start_with(&plane, &images, (&namespace, NEVER), (&lenient, &files)).await;
    for resource in &accepted.in_cluster {
        api.create(resource).await.or_fail(&resource.to_string());
    }
    let (created, _) = create(api, &objects, None).await;

    // Files have the exceptions of the cluster as files: the same world.
    let both = configured(watching.config(), "both.yaml", &["exceptions.yaml", "cluster.yaml"]);
    let (expected, _) = gate(&both, &manifests, &namespace);
    let excepted = |all: &AllSeen| all.iter().filter(|seen| seen.verdict == "excepted").count();
    assert!(excepted(&expected) > 10, "{} are excepted", excepted(&expected));
    watching.until_seen("watch", &expected).await;
    let scheduled = Daemon::start_with(&plane, &images, (&namespace, ALWAYS), (&lenient, &files)).await;
    scheduled.until_seen("schedule", &expected).await;
    scheduled.until_rescanned().await;
    scheduled.until_seen("schedule", &expected).await;
    drop(scheduled);
    let with_default = with_default_account(api, &namespace, created.clone()).await;
    let (admitted, _) = validate(&watching, &with_default).await;
    assert_agree(("files", &shortened(&expected)), ("admission", &shortened(&admitted)));

    // A door that ignores exceptions of files, of the cluster, or both, is found out.
    for (name, exceptions) in [
        ("ignores-all.yaml", &[][..]),
        ("ignores-files.yaml", &["cluster.yaml"]),
        ("ignores-cluster.yaml", &["exceptions.yaml"]),
    ] {
        let (forgetful, _) = gate(&configured(watching.config(), name, exceptions), &manifests, &namespace);
        let lines = differences(("files", &expected), (name, &forgetful));
        assert!(lines.iter().any(|line| line.contains("excepted")), "{name}: {}", head(&lines));
    }
    let (forgetful, _) = validate(&strict, &with_default).await;
    let lines = differences(("files", &shortened(&expected)), ("forgetful", &shortened(&forgetful)));
    assert!(lines.iter().any(|line| line.contains("excepted")), "{}", head(&lines));

    // The mode of the namespace bounds what a failure does, never what is found.
    let enforcing = sections(&namespace, "enforce", &[&namespace]);
    let enforcing = Daemon::start_with(&plane, &images, (&namespace, NEVER), (&enforcing, &files)).await;
    enforcing.until_seen("watch of the enforcing", &expected).await;
    let (found, _) = validate(&enforcing, &with_default).await;
    assert_agree(("warn", &shortened(&admitted)), ("enforce", &shortened(&found)));
    let (warned, enforced) = (allowed(&watching, &created).await, allowed(&enforcing, &created).await);
    assert_eq!(warned.len(), created.len(), "nothing is denied where failures are warned of");
    assert!(enforced.len() < warned.len(), "{enforced:?}");
    let strictly = allowed(&strict, &created).await;
    assert!(strictly.is_subset(&enforced), "an exception never denies");
}

async fn with_default_account(api: &Api, namespace: &str, mut objects: Vec<Value>) -> Vec<Value> {
    let path = format!("/api/v1/namespaces/{namespace}/serviceaccounts/default");
    let mut account = api.get(&path).await.or_fail("the default service account");
    account["apiVersion"] = "v1".into();
    account["kind"] = "ServiceAccount".into();
    objects.push(account);
    objects
}
