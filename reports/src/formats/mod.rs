//! Renderers of a report. Each is a pure function from a report to bytes; none reads the environment or the clock.
//!
//! * [`json`]: `json-v1`, the contract that scripts rely on.
//! * [`table`]: for people at a terminal.
//! * [`sarif`]: SARIF 2.1.0 for code scanning.
//! * [`junit`]: for CI systems that show test results.
//! * [`html`]: one page for people, in one file.
//! * [`prometheus`]: text exposition for a textfile collector.
//! * [`text`]: what keeps hostile names from reaching a terminal as commands.

pub mod html;
pub mod json;
pub mod junit;
pub mod prometheus;
pub mod sarif;
pub mod table;
pub mod text;

use std::io;

use crate::code::Code;
use crate::finding::Finding;
use crate::report::Report;
use crate::source::decode::did_you_mean;

/// A form of a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Format {
    /// For people.
    Table,
    /// json-v1.
    Json,
    /// SARIF 2.1.0.
    Sarif,
    /// Prometheus text exposition.
    Prometheus,
    /// JUnit XML.
    Junit,
    /// One HTML page.
    Html,
}

/// Words that name a format; `json-v1` pins the version that `json` is today.
const WORDS: [(&str, Format); 7] = [
    ("table", Format::Table),
    ("json", Format::Json),
    ("json-v1", Format::Json),
    ("sarif", Format::Sarif),
    ("prometheus", Format::Prometheus),
    ("junit", Format::Junit),
    ("html", Format::Html),
];

/// A word that is not a format.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("'{word}' is not a format{hint}; formats are table, json, json-v1, sarif, prometheus, junit, html")]
pub struct UnknownFormat {
    word: String,
    hint: String,
}

impl std::str::FromStr for Format {
    type Err = UnknownFormat;

    fn from_str(word: &str) -> Result<Self, Self::Err> {
        let found = WORDS.iter().find(|(name, _)| *name == word);
        found.map(|(_, format)| *format).ok_or_else(|| {
            let near = did_you_mean(word, &WORDS.map(|(name, _)| name));
            let hint = near.map_or_else(String::new, |near| format!(" (did you mean '{near}'?)"));
            UnknownFormat { word: word.to_owned(), hint }
        })
    }
}

/// Whether a table may use colour. Severity is text either way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Style {
    /// Text only.
    #[default]
    Plain,
    /// Text with ANSI colours.
    Colour,
}

/// Which findings are shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Shown {
    /// All but `pass` and `not-applicable`.
    #[default]
    Open,
    /// All (`--all-verdicts`).
    All,
}

impl Shown {
    fn includes(self, finding: &Finding) -> bool {
        self == Self::All || finding.verdict.is_open()
    }
}

/// What `explain` knows about a code, for formats that carry the rules along.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RuleText {
    /// A few words.
    pub title: String,
    /// Why it matters.
    pub why: String,
    /// How to fix it.
    pub fix: String,
    /// Where to read more.
    pub references: Vec<String>,
}

/// What the renderers need beside the report.
#[derive(Clone, Copy)]
pub struct RenderOptions<'a> {
    /// Which findings are shown, by the formats that have a choice.
    pub shown: Shown,
    /// Colour of the table.
    pub style: Style,
    /// The text of a rule; formats fall back to the code where there is none.
    pub rules: &'a dyn Fn(&Code) -> Option<RuleText>,
    /// File that SARIF results without a file of their own point to, relative to the repository.
    pub fallback_file: &'a str,
    /// SARIF's `automationDetails.id`, `category/run`: distinct for each of several uploads of one commit.
    pub automation_id: &'a str,
}

impl Default for RenderOptions<'_> {
    fn default() -> Self {
        Self {
            shown: Shown::default(),
            style: Style::default(),
            rules: &own_rule,
            fallback_file: "portreeve.yaml",
            automation_id: "portreeve/",
        }
    }
}

impl std::fmt::Debug for RenderOptions<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RenderOptions")
            .field("shown", &self.shown)
            .field("style", &self.style)
            .field("fallback_file", &self.fallback_file)
            .field("automation_id", &self.automation_id)
            .finish_non_exhaustive()
    }
}

/// The text of this crate's own codes.
pub fn own_rule(code: &Code) -> Option<RuleText> {
    let entry = crate::code::CODES.iter().find(|entry| entry.code == code.as_str())?;
    Some(RuleText {
        title: entry.title.to_owned(),
        why: entry.why.to_owned(),
        fix: entry.fix.to_owned(),
        references: Vec::new(),
    })
}

/// Writes the report in a format, ending with a newline.
pub fn write(format: Format, report: &Report, options: &RenderOptions<'_>, out: &mut dyn io::Write) -> io::Result<()> {
    let text = match format {
        Format::Json => return json::write(report, options, out),
        Format::Sarif => return sarif::write(report, options, out),
        Format::Table => return table::write(report, options, out),
        Format::Prometheus => prometheus::render(report),
        Format::Junit => junit::render(report, options),
        Format::Html => html::render(report, options),
    };
    out.write_all(text.as_bytes())
}

#[cfg(test)]
mod tests;
