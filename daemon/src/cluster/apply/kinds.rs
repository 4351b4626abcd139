//! Which kinds the API server serves, and under which paths. Each version of a group is asked for once.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use portreeve_reports::source::shown;
use serde_json::Value;

use super::{Address, ApiFailure, Applier};
use crate::cluster::key::ObjectKey;

/// How a kind is served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Served {
    /// Its name in paths.
    pub plural: String,
    /// Whether its objects are in namespaces.
    pub is_namespaced: bool,
}

/// What is known of one version of a group: its kinds.
type Version = Arc<HashMap<String, Served>>;

/// What was asked so far.
#[derive(Debug, Default)]
pub(super) struct Kinds {
    versions: Mutex<HashMap<String, Version>>,
}

impl Kinds {
    pub(super) fn forget(&self) {
        self.versions().clear();
    }

    pub(super) fn forget_version(&self, version: &str) {
        self.versions().remove(version);
    }

    pub(super) async fn find(&self, applier: &Applier, version: &str, kind: &str) -> Result<Served, ApiFailure> {
        let known = self.versions().get(version).cloned();
        let kinds = match known {
            Some(kinds) => kinds,
            None => {
                let kinds = Arc::new(ask(applier, version).await?);
                self.versions().insert(version.to_owned(), Arc::clone(&kinds));
                kinds
            }
        };
        kinds.get(kind).cloned().ok_or_else(|| ApiFailure::UnknownKind(format!("{version} {kind}")))
    }

    fn versions(&self) -> MutexGuard<'_, HashMap<String, Version>> {
        self.versions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn ask(applier: &Applier, version: &str) -> Result<HashMap<String, Served>, ApiFailure> {
    let answer = match applier.read(&root(version)).await {
        Ok(answer) => answer,
        Err(ApiFailure::NotFound(_)) => return Ok(HashMap::new()),
        Err(failure) => {
            let question = format!("which kinds {version} has ('kubectl get --raw {}' asks the same)", root(version));
            return Err(failure.at(question));
        }
    };
    let resources = answer.get("resources").and_then(Value::as_array).into_iter().flatten();
    Ok(resources.filter_map(served).collect())
}

/// The versions in which a group is served now; the core group has one.
pub(super) async fn versions(applier: &Applier, group: &str) -> Result<Vec<String>, ApiFailure> {
    if group.is_empty() {
        return Ok(vec!["v1".to_owned()]);
    }
    let answer = match applier.read(&format!("/apis/{}", encoded(group))).await {
        Ok(answer) => answer,
        Err(ApiFailure::NotFound(_)) => return Ok(Vec::new()),
        Err(failure) => return Err(failure),
    };
    let versions = answer.get("versions").and_then(Value::as_array).into_iter().flatten();
    Ok(versions.filter_map(|version| Some(version.get("groupVersion")?.as_str()?.to_owned())).collect())
}

/// A kind of a resource list; subresources have a `/` in their names.
fn served(resource: &Value) -> Option<(String, Served)> {
    let text = |key: &str| resource.get(key).and_then(Value::as_str);
    let plural = text("name").filter(|name| !name.contains('/'))?;
    let is_namespaced = resource.get("namespaced").and_then(Value::as_bool)?;
    Some((text("kind")?.to_owned(), Served { plural: plural.to_owned(), is_namespaced }))
}

fn root(version: &str) -> String {
    if version.contains('/') { format!("/apis/{version}") } else { format!("/api/{version}") }
}

/// The path of a kind's objects in a namespace.
pub(super) fn collection(version: &str, served: &Served, namespace: &str) -> String {
    let root = root(version);
    if served.is_namespaced && !namespace.is_empty() {
        format!("{root}/namespaces/{}/{}", encoded(namespace), served.plural)
    } else {
        format!("{root}/{}", served.plural)
    }
}

/// A list as a question, and how a person asks it: what serves the kind is to be looked at where it fails.
pub(super) fn listing(address: &Address, served: &Served) -> String {
    let Served { plural, is_namespaced } = served;
    let name = match address.api_version.split_once('/') {
        Some((group, version)) => format!("{plural}.{version}.{group}"),
        None => plural.clone(),
    };
    let place = match &*address.key.namespace {
        namespace if *is_namespaced && !namespace.is_empty() => format!(" -n {}", shown(namespace)),
        _ => String::new(),
    };
    format!(
        "the list of {plural} ({} {}; 'kubectl get {name}{place}' asks the same, look at what serves it)",
        address.api_version, address.key.kind
    )
}

/// The path of an object.
pub(super) fn path(version: &str, served: &Served, key: &ObjectKey) -> String {
    format!("{}/{}", collection(version, served, &key.namespace), encoded(&key.name))
}

/// Names of roles hold what paths do not (`?`, `#`, other scripts).
fn encoded(name: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~:@".contains(&byte);
    name.bytes().fold(String::with_capacity(name.len()), |mut text, byte| {
        if is_plain(byte) {
            text.push(char::from(byte));
        } else {
            text.push_str(&format!("%{byte:02X}"));
        }
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(namespace: &str, name: &str) -> ObjectKey {
        ObjectKey { group: "".into(), kind: "Role".into(), namespace: namespace.into(), name: name.into() }
    }

    #[test]
    fn paths_are_those_of_the_api_and_names_cannot_leave_their_place() {
        let roles = Served { plural: "roles".to_owned(), is_namespaced: true };
        let version = "rbac.authorization.k8s.io/v1";
        let expected = "/apis/rbac.authorization.k8s.io/v1/namespaces/dev/roles/system:a";
        assert_eq!(path(version, &roles, &key("dev", "system:a")), expected);
        assert!(path(version, &roles, &key("dev", "a?b=c#d")).ends_with("/roles/a%3Fb%3Dc%23d"));
        let namespaces = Served { plural: "namespaces".to_owned(), is_namespaced: false };
        assert_eq!(path("v1", &namespaces, &key("", "dev")), "/api/v1/namespaces/dev");
    }
}
