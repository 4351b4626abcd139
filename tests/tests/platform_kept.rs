//! Platforms on the real API server that `serve` keeps, through its own crashes as well.

#[path = "platform/site.rs"]
mod site;

#[path = "platform/ends.rs"]
mod ends;
#[path = "platform/kept.rs"]
mod kept;
#[path = "platform/kept_crashes.rs"]
mod kept_crashes;
#[path = "platform/kept_lease.rs"]
mod kept_lease;
#[path = "platform/kept_secrets.rs"]
mod kept_secrets;
