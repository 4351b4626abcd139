use portreeve_reports::Cause;
use portreeve_reports::SubjectKey;
use portreeve_reports::source::Limits;

use super::*;

fn read(text: &str) -> Read {
    read_objects(Some("m.yaml"), text.as_bytes(), &ReadOptions::default())
}

fn object(text: &str) -> Object {
    let mut read = read(text);
    assert!(read.unreadable.is_empty(), "{text}: {:?}", read.unreadable);
    assert_eq!(read.objects.len(), 1, "{text}");
    read.objects.remove(0)
}

fn problem(text: &str) -> Unreadable {
    let mut read = read(text);
    assert_eq!((read.objects.len(), read.unreadable.len()), (0, 1), "{text}: {read:?}");
    read.unreadable.remove(0)
}

const POD: &str =
    "apiVersion: v1\nkind: Pod\nmetadata: {name: p}\nspec:\n  containers:\n    - name: c\n      image: i\n";

#[test]
fn an_object_has_its_identity_and_place() {
    let deployment = object(
        "---\n# c\napiVersion: apps/v1\nkind: Deployment\nmetadata: {name: hub, namespace: data, uid: u-1}\n\
         spec: {template: {spec: {containers: [{name: c}]}}}\n",
    );
    assert_eq!((deployment.group(), &*deployment.kind), ("apps", "Deployment"));
    assert_eq!((&*deployment.namespace, &*deployment.name), ("data", "hub"));
    assert_eq!(deployment.uid.as_deref(), Some("u-1"));
    assert_eq!(deployment.origin.place, Place { line: 3, column: 1 });
    assert_eq!(deployment.reference(None).display(), "data/Deployment/hub");
}

#[test]
fn namespaces_are_given_to_namespaced_kinds_only() {
    for (api_version, kind, namespace) in [
        ("v1", "ConfigMap", "default"),
        ("v1", "Namespace", ""),
        ("v1", "Node", ""),
        ("v1", "PersistentVolume", ""),
        ("rbac.authorization.k8s.io/v1", "ClusterRole", ""),
        ("rbac.authorization.k8s.io/v1beta1", "ClusterRoleBinding", ""),
        ("rbac.authorization.k8s.io/v1", "Role", "default"),
        ("apiextensions.k8s.io/v1", "CustomResourceDefinition", ""),
        ("policy/v1beta1", "PodSecurityPolicy", ""),
        ("constraints.gatekeeper.sh/v1beta1", "K8sRequired", ""),
        ("example.com/v1", "Node", "default"),
        ("kubernetes.dask.org/v1", "DaskCluster", "default"),
    ] {
        let read = object(&format!("{{apiVersion: {api_version}, kind: {kind}, metadata: {{name: a}}}}"));
        assert_eq!(&*read.namespace, namespace, "{api_version} {kind}");
    }
    let given = object("{apiVersion: v1, kind: Namespace, metadata: {name: a, namespace: odd}}");
    assert_eq!(&*given.namespace, "");
    let options = ReadOptions { default_namespace: "team".to_owned(), ..ReadOptions::default() };
    assert_eq!(&*read_objects(None, POD.as_bytes(), &options).objects[0].namespace, "team");
}

#[test]
fn a_generated_name_ends_with_a_star() {
    let pod = object(&POD.replace("name: p}", "generateName: hub-}"));
    assert_eq!(&*pod.name, "hub-*");
}

#[test]
fn the_controlling_owner_is_found_among_references() {
    let references = "ownerReferences: [{apiVersion: v1, kind: Node, name: node-1}, \
                      {apiVersion: apps/v1, kind: ReplicaSet, name: hub-1, controller: true}]";
    let pod = object(&POD.replace("name: p}", &format!("name: p, {references}}}")));
    let owner = Owner { group: "apps".into(), kind: "ReplicaSet".into(), name: "hub-1".into() };
    assert_eq!(pod.controller, Some(owner));
}

#[test]
fn lists_are_their_items() {
    let list = "apiVersion: v1\nkind: List\nitems:\n- {apiVersion: v1, kind: ConfigMap, metadata: {name: a}}\n\
                - apiVersion: v1\n  kind: List\n  items: [{apiVersion: v1, kind: Secret, metadata: {name: b}}]\n- 3\n";
    let found = read(list);
    let names: Vec<&str> = found.objects.iter().map(|object| &*object.name).collect();
    assert_eq!(names, ["a", "b"]);
    assert_eq!(found.objects[0].origin.place, Place { line: 4, column: 3 });
    assert_eq!(found.unreadable.len(), 1);
    assert_eq!(found.unreadable[0].place.line, 8);

    let typed = read("{apiVersion: v1, kind: ConfigMapList, items: [{metadata: {name: a}}]}");
    assert_eq!((&*typed.objects[0].kind, &*typed.objects[0].api_version), ("ConfigMap", "v1"));
    assert!(read("{apiVersion: v1, kind: List, items: []}").unreadable.is_empty());
    assert_eq!(problem("{apiVersion: v1, kind: PodList, items: 3}").cause, Cause::Unreadable);
    assert_eq!(object("{apiVersion: e.com/v1, kind: AllowList, metadata: {name: a}}").name, "a".into());
}

