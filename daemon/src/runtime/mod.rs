//! What carries the process.
//!
//! * [`metrics`]: every metric, registered once; labels are closed sets.

pub mod metrics;
