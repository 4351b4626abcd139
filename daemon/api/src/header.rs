//! What every Kubernetes document starts with: `apiVersion`, `kind` and `metadata`.

use portreeve_reports::source::{Fields, Place};

/// The head of a document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header<'node> {
    /// `apiVersion` as written.
    pub api_version: &'node str,
    /// Where it stands.
    pub api_version_place: Place,
    /// `kind` as written.
    pub kind: &'node str,
    /// Where it stands.
    pub kind_place: Place,
    /// `metadata`.
    pub metadata: Metadata,
    /// Where the document starts.
    pub place: Place,
}

/// What is used of `metadata`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Metadata {
    /// A DNS-1123 subdomain.
    pub name: String,
    /// A DNS-1123 label; `None` for cluster-scoped kinds.
    pub namespace: Option<String>,
    /// Where `metadata` stands.
    pub place: Place,
}

/// The other fields of ObjectMeta: the API server or people's tools write them.
const OTHER_METADATA: [&str; 13] = [
    "labels",
    "annotations",
    "uid",
    "resourceVersion",
    "generation",
    "creationTimestamp",
    "managedFields",
    "ownerReferences",
    "finalizers",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "generateName",
    "selfLink",
];

impl<'node> Header<'node> {
    /// Decodes the head; `None` when something of it is missing or wrong, which is then a problem.
    pub fn decode(fields: &mut Fields<'node, '_>) -> Option<Self> {
        let place = fields.place();
        let api_version = placed_str(fields, "apiVersion");
        let kind = placed_str(fields, "kind");
        let metadata = match fields.required("metadata") {
            Some(_) => fields.optional_map("metadata", decode_metadata),
            None => None,
        };
        let ((api_version, api_version_place), (kind, kind_place)) = (api_version?, kind?);
        Some(Self { api_version, api_version_place, kind, kind_place, metadata: metadata?, place })
    }
}

fn placed_str<'node>(fields: &mut Fields<'node, '_>, key: &'static str) -> Option<(&'node str, Place)> {
    let text = fields.required_str(key)?;
    let place = fields.optional(key)?.place;
    Some((text, place))
}

fn decode_metadata(fields: &mut Fields<'_, '_>) -> Option<Metadata> {
    let place = fields.place();
    let name = fields.required_parsed("name", |text| dns_name(text, NameForm::Subdomain));
    let written = fields.optional("namespace").is_some();
    let namespace = fields.optional_parsed("namespace", |text| dns_name(text, NameForm::Label));
    for key in OTHER_METADATA {
        fields.optional(key);
    }
    // A namespace that is there and wrong must not become no namespace, which is a wider scope.
    (written == namespace.is_some()).then_some(())?;
    Some(Metadata { name: name?, namespace, place })
}

/// The two forms of names in Kubernetes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NameForm {
    /// Labels joined by dots, at most 253 characters: most names.
    Subdomain,
    /// At most 63 characters: names of namespaces.
    Label,
}

/// A name that the API server would refuse.
#[derive(Debug, thiserror::Error)]
#[error("'{text}' is not a {form}: lower-case letters, digits and '-'{dots}, at most {limit} characters")]
pub struct InvalidName {
    text: String,
    form: &'static str,
    dots: &'static str,
    limit: usize,
}

/// DNS-1123 as Kubernetes checks it (`validation.IsDNS1123Subdomain`, `IsDNS1123Label`).
pub fn dns_name(text: &str, form: NameForm) -> Result<String, InvalidName> {
    let (form, dots, limit) = match form {
        NameForm::Subdomain => ("DNS-1123 subdomain", " in parts joined by '.'", 253),
        NameForm::Label => ("DNS-1123 label", "", 63),
    };
    let parts_are_labels = match dots {
        "" => is_label(text),
        _ => text.split('.').all(is_label),
    };
    if parts_are_labels && text.len() <= limit {
        return Ok(text.to_owned());
    }
    let text = text.chars().take(limit).collect();
    Err(InvalidName { text, form, dots, limit })
}

fn is_label(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    !text.is_empty() && !text.starts_with('-') && !text.ends_with('-') && text.bytes().all(allowed)
}
