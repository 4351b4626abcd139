//! A read-only OCI registry over an image layout, for the demo: manifests, blobs and referrers, on loopback only.

use std::collections::BTreeMap;
use std::io;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use axum::Router;
use axum::extract::{Path as UrlPath, State};
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use bytes::Bytes;
use portreeve_policies::image::Digest;
use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;

/// Names the manifest in `index.json`: `repository:tag`, or `repository` for one that is reached by digest only.
pub const REFERENCE_ANNOTATION: &str = "org.opencontainers.image.ref.name";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";

/// A layout that was read and can be served. Manifests are in memory, blobs are read when they are asked for.
pub struct Layout {
    blobs: PathBuf,
    manifests: Vec<Manifest>,
}

struct Manifest {
    repository: String,
    tag: Option<String>,
    subject: Option<Digest>,
    descriptor: Descriptor,
    bytes: Bytes,
}

/// A descriptor, as `index.json` and the referrers API list it.
#[derive(Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Descriptor {
    media_type: String,
    digest: Digest,
    size: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    artifact_type: Option<String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    annotations: BTreeMap<String, String>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Index {
    schema_version: u8,
    #[serde(default)]
    media_type: Option<String>,
    manifests: Vec<Descriptor>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Document {
    #[serde(default)]
    artifact_type: Option<String>,
    #[serde(default)]
    subject: Option<Subject>,
    #[serde(default)]
    annotations: BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct Subject {
    digest: Digest,
}

impl Layout {
    /// Reads `index.json` and the manifests it lists.
    ///
    /// # Errors
    /// When a file is missing or is not the expected JSON.
    pub fn read(directory: &Path) -> io::Result<Self> {
        let blobs = directory.join("blobs/sha256");
        let index: Index = serde_json::from_slice(&std::fs::read(directory.join("index.json"))?)?;
        let manifests = index.manifests.into_iter().map(|listed| Manifest::read(&blobs, listed));
        Ok(Self { manifests: manifests.collect::<io::Result<_>>()?, blobs })
    }

    fn manifest(&self, repository: &str, reference: &str) -> Option<&Manifest> {
        self.manifests.iter().find(|manifest| {
            manifest.repository == repository
                && (manifest.tag.as_deref() == Some(reference) || manifest.descriptor.digest.as_str() == reference)
        })
    }

    fn referrers(&self, repository: &str, digest: &Digest) -> Index {
        let listed = self
            .manifests
            .iter()
            .filter(|manifest| manifest.repository == repository && manifest.subject.as_ref() == Some(digest));
        let manifests = listed.map(|manifest| manifest.descriptor.clone()).collect();
        Index { schema_version: 2, media_type: Some(INDEX.to_owned()), manifests }
    }
}

impl Manifest {
    fn read(blobs: &Path, listed: Descriptor) -> io::Result<Self> {
        let bytes: Bytes = std::fs::read(blobs.join(listed.digest.hex()))?.into();
        let document: Document = serde_json::from_slice(&bytes)?;
        let name = listed.annotations.get(REFERENCE_ANNOTATION).map(String::as_str).unwrap_or_default();
        let (repository, tag) = match name.rsplit_once(':') {
            Some((repository, tag)) => (repository.to_owned(), Some(tag.to_owned())),
            None => (name.to_owned(), None),
        };
        let descriptor =
            Descriptor { artifact_type: document.artifact_type, annotations: document.annotations, ..listed };
        Ok(Self { repository, tag, subject: document.subject.map(|subject| subject.digest), descriptor, bytes })
    }
}

/// A listener on 127.0.0.1; port 0 picks a free one.
///
/// # Errors
/// When the port is taken.
pub async fn listen(port: u16) -> io::Result<TcpListener> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await
}

/// Serves until `stop` is done.
///
/// # Errors
/// When the listener is not on loopback, or breaks.
pub async fn serve(
    layout: Layout,
    listener: TcpListener,
    stop: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    if !listener.local_addr()?.ip().is_loopback() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "the demo registry listens on loopback only"));
    }
    let router = Router::new()
        .route("/v2/", get(|| async { StatusCode::OK }))
        .route("/v2/{*rest}", get(answer))
        .with_state(Arc::new(layout));
    axum::serve(listener, router).with_graceful_shutdown(stop).await
}

/// `<repository>/manifests|blobs|referrers/<reference>`; all else is 404, as the distribution-spec wants.
async fn answer(State(layout): State<Arc<Layout>>, UrlPath(rest): UrlPath<String>) -> Response {
    let split = rest.rsplit_once('/').and_then(|(before, reference)| {
        before.rsplit_once('/').map(|(repository, kind)| (repository, kind, reference))
    });
    let found = match split {
        Some((repository, "manifests", reference)) => layout.manifest(repository, reference).map(manifest_response),
        Some((repository, "referrers", digest)) => {
            Digest::parse(digest).ok().map(|digest| referrers_response(&layout.referrers(repository, &digest)))
        }
        Some((_, "blobs", digest)) => match Digest::parse(digest) {
            Ok(digest) => blob_response(&layout, &digest).await,
            Err(_) => None,
        },
        _ => None,
    };
    found.unwrap_or_else(|| StatusCode::NOT_FOUND.into_response())
}

fn manifest_response(manifest: &Manifest) -> Response {
    let mut response = manifest.bytes.clone().into_response();
    set(&mut response, "content-type", &manifest.descriptor.media_type);
    set(&mut response, "docker-content-digest", manifest.descriptor.digest.as_str());
    response
}

fn referrers_response(index: &Index) -> Response {
    match serde_json::to_vec(index) {
        Ok(bytes) => ([(CONTENT_TYPE, INDEX)], bytes).into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

async fn blob_response(layout: &Layout, digest: &Digest) -> Option<Response> {
    let bytes = tokio::fs::read(layout.blobs.join(digest.hex())).await.ok()?;
    let mut response = bytes.into_response();
    set(&mut response, "docker-content-digest", digest.as_str());
    Some(response)
}

fn set(response: &mut Response, name: &'static str, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        response.headers_mut().insert(name, value);
    }
}
