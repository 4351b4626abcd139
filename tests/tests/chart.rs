//! The chart: helm renders it, the real API server accepts it, its rights are the least, its webhook entries disjoint.

use std::collections::BTreeSet;

use portreeve_tests::OrFail as _;
use portreeve_tests::api::{Api, documents};
use portreeve_tests::binary::Portreeve;
use portreeve_tests::chart::{NAMESPACE, helm, of_kind, rendered};
use portreeve_tests::control_plane::ControlPlane;
use portreeve_tests::process::scratch;
use serde_json::{Value, json};

const CREATE: &str = "dryRun=All";

/// Values that use every option.
fn everything() -> Value {
    json!({
        "image": {"digest": format!("sha256:{}", "a".repeat(64))},
        "imagePullSecrets": [{"name": "pull"}],
        "admission": {
            "namespaces": [{"match": ["jhub", "dev-*"], "mode": "enforce"}, {"match": ["lab"], "mode": "audit"}],
            "exemptNamespaces": ["dev-free"],
        },
        "webhook": {"tls": {"existingSecret": "own", "caBundle": "-----BEGIN CERTIFICATE-----"}},
        "secrets": {"clusterRead": "full"},
        "credentials": {"maxTokenLifetime": "12h", "warnBeforeExpiry": "7d"},
        "registries": [{"host": "registry.example.org:5000"}],
        "registryCredentials": {"existingSecret": "docker"},
        "imagePolicy": {"spec": {"mode": "enforce"}, "files": {"cosign.pub": "-----BEGIN PUBLIC KEY-----\n"}},
        "exceptions": [{"apiVersion": "portreeve.dev/v1alpha1", "kind": "Exception"}],
        "customResources": {"exceptionNamespaces": ["jhub", "dev-*"]},
        "store": {"persistent": true, "storageClass": "fast"},
        "priorityClassName": "system-cluster-critical",
        "nodeSelector": {"a": "b"},
        "tolerations": [{"operator": "Exists"}],
        "networkPolicy": {"metricsFrom": [{"podSelector": {}}]},
        "platform": {"resource": "demo", "folder": "manifests", "volume": {"persistentVolumeClaim": {"claimName": "platform"}}},
    })
}

/// Several replicas on one PostgreSQL.
fn replicated() -> Value {
    let store = json!({"url": "postgres://portreeve@db.example.org/portreeve", "passwordSecret": {"name": "db"}});
    json!({"replicas": 2, "store": store})
}

#[test]
fn several_replicas_need_a_store_that_they_can_share() {
    let mut values = replicated();
    let objects = rendered(&values);
    let deployment = &of_kind(&objects, "Deployment")["spec"];
    assert_eq!((&deployment["replicas"], &deployment["strategy"]["type"]), (&json!(2), &json!("RollingUpdate")));
    let password = &deployment["template"]["spec"]["containers"][0]["env"][0];
    assert_eq!(password["valueFrom"]["secretKeyRef"], json!({"name": "db", "key": "password"}));
    assert_eq!(of_kind(&objects, "PodDisruptionBudget")["spec"]["maxUnavailable"], 1);
    assert!(objects.iter().all(|object| object["kind"] != "PersistentVolumeClaim"));
    values["store"]["url"] = "".into();
    let refused = helm(&values).output().or_fail("running helm");
    assert!(!refused.status.success(), "two replicas on SQLite");
    values["store"]["url"] = "postgres://portreeve:word@db.example.org/portreeve".into();
    assert!(!helm(&values).output().or_fail("running helm").status.success(), "a password in the values");
}

fn enforcing() -> Value {
    json!({"admission": {"namespaces": [{"match": ["jhub", "dev-*"], "mode": "enforce"}], "exemptNamespaces": ["dev-free"]}})
}

