//! Platforms on the real API server: by the command line, and kept by the daemon.

#[path = "platform/site.rs"]
mod site;

#[path = "platform/command.rs"]
mod command;
#[path = "platform/kept.rs"]
mod kept;
