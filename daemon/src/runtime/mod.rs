//! What carries the process: tasks and their end, readiness, logs, metrics.
//!
//! * [`supervisor`]: the only place that spawns tasks; a task that ends early ends the process with its name.
//! * [`readiness`]: ready means that every part has said so once.
//! * [`files`]: what is written whole or not at all.
//! * [`errors`]: an error and its causes in one line.
//! * [`leader`]: the proof that this process may write, in terms that end by themselves.
//! * [`programs`]: programs that are asked one question, within time and bytes.
//! * [`telemetry`]: structured logs to stderr, without bodies and secrets.
//! * [`metrics`]: every metric, registered once; labels are closed sets.

pub mod errors;
pub mod files;
pub mod leader;
pub mod metrics;
pub mod programs;
pub mod readiness;
pub mod supervisor;
pub mod telemetry;