#[tokio::test]
async fn the_api_server_accepts_every_object_of_the_chart() {
    let plane = ControlPlane::start().await;
    plane.create_namespace(NAMESPACE).await;
    let alone = json!({"admission": {"enabled": false}, "store": {"persistent": false}});
    for values in [json!({}), everything(), alone, replicated()] {
        let objects = rendered(&values);
        assert!(objects.len() >= 8, "{} objects", objects.len());
        for object in objects {
            let name = format!("{} of {values}", object["kind"]);
            let mut strict = object.clone();
            if values["webhook"].is_object() && object["kind"].as_str().unwrap().ends_with("WebhookConfiguration") {
                // A made-up CA stands in the values; the API server reads it.
                let entries = strict["webhooks"].as_array_mut().unwrap();
                entries.iter_mut().for_each(|entry| entry["clientConfig"]["caBundle"] = "".into());
            }
            let accepted = plane.api().create_warned(&strict, &format!("{CREATE}&fieldValidation=Strict")).await;
            let warnings = accepted.unwrap_or_else(|status| panic!("{name}: {status}")).warnings;
            assert_eq!(warnings, [""; 0], "{name}");
        }
    }
}

#[tokio::test]
async fn the_pod_keeps_the_restricted_standard() {
    let plane = ControlPlane::shared().await;
    let namespace = plane.namespace("restricted").await;
    let label = json!({"metadata": {"labels": {"pod-security.kubernetes.io/enforce": "restricted"}}});
    plane.api().merge(&format!("/api/v1/namespaces/{namespace}"), &label).await.unwrap();
    let account = json!({"apiVersion": "v1", "kind": "ServiceAccount",
        "metadata": {"name": "portreeve", "namespace": namespace}});
    plane.api().create(&account).await.unwrap();
    let template = of_kind(&rendered(&json!({})), "Deployment")["spec"]["template"].clone();
    let mut pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "one", "namespace": namespace}});
    pod["spec"] = template["spec"].clone();
    plane.api().create_warned(&pod, CREATE).await.unwrap();
    pod["spec"]["containers"][0]["securityContext"]["allowPrivilegeEscalation"] = true.into();
    let refused = plane.api().create_warned(&pod, CREATE).await.unwrap_err();
    assert!(refused.message.contains("PodSecurity"), "{refused}");
}

#[test]
fn the_rights_are_the_least_that_watching_and_writing_need() {
    let mut values = everything();
    assert!(rights(&rendered(&values)).contains("/secrets"));
    values["secrets"]["clusterRead"] = "metadata".into();
    assert!(rights(&rendered(&values)).contains("/secrets"), "there is no right to metadata alone");
    values["secrets"]["clusterRead"] = "off".into();
    let objects = rendered(&values);
    let expected = [
        "/configmaps",
        "/namespaces",
        "/pods",
        "/replicationcontrollers",
        "/serviceaccounts",
        "apps/daemonsets",
        "apps/deployments",
        "apps/replicasets",
        "apps/statefulsets",
        "batch/cronjobs",
        "batch/jobs",
        "networking.k8s.io/networkpolicies",
        "portreeve.dev/clusterexceptions",
        "portreeve.dev/clusterexceptions/status",
        "portreeve.dev/exceptions",
        "portreeve.dev/exceptions/status",
        "portreeve.dev/imagepolicies",
        "portreeve.dev/imagepolicies/status",
        "portreeve.dev/platforms",
        "portreeve.dev/platforms/status",
    ];
    assert_eq!(rights(&objects).iter().map(String::as_str).collect::<Vec<_>>(), expected);
    assert_eq!(rights(&rendered(&json!({}))), rights(&objects), "off is the default");
    let lease = |verbs: Value, names: Value| {
        json!({"apiGroups": ["coordination.k8s.io"], "resources": ["leases"],
        "resourceNames": names, "verbs": verbs})
    };
    let mut create = lease(json!(["create"]), Value::Null);
    create.as_object_mut().unwrap().remove("resourceNames");
    let update = lease(json!(["get", "update"]), json!(["portreeve"]));
    let inventories = json!({"apiGroups": [""], "resources": ["configmaps"],
        "verbs": ["get", "list", "create", "update", "patch", "delete"]});
    let of_namespace = &of_kind(&objects, "Role")["rules"];
    assert_eq!(*of_namespace, json!([create, update, inventories]), "a Secret that is given is not written");
    values["platform"] = json!({});
    assert_eq!(of_kind(&rendered(&values), "Role")["rules"], json!([create, update]), "no platform has no inventories");
}

