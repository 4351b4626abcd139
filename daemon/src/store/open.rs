//! Opening a store: intact, ours, of this schema, or a clear refusal before anything is written to it.

mod postgres;
mod sqlite;

use std::fs::File;

use super::engine::Readers;
use super::error::StoreError;
use super::url::StoreUrl;
use super::writer::Writer;

/// Forward only, in one text for both engines. PostgreSQL takes an advisory lock for them: of daemons that start at
/// the same time one migrates, and the others find it done.
static MIGRATIONS: sqlx::migrate::Migrator = sqlx::migrate!("./migrations");

/// The schema that the newest migration makes.
const SCHEMA: i64 = 2;
/// Connections for reading.
const READERS: u32 = 4;

/// What an open store consists of.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) writer: Writer,
    pub(super) readers: Readers,
    /// Held while the store is open, where only one process may have it.
    pub(super) lock: Option<File>,
}

/// Locks, checks, migrates and opens the database.
pub(super) async fn open(url: &StoreUrl) -> Result<Opened, StoreError> {
    match url {
        StoreUrl::Sqlite(path) => sqlite::open(path).await,
        StoreUrl::Postgres(address) => postgres::open(address, &url.to_string()).await,
    }
}

/// What [`open`] would find, without making, locking or migrating anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// A store that this version opens.
    Store,
    /// Nothing yet: it is made at the first start.
    Nothing,
    /// A file that a running process holds, and has checked.
    InUse,
}

/// Looks at what [`open`] would refuse.
pub(super) async fn probe(url: &StoreUrl) -> Result<Found, StoreError> {
    match url {
        StoreUrl::Sqlite(path) => sqlite::probe(path).await,
        StoreUrl::Postgres(address) => postgres::probe(address, &url.to_string()).await,
    }
}

/// Refuses a schema that this binary does not know.
fn check_schema(store: &str, text: &str) -> Result<(), StoreError> {
    let damaged = |_| StoreError::Corrupt { store: store.to_owned(), detail: format!("its schema is '{text}'") };
    let found: i64 = text.parse().map_err(damaged)?;
    if found > SCHEMA {
        return Err(StoreError::NewerSchema { store: store.to_owned(), found, known: SCHEMA });
    }
    Ok(())
}

fn migrate_error(store: &str, source: sqlx::migrate::MigrateError) -> StoreError {
    StoreError::Migrate { store: store.to_owned(), source: Box::new(source) }
}
