//! The API server: whether it answers, what time it has, and what we may do there.

use std::time::Duration;

use futures::StreamExt as _;
use jiff::Timestamp;
use k8s_openapi::api::authorization::v1::{ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec};
use kube::api::PostParams;
use kube::{Api, Client};

use super::{Check, words};
use crate::cluster::client::{KubeSource, connect};
use crate::cluster::kinds::{KINDS, RULE_KINDS};
use crate::config::valid::{ClusterRead, Tls};
use crate::config::{ClusterSource, Config};

/// A clock that is further off makes leases and short-lived tokens wrong.
const MAX_SKEW: i64 = 5;
/// Questions about rights that wait at the same time.
const AT_ONCE: usize = 8;
/// The name of our webhook configurations: the chart's.
const CONFIGURATION: &str = "portreeve";
/// More than this of a version document is not read.
const VERSION_BYTES: usize = 64 << 10;

/// A right that we need, and what for.
struct Right {
    group: &'static str,
    resource: &'static str,
    subresource: Option<&'static str>,
    verbs: &'static [&'static str],
    /// All namespaces when `None`.
    namespace: Option<String>,
    /// The one object that it is about; roles grant no more. Whoever creates has no name yet.
    name: Option<String>,
    needed: &'static str,
}

/// Connection, clock, rights.
pub(super) async fn check(config: &Config, timeout: Duration) -> Vec<Check> {
    let source = match &config.cluster {
        ClusterSource::Folder { path, .. } => {
            return vec![Check::ok("cluster", format!("the folder {} stands in for a cluster", path.display()))];
        }
        ClusterSource::InCluster => KubeSource::InCluster,
        ClusterSource::Kubeconfig { file, context } => {
            KubeSource::Kubeconfig { file: file.clone(), context: context.clone() }
        }
    };
    let client = match connect(&source).await {
        Ok(client) => client,
        Err(error) => return vec![Check::fail("cluster", words(&error), "correct cluster.kubeconfig or its context")],
    };
    match tokio::time::timeout(timeout, connected(&client, config)).await {
        Ok(checks) => checks,
        Err(_) => {
            let message = format!("the API server did not answer all questions within {timeout:?}");
            vec![Check::unknown("cluster", message, "is it overloaded? ask again, with a longer --timeout")]
        }
    }
}

async fn connected(client: &Client, config: &Config) -> Vec<Check> {
    let mut checks = reach(client).await;
    if checks.iter().any(|check| check.area == "cluster" && check.status != super::Status::Ok) {
        let message = "our rights were not asked for: the API server does not answer";
        checks.push(Check::unknown("rights", message, "mend the way to the API server first"));
        return checks;
    }
    let asked = rights(config).into_iter().map(|right| allowed(client, right));
    checks.extend(futures::stream::iter(asked).buffered(AT_ONCE).collect::<Vec<_>>().await);
    checks
}

/// Whether `/version` answers, and what time its answer has.
async fn reach(client: &Client) -> Vec<Check> {
    let refused = |error: &dyn std::error::Error| {
        let remedy = "is the address of the kubeconfig right, the API server up, and the credentials valid?";
        vec![Check::fail("cluster", format!("the API server cannot be asked: {}", words(error)), remedy)]
    };
    let request = match http::Request::get("/version").body(kube::client::Body::empty()) {
        Ok(request) => request,
        Err(error) => return refused(&error),
    };
    let before = Timestamp::now();
    let response = match client.send(request).await {
        Ok(response) => response,
        Err(error) => return refused(&error),
    };
    let after = Timestamp::now();
    if !response.status().is_success() {
        let message = format!("the API server answers {} to /version", response.status());
        return vec![Check::fail("cluster", message, "are the credentials of the kubeconfig valid?")];
    }
    let date = response.headers().get(http::header::DATE).and_then(|date| date.to_str().ok()).map(str::to_owned);
    let body = axum::body::to_bytes(axum::body::Body::new(response.into_body()), VERSION_BYTES).await.ok();
    let version = body.and_then(|bytes| serde_json::from_slice::<serde_json::Value>(&bytes).ok());
    let version = version.as_ref().and_then(|version| version["gitVersion"].as_str()).unwrap_or("of unknown version");
    vec![Check::ok("cluster", format!("the API server answers ({version})")), clock(date.as_deref(), before, after)]
}

/// The Date header has whole seconds, and the answer was on its way: our clock may be anywhere between.
fn clock(date: Option<&str>, before: Timestamp, after: Timestamp) -> Check {
    let parsed = date.and_then(|date| jiff::fmt::rfc2822::parse(date).ok()).map(|date| date.timestamp());
    let Some(date) = parsed else {
        let message = "the API server's answer has no date that can be read";
        return Check::unknown("clock", message, "compare the clocks by hand: date -u");
    };
    let ahead = before.as_second() - date.as_second() - 1;
    let behind = date.as_second() - after.as_second();
    let (skew, word) = if ahead > behind { (ahead, "ahead of") } else { (behind, "behind") };
    if skew <= MAX_SKEW {
        return Check::ok("clock", format!("our clock and the API server's agree within {MAX_SKEW} s"));
    }
    let message = format!("our clock is {skew} s {word} the API server's");
    Check::fail("clock", message, "set the clocks of both machines by NTP: leases and tokens depend on them")
}

