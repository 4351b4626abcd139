//! An API server that refuses, hangs or conflicts, and a process that dies after each write in turn.

use portreeve_tests::OrFail as _;
use portreeve_tests::api_proxy::{Answer, ApiProxy};
use portreeve_tests::binary::Portreeve;
use portreeve_tests::process::{Running, START, until};
use serde_json::{Value, json};

use crate::site::{Site, config};

/// What every run ends at, whatever happened before: names and values of the namespace's ConfigMaps, and whether the
/// inventory lists exactly the objects that are there, by UID.
async fn end_state(site: &Site) -> (Vec<(String, String)>, bool) {
    let path = format!("/api/v1/namespaces/{}/configmaps", site.namespace);
    let listed = site.api().get(&path).await.or_fail("the ConfigMaps of the namespace");
    let items = listed["items"].as_array().or_fail("a list has items").clone();
    let word = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let found = items.iter().map(|item| (word(&item["metadata"]["name"]), word(&item["data"]["value"]))).collect();
    let labelled = |item: &&Value| item["metadata"]["labels"]["portreeve.dev/component"] == "app";
    let mut live: Vec<String> = items.iter().filter(labelled).map(|item| word(&item["metadata"]["uid"])).collect();
    let mut listed: Vec<String> = site.inventory("app").await.iter().map(|row| word(&row[4])).collect();
    live.sort();
    listed.sort();
    (found, live == listed)
}

/// Starts a command that dies by SIGKILL once its n-th write was carried out and not answered; whether it got there.
async fn killed_after(site: &Site, proxy: &ApiProxy, nth: usize, arguments: &[&str]) -> bool {
    proxy.answer(move |call| if call.write == nth { Answer::Swallow } else { Answer::Forward });
    let mut command = Portreeve::command();
    command.current_dir(&site.folder).arg("platform").args(arguments);
    let mut running = Running::start("portreeve", &mut command);
    let over = until(START, || {
        let is_over = proxy.swallowed() > 0 || running.has_ended();
        async move { is_over.then_some(()) }
    });
    over.await.or_fail("the command gets to its write or ends");
    let is_cut = proxy.swallowed() > 0;
    drop(running);
    // The lease of the dead process would be waited for; that it runs out is the lease's own test.
    let lease = format!("/apis/coordination.k8s.io/v1/namespaces/portreeve-system/leases/{}", site.name);
    let _gone = site.api().delete(&lease).await;
    is_cut
}

#[tokio::test]
async fn a_crash_after_any_write_of_apply_prune_or_destroy_leaves_the_same_end() {
    let site = Site::new("crash").await;
    let proxy = ApiProxy::start(site.plane);
    site.configure(json!({"cluster": {"kubeconfig": proxy.kubeconfig()}}));
    let foreign = json!({"apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": "foreign", "namespace": site.namespace}, "data": {"value": "theirs"}});
    site.api().create(&foreign).await.unwrap();
    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let mut points = Vec::new();
    for nth in 1.. {
        // From nothing: a and b are applied. Then a changes, b leaves, c comes. Then all goes.
        site.write("app/a.yaml", &config("a", "1"));
        site.write("app/b.yaml", &config("b", "1"));
        let mut is_cut = killed_after(&site, &proxy, nth, &["apply", "--yes"]).await;
        points.extend(is_cut.then(|| format!("apply: {}", proxy.writes().pop().unwrap_or_default())));
        proxy.answer(|_| Answer::Forward);
        site.apply(&[]);
        let expected = vec![pair("a", "1"), pair("b", "1"), pair("foreign", "theirs")];
        assert_eq!(end_state(&site).await, (expected, true), "apply, write {nth}");
        assert_eq!(site.apply(&[])["writes"], 0);

        site.write("app/a.yaml", &config("a", "2"));
        site.remove("app/b.yaml");
        site.write("app/c.yaml", &config("c", "1"));
        let cut = killed_after(&site, &proxy, nth, &["apply", "--yes"]).await;
        points.extend(cut.then(|| format!("prune: {}", proxy.writes().pop().unwrap_or_default())));
        is_cut |= cut;
        proxy.answer(|_| Answer::Forward);
        site.apply(&[]);
        let expected = vec![pair("a", "2"), pair("c", "1"), pair("foreign", "theirs")];
        assert_eq!(end_state(&site).await, (expected, true), "prune, write {nth}");

        let cut = killed_after(&site, &proxy, nth, &["destroy", "--yes"]).await;
        points.extend(cut.then(|| format!("destroy: {}", proxy.writes().pop().unwrap_or_default())));
        is_cut |= cut;
        proxy.answer(|_| Answer::Forward);
        assert_eq!(site.run(&["destroy", "--yes"]).code, Some(0));
        assert_eq!(end_state(&site).await, (vec![pair("foreign", "theirs")], true), "destroy, write {nth}");
        site.run(&["resume"]);
        site.remove("app/c.yaml");
        if !is_cut {
            break;
        }
    }
    println!("{} crash points:\n{}", points.len(), points.join("\n"));
    for what in ["apply", "prune", "destroy"] {
        let count = points.iter().filter(|point| point.starts_with(what)).count();
        assert!(count >= 4, "{what}: {points:#?}");
    }
}

