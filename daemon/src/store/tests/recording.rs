//! Group commit, full disks and full queues.

use jiff::Timestamp;
use portreeve_reports::Verdict;
use tokio_util::sync::CancellationToken;

use super::*;

/// Leaves the database no room to grow; `None` gives it room again.
async fn limit_pages(store: &Store, room: Option<i64>) {
    let pages: i64 = sqlx::query_scalar("PRAGMA page_count").fetch_one(&store.inner.writer).await.unwrap();
    let limit = room.map_or(1_000_000, |room| pages + room);
    let text = sqlx::AssertSqlSafe(format!("PRAGMA max_page_count = {limit}"));
    sqlx::query(text).execute(&store.inner.writer).await.unwrap();
}

fn large(name: &str, second: i64) -> SubjectFindings {
    let subject = deployment(name, "app");
    let finding = worded(subject.clone(), "C-0057", Verdict::Fail, &"x".repeat(100_000));
    SubjectFindings { subject: subject.key(), findings: vec![finding], at: at(second) }
}

#[tokio::test]
async fn a_full_disk_is_an_error_that_is_counted_and_reported_on_recovery() {
    let fixture = Fixture::new().await;
    let store = &fixture.store;
    for n in 0..3 {
        // The limit is the connection's, and a failed commit ends that.
        limit_pages(store, Some(2)).await;
        let error = store.record(large(&format!("d-{n}"), 1)).await.unwrap_err();
        assert!(matches!(error, StoreError::Full(_)), "{error:?}");
    }
    assert_eq!(store.health(), StoreHealth { is_writable: false, lost_pending: 3, lost_total: 3 });
    assert_eq!(store.counts().borrow().with_verdict(Verdict::Fail), 0);
    limit_pages(store, None).await;
    let changes = store.record(large("d-0", 2)).await.unwrap();
    assert_eq!(changes, Changes { opened: 1, lost: 3, ..Changes::default() });
    assert_eq!(store.record(large("d-1", 2)).await.unwrap().lost, 0);
    assert_eq!(store.health(), StoreHealth { is_writable: true, lost_pending: 0, lost_total: 3 });
}

#[tokio::test]
async fn what_a_failing_chunk_leaves_unwritten_is_counted_too() {
    let fixture = Fixture::new().await;
    limit_pages(&fixture.store, Some(2)).await;
    let passes = |n: usize| {
        let subject = deployment(&format!("p-{n}"), "app");
        let findings = vec![judged(subject.clone(), "C-0057", Verdict::Pass); 1_500];
        SubjectFindings { subject: subject.key(), findings, at: at(1) }
    };
    let batches = vec![passes(1), large("d-1", 1), passes(2), large("d-2", 1)];
    assert!(fixture.store.record_many(batches).await.is_err());
    // The first chunk holds p-1 and d-1; p-2 and d-2 were never tried.
    assert_eq!(fixture.store.health().lost_total, 4);
}

