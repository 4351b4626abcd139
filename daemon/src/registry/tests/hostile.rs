//! Answers that must not be taken for anything else: refusals, errors, lies, broken connections.

use std::time::{Duration, Instant};

use portreeve_reports::Cause;
use portreeve_trust::evidence::{Lookup, ReferrerContent};

use super::fixture::*;
use crate::registry::wire::digest_of;
use crate::registry::{Deadline, RegistryClient, RegistryOptions, RequestOutcome};

#[tokio::test]
async fn each_refusal_has_its_cause_and_none_is_absence() {
    for (code, expected) in [
        (401, Cause::Forbidden),
        (403, Cause::Forbidden),
        (429, Cause::RateLimited),
        (500, Cause::Unreachable),
        (503, Cause::Unreachable),
        (400, Cause::Unreadable),
        (304, Cause::Unreadable),
    ] {
        let registry = Registry::start(move |_| status(code)).await;
        let client = registry.client();
        assert_eq!(cause(&client.resolve(&registry.image(":1"), later()).await), expected, "{code}");
        let evidence = client.evidence(&registry.image(":1"), &some_digest(), later()).await;
        assert_eq!(cause(&evidence.tag_signatures), expected, "{code}");
        assert_eq!(cause(&evidence.referrers), expected, "{code}");
    }
}

#[tokio::test]
async fn only_404_is_absence() {
    let registry = Registry::start(|_| status(404)).await;
    let client = registry.client();
    assert_eq!(client.resolve(&registry.image(":1"), later()).await, Lookup::Absent);
    let evidence = client.evidence(&registry.image(":1"), &some_digest(), later()).await;
    assert_eq!(evidence.tag_signatures, Lookup::Absent);
    assert_eq!(evidence.referrers, Lookup::Absent);
    let asked: Vec<String> = registry.seen().into_iter().map(|seen| seen.target).collect();
    let fallback = format!("/v2/demo/app/manifests/sha256-{}", some_digest().hex());
    assert!(asked.contains(&fallback), "the fallback tag was not asked: {asked:?}");
    assert_eq!(client.statistics().requests_with(RequestOutcome::Absent), 4);
}

/// The hole of a client that reads a refused fallback tag as an index without entries.
#[tokio::test]
async fn a_refused_fallback_tag_is_not_an_empty_index() {
    for (code, expected) in [(403, Cause::Forbidden), (429, Cause::RateLimited), (500, Cause::Unreachable)] {
        let registry = Registry::start(move |seen| {
            status(if seen.target.contains("/referrers/") || seen.target.ends_with(".sig") { 404 } else { code })
        })
        .await;
        let evidence = registry.client().evidence(&registry.image(":1"), &some_digest(), later()).await;
        assert_eq!(cause(&evidence.referrers), expected);
        assert_eq!(evidence.tag_signatures, Lookup::Absent);
    }
}

#[tokio::test]
async fn a_success_that_is_no_index_is_not_an_empty_one() {
    for body in [&b""[..], b"<html>", b"{}", br#"{"errors":[]}"#, br#"{"schemaVersion":2}"#, b"[]", b"\xff\xfe"] {
        let registry = Registry::start(move |_| ok("application/json", body)).await;
        let evidence = registry.client().evidence(&registry.image(":1"), &some_digest(), later()).await;
        assert_eq!(cause(&evidence.referrers), Cause::Unreadable, "{body:?}");
        assert_eq!(cause(&evidence.tag_signatures), Cause::Unreadable, "{body:?}");
    }
}

#[tokio::test]
async fn json_of_a_hundred_thousand_levels_is_unreadable() {
    let deep = format!("{{\"manifests\":{}", "[".repeat(100_000));
    let registry = Registry::start(move |_| ok("application/json", deep.as_bytes())).await;
    let evidence = registry.client().evidence(&registry.image(":1"), &some_digest(), later()).await;
    assert_eq!(cause(&evidence.referrers), Cause::Unreadable);
}

#[tokio::test]
async fn a_registry_that_hangs_or_drips_costs_the_deadline_and_no_more() {
    for reply in [|| Reply::Hang, || Reply::Drip] {
        let registry = Registry::start(move |_| reply()).await;
        let client = registry.client();
        let start = Instant::now();
        assert_eq!(cause(&client.resolve(&registry.image(":1"), soon()).await), Cause::TimedOut);
        let evidence = client.evidence(&registry.image(":1"), &some_digest(), soon()).await;
        assert_eq!(cause(&evidence.tag_signatures), Cause::TimedOut);
        assert_eq!(cause(&evidence.referrers), Cause::TimedOut);
        assert!(start.elapsed() < Duration::from_secs(3), "took {:?}", start.elapsed());
    }
}

