//! What is deployed and kept, and the closed sets that it is counted by.

use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::{Ratio, closed_label};

closed_label! {
    /// Where a component of the platform is.
    ComponentState {
        /// As declared, and healthy.
        Healthy => "healthy",
        /// As declared, and not healthy yet.
        Progressing => "progressing",
        /// As declared, and not healthy within its time, or not by its own word.
        Unhealthy => "unhealthy",
        /// Something is to be written.
        Pending => "pending",
        /// It waits for what it depends on.
        Waiting => "waiting",
        /// Not as declared, and left so by its drift mode or because corrections do not last.
        Drifted => "drifted",
        /// Suspended.
        Suspended => "suspended",
        /// The gate keeps it back.
        KeptBack => "kept-back",
        /// Its manifests cannot be used.
        Invalid => "invalid",
        /// The API server did not take it, or could not be asked.
        Failed => "failed",
    }
}
closed_label! {
    /// How an object is not as declared.
    DriftClass {
        /// It was applied and is not there.
        Missing => "missing",
        /// A field of ours is other than it was applied.
        Modified => "modified",
        /// A field or the object is somebody else's now.
        ForeignOwner => "foreign-owner",
        /// It has our labels and nobody declared it.
        Extra => "extra",
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StateLabel {
    state: ComponentState,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct DriftLabel {
    class: DriftClass,
}

/// What is deployed and kept.
#[derive(Clone, Debug, Default)]
pub struct PlatformMetrics {
    components: Family<StateLabel, Gauge>,
    drift: Family<DriftLabel, Gauge>,
    /// Requests that could have changed the cluster.
    pub writes: Counter,
    /// How long the last look at all components took, in seconds.
    pub round: Ratio,
}

impl PlatformMetrics {
    /// Sets how many components are in each state.
    pub fn set_components(&self, count: impl Fn(ComponentState) -> usize) {
        for &state in ComponentState::ALL {
            let value = i64::try_from(count(state)).unwrap_or(i64::MAX);
            self.components.get_or_create(&StateLabel { state }).set(value);
        }
    }

    /// Sets how many objects have drifted in each way.
    pub fn set_drift(&self, count: impl Fn(DriftClass) -> usize) {
        for &class in DriftClass::ALL {
            let value = i64::try_from(count(class)).unwrap_or(i64::MAX);
            self.drift.get_or_create(&DriftLabel { class }).set(value);
        }
    }

    pub(super) fn register(&self, registry: &mut Registry) {
        self.set_components(|_| 0);
        self.set_drift(|_| 0);
        registry.register("platform_components", "Components of the platform by state", self.components.clone());
        let help = "Objects that are not as declared, by how they differ";
        registry.register("platform_drift", help, self.drift.clone());
        let help = "Requests of the platform that could have changed the cluster";
        registry.register("platform_writes", help, self.writes.clone());
        let help = "Time of the last look at all components, what it wrote included";
        registry.register("platform_round_duration_seconds", help, self.round.clone());
    }
}
