//! Bytes of image evidence, shared across restarts. Never a verdict: each process verifies them again.

use jiff::Timestamp;

use super::Store;
use super::error::StoreError;
use super::rows::millis;

/// The largest evidence of one image that is kept.
const MAX_BYTES: usize = 4 * 1024 * 1024;
/// The most images whose evidence is kept; the oldest go first.
const MAX_ROWS: i64 = 10_000;

const INSERT: &str = "INSERT INTO evidence (repository, digest, bytes, fetched_at) VALUES ($1, $2, $3, $4) \
                      ON CONFLICT (repository, digest) DO UPDATE SET bytes = excluded.bytes, \
                      fetched_at = excluded.fetched_at";
const TRIM: &str = "DELETE FROM evidence WHERE fetched_at < \
                    (SELECT fetched_at FROM evidence ORDER BY fetched_at DESC LIMIT 1 OFFSET $1)";

impl Store {
    /// Keeps the evidence of an image. One that is too large is not kept, and will be fetched again.
    pub async fn put_evidence(
        &self,
        repository: &str,
        digest: &str,
        bytes: &[u8],
        fetched_at: Timestamp,
    ) -> Result<(), StoreError> {
        if bytes.len() > MAX_BYTES {
            return Ok(());
        }
        let query = sqlx::query(INSERT).bind(repository).bind(digest).bind(bytes).bind(millis(fetched_at));
        query.execute(&self.inner.writer).await.map_err(|source| self.failed(source))?;
        let trim = sqlx::query(TRIM).bind(MAX_ROWS - 1);
        trim.execute(&self.inner.writer).await.map_err(|source| self.failed(source)).map(|_| ())
    }

    /// The evidence of an image, and when it was fetched.
    pub async fn evidence(&self, repository: &str, digest: &str) -> Result<Option<(Vec<u8>, Timestamp)>, StoreError> {
        let text = "SELECT bytes, fetched_at FROM evidence WHERE repository = $1 AND digest = $2";
        let query = sqlx::query_as::<_, (Vec<u8>, i64)>(text).bind(repository).bind(digest);
        let row = query.fetch_optional(&self.inner.readers).await.map_err(|source| self.failed(source))?;
        Ok(row.and_then(|(bytes, at)| Timestamp::from_millisecond(at).ok().map(|at| (bytes, at))))
    }
}
