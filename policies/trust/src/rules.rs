//! From a judgement to findings: the four questions asked of every image, each answered every time.

use std::collections::BTreeMap;

use portreeve_policies::facts::ImageFact;
use portreeve_policies::image::{Digest, Repository};
use portreeve_reports::finding::BuildError;
use portreeve_reports::{
    Cause, CodeEntry, Evidence, Finding, FindingBuilder, Fingerprint, Fix, Location, ObjectRef, Severity, Subject,
    Verdict,
};

use crate::verify::ImageJudgement;

/// Whether there is a signature at all.
pub const SIGNED: CodeEntry = CodeEntry {
    code: "PR-1001",
    title: "image is signed",
    severity: Severity::High,
    why: "Nobody vouches for an unsigned image: whoever can write to the registry, or answer in its place, chooses what \
          runs in the cluster.",
    fix: "Sign the image by its digest where it is built (cosign sign --key KEY IMAGE@DIGEST), or have its digest \
          allowed in the image policy, with an owner, a reason and an expiry.",
};
/// Whether it is by somebody whom the policy trusts.
pub const TRUSTED: CodeEntry = CodeEntry {
    code: "PR-1002",
    title: "image is signed by whom the policy trusts",
    severity: Severity::Critical,
    why: "The image carries a signature that none of the policy's authorities made over this digest: a stranger's, a \
          damaged one, or one moved here from another image.",
    fix: "Find out who signed the image. If the signer should be trusted, add the key or the identity to the rule that \
          names the image; if not, replace the image.",
};
/// Whether it is what the policy lets run.
pub const ALLOWED: CodeEntry = CodeEntry {
    code: "PR-1003",
    title: "image is as the policy wants it",
    severity: Severity::High,
    why: "The image policy denies this image: a rule says so, its digest is not among those allowed, or no rule names \
          its repository.",
    fix: "Use an image that the policy allows, or have a rule for this one added to the policy.",
};

/// Whether what must be attested of it is.
pub const ATTESTED: CodeEntry = CodeEntry {
    code: "PR-1004",
    title: "image has the attestations that the policy wants",
    severity: Severity::High,
    why: "The image is signed, and a statement that the policy wants about it (where it was built, what is in it, what is \
          known to be wrong with it) is missing, too old, by somebody else, or says something else.",
    fix: "Have the statement made and signed where the image is built (cosign attest --type TYPE --predicate FILE \
          IMAGE@DIGEST) by an authority that the rule names, or correct the rule.",
};

/// All codes of this crate.
pub const CODES: &[CodeEntry] = &[SIGNED, TRUSTED, ALLOWED, ATTESTED];

/// The questions that every image policy asks.
pub const ALWAYS_ASKED: &[CodeEntry] = &[SIGNED, TRUSTED, ALLOWED];

/// Most pieces of evidence, and most objects, told in one finding; what is left out is counted.
const MAX_TOLD: usize = 200;

/// An image as something uses it.
#[derive(Clone, Debug)]
pub struct ImageUse {
    /// The reference as written.
    pub reference: String,
    /// Its repository.
    pub repository: Repository,
    /// The digest that was judged, where one is known.
    pub digest: Option<Digest>,
    /// The objects (with their containers) that use it.
    pub objects: Vec<ObjectRef>,
    /// Where the references stand; never none.
    pub locations: Vec<Location>,
    /// Places that are left out of those.
    pub untold: usize,
}

/// The four findings about an image, in the order of [`CODES`].
pub fn findings(image: &ImageUse, judgement: &ImageJudgement) -> Result<Vec<Finding>, BuildError> {
    let (fact, demands) = (judgement.fact(), judgement.demands_attestations);
    // What is not known is no better known for what nobody asked.
    let asked = if demands || !matches!(fact, ImageFact::Unknown(..)) { CODES } else { ALWAYS_ASKED };
    asked.iter().zip(answers(&fact, demands)).map(|(entry, answer)| finding(entry, answer, image, judgement)).collect()
}

