//! Daemons with leases of their own on one control plane, each by way of a proxy of its own.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use portreeve_tests::OrFail as _;
use portreeve_tests::api_proxy::ApiProxy;
use portreeve_tests::control_plane::ControlPlane;
use portreeve_tests::daemon::Daemon;
use portreeve_tests::process::until;
use serde_json::{Value, json};

/// How long the tests wait for what the lease promises sooner.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A namespace with a lease.
pub(crate) struct Site {
    pub(crate) plane: &'static ControlPlane,
    pub(crate) namespace: String,
}

impl Site {
    pub(crate) async fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(1);
        let plane = ControlPlane::shared().await;
        let namespace = plane.namespace(&format!("lease{}", NEXT.fetch_add(1, Ordering::Relaxed))).await;
        Self { plane, namespace }
    }

    /// Where the lease stands in the API.
    pub(crate) fn path(&self) -> String {
        format!("/apis/coordination.k8s.io/v1/namespaces/{}/leases/portreeve", self.namespace)
    }

    /// A daemon that stands for the lease, started, and the proxy that it goes by.
    pub(crate) async fn daemon(&self) -> (Daemon, ApiProxy) {
        let proxy = ApiProxy::start(self.plane).await;
        let config = json!({
            "cluster": {"kubeconfig": proxy.kubeconfig()},
            "leader": {"namespace": self.namespace},
            "posture": {"frameworks": ["nsa"]},
        });
        let mut daemon = Daemon::configured(&config, &[]);
        daemon.start().await;
        (daemon, proxy)
    }

    /// The lease as it is.
    pub(crate) async fn lease(&self) -> Value {
        self.plane.api().get(&self.path()).await.or_fail("the lease")
    }

    /// Waits until the daemon leads, by its own word; gives the lease.
    pub(crate) async fn leads(&self, daemon: &Daemon) -> Value {
        wait_leader(daemon, 1.0).await;
        self.lease().await
    }

    /// Waits until the daemon does not lead.
    pub(crate) async fn follows(&self, daemon: &Daemon) {
        wait_leader(daemon, 0.0).await;
    }
}

async fn wait_leader(daemon: &Daemon, value: f64) {
    let is_so = || async { (daemon.metric("portreeve_leader").await == value).then_some(()) };
    until(PATIENCE, is_so).await.or_fail(&format!("portreeve_leader is {value}\n{}", daemon.log()));
}

/// The holder of a lease.
pub(crate) fn holder(lease: &Value) -> Option<&str> {
    lease["spec"]["holderIdentity"].as_str()
}

/// The term of a lease.
pub(crate) fn term(lease: &Value) -> u64 {
    lease["spec"]["leaseTransitions"].as_u64().unwrap_or(0)
}
