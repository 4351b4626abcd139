use std::fs;

use portreeve_reports::{Subject, SubjectKey, Verdict};

use super::*;
use crate::cluster::feed::Feed;
use crate::cluster::index::SubjectState;
use crate::cluster::writer::{ClusterView, index};
use crate::runtime::readiness::Parts;

const PATIENCE: Duration = Duration::from_secs(20);

fn config_map(name: &str, value: &str) -> String {
    format!(
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}, namespace: dev}}\ndata: {{key: {value}}}\n---\n"
    )
}

fn key(name: &str) -> SubjectKey {
    SubjectKey(["object", "", "ConfigMap", "dev", name].join("\u{1f}"))
}

/// A real folder, a real watcher, and the index behind it.
struct Folder {
    folder: tempfile::TempDir,
    feed: Feed,
    view: ClusterView,
}

impl Folder {
    /// Runs `test` beside the watcher and the writer.
    async fn with<F: AsyncFnOnce(&Self)>(files: &[(&str, &str)], test: F) {
        let folder = tempfile::tempdir().unwrap();
        files.iter().for_each(|(name, text)| fs::write(folder.path().join(name), text).unwrap());
        let (feed, shutdown) = (Feed::default(), CancellationToken::new());
        let mut parts = Parts::new();
        let (writer, events, view) = index(vec![feed.clone()], parts.permit("index"));
        let mut ready = parts.watch();
        let options = FolderOptions { shown: "manifests".to_owned(), ..FolderOptions::new(folder.path()) };
        let this = Self { folder, feed, view };
        let tested = async {
            assert!(ready.ready().await);
            test(&this).await;
            shutdown.cancel();
        };
        let all = async { tokio::join!(run(options, events, shutdown.clone()), writer.run(shutdown.clone()), tested) };
        tokio::time::timeout(PATIENCE, all).await.expect("the folder answers in time");
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn state(&self, key: &SubjectKey) -> Option<SubjectState> {
        self.view.subjects(vec![key.clone()]).1.remove(0).1
    }

    /// The value in a config map, as the index has it.
    fn value(&self, name: &str) -> Option<String> {
        let state = self.state(&key(name))?;
        Some(state.objects.first()?.root.at(["data", "key"])?.as_str()?.to_owned())
    }

    async fn until(&self, holds: impl Fn() -> bool) {
        while !holds() {
            self.feed.take().await;
        }
    }
}

#[tokio::test]
async fn files_are_read_watched_and_their_deletion_deletes() {
    Folder::with(&[("a.yaml", &config_map("a", "one"))], async |folder| {
        folder.until(|| folder.value("a").as_deref() == Some("one")).await;
        fs::write(folder.path("a.yaml"), config_map("a", "two")).unwrap();
        folder.until(|| folder.value("a").as_deref() == Some("two")).await;
        fs::create_dir(folder.path("sub")).unwrap();
        fs::write(
            folder.path("sub/b.json"),
            r#"{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"b","namespace":"dev"},"data":{"key":"new"}}"#,
        )
        .unwrap();
        folder.until(|| folder.value("b").as_deref() == Some("new")).await;
        fs::remove_file(folder.path("a.yaml")).unwrap();
        folder.until(|| folder.state(&key("a")).is_none()).await;
        assert!(folder.value("b").is_some());
    })
    .await;
}

#[tokio::test]
async fn an_editor_that_renames_over_the_file_changes_it() {
    Folder::with(&[("a.yaml", &config_map("a", "one"))], async |folder| {
        folder.until(|| folder.value("a").is_some()).await;
        fs::write(folder.path(".a.yaml.swp"), config_map("a", "two")).unwrap();
        fs::rename(folder.path(".a.yaml.swp"), folder.path("a.yaml")).unwrap();
        folder.until(|| folder.value("a").as_deref() == Some("two")).await;
    })
    .await;
}

#[tokio::test]
async fn a_file_that_cannot_be_read_is_unknown_and_deletes_nothing() {
    let file = Subject::File { path: "manifests/a.yaml".to_owned() }.key();
    Folder::with(&[("a.yaml", &config_map("a", "one"))], async |folder| {
        folder.until(|| folder.value("a").is_some()).await;
        fs::write(folder.path("a.yaml"), "{{{{ not yaml").unwrap();
        let verdict = || folder.state(&file).and_then(|state| Some(state.findings.first()?.verdict));
        folder.until(|| verdict() == Some(Verdict::Unknown)).await;
        assert_eq!(folder.value("a").as_deref(), Some("one"), "what it said before is kept");
        fs::write(folder.path("a.yaml"), config_map("b", "two")).unwrap();
        folder.until(|| verdict() == Some(Verdict::Pass)).await;
        assert_eq!((folder.value("a"), folder.value("b").as_deref()), (None, Some("two")));
    })
    .await;
}

#[tokio::test]
async fn a_folder_that_is_away_at_first_deletes_nothing_and_is_no_proof() {
    let file = Subject::File { path: "manifests".to_owned() }.key();
    Folder::with(&[("a.yaml", &config_map("a", "one"))], async |folder| {
        folder.until(|| folder.value("a").is_some()).await;
        let aside = folder.folder.path().with_extension("aside");
        fs::rename(folder.folder.path(), &aside).unwrap();
        // Any change makes the walker look; the old watch follows the moved folder.
        fs::write(aside.join("b.yaml"), config_map("b", "two")).unwrap();
        folder.until(|| folder.state(&file).is_some_and(|state| state.findings[0].verdict == Verdict::Unknown)).await;
        assert_eq!(folder.value("a").as_deref(), Some("one"));
        fs::rename(&aside, folder.folder.path()).unwrap();
        folder.until(|| folder.value("b").is_some() && folder.state(&file).is_none()).await;
    })
    .await;
}

fn claimed(claims: &mut Claims, file: &str, text: &str) -> Vec<String> {
    described(claims.file_read(file, Content::read(file, None, text.as_bytes(), &ReadOptions::default())))
}

fn described(events: Vec<Event>) -> Vec<String> {
    let one = |event| match event {
        Event::Applied(item) => format!("applied {}", item.key().name),
        Event::Deleted(key) => format!("deleted {}", key.name),
        Event::FileRead(file, problems, _) => format!("read {file} with {} problems", problems.len()),
        Event::FileGone(file) => format!("gone {file}"),
        other => format!("{other:?}"),
    };
    events.into_iter().map(one).collect()
}

#[test]
fn an_object_of_two_files_goes_with_the_last_of_them() {
    let mut claims = Claims::default();
    claimed(&mut claims, "a.yaml", &config_map("x", "one"));
    claimed(&mut claims, "b.yaml", &(config_map("x", "two") + &config_map("z", "two")));
    assert_eq!(described(claims.file_gone("b.yaml")), ["applied x", "deleted z", "gone b.yaml"]);
    assert_eq!(described(claims.file_gone("a.yaml")), ["deleted x", "gone a.yaml"]);
}

#[test]
fn what_a_half_readable_file_no_longer_shows_is_kept() {
    let mut claims = Claims::default();
    claimed(&mut claims, "a.yaml", &(config_map("x", "one") + &config_map("z", "one")));
    let half = config_map("x", "two") + "kind: [";
    assert_eq!(claimed(&mut claims, "a.yaml", &half), ["applied x", "read a.yaml with 1 problems"]);
    let whole = claimed(&mut claims, "a.yaml", &config_map("x", "three"));
    assert_eq!(whole, ["deleted z", "applied x", "read a.yaml with 0 problems"]);
}

/// Names below the folder.
fn names<'a>(folder: &Path, paths: impl IntoIterator<Item = &'a PathBuf>) -> Vec<&'a str> {
    paths.into_iter().map(|path| path.strip_prefix(folder).unwrap().to_str().unwrap()).collect()
}

