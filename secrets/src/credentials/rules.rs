//! What is asked of a credential: whether it is good now and for how long, whether it ends at all, where it is kept.
//!
//! Each credential is asked the same four questions; which code asks how long it lives is for its class to say.

use jiff::{SignedDuration, Timestamp};
use portreeve_reports::finding::BuildError;
use portreeve_reports::source::Node;
use portreeve_reports::{
    Cause, CodeEntry, Effect, Finding, FindingBuilder, Location, ObjectRef, Severity, Subject, Verdict,
};

use super::{Class, Credential, Expiry, Limits, Nature};

/// Past its expiry, or not yet valid.
pub const VALIDITY: CodeEntry = CodeEntry {
    code: "PR-4001",
    title: "credential is expired or not yet valid",
    severity: Severity::High,
    why: "What presents the credential is refused: connections fail at the moment it ends, and in all places at once.",
    fix: "Renew a credential that has expired, and have that done by what issues it (cert-manager, a credential \
          provider). For one that is not valid yet, correct the clock of what issued it, or wait for its beginning.",
};
/// Near its expiry.
pub const EXPIRING: CodeEntry = CodeEntry {
    code: "PR-4002",
    title: "credential expires soon",
    severity: Severity::Medium,
    why: "A credential that nobody renews in time ends as an outage.",
    fix: "Renew it now, and look at why it was not renewed: most issuers renew at two thirds of its life.",
};
/// A token without an end, or with a far one.
pub const LIFETIME: CodeEntry = CodeEntry {
    code: "PR-4003",
    title: "token lives too long",
    severity: Severity::High,
    why: "Whoever copies the token has it for as long as it lives; a token without an expiry is good until its key is \
          changed.",
    fix: "Issue tokens that expire within credentials.maxTokenLifetime and renew them; for Kubernetes, use projected \
          service account tokens or TokenRequest.",
};
/// A service account's token in a Secret.
pub const ACCOUNT_TOKEN: CodeEntry = CodeEntry {
    code: "PR-4004",
    title: "service account token is kept in a Secret",
    severity: Severity::High,
    why: "Such a token has no expiry and no audience, and everybody who may read Secrets in the namespace is the service \
          account.",
    fix: "Let workloads use a projected token (serviceAccountToken volume) and people `kubectl create token`, then \
          delete the Secret.",
};
/// A password of a registry.
pub const REGISTRY: CodeEntry = CodeEntry {
    code: "PR-4005",
    title: "registry credential does not expire",
    severity: Severity::Medium,
    why: "Pull secrets are copied into many namespaces and read by every workload there; a leaked one is good until \
          somebody notices.",
    fix: "Use the kubelet's credential provider, or renew a token with an expiry (ECR, Artifact Registry, ACR); allow it \
          to read only.",
};
/// A kubeconfig with something that lasts.
pub const KUBECONFIG: CodeEntry = CodeEntry {
    code: "PR-4006",
    title: "kubeconfig holds a long-lived credential",
    severity: Severity::High,
    why: "Whoever reads the file is that user of the cluster; client certificates cannot be revoked.",
    fix: "Use an exec plug-in, OIDC, or a token of TokenRequest that expires within credentials.maxTokenLifetime.",
};
/// A password.
pub const PASSWORD: CodeEntry = CodeEntry {
    code: "PR-4007",
    title: "static password",
    severity: Severity::Low,
    why: "A password does not end by itself and says nothing of who uses it.",
    fix: "Use a token that expires, or rotate the password on a schedule.",
};
/// A private key or identity that nothing protects.
pub const PRIVATE_KEY: CodeEntry = CodeEntry {
    code: "PR-4008",
    title: "private key is not protected",
    severity: Severity::Medium,
    why: "Whoever reads the value has the key, and keys of this kind do not expire.",
    fix: "Use a key that a device or a passphrase protects, or a deploy key that is rotated and allowed one thing.",
};
/// A credential in a ConfigMap.
pub const EXPOSED: CodeEntry = CodeEntry {
    code: "PR-4009",
    title: "credential is kept in a ConfigMap",
    severity: Severity::High,
    why: "ConfigMaps are not encrypted at rest, and far more people and programs may read them than Secrets.",
    fix: "Move the value to a Secret, and issue a new one: this one has been read.",
};
/// A request for a token that lives too long.
pub const TOKEN_REQUEST: CodeEntry = CodeEntry {
    code: "PR-4010",
    title: "requested token lives too long",
    severity: Severity::High,
    why: "The API server has no limit of its own: a token for ten years is issued to whoever may ask, and outlives the \
          person who asked.",
    fix: "Ask for a shorter time (kubectl create token --duration) and ask again when it ends.",
};

