//! Caps: every one of them is reached, by a registry that would send more.

use std::time::{Duration, Instant};

use portreeve_reports::Cause;
use portreeve_trust::evidence::{Lookup, ReferrerContent};
use serde_json::json;

use super::fixture::*;
use crate::registry::options::{EVIDENCE_BYTES, MANIFEST_BYTES, PAYLOAD_BYTES};
use crate::registry::wire::digest_of;

/// What the sockets of a loopback connection may hold beyond what was read.
const IN_FLIGHT: usize = 8 << 20;

#[tokio::test]
async fn a_body_without_end_is_cut_off_at_the_cap() {
    let registry = Registry::start(|_| Reply::Endless).await;
    let client = registry.client();
    let start = Instant::now();
    assert_eq!(cause(&client.resolve(&registry.image(":1"), later()).await), Cause::TooLarge);
    assert!(registry.bytes_sent() < MANIFEST_BYTES + IN_FLIGHT, "{}", registry.bytes_sent());
    let evidence = client.evidence(&registry.image(":1"), &some_digest(), later()).await;
    assert_eq!(cause(&evidence.tag_signatures), Cause::TooLarge);
    assert_eq!(cause(&evidence.referrers), Cause::TooLarge);
    assert!(registry.bytes_sent() < 3 * (MANIFEST_BYTES + IN_FLIGHT), "{}", registry.bytes_sent());
    assert!(start.elapsed() < Duration::from_secs(10));
}

#[tokio::test]
async fn a_million_referrers_are_too_many() {
    let entry = json!({"mediaType": MANIFEST_TYPE, "digest": some_digest(), "size": 1}).to_string();
    let body = format!("{{\"schemaVersion\":2,\"manifests\":[{}]}}", vec![entry; 1_000_000].join(",")).into_bytes();
    let registry = Registry::start(move |_| ok("application/json", &body)).await;
    let evidence = registry.client().evidence(&registry.image(":1"), &some_digest(), later()).await;
    assert_eq!(cause(&evidence.referrers), Cause::TooLarge);
    assert!(registry.bytes_sent() < 2 * (MANIFEST_BYTES + IN_FLIGHT), "{}", registry.bytes_sent());
}

#[tokio::test]
async fn more_than_a_hundred_referrers_or_signatures_are_too_many() {
    let layers: Vec<(&str, &[u8])> = vec![("a/b", b"x"); 101];
    let manifest = manifest_of(&layers);
    let referrers: Vec<&[u8]> = vec![b"x"; 101];
    let index = index_of(&referrers, "x");
    let registry =
        Registry::start(move |seen| ok("application/json", if seen.asks_for(".sig") { &manifest } else { &index }))
            .await;
    let evidence = registry.client().evidence(&registry.image(":1"), &some_digest(), later()).await;
    assert_eq!(cause(&evidence.tag_signatures), Cause::TooLarge);
    assert_eq!(cause(&evidence.referrers), Cause::TooLarge);
    assert_eq!(registry.seen().len(), 2, "nothing listed may be fetched");
}

#[tokio::test]
async fn pages_without_end_stop_at_the_tenth() {
    let registry = Registry::start(move |seen| {
        let link = format!("<{}>; rel=\"next\"", seen.target.replace("?p=", "?p=1"));
        let link = if seen.target.contains('?') { link } else { format!("<{}?p=1>; rel=\"next\"", seen.target) };
        if seen.target.contains("/referrers/") {
            Reply::Answer(200, vec![("Link", link)], index_of(&[], "x"))
        } else {
            status(404)
        }
    })
    .await;
    let evidence = registry.client().evidence(&registry.image(":1"), &some_digest(), later()).await;
    assert_eq!(cause(&evidence.referrers), Cause::TooLarge);
    assert_eq!(registry.seen().iter().filter(|seen| seen.target.contains("/referrers/")).count(), 10);
}

#[tokio::test]
async fn pages_are_read_to_the_last_and_a_missing_one_is_not_the_end() {
    for is_there in [true, false] {
        let registry = Registry::start(move |seen| {
            let next = format!("<{}?last=1>; rel=\"next\"", seen.target);
            match () {
                () if !seen.target.contains("/referrers/") => status(404),
                () if !seen.target.contains("last=1") => {
                    Reply::Answer(200, vec![("Link", next)], index_of(&[b"one"], "x"))
                }
                () if is_there => ok("application/json", &index_of(&[b"two"], "x")),
                () => status(404),
            }
        })
        .await;
        let evidence = registry.client().evidence(&registry.image(":1"), &some_digest(), later()).await;
        match &evidence.referrers {
            Lookup::Found(referrers) => assert!(is_there && referrers.len() == 2, "{referrers:?}"),
            unknown => assert_eq!((cause(unknown), is_there), (Cause::Unreadable, false)),
        }
    }
}

