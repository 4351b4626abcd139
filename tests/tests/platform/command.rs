//! `platform plan`, `apply`, `status`, `suspend`, `resume` and `destroy`.

use portreeve_tests::api::documents;
use serde_json::{Value, json};

use crate::plans::{actions, pairs};
use crate::site::{Site, config};

#[tokio::test]
async fn a_first_deployment_is_planned_then_applied_and_then_writes_nothing() {
    let site = Site::new("first").await;
    site.write("app/a.yaml", &config("a", "1"));
    site.write("app/secret.yaml", "apiVersion: v1\nkind: Secret\nmetadata: {name: s}\nstringData: {key: hunter2}\n");
    let (code, plan) = site.plan();
    assert_eq!((code, &plan["writes"]), (Some(0), &json!(0)), "{plan}");
    assert_eq!(actions(&plan), pairs(&[("create", "ConfigMap/a"), ("create", "Secret/s")]));
    assert!(site.api().get(&site.config_map("a")).await.is_err(), "a plan writes nothing");

    let applied = site.apply(&[]);
    assert_eq!(applied["components"][0]["state"], "healthy", "{applied}");
    let live = site.api().get(&site.config_map("a")).await.unwrap();
    assert_eq!(live["metadata"]["labels"]["portreeve.dev/component"], "app");
    assert_eq!(live["metadata"]["managedFields"][0]["manager"], "portreeve");
    let rows = site.inventory("app").await;
    assert_eq!(rows.len(), 2);
    assert!(rows.iter().any(|row| row[3] == "a" && row[4] == live["metadata"]["uid"]), "{rows:?}");

    let again = site.apply(&[]);
    assert_eq!(again["writes"], 0, "{again}");
    let (_, plan) = site.plan();
    assert_eq!(actions(&plan), pairs(&[("unchanged", "ConfigMap/a"), ("unchanged", "Secret/s")]));
}

#[tokio::test]
async fn a_change_shows_the_field_with_its_owner_and_never_a_secrets_value() {
    let site = Site::new("change").await;
    let secret =
        |value: &str| format!("apiVersion: v1\nkind: Secret\nmetadata: {{name: s}}\nstringData: {{k: {value}}}\n");
    site.write("app/a.yaml", &config("a", "before"));
    site.write("app/s.yaml", &secret("hunter2"));
    site.apply(&[]);
    site.write("app/a.yaml", &config("a", "after"));
    site.write("app/s.yaml", &secret("correct-horse"));
    let text = site.run(&["plan"]).stdout;
    assert!(text.contains("data.value: \"before\" -> \"after\"  (owner portreeve)"), "{text}");
    assert!(text.contains("data.k: (hidden) -> (hidden)"), "{text}");
    for value in ["hunter2", "correct-horse", "aHVudGVyMg", "Y29ycmVjdC1ob3JzZQ"] {
        assert!(!text.contains(value), "{text}");
    }
    site.apply(&[]);
    let live = site.api().get(&site.config_map("a")).await.unwrap();
    assert_eq!(live["data"]["value"], "after");
}

#[tokio::test]
async fn what_leaves_the_manifests_is_deleted_and_what_holds_data_stays() {
    let site = Site::new("prune").await;
    let claim = "apiVersion: v1\nkind: PersistentVolumeClaim\nmetadata: {name: data}\n\
        spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}\n";
    site.write("app/a.yaml", &config("a", "1"));
    site.write("app/b.yaml", &config("b", "1"));
    site.write("app/claim.yaml", claim);
    site.run(&["apply", "--yes", "--no-wait"]);
    site.remove("app/b.yaml");
    site.remove("app/claim.yaml");
    let refused = site.run(&["apply"]);
    assert_eq!(refused.code, Some(2), "without a terminal nothing is deleted unasked");
    assert!(refused.stderr.contains("--yes"), "{}", refused.stderr);
    let applied = site.apply(&[]);
    let done = &applied["components"][0]["applied"];
    assert_eq!(done["deleted"], json!([format!("{}/ConfigMap/b", site.namespace)]), "{applied}");
    assert_eq!(done["retained"], json!([format!("{}/PersistentVolumeClaim/data", site.namespace)]));
    assert!(site.api().get(&site.config_map("b")).await.is_err());
    let claim = format!("/api/v1/namespaces/{}/persistentvolumeclaims/data", site.namespace);
    assert!(site.api().get(&claim).await.is_ok());
    assert_eq!(site.inventory("app").await.len(), 1);
}