#[tokio::test]
async fn one_place_that_hangs_does_not_lose_the_other() {
    let payload = b"payload".to_vec();
    let manifest = manifest_of(&[("application/vnd.dev.cosign.simplesigning.v1+json", &payload)]);
    let registry = Registry::start(move |seen| {
        if seen.asks_for(".sig") {
            ok(MANIFEST_TYPE, &manifest)
        } else if seen.target.contains("/blobs/") {
            ok("application/octet-stream", &payload)
        } else {
            Reply::Hang
        }
    })
    .await;
    let evidence = registry.client().evidence(&registry.image(":1"), &some_digest(), soon()).await;
    let Lookup::Found(layers) = &evidence.tag_signatures else { panic!("{evidence:?}") };
    assert_eq!(layers[0].payload, Lookup::Found(b"payload".to_vec()));
    assert_eq!(cause(&evidence.referrers), Cause::TimedOut);
}

#[tokio::test]
async fn resets_truncation_and_nobody_there_are_unreachable() {
    for reply in [|| Reply::Reset, || Reply::Truncate(b"{".to_vec())] {
        let registry = Registry::start(move |_| reply()).await;
        assert_eq!(cause(&registry.client().resolve(&registry.image(":1"), later()).await), Cause::Unreachable);
    }
    let gone = Registry::start(|_| Reply::Reset).await;
    let (client, image) = (gone.client(), gone.image(":1"));
    drop(gone);
    tokio::task::yield_now().await;
    let answer = client.resolve(&image, later()).await;
    assert_eq!(cause(&answer), Cause::Unreachable);
}

/// T01: what a registry says about its bytes is compared with the bytes.
#[tokio::test]
async fn t01_digests_that_lie_are_unreadable() {
    let manifest = manifest_of(&[]);
    let lie = some_digest();
    let announced = lie.to_string();
    let registry = Registry::start(move |_| {
        Reply::Answer(
            200,
            vec![("Content-Type", MANIFEST_TYPE.to_owned()), ("Docker-Content-Digest", announced.clone())],
            manifest.clone(),
        )
    })
    .await;
    let client = registry.client();
    assert_eq!(cause(&client.resolve(&registry.image(":1"), later()).await), Cause::Unreadable);
    let by_digest = registry.image(&format!("@{lie}"));
    assert_eq!(cause(&client.resolve(&by_digest, later()).await), Cause::Unreadable);
    let evidence = client.evidence(&registry.image(":1"), &lie, later()).await;
    assert_eq!(cause(&evidence.tag_signatures), Cause::Unreadable);
}

#[tokio::test]
async fn blobs_and_referrers_with_other_bytes_are_unreadable() {
    let signature = manifest_of(&[("application/vnd.dev.cosign.simplesigning.v1+json", b"payload")]);
    let referrer = manifest_of(&[("application/vnd.dev.sigstore.bundle.v0.3+json", b"bundle")]);
    let index = index_of(&[&referrer, b"another manifest"], "x");
    let path = digest_of(&referrer).to_string();
    let registry = Registry::start(move |seen| {
        if seen.asks_for(".sig") {
            ok(MANIFEST_TYPE, &signature)
        } else if seen.target.contains("/referrers/") {
            ok("application/json", &index)
        } else if seen.asks_for(&path) {
            ok(MANIFEST_TYPE, &referrer)
        } else {
            ok(MANIFEST_TYPE, b"{\"layers\":[]}")
        }
    })
    .await;
    let evidence = registry.client().evidence(&registry.image(":1"), &some_digest(), later()).await;
    let Lookup::Found(layers) = &evidence.tag_signatures else { panic!("{evidence:?}") };
    assert_eq!(cause(&layers[0].payload), Cause::Unreadable);
    let Lookup::Found(referrers) = &evidence.referrers else { panic!("{evidence:?}") };
    assert_eq!(referrers.len(), 2);
    for referrer in referrers {
        assert!(matches!(&referrer.content, ReferrerContent::Indeterminate(Cause::Unreadable, _)), "{referrer:?}");
    }
}

