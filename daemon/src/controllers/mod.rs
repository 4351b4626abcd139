//! The watch and schedule doors: what changes in the cluster is judged and recorded.
//!
//! * [`workloads`]: posture of objects, and what could not be read.
//! * [`credentials`]: what Secrets and ConfigMaps hold, as time passes.
//! * [`images`]: images by repository, declared and running.
//! * [`resources`]: custom resources that are rules, and their status.
//! * [`platform`]: what is deployed and kept as declared.
//! * [`scans`]: what is told when everything was judged.
//!
//! All judge what the index says now, not what an event said, so that events may be merged. What the store does not
//! take is judged again later.

pub mod credentials;
pub mod images;
pub mod platform;
mod record;
pub mod resources;
pub mod scans;
pub mod workloads;

#[cfg(test)]
mod tests;
