//! Promises of the store: life of findings, durability, refusals, bounds.

/// Runs each of the tests on SQLite and on PostgreSQL.
macro_rules! on_both_engines {
    ($($name:ident,)+) => {
        mod sqlite {
            $(#[tokio::test] async fn $name() { super::$name($crate::store::tests::Engine::Sqlite).await; })+
        }
        mod postgres {
            $(#[tokio::test] async fn $name() { super::$name($crate::store::tests::Engine::Postgres).await; })+
        }
    };
}

mod against_model;
mod opening;
mod recording;
mod replicas;

use jiff::Timestamp;
use portreeve_reports::SubjectKey;
use portreeve_reports::{Cause, Code, Finding, FindingBuilder, Location, ObjectRef, Severity, Subject, Verdict};
use portreeve_tests::postgres::Postgres;
use sqlx::{Connection as _, Executor as _};
use tempfile::TempDir;
use tokio::sync::OnceCell;

use super::*;

pub(super) fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + second).unwrap()
}

pub(super) fn deployment(name: &str, container: &str) -> Subject {
    Subject::Object(ObjectRef {
        api_version: "apps/v1".into(),
        kind: "Deployment".into(),
        namespace: "jhub".into(),
        name: name.into(),
        container: Some(container.into()).filter(|_| !container.is_empty()),
        owner: None,
    })
}

pub(super) fn judged(subject: Subject, code: &str, verdict: Verdict) -> Finding {
    worded(subject, code, verdict, "privileged is true")
}

pub(super) fn worded(subject: Subject, code: &str, verdict: Verdict, message: &str) -> Finding {
    let builder = FindingBuilder::new(Code::parse(code).unwrap(), Severity::High, verdict)
        .subject(subject)
        .message(message)
        .location(Location { object_path: "spec".into(), ..Location::default() });
    let builder = if verdict == Verdict::Unknown { builder.cause(Cause::Unreachable) } else { builder };
    builder.build().unwrap()
}

/// A judging of the deployment `hub`.
pub(super) fn hub(findings: Vec<Finding>, second: i64) -> SubjectFindings {
    SubjectFindings { subject: deployment("hub", "").key(), findings, at: at(second) }
}

/// The ways to write that tests have beside the recorder.
impl Store {
    async fn commit_all(&self, records: Vec<Record>) -> Result<Changes, NotRecorded> {
        let entries: Vec<_> = records.into_iter().map(|record| self.entry(record, None)).collect();
        let mut changes = Changes::default();
        for done in self.commit(&entries).await {
            changes += done?;
        }
        Ok(changes)
    }

    pub(crate) async fn record(&self, batch: SubjectFindings) -> Result<Changes, NotRecorded> {
        self.record_many(vec![batch]).await
    }

    pub(crate) async fn record_many(&self, batches: Vec<SubjectFindings>) -> Result<Changes, NotRecorded> {
        self.commit_all(batches.into_iter().map(Record::Findings).collect()).await
    }

    async fn deleted(&self, subject: SubjectKey, at: Timestamp) -> Result<Changes, NotRecorded> {
        self.commit_all(vec![Record::Deleted { subject, at }]).await
    }

