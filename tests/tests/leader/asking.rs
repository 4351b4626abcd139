//! A command asks for the lease by an annotation; here the test is the command.

use portreeve_tests::OrFail as _;
use portreeve_tests::process::until;
use serde_json::{Value, json};

use crate::site::{PATIENCE, Site, holder, term};

#[tokio::test]
async fn a_holder_that_is_asked_gives_the_lease_back_waits_and_comes_back() {
    let site = Site::new().await;
    let (mut daemon, _proxy) = site.daemon().await;
    let before = site.leads(&daemon).await;
    let ask = json!({"metadata": {"annotations": {"portreeve.dev/requested-by": "laptop 2026-01-01T00:00:00Z"}}});
    site.plane.api().merge(&site.path(), &ask).await.unwrap();
    daemon.process().line("the lease was given back", PATIENCE).await;
    let free = site.lease().await;
    assert_eq!((holder(&free), term(&free)), (None, term(&before)));
    assert_eq!(free["metadata"]["annotations"], Value::Null, "the question is answered");
    let take = json!({"spec": {"holderIdentity": "laptop", "leaseTransitions": term(&free) + 1,
        "renewTime": "2026-01-01T00:00:00.000000Z"}});
    site.plane.api().merge(&site.path(), &take).await.or_fail("the command takes it");
    site.follows(&daemon).await;
    let done = json!({"spec": {"holderIdentity": null, "renewTime": null}});
    site.plane.api().merge(&site.path(), &done).await.unwrap();
    let is_back = || async {
        let lease = site.lease().await;
        holder(&lease).is_some_and(|name| name != "laptop").then_some(lease)
    };
    let back = until(PATIENCE, is_back).await.or_fail("the daemon comes back");
    assert_eq!(term(&back), term(&before) + 2);
}
