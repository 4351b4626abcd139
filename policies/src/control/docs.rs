//! Documentation pages of controls, generated from the control files.

use std::fmt::Write as _;

use super::{Check, Control, Target};
use crate::framework::Framework;

/// One Markdown page for each control and an index, as (file name, text). Pure: the same controls give the same bytes.
pub fn control_docs(controls: &[Control], frameworks: &[Framework]) -> Vec<(String, String)> {
    let mut pages = vec![("README.md".to_owned(), index(controls, frameworks))];
    pages.extend(controls.iter().map(|control| (format!("{}.md", control.code), page(control))));
    pages
}

fn index(controls: &[Control], frameworks: &[Framework]) -> String {
    let mut text =
        String::from("# Controls\n\n| code | question fails on | severity | frameworks |\n|---|---|---|---|\n");
    for control in controls {
        let _ = writeln!(
            text,
            "| [{code}]({code}.md) | {} | {} | {} |",
            control.title,
            control.severity,
            control.frameworks.join(", "),
            code = control.code,
        );
    }
    text.push_str("\n# Frameworks\n\n| id | title | controls | of these not asked yet |\n|---|---|---|---|\n");
    for framework in frameworks {
        let missing: Vec<String> =
            framework.unimplemented(controls).iter().map(|code| code.as_str().to_owned()).collect();
        let _ = writeln!(
            text,
            "| {} | {} {} | {} | {} |",
            framework.id,
            framework.title,
            framework.version,
            framework.controls.len(),
            missing.join(" "),
        );
    }
    text
}

fn page(control: &Control) -> String {
    let mut text = format!(
        "# {}: {}\n\nSeverity {}, score {}, confidence {}.",
        control.code,
        control.title,
        control.severity,
        control.score,
        control.confidence.as_str(),
    );
    if !control.frameworks.is_empty() {
        let _ = write!(text, " Asked by: {}.", control.frameworks.join(", "));
    }
    let _ = write!(text, "\n\n## Why\n\n{}\n\n## How to fix\n\n{}\n\n## What is asked\n\n", control.why, control.fix);
    control.checks.iter().for_each(|check| describe(check, &mut text));
    parameters(control, &mut text);
    if !control.references.is_empty() {
        text.push_str("\n## References\n\n");
        for reference in &control.references {
            let _ = writeln!(text, "- <{reference}>");
        }
    }
    text
}

fn describe(check: &Check, text: &mut String) {
    let of = match &check.target {
        Target::Pod => "every Pod and pod template".to_owned(),
        Target::Kinds(kinds) => kinds.iter().map(|kind| &*kind.kind).collect::<Vec<_>>().join(", "),
    };
    let name = if check.id.is_empty() { String::new() } else { format!("`{}` — ", check.id) };
    let _ = write!(text, "{name}of {of}:\n\n```cel\n{}\n```\n\n", check.pass.text);
    if let Some(when) = &check.when {
        let _ = write!(text, "asked only when:\n\n```cel\n{}\n```\n\n", when.text);
    }
}

fn parameters(control: &Control, text: &mut String) {
    if control.params.is_empty() {
        return;
    }
    text.push_str("## Parameters\n\n| name | default |\n|---|---|\n");
    for (name, default) in &control.params {
        let default = default.to_json().to_string().replace('|', "\\|");
        let _ = writeln!(text, "| `{name}` | `{default}` |");
    }
}
