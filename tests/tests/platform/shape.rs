//! Objects move between components, components leave the file, and the platform gets another name.

use std::sync::{Mutex, PoisonError};

use portreeve_tests::OrFail as _;
use portreeve_tests::api_proxy::after_each_write;
use serde_json::json;

use crate::faults::killed;
use crate::plans::{actions, pairs};
use crate::site::{Site, config};
use crate::two::{holder, item, listed, moved, proxied, two};

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_after_any_write_of_a_move_between_components_never_deletes_the_object() {
    let (site, proxy) = proxied("move").await;
    let (site, proxy) = (&site, &proxy);
    // The component that prunes is first.
    site.platform(&format!("{}{}", item(site, "from", ""), item(site, "to", "")));
    let before = &Mutex::new(String::new());
    let run = |n, when| async move {
        two(site).await;
        let (uid, _) = holder(site, "x").await;
        *before.lock().unwrap_or_else(PoisonError::into_inner) = uid;
        moved(site, "x");
        killed(site, proxy, (n, when), &["apply", "--yes"]).await
    };
    let again = |n| async move {
        let output = site.run_async(&["apply", "--yes"]).await;
        assert_eq!(output.code, Some(0), "write {n}: {}{}", output.stdout, output.stderr);
        let uid = before.lock().unwrap_or_else(PoisonError::into_inner).clone();
        assert_eq!(holder(site, "x").await, (uid, "to".to_owned()), "write {n}: the same object");
        assert_eq!(
            (listed(site, "from").await, listed(site, "to").await),
            (vec!["stays".to_owned()], vec!["x".to_owned(), "z".to_owned()]),
            "write {n}"
        );
    };
    let points = after_each_write(proxy, run, again).await.len();
    assert!(points >= 8, "the object and the inventories: intent, UID, and the one that lets go, not {points}");
}

#[tokio::test]
async fn an_object_that_moves_stays_where_it_is_until_its_new_component_can_take_it() {
    let site = Site::new("moves").await;
    let (to, from) = (item(&site, "to", ""), item(&site, "from", ""));
    site.platform(&format!("{to}{from}"));
    two(&site).await;
    let (uid, _) = holder(&site, "x").await;
    moved(&site, "x");
    // What a component declares is not known while a part of it cannot be read.
    site.write("to/bad.yaml", "kind: [");
    let output = site.run(&["apply", "--yes"]);
    assert_eq!(output.code, Some(2), "{}{}", output.stdout, output.stderr);
    assert_eq!(holder(&site, "x").await, (uid.clone(), "from".to_owned()));
    assert_eq!(listed(&site, "from").await, ["stays", "x"]);
    site.remove("to/bad.yaml");
    let (_, plan) = site.plan();
    assert_eq!(actions(&plan), pairs(&[("move", "ConfigMap/x"), ("unchanged", "ConfigMap/z")]), "{plan}");
    site.apply(&[]);
    assert_eq!(holder(&site, "x").await, (uid.clone(), "to".to_owned()));
    assert_eq!((site.apply(&[])["writes"].clone(), listed(&site, "from").await), (json!(0), vec!["stays".to_owned()]));
    // Everything has moved, and the component is given up with it.
    let (stays, _) = holder(&site, "stays").await;
    moved(&site, "stays");
    site.platform(&to);
    site.apply(&[]);
    assert_eq!(holder(&site, "stays").await, (stays, "to".to_owned()));
    assert!(site.inventory("from").await.is_empty());
    // And back again, to a component that is new.
    site.write("from/x.yaml", &config("x", "1"));
    site.remove("to/x.yaml");
    site.platform(&format!("{to}{from}"));
    site.apply(&[]);
    assert_eq!(holder(&site, "x").await, (uid, "from".to_owned()));
}

#[tokio::test]
async fn a_component_that_left_the_file_is_pruned_as_it_said_and_before_what_it_needed() {
    let site = Site::new("left").await;
    let others = format!("{}{}", item(&site, "one", ""), item(&site, "two", ""));
    let with = |hub: &str| format!("{others}{}{}", item(&site, "base", ""), item(&site, "hub", hub));
    ["one", "two", "base", "hub"].iter().for_each(|name| site.write(&format!("{name}/a.yaml"), &config(name, "1")));
    site.platform(&with(", dependsOn: [base], prune: false"));
    site.apply(&[]);
    site.platform(&others);
    let output = site.run(&["apply", "--yes"]);
    assert_eq!(output.code, Some(5), "{}{}", output.stdout, output.stderr);
    assert!(output.stdout.contains("kept (prune: false)"), "{}", output.stdout);
    assert!(output.stdout.contains("base: waiting; after hub"), "{}", output.stdout);
    for name in ["base", "hub"] {
        assert!(site.api().get(&site.config_map(name)).await.is_ok(), "{name} is there");
    }
    site.platform(&with(", dependsOn: [base]"));
    site.apply(&[]);
    site.platform(&others);
    let applied = site.apply(&[]);
    assert_eq!(applied["components"][2]["name"], "hub", "what depends on others goes first: {applied}");
    for name in ["base", "hub"] {
        assert!(site.api().get(&site.config_map(name)).await.is_err(), "{name} is gone");
        assert!(site.inventory(name).await.is_empty(), "{name}'s inventory is gone");
    }
}

#[tokio::test]
async fn a_platform_of_another_name_says_what_the_former_has_and_deletes_nothing() {
    let site = Site::new("renamed").await;
    site.write("app/a.yaml", &config("a", "1"));
    site.apply(&[]);
    let text = std::fs::read_to_string(site.folder.join("platform.yaml")).or_fail("the platform file");
    let (old, new) = (format!("metadata: {{name: {}}}", site.name), format!("metadata: {{name: {}-new}}", site.name));
    site.write("platform.yaml", &text.replace(&old, &new));
    site.write("app/b.yaml", &config("b", "1"));
    site.remove("app/a.yaml");
    let said = site.run(&["plan"]).stdout;
    assert!(said.contains(&format!("platform.{}.app", site.name)) && said.contains("was renamed"), "{said}");
    site.apply(&[]);
    assert!(site.api().get(&site.config_map("a")).await.is_ok());
    assert_eq!(site.inventory("app").await.len(), 1);
}
