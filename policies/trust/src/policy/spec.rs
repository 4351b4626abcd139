//! The `spec` of an ImagePolicy as people write it. What the format has and this version does not do is refused by
//! name at its place: a condition that is dropped in silence would be a condition that is never checked.

use std::collections::BTreeSet;

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use portreeve_policies::image::Digest;
use portreeve_reports::source::{Fields, Node, Place};

use super::pattern::{ImagePattern, NamespacePattern};
use super::{KeyBytes, Mode, NoMatch, StaticAllow, tied, ties};

/// A decoded policy, its key files named but not read. One with mistakes is decoded as far as it can be, so that what
/// its keys and rules say together is told with them; a policy is never built of it. See [`super::ImagePolicy::build`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImagePolicySpec {
    pub(super) file: String,
    pub(super) mode: Mode,
    pub(super) no_match: NoMatch,
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
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum BasisSpec {
    Authorities(AuthoritiesSpec),
    Allow(StaticAllow),
    Deny { reason: String },
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct AuthoritiesSpec {
    pub(super) place: Place,
    /// `None` after a mistake.
    pub(super) threshold: Option<usize>,
    pub(super) list: Vec<AuthoritySpec>,
    /// How many are written, those with mistakes included.
    pub(super) written: usize,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct AuthoritySpec {
    /// Empty when it is missing, which is a mistake.
    pub(super) name: String,
    pub(super) required: bool,
    pub(super) key: KeySpec,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct KeySpec {
    pub(super) place: Place,
    pub(super) source: KeySource,
    pub(super) not_before: Option<Timestamp>,
    pub(super) not_after: Option<Timestamp>,
}

/// Where the bytes of a key are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum KeySource {
    /// In a file beside the policy's.
    File(String),
    /// In the policy itself, as PEM.
    Data(String),
}

/// Most patterns of one policy, and of policies that are in force together: ties are looked for in all pairs.
pub const MAX_PATTERNS: usize = 1000;

impl ImagePolicySpec {
    /// Decodes the `spec` map. Problems go to the file's [`portreeve_reports::source::Problems`], all at once.
    pub fn decode(fields: &mut Fields<'_, '_>) -> Option<Self> {
        let before = fields.problems().list().len();
        not_supported(fields, &["trustRoots"]);
        let mode = fields.optional_parsed("mode", Mode::parse).unwrap_or(Mode::Enforce);
        let no_match = fields.optional_parsed("noMatch", NoMatch::parse).unwrap_or(NoMatch::Deny);
        fields.required("rules");
        let rules = fields.maps("rules", decode_rule);
        let file = fields.problems().file().to_owned();
        let mut spec = Self { file, mode, no_match, rules, is_sound: true };
        spec.check_names(fields);
        spec.check_ties(fields);
        spec.is_sound = fields.problems().list().len() == before;
        Some(spec)
    }

    /// The key files to read for [`super::ImagePolicy::build`], as written, relative to the policy's file.
    pub fn key_files(&self) -> BTreeSet<&str> {
        self.keys().filter_map(KeySpec::file).collect()
    }

    /// The key files of a policy that has no file beside which they could lie (a custom resource), each as what cannot
    /// be read: it must not name files of whoever reads it.
    pub fn no_key_files(&self) -> KeyBytes {
        let why = "a policy of the cluster has no files; write the key as 'data'";
        self.key_files().into_iter().map(|file| (file.to_owned(), Err(why.to_owned()))).collect()
    }

    fn keys(&self) -> impl Iterator<Item = &KeySpec> {
        let lists = self.rules.iter().filter_map(|rule| match &rule.basis {
            Some(BasisSpec::Authorities(authorities)) => Some(&authorities.list),
            Some(BasisSpec::Allow(_) | BasisSpec::Deny { .. }) | None => None,
        });
        lists.flatten().map(|authority| &authority.key)
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

fn decode_rule(fields: &mut Fields<'_, '_>) -> Option<RuleSpec> {
    not_supported(fields, &["attestations"]);
    decode_platforms(fields);
    let name = fields.required_str("name").map(str::to_owned);
    let images = decode_images(fields);
    let namespaces = decode_namespaces(fields);
    let mode = fields.optional_parsed("mode", Mode::parse);
    let basis = decode_basis(fields);
    Some(RuleSpec { place: fields.place(), name: name.unwrap_or_default(), images, namespaces, mode, basis })
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

fn decode_basis(fields: &mut Fields<'_, '_>) -> Option<BasisSpec> {
    let (has_authorities, has_static) = (fields.optional("authorities").is_some(), fields.optional("static").is_some());
    let place = fields.place();
    match (has_authorities, has_static) {
        (true, true) => fields.problem(place, "a rule has either 'authorities' or 'static', not both"),
        (false, false) => {
            fields.problem(place, "a rule needs 'authorities' or 'static'; without either it would trust nobody");
        }
        (true, false) | (false, true) => {}
    }
    let authorities = fields.optional_map("authorities", decode_authorities);
    let fixed = fields.optional_map("static", decode_static);
    authorities.map(BasisSpec::Authorities).or(fixed)
}

fn decode_authorities(fields: &mut Fields<'_, '_>) -> Option<AuthoritiesSpec> {
    let place = fields.place();
    let threshold = fields.optional_int("threshold").unwrap_or(1);
    let threshold = usize::try_from(threshold).ok().filter(|threshold| *threshold > 0);
    if threshold.is_none() {
        let message = format!("'{}' must be 1 or more", fields.path_of("threshold"));
        fields.problem(place, message);
    }
    fields.required("list");
    let before = fields.problems().list().len();
    let list = fields.maps("list", decode_authority);
    if list.is_empty() && fields.problems().list().len() == before {
        let message = format!("'{}' needs at least one authority", fields.path_of("list"));
        fields.problem(place, message);
    }
    let written = fields.optional("list").and_then(Node::as_list).map_or(0, <[Node]>::len);
    let mut seen = BTreeSet::new();
    let named = list.iter().filter(|authority| !authority.name.is_empty());
    for authority in named.filter(|authority| !seen.insert(&authority.name)) {
        fields.problem(authority.key.place, format!("two authorities have the name '{}'", authority.name));
    }
    Some(AuthoritiesSpec { place, threshold, list, written })
}

fn decode_authority(fields: &mut Fields<'_, '_>) -> Option<AuthoritySpec> {
    let others = ["keyless", "certificate", "notary", "github"];
    not_supported(fields, &others);
    let name = fields.required_str("name").map(str::to_owned);
    let required = fields.optional_bool("required").unwrap_or(false);
    // An authority of another kind has been refused already: that it has no key is not a second mistake.
    if others.iter().any(|other| fields.optional(other).is_some()) && fields.optional("key").is_none() {
        return None;
    }
    fields.required("key");
    let key = fields.optional_map("key", decode_key);
    Some(AuthoritySpec { name: name.unwrap_or_default(), required, key: key? })
}

impl KeySpec {
    fn file(&self) -> Option<&str> {
        match &self.source {
            KeySource::File(file) => Some(file),
            KeySource::Data(_) => None,
        }
    }
}

fn decode_key(fields: &mut Fields<'_, '_>) -> Option<KeySpec> {
    let place = fields.place();
    let source = decode_key_source(fields);
    fields.optional_parsed("log", |text| match text {
        "optional" => Ok(()),
        "required" => Err("'required' is not supported yet; 'optional' is".to_owned()),
        _ => Err(format!("'{text}' is not one of required, optional")),
    });
    let not_before = fields.optional_parsed("notBefore", |text| instant(text, DayEdge::Start));
    let not_after = fields.optional_parsed("notAfter", |text| instant(text, DayEdge::End));
    if let (Some(before), Some(after)) = (not_before, not_after)
        && before > after
    {
        fields.problem(place, "'notAfter' is before 'notBefore'; the key would never be trusted");
    }
    Some(KeySpec { place, source: source?, not_before, not_after })
}

fn decode_key_source(fields: &mut Fields<'_, '_>) -> Option<KeySource> {
    let (has_file, has_data) = (fields.optional("file").is_some(), fields.optional("data").is_some());
    if has_file && has_data {
        let place = fields.place();
        fields.problem(place, "a key has either 'file' or 'data', not both");
    }
    if has_data && !has_file {
        return fields.required_str("data").map(|data| KeySource::Data(data.to_owned()));
    }
    fields.required_str("file").map(|file| KeySource::File(file.to_owned()))
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
