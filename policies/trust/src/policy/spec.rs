//! The `spec` of an ImagePolicy as people write it. What the format has and this version does not do is refused by
//! name at its place: a condition that is dropped in silence would be a condition that is never checked.

mod attestations;
mod authorities;
mod roots;

use std::collections::BTreeSet;

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use portreeve_policies::image::Digest;
use portreeve_reports::source::{Fields, Place};

use super::pattern::{ImagePattern, NamespacePattern};
use super::{FileBytes, Mode, NoMatch, StaticAllow, tied, ties};

pub(super) use attestations::AttestationSpec;
pub(super) use authorities::{AuthoritiesSpec, AuthoritySpec, KeySpec, KeylessSpec, TrustSpec};
pub(super) use roots::{RootSource, TrustRootSpec};

/// A decoded policy, its files named but not read. One with mistakes is decoded as far as it can be, so that what
/// its files and rules say together is told with them; a policy is never built of it. See [`super::ImagePolicy::build`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImagePolicySpec {
    pub(super) file: String,
    pub(super) mode: Mode,
    pub(super) no_match: NoMatch,
    pub(super) trust_roots: Vec<TrustRootSpec>,
    pub(super) rules: Vec<RuleSpec>,
    /// Whether it has no mistakes so far.
    pub(super) is_sound: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct RuleSpec {
    pub(super) place: Place,
    /// Empty when it is missing, which is a mistake.
    pub(super) name: String,
    pub(super) images: Vec<ImagePattern>,
    pub(super) namespaces: Vec<NamespacePattern>,
    pub(super) mode: Option<Mode>,
    /// `None` after a mistake.
    pub(super) basis: Option<BasisSpec>,
    pub(super) attestations: Vec<AttestationSpec>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum BasisSpec {
    Authorities(AuthoritiesSpec),
    Allow(StaticAllow),
    Deny { reason: String },
}

/// Where bytes are that a policy goes by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Bytes {
    /// In a file beside the policy's.
    File(String),
    /// In the policy itself.
    Data(String),
}

impl Bytes {
    fn file(&self) -> Option<&str> {
        match self {
            Self::File(file) => Some(file),
            Self::Data(_) => None,
        }
    }
}

/// Most patterns of one policy, and of policies that are in force together: ties are looked for in all pairs.
pub const MAX_PATTERNS: usize = 1000;

impl ImagePolicySpec {
    /// Decodes the `spec` map. Problems go to the file's [`portreeve_reports::source::Problems`], all at once.
    pub fn decode(fields: &mut Fields<'_, '_>) -> Option<Self> {
        let before = fields.problems().list().len();
        let mode = fields.optional_parsed("mode", Mode::parse).unwrap_or(Mode::Enforce);
        let no_match = fields.optional_parsed("noMatch", NoMatch::parse).unwrap_or(NoMatch::Deny);
        let trust_roots = roots::decode(fields);
        let names: Vec<&str> = trust_roots.iter().map(|root| root.name.as_str()).collect();
        fields.required("rules");
        let rules = fields.maps("rules", |fields| decode_rule(fields, &names));
        let file = fields.problems().file().to_owned();
        let mut spec = Self { file, mode, no_match, trust_roots, rules, is_sound: true };
        spec.check_names(fields);
        spec.check_ties(fields);
        spec.is_sound = fields.problems().list().len() == before;
        Some(spec)
    }

    /// The files to read for [`super::ImagePolicy::build`], as written, relative to the policy's file.
    pub fn files(&self) -> BTreeSet<&str> {
        self.bytes().filter_map(Bytes::file).collect()
    }

    /// The files of a policy that has no file beside which they could lie (a custom resource), each as what cannot be
    /// read: it must not name files of whoever reads it.
    pub fn no_files(&self) -> FileBytes {
        let why = "a policy of the cluster has no files; write a key as 'data', a trust root as 'trustedRootData'";
        self.files().into_iter().map(|file| (file.to_owned(), Err(why.to_owned()))).collect()
    }

