//! Frameworks: published lists of questions. A listed control that does not exist here counts 0 in coverage.

use std::sync::Arc;

use portreeve_reports::Code;
use portreeve_reports::source::decode::did_you_mean;
use portreeve_reports::source::{Fields, Problems};

use crate::control::{Control, FRAMEWORK_FILES, read_document};

/// A published list of controls.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Framework {
    /// `nsa`.
    pub id: Arc<str>,
    /// Name of the publication.
    pub title: Arc<str>,
    /// Its version.
    pub version: Arc<str>,
    /// Where it is published and which mapping is used.
    pub source: Arc<str>,
    /// The controls it asks, in the order of their codes.
    pub controls: Vec<Code>,
}

impl Framework {
    /// The listed codes for which there is no control.
    pub fn unimplemented(&self, controls: &[Control]) -> Vec<Code> {
        let exists = |code: &Code| controls.iter().any(|control| control.code == *code);
        self.controls.iter().filter(|code| !exists(code)).cloned().collect()
    }
}

/// The name of every control there is.
pub const ALL: &str = "all";

/// Frameworks that are announced and not there yet.
const ANNOUNCED: [&str; 8] =
    ["mitre", "cis-1.10", "cis-1.12", "pss-restricted", "soc2", "workload", "cluster", "nebari"];

/// A name that is not that of a framework.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoSuchFramework {
    /// It is announced, and not in this version.
    #[error("the framework '{name}' does not exist yet in this version; there are {existing}")]
    NotYet {
        /// The name as given.
        name: String,
        /// What could be named instead.
        existing: String,
    },
    /// Nobody ever heard of it.
    #[error("there is no framework '{name}'{hint}; `portreeve list frameworks` prints them")]
    Unknown {
        /// The name as given.
        name: String,
        /// A did-you-mean, or nothing.
        hint: String,
    },
}

/// The framework of a name; `None` for [`ALL`], which is no list but everything.
pub fn find<'a>(name: &str, existing: &'a [Framework]) -> Result<Option<&'a Framework>, NoSuchFramework> {
    let found = existing.iter().find(|framework| *framework.id == *name);
    if found.is_some() || name == ALL {
        return Ok(found);
    }
    let ids: Vec<&str> = existing.iter().map(|framework| &*framework.id).chain([ALL]).collect();
    let name = name.to_owned();
    if ANNOUNCED.contains(&name.as_str()) {
        return Err(NoSuchFramework::NotYet { name, existing: ids.join(", ") });
    }
    let hint = did_you_mean(&name, &ids).map_or_else(String::new, |near| format!(" (did you mean '{near}'?)"));
    Err(NoSuchFramework::Unknown { name, hint })
}

/// The embedded frameworks.
pub fn builtin_frameworks() -> Result<Vec<Framework>, Problems> {
    FRAMEWORK_FILES.iter().map(|(file, bytes)| read_framework(file, bytes)).collect()
}

/// Reads a framework file.
pub fn read_framework(file: &str, bytes: &[u8]) -> Result<Framework, Problems> {
    let mut problems = Problems::new(file);
    let framework = read_document(bytes, &mut problems)
        .and_then(|node| Fields::of(&node, "", &mut problems)?.finish_with(framework));
    match framework {
        Some(framework) => problems.into_result(framework),
        None => Err(problems),
    }
}

fn framework(fields: &mut Fields) -> Option<Framework> {
    let id = fields.required_str("id");
    let title = fields.required_str("title");
    let version = fields.required_str("version");
    let source = fields.required_str("source");
    let place = fields.required("controls")?.place;
    let mut controls = Vec::new();
    for text in fields.optional_strings("controls").unwrap_or_default() {
        match Code::parse(text) {
            Ok(code) if controls.contains(&code) => fields.problem(place, format!("{code} is listed twice")),
            Ok(code) => controls.push(code),
            Err(error) => fields.problem(place, error.to_string()),
        }
    }
    Some(Framework {
        id: id?.into(),
        title: title?.into(),
        version: version?.into(),
        source: source?.trim().into(),
        controls,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::builtin_controls;

    #[test]
    fn nsa_lists_24_questions_and_says_which_are_not_asked_yet() {
        let frameworks = builtin_frameworks().unwrap();
        let nsa = frameworks.iter().find(|framework| &*framework.id == "nsa").unwrap();
        assert_eq!(nsa.controls.len(), 24);
        let missing = nsa.unimplemented(&builtin_controls().unwrap());
        let missing: Vec<&str> = missing.iter().map(Code::as_str).collect();
        assert_eq!(
            missing,
            [
                "C-0002", "C-0005", "C-0035", "C-0054", "C-0058", "C-0059", "C-0066", "C-0067", "C-0068", "C-0270",
                "C-0271", "C-0292"
            ]
        );
    }

    #[test]
    fn a_name_that_is_announced_is_told_from_one_that_nobody_knows() {
        let existing = builtin_frameworks().unwrap();
        let said = |name| find(name, &existing).unwrap_err().to_string();
        assert_eq!(
            said("soc2"),
            "the framework 'soc2' does not exist yet in this version; there are nsa, pss-baseline, all"
        );
        assert!(said("nas").starts_with("there is no framework 'nas' (did you mean 'nsa'?)"), "{}", said("nas"));
        assert_eq!(find(ALL, &existing), Ok(None));
        assert_eq!(find("nsa", &existing), Ok(existing.first()));
    }

    #[test]
    fn controls_and_framework_files_agree_on_what_is_asked() {
        for framework in builtin_frameworks().unwrap() {
            for control in builtin_controls().unwrap() {
                let claims = control.frameworks.contains(&framework.id);
                assert_eq!(claims, framework.controls.contains(&control.code), "{} {}", framework.id, control.code);
            }
        }
    }

    #[test]
    fn every_question_of_the_baseline_is_asked() {
        let frameworks = builtin_frameworks().unwrap();
        let baseline = frameworks.iter().find(|framework| &*framework.id == "pss-baseline").unwrap();
        assert_eq!(baseline.unimplemented(&builtin_controls().unwrap()), Vec::<Code>::new());
    }
}
