//! The metrics of credentials.

use std::collections::BTreeMap;
use std::sync::atomic::AtomicU64;

use jiff::Timestamp;
use portreeve_secrets::credentials::Class;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ClassLabel {
    class: &'static str,
}

/// Credentials in the cluster. The class is the only label: names are made by tenants.
#[derive(Clone, Debug, Default)]
pub struct CredentialMetrics {
    expiry: Family<ClassLabel, Gauge<f64, AtomicU64>>,
    count: Family<ClassLabel, Gauge>,
}

impl CredentialMetrics {
    /// Sets the numbers from all credentials and their expiries.
    pub fn set(&self, credentials: impl Iterator<Item = (Class, Option<Timestamp>)>) {
        let mut classes = BTreeMap::from(Class::ALL.map(|class| (class, (0_i64, f64::INFINITY))));
        for (class, expires) in credentials {
            let (count, earliest) = classes.entry(class).or_insert((0, f64::INFINITY));
            *count += 1;
            *earliest = expires.map_or(*earliest, |at| earliest.min(at.as_duration().as_secs_f64()));
        }
        for (class, (count, earliest)) in classes {
            let label = ClassLabel { class: class.as_str() };
            self.count.get_or_create(&label).set(count);
            self.expiry.get_or_create(&label).set(earliest);
        }
    }

    pub(super) fn register(&self, registry: &mut Registry) {
        self.set(std::iter::empty());
        let help = "Earliest expiry of the credentials of a class, +Inf where none has one";
        registry.register("credential_expiry_timestamp_seconds", help, self.expiry.clone());
        registry.register("credentials", "Credentials found, by class", self.count.clone());
    }
}
