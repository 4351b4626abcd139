//! Where the store is: `sqlite://portreeve.db`, or `postgres://user@host/database`.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use url::Url;

/// The place of a store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreUrl {
    /// A file, for one process.
    Sqlite(PathBuf),
    /// A database, for several processes.
    Postgres(PostgresUrl),
}

/// The address of a PostgreSQL database. It holds no password: that comes from `PGPASSWORD` or `~/.pgpass`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PostgresUrl(Url);

/// A store URL that cannot be used.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum InvalidStoreUrl {
    /// Another scheme, or none. The URL itself may hold a password, so it is not repeated.
    #[error(
        "the store URL must read sqlite://PATH or postgres://USER@HOST/DATABASE, for example sqlite://portreeve.db"
    )]
    Scheme,
    /// `sqlite://` alone, an in-memory database, or a query.
    #[error("the store URL must name a file after sqlite://, without '?' and not ':memory:'")]
    Path,
    /// A password where everybody who reads the configuration sees it.
    #[error("the store URL must not hold a password; set PGPASSWORD in the daemon's environment, or use ~/.pgpass")]
    Password,
    /// No database.
    #[error("the store URL must name a database: postgres://USER@HOST/DATABASE")]
    Database,
    /// A parameter that is not taken.
    #[error("the store URL has a parameter that is not taken; those are {}", PARAMETERS.join(", "))]
    Parameter,
    /// A mode of TLS that does not exist.
    #[error("the store URL's sslmode must be one of {}", SSL_MODES.join(", "))]
    SslMode,
}

/// What may follow the `?`.
const PARAMETERS: [&str; 5] = ["host", "sslmode", "sslrootcert", "sslcert", "sslkey"];
/// The values of `sslmode`.
const SSL_MODES: [&str; 6] = ["disable", "allow", "prefer", "require", "verify-ca", "verify-full"];

impl StoreUrl {
    /// The store in this SQLite file.
    pub fn sqlite(path: impl Into<PathBuf>) -> Self {
        Self::Sqlite(path.into())
    }
}

impl std::fmt::Display for StoreUrl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Sqlite(path) => path.display().fmt(f),
            Self::Postgres(url) => {
                let mut shown = url.0.clone();
                shown.set_query(None);
                shown.fmt(f)
            }
        }
    }
}

impl PostgresUrl {
    fn parse(text: &str) -> Result<Self, InvalidStoreUrl> {
        let url = Url::parse(text).map_err(|_| InvalidStoreUrl::Scheme)?;
        if url.password().is_some() {
            return Err(InvalidStoreUrl::Password);
        }
        if url.path().trim_matches('/').is_empty() || url.path().matches('/').count() != 1 || url.fragment().is_some() {
            return Err(InvalidStoreUrl::Database);
        }
        for (name, value) in url.query_pairs() {
            match &*name {
                "password" => return Err(InvalidStoreUrl::Password),
                "sslmode" if !SSL_MODES.contains(&&*value) => return Err(InvalidStoreUrl::SslMode),
                name if !PARAMETERS.contains(&name) => return Err(InvalidStoreUrl::Parameter),
                _ => {}
            }
        }
        Ok(Self(url))
    }

    /// The URL as the client library takes it. A server on another machine is asked for a certificate of its name
    /// unless the URL says otherwise: findings and decisions do not go over a network in the clear by default.
    pub(super) fn connectable(&self) -> Url {
        let mut url = self.0.clone();
        if !self.is_local() && !url.query_pairs().any(|(name, _)| name == "sslmode") {
            url.query_pairs_mut().append_pair("sslmode", "verify-full");
        }
        url
    }

    fn is_local(&self) -> bool {
        if let Some((_, host)) = self.0.query_pairs().find(|(name, _)| name == "host") {
            return host.starts_with('/') || host == "localhost";
        }
        // Hosts of other schemes than the web's are texts: an address is one too.
        let host = self.0.host_str().unwrap_or_default().trim_matches(['[', ']']);
        host.is_empty() || host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
    }
}

