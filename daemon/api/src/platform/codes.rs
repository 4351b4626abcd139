//! The codes about platforms.

use portreeve_reports::{CodeEntry, Severity};

/// The platform file, or the manifests of a component, cannot be used.
pub const PLATFORM_INVALID: CodeEntry = CodeEntry {
    code: "PR-5001",
    title: "platform file or component cannot be used",
    severity: Severity::High,
    why: "What cannot be read is not applied, and what is applied stays as it was; the platform is not what its file says.",
    fix: "Correct the named place; `portreeve platform plan` says everything that is wrong at once.",
};
/// A component did not pass the gate.
pub const GATE_FAILED: CodeEntry = CodeEntry {
    code: "PR-5002",
    title: "component is kept back by the gate",
    severity: Severity::High,
    why: "An image or a control of the component fails, so it is not applied; the version that runs stays.",
    fix: "Fix the findings that the message names, or have an exception approved; `portreeve platform plan` shows them.",
};
/// The API server did not take a component.
pub const NOT_APPLIED: CodeEntry = CodeEntry {
    code: "PR-5003",
    title: "component could not be applied",
    severity: Severity::High,
    why: "The API server refused or did not answer, so a part of the component is not as declared.",
    fix: "The message has the API server's words: grant the right, correct the field, or recreate an object whose field cannot change.",
};
/// An object is somebody else's.
pub const FOREIGN_OWNER: CodeEntry = CodeEntry {
    code: "PR-5004",
    title: "object or field belongs to somebody else",
    severity: Severity::Medium,
    why: "Another manager owns what the component declares; two writers would undo each other's work.",
    fix: "Remove it from one of the two; or ignore the path; or set `adopt: true` to take over an object that exists.",
};
/// Objects are not as declared.
pub const DRIFT: CodeEntry = CodeEntry {
    code: "PR-5005",
    title: "component has drifted",
    severity: Severity::Medium,
    why: "An object was changed or deleted past the platform file; what was reviewed is not what runs.",
    fix: "Find who changed it (the owner of the field is named); change the manifest instead, or ignore the path.",
};
/// Corrections do not last.
pub const STALLED: CodeEntry = CodeEntry {
    code: "PR-5006",
    title: "drift comes back after each correction",
    severity: Severity::High,
    why: "Something changes an object as often as it is corrected, so correcting has stopped to keep the cluster calm.",
    fix: "Stop the other writer or ignore the path; correcting starts again when the object or its manifest changes.",
};
/// A component is not healthy.
pub const UNHEALTHY: CodeEntry = CodeEntry {
    code: "PR-5007",
    title: "component is not healthy",
    severity: Severity::Medium,
    why: "The component was applied and did not become ready in its healthTimeout; what depends on it waits.",
    fix: "Look at the objects that the message names: `kubectl describe` and the logs of their Pods.",
};
/// A component is suspended.
pub const SUSPENDED: CodeEntry = CodeEntry {
    code: "PR-5008",
    title: "component is suspended",
    severity: Severity::Low,
    why: "Nothing is applied and no drift is corrected while a component is suspended.",
    fix: "`portreeve platform resume` when the work is done.",
};
/// A plan deletes too much.
pub const PRUNE_STOPPED: CodeEntry = CodeEntry {
    code: "PR-5009",
    title: "objects that are no longer declared are not deleted",
    severity: Severity::High,
    why: "More would go than one run may delete unasked, or whether it is declared elsewhere cannot be read; an emptied \
          folder or file must not empty a cluster.",
    fix: "Put the manifests or components back, or confirm: `portreeve platform apply --confirm-prune`, or a larger maxPrune.",
};
/// A component waits for others.
pub const WAITING: CodeEntry = CodeEntry {
    code: "PR-5010",
    title: "component waits for what it depends on",
    severity: Severity::Low,
    why: "A component is applied, or taken down, when those that come before it are healthy, or gone; until then it stays as it is.",
    fix: "Look at the component that the message names: its own finding says why it is not there yet.",
};
/// Another platform has objects where this one has its own.
pub const FORMER_PLATFORM: CodeEntry = CodeEntry {
    code: "PR-5011",
    title: "another platform has objects in the namespaces of this one",
    severity: Severity::Medium,
    why: "A platform that was renamed is another one: what it had under its former name is neither kept nor deleted.",
    fix: "Give it its former name back; or take the former platform down with a file of that name: `portreeve platform destroy`.",
};

/// All codes about platforms.
pub const CODES: &[CodeEntry] = &[
    PLATFORM_INVALID,
    GATE_FAILED,
    NOT_APPLIED,
    FOREIGN_OWNER,
    DRIFT,
    STALLED,
    UNHEALTHY,
    SUSPENDED,
    PRUNE_STOPPED,
    WAITING,
    FORMER_PLATFORM,
];
