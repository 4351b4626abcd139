//! A small client of the Kubernetes API for tests: objects in, objects or `Status` out.

use std::time::Duration;

use reqwest::{Certificate, Client, Method, Response};
use serde_json::{Value, json};

use portreeve_reports::source::{Limits, yaml};

use crate::process::until;
use crate::{OrFail, fail};

/// How long the tests wait for the cluster to do something.
const PATIENCE: Duration = Duration::from_secs(90);

/// One user's door to the API server.
#[derive(Clone, Debug)]
pub struct Api {
    client: Client,
    server: String,
    token: String,
    impersonate: Option<(String, Vec<String>)>,
}

/// A request that the API server refused: its `Status`, in short.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// HTTP status code.
    pub code: u16,
    /// `AlreadyExists`, `Forbidden`, ….
    pub reason: String,
    /// The message for people; denials of webhooks stand here.
    pub message: String,
}

impl std::fmt::Display for Status {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}: {}", self.code, self.reason, self.message)
    }
}

/// An object that the API server accepted, and what it warned of.
#[derive(Clone, Debug)]
pub struct Accepted {
    /// The object as stored.
    pub object: Value,
    /// Texts of the `Warning` headers.
    pub warnings: Vec<String>,
}

impl Api {
    /// A client with a bearer token, trusting one CA.
    pub fn new(server: &str, ca_pem: &str, token: &str) -> Self {
        let ca = Certificate::from_pem(ca_pem.as_bytes()).or_fail("the CA of the API server");
        let client = http_client().tls_certs_only([ca]).build().or_fail("an HTTP client");
        Self { client, server: server.to_owned(), token: token.to_owned(), impersonate: None }
    }

    /// The same door for another user; this one needs the right to impersonate.
    pub fn impersonating(&self, user: &str, groups: &[&str]) -> Self {
        let groups = groups.iter().map(|&group| group.to_owned()).collect();
        Self { impersonate: Some((user.to_owned(), groups)), ..self.clone() }
    }

    /// The same door with another token.
    pub fn with_token(&self, token: &str) -> Self {
        Self { token: token.to_owned(), impersonate: None, ..self.clone() }
    }

    /// Reads a path such as `/api/v1/namespaces/default`.
    pub async fn get(&self, path: &str) -> Result<Value, Status> {
        self.send(Method::GET, path, None).await.map(|accepted| accepted.object)
    }

    /// Deletes what a path names, without a grace period; what it owns is left to the controllers, if any run.
    pub async fn delete(&self, path: &str) -> Result<Value, Status> {
        // Without a policy, Jobs and ReplicationControllers stay until a controller has orphaned their Pods.
        let options = json!({"kind": "DeleteOptions", "apiVersion": "v1", "gracePeriodSeconds": 0,
            "propagationPolicy": "Background"});
        self.send(Method::DELETE, path, Some(("application/json", options))).await.map(|accepted| accepted.object)
    }

    /// Creates an object where its kind and namespace say.
    pub async fn create(&self, object: &Value) -> Result<Value, Status> {
        self.create_warned(object, "").await.map(|accepted| accepted.object)
    }

    /// Creates an object; `query` is empty or such as `dryRun=All`. Warnings come along.
    pub async fn create_warned(&self, object: &Value, query: &str) -> Result<Accepted, Status> {
        let path = self.collection_of(object).await?;
        self.send(Method::POST, &format!("{path}?{query}"), Some(("application/json", object.clone()))).await
    }

    /// Server-side apply of one object.
    pub async fn apply_object(&self, object: &Value, query: &str) -> Result<Accepted, Status> {
        self.apply_as("tests", object, query).await
    }

    /// Server-side apply of one object by a field manager of this name.
    pub async fn apply_as(&self, manager: &str, object: &Value, query: &str) -> Result<Accepted, Status> {
        let name = object["metadata"]["name"].as_str().or_fail("an object has a name");
        let path = self.collection_of(object).await?;
        let path = format!("{path}/{name}?fieldManager={manager}&force=true&{query}");
        self.send(Method::PATCH, &path, Some(("application/apply-patch+yaml", object.clone()))).await
    }

    /// Server-side apply of every document; one that is refused fails the test.
    pub async fn apply(&self, manifests: &str) -> Vec<Value> {
        let mut applied = Vec::new();
        for object in documents(manifests) {
            let accepted = self.apply_object(&object, "").await;
            applied.push(accepted.or_fail(&format!("{} {}", object["kind"], object["metadata"]["name"])).object);
        }
        applied
    }

    /// Sends an object to a path: subresources such as a token request.
    pub async fn post(&self, path: &str, object: &Value) -> Result<Value, Status> {
        let body = Some(("application/json", object.clone()));
        self.send(Method::POST, path, body).await.map(|accepted| accepted.object)
    }