impl FromStr for StoreUrl {
    type Err = InvalidStoreUrl;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.starts_with("postgres://") || text.starts_with("postgresql://") {
            return PostgresUrl::parse(text).map(Self::Postgres);
        }
        let path = text.strip_prefix("sqlite://").ok_or(InvalidStoreUrl::Scheme)?;
        let names_file = !path.is_empty() && !path.contains(['?', '\0']) && path != ":memory:" && !path.ends_with('/');
        if names_file { Ok(Self::sqlite(path)) } else { Err(InvalidStoreUrl::Path) }
    }
}

/// The file that only one process holds: the database's path with `.lock` added.
pub(super) fn lock_path(database: &Path) -> PathBuf {
    beside(database, ".lock")
}

/// A file beside the database: its whole name and a suffix.
pub(super) fn beside(database: &Path, suffix: &str) -> PathBuf {
    let mut name = database.to_owned().into_os_string();
    name.push(suffix);
    name.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<StoreUrl, InvalidStoreUrl> {
        text.parse()
    }

    fn postgres(text: &str) -> PostgresUrl {
        match parse(text) {
            Ok(StoreUrl::Postgres(url)) => url,
            other => panic!("{text} is a PostgreSQL URL, not {other:?}"),
        }
    }

    #[test]
    fn a_sqlite_url_names_a_file() {
        assert_eq!(parse("sqlite://portreeve.db"), Ok(StoreUrl::sqlite("portreeve.db")));
        assert_eq!(parse("sqlite:///var/lib/p.db"), Ok(StoreUrl::sqlite("/var/lib/p.db")));
    }

    #[test]
    fn what_is_no_store_is_refused_by_name() {
        for (text, error) in [
            ("mysql://h/db", InvalidStoreUrl::Scheme),
            ("portreeve.db", InvalidStoreUrl::Scheme),
            ("sqlite://", InvalidStoreUrl::Path),
            ("sqlite://:memory:", InvalidStoreUrl::Path),
            ("sqlite://p.db?mode=ro", InvalidStoreUrl::Path),
            ("sqlite://folder/", InvalidStoreUrl::Path),
            ("postgres://u@h", InvalidStoreUrl::Database),
            ("postgres://u@h/", InvalidStoreUrl::Database),
            ("postgres://u@h/a/b", InvalidStoreUrl::Database),
            ("postgres://u@h:port/db", InvalidStoreUrl::Scheme),
            ("postgres://u@h/db?sslmode=maybe", InvalidStoreUrl::SslMode),
            ("postgres://u@h/db?options=-c%20fsync%3Doff", InvalidStoreUrl::Parameter),
        ] {
            assert_eq!(parse(text), Err(error), "{text}");
        }
    }

    #[test]
    fn a_password_in_the_url_is_refused_and_never_shown() {
        for text in ["postgres://u:hunter2@h/db", "postgresql://u@h/db?password=hunter2"] {
            let error = parse(text).unwrap_err();
            assert_eq!(error, InvalidStoreUrl::Password);
            assert!(!error.to_string().contains("hunter2") && error.to_string().contains("PGPASSWORD"), "{error}");
        }
    }

    #[test]
    fn a_server_elsewhere_must_show_a_certificate_unless_the_url_says_otherwise() {
        let mode = |text: &str| {
            let url = postgres(text).connectable();
            url.query_pairs().find(|(name, _)| name == "sslmode").map(|(_, mode)| mode.into_owned())
        };
        assert_eq!(mode("postgres://u@db.example.org/p").as_deref(), Some("verify-full"));
        assert_eq!(mode("postgres://u@10.0.0.7/p").as_deref(), Some("verify-full"));
        assert_eq!(mode("postgres://u@db.example.org/p?sslmode=require").as_deref(), Some("require"));
        for local in ["postgres://u@127.0.0.1:5433/p", "postgres://u@localhost/p", "postgres://u@[::1]/p"] {
            assert_eq!(mode(local), None, "{local}");
        }
        assert_eq!(mode("postgres://u@localhost/p?host=/run/postgresql"), None);
        assert_eq!(mode("postgres://u@localhost/p?host=db.example.org").as_deref(), Some("verify-full"));
    }

    #[test]
    fn a_store_is_shown_without_its_parameters() {
        let url = parse("postgres://u@db.example.org:5433/p?sslrootcert=ca.pem").unwrap();
        assert_eq!(url.to_string(), "postgres://u@db.example.org:5433/p");
        assert_eq!(StoreUrl::sqlite("a/p.db").to_string(), "a/p.db");
    }
}