/// All codes of credentials.
pub const CODES: &[CodeEntry] =
    &[VALIDITY, EXPIRING, LIFETIME, ACCOUNT_TOKEN, REGISTRY, KUBECONFIG, PASSWORD, PRIVATE_KEY, EXPOSED, TOKEN_REQUEST];

/// Whether the ServiceAccount of a token's Secret names it: such were made by Kubernetes before 1.24, and its cleaner
/// deletes them when nothing uses them; all others live until somebody deletes them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenOrigin {
    /// The account names it.
    Automatic,
    /// The account does not.
    Manual,
    /// The account cannot be seen.
    Unknown,
}

/// The answer to one question.
struct Answer {
    entry: &'static CodeEntry,
    verdict: Verdict,
    cause: Option<Cause>,
    message: String,
}

impl Answer {
    fn of(entry: &'static CodeEntry, verdict: Verdict, message: impl Into<String>) -> Self {
        Self { entry, verdict, cause: None, message: message.into() }
    }

    fn failing(entry: &'static CodeEntry, fails: bool, message: impl Into<String>) -> Self {
        Self::of(entry, if fails { Verdict::Fail } else { Verdict::Pass }, message)
    }

    fn unknown(entry: &'static CodeEntry, cause: Cause, message: impl Into<String>) -> Self {
        Self { cause: Some(cause), ..Self::of(entry, Verdict::Unknown, message) }
    }
}

/// The findings about one credential at a time, of all verdicts.
pub fn findings(
    credential: &Credential,
    origin: TokenOrigin,
    limits: &Limits,
    now: Timestamp,
) -> Result<Vec<Finding>, BuildError> {
    let answers = [
        validity(credential, now),
        expiring(credential, limits, now),
        lifetime(credential, limits, now),
        exposed(credential),
    ];
    answers.into_iter().flatten().map(|answer| finding(credential, origin, answer)).collect()
}

fn validity(credential: &Credential, now: Timestamp) -> Option<Answer> {
    let what = name(credential);
    Some(match credential.expires {
        Expiry::Broken => {
            let message = "portreeve is broken here: a value of the object ended the reading of it; please report it";
            Answer::of(&VALIDITY, Verdict::Error, message)
        }
        Expiry::Unknown(cause, why) => {
            Answer::unknown(&VALIDITY, cause, format!("when {what} ends is not known: {why}"))
        }
        Expiry::At(expires) if now >= expires => {
            Answer::of(&VALIDITY, Verdict::Fail, format!("{what} expired at {}", date(expires)))
        }
        _ if credential.valid_from.is_some_and(|from| from > now) => {
            let from = date(credential.valid_from.unwrap_or(now));
            Answer::of(&VALIDITY, Verdict::Fail, format!("{what} is not valid before {from}"))
        }
        Expiry::At(expires) => Answer::of(&VALIDITY, Verdict::Pass, format!("{what} is good until {}", date(expires))),
        Expiry::Never => Answer::of(&VALIDITY, Verdict::NotApplicable, format!("{what} has no expiry")),
    })
}

fn expiring(credential: &Credential, limits: &Limits, now: Timestamp) -> Option<Answer> {
    let what = name(credential);
    let expires = match credential.expires {
        Expiry::At(expires) => expires,
        Expiry::Never => return Some(Answer::of(&EXPIRING, Verdict::NotApplicable, format!("{what} has no expiry"))),
        Expiry::Unknown(cause, why) => {
            return Some(Answer::unknown(&EXPIRING, cause, format!("when {what} ends is not known: {why}")));
        }
        Expiry::Broken => return None,
    };
    if now >= expires {
        return Some(Answer::of(&EXPIRING, Verdict::NotApplicable, format!("{what} has expired")));
    }
    let is_near = credential.warns_from(limits).is_some_and(|from| now >= from);
    let left = span(expires.duration_since(now));
    Some(Answer::failing(&EXPIRING, is_near, format!("{what} expires in {left}, at {}", date(expires))))
}

/// The code that asks how long a credential of a class lives; none for certificates of servers, which are public.
fn lifetime_code(class: Class) -> Option<&'static CodeEntry> {
    match class {
        Class::ServiceAccountToken => Some(&ACCOUNT_TOKEN),
        Class::Jwt | Class::BootstrapToken => Some(&LIFETIME),
        Class::RegistryCredential => Some(&REGISTRY),
        Class::Kubeconfig => Some(&KUBECONFIG),
        Class::BasicAuth => Some(&PASSWORD),
        Class::PrivateKey | Class::AgeIdentity => Some(&PRIVATE_KEY),
        Class::TlsCertificate | Class::TokenRequest => None,
    }
}

