//! Configuration: the file of `examples/portreeve.yaml`, laid over by `PORTREEVE_*`, raw → valid.
//!
//! * [`raw`]: the shape as written, with places; unknown keys are problems with a did-you-mean.
//! * [`valid`]: what the daemon runs on; durations, addresses, patterns and schedules are types here.
//! * [`files`]: which files it names, and what for.
//! * [`mod@load`]: which file, which environment variables.
//! * [`show`]: what is in force, and where each value came from; [`schema`]: the JSON schema of the file.

mod across;
mod check;
mod defaults;
pub mod files;
pub mod load;
pub mod raw;
pub mod schema;
pub mod show;
pub mod valid;

pub use files::Use;
pub use load::{ConfigError, LoadedConfig, load};
pub use portreeve_reports::source::decode::duration;
pub use valid::{ClusterSource, Config};

#[cfg(test)]
mod tests;
