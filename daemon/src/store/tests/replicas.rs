//! Several processes on one store: who writes findings, what they see of each other, evidence that they share.

use std::collections::BTreeMap;

use portreeve_policies::image::{Digest, Repository};
use portreeve_reports::Verdict;
use portreeve_trust::evidence::{ImageEvidence, Lookup, SignatureLayer};
use tokio_util::sync::CancellationToken;

use super::*;
use crate::registry::EvidenceShelf as _;
use crate::runtime::leader::Epoch;

fn found(second: i64) -> Record {
    Record::Findings(hub(vec![judged(deployment("hub", "app"), "C-0057", Verdict::Fail)], second))
}

async fn findings_of_an_older_epoch_are_refused_and_nothing_else_is(engine: Engine) {
    let fixture = Fixture::new(engine).await;
    let store = &fixture.store;
    store.fence(Epoch::new(7)).await.unwrap();
    let (recorder, handle) = recorder(store.clone(), Retention::default());
    let [old, now] = [6, 7].map(Epoch::new).map(|epoch| handle.of_leader(epoch));
    let refused = [old.send(found(1)), old.send(Record::Deleted { subject: deployment("hub", "").key(), at: at(1) })];
    let answered = [handle.send(Record::Decision(decision("u-1", 1))), old.send(Record::Decision(decision("u-2", 1)))];
    let taken = now.send(found(1));
    drop((handle, old, now));
    recorder.run(CancellationToken::new()).await;
    for ack in refused {
        assert_eq!(ack.committed().await, Err(NotRecorded::Fenced));
    }
    for ack in answered {
        ack.committed().await.unwrap();
    }
    assert_eq!(taken.committed().await.unwrap().opened, 1);
    // The leader of now finds again what was refused: nothing is lost, and the store can be written.
    assert_eq!(store.health(), StoreHealth { is_writable: true, lost_pending: 0, lost_total: 0 });
}

async fn an_epoch_never_goes_back(engine: Engine) {
    let fixture = Fixture::new(engine).await;
    fixture.store.fence(Epoch::new(7)).await.unwrap();
    fixture.store.fence(Epoch::new(7)).await.unwrap();
    assert!(matches!(fixture.store.fence(Epoch::new(6)).await, Err(StoreError::Fenced)));
    let fixture = fixture.reopened().await;
    assert_eq!(fixture.store.epoch().await.unwrap(), Epoch::new(7));
    assert!(matches!(fixture.store.fence(Epoch::new(6)).await, Err(StoreError::Fenced)));
    let entry = fixture.store.entry(found(1), Some(Epoch::new(6)));
    assert_eq!(fixture.store.commit(&[entry]).await, [Err(NotRecorded::Fenced)]);
}

on_both_engines! {
    findings_of_an_older_epoch_are_refused_and_nothing_else_is,
    an_epoch_never_goes_back,
}

#[tokio::test]
async fn a_fence_that_another_process_raises_holds_here() {
    let fixture = Fixture::new(Engine::Postgres).await;
    let other = Store::open(&fixture.url, "demo").await.unwrap();
    let [before, after] = [(); 2].map(|()| fixture.store.entry(found(1), Some(Epoch::new(1))));
    fixture.store.fence(Epoch::new(1)).await.unwrap();
    assert!(fixture.store.commit(&[before]).await[0].is_ok());
    other.fence(Epoch::new(2)).await.unwrap();
    assert_eq!(fixture.store.commit(&[after]).await, [Err(NotRecorded::Fenced)]);
    // Another cluster in the same database has leaders of its own.
    let elsewhere = Store::open(&fixture.url, "elsewhere").await.unwrap();
    elsewhere.fence(Epoch::new(1)).await.unwrap();
}

#[tokio::test]
async fn what_one_process_writes_the_other_counts() {
    let fixture = Fixture::new(Engine::Postgres).await;
    let other = Store::open(&fixture.url, "demo").await.unwrap();
    let (recorder, handle) = recorder(other.clone(), Retention::default());
    let mut counts = other.counts();
    let seen = async {
        fixture.store.record(hub(vec![judged(deployment("hub", "app"), "C-0057", Verdict::Fail)], 1)).await.unwrap();
        counts.wait_for(|counts| counts.with_verdict(Verdict::Fail) == 1).await.unwrap();
        // Both write, and both come to the same numbers.
        let proxy = |name: &str| {
            let subject = deployment(name, "app");
            let findings = vec![judged(subject.clone(), "C-0057", Verdict::Fail)];
            SubjectFindings { subject: subject.key(), findings, at: at(2) }
        };
        fixture.store.record(proxy("there")).await.unwrap();
        handle.send(Record::Findings(proxy("here"))).committed().await.unwrap();
        counts.wait_for(|counts| counts.with_verdict(Verdict::Fail) == 3).await.unwrap();
        drop(handle);
    };
    tokio::join!(recorder.run(CancellationToken::new()), seen);
}

#[tokio::test]
async fn writers_of_one_subject_come_one_after_the_other() {
    let fixture = Fixture::new(Engine::Postgres).await;
    let other = Store::open(&fixture.url, "demo").await.unwrap();
    let writes = |store: Store| async move {
        for second in 1..40 {
            let verdict = if second % 2 == 0 { Verdict::Pass } else { Verdict::Fail };
            store.record(hub(vec![judged(deployment("hub", "app"), "C-0057", verdict)], second)).await.unwrap();
        }
    };
    tokio::join!(writes(fixture.store.clone()), writes(other.clone()));
    assert_eq!((fixture.store.health().lost_total, other.health().lost_total), (0, 0));
    let fixture = fixture.reopened().await;
    assert_eq!(fixture.store.counts().borrow().with_verdict(Verdict::Fail), 1);
}

