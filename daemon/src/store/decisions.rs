//! What admission answered: written with the findings, read newest first.

use jiff::Timestamp;
use sqlx::sqlite::SqliteRow;
use sqlx::{Row as _, SqliteConnection};

use super::Store;
use super::body::bounded;
use super::error::StoreError;
use super::model::Decision;
use super::rows::millis;

/// The longest word of a request that is kept: names of Kubernetes are at most 253 bytes.
const MAX_WORD: usize = 256;
/// The most codes and digests of a decision that are kept.
const MAX_LIST: usize = 64;

const INSERT: &str = "INSERT INTO decisions (cluster, id, decided_at, uid, door, operation, kind, namespace, name, \
                      allowed, mode, codes, digests) \
                      VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)";

pub(super) async fn insert_decision(
    connection: &mut SqliteConnection,
    cluster: &str,
    id: &str,
    decision: &Decision,
) -> Result<(), sqlx::Error> {
    let query = sqlx::query(INSERT)
        .bind(cluster)
        .bind(id)
        .bind(millis(decision.at))
        .bind(bounded(&decision.uid, MAX_WORD))
        .bind(bounded(&decision.door, MAX_WORD))
        .bind(bounded(&decision.operation, MAX_WORD))
        .bind(bounded(&decision.kind, MAX_WORD))
        .bind(bounded(&decision.namespace, MAX_WORD))
        .bind(bounded(&decision.name, MAX_WORD))
        .bind(i64::from(decision.allowed))
        .bind(bounded(&decision.mode, MAX_WORD))
        .bind(list(&decision.codes))
        .bind(list(&decision.digests));
    query.execute(connection).await.map(|_| ())
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
        let query = sqlx::query(text).bind(self.cluster()).bind(i64::from(limit));
        let rows = query.fetch_all(&self.inner.readers).await.map_err(|source| self.failed(source))?;
        rows.iter().map(decision).collect::<Result<_, _>>().map_err(|source| self.failed(source))
    }
}

fn decision(row: &SqliteRow) -> Result<Decision, sqlx::Error> {
    Ok(Decision {
        at: Timestamp::from_millisecond(row.try_get("decided_at")?)
            .map_err(|error| undecodable("decided_at", error))?,
        uid: row.try_get("uid")?,
        door: row.try_get("door")?,
        operation: row.try_get("operation")?,
        kind: row.try_get("kind")?,
        namespace: row.try_get("namespace")?,
        name: row.try_get("name")?,
        allowed: row.try_get::<i64, _>("allowed")? != 0,
        mode: row.try_get("mode")?,
        codes: words(row, "codes")?,
        digests: words(row, "digests")?,
    })
}

fn words(row: &SqliteRow, column: &'static str) -> Result<Vec<String>, sqlx::Error> {
    let text: String = row.try_get(column)?;
    serde_json::from_str(&text).map_err(|error| undecodable(column, error))
}

fn undecodable(column: &'static str, error: impl std::error::Error + Send + Sync + 'static) -> sqlx::Error {
    sqlx::Error::ColumnDecode { index: column.to_owned(), source: Box::new(error) }
}
