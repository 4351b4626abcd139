use std::path::Path;

use futures::FutureExt as _;
use portreeve_api::platform::{CODES, DRIFT, NOT_APPLIED, SUSPENDED, UNHEALTHY};
use portreeve_reports::{FindingBuilder, Location};

use super::*;
use crate::judge::{FileSource, Judge, JudgeSettings, Rules};
use crate::platform::findings::subject;
use crate::registry::{RegistryClient, RegistryOptions};
use crate::runtime::leader::{Epoch, Seat, Tenure};
use crate::store::{FindingQuery, Retention, Store, StoreUrl, recorder};

/// A ledger over a real store.
struct Site {
    folder: tempfile::TempDir,
    store: Store,
    judge: CurrentJudge,
    needs: Needs,
    ledger: Ledger,
}

fn rules(exceptions: &[&Path]) -> Rules {
    let exceptions = exceptions.iter().map(|file| file.to_path_buf()).collect();
    let controls = vec!["C-0057".to_owned()];
    Rules::load(&JudgeSettings { controls, exceptions, ..JudgeSettings::default() }, &FileSource::WorkingTree).unwrap()
}

fn tenure(epoch: u64) -> Tenure {
    let (seat, _) = Seat::new();
    seat.begin(Epoch::new(epoch), Instant::now() + Duration::from_secs(60))
}

/// All questions but the last of health, which a component that was not applied leaves open.
fn found(verdict_of: impl Fn(&CodeEntry) -> Verdict) -> Vec<Finding> {
    let finding = |entry: &CodeEntry| {
        let builder = FindingBuilder::new(entry.code(), entry.severity, verdict_of(entry));
        builder.subject(subject("p", "hub")).location(Location::default()).message(entry.title).build().unwrap()
    };
    CODES.iter().filter(|entry| entry.code != UNHEALTHY.code).map(finding).collect()
}

fn drifted() -> Vec<Finding> {
    found(|entry| if entry.code == DRIFT.code { Verdict::Fail } else { Verdict::Pass })
}

impl Site {
    async fn with<F: AsyncFnOnce(&mut Self)>(test: F) {
        drop(rustls::crypto::aws_lc_rs::default_provider().install_default());
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&StoreUrl::sqlite(folder.path().join("portreeve.db")), "test").await.unwrap();
        let (task, recorder) = recorder(store.clone(), Retention::default());
        let judge = CurrentJudge::new(Judge::new(rules(&[]), RegistryClient::new(RegistryOptions::default()).unwrap()));
        let needs = Needs::default();
        let ledger = Ledger::new(Keeper::Platform, (judge.clone(), recorder), needs.clone());
        let mut site = Self { folder, store, judge, needs, ledger };
        let shutdown = tokio_util::sync::CancellationToken::new();
        let tested = async {
            test(&mut site).await;
            shutdown.cancel();
        };
        tokio::join!(task.run(shutdown.clone()), tested);
    }

    fn except(&self, codes: &str) {
        let text = format!(
            "apiVersion: portreeve.dev/v1alpha1\nkind: ClusterException\nmetadata: {{name: e}}\nspec: {{codes: {codes}, subjects: \
             {{kinds: [Component], names: [p/hub]}}, owner: o, reason: r, expires: 2099-01-31}}\n"
        );
        let file = self.folder.path().join("exceptions.yaml");
        std::fs::write(&file, text).unwrap();
        self.judge.replace(rules(&[&file]));
    }

    async fn found(&mut self, tenure: &Tenure, found: Vec<Finding>) -> bool {
        let asked = CODES.iter().map(CodeEntry::code);
        self.ledger.found(&tenure.leading().unwrap(), subject("p", "hub").key(), (found, asked)).await
    }

    async fn open(&self) -> Vec<(String, Verdict)> {
        let query = FindingQuery { limit: 500, ..FindingQuery::default() };
        let page = self.store.findings(&query).await.unwrap();
        let open = page.items.into_iter().filter(|it| it.state == crate::store::State::Open);
        open.map(|it| (it.code, it.verdict)).collect()
    }

    /// What the audit says of the one exception.
    fn audit(&self) -> Verdict {
        let judge = self.judge.now();
        let (usage, kept) = self.needs.by(judge.version());
        let asked = crate::judge::Asked { kept, ..Default::default() };
        let findings = judge.audit_exceptions(&usage, Timestamp::now(), &asked);
        findings.into_iter().find(|finding| finding.code.as_str() == "PR-0002").unwrap().verdict
    }
}

#[tokio::test]
async fn other_rules_are_laid_over_what_was_found_before_and_the_audit_counts_it() {
    Site::with(async |site| {
        let tenure = tenure(1);
        let leading = tenure.leading().unwrap();
        assert!(site.found(&tenure, drifted()).await);
        assert_eq!(site.open().await, [(DRIFT.code.to_owned(), Verdict::Fail)]);
        site.except("[PR-5005]");
        assert_eq!(site.audit(), Verdict::NotApplicable, "nothing was looked at as a whole");
        site.ledger.looked(&leading).await;
        assert_eq!(site.open().await, [(DRIFT.code.to_owned(), Verdict::Excepted)]);
        assert_eq!(site.audit(), Verdict::Pass);
        site.except("[PR-5008]");
        assert_eq!(site.audit(), Verdict::NotApplicable, "these rules were not laid over anything yet");
        tokio::join!(site.ledger.rules_changed());
        site.ledger.lay_again(&leading).await;
        assert_eq!(site.open().await, [(DRIFT.code.to_owned(), Verdict::Fail)]);
        assert_eq!(site.audit(), Verdict::Fail, "{} was asked and is not so", SUSPENDED.code);
    })
    .await;
}

