//! Why a code matters and how to fix it: the texts of controls and of the other codes, in one place for all renderers.

use std::sync::LazyLock;

use portreeve_policies::control::{Control, builtin_controls};
use portreeve_policies::framework::builtin_frameworks;
use portreeve_reports::code::KnownCodes;
use portreeve_reports::formats::RuleText;
use portreeve_reports::{Code, CodeEntry, Severity};

/// Read once: a page of findings asks for many of them.
static CONTROLS: LazyLock<Vec<Control>> = LazyLock::new(|| builtin_controls().unwrap_or_default());

static KNOWN: LazyLock<KnownCodes> = LazyLock::new(|| {
    let frameworks = builtin_frameworks().unwrap_or_default();
    let listed = frameworks.into_iter().flat_map(|framework| framework.controls);
    entries().map(CodeEntry::code).chain(CONTROLS.iter().map(|control| control.code.clone())).chain(listed).collect()
});

/// The codes that an exception may name: what is asked, and what a framework lists though no control asks it yet.
pub fn known_codes() -> &'static KnownCodes {
    &KNOWN
}

/// All codes that are not controls.
pub fn entries() -> impl Iterator<Item = &'static CodeEntry> {
    portreeve_reports::code::CODES
        .iter()
        .chain(portreeve_trust::rules::CODES)
        .chain(portreeve_policies::image_contract::codes::CODES)
        .chain(portreeve_secrets::sops::CODES)
        .chain(portreeve_secrets::sync::CODES)
        .chain(portreeve_secrets::credentials::rules::CODES)
        .chain(portreeve_api::platform::CODES)
}

/// The texts of a code, for renderers.
pub fn rule_text(code: &Code) -> Option<RuleText> {
    text(code.as_str())
}

/// The texts of a code by its name.
pub fn text(code: &str) -> Option<RuleText> {
    explanation(code).map(|(_, text)| text)
}

/// Severity and texts of a code.
pub fn explanation(code: &str) -> Option<(Severity, RuleText)> {
    let of_entry = |entry: &CodeEntry| {
        let text = RuleText {
            title: entry.title.to_owned(),
            why: entry.why.to_owned(),
            fix: entry.fix.to_owned(),
            references: Vec::new(),
        };
        (entry.severity, text)
    };
    entries()
        .find(|entry| entry.code == code)
        .map(of_entry)
        .or_else(|| CONTROLS.iter().find(|control| control.code.as_str() == code).map(of_control))
}

fn of_control(control: &Control) -> (Severity, RuleText) {
    let text = RuleText {
        title: control.title.to_string(),
        why: control.why.to_string(),
        fix: control.fix.to_string(),
        references: control.references.iter().map(ToString::to_string).collect(),
    };
    (control.severity, text)
}