#[tokio::test]
async fn decisions_of_two_processes_are_all_kept() {
    let fixture = Fixture::new(Engine::Postgres).await;
    let other = Store::open(&fixture.url, "demo").await.unwrap();
    for store in [&fixture.store, &other] {
        store.record_decision(decision("u", 1)).await.unwrap();
    }
    assert_eq!(fixture.store.decisions(9).await.unwrap().len(), 2);
}

#[tokio::test]
async fn a_name_with_a_nul_is_stored_and_found() {
    let fixture = Fixture::new(Engine::Postgres).await;
    let subject = deployment("a\0b", "app");
    let finding = worded(subject.clone(), "C-0057", Verdict::Fail, "c\0d");
    let batch = SubjectFindings { subject: subject.key(), findings: vec![finding], at: at(1) };
    assert_eq!(fixture.store.record(batch).await.unwrap().opened, 1);
    let query = FindingQuery { subject: Some(subject.key()), limit: 9, ..FindingQuery::default() };
    assert_eq!(fixture.store.findings(&query).await.unwrap().total, 1);
}

fn image(number: usize) -> (Repository, Digest) {
    let digest = Digest::parse(&format!("sha256:{number:064x}")).unwrap();
    (portreeve_policies::image::ImageReference::parse("quay.io/n/h:1").unwrap().repository, digest)
}

fn evidence(number: usize, bytes: usize) -> ImageEvidence {
    let (repository, digest) = image(number);
    let layer = SignatureLayer {
        media_type: "application/vnd.dev.cosign.simplesigning.v1+json".into(),
        payload: Lookup::Found(vec![7; bytes]),
        annotations: BTreeMap::new(),
    };
    ImageEvidence {
        repository: repository.to_string(),
        digest,
        tag_signatures: Lookup::Found(vec![layer]),
        tag_attestations: None,
        referrers: Lookup::Absent,
    }
}

/// Puts evidence onto the shelf of a store and waits until it is there.
async fn put(store: &Store, all: &[ImageEvidence]) {
    let (recorder, handle) = recorder(store.clone(), Retention::default());
    let shelf = Shelf::of(store, &handle).unwrap();
    all.iter().for_each(|evidence| shelf.put(evidence));
    drop((shelf, handle));
    recorder.run(CancellationToken::new()).await;
}

async fn take(store: &Store, number: usize) -> Option<ImageEvidence> {
    let (_recorder, handle) = recorder(store.clone(), Retention::default());
    let (repository, digest) = image(number);
    Shelf::of(store, &handle).unwrap().take(&repository, &digest).await.map(|shelved| shelved.evidence)
}

#[tokio::test]
async fn evidence_of_one_process_is_there_for_the_other_and_never_another_image_s() {
    let fixture = Fixture::new(Engine::Postgres).await;
    let other = Store::open(&fixture.url, "demo").await.unwrap();
    put(&fixture.store, &[evidence(1, 100)]).await;
    assert_eq!(take(&other, 1).await, Some(evidence(1, 100)));
    assert_eq!(take(&other, 2).await, None);
    let elsewhere = Store::open(&fixture.url, "elsewhere").await.unwrap();
    assert_eq!(take(&elsewhere, 1).await, None, "clusters do not share");
    // Somebody who can write the database puts one image's evidence under another's digest.
    let (_, digest) = image(2);
    let text = format!("UPDATE evidence SET digest = '{digest}'");
    execute(&fixture.url.to_string(), &text).await;
    assert_eq!(take(&other, 2).await, None);
}

#[tokio::test]
async fn shared_evidence_is_bounded_in_age_and_size() {
    let fixture = Fixture::new(Engine::Postgres).await;
    put(&fixture.store, &[evidence(1, 2 << 20)]).await;
    assert_eq!(take(&fixture.store, 1).await, None, "one image's is too large");
    put(&fixture.store, &(0..100).map(|number| evidence(number, 700_000)).collect::<Vec<_>>()).await;
    let mut kept = 0;
    for number in 0..100 {
        kept += u64::from(take(&fixture.store, number).await.is_some());
    }
    assert!((60..=72).contains(&kept), "{kept} of about 934 kB each have room in 64 MiB");
    fixture.execute("UPDATE evidence SET gathered_at = gathered_at - 600000").await;
    assert_eq!(take(&fixture.store, 0).await, None, "it is too old");
    put(&fixture.store, &[evidence(200, 100)]).await;
    assert_eq!(take(&fixture.store, 200).await, Some(evidence(200, 100)), "what is old makes room");
    assert_eq!(fixture.store.health().lost_total, 0, "what was not shared is not lost");
}

#[tokio::test]
async fn a_file_has_no_shelf_because_nobody_could_use_it() {
    let fixture = Fixture::new(Engine::Sqlite).await;
    let (_recorder, handle) = recorder(fixture.store.clone(), Retention::default());
    assert!(Shelf::of(&fixture.store, &handle).is_none());
}
