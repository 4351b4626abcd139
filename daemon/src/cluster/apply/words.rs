//! What is told of the server's words. Those about a Secret may quote its values: of them only what is known to have none.

use kube::core::Status;
use portreeve_reports::source::decode::did_you_mean;
use portreeve_reports::source::shown;

/// Most words about fields that are told.
const MAX_TOLD: usize = 20;
/// Longest text of the server that is passed on.
const MAX_WORDS: usize = 400;
/// What a Secret may have, by the names that are mistyped.
const FIELDS: [&str; 12] = [
    "apiVersion",
    "kind",
    "metadata",
    "type",
    "data",
    "stringData",
    "immutable",
    "name",
    "namespace",
    "labels",
    "annotations",
    "finalizers",
];

/// Whether the server's words may be passed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Words {
    /// They are told, cut.
    Told,
    /// They are about a Secret, and may quote its values.
    Withheld,
}

impl Words {
    pub(super) fn of(self, status: &Status) -> String {
        match self {
            Self::Told => cut(&status.message),
            Self::Withheld if is_of_rights(&status.message) => cut(&status.message),
            Self::Withheld => format!("{}{WITHHELD}", hint(status)),
        }
    }
}

const WITHHELD: &str = "the API server's words are left out, they may quote a value of the Secret";

/// Whether it says which right is missing, and quotes nothing of what was sent.
fn is_of_rights(text: &str) -> bool {
    text.starts_with("secrets ") && text.contains(" is forbidden: User \"") && !text.contains("denied request")
}

/// What can be said of a Secret without the server's words.
fn hint(status: &Status) -> String {
    let text = status.message.as_str();
    // The name of a webhook is in its configuration.
    let webhook = text.split_once("failed calling webhook \"").and_then(|(_, rest)| rest.split('"').next());
    if let Some(webhook) = webhook {
        return format!("the webhook {} could not be asked; ", shown(webhook));
    }
    if let Some((before, _)) = text.split_once(": field not declared in schema") {
        return no_field(before);
    }
    if ["base64", "unmarshal", "typed patch"].iter().any(|word| text.contains(word)) {
        return "look for a value that is no text or no base64; ".to_owned();
    }
    // The one thing that a caller decides by.
    let immutable = if text.contains("immutable") { "it is immutable; " } else { "" };
    immutable.to_owned() + &mistakes(status)
}

/// A field that a Secret does not have: `before` ends with its path. What stands there may be a value at a wrong place, so
/// that only the name that was meant is told.
fn no_field(before: &str) -> String {
    let word = before.rsplit('.').next().unwrap_or_default();
    let meant = did_you_mean(word, &FIELDS).map_or_else(String::new, |meant| format!(" (is '{meant}' meant?)"));
    format!("look for a field that a Secret does not have{meant}; ")
}

/// Keys and fields that the server's own validation names, in its words for what is wrong. A webhook may say anything.
fn mistakes(status: &Status) -> String {
    if !status.message.starts_with("Secret \"") || !status.message.contains("\" is invalid: ") {
        return String::new();
    }
    let causes = status.details.iter().flat_map(|details| &details.causes);
    let told = causes.filter_map(|cause| {
        let wrong = match cause.reason.as_str() {
            "FieldValueRequired" => "is missing",
            "FieldValueInvalid" if cause.message.contains("a valid config key must consist of") => {
                "is no key (letters, digits, '-', '_' and '.' are)"
            }
            "FieldValueInvalid" | "FieldValueTypeInvalid" | "FieldValueNotSupported" => "is not valid",
            "FieldValueTooLong" | "FieldValueTooMany" => "is too long",
            "FieldValueForbidden" => "may not be so",
            _ => return None,
        };
        Some(format!("{} {wrong}; ", cut(&shown(&cause.field))))
    });
    told.take(MAX_TOLD).collect()
}

/// The server's words may quote what was sent to it: cut, and without what moves a cursor.
pub(super) fn cut(text: &str) -> String {
    let cut: String = text.chars().take(MAX_WORDS).map(|c| if c.is_control() { ' ' } else { c }).collect();
    if text.chars().nth(MAX_WORDS).is_some() { cut + "…" } else { cut }
}

#[cfg(test)]
mod tests {
    use kube::core::response::{StatusCause, StatusDetails};

    use super::*;

    fn said(message: &str, causes: &[(&str, &str, &str)]) -> String {
        let causes = causes.iter().map(|(field, reason, message)| StatusCause {
            field: (*field).to_owned(),
            reason: (*reason).to_owned(),
            message: (*message).to_owned(),
        });
        let (name, group, kind, uid) = Default::default();
        let details = StatusDetails { name, group, kind, uid, causes: causes.collect(), retry_after_seconds: 0 };
        Words::Withheld.of(&Status { message: message.to_owned(), details: Some(details), ..Status::default() })
    }

    #[test]
    fn of_a_secret_only_what_quotes_no_value_is_told_and_a_hint_where_it_fits() {
        let rights = r#"secrets "s" is forbidden: User "jane" cannot patch resource "secrets" in API group """#;
        assert_eq!(said(rights, &[]), rights);
        let policy = r#"secrets "s" is forbidden: User "jane" denied request: the password hunter2 is weak"#;
        assert_eq!(said(policy, &[]), WITHHELD);
        let webhook = r#"Internal error occurred: failed calling webhook "a.example.org": Post hunter2"#;
        assert_eq!(said(webhook, &[]), format!("the webhook a.example.org could not be asked; {WITHHELD}"));
        let base64 = "Internal error occurred: illegal base64 data at input byte 4";
        assert!(said(base64, &[]).contains("no base64"));
    }

    #[test]
    fn a_field_that_a_secret_does_not_have_is_told_by_the_name_that_was_meant() {
        let of = |path: &str| {
            let patch = "failed to create typed patch object (dev/s; /v1, Kind=Secret): ";
            said(&format!("{patch}{path}: field not declared in schema"), &[])
        };
        let typo = of(".stringDatas");
        assert!(typo.starts_with("look for a field that a Secret does not have (is 'stringData' meant?); "), "{typo}");
        let value = of(".hunter2");
        assert!(!value.contains("hunter2") && value.contains("does not have; "), "{value}");
    }

    #[test]
    fn keys_that_the_server_refuses_are_named_and_what_a_webhook_says_is_not() {
        let words = r#"Secret "s" is invalid: data[username]: Required value, data[a b]: Invalid value: "hunter2""#;
        let key = "Invalid value: \"a b\": a valid config key must consist of alphanumeric characters";
        let causes = [
            ("data[username]", "FieldValueRequired", "Required value"),
            ("data[a b]", "FieldValueInvalid", key),
            ("type", "FieldValueInvalid", "Invalid value: hunter2"),
        ];
        let named = said(words, &causes);
        let told = "data[username] is missing; data[a b] is no key (letters, digits, '-', '_' and '.' are); type is not valid; ";
        assert_eq!(named, format!("{told}{WITHHELD}"));
        let webhook = format!("admission webhook \"w\" denied the request: {words}");
        assert_eq!(said(&webhook, &[("hunter2", "FieldValueRequired", "")]), WITHHELD);
        assert!(
            said(r#"Secret "s" is invalid: data: Forbidden: field is immutable"#, &[]).starts_with("it is immutable; ")
        );
    }
}