#[tokio::test]
async fn a_bundle_counts_whatever_artifact_type_is_listed_and_other_referrers_are_named() {
    let bundle = manifest_of(&[("application/vnd.dev.sigstore.bundle.v0.3+json", b"bundle")]);
    let sbom = manifest_of(&[("application/spdx+json", b"sbom")]);
    let index = index_of(&[&bundle, &sbom], "application/vnd.oci.empty.v1+json");
    let bundle_path = digest_of(&bundle).to_string();
    for has_api in [true, false] {
        let (bundle, sbom, index, bundle_path) = (bundle.clone(), sbom.clone(), index.clone(), bundle_path.clone());
        let registry = Registry::start(move |seen| {
            let is_fallback = seen.asks_for(&format!("manifests/sha256-{}", some_digest().hex()));
            match () {
                () if seen.target.contains("/referrers/") && has_api => ok("application/json", &index),
                () if is_fallback && !has_api => ok("application/json", &index),
                () if seen.asks_for(&bundle_path) => ok(MANIFEST_TYPE, &bundle),
                () if seen.target.contains("/blobs/") => ok("application/octet-stream", b"bundle"),
                () if seen.target.contains("manifests/sha256:") => ok(MANIFEST_TYPE, &sbom),
                () => status(404),
            }
        })
        .await;
        let evidence = registry.client().evidence(&registry.image(":1"), &some_digest(), later()).await;
        let Lookup::Found(referrers) = &evidence.referrers else { panic!("{evidence:?}") };
        assert_eq!(referrers[0].content, ReferrerContent::Bundle(b"bundle".to_vec()));
        assert_eq!(referrers[1].content, ReferrerContent::Other { media_type: "application/spdx+json".into() });
    }
}

#[tokio::test]
async fn a_manifest_of_two_kinds_is_unreadable() {
    let manifest = manifest_of(&[]);
    let registry = Registry::start(move |_| ok("application/vnd.oci.image.index.v1+json", &manifest)).await;
    assert_eq!(cause(&registry.client().resolve(&registry.image(":1"), later()).await), Cause::Unreadable);
}

#[tokio::test]
async fn a_short_retry_after_is_waited_for_and_a_long_one_is_not() {
    for (wait, is_answered) in [("0", true), ("3600", false), ("Wed, 21 Oct 2026 07:28:00 GMT", false)] {
        let calls = std::sync::atomic::AtomicUsize::new(0);
        let registry = Registry::start(move |_| match calls.fetch_add(1, std::sync::atomic::Ordering::SeqCst) {
            0 => Reply::Answer(429, vec![("Retry-After", wait.to_owned())], Vec::new()),
            _ => ok(MANIFEST_TYPE, &manifest_of(&[])),
        })
        .await;
        let start = Instant::now();
        let answer = registry.client().resolve(&registry.image(":1"), later()).await;
        assert_eq!(matches!(answer, Lookup::Found(_)), is_answered, "{wait}: {answer:?}");
        assert!(start.elapsed() < Duration::from_secs(5));
    }
}

#[tokio::test]
async fn offline_sends_nothing() {
    let registry = Registry::start(|_| status(404)).await;
    let options = RegistryOptions { hosts: vec![registry.plain()], offline: true, ..RegistryOptions::default() };
    let client = RegistryClient::new(options).unwrap();
    let answer = client.resolve(&registry.image(":1"), later()).await;
    assert_eq!(cause(&answer), Cause::Unreachable);
    assert!(message(&answer).contains("--offline"), "{answer:?}");
    assert!(registry.seen().is_empty());
}

/// T15: an image name in a Pod must not reach services of the node or of the cloud.
#[tokio::test]
async fn t15_an_unconfigured_loopback_host_is_not_asked_and_not_redirected_to() {
    let hidden = Registry::start(|_| status(404)).await;
    let answer = client(vec![]).resolve(&hidden.image(":1"), later()).await;
    assert_eq!(cause(&answer), Cause::Unreachable);
    let by_name =
        portreeve_policies::image::ImageReference::parse(&format!("localhost:{}/demo/app:1", hidden.address.port()));
    let answer = client(vec![]).resolve(&by_name.unwrap(), Deadline::after(Duration::from_secs(5))).await;
    assert_eq!(cause(&answer), Cause::Unreachable);
    let target = format!("http://{}/v2/", hidden.host());
    let redirecting = Registry::start(move |_| Reply::Answer(302, vec![("Location", target.clone())], vec![])).await;
    let answer = redirecting.client().resolve(&redirecting.image(":1"), later()).await;
    assert_eq!(cause(&answer), Cause::Unreachable);
    assert!(message(&answer).contains(&format!("redirects there, to http://{}", hidden.host())), "{answer:?}");
    assert!(hidden.seen().is_empty(), "{:?}", hidden.seen());
}
