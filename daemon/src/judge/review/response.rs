//! Writing an AdmissionReview response.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::request::ReviewRequest;
use super::{Decision, Pin};

/// Longest message of a denial, in characters: clients print it whole.
const MAX_MESSAGE: usize = 2_000;
/// The API server cuts warnings to 256 characters and 4096 in all.
const MAX_WARNING: usize = 250;
const MAX_WARNINGS: usize = 12;

/// The response to a request, in its version and with its uid.
pub fn render(request: &ReviewRequest, decision: &Decision, pins: &[Pin]) -> Value {
    let mut response = json!({"uid": request.uid, "allowed": decision.allowed});
    if let Some(message) = &decision.message {
        response["status"] = json!({"code": 403, "reason": "Forbidden", "message": shown(message, MAX_MESSAGE)});
    }
    if !decision.warnings.is_empty() {
        let warnings = decision.warnings.iter().take(MAX_WARNINGS).map(|warning| shown(warning, MAX_WARNING));
        response["warnings"] = warnings.collect();
    }
    if !pins.is_empty() {
        let patch: Value = pins.iter().map(Pin::operation).collect();
        response["patchType"] = json!("JSONPatch");
        response["patch"] = json!(STANDARD.encode(patch.to_string()));
    }
    json!({"apiVersion": request.version.api_version(), "kind": "AdmissionReview", "response": response})
}

/// A text from objects and registries, made harmless for terminals and cut.
fn shown(text: &str, most: usize) -> String {
    let mut shown: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(most).collect();
    if text.chars().count() > most {
        shown.pop();
        shown.push('…');
    }
    shown
}
