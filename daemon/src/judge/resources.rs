//! Custom resources as rules: what those of the cluster add to what files say.
//!
//! * Exceptions of files come first; one of the cluster reaches its own namespace and counts only where the
//!   configuration lets it (`customResources.exceptionNamespaces`): whoever may write it excepts failures there.
//! * Image policies are judged by together ([`ImagePolicy::together`]), files first, then the oldest. In the place of
//!   one that cannot be used, what no other rule names is denied.
//! * A `Platform` is no rule: it is read and accounted for here, and kept by its controller.
//! * One that cannot be used is told in its status and as a finding, and leaves all others as they are.

mod manifest;

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use jiff::civil::Date;
use portreeve_api::Document;
use portreeve_api::platform::{PLATFORM_INVALID, PlatformSpec};
use portreeve_reports::code::INVALID_IMAGE_POLICY;
use portreeve_reports::exceptions::{Exception, Exceptions, InvalidException, MAX_EXCEPTIONS, Origin, Scope};
use portreeve_reports::source::{Fields, Node, Problems};
use portreeve_reports::{Finding, FindingBuilder, Location, ObjectRef, Subject, Verdict};
use portreeve_trust::policy::{ImagePolicy, ImagePolicySpec, MAX_PATTERNS};

use super::Rules;
use super::explain::known_codes;
use super::load::Written;
use crate::config::valid::{Namespaces, PlatformSource};

pub use manifest::mistake;

/// Exceptions of one namespace that count: a tenant's thousands must not take the room of others'.
const MAX_PER_NAMESPACE: usize = 500;
/// Longest message of a condition or finding.
const MAX_MESSAGE: usize = 1_000;

/// The kinds of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum RuleKind {
    /// `ClusterException`
    ClusterException,
    /// `Exception`
    Exception,
    /// `ImagePolicy`
    ImagePolicy,
    /// `Platform`
    Platform,
}

impl RuleKind {
    /// The kind of that name.
    pub fn of(kind: &str) -> Option<Self> {
        let all = [Self::ClusterException, Self::Exception, Self::ImagePolicy, Self::Platform];
        all.into_iter().find(|known| known.as_str() == kind)
    }

    /// The name of the kind.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ClusterException => "ClusterException",
            Self::Exception => "Exception",
            Self::ImagePolicy => "ImagePolicy",
            Self::Platform => "Platform",
        }
    }

    /// Whether these are exceptions.
    pub fn is_exception(self) -> bool {
        matches!(self, Self::Exception | Self::ClusterException)
    }
}

/// Which resource.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ResourceId {
    /// Its kind.
    pub kind: RuleKind,
    /// Its namespace; empty for cluster-scoped kinds.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

/// A resource, read once.
#[derive(Clone, Debug, PartialEq)]
pub struct Resource {
    /// When it was made, as the API server writes it; the older one wins where two cannot both hold.
    pub created: String,
    content: Result<Content, String>,
    /// An image policy with mistakes, as far as it could be read.
    broken: Option<Arc<ImagePolicySpec>>,
}

#[derive(Clone, Debug)]
enum Content {
    Exception(Box<Exception>),
    ImagePolicy(Box<(ImagePolicySpec, ImagePolicy)>),
    Platform(Arc<PlatformSpec>),
}

/// By what was written: a built policy follows from its spec.
impl PartialEq for Content {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Exception(left), Self::Exception(right)) => left == right,
            (Self::ImagePolicy(left), Self::ImagePolicy(right)) => {
                left.0 == right.0 && left.1.digest() == right.1.digest()
            }
            (Self::Platform(left), Self::Platform(right)) => left == right,
            _ => false,
        }
    }
}

/// All resources.
pub type Resources = BTreeMap<ResourceId, Resource>;

/// Why a resource counts or does not: the closed list of reasons of the condition `Accepted`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// It is in force.
    Accepted,
    /// It has mistakes.
    Invalid,
    /// Exceptions of its namespace do not count.
    NamespaceNotAllowed,
    /// Another policy says something else about the same images.
    Conflict,
    /// There are too many.
    TooMany,
    /// The configuration names another platform, or none.
    NotNamed,
}