#[tokio::test]
async fn an_object_made_anew_by_somebody_else_is_not_deleted() {
    let site = Site::new("anew").await;
    site.write("app/a.yaml", &config("a", "1"));
    site.write("app/b.yaml", &config("b", "1"));
    site.apply(&[]);
    let live = site.api().get(&site.config_map("b")).await.unwrap();
    site.api().delete(&site.config_map("b")).await.unwrap();
    // It even has our labels, as operators copy them.
    let copy = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {
        "name": "b", "namespace": site.namespace, "labels": live["metadata"]["labels"]}});
    site.api().create(&copy).await.unwrap();
    site.remove("app/b.yaml");
    let applied = site.apply(&[]);
    assert_eq!(applied["components"][0]["applied"]["deleted"], json!([]), "{applied}");
    assert!(site.api().get(&site.config_map("b")).await.is_ok());
    assert_eq!(site.inventory("app").await.len(), 1);
}

#[tokio::test]
async fn an_object_that_exists_is_taken_over_only_when_told_so_and_loses_nothing_that_the_plan_does_not_show() {
    let site = Site::new("adopt").await;
    let existing = json!({"apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": "a", "namespace": site.namespace, "annotations": {"note": "theirs"}},
        "data": {"value": "old", "same": "yes", "more": "theirs"}});
    let path = format!("/api/v1/namespaces/{}/configmaps?fieldManager=kubectl-create", site.namespace);
    site.api().post(&path, &existing).await.unwrap();
    site.write("app/a.yaml", &config("a", "new").replace("{value:", "{same: 'yes', value:"));
    let (code, plan) = site.plan();
    assert_eq!((code, actions(&plan)), (Some(1), pairs(&[("foreign", "ConfigMap/a")])), "{plan}");
    let refused = site.run(&["apply", "--yes"]);
    assert!(refused.stdout.contains("adopt: true"), "{}", refused.stdout);
    assert_eq!(site.api().get(&site.config_map("a")).await.unwrap()["data"]["value"], "old");

    site.component("adopt: true");
    let (_, plan) = site.plan();
    let object = &plan["components"][0]["plan"]["objects"][0];
    let paths: Vec<&str> = object["changes"].as_array().unwrap().iter().filter_map(|c| c["path"].as_str()).collect();
    assert_eq!((&object["action"], &paths[..]), (&json!("adopt"), &["metadata.labels", "data.value"][..]), "{plan}");
    site.apply(&[]);
    let live = site.api().get(&site.config_map("a")).await.unwrap();
    assert_eq!(live["data"], json!({"value": "new", "same": "yes", "more": "theirs"}), "it does what was shown");
    assert_eq!(live["metadata"]["annotations"]["note"], "theirs");
    assert_eq!(site.apply(&[])["writes"], 0);
    // What was declared once is ours, and goes when it leaves the manifest.
    site.write("app/a.yaml", &config("a", "new"));
    site.apply(&[]);
    let live = site.api().get(&site.config_map("a")).await.unwrap();
    assert_eq!(live["data"], json!({"value": "new", "more": "theirs"}));
}

#[tokio::test]
async fn a_plan_that_deletes_too_much_stops_until_it_is_confirmed() {
    let site = Site::new("limit").await;
    site.component("maxPrune: 2");
    for name in ["a", "b", "c", "d"] {
        site.write(&format!("app/{name}.yaml"), &config(name, "1"));
    }
    site.apply(&[]);
    ["a", "b", "c"].iter().for_each(|name| site.remove(&format!("app/{name}.yaml")));
    let stopped = site.run(&["apply", "--yes"]);
    assert_eq!(stopped.code, Some(1), "{}", stopped.stdout);
    assert!(stopped.stdout.contains("3 objects would be deleted, at most 2 may be"), "{}", stopped.stdout);
    assert!(site.api().get(&site.config_map("a")).await.is_ok());
    site.apply(&["--confirm-prune"]);
    assert!(site.api().get(&site.config_map("a")).await.is_err());
}

