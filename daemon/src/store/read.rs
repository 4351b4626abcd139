//! Reading findings: one, a page, the subjects that have any.

use std::collections::BTreeMap;

use jiff::Timestamp;
use portreeve_reports::SubjectKey;
use sqlx::Row as _;

use super::Store;
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

const COUNT: &str = filtered!("COUNT(*)", "");
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
        // One transaction: the page and its total are of the same moment.
        let mut reader = self.inner.readers.begin().await?;
        let total = filter(sqlx::query(COUNT), self.cluster(), query).fetch_one(&mut *reader).await?;
        let limit = i64::from(query.limit.min(FindingQuery::MAX_LIMIT));
        let offset = i64::try_from(query.offset).unwrap_or(i64::MAX);
        let rows = filter(sqlx::query(PAGE), self.cluster(), query).bind(limit).bind(offset);
        let rows = rows.fetch_all(&mut *reader).await?;
        reader.commit().await?;
        Ok(Page {
            items: rows.iter().map(stored_finding).collect::<Result<_, _>>()?,
            total: total.try_get::<i64, _>(0)?.unsigned_abs(),
            offset: query.offset,
        })
    }

    /// The finding with this fingerprint, open or resolved.
    pub async fn finding(&self, fingerprint: &str) -> Result<Option<StoredFinding>, StoreError> {
        let text = "SELECT * FROM findings WHERE cluster = $1 AND fingerprint = $2";
        let query = sqlx::query(text).bind(self.cluster()).bind(fingerprint);
        let row = query.fetch_optional(&self.inner.readers).await.map_err(|source| self.failed(source))?;
        row.as_ref().map(stored_finding).transpose().map_err(|source| self.failed(source))
    }

    /// Every subject with an open finding: what a restart compares with the objects that still exist.
    pub async fn subjects(&self) -> Result<Vec<SubjectKey>, StoreError> {
        let text = "SELECT DISTINCT subject_key FROM findings WHERE cluster = $1 AND state = 'open' ORDER BY 1";
        let query = sqlx::query_scalar::<_, String>(text).bind(self.cluster());
        let keys = query.fetch_all(&self.inner.readers).await.map_err(|source| self.failed(source))?;
        Ok(keys.into_iter().map(SubjectKey).collect())
    }

    /// Last success of each scanner.
    pub async fn scans(&self) -> Result<BTreeMap<String, Timestamp>, StoreError> {
        let text = "SELECT scanner, succeeded_at FROM scans WHERE cluster = $1";
        let query = sqlx::query_as::<_, (String, i64)>(text).bind(self.cluster());
        let rows = query.fetch_all(&self.inner.readers).await.map_err(|source| self.failed(source))?;
        let known = |(scanner, at)| Timestamp::from_millisecond(at).ok().map(|at| (scanner, at));
        Ok(rows.into_iter().filter_map(known).collect())
    }
}

type SqliteQuery<'q> = sqlx::query::Query<'q, sqlx::Sqlite, sqlx::sqlite::SqliteArguments>;

fn filter<'q>(text: SqliteQuery<'q>, cluster: &'q str, query: &'q FindingQuery) -> SqliteQuery<'q> {
    text.bind(cluster)
        .bind(query.state.map(super::model::State::as_str))
        .bind(query.severity.map(portreeve_reports::Severity::as_str))
        .bind(query.verdict.map(portreeve_reports::Verdict::as_str))
        .bind(query.code.as_deref())
        .bind(query.namespace.as_deref())
        .bind(query.subject.as_ref().map(|subject| subject.0.as_str()))
        .bind(query.text.as_deref().filter(|text| !text.is_empty()).map(pattern))
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