#[tokio::test]
async fn refusals_are_told_with_the_servers_words_and_the_rest_goes_on() {
    let site = Site::new("refuse").await;
    let proxy = ApiProxy::start(site.plane);
    site.configure(json!({"cluster": {"kubeconfig": proxy.kubeconfig()}}));
    site.write("app/a.yaml", &config("a", "1"));
    let is_apply = |method: &str, path: &str| method == "PATCH" && path.contains("/configmaps/a");
    proxy.answer(move |call| match is_apply(&call.method, &call.path) {
        true => Answer::Refuse(403, "Forbidden"),
        false => Answer::Forward,
    });
    let output = site.run(&["apply", "--yes"]);
    assert_eq!(output.code, Some(4), "{}{}", output.stdout, output.stderr);
    assert!(output.stdout.contains("ConfigMap/a: refused: Forbidden by the test"), "{}", output.stdout);

    // The object is applied and the answer never comes: the next run finds it, and it is ours.
    proxy.answer(move |call| match call.write > 0 && is_apply(&call.method, &call.path) {
        true => Answer::Swallow,
        false => Answer::Forward,
    });
    let output = site.run(&["apply", "--yes"]);
    assert!(output.stdout.contains("no answer within 3 s"), "{}{}", output.stdout, output.stderr);
    proxy.answer(|_| Answer::Forward);
    let applied = site.apply(&[]);
    assert_eq!(applied["components"][0]["state"], "healthy", "{applied}");
    assert_eq!(end_state(&site).await, (vec![("a".to_owned(), "1".to_owned())], true));

    // Somebody else writes the inventory: nothing is applied past it.
    site.write("app/a.yaml", &config("a", "2"));
    site.write("app/b.yaml", &config("b", "1"));
    proxy.answer(|call| match call.method == "PUT" && call.path.contains("platform.") {
        true => Answer::Refuse(409, "Conflict"),
        false => Answer::Forward,
    });
    let output = site.run(&["apply", "--yes"]);
    assert!(output.stdout.contains("it changed meanwhile"), "{}{}", output.stdout, output.stderr);
    assert_eq!(end_state(&site).await, (vec![("a".to_owned(), "1".to_owned())], true));
}

#[tokio::test]
async fn a_definition_that_never_establishes_is_waited_for_in_vain_and_told() {
    let site = Site::new("never").await;
    let group = format!("{}.example.org", site.name);
    let definition = |plural: &str, kind: &str| {
        format!(
            "apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata: {{name: {plural}.{group}}}\nspec:\n  group: {group}\n  \
             scope: Namespaced\n  names: {{plural: {plural}, kind: {kind}}}\n  versions:\n    - {{name: v1, served: true, storage: true, \
             schema: {{openAPIV3Schema: {{type: object, x-kubernetes-preserve-unknown-fields: true}}}}}}\n"
        )
    };
    // Two definitions of one kind: the server accepts the names of the first only.
    site.write("app/first.yaml", &definition("things", "Thing"));
    site.apply(&[]);
    site.write("app/second.yaml", &definition("others", "Thing"));
    site.write("app/object.yaml", &format!("apiVersion: {group}/v1\nkind: Thing\nmetadata: {{name: one}}\n"));
    site.write("app/z.yaml", &config("z", "1"));
    let output = site.run(&["apply", "--yes", "--timeout", "3s", "--format", "json"]);
    let applied: Value = serde_json::from_str(&output.stdout).or_fail(&output.stderr);
    assert_eq!(applied["components"][0]["state"], "progressing", "{applied}");
    assert!(applied["components"][0]["applied"]["unhealthy"].to_string().contains("Thing"), "{applied}");
    assert!(site.api().get(&site.config_map("z")).await.is_err(), "later waves wait");
    site.component("retain: false");
    assert_eq!(site.run(&["destroy", "--yes"]).code, Some(0));
}
