//! Whose an object is: what two components declare, what cannot be asked, what was not listed, and what was said about
//! the end.

use portreeve_tests::OrFail as _;
use portreeve_tests::api_proxy::{Fault, Match};
use serde_json::{Value, json};

use crate::site::{Site, config};
use crate::two::{holder, item, listed, moved, proxied, two};

/// A cluster-scoped kind of the site, served; its group.
async fn cluster_scoped(site: &Site) -> String {
    let group = format!("{}.example.org", site.name);
    let version = json!({"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema":
        {"type": "object", "x-kubernetes-preserve-unknown-fields": true}}});
    let definition = json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": format!("issuers.{group}")},
        "spec": {"group": group, "scope": "Cluster", "names": {"plural": "issuers", "kind": "Issuer"},
            "versions": [version]}});
    site.api().create(&definition).await.or_fail("a definition");
    site.api().wait_for(&format!("/apis/{group}/v1/issuers"), "the kind is served", |_| Some(())).await;
    group
}

fn issuer(group: &str, by: &str) -> String {
    format!(
        "apiVersion: {group}/v1\nkind: Issuer\nmetadata: {{name: le}}\nspec: {{by: {by}}}\n\
         status: {{conditions: [{{type: Ready, status: 'True'}}]}}\n"
    )
}

#[tokio::test]
async fn two_components_that_declare_one_object_without_a_namespace_do_not_take_it_from_each_other() {
    let site = Site::new("both").await;
    let group = cluster_scoped(&site).await;
    let other = site.plane.namespace("both").await;
    let second = format!("- {{name: second, namespace: {other}, source: {{folder: second}}, adopt: true}}\n");
    site.platform(&format!("{}{second}", item(&site, "first", "")));
    site.write("first/issuer.yaml", &issuer(&group, "first"));
    site.write("second/issuer.yaml", &issuer(&group, "second"));
    let path = format!("/apis/{group}/v1/issuers/le");
    for round in 0..4 {
        let output = site.run(&["apply", "--yes", "--no-wait"]);
        let said = format!("round {round}: {}{}", output.stdout, output.stderr);
        assert_eq!(output.code, Some(1), "{said}");
        assert!(output.stdout.contains("the component 'first' keeps it"), "{said}");
        assert!(output.stdout.contains(" /Issuer/le: ") && !output.stdout.contains("both-2/Issuer/le: "), "{said}");
        assert_eq!(site.api().get(&path).await.or_fail("the object")["spec"]["by"], "first", "{said}");
        assert!(site.inventory("second").await.is_empty(), "{said}");
    }
    // The one that declares it alone gets it.
    site.remove("first/issuer.yaml");
    site.write("first/a.yaml", &config("a", "1"));
    site.run(&["apply", "--yes", "--no-wait"]);
    assert_eq!(site.api().get(&path).await.or_fail("the object")["spec"]["by"], "second");
    assert_eq!((listed(&site, "first").await, listed(&site, "second").await), (vec!["a".into()], vec!["le".into()]));
}

#[tokio::test]
async fn an_object_whose_component_cannot_be_read_is_not_taken_from_it() {
    let site = Site::new("unread").await;
    site.platform(&format!("{}{}", item(&site, "from", ""), item(&site, "to", ", adopt: true")));
    two(&site).await;
    site.write("from/bad.yaml", "kind: [");
    site.write("to/x.yaml", &config("x", "2"));
    let before = holder(&site, "x").await;
    for _ in 0..2 {
        let output = site.run(&["apply", "--yes"]);
        assert!(output.stdout.contains("the component 'from' keeps it"), "{}{}", output.stdout, output.stderr);
        assert_eq!(holder(&site, "x").await, before);
        assert_eq!(site.api().get(&site.config_map("x")).await.or_fail("x")["data"]["value"], "1");
    }
}