#[test]
fn lists_in_lists_and_many_items_are_capped() {
    let mut text = "{apiVersion: v1, kind: ConfigMap, metadata: {name: a}}".to_owned();
    for _ in 0..4 {
        text = format!("{{apiVersion: v1, kind: List, items: [{text}]}}");
    }
    assert_eq!(object(&text).name, "a".into());
    assert_eq!(problem(&format!("{{apiVersion: v1, kind: List, items: [{text}]}}")).cause, Cause::TooLarge);

    let mut options = ReadOptions::default();
    options.limits.documents = 3;
    let item = "{apiVersion: v1, kind: ConfigMap, metadata: {name: a}}";
    let list = format!("{{apiVersion: v1, kind: List, items: [{}]}}", [item; 9].join(","));
    let found = read_objects(None, list.as_bytes(), &options);
    assert_eq!((found.objects.len(), found.unreadable.len()), (3, 1));
    assert_eq!(found.unreadable[0].cause, Cause::TooLarge);
}

#[test]
fn admission_reviews_are_set_apart() {
    let found = read("{apiVersion: admission.k8s.io/v1beta1, kind: AdmissionReview, request: {}}");
    assert_eq!((found.objects.len(), found.reviews.len(), found.unreadable.len()), (0, 1, 0));
}

#[test]
fn what_is_no_object_is_unreadable_and_says_why() {
    for (text, said) in [
        ("- 1\n", "is a map, not a list"),
        ("just text\n", "not a string"),
        ("replicas: 3\n", "'apiVersion' is missing"),
        ("apiVersion: v1\n", "'kind' is missing"),
        ("apiVersion: v1\nkind: Pod\n", "'metadata.name' is missing"),
        ("apiVersion: 1\nkind: Pod\n", "'apiVersion' is not one"),
        ("apiVersion: v1\nkind: [Pod]\n", "'kind' is not one"),
        ("apiVersion: v1\nkind: Pod\nmetadata: {name: 3}\n", "'metadata.name' is not one"),
        ("apiVersion: v1\nkind: Pod\nmetadata: {name: \"a\\u001fb\"}\n", "'metadata.name' is not one"),
        ("apiVersion: v1\nkind: Pod\nmetadata: {name: a, namespace: b/c}\n", "'metadata.namespace' is not one"),
        ("apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nspec: {\n", "not YAML"),
    ] {
        let found = problem(text);
        assert!(found.message.contains(said), "{text}: {}", found.message);
        let finding = found.finding();
        assert_eq!((finding.verdict, finding.cause), (Verdict::Unknown, Some(Cause::Unreadable)));
        assert_eq!(finding.subject, Subject::File { path: "m.yaml".into() });
        assert!(finding.locations[0].line.is_some());
    }
}

#[test]
fn an_encrypted_value_in_the_place_of_another_type_is_called_encrypted() {
    let found = problem(
        "apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nspec: {hostNetwork: 'ENC[AES256_GCM,data:x,iv:y,tag:z,type:bool]'}\n",
    );
    assert!(found.message.contains("not an encrypted value"), "{}", found.message);
}

