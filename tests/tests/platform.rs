//! Platforms on the real API server: by the command line.

#[path = "platform/plans.rs"]
mod plans;
#[path = "platform/site.rs"]
mod site;
#[path = "platform/two.rs"]
mod two;

#[path = "platform/bounds.rs"]
mod bounds;
#[path = "platform/command.rs"]
mod command;
#[path = "platform/secrets.rs"]
mod secrets;
#[path = "platform/whose.rs"]
mod whose;
