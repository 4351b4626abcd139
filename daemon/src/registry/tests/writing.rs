//! Pushes: what is sent where, and when the fallback index is written.

use std::collections::BTreeMap;

use portreeve_reports::Cause;

use super::fixture::*;
use crate::registry::ReferrerManifest;

fn referrer() -> ReferrerManifest {
    ReferrerManifest { bytes: manifest_of(&[]), artifact_type: "a/b".into(), annotations: BTreeMap::new() }
}

fn created() -> Reply {
    Reply::Answer(201, vec![], vec![])
}

fn written(registry: &Registry) -> Vec<Seen> {
    registry.seen().into_iter().filter(|seen| seen.method == "PUT").collect()
}

#[tokio::test]
async fn a_blob_is_uploaded_where_the_registry_says_and_not_twice() {
    let registry = Registry::start(|seen| match seen.method.as_str() {
        "POST" => Reply::Answer(202, vec![("Location", "/upload/1?_state=x".to_owned())], vec![]),
        "PUT" => created(),
        _ => status(404),
    })
    .await;
    let digest = registry.client().put_blob(&registry.image(":1"), b"{}".to_vec(), later()).await.unwrap();
    let put = &written(&registry)[0];
    assert_eq!(put.target, format!("/upload/1?_state=x&digest=sha256%3A{}", digest.hex()));
    assert_eq!(put.body, "{}");
    let has_it = Registry::start(|_| ok("application/octet-stream", b"{}")).await;
    has_it.client().put_blob(&has_it.image(":1"), b"{}".to_vec(), later()).await.unwrap();
    assert_eq!(has_it.seen().len(), 1);
}

#[tokio::test]
async fn an_upload_to_another_host_is_refused() {
    let other = Registry::start(|_| created()).await;
    let location = format!("http://{}/steal", other.host());
    let registry = Registry::start(move |seen| match seen.method.as_str() {
        "POST" => Reply::Answer(202, vec![("Location", location.clone())], vec![]),
        _ => status(404),
    })
    .await;
    let client = client(vec![registry.plain(), other.plain()]);
    let failure = client.put_blob(&registry.image(":1"), b"{}".to_vec(), later()).await.unwrap_err();
    assert_eq!(failure.cause, Cause::Unreadable);
    assert!(other.seen().is_empty());
}

#[tokio::test]
async fn a_registry_that_knows_the_subject_needs_no_fallback_index() {
    let registry =
        Registry::start(|_| Reply::Answer(201, vec![("OCI-Subject", some_digest().to_string())], vec![])).await;
    registry.client().push_referrer(&registry.image(":1"), &some_digest(), referrer(), later()).await.unwrap();
    assert_eq!(registry.seen().len(), 1);
}

#[tokio::test]
async fn without_a_referrers_api_the_index_keeps_what_it_lists() {
    let registry = Registry::start(|seen| match seen.method.as_str() {
        "PUT" => created(),
        _ if seen.target.contains("/referrers/") => status(404),
        _ => ok("application/vnd.oci.image.index.v1+json", &index_of(&[b"earlier"], "x")),
    })
    .await;
    registry.client().push_referrer(&registry.image(":1"), &some_digest(), referrer(), later()).await.unwrap();
    let index: serde_json::Value = serde_json::from_str(&written(&registry)[1].body).unwrap();
    assert_eq!(index["manifests"].as_array().unwrap().len(), 2);
    assert_eq!(index["manifests"][1]["artifactType"], "a/b");
    assert!(written(&registry)[1].asks_for(&format!("manifests/sha256-{}", some_digest().hex())));
}

#[tokio::test]
async fn an_index_that_cannot_be_read_is_not_overwritten() {
    for code in [403, 429, 500] {
        let registry = Registry::start(move |seen| match seen.method.as_str() {
            "PUT" => created(),
            _ if seen.target.contains("/referrers/") => status(404),
            _ => status(code),
        })
        .await;
        let pushed = registry.client().push_referrer(&registry.image(":1"), &some_digest(), referrer(), later()).await;
        assert!(pushed.is_err());
        assert_eq!(written(&registry).len(), 1, "only the referrer itself");
    }
}
