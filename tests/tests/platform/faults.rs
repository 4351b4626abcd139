//! An API server that refuses, hangs or conflicts, and a process that dies after each write in turn.

use portreeve_tests::OrFail as _;
use portreeve_tests::api_proxy::{ApiProxy, Fault, Kill, Match, Run, after_each_write};
use portreeve_tests::binary::Portreeve;
use portreeve_tests::process::{Running, START};
use serde_json::{Value, json};

use crate::ends::{THEIRS, end_state, forget_lease, manifests, nothing};
use crate::site::{Site, config};
use crate::two::proxied;

/// Runs a command that is killed at its n-th write, if it gets there.
pub(crate) async fn killed(site: &Site, proxy: &ApiProxy, (n, when): (usize, Kill), arguments: &[&str]) -> Run {
    let mut command = Portreeve::command();
    command.current_dir(&site.folder).arg("platform").args(arguments);
    let mut running = Running::start("portreeve", &mut command);
    proxy.kill_at(n, running.id(), when);
    running.ended(START).await;
    forget_lease(site).await;
    if proxy.has_killed() { Run::Killed } else { Run::Finished }
}

/// The crash points of one command: `before` makes the state it starts from, `end` is where a second run ends.
async fn crashes(
    (site, proxy): (&Site, &ApiProxy),
    arguments: &[&str],
    before: impl AsyncFn(),
    end: &[(&str, &str)],
) -> usize {
    let end: Vec<(String, String)> =
        end.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let run = |n, when| {
        let before = &before;
        async move {
            before().await;
            killed(site, proxy, (n, when), arguments).await
        }
    };
    let again = |n| {
        let end = &end;
        async move {
            let output = site.run_async(arguments).await;
            assert_eq!(output.code, Some(0), "{}{}", output.stdout, output.stderr);
            assert_eq!(end_state(site).await, (end.clone(), true), "{arguments:?}, write {n}");
        }
    };
    after_each_write(proxy, run, again).await.len()
}

