use super::*;

const PLATFORM: &str = "\
apiVersion: portreeve.dev/v1alpha1
kind: Platform
metadata: {name: demo}
spec:
  components:
    - {name: hub, namespace: jhub, dependsOn: [base], source: {folder: hub}}
    - {name: base, namespace: platform, source: {folder: base}}
";

struct Site(tempfile::TempDir);

impl Site {
    fn with(files: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let site = Self(folder);
        site.write("platform.yaml", PLATFORM);
        site.write("base/a.yaml", &config("base", "1"));
        site.write("hub/a.yaml", &config("hub", "1"));
        files.iter().for_each(|(name, text)| site.write(name, text));
        site
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.0.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    fn parts(&self) -> Vec<Part> {
        Validated::load(&self.0.path().join("platform.yaml")).unwrap().build()
    }

    /// What is wrong with the component; the other one is well.
    fn wrong(&self, component: &str) -> String {
        let parts = self.parts();
        for part in &parts {
            assert_eq!(part.built.is_err(), part.component.name == component, "{:?}", part.built);
        }
        let part = parts.into_iter().find(|part| part.component.name == component).unwrap();
        part.built.unwrap_err().iter().map(|mistake| format!("{mistake}\n")).collect()
    }
}

fn config(name: &str, value: &str) -> String {
    format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}}}\ndata: {{value: '{value}'}}\n")
}

#[test]
fn objects_get_their_namespace_and_our_labels_and_come_in_waves() {
    let deployment = "{apiVersion: apps/v1, kind: Deployment, metadata: {name: hub, labels: {app: hub}}, \
        spec: {template: {metadata: {}, spec: {containers: [{name: a, image: x}]}}}, status: {replicas: 1}}";
    let namespace = "{apiVersion: v1, kind: Namespace, metadata: {name: jhub, uid: x}}";
    let site = Site::with(&[("hub/0.yaml", deployment), ("hub/z.json", namespace), ("hub/notes.txt", "no manifest")]);
    let parts = site.parts();
    let names: Vec<&str> = parts.iter().map(|part| part.component.name.as_str()).collect();
    assert_eq!(names, ["base", "hub"], "what is depended on comes first");
    let hub = parts[1].built.as_ref().unwrap();
    let kinds: Vec<&str> = hub.objects.iter().map(|wanted| &*wanted.address.key.kind).collect();
    assert_eq!(kinds, ["Namespace", "ConfigMap", "Deployment"]);
    assert_eq!(hub.objects[0].body.pointer("/metadata/uid"), None);
    let body = &hub.objects[2].body;
    assert_eq!(body["metadata"]["namespace"], "jhub");
    assert_eq!(
        body["metadata"]["labels"],
        json!({"app": "hub", "portreeve.dev/platform": "demo", "portreeve.dev/component": "hub"})
    );
    assert_eq!(body.get("status"), None);
}

#[test]
fn the_digest_follows_the_content_and_nothing_else() {
    let digest = |site: &Site| site.parts()[1].built.as_ref().unwrap().objects[0].digest.clone();
    let first = Site::with(&[]);
    assert_eq!(digest(&first), digest(&Site::with(&[])));
    assert_ne!(digest(&first), digest(&Site::with(&[("hub/a.yaml", &config("hub", "2"))])));
}

#[test]
fn what_is_noted_of_a_secret_follows_its_keys_and_not_its_values() {
    let secret = |field: &str| format!("apiVersion: v1\nkind: Secret\nmetadata: {{name: s}}\n{field}\n");
    let wanted = |field: &str| {
        let parts = Site::with(&[("hub/s.yaml", &secret(field))]).parts();
        parts[1].built.as_ref().unwrap().objects[1].clone()
    };
    let first = wanted("stringData: {password: hunter2}");
    assert_eq!(first.body["data"], json!({"password": "aHVudGVyMg=="}));
    for other in ["stringData: {password: hunter3}", "data: {password: aHVudGVyMg==}"] {
        assert_eq!(wanted(other).noted, first.noted, "{other}");
        assert_ne!(wanted(other).digest, first.digest, "{other}");
    }
    assert_ne!(wanted("stringData: {passphrase: hunter2}").noted, first.noted);
    assert_ne!(first.noted, first.digest);
}

#[test]
fn a_file_that_cannot_be_read_builds_nothing_and_leaves_the_other_component() {
    let wrong = Site::with(&[("hub/bad.yaml", "kind: [")]).wrong("hub");
    assert!(wrong.contains("hub/bad.yaml:1:"), "{wrong}");
    let wrong = Site::with(&[("hub/review.yaml", "{apiVersion: admission.k8s.io/v1, kind: AdmissionReview}")]);
    assert!(wrong.wrong("hub").contains("is no object to apply"));
}

