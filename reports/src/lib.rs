//! The base of Portreeve: what a finding is, how findings become a report and an exit code, and how the files that
//! people write are read.
//!
//! * [`finding`]: a judged question about a [`subject`], with [`verdict`], [`severity`], [`code`] and [`fingerprint`].
//! * [`exceptions`]: what an owner has accepted, until when, and whether that is still in use.
//! * [`report`], [`gate`]: many findings, their counts and coverage, and the process exit they stand for.
//! * [`formats`]: renderers of a report; `json-v1` is the contract that scripts rely on.
//! * [`digest`]: SHA-256 as text.
//! * [`source`]: the capped YAML and JSON reader. Every value knows its line and column.
//!
//! Nothing here does I/O, reads the clock or the environment: bytes and times are arguments.

pub mod code;
pub mod digest;
pub mod exceptions;
pub mod finding;
pub mod fingerprint;
pub mod formats;
pub mod gate;
pub mod report;
pub mod severity;
pub mod source;
pub mod subject;
pub mod verdict;

#[cfg(test)]
mod testing;

pub use code::{Code, CodeEntry};
pub use finding::{Evidence, Finding, FindingBuilder, Fix, Location, Patch, Source};
pub use fingerprint::Fingerprint;
pub use severity::{Confidence, Effect, FailOn, Severity};
pub use subject::{ObjectRef, Owner, Subject, SubjectKey};
pub use verdict::{Cause, Verdict};
