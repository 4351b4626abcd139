//! What can go wrong with a store, and what to do about it.

use std::io::ErrorKind;
use std::path::PathBuf;

use sqlx::postgres::PgDatabaseError;

/// Why a store could not be opened, read or written.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The folder of the store does not exist.
    #[error("the store's folder {} does not exist; create it, or correct store.url", .0.display())]
    NoFolder(PathBuf),
    /// Another process has the store open.
    #[error("another Portreeve process uses this store and holds {}; stop it, or give this one its own store.url", .0.display())]
    Locked(PathBuf),
    /// The file has hard links: under another name it would have another lock and another log.
    #[error("{} has several names (hard links), and each would be locked by itself; keep one of them", .0.display())]
    SeveralNames(PathBuf),
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
        "the store {store} is damaged ({detail}); restore it from a backup, or move it away to start with an empty store"
    )]
    Corrupt {
        /// The database.
        store: String,
        /// What the check found.
        detail: String,
    },
    /// The file is a database of something else.
    #[error("{0} is a database, but not a Portreeve store; correct store.url")]
    Foreign(String),
    /// The store was written by a newer Portreeve.
    #[error("the store {store} has schema {found}, this binary knows up to {known}; use the newer Portreeve")]
    NewerSchema {
        /// The database.
        store: String,
        /// Schema of the file.
        found: i64,
        /// Newest schema of this binary.
        known: i64,
    },
    /// A migration failed.
    #[error("the store {store} could not be brought to this version's schema")]
    Migrate {
        /// The database.
        store: String,
        /// The cause.
        #[source]
        source: Box<sqlx::migrate::MigrateError>,
    },
    /// No space for the store.
    #[error("the store {0} is full; give it space")]
    Full(String),
    /// Findings of a process that is the leader no more.
    #[error("another Portreeve has become the leader of this cluster; findings of this one are not stored any more")]
    Fenced,
    /// The server of the database is not reached, or lets nobody in.
    #[error("the store {store} is out of reach: {why}")]
    Away {
        /// The database.
        store: String,
        /// What is wrong, and what to do about it.
        why: String,
    },
    /// Another failure of the database.
    #[error("the store {store} cannot be read or written")]
    Database {
        /// The database.
        store: String,
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
            Self::SeveralNames(_) => "several-names",
            Self::File { .. } => "file",
            Self::Corrupt { .. } => "corrupt",
            Self::Foreign(_) => "foreign",
            Self::NewerSchema { .. } => "newer-schema",
            Self::Migrate { .. } => "migrate",
            Self::Full(_) => "full",
            Self::Fenced => "fenced",
            Self::Away { .. } => "away",
            Self::Database { .. } => "database",
        }
    }

    /// Whether the store takes nothing now, whatever is written.
    pub(super) fn is_outage(&self) -> bool {
        match self {
            Self::Fenced => false,
            Self::Database { source, .. } => !matches!(kind(source), Kind::Refused),
            _ => true,
        }
    }

    /// Sorts a failure of the database by SQLite's primary result code or PostgreSQL's SQLSTATE.
    pub(super) fn of(store: &str, source: sqlx::Error) -> Self {
        let store = store.to_owned();
        if let Some(why) = away(&source) {
            return Self::Away { store, why };
        }
        match kind(&source) {
            Kind::Full => Self::Full(store),
            Kind::Corrupt => Self::Corrupt { store, detail: source.to_string() },
            Kind::Refused | Kind::Other => Self::Database { store, source },
        }
    }
}

/// Classes of SQLSTATE that are about the server: connection, transactions that are read only (a standby), resources,
/// locks, an operator's intervention, the system.
const SERVER: [&str; 6] = ["08", "25", "53", "55", "57", "58"];

/// Why the server of a database is not reached or lets nobody in; `None` of other failures. What was sent to it is not in
/// these words, and so no password.
fn away(error: &sqlx::Error) -> Option<String> {
    match error {
        sqlx::Error::Io(error) => Some(match error.kind() {
            ErrorKind::ConnectionRefused => {
                "connection refused: nothing listens there; start PostgreSQL, or correct store.url".to_owned()
            }
            ErrorKind::TimedOut => "it does not answer in time".to_owned(),
            _ => format!("it is not reached ({error})"),
        }),
        sqlx::Error::Tls(error) => Some(format!("TLS failed ({error}); see sslmode and sslrootcert of store.url")),
        _ => {
            let error = error.as_database_error()?.try_downcast_ref::<PgDatabaseError>()?;
            let code = error.code();
            let why = match code {
                "28P01" => "authentication failed: wrong or missing password; set PGPASSWORD, or correct ~/.pgpass",
                code if code.starts_with("28") => {
                    "authentication failed: the server does not let this user in from here; see its roles and pg_hba.conf"
                }
                "3D000" => "the database does not exist; create it, or correct store.url",
                _ => return None,
            };
            Some(format!("{why} (SQLSTATE {code})"))
        }
    }
}

enum Kind {
    Full,
    Corrupt,
    /// What was written is not taken; other things are.
    Refused,
    Other,
}

fn kind(error: &sqlx::Error) -> Kind {
    let Some(error) = error.as_database_error() else {
        return if matches!(error, sqlx::Error::Encode(_)) { Kind::Refused } else { Kind::Other };
    };
    if let Some(error) = error.try_downcast_ref::<PgDatabaseError>() {
        return match error.code() {
            "53100" => Kind::Full,
            "XX001" | "XX002" => Kind::Corrupt,
            code if SERVER.iter().any(|class| code.starts_with(class)) => Kind::Other,
            _ => Kind::Refused,
        };
    }
    // The low byte of SQLite's extended result code.
    match error.code().and_then(|code| code.parse::<i64>().ok()).map(|code| code & 0xff) {
        Some(13) => Kind::Full,
        Some(11 | 26) => Kind::Corrupt,
        // ERROR, TOOBIG, CONSTRAINT, MISMATCH, RANGE.
        Some(1 | 18 | 19 | 20 | 25) => Kind::Refused,
        _ => Kind::Other,
    }
}