impl Reason {
    /// The word in the condition.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Accepted => "Accepted",
            Self::Invalid => "Invalid",
            Self::NamespaceNotAllowed => "NamespaceNotAllowed",
            Self::Conflict => "Conflict",
            Self::TooMany => "TooMany",
            Self::NotNamed => "NotNamed",
        }
    }
}

/// What is said about one resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// The reason.
    pub reason: Reason,
    /// For people.
    pub message: String,
    /// The last day of an exception that is accepted.
    pub until: Option<Date>,
}

impl Account {
    /// Whether the resource is in force.
    pub fn is_accepted(&self) -> bool {
        self.reason == Reason::Accepted
    }

    fn new(reason: Reason, message: impl Into<String>) -> Self {
        Self { reason, message: message.into(), until: None }
    }
}

/// The rules with the resources laid over, and what is said of each resource.
pub struct Laid {
    /// The rules.
    pub rules: Rules,
    /// By resource.
    pub accounts: BTreeMap<ResourceId, Account>,
}

impl Resource {
    /// Reads a resource; one with mistakes is kept with what is wrong.
    pub fn read(id: &ResourceId, created: &str, content: Result<&Node, &str>) -> Self {
        let mut broken = None;
        let reading = || content.map_err(shortened).and_then(|node| decode(id, node, &mut broken));
        // One that meets a bug of ours must not stop the others, at every start anew.
        let content = catch_unwind(AssertUnwindSafe(reading))
            .unwrap_or_else(|_| Err("portreeve panicked while reading it; this is a bug, please report it".to_owned()));
        Self { created: created.to_owned(), content, broken }
    }

    /// What a `Platform` without mistakes asks for.
    pub fn platform(&self) -> Option<Arc<PlatformSpec>> {
        match &self.content {
            Ok(Content::Platform(spec)) => Some(Arc::clone(spec)),
            _ => None,
        }
    }
}

fn decode(id: &ResourceId, node: &Node, broken: &mut Option<Arc<ImagePolicySpec>>) -> Result<Content, String> {
    let said = |problems: Problems| said(&problems);
    match portreeve_api::document(None, node, known_codes()).map_err(said)? {
        Document::Exception(exception) if id.kind.is_exception() => Ok(Content::Exception(Box::new(exception))),
        Document::ImagePolicy { node, .. } if id.kind == RuleKind::ImagePolicy => {
            let mut problems = Problems::new("");
            let spec =
                Fields::of(&node, "spec", &mut problems).and_then(|fields| fields.finish_with(ImagePolicySpec::decode));
            let Some(spec) = spec else {
                return problems.into_result(()).map_err(said).and_then(|()| Err("'spec' is missing".to_owned()));
            };
            match ImagePolicy::build(&spec, &spec.no_files(), problems) {
                Ok(policy) => Ok(Content::ImagePolicy(Box::new((spec, policy)))),
                Err(problems) => {
                    *broken = Some(Arc::new(spec));
                    Err(said(problems))
                }
            }
        }
        Document::Platform { spec, .. } if id.kind == RuleKind::Platform => {
            let mut problems = Problems::new("");
            let spec = spec.of_resource(&mut problems);
            problems.into_result(()).map_err(said)?;
            Ok(Content::Platform(Arc::new(spec)))
        }
        _ => Err(format!("it is listed as {} and says that it is something else", id.kind.as_str())),
    }
}

/// Problems in one line. An object of the API server has no lines to name.
fn said(problems: &Problems) -> String {
    let messages: Vec<&str> = problems.list().iter().map(|problem| problem.message.as_str()).collect();
    shortened(&messages.join("; "))
}

fn shortened(message: &str) -> String {
    message.chars().take(MAX_MESSAGE).collect()
}

impl Rules {
    /// These rules' files, with the resources laid over them.
    pub fn laid_over(&self, resources: &Resources, allowed: &Namespaces) -> Laid {
        let mut accounts = BTreeMap::new();
        let exceptions = exceptions(&self.written, resources, allowed, &mut accounts);
        let image_policy = image_policy(&self.written, resources, &mut accounts);
        Laid { rules: Self { exceptions, image_policy, ..self.clone() }, accounts }
    }
}

