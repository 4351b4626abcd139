//! A term that begins while the store is away.

use portreeve_tests::OrFail as _;
use portreeve_tests::daemon::Daemon;
use portreeve_tests::postgres::Postgres;
use portreeve_tests::process::START;
use serde_json::{Value, json};

use crate::site::{PATIENCE, Site, term};

impl Site {
    /// A daemon that stands for the lease with its findings in this database, started.
    async fn replica(&self, server: &Postgres) -> Daemon {
        let config = json!({
            "cluster": {"kubeconfig": self.plane.kubeconfig()},
            "leader": {"namespace": self.namespace},
            "posture": {"frameworks": ["nsa"]},
        });
        let mut daemon = Daemon::on_postgres(server, &config);
        daemon.start().await;
        daemon
    }

    async fn privileged(&self, name: &str) {
        let container = json!({"name": "main", "image": "example.org/app:1", "securityContext": {"privileged": true}});
        let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": self.namespace},
            "spec": {"containers": [container]}});
        self.plane.api().create(&pod).await.or_fail("a Pod");
    }

    /// Waits until a daemon's page has exactly these privileged Pods.
    async fn shows(&self, daemon: &Daemon, wanted: &[&str]) {
        let query = format!("code=C-0057&namespace={}", self.namespace);
        let are_there = |found: &[Value]| {
            let mut names: Vec<&str> = found.iter().filter_map(|finding| finding["subject"]["name"].as_str()).collect();
            names.sort_unstable();
            (names == wanted).then_some(())
        };
        daemon.wait_for(&query, "the privileged Pods", are_there).await;
    }
}

#[tokio::test]
async fn a_leader_that_dies_while_the_store_is_away_is_followed_and_the_store_hears_of_the_term_when_it_is_back() {
    let (site, mut server) = (Site::new().await, Postgres::start().await);
    let mut first = site.replica(&server).await;
    let before = site.leads(&first).await;
    let mut second = site.replica(&server).await;
    site.follows(&second).await;
    site.privileged("before").await;
    site.shows(&first, &["before"]).await;
    site.shows(&second, &["before"]).await;

    server.kill();
    site.privileged("meanwhile").await;
    first.process().line("findings were not stored", PATIENCE).await;
    assert_eq!(first.metric("portreeve_leader").await, 1.0, "an outage of the store is no end of a term");
    first.kill();
    let after = site.leads(&second).await;
    assert_eq!(term(&after), term(&before) + 1);
    second.process().line("the findings of this term wait for the store", PATIENCE).await;
    let path = format!("/api/v1/namespaces/{}/pods/before", site.namespace);
    site.plane.api().delete(&path).await.or_fail("a deletion");

    server.start_again().await;
    site.shows(&second, &["meanwhile"]).await;
    assert_eq!(term(&site.lease().await), term(&after), "the term that waited is the one that writes");

    // What was first is a follower now; its turn comes with a term that the store takes as newer.
    first.start().await;
    site.follows(&first).await;
    site.shows(&first, &["meanwhile"]).await;
    second.process().signal("TERM");
    assert!(second.process().ended(START).await.success(), "{}", second.log());
    let last = site.leads(&first).await;
    assert_eq!(term(&last), term(&after) + 1);
    site.privileged("last").await;
    site.shows(&first, &["last", "meanwhile"]).await;
}
