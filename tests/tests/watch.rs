//! The watch door on the real API server: findings follow what is in the cluster.

#[path = "watch/site.rs"]
mod site;

#[path = "watch/behind.rs"]
mod behind;
#[path = "watch/changes.rs"]
mod changes;
#[path = "watch/faults.rs"]
mod faults;
#[path = "watch/lost.rs"]
mod lost;
#[path = "watch/outage.rs"]
mod outage;
#[path = "watch/rights.rs"]
mod rights;
