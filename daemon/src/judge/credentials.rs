//! The credentials of objects, judged: what they hold was read by whoever read the object.

use std::panic::{AssertUnwindSafe, catch_unwind};

use portreeve_policies::object::Object;
use portreeve_policies::world::{Known, World};
use portreeve_reports::finding::BuildError;
use portreeve_reports::report::Counted;
use portreeve_reports::source::Node;
use portreeve_reports::{Finding, FindingBuilder, Location, ObjectRef, Verdict};
use portreeve_secrets::credentials::rules::{self, TokenOrigin, VALIDITY};
use portreeve_secrets::credentials::{Class, Credential, Values, inspect};

use super::{Judge, JudgeOptions, Judged, Keep, MAX_KEPT};

/// The credentials of objects that were read whole: files, and objects under review.
pub fn of_objects(objects: &[Object]) -> Vec<Credential> {
    objects
        .iter()
        .flat_map(|object| {
            let holder = object.reference(object.controller.clone());
            inspect(&holder, &object.root, object.origin.file.as_ref(), Values::Read)
        })
        .collect()
}

impl Judge {
    /// Credentials at the time of `options`. None is asked about where single controls were chosen.
    pub fn credentials(&self, credentials: &[Credential], world: &World, options: &JudgeOptions) -> Judged {
        let Some(limits) = &self.rules.credentials else { return Judged::default() };
        let (mut kept, mut counted) = (Vec::new(), Counted::new());
        for (index, credential) in credentials.iter().enumerate() {
            if self.keep != Keep::Everything && kept.len() >= MAX_KEPT {
                kept.extend(not_judged(credential, credentials.len() - index));
                break;
            }
            for finding in
                guarded(credential, || rules::findings(credential, origin(credential, world), limits, options.now))
            {
                if self.keep == Keep::Open && !finding.verdict.is_open() {
                    *counted.entry((finding.code, finding.severity, finding.verdict)).or_default() += 1;
                } else {
                    kept.push(finding);
                }
            }
        }
        Judged { counted, ..self.excepted(kept, Vec::new(), options) }
    }

    /// A request for a token of a service account; `request` is the TokenRequest.
    pub fn token_request(&self, account: &ObjectRef, request: &Node, options: &JudgeOptions) -> Judged {
        let Some(limits) = &self.rules.credentials else { return Judged::default() };
        let finding = rules::token_request(account, request.get("spec"), limits);
        self.excepted(finding.into_iter().collect(), Vec::new(), options)
    }
}

/// One credential that breaks a rule is an error about that credential; the others are judged all the same.
fn guarded(credential: &Credential, judging: impl FnOnce() -> Result<Vec<Finding>, BuildError>) -> Vec<Finding> {
    match catch_unwind(AssertUnwindSafe(judging)) {
        Ok(judged) => judged.unwrap_or_else(|error| broken(credential, &error.to_string())),
        Err(_) => broken(credential, "a rule panicked over this credential"),
    }
}

/// Whether the service account of a token names the Secret, as Kubernetes before 1.24 had it.
fn origin(credential: &Credential, world: &World) -> TokenOrigin {
    let account = credential.facts.iter().find(|(name, _)| *name == "service account");
    let (Class::ServiceAccountToken, Some((_, account))) = (credential.class, account) else {
        return TokenOrigin::Unknown;
    };
    let secrets = match world.service_account(&credential.holder.namespace, account) {
        Known::Found(account) => account.get("secrets").cloned(),
        Known::Absent => None,
        Known::Hidden(_) => return TokenOrigin::Unknown,
    };
    let names = secrets.as_ref().and_then(Node::as_list).unwrap_or_default().iter();
    let is_named =
        names.filter_map(|secret| secret.get("name").and_then(Node::as_str)).any(|name| name == credential.holder.name);
    if is_named { TokenOrigin::Automatic } else { TokenOrigin::Manual }
}

/// What stands for the credentials that one report has no room for.
fn not_judged(first: &Credential, count: usize) -> Option<Finding> {
    let message = format!(
        "{count} credentials from here on are not judged: there are {MAX_KEPT} findings already; judge fewer at once"
    );
    FindingBuilder::new(VALIDITY.code(), VALIDITY.severity, Verdict::Unknown)
        .cause(portreeve_reports::Cause::TooLarge)
        .subject(first.subject())
        .location(first.place.clone())
        .message(message)
        .build()
        .ok()
}

/// A judgement that makes no finding is a bug, and says so instead of saying nothing.
fn broken(credential: &Credential, reason: &str) -> Vec<Finding> {
    let finding = FindingBuilder::new(VALIDITY.code(), VALIDITY.severity, Verdict::Error)
        .subject(credential.subject())
        .location(Location { object_path: "data".to_owned(), ..credential.place.clone() })
        .message(format!("portreeve is broken here: {reason}"));
    finding.build().into_iter().collect()
}