#[test]
fn what_the_daemon_writes_for_its_own_certificate_is_named_one_by_one() {
    let objects = rendered(&json!({}));
    let written = |kind: &str| of_kind(&objects, kind)["rules"].as_array().unwrap().last().unwrap().clone();
    assert_eq!(
        written("ClusterRole"),
        json!({"apiGroups": ["admissionregistration.k8s.io"], "resourceNames": ["portreeve"],
            "resources": ["mutatingwebhookconfigurations", "validatingwebhookconfigurations"], "verbs": ["get", "patch"]})
    );
    assert_eq!(
        written("Role"),
        json!({"apiGroups": [""], "resources": ["secrets"], "resourceNames": ["portreeve-webhook"],
            "verbs": ["get", "update"]})
    );
    assert_eq!(of_kind(&objects, "Secret")["data"], Value::Null, "the content is never the chart's");
    for kind in ["MutatingWebhookConfiguration", "ValidatingWebhookConfiguration"] {
        for entry in of_kind(&objects, kind)["webhooks"].as_array().unwrap() {
            assert_eq!(entry["clientConfig"]["caBundle"], Value::Null, "the daemon writes it");
        }
    }
}

/// What the role may read, as `group/resource`; what it may write is named, and looked at elsewhere.
fn rights(objects: &[Value]) -> BTreeSet<String> {
    let word = |value: &Value| value.as_str().or_fail("a word of a rule").to_owned();
    let mut rights = BTreeSet::new();
    let rules = of_kind(objects, "ClusterRole")["rules"].as_array().or_fail("the rules of the role");
    for rule in rules.iter().filter(|rule| rule["resourceNames"].is_null()) {
        for resource in rule["resources"].as_array().or_fail("the resources of a rule") {
            let verbs = match word(resource) {
                name if name == "secrets" => json!(["list", "watch"]),
                name if name.ends_with("/status") => json!(["patch"]),
                _ => json!(["get", "list", "watch"]),
            };
            assert_eq!(rule["verbs"], verbs, "{resource}");
            rights.insert(format!("{}/{}", word(&rule["apiGroups"][0]), word(resource)));
        }
    }
    rights
}

#[tokio::test]
async fn the_account_of_the_chart_reads_what_is_watched_and_nothing_else() {
    let plane = ControlPlane::start().await;
    plane.create_namespace(NAMESPACE).await;
    for object in rendered(&json!({"admission": {"enabled": false}})) {
        plane.api().create(&object).await.unwrap();
    }
    let account = plane.api().with_token(&plane.token_for(NAMESPACE, "portreeve").await);
    for path in
        ["/api/v1/pods", "/apis/apps/v1/deployments", "/apis/batch/v1/cronjobs", "/api/v1/namespaces/kube-system"]
    {
        account.get(path).await.unwrap_or_else(|status| panic!("{path}: {status}"));
    }
    for path in ["/api/v1/secrets", "/api/v1/nodes", "/apis/rbac.authorization.k8s.io/v1/clusterroles"] {
        assert_eq!(account.get(path).await.unwrap_err().code, 403, "{path}");
    }
    let lease = json!({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
        "metadata": {"name": "portreeve", "namespace": NAMESPACE}});
    account.create(&lease).await.unwrap();
    let write = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x", "namespace": NAMESPACE}});
    assert_eq!(account.create(&write).await.unwrap_err().code, 403);
}

/// Values that declare Secrets in two namespaces.
fn declaring() -> Value {
    json!({
        "admission": {"enabled": false},
        "secrets": {
            "identities": {"existingSecret": "age", "files": ["keys.txt"]},
            "sync": [
                {"file": "hub.yaml", "namespace": "jhub", "name": "hub", "type": "Opaque"},
                {"file": "hub.yaml", "namespace": "lab", "name": "hub", "mode": "detect"},
            ],
            "files": {"hub.yaml": "password: ENC[]\nsops: {}\n"},
        },
    })
}