    fn bytes(&self) -> impl Iterator<Item = &Bytes> {
        let lists = self.rules.iter().filter_map(|rule| match &rule.basis {
            Some(BasisSpec::Authorities(authorities)) => Some(&authorities.list),
            Some(BasisSpec::Allow(_) | BasisSpec::Deny { .. }) | None => None,
        });
        let keys = lists.flatten().filter_map(|authority| match &authority.trust {
            TrustSpec::Key(key) => Some(&key.source),
            TrustSpec::Keyless(_) => None,
        });
        let roots = self.trust_roots.iter().filter_map(|root| match &root.source {
            RootSource::Bytes(bytes) => Some(bytes),
            RootSource::Embedded(_) => None,
        });
        keys.chain(roots)
    }

    /// Why the two policies cannot both be in force: rules of both could be the one that counts.
    pub fn tie_with(&self, other: &Self) -> Option<String> {
        let pairs = self.rules.iter().flat_map(|own| other.rules.iter().map(move |theirs| (own, theirs)));
        pairs.into_iter().find_map(|(own, theirs)| tied(own, theirs))
    }

    fn check_names(&self, fields: &mut Fields<'_, '_>) {
        let mut seen = BTreeSet::new();
        let named = self.rules.iter().filter(|rule| !rule.name.is_empty());
        for rule in named.filter(|rule| !seen.insert(&rule.name)) {
            fields.problem(rule.place, format!("two rules have the name '{}'", rule.name));
        }
    }

    /// Patterns over all rules: images × namespaces.
    pub fn patterns(&self) -> usize {
        self.rules.iter().map(|rule| rule.images.len() * rule.namespaces.len()).sum()
    }

    fn check_ties(&self, fields: &mut Fields<'_, '_>) {
        let patterns = self.patterns();
        if patterns.max(self.rules.len()) > MAX_PATTERNS {
            let place = fields.place();
            let message = format!("{patterns} patterns (images × namespaces); at most {MAX_PATTERNS} are read");
            return fields.problem(place, message);
        }
        for tie in ties(&self.rules) {
            fields.problem(tie.place, tie.message);
        }
    }
}

