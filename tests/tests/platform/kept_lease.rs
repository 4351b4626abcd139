//! What `serve` says of a platform while it does not lead.

use portreeve_tests::OrFail as _;
use portreeve_tests::api_proxy::{ApiProxy, Fault, Match};
use portreeve_tests::daemon::Daemon;
use serde_json::{Value, json};

use crate::kept::{configuration, finding, message, resolved, started, until_value};
use crate::site::{Site, config};

#[tokio::test]
async fn a_platform_whose_lease_has_no_namespace_says_so() {
    let site = Site::new("leaseless").await;
    site.write("app/a.yaml", &config("a", "1"));
    let mut configuration = configuration(&site);
    let lease_namespace = format!("{}-lease", site.name);
    configuration["leader"]["namespace"] = json!(lease_namespace);
    let mut daemon = Daemon::configured(&configuration, &[]);
    daemon.start().await;
    let found = finding(&daemon, "PR-5003").await;
    assert!(message(&found).contains("nothing of the platform is applied or corrected"), "{found}");
    assert!(
        message(&found)
            .contains(&format!("\"{lease_namespace}\" not found; create the namespace, or set 'leader.namespace'")),
        "{found}"
    );
    assert!(daemon.log().contains("nothing of the platform is applied or corrected"), "{}", daemon.log());
    site.plane.create_namespace(&lease_namespace).await;
    until_value(&site, "a", "1").await;
    resolved(&daemon, "PR-5003").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_of_the_lease_is_open_to_exceptions_and_over_when_somebody_else_has_it() {
    let site = Site::new("refusing").await;
    let proxy = ApiProxy::start(site.plane).await;
    site.write("app/a.yaml", &config("a", "1"));
    site.write(
        "exceptions.yaml",
        "apiVersion: portreeve.dev/v1alpha1\nkind: ClusterException\nmetadata: {name: e}\nspec: {codes: [PR-5003], subjects: \
         {kinds: [Component]}, owner: o, reason: r, expires: 2099-01-31}\n",
    );
    let mut configuration = configuration(&site);
    configuration["cluster"]["kubeconfig"] = json!(proxy.kubeconfig());
    configuration["exceptions"] = json!([site.folder.join("exceptions.yaml")]);
    proxy.fault(Match::path("/leases/"), Fault::Answer(403), None);
    let mut daemon = started(&site, &configuration).await;
    let found = finding(&daemon, "PR-5003").await;
    assert_eq!(found["verdict"], "excepted", "{found}");
    daemon.kill();
    configuration.as_object_mut().unwrap().remove("exceptions");
    daemon.configure(&configuration);
    daemon.start().await;
    let fails = |found: &[Value]| found.iter().any(|it| it["verdict"] == "fail").then_some(());
    daemon.wait_for("code=PR-5003", "it is a failure", fails).await;
    // Somebody else has it: what becomes of the platform is theirs to say.
    let lease = json!({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
        "metadata": {"name": site.name, "namespace": "portreeve-system"},
        "spec": {"holderIdentity": "somebody", "leaseDurationSeconds": 3600, "leaseTransitions": 1,
            "acquireTime": "2099-01-01T00:00:00.000000Z", "renewTime": "2099-01-01T00:00:00.000000Z"}});
    site.api().create(&lease).await.or_fail("a lease of somebody else");
    proxy.heal();
    resolved(&daemon, "PR-5003").await;
    assert!(site.api().get(&site.config_map("a")).await.is_err());
}
