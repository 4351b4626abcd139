//! A Secret that a file declares, beside the one that is in the cluster: what differs, and what is found. Pure; what
//! reads and writes is the daemon's.
//!
//! Equal is: the same keys with the same bytes, the same type, and every label and annotation that the file says. Labels
//! and annotations of others are theirs.

mod rules;

use std::collections::BTreeSet;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, Mac as _};
use portreeve_reports::digest::hex;
use serde_json::{Map, Value, json};
use sha2::Sha256;

use crate::sops::{Identities, KubernetesSecret, SecretBytes, Target};

pub use rules::{
    CHANGEABLE, CODES, CORRECTIONS_LAST, DECLARED, EQUAL, Kept, OWNED, REACHED, READABLE, declared, object, readable,
    secret_findings,
};

/// The annotation with the HMAC of the content.
pub const CONTENT: &str = "portreeve.dev/content";
/// The label of what a platform applies; such a Secret belongs to its component.
const COMPONENT: &str = "portreeve.dev/component";
/// Most differences that are named.
const MAX_TOLD: usize = 20;

/// The key of the annotation of one Secret in one cluster. Whoever reads the annotation cannot try values against it
/// without an identity, and equal values of two Secrets or clusters do not look equal.
pub struct ContentKey(SecretBytes);

impl ContentKey {
    /// Derived from the first identity, which a rotation of data keys leaves as it is. `None` without identities.
    pub fn of(identities: &Identities, cluster: &str, target: &Target) -> Option<Self> {
        let mut mac = identities.keyed()?;
        absorb(&mut mac, [CONTENT.as_bytes(), cluster.as_bytes(), target.namespace.as_bytes(), target.name.as_bytes()]);
        Some(Self(SecretBytes::new(mac.finalize().into_bytes().to_vec())))
    }

    /// The annotation for this content, in hex.
    fn content(&self, kind: &str, data: &[(String, SecretBytes)]) -> Option<String> {
        let mut mac = Hmac::<Sha256>::new_from_slice(self.0.expose()).ok()?;
        let mut sorted: Vec<_> = data.iter().collect();
        sorted.sort_by_key(|(key, _)| key);
        absorb(&mut mac, [kind.as_bytes()]);
        for (key, value) in sorted {
            absorb(&mut mac, [key.as_bytes(), value.expose()]);
        }
        Some(hex(&mac.finalize().into_bytes()))
    }
}

/// Each part with its length before it, so that no two lists of parts are one text.
fn absorb<'a>(mac: &mut Hmac<Sha256>, parts: impl IntoIterator<Item = &'a [u8]>) {
    for part in parts {
        mac.update(&(part.len() as u64).to_be_bytes());
        mac.update(part);
    }
}

/// A Secret as it shall be, with its annotation.
pub struct Declared {
    secret: KubernetesSecret,
    content: String,
}

/// Why the declared Secret and the live one differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The file changed: the live Secret is as it was written last.
    File,
    /// Somebody changed the live Secret.
    Cluster,
}

/// How the live Secret differs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// Who changed what.
    pub origin: Origin,
    /// `data.password`, `metadata.labels.team`, never a value.
    pub fields: Vec<String>,
    /// Keys of the data that the file does not have.
    pub extra: Vec<String>,
}

/// The live Secret beside the declared one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// There is none.
    Missing,
    /// It is as declared.
    Same,
    /// It is as declared, and nobody has said yet that it is ours.
    Adoptable,
    /// It is somebody else's, and not as declared.
    Foreign,
    /// It is marked as immutable.
    Immutable,
    /// It is of another type, which cannot be changed.
    OtherType(String),
    /// It differs.
    Differs(Difference),
}

impl Declared {
    /// What a file declares. `None` without identities.
    pub fn new(secret: KubernetesSecret, identities: &Identities, cluster: &str) -> Option<Self> {
        let content = ContentKey::of(identities, cluster, &secret.target)?.content(&secret.kind, &secret.data)?;
        Some(Self { secret, content })
    }

    /// Which Secret it is.
    pub fn target(&self) -> &Target {
        &self.secret.target
    }

    /// What stands for the content, without telling anything of it.
    pub fn content(&self) -> &str {
        &self.content
    }