/// An ill-typed field, the path that is named, and its place.
const ILL_TYPED: &[(&str, &str)] = &[
    ("metadata: {name: p, labels: [a]}", "metadata.labels"),
    ("metadata: {name: p, labels: {a: 1}}", "metadata.labels['a']"),
    ("metadata: {name: p, labels: {a: yes}}", "metadata.labels['a']"),
    ("metadata: {name: p, annotations: {a: {}}}", "metadata.annotations['a']"),
    ("metadata: {name: p, ownerReferences: {}}", "metadata.ownerReferences"),
    ("spec: [x]", "spec"),
    ("spec: {containers: {name: c}}", "spec.containers"),
    ("spec: {containers: []}", "spec.containers"),
    ("spec: {}", "spec.containers"),
    ("spec: {containers: [3]}", "spec.containers[0]"),
    ("spec: {containers: [~]}", "spec.containers[0]"),
    ("spec: {containers: [{image: i}]}", "spec.containers[0].name"),
    ("spec: {containers: [{name: 1}]}", "spec.containers[0].name"),
    ("spec: {containers: [{name: c}, {name: c}]}", "spec.containers[1].name"),
    ("spec: {containers: [{name: c}], initContainers: [{name: c}]}", "spec.initContainers[0].name"),
    ("spec: {containers: [{name: c, image: 3}]}", "spec.containers[0].image"),
    ("spec: {containers: [{name: c, securityContext: [x]}]}", "spec.containers[0].securityContext"),
    (
        "spec: {containers: [{name: c, securityContext: {privileged: \"true\"}}]}",
        "spec.containers[0].securityContext.privileged",
    ),
    (
        "spec: {containers: [{name: c, securityContext: {runAsUser: \"0\"}}]}",
        "spec.containers[0].securityContext.runAsUser",
    ),
    (
        "spec: {containers: [{name: c, securityContext: {capabilities: {add: SYS_ADMIN}}}]}",
        "spec.containers[0].securityContext.capabilities.add",
    ),
    (
        "spec: {containers: [{name: c, securityContext: {capabilities: {add: [1]}}}]}",
        "spec.containers[0].securityContext.capabilities.add[0]",
    ),
    ("spec: {containers: [{name: c, env: {A: b}}]}", "spec.containers[0].env"),
    ("spec: {containers: [{name: c, env: [{name: A, value: 1}]}]}", "spec.containers[0].env[0].value"),
    ("spec: {containers: [{name: c, ports: [{hostPort: \"80\"}]}]}", "spec.containers[0].ports[0].hostPort"),
    ("spec: {containers: [{name: c, resources: {limits: [1]}}]}", "spec.containers[0].resources.limits"),
    ("spec: {containers: [{name: c, resources: {limits: {cpu: {}}}}]}", "spec.containers[0].resources.limits['cpu']"),
    ("spec: {containers: [{name: c, livenessProbe: yes}]}", "spec.containers[0].livenessProbe"),
    (
        "spec: {containers: [{name: c, volumeMounts: [{readOnly: \"no\"}]}]}",
        "spec.containers[0].volumeMounts[0].readOnly",
    ),
    ("spec: {containers: [{name: c}], hostNetwork: \"yes\"}", "spec.hostNetwork"),
    ("spec: {containers: [{name: c}], hostPID: 1}", "spec.hostPID"),
    ("spec: {containers: [{name: c}], securityContext: {runAsNonRoot: 1}}", "spec.securityContext.runAsNonRoot"),
    ("spec: {containers: [{name: c}], automountServiceAccountToken: \"false\"}", "spec.automountServiceAccountToken"),
    ("spec: {containers: [{name: c}], serviceAccountName: [a]}", "spec.serviceAccountName"),
    ("spec: {containers: [{name: c}], volumes: [{hostPath: /}]}", "spec.volumes[0].hostPath"),
    ("spec: {containers: [{name: c}], volumes: {a: b}}", "spec.volumes"),
    ("spec: {containers: [{name: c}], initContainers: x}", "spec.initContainers"),
    ("spec: {containers: [{name: c}], ephemeralContainers: [x]}", "spec.ephemeralContainers[0]"),
];

#[test]
fn a_field_of_the_wrong_type_is_named_and_its_object_is_unknown() {
    for (changed, path) in ILL_TYPED {
        let key = changed.split(':').next().unwrap_or_default();
        let other = match key {
            "metadata" => "spec: {containers: [{name: c, image: i}]}",
            _ => "metadata: {name: p}",
        };
        let found = problem(&format!("apiVersion: v1\nkind: Pod\n{other}\n{changed}\n"));
        assert_eq!(found.object_path, *path, "{changed}: {}", found.message);
        assert!(found.message.contains(path), "{}", found.message);
        assert_eq!(found.place.line, 4, "{changed}");
        let finding = found.finding();
        assert_eq!(finding.subject.key(), SubjectKey(["object", "", "Pod", "default", "p"].join("\u{1f}")));
        assert_eq!(finding.locations[0].object_path, *path);
    }
}

#[test]
fn a_number_with_a_point_is_told_from_a_whole_one() {
    let found = problem("apiVersion: v1\nkind: Pod\nmetadata: {name: p}\nspec: {securityContext: {runAsUser: 80.0}}\n");
    assert!(found.message.ends_with("must be a whole number, not a decimal number; correct it"), "{}", found.message);
}

#[test]
fn a_word_that_kubernetes_reads_as_a_boolean_is_to_be_quoted() {
    let found =
        problem("apiVersion: v1\nkind: Pod\nmetadata: {name: p, labels: {a: on}}\nspec: {containers: [{name: c}]}\n");
    assert_eq!(found.message, "'metadata.labels['a']' must be a string, not a boolean; put it in quotes");
}

