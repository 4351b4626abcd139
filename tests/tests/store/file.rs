//! A store in a file, under a daemon that is killed, starved of disk, doubled or given a damaged file.

use std::fs;
use std::process::Command;

use portreeve_tests::OrFail;
use portreeve_tests::binary::Portreeve;
use portreeve_tests::folder_cluster::{FolderCluster, PATIENCE, is_about, pod, review_of};
use portreeve_tests::process::{START, free_port, run, until};
use serde_json::Value;

use crate::load::{kill_again_and_again, manifest, privileged, until_as_checked};

#[tokio::test]
async fn a_kill_at_any_moment_loses_nothing_that_was_acknowledged() {
    let cluster = FolderCluster::new("telemetry: {format: json}\n");
    kill_again_and_again(&cluster, 10).await;
    let _daemon = cluster.serve().await;
    until_as_checked(&cluster).await;
}

/// Lets the daemon's files grow no more than this; `unlimited` gives them room again.
fn limit_files(id: u32, bytes: &str) {
    run(Command::new("prlimit").args(["--pid", &id.to_string(), &format!("--fsize={bytes}:unlimited")]));
}

#[tokio::test]
async fn a_full_disk_leaves_the_doors_answering_by_verdict_and_is_told_on_recovery() {
    // Posture denies here: an answer by verdict is one that denies and one that allows.
    let cluster = FolderCluster::new("posture: {enforce: [nsa]}\ntelemetry: {format: json}\n");
    let doors = cluster.doors();
    cluster.write("bad.json", &manifest(&pod("dev", "bad", privileged(true))));
    // The signal that comes with the limit would end a process that does not ignore it; a full disk sends none.
    let served = cluster.command();
    let mut command = Command::new("sh");
    command.args(["-c", "trap '' XFSZ; exec \"$0\" \"$@\""]).arg(served.get_program()).args(served.get_args());
    command.current_dir(cluster.root()).env_clear().env("HOME", cluster.root()).env("PATH", "/usr/bin:/bin");
    let mut daemon = Portreeve::serve_by(&mut command).await;
    doors.until_open("the first finding", |open| open.iter().any(|finding| is_about(finding, "C-0057", "bad"))).await;

    limit_files(daemon.id(), "1");
    let ask = async |uid: &str, namespace: &str| {
        let review = review_of(uid, &pod(namespace, "asked", privileged(true)));
        cluster.validate(&review).await.or_fail("an answer").json()["response"].clone()
    };
    for number in 0..5 {
        assert_eq!(ask(&format!("denied-{number}"), "enforced").await["allowed"], false);
        let warned = ask(&format!("warned-{number}"), "dev").await;
        assert_eq!(warned["allowed"], true);
        assert!(warned["warnings"].to_string().contains("C-0016"), "{warned}");
    }
    doors.until_sample("portreeve_store_lost_total", |lost| lost >= 10.0).await;
    doors.until_sample("portreeve_store_writes_total{result=\"failure\"}", |failed| failed >= 1.0).await;
    cluster.write("worse.json", &manifest(&pod("dev", "worse", privileged(true))));
    let lost = doors.until_sample("portreeve_store_lost_total", |lost| lost > 10.0).await;
    assert_eq!(doors.health("/readyz").await.status, 200, "the doors still answer");
    assert_eq!(doors.get("/api/v1/summary").await.json()["store"]["writable"], false);
    assert!(doors.get("/").await.body.contains("The store cannot be written"));
    assert!(doors.open().await.iter().any(|finding| is_about(finding, "C-0057", "bad")), "what was stored is read");

    limit_files(daemon.id(), "unlimited");
    assert_eq!(ask("after", "dev").await["allowed"], true);
    let is_whole = |open: &[Value]| {
        open.iter().any(|finding| is_about(finding, "PR-0005", "store"))
            && open.iter().any(|finding| is_about(finding, "C-0057", "worse"))
    };
    let open = doors.until_open("recovery", is_whole).await;
    let told = open.iter().find(|finding| finding["code"] == "PR-0005").or_fail("PR-0005");
    assert!(told["message"].as_str().is_some_and(|message| message.contains("lost while")), "{told}");
    daemon.line("PR-0005", START).await;
    assert_eq!(doors.get("/api/v1/summary").await.json()["store"]["writable"], true);
    assert!(doors.sample("portreeve_store_lost_total").await >= lost);
    daemon.kill();
    let _again = cluster.serve().await;
    let decisions = doors.get("/api/v1/decisions").await.json();
    let decisions = decisions["items"].as_array().or_fail("decisions");
    assert!(decisions.iter().any(|item| item["uid"] == "after"), "{decisions:?}");
    // The scan of the start has found again what still holds.
    let has = |open: &[Value], code, name| open.iter().any(|finding| is_about(finding, code, name));
    let is_found_again = |open: &[Value]| has(open, "C-0057", "worse") && !has(open, "PR-0005", "store");
    doors.until_open("the end of PR-0005", is_found_again).await;
    assert_eq!(doors.get("/api/v1/findings?code=PR-0005&state=resolved").await.json()["total"], 1);
}

