//! Reading an AdmissionReview (admission.k8s.io, v1 and v1beta1).

use portreeve_reports::ObjectRef;
use portreeve_reports::source::{Limits, Node, json, shown};

/// Objects are at most 1.5 MiB in etcd and 3 MiB on the wire; a review carries two of them.
pub const MAX_REVIEW_BYTES: usize = 8 << 20;

/// Values of a review, both objects together. Two objects of 1.5 MiB whose values have 16 bytes each, keys and
/// punctuation included, are that many; in memory they are some 50 MiB.
pub const MAX_REVIEW_VALUES: usize = 200_000;

/// Images of a reviewed object. What is found about one is some 30 KiB, and findings about images are compared.
pub const MAX_REVIEW_IMAGES: usize = 500;

/// What a review of another version is told.
const SPOKEN: &str = "admission.k8s.io/v1 and v1beta1 are spoken here";

/// The versions of the API; a response has the version of its request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReviewVersion {
    /// `admission.k8s.io/v1`
    V1,
    /// `admission.k8s.io/v1beta1`
    V1Beta1,
}

impl ReviewVersion {
    /// The `apiVersion`.
    pub fn api_version(self) -> &'static str {
        match self {
            Self::V1 => "admission.k8s.io/v1",
            Self::V1Beta1 => "admission.k8s.io/v1beta1",
        }
    }
}

/// What is done to the object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Operation {
    /// A new object.
    Create,
    /// A changed object.
    Update,
    /// An object goes.
    Delete,
    /// exec, attach, port-forward.
    Connect,
}

impl Operation {
    /// The word of the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Create => "CREATE",
            Self::Update => "UPDATE",
            Self::Delete => "DELETE",
            Self::Connect => "CONNECT",
        }
    }

    fn parse(word: &str) -> Option<Self> {
        [Self::Create, Self::Update, Self::Delete, Self::Connect]
            .into_iter()
            .find(|operation| operation.as_str() == word)
    }
}

/// The request of a review: what the decision reads.
#[derive(Clone, Debug)]
pub struct ReviewRequest {
    /// Version to answer in.
    pub version: ReviewVersion,
    /// `request.uid`.
    pub uid: String,
    /// What is done.
    pub operation: Operation,
    /// Kind of the object.
    pub kind: String,
    /// Namespace of the object; empty for cluster-scoped kinds.
    pub namespace: String,
    /// Name of the object, empty while the API server has yet to choose it.
    pub name: String,
    /// `ephemeralcontainers`, `scale`, …; empty for the object itself.
    pub sub_resource: String,
    /// Groups of the user who asks.
    pub groups: Vec<String>,
    /// Name of the user who asks.
    pub user: String,
    /// Whether nothing will be stored.
    pub dry_run: bool,
    /// The object as it will be.
    pub object: Option<Node>,
    /// The object as it was.
    pub old_object: Option<Node>,
}

/// A text that is not an AdmissionReview. There is no answer to it, least of all `allowed: true`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an AdmissionReview: {0}")]
pub struct ReviewError(String);

impl ReviewError {
    /// With what is wrong.
    pub fn new(message: impl Into<String>) -> Self {
        Self(message.into())
    }
}

impl ReviewRequest {
    /// Whether a token of a service account is asked for (`serviceaccounts/token`).
    pub fn is_token_request(&self) -> bool {
        self.sub_resource == "token" && self.kind == "TokenRequest" && self.operation == Operation::Create
    }

    /// The service account whose token is asked for.
    pub fn service_account(&self) -> ObjectRef {
        ObjectRef {
            api_version: "v1".to_owned(),
            kind: "ServiceAccount".to_owned(),
            namespace: self.namespace.clone(),
            name: self.name.clone(),
            ..ObjectRef::default()
        }
    }

    /// Parses the JSON of a review.
    pub fn parse(bytes: &[u8]) -> Result<Self, ReviewError> {
        let limits = Limits { bytes: MAX_REVIEW_BYTES, nodes: MAX_REVIEW_VALUES, documents: 1, ..Limits::default() };
        let root = json::read(bytes, &limits).map_err(|error| ReviewError::new(error.to_string()))?;
        Self::from_node(&root)
    }

