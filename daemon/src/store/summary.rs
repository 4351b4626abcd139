//! The numbers of the first screen.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

use jiff::{SignedDuration, Timestamp};
use portreeve_reports::{Severity, Verdict};

use super::Store;
use super::engine::Statement;
use super::error::StoreError;
use super::fence;
use super::model::{Cell, Counts, NamespaceRow, Summary};
use super::rows::{cell, millis};

const DAY: SignedDuration = SignedDuration::from_hours(24);

const BY_NAMESPACE: &str = "SELECT namespace, severity, verdict, effect, cause, COUNT(*) AS n FROM findings \
                            WHERE cluster = $1 AND state = 'open' GROUP BY namespace, severity, verdict, effect, cause";
const RECENT: &str = "SELECT \
     (SELECT COUNT(*) FROM findings WHERE cluster = $1 AND state = 'open' AND first_seen >= $2) AS opened, \
     (SELECT COUNT(*) FROM findings WHERE cluster = $1 AND resolved_at >= $2) AS resolved";

impl Store {
    /// Open findings by severity, verdict and namespace, and what the 24 hours before `now` changed.
    pub async fn summary(&self, now: Timestamp) -> Result<Summary, StoreError> {
        self.summarize(now).await.map_err(|source| self.failed(source))
    }

    async fn summarize(&self, now: Timestamp) -> Result<Summary, sqlx::Error> {
        let rows = self.inner.readers.rows(&Statement::new(BY_NAMESPACE).text(self.cluster())).await?;
        let mut namespaces: BTreeMap<String, NamespaceRow> = BTreeMap::new();
        for row in &rows {
            let name = row.text("namespace")?;
            let held = namespaces
                .entry(name.clone())
                .or_insert_with(|| NamespaceRow { namespace: name, ..Default::default() });
            let Cell { severity, verdict, .. } = cell(row)?;
            tally(held, severity, verdict, count(row.number("n")?));
        }
        let since = now.checked_sub(DAY).map_or(i64::MIN, millis);
        let recent = self.inner.readers.rows(&Statement::new(RECENT).text(self.cluster()).number(since)).await?;
        let recent = |column| recent.first().map_or(Ok(0), |row| row.number(column)).map(count);
        let namespaces_total = namespaces.len() as u64;
        Ok(Summary {
            counts: self.inner.counts.borrow().clone(),
            namespaces: worst_first(namespaces),
            namespaces_total,
            opened_day: recent("opened")?,
            resolved_day: recent("resolved")?,
        })
    }

    /// Takes the counts as the database has them, when the store is opened and when another process has changed them.
    /// The revision starts at the clock, so that a page from before a restart sees another number.
    pub(super) async fn load_counts(&self) -> Result<(), sqlx::Error> {
        let mut snapshot = self.inner.readers.snapshot().await?;
        let revision = fence::revision(&mut snapshot.session(), self.cluster()).await?;
        let rows = snapshot.session().rows(&Statement::new(BY_NAMESPACE).text(self.cluster())).await?;
        let now = Timestamp::now().as_millisecond().unsigned_abs();
        let mut counts = Counts::starting_at(now.max(self.inner.counts.borrow().revision + 1));
        for row in &rows {
            counts.add(cell(row)?, count(row.number("n")?));
        }
        self.inner.revision.store(revision, Ordering::Relaxed);
        self.inner.counts.send_replace(counts);
        Ok(())
    }

    /// Takes the counts anew when another process has changed them.
    pub(super) async fn follow(&self) -> Result<(), sqlx::Error> {
        let mut snapshot = self.inner.readers.snapshot().await?;
        let revision = fence::revision(&mut snapshot.session(), self.cluster()).await?;
        drop(snapshot);
        if revision == self.inner.revision.load(Ordering::Relaxed) { Ok(()) } else { self.load_counts().await }
    }
}

fn count(n: i64) -> u64 {
    n.unsigned_abs()
}

fn tally(row: &mut NamespaceRow, severity: Severity, verdict: Verdict, n: u64) {
    match verdict {
        Verdict::Fail => *row.failing.entry(severity).or_default() += n,
        Verdict::Unknown | Verdict::Error => row.undecided += n,
        Verdict::Excepted => row.excepted += n,
        Verdict::Pass | Verdict::NotApplicable => {}
    }
}

fn worst_first(namespaces: BTreeMap<String, NamespaceRow>) -> Vec<NamespaceRow> {
    let mut rows: Vec<NamespaceRow> = namespaces.into_values().collect();
    let badness = |row: &NamespaceRow| {
        let by_severity = Severity::ALL.map(|severity| row.failing.get(&severity).copied().unwrap_or_default());
        (by_severity, row.undecided)
    };
    rows.sort_by_key(|row| Reverse(badness(row)));
    rows.truncate(Summary::MAX_NAMESPACES);
    rows
}
