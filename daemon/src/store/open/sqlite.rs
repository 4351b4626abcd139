//! A SQLite file: one process, an intact file.
//!
//! A new database is made beside its place and renamed, so that a file of the store's name is never half made and an
//! empty one is known to be damaged.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::ErrorKind;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{ConnectOptions, Connection, SqliteConnection};

use super::super::engine::Readers;
use super::super::error::StoreError;
use super::super::url::{beside, lock_path};
use super::super::writer::{self, Target, Writer};
use super::{Found, MIGRATIONS, Opened, READERS, check_schema, migrate_error};
use crate::runtime::files::{folder_of, put_in_place};

/// `PRTV`: marks the file as ours in SQLite's header.
const APPLICATION_ID: i64 = 0x5052_5456;
/// How long a statement waits for another connection.
const BUSY: Duration = Duration::from_secs(5);
/// Bytes of write-ahead log kept after a checkpoint.
const JOURNAL_LIMIT: &str = "16777216";

pub(super) async fn open(path: &Path) -> Result<Opened, StoreError> {
    let path = &place(path)?;
    let lock = lock(path)?;
    refuse_several_names(path)?;
    if !path.exists() {
        create(path).await?;
    }
    check(path, options(path)).await?;
    restrict(path)?;
    let failed = |source| of(path, source);
    let writing = options(path).journal_mode(SqliteJournalMode::Wal);
    let mut connection = writing.connect().await.map_err(failed)?;
    MIGRATIONS.run(&mut connection).await.map_err(|source| migrate_error(&shown(path), source))?;
    let reading = SqlitePoolOptions::new().max_connections(READERS);
    let readers: SqlitePool = reading.connect_with(options(path).read_only(true)).await.map_err(failed)?;
    Ok(Opened {
        writer: Writer::new(Target::Sqlite(writing), writer::Connection::Sqlite(connection)),
        readers: Readers::Sqlite(readers),
        lock: Some(lock),
    })
}

pub(super) async fn probe(path: &Path) -> Result<Found, StoreError> {
    let path = &place(path)?;
    let folder = folder_of(path);
    if !folder.is_dir() {
        return Err(StoreError::NoFolder(folder.to_owned()));
    }
    if is_held(path)? {
        return Ok(Found::InUse);
    }
    refuse_several_names(path)?;
    let is_there = path.try_exists().map_err(|source| StoreError::File { path: path.clone(), source })?;
    if !is_there {
        return Ok(Found::Nothing);
    }
    // A file without its log is read as it is: else files for a log would be made beside it.
    let is_whole = !beside(path, "-wal").exists();
    check(path, options(path).read_only(true).immutable(is_whole)).await?;
    Ok(Found::Store)
}

/// Whether another process holds the lock now.
fn is_held(database: &Path) -> Result<bool, StoreError> {
    let path = lock_path(database);
    let file = match File::open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
        Err(source) => return Err(StoreError::File { path, source }),
    };
    match file.try_lock_shared() {
        Ok(()) => Ok(false),
        Err(TryLockError::WouldBlock) => Ok(true),
        Err(TryLockError::Error(source)) => Err(StoreError::File { path, source }),
    }
}

/// The file itself, whatever name led to it: lock and log stand beside it.
fn place(path: &Path) -> Result<PathBuf, StoreError> {
    let path = match std::fs::canonicalize(path) {
        Ok(path) => path,
        // A store that is made in the place of the link would hide the one that it should lead to.
        Err(error) if path.is_symlink() => {
            let target = std::fs::read_link(path).map_or_else(|_| String::new(), |target| target.display().to_string());
            let words = format!("it is a link that dangles, to {target} ({error}); mount or make what it leads to");
            return Err(StoreError::File { path: path.to_owned(), source: std::io::Error::other(words) });
        }
        Err(_) => path.to_owned(),
    };
    if path.is_dir() {
        let source = std::io::Error::other("it is a folder; name a file in it in store.url");
        return Err(StoreError::File { path, source });
    }
    Ok(path)
}

fn refuse_several_names(path: &Path) -> Result<(), StoreError> {
    if std::fs::metadata(path).is_ok_and(|there| there.nlink() > 1) {
        return Err(StoreError::SeveralNames(path.to_owned()));
    }
    Ok(())
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}

fn of(path: &Path, source: sqlx::Error) -> StoreError {
    StoreError::of(&shown(path), source)
}

fn lock(database: &Path) -> Result<File, StoreError> {
    let folder = folder_of(database);
    if !folder.is_dir() {
        return Err(StoreError::NoFolder(folder.to_owned()));
    }
    let path = lock_path(database);
    let opened = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(&path);
    let file = opened.map_err(|source| StoreError::File { path: path.clone(), source })?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(StoreError::Locked(path)),
        Err(TryLockError::Error(source)) => Err(StoreError::File { path, source }),
    }
}

/// Makes an empty store of this schema, whole or not at all.
async fn create(path: &Path) -> Result<(), StoreError> {
    let fresh = beside(path, ".new");
    let file_error = |source| StoreError::File { path: fresh.clone(), source };
    let opened = OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(&fresh);
    drop(opened.map_err(file_error)?);
    let failed = |source| of(&fresh, source);
    // No WAL yet: what is renamed must be one file.
    let options = SqliteConnectOptions::new().filename(&fresh).synchronous(SqliteSynchronous::Full);
    let mut connection = options.journal_mode(SqliteJournalMode::Delete).connect().await.map_err(failed)?;
    sqlx::query("PRAGMA application_id = 1347572822").execute(&mut connection).await.map_err(failed)?;
    MIGRATIONS.run(&mut connection).await.map_err(|source| migrate_error(&shown(&fresh), source))?;
    connection.close().await.map_err(failed)?;
    put_in_place(&fresh, path).map_err(file_error)
}

/// Refuses a damaged, foreign or newer database before anything is written to it.
async fn check(path: &Path, options: SqliteConnectOptions) -> Result<(), StoreError> {
    let size = std::fs::metadata(path).map_err(|source| StoreError::File { path: path.to_owned(), source })?.len();
    if size == 0 {
        return Err(StoreError::Corrupt { store: shown(path), detail: "the file is empty".to_owned() });
    }
    let failed = |source| of(path, source);
    let mut connection = options.connect().await.map_err(failed)?;
    let verdict = inspect(&mut connection, path).await;
    connection.close().await.map_err(failed)?;
    verdict
}

async fn inspect(connection: &mut SqliteConnection, path: &Path) -> Result<(), StoreError> {
    let failed = |source| of(path, source);
    let id: i64 = sqlx::query_scalar("PRAGMA application_id").fetch_one(&mut *connection).await.map_err(failed)?;
    if id != APPLICATION_ID {
        return Err(StoreError::Foreign(shown(path)));
    }
    let answer: String =
        sqlx::query_scalar("PRAGMA quick_check(1)").fetch_one(&mut *connection).await.map_err(failed)?;
    if answer != "ok" {
        return Err(StoreError::Corrupt { store: shown(path), detail: answer });
    }
    let text = sqlx::query_scalar::<_, String>("SELECT value FROM meta WHERE key = 'schema'");
    let text = text.fetch_one(&mut *connection).await.map_err(failed)?;
    check_schema(&shown(path), &text)
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
