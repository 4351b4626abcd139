//! What holds where the configuration says nothing; validation, schema and `config show` read the same lines.

/// Identity of a folder cluster.
pub(super) const CLUSTER_NAME: &str = "folder";
/// `images.rescan`
pub(super) const IMAGE_RESCAN: &str = "0 * * * *";
/// `posture.rescan`
pub(super) const POSTURE_RESCAN: &str = "30 2 * * *";
/// `posture.failOn`
pub(super) const FAIL_ON: &str = "low";
/// `secrets.clusterRead`
pub(super) const CLUSTER_READ: &str = "off";
/// `secrets.interval`
pub(super) const SYNC_INTERVAL: &str = "1m";
/// `secrets.sync[].mode`
pub(super) const SYNC_MODE: &str = "correct";
/// `credentials.maxTokenLifetime`
pub(super) const MAX_TOKEN_LIFETIME: &str = "24h";
/// `credentials.warnBeforeExpiry`
pub(super) const WARN_BEFORE_EXPIRY: &str = "14d";
/// `platform.interval`
pub(super) const PLATFORM_INTERVAL: &str = "1m";
/// `leader.namespace`
pub(super) const LEADER_NAMESPACE: &str = "portreeve-system";
/// `leader.lease`
pub(super) const LEADER_LEASE: &str = "portreeve";
/// `store.url`
pub(super) const STORE_URL: &str = "sqlite://portreeve.db";
/// `admission.deadline`
pub(super) const ADMISSION_DEADLINE: &str = "8s";
/// `admission.breakGlassGroup` (never a label that a tenant can set)
pub(super) const BREAK_GLASS_GROUP: &str = "portreeve:break-glass";
/// `admission.listen`
pub(super) const ADMISSION_LISTEN: &str = "127.0.0.1:8443";
/// `http.listen`
pub(super) const HTTP_LISTEN: &str = "127.0.0.1:8080";
/// `http.metricsListen`
pub(super) const METRICS_LISTEN: &str = "127.0.0.1:8081";
/// `telemetry.log`
pub(super) const LOG: &str = "info";
/// `telemetry.format`
pub(super) const LOG_FORMAT: &str = "text";
/// The Secret of the certificate that we make, in the namespace of the lease.
pub(super) const WEBHOOK_SECRET: &str = "portreeve-webhook";
