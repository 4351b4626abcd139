//! Portreeve's process: the CLI and the daemon. The only place that does I/O.

pub mod cluster;
pub mod config;
pub mod controllers;
pub mod judge;
pub mod registry;
pub mod runtime;
pub mod scheduler;
pub mod store;
