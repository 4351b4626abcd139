//! Rotation: a new key, new nonces, and the old file or the new one whatever happens.

use std::collections::HashSet;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Stdio;
use std::time::Duration;

use super::safe::Safe;

/// The nonces of a file.
fn nonces(file: &str) -> Vec<String> {
    let parts = file.split(",iv:").skip(1);
    parts.filter_map(|part| part.split_once(',')).map(|(iv, _)| iv.to_owned()).collect()
}

#[test]
fn a_rotation_leaves_no_nonce_and_no_stanza_as_it_was() {
    let safe = Safe::with("a: x\nb: [same, same, same]\nc: 5\n# comment\nd: 1\n");
    let before = safe.0.read("secret.yaml");
    let said = safe.ours(&["rotate", "secret.yaml"]).expect_exit(0);
    assert!(said.stderr.contains("rotating secret.yaml: a new data key for age1"), "{}", said.stderr);
    let after = safe.0.read("secret.yaml");
    let (old, new): (HashSet<_>, HashSet<_>) =
        (nonces(&before).into_iter().collect(), nonces(&after).into_iter().collect());
    assert!(old.is_disjoint(&new));
    assert_eq!(new.len(), nonces(&after).len(), "equal items have nonces of their own");
}

#[test]
fn a_dry_run_says_what_would_be_done_and_does_nothing() {
    let safe = Safe::with("a: x\n");
    let before = safe.0.read("secret.yaml");
    let said = safe.ours(&["rotate", "--dry-run", "secret.yaml"]).expect_exit(0);
    assert!(said.stderr.contains("would rotate secret.yaml"), "{}", said.stderr);
    assert_eq!(safe.0.read("secret.yaml"), before);
}

#[test]
fn a_comment_behind_the_first_key_of_an_item_hinders_no_rotation() {
    let plain = "users:\n  - name: alice # admin\n    password: x\n  - name: bob\n    rate: .nan\n";
    for by_sops in [true, false] {
        let safe = Safe::with(plain);
        if !by_sops {
            safe.ours(&["encrypt", "--output", "secret.yaml", "plain.yaml"]).expect_exit(0);
        }
        safe.ours(&["rotate", "--dry-run", "secret.yaml"]).expect_exit(0);
        safe.ours(&["rotate", "secret.yaml"]).expect_exit(0);
        let after = safe.sops(&["decrypt", "secret.yaml"]).expect_exit(0).stdout;
        for word in ["alice", "admin", "password: x", "bob"] {
            assert!(after.contains(word), "{word} in {after}");
        }
    }
}

#[test]
fn a_file_with_several_names_is_not_torn_from_the_others() {
    let safe = Safe::with("a: x\n");
    std::fs::hard_link(safe.path("secret.yaml"), safe.path("other.yaml")).unwrap();
    let before = safe.0.read("secret.yaml");
    for command in
        [&["rotate", "secret.yaml"][..], &["rotate", "--dry-run", "secret.yaml"], &["decrypt", "-i", "secret.yaml"]]
    {
        let said = safe.ours(command).expect_exit(3);
        assert!(said.stderr.contains("it has 2 names (hard links)"), "{}", said.stderr);
    }
    assert_eq!(safe.0.read("secret.yaml"), before);
    assert_eq!(safe.staged(), [""; 0]);
}

#[test]
fn mode_and_link_stay_as_they_are() {
    let safe = Safe::with("a: x\n");
    let target = safe.path("secret.yaml");
    std::fs::set_permissions(&target, std::fs::Permissions::from_mode(0o640)).unwrap();
    std::fs::create_dir(safe.path("links")).unwrap();
    std::os::unix::fs::symlink("../secret.yaml", safe.path("links/here.yaml")).unwrap();
    let before = safe.0.read("secret.yaml");
    safe.ours(&["rotate", "links/here.yaml"]).expect_exit(0);
    assert!(safe.path("links/here.yaml").is_symlink());
    assert_ne!(safe.0.read("secret.yaml"), before);
    assert_eq!(std::fs::metadata(&target).unwrap().permissions().mode() & 0o777, 0o640);
}

