//! `serve` keeps declared Secrets like their files: the real API server, the built binary, files made by sops.

#[path = "secret_sync/crashes.rs"]
mod crashes;
#[path = "secret_sync/kept.rs"]
mod kept;
#[path = "secret_sync/refused.rs"]
mod refused;
#[path = "secret_sync/site.rs"]
mod site;
