//! Reading findings: one, a page, the subjects that have any.

use std::collections::BTreeMap;

use jiff::Timestamp;
use portreeve_reports::SubjectKey;

use super::Store;
use super::engine::{Row, Statement};
use super::error::StoreError;
use super::model::{FindingQuery, Page, StoredFinding};
use super::rows::stored_finding;

/// The filter, in one text: an unset part binds NULL. Shared by the page and its total.
macro_rules! filtered {
    ($select:literal, $rest:literal) => {
        concat!(
            "SELECT ",
            $select,
            " FROM findings WHERE cluster = $1 AND ($2 IS NULL OR state = $2) AND ($3 IS NULL OR severity = $3) \
             AND ($4 IS NULL OR verdict = $4) AND ($5 IS NULL OR code = $5) AND ($6 IS NULL OR namespace = $6) \
             AND ($7 IS NULL OR subject_key = $7) AND ($8 IS NULL OR search_text LIKE $8 ESCAPE '!')",
            $rest
        )
    };
}

const COUNT: &str = filtered!("COUNT(*) AS n", "");
const PAGE: &str = filtered!(
    "*",
    " ORDER BY state, verdict_rank, severity_rank DESC, namespace, subject, code, fingerprint LIMIT $9 OFFSET $10"
);

impl Store {
    /// A page of findings: open before resolved, failures first, worst first.
    pub async fn findings(&self, query: &FindingQuery) -> Result<Page<StoredFinding>, StoreError> {
        self.page(query).await.map_err(|source| self.failed(source))
    }

    async fn page(&self, query: &FindingQuery) -> Result<Page<StoredFinding>, sqlx::Error> {
        // The page and its total are of the same moment.
        let mut snapshot = self.inner.readers.snapshot().await?;
        let total = snapshot.session().rows(&filter(Statement::new(COUNT), self.cluster(), query)).await?;
        let limit = i64::from(query.limit.min(FindingQuery::MAX_LIMIT));
        let offset = i64::try_from(query.offset).unwrap_or(i64::MAX);
        let statement = filter(Statement::new(PAGE), self.cluster(), query).number(limit).number(offset);
        let rows = snapshot.session().rows(&statement).await?;
        Ok(Page {
            items: rows.iter().map(stored_finding).collect::<Result<_, _>>()?,
            total: total.first().map_or(Ok(0), |row| row.number("n"))?.unsigned_abs(),
            offset: query.offset,
        })
    }

    /// The finding with this fingerprint, open or resolved.
    pub async fn finding(&self, fingerprint: &str) -> Result<Option<StoredFinding>, StoreError> {
        let text = "SELECT * FROM findings WHERE cluster = $1 AND fingerprint = $2";
        let statement = Statement::new(text).text(self.cluster()).text(fingerprint);
        let rows = self.inner.readers.rows(&statement).await.map_err(|source| self.failed(source))?;
        rows.first().map(stored_finding).transpose().map_err(|source| self.failed(source))
    }

    /// Every subject with an open finding: what a restart compares with the objects that still exist.
    pub async fn subjects(&self) -> Result<Vec<SubjectKey>, StoreError> {
        let text = "SELECT DISTINCT subject_key AS word FROM findings WHERE cluster = $1 AND state = 'open' ORDER BY 1";
        Ok(self.words(text).await?.into_iter().map(SubjectKey).collect())
    }

    /// Every code with an open finding: what a start compares with the questions that are still asked.
    pub async fn codes(&self) -> Result<Vec<String>, StoreError> {
        self.words("SELECT DISTINCT code AS word FROM findings WHERE cluster = $1 AND state = 'open' ORDER BY 1").await
    }

    async fn words(&self, text: &'static str) -> Result<Vec<String>, StoreError> {
        let rows = self.inner.readers.rows(&Statement::new(text).text(self.cluster())).await;
        let words = rows.and_then(|rows| rows.iter().map(|row| row.text("word")).collect());
        words.map_err(|source| self.failed(source))
    }

    /// Last success of each scanner.
    pub async fn scans(&self) -> Result<BTreeMap<String, Timestamp>, StoreError> {
        let text = "SELECT scanner, succeeded_at FROM scans WHERE cluster = $1";
        let failed = |source| self.failed(source);
        let rows = self.inner.readers.rows(&Statement::new(text).text(self.cluster())).await.map_err(failed)?;
        let scan = |row: &Row| Ok((row.text("scanner")?, row.number("succeeded_at")?));
        let rows: Vec<(String, i64)> = rows.iter().map(scan).collect::<Result<_, _>>().map_err(failed)?;
        let known = |(scanner, at)| Timestamp::from_millisecond(at).ok().map(|at| (scanner, at));
        Ok(rows.into_iter().filter_map(known).collect())
    }
}

fn filter<'q>(statement: Statement<'q>, cluster: &'q str, query: &'q FindingQuery) -> Statement<'q> {
    statement
        .text(cluster)
        .maybe_text(query.state.map(super::model::State::as_str))
        .maybe_text(query.severity.map(portreeve_reports::Severity::as_str))
        .maybe_text(query.verdict.map(portreeve_reports::Verdict::as_str))
        .maybe_text(query.code.as_deref())
        .maybe_text(query.namespace.as_deref())
        .maybe_text(query.subject.as_ref().map(|subject| subject.0.as_str()))
        .maybe_text(query.text.as_deref().filter(|text| !text.is_empty()).map(pattern))
}

/// The LIKE pattern that matches the text literally anywhere.
fn pattern(text: &str) -> String {
    let mut pattern = String::from("%");
    for character in text.to_lowercase().chars().take(200) {
        if matches!(character, '%' | '_' | '!') {
            pattern.push('!');
        }
        pattern.push(character);
    }
    pattern.push('%');
    pattern
}