#[tokio::test]
async fn a_component_that_fails_the_gate_is_not_applied_and_the_running_version_stays() {
    let site = Site::new("gate").await;
    let pod = |privileged: bool| {
        format!(
            "apiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: web}}\nspec:\n  replicas: 0\n  selector: {{matchLabels: {{app: web}}}}\n  \
             template:\n    metadata: {{labels: {{app: web}}}}\n    spec:\n      containers:\n        - {{name: web, image: 'example.org/web:1', \
             securityContext: {{privileged: {privileged}}}}}\n"
        )
    };
    let high = |site: &Site| {
        let text = std::fs::read_to_string(site.folder.join("platform.yaml")).unwrap();
        site.write("platform.yaml", &text.replace("failOn: critical", "failOn: high"));
    };
    site.write("app/web.yaml", &pod(false));
    site.run(&["apply", "--yes", "--no-wait"]);
    high(&site);
    site.write("app/web.yaml", &pod(true));
    let (code, plan) = site.plan();
    assert_eq!((code, &plan["components"][0]["state"]), (Some(10), &json!("kept-back")), "{plan}");
    let message = plan["components"][0]["message"].as_str().unwrap();
    assert!(message.contains("C-0057"), "{message}");
    assert_eq!(site.run(&["apply", "--yes", "--no-wait"]).code, Some(10));
    let path = format!("/apis/apps/v1/namespaces/{}/deployments/web", site.namespace);
    let live = site.api().get(&path).await.unwrap();
    assert_eq!(live["spec"]["template"]["spec"]["containers"][0]["securityContext"]["privileged"], false);
}

#[tokio::test]
async fn an_image_that_the_policy_denies_is_kept_back_whatever_severity_fails() {
    let site = Site::new("images").await;
    site.configure(json!({"images": {"policy": "image-policy.yaml"}}));
    site.write(
        "image-policy.yaml",
        "apiVersion: portreeve.dev/v1alpha1\nkind: ImagePolicy\nmetadata: {name: strict}\n\
         spec: {mode: enforce, noMatch: deny, rules: []}\n",
    );
    let text = std::fs::read_to_string(site.folder.join("platform.yaml")).unwrap();
    let gate = "failOn: none, images: enforce";
    site.write("platform.yaml", &text.replace("failOn: critical", gate));
    site.write(
        "app/web.yaml",
        "apiVersion: v1\nkind: Pod\nmetadata: {name: web}\nspec: {containers: [{name: web, image: '127.0.0.1:1/x:1'}]}\n",
    );
    let (code, plan) = site.plan();
    assert_eq!((code, &plan["components"][0]["state"]), (Some(13), &json!("kept-back")), "{plan}");
    assert_eq!(site.run(&["apply", "--yes", "--no-wait"]).code, Some(13));
    let path = format!("/api/v1/namespaces/{}/pods/web", site.namespace);
    assert_eq!(site.api().get(&path).await.unwrap_err().code, 404);
    site.write("platform.yaml", &text.replace("failOn: critical", "failOn: none, images: warn"));
    let applied = site.run(&["apply", "--yes", "--no-wait"]);
    assert!(applied.stdout.contains("1 written"), "the platform asks for less: {}{}", applied.stdout, applied.stderr);
    assert!(site.api().get(&path).await.is_ok());
    // Nothing is to be done, and nothing runs: the plan says so of what it has seen.
    let (code, plan) = site.plan();
    assert_eq!((code, &plan["components"][0]["state"]), (Some(0), &json!("progressing")), "{plan}");
    assert!(plan["components"][0]["unhealthy"][0]["object"].as_str().unwrap().ends_with("Pod/web"), "{plan}");
}