#[tokio::test]
async fn declared_secrets_may_be_written_by_name_in_their_namespace_and_no_others() {
    let plane = ControlPlane::start().await;
    for namespace in [NAMESPACE, "jhub", "lab"] {
        plane.create_namespace(namespace).await;
    }
    let objects = rendered(&declaring());
    for object in &objects {
        plane.api().create(object).await.unwrap();
    }
    let account = plane.api().with_token(&plane.token_for(NAMESPACE, "portreeve").await);
    let secret = |namespace: &str, name: &str| {
        json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, "namespace": namespace},
            "data": {"a": "YQ=="}})
    };
    account.apply_object(&secret("jhub", "hub"), "").await.expect("it is made");
    account.apply_object(&secret("jhub", "hub"), "").await.expect("it is changed");
    account.get("/api/v1/namespaces/jhub/secrets/hub").await.expect("it is read");
    plane.api().create(&secret("lab", "hub")).await.unwrap();
    account.get("/api/v1/namespaces/lab/secrets/hub").await.expect("it is compared");
    for (namespace, name) in [("jhub", "other"), ("lab", "hub"), (NAMESPACE, "hub")] {
        let refused = account.apply_object(&secret(namespace, name), "").await.map(drop).unwrap_err();
        assert_eq!(refused.code, 403, "{namespace}/{name}");
    }
    for path in ["/api/v1/namespaces/jhub/secrets", "/api/v1/namespaces/jhub/secrets/other"] {
        assert_eq!(account.get(path).await.unwrap_err().code, 403, "{path}");
    }
    assert_eq!(account.delete("/api/v1/namespaces/jhub/secrets/hub").await.unwrap_err().code, 403);
    let pod = &of_kind(&objects, "Deployment")["spec"]["template"]["spec"];
    let mounted = pod["volumes"][0]["projected"]["sources"].to_string();
    assert!(mounted.contains("\"path\":\"identities/keys.txt\""), "{mounted}");
}

#[test]
fn the_webhook_and_the_daemon_are_told_the_same_scope() {
    let objects = rendered(&enforcing());
    let config = &documents(of_kind(&objects, "ConfigMap")["data"]["portreeve.yaml"].as_str().unwrap())[0];
    assert_eq!(config["admission"]["namespaces"], json!([{"match": ["jhub", "dev-*"], "mode": "enforce"}]));
    assert_eq!(config["admission"]["exemptNamespaces"], json!(["kube-system", NAMESPACE, "dev-free"]));
    let webhooks = of_kind(&objects, "ValidatingWebhookConfiguration")["webhooks"].as_array().unwrap();
    for entry in webhooks {
        assert_eq!((&entry["sideEffects"], &entry["timeoutSeconds"]), (&json!("NoneOnDryRun"), &json!(10)));
    }
    let policies: Vec<_> = webhooks.iter().map(|entry| (&entry["name"], &entry["failurePolicy"])).collect();
    let named = |name: &str, policy: &str| (json!(format!("{name}.portreeve.dev")), json!(policy));
    let expected = [
        named("enforce", "Fail"),
        named("observe", "Ignore"),
        named("break-glass", "Ignore"),
        named("tokens", "Ignore"),
    ];
    assert_eq!(policies, expected.iter().map(|(name, policy)| (name, policy)).collect::<Vec<_>>());
    let mutating = of_kind(&objects, "MutatingWebhookConfiguration")["webhooks"].as_array().unwrap();
    for rule in mutating.iter().flat_map(|entry| entry["rules"].as_array().unwrap()) {
        assert!(rule["resources"].as_array().unwrap().iter().all(|name| name.as_str().unwrap().starts_with("pods")));
    }
}

