//! SQLite and PostgreSQL behind one statement: the only place that knows both. Texts are the same for both engines;
//! `$1` is a placeholder in either, and columns are TEXT and BIGINT only.

use std::borrow::Cow;

use sqlx::postgres::{PgConnection, PgPool, PgRow};
use sqlx::sqlite::{SqliteConnection, SqlitePool, SqliteRow};
use sqlx::{Executor as _, Postgres, Row as _, Sqlite};

/// A text with the values of its placeholders, in order.
#[derive(Debug)]
pub(super) struct Statement<'a> {
    text: &'static str,
    values: Vec<Value<'a>>,
}

#[derive(Debug)]
enum Value<'a> {
    Text(Cow<'a, str>),
    NoText,
    Number(i64),
}

impl<'a> Statement<'a> {
    pub(super) fn new(text: &'static str) -> Self {
        Self { text, values: Vec::new() }
    }

    pub(super) fn text(self, value: impl Into<Cow<'a, str>>) -> Self {
        self.with(Value::Text(value.into()))
    }

    /// NULL when there is none.
    pub(super) fn maybe_text(self, value: Option<impl Into<Cow<'a, str>>>) -> Self {
        self.with(value.map_or(Value::NoText, |value| Value::Text(value.into())))
    }

    pub(super) fn number(self, value: i64) -> Self {
        self.with(Value::Number(value))
    }

    fn with(mut self, value: Value<'a>) -> Self {
        self.values.push(value);
        self
    }
}

/// The statement as a query of the engine that the arguments are inferred to be of.
macro_rules! query {
    ($statement:expr, $written:expr) => {{
        let mut query = sqlx::query($statement.text);
        for value in &$statement.values {
            query = match value {
                Value::Text(text) => query.bind($written(text)),
                Value::NoText => query.bind(None::<&str>),
                Value::Number(number) => query.bind(*number),
            };
        }
        query
    }};
}

fn as_it_is(text: &str) -> Cow<'_, str> {
    Cow::Borrowed(text)
}

/// PostgreSQL has no NUL in a text, and a hostile name must not keep its finding out of the store.
fn without_nul(text: &str) -> Cow<'_, str> {
    if text.contains('\0') { Cow::Owned(text.replace('\0', "\u{fffd}")) } else { Cow::Borrowed(text) }
}

/// A row of an answer.
#[derive(Debug)]
pub(super) enum Row {
    Sqlite(SqliteRow),
    Postgres(PgRow),
}

impl Row {
    pub(super) fn text(&self, column: &str) -> Result<String, sqlx::Error> {
        match self {
            Self::Sqlite(row) => row.try_get(column),
            Self::Postgres(row) => row.try_get(column),
        }
    }

    pub(super) fn number(&self, column: &str) -> Result<i64, sqlx::Error> {
        match self {
            Self::Sqlite(row) => row.try_get(column),
            Self::Postgres(row) => row.try_get(column),
        }
    }

    pub(super) fn maybe_number(&self, column: &str) -> Result<Option<i64>, sqlx::Error> {
        match self {
            Self::Sqlite(row) => row.try_get(column),
            Self::Postgres(row) => row.try_get(column),
        }
    }
}

/// A connection that statements are run on.
pub(super) enum Session<'c> {
    Sqlite(&'c mut SqliteConnection),
    Postgres(&'c mut PgConnection),
}

impl Session<'_> {
    /// All rows of the answer.
    pub(super) async fn rows(&mut self, statement: &Statement<'_>) -> Result<Vec<Row>, sqlx::Error> {
        match self {
            Self::Sqlite(connection) => {
                Ok(sqlite_rows(query!(statement, as_it_is).fetch_all(&mut **connection).await?))
            }
            Self::Postgres(connection) => {
                Ok(postgres_rows(query!(statement, without_nul).fetch_all(&mut **connection).await?))
            }
        }
    }

    /// The number of rows that were written.
    pub(super) async fn execute(&mut self, statement: &Statement<'_>) -> Result<u64, sqlx::Error> {
        match self {
            Self::Sqlite(connection) => {
                Ok(query!(statement, as_it_is).execute(&mut **connection).await?.rows_affected())
            }
            Self::Postgres(connection) => {
                Ok(query!(statement, without_nul).execute(&mut **connection).await?.rows_affected())
            }
        }
    }

    /// `BEGIN` and `COMMIT`.
    pub(super) async fn command(&mut self, text: &'static str) -> Result<(), sqlx::Error> {
        match self {
            Self::Sqlite(connection) => connection.execute(text).await.map(|_| ()),
            Self::Postgres(connection) => connection.execute(text).await.map(|_| ()),
        }
    }
}

fn sqlite_rows(rows: Vec<SqliteRow>) -> Vec<Row> {
    rows.into_iter().map(Row::Sqlite).collect()
}

fn postgres_rows(rows: Vec<PgRow>) -> Vec<Row> {
    rows.into_iter().map(Row::Postgres).collect()
}

/// The connections that only read.
#[derive(Debug)]
pub(super) enum Readers {
    Sqlite(SqlitePool),
    Postgres(PgPool),
}

impl Readers {
    /// All rows of the answer.
    pub(super) async fn rows(&self, statement: &Statement<'_>) -> Result<Vec<Row>, sqlx::Error> {
        match self {
            Self::Sqlite(pool) => Ok(sqlite_rows(query!(statement, as_it_is).fetch_all(pool).await?)),
            Self::Postgres(pool) => Ok(postgres_rows(query!(statement, without_nul).fetch_all(pool).await?)),
        }
    }

    /// Several answers of the same moment.
    pub(super) async fn snapshot(&self) -> Result<Snapshot, sqlx::Error> {
        const REPEATABLE: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";
        Ok(match self {
            Self::Sqlite(pool) => Snapshot::Sqlite(pool.begin().await?),
            Self::Postgres(pool) => Snapshot::Postgres(pool.begin_with(REPEATABLE).await?),
        })
    }

    pub(super) async fn close(&self) {
        match self {
            Self::Sqlite(pool) => pool.close().await,
            Self::Postgres(pool) => pool.close().await,
        }
    }
}

/// The store as of one moment; nothing is written in it.
pub(super) enum Snapshot {
    Sqlite(sqlx::Transaction<'static, Sqlite>),
    Postgres(sqlx::Transaction<'static, Postgres>),
}

impl Snapshot {
    pub(super) fn session(&mut self) -> Session<'_> {
        match self {
            Self::Sqlite(transaction) => Session::Sqlite(transaction),
            Self::Postgres(transaction) => Session::Postgres(transaction),
        }
    }
}