impl Laid {
    /// There may be image policies in the cluster that could not be listed. To judge by the others alone would let in
    /// what those may forbid: images that no rule names are denied.
    pub fn beside_unseen_policies(self) -> Self {
        let policies = self.rules.image_policy.into_iter().chain([ImagePolicy::unreadable()]);
        Self { rules: Rules { image_policy: ImagePolicy::together(policies), ..self.rules }, ..self }
    }
}

/// Resources of a kind, the oldest first.
fn by_age(resources: &Resources, is_wanted: impl Fn(RuleKind) -> bool) -> Vec<(&ResourceId, &Resource)> {
    let mut wanted: Vec<_> = resources.iter().filter(|(id, _)| is_wanted(id.kind)).collect();
    wanted.sort_by(|(left_id, left), (right_id, right)| (&left.created, left_id).cmp(&(&right.created, right_id)));
    wanted
}

fn exceptions(
    written: &Written,
    resources: &Resources,
    allowed: &Namespaces,
    accounts: &mut BTreeMap<ResourceId, Account>,
) -> Exceptions {
    let mut valid = written.exceptions.clone();
    let mut counted: BTreeMap<&str, usize> = BTreeMap::new();
    for (id, resource) in by_age(resources, RuleKind::is_exception) {
        let number = counted.entry(&id.namespace).or_default();
        let account = account_of_exception(id, resource, allowed, *number, valid.len());
        if let (Ok(Content::Exception(exception)), true) = (&resource.content, account.is_accepted()) {
            *number += 1;
            valid.push(Exception::clone(exception));
        }
        accounts.insert(id.clone(), account);
    }
    Exceptions::new(valid, written.invalid.clone())
}

fn account_of_exception(
    id: &ResourceId,
    resource: &Resource,
    allowed: &Namespaces,
    in_namespace: usize,
    in_all: usize,
) -> Account {
    let namespace = &id.namespace;
    match &resource.content {
        Err(message) => Account::new(Reason::Invalid, message),
        Ok(_) if id.kind == RuleKind::Exception && !allowed.contains(namespace) => Account::new(
            Reason::NamespaceNotAllowed,
            format!(
                "exceptions made in namespace {namespace} do not count: 'customResources.exceptionNamespaces' of \
                 Portreeve's configuration does not name it"
            ),
        ),
        Ok(_) if in_namespace >= MAX_PER_NAMESPACE => {
            Account::new(Reason::TooMany, format!("{MAX_PER_NAMESPACE} older exceptions of the namespace count"))
        }
        Ok(_) if in_all >= MAX_EXCEPTIONS => {
            Account::new(Reason::TooMany, format!("{MAX_EXCEPTIONS} other exceptions count"))
        }
        Ok(content) => {
            let until = if let Content::Exception(exception) = content { Some(exception.spec.expires) } else { None };
            Account { until, ..Account::new(Reason::Accepted, "it counts at every door until its last day") }
        }
    }
}

/// What is said of the platforms of the cluster, of which the configuration may name one.
pub fn platforms(resources: &Resources, named: Option<&PlatformSource>) -> BTreeMap<ResourceId, Account> {
    let of_kind = resources.iter().filter(|(id, _)| id.kind == RuleKind::Platform);
    of_kind.map(|(id, resource)| (id.clone(), account_of_platform(id, resource, named))).collect()
}

fn account_of_platform(id: &ResourceId, resource: &Resource, named: Option<&PlatformSource>) -> Account {
    let name = &id.name;
    let said = match (&resource.content, named) {
        (Err(message), _) => return Account::new(Reason::Invalid, message),
        (Ok(_), Some(PlatformSource::Resource { name, .. })) if *name == id.name => {
            return Account::new(Reason::Accepted, "it is kept as declared");
        }
        (Ok(_), Some(PlatformSource::Resource { name: other, .. })) => format!("names the Platform '{other}'"),
        (Ok(_), Some(PlatformSource::File(_))) => "names a file (platform.file), which is kept instead".to_owned(),
        (Ok(_), None) => "names no platform".to_owned(),
    };
    let what_to_do = format!("to have this one kept, set platform.resource to '{name}' and platform.folder");
    Account::new(Reason::NotNamed, format!("nothing of it is applied: Portreeve's configuration {said}; {what_to_do}"))
}

