//! A plaintext as the Kubernetes Secret that it stands for, bound to its target.
//!
//! An encrypted manifest says itself which Secret it is, so its name and namespace must be covered by the MAC. A plain
//! map says nothing of a target: configuration does.

use base64::Engine as _;

use super::cipher::BASE64;
use super::document::{Document, Plain};
use super::error::{Error, Kind};
use super::secret::SecretBytes;
use super::tree::{Member, Value, find, pairs};

/// The type of a Secret that names none.
const OPAQUE: &str = "Opaque";

/// The Secret that a document is for.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Target {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

/// A Secret as it shall be.
pub struct KubernetesSecret {
    /// Which one.
    pub target: Target,
    /// `Opaque`, `kubernetes.io/tls`, …
    pub kind: String,
    /// `immutable`, where the manifest says so.
    pub immutable: Option<bool>,
    /// Labels of the manifest.
    pub labels: Vec<(String, String)>,
    /// Annotations of the manifest.
    pub annotations: Vec<(String, String)>,
    /// Its data, decoded.
    pub data: Vec<(String, SecretBytes)>,
}

fn wrong(message: impl Into<String>) -> Error {
    Error::new(Kind::Target, message)
}

impl Document {
    /// The Secret of a decrypted document. `target` is what configuration says; a manifest may say it itself, and must
    /// not say otherwise.
    pub fn kubernetes_secret(&self, plain: &Plain, target: Option<&Target>) -> Result<KubernetesSecret, Error> {
        let [branch] = plain.branches.as_slice() else {
            return Err(wrong("a file with more than one document is no Secret; write one file for each"));
        };
        if self.selection().mac_only_encrypted {
            return Err(wrong(
                "mac_only_encrypted leaves clear values, names and namespaces unprotected: whoever can write the file \
                 chooses what the Secret holds and where it goes; encrypt it again without that setting",
            ));
        }
        if find(branch, "kind").is_some() || find(branch, "apiVersion").is_some() {
            return self.of_manifest(branch, target);
        }
        let target = target.ok_or_else(|| wrong("a plain map has no target: name the Secret in the configuration"))?;
        let data = pairs(branch).map(|(key, value)| Ok((checked_key(key)?, bytes_of(key, value)?)));
        Ok(KubernetesSecret {
            target: target.clone(),
            kind: OPAQUE.to_owned(),
            immutable: None,
            labels: Vec::new(),
            annotations: Vec::new(),
            data: data.collect::<Result<_, Error>>()?,
        })
    }

    fn of_manifest(&self, manifest: &[Member], target: Option<&Target>) -> Result<KubernetesSecret, Error> {
        let words = (text(manifest, "apiVersion")?, text(manifest, "kind")?);
        if words != (Some("v1"), Some("Secret")) {
            return Err(wrong("not a manifest of a v1 Secret (or a plain map with a key 'kind' or 'apiVersion')"));
        }
        refuse_unknown(manifest)?;
        let metadata = map(manifest, "metadata")?.ok_or_else(|| wrong("metadata is missing"))?;
        let own = Target {
            namespace: text(metadata, "namespace")?.unwrap_or_default().to_owned(),
            name: text(metadata, "name")?.unwrap_or_default().to_owned(),
        };
        if own.namespace.is_empty() || own.name.is_empty() {
            return Err(wrong(
                "metadata.name and metadata.namespace must both be written: they bind the values to their target",
            ));
        }
        if let Some(target) = target.filter(|target| **target != own) {
            return Err(wrong(format!(
                "the manifest is for {}/{}, the configuration says {}/{}",
                own.namespace, own.name, target.namespace, target.name
            )));
        }
        Ok(KubernetesSecret {
            target: own,
            kind: text(manifest, "type")?.unwrap_or(OPAQUE).to_owned(),
            immutable: immutable(manifest)?,
            labels: words_of(metadata, "labels")?,
            annotations: words_of(metadata, "annotations")?,
            data: data_of(manifest)?,
        })
    }
}

fn refuse_unknown(manifest: &[Member]) -> Result<(), Error> {
    const KNOWN: [&str; 7] = ["apiVersion", "kind", "metadata", "type", "immutable", "data", "stringData"];
    match pairs(manifest).find(|(key, _)| !KNOWN.contains(key)) {
        Some((key, _)) => Err(wrong(format!("a Secret has no field '{}'", portreeve_reports::source::shown(key)))),
        None => Ok(()),
    }
}

fn text<'tree>(members: &'tree [Member], key: &str) -> Result<Option<&'tree str>, Error> {
    match find(members, key) {
        None | Some(Value::Null) => Ok(None),
        Some(value @ Value::Text(_)) => Ok(value.as_str()),
        Some(value) => Err(wrong(format!("{key} is {}, not text", value.kind_name()))),
    }
}

fn map<'tree>(members: &'tree [Member], key: &str) -> Result<Option<&'tree [Member]>, Error> {
    match find(members, key) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Map(members)) => Ok(Some(members)),
        Some(value) => Err(wrong(format!("{key} is {}, not a map", value.kind_name()))),
    }
}

fn immutable(manifest: &[Member]) -> Result<Option<bool>, Error> {
    match find(manifest, "immutable") {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Bool(flag)) => Ok(Some(*flag)),
        Some(value) => Err(wrong(format!("immutable is {}, not a boolean", value.kind_name()))),
    }
}

fn words_of(metadata: &[Member], key: &str) -> Result<Vec<(String, String)>, Error> {
    let members = map(metadata, key)?.unwrap_or_default();
    let word = |(name, value): (&str, &Value)| match value {
        Value::Text(_) => Ok((name.to_owned(), value.as_str().unwrap_or_default().to_owned())),
        other => Err(wrong(format!("metadata.{key}: '{name}' is {}, not text", other.kind_name()))),
    };
    pairs(members).map(word).collect()
}

/// `data`, decoded, and `stringData`, which wins as it does at the API server.
fn data_of(manifest: &[Member]) -> Result<Vec<(String, SecretBytes)>, Error> {
    let mut data = Vec::new();
    for (key, value) in pairs(map(manifest, "stringData")?.unwrap_or_default()) {
        data.push((checked_key(key)?, bytes_of(key, value)?));
    }
    for (key, value) in pairs(map(manifest, "data")?.unwrap_or_default()) {
        if data.iter().any(|(known, _)| known == key) {
            continue;
        }
        let text = bytes_of(key, value)?;
        let decoded =
            BASE64.decode(text.expose()).map_err(|_| wrong(format!("data: the value of '{key}' is not base64")))?;
        data.push((checked_key(key)?, SecretBytes::new(decoded)));
    }
    Ok(data)
}

/// Keys of a Secret: letters, digits, `-`, `_` and `.`, at most 253.
fn checked_key(key: &str) -> Result<String, Error> {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    if key.is_empty() || key.len() > 253 || !key.bytes().all(fits) || key == "." || key.starts_with("..") {
        let key = portreeve_reports::source::shown(key);
        return Err(wrong(format!("'{key}' is not a key of a Secret: letters, digits, '-', '_' and '.' only")));
    }
    Ok(key.to_owned())
}

/// A leaf as it was written; numbers and booleans would be written in more than one way.
fn bytes_of(key: &str, value: &Value) -> Result<SecretBytes, Error> {
    match value {
        Value::Text(bytes) => Ok(bytes.clone()),
        other => {
            let key = portreeve_reports::source::shown(key);
            Err(wrong(format!("the value of '{key}' is {}, not text; quote it", other.kind_name())))
        }
    }
}
