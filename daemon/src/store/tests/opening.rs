//! What a store refuses to open, and that it says why.

use std::os::unix::fs::PermissionsExt;

use portreeve_reports::Verdict;

use super::*;

async fn refusal(folder: &TempDir) -> StoreError {
    open(folder).await.unwrap_err()
}

#[tokio::test]
async fn a_second_process_is_refused_and_told_the_lock() {
    let fixture = Fixture::new().await;
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
    let fixture = Fixture::new().await;
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
        let fixture = Fixture::new().await;
        fixture.store.record(hub(vec![judged(deployment("hub", "app"), "C-0057", Verdict::Fail)], 1)).await.unwrap();
        let Fixture { folder, store } = fixture;
        store.close().await.unwrap();
        let path = url(&folder).path().to_owned();
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
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(url(&folder).path()).create_if_missing(true);
    let pool = sqlx::SqlitePool::connect_with(options).await.unwrap();
    sqlx::query("CREATE TABLE theirs (a TEXT)").execute(&pool).await.unwrap();
    pool.close().await;
    assert!(matches!(refusal(&folder).await, StoreError::Foreign(_)));
}

#[tokio::test]
async fn a_newer_schema_is_refused() {
    let Fixture { folder, store } = Fixture::new().await;
    sqlx::query("UPDATE meta SET value = '2' WHERE key = 'schema'").execute(&store.inner.writer).await.unwrap();
    store.close().await.unwrap();
    let error = refusal(&folder).await;
    assert!(matches!(error, StoreError::NewerSchema { found: 2, known: 1, .. }), "{error:?}");
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
    let fixture = Fixture::new().await;
    let pragma = async |name: &'static str| {
        let row = sqlx::query(name).fetch_one(&fixture.store.inner.writer).await.unwrap();
        let text: Result<String, _> = sqlx::Row::try_get(&row, 0);
        text.unwrap_or_else(|_| sqlx::Row::get::<i64, _>(&row, 0).to_string())
    };
    assert_eq!(pragma("PRAGMA journal_mode").await, "wal");
    assert_eq!(pragma("PRAGMA synchronous").await, "2");
    assert_eq!(pragma("PRAGMA busy_timeout").await, "5000");
}
