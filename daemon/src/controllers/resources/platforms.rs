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
        /// The resource that says so.
        about: About,
    },
    /// It has mistakes, which are said in its status and as a finding about it.
    Refused(String),
    /// There is none that can be kept: why.
    Nothing(String),
}

/// Which version of which object: one that is deleted and made again under its name is another.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct About {
    /// Its UID.
    pub uid: String,
    /// The generation of what it asks for.
    pub generation: Option<i64>,
}

/// What became of a platform, for its status.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ready {
    /// The resource.
    pub name: String,
    /// The object of that name.
    pub uid: String,
    /// What is said.
    pub condition: Condition,
}