    /// Merge patch of what a path names.
    pub async fn merge(&self, path: &str, patch: &Value) -> Result<Value, Status> {
        let body = Some(("application/merge-patch+json", patch.clone()));
        self.send(Method::PATCH, path, body).await.map(|accepted| accepted.object)
    }

    /// Reads a path until the probe finds what it looks for in the object.
    pub async fn wait_for<T>(&self, path: &str, what: &str, probe: impl Fn(&Value) -> Option<T>) -> T {
        let found = until(PATIENCE, || async { self.get(path).await.ok().as_ref().and_then(&probe) }).await;
        match found {
            Some(found) => found,
            None => fail(format!("{path}: {what} did not come within {PATIENCE:?}: {:?}", self.get(path).await)),
        }
    }

    /// The path of the collection that an object belongs to, by the server's discovery.
    async fn collection_of(&self, object: &Value) -> Result<String, Status> {
        let (version, kind) = (object["apiVersion"].as_str(), object["kind"].as_str());
        let version = version.or_fail("an object has an apiVersion");
        let root = if version.contains('/') { format!("/apis/{version}") } else { format!("/api/{version}") };
        let resources = self.get(&root).await?;
        let is_kind = |resource: &&Value| {
            resource["kind"].as_str() == kind && !resource["name"].as_str().is_some_and(|name| name.contains('/'))
        };
        let resource = resources["resources"].as_array().into_iter().flatten().find(is_kind);
        let resource = resource.or_fail(&format!("the server knows {version} {kind:?}"));
        let plural = resource["name"].as_str().or_fail("a resource has a name");
        Ok(match (resource["namespaced"] == true, object["metadata"]["namespace"].as_str()) {
            (true, namespace) => format!("{root}/namespaces/{}/{plural}", namespace.unwrap_or("default")),
            (false, _) => format!("{root}/{plural}"),
        })
    }

    async fn send(&self, method: Method, path: &str, body: Option<(&str, Value)>) -> Result<Accepted, Status> {
        let mut request = self.client.request(method, format!("{}{path}", self.server)).bearer_auth(&self.token);
        if let Some((user, groups)) = &self.impersonate {
            request = request.header("Impersonate-User", user);
            request = groups.iter().fold(request, |request, group| request.header("Impersonate-Group", group));
        }
        if let Some((content_type, body)) = body {
            request = request.header("Content-Type", content_type).body(body.to_string());
        }
        match request.send().await {
            Ok(response) => read_answer(response).await,
            Err(error) => Err(Status { code: 0, reason: "Unreachable".to_owned(), message: error.to_string() }),
        }
    }
}

/// Documents of a YAML text; one that cannot be read fails the test.
pub fn documents(manifests: &str) -> Vec<Value> {
    let read = yaml::read(manifests.as_bytes(), &Limits::default());
    let nodes = read.into_iter().map(|document| document.or_fail("a manifest of a test"));
    nodes.map(|node| node.to_json()).filter(|object| !object.is_null()).collect()
}

/// A client without a proxy and without kept connections: statics outlive the runtime of the test that made them, the
/// runtime's connections do not.
pub fn http_client() -> reqwest::ClientBuilder {
    // Another test of this process may have installed the same provider.
    let _installed_before = rustls::crypto::aws_lc_rs::default_provider().install_default();
    Client::builder().no_proxy().http1_only().pool_max_idle_per_host(0).timeout(Duration::from_secs(30))
}

async fn read_answer(response: Response) -> Result<Accepted, Status> {
    let (code, headers) = (response.status(), response.headers().clone());
    let text = response.text().await.unwrap_or_default();
    let object: Value = serde_json::from_str(&text).unwrap_or_else(|_| Value::String(text));
    if code.is_success() {
        let warnings = headers.get_all("warning").iter().filter_map(|value| warning_text(value.to_str().ok()?));
        return Ok(Accepted { object, warnings: warnings.collect() });
    }
    let field = |name: &str| object[name].as_str().unwrap_or_default().to_owned();
    Err(Status { code: code.as_u16(), reason: field("reason"), message: field("message") })
}

/// The text of a `Warning: 299 - "text"` header.
fn warning_text(header: &str) -> Option<String> {
    let quoted = header.strip_prefix("299 - ")?;
    serde_json::from_str(quoted).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_of_a_warning_is_unquoted() {
        assert_eq!(warning_text(r#"299 - "say \"no\"""#).as_deref(), Some(r#"say "no""#));
        assert_eq!(warning_text("199 miscellaneous"), None);
    }
}
