//! Deployed, guarded, kept.

use std::time::Instant;

use portreeve_tests::{OrFail as _, fail};
use serde_json::{Value, json};

use crate::play::Play;
use crate::site::{self, BASE, PLATFORM, SHOP};
use crate::steps::cluster::{SIGNED, UNSIGNED};
use crate::steps::text;
use crate::teller::{Teller, seconds};

const DEPLOYMENT: &str = "/apis/apps/v1/namespaces/shop/deployments/web";
const PODS: &str = "/api/v1/namespaces/shop/pods";
/// Where the manifest of the web component is.
const MANIFEST: &str = "web/deployment.yaml";

/// Two components are planned, and applied by the daemon.
pub(crate) async fn deployed(play: &Play, teller: &mut Teller) {
    teller.head("A platform is planned, then deployed");
    teller.say("Two folders of manifests: base (namespace, rights, configuration), then web (a Deployment)");
    play.write("base/base.yaml", BASE);
    play.write(MANIFEST, &site::web(&image(play, SIGNED)));
    play.write("proposed.yaml", PLATFORM);
    play.done(teller, &["platform", "plan", "-f", "proposed.yaml"]);
    teller.act("mv proposed.yaml platform.yaml        # the daemon keeps that file");
    let folder = play.stage.daemon.folder();
    std::fs::rename(folder.join("proposed.yaml"), folder.join("platform.yaml")).or_fail("the platform file");
    let pod = play.api().wait_for(PODS, "a running Pod", running).await;
    teller.act(&format!("GET {PODS}"));
    teller.answer(&shown(&pod));
    if !text(&pod, "/spec/containers/0/image").contains("@sha256:") {
        fail("the Pod runs by its digest");
    }
    teller.outcome("web runs by the digest that was verified");
}

/// An unsigned image is refused, whoever brings it.
pub(crate) async fn unsigned(play: &Play, teller: &mut Teller) {
    teller.head("An unsigned image is refused");
    let unsigned = image(play, UNSIGNED);
    teller.say("By hand, as the administrator:");
    teller.act(&format!("POST {PODS}  {{image: {unsigned}}}"));
    match play.api().create(&site::pod(&unsigned)).await {
        Err(refused) if refused.message.contains("PR-1001") => teller.answer(&refused.to_string()),
        answer => fail(format!("an unsigned image is refused, not {answer:?}")),
    }
    teller.say("By the platform: the manifest of web names it");
    teller.act(&format!("sed -i s,{SIGNED},{UNSIGNED}, {MANIFEST}"));
    play.write(MANIFEST, &site::web(&unsigned));
    let finding = play.finding("code=PR-5002").await;
    teller.answer(&format!("finding PR-5002 {}: {}", text(&finding, "/severity"), text(&finding, "/message")));
    evidence(teller, &finding);
    let pod = running(&play.api().get(PODS).await.or_fail("the Pods")).or_fail("the Pod that ran goes on");
    teller.act(&format!("GET {PODS}"));
    teller.answer(&shown(&pod));
    let live = play.api().get(DEPLOYMENT).await.or_fail("the Deployment");
    if !text(&live, "/spec/template/spec/containers/0/image").ends_with(SIGNED) {
        fail(format!("the Deployment keeps its image: {live}"));
    }
    play.write(MANIFEST, &site::web(&image(play, SIGNED)));
    play.stage.daemon.wait_for("code=PR-5002", "no finding", |found| found.is_empty().then_some(())).await;
    teller.outcome("refused twice; the version that ran goes on");
}

/// What somebody changes is put right.
pub(crate) async fn drift(play: &Play, teller: &mut Teller) {
    teller.head("Drift is corrected");
    teller.act(&format!("PATCH {DEPLOYMENT}?fieldManager=somebody  {{spec: {{replicas: 3}}}}"));
    let (path, patch) = (format!("{DEPLOYMENT}?fieldManager=somebody"), json!({"spec": {"replicas": 3}}));
    let changed = play.api().merge(&path, &patch).await.or_fail("the change");
    teller.answer(&format!("replicas: {}", changed["spec"]["replicas"]));
    let since = Instant::now();
    let is_back = |live: &Value| (live["spec"]["replicas"] == 1).then(|| live.clone());
    let live = play.api().wait_for(DEPLOYMENT, "the declared replicas", is_back).await;
    let took = since.elapsed();
    let finding = play.finding("code=PR-5005&state=all").await;
    teller.answer(&format!("finding PR-5005 {}: {}", text(&finding, "/severity"), text(&finding, "/message")));
    teller.answer(&format!("replicas: {}, by {}", live["spec"]["replicas"], owner(&live)));
    teller.outcome(&format!("put right {} after the change", seconds(took)));
}

/// The manager that applied the Deployment.
fn owner(live: &Value) -> &str {
    let managers = live["metadata"]["managedFields"].as_array().map_or(&[][..], Vec::as_slice);
    let owner = managers.iter().find(|entry| !entry["fieldsV1"]["f:spec"]["f:replicas"].is_null());
    owner.map_or("nobody", |entry| text(entry, "/manager"))
}

/// `host/repository:tag`
fn image(play: &Play, reference: &str) -> String {
    format!("{}/{reference}", play.registry.host())
}

/// The Pod of the shop that runs and is not ending.
fn running(pods: &Value) -> Option<Value> {
    let is_running =
        |pod: &&Value| text(pod, "/status/phase") == "Running" && pod["metadata"]["deletionTimestamp"].is_null();
    pods["items"].as_array()?.iter().find(is_running).cloned()
}

/// Name, phase, node and image of a Pod.
fn shown(pod: &Value) -> String {
    let part = |pointer| text(pod, pointer);
    let (name, phase, node) = (part("/metadata/name"), part("/status/phase"), part("/spec/nodeName"));
    format!("{SHOP}/{name}  {phase} on {node}  {}", part("/spec/containers/0/image"))
}

/// What was seen, as far as it is about images.
fn evidence(teller: &Teller, finding: &Value) {
    for item in finding["evidence"].as_array().into_iter().flatten().filter(|item| item["name"] == "PR-1001") {
        teller.answer(&format!("  seen: {} = {}", text(item, "/name"), text(item, "/value")));
    }
}
