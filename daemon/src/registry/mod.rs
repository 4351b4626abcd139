//! The registry client: what a registry says about an image, as one of three outcomes (found, proven absent, not
//! known), within caps on bytes, counts and time.
//!
//! * [`RegistryClient`] resolves references and gathers signature evidence; concurrent questions about one image share
//!   one set of requests, and answers are kept for as long as their kind allows ([`client`]).
//! * Every body is capped and its digest checked before anybody sees it ([`discover`], [`transport`]).
//! * Credentials belong to one origin and go nowhere else ([`auth`], [`credentials`]); where they come from says
//!   [`keyring`], and programs that have them are asked by [`helpers`] and
//!   [`providers`].
//! * Hosts that nobody configured are reached by https only, and never on loopback or link-local addresses
//!   ([`endpoint`]): the names come from whoever can create a Pod.
//! * [`ping`] asks whether a registry is there.
//! * [`push`] writes, for signing only.
//! * [`pull`] reads whole images, layer by layer; [`layout`] and [`archive`] do so from folders and archives on disk.
//! * [`transcript`] keeps what was said for `--evidence`, and answers in place of registries for `--from-evidence`.

mod address;
mod archive;
mod auth;
mod client;
mod credentials;
mod discover;
mod endpoint;
mod failure;
mod helpers;
mod keyring;
mod layout;
mod names;
mod options;
mod ping;
mod providers;
mod pull;
mod push;
mod requests;
mod shelf;
mod statistics;
#[cfg(test)]
mod tests;
mod transcript;
mod transport;
mod wire;

pub use archive::{ArchivedImage, ImageArchive};
pub use client::{RegistryClient, ResolvedManifest};
pub use credentials::{Credentials, DockerConfig, Held, InvalidDockerConfig};
pub use endpoint::normal_host;
pub use failure::{Deadline, Failure};
pub use helpers::{HelperName, NoHelperName};
pub use keyring::{Programs, Source};
pub use layout::ImageLayout;
pub use options::{HostOptions, RegistryError, RegistryOptions};
pub use providers::Providers;
pub use pull::PulledImage;
pub use push::ReferrerManifest;
pub use shelf::{EvidenceShelf, Shelved};
pub use statistics::{RequestOutcome, Statistics};
pub use transcript::{InvalidTranscript, MAX_TRANSCRIPT, Recording};
pub use wire::digest_of;
