//! Image trust: which images may run, by whose word, and how that is proved. Sync and without I/O: evidence bytes
//! come in, verdicts go out. The sigstore crates are used here and nowhere else.
//!
//! * [`policy`]: whose word counts for which image; [`key`], [`identity`] and [`root`]: the keys behind it, the identities
//!   and who may certify them.
//! * [`artifact`]: bundles about files.
//! * [`evidence`]: what a registry said, as plain data.
//! * [`rules`]: judgements as findings.
//! * [`sign`]: signing as cosign does.
//! * [`verify`]: evidence and policy in, judgement out; the only mint of [`verify::VerifiedImage`].

pub mod artifact;
mod attestation;
mod authority;
pub mod evidence;
pub mod identity;
pub mod key;
pub mod policy;
mod prove;
pub mod root;
pub mod rules;
pub mod sign;
mod signature;
mod strict_json;
pub mod verify;
