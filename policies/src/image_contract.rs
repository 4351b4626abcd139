//! The contract of an image of a data-science platform: what an image must be, judged from its manifest, its
//! configuration and its layers, without running anything.
//!
//! * [`read`]: from blobs, by digest, to [`contents`]; bytes unlike their digest are a cause, never content.
//! * [`inspect`]: what is noticed in files while the layers pass, and which files are kept.
//! * [`packages`]: what package managers say is installed.
//! * [`rules`]: the questions; [`codes`] has their texts, [`answer`] makes findings of their answers.
//!
//! What could not be read is `unknown` with its cause. What was seen in the part that could be read is still said.

pub mod answer;
pub mod codes;
pub mod contents;
pub mod history;
pub mod inspect;
pub mod packages;
pub mod read;
pub mod rules;
#[cfg(test)]
mod testing;
mod words;

use portreeve_reports::finding::BuildError;
use portreeve_reports::{Finding, Subject};

use contents::ImageContents;
use rules::{Case, Wanted};

/// The findings about one image, all questions answered.
///
/// # Errors
/// Never in practice: every answer has a subject and a place.
pub fn findings(subject: &Subject, image: &ImageContents, wanted: &Wanted) -> Result<Vec<Finding>, BuildError> {
    let case = Case::new(image, wanted);
    rules::ALL.iter().flat_map(|rule| rule(&case)).map(|answer| answer.finding(subject, image)).collect()
}