    async fn record_decision(&self, decision: Decision) -> Result<Changes, NotRecorded> {
        self.commit_all(vec![Record::Decision(decision)]).await
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Engine {
    Sqlite,
    Postgres,
}

/// The server of this test process; each fixture has a database of its own on it.
async fn server() -> &'static Postgres {
    static SERVER: OnceCell<Postgres> = OnceCell::const_new();
    SERVER.get_or_init(Postgres::trusting).await
}

/// A new, empty database.
pub(super) async fn database() -> StoreUrl {
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    let server = server().await;
    let name = format!("store_{}", NUMBER.fetch_add(1, Ordering::Relaxed));
    execute(&server.url("postgres"), &format!("CREATE DATABASE {name} TEMPLATE template0")).await;
    server.url(&name).parse().unwrap()
}

/// Runs a statement on a server past the store.
pub(super) async fn execute(url: &str, text: &str) {
    let mut connection = sqlx::PgConnection::connect(url).await.unwrap();
    connection.execute(sqlx::AssertSqlSafe(text)).await.unwrap();
    connection.close().await.unwrap();
}

pub(super) struct Fixture {
    pub(super) folder: TempDir,
    pub(super) url: StoreUrl,
    pub(super) store: Store,
}

impl Fixture {
    pub(super) async fn new(engine: Engine) -> Self {
        let folder = TempDir::new().unwrap();
        let url = match engine {
            Engine::Sqlite => url(&folder),
            Engine::Postgres => database().await,
        };
        let store = Store::open(&url, "demo").await.unwrap();
        Self { folder, url, store }
    }

    /// Closes the store and opens it again.
    pub(super) async fn reopened(self) -> Self {
        let Self { folder, url, store } = self;
        store.close().await.unwrap();
        let store = Store::open(&url, "demo").await.unwrap();
        Self { folder, url, store }
    }

    /// Runs a statement on the writer's connection.
    pub(super) async fn execute(&self, text: &'static str) {
        let mut transaction = self.store.inner.writer.begin().await.unwrap();
        transaction.session().command(text).await.unwrap();
        transaction.commit().await.unwrap();
    }

    async fn record(&self, verdict: Verdict, second: i64) -> Changes {
        self.store.record(hub(vec![judged(deployment("hub", "app"), "C-0057", verdict)], second)).await.unwrap()
    }

