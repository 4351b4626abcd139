//! Exceptions: a failure that an owner has accepted, for a reason, until a day.
//!
//! An exception is bound to a namespace, or is a cluster exception for subjects without one. It excepts a failure
//! only when it matches it whole; two exceptions never combine to more than each allows. What is unused, expired or
//! invalid is itself found by [`Exceptions::audit`].

mod audit;
mod spec;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use jiff::Timestamp;

use crate::code::Code;
use crate::finding::{Evidence, Finding};
use crate::source::{Place, Problems};
use crate::subject::Subject;
use crate::verdict::Verdict;

pub use spec::{ExceptionSpec, Selector};

/// Exceptions beyond this number are not applied, and a finding says so.
pub const MAX_EXCEPTIONS: usize = 10_000;

/// What an exception may reach.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Scope {
    /// An `Exception`: objects of this namespace.
    Namespace(String),
    /// A `ClusterException`: objects without a namespace, images, files, credentials and components.
    Cluster,
}

impl Scope {
    /// `Exception` or `ClusterException`.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Namespace(_) => "Exception",
            Self::Cluster => "ClusterException",
        }
    }

    /// The scope that reaches a subject.
    pub fn of(subject: &Subject) -> Self {
        subject.namespace().map_or(Self::Cluster, |namespace| Self::Namespace(namespace.to_owned()))
    }
}

/// Where an exception was written: a file, or the cluster (`file` is `None`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Origin {
    /// Path relative to the repository, or as given.
    pub file: Option<Arc<str>>,
    /// Place of the document in the file.
    pub place: Place,
}

/// An exception with its name and scope.
#[derive(Clone, Debug, PartialEq)]
pub struct Exception {
    /// `metadata.name`.
    pub name: String,
    /// What it may reach.
    pub scope: Scope,
    /// What it says.
    pub spec: ExceptionSpec,
    /// Where it was written.
    pub origin: Origin,
}

impl Exception {
    /// Whether the exception, taken alone, covers this finding's question and subject. Time is not considered.
    fn matches(&self, finding: &Finding) -> bool {
        self.scope == Scope::of(&finding.subject)
            && self.spec.codes.contains(&finding.code)
            && self.spec.subjects.matches(&finding.subject)
    }
}

/// An exception that could not be understood, and so excepts nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidException {
    /// Scope and name, where those could be read.
    pub identity: Option<(Scope, String)>,
    /// Where it was written.
    pub origin: Origin,
    /// All that is wrong with it.
    pub message: String,
}

/// What is wrong, with its place.
impl std::fmt::Display for InvalidException {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // What was decoded says of each mistake where it is; the others have one place.
        match (&self.identity, &self.origin.file) {
            (Some(_), Some(file)) => write!(f, "{file}:{}: {}", self.origin.place, self.message),
            _ => f.write_str(&self.message),
        }
    }
}

impl From<Problems> for InvalidException {
    fn from(problems: Problems) -> Self {
        let place = problems.list().first().map_or_else(Place::default, |problem| problem.place);
        let origin = Origin { file: Some(problems.file().into()), place };
        Self { identity: None, origin, message: problems.to_string() }
    }
}

/// How many failures each exception covered; only meaningful with the [`Exceptions`] that counted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Usage(Vec<Uses>);

/// What one exception was needed for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Uses {
    /// Failures that it covered.
    failures: usize,
    /// Questions that could not be decided, whose failure it would cover.
    undecided: usize,
}

impl Usage {
    /// Adds the counts of another part of the same run.
    pub fn merge(&mut self, other: &Self) {
        self.0.resize(self.0.len().max(other.0.len()), Uses::default());
        for (total, uses) in self.0.iter_mut().zip(&other.0) {
            total.failures += uses.failures;
            total.undecided += uses.undecided;
        }
    }

    /// Whether each exception that the other needed is needed here too.
    pub fn covers(&self, other: &Self) -> bool {
        (0..other.0.len()).all(|index| !other.is_used(index) || self.is_used(index))
    }

    fn is_used(&self, index: usize) -> bool {
        self.0.get(index).is_some_and(|uses| uses.failures > 0)
    }

    /// Whether a question that it is about could not be decided.
    fn is_undecided(&self, index: usize) -> bool {
        self.0.get(index).is_some_and(|uses| uses.undecided > 0)
    }

    fn count(&mut self, indices: &[usize], count: impl Fn(&mut Uses)) {
        for index in indices {
            if let Some(uses) = self.0.get_mut(*index) {
                count(uses);
            }
        }
    }
}

