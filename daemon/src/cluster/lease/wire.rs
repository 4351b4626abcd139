//! Leases as the API has them: read, taken, renewed, given back; requests that do not wait for ever.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kube::api::{ObjectMeta, Patch, PatchParams, PostParams};
use kube::{Api, Client};

use crate::cluster::request::{FIELD_MANAGER, Failed, within, within_time};
use crate::config::valid::LeaderConfig;
use crate::runtime::leader::election::SeenLease;
use crate::runtime::leader::{DURATION, Epoch};

/// Who asks for the lease, and since when by its own clock.
const REQUESTED_BY: &str = "portreeve.dev/requested-by";

/// What an administrator can do about a refusal.
pub(super) fn hint(failed: &Failed) -> &'static str {
    match failed.code() {
        Some(403) => "; the account needs get, create and update of leases.coordination.k8s.io in that namespace",
        Some(404) => "; create the namespace, or set 'leader.namespace'",
        _ => "",
    }
}

/// The lease at the API server.
pub(super) struct Leases {
    api: Api<Lease>,
    pub(super) place: LeaderConfig,
}

impl Leases {
    pub(super) fn new(client: Client, place: LeaderConfig) -> Self {
        Self { api: Api::namespaced(client, &place.namespace), place }
    }

    /// `namespace/name`
    pub(super) fn shown(&self) -> String {
        format!("{}/{}", self.place.namespace, self.place.lease)
    }

    /// The lease; `None` when there is none.
    pub(super) async fn get(&self, time: Duration) -> Result<Option<Lease>, Failed> {
        within_time(time, self.api.get_opt(&self.place.lease)).await
    }

    /// Writes a lease that was read, if nobody did since, or creates one that was not there.
    pub(super) async fn put(&self, lease: &Lease, time: Duration) -> Result<Lease, Failed> {
        let params = PostParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PostParams::default() };
        match lease.metadata.resource_version {
            Some(_) => match within_time(time, self.api.replace(&self.place.lease, &params, lease)).await {
                Err(failed) if failed.code() == Some(404) => Err(Failed::Changed),
                other => other,
            },
            None => within_time(time, self.api.create(&params, lease)).await,
        }
    }

    /// Asks the holder for the lease; `None` takes the question back.
    pub(super) async fn ask(&self, who: Option<&str>) -> Result<(), Failed> {
        let value = who.map(|who| format!("{who} {}", Timestamp::now()));
        let patch = serde_json::json!({"metadata": {"annotations": {REQUESTED_BY: value}}});
        within(self.api.patch(&self.place.lease, &PatchParams::default(), &Patch::Merge(&patch))).await.map(drop)
    }
}

/// What an election looks at.
pub(super) fn seen(lease: &Lease) -> SeenLease {
    let spec = lease.spec.clone().unwrap_or_default();
    SeenLease {
        holder: spec.holder_identity.filter(|holder| !holder.is_empty()),
        transitions: spec.lease_transitions.and_then(|count| u64::try_from(count).ok()).unwrap_or(0),
        renewed: spec.renew_time.map(|time| time.0.to_string()),
    }
}

/// Who asks for the lease.
pub(super) fn requested_by(lease: &Lease) -> Option<String> {
    let value = lease.metadata.annotations.as_ref()?.get(REQUESTED_BY)?;
    Some(value.split(' ').next().unwrap_or_default().chars().take(128).collect())
}

/// The lease in our hands; a request for it is answered by that.
pub(super) fn taken(read: Option<Lease>, place: &LeaderConfig, identity: &str, epoch: Epoch) -> Lease {
    let mut lease = read.unwrap_or_else(|| Lease {
        metadata: ObjectMeta {
            name: Some(place.lease.clone()),
            namespace: Some(place.namespace.clone()),
            ..ObjectMeta::default()
        },
        spec: None,
    });
    forget_request(&mut lease);
    let now = MicroTime(Timestamp::now());
    lease.spec = Some(LeaseSpec {
        holder_identity: Some(identity.to_owned()),
        acquire_time: Some(now.clone()),
        renew_time: Some(now),
        lease_duration_seconds: i32::try_from(DURATION.as_secs()).ok(),
        lease_transitions: i32::try_from(epoch.number()).ok(),
        ..lease.spec.unwrap_or_default()
    });
    lease
}

/// The lease with a new time.
pub(super) fn renewed(known: &Lease) -> Lease {
    let mut lease = known.clone();
    lease.spec.get_or_insert_default().renew_time = Some(MicroTime(Timestamp::now()));
    lease
}

/// The lease without holder and times; the number of the last term stays.
pub(super) fn given_back(known: &Lease) -> Lease {
    let mut lease = known.clone();
    forget_request(&mut lease);
    let spec = lease.spec.get_or_insert_default();
    (spec.holder_identity, spec.renew_time, spec.acquire_time) = (None, None, None);
    lease
}

fn forget_request(lease: &mut Lease) {
    if let Some(annotations) = &mut lease.metadata.annotations {
        annotations.remove(REQUESTED_BY);
    }
}
