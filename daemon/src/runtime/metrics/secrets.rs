//! The metrics of declared Secrets.

use std::sync::atomic::AtomicU64;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

/// How a declared Secret is, in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum SyncState {
    /// Like its file.
    Synced,
    /// Not like its file, and only said.
    Drifted,
    /// Corrected too often; left alone for a while.
    Stalled,
    /// Somebody else's, immutable, or of another type.
    Blocked,
    /// The API server refuses, or does not answer.
    Refused,
    /// The file cannot be used.
    Invalid,
}

impl SyncState {
    /// All states.
    pub const ALL: [Self; 6] =
        [Self::Synced, Self::Drifted, Self::Stalled, Self::Blocked, Self::Refused, Self::Invalid];

    /// The word that is exported.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Synced => "synced",
            Self::Drifted => "drifted",
            Self::Stalled => "stalled",
            Self::Blocked => "blocked",
            Self::Refused => "refused",
            Self::Invalid => "invalid",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StateLabel {
    state: &'static str,
}

/// Declared Secrets. The state is the only label: names are in findings.
#[derive(Clone, Debug, Default)]
pub struct SecretMetrics {
    synced: Family<StateLabel, Gauge>,
    /// Requests that could have changed a Secret.
    pub writes: Counter,
    /// Times that a Secret was found changed in the cluster.
    pub drift: Counter,
    /// When all declared Secrets were like their files last.
    pub last_success: Gauge<f64, AtomicU64>,
}

impl SecretMetrics {
    /// Sets how many declared Secrets are in each state.
    pub fn set(&self, count: impl Fn(SyncState) -> usize) {
        for state in SyncState::ALL {
            let value = i64::try_from(count(state)).unwrap_or(i64::MAX);
            self.synced.get_or_create(&StateLabel { state: state.as_str() }).set(value);
        }
    }

    pub(super) fn register(&self, registry: &mut Registry) {
        self.set(|_| 0);
        registry.register("secrets_synced", "Declared Secrets by state", self.synced.clone());
        let help = "Requests for declared Secrets that could have changed the cluster";
        registry.register("secrets_writes", help, self.writes.clone());
        let help = "Times that a declared Secret was found changed in the cluster";
        registry.register("secrets_drift", help, self.drift.clone());
        let help = "When all declared Secrets were like their files last, 0 before";
        registry.register("secrets_last_success_timestamp_seconds", help, self.last_success.clone());
    }
}