#[tokio::test]
async fn definitions_come_before_their_objects_and_go_after_them() {
    let site = Site::new("waves").await;
    let group = format!("{}.example.org", site.name);
    let definition = format!(
        "apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata: {{name: things.{group}}}\nspec:\n  group: {group}\n  \
         scope: Namespaced\n  names: {{plural: things, singular: thing, kind: Thing}}\n  versions:\n    - name: v1\n      served: true\n      \
         storage: true\n      schema: {{openAPIV3Schema: {{type: object, x-kubernetes-preserve-unknown-fields: true}}}}\n"
    );
    let ready = "status: {conditions: [{type: Ready, status: 'True'}]}";
    let thing = format!("apiVersion: {group}/v1\nkind: Thing\nmetadata: {{name: one}}\nspec: {{size: 1}}\n{ready}\n");
    site.write("app/thing.yaml", &thing);
    site.write("app/z-definition.yaml", &definition);
    site.component("retain: false");
    let (code, plan) = site.plan();
    assert_eq!(code, Some(0), "{plan}");
    // The object says nothing of its health: that is not healthy.
    let applied = site.run(&["apply", "--yes", "--timeout", "10s"]);
    assert_eq!(applied.code, Some(5), "{}{}", applied.stdout, applied.stderr);
    assert!(applied.stdout.contains("unknown: it has no condition"), "{}", applied.stdout);
    let path = format!("/apis/{group}/v1/namespaces/{}/things/one", site.namespace);
    assert_eq!(site.api().get(&path).await.unwrap()["spec"]["size"], 1);
    let destroyed = site.run(&["destroy", "--yes"]);
    assert_eq!(destroyed.code, Some(0), "{}{}", destroyed.stdout, destroyed.stderr);
    assert!(site.api().get(&path).await.is_err());
}

#[tokio::test]
async fn suspended_is_not_applied_until_it_is_resumed_and_destroy_suspends() {
    let site = Site::new("suspend").await;
    site.write("app/a.yaml", &config("a", "1"));
    site.apply(&[]);
    assert_eq!(site.run(&["suspend", "app"]).code, Some(0));
    site.write("app/a.yaml", &config("a", "2"));
    let value = |object: Value| object["data"]["value"].as_str().unwrap().to_owned();
    let output = site.run(&["apply", "--yes", "--format", "json"]);
    let applied: Value = serde_json::from_str(&output.stdout).unwrap();
    assert_eq!(output.code, Some(1), "asked for and not done: {}", output.stderr);
    assert_eq!((&applied["components"][0]["state"], &applied["writes"]), (&json!("suspended"), &json!(0)));
    let said = site.run(&["apply", "--yes"]).stdout;
    assert!(said.contains("suspended, nothing was done"), "{said}");
    assert_eq!(value(site.api().get(&site.config_map("a")).await.unwrap()), "1");
    let status = site.run(&["status"]);
    assert!(status.stdout.contains("suspended"), "{}", status.stdout);
    site.run(&["resume", "app"]);
    site.apply(&[]);
    assert_eq!(value(site.api().get(&site.config_map("a")).await.unwrap()), "2");

    assert_eq!(site.run(&["destroy"]).code, Some(2), "it asks");
    assert_eq!(site.run(&["destroy", "--yes"]).code, Some(0));
    assert!(site.api().get(&site.config_map("a")).await.is_err());
    assert!(site.inventory("app").await.is_empty());
    let status = site.run(&["status"]);
    assert!(status.stdout.contains("suspended") && !status.stdout.contains("pending"), "{}", status.stdout);
    assert_eq!(status.code, Some(0), "{}", status.stdout);
    let again = site.run(&["apply", "--yes"]);
    assert_eq!(again.code, Some(1), "what was destroyed does not come back: {}", again.stdout);
    assert!(site.api().get(&site.config_map("a")).await.is_err());
    assert_eq!(site.run(&["suspend", "nobody"]).code, Some(2));
}

