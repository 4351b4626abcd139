//! The metrics of credentials.

use std::collections::BTreeMap;
use std::sync::atomic::AtomicU64;

use portreeve_secrets::credentials::{Class, Expiry};
use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::closed_label;

closed_label! {
    /// A kind of objects that credentials are in.
    HolderKind {
        /// Secrets.
        Secret => "Secret",
        /// ConfigMaps.
        ConfigMap => "ConfigMap",
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct KindLabel {
    kind: HolderKind,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ClassLabel {
    class: &'static str,
}

/// Credentials in the cluster. The class is the only label: names are made by tenants.
#[derive(Clone, Debug, Default)]
pub struct CredentialMetrics {
    expiry: Family<ClassLabel, Gauge<f64, AtomicU64>>,
    count: Family<ClassLabel, Gauge>,
    read: Family<KindLabel, Gauge>,
}

impl CredentialMetrics {
    /// Sets the numbers from all credentials and their expiries. That none of a class ends is said only where all of the
    /// kinds that they may be in was read, and the end of each could be told; else it is no number.
    pub fn set<'a>(
        &self,
        credentials: impl Iterator<Item = (Class, &'a Expiry)>,
        is_read: impl Fn(HolderKind) -> bool,
    ) {
        for &kind in HolderKind::ALL {
            self.read.get_or_create(&KindLabel { kind }).set(is_read(kind).into());
        }
        let none = if HolderKind::ALL.iter().all(|kind| is_read(*kind)) { f64::INFINITY } else { f64::NAN };
        let mut classes = BTreeMap::from(Class::ALL.map(|class| (class, (0_i64, none))));
        for (class, expires) in credentials {
            let (count, earliest) = classes.entry(class).or_insert((0, none));
            *count += 1;
            match expires {
                // The smaller of a number and none is the number.
                Expiry::At(at) => *earliest = earliest.min(at.as_duration().as_secs_f64()),
                Expiry::Unknown(..) | Expiry::Broken if earliest.is_infinite() => *earliest = f64::NAN,
                Expiry::Unknown(..) | Expiry::Broken | Expiry::Never => {}
            }
        }
        for (class, (count, earliest)) in classes {
            let label = ClassLabel { class: class.as_str() };
            self.count.get_or_create(&label).set(count);
            self.expiry.get_or_create(&label).set(earliest);
        }
    }

    pub(super) fn register(&self, registry: &mut Registry) {
        self.set(std::iter::empty(), |_| false);
        let help = "Whether all objects of a kind that credentials are in were listed and looked into";
        registry.register("credentials_read", help, self.read.clone());
        let help = "Earliest expiry that is known of a class, +Inf where none has one, NaN where that cannot be told";
        registry.register("credential_expiry_timestamp_seconds", help, self.expiry.clone());
        registry.register("credentials", "Credentials found, by class", self.count.clone());
    }
}
