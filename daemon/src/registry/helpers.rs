//! Docker's credential helpers: `docker-credential-NAME get`, asked with the server on standard input. The protocol is
//! that of docker-credential-helpers.

use std::fmt;
use std::path::Path;

use portreeve_reports::Cause;
use serde::Deserialize;

use super::credentials::Credentials;
use super::failure::Failure;
use crate::runtime::programs::{self, Question, Unanswered};

/// The name under which docker keeps what is Docker Hub's.
const HUB_SERVER: &str = "https://index.docker.io/v1/";
/// What a helper says, with an exit status that is not 0, when it has nothing.
const NOTHING: &str = "credentials not found in native keychain";
/// The user name that says that the secret is an identity token.
const TOKEN: &str = "<token>";

/// The name of a credential helper: lower-case letters, digits and dashes, so that it is a name in a folder of the
/// `PATH` and nothing else.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct HelperName(String);

/// A text that names no helper.
#[derive(Debug, thiserror::Error)]
#[error(
    "'{0}' names no credential helper: NAME of docker-credential-NAME has lower-case letters, digits and dashes, at most 64"
)]
pub struct NoHelperName(String);

impl HelperName {
    /// Reads the name, without `docker-credential-`.
    pub fn parse(text: &str) -> Result<Self, NoHelperName> {
        let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        if text.is_empty() || text.len() > 64 || !text.bytes().all(is_plain) {
            return Err(NoHelperName(text.chars().filter(|c| !c.is_control()).take(64).collect()));
        }
        Ok(Self(text.to_owned()))
    }
}

/// The name of the program.
impl fmt::Display for HelperName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "docker-credential-{}", self.0)
    }
}

/// The server of a host, as docker asks helpers for it.
pub(super) fn server(host: &str) -> &str {
    if host == "docker.io" { HUB_SERVER } else { host }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Told {
    #[serde(default)]
    username: String,
    #[serde(default)]
    secret: String,
}

/// Asks a helper; `None`: it has nothing.
pub(super) async fn ask(program: &Path, name: &HelperName, server: &str) -> Result<Option<Credentials>, Failure> {
    let question = Question { program, arguments: &["get".to_owned()], environment: &[], input: server.as_bytes() };
    let answer = programs::ask(&question).await.map_err(|error| unanswered(name, &error))?;
    if !answer.status.success() {
        let has_nothing = answer.output.trim_ascii() == NOTHING.as_bytes();
        return if has_nothing { Ok(None) } else { Err(failed(name, server, &answer.status)) };
    }
    // The parser's message could quote the secret, so it is left out.
    let told: Told = serde_json::from_slice(&answer.output)
        .map_err(|_| Failure::unreadable(format!("{name} answered with something else than the JSON of a helper")))?;
    Ok(credentials(told))
}

fn credentials(told: Told) -> Option<Credentials> {
    match told.username.as_str() {
        _ if told.secret.is_empty() => None,
        TOKEN => Some(Credentials::IdentityToken { token: told.secret.into(), password: None }),
        _ => Some(Credentials::Basic { username: told.username, password: told.secret.into() }),
    }
}

/// Why a program of credentials has not answered.
pub(super) fn unanswered(name: &dyn fmt::Display, error: &Unanswered) -> Failure {
    let cause = match error {
        Unanswered::NotRun(_) => Cause::Forbidden,
        Unanswered::TimedOut => Cause::TimedOut,
        Unanswered::TooLarge => Cause::TooLarge,
    };
    Failure::new(cause, format!("{name} was asked for credentials: {error}"))
}

fn failed(name: &HelperName, server: &str, status: &std::process::ExitStatus) -> Failure {
    let message = format!(
        "{name} was asked for the credentials of {server} and failed ({status}); what it says is not shown, since it may \
         be a secret: run `echo {server} | {name} get` to see it"
    );
    Failure::new(Cause::Forbidden, message)
}
