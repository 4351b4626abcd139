//! Portreeve's process: the CLI and the daemon. The only place that does I/O.

pub mod config;
pub mod http;
pub mod registry;
pub mod runtime;
pub mod scheduler;
pub mod store;
