//! What a store refuses to open, and that it says why.

use std::os::unix::fs::PermissionsExt;

use portreeve_reports::Verdict;

use super::*;

async fn refusal(folder: &TempDir) -> StoreError {
    open(folder).await.unwrap_err()
}

#[tokio::test]
async fn a_second_process_is_refused_and_told_the_lock() {
    let fixture = Fixture::new(Engine::Sqlite).await;
    let error = refusal(&fixture.folder).await;
    assert!(matches!(error, StoreError::Locked(_)));
    assert!(error.to_string().contains("portreeve.db.lock"), "{error}");
    drop(fixture.reopened().await);
}

#[tokio::test]
async fn a_folder_that_is_not_there_is_named() {
    let folder = TempDir::new().unwrap();
    let gone = StoreUrl::sqlite(folder.path().join("gone/portreeve.db"));
    let error = Store::open(&gone, "demo").await.unwrap_err();
    assert!(matches!(error, StoreError::NoFolder(_)) && error.to_string().contains("gone"), "{error}");
}

#[tokio::test]
async fn the_database_is_readable_by_its_owner_only() {
    let fixture = Fixture::new(Engine::Sqlite).await;
    for name in ["portreeve.db", "portreeve.db.lock"] {
        let mode = std::fs::metadata(fixture.folder.path().join(name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
}

#[tokio::test]
async fn a_damaged_file_is_refused_and_left_as_it_is() {
    type Damage = fn(&mut Vec<u8>);
    let damages: [(&str, Damage); 4] = [
        ("emptied", Vec::clear),
        ("garbage", |bytes| bytes.fill(0x5a)),
        ("header gone", |bytes| bytes[..100].fill(0)),
        ("a page overwritten", |bytes| bytes[4096..].fill(0xff)),
    ];
    for (name, damage) in damages {
        let fixture = Fixture::new(Engine::Sqlite).await;
        fixture.store.record(hub(vec![judged(deployment("hub", "app"), "C-0057", Verdict::Fail)], 1)).await.unwrap();
        let Fixture { folder, store, .. } = fixture;
        store.close().await.unwrap();
        let path = folder.path().join("portreeve.db");
        let mut bytes = std::fs::read(&path).unwrap();
        damage(&mut bytes);
        std::fs::write(&path, &bytes).unwrap();
        let error = refusal(&folder).await;
        assert!(matches!(error, StoreError::Corrupt { .. }), "{name}: {error:?}");
        assert!(error.to_string().contains("restore it from a backup"), "{error}");
        assert_eq!(std::fs::read(&path).unwrap(), bytes, "{name}");
    }
}

#[tokio::test]
async fn a_database_of_something_else_is_refused() {
    let folder = TempDir::new().unwrap();
    let options =
        sqlx::sqlite::SqliteConnectOptions::new().filename(folder.path().join("portreeve.db")).create_if_missing(true);
    let pool = sqlx::SqlitePool::connect_with(options).await.unwrap();
    sqlx::query("CREATE TABLE theirs (a TEXT)").execute(&pool).await.unwrap();
    pool.close().await;
    assert!(matches!(refusal(&folder).await, StoreError::Foreign(_)));
}

async fn a_newer_schema_is_refused(engine: Engine) {
    let fixture = Fixture::new(engine).await;
    fixture.execute("UPDATE meta SET value = '99' WHERE key = 'schema'").await;
    fixture.store.close().await.unwrap();
    let error = Store::open(&fixture.url, "demo").await.unwrap_err();
    assert!(matches!(error, StoreError::NewerSchema { found: 99, known: 2, .. }), "{error:?}");
}

async fn a_store_of_the_first_schema_is_brought_to_this_one_with_its_findings(engine: Engine) {
    let fixture = Fixture::new(engine).await;
    fixture.store.record(hub(vec![judged(deployment("hub", "app"), "C-0057", Verdict::Fail)], 1)).await.unwrap();
    // What the second migration added is taken away again.
    for text in [
        "DROP TABLE fences",
        "DROP TABLE evidence",
        "ALTER TABLE findings DROP COLUMN resolution",
        "UPDATE meta SET value = '1' WHERE key = 'schema'",
        "DELETE FROM _sqlx_migrations WHERE version = 2",
    ] {
        fixture.execute(text).await;
    }
    let fixture = fixture.reopened().await;
    assert_eq!(fixture.store.counts().borrow().with_verdict(Verdict::Fail), 1);
    let pass = judged(deployment("hub", "app"), "C-0057", Verdict::Pass);
    assert_eq!(fixture.store.record(hub(vec![pass], 2)).await.unwrap().resolved, 1);
}

on_both_engines! {
    a_look_finds_what_opening_would_and_makes_nothing,
    a_newer_schema_is_refused,
    a_store_of_the_first_schema_is_brought_to_this_one_with_its_findings,
}

async fn a_look_finds_what_opening_would_and_makes_nothing(engine: Engine) {
    let folder = TempDir::new().unwrap();
    let url = match engine {
        Engine::Sqlite => StoreUrl::sqlite(folder.path().join("portreeve.db")),
        Engine::Postgres => database().await,
    };
    assert_eq!(Store::probe(&url).await.unwrap(), Found::Nothing);
    assert_eq!(Store::probe(&url).await.unwrap(), Found::Nothing, "the first look left something");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    let store = Store::open(&url, "demo").await.unwrap();
    let held = Store::probe(&url).await.unwrap();
    assert_eq!(held, if engine == Engine::Sqlite { Found::InUse } else { Found::Store });
    store.close().await.unwrap();
    let files = || std::fs::read_dir(folder.path()).unwrap().count();
    let before = files();
    assert_eq!(Store::probe(&url).await.unwrap(), Found::Store);
    assert_eq!(files(), before, "the look left files");
    drop(Store::open(&url, "demo").await.unwrap());
}

#[tokio::test]
async fn daemons_that_open_an_empty_database_at_the_same_time_all_get_a_store() {
    let url = database().await;
    let opened = futures::future::join_all((0..4).map(|_| Store::open(&url, "demo"))).await;
    for store in opened {
        store.unwrap().record_decision(decision("u-1", 1)).await.unwrap();
    }
}

#[tokio::test]
async fn a_postgresql_database_of_something_else_is_refused() {
    let url = database().await;
    execute(&url.to_string(), "CREATE TABLE theirs (a TEXT)").await;
    let error = Store::open(&url, "demo").await.unwrap_err();
    assert!(matches!(error, StoreError::Foreign(_)), "{error:?}");
    assert!(error.to_string().contains("postgres://portreeve@127.0.0.1"), "{error}");
}

#[tokio::test]
async fn a_postgresql_server_that_is_not_there_is_named() {
    let url: StoreUrl = format!("postgres://u@127.0.0.1:{}/p", portreeve_tests::process::free_port()).parse().unwrap();
    let error = Store::open(&url, "demo").await.unwrap_err();
    assert!(error.to_string().contains("postgres://u@127.0.0.1") && error.is_outage(), "{error}");
}

#[tokio::test]
async fn a_start_that_was_killed_half_way_starts_again() {
    let folder = TempDir::new().unwrap();
    std::fs::write(folder.path().join("portreeve.db.new"), b"half a datab").unwrap();
    let store = open(&folder).await.unwrap();
    assert_eq!(store.subjects().await.unwrap(), []);
}

#[tokio::test]
async fn writes_are_synced_and_go_through_a_write_ahead_log() {
    let fixture = Fixture::new(Engine::Sqlite).await;
    let mut transaction = fixture.store.inner.writer.begin().await.unwrap();
    let mut session = transaction.session();
    let mut pragma = async |text: &'static str, column: &str| {
        let rows = session.rows(&engine::Statement::new(text)).await.unwrap();
        rows[0].text(column).unwrap_or_else(|_| rows[0].number(column).unwrap().to_string())
    };
    assert_eq!(pragma("PRAGMA journal_mode", "journal_mode").await, "wal");
    assert_eq!(pragma("PRAGMA synchronous", "synchronous").await, "2");
    assert_eq!(pragma("PRAGMA busy_timeout", "timeout").await, "5000");
}
