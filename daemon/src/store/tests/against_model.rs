//! The store against a model that knows nothing of SQL: random judgings, deletions and restarts.

use std::collections::{BTreeMap, BTreeSet};

use portreeve_reports::Verdict;
use proptest::prelude::*;

use super::*;

const SUBJECTS: [&str; 2] = ["hub", "proxy"];
const CONTAINERS: [&str; 3] = ["app", "init", "side"];
const CODES: [&str; 2] = ["C-0016", "C-0057"];

/// A question about a container: (subject, container, code).
type Key = (usize, usize, usize);

#[derive(Clone, Debug)]
enum Action {
    Judge { subject: usize, answers: Vec<(usize, usize, Verdict)> },
    Delete { subject: usize },
    Restart,
}

#[derive(Clone, Debug, PartialEq)]
struct Modelled {
    is_open: bool,
    verdict: Verdict,
    is_stale: bool,
    first: i64,
    reopened: u64,
}

#[derive(Default)]
struct Model(BTreeMap<Key, Modelled>);

impl Model {
    fn apply(&mut self, action: &Action, now: i64) {
        match action {
            Action::Judge { subject, answers } => self.judge(*subject, answers, now),
            Action::Delete { subject } => {
                let of_subject = self.0.iter_mut().filter(|(key, _)| key.0 == *subject);
                of_subject.for_each(|(_, row)| (row.is_open, row.is_stale) = (false, false));
            }
            Action::Restart => {}
        }
    }

    fn judge(&mut self, subject: usize, all: &[(usize, usize, Verdict)], now: i64) {
        let answers = worst(all);
        for (code, _) in CODES.iter().enumerate() {
            let asked: Vec<Verdict> = all.iter().filter(|answer| answer.1 == code).map(|answer| answer.2).collect();
            let all_decided = !asked.is_empty() && asked.iter().all(|verdict| verdict.is_decided());
            for (container, _) in CONTAINERS.iter().enumerate() {
                let answer = answers.get(&(container, code)).copied();
                let answer = answer.or(all_decided.then_some(Verdict::NotApplicable));
                self.answer((subject, container, code), answer, now);
            }
        }
    }

    fn answer(&mut self, key: Key, answer: Option<Verdict>, now: i64) {
        let Some(verdict) = answer else { return };
        match self.0.get_mut(&key) {
            None if verdict.is_open() => {
                let row = Modelled { is_open: true, verdict, is_stale: false, first: now, reopened: 0 };
                self.0.insert(key, row);
            }
            None => {}
            Some(row) if !verdict.is_open() => (row.is_open, row.is_stale) = (false, false),
            Some(row) if row.is_open && row.verdict.is_decided() && !verdict.is_decided() => row.is_stale = true,
            Some(row) => {
                row.reopened += u64::from(!row.is_open);
                (row.is_open, row.is_stale, row.verdict) = (true, false, verdict);
            }
        }
    }
}

fn worst(answers: &[(usize, usize, Verdict)]) -> BTreeMap<(usize, usize), Verdict> {
    let order = |verdict: Verdict| {
        let by_badness = [Verdict::Fail, Verdict::Error, Verdict::Unknown, Verdict::Excepted, Verdict::Pass];
        by_badness.iter().position(|held| *held == verdict).unwrap_or(by_badness.len())
    };
    let mut worst = BTreeMap::new();
    for &(container, code, verdict) in answers {
        let held = worst.entry((container, code)).or_insert(verdict);
        if order(verdict) < order(*held) {
            *held = verdict;
        }
    }
    worst
}

fn action() -> impl Strategy<Value = Action> {
    let verdict = prop::sample::select(Verdict::ALL.to_vec());
    let answers = prop::collection::vec((0..CONTAINERS.len(), 0..CODES.len(), verdict), 0..7);
    prop_oneof![
        12 => (0..SUBJECTS.len(), answers).prop_map(|(subject, answers)| Action::Judge { subject, answers }),
        1 => (0..SUBJECTS.len()).prop_map(|subject| Action::Delete { subject }),
        1 => Just(Action::Restart),
    ]
}

async fn perform(fixture: Fixture, action: &Action, now: i64) -> Fixture {
    match action {
        Action::Judge { subject, answers } => {
            let finding = |&(container, code, verdict): &(usize, usize, Verdict)| {
                judged(deployment(SUBJECTS[*subject], CONTAINERS[container]), CODES[code], verdict)
            };
            let findings = answers.iter().map(finding).collect();
            let subject = deployment(SUBJECTS[*subject], "").key();
            fixture.store.record(SubjectFindings { subject, findings, at: at(now) }).await.unwrap();
        }
        Action::Delete { subject } => {
            fixture.store.deleted(deployment(SUBJECTS[*subject], "").key(), at(now)).await.unwrap();
        }
        Action::Restart => return fixture.reopened().await,
    }
    fixture
}

async fn compare(store: &Store, model: &Model) {
    let mut known = BTreeSet::new();
    for (&(subject, container, code), row) in &model.0 {
        let about = deployment(SUBJECTS[subject], CONTAINERS[container]);
        let fingerprint = judged(about, CODES[code], Verdict::Pass).fingerprint;
        let held = store.finding(fingerprint.as_str()).await.unwrap().expect("a modelled row is stored");
        let seen = Modelled {
            is_open: held.state == State::Open,
            verdict: held.verdict,
            is_stale: held.stale_cause.is_some(),
            first: held.first_seen.as_second() - at(0).as_second(),
            reopened: held.reopened,
        };
        assert_eq!(&seen, row, "{:?}", (subject, container, code));
        assert_eq!(held.resolved_at.is_some(), !row.is_open);
        known.insert(fingerprint);
    }
    let page = store.findings(&FindingQuery { limit: 500, ..FindingQuery::default() }).await.unwrap();
    assert_eq!(page.total, known.len() as u64, "rows that the model does not know");
    let open = |verdict| model.0.values().filter(|row| row.is_open && row.verdict == verdict).count() as u64;
    let counts = store.counts().borrow().clone();
    Verdict::ALL.into_iter().for_each(|verdict| assert_eq!(counts.with_verdict(verdict), open(verdict), "{verdict}"));
}

fn any_sequence_leaves_the_store_as_the_model_says(actions: &[Action], engine: Engine) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut fixture = Fixture::new(engine).await;
        let mut model = Model::default();
        for (action, now) in actions.iter().zip(1..) {
            fixture = perform(fixture, action, now).await;
            model.apply(action, now);
            compare(&fixture.store, &model).await;
        }
    });
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn sqlite(actions in prop::collection::vec(action(), 1..20)) {
        any_sequence_leaves_the_store_as_the_model_says(&actions, Engine::Sqlite);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 8, ..ProptestConfig::default() })]

    #[test]
    fn postgres(actions in prop::collection::vec(action(), 1..20)) {
        any_sequence_leaves_the_store_as_the_model_says(&actions, Engine::Postgres);
    }
}