async fn applied(site: &Site) {
    nothing(site).await;
    let output = site.run_async(&["apply", "--yes"]).await;
    assert_eq!(output.code, Some(0), "{}{}", output.stdout, output.stderr);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_after_any_write_of_a_first_apply_leaves_the_same_end() {
    let (site, proxy) = proxied("crash").await;
    let end = [("a", "1"), ("b", "1"), THEIRS];
    let points = crashes((&site, &proxy), &["apply", "--yes"], async || nothing(&site).await, &end).await;
    assert!(points >= 8, "the inventory twice and two objects, before and after the answer, not {points}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_after_any_write_of_a_change_with_a_deletion_leaves_the_same_end() {
    let (site, proxy) = proxied("crash").await;
    let changed = async || {
        applied(&site).await;
        manifests(&site, &[("a", "2"), ("c", "1")]);
    };
    let end = [("a", "2"), ("c", "1"), THEIRS];
    let points = crashes((&site, &proxy), &["apply", "--yes"], changed, &end).await;
    assert!(points >= 12, "the inventory three times, two objects and a deletion, not {points}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_after_any_write_of_destroy_leaves_the_same_end() {
    let (site, proxy) = proxied("crash").await;
    let points = crashes((&site, &proxy), &["destroy", "--yes"], async || applied(&site).await, &[THEIRS]).await;
    assert!(points >= 8, "the suspension, two deletions, the inventory and its end, not {points}");
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_are_told_with_the_servers_words_and_the_rest_goes_on() {
    let (site, proxy) = proxied("refuse").await;
    site.write("app/a.yaml", &config("a", "1"));
    let object = || Match::path("/configmaps/a").method("PATCH");
    proxy.fault(object(), Fault::Answer(403), None);
    let output = site.run_async(&["apply", "--yes"]).await;
    assert_eq!(output.code, Some(4), "{}{}", output.stdout, output.stderr);
    assert!(output.stdout.contains("ConfigMap/a: refused: the proxy answers 403"), "{}", output.stdout);
    proxy.heal();

    // The object is applied and the answer never comes: the next run finds it, and it is ours.
    let written =
        || Match::path("/configmaps/a?fieldManager=portreeve&force=false&fieldValidation=Strict").method("PATCH");
    proxy.fault(Match::path("dryRun").method("PATCH"), Fault::Delay(std::time::Duration::ZERO), None);
    proxy.fault(written(), Fault::SwallowAnswer, None);
    let output = site.run_async(&["apply", "--yes"]).await;
    assert!(output.stdout.contains("no answer within 3 s"), "{}{}", output.stdout, output.stderr);
    proxy.heal();
    assert_eq!(site.run_async(&["apply", "--yes"]).await.code, Some(0));
    assert_eq!(end_state(&site).await, (vec![("a".to_owned(), "1".to_owned())], true));

    // Every write is answered while the lease is surely ours, that of an inventory as well.
    site.write("app/a.yaml", &config("a", "2"));
    site.write("app/b.yaml", &config("b", "1"));
    proxy.fault(Match::path("/configmaps/platform.").method("PUT"), Fault::Hang, None);
    let output = site.run_async(&["apply", "--yes"]).await;
    assert!(output.stdout.contains("no answer within 3 s"), "{}{}", output.stdout, output.stderr);
    proxy.heal();

    // Somebody else writes the inventory: nothing is applied past it.
    proxy.fault(Match::path("/configmaps/platform.").method("PUT"), Fault::Answer(409), None);
    let output = site.run_async(&["apply", "--yes"]).await;
    assert!(output.stdout.contains("it changed meanwhile"), "{}{}", output.stdout, output.stderr);
    assert_eq!(end_state(&site).await, (vec![("a".to_owned(), "1".to_owned())], true));
    proxy.heal();
    proxy.fault(Match::path("/configmaps?labelSelector"), Fault::Hang, None);
    let output = site.run_async(&["plan"]).await;
    assert_eq!(output.code, Some(5), "{}{}", output.stdout, output.stderr);
    assert!(output.stderr.contains("the list of configmaps (v1 ConfigMap;"), "{}", output.stderr);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kind_that_alone_cannot_be_listed_is_named_with_the_answer_and_what_to_do() {
    let (site, proxy) = proxied("kind").await;
    manifests(&site, &[("a", "1")]);
    let list = format!("/namespaces/{}/configmaps?labelSelector", site.namespace);
    proxy.fault(Match::path(&list), Fault::Answer(500), None);
    let output = site.run_async(&["plan"]).await;
    assert_eq!(output.code, Some(5), "{}{}", output.stdout, output.stderr);
    let asked = format!("the list of configmaps (v1 ConfigMap; 'kubectl get configmaps -n {}' asks", site.namespace);
    assert!(output.stdout.contains(&asked), "{}", output.stdout);
    assert!(output.stdout.contains("the API server fails at it: the proxy answers 500"), "{}", output.stdout);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_busy_api_server_answers_is_waited_out_and_else_told() {
    let (site, proxy) = proxied("busy").await;
    manifests(&site, &[("a", "1")]);
    for code in [429, 503, 504] {
        proxy.fault(Match::path("/configmaps/a").method("PATCH"), Fault::Answer(code), Some(2));
        proxy.fault(Match::path("/configmaps?labelSelector"), Fault::Answer(code), Some(2));
    }
    let output = site.run_async(&["apply", "--yes"]).await;
    assert_eq!(output.code, Some(0), "{}{}", output.stdout, output.stderr);
    proxy.fault(Match::path("/configmaps?labelSelector"), Fault::Answer(503), None);
    let output = site.run_async(&["plan"]).await;
    assert_eq!(output.code, Some(5), "{}{}", output.stdout, output.stderr);
    assert!(output.stderr.contains("it answers 503: the proxy answers 503"), "{}", output.stderr);
    assert!(!output.stderr.contains("no answer"), "{}", output.stderr);
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
    assert!(applied["components"][0]["unhealthy"].to_string().contains("Thing"), "{applied}");
    assert!(site.api().get(&site.config_map("z")).await.is_err(), "later waves wait");
    site.component("retain: false");
    assert_eq!(site.run(&["destroy", "--yes"]).code, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_that_is_out_of_date_deletes_nothing_that_came_in_its_place() {
    let (site, proxy) = proxied("stale").await;
    manifests(&site, &[("a", "1"), ("b", "1")]);
    assert_eq!(site.run_async(&["apply", "--yes"]).await.code, Some(0));
    // From here on `b` is read as it is now, whatever becomes of it.
    proxy.fault(Match::path("/configmaps/b").method("GET"), Fault::Stale, None);
    assert_eq!(site.run_async(&["plan"]).await.code, Some(0));
    site.api().delete(&site.config_map("b")).await.or_fail("a deletion by hand");
    let theirs = json!({"apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": "b", "namespace": site.namespace}, "data": {"value": "theirs"}});
    site.api().create(&theirs).await.or_fail("an object of somebody else");
    site.remove("app/b.yaml");
    let output = site.run_async(&["apply", "--yes"]).await;
    let both = vec![("a".to_owned(), "1".to_owned()), ("b".to_owned(), "theirs".to_owned())];
    assert_eq!(end_state(&site).await.0, both, "{}{}", output.stdout, output.stderr);
    proxy.heal();
    let output = site.run_async(&["apply", "--yes"]).await;
    assert_eq!(output.code, Some(0), "{}{}", output.stdout, output.stderr);
    assert_eq!(end_state(&site).await, (both, true), "and it is not listed as ours");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_api_server_and_lost_connections_change_nothing_but_the_time() {
    let (site, proxy) = proxied("lossy").await;
    manifests(&site, &[("a", "1"), ("b", "1")]);
    proxy.fault(Match::path("/configmaps/a").method("PATCH"), Fault::Drop, None);
    let output = site.run_async(&["apply", "--yes"]).await;
    assert_ne!(output.code, Some(0), "a connection that is lost is told: {}{}", output.stdout, output.stderr);
    assert!(output.stdout.contains("the API server could not be asked"), "{}{}", output.stdout, output.stderr);
    proxy.heal();
    proxy.fault(Match::path("/configmaps/"), Fault::Delay(std::time::Duration::from_millis(100)), None);
    let output = site.run_async(&["apply", "--yes"]).await;
    assert_eq!(output.code, Some(0), "{}{}", output.stdout, output.stderr);
    let end = vec![("a".to_owned(), "1".to_owned()), ("b".to_owned(), "1".to_owned())];
    assert_eq!(end_state(&site).await, (end, true));
}
