//! What admission answered: written with the findings, read newest first.

use jiff::Timestamp;

use super::Store;
use super::body::bounded;
use super::engine::{Row, Session, Statement};
use super::error::StoreError;
use super::model::Decision;
use super::rows::millis;

/// The longest word of a request that is kept: names of Kubernetes are at most 253 bytes.
const MAX_WORD: usize = 256;
/// The most codes and digests of a decision that are kept.
const MAX_LIST: usize = 64;

const INSERT: &str = "INSERT INTO decisions (cluster, id, decided_at, uid, door, operation, kind, namespace, name, \
                      allowed, mode, codes, digests) \
                      VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13) \
                      ON CONFLICT (cluster, id) DO NOTHING";

/// The same id twice is the same decision: one whose commit was not heard of is written again.
pub(super) async fn insert_decision(
    session: &mut Session<'_>,
    cluster: &str,
    id: &str,
    decision: &Decision,
) -> Result<(), sqlx::Error> {
    let statement = Statement::new(INSERT)
        .text(cluster)
        .text(id)
        .number(millis(decision.at))
        .text(bounded(&decision.uid, MAX_WORD))
        .text(bounded(&decision.door, MAX_WORD))
        .text(bounded(&decision.operation, MAX_WORD))
        .text(bounded(&decision.kind, MAX_WORD))
        .text(bounded(&decision.namespace, MAX_WORD))
        .text(bounded(&decision.name, MAX_WORD))
        .number(i64::from(decision.allowed))
        .text(bounded(&decision.mode, MAX_WORD))
        .text(list(&decision.codes))
        .text(list(&decision.digests));
    session.execute(&statement).await.map(|_| ())
}

/// A JSON array of the first words.
fn list(words: &[String]) -> String {
    let words = words.iter().take(MAX_LIST).map(|word| serde_json::Value::from(bounded(word, MAX_WORD)));
    serde_json::Value::Array(words.collect()).to_string()
}

impl Store {
    /// The newest decisions, newest first, at most `limit`.
    pub async fn decisions(&self, limit: u32) -> Result<Vec<Decision>, StoreError> {
        let text = "SELECT decided_at, uid, door, operation, kind, namespace, name, allowed, mode, codes, digests \
                    FROM decisions WHERE cluster = $1 ORDER BY decided_at DESC, id DESC LIMIT $2";
        let statement = Statement::new(text).text(self.cluster()).number(i64::from(limit));
        let rows = self.inner.readers.rows(&statement).await.map_err(|source| self.failed(source))?;
        rows.iter().map(decision).collect::<Result<_, _>>().map_err(|source| self.failed(source))
    }
}

fn decision(row: &Row) -> Result<Decision, sqlx::Error> {
    Ok(Decision {
        at: Timestamp::from_millisecond(row.number("decided_at")?).map_err(|error| undecodable("decided_at", error))?,
        uid: row.text("uid")?,
        door: row.text("door")?,
        operation: row.text("operation")?,
        kind: row.text("kind")?,
        namespace: row.text("namespace")?,
        name: row.text("name")?,
        allowed: row.number("allowed")? != 0,
        mode: row.text("mode")?,
        codes: words(row, "codes")?,
        digests: words(row, "digests")?,
    })
}

fn words(row: &Row, column: &'static str) -> Result<Vec<String>, sqlx::Error> {
    let text = row.text(column)?;
    serde_json::from_str(&text).map_err(|error| undecodable(column, error))
}

fn undecodable(column: &'static str, error: impl std::error::Error + Send + Sync + 'static) -> sqlx::Error {
    sqlx::Error::ColumnDecode { index: column.to_owned(), source: Box::new(error) }
}
