//! What a plan says about drift. Pure.

use super::{Action, ComponentPlan, Planned};
use crate::platform::fields::Owner;
use crate::platform::inventory::Entry;
use crate::platform::prune::Fate;
pub use crate::runtime::metrics::DriftClass;

/// One object that is not as declared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Drifted {
    /// How.
    pub class: DriftClass,
    /// The object.
    pub object: String,
    /// Fields with their owners, or another reason.
    pub why: String,
}

/// Whether what differs is drift and no change of the manifest. Of a Secret the inventory knows no values: one that is
/// ours, as the API server tells, is as we wrote it, and the manifest has changed; any other was changed there.
pub(super) fn was_applied(planned: &Planned, entry: Option<&Entry>) -> bool {
    let Some(entry) = entry.filter(|entry| planned.wanted.is_noted(entry)) else { return false };
    match planned.action {
        // What comes back from another component was changed by the files, and has not drifted.
        Action::Move(_) => false,
        Action::Update if !planned.wanted.is_told_by(entry) => {
            planned.changes.iter().any(|told| !told.owners.iter().any(Owner::is_ours))
        }
        _ => true,
    }
}

/// Everything in a plan that is drift and no change of the manifests.
pub fn drifted(plan: &ComponentPlan) -> Vec<Drifted> {
    let mut found = Vec::new();
    let mut push = |class, object: String, why: String| found.push(Drifted { class, object, why });
    for planned in &plan.objects {
        let object = planned.wanted.address.key.to_string();
        for told in &planned.yields {
            let owners: Vec<String> = told.owners.iter().map(ToString::to_string).collect();
            push(
                DriftClass::ForeignOwner,
                planned.shown().to_string(),
                format!("{} is {}'s", told.change.path, owners.join(", ")),
            );
        }
        match planned.action {
            Action::Create { .. } if planned.was_applied => {
                push(DriftClass::Missing, object, "it was deleted".to_owned());
            }
            Action::Update if planned.was_applied => {
                let fields = planned.changes.iter().take(5).map(|told| {
                    let owners: Vec<String> = told.owners.iter().map(ToString::to_string).collect();
                    let by = if owners.is_empty() { String::new() } else { format!(" (by {})", owners.join(", ")) };
                    format!("{}{by}", told.change.path)
                });
                push(DriftClass::Modified, object, fields.collect::<Vec<_>>().join(", "));
            }
            Action::Foreign(_) => {
                let why = foreign(planned).unwrap_or_default();
                push(DriftClass::ForeignOwner, planned.shown().to_string(), why);
            }
            _ => {}
        }
    }
    for leftover in &plan.leftovers {
        let object = leftover.entry.address.key.to_string();
        match &leftover.fate {
            Fate::NotOurs(why) => push(DriftClass::ForeignOwner, object, (*why).to_owned()),
            Fate::Kept => push(DriftClass::Extra, object, "it is no longer declared, and pruning is off".to_owned()),
            _ => {}
        }
    }
    for key in &plan.extra {
        push(DriftClass::Extra, key.to_string(), "it has our labels and nobody declared it".to_owned());
    }
    found
}

/// Why a declared object is left alone, when it is, and what to do.
pub fn foreign(planned: &Planned) -> Option<String> {
    let Action::Foreign(keeper) = &planned.action else { return None };
    Some(match keeper {
        None => "it exists and is not ours; set adopt: true to take it over".to_owned(),
        Some(other) => format!(
            "the component '{other}' keeps it: that one declares it too, cannot be read, or is suspended; an object is \
             one component's"
        ),
    })
}

/// The word for what becomes of an object that is no longer declared.
pub(super) fn fate_word(fate: &Fate) -> &'static str {
    match fate {
        Fate::Delete(_) => "delete",
        Fate::Retain => "retain",
        Fate::Gone => "gone",
        Fate::Ending => "ending",
        Fate::NotOurs(_) => "left-alone",
        Fate::Kept => "kept",
        Fate::HandedOver(_) => "handed-over",
        Fate::Awaited(_) => "awaited",
        Fate::Undecided(_) => "undecided",
        Fate::NotServed(_) => "not-served",
    }
}
