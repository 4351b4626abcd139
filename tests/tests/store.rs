//! The store under the daemon: killed at any moment, without room, without its server, with other rules.

#[path = "store/file.rs"]
mod file;
#[path = "store/load.rs"]
mod load;
#[path = "store/questions.rs"]
mod questions;
#[path = "store/server.rs"]
mod server;
