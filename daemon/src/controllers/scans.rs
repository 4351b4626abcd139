//! Scans of everything: the first judging after the sync, and each rescan. Where one has ended is told here, to the
//! store, the page and the metrics; and what only a whole scan can tell is recorded: which exceptions nothing needs
//! any more, and that nothing is missing after an outage of the store.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use portreeve_reports::exceptions::Usage;
use portreeve_reports::{Code, Finding, SubjectKey};

use super::ledger::Needs;
use crate::cluster::writer::ClusterView;
use crate::judge::tally::Tally;
use crate::judge::{Asked, CurrentJudge};
use crate::runtime::metrics::{Metrics, Outcome, Scanner};
use crate::store::{Record, RecorderHandle, Store, SubjectFindings, lost};

/// The scans of both controllers, which share one.
#[derive(Clone)]
pub struct Scans {
    inner: Arc<Inner>,
}

struct Inner {
    judge: CurrentJudge,
    cluster: ClusterView,
    store: Store,
    recorder: RecorderHandle,
    tally: Arc<Tally>,
    metrics: Arc<Metrics>,
    /// What else than scans needs exceptions.
    needs: Needs,
    /// Whether there are files among what is scanned.
    files: bool,
    progress: Mutex<BTreeMap<Scanner, Progress>>,
}

#[derive(Default)]
struct Progress {
    running: Option<Running>,
    /// What the last whole scan needed of the exceptions, and all judging since, by one version of the rules.
    usage: Option<(u64, Usage)>,
}

struct Running {
    started: Timestamp,
    version: u64,
    usage: Usage,
    result: Outcome,
}

impl Scans {
    /// No scan yet.
    pub fn new(
        (judge, cluster): (CurrentJudge, ClusterView),
        (store, recorder): (Store, RecorderHandle),
        tally: Arc<Tally>,
        metrics: Arc<Metrics>,
        (needs, files): (Needs, bool),
    ) -> Self {
        let progress = Mutex::default();
        let inner = Inner { judge, cluster, store, recorder, tally, metrics, needs, files, progress };
        Self { inner: Arc::new(inner) }
    }

    /// The metrics of the process.
    pub(super) fn metrics(&self) -> &Metrics {
        &self.inner.metrics
    }

    /// The subjects of the findings that are recorded here: no object of the cluster proves them gone.
    pub(super) fn subjects(&self) -> BTreeSet<SubjectKey> {
        let audit = self.inner.judge.now().audit_exceptions(&Usage::default(), Timestamp::now(), &Asked::default());
        audit.iter().map(|finding| finding.subject.key()).collect()
    }

    /// A scan begins. One that runs already begins anew.
    pub(super) fn begin(&self, scanner: Scanner) {
        let version = self.inner.judge.now().version();
        let running = Running { started: Timestamp::now(), version, usage: Usage::default(), result: self.fitness() };
        self.progress().entry(scanner).or_default().running = Some(running);
    }

    /// Something was judged, in a scan or between two, by a version of the rules. An exception that is needed only
    /// since is said at once.
    pub(super) async fn judged(&self, scanner: Scanner, usage: (u64, &Usage), is_stored: bool) {
        let is_news = self.progress().entry(scanner).or_default().judged(usage, is_stored);
        if is_news {
            self.audit().await;
        }
    }

    /// The scan has judged everything.
    pub(super) async fn ended(&self, scanner: Scanner) {
        let Some(mut running) = self.progress().entry(scanner).or_default().running.take() else { return };
        if self.fitness() == Outcome::Failure {
            running.result = Outcome::Failure;
        }
        let at = Timestamp::now();
        self.metrics().scans.scanned(scanner, running.result, at);
        if scanner == Scanner::Posture {
            Box::pin(self.resolve_unasked(at)).await;
        }
        if running.result == Outcome::Failure {
            return;
        }
        self.inner.tally.scanned(scanner.as_str(), at);
        let scan = Record::Scan { scanner: scanner.as_str(), at };
        if let Err(error) = self.inner.recorder.send_when_room(scan).await.committed().await {
            tracing::warn!(%error, scanner = scanner.as_str(), "the end of a scan was not stored");
        }
        self.progress().entry(scanner).or_default().usage = Some((running.version, running.usage));
        self.audit().await;
        if scanner == Scanner::Posture {
            self.found_again(running.started).await;
        }
    }

