//! One set of requests for many questions, and how long an answer stands.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use futures::future::join_all;
use portreeve_reports::Cause;
use portreeve_trust::evidence::Lookup;

use super::fixture::*;
use crate::registry::{Deadline, RegistryClient, RegistryOptions};

fn one_signature() -> impl Fn(&Seen) -> Reply {
    let manifest = manifest_of(&[("application/vnd.dev.cosign.simplesigning.v1+json", b"payload")]);
    move |seen: &Seen| match () {
        () if seen.asks_for(".sig") => ok(MANIFEST_TYPE, &manifest),
        () if seen.target.contains("/blobs/") => ok("application/octet-stream", b"payload"),
        () => status(404),
    }
}

#[tokio::test]
async fn a_burst_of_questions_about_one_image_is_one_set_of_requests() {
    let registry = Registry::start(one_signature()).await;
    let (client, image, digest) = (registry.client(), registry.image(":1"), some_digest());
    let answers = join_all((0..100).map(|_| client.evidence(&image, &digest, later()))).await;
    assert!(answers.iter().all(|answer| matches!(answer.tag_signatures, Lookup::Found(_))));
    assert_eq!(registry.seen().len(), 4, "tag, its payload, referrers, fallback tag");
    let statistics = client.statistics();
    assert_eq!((statistics.gathered, statistics.shared), (1, 99));
}

#[tokio::test]
async fn signed_evidence_is_kept_and_unsigned_only_shortly() {
    for (is_signed, requests_later) in [(true, 0), (false, 3)] {
        let signed = one_signature();
        let registry = Registry::start(move |seen| if is_signed { signed(seen) } else { status(404) }).await;
        let options = RegistryOptions {
            hosts: vec![registry.plain()],
            unsigned_lifetime: Duration::ZERO,
            ..RegistryOptions::default()
        };
        let client = RegistryClient::new(options).unwrap();
        client.evidence(&registry.image(":1"), &some_digest(), later()).await;
        let before = registry.seen().len();
        client.evidence(&registry.image(":1"), &some_digest(), later()).await;
        assert_eq!(registry.seen().len() - before, requests_later, "signed: {is_signed}");
    }
}

#[tokio::test]
async fn somebody_elses_short_deadline_does_not_decide() {
    let is_slow = std::sync::Arc::new(AtomicBool::new(true));
    let flag = std::sync::Arc::clone(&is_slow);
    let registry = Registry::start(move |_| if flag.load(Ordering::SeqCst) { Reply::Hang } else { status(404) }).await;
    let (client, image, digest) = (registry.client(), registry.image(":1"), some_digest());
    let patient = async {
        // Joins the flight of the hasty question, which starts first.
        tokio::task::yield_now().await;
        client.evidence(&image, &digest, later()).await
    };
    let hasty = async {
        let evidence = client.evidence(&image, &digest, soon()).await;
        is_slow.store(false, Ordering::SeqCst);
        evidence
    };
    let start = Instant::now();
    let (hasty, patient) = futures::join!(hasty, patient);
    assert!(start.elapsed() < Duration::from_millis(2400), "the hasty answer was kept: {:?}", start.elapsed());
    assert_eq!(cause(&hasty.referrers), Cause::TimedOut);
    assert_eq!(patient.referrers, Lookup::Absent, "{patient:?}");
    assert_eq!(client.statistics().gathered, 2);
}

#[tokio::test]
async fn a_question_that_was_given_up_does_not_hang_the_others() {
    let registry = Registry::start(one_signature()).await;
    let (client, image, digest) = (registry.client(), registry.image(":1"), some_digest());
    let given_up = tokio::time::timeout(Duration::ZERO, client.evidence(&image, &digest, later())).await;
    assert!(given_up.is_err());
    let evidence = client.evidence(&image, &digest, later()).await;
    assert!(matches!(evidence.tag_signatures, Lookup::Found(_)));
}

#[tokio::test]
async fn a_question_without_time_left_sends_nothing_and_knows_nothing() {
    let registry = Registry::start(|_| Reply::Hang).await;
    let evidence =
        registry.client().evidence(&registry.image(":1"), &some_digest(), Deadline::after(Duration::ZERO)).await;
    assert_eq!(cause(&evidence.tag_signatures), Cause::TimedOut);
    assert_eq!(cause(&evidence.referrers), Cause::TimedOut);
}

/// T01: a tag that moved is seen, and one that stands is not read again.
#[tokio::test]
async fn t01_a_tag_is_confirmed_by_head_and_read_again_when_it_moved() {
    let has_moved = std::sync::Arc::new(AtomicBool::new(false));
    let flag = std::sync::Arc::clone(&has_moved);
    let registry = Registry::start(move |_| {
        let layer: &[u8] = if flag.load(Ordering::SeqCst) { b"new" } else { b"old" };
        let manifest = manifest_of(&[("a/b", layer)]);
        let digest = crate::registry::wire::digest_of(&manifest).to_string();
        let headers = vec![("Content-Type", MANIFEST_TYPE.to_owned()), ("Docker-Content-Digest", digest)];
        Reply::Answer(200, headers, manifest)
    })
    .await;
    let options =
        RegistryOptions { hosts: vec![registry.plain()], tag_lifetime: Duration::ZERO, ..RegistryOptions::default() };
    let client = RegistryClient::new(options).unwrap();
    let first = client.resolve(&registry.image(":1"), later()).await;
    assert_eq!(client.resolve(&registry.image(":1"), later()).await, first);
    has_moved.store(true, Ordering::SeqCst);
    assert_ne!(client.resolve(&registry.image(":1"), later()).await, first);
    let methods: Vec<String> = registry.seen().into_iter().map(|seen| seen.method).collect();
    assert_eq!(methods, ["GET", "HEAD", "HEAD", "GET"]);
}

#[tokio::test]
async fn a_host_is_asked_by_so_many_requests_at_once_and_no_more() {
    let registry = Registry::start(|_| Reply::Hang).await;
    let client = registry.client();
    let images: Vec<_> = (0..20).map(|number| registry.image(&format!(":{number}"))).collect();
    let answers = join_all(images.iter().map(|image| client.resolve(image, soon()))).await;
    assert!(answers.iter().all(|answer| cause(answer) == Cause::TimedOut));
    assert_eq!(registry.seen().len(), RegistryOptions::default().concurrency);
}
