//! Portreeve's process: the CLI and the daemon. The only place that does I/O.
//!
//! * `cli`: one file a command. `serve`: the composition of the daemon. `demo`: everything on an embedded example.
//! * `judge`: the one evaluation; the only caller of the rules of policies and trust.
//! * `platform`: what is deployed and kept, from the platform file to the cluster; the command line and the controller
//!   use it alike.
//! * `admission`, `controllers`, `http`: the doors and the page; none of them knows another.
//! * `cluster`, `registry`, `store`, `runtime`, `scheduler`, `config`: what they stand on.

pub mod admission;
pub mod cli;
pub mod cluster;
pub mod config;
pub mod controllers;
pub mod demo;
pub mod http;
pub mod judge;
pub mod platform;
pub mod registry;
pub mod runtime;
pub mod scheduler;
pub mod serve;
pub mod store;
