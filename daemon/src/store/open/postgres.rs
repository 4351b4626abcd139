//! A PostgreSQL database, which several processes may have open.

use std::str::FromStr as _;
use std::time::Duration;

use sqlx::migrate::MigrateError;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};

use super::super::engine::{Readers, Session, Statement};
use super::super::error::StoreError;
use super::super::url::PostgresUrl;
use super::super::writer::{Connection, Target, Writer};
use super::{Found, MIGRATIONS, Opened, READERS, SCHEMA, check_schema, migrate_error};

/// What each connection asks of the server. Acknowledged is committed, whatever the server's default says, and no
/// statement keeps a connection, or the lock of the findings, for longer.
const SETTINGS: [(&str, &str); 4] = [
    ("synchronous_commit", "on"),
    ("statement_timeout", "10000"),
    ("lock_timeout", "5000"),
    ("idle_in_transaction_session_timeout", "15000"),
];
/// How long a reader waits for a connection.
const ACQUIRE: Duration = Duration::from_secs(2);

pub(super) async fn open(url: &PostgresUrl, shown: &str) -> Result<Opened, StoreError> {
    let failed = |source| StoreError::of(shown, source);
    let options = options(url).map_err(failed)?;
    let target = Target::Postgres(options.clone());
    let mut connection = target.connect().await.map_err(failed)?;
    check(&mut connection.session(), shown).await?;
    if let Connection::Postgres(connection) = &mut connection {
        MIGRATIONS.run(connection).await.map_err(|source| refused(shown, source))?;
    }
    let readers = PgPoolOptions::new().max_connections(READERS).acquire_timeout(ACQUIRE).connect_lazy_with(options);
    Ok(Opened { writer: Writer::new(target, connection), readers: Readers::Postgres(readers), lock: None })
}

pub(super) async fn probe(url: &PostgresUrl, shown: &str) -> Result<Found, StoreError> {
    let failed = |source| StoreError::of(shown, source);
    let target = Target::Postgres(options(url).map_err(failed)?);
    let mut connection = target.connect().await.map_err(failed)?;
    check(&mut connection.session(), shown).await
}

fn options(url: &PostgresUrl) -> Result<PgConnectOptions, sqlx::Error> {
    let options = PgConnectOptions::from_str(url.connectable().as_str())?;
    Ok(options.application_name("portreeve").options(SETTINGS))
}

/// A newer daemon may have migrated between the check and the lock of the migrations.
fn refused(shown: &str, source: MigrateError) -> StoreError {
    match source {
        MigrateError::VersionMissing(found) => {
            StoreError::NewerSchema { store: shown.to_owned(), found, known: SCHEMA }
        }
        source => migrate_error(shown, source),
    }
}

/// Refuses a database of something else and a newer schema. An empty one becomes a store.
async fn check(session: &mut Session<'_>, shown: &str) -> Result<Found, StoreError> {
    let failed = |source| StoreError::of(shown, source);
    let tables = "SELECT table_name FROM information_schema.tables WHERE table_schema = current_schema()";
    let tables = session.rows(&Statement::new(tables)).await.map_err(failed)?;
    let tables: Vec<String> =
        tables.iter().map(|row| row.text("table_name")).collect::<Result<_, _>>().map_err(failed)?;
    let has = |name: &str| tables.iter().any(|table| table == name);
    if tables.is_empty() || tables == ["_sqlx_migrations"] {
        return Ok(Found::Nothing);
    }
    if !has("meta") || !has("findings") {
        return Err(StoreError::Foreign(shown.to_owned()));
    }
    let schema = Statement::new("SELECT value FROM meta WHERE key = 'schema'");
    match session.rows(&schema).await.map_err(failed)?.first() {
        Some(row) => check_schema(shown, &row.text("value").map_err(failed)?).map(|()| Found::Store),
        None => Err(StoreError::Foreign(shown.to_owned())),
    }
}
