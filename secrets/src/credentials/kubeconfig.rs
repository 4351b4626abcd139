//! Kubeconfigs: users with a token, a password or a certificate of their own.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use portreeve_reports::Cause;
use portreeve_reports::source::{Limits, Node, yaml};

use super::{Expiry, certificate, jwt};

/// What one user has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Login {
    /// `users[ci].token`
    pub(super) path: String,
    pub(super) kind: &'static str,
    pub(super) issued: Option<Timestamp>,
    pub(super) valid_from: Option<Timestamp>,
    pub(super) expires: Expiry,
}

/// The logins of a kubeconfig; `None` when the text is none. A user that runs a program or reads a file has none here.
pub(super) fn logins(text: &str) -> Option<Vec<Login>> {
    // Cheap to say no: most texts are not.
    let has = |word: &&str| text.contains(word);
    let is_likely = FRAME.iter().any(has);
    if !(text.contains("users") && (is_likely || HOLDING.iter().any(has))) {
        return None;
    }
    let limits = Limits { bytes: 1 << 20, depth: 32, nodes: 100_000, documents: 1 };
    let root = match yaml::read(text.as_bytes(), &limits).into_iter().next()? {
        Ok(root) => root,
        Err(error) => {
            return (is_likely && error.cause == Cause::TooLarge).then(|| vec![too_large()]);
        }
    };
    // Clients read one without a kind, and without clusters, too.
    let kind = root.get("kind").filter(|kind| !kind.is_null());
    if kind.is_some_and(|kind| kind.as_str() != Some("Config")) {
        return None;
    }
    let users = root.get("users")?.as_list()?;
    let logins: Vec<_> = users.iter().enumerate().flat_map(|(index, user)| of_user(index, user)).collect();
    (kind.is_some() || !logins.is_empty()).then_some(logins)
}

/// What most of them have.
const FRAME: [&str; 3] = ["clusters", "contexts", "Config"];
/// The fields of a user that hold something.
const HOLDING: [&str; 4] = ["token", "password", "client-certificate-data", "client-key-data"];

/// What stands for the users of a text that may be a kubeconfig.
fn too_large() -> Login {
    let expires = Expiry::Unknown(Cause::TooLarge, "the value has more in it than is looked at");
    Login { path: "users".to_owned(), kind: "not looked at", issued: None, valid_from: None, expires }
}

fn of_user(index: usize, entry: &Node) -> Vec<Login> {
    let Some(user) = entry.get("user") else { return Vec::new() };
    let name = entry.get("name").and_then(Node::as_str).and_then(super::inspect::plain_name);
    let path = |field: &str| format!("users[{}].{field}", name.map_or_else(|| index.to_string(), str::to_owned));
    let text = |field: &str| user.get(field).and_then(Node::as_str).filter(|text| !text.is_empty());
    let token = text("token").map(|token| of_token(path("token"), token));
    let password = text("password").map(|_| Login {
        path: path("password"),
        kind: "password",
        issued: None,
        valid_from: None,
        expires: Expiry::Never,
    });
    let certificate = text("client-certificate-data").map(|data| of_certificate(path("client-certificate-data"), data));
    let key = text("client-key-data").filter(|_| certificate.is_none()).map(|_| Login {
        path: path("client-key-data"),
        kind: "client key",
        issued: None,
        valid_from: None,
        expires: Expiry::Unknown(Cause::NotVisible, "its certificate is in another file"),
    });
    token.into_iter().chain(password).chain(certificate).chain(key).collect()
}

fn of_token(path: String, token: &str) -> Login {
    match jwt::parse(token) {
        Some(jwt) => {
            Login { path, kind: "token", issued: jwt.issued, valid_from: jwt.valid_from, expires: jwt.expires }
        }
        None => Login { path, kind: "token", issued: None, valid_from: None, expires: Expiry::Never },
    }
}

fn of_certificate(path: String, data: &str) -> Login {
    let unreadable = Expiry::Unknown(Cause::Unreadable, "its certificate is not base64 of PEM");
    let chain = STANDARD.decode(data.trim()).ok().map(|pem| certificate::chain(&pem));
    let (valid_from, expires) = chain.map_or((None, unreadable), |chain| (chain.valid_from, chain.expires));
    Login { path, kind: "client certificate", issued: valid_from, valid_from, expires }
}
