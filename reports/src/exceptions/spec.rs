//! The `spec` of an `Exception` or a `ClusterException`: one schema for file and custom resource.

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;

use crate::code::{Code, KnownCodes};
use crate::source::{Fields, Node, Problems};
use crate::subject::{ObjectRef, Subject};

/// What an exception says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExceptionSpec {
    /// The questions whose failures are accepted; never empty.
    pub codes: Vec<Code>,
    /// The subjects it is for.
    pub subjects: Selector,
    /// Team that answers for it.
    pub owner: String,
    /// Who approved it.
    pub approved_by: Option<String>,
    /// Why the failure is accepted.
    pub reason: String,
    /// Last day on which it is in force, in UTC.
    pub expires: Date,
}

impl ExceptionSpec {
    /// Decodes the `spec` map; everything that is wrong with it becomes a problem. A code that is not `known` is a
    /// mistake: an exception for it would never be needed, and never be missed.
    pub fn decode(spec: &Node, known: &KnownCodes, problems: &mut Problems) -> Option<Self> {
        Fields::of(spec, "spec", problems)?.finish_with(|fields| {
            let codes = decode_codes(fields, known);
            let subjects = decode_subjects(spec, fields);
            let owner = fields.required_parsed("owner", parse_text);
            let approved_by = fields.optional_parsed("approvedBy", parse_text);
            let reason = fields.required_parsed("reason", parse_text);
            let expires = fields.required_parsed("expires", parse_day);
            Some(Self {
                codes: codes?,
                subjects: subjects?,
                owner: owner?,
                approved_by,
                reason: reason?,
                expires: expires?,
            })
        })
    }

    /// Whether the exception has not expired: it is in force through the end of its last day in UTC.
    pub fn is_in_force(&self, now: Timestamp) -> bool {
        now.to_zoned(TimeZone::UTC).date() <= self.expires
    }
}

/// The subjects of an exception. Each list that is there must contain the subject's word exactly.
///
/// Objects match by kind and name, both their own or both their owner's (a Pod of a Deployment is excepted as the
/// Deployment). Other subjects have the kinds `Image`, `File`, `Credential` and `Component`, and as name the
/// repository, the path, the holder, and `platform/component`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selector {
    /// Kinds; `None` for any.
    pub kinds: Option<Vec<String>>,
    /// Names; `None` for any.
    pub names: Option<Vec<String>>,
    /// Containers; `None` for any, and for findings that are not about a container.
    pub containers: Option<Vec<String>>,
}

impl Selector {
    /// Whether the whole selector holds for the subject.
    pub fn matches(&self, subject: &Subject) -> bool {
        let container = match &self.containers {
            Some(containers) => subject.container().is_some_and(|name| contains(containers, name)),
            None => true,
        };
        container && self.matches_identity(subject)
    }

    fn matches_identity(&self, subject: &Subject) -> bool {
        match subject {
            Subject::Object(object) => self.matches_object(object),
            Subject::Image { repository, .. } => self.matches_pair("Image", repository),
            Subject::File { path } => self.matches_pair("File", path),
            Subject::Credential { holder, .. } => self.matches_pair("Credential", holder),
            Subject::Component { platform, component } => {
                self.matches_pair("Component", &format!("{platform}/{component}"))
            }
        }
    }

    fn matches_object(&self, object: &ObjectRef) -> bool {
        let owner = object.owner.as_ref();
        self.matches_pair(&object.kind, &object.name)
            || owner.is_some_and(|owner| self.matches_pair(&owner.kind, &owner.name))
    }

    fn matches_pair(&self, kind: &str, name: &str) -> bool {
        let allowed = |words: &Option<Vec<String>>, word| words.as_ref().is_none_or(|words| contains(words, word));
        allowed(&self.kinds, kind) && allowed(&self.names, name)
    }
}

fn contains(words: &[String], word: &str) -> bool {
    words.iter().any(|candidate| candidate == word)
}

/// A text of blanks.
#[derive(Debug, thiserror::Error)]
#[error("must say something")]
struct BlankText;

fn parse_text(text: &str) -> Result<String, BlankText> {
    if text.trim().is_empty() { Err(BlankText) } else { Ok(text.to_owned()) }
}

fn decode_codes(fields: &mut Fields<'_, '_>, known: &KnownCodes) -> Option<Vec<Code>> {
    let node = fields.required("codes")?;
    let words = fields.optional_strings("codes")?;
    if words.is_empty() {
        let message = format!("'{}' must name at least one code", fields.path_of("codes"));
        fields.problem(node.place, message);
        return None;
    }
    let mut codes = Vec::with_capacity(words.len());
    for (index, word) in words.iter().enumerate() {
        let checked = match Code::parse(word) {
            Ok(code) => known.check(&code).map(|()| codes.push(code)).map_err(|error| error.to_string()),
            Err(error) => Err(error.to_string()),
        };
        if let Err(error) = checked {
            let place = node.as_list().and_then(|items| items.get(index)).map_or(node.place, |item| item.place);
            let message = format!("'{}[{index}]': {error}", fields.path_of("codes"));
            fields.problem(place, message);
        }
    }
    (codes.len() == words.len()).then_some(codes)
}

/// A selector key without a value would silently widen the exception to everything, so it is refused.
fn decode_subjects(spec: &Node, fields: &mut Fields<'_, '_>) -> Option<Selector> {
    let Some(node) = spec.get("subjects") else {
        fields.optional("subjects");
        return Some(Selector::default());
    };
    if node.is_null() {
        fields.optional("subjects");
        fields.problem(node.place, "'spec.subjects' has no value; leave it out to except any subject");
        return None;
    }
    fields.optional_map("subjects", |fields| {
        let kinds = selector_list(node, fields, "kinds");
        let names = selector_list(node, fields, "names");
        let containers = selector_list(node, fields, "containers");
        Some(Selector { kinds: kinds?, names: names?, containers: containers? })
    })
}

/// `None` for a list with a problem, `Some(None)` for one that is not there.
fn selector_list(map: &Node, fields: &mut Fields<'_, '_>, key: &'static str) -> Option<Option<Vec<String>>> {
    let words = fields.optional_strings(key);
    let Some(node) = map.get(key) else { return Some(None) };
    let length = node.as_list().map_or(0, <[Node]>::len);
    if node.is_null() || node.as_list().is_some_and(<[Node]>::is_empty) {
        let message = format!("'{}' is empty; leave it out to except any", fields.path_of(key));
        fields.problem(node.place, message);
        return None;
    }
    words.filter(|words| words.len() == length).map(|words| Some(words.into_iter().map(str::to_owned).collect()))
}

/// A day that is not written `YYYY-MM-DD`.
#[derive(Debug, thiserror::Error)]
#[error("'{0}' is not a day: days read 2027-01-31")]
struct InvalidDay(String);

/// jiff alone would also take a date with a time of day, and drop the time.
fn parse_day(text: &str) -> Result<Date, InvalidDay> {
    let invalid = || InvalidDay(text.to_owned());
    if text.len() != 10 {
        return Err(invalid());
    }
    text.parse().map_err(|_| invalid())
}
