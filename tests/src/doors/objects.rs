//! Objects: all kinds of workloads, and what their judgement depends on.

use serde_json::{Value, json};

use super::dice::Dice;
use super::images::Images;
use super::pods::PodMaker;

/// The workload kinds, with API version and the restart policy that their pods may have.
pub const WORKLOADS: [(&str, &str, &str); 8] = [
    ("v1", "Pod", "Always"),
    ("v1", "ReplicationController", "Always"),
    ("apps/v1", "Deployment", "Always"),
    ("apps/v1", "StatefulSet", "Always"),
    ("apps/v1", "DaemonSet", "Always"),
    ("apps/v1", "ReplicaSet", "Always"),
    ("batch/v1", "Job", "Never"),
    ("batch/v1", "CronJob", "OnFailure"),
];

/// The annotation from before there was a field, of the first container.
const APPARMOR: &str = "container.apparmor.security.beta.kubernetes.io/main-0";

/// An object to be created.
#[derive(Clone, Debug)]
pub struct Planned {
    /// As it is created.
    pub object: Value,
    /// What is added to it once it is there: a Pod's ephemeral containers.
    pub ephemeral: Vec<Value>,
}

impl Planned {
    /// As it is once everything was added.
    pub fn whole(&self) -> Value {
        let mut whole = self.object.clone();
        if !self.ephemeral.is_empty() {
            whole["spec"]["ephemeralContainers"] = self.ephemeral.clone().into();
        }
        whole
    }

    /// Its kind.
    pub fn kind(&self) -> &str {
        self.object["kind"].as_str().unwrap_or_default()
    }
}

/// The objects of a namespace.
#[derive(Clone, Debug)]
pub struct Objects {
    /// Service accounts, network policies and ConfigMaps; the `default` service account is there already.
    pub related: Vec<Value>,
    /// So many of each kind.
    pub workloads: Vec<Planned>,
}

impl Objects {
    /// Objects that follow the seed, `each` of every workload kind.
    pub fn generate(seed: u64, each: usize, namespace: &str, images: &Images) -> Self {
        let mut dice = Dice::new(seed);
        let (trusted, any) = (images.trusted(), images.any());
        let mut workloads = Vec::new();
        for number in 0..each {
            for (api_version, kind, restart_policy) in WORKLOADS {
                let carelessness = *dice.pick(&[3, 3, 45, 85]);
                let mut maker = PodMaker { dice: &mut dice, carelessness, trusted: &trusted, any: &any };
                let spec = maker.spec(restart_policy);
                let ephemeral = if kind == "Pod" { maker.ephemeral() } else { Vec::new() };
                let name = format!("{}-{number}", kind.to_lowercase());
                let nets = policies();
                let net = if dice.percent(40) { "both" } else { dice.pick(&nets).0 };
                let net = if dice.percent(15) { "none" } else { net };
                let labels = json!({"app": name, "net": net});
                let metadata = json!({"name": name, "namespace": namespace});
                let mut template = json!({"labels": labels});
                if dice.percent(15) && !spec.to_string().contains("appArmorProfile") {
                    template["annotations"] = json!({APPARMOR: dice.pick(&["runtime/default", "unconfined"])});
                }
                let object = workload((api_version, kind), metadata, template, spec);
                workloads.push(Planned { object, ephemeral });
            }
        }
        Self { related: related(&mut dice, namespace), workloads }
    }

    /// Every object as it is in the end, the `default` service account included.
    pub fn manifests(&self, namespace: &str) -> Vec<Value> {
        let default = named("v1", "ServiceAccount", "default", namespace);
        let workloads = self.workloads.iter().map(Planned::whole);
        std::iter::once(default).chain(self.related.iter().cloned()).chain(workloads).collect()
    }
}

fn workload((api_version, kind): (&str, &str), metadata: Value, made: Value, spec: Value) -> Value {
    let labels = &made["labels"];
    let mut object = json!({"apiVersion": api_version, "kind": kind, "metadata": metadata});
    let template = json!({"metadata": &made, "spec": &spec});
    let selector = json!({"matchLabels": {"app": labels["app"]}});
    match kind {
        "Pod" => {
            for key in ["labels", "annotations"] {
                object["metadata"][key] = made[key].clone();
            }
            object["spec"] = spec;
        }
        "CronJob" => object["spec"] = json!({"schedule": "0 3 * * *", "jobTemplate": {"spec": {"template": template}}}),
        "Job" => object["spec"] = json!({"template": template}),
        "ReplicationController" => object["spec"] = json!({"selector": {"app": labels["app"]}, "template": template}),
        "StatefulSet" => object["spec"] = json!({"serviceName": "web", "selector": selector, "template": template}),
        _ => object["spec"] = json!({"selector": selector, "template": template}),
    }
    object
}

fn named(api_version: &str, kind: &str, name: &str, namespace: &str) -> Value {
    json!({"apiVersion": api_version, "kind": kind, "metadata": {"name": name, "namespace": namespace}})
}

/// Network policies by the value of the label that selects their pods: with all ways to say, and not to say, which
/// directions they are about.
fn policies() -> Vec<(&'static str, Value)> {
    vec![
        ("both", json!({"policyTypes": ["Ingress", "Egress"]})),
        ("implied", json!({"egress": [{}], "policyTypes": null})),
        ("empty-types", json!({"egress": [{}], "policyTypes": []})),
        ("in", json!({"ingress": []})),
        ("empty-egress", json!({"egress": []})),
        ("empty-both", json!({"egress": null, "policyTypes": []})),
        ("out", json!({"policyTypes": ["Egress"]})),
    ]
}

fn related(dice: &mut Dice, namespace: &str) -> Vec<Value> {
    let mut objects = Vec::new();
    for (name, gives_token) in [("quiet", false), ("loud", true)] {
        let mut account = named("v1", "ServiceAccount", name, namespace);
        account["automountServiceAccountToken"] = gives_token.into();
        objects.push(account);
    }
    for (net, spec) in policies() {
        let mut policy = named("networking.k8s.io/v1", "NetworkPolicy", net, namespace);
        policy["spec"] = spec;
        policy["spec"]["podSelector"] = match dice.percent(50) {
            true => json!({"matchLabels": {"net": net}}),
            false => json!({"matchExpressions": [{"key": "net", "operator": "In", "values": [net]}]}),
        };
        objects.push(policy);
    }
    for number in 0..6 {
        let mut settings = named("v1", "ConfigMap", &format!("settings-{number}"), namespace);
        let (key, value) = *dice.pick(&[("mode", "production"), ("db.password", "hunter2"), ("conf", "Bearer x")]);
        settings["data"] = json!({key: value, "token": dice.pick(&[json!(""), Value::Null])});
        objects.push(settings);
    }
    objects
}
