//! Configuration: the file of `examples/portreeve.yaml`, laid over by `PORTREEVE_*`, raw → valid.
//!
//! * [`raw`]: the shape as written, with places; unknown keys are problems with a did-you-mean.
//! * [`valid`]: what the daemon runs on; durations, addresses, patterns and schedules are types here.
//! * [`mod@load`]: which file, which environment variables, and where each value came from.

pub mod load;
pub mod raw;
pub mod valid;

pub use load::{ConfigError, LoadedConfig, load};
pub use valid::{ClusterSource, Config};