#[test]
fn an_empty_or_missing_folder_is_a_mistake_and_not_an_empty_component() {
    let site = Site::with(&[]);
    std::fs::remove_file(site.0.path().join("hub/a.yaml")).unwrap();
    assert!(site.wrong("hub").contains("there are no objects in"));
    std::fs::remove_dir(site.0.path().join("hub")).unwrap();
    assert!(!site.wrong("hub").is_empty());
}

#[test]
fn a_link_is_told_and_never_left_out_in_silence() {
    let site = Site::with(&[]);
    std::os::unix::fs::symlink(site.0.path().join("base/a.yaml"), site.0.path().join("hub/link.yaml")).unwrap();
    assert!(site.wrong("hub").contains("is not followed"));
}

#[test]
fn foreign_namespaces_duplicates_and_objects_without_a_name_are_refused() {
    let foreign = config("x", "1").replace("{name: x}", "{name: x, namespace: kube-system}");
    let wrong = Site::with(&[("hub/b.yaml", &foreign)]).wrong("hub");
    assert!(wrong.contains("kube-system/ConfigMap/x is in a foreign namespace; the component's is 'jhub'"), "{wrong}");
    let namespace = "{apiVersion: v1, kind: Namespace, metadata: {name: other}}";
    assert!(Site::with(&[("hub/b.yaml", namespace)]).wrong("hub").contains("is the namespace of no component"));
    assert!(Site::with(&[("hub/b.yaml", &config("hub", "2"))]).wrong("hub").contains("stands twice"));
    let generated = config("x", "1").replace("name: x", "generateName: x-");
    assert!(Site::with(&[("hub/b.yaml", &generated)]).wrong("hub").contains("has no name of its own"));
}

#[test]
fn one_object_is_not_kept_by_two_components() {
    let role = "{apiVersion: rbac.authorization.k8s.io/v1, kind: ClusterRole, metadata: {name: shared}, rules: []}";
    let parts = Site::with(&[("hub/role.yaml", role), ("base/role.yaml", role)]).parts();
    for part in parts {
        let said = part.built.unwrap_err()[0].to_string();
        assert!(said.contains("shared is in several components: base, hub"), "{said}");
    }
}

#[test]
fn more_objects_than_the_cap_are_refused_whole() {
    let many: String = (0..=MAX_OBJECTS).map(|n| config(&format!("c{n}"), "1") + "---\n").collect();
    let wrong = Site::with(&[("hub/many.yaml", &many)]).wrong("hub");
    assert!(wrong.contains("more than 5000 objects"), "{wrong}");
    let half: String = (0..MAX_OBJECTS / 2).map(|n| config(&format!("c{n}"), "1") + "---\n").collect();
    let parts = Site::with(&[("hub/many.yaml", &half), ("base/many.yaml", &half)]).parts();
    assert!(parts.iter().all(|part| part.built.is_err()));
}

#[test]
fn cycles_and_other_documents_are_no_platform() {
    let load = |text: &str| {
        let site = Site::with(&[("platform.yaml", text)]);
        Validated::load(&site.0.path().join("platform.yaml")).unwrap_err().to_string()
    };
    let cycle = load(&PLATFORM.replace("namespace: platform,", "namespace: platform, dependsOn: [hub],"));
    assert!(cycle.contains("hub -> base -> hub"), "{cycle}");
    assert!(load(&format!("{PLATFORM}---\n{PLATFORM}")).contains("exactly one document"));
    assert!(load("").contains("exactly one document"));
    let other = PLATFORM.replace("kind: Platform", "kind: Platfrom");
    assert!(load(&other).contains("did you mean 'Platform'?"));
}

#[test]
fn what_a_component_asks_for_is_its_manifests_and_its_own_settings_and_not_its_place() {
    let site = Site::with(&[]);
    let hub = || site.parts().into_iter().find(|part| part.component.name == "hub").unwrap().digest();
    let before = hub();
    site.write("platform.yaml", &format!("# moved down\n{PLATFORM}"));
    assert_eq!(hub(), before);
    for settings in ["adopt: true", "maxPrune: 99", "prune: false", "retain: false"] {
        site.write("platform.yaml", &PLATFORM.replace("{name: hub,", &format!("{{name: hub, {settings},")));
        assert_ne!(hub(), before, "{settings}");
    }
    site.write("platform.yaml", PLATFORM);
    assert_eq!(hub(), before);
    site.write("hub/a.yaml", &config("hub", "2"));
    assert_ne!(hub(), before);
}