    /// The request of a parsed review.
    pub fn from_node(root: &Node) -> Result<Self, ReviewError> {
        let version = match root.get("apiVersion").and_then(Node::as_str) {
            Some("admission.k8s.io/v1") => ReviewVersion::V1,
            Some("admission.k8s.io/v1beta1") => ReviewVersion::V1Beta1,
            Some(other) => {
                let other = shown(other);
                return Err(ReviewError::new(format!("apiVersion is '{other}'; {SPOKEN}")));
            }
            None => return Err(ReviewError::new(format!("'apiVersion' is missing; {SPOKEN}"))),
        };
        if root.get("kind").and_then(Node::as_str) != Some("AdmissionReview") {
            return Err(ReviewError::new("kind is not AdmissionReview"));
        }
        let request = root.get("request").ok_or_else(|| ReviewError::new("'request' is missing"))?;
        let uid = text(request, "uid")?;
        if uid.is_empty() || uid.len() > 128 {
            return Err(ReviewError::new("'request.uid' is missing or longer than 128 bytes"));
        }
        let operation = text(request, "operation")?;
        is_of_its_kind(request)?;
        Ok(Self {
            version,
            uid,
            operation: Operation::parse(&operation)
                .ok_or_else(|| ReviewError::new(format!("'request.operation' is '{operation}'")))?,
            kind: request.at(["kind", "kind"]).and_then(Node::as_str).unwrap_or_default().to_owned(),
            namespace: text(request, "namespace")?,
            name: text(request, "name")?,
            sub_resource: text(request, "subResource")?,
            groups: strings(request.at(["userInfo", "groups"]))?,
            user: request.at(["userInfo", "username"]).and_then(Node::as_str).unwrap_or_default().to_owned(),
            dry_run: request.get("dryRun").and_then(Node::as_bool).unwrap_or(false),
            object: request.get("object").filter(|node| !node.is_null()).cloned(),
            old_object: request.get("oldObject").filter(|node| !node.is_null()).cloned(),
        })
    }
}

/// Refuses an object of another kind than the request is about: it would be judged as what nobody writes.
fn is_of_its_kind(request: &Node) -> Result<(), ReviewError> {
    let said = |key: &str| request.at(["kind", key]).and_then(Node::as_str);
    let object = |key: &str| request.at(["object", key]).and_then(Node::as_str);
    let version = said("version").map(|version| match said("group").unwrap_or_default() {
        "" => version.to_owned(),
        group => format!("{group}/{version}"),
    });
    let differ = |said: Option<&str>, is: Option<&str>| said.zip(is).is_some_and(|(said, is)| said != is);
    if differ(said("kind"), object("kind")) || differ(version.as_deref(), object("apiVersion")) {
        let [kind, is_version, is_kind] =
            [said("kind"), object("apiVersion"), object("kind")].map(Option::unwrap_or_default);
        return Err(ReviewError::new(format!(
            "'request.kind' says {} {}, and 'request.object' is {} {}",
            shown(version.as_deref().unwrap_or_default()),
            shown(kind),
            shown(is_version),
            shown(is_kind)
        )));
    }
    Ok(())
}

/// A string field; absent is empty, another type is an error.
fn text(request: &Node, key: &str) -> Result<String, ReviewError> {
    match request.get(key) {
        None => Ok(String::new()),
        Some(node) if node.is_null() => Ok(String::new()),
        Some(node) => node
            .as_str()
            .map(str::to_owned)
            .ok_or_else(|| ReviewError::new(format!("'request.{key}' must be a string, not {}", node.kind_name()))),
    }
}

fn strings(list: Option<&Node>) -> Result<Vec<String>, ReviewError> {
    let Some(list) = list.filter(|node| !node.is_null()) else { return Ok(Vec::new()) };
    let items = list.as_list().ok_or_else(|| ReviewError::new("'request.userInfo.groups' must be a list"))?;
    items
        .iter()
        .map(|item| item.as_str().map(str::to_owned).ok_or_else(|| ReviewError::new("a group must be a string")))
        .collect()
}
