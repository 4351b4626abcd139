//! Who may write findings, where several processes have the store open: the newest leader.
//!
//! Each cluster has one row. A transaction with findings takes its lock first, so that their writers come one after
//! the other, and is refused when it is of an older epoch. Decisions and evidence need no epoch.

use super::Store;
use super::engine::{Session, Statement};
use super::error::StoreError;
use crate::runtime::leader::Epoch;

fn stored(epoch: Epoch) -> i64 {
    i64::try_from(epoch.number()).unwrap_or(i64::MAX)
}

const ROW: &str = "INSERT INTO fences (cluster, epoch, revision) VALUES ($1, 0, 0) ON CONFLICT (cluster) DO NOTHING";
const RAISE: &str = "UPDATE fences SET epoch = $2 WHERE cluster = $1 AND epoch <= $2";
const PASS: &str = "UPDATE fences SET epoch = epoch WHERE cluster = $1 AND epoch <= $2";
const CHANGED: &str = "UPDATE fences SET revision = revision + 1 WHERE cluster = $1 RETURNING revision";
const REVISION: &str = "SELECT revision FROM fences WHERE cluster = $1";

impl Store {
    /// From now on findings of older epochs are refused. Waits for the transaction that is being written.
    ///
    /// # Errors
    /// [`StoreError::Fenced`] when a newer leader was here already.
    pub async fn fence(&self, epoch: Epoch) -> Result<(), StoreError> {
        let statement = Statement::new(RAISE).text(self.cluster()).number(stored(epoch));
        let raised = self.written_alone(&statement).await.map_err(|source| self.failed(source))?;
        if raised == 0 { Err(StoreError::Fenced) } else { Ok(()) }
    }

    /// The newest epoch that has written: a leader's must be greater.
    pub async fn epoch(&self) -> Result<Epoch, StoreError> {
        let statement = Statement::new("SELECT epoch FROM fences WHERE cluster = $1").text(self.cluster());
        let rows = self.inner.readers.rows(&statement).await;
        let number = rows.and_then(|rows| rows.first().map_or(Ok(0), |row| row.number("epoch")));
        number.map(|number| Epoch::new(number.unsigned_abs())).map_err(|source| self.failed(source))
    }

    /// Makes the cluster's row where there is none.
    pub(super) async fn make_fence(&self) -> Result<(), StoreError> {
        let statement = Statement::new(ROW).text(self.cluster());
        self.written_alone(&statement).await.map_err(|source| self.failed(source)).map(|_| ())
    }

    /// Writes one statement in a transaction of its own; the number of rows that it wrote.
    async fn written_alone(&self, statement: &Statement<'_>) -> Result<u64, sqlx::Error> {
        let written = async {
            let mut transaction = self.inner.writer.begin().await?;
            match transaction.session().execute(statement).await {
                Ok(rows) => transaction.commit().await.map(|()| rows),
                Err(error) => {
                    transaction.abandon().await;
                    Err(error)
                }
            }
        };
        self.inner.writer.within(written).await
    }
}

/// Waits for the turn to write findings; whether this epoch may. A process without an epoch always may.
pub(super) async fn pass(session: &mut Session<'_>, cluster: &str, epoch: Option<Epoch>) -> Result<bool, sqlx::Error> {
    let epoch = epoch.map_or(i64::MAX, stored);
    Ok(session.execute(&Statement::new(PASS).text(cluster).number(epoch)).await? > 0)
}

/// Notes that something visible changes with this transaction; the number of the change.
pub(super) async fn changed(session: &mut Session<'_>, cluster: &str) -> Result<i64, sqlx::Error> {
    let rows = session.rows(&Statement::new(CHANGED).text(cluster)).await?;
    rows.first().map_or(Ok(0), |row| row.number("revision"))
}

/// The number of the last visible change.
pub(super) async fn revision(session: &mut Session<'_>, cluster: &str) -> Result<i64, sqlx::Error> {
    let rows = session.rows(&Statement::new(REVISION).text(cluster)).await?;
    rows.first().map_or(Ok(0), |row| row.number("revision"))
}
