//! Group commit, full disks and full queues.

use jiff::Timestamp;
use portreeve_reports::Verdict;
use tokio_util::sync::CancellationToken;

use super::*;

/// Leaves an SQLite database no room to grow; `None` gives it room again.
async fn limit_pages(store: &Store, room: Option<i64>) {
    let mut transaction = store.inner.writer.begin().await.unwrap();
    let rows = transaction.session().rows(&engine::Statement::new("PRAGMA page_count")).await.unwrap();
    transaction.commit().await.unwrap();
    let pages = rows[0].number("page_count").unwrap();
    let limit = room.map_or(1_000_000, |room| pages + room).to_string();
    let limited = |target| match target {
        writer::Target::Sqlite(options) => writer::Target::Sqlite(options.pragma("max_page_count", limit)),
        writer::Target::Postgres(_) => panic!("only a file has pages"),
    };
    store.inner.writer.reconnect_with(limited).await;
}

fn large(name: &str, second: i64) -> SubjectFindings {
    let subject = deployment(name, "app");
    let finding = worded(subject.clone(), "C-0057", Verdict::Fail, &"x".repeat(100_000));
    SubjectFindings { subject: subject.key(), findings: vec![finding], at: at(second) }
}

#[tokio::test]
async fn a_full_disk_is_an_error_that_is_counted_and_reported_on_recovery() {
    let fixture = Fixture::new(Engine::Sqlite).await;
    let store = &fixture.store;
    for n in 0..3 {
        limit_pages(store, Some(2)).await;
        let error = store.record(large(&format!("d-{n}"), 1)).await.unwrap_err();
        assert!(error.to_string().contains("is full"), "{error:?}");
    }
    let away = StoreHealth { is_writable: false, lost_pending: 3, lost_total: 3 };
    assert_eq!(store.health(), away);
    assert_eq!(store.counts().borrow().with_verdict(Verdict::Fail), 0);
    // A judging that changes nothing needs no room, and proves none.
    let unchanged = hub(vec![judged(deployment("hub", "app"), "C-0057", Verdict::Pass)], 1);
    assert_eq!(store.record(unchanged).await.unwrap(), Changes::default());
    assert_eq!(store.health(), away);
    limit_pages(store, None).await;
    let changes = store.record(large("d-0", 2)).await.unwrap();
    assert_eq!(changes, Changes { opened: 1, lost: 3, ..Changes::default() });
    assert_eq!(store.record(large("d-1", 2)).await.unwrap().lost, 0);
    assert_eq!(store.health(), StoreHealth { is_writable: true, lost_pending: 0, lost_total: 3 });
}

async fn a_record_that_the_store_refuses_does_not_fail_its_group(engine: Engine) {
    let fixture = Fixture::new(engine).await;
    fixture.execute("CREATE UNIQUE INDEX only_once ON decisions (uid)").await;
    let (recorder, handle) = recorder(fixture.store.clone(), Retention::default());
    let finding = judged(deployment("hub", "app"), "C-0057", Verdict::Fail);
    let found = handle.send(Record::Findings(hub(vec![finding], 1)));
    let [first, twice, other] = ["u-1", "u-1", "u-2"].map(|uid| handle.send(Record::Decision(decision(uid, 1))));
    drop(handle);
    recorder.run(CancellationToken::new()).await;
    assert_eq!(found.committed().await.unwrap().opened, 1);
    assert!(first.committed().await.is_ok() && other.committed().await.is_ok());
    assert!(matches!(twice.committed().await, Err(NotRecorded::Failed(_))));
    assert_eq!(fixture.store.health(), StoreHealth { is_writable: true, ..fixture.store.health() });
    assert_eq!((fixture.store.health().lost_total, fixture.store.decisions(9).await.unwrap().len()), (1, 2));
}

