//! JSON Web Tokens, by their structure: three parts, of which the first two are JSON objects. Signatures are not
//! checked: whoever holds the token may present it, and what is asked here is for how long.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use portreeve_reports::Cause;
use portreeve_reports::source::{Limits, Node, Value, json};

use super::Expiry;

/// The longest token that is taken apart. Servers refuse headers of this size.
const MAX_BYTES: usize = 16 << 10;
/// The most tokens of one text that are told. One more stands for what is beyond.
const MAX_TOKENS: usize = 16;

/// What a token says about its life.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Jwt {
    pub(super) issued: Option<Timestamp>,
    pub(super) valid_from: Option<Timestamp>,
    pub(super) expires: Expiry,
    /// Kind of the object that the token dies with, for tokens of Kubernetes.
    pub(super) bound_to: Option<&'static str>,
}

/// The tokens of a text, in its order: one pass, however the text is made.
pub(super) fn find(text: &str) -> Vec<Jwt> {
    let is_part_of_token = |character: char| character.is_ascii_alphanumeric() || matches!(character, '-' | '_' | '.');
    let words = text.split(|character| !is_part_of_token(character));
    let tokens = words.filter(|word| word.starts_with("eyJ")).filter_map(parse).take(MAX_TOKENS + 1);
    let beyond = || unknown(Cause::TooLarge, "there are more tokens in the value than are told");
    tokens.enumerate().map(|(index, token)| if index < MAX_TOKENS { token } else { beyond() }).collect()
}

/// The token that a text is.
pub(super) fn parse(text: &str) -> Option<Jwt> {
    let text = text.trim();
    let mut parts = text.split('.');
    let (header, payload, signature) = (parts.next()?, parts.next()?, parts.next()?);
    if parts.next().is_some() || signature.len() < 8 {
        return None;
    }
    let header = decoded(header)?;
    match json::read(&header, &limits()) {
        Ok(header) => drop(header.get("alg").and_then(Node::as_str)?),
        // What is too long to be looked at may be one.
        Err(_) if header.len() > MAX_BYTES => {}
        Err(_) => return None,
    }
    let payload = decoded(payload)?;
    if text.len() > MAX_BYTES {
        return Some(unknown(Cause::TooLarge, "the token is longer than a server takes"));
    }
    // A payload that readers disagree about (a key that stands twice) is still a token.
    let disputed = || unknown(Cause::Unreadable, "its claims are not JSON that all readers understand alike");
    Some(json::read(&payload, &limits()).map_or_else(|_| disputed(), |claims| of_claims(&claims)))
}

fn decoded(part: &str) -> Option<Vec<u8>> {
    let bytes = URL_SAFE_NO_PAD.decode(part).ok()?;
    (bytes.first() == Some(&b'{')).then_some(bytes)
}

fn limits() -> Limits {
    Limits { bytes: MAX_BYTES, depth: 16, nodes: 2_000, documents: 1 }
}

fn unknown(cause: Cause, why: &'static str) -> Jwt {
    Jwt { issued: None, valid_from: None, expires: Expiry::Unknown(cause, why), bound_to: None }
}

fn of_claims(claims: &Node) -> Jwt {
    let valid_from = claims.get("nbf").and_then(date);
    let expires = match claims.get("exp") {
        None => Expiry::Never,
        Some(exp) => date(exp).map_or(Expiry::Unknown(Cause::Unreadable, "its claim 'exp' is no date"), Expiry::At),
    };
    let bound_to = [("pod", "Pod"), ("secret", "Secret"), ("node", "Node")]
        .into_iter()
        .find(|(claim, _)| claims.at(["kubernetes.io", claim]).is_some())
        .map(|(_, kind)| kind);
    Jwt { issued: claims.get("iat").and_then(date).or(valid_from), valid_from, expires, bound_to }
}

/// Seconds since 1970; what is beyond the calendar is its end.
fn date(claim: &Node) -> Option<Timestamp> {
    let seconds = match claim.value {
        Value::Int(seconds) => seconds,
        #[expect(clippy::cast_possible_truncation, reason = "a cast of a float ends at the bounds of the integer")]
        Value::Float(seconds) if !seconds.is_nan() => seconds as i64,
        _ => return None,
    };
    Some(super::certificate::clamped(seconds))
}