fn rights(config: &Config) -> Vec<Right> {
    const READ: &[&str] = &["list", "watch"];
    const WRITE: &[&str] = &["get", "create", "patch"];
    const KEEP: &[&str] = &["get", "list", "create", "update", "delete"];
    let right = |group, resource, verbs, needed| Right {
        group,
        resource,
        subresource: None,
        verbs,
        namespace: None,
        name: None,
        needed,
    };
    let watched = KINDS.iter().filter(|kind| !kind.is_secret());
    let mut rights: Vec<Right> =
        watched.map(|kind| right(kind.group, kind.plural, READ, "to watch the cluster")).collect();
    for kind in &RULE_KINDS {
        rights.push(right(kind.group, kind.plural, READ, "for the cluster's own rules"));
        let status = right(kind.group, kind.plural, &["patch"], "to say what became of the cluster's own rules");
        rights.push(Right { subresource: Some("status"), ..status });
    }
    rights.push(right("", "namespaces", &["get"], "for the cluster's identity"));
    if config.secrets.cluster_read != ClusterRead::Off {
        rights.push(right("", "secrets", READ, "for secrets.clusterRead"));
    }
    rights.push(Right {
        namespace: Some(config.leader.namespace.clone()),
        name: Some(config.leader.lease.clone()),
        ..right("coordination.k8s.io", "leases", &["get", "create", "update"], "for the lease of the writer")
    });
    if config.platform.is_some() {
        rights.push(Right {
            namespace: Some(config.leader.namespace.clone()),
            ..right("", "configmaps", KEEP, "for the platform's inventories")
        });
    }
    if let Some(Tls::Managed(tls)) = config.admission.as_ref().map(|admission| &admission.tls) {
        rights.push(Right {
            namespace: Some(tls.namespace.clone()),
            name: Some(tls.secret.clone()),
            ..right("", "secrets", &["get", "update"], "for the webhook's certificate")
        });
        for webhooks in ["mutatingwebhookconfigurations", "validatingwebhookconfigurations"] {
            let group = "admissionregistration.k8s.io";
            let publish = right(group, webhooks, &["get", "patch"], "to say who signs the webhook's certificate");
            rights.push(Right { name: Some(CONFIGURATION.to_owned()), ..publish });
        }
    }
    let targets = config.secrets.sync.iter().filter_map(|sync| sync.target.as_ref());
    let mut namespaces: Vec<String> = targets.map(|target| target.namespace.clone()).collect();
    namespaces.sort();
    namespaces.dedup();
    rights.extend(
        namespaces
            .into_iter()
            .map(|namespace| Right { namespace: Some(namespace), ..right("", "secrets", WRITE, "for secrets.sync") }),
    );
    rights
}

/// Asks for each verb; a line for the resource.
async fn allowed(client: &Client, right: Right) -> Check {
    let within = right.namespace.as_ref().map_or_else(String::new, |namespace| format!(" in {namespace}"));
    let resource =
        right.subresource.map_or_else(|| right.resource.to_owned(), |part| format!("{}/{part}", right.resource));
    let what = format!("{} {resource}{within}, {}", right.verbs.join(", "), right.needed);
    let mut denied = Vec::new();
    for verb in right.verbs {
        match review(client, &right, verb).await {
            Ok(true) => {}
            Ok(false) => denied.push(*verb),
            Err(error) => {
                let message = format!("{what}: the API server did not say: {}", words(&error));
                return Check::unknown(
                    "rights",
                    message,
                    "ask again; the API server must answer SelfSubjectAccessReviews",
                );
            }
        }
    }
    if denied.is_empty() {
        return Check::ok("rights", what);
    }
    let group = if right.group.is_empty() { String::new() } else { format!(" of {}", right.group) };
    let message = format!("may not {} {resource}{group}{within}, which is needed {}", denied.join(", "), right.needed);
    Check::fail("rights", message, "give the right to our account: the chart's role has what each part needs")
}

async fn review(client: &Client, right: &Right, verb: &str) -> Result<bool, kube::Error> {
    let attributes = ResourceAttributes {
        group: Some(right.group.to_owned()),
        resource: Some(right.resource.to_owned()),
        subresource: right.subresource.map(str::to_owned),
        verb: Some(verb.to_owned()),
        namespace: right.namespace.clone(),
        name: right.name.clone().filter(|_| verb != "create"),
        ..ResourceAttributes::default()
    };
    let spec = SelfSubjectAccessReviewSpec { resource_attributes: Some(attributes), ..Default::default() };
    let review = SelfSubjectAccessReview { spec, ..Default::default() };
    let reviews: Api<SelfSubjectAccessReview> = Api::all(client.clone());
    let answer = reviews.create(&PostParams::default(), &review).await?;
    Ok(answer.status.is_some_and(|status| status.allowed))
}
