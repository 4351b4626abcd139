//! The platform: from its file to the cluster, in steps that are types.
//!
//! [`build::Validated`] (the file, without mistakes and circles) becomes [`build::Built`] (every object, labelled, in
//! waves), then [`clear::Cleared`] (it has passed the gate, by the same evaluation as the doors), then
//! [`deploy::Applied`]. A component that does not get to a step stays as it runs.
//!
//! * Pure: [`claims`], [`waves`], [`diff`], [`fields`], [`path`], [`health`], [`inventory`], [`prune`], [`former`].
//! * [`inventories`] and [`plan`] look at the cluster and write nothing; [`deploy`] writes, by
//!   [`crate::cluster::apply`], with the proof that this process leads.
//! * The command line and the controller use this room alike.

pub mod budget;
pub mod build;
pub mod claims;
pub mod clear;
pub mod deploy;
pub mod diff;
pub mod fields;
pub mod findings;
pub mod former;
pub mod health;
pub mod inventories;
pub mod inventory;
pub mod keep;
pub mod path;
pub mod plan;
pub mod prune;
mod secret;
pub mod waves;
