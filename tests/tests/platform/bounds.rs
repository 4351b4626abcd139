//! How long a command takes, and what it says when it is cut, refused or fails at one object.

use std::time::{Duration, Instant};

use portreeve_tests::OrFail as _;
use portreeve_tests::api_proxy::{Fault, Match};
use portreeve_tests::process::{START, until};
use serde_json::{Value, json};

use crate::site::{Site, config};
use crate::two::proxied;

#[tokio::test(flavor = "multi_thread")]
async fn the_time_that_is_given_bounds_every_command_as_a_whole() {
    let (site, proxy) = proxied("bound").await;
    site.write("app/a.yaml", &config("a", "1"));
    assert_eq!(site.run_async(&["apply", "--yes"]).await.code, Some(0));
    // Each request is answered, and all of them take longer than there is.
    proxy.fault(Match::path("/api"), Fault::Delay(Duration::from_millis(900)), None);
    for arguments in [
        &["plan"][..],
        &["plan", "--format", "json"],
        &["status"],
        &["apply", "--yes"],
        &["suspend"],
        &["resume"],
        &["destroy", "--yes"],
    ] {
        let started = Instant::now();
        let output = site.run_async(&[arguments, &["--timeout", "1s"]].concat()).await;
        let took = started.elapsed();
        assert_eq!(output.code, Some(5), "{arguments:?}: {}{}", output.stdout, output.stderr);
        assert!(took < Duration::from_secs(4), "{arguments:?} took {took:?}");
        assert!(output.stderr.contains("the time of the command is over (--timeout)"), "{}", output.stderr);
        assert_eq!(output.stdout, "", "{arguments:?}: half a plan is none");
    }
    proxy.heal();
    proxy.fault(Match::path("/configmaps?labelSelector"), Fault::Hang, None);
    let started = Instant::now();
    let output = site.run_async(&["plan", "--timeout", "1s"]).await;
    assert_eq!(output.code, Some(5), "{}{}", output.stdout, output.stderr);
    assert!(started.elapsed() < Duration::from_secs(4), "{:?}", started.elapsed());
    assert!(site.api().get(&site.config_map("a")).await.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_written_is_told_when_the_time_is_over_and_when_the_lease_is_lost() {
    let (site, proxy) = proxied("cut").await;
    for number in 0..20 {
        site.write(&format!("app/{number}.yaml"), &config(&format!("c{number:02}"), "1"));
    }
    let slowly = || {
        proxy.fault(
            Match::path("force=false&fieldValidation=Strict").method("PATCH"),
            Fault::Delay(Duration::from_secs(2)),
            None,
        );
    };
    proxy.fault(Match::path("dryRun"), Fault::Delay(Duration::ZERO), None);
    slowly();
    // Writes alone are slow: there is time for some of them on a busy machine, too, and never for all.
    let output = site.run_async(&["apply", "--yes", "--timeout", "12s"]).await;
    assert_eq!(output.code, Some(5), "{}{}", output.stdout, output.stderr);
    let said = " written, 0 deleted before it stopped; the time of the command is over";
    assert!(output.stdout.contains(said), "{}{}", output.stdout, output.stderr);
    let rows = site.inventory("app").await;
    let noted = rows.iter().filter(|row| row[4].is_string()).count();
    assert!(output.stdout.contains(&format!("app: {noted} written")) && noted > 0, "{noted}: {}", output.stdout);

    let losing = async {
        let is_begun = || async {
            (site.inventory("app").await.iter().filter(|row| row[4].is_string()).count() > noted
                || site.api().get(&site.config_map(&format!("c{:02}", noted + 1))).await.is_ok())
            .then_some(())
        };
        until(START, is_begun).await.or_fail("another object is written");
        proxy.fault(Match::path("/leases/"), Fault::Hang, None);
    };
    let (output, ()) = tokio::join!(site.run_async(&["apply", "--yes", "--timeout", "2m"]), losing);
    assert_eq!(output.code, Some(5), "{}{}", output.stdout, output.stderr);
    let said = " written, 0 deleted before it stopped; the lease could not be renewed";
    assert!(output.stdout.contains(said), "{}{}", output.stdout, output.stderr);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deletion_that_is_refused_and_an_object_that_the_server_fails_at_are_named_with_their_exits() {
    let (site, proxy) = proxied("named").await;
    site.write("app/a.yaml", &config("a", "1"));
    assert_eq!(site.run_async(&["apply", "--yes"]).await.code, Some(0));
    site.write("app/a.yaml", &config("a", "2"));
    proxy.fault(Match::path("/configmaps/a").method("PATCH"), Fault::Answer(500), None);
    for arguments in [&["plan"][..], &["apply", "--yes"]] {
        let output = site.run_async(arguments).await;
        assert_eq!(output.code, Some(5), "{}{}", output.stdout, output.stderr);
        let said = "ConfigMap/a: the API server fails at it: the proxy answers 500";
        assert!(output.stdout.contains(said), "{}{}", output.stdout, output.stderr);
    }
    proxy.heal();
    proxy.fault(Match::path("/configmaps/a").method("DELETE"), Fault::Answer(403), None);
    let output = site.run_async(&["destroy", "--yes"]).await;
    assert_eq!(output.code, Some(4), "{}{}", output.stdout, output.stderr);
    assert!(output.stdout.contains("ConfigMap/a: refused"), "{}", output.stdout);
}

#[tokio::test]
async fn what_goes_with_a_namespace_or_a_definition_is_in_the_plan() {
    let site = Site::new("with").await;
    let group = format!("{}.example.org", site.name);
    let definition = json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": format!("things.{group}")},
        "spec": {"group": group, "scope": "Namespaced", "names": {"plural": "things", "kind": "Thing"},
            "versions": [{"name": "v1", "served": true, "storage": true,
                "schema": {"openAPIV3Schema": {"type": "object"}}}]}});
    site.component("retain: false");
    site.write("app/a.yaml", &config("a", "1"));
    site.write("app/definition.json", &definition.to_string());
    let namespace = format!("apiVersion: v1\nkind: Namespace\nmetadata: {{name: {}}}\n", site.namespace);
    site.component("retain: false, adopt: true");
    site.write("app/namespace.yaml", &namespace);
    site.apply(&[]);
    let said = site.run(&["destroy", "--dry-run"]).stdout;
    assert!(said.contains(&format!("Namespace/{} and everything in it", site.namespace)), "{said}");
    assert!(said.contains(&format!("things.{group} and every object of its kind")), "{said}");
    site.remove("app/namespace.yaml");
    site.remove("app/definition.json");
    let said = site.run(&["plan"]).stdout;
    assert!(said.contains(&format!("Namespace/{} and everything in it", site.namespace)), "{said}");
    let (_, plan) = site.plan();
    let with: Vec<&Value> =
        plan["components"][0]["plan"]["leftovers"].as_array().unwrap().iter().map(|left| &left["goesWithIt"]).collect();
    assert!(with.contains(&&json!("everything in it")), "{plan}");
    assert!(with.contains(&&json!("every object of its kind")), "{plan}");
}
