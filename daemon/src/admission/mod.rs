//! The admission door: `/mutate` and `/validate` over HTTPS.
//!
//! An answer never waits on the API server: the world is the index's snapshot. It waits for the registry until our
//! own deadline, and for the store as long as [`RECORD_WITHIN`]: an acknowledged decision is a committed one, and a
//! store that cannot be written is counted, not waited for.

mod answer;
pub mod certificates;
mod connections;
mod intake;
mod room;
mod server;

pub use answer::{AdmissionState, RECORD_WITHIN};
pub use server::{AdmissionError, CertificateSource, Webhook};