#[tokio::test]
async fn a_component_waits_for_what_it_depends_on_and_one_bad_one_stops_no_other() {
    let site = Site::new("graph").await;
    let namespace = &site.namespace;
    site.platform(&format!(
        "- {{name: late, namespace: {namespace}, dependsOn: [broken], source: {{folder: late}}}}\n\
         - {{name: broken, namespace: {namespace}, source: {{folder: broken}}}}\n\
         - {{name: well, namespace: {namespace}, source: {{folder: well}}}}"
    ));
    site.write("late/a.yaml", &config("late", "1"));
    site.write("broken/a.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: broken}\ndota: {value: '1'}\n");
    site.write("well/a.yaml", &config("well", "1"));
    let output = site.run(&["apply", "--yes", "--format", "json"]);
    assert_eq!(output.code, Some(1), "{}", output.stdout);
    let applied: Value = serde_json::from_str(&output.stdout).unwrap();
    let state = |name: &str| {
        let components = applied["components"].as_array().unwrap();
        components.iter().find(|component| component["name"] == name).unwrap()["state"].clone()
    };
    assert_eq!([state("late"), state("broken"), state("well")], [json!("waiting"), json!("failed"), json!("healthy")]);
    assert!(site.api().get(&site.config_map("late")).await.is_err());
    assert!(site.api().get(&site.config_map("well")).await.is_ok());
}

#[tokio::test]
async fn a_component_that_left_the_file_is_taken_down() {
    let site = Site::new("gone").await;
    let item = |name: &str| format!("- {{name: {name}, namespace: {}, source: {{folder: {name}}}}}\n", site.namespace);
    site.write("one/a.yaml", &config("one", "1"));
    site.write("two/a.yaml", &config("two", "1"));
    site.platform(&format!("{}{}", item("one"), item("two")));
    site.apply(&[]);
    site.platform(&item("one"));
    site.apply(&[]);
    assert!(site.api().get(&site.config_map("one")).await.is_ok());
    assert!(site.api().get(&site.config_map("two")).await.is_err());
    assert!(site.inventory("two").await.is_empty());
}

#[tokio::test]
async fn ignored_fields_and_fields_of_others_are_left_as_they_are() {
    let site = Site::new("ignore").await;
    let config = |value: &str| {
        format!(
            "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: a}}\ndata: {{kept: '{value}', theirs: '{value}', ours: '{value}'}}\n"
        )
    };
    site.component("ignore: [{kind: ConfigMap, name: a, paths: [/data/kept]}]");
    site.write("app/a.yaml", &config("1"));
    site.apply(&[]);
    site.api().merge(&site.config_map("a"), &json!({"data": {"kept": "tuned"}})).await.unwrap();
    let theirs = documents(&format!(
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: a, namespace: {}}}\ndata: {{theirs: operator}}\n",
        site.namespace
    ));
    site.api().apply_object(&theirs[0], "").await.unwrap();
    let (_, plan) = site.plan();
    let object = &plan["components"][0]["plan"]["objects"][0];
    assert_eq!((&object["action"], &object["leftToOthers"][0]["path"]), (&json!("unchanged"), &json!("data.theirs")));
    assert_eq!(object["leftToOthers"][0]["owners"], json!(["tests"]));
    site.write("app/a.yaml", &config("2"));
    site.apply(&[]);
    let live = site.api().get(&site.config_map("a")).await.unwrap();
    assert_eq!(live["data"], json!({"kept": "tuned", "theirs": "operator", "ours": "2"}));
}

#[tokio::test]
async fn hundreds_of_unchanged_objects_are_planned_without_a_write() {
    let site = Site::new("many").await;
    let many: String = (0..500).map(|number| config(&format!("c{number}"), "1") + "---\n").collect();
    site.write("app/many.yaml", &many);
    let applied = site.apply(&["--timeout", "5m"]);
    assert_eq!(applied["components"][0]["state"], "healthy");
    let started = std::time::Instant::now();
    let (code, plan) = site.plan();
    println!("a plan of 500 unchanged objects took {:?}", started.elapsed());
    assert_eq!((code, &plan["writes"]), (Some(0), &json!(0)));
    assert!(actions(&plan).iter().all(|(action, _)| action == "unchanged"));
    assert_eq!(site.apply(&[])["writes"], 0);
}

