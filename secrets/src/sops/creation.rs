//! `.sops.yaml`: who can open new files, and what is encrypted in them.

use portreeve_reports::source::{Fields, Limits, Node, Problems, yaml};
use regex::Regex;

use super::document::Recipe;
use super::error::{Error, Kind};
use super::keys::Recipient;
use super::select::{Rule, Selection};

/// The rules of one file, in order.
#[derive(Clone, Debug)]
pub struct CreationRules(Vec<CreationRule>);

/// One rule.
#[derive(Clone, Debug)]
pub struct CreationRule {
    path: Option<Regex>,
    recipients: Vec<Recipient>,
    selection: Selection,
    /// Keys that this version does not act upon.
    later: Vec<&'static str>,
}

/// Keys that this version does not act upon. A rule with one is refused when it is used: a key that is left out of a
/// file is a person who cannot open it.
const LATER: [&str; 9] = [
    "pgp",
    "kms",
    "gcp_kms",
    "azure_keyvault",
    "hc_vault_transit_uri",
    "hckms",
    "aws_profile",
    "key_groups",
    "shamir_threshold",
];

impl CreationRules {
    /// Reads a file; all of its mistakes come at once.
    pub fn read(bytes: &[u8], file: &str) -> Result<Self, Error> {
        let limits = Limits { bytes: 1 << 20, documents: 1, ..Limits::default() };
        let mut problems = Problems::new(file);
        let rules = match yaml::read(bytes, &limits).into_iter().next() {
            Some(Ok(node)) => rules_of(&node, &mut problems),
            Some(Err(error)) => {
                problems.push(error.place, error.message);
                Vec::new()
            }
            None => Vec::new(),
        };
        problems.into_result(Self(rules)).map_err(|problems| Error::new(Kind::Rule, problems.to_string()))
    }

    /// The first rule for a path, which is relative to the folder of the file.
    pub fn for_path(&self, path: &str) -> Option<&CreationRule> {
        self.0.iter().find(|rule| rule.path.as_ref().is_none_or(|regex| regex.is_match(path)))
    }
}

impl CreationRule {
    /// How a file of this rule is encrypted.
    pub fn recipe(&self) -> Result<Recipe, Error> {
        if let Some(key) = self.later.first() {
            let message = format!("the creation rule for this file has '{key}', which is not supported yet; use sops");
            return Err(Error::new(Kind::NotYet, message));
        }
        Ok(Recipe { recipients: self.recipients.clone(), selection: self.selection.clone() })
    }

    /// What is encrypted in the files of this rule.
    pub fn selection(&self) -> &Selection {
        &self.selection
    }

    /// Who can open the files of this rule.
    pub fn recipients(&self) -> &[Recipient] {
        &self.recipients
    }
}

fn rules_of(node: &Node, problems: &mut Problems) -> Vec<CreationRule> {
    let Some(fields) = Fields::of(node, "", problems) else { return Vec::new() };
    let rules = fields.finish_with(|fields| {
        // For `publish`, which has no part in who can open a file.
        fields.optional_list("destination_rules");
        fields.optional_map("stores", |stores| {
            for store in ["json", "json_binary"] {
                stores.optional(store);
            }
            stores.optional_map("yaml", |yaml| {
                let indent = yaml.optional("indent");
                if let Some(node) = indent.filter(|node| node.as_int() != Some(4)) {
                    yaml.problem(node.place, "'stores.yaml.indent' other than 4 is not supported yet");
                }
                Some(())
            })
        });
        Some(fields.maps("creation_rules", rule))
    });
    rules.unwrap_or_default()
}

fn rule(fields: &mut Fields<'_, '_>) -> Option<CreationRule> {
    let path = fields.optional_parsed("path_regex", |text| {
        regex::RegexBuilder::new(text).size_limit(1 << 20).build().map_err(|_| "not a regular expression")
    });
    let recipients = recipients(fields);
    let mut rule = None;
    for key in Rule::KEYS {
        let place = fields.place();
        let Some(text) = fields.optional_str(key).filter(|text| !text.is_empty()) else { continue };
        if rule.is_some() {
            fields.problem(place, "more than one of the encrypted_… and unencrypted_… rules");
        }
        rule = Rule::of(key, text);
    }
    let mac_only_encrypted = fields.optional_bool("mac_only_encrypted").unwrap_or_default();
    let later = LATER.into_iter().filter(|key| fields.optional(key).is_some()).collect();
    match Selection::new(rule, mac_only_encrypted) {
        Ok(selection) => Some(CreationRule { path, recipients, selection, later }),
        Err(error) => {
            fields.problem(fields.place(), error.to_string());
            None
        }
    }
}

/// `age`: a list, or one text with commas.
fn recipients(fields: &mut Fields<'_, '_>) -> Vec<Recipient> {
    let Some(node) = fields.optional("age") else { return Vec::new() };
    let words: Vec<&str> = match node.as_str() {
        Some(text) => text.split(',').map(str::trim).filter(|word| !word.is_empty()).collect(),
        None => fields.optional_strings("age").unwrap_or_default(),
    };
    let mut recipients = Vec::with_capacity(words.len());
    for word in words {
        match Recipient::parse(word) {
            Ok(recipient) if recipients.contains(&recipient) => {}
            Ok(recipient) => recipients.push(recipient),
            Err(error) => fields.problem(node.place, format!("'age': {error}")),
        }
    }
    recipients
}