    /// What a scan can come to now: one of what the cluster was before the API server went away has seen nothing new.
    fn fitness(&self) -> Outcome {
        if self.inner.cluster.snapshot().stale == 0 { Outcome::Success } else { Outcome::Failure }
    }

    /// Waits until what is kept needs other exceptions than before. The one task that does so audits then.
    pub(super) async fn needs_changed(&self) {
        self.inner.needs.news().await;
    }

    /// Records the findings about exceptions, once all scanners have seen everything; what is kept is waited for a while.
    pub(super) async fn audit(&self) {
        let judge = self.inner.judge.now();
        let Some(mut usage) = self.usage(judge.version()) else { return };
        if self.inner.needs.are_awaited() {
            return;
        }
        let (needed, kept) = self.inner.needs.by(judge.version());
        usage.merge(&needed);
        let credentials = self.inner.cluster.are_credentials_read();
        let asked = Asked { images: true, credentials, files: self.inner.files, kept };
        let now = Timestamp::now();
        let mut subjects: BTreeMap<SubjectKey, Vec<Finding>> = BTreeMap::new();
        for finding in judge.audit_exceptions(&usage, now, &asked) {
            subjects.entry(finding.subject.key()).or_default().push(finding);
        }
        for (subject, findings) in subjects {
            self.record(SubjectFindings { subject, findings, at: now }).await;
        }
    }

    /// Resolves what is open of questions that no rule asks any more: no judging will ever decide them.
    async fn resolve_unasked(&self, at: Timestamp) {
        let open = self.inner.store.codes().await.unwrap_or_else(|error| {
            tracing::warn!(%error, "whether all questions are still asked is looked at after the next scan");
            Vec::new()
        });
        let judge = self.inner.judge.now();
        for code in open.into_iter().filter(|code| Code::parse(code).is_ok_and(|code| !judge.asks(&code))) {
            let ack = self.inner.recorder.send_when_room(Record::NotAsked { code: code.clone(), at }).await;
            match ack.committed().await {
                Ok(changes) => {
                    tracing::info!(code, findings = changes.resolved, "resolved: no rule asks this any more");
                }
                Err(error) => tracing::warn!(%error, code, "findings that nothing asks for any more stay open for now"),
            }
        }
    }

    /// What was lost before this scan began has been found again, as far as it still holds.
    async fn found_again(&self, at: Timestamp) {
        let cluster = self.inner.store.cluster();
        let findings = lost::found_again(cluster).into_iter().collect();
        self.record(SubjectFindings { subject: lost::subject(cluster).key(), findings, at }).await;
    }

    async fn record(&self, batch: SubjectFindings) {
        let ack = self.inner.recorder.send_when_room(Record::Findings(batch)).await;
        if let Err(error) = ack.committed().await {
            tracing::warn!(%error, "what a scan came to was not stored; the next one says it again");
        }
    }

    /// What both scanners needed; `None` until both have seen everything by this version of the rules.
    fn usage(&self, version: u64) -> Option<Usage> {
        let progress = self.progress();
        let mut all = Usage::default();
        for scanner in Scanner::ALL {
            let (of, usage) = progress.get(scanner)?.usage.as_ref()?;
            (*of == version).then(|| all.merge(usage))?;
        }
        Some(all)
    }

    fn progress(&self) -> MutexGuard<'_, BTreeMap<Scanner, Progress>> {
        self.inner.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Progress {
    /// Counts what was needed; whether an exception was unneeded before. What was judged by other rules counts other
    /// exceptions, and what it was about is judged again.
    fn judged(&mut self, (version, usage): (u64, &Usage), is_stored: bool) -> bool {
        if let Some(running) = &mut self.running {
            if running.version == version {
                running.usage.merge(usage);
            }
            if !is_stored {
                running.result = Outcome::Failure;
            }
        }
        let known = self.usage.as_mut().filter(|(of, _)| *of == version);
        let Some((_, known)) = known else { return false };
        let is_news = !known.covers(usage);
        known.merge(usage);
        is_news
    }
}
