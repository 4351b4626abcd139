//! The lease on the real API server: one process writes, another follows it within 15 s of a crash, and one that
//! slept, stalled or was robbed does not write.

#[path = "leader/asking.rs"]
mod asking;
#[path = "leader/faults.rs"]
mod faults;
#[path = "leader/site.rs"]
mod site;
#[path = "leader/store.rs"]
mod store;
#[path = "leader/takeover.rs"]
mod takeover;
