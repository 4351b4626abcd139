//! What can go wrong with a store, and what to do about it.

use std::path::{Path, PathBuf};

/// Why a store could not be opened, read or written.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The folder of the store does not exist.
    #[error("the store's folder {} does not exist; create it, or correct store.url", .0.display())]
    NoFolder(PathBuf),
    /// Another process has the store open.
    #[error("another Portreeve process uses this store and holds {}; stop it, or give this one its own store.url", .0.display())]
    Locked(PathBuf),
    /// A file of the store could not be made, locked or renamed.
    #[error("cannot use {}", .path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        #[source]
        source: std::io::Error,
    },
    /// The database is damaged. It is never replaced by an empty one.
    #[error(
        "the store {} is damaged ({detail}); restore it from a backup, or move it away to start with an empty store",
        .path.display()
    )]
    Corrupt {
        /// The database.
        path: PathBuf,
        /// What the check found.
        detail: String,
    },
    /// The file is a database of something else.
    #[error("{} is a database, but not a Portreeve store; correct store.url", .0.display())]
    Foreign(PathBuf),
    /// The store was written by a newer Portreeve.
    #[error("the store {} has schema {found}, this binary knows up to {known}; use the newer Portreeve", .path.display())]
    NewerSchema {
        /// The database.
        path: PathBuf,
        /// Schema of the file.
        found: i64,
        /// Newest schema of this binary.
        known: i64,
    },
    /// A migration failed.
    #[error("the store {} could not be brought to this version's schema", .path.display())]
    Migrate {
        /// The database.
        path: PathBuf,
        /// The cause.
        #[source]
        source: Box<sqlx::migrate::MigrateError>,
    },
    /// No space for the store.
    #[error("the store {} is full; give it space", .0.display())]
    Full(PathBuf),
    /// Another failure of the database.
    #[error("the store {} cannot be read or written", .path.display())]
    Database {
        /// The database.
        path: PathBuf,
        /// The cause.
        #[source]
        source: sqlx::Error,
    },
}

impl StoreError {
    /// A word for logs and metrics.
    pub fn category(&self) -> &'static str {
        match self {
            Self::NoFolder(_) => "no-folder",
            Self::Locked(_) => "locked",
            Self::File { .. } => "file",
            Self::Corrupt { .. } => "corrupt",
            Self::Foreign(_) => "foreign",
            Self::NewerSchema { .. } => "newer-schema",
            Self::Migrate { .. } => "migrate",
            Self::Full(_) => "full",
            Self::Database { .. } => "database",
        }
    }

    /// Sorts a failure of the database by SQLite's primary result code.
    pub(super) fn of(path: &Path, source: sqlx::Error) -> Self {
        const CORRUPT: i64 = 11;
        const FULL: i64 = 13;
        const NOT_A_DATABASE: i64 = 26;
        let path = path.to_owned();
        match primary_code(&source) {
            Some(FULL) => Self::Full(path),
            Some(CORRUPT | NOT_A_DATABASE) => Self::Corrupt { path, detail: source.to_string() },
            _ => Self::Database { path, source },
        }
    }
}

/// The low byte of SQLite's extended result code.
fn primary_code(error: &sqlx::Error) -> Option<i64> {
    let code: i64 = error.as_database_error()?.code()?.parse().ok()?;
    Some(code & 0xff)
}