#[tokio::test]
async fn the_recorder_commits_what_waits_together_and_acknowledges_after_the_commit() {
    let fixture = Fixture::new().await;
    let (recorder, handle) = recorder(fixture.store.clone(), Retention::default());
    let acks: Vec<Ack> = (0..100)
        .map(|n| {
            let subject = deployment(&format!("d-{n}"), "app");
            let findings = vec![judged(subject.clone(), "C-0057", Verdict::Fail)];
            handle.send(Record::Findings(SubjectFindings { subject: subject.key(), findings, at: at(1) }))
        })
        .collect();
    let answered = handle.send(Record::Decision(decision("u-1", 1)));
    let gone = handle.send(Record::Deleted { subject: deployment("d-0", "").key(), at: at(2) });
    let committed = async {
        for ack in acks {
            assert_eq!(ack.committed().await.unwrap().opened, 1);
        }
        answered.committed().await.unwrap();
        assert_eq!(gone.committed().await.unwrap().resolved, 1);
        drop(handle);
    };
    tokio::join!(recorder.run(CancellationToken::new()), committed);
    let metrics = &fixture.store.inner.metrics;
    assert_eq!((metrics.opened.get(), metrics.resolved.get()), (100, 1));
    let fixture = fixture.reopened().await;
    assert_eq!(fixture.store.counts().borrow().with_verdict(Verdict::Fail), 99);
    assert_eq!(fixture.store.decisions(9).await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_full_queue_loses_counted_and_never_waits() {
    let fixture = Fixture::new().await;
    let (recorder, handle) = recorder(fixture.store.clone(), Retention::default());
    let sent = 5_000;
    let acks: Vec<Ack> = (0..sent).map(|n| handle.send(Record::Decision(decision(&format!("u-{n}"), 1)))).collect();
    let lost = fixture.store.health().lost_total;
    assert_eq!(lost, 5_000 - 4_096);
    drop(handle);
    recorder.run(CancellationToken::new()).await;
    let mut full = 0;
    let mut reported = 0;
    for ack in acks {
        match ack.committed().await {
            Ok(changes) => reported += changes.lost,
            Err(error) => full += u64::from(error == NotRecorded::Full),
        }
    }
    assert_eq!((full, reported), (lost, lost));
    assert_eq!(fixture.store.decisions(10_000).await.unwrap().len(), 4_096);
}

#[tokio::test]
async fn shutdown_commits_what_waits_and_refuses_what_comes_later() {
    let fixture = Fixture::new().await;
    let (recorder, handle) = recorder(fixture.store.clone(), Retention::default());
    let waiting = handle.send(Record::Decision(decision("u-1", 1)));
    let shutdown = CancellationToken::new();
    shutdown.cancel();
    recorder.run(shutdown).await;
    assert!(waiting.committed().await.is_ok());
    let late = handle.send(Record::Decision(decision("u-2", 1)));
    assert_eq!(late.committed().await, Err(NotRecorded::Ended));
    assert_eq!(fixture.store.health().lost_total, 1);
}

#[tokio::test]
async fn a_failed_group_tells_every_door() {
    let fixture = Fixture::new().await;
    let (recorder, handle) = recorder(fixture.store.clone(), Retention::default());
    limit_pages(&fixture.store, Some(2)).await;
    let acks = [handle.send(Record::Findings(large("d-1", 1))), handle.send(Record::Decision(decision("u-1", 1)))];
    drop(handle);
    recorder.run(CancellationToken::new()).await;
    for ack in acks {
        assert!(matches!(ack.committed().await, Err(NotRecorded::Failed(why)) if why.contains("is full")));
    }
    assert_eq!(fixture.store.health().lost_total, 2);
}

#[tokio::test]
async fn the_recorder_tells_of_what_was_lost_in_a_finding_and_a_later_scan_resolves_it() {
    let fixture = Fixture::new().await;
    let store = fixture.store.clone();
    let (recorder, handle) = recorder(store.clone(), Retention::default());
    let told = async {
        for n in 0..3 {
            limit_pages(&store, Some(2)).await;
            let ack = handle.send(Record::Findings(large(&format!("d-{n}"), 1)));
            assert!(matches!(ack.committed().await, Err(NotRecorded::Failed(_))));
        }
        limit_pages(&store, None).await;
        let mut counts = store.counts();
        handle.send(Record::Findings(large("d-0", 2))).committed().await.unwrap();
        counts.wait_for(|counts| counts.with_verdict(Verdict::Fail) == 2).await.unwrap();
        let query = FindingQuery { code: Some("PR-0005".to_owned()), limit: 10, ..FindingQuery::default() };
        let lost = store.findings(&query).await.unwrap().items.remove(0);
        assert_eq!((lost.state, lost.message.split(' ').next()), (State::Open, Some("3")));
        let scanned = |at| {
            let findings = vec![lost::found_again(store.cluster()).unwrap()];
            SubjectFindings { subject: lost.subject_key.clone(), findings, at }
        };
        // A scan that began before the outage ended has not seen everything since.
        store.record(scanned(Timestamp::UNIX_EPOCH)).await.unwrap();
        assert_eq!(counts.borrow().with_verdict(Verdict::Fail), 2);
        store.record(scanned(Timestamp::now())).await.unwrap();
        assert_eq!(counts.borrow().with_verdict(Verdict::Fail), 1);
        drop(handle);
    };
    tokio::join!(recorder.run(CancellationToken::new()), told);
}
