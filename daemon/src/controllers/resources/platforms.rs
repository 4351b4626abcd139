//! Between the resource of a platform and who keeps it: what it asks for, and what became of that.

use std::sync::Arc;

use portreeve_api::platform::PlatformSpec;

use crate::cluster::status::Condition;

/// What the platform that the configuration names asks for.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Declared {
    /// The API server was not heard yet.
    #[default]
    Waiting,
    /// It can be kept.
    Spec {
        /// What it asks for.
        spec: Arc<PlatformSpec>,
        /// The generation of the resource that says so.
        generation: Option<i64>,
    },
    /// There is none that can be kept: why.
    Nothing(String),
}

/// What became of a platform, for its status.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ready {
    /// The resource.
    pub name: String,
    /// What is said.
    pub condition: Condition,
}