/// All exceptions of a run, found by scope and code.
#[derive(Clone, Debug, Default)]
pub struct Exceptions {
    exceptions: Vec<Exception>,
    invalid: Vec<InvalidException>,
    index: HashMap<(Scope, Code), Vec<usize>>,
}

impl Exceptions {
    /// The exceptions of a run. One that stands twice under the same name in one file, and those beyond
    /// [`MAX_EXCEPTIONS`], become invalid.
    pub fn new(exceptions: Vec<Exception>, mut invalid: Vec<InvalidException>) -> Self {
        let mut exceptions = refuse_repeated(exceptions, &mut invalid);
        if exceptions.len() > MAX_EXCEPTIONS {
            invalid.push(beyond_the_cap(&exceptions));
            exceptions.truncate(MAX_EXCEPTIONS);
        }
        let mut index: HashMap<_, Vec<usize>> = HashMap::new();
        for (position, exception) in exceptions.iter().enumerate() {
            let codes: HashSet<&Code> = exception.spec.codes.iter().collect();
            for code in codes {
                index.entry((exception.scope.clone(), code.clone())).or_default().push(position);
            }
        }
        Self { exceptions, invalid, index }
    }

    /// Those that except nothing because of a mistake.
    pub fn invalid(&self) -> &[InvalidException] {
        &self.invalid
    }

    /// Turns each failure that an exception in force covers into `excepted`. Unknown and error are never excepted.
    /// The exception's name, owner, reason and expiry join the finding's evidence; of several that each cover it,
    /// the first is named and all count as used.
    pub fn apply(&self, mut findings: Vec<Finding>, now: Timestamp) -> (Vec<Finding>, Usage) {
        let mut usage = Usage(vec![Uses::default(); self.exceptions.len()]);
        for finding in &mut findings {
            match finding.verdict {
                Verdict::Fail => {}
                Verdict::Unknown | Verdict::Error => {
                    usage.count(&self.covering(finding, now), |uses| uses.undecided += 1);
                    continue;
                }
                _ => continue,
            }
            let covering = self.covering(finding, now);
            usage.count(&covering, |uses| uses.failures += 1);
            if let Some(first) = covering.first().and_then(|index| self.exceptions.get(*index)) {
                except(finding, first);
            }
        }
        (findings, usage)
    }

    fn covering(&self, finding: &Finding, now: Timestamp) -> Vec<usize> {
        let key = (Scope::of(&finding.subject), finding.code.clone());
        let candidates = self.index.get(&key).map_or(&[][..], Vec::as_slice);
        let covers = |index: &usize| {
            let exception = &self.exceptions[*index];
            exception.spec.is_in_force(now) && exception.matches(finding)
        };
        candidates.iter().copied().filter(covers).collect()
    }
}

fn except(finding: &mut Finding, exception: &Exception) {
    let spec = &exception.spec;
    finding.verdict = Verdict::Excepted;
    let owner = spec.owner.clone();
    finding.owner.get_or_insert_with(|| owner.clone());
    let named = [
        ("exception", exception.name.clone()),
        ("exception owner", owner),
        ("exception reason", spec.reason.clone()),
        ("exception expires", spec.expires.to_string()),
    ];
    let approved = spec.approved_by.clone().map(|approver| ("exception approved by", approver));
    let evidence = named.into_iter().chain(approved);
    finding.evidence.extend(evidence.map(|(name, value)| Evidence { name: name.to_owned(), value }));
}

fn refuse_repeated(exceptions: Vec<Exception>, invalid: &mut Vec<InvalidException>) -> Vec<Exception> {
    let mut seen = HashSet::new();
    let mut kept = Vec::with_capacity(exceptions.len());
    for exception in exceptions {
        let identity = (exception.origin.file.clone(), exception.scope.clone(), exception.name.clone());
        if seen.insert(identity) {
            kept.push(exception);
        } else {
            let message = format!("{} {} stands twice; only the first counts", exception.scope.kind(), exception.name);
            let origin = exception.origin;
            invalid.push(InvalidException { identity: Some((exception.scope, exception.name)), origin, message });
        }
    }
    kept
}

fn beyond_the_cap(exceptions: &[Exception]) -> InvalidException {
    let count = exceptions.len() - MAX_EXCEPTIONS;
    let origin = exceptions.get(MAX_EXCEPTIONS).map_or_else(Origin::default, |first| first.origin.clone());
    let message = format!("{count} exceptions beyond the limit of {MAX_EXCEPTIONS} are not applied");
    InvalidException { identity: None, origin, message }
}

#[cfg(test)]
mod tests;