#[test]
fn hidden_manifests_are_read_and_links_are_told_unless_what_they_lead_to_is_read_anyway() {
    let (folder, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let at = |name: &str| folder.path().join(name);
    fs::create_dir(at(".git")).unwrap();
    for name in ["b.yml", "a.json", ".hidden.yaml", "notes.txt", ".git/c.yaml"] {
        fs::write(at(name), "x").unwrap();
    }
    fs::write(outside.path().join("secret.yaml"), "x").unwrap();
    let link = |target: &Path, name: &str| std::os::unix::fs::symlink(target, at(name)).unwrap();
    link(outside.path(), "out");
    link(&outside.path().join("secret.yaml"), "out.yaml");
    link(&at("a.json"), "in.yaml");
    link(&at("notes.txt"), "text.yaml");
    link(&at(".git/c.yaml"), "git.yaml");
    link(folder.path(), "loop");
    link(&at("loop.yaml"), "loop.yaml");
    link(&at("nowhere"), "nowhere");
    let walk = walk::walk(folder.path(), &[folder.path().to_owned()]);
    assert_eq!(names(folder.path(), walk.files.keys()), [".hidden.yaml", "a.json", "b.yml"]);
    assert_eq!(names(folder.path(), &walk.not_followed), ["git.yaml", "loop.yaml", "out", "out.yaml", "text.yaml"]);
    assert!(walk.problems.is_empty());
    let both = walk::walk(folder.path(), &[folder.path().to_owned(), outside.path().to_owned()]);
    assert_eq!(names(folder.path(), &both.not_followed), ["git.yaml", "loop.yaml", "text.yaml"]);
}

#[test]
fn a_manifest_that_becomes_a_link_deletes_nothing_and_is_told() {
    let (folder, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let file = folder.path().join("a.yaml");
    fs::write(&file, config_map("x", "one")).unwrap();
    let options = FolderOptions { shown: "manifests".to_owned(), ..FolderOptions::new(folder.path()) };
    let (state, _) = State::new(options).walked(&BTreeSet::new());
    fs::rename(&file, outside.path().join("a.yaml")).unwrap();
    std::os::unix::fs::symlink(outside.path().join("a.yaml"), &file).unwrap();
    let (state, linked) = state.walked(&BTreeSet::new());
    assert_eq!(described(linked), ["read manifests/a.yaml with 1 problems"]);
    fs::remove_file(&file).unwrap();
    let (_, removed) = state.walked(&BTreeSet::new());
    assert!(described(removed).contains(&"deleted x".to_owned()));
}

#[test]
fn a_folder_too_deep_is_unknown_below_the_cap() {
    let folder = tempfile::tempdir().unwrap();
    let mut deepest = folder.path().to_owned();
    (0..70).for_each(|_| deepest.push("d"));
    fs::create_dir_all(&deepest).unwrap();
    let walk = walk::walk(folder.path(), &[]);
    assert_eq!(walk.problems.len(), 1);
    assert!(!walk.proves_absent(&deepest.join("a.yaml")));
    assert!(walk.proves_absent(&folder.path().join("a.yaml")));
}

#[test]
fn a_file_beyond_the_cap_is_not_read() {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), "12345").unwrap();
    assert_eq!(walk::bytes(file.path(), 5).unwrap(), b"12345");
    assert_eq!(walk::bytes(file.path(), 4).unwrap_err().0, portreeve_reports::Cause::TooLarge);
}