/// The verdicts of the four questions: signed, trusted, allowed, attested. A question behind one that failed does not
/// apply, nor does one that the rule does not ask.
fn answers(fact: &ImageFact, demands_attestations: bool) -> [(Verdict, Option<Cause>); 4] {
    use Verdict::{Fail, NotApplicable, Pass, Unknown};
    let verdicts = match fact {
        ImageFact::Verified { .. } if demands_attestations => [Pass, Pass, Pass, Pass],
        ImageFact::Verified { .. } => [Pass, Pass, Pass, NotApplicable],
        ImageFact::Unsigned => [Fail, NotApplicable, NotApplicable, NotApplicable],
        ImageFact::Untrusted(_) => [Pass, Fail, NotApplicable, NotApplicable],
        ImageFact::Mismatch(_) => [NotApplicable, NotApplicable, Fail, NotApplicable],
        ImageFact::Unattested(_) => [Pass, Pass, Pass, Fail],
        ImageFact::NotAsked(_) => [NotApplicable; 4],
        ImageFact::Unknown(cause, _) => return [(Unknown, Some(*cause)); 4],
    };
    verdicts.map(|verdict| (verdict, None))
}

fn finding(
    entry: &CodeEntry,
    (verdict, cause): (Verdict, Option<Cause>),
    image: &ImageUse,
    judgement: &ImageJudgement,
) -> Result<Finding, BuildError> {
    let subject = Subject::Image {
        repository: image.repository.to_string(),
        reference: image.reference.clone(),
        digest: image.digest.as_ref().map(Digest::to_string),
    };
    let mut builder = FindingBuilder::new(entry.code(), entry.severity, verdict)
        .subject(subject)
        .effect(judgement.effect)
        .message(message(entry, verdict, image, judgement));
    for place in &image.locations {
        builder = builder.location(place.clone());
    }
    for Evidence { name, value } in evidence(image, judgement) {
        builder = builder.evidence(name, value);
    }
    if image.untold > 0 {
        builder = builder.evidence("uses not told", image.untold.to_string());
    }
    if let Some(cause) = cause {
        builder = builder.cause(cause);
    }
    if matches!(verdict, Verdict::Fail | Verdict::Unknown) {
        builder = builder.fix(Fix { commands: commands(image, &judgement.fact()), ..Fix::default() });
    }
    for object in image.objects.iter().take(MAX_TOLD) {
        builder = builder.related(Subject::Object(object.clone()));
    }
    builder.build()
}

fn message(entry: &CodeEntry, verdict: Verdict, image: &ImageUse, judgement: &ImageJudgement) -> String {
    let ImageUse { reference, .. } = image;
    if entry.code == ATTESTED.code && !judgement.demands_attestations {
        return format!("nothing has to be attested of {reference}");
    }
    match (verdict, &judgement.fact()) {
        (Verdict::Fail, ImageFact::Unsigned) => format!("{reference} is not signed"),
        (Verdict::Fail, ImageFact::Untrusted(reasons)) => {
            format!("{reference} is signed, and not by whom the policy trusts: {}", first_of(reasons))
        }
        (Verdict::Fail, ImageFact::Unattested(reasons)) => {
            format!("{reference} is not attested as the policy wants: {}", first_of(reasons))
        }
        (Verdict::Fail, ImageFact::Mismatch(why)) => format!("{reference} is against the image policy: {why}"),
        (Verdict::Unknown, ImageFact::Unknown(_, why)) => format!("{reference} could not be verified: {why}"),
        (_, ImageFact::Verified { authorities, .. }) => {
            format!("{reference} is vouched for by {}", authorities.join(", "))
        }
        (_, ImageFact::NotAsked(why)) => format!("nothing is asked of {reference}: {why}"),
        (Verdict::Pass, _) => format!("{reference}: {}", entry.title),
        _ => format!("{reference}: not asked, another answer comes first"),
    }
}

fn first_of(reasons: &[String]) -> String {
    let first = reasons.first().map(String::as_str).unwrap_or_default();
    match reasons.len() {
        0 | 1 => first.to_owned(),
        count => format!("{first} (and {} more)", count - 1),
    }
}