async fn the_recorder_commits_what_waits_together_and_acknowledges_after_the_commit(engine: Engine) {
    let fixture = Fixture::new(engine).await;
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

async fn a_full_queue_loses_counted_and_never_waits(engine: Engine) {
    let fixture = Fixture::new(engine).await;
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

async fn shutdown_commits_what_waits_and_refuses_what_comes_later(engine: Engine) {
    let fixture = Fixture::new(engine).await;
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
    let fixture = Fixture::new(Engine::Sqlite).await;
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
    let fixture = Fixture::new(Engine::Sqlite).await;
    let store = fixture.store.clone();
    let (recorder, handle) = recorder(store.clone(), Retention::default());
    let told = async {
        for n in [0, 1, 2, 0, 0] {
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

#[tokio::test]
async fn why_records_are_not_stored_is_said_once_until_it_is_something_else_or_over() {
    let fixture = Fixture::new(Engine::Sqlite).await;
    let (mut recorder, _handle) = recorder(fixture.store.clone(), Retention::default());
    let full = || Err(NotRecorded::Failed("full".to_owned()));
    assert_eq!(recorder.news(&[full(), full()]), full().err());
    assert_eq!(recorder.news(&[full()]), None);
    assert_eq!(recorder.news(&[Ok(Changes::default()), full()]), None);
    assert_eq!(recorder.news(&[Err(NotRecorded::Fenced)]), Some(NotRecorded::Fenced));
    assert_eq!(recorder.news(&[Ok(Changes::default())]), None);
    assert_eq!(recorder.news(&[full()]), full().err());
}

on_both_engines! {
    the_recorder_commits_what_waits_together_and_acknowledges_after_the_commit,
    a_full_queue_loses_counted_and_never_waits,
    shutdown_commits_what_waits_and_refuses_what_comes_later,
    a_record_that_the_store_refuses_does_not_fail_its_group,
}

#[tokio::test]
async fn an_outage_of_postgresql_is_counted_and_told_on_recovery() {
    let mut server = portreeve_tests::postgres::Postgres::trusting().await;
    let url: StoreUrl = server.url("postgres").parse().unwrap();
    let store = Store::open(&url, "demo").await.unwrap();
    store.record_decision(decision("before", 1)).await.unwrap();
    server.kill();
    for n in 0..3 {
        let error = store.record(large(&format!("d-{n}"), 1)).await.unwrap_err();
        assert!(matches!(error, NotRecorded::Failed(_)), "{error:?}");
    }
    assert_eq!(store.health(), StoreHealth { is_writable: false, lost_pending: 3, lost_total: 3 });
    server.start_again().await;
    let changes = store.record(large("d-0", 2)).await.unwrap();
    assert_eq!(changes, Changes { opened: 1, lost: 3, ..Changes::default() });
    assert_eq!(store.health(), StoreHealth { is_writable: true, lost_pending: 0, lost_total: 3 });
    assert_eq!(store.decisions(9).await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_postgresql_that_only_reads_is_an_outage_in_which_pages_are_read() {
    let fixture = Fixture::new(Engine::Postgres).await;
    let store = &fixture.store;
    store.record(large("d-0", 1)).await.unwrap();
    let end_sessions = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
                        WHERE datname = current_database() AND pid <> pg_backend_pid()";
    let name = fixture.url.to_string().rsplit('/').next().unwrap().to_owned();
    let url = fixture.url.to_string();
    execute(&url, &format!("ALTER DATABASE {name} SET default_transaction_read_only = on")).await;
    execute(&url, end_sessions).await;
    assert!(store.record(large("d-1", 1)).await.is_err());
    assert_eq!(store.health(), StoreHealth { is_writable: false, lost_pending: 1, lost_total: 1 });
    assert_eq!(store.subjects().await.unwrap().len(), 1);
    let writable = format!("SET TRANSACTION READ WRITE; ALTER DATABASE {name} RESET default_transaction_read_only");
    execute(&url, &writable).await;
    assert_eq!(store.record(large("d-1", 2)).await.unwrap().lost, 1);
}

#[tokio::test]
async fn a_server_that_was_away_between_two_writes_costs_nothing() {
    let mut server = portreeve_tests::postgres::Postgres::trusting().await;
    let store = Store::open(&server.url("postgres").parse().unwrap(), "demo").await.unwrap();
    store.record_decision(decision("before", 1)).await.unwrap();
    server.kill();
    server.start_again().await;
    store.record_decision(decision("after", 2)).await.unwrap();
    assert_eq!((store.health().lost_total, store.decisions(9).await.unwrap().len()), (0, 2));
}
