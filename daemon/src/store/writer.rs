//! The one connection that writes. It lives until a write fails: what a failed transaction left behind goes with it.

use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{ConnectOptions as _, Connection as _};
use tokio::sync::{Mutex, MutexGuard};
use tokio::time::timeout;

use super::engine::Session;

/// How long a connection to PostgreSQL may take.
const CONNECT: Duration = Duration::from_secs(2);
/// How long a transaction on PostgreSQL may take: a network that swallows packets must not keep the recorder.
const TRANSACTION: Duration = Duration::from_secs(15);

/// What the writer connects to.
#[derive(Clone)]
pub(super) enum Target {
    Sqlite(SqliteConnectOptions),
    Postgres(PgConnectOptions),
}

/// Writers queue for the connection instead of for the engine's lock.
pub(super) struct Writer {
    held: Mutex<Held>,
    limit: Option<Duration>,
}

struct Held {
    target: Target,
    connection: Option<Connection>,
    is_closed: bool,
}

/// A connection of either engine.
pub(super) enum Connection {
    Sqlite(SqliteConnection),
    Postgres(PgConnection),
}

impl Target {
    pub(super) async fn connect(&self) -> Result<Connection, sqlx::Error> {
        match self {
            Self::Sqlite(options) => options.connect().await.map(Connection::Sqlite),
            Self::Postgres(options) => match timeout(CONNECT, options.connect()).await {
                Ok(connected) => connected.map(Connection::Postgres),
                Err(_) => Err(sqlx::Error::Io(std::io::ErrorKind::TimedOut.into())),
            },
        }
    }
}

impl Connection {
    pub(super) fn session(&mut self) -> Session<'_> {
        match self {
            Self::Sqlite(connection) => Session::Sqlite(connection),
            Self::Postgres(connection) => Session::Postgres(connection),
        }
    }

    async fn close(self) -> Result<(), sqlx::Error> {
        match self {
            Self::Sqlite(connection) => connection.close().await,
            Self::Postgres(connection) => connection.close_hard().await,
        }
    }
}

impl Writer {
    pub(super) fn new(target: Target, connection: Connection) -> Self {
        let limit = matches!(target, Target::Postgres(_)).then_some(TRANSACTION);
        Self { held: Mutex::new(Held { target, connection: Some(connection), is_closed: false }), limit }
    }

    /// A transaction, which ends with [`Transaction::commit`] or leaves nothing.
    pub(super) async fn begin(&self) -> Result<Transaction<'_>, sqlx::Error> {
        let mut held = self.held.lock().await;
        if held.is_closed {
            return Err(sqlx::Error::PoolClosed);
        }
        // Taken out: whatever ends the work, also its being dropped, ends the connection with it.
        if let Some(mut connection) = held.connection.take()
            && connection.session().command("BEGIN").await.is_ok()
        {
            return Ok(Transaction { held, connection });
        }
        // The server went away since the last write, which was whole: nothing is lost by asking again.
        let mut connection = held.target.connect().await?;
        connection.session().command("BEGIN").await?;
        Ok(Transaction { held, connection })
    }

    /// The result of `work`, or an error when it takes longer than a transaction may.
    pub(super) async fn within<T>(&self, work: impl Future<Output = Result<T, sqlx::Error>>) -> Result<T, sqlx::Error> {
        match self.limit {
            None => work.await,
            Some(limit) => {
                timeout(limit, work).await.unwrap_or(Err(sqlx::Error::Io(std::io::ErrorKind::TimedOut.into())))
            }
        }
    }

    /// Closes it for good, after what is being written.
    pub(super) async fn close(&self) {
        let mut held = self.held.lock().await;
        held.is_closed = true;
        if let Some(connection) = held.connection.take() {
            drop(connection.close().await);
        }
    }

    /// Gives the next connection other options; the present one is closed.
    #[cfg(test)]
    pub(super) async fn reconnect_with(&self, change: impl FnOnce(Target) -> Target) {
        let mut held = self.held.lock().await;
        held.target = change(held.target.clone());
        if let Some(connection) = held.connection.take() {
            connection.close().await.unwrap();
        }
    }
}

/// A transaction of the writer. Dropped, it leaves nothing.
pub(super) struct Transaction<'w> {
    held: MutexGuard<'w, Held>,
    connection: Connection,
}

impl Transaction<'_> {
    pub(super) fn session(&mut self) -> Session<'_> {
        self.connection.session()
    }

    pub(super) async fn commit(mut self) -> Result<(), sqlx::Error> {
        match self.connection.session().command("COMMIT").await {
            Ok(()) => {
                self.held.connection = Some(self.connection);
                Ok(())
            }
            Err(error) => {
                // A failed COMMIT may leave SQLite's transaction open, and the next one would only be nested in it:
                // said to be committed, and gone with the process. A new connection starts from what is on disk.
                self.abandon().await;
                Err(error)
            }
        }
    }

    /// Ends it with its connection.
    pub(super) async fn abandon(self) {
        drop(self.connection.close().await);
    }
}

impl std::fmt::Debug for Writer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The options may hold a password.
        f.debug_struct("Writer").finish_non_exhaustive()
    }
}