    async fn only(&self) -> StoredFinding {
        let page = self.store.findings(&FindingQuery { limit: 10, ..FindingQuery::default() }).await.unwrap();
        assert_eq!((page.items.len(), page.total), (1, 1));
        page.items.into_iter().next().unwrap()
    }
}

on_both_engines! {
    a_finding_opens_changes_resolves_and_reopens,
    unknown_and_error_never_resolve_a_failure,
    a_new_unknown_opens_as_unknown_and_becomes_what_is_decided,
    a_removed_container_resolves_when_its_question_was_decided_elsewhere,
    a_question_that_was_not_asked_is_left_alone,
    a_judging_older_than_the_last_sighting_resolves_nothing,
    a_proven_deletion_resolves_all_of_the_subject_and_nothing_else,
    of_two_findings_with_one_fingerprint_the_worse_is_kept,
    passes_are_not_stored,
    a_restart_keeps_findings_decisions_scans_and_counts,
    another_clusters_findings_are_not_seen,
    a_query_filters_by_every_field_and_takes_text_literally,
    the_summary_counts_by_namespace_and_day,
    pruning_takes_the_old_and_the_many_but_never_what_is_open,
    a_huge_finding_is_stored_bounded_and_says_so,
    a_thousand_subjects_are_recorded_and_read_in_pages,
    only_what_blocks_and_what_could_have_been_known_counts_in_the_whole,
    what_nobody_asks_any_more_is_resolved_with_that_reason,
}

pub(super) fn url(folder: &TempDir) -> StoreUrl {
    StoreUrl::sqlite(folder.path().join("portreeve.db"))
}

pub(super) async fn open(folder: &TempDir) -> Result<Store, StoreError> {
    Store::open(&url(folder), "demo").await
}

async fn a_finding_opens_changes_resolves_and_reopens(engine: Engine) {
    let fixture = Fixture::new(engine).await;
    assert_eq!(fixture.record(Verdict::Fail, 1).await, Changes { opened: 1, ..Changes::default() });
    assert_eq!(fixture.record(Verdict::Fail, 2).await, Changes::default());
    assert_eq!(fixture.record(Verdict::Excepted, 3).await, Changes { changed: 1, ..Changes::default() });
    assert_eq!(fixture.record(Verdict::Pass, 4).await, Changes { resolved: 1, ..Changes::default() });
    let resolved = fixture.only().await;
    assert_eq!((resolved.state, resolved.resolved_at), (State::Resolved, Some(at(4))));
    assert_eq!(resolved.resolution, Some(Resolution::Decided));
    assert_eq!(fixture.record(Verdict::Fail, 5).await, Changes { reopened: 1, ..Changes::default() });
    let row = fixture.only().await;
    assert_eq!((row.state, row.verdict, row.reopened), (State::Open, Verdict::Fail, 1));
    assert_eq!((row.first_seen, row.last_seen, row.changed_at, row.resolved_at), (at(1), at(5), at(5), None));
    assert_eq!(row.resolution, None);
}

async fn unknown_and_error_never_resolve_a_failure(engine: Engine) {
    let fixture = Fixture::new(engine).await;
    fixture.record(Verdict::Fail, 1).await;
    assert_eq!(fixture.record(Verdict::Unknown, 2).await, Changes { changed: 1, ..Changes::default() });
    let row = fixture.only().await;
    assert_eq!((row.verdict, row.stale_cause.as_deref(), row.last_seen), (Verdict::Fail, Some("unreachable"), at(2)));
    assert_eq!(fixture.record(Verdict::Unknown, 3).await, Changes::default());
    fixture.record(Verdict::Error, 4).await;
    assert_eq!(fixture.only().await.stale_cause.as_deref(), Some("error"));
    assert_eq!(fixture.record(Verdict::Fail, 5).await, Changes { changed: 1, ..Changes::default() });
    assert_eq!(fixture.only().await.stale_cause, None);
}

async fn a_new_unknown_opens_as_unknown_and_becomes_what_is_decided(engine: Engine) {
    let fixture = Fixture::new(engine).await;
    fixture.record(Verdict::Unknown, 1).await;
    assert_eq!(fixture.only().await.verdict, Verdict::Unknown);
    fixture.record(Verdict::Fail, 2).await;
    assert_eq!(fixture.only().await.verdict, Verdict::Fail);
    assert_eq!(fixture.store.counts().borrow().with_verdict(Verdict::Unknown), 0);
}

async fn a_removed_container_resolves_when_its_question_was_decided_elsewhere(engine: Engine) {
    let fixture = Fixture::new(engine).await;
    let of = |container, verdict| judged(deployment("hub", container), "C-0057", verdict);
    fixture.store.record(hub(vec![of("app", Verdict::Fail), of("sidecar", Verdict::Fail)], 1)).await.unwrap();
    let undecided = fixture.store.record(hub(vec![of("app", Verdict::Unknown)], 2)).await.unwrap();
    assert_eq!(undecided.resolved, 0);
    let decided = fixture.store.record(hub(vec![of("app", Verdict::Fail)], 3)).await.unwrap();
    assert_eq!(decided.resolved, 1);
}

async fn a_question_that_was_not_asked_is_left_alone(engine: Engine) {
    let fixture = Fixture::new(engine).await;
    fixture.record(Verdict::Fail, 1).await;
    let other = judged(deployment("hub", "app"), "C-0016", Verdict::Pass);
    assert_eq!(fixture.store.record(hub(vec![other], 2)).await.unwrap(), Changes::default());
    assert_eq!(fixture.store.record(hub(vec![], 3)).await.unwrap(), Changes::default());
    assert_eq!(fixture.only().await.state, State::Open);
}

async fn a_judging_older_than_the_last_sighting_resolves_nothing(engine: Engine) {
    let fixture = Fixture::new(engine).await;
    fixture.record(Verdict::Fail, 9).await;
    assert_eq!(fixture.record(Verdict::Pass, 8).await.resolved, 0);
    assert_eq!(fixture.record(Verdict::Pass, 9).await.resolved, 1);
}

async fn a_proven_deletion_resolves_all_of_the_subject_and_nothing_else(engine: Engine) {
    let fixture = Fixture::new(engine).await;
    fixture.record(Verdict::Unknown, 1).await;
    let proxy = deployment("proxy", "app");
    let other =
        SubjectFindings { subject: proxy.key(), findings: vec![judged(proxy, "C-0057", Verdict::Fail)], at: at(1) };
    fixture.store.record(other).await.unwrap();
    let changes = fixture.store.deleted(deployment("hub", "").key(), at(2)).await.unwrap();
    assert_eq!(changes, Changes { resolved: 1, ..Changes::default() });
    assert_eq!(fixture.store.subjects().await.unwrap(), [deployment("proxy", "").key()]);
}

async fn of_two_findings_with_one_fingerprint_the_worse_is_kept(engine: Engine) {
    let fixture = Fixture::new(engine).await;
    for order in [[Verdict::Pass, Verdict::Fail], [Verdict::Fail, Verdict::Pass]] {
        let findings = order.map(|verdict| judged(deployment("hub", "app"), "C-0057", verdict)).to_vec();
        fixture.store.record(hub(findings, 1)).await.unwrap();
        assert_eq!(fixture.only().await.verdict, Verdict::Fail);
    }
}

async fn passes_are_not_stored(engine: Engine) {
    let fixture = Fixture::new(engine).await;
    fixture.record(Verdict::Pass, 1).await;
    fixture.record(Verdict::NotApplicable, 2).await;
    assert_eq!(fixture.store.findings(&FindingQuery { limit: 10, ..Default::default() }).await.unwrap().total, 0);
}

async fn a_restart_keeps_findings_decisions_scans_and_counts(engine: Engine) {
    let fixture = Fixture::new(engine).await;
    fixture.record(Verdict::Fail, 1).await;
    let decision = decision("u-1", 2);
    fixture.store.record_decision(decision.clone()).await.unwrap();
    fixture.store.commit_all(vec![Record::Scan { scanner: "images", at: at(4) }]).await.unwrap();
    let (before, counts) = (fixture.only().await, fixture.store.counts().borrow().with_verdict(Verdict::Fail));
    let fixture = fixture.reopened().await;
    assert_eq!(fixture.only().await, before);
    assert_eq!(fixture.store.counts().borrow().with_verdict(Verdict::Fail), counts);
    assert_eq!(fixture.store.decisions(9).await.unwrap(), [decision]);
    assert_eq!(fixture.store.scans().await.unwrap().get("images"), Some(&at(4)));
}

pub(super) fn decision(uid: &str, second: i64) -> Decision {
    Decision {
        at: at(second),
        uid: uid.into(),
        door: "validate".into(),
        operation: "CREATE".into(),
        kind: "Pod".into(),
        namespace: "jhub".into(),
        name: "hub-*".into(),
        allowed: false,
        mode: "enforce".into(),
        codes: vec!["PR-1001".into()],
        digests: vec!["sha256:aa".into()],
    }
}

async fn another_clusters_findings_are_not_seen(engine: Engine) {
    let fixture = Fixture::new(engine).await;
    fixture.record(Verdict::Fail, 1).await;
    let Fixture { folder: _folder, url, store } = fixture;
    store.close().await.unwrap();
    let other = Store::open(&url, "other").await.unwrap();
    assert_eq!(other.findings(&FindingQuery { limit: 9, ..Default::default() }).await.unwrap().total, 0);
    assert!(other.subjects().await.unwrap().is_empty());
}

async fn a_query_filters_by_every_field_and_takes_text_literally(engine: Engine) {
    let fixture = Fixture::new(engine).await;
    let app = worded(deployment("hub", "app"), "C-0057", Verdict::Fail, "100%_sure! Ünsafe");
    let side = worded(deployment("hub", "side"), "C-0016", Verdict::Excepted, "100 sure");
    fixture.store.record(hub(vec![app, side], 1)).await.unwrap();
    let found = async |query: FindingQuery| {
        let page = fixture.store.findings(&FindingQuery { limit: 10, ..query }).await.unwrap();
        page.items.into_iter().map(|row| row.code).collect::<Vec<_>>()
    };
    let none = FindingQuery::default();
    let text = |text: &str| FindingQuery { text: Some(text.into()), ..FindingQuery::default() };
    assert_eq!(found(none.clone()).await, ["C-0057", "C-0016"]);
    assert_eq!(found(text("100%_SURE!")).await, ["C-0057"]);
    assert_eq!(found(text("ünsafe")).await, ["C-0057"]);
    assert_eq!(found(text("' OR 1=1 --")).await, [""; 0]);
    assert_eq!(found(FindingQuery { verdict: Some(Verdict::Excepted), ..none.clone() }).await, ["C-0016"]);
    assert_eq!(found(FindingQuery { code: Some("C-0016".into()), ..none.clone() }).await, ["C-0016"]);
    assert_eq!(found(FindingQuery { severity: Some(Severity::Low), ..none.clone() }).await, [""; 0]);
    assert_eq!(found(FindingQuery { namespace: Some(String::new()), ..none.clone() }).await, [""; 0]);
    assert_eq!(found(FindingQuery { state: Some(State::Resolved), ..none.clone() }).await, [""; 0]);
    assert_eq!(found(FindingQuery { offset: 1, ..none }).await, ["C-0016"]);
}

async fn the_summary_counts_by_namespace_and_day(engine: Engine) {
    let fixture = Fixture::new(engine).await;
    fixture.record(Verdict::Fail, 1).await;
    let image = Subject::Image { repository: "h/r".into(), reference: "h/r:1".into(), digest: None };
    let batch =
        SubjectFindings { subject: image.key(), findings: vec![judged(image, "PR-1001", Verdict::Unknown)], at: at(1) };
    fixture.store.record(batch).await.unwrap();
    let summary = fixture.store.summary(at(60)).await.unwrap();
    assert_eq!((summary.opened_day, summary.resolved_day, summary.namespaces_total), (2, 0, 2));
    assert_eq!(summary.namespaces[0].namespace, "jhub");
    assert_eq!(summary.namespaces[0].failing.get(&Severity::High), Some(&1));
    assert_eq!((summary.namespaces[1].namespace.as_str(), summary.namespaces[1].undecided), ("", 1));
    assert_eq!(summary.counts.of(Severity::High, Verdict::Fail), 1);
    fixture.record(Verdict::Pass, 70).await;
    let later = fixture.store.summary(at(80)).await.unwrap();
    assert_eq!((later.opened_day, later.resolved_day), (1, 1));
    assert_eq!(fixture.store.summary(at(200_000)).await.unwrap().resolved_day, 0);
}

async fn pruning_takes_the_old_and_the_many_but_never_what_is_open(engine: Engine) {
    let fixture = Fixture::new(engine).await;
    fixture.record(Verdict::Fail, 1).await;
    for second in 0..5 {
        fixture.store.record_decision(decision(&format!("u-{second}"), second)).await.unwrap();
    }
    let year = at(365 * 86_400);
    let retention = Retention { max_decisions: 2, ..Retention::default() };
    assert_eq!(fixture.store.prune(at(6), &retention).await.unwrap(), Pruned { decisions: 3, ..Pruned::default() });
    assert_eq!(fixture.store.decisions(9).await.unwrap().len(), 2);
    assert_eq!(fixture.store.prune(year, &retention).await.unwrap(), Pruned { decisions: 2, ..Pruned::default() });
    fixture.record(Verdict::Pass, 2).await;
    assert_eq!(fixture.store.prune(year, &retention).await.unwrap(), Pruned { findings: 1, ..Pruned::default() });
}

async fn a_huge_finding_is_stored_bounded_and_says_so(engine: Engine) {
    let fixture = Fixture::new(engine).await;
    let finding = worded(deployment("hub", "app"), "C-0057", Verdict::Fail, &"é".repeat(1_000_000));
    fixture.store.record(hub(vec![finding], 1)).await.unwrap();
    let row = fixture.only().await;
    assert!(row.body.to_string().len() < 64 * 1024 && row.message.len() <= 4096);
    assert_eq!(row.body["truncated"], true);
}

async fn a_thousand_subjects_are_recorded_and_read_in_pages(engine: Engine) {
    let fixture = Fixture::new(engine).await;
    let batch = |n: usize| {
        let subject = deployment(&format!("d-{n}"), "app");
        let findings = ["C-0057", "C-0016", "C-0013"].map(|code| judged(subject.clone(), code, Verdict::Fail)).to_vec();
        SubjectFindings { subject: subject.key(), findings, at: at(1) }
    };
    let changes = fixture.store.record_many((0..1_000).map(batch).collect()).await.unwrap();
    assert_eq!(changes.opened, 3_000);
    assert_eq!(fixture.store.counts().borrow().with_verdict(Verdict::Fail), 3_000);
    let page = fixture.store.findings(&FindingQuery { limit: 100_000, ..Default::default() }).await.unwrap();
    assert_eq!((page.items.len(), page.total), (500, 3_000));
}

async fn only_what_blocks_and_what_could_have_been_known_counts_in_the_whole(engine: Engine) {
    let fixture = Fixture::new(engine).await;
    let whole = || fixture.store.counts().borrow().whole();
    let builder = |verdict| {
        let location = Location { object_path: "spec".into(), ..Location::default() };
        let builder = FindingBuilder::new(Code::parse("C-0057").unwrap(), Severity::High, verdict);
        builder.subject(deployment("hub", "app")).location(location)
    };
    let record = async |builder: FindingBuilder, second| {
        fixture.store.record(hub(vec![builder.build().unwrap()], second)).await.unwrap();
    };
    assert_eq!(whole(), Verdict::Pass);
    record(builder(Verdict::Unknown).cause(Cause::Manual), 1).await;
    assert_eq!(whole(), Verdict::Pass);
    record(builder(Verdict::Unknown).cause(Cause::TimedOut), 2).await;
    assert_eq!(whole(), Verdict::Unknown);
    record(builder(Verdict::Error), 3).await;
    assert_eq!(whole(), Verdict::Error);
    record(builder(Verdict::Fail).effect(portreeve_reports::Effect::Warn), 4).await;
    assert_eq!(whole(), Verdict::Pass);
    record(builder(Verdict::Fail), 5).await;
    assert_eq!(whole(), Verdict::Fail);
}

async fn what_nobody_asks_any_more_is_resolved_with_that_reason(engine: Engine) {
    let fixture = Fixture::new(engine).await;
    let findings = ["C-0057", "C-0016"].map(|code| judged(deployment("hub", "app"), code, Verdict::Fail)).to_vec();
    fixture.store.record(hub(findings, 1)).await.unwrap();
    assert_eq!(fixture.store.codes().await.unwrap(), ["C-0016", "C-0057"]);
    let gone = Record::NotAsked { code: "C-0057".to_owned(), at: at(2) };
    let changes = fixture.store.commit_all(vec![gone]).await.unwrap();
    assert_eq!(changes, Changes { resolved: 1, ..Changes::default() });
    assert_eq!(fixture.store.counts().borrow().with_verdict(Verdict::Fail), 1);
    assert_eq!(fixture.store.codes().await.unwrap(), ["C-0016"]);
    let query = FindingQuery { code: Some("C-0057".to_owned()), limit: 9, ..FindingQuery::default() };
    let row = fixture.store.findings(&query).await.unwrap().items.remove(0);
    assert_eq!(
        (row.state, row.resolution, row.resolved_at),
        (State::Resolved, Some(Resolution::NotAsked), Some(at(2)))
    );
    // Asked again, it is the same finding.
    let again = judged(deployment("hub", "app"), "C-0057", Verdict::Fail);
    assert_eq!(fixture.store.record(hub(vec![again], 3)).await.unwrap().reopened, 1);
}