#[test]
fn the_daemon_reads_the_configuration_of_the_chart() {
    let volume = json!({"persistentVolumeClaim": {"claimName": "platform"}});
    let deploying = json!({"platform": {"file": "platform.yaml", "interval": "5m", "volume": volume}});
    let following = json!({"platform": {"resource": "demo", "folder": "parts", "volume": volume}});
    let asking = json!({"registries": [{"host": "registry.example.org:5000"}]});
    for values in [json!({}), enforcing(), declaring(), asking, deploying, following] {
        let folder = scratch("config");
        for (name, content) in of_kind(&rendered(&values), "ConfigMap")["data"].as_object().unwrap() {
            // The volume is a folder of the container only.
            let here = folder.to_str().unwrap();
            let content = content.as_str().unwrap().replace("/var/lib/portreeve", here);
            let content = content.replace("/etc/portreeve/identities", here).replace("/var/lib/platform", here);
            std::fs::write(folder.join(name), content).unwrap();
        }
        std::fs::write(folder.join("keys.txt"), "").unwrap();
        std::fs::create_dir(folder.join("parts")).unwrap();
        let component = "{name: base, namespace: lab, source: {folder: parts}}";
        let platform = format!(
            "{{apiVersion: portreeve.dev/v1alpha1, kind: Platform, metadata: {{name: demo}}, spec: {{components: [{component}]}}}}\n"
        );
        std::fs::write(folder.join("platform.yaml"), platform).unwrap();
        let config = folder.join("portreeve.yaml");
        let shown = Portreeve::run(["config", "show", "--config", config.to_str().unwrap()]);
        assert_eq!(shown.code, Some(0), "{values}: {}", shown.stderr);
        let store = format!("sqlite://{}/portreeve.db", folder.display());
        assert!(shown.stdout.contains(&store), "{}", shown.stdout);
    }
}

#[test]
fn values_that_the_schema_does_not_know_are_refused() {
    for values in [
        json!({"admision": {}}),
        json!({"admission": {"namespaces": [{"match": ["a.b"], "mode": "enforce"}]}}),
        json!({"admission": {"namespaces": [{"match": ["a"], "mode": "deny"}]}}),
        json!({"admission": {"breakGlassGroup": "x' || true"}}),
        json!({"admission": {"deadline": "30s"}}),
        json!({"image": {"digest": "sha256:abc"}}),
        json!({"webhook": {"tls": {"existingSecret": "own"}}}),
        json!({"webhook": {"tls": {"caBundle": "-----BEGIN CERTIFICATE-----"}}}),
        json!({"secrets": {"sync": [{"file": "a.yaml", "namespace": "a", "name": "a"}]}}),
        json!({"secrets": {"files": {"a.yaml": "password: plain"}}}),
        json!({"platform": {"resource": "demo"}}),
        json!({"platform": {"resource": "demo", "file": "platform.yaml", "volume": {"emptyDir": {}}}}),
        json!({"platform": {"file": "../platform.yaml", "volume": {"emptyDir": {}}}}),
    ] {
        let output = helm(&values).output().unwrap();
        assert!(!output.status.success(), "{values} is rendered");
    }
}

#[test]
fn values_that_the_daemon_or_the_cluster_would_refuse_are_refused_where_they_are_written() {
    for (at, values) in [
        ("/posture/frameworks/0", json!({"posture": {"frameworks": ["nsaa"]}})),
        ("/posture/enforce/0", json!({"posture": {"enforce": ["NSA"]}})),
        ("rescan.images: ", json!({"rescan": {"images": "hourly"}})),
        ("rescan.images: ", json!({"rescan": {"images": "0 * * *"}})),
        ("rescan.posture: ", json!({"rescan": {"posture": "61 2 * * *"}})),
        ("rescan.posture: ", json!({"rescan": {"posture": "30 25 * * *"}})),
        ("/store/size", json!({"store": {"size": "1 GB"}})),
        ("/store/size", json!({"store": {"size": "0"}})),
        ("/resources/limits/memory", json!({"resources": {"limits": {"memory": "384 MB"}}})),
        ("/credentials/maxTokenLifetime", json!({"credentials": {"maxTokenLifetime": "1 day"}})),
        ("/credentials/warnBeforeExpiry", json!({"credentials": {"warnBeforeExpiry": "0d"}})),
        ("/platform/interval", json!({"platform": {"interval": "60"}})),
    ] {
        let output = helm(&values).output().or_fail("running helm");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && said.contains(at), "{values}: {said}");
    }
    for values in [
        json!({"posture": {"frameworks": ["all"]}, "rescan": {"images": "0 */15 0-23/2 ? JAN-DEC MON#1", "posture": "0,30 1 1 1 7"}}),
        json!({"store": {"size": "0.5Ti"}, "credentials": {"maxTokenLifetime": "1h30m"}}),
    ] {
        rendered(&values);
    }
}

