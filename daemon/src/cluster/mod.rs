//! The cluster as Portreeve sees it: an API server or a folder of manifests, folded into one index.
//!
//! * [`watches`] (with [`client`]) and [`folder`] turn what happens into [`writer::Event`]s.
//! * [`writer`] is the only one that changes the [`index`]; it feeds the controllers and publishes the world.
//! * [`status`] writes what is said about custom resources into their status.
//! * [`lease`] keeps all but one process of a cluster from writing.
//! * [`once`] lists everything a single time, for `check cluster`.
//! * Readers use a [`writer::ClusterView`]; none of them waits for the API server.

pub mod apply;
pub mod client;
mod covered;
pub mod feed;
pub mod folder;
pub mod index;
pub mod key;
pub mod kinds;
pub mod lease;
pub mod once;
pub mod problem;
pub mod request;
pub mod status;
pub mod watches;
pub mod writer;
