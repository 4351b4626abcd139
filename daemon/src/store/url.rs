//! Where the store is: `sqlite://portreeve.db`.

use std::path::{Path, PathBuf};
use std::str::FromStr;

/// The place of a store. PostgreSQL is refused by name until it exists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreUrl(PathBuf);

/// A store URL that cannot be used.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum InvalidStoreUrl {
    /// PostgreSQL is planned.
    #[error("a PostgreSQL store is not yet supported; use sqlite://portreeve.db with one replica")]
    PostgresNotYet,
    /// Another scheme, or none. The URL itself may hold a password, so it is not repeated.
    #[error("the store URL must read sqlite://PATH, for example sqlite://portreeve.db")]
    Scheme,
    /// `sqlite://` alone, an in-memory database, or a query.
    #[error("the store URL must name a file after sqlite://, without '?' and not ':memory:'")]
    Path,
}

impl StoreUrl {
    /// The store in this SQLite file.
    pub fn sqlite(path: impl Into<PathBuf>) -> Self {
        Self(path.into())
    }

    /// The SQLite file.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// The file that only one process holds: the database's path with `.lock` added.
    pub fn lock_path(&self) -> PathBuf {
        self.beside(".lock")
    }

    /// A file beside the database: its whole name and a suffix.
    pub(super) fn beside(&self, suffix: &str) -> PathBuf {
        let mut name = self.0.clone().into_os_string();
        name.push(suffix);
        name.into()
    }
}

impl FromStr for StoreUrl {
    type Err = InvalidStoreUrl;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.starts_with("postgres://") || text.starts_with("postgresql://") {
            return Err(InvalidStoreUrl::PostgresNotYet);
        }
        let path = text.strip_prefix("sqlite://").ok_or(InvalidStoreUrl::Scheme)?;
        let names_file = !path.is_empty() && !path.contains(['?', '\0']) && path != ":memory:" && !path.ends_with('/');
        if names_file { Ok(Self(path.into())) } else { Err(InvalidStoreUrl::Path) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sqlite_url_names_a_file() {
        assert_eq!("sqlite://portreeve.db".parse(), Ok(StoreUrl::sqlite("portreeve.db")));
        assert_eq!("sqlite:///var/lib/p.db".parse(), Ok(StoreUrl::sqlite("/var/lib/p.db")));
    }

    #[test]
    fn what_is_not_a_file_is_refused_by_name() {
        for (text, error) in [
            ("postgres://u:p@h/db", InvalidStoreUrl::PostgresNotYet),
            ("postgresql://h/db", InvalidStoreUrl::PostgresNotYet),
            ("mysql://h/db", InvalidStoreUrl::Scheme),
            ("portreeve.db", InvalidStoreUrl::Scheme),
            ("sqlite://", InvalidStoreUrl::Path),
            ("sqlite://:memory:", InvalidStoreUrl::Path),
            ("sqlite://p.db?mode=ro", InvalidStoreUrl::Path),
        ] {
            assert_eq!(text.parse::<StoreUrl>(), Err(error), "{text}");
        }
    }

    #[test]
    fn an_error_does_not_repeat_a_password() {
        let error = "mysql://user:hunter2@h/db".parse::<StoreUrl>().unwrap_err();
        assert!(!error.to_string().contains("hunter2"));
    }
}
