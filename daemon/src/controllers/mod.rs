//! The watch and schedule doors: what changes in the cluster is judged and recorded.
//!
//! * [`workloads`]: posture of objects, and what could not be read.
//! * [`images`]: images by repository, declared and running.
//! * [`platform`]: what is deployed and kept as declared; the only one here that writes to the cluster.
//! * [`scans`]: what is told when everything was judged.
//!
//! Both judge what the index says now, not what an event said, so that events may be merged. What the store does not
//! take is judged again later.

pub mod images;
pub mod platform;
mod record;
pub mod scans;
pub mod workloads;

#[cfg(test)]
mod tests;