#[tokio::test]
async fn what_is_as_declared_is_listed_where_it_was_not_and_is_deleted_when_it_leaves() {
    let site = Site::new("unlisted").await;
    let group = cluster_scoped(&site).await;
    site.write("app/a.yaml", &config("a", "1"));
    site.write("app/b.yaml", &config("b", "1"));
    site.apply(&[]);
    let inventory = format!("/api/v1/namespaces/portreeve-system/configmaps/platform.{}.app", site.name);
    site.api().delete(&inventory).await.or_fail("somebody deletes the inventory");
    site.apply(&[]);
    assert_eq!(listed(&site, "app").await, ["a", "b"]);
    site.remove("app/b.yaml");
    site.apply(&[]);
    assert!(site.api().get(&site.config_map("b")).await.is_err());

    // The component gets another namespace; the object without one is the same, under a name that is not listed.
    let path = format!("/apis/{group}/v1/issuers/le");
    site.remove("app/a.yaml");
    site.write("app/issuer.yaml", &issuer(&group, "app"));
    site.run(&["apply", "--yes", "--no-wait"]);
    let other = site.plane.namespace("unlisted").await;
    site.platform(&format!("- {{name: app, namespace: {other}, source: {{folder: app}}}}\n"));
    site.run(&["apply", "--yes", "--no-wait"]);
    let live = site.api().get(&path).await.or_fail("the object");
    let rows = site.inventory("app").await;
    let told: Vec<(&Value, &Value)> = rows.iter().map(|row| (&row[2], &row[4])).collect();
    assert_eq!(told, [(&json!(other), &live["metadata"]["uid"])]);
    site.remove("app/issuer.yaml");
    site.write("app/a.yaml", &config("a", "1"));
    site.apply(&[]);
    assert!(site.api().get(&path).await.is_err(), "it is not forgotten");
}

#[tokio::test]
async fn what_a_suspended_component_says_about_its_end_counts_when_it_goes() {
    let site = Site::new("said").await;
    let others = format!("{}{}", item(&site, "one", ""), item(&site, "two", ""));
    ["one", "two", "hub"].iter().for_each(|name| site.write(&format!("{name}/a.yaml"), &config(name, "1")));
    site.platform(&format!("{others}{}", item(&site, "hub", "")));
    site.apply(&[]);
    assert_eq!(site.run(&["suspend", "hub"]).code, Some(0));
    site.platform(&format!("{others}{}", item(&site, "hub", ", prune: false")));
    let output = site.run(&["apply", "--yes"]);
    assert_eq!(output.code, Some(1), "it is suspended: {}{}", output.stdout, output.stderr);
    site.platform(&others);
    assert_eq!(site.run(&["resume", "hub"]).code, Some(0));
    let output = site.run(&["apply", "--yes"]);
    assert!(site.api().get(&site.config_map("hub")).await.is_ok(), "{}{}", output.stdout, output.stderr);
    assert_eq!(listed(&site, "hub").await, ["hub"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_applied_is_told_though_the_last_look_fails() {
    let (site, proxy) = proxied("told").await;
    site.platform(&format!("{}{}", item(&site, "from", ""), item(&site, "to", "")));
    two(&site).await;
    moved(&site, "x");
    // The look before the question and that with the lease pass; the one that hands over does not.
    let look = || Match::path("inventory").method("GET");
    proxy.fault(look(), Fault::Delay(std::time::Duration::ZERO), Some(2));
    proxy.fault(look(), Fault::Answer(500), None);
    let output = site.run_async(&["apply", "--yes"]).await;
    assert_ne!(output.code, Some(0), "{}{}", output.stdout, output.stderr);
    assert!(output.stdout.contains("to: healthy; 1 written"), "{}{}", output.stdout, output.stderr);
    assert!(output.stderr.contains("the proxy answers 500"), "{}{}", output.stdout, output.stderr);
    proxy.heal();
    assert_eq!(site.run_async(&["apply", "--yes"]).await.code, Some(0));
    assert_eq!(listed(&site, "from").await, ["stays"]);
}

#[tokio::test]
async fn the_platform_of_the_configuration_is_meant_and_not_one_that_lies_here() {
    let site = Site::new("meant").await;
    let here = std::fs::read_to_string(site.folder.join("platform.yaml")).or_fail("the platform file");
    let named = |name: &str| {
        here.replace(&format!("metadata: {{name: {}}}", site.name), &format!("metadata: {{name: {name}}}"))
    };
    site.write("conf/prod.yaml", &named("prod"));
    site.write("conf/app/a.yaml", &config("a", "1"));
    site.configure(json!({"platform": {"file": "conf/prod.yaml"}}));
    let platform = |arguments: &[&str]| {
        let output = site.run(&[&["plan", "--format", "json"], arguments].concat());
        let plan: Value = serde_json::from_str(&output.stdout).or_fail(&output.stderr);
        plan["platform"].clone()
    };
    assert_eq!(platform(&[]), "prod");
    assert_eq!(platform(&["-f", "platform.yaml"]), json!(site.name));
}
