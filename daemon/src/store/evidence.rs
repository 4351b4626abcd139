//! Evidence that the processes on one PostgreSQL store share: what a registry said, bounded in age and size.
//!
//! It is a cache of bytes. Whoever takes something from it verifies it like what a registry says, and a shelf that
//! does not answer is passed by.

use std::time::Duration;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use jiff::Timestamp;
use portreeve_policies::image::{Digest, Repository};
use portreeve_trust::evidence::ImageEvidence;

use super::engine::{Session, Statement};
use super::rows::millis;
use super::{Record, RecorderHandle, Store};
use crate::registry::{EvidenceShelf, Shelved};

/// The most bytes of one image's evidence that are shared; real ones have some ten thousand.
const MAX_ENTRY: usize = 1 << 20;
/// The most bytes that are shared in a cluster. What has no room is not shared.
const MAX_ALL: i64 = 64 << 20;
/// Age at which evidence goes.
const MAX_AGE: Duration = Duration::from_secs(600);
/// How far another process' clock may be ahead of ours.
const SKEW: Duration = Duration::from_secs(60);
/// How long the shelf is waited for before the registry is asked.
const PATIENCE: Duration = Duration::from_millis(300);

const TAKE: &str = "SELECT gathered_at, body FROM evidence WHERE cluster = $1 AND repository = $2 AND digest = $3";
const EXPIRE: &str = "DELETE FROM evidence WHERE cluster = $1 AND gathered_at < $2";
const SHARE: &str = "INSERT INTO evidence (cluster, repository, digest, gathered_at, size, body) \
     SELECT $1, $2, $3, $4, $5, $6 \
     WHERE (SELECT COALESCE(SUM(size), 0) FROM evidence WHERE cluster = $1) + $5 <= $7 \
     ON CONFLICT (cluster, repository, digest) DO UPDATE SET gathered_at = excluded.gathered_at, \
     size = excluded.size, body = excluded.body WHERE evidence.gathered_at <= excluded.gathered_at";

/// Evidence about one image, on its way to the other processes.
#[derive(Clone, Debug)]
pub struct SharedEvidence {
    repository: String,
    digest: String,
    at: Timestamp,
    body: String,
}

/// The shelf of a store that several processes use.
pub struct Shelf {
    store: Store,
    recorder: RecorderHandle,
}

impl Shelf {
    /// The shelf of this store; `None` where no other process could use it.
    pub fn of(store: &Store, recorder: &RecorderHandle) -> Option<Self> {
        store.is_shared().then(|| Self { store: store.clone(), recorder: recorder.clone() })
    }

    async fn read(&self, repository: &Repository, digest: &Digest) -> Option<Shelved> {
        let (repository, digest) = (repository.to_string(), digest.as_str());
        let statement = Statement::new(TAKE).text(self.store.cluster()).text(&repository).text(digest);
        let rows = self.store.inner.readers.rows(&statement).await.ok()?;
        let row = rows.first()?;
        let age = age(row.number("gathered_at").ok()?, Timestamp::now())?;
        let evidence: ImageEvidence = serde_json::from_str(&row.text("body").ok()?).ok()?;
        // A row that is about something else is nobody's evidence.
        (evidence.repository == repository && evidence.digest.as_str() == digest).then_some(Shelved { evidence, age })
    }
}

/// How old something of this millisecond is, where it is neither too old nor of the future.
fn age(millisecond: i64, now: Timestamp) -> Option<Duration> {
    let gathered = Timestamp::from_millisecond(millisecond).ok()?;
    let age = match Duration::try_from(now.duration_since(gathered)) {
        Ok(age) => age,
        Err(_) if gathered.duration_since(now).unsigned_abs() <= SKEW => Duration::ZERO,
        Err(_) => return None,
    };
    (age < MAX_AGE).then_some(age)
}

impl EvidenceShelf for Shelf {
    fn take<'a>(&'a self, repository: &'a Repository, digest: &'a Digest) -> BoxFuture<'a, Option<Shelved>> {
        async move { tokio::time::timeout(PATIENCE, self.read(repository, digest)).await.ok().flatten() }.boxed()
    }

    fn put(&self, evidence: &ImageEvidence) {
        let Ok(body) = serde_json::to_string(evidence) else { return };
        if body.len() > MAX_ENTRY {
            return;
        }
        let shared = SharedEvidence {
            repository: evidence.repository.clone(),
            digest: evidence.digest.as_str().to_owned(),
            at: Timestamp::now(),
            body,
        };
        // Nobody waits for it, and what is not shared is asked for again.
        drop(self.recorder.send(Record::Evidence(shared)));
    }
}

/// Puts evidence onto the shelf, after what is too old was taken from it.
pub(super) async fn share(
    session: &mut Session<'_>,
    cluster: &str,
    shared: &SharedEvidence,
) -> Result<(), sqlx::Error> {
    let oldest = shared.at.checked_sub(MAX_AGE).map_or(i64::MIN, millis);
    session.execute(&Statement::new(EXPIRE).text(cluster).number(oldest)).await?;
    let statement = Statement::new(SHARE)
        .text(cluster)
        .text(&shared.repository)
        .text(&shared.digest)
        .number(millis(shared.at))
        .number(i64::try_from(shared.body.len()).unwrap_or(i64::MAX))
        .text(&shared.body)
        .number(MAX_ALL);
    session.execute(&statement).await.map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn evidence_that_is_old_or_of_the_future_is_not_used() {
        let now = Timestamp::from_second(1_800_000_000).unwrap();
        let at = |seconds: i64| age(now.as_millisecond() + seconds * 1_000, now);
        assert_eq!(at(0), Some(Duration::ZERO));
        assert_eq!(at(-599), Some(Duration::from_secs(599)));
        assert_eq!(at(-600), None);
        assert_eq!(at(60), Some(Duration::ZERO));
        assert_eq!(at(61), None);
    }
}