#[tokio::test]
async fn whether_a_platform_is_suspended_is_never_guessed() {
    let site = Site::new("damaged").await;
    site.write("app/a.yaml", &config("a", "1"));
    site.apply(&[]);
    assert_eq!(site.run(&["destroy", "--yes"]).code, Some(0));
    let whole = format!("/api/v1/namespaces/portreeve-system/configmaps/platform.{}", site.name);
    site.api().merge(&whole, &json!({"data": {"entries": "["}})).await.unwrap();
    let output = site.run(&["apply", "--yes"]);
    assert_eq!(output.code, Some(1), "{}{}", output.stdout, output.stderr);
    assert!(output.stdout.contains("restore the ConfigMap"), "{}", output.stdout);
    let status = site.run(&["status"]);
    assert_eq!(status.code, Some(5), "nor is it well: {}", status.stdout);
    assert!(status.stdout.contains("failed"), "{}", status.stdout);
    assert!(site.api().get(&site.config_map("a")).await.is_err(), "what was destroyed does not come back");
}

#[tokio::test]
async fn what_the_server_says_about_a_secret_is_not_passed_on() {
    let site = Site::new("pin").await;
    // A number in `data` is a mistake before the server is asked; one at the wrong key is quoted by it.
    site.write("app/s.yaml", "apiVersion: v1\nkind: Secret\nmetadata: {name: s}\nimmutable: 918273645\n");
    for arguments in [&["plan"][..], &["plan", "--format", "json"], &["apply", "--yes"]] {
        let output = site.run(arguments);
        let said = output.stdout + &output.stderr;
        assert_ne!(output.code, Some(0), "{said}");
        assert!(said.contains("words are left out"), "{said}");
        assert!(!said.contains("918273645"), "{said}");
    }
    site.write("app/s.yaml", "apiVersion: v1\nkind: Secret\nmetadata: {name: s}\ndata: {pin: 918273645}\n");
    let output = site.run(&["plan"]);
    assert_eq!(output.code, Some(2), "{}", output.stderr);
    assert!(!(output.stdout + &output.stderr).contains("918273645"));
}

#[tokio::test]
async fn an_object_whose_version_is_served_no_more_is_not_forgotten() {
    let site = Site::new("version").await;
    let group = format!("{}.example.org", site.name);
    let version = |name: &str, is_served: bool, is_stored: bool| {
        json!({"name": name, "served": is_served, "storage": is_stored, "schema": {"openAPIV3Schema":
            {"type": "object", "x-kubernetes-preserve-unknown-fields": true}}})
    };
    let definition = json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": format!("things.{group}")},
        "spec": {"group": group, "scope": "Namespaced", "names": {"plural": "things", "kind": "Thing"},
            "versions": [version("v1", true, false), version("v2", true, true)]}});
    site.api().create(&definition).await.unwrap();
    let served = |version: &str| format!("/apis/{group}/{version}/namespaces/{}/things", site.namespace);
    site.api().wait_for(&served("v1"), "the kind is served", |_| Some(())).await;
    site.write("app/a.yaml", &config("a", "1"));
    site.write("app/thing.yaml", &format!("apiVersion: {group}/v1\nkind: Thing\nmetadata: {{name: one}}\n"));
    site.run(&["apply", "--yes", "--no-wait"]);
    assert_eq!(site.inventory("app").await.len(), 2);

    let path = format!("/apis/apiextensions.k8s.io/v1/customresourcedefinitions/things.{group}");
    let versions = json!({"spec": {"versions": [version("v1", false, false), version("v2", true, true)]}});
    site.api().merge(&path, &versions).await.unwrap();
    let is_away = || async { site.api().get(&served("v1")).await.is_err().then_some(()) };
    portreeve_tests::process::until(portreeve_tests::process::START, is_away).await.expect("v1 is away");
    site.remove("app/thing.yaml");
    let output = site.run(&["apply", "--yes"]);
    assert_eq!(output.code, Some(1), "{}{}", output.stdout, output.stderr);
    assert!(output.stdout.contains("in other versions only"), "{}", output.stdout);
    assert!(site.api().get(&format!("{}/one", served("v2"))).await.is_ok());
    assert_eq!(site.inventory("app").await.len(), 2, "it is remembered");
    // Without the kind there is nothing that could live on.
    site.api().delete(&path).await.unwrap();
    let is_away = || async { site.api().get(&served("v2")).await.is_err().then_some(()) };
    portreeve_tests::process::until(portreeve_tests::process::START, is_away).await.expect("the kind is away");
    site.apply(&[]);
    assert_eq!(site.inventory("app").await.len(), 1);
}