#[tokio::test]
async fn a_page_on_another_host_is_refused_unasked() {
    let other = Registry::start(|_| ok("application/json", &index_of(&[], "x"))).await;
    let link = format!("<http://{}/v2/x/referrers/y>; rel=\"next\"", other.host());
    let registry = Registry::start(move |_| Reply::Answer(200, vec![("Link", link.clone())], index_of(&[], "x"))).await;
    let client = client(vec![registry.plain(), other.plain()]);
    let evidence = client.evidence(&registry.image(":1"), &some_digest(), later()).await;
    assert_eq!(cause(&evidence.referrers), Cause::Unreadable);
    assert!(other.seen().is_empty());
}

#[tokio::test]
async fn a_payload_over_its_cap_is_too_large_alone() {
    let large = vec![b'x'; PAYLOAD_BYTES + 1];
    let manifest = manifest_of(&[("a/large", &large), ("a/small", b"small")]);
    let large_path = digest_of(&large).to_string();
    let registry = Registry::start(move |seen| match () {
        () if seen.asks_for(".sig") => ok(MANIFEST_TYPE, &manifest),
        () if seen.asks_for(&large_path) => ok("application/octet-stream", &large),
        () if seen.target.contains("/blobs/") => ok("application/octet-stream", b"small"),
        () => status(404),
    })
    .await;
    let evidence = registry.client().evidence(&registry.image(":1"), &some_digest(), later()).await;
    let Lookup::Found(layers) = &evidence.tag_signatures else { panic!("{evidence:?}") };
    assert_eq!(cause(&layers[0].payload), Cause::TooLarge);
    assert_eq!(layers[1].payload, Lookup::Found(b"small".to_vec()));
}

#[tokio::test]
async fn all_evidence_about_one_image_has_a_cap_too() {
    let bundles: Vec<Vec<u8>> = (0..4).map(|byte| vec![byte; 12 << 20]).collect();
    let manifests: Vec<Vec<u8>> = bundles
        .iter()
        .map(|bundle| manifest_of(&[("application/vnd.dev.sigstore.bundle.v0.3+json", bundle.as_slice())]))
        .collect();
    let index = index_of(&manifests.iter().map(Vec::as_slice).collect::<Vec<_>>(), "x");
    let documents: Vec<(String, Vec<u8>)> =
        bundles.into_iter().chain(manifests).map(|bytes| (digest_of(&bytes).to_string(), bytes)).collect();
    let registry = Registry::start(move |seen| {
        if seen.target.contains("/referrers/") {
            return ok("application/json", &index);
        }
        match documents.iter().find(|(digest, _)| seen.asks_for(digest)) {
            Some((_, bytes)) => ok(MANIFEST_TYPE, bytes),
            None => status(404),
        }
    })
    .await;
    let evidence = registry.client().evidence(&registry.image(":1"), &some_digest(), later()).await;
    let Lookup::Found(referrers) = &evidence.referrers else { panic!("{evidence:?}") };
    let kept: usize = referrers
        .iter()
        .map(|referrer| if let ReferrerContent::Bundle(bytes) = &referrer.content { bytes.len() } else { 0 })
        .sum();
    let is_cut = |content: &ReferrerContent| matches!(content, ReferrerContent::Indeterminate(Cause::TooLarge, _));
    assert!(kept <= EVIDENCE_BYTES, "{kept}");
    assert!(referrers.iter().filter(|referrer| is_cut(&referrer.content)).count() >= 2);
}

#[tokio::test]
async fn redirects_in_a_circle_end_after_the_fifth() {
    let registry =
        Registry::start(|seen| Reply::Answer(307, vec![("Location", format!("{}x", seen.target))], vec![])).await;
    let answer = registry.client().resolve(&registry.image(":1"), later()).await;
    assert_eq!(cause(&answer), Cause::Unreadable);
    assert!(message(&answer).contains("redirects that do not end (more than 5"), "{answer:?}");
    assert_eq!(registry.seen().len(), 6);
}