fn lifetime(credential: &Credential, limits: &Limits, now: Timestamp) -> Option<Answer> {
    let entry = lifetime_code(credential.class)?;
    let what = name(credential);
    let most = limits.max_token_lifetime;
    Some(match (credential.nature, &credential.expires) {
        (_, Expiry::Broken) => return None,
        (Nature::ShortLived, _) => Answer::of(entry, Verdict::Pass, format!("{what} is made to be short-lived")),
        (Nature::Guarded, _) => {
            Answer::of(entry, Verdict::Pass, format!("{what} is of no use without its passphrase or device"))
        }
        (Nature::Dated, Expiry::Never) => Answer::of(entry, Verdict::Fail, format!("{what} has no expiry")),
        (Nature::Dated, Expiry::Unknown(cause, why)) => {
            Answer::unknown(entry, *cause, format!("how long {what} lives is not known: {why}"))
        }
        (Nature::Dated, Expiry::At(_)) => {
            let lifetime = credential.lifetime(now).unwrap_or_default();
            let lives = format!("{what} lives for {}; at most {} is allowed", span(lifetime), span(most));
            Answer::failing(entry, lifetime > most, format!("{lives} (credentials.maxTokenLifetime)"))
        }
    })
}

fn exposed(credential: &Credential) -> Option<Answer> {
    let what = name(credential);
    match credential.expires {
        Expiry::Broken => return None,
        // Whether there is a credential at all is not known.
        Expiry::Unknown(cause @ Cause::TooLarge, why) => {
            return Some(Answer::unknown(&EXPOSED, cause, format!("where {what} is kept is not known: {why}")));
        }
        _ => {}
    }
    let is_exposed = credential.holder.kind == "ConfigMap";
    Some(Answer::failing(&EXPOSED, is_exposed, format!("{what} is kept in a {}", credential.holder.kind)))
}

fn finding(credential: &Credential, origin: TokenOrigin, answer: Answer) -> Result<Finding, BuildError> {
    let entry = answer.entry;
    let mut draft = FindingBuilder::new(entry.code(), entry.severity, answer.verdict)
        .effect(effect(entry))
        .subject(credential.subject())
        .related(Subject::Object(credential.holder.clone()))
        .location(credential.place.clone())
        .owner(credential.team.clone())
        .message(answer.message)
        .evidence("class", credential.class.as_str());
    for (label, value) in dates(credential) {
        draft = draft.evidence(label, value);
    }
    for (label, value) in &credential.facts {
        draft = draft.evidence(*label, value.clone());
    }
    if credential.class == Class::ServiceAccountToken {
        draft = draft.evidence("made by", made_by(origin));
    }
    match answer.cause {
        Some(cause) => draft.cause(cause).build(),
        None => draft.build(),
    }
}

fn dates(credential: &Credential) -> Vec<(&'static str, String)> {
    let expires = match credential.expires {
        Expiry::At(expires) => Some(("expires", date(expires))),
        Expiry::Never => Some(("expires", "never".to_owned())),
        Expiry::Unknown(..) | Expiry::Broken => None,
    };
    credential.issued.map(|issued| ("issued", date(issued))).into_iter().chain(expires).collect()
}

fn made_by(origin: TokenOrigin) -> &'static str {
    match origin {
        TokenOrigin::Automatic => "Kubernetes before 1.24; its cleaner deletes it once nothing uses it",
        TokenOrigin::Manual => "hand; nothing deletes it",
        TokenOrigin::Unknown => "not known: its service account cannot be seen",
    }
}

/// What cannot be avoided everywhere (pull secrets, deploy keys, our own age identity) is said and fails no gate.
fn effect(entry: &CodeEntry) -> Effect {
    match entry.code {
        code if [EXPIRING.code, REGISTRY.code, PASSWORD.code, PRIVATE_KEY.code].contains(&code) => Effect::Warn,
        _ => Effect::Block,
    }
}

fn name(credential: &Credential) -> String {
    let words = match credential.class {
        Class::ServiceAccountToken => "the service account token",
        Class::Jwt => "the JSON Web Token",
        Class::TlsCertificate => "the certificate",
        Class::RegistryCredential => "the registry credential",
        Class::Kubeconfig => "the kubeconfig's credential",
        Class::BootstrapToken => "the bootstrap token",
        Class::BasicAuth => "the password",
        Class::PrivateKey => "the private key",
        Class::AgeIdentity => "the age identity",
        Class::TokenRequest => "the requested token",
    };
    format!("{words} in {}", credential.key)
}

