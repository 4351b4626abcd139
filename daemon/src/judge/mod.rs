//! The shapes of the judge that the controllers use.

use jiff::Timestamp;
use portreeve_policies::object::Object;
use portreeve_policies::workload::ImageUse;
use portreeve_policies::world::World;
use portreeve_reports::Finding;

use crate::registry::Deadline;

/// The judge.
#[derive(Debug, Default)]
pub struct Judge {}

/// When, and until when.
#[derive(Clone, Copy, Debug)]
pub struct JudgeOptions {
    /// Now.
    pub now: Timestamp,
    /// Until when.
    pub deadline: Deadline,
}

/// What was found.
#[derive(Debug, Default)]
pub struct Judged {
    /// All verdicts.
    pub findings: Vec<Finding>,
}

impl Judge {
    /// Posture.
    pub fn posture(&self, _: &[Object], _: &World, _: &JudgeOptions) -> Judged {
        Judged::default()
    }

    /// Images.
    pub async fn images(&self, _: &[ImageUse], _: &JudgeOptions) -> Judged {
        Judged::default()
    }
}