#[test]
fn null_is_absent_as_it_is_to_the_api_server() {
    let text = "apiVersion: v1\nkind: Pod\nmetadata: {name: p, labels: ~, annotations: ~}\n\
                spec: {containers: [{name: c, securityContext: ~, env: ~}], volumes: ~, initContainers: ~, hostPID: ~}\n";
    assert_eq!(object(text).name, "p".into());
}

#[test]
fn the_templates_of_workloads_are_checked_at_their_paths() {
    for (api_version, kind, spec, path) in [
        ("apps/v1", "Deployment", "{replicas: 1}", "spec.template"),
        ("apps/v1", "Deployment", "{template: {spec: {containers: x}}}", "spec.template.spec.containers"),
        ("apps/v1", "StatefulSet", "{template: {metadata: {labels: x}, spec: {}}}", "spec.template.metadata.labels"),
        (
            "batch/v1",
            "CronJob",
            "{jobTemplate: {spec: {template: {spec: [x]}}}}",
            "spec.jobTemplate.spec.template.spec",
        ),
        ("batch/v1beta1", "CronJob", "{jobTemplate: 3}", "spec.jobTemplate"),
    ] {
        let text = format!("{{apiVersion: {api_version}, kind: {kind}, metadata: {{name: a}}, spec: {spec}}}");
        assert_eq!(problem(&text).object_path, path, "{text}");
    }
    let other = "{apiVersion: batch.volcano.sh/v1alpha1, kind: Job, metadata: {name: a}, spec: {}}";
    assert_eq!(object(other).group(), "batch.volcano.sh");
}

#[test]
fn other_kinds_that_rules_read_are_checked_too() {
    for (text, path) in [
        ("{apiVersion: v1, kind: ConfigMap, metadata: {name: a}, data: {k: 1}}", "data['k']"),
        ("{apiVersion: v1, kind: Secret, metadata: {name: a}, data: [1]}", "data"),
        (
            "{apiVersion: v1, kind: ServiceAccount, metadata: {name: a}, automountServiceAccountToken: \"no\"}",
            "automountServiceAccountToken",
        ),
        (
            "{apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: {name: a}, spec: {podSelector: []}}",
            "spec.podSelector",
        ),
        (
            "{apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: {name: a}, spec: {policyTypes: Ingress}}",
            "spec.policyTypes",
        ),
    ] {
        assert_eq!(problem(text).object_path, path, "{text}");
    }
}

#[test]
fn lists_that_would_hide_the_images_of_custom_kinds_are_named() {
    for (text, path) in [
        (
            "{apiVersion: kubernetes.dask.org/v1, kind: DaskCluster, metadata: {name: d}, spec: {worker: {spec: {containers: {}}}}}",
            "spec.worker.spec.containers",
        ),
        (
            "{apiVersion: argoproj.io/v1alpha1, kind: Workflow, metadata: {name: d}, spec: {templates: [{script: {image: 3}}]}}",
            "spec.templates[0].script.image",
        ),
        (
            "{apiVersion: argoproj.io/v1alpha1, kind: Workflow, metadata: {name: d}, spec: {templates: [{container: x}]}}",
            "spec.templates[0].container",
        ),
    ] {
        assert_eq!(problem(text).object_path, path, "{text}");
    }
}

#[test]
fn two_unreadable_documents_of_a_file_are_two_findings() {
    let found = read("a: 1\n---\nb: 2\n");
    let fingerprints: Vec<_> = found.unreadable.iter().map(|one| one.finding().fingerprint).collect();
    assert_eq!(fingerprints.len(), 2);
    assert_ne!(fingerprints[0], fingerprints[1]);
}

#[test]
fn an_input_has_as_many_objects_as_are_read_and_what_is_beyond_is_too_large() {
    let most = Limits::default().documents;
    let item = "{apiVersion: v1, kind: ConfigMap, metadata: {name: x}}";
    let documents = |count: usize| format!("--- {item}\n").repeat(count);
    let list = |count: usize| format!("apiVersion: v1\nkind: List\nitems:\n{}", format!("- {item}\n").repeat(count));
    for (text, what) in [(&documents as &dyn Fn(usize) -> String, "documents"), (&list, "objects")] {
        for count in [most - 1, most] {
            let read = read_objects(None, text(count).as_bytes(), &ReadOptions::default());
            assert_eq!((read.objects.len(), read.unreadable.len()), (count, 0), "{what}");
        }
        let read = read_objects(None, text(most + 1).as_bytes(), &ReadOptions::default());
        let [beyond] = &read.unreadable[..] else { panic!("{what}: {:?}", read.unreadable) };
        assert_eq!((read.objects.len(), beyond.cause), (most, Cause::TooLarge), "{what}");
        assert_eq!(beyond.message, format!("more than 20000 {what}; the rest is not read"));
    }
}