#[tokio::test]
async fn a_second_daemon_on_a_store_ends_with_the_name_of_the_lock() {
    let cluster = FolderCluster::new("");
    let first = cluster.serve().await;
    let other = cluster.root().join("other.yaml");
    let text = format!(
        "cluster: {{folder: manifests, name: folder}}\nstore: {{url: 'sqlite://store/portreeve.db'}}\n\
         http: {{listen: '127.0.0.1:{}', metricsListen: '127.0.0.1:{}'}}\n",
        free_port(),
        free_port()
    );
    fs::write(&other, &text).or_fail("a configuration");
    let second = || Portreeve::finish(Portreeve::command().arg("serve").arg("--config").arg(&other));
    let refused = second();
    assert_eq!(refused.code, Some(1), "{refused:?}");
    assert!(refused.stderr.contains("portreeve.db.lock") && refused.stderr.contains("stop it"), "{}", refused.stderr);
    // Another name of the same file is the same store.
    let (database, alias) = (cluster.root().join("store/portreeve.db"), cluster.root().join("store/alias.db"));
    fs::write(&other, text.replace("portreeve.db", "alias.db")).or_fail("a configuration");
    std::os::unix::fs::symlink(&database, &alias).or_fail("a link");
    let refused = second();
    assert_eq!(refused.code, Some(1), "{refused:?}");
    assert!(refused.stderr.contains("portreeve.db.lock"), "{}", refused.stderr);
    fs::remove_file(&alias).or_fail("removing the link");
    fs::hard_link(&database, &alias).or_fail("a hard link");
    let refused = second();
    assert_eq!(refused.code, Some(1), "{refused:?}");
    assert!(refused.stderr.contains("several names"), "{}", refused.stderr);
    fs::remove_file(&alias).or_fail("removing the hard link");
    fs::create_dir(&alias).or_fail("a folder");
    let refused = second();
    assert_eq!(refused.code, Some(1), "{refused:?}");
    assert!(refused.stderr.contains("it is a folder; name a file in it"), "{}", refused.stderr);
    fs::remove_dir(&alias).or_fail("removing the folder");
    assert_eq!(cluster.doors().health("/readyz").await.status, 200);
    // A killed owner leaves its lock file, and nobody is locked out by it.
    drop(first);
    cluster.serve().await;
}

#[tokio::test]
async fn a_damaged_database_is_refused_with_what_to_do_and_left_as_it_is() {
    let cluster = FolderCluster::new("");
    cluster.write("bad.json", &manifest(&pod("dev", "bad", privileged(true))));
    let mut daemon = cluster.serve().await;
    cluster.doors().until_open("a finding", |open| !open.is_empty()).await;
    daemon.signal("TERM");
    assert_eq!(daemon.ended(START).await.code(), Some(0));
    let whole = fs::read(cluster.database()).or_fail("the database");
    let mut header = whole.clone();
    header[..64].fill(b'x');
    let mut pages = whole.clone();
    pages[4096..].iter_mut().for_each(|byte| *byte ^= 0x5a);
    let damages = [header, pages, whole[..whole.len() / 2].to_vec(), Vec::new(), b"not a database\n".repeat(500)];
    for damaged in damages {
        remove_logs(&cluster);
        fs::write(cluster.database(), &damaged).or_fail("the database");
        let refused = Portreeve::finish(&mut cluster.command());
        assert_eq!(refused.code, Some(1), "{refused:?}");
        let hints = ["restore it from a backup", "correct store.url"];
        assert!(hints.iter().any(|hint| refused.stderr.contains(hint)), "{}", refused.stderr);
        assert!(refused.stderr.contains("portreeve.db") && !refused.stdout.contains("ready"), "{refused:?}");
        assert!(fs::read(cluster.database()).or_fail("the database") == damaged, "a refused file is left as it is");
    }
    remove_logs(&cluster);
    fs::write(cluster.database(), &whole).or_fail("the database");
    let _daemon = cluster.serve().await;
    let is_back = until(PATIENCE, || async { (!cluster.doors().open().await.is_empty()).then_some(()) });
    is_back.await.or_fail("the findings of the restored store");
}

/// A copy of a database is restored without the log of another.
fn remove_logs(cluster: &FolderCluster) {
    for suffix in ["-wal", "-shm"] {
        let log = format!("{}{suffix}", cluster.database().display());
        if fs::exists(&log).or_fail("the store's folder") {
            fs::remove_file(log).or_fail("the log of a database");
        }
    }
}

#[tokio::test]
async fn a_daemon_that_was_asked_to_end_leaves_one_file_and_a_copy_of_it_has_everything() {
    let cluster = FolderCluster::new("");
    cluster.write("bad.json", &manifest(&pod("dev", "bad", privileged(true))));
    let mut daemon = cluster.serve().await;
    let found = cluster.doors().until_open("findings", |open| open.len() > 3).await;
    daemon.signal("TERM");
    assert_eq!(daemon.ended(START).await.code(), Some(0));
    let database = cluster.database();
    for log in ["db-wal", "db-shm"] {
        assert!(!database.with_extension(log).exists(), "{log} is left");
    }
    let copy = cluster.root().join("copy.db");
    fs::copy(&database, &copy).or_fail("a copy");
    remove_logs(&cluster);
    fs::rename(&copy, &database).or_fail("the copy in place");
    cluster.delete("bad.json");
    cluster.write("broken.json", "{");
    let _daemon = cluster.serve().await;
    let is_kept =
        |open: &[Value]| found.iter().all(|known| open.iter().any(|it| it["fingerprint"] == known["fingerprint"]));
    cluster.doors().until_open("what the copy held, which a file that cannot be read keeps open", is_kept).await;
}
