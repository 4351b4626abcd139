//! Platforms past faults, crashes, and changes of their shape: nothing is forgotten, and nothing deleted that is declared.

#[path = "platform/plans.rs"]
mod plans;
#[path = "platform/site.rs"]
mod site;
#[path = "platform/two.rs"]
mod two;

#[path = "platform/ends.rs"]
mod ends;
#[path = "platform/faults.rs"]
mod faults;
#[path = "platform/shape.rs"]
mod shape;