fn refused(id: &ResourceId, account: &Account) -> InvalidException {
    let identity = Some((scope(id), id.name.clone()));
    InvalidException { identity, origin: Origin::default(), message: account.message.clone() }
}

fn scope(id: &ResourceId) -> Scope {
    match id.kind {
        RuleKind::Exception => Scope::Namespace(id.namespace.clone()),
        RuleKind::ClusterException | RuleKind::ImagePolicy | RuleKind::Platform => Scope::Cluster,
    }
}

fn image_policy(
    written: &Written,
    resources: &Resources,
    accounts: &mut BTreeMap<ResourceId, Account>,
) -> Option<ImagePolicy> {
    let file = written.image_policy.as_ref();
    let mut in_force: Vec<(String, &ImagePolicySpec)> =
        file.iter().map(|(spec, _)| ("the policy of the configuration".to_owned(), spec)).collect();
    let mut policies: Vec<ImagePolicy> = file.iter().map(|(_, policy)| policy.clone()).collect();
    for (id, resource) in by_age(resources, |kind| kind == RuleKind::ImagePolicy) {
        let account = account_of_policy(resource, &in_force);
        match &resource.content {
            Ok(Content::ImagePolicy(built)) if account.is_accepted() => {
                in_force.push((format!("ImagePolicy {}", id.name), &built.0));
                policies.push(built.1.clone());
            }
            Ok(Content::ImagePolicy(built)) => policies.push(ImagePolicy::standing_in(&built.0)),
            _ => policies.push(match &resource.broken {
                Some(spec) => ImagePolicy::standing_in(spec),
                None => ImagePolicy::unreadable(),
            }),
        }
        accounts.insert(id.clone(), account);
    }
    ImagePolicy::together(policies)
}

fn account_of_policy(resource: &Resource, in_force: &[(String, &ImagePolicySpec)]) -> Account {
    let spec = match &resource.content {
        Err(message) => return Account::new(Reason::Invalid, message),
        Ok(Content::ImagePolicy(built)) => &built.0,
        Ok(_) => return Account::new(Reason::Invalid, "it is no image policy"),
    };
    let patterns: usize = in_force.iter().map(|(_, spec)| spec.patterns()).sum();
    if patterns + spec.patterns() > MAX_PATTERNS {
        let message = format!("with it, policies in force would have more than {MAX_PATTERNS} patterns");
        return Account::new(Reason::TooMany, message);
    }
    let tie = in_force.iter().find_map(|(name, other)| Some((name, other.tie_with(spec)?)));
    match tie {
        Some((name, tie)) => Account::new(Reason::Conflict, format!("{name} came first: {tie}")),
        None => Account::new(Reason::Accepted, "its rules count at every door"),
    }
}

/// The finding about a resource: decided otherwise where nothing is wrong, so that an earlier failure resolves.
pub fn finding(id: &ResourceId, account: &Account) -> Option<Finding> {
    let entry = match id.kind {
        RuleKind::ImagePolicy => INVALID_IMAGE_POLICY,
        RuleKind::Platform => PLATFORM_INVALID,
        RuleKind::Exception | RuleKind::ClusterException => {
            let refused = refused(id, account);
            return Some(if account.is_accepted() { refused.withdrawn() } else { refused.refused() });
        }
    };
    let verdict = match account.reason {
        Reason::Accepted => Verdict::Pass,
        // There is nothing in it to correct: its condition says how to have it kept.
        Reason::NotNamed => Verdict::NotApplicable,
        _ => Verdict::Fail,
    };
    FindingBuilder::new(entry.code(), entry.severity, verdict)
        .subject(subject(id))
        .location(Location::default())
        .message(account.message.clone())
        .build()
        .inspect_err(|error| tracing::error!(%error, "a finding about a custom resource was refused"))
        .ok()
}

/// The resource as a subject.
pub fn subject(id: &ResourceId) -> Subject {
    Subject::Object(ObjectRef {
        api_version: portreeve_api::API_VERSION.to_owned(),
        kind: id.kind.as_str().to_owned(),
        namespace: id.namespace.clone(),
        name: id.name.clone(),
        ..ObjectRef::default()
    })
}

#[cfg(test)]
mod tests;