/// Asks for keys of the format that this version does not do; each that is there is a problem.
fn not_supported(fields: &mut Fields<'_, '_>, keys: &[&'static str]) {
    for key in keys {
        if let Some(node) = fields.optional(key) {
            let message = format!("'{}' is not supported yet", fields.path_of(key));
            fields.problem(node.place, message);
        }
    }
}

fn decode_rule(fields: &mut Fields<'_, '_>, roots: &[&str]) -> Option<RuleSpec> {
    decode_platforms(fields);
    let name = fields.required_str("name").map(str::to_owned);
    let images = decode_images(fields);
    let namespaces = decode_namespaces(fields);
    let mode = fields.optional_parsed("mode", Mode::parse);
    let basis = decode_basis(fields, roots);
    let authorities = match &basis {
        Some(BasisSpec::Authorities(spec)) => Some(spec.list.as_slice()),
        Some(BasisSpec::Allow(_) | BasisSpec::Deny { .. }) | None => None,
    };
    let attestations = attestations::decode(fields, authorities);
    Some(RuleSpec {
        place: fields.place(),
        name: name.unwrap_or_default(),
        images,
        namespaces,
        mode,
        basis,
        attestations,
    })
}

fn decode_platforms(fields: &mut Fields<'_, '_>) {
    fields.optional_parsed("platforms", |text| match text {
        "index" => Ok(()),
        "index-or-child" | "all-children" => Err(format!("'{text}' is not supported yet; 'index' is")),
        _ => Err(format!("'{text}' is not one of index, index-or-child, all-children")),
    });
}

fn decode_images(fields: &mut Fields<'_, '_>) -> Vec<ImagePattern> {
    fields.required("images");
    parsed_list(fields, "images", "pattern", ImagePattern::parse)
}

fn decode_namespaces(fields: &mut Fields<'_, '_>) -> Vec<NamespacePattern> {
    if fields.optional("namespaces").is_none() {
        return vec![NamespacePattern::everything()];
    }
    parsed_list(fields, "namespaces", "pattern", NamespacePattern::parse)
}

/// The items of a list, each parsed; an empty list and each item that is not understood are problems.
fn parsed_list<T, E: std::fmt::Display>(
    fields: &mut Fields<'_, '_>,
    key: &'static str,
    item_name: &str,
    parse: impl Fn(&str) -> Result<T, E>,
) -> Vec<T> {
    let path = fields.path_of(key);
    let (node, items) = (fields.optional(key), fields.optional_list(key));
    let (Some(node), Some(items)) = (node, items) else { return Vec::new() };
    if items.is_empty() {
        fields.problem(node.place, format!("'{path}' needs at least one {item_name}"));
    }
    let mut parsed = Vec::with_capacity(items.len());
    for (index, item) in items.iter().enumerate() {
        match item.as_str().map(&parse) {
            Some(Ok(value)) => parsed.push(value),
            Some(Err(error)) => fields.problem(item.place, format!("'{path}[{index}]': {error}")),
            None => fields.problem(item.place, format!("'{path}[{index}]' must be a string, not {}", item.kind_name())),
        }
    }
    parsed
}

fn decode_basis(fields: &mut Fields<'_, '_>, roots: &[&str]) -> Option<BasisSpec> {
    let (has_authorities, has_static) = (fields.optional("authorities").is_some(), fields.optional("static").is_some());
    let place = fields.place();
    match (has_authorities, has_static) {
        (true, true) => fields.problem(place, "a rule has either 'authorities' or 'static', not both"),
        (false, false) => {
            fields.problem(place, "a rule needs 'authorities' or 'static'; without either it would trust nobody");
        }
        (true, false) | (false, true) => {}
    }
    let authorities = fields.optional_map("authorities", |fields| authorities::decode(fields, roots));
    let fixed = fields.optional_map("static", decode_static);
    authorities.map(BasisSpec::Authorities).or(fixed)
}

fn decode_static(fields: &mut Fields<'_, '_>) -> Option<BasisSpec> {
    let place = fields.place();
    let (has_allow, has_deny) = (fields.optional("allow").is_some(), fields.optional("deny").is_some());
    if has_allow == has_deny {
        fields.problem(place, "'static' needs either 'allow' (a list of digests) or 'deny: true'");
    }
    match (has_allow, has_deny) {
        (true, _) => decode_allow(fields).map(BasisSpec::Allow),
        (false, true) => decode_deny(fields),
        (false, false) => {
            // They are known keys, whichever of the two was forgotten.
            for key in ["owner", "reason", "expires"] {
                fields.optional(key);
            }
            None
        }
    }
}

fn decode_allow(fields: &mut Fields<'_, '_>) -> Option<StaticAllow> {
    let digests = parsed_list(fields, "allow", "digest", Digest::parse);
    let owner = fields.required_str("owner").map(str::to_owned);
    let reason = fields.required_str("reason").map(str::to_owned);
    let expires = fields.required_parsed("expires", |text| instant(text, DayEdge::End));
    Some(StaticAllow { digests: digests.into_iter().collect(), owner: owner?, reason: reason?, expires: expires? })
}

fn decode_deny(fields: &mut Fields<'_, '_>) -> Option<BasisSpec> {
    let place = fields.place();
    if fields.optional_bool("deny") == Some(false) {
        fields.problem(place, "'deny' can only be true; leave the rule out to ask nothing");
    }
    Some(BasisSpec::Deny { reason: fields.required_str("reason")?.to_owned() })
}

/// Which end of a day a date without a time stands for.
#[derive(Clone, Copy)]
enum DayEdge {
    Start,
    End,
}

/// A date (the whole day counts, in UTC) or an RFC 3339 timestamp.
fn instant(text: &str, edge: DayEdge) -> Result<Timestamp, String> {
    if let Ok(timestamp) = text.parse::<Timestamp>() {
        return Ok(timestamp);
    }
    let wrong = || format!("'{text}' is neither a date (2027-06-30) nor a timestamp (2027-06-30T12:00:00Z)");
    let date: Date = text.parse().map_err(|_| wrong())?;
    let time = match edge {
        DayEdge::Start => date.at(0, 0, 0, 0),
        DayEdge::End => date.at(23, 59, 59, 999_999_999),
    };
    time.to_zoned(TimeZone::UTC).map(|zoned| zoned.timestamp()).map_err(|_| wrong())
}
