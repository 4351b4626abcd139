//! What must be attested of an image beside its signature: who said it, how long ago, and what it says. Statements are
//! read only after their signatures were found good, from the signed bytes; annotations about them are never read.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use portreeve_policies::engine::Condition;
use portreeve_policies::image::ImageReference;
use portreeve_reports::source::{Limits, Node, json};
use serde_json::json;

use crate::authority::{SignerId, Word};

/// What a condition may name: the statement and its parts, who signed it, and the image it is about.
pub(crate) const VARIABLES: &[&str] = &["predicate", "predicateType", "statement", "signer", "image"];

/// Most nodes of a statement that is read for its condition.
const MAX_NODES: usize = 500_000;

/// An attestation that a rule demands.
#[derive(Clone, Debug)]
pub(crate) struct AttestationRule {
    pub(crate) name: String,
    pub(crate) predicate_type: String,
    /// Who may have made it, by index in the rule's list of authorities.
    pub(crate) authorities: BTreeSet<usize>,
    pub(crate) max_age: Option<Duration>,
    pub(crate) condition: Option<Arc<Condition>>,
}

/// A statement about the image, whose signature holds.
pub(crate) struct Attested<'judgement> {
    pub(crate) predicate_type: &'judgement str,
    pub(crate) statement: &'judgement [u8],
    /// Whose word it is.
    pub(crate) words: &'judgement [(usize, Word)],
}

impl AttestationRule {
    /// Whether a statement is what the rule demands, or why not.
    pub(crate) fn is_met_by(
        &self,
        attested: &Attested<'_>,
        (image, now): (&ImageReference, Timestamp),
    ) -> Result<(), String> {
        let mut words =
            attested.words.iter().filter(|(index, _)| self.authorities.contains(index)).map(|(_, word)| word);
        let Some(first) = words.next() else { return Err("not signed by whom it should be".to_owned()) };
        let word = std::iter::once(first).chain(words).max_by_key(|word| word.times.iter().min()).unwrap_or(first);
        if let Some(max_age) = self.max_age {
            is_young(word, max_age, now)?;
        }
        match &self.condition {
            Some(condition) => self.holds(condition, attested, (word, image)),
            None => Ok(()),
        }
    }

    fn holds(
        &self,
        condition: &Condition,
        attested: &Attested<'_>,
        (word, image): (&Word, &ImageReference),
    ) -> Result<(), String> {
        let limits = Limits { nodes: MAX_NODES, ..Limits::default() };
        let statement = json::read(attested.statement, &limits).map_err(|error| format!("its statement: {error}"))?;
        let none = Node::null();
        let predicate = statement.get("predicate").unwrap_or(&none);
        let predicate_type = Node::string(attested.predicate_type);
        let signer = Node::from_json(&match &word.signer {
            SignerId::Certified(signer) => json!({"subject": signer.subject, "issuer": signer.issuer}),
            SignerId::Key(_) => json!({}),
        });
        let image = Node::from_json(&json!({
            "repository": image.repository.to_string(),
            "digest": image.digest.as_ref().map(ToString::to_string),
        }));
        let variables = [predicate, &predicate_type, &statement, &signer, &image];
        let variables: Vec<(&str, &Node)> = VARIABLES.iter().copied().zip(variables).collect();
        match condition.holds(&variables) {
            Ok(true) => Ok(()),
            Ok(false) => Err(format!("its condition does not hold: {}", condition.text())),
            Err(why) => Err(format!("its condition cannot be told: {why}")),
        }
    }
}

/// The youngest age that is proved is that of the earliest trusted time: a later one may have been added by anybody.
fn is_young(word: &Word, max_age: Duration, now: Timestamp) -> Result<(), String> {
    let Some(made) = word.times.iter().min() else {
        return Err("nothing that the trust root knows says when it was made".to_owned());
    };
    if *made > now {
        return Err("made at a time that has not come".to_owned());
    }
    let age = now.duration_since(*made);
    if age.unsigned_abs() > max_age {
        return Err(format!("made on {}, which is too long ago", made.strftime("%Y-%m-%d")));
    }
    Ok(())
}
