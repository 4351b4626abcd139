//! The watch and schedule doors: what changes in the cluster is judged and recorded.
//!
//! * [`workloads`]: posture of objects, and what could not be read.
//! * [`credentials`]: what Secrets and ConfigMaps hold, as time passes.
//! * [`images`]: images by repository, declared and running.
//! * [`resources`]: custom resources that are rules, and their status.
//! * [`platform`]: what is deployed and kept as declared.
//! * [`secrets`]: Secrets that are kept like their files.
//! * [`ledger`]: what of the exceptions the keepers of the two need.
//! * [`scans`]: what is told when everything was judged.
//!
//! All judge what the index says now, not what an event said, so that events may be merged. What the store does not
//! take is judged again later.

pub mod credentials;
pub mod images;
pub mod ledger;
pub mod platform;
mod record;
pub mod resources;
mod said;
pub mod scans;
pub mod secrets;
pub mod workloads;

use std::hash::{BuildHasher as _, Hasher as _};
use std::sync::Arc;
use std::time::Duration;

use crate::cluster::feed::Feed;
use crate::cluster::writer::ClusterView;
use crate::judge::CurrentJudge;
use crate::judge::tally::Tally;
use crate::scheduler::driver::Trigger;
use crate::store::RecorderHandle;

/// What a controller works with.
#[derive(Clone)]
pub struct Means {
    /// The rules, and the way to evidence.
    pub judge: CurrentJudge,
    /// The index.
    pub cluster: ClusterView,
    /// Its changes.
    pub feed: Feed,
    /// The store.
    pub recorder: RecorderHandle,
    /// Coverage and images.
    pub tally: Arc<Tally>,
    /// Asks for a rescan.
    pub rescan: Trigger,
    /// Hears of scans.
    pub scans: scans::Scans,
}

/// A random byte: pauses of processes that started together must not agree.
fn dice() -> u8 {
    let hasher = std::collections::hash_map::RandomState::new().build_hasher();
    u8::try_from(hasher.finish() & 0xff).unwrap_or_default()
}

/// Within which time of each other all who wait for an API server ask it, when it answers again.
const SPREAD: Duration = Duration::from_secs(3);

/// When one of them does.
fn soon() -> Duration {
    SPREAD * u32::from(dice()) / 255
}

#[cfg(test)]
mod tests;
