//! Exit codes, and what is said: sops's codes, and never a value.

use portreeve_tests::OrFail as _;
use portreeve_tests::binary::{Output, Portreeve};

use super::safe::{AgeKey, Safe, key};

/// What no output may contain.
const CANARY: &str = "canary-0c9f3a";

fn assert_silent(output: &Output, what: &str) {
    assert!(!output.stderr.contains(CANARY), "{what}: {}", output.stderr);
    assert!(output.code == Some(0) || output.stdout.is_empty(), "{what}: output in spite of a failure");
}

/// An encrypted file with one place changed.
fn changed(safe: &Safe, from: &str, to: &str) -> String {
    let file = safe.0.read("secret.yaml");
    assert!(file.contains(from), "{from} in {file}");
    file.replacen(from, to, 1)
}

/// Swaps the first character behind a marker for another one of base64.
fn flipped(file: &str, marker: &str, skip: usize) -> String {
    let at = file.find(marker).or_fail(marker) + marker.len() + skip;
    let other = if file.as_bytes()[at] == b'A' { "B" } else { "A" };
    format!("{}{other}{}", &file[..at], &file[at + 1..])
}

#[test]
fn broken_files_have_the_exit_code_of_sops_and_show_nothing() {
    let safe = Safe::with(&format!("a: {CANARY}\nb_unencrypted: {CANARY}-clear\nm: 5\n"));
    let file = safe.0.read("secret.yaml");
    let mac = file.lines().find(|line| line.starts_with("    mac:")).unwrap().to_owned();
    let cases = [
        ("value", flipped(&file, "a: ENC[AES256_GCM,data:", 1)),
        ("iv", flipped(&file, ",iv:", 3)),
        ("tag", flipped(&file, ",tag:", 3)),
        ("mac", file.replace(&mac, &flipped(&mac, "data:", 3))),
        ("tag of the mac", file.replace(&mac, &flipped(&mac, ",tag:", 3))),
        ("no mac", file.replace(&format!("{mac}\n"), "")),
        ("empty mac", file.replace(&mac, "    mac: ''")),
        ("clear value", file.replace("-clear", "-CLEAR")),
        ("plain value", format!("z: {CANARY}\n{file}")),
        ("plain number", format!("z: 12\n{file}")),
        ("value gone", file.lines().filter(|line| !line.starts_with("m:")).collect::<Vec<_>>().join("\n")),
        ("key renamed", file.replacen("a: ENC", "c: ENC", 1)),
        ("lastmodified", changed(&safe, "lastmodified: \"20", "lastmodified: \"19")),
        ("no lastmodified", file.lines().filter(|line| !line.contains("lastmodified")).collect::<Vec<_>>().join("\n")),
        ("no version", file.lines().filter(|line| !line.contains("version:")).collect::<Vec<_>>().join("\n")),
        ("no sops", format!("a: {CANARY}\n")),
        ("sops is text", format!("a: {CANARY}\nsops: x\n")),
        ("empty", String::new()),
        ("not YAML", format!("a: [{CANARY}\n")),
        ("list", format!("- {CANARY}\n")),
        ("twice", format!("{file}a: {CANARY}\n")),
    ];
    for (name, text) in cases {
        safe.0.file("broken.yaml", &text);
        let (theirs, ours) = (safe.sops(&["decrypt", "broken.yaml"]), safe.ours(&["decrypt", "broken.yaml"]));
        assert_eq!(ours.code, theirs.code, "{name}: {}\nsops: {}", ours.stderr, theirs.stderr);
        assert_silent(&ours, name);
        for command in ["rotate", "edit"] {
            let ours = safe.ours(&[command, "broken.yaml"]);
            assert_ne!(ours.code, Some(0), "{command} {name}");
            assert_silent(&ours, name);
            assert_eq!(safe.0.read("broken.yaml"), text, "{command} {name}");
        }
    }
}

#[test]
fn calls_that_are_wrong_have_the_exit_code_of_sops() {
    let safe = Safe::with("a: x\nb: [1]\n");
    for call in [
        &["decrypt", "missing.yaml"][..],
        &["rotate", "-i", "missing.yaml"],
        &["encrypt", "secret.yaml"],
        &["decrypt", "--extract", "a", "secret.yaml"],
        &["decrypt", "--extract", "[\"z\"]", "secret.yaml"],
        &["encrypt", "--encrypted-regex", "a", "--encrypted-suffix", "b", "plain.yaml"],
        &["encrypt", "missing.yaml"],
    ] {
        let (theirs, ours) = (safe.sops(call), safe.ours(call));
        assert_eq!(ours.code, theirs.code, "{call:?}: {}\nsops: {}", ours.stderr, theirs.stderr);
    }
    for (text, name) in [("1: x\n", "number as key"), ("a: 18446744073709551615\n", "beyond 64 bits")] {
        safe.0.file("odd.yaml", text);
        let (theirs, ours) = (safe.sops(&["encrypt", "odd.yaml"]), safe.ours(&["encrypt", "odd.yaml"]));
        assert_eq!(ours.code, theirs.code, "{name}: {}\nsops: {}", ours.stderr, theirs.stderr);
    }
}

#[test]
fn an_identity_that_does_not_open_it_is_128_and_names_public_keys_only() {
    let safe = Safe::with(&format!("a: {CANARY}\n"));
    let stranger = AgeKey::new();
    let output = Portreeve::finish(&mut safe.command_by(&["decrypt", "secret.yaml"], &stranger.file)).expect_exit(128);
    assert!(
        output.stderr.contains(&key().recipient) && output.stderr.contains(&stranger.recipient),
        "{}",
        output.stderr
    );
    assert!(!output.stderr.contains("AGE-SECRET-KEY"), "{}", output.stderr);
    assert_silent(&output, "stranger");
    let identity = std::fs::read_to_string(&stranger.file).unwrap();
    let secret = identity.lines().find(|line| line.starts_with("AGE-SECRET-KEY")).unwrap();
    let cut = safe.0.file("cut.txt", &secret[..secret.len() - 4]);
    let output = Portreeve::finish(&mut safe.command_by(&["decrypt", "secret.yaml"], &cut));
    assert_eq!(output.code, Some(1));
    assert!(!output.stderr.contains(&secret[..30]), "{}", output.stderr);
}

#[test]
fn recipients_of_other_kinds_are_refused_by_name() {
    let safe = Safe::with("a: 1\n");
    for (recipient, word) in [
        ("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAA", "ssh keys"),
        ("age1pq1xyz", "post-quantum"),
        ("age1yubikey1qxyz", "plug-ins"),
        ("age1nonsense", "not an age recipient"),
        ("AGE-SECRET-KEY-1X", "private"),
    ] {
        let output = safe.ours(&["encrypt", "--age", recipient, "plain.yaml"]).expect_exit(1);
        assert!(output.stderr.contains(word), "{recipient}: {}", output.stderr);
    }
    let groups = safe
        .0
        .read("secret.yaml")
        .replace("    age:\n", "    key_groups:\n        - hc_vault: []\n        - age: []\n    x:\n");
    safe.0.file("groups.yaml", groups);
    assert!(safe.ours(&["decrypt", "groups.yaml"]).expect_exit(1).stderr.contains("Shamir"));
    safe.0.file("plain.json", "{}");
    assert!(safe.ours(&["encrypt", "plain.json"]).expect_exit(1).stderr.contains("only .yaml"));
}