    /// The object for server-side apply.
    pub fn manifest(&self) -> Value {
        let words = |words: &[(String, String)]| {
            words.iter().map(|(key, value)| (key.clone(), json!(value))).collect::<Map<String, Value>>()
        };
        let mut annotations = words(&self.secret.annotations);
        annotations.insert(CONTENT.to_owned(), json!(self.content));
        let data: Map<String, Value> =
            self.secret.data.iter().map(|(key, value)| (key.clone(), json!(STANDARD.encode(value.expose())))).collect();
        let mut object = json!({
            "apiVersion": "v1", "kind": "Secret", "type": self.secret.kind, "data": data,
            "metadata": {"namespace": self.secret.target.namespace, "name": self.secret.target.name,
                "labels": words(&self.secret.labels), "annotations": annotations},
        });
        if let Some(immutable) = self.secret.immutable {
            object["immutable"] = json!(immutable);
        }
        object
    }

    /// The live Secret beside this one; `is_ours` says whether we have applied it.
    pub fn state(&self, live: Option<&Value>, is_ours: bool) -> State {
        let Some(live) = live else { return State::Missing };
        let is_ours = is_ours && live["metadata"]["labels"][COMPONENT].is_null();
        let kind = live["type"].as_str().unwrap_or_default();
        let (fields, extra) = self.differences(live);
        let is_marked = live["metadata"]["annotations"][CONTENT].as_str() == Some(self.content.as_str());
        match (is_ours, kind == self.secret.kind, fields.is_empty()) {
            (true, true, true) if is_marked => State::Same,
            (true, true, true) => self.differs(live, vec![format!("metadata.annotations.{CONTENT}")], extra),
            (false, true, true) => State::Adoptable,
            (false, ..) => State::Foreign,
            (true, false, _) => State::OtherType(portreeve_reports::source::shown(kind)),
            (true, true, false) if is_fixed(live, &fields) => State::Immutable,
            (true, true, false) => self.differs(live, fields, extra),
        }
    }

    /// The same for a Secret that is never written, whoever it belongs to.
    pub fn compared(&self, live: Option<&Value>) -> State {
        let Some(live) = live else { return State::Missing };
        let kind = live["type"].as_str().unwrap_or_default();
        let (fields, extra) = self.differences(live);
        match (kind == self.secret.kind, fields.is_empty()) {
            (false, _) => State::OtherType(portreeve_reports::source::shown(kind)),
            (true, true) => State::Same,
            (true, false) => self.differs(live, fields, extra),
        }
    }

    fn differs(&self, live: &Value, mut fields: Vec<String>, extra: Vec<String>) -> State {
        // The annotation is of what was written last: one that is not this file's says that the file changed since.
        let written = live["metadata"]["annotations"][CONTENT].as_str();
        let is_of_file = written.is_some_and(|written| written != self.content);
        let origin = if is_of_file { Origin::File } else { Origin::Cluster };
        fields.truncate(MAX_TOLD);
        State::Differs(Difference { origin, fields, extra })
    }

    /// Fields that differ, type left out; the keys too many among them.
    fn differences(&self, live: &Value) -> (Vec<String>, Vec<String>) {
        let nothing = Map::new();
        let data = live["data"].as_object().unwrap_or(&nothing);
        let mut fields: Vec<String> = Vec::new();
        for (key, wanted) in &self.secret.data {
            let bytes = data.get(key).and_then(Value::as_str).and_then(|text| STANDARD.decode(text).ok());
            if bytes.map(SecretBytes::new).as_ref() != Some(wanted) {
                fields.push(format!("data.{key}"));
            }
        }
        let known: BTreeSet<&str> = self.secret.data.iter().map(|(key, _)| key.as_str()).collect();
        let extra: Vec<String> = data.keys().filter(|key| !known.contains(key.as_str())).cloned().collect();
        fields.extend(extra.iter().map(|key| format!("data.{key}")));
        for (place, words) in [("labels", &self.secret.labels), ("annotations", &self.secret.annotations)] {
            let differs = |(key, value): &&(String, String)| live["metadata"][place][key].as_str() != Some(value);
            let changed = words.iter().filter(|(key, _)| key != CONTENT).filter(differs);
            fields.extend(changed.map(|(key, _)| format!("metadata.{place}.{key}")));
        }
        if self.secret.immutable.is_some_and(|wanted| live["immutable"].as_bool().unwrap_or_default() != wanted) {
            fields.push("immutable".to_owned());
        }
        (fields, extra)
    }
}

/// Whether fields differ that an immutable Secret keeps for ever.
fn is_fixed(live: &Value, fields: &[String]) -> bool {
    live["immutable"] == json!(true) && fields.iter().any(|field| !field.starts_with("metadata."))
}

#[cfg(test)]
mod tests;