#[tokio::test]
async fn a_question_without_an_answer_or_with_an_unknown_one_makes_no_exception_unused() {
    Site::with(async |site| {
        let tenure = tenure(1);
        site.except("[PR-5007]");
        site.found(&tenure, drifted()).await;
        site.ledger.looked(&tenure.leading().unwrap()).await;
        assert_eq!(site.audit(), Verdict::NotApplicable, "health was not asked");
        site.except("[PR-5005]");
        let mut unknown = drifted();
        for finding in unknown.iter_mut().filter(|finding| finding.code == DRIFT.code()) {
            (finding.verdict, finding.cause) = (Verdict::Unknown, Some(portreeve_reports::Cause::Unreachable));
        }
        site.found(&tenure, unknown).await;
        site.ledger.looked(&tenure.leading().unwrap()).await;
        assert_eq!(site.audit(), Verdict::NotApplicable);
    })
    .await;
}

#[tokio::test]
async fn a_question_that_does_not_apply_to_a_component_makes_no_exception_unused() {
    Site::with(async |site| {
        let tenure = tenure(1);
        let leading = tenure.leading().unwrap();
        site.except("[PR-5003]");
        let not_applied = |verdict| found(|entry| if entry.code == NOT_APPLIED.code { verdict } else { Verdict::Pass });
        site.found(&tenure, not_applied(Verdict::NotApplicable)).await;
        site.ledger.looked(&leading).await;
        assert_eq!(site.audit(), Verdict::NotApplicable, "what is suspended is not applied");
        site.found(&tenure, not_applied(Verdict::Pass)).await;
        site.ledger.looked(&leading).await;
        assert_eq!(site.audit(), Verdict::Fail);
    })
    .await;
}

#[tokio::test]
async fn what_the_store_did_not_take_is_known_and_recorded_again() {
    Site::with(async |site| {
        site.store.fence(Epoch::new(5)).await.unwrap();
        let (old, new) = (tenure(1), tenure(6));
        assert!(!site.found(&old, drifted()).await);
        assert_eq!(site.open().await, []);
        site.ledger.lay_again(&new.leading().unwrap()).await;
        assert_eq!(site.open().await, [(DRIFT.code.to_owned(), Verdict::Fail)]);
        let hub = subject("p", "hub").key();
        assert!(!site.ledger.gone(&old.leading().unwrap(), hub.clone()).await, "it is still open");
        assert!(site.ledger.gone(&new.leading().unwrap(), hub).await);
        assert_eq!(site.open().await, []);
    })
    .await;
}

#[tokio::test]
async fn what_nobody_waited_for_is_recorded_again() {
    Site::with(async |site| {
        let tenure = tenure(1);
        assert!(site.found(&tenure, drifted()).await);
        assert!(site.found(&tenure, found(|_| Verdict::Pass)).now_or_never().is_none(), "the store is waited for");
        assert!(site.ledger.entries.values().all(|entry| !entry.is_stored));
        site.ledger.lay_again(&tenure.leading().unwrap()).await;
        assert!(site.ledger.entries.values().all(|entry| entry.is_stored));
        assert_eq!(site.open().await, []);
    })
    .await;
}

#[tokio::test]
async fn why_there_is_no_term_is_told_beside_what_was_found_in_the_last_one_and_exceptions_count() {
    Site::with(async |site| {
        let hub = subject("p", "hub").key();
        let refused = |verdict| found(|_| verdict).into_iter().find(|it| it.code == NOT_APPLIED.code()).unwrap();
        site.found(&tenure(1), drifted()).await;
        assert!(site.ledger.found_without_term(hub.clone(), refused(Verdict::Fail)).await);
        let mut open = site.open().await;
        open.sort_by(|a, b| a.0.cmp(&b.0));
        assert_eq!(open, [NOT_APPLIED, DRIFT].map(|entry| (entry.code.to_owned(), Verdict::Fail)));
        site.except("[PR-5003]");
        site.ledger.rules_changed().await;
        assert!(site.ledger.found_without_term(hub.clone(), refused(Verdict::Fail)).await);
        assert!(site.ledger.rules_changed().now_or_never().is_none(), "these are laid over it");
        assert!(site.open().await.contains(&(NOT_APPLIED.code.to_owned(), Verdict::Excepted)));
        assert!(site.ledger.found_without_term(hub, refused(Verdict::Pass)).await);
        assert_eq!(site.open().await, [(DRIFT.code.to_owned(), Verdict::Fail)]);
    })
    .await;
}

#[tokio::test]
async fn the_first_look_of_a_keeper_is_waited_for_a_bounded_time() {
    let needs = Needs::default();
    assert!(!needs.are_awaited(), "there is no keeper");
    let waits_since = Instant::now().checked_sub(FIRST_LOOK - Duration::from_millis(200)).unwrap();
    needs.await_from(Keeper::Secrets, waits_since);
    assert!(needs.are_awaited());
    needs.news().await;
    assert!(!needs.are_awaited(), "it never looks");
    needs.tell(Keeper::Secrets, Need { version: 0, usage: Usage::default(), asked: BTreeSet::new() });
    needs.news().await;
    assert!(needs.news().now_or_never().is_none(), "nothing is new");
}

#[tokio::test]
async fn an_audit_that_is_owed_is_not_lost_while_its_task_does_something_else() {
    let needs = Needs::default();
    let waits_since = Instant::now().checked_sub(FIRST_LOOK - Duration::from_millis(200)).unwrap();
    needs.await_from(Keeper::Secrets, waits_since);
    assert!(needs.news().now_or_never().is_none(), "the first look is waited for");
    // Another branch of the loop is at work when the time is over.
    tokio::time::sleep_until(waits_since + FIRST_LOOK).await;
    assert!(needs.news().now_or_never().is_some());
    assert!(needs.news().now_or_never().is_none(), "once");
}
