//! Docker configurations: who logs in to which registry, and whether with something that ends.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::{SignedDuration, Timestamp};
use portreeve_reports::Cause;
use portreeve_reports::source::{Limits, Map, Node, json};

use super::certificate::clamped;
use super::{Expiry, Nature, jwt};

/// Tokens of Amazon ECR live this long.
const ECR_LIFETIME: SignedDuration = SignedDuration::from_hours(12);

/// One login.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Login {
    /// The registry, as far as its name is one.
    pub(super) host: String,
    pub(super) kind: &'static str,
    pub(super) issued: Option<Timestamp>,
    pub(super) expires: Expiry,
    pub(super) nature: Nature,
}

/// The logins of a `.dockerconfigjson` (`is_wrapped`) or a `.dockercfg`; `None` when it is neither.
pub(super) fn logins(bytes: &[u8], is_wrapped: bool) -> Option<Vec<Login>> {
    let limits = Limits { bytes: 1 << 20, depth: 16, nodes: 50_000, documents: 1 };
    let root = json::read(bytes, &limits).ok()?;
    let hosts = if is_wrapped { root.get("auths") } else { Some(&root) };
    let hosts = match hosts {
        Some(hosts) if !hosts.is_null() => hosts.as_map()?,
        // A configuration of helpers only.
        _ => return root.as_map().map(|_| Vec::new()),
    };
    Some(hosts.iter().enumerate().filter_map(|(index, entry)| login(&entry.key, index, &entry.node)).collect())
}

fn login(key: &str, index: usize, entry: &Node) -> Option<Login> {
    let map = entry.as_map().filter(|map| !map.is_empty())?;
    let host = host(key, index);
    let Some((user, password)) = user_and_password(map) else {
        let expires = Expiry::Unknown(Cause::Unreadable, "its field 'auth' is not base64 of user and password");
        return Some(Login { host, kind: "unreadable", issued: None, expires, nature: Nature::Dated });
    };
    if user.is_empty() && password.is_empty() {
        return None;
    }
    let (kind, issued, expires, nature) = classify(&user, &password);
    Some(Login { host, kind, issued, expires, nature })
}

/// The host of `https://host/v1/`, without what a URL may hide in it.
fn host(key: &str, index: usize) -> String {
    let address = key.split_once("://").map_or(key, |(_, rest)| rest);
    let authority = address.split('/').next().unwrap_or_default();
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    super::inspect::plain_name(host).map_or_else(|| format!("#{index}"), str::to_owned)
}

/// Empty texts for an entry without a login; `None` for one that cannot be read.
fn user_and_password(map: &Map) -> Option<(String, String)> {
    let text = |key: &str| map.get(key).and_then(Node::as_str).unwrap_or_default().to_owned();
    for token in ["identitytoken", "registrytoken"] {
        if !text(token).is_empty() {
            return Some((token.to_owned(), text(token)));
        }
    }
    match text("auth") {
        auth if auth.is_empty() => Some((text("username"), text("password"))),
        auth => {
            let decoded = String::from_utf8(STANDARD.decode(auth.trim()).ok()?).ok()?;
            let (user, password) = decoded.split_once(':')?;
            Some((user.to_owned(), password.trim_end_matches('\0').to_owned()))
        }
    }
}

/// What the login is (specs: who issues what): registries of clouds take tokens that end, under names of their own.
fn classify(user: &str, password: &str) -> (&'static str, Option<Timestamp>, Expiry, Nature) {
    let hidden = |why| Expiry::Unknown(Cause::NotVisible, why);
    if user == "AWS" {
        let expires = ecr_expiry(password);
        let issued = expires.and_then(|at| at.checked_sub(ECR_LIFETIME).ok());
        let expires = expires.map_or(hidden("the token does not say when it ends"), Expiry::At);
        return ("Amazon ECR token", issued, expires, Nature::ShortLived);
    }
    if let Some(jwt) = jwt::parse(password) {
        return ("token", jwt.issued, jwt.expires, Nature::Dated);
    }
    match user {
        "oauth2accesstoken" => {
            ("Google access token", None, hidden("an access token does not say when it ends"), Nature::ShortLived)
        }
        _ if password.starts_with("ghs_") => {
            ("GitHub installation token", None, hidden("the token does not say when it ends"), Nature::ShortLived)
        }
        "_json_key" | "_json_key_base64" => ("Google service account key", None, Expiry::Never, Nature::Dated),
        _ => (static_kind(user, password), None, Expiry::Never, Nature::Dated),
    }
}

fn static_kind(user: &str, password: &str) -> &'static str {
    let starts = |prefixes: &[&str]| prefixes.iter().any(|prefix| password.starts_with(prefix));
    if starts(&["ghp_", "github_pat_"]) {
        "GitHub personal token"
    } else if starts(&["dckr_pat_"]) {
        "Docker Hub personal token"
    } else if starts(&["glpat-", "gldt-"]) {
        "GitLab token"
    } else if starts(&["AKCp"]) {
        "Artifactory API key"
    } else if user.contains('+') {
        "robot account"
    } else {
        "password"
    }
}

/// Tokens of ECR are base64 of JSON with their expiry.
fn ecr_expiry(password: &str) -> Option<Timestamp> {
    let bytes = STANDARD.decode(password).ok()?;
    let limits = Limits { bytes: 64 << 10, depth: 8, nodes: 100, documents: 1 };
    json::read(&bytes, &limits).ok()?.get("expiration")?.as_int().map(clamped)
}
