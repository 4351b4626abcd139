//! Opening a store: one process, an intact file, this schema, or a clear refusal.
//!
//! A new database is made beside its place and renamed, so that a file of the store's name is never half made and an
//! empty one is known to be damaged.

use std::fs::{File, OpenOptions, TryLockError};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::time::Duration;

use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{ConnectOptions, Connection, SqliteConnection};

use super::error::StoreError;
use super::url::StoreUrl;

static MIGRATIONS: sqlx::migrate::Migrator = sqlx::migrate!("./migrations");

/// `PRTV`: marks the file as ours in SQLite's header.
const APPLICATION_ID: i64 = 0x5052_5456;
/// The schema that the newest migration makes.
const SCHEMA: i64 = 1;
/// How long a statement waits for another connection.
const BUSY: Duration = Duration::from_secs(5);
/// Bytes of write-ahead log kept after a checkpoint.
const JOURNAL_LIMIT: &str = "16777216";
/// Connections for reading.
const READERS: u32 = 4;

/// What an open store consists of.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) writer: SqlitePool,
    pub(super) readers: SqlitePool,
    pub(super) lock: File,
}

/// Locks, checks, migrates and opens the database.
pub(super) async fn open(url: &StoreUrl) -> Result<Opened, StoreError> {
    let lock = lock(url)?;
    let path = url.path();
    if !path.exists() {
        create(url).await?;
    }
    check(path).await?;
    restrict(path)?;
    let writer = writer_pool(path).await.map_err(|source| StoreError::of(path, source))?;
    MIGRATIONS.run(&writer).await.map_err(|source| migrate_error(path, source))?;
    let readers = reader_pool(path).await.map_err(|source| StoreError::of(path, source))?;
    Ok(Opened { writer, readers, lock })
}

fn lock(url: &StoreUrl) -> Result<File, StoreError> {
    let folder = folder(url);
    if !folder.is_dir() {
        return Err(StoreError::NoFolder(folder.to_owned()));
    }
    let path = url.lock_path();
    let opened = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(&path);
    let file = opened.map_err(|source| StoreError::File { path: path.clone(), source })?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(StoreError::Locked(path)),
        Err(TryLockError::Error(source)) => Err(StoreError::File { path, source }),
    }
}

/// Makes an empty store of this schema, whole or not at all.
async fn create(url: &StoreUrl) -> Result<(), StoreError> {
    let fresh = url.beside(".new");
    let file_error = |source| StoreError::File { path: fresh.clone(), source };
    let opened = OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(&fresh);
    drop(opened.map_err(file_error)?);
    let failed = |source| StoreError::of(&fresh, source);
    // No WAL yet: what is renamed must be one file.
    let options = SqliteConnectOptions::new().filename(&fresh).synchronous(SqliteSynchronous::Full);
    let mut connection = options.journal_mode(SqliteJournalMode::Delete).connect().await.map_err(failed)?;
    sqlx::query("PRAGMA application_id = 1347572822").execute(&mut connection).await.map_err(failed)?;
    MIGRATIONS.run(&mut connection).await.map_err(|source| migrate_error(&fresh, source))?;
    connection.close().await.map_err(failed)?;
    std::fs::rename(&fresh, url.path()).map_err(file_error)?;
    // The name itself must survive a power cut.
    File::open(folder(url)).and_then(|folder| folder.sync_all()).map_err(file_error)
}

fn folder(url: &StoreUrl) -> &Path {
    url.path().parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Refuses a damaged, foreign or newer database before anything is written to it.
async fn check(path: &Path) -> Result<(), StoreError> {
    let size = std::fs::metadata(path).map_err(|source| StoreError::File { path: path.to_owned(), source })?.len();
    if size == 0 {
        return Err(StoreError::Corrupt { path: path.to_owned(), detail: "the file is empty".to_owned() });
    }
    let failed = |source| StoreError::of(path, source);
    let mut connection = options(path).connect().await.map_err(failed)?;
    let verdict = inspect(&mut connection, path).await;
    connection.close().await.map_err(failed)?;
    verdict
}

async fn inspect(connection: &mut SqliteConnection, path: &Path) -> Result<(), StoreError> {
    let failed = |source| StoreError::of(path, source);
    let id: i64 = sqlx::query_scalar("PRAGMA application_id").fetch_one(&mut *connection).await.map_err(failed)?;
    if id != APPLICATION_ID {
        return Err(StoreError::Foreign(path.to_owned()));
    }
    let answer: String =
        sqlx::query_scalar("PRAGMA quick_check(1)").fetch_one(&mut *connection).await.map_err(failed)?;
    if answer != "ok" {
        return Err(StoreError::Corrupt { path: path.to_owned(), detail: answer });
    }
    let text = sqlx::query_scalar::<_, String>("SELECT value FROM meta WHERE key = 'schema'");
    let text = text.fetch_one(&mut *connection).await.map_err(failed)?;
    let damaged = |_| StoreError::Corrupt { path: path.to_owned(), detail: format!("its schema is '{text}'") };
    let found: i64 = text.parse().map_err(damaged)?;
    if found > SCHEMA {
        return Err(StoreError::NewerSchema { path: path.to_owned(), found, known: SCHEMA });
    }
    Ok(())
}

fn restrict(path: &Path) -> Result<(), StoreError> {
    let only_us = std::fs::Permissions::from_mode(0o600);
    std::fs::set_permissions(path, only_us).map_err(|source| StoreError::File { path: path.to_owned(), source })
}

fn options(path: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(false)
        .busy_timeout(BUSY)
        .synchronous(SqliteSynchronous::Full)
        .pragma("journal_size_limit", JOURNAL_LIMIT)
}

/// One connection that lives as long as the store: writers queue for it instead of for SQLite's lock.
async fn writer_pool(path: &Path) -> Result<SqlitePool, sqlx::Error> {
    let pool = SqlitePoolOptions::new().max_connections(1).min_connections(1).idle_timeout(None).max_lifetime(None);
    pool.connect_with(options(path).journal_mode(SqliteJournalMode::Wal)).await
}

async fn reader_pool(path: &Path) -> Result<SqlitePool, sqlx::Error> {
    SqlitePoolOptions::new().max_connections(READERS).connect_with(options(path).read_only(true)).await
}

fn migrate_error(path: &Path, source: sqlx::migrate::MigrateError) -> StoreError {
    StoreError::Migrate { path: path.to_owned(), source: Box::new(source) }
}