/// The seconds that the API server gives to tokens of Pods that ask for nothing: the kubelet asks for them all the time.
const KUBELET_SECONDS: i64 = 3_607;
/// What the API server takes when a request names no time.
const DEFAULT_SECONDS: i64 = 3_600;

/// The finding about a TokenRequest for a service account: `spec` is the request's.
pub fn token_request(account: &ObjectRef, spec: Option<&Node>, limits: &Limits) -> Result<Finding, BuildError> {
    let field = |name: &str| spec.and_then(|spec| spec.get(name)).filter(|node| !node.is_null());
    let asked = field("expirationSeconds").map_or(Some(DEFAULT_SECONDS), Node::as_int);
    let bound_to = field("boundObjectRef").and_then(|reference| reference.get("kind")?.as_str());
    let most = limits.max_token_lifetime;
    let of_pod = bound_to == Some("Pod") && asked == Some(KUBELET_SECONDS);
    let (verdict, message) = match asked {
        None => (Verdict::Unknown, "spec.expirationSeconds is no whole number".to_owned()),
        Some(seconds) => {
            let fails = SignedDuration::from_secs(seconds) > most && !of_pod;
            let asked = exact(seconds);
            let verdict = if fails { Verdict::Fail } else { Verdict::Pass };
            let message = format!(
                "a token for {asked} is asked for; at most {} is allowed (credentials.maxTokenLifetime)",
                exact(most.as_secs())
            );
            (verdict, message)
        }
    };
    let subject = Subject::Credential {
        class: Class::TokenRequest.as_str().to_owned(),
        holder: account.display(),
        key: "token".to_owned(),
    };
    let path = Location { object_path: "spec.expirationSeconds".to_owned(), ..Location::default() };
    let draft = FindingBuilder::new(TOKEN_REQUEST.code(), TOKEN_REQUEST.severity, verdict)
        .subject(subject)
        .related(Subject::Object(account.clone()))
        .location(path)
        .message(message)
        .evidence("bound to", bound_kind(bound_to));
    if verdict == Verdict::Unknown { draft.cause(Cause::Unreadable).build() } else { draft.build() }
}

fn bound_kind(kind: Option<&str>) -> &'static str {
    match kind {
        Some("Pod") => "Pod",
        Some("Secret") => "Secret",
        Some("Node") => "Node",
        Some(_) => "another kind",
        None => "nothing",
    }
}

/// A time to the second. The end of the calendar is the date that X.509 has for what has no end.
fn date(time: Timestamp) -> String {
    if time.as_second() == Timestamp::MAX.as_second() {
        return "9999-12-31T23:59:59Z".to_owned();
    }
    Timestamp::from_second(time.as_second()).unwrap_or(time).to_string()
}

/// A duration to the second: what is more than a limit does not look like it.
fn exact(seconds: i64) -> String {
    let sign = if seconds < 0 { "-" } else { "" };
    let seconds = seconds.unsigned_abs();
    // A day is the most that is told in hours.
    let days = if seconds < 2 * 86_400 { 0 } else { seconds / 86_400 };
    let rest = seconds - days * 86_400;
    let units = [(days, " days"), (rest / 3_600, "h"), (rest / 60 % 60, "m"), (rest % 60, "s")];
    let parts: Vec<_> =
        units.iter().filter(|(count, _)| *count > 0).map(|(count, unit)| format!("{count}{unit}")).collect();
    if parts.is_empty() { "0s".to_owned() } else { format!("{sign}{}", parts.join(" ")) }
}

/// A duration in its two largest units.
fn span(duration: SignedDuration) -> String {
    let seconds = duration.as_secs();
    let sign = if seconds < 0 { "-" } else { "" };
    let seconds = seconds.unsigned_abs();
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3_600 % 24, seconds / 60 % 60);
    let text = match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds}s"),
        (0, 0, minutes) if seconds.is_multiple_of(60) => format!("{minutes}m"),
        (0, 0, minutes) => format!("{minutes}m{}s", seconds % 60),
        (0, hours, 0) => format!("{hours}h"),
        (0, hours, minutes) => format!("{hours}h{minutes}m"),
        (1, 0, 0) => "24h".to_owned(),
        (days, 0, _) => format!("{days} days"),
        (days, hours, _) => format!("{days} days {hours}h"),
    };
    format!("{sign}{text}")
}