#[test]
fn a_rotation_that_is_killed_at_any_time_leaves_a_file_that_opens_and_blocks_no_other() {
    let values: String = (0..300).map(|number| format!("key{number}: value {number}\n")).collect();
    let safe = Safe::with(&values);
    let expected = safe.ours(&["decrypt", "secret.yaml"]).expect_exit(0).stdout;
    let begun = std::time::Instant::now();
    safe.ours(&["rotate", "secret.yaml"]).expect_exit(0);
    let whole = begun.elapsed().max(Duration::from_millis(4));
    let steps = 15;
    let mut killed = 0;
    for step in 0..=steps {
        let mut child =
            safe.command(&["rotate", "secret.yaml"]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        // The kill comes at another moment of the run each time.
        std::thread::sleep(whole * step / steps);
        killed += u32::from(child.try_wait().unwrap().is_none());
        let _ended = child.kill();
        child.wait().unwrap();
        assert_eq!(safe.ours(&["decrypt", "secret.yaml"]).expect_exit(0).stdout, expected, "killed at step {step}");
    }
    assert!(killed > 3, "{killed} runs were killed");
    safe.0.file(".secret.yaml.portreeve-staged", "left by a run that was killed");
    safe.ours(&["rotate", "secret.yaml"]).expect_exit(0);
    assert_eq!(safe.staged(), [""; 0]);
    assert_eq!(safe.sops(&["decrypt", "secret.yaml"]).expect_exit(0).stdout, expected);
}

#[test]
fn a_file_that_another_command_changes_is_neither_encrypted_nor_decrypted_in_place() {
    let safe = Safe::with("a: x\n");
    let before = [safe.0.read("secret.yaml"), safe.0.read("plain.yaml")];
    let held = ["secret.yaml", "plain.yaml"].map(|name| std::fs::File::open(safe.path(name)).unwrap());
    held.iter().for_each(|file| file.lock().unwrap());
    for command in [["decrypt", "-i", "secret.yaml"], ["encrypt", "-i", "plain.yaml"]] {
        let said = safe.ours(&command).expect_exit(3);
        assert!(said.stderr.contains("another command is changing this file"), "{}", said.stderr);
    }
    assert_eq!([safe.0.read("secret.yaml"), safe.0.read("plain.yaml")], before);
    drop(held);
    safe.ours(&["decrypt", "-i", "secret.yaml"]).expect_exit(0);
    safe.ours(&["encrypt", "-i", "plain.yaml"]).expect_exit(0);
    assert_eq!(safe.0.read("secret.yaml"), "a: x\n");
}

#[test]
fn commands_that_write_one_file_at_once_all_write_it_whole() {
    let values: String = (0..200).map(|number| format!("key{number}: value {number}\n")).collect();
    let safe = Safe::with(&values);
    let run = || safe.command(&["decrypt", "secret.yaml", "--output", "out.yaml"]).stderr(Stdio::piped()).spawn();
    let running: Vec<_> = (0..12).map(|_| run().unwrap()).collect();
    for child in running {
        let ended = child.wait_with_output().unwrap();
        assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
    }
    assert_eq!(safe.0.read("out.yaml"), values);
    assert_eq!(safe.staged(), [""; 0]);
}

#[test]
fn a_file_that_cannot_be_written_stays_as_it_was() {
    let safe = Safe::with("a: x\n");
    let before = safe.0.read("secret.yaml");
    // Whatever the user may do: beside a name of this length there is no room for another.
    let name = format!("{}.yaml", "x".repeat(240));
    safe.0.file(&name, &before);
    safe.ours(&["rotate", &name]).expect_exit(3);
    assert_eq!(safe.0.read(&name), before);
}