/// What was seen: the rule, the digest, and every place looked at with what was there.
pub fn evidence(image: &ImageUse, judgement: &ImageJudgement) -> Vec<Evidence> {
    let told = |name: &str, value: String| Evidence { name: name.into(), value };
    let mut evidence = vec![told("reference", image.reference.clone())];
    evidence.extend(image.digest.iter().map(|digest| told("digest", digest.to_string())));
    evidence.extend(judgement.rule.iter().map(|rule| told("rule", rule.clone())));
    if let Some(verified) = judgement.verified() {
        evidence.extend(verified.authorities().iter().map(|authority| told("authority", authority.clone())));
        evidence.extend(verified.attestations().iter().map(|attestation| told("attestation", attestation.clone())));
    }
    for entry in judgement.accounted.iter().take(MAX_TOLD) {
        let notes: String = entry.notes.iter().map(|note| format!("; {note}")).collect();
        evidence.push(told(&entry.place.to_string(), format!("{}{notes}", entry.outcome)));
    }
    let untold = judgement.accounted.len().saturating_sub(MAX_TOLD);
    evidence.extend((untold > 0).then(|| told("places not told", untold.to_string())));
    evidence.extend(judgement.notes.iter().map(|note| told("note", note.clone())));
    evidence
}

fn commands(image: &ImageUse, fact: &ImageFact) -> Vec<String> {
    let pinned = match &image.digest {
        Some(digest) => format!("{}@{digest}", image.repository),
        None => image.reference.clone(),
    };
    match fact {
        ImageFact::Unsigned => {
            vec![format!("portreeve image sign {pinned} --key KEY"), format!("cosign sign --key KEY {pinned}")]
        }
        ImageFact::Unattested(_) => vec![format!("cosign tree {pinned}")],
        ImageFact::Untrusted(_) | ImageFact::Unknown(..) => {
            vec![format!("portreeve verify {pinned} --image-policy FILE")]
        }
        ImageFact::Mismatch(_) | ImageFact::NotAsked(_) | ImageFact::Verified { .. } => Vec::new(),
    }
}

/// Joins the findings of several references of one repository, which share a fingerprint: the worst verdict counts,
/// and the evidence names every reference with its own. The order of the groups does not matter.
pub fn merge(groups: Vec<Vec<Finding>>) -> Vec<Finding> {
    let mut by_identity: BTreeMap<(String, Fingerprint), Vec<Finding>> = BTreeMap::new();
    for finding in groups.into_iter().flatten() {
        let identity = (finding.code.to_string(), finding.fingerprint.clone());
        by_identity.entry(identity).or_default().push(finding);
    }
    by_identity.into_values().filter_map(merge_same).collect()
}

fn merge_same(mut same: Vec<Finding>) -> Option<Finding> {
    // Subject, user and place come last: among equals, which finding is shown must not depend on the door.
    same.sort_by(|left, right| {
        let key = |finding: &Finding| (finding.verdict.rank(), std::cmp::Reverse(finding.effect));
        let use_of = |finding: &Finding| (finding.related.first().cloned(), finding.locations.first().cloned());
        let subjects = key(left).cmp(&key(right)).then_with(|| left.subject.cmp(&right.subject));
        subjects.then_with(|| use_of(left).cmp(&use_of(right)))
    });
    let mut rest = same.into_iter();
    let mut worst = rest.next()?;
    let mut untold = 0;
    for other in rest {
        let as_bad = other.verdict == worst.verdict;
        let summary = format!("{} ({})", other.subject.display(), other.verdict);
        let summary = vec![Evidence { name: "reference".into(), value: summary }];
        untold += extend_new(&mut worst.evidence, if as_bad { other.evidence } else { summary });
        untold += extend_new(&mut worst.locations, other.locations);
        untold += extend_new(&mut worst.related, other.related);
        extend_new(&mut worst.fix.commands, if as_bad { other.fix.commands } else { Vec::new() });
    }
    if untold > 0 {
        worst.evidence.push(Evidence { name: "not told".into(), value: format!("{untold} more") });
    }
    Some(worst)
}

/// Appends what is not there yet while there are fewer than [`MAX_TOLD`]; the number left out.
fn extend_new<T: PartialEq>(list: &mut Vec<T>, new: Vec<T>) -> usize {
    let mut untold = 0;
    for item in new {
        if list.contains(&item) {
            continue;
        }
        if list.len() < MAX_TOLD { list.push(item) } else { untold += 1 }
    }
    untold
}

#[cfg(test)]
mod tests;