#[test]
fn the_chart_knows_the_frameworks_of_the_daemon() {
    let schema = std::fs::read(portreeve_tests::repository().join("charts/portreeve/values.schema.json"));
    let schema: Value = serde_json::from_slice(&schema.or_fail("the schema")).or_fail("JSON");
    let listed = Portreeve::run(["list", "frameworks"]).expect_exit(0).stdout;
    let ids = listed.lines().filter_map(|line| line.split_whitespace().next());
    assert_eq!(schema["definitions"]["framework"]["enum"], json!(["all"].into_iter().chain(ids).collect::<Vec<_>>()));
}

/// With nobody behind the webhook, what is refused is what `enforce` matched; what `Ignore` matched is let in.
#[tokio::test]
async fn an_outage_blocks_enforce_namespaces_only_and_never_the_break_glass_group() {
    let plane = ControlPlane::start().await;
    plane.create_namespace(NAMESPACE).await;
    for object in rendered(&enforcing()) {
        if object["kind"].as_str().unwrap().ends_with("WebhookConfiguration") {
            plane.api().create(&object).await.unwrap();
        }
    }
    for namespace in ["jhub", "dev-one", "dev-free", "other", "jhub-two"] {
        plane.create_namespace(namespace).await;
    }
    let account = json!({"apiVersion": "v1", "kind": "ServiceAccount",
        "metadata": {"name": "default", "namespace": "kube-system"}});
    plane.api().create(&account).await.unwrap();
    let user = plane.api().impersonating("someone", &["system:masters"]);
    let rescuer = plane.api().impersonating("rescuer", &["system:masters", "portreeve:break-glass"]);
    until_configured(&user).await;
    for (namespace, admitted) in [
        ("dev-one", false),
        ("dev-free", true),
        ("other", true),
        ("jhub-two", true),
        ("kube-system", true),
        (NAMESPACE, true),
    ] {
        let answer = create_pod(&user, namespace).await;
        assert_eq!(answer.is_ok(), admitted, "{namespace}: {answer:?}");
        let answer = create_pod(&rescuer, namespace).await;
        assert!(answer.is_ok(), "break-glass in {namespace}: {answer:?}");
    }
    let token = plane.token_for("jhub", "default").await;
    assert!(!token.is_empty(), "tokens are made during the outage");
}

async fn create_pod(api: &Api, namespace: &str) -> Result<Value, portreeve_tests::api::Status> {
    let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"generateName": "p-", "namespace": namespace},
        "spec": {"automountServiceAccountToken": false, "containers": [{"name": "main", "image": "example.org/app:1"}]}});
    api.create(&pod).await
}

/// A webhook configuration takes a moment to reach the handlers of the API server.
async fn until_configured(api: &Api) {
    let refused = portreeve_tests::process::until(portreeve_tests::process::START, || async {
        create_pod(api, "jhub").await.err().filter(|status| status.message.contains("enforce.portreeve.dev"))
    });
    refused.await.expect("the webhook configuration comes into force");
}

#[test]
fn rights_for_a_platform_are_those_that_were_given_and_none_otherwise() {
    let of_platform = |values: &Value| {
        let objects = rendered(values);
        objects.into_iter().filter(|object| object["metadata"]["name"] == "portreeve-platform").collect::<Vec<_>>()
    };
    assert_eq!(of_platform(&json!({})), [Value::Null; 0]);
    let rule = json!({"apiGroups": ["apps"], "resources": ["deployments"], "verbs": ["get", "patch"]});
    let [role, binding] = &of_platform(&json!({"platform": {"rbac": [rule]}}))[..] else {
        panic!("a role and its binding")
    };
    assert_eq!(role["rules"], json!([rule]));
    assert_eq!(
        (&binding["kind"], &binding["roleRef"]["name"]),
        (&json!("ClusterRoleBinding"), &role["metadata"]["name"])
    );
    assert_eq!(binding["subjects"], json!([{"kind": "ServiceAccount", "name": "portreeve", "namespace": NAMESPACE}]));
}
