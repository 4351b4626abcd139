//! Every metric of the process, registered once. Labels are closed sets, so the number of series is a constant; all
//! known series exist from the start, at 0. A scrape reads atomics and never triggers work.

mod credentials;
mod exposition;
mod platform;
mod secrets;

use std::sync::atomic::AtomicU64;
use std::time::Duration;

use jiff::Timestamp;
use portreeve_reports::{Severity, Verdict};
use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

pub use credentials::{CredentialMetrics, HolderKind};
pub use exposition::Exposition;
pub use platform::{ComponentState, DriftClass, PlatformMetrics};
pub use secrets::{SecretMetrics, SyncState};

use crate::judge::review::{DecisionReason, request};
use crate::judge::tally::ImageOutcome;
use crate::registry::RequestOutcome;

type Ratio = Gauge<f64, AtomicU64>;

/// A label value from a closed set, with the word that is exported.
macro_rules! closed_label {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident => $word:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum $name { $($(#[$variant_doc])* $variant,)+ }

        impl $name {
            /// All values.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The word that is exported.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word,)+ }
            }
        }

        impl EncodeLabelValue for $name {
            fn encode(&self, encoder: &mut LabelValueEncoder) -> Result<(), std::fmt::Error> {
                EncodeLabelValue::encode(&self.as_str(), encoder)
            }
        }
    };
}
use closed_label;

closed_label! {
    /// How an image verification ended.
    ImageResult {
        /// Trusted.
        Verified => "verified",
        /// No signature.
        Unsigned => "unsigned",
        /// Signed by nobody that is trusted.
        Untrusted => "untrusted",
        /// The policy or an attestation disagrees.
        Mismatch => "mismatch",
        /// Could not be checked.
        Unknown => "unknown",
        /// The policy asks for no signature, or an exception accepts what was found.
        Exempt => "exempt",
    }
}
closed_label! {
    /// Operation of an admission request.
    Operation {
        /// CREATE.
        Create => "create",
        /// UPDATE.
        Update => "update",
        /// DELETE.
        Delete => "delete",
        /// CONNECT.
        Connect => "connect",
        /// A request that could not be read.
        Unreadable => "unreadable",
    }
}
closed_label! {
    /// What admission answered.
    Decision {
        /// Judged, and allowed.
        Allow => "allow",
        /// Denied.
        Deny => "deny",
        /// Allowed: an exempt namespace.
        Exempt => "exempt",
        /// Allowed: a member of the break-glass group.
        BreakGlass => "break-glass",
        /// Allowed: nothing to judge.
        NotJudged => "not-judged",
        /// We are broken; answered by the namespace's mode.
        Error => "error",
    }
}
impl ImageResult {
    /// The label of what an image came to; `None` when nothing is asked of it.
    pub fn of(outcome: Option<ImageOutcome>) -> Self {
        match outcome {
            Some(ImageOutcome::Verified) => Self::Verified,
            Some(ImageOutcome::Unsigned) => Self::Unsigned,
            Some(ImageOutcome::Untrusted) => Self::Untrusted,
            Some(ImageOutcome::Mismatch) => Self::Mismatch,
            Some(ImageOutcome::Unknown) => Self::Unknown,
            None => Self::Exempt,
        }
    }
}

impl Operation {
    /// The label of an operation.
    pub fn of(operation: request::Operation) -> Self {
        match operation {
            request::Operation::Create => Self::Create,
            request::Operation::Update => Self::Update,
            request::Operation::Delete => Self::Delete,
            request::Operation::Connect => Self::Connect,
        }
    }
}

impl Decision {
    /// The label of a decision.
    pub fn of(reason: DecisionReason) -> Self {
        match reason {
            DecisionReason::Allowed => Self::Allow,
            DecisionReason::Denied => Self::Deny,
            DecisionReason::Exempt => Self::Exempt,
            DecisionReason::BreakGlass => Self::BreakGlass,
            DecisionReason::NotJudged => Self::NotJudged,
        }
    }
}

closed_label! {
    /// What looks again on its own.
    Scanner {
        /// Posture of all objects.
        Posture => "posture",
        /// Running images.
        Images => "images",
        /// Credentials in objects.
        Credentials => "credentials",
    }
}
closed_label! {
    /// How an attempt ended.
    Outcome {
        /// It did what it should.
        Success => "success",
        /// It did not.
        Failure => "failure",
    }
}
impl EncodeLabelValue for RequestOutcome {
    fn encode(&self, encoder: &mut LabelValueEncoder) -> Result<(), std::fmt::Error> {
        EncodeLabelValue::encode(&self.as_str(), encoder)
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct FindingLabels {
    severity: &'static str,
    verdict: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct AdmissionLabels {
    operation: Operation,
    decision: Decision,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ScanLabels {
    scanner: Scanner,
    result: Outcome,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ScannerLabel {
    scanner: Scanner,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ImageLabel {
    result: ImageResult,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OutcomeLabel {
    result: Outcome,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RegistryLabel {
    outcome: RequestOutcome,
}

/// Writes of the store.
#[derive(Clone, Debug, Default)]
pub struct StoreMetrics {
    /// Findings opened or reopened.
    pub opened: Counter,
    /// Findings resolved.
    pub resolved: Counter,
    /// Records that could not be stored.
    pub lost: Counter,
    writes: Family<OutcomeLabel, Counter>,
}

impl StoreMetrics {
    /// Counts a transaction.
    pub fn written(&self, is_committed: bool) {
        let result = if is_committed { Outcome::Success } else { Outcome::Failure };
        self.writes.get_or_create(&OutcomeLabel { result }).inc();
    }

    fn register(&self, registry: &mut Registry) {
        for &result in Outcome::ALL {
            drop(self.writes.get_or_create(&OutcomeLabel { result }));
        }
        registry.register("findings_opened", "Findings opened or reopened", self.opened.clone());
        registry.register("findings_resolved", "Findings resolved", self.resolved.clone());
        registry.register("store_lost", "Records that could not be stored", self.lost.clone());
        registry.register("store_writes", "Transactions of the store", self.writes.clone());
    }
}

/// Image verifications.
#[derive(Clone, Debug)]
pub struct ImageMetrics {
    total: Family<ImageLabel, Counter>,
    duration: Histogram,
}

impl ImageMetrics {
    fn new() -> Self {
        let buckets = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];
        Self { total: Family::default(), duration: Histogram::new(buckets) }
    }

    /// Counts a verification, evidence included.
    pub fn verified(&self, result: ImageResult, took: Duration) {
        self.total.get_or_create(&ImageLabel { result }).inc();
        self.duration.observe(took.as_secs_f64());
    }

    fn register(&self, registry: &mut Registry) {
        for &result in ImageResult::ALL {
            drop(self.total.get_or_create(&ImageLabel { result }));
        }
        registry.register("image_verifications", "Image verifications by result", self.total.clone());
        let help = "Time of an image verification, evidence included";
        registry.register_with_unit("image_verification_duration", help, Unit::Seconds, self.duration.clone());
    }
}

/// Admission.
#[derive(Clone, Debug)]
pub struct AdmissionMetrics {
    total: Family<AdmissionLabels, Counter>,
    duration: Histogram,
    in_flight: Gauge,
    /// End of the certificate that the webhook serves, in seconds since 1970.
    pub certificate_expiry: Gauge,
    /// Answers that went out before their decision was committed.
    pub uncommitted: Counter,
}

/// Counts a request as being answered until it is dropped, also by a client that went away.
#[derive(Debug)]
#[must_use = "a request that is not held is not counted"]
pub struct InFlight(Gauge);

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.dec();
    }
}

impl AdmissionMetrics {
    fn new() -> Self {
        let buckets = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 8.0, 10.0];
        Self {
            total: Family::default(),
            duration: Histogram::new(buckets),
            in_flight: Gauge::default(),
            uncommitted: Counter::default(),
            certificate_expiry: Gauge::default(),
        }
    }

    /// Counts a request as being answered, until the guard is dropped.
    pub fn in_flight(&self) -> InFlight {
        self.in_flight.inc();
        InFlight(self.in_flight.clone())
    }

    /// Counts an answer.
    pub fn answered(&self, operation: Operation, decision: Decision, took: Duration) {
        self.total.get_or_create(&AdmissionLabels { operation, decision }).inc();
        self.duration.observe(took.as_secs_f64());
    }

    fn register(&self, registry: &mut Registry) {
        for &operation in Operation::ALL {
            for &decision in Decision::ALL {
                drop(self.total.get_or_create(&AdmissionLabels { operation, decision }));
            }
        }
        registry.register("admission_requests", "Admission requests by operation and decision", self.total.clone());
        let help = "Time of an admission answer";
        registry.register_with_unit("admission_duration", help, Unit::Seconds, self.duration.clone());
        registry.register("admission_in_flight", "Admission requests being answered", self.in_flight.clone());
        let help = "End of the certificate that the webhook serves, 0 before there is one";
        registry.register("webhook_certificate_expiry_timestamp_seconds", help, self.certificate_expiry.clone());
        let help = "Admission answers that went out before their decision was committed";
        registry.register("admission_uncommitted", help, self.uncommitted.clone());
    }
}

/// Scans on a schedule, and what the last one saw.
#[derive(Clone, Debug, Default)]
pub struct ScanMetrics {
    last_success: Family<ScannerLabel, Ratio>,
    total: Family<ScanLabels, Counter>,
    /// Decided / (decided + unknown + error), the mean over the controls.
    pub coverage: Ratio,
}

impl ScanMetrics {
    /// Counts a scan that ended at `at`.
    pub fn scanned(&self, scanner: Scanner, result: Outcome, at: Timestamp) {
        self.total.get_or_create(&ScanLabels { scanner, result }).inc();
        if result == Outcome::Success {
            self.last_success.get_or_create(&ScannerLabel { scanner }).set(at.as_duration().as_secs_f64());
        }
    }

    fn register(&self, registry: &mut Registry) {
        for &scanner in Scanner::ALL {
            drop(self.last_success.get_or_create(&ScannerLabel { scanner }));
            for &result in Outcome::ALL {
                drop(self.total.get_or_create(&ScanLabels { scanner, result }));
            }
        }
        let help = "End of the last successful scan, 0 before the first";
        registry.register("scan_last_success_timestamp_seconds", help, self.last_success.clone());
        registry.register("scans", "Scans by scanner and result", self.total.clone());
        registry.register("coverage_ratio", "Share of the questions that were decided", self.coverage.clone());
    }
}

/// Reading from the outside: registries and the cluster.
#[derive(Clone, Debug, Default)]
pub struct SourceMetrics {
    registry_requests: Family<RegistryLabel, Counter>,
    /// Watches that had to start again.
    pub watch_restarts: Counter,
    /// Whether every kind that was listed is followed.
    pub watch_connected: Gauge,
    /// Objects in the index.
    pub index_objects: Gauge,
}

impl SourceMetrics {
    /// Counts requests to registries.
    pub fn registry_requests(&self, outcome: RequestOutcome, count: u64) {
        self.registry_requests.get_or_create(&RegistryLabel { outcome }).inc_by(count);
    }

    fn register(&self, registry: &mut Registry) {
        for outcome in RequestOutcome::ALL {
            drop(self.registry_requests.get_or_create(&RegistryLabel { outcome }));
        }
        registry.register("registry_requests", "Requests to registries by outcome", self.registry_requests.clone());
        registry.register("watch_restarts", "Watches that had to start again", self.watch_restarts.clone());
        let help =
            "Whether all that was listed is followed, 0 before the first listing and while the API server is away";
        registry.register("watch_connected", help, self.watch_connected.clone());
        registry.register("index_objects", "Objects in the index", self.index_objects.clone());
    }
}

/// Who writes.
#[derive(Clone, Debug, Default)]
pub struct LeaderMetrics {
    /// Whether this process leads.
    pub leading: Gauge,
}

impl LeaderMetrics {
    fn register(&self, registry: &mut Registry) {
        registry.register("leader", "Whether this process holds the lease and may write", self.leading.clone());
    }
}

/// All metrics. Parts hold clones of their own struct.
#[derive(Debug)]
pub struct Metrics {
    /// Of the store.
    pub store: StoreMetrics,
    /// Of image verification.
    pub images: ImageMetrics,
    /// Of admission.
    pub admission: AdmissionMetrics,
    /// Of scans.
    pub scans: ScanMetrics,
    /// Of credentials.
    pub credentials: CredentialMetrics,
    /// Of registries and the cluster.
    pub sources: SourceMetrics,
    /// Of the lease.
    pub leader: LeaderMetrics,
    /// Of the platform.
    pub platform: PlatformMetrics,
    /// Of declared Secrets.
    pub secrets: SecretMetrics,
    findings: Family<FindingLabels, Gauge>,
    registry: Registry,
}

impl Metrics {
    /// All metrics at 0. `version` is exported as `portreeve_build_info`.
    pub fn new(version: &'static str) -> Self {
        let mut registry = Registry::with_prefix("portreeve");
        let metrics = Self {
            store: StoreMetrics::default(),
            images: ImageMetrics::new(),
            admission: AdmissionMetrics::new(),
            scans: ScanMetrics::default(),
            credentials: CredentialMetrics::default(),
            sources: SourceMetrics::default(),
            leader: LeaderMetrics::default(),
            platform: PlatformMetrics::default(),
            secrets: SecretMetrics::default(),
            findings: Family::default(),
            registry: Registry::default(),
        };
        metrics.set_findings(|_, _| 0);
        registry.register("findings", "Open findings by severity and verdict", metrics.findings.clone());
        metrics.store.register(&mut registry);
        metrics.images.register(&mut registry);
        metrics.admission.register(&mut registry);
        metrics.scans.register(&mut registry);
        metrics.credentials.register(&mut registry);
        metrics.sources.register(&mut registry);
        metrics.leader.register(&mut registry);
        metrics.platform.register(&mut registry);
        metrics.secrets.register(&mut registry);
        register_build(&mut registry, version);
        Self { registry, ..metrics }
    }

    /// Sets the open findings from counts that are kept elsewhere.
    pub fn set_findings(&self, count: impl Fn(Severity, Verdict) -> u64) {
        for severity in Severity::ALL {
            for verdict in Verdict::ALL.into_iter().filter(|verdict| verdict.is_open()) {
                let labels = FindingLabels { severity: severity.as_str(), verdict: verdict.as_str() };
                let value = i64::try_from(count(severity, verdict)).unwrap_or(i64::MAX);
                self.findings.get_or_create(&labels).set(value);
            }
        }
    }

    /// The text of all metrics.
    pub fn encode(&self, exposition: Exposition) -> Result<String, std::fmt::Error> {
        let mut text = String::with_capacity(16 * 1024);
        prometheus_client::encoding::text::encode(&mut text, &self.registry)?;
        Ok(match exposition {
            Exposition::Classic => exposition::classic(&text),
            Exposition::OpenMetrics => text,
        })
    }
}

fn register_build(registry: &mut Registry, version: &'static str) {
    let build = prometheus_client::metrics::info::Info::new([("version", version)]);
    registry.register("build", "The running version", build);
}

#[cfg(test)]
mod tests;
