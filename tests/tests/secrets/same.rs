//! What one writes the other reads, and both write the same.

use super::corpus::CORPUS;
use super::safe::{Safe, key, masked};

/// Rules of selection, as flags.
const RULES: [&[&str]; 5] = [
    &[],
    &["--encrypted-regex", "^(stringData|b|list|e)$"],
    &["--unencrypted-regex", "^(a|list|maps)"],
    &["--encrypted-suffix", "s"],
    &["--unencrypted-suffix", "e"],
];

#[test]
fn we_decrypt_what_sops_encrypts_to_the_same_bytes() {
    for (name, plain) in CORPUS {
        let safe = Safe::with(plain);
        let theirs = safe.sops(&["decrypt", "secret.yaml"]).expect_exit(0);
        let ours = safe.ours(&["decrypt", "secret.yaml"]).expect_exit(0);
        assert_eq!(ours.stdout, theirs.stdout, "{name}");
        assert_eq!(ours.stderr, "", "{name}");
    }
}

#[test]
fn the_file_we_write_is_the_file_sops_writes() {
    for (name, plain) in CORPUS {
        let safe = Safe::with(plain);
        let ours = safe.ours(&["encrypt", "plain.yaml"]).expect_exit(0);
        assert_eq!(masked(&ours.stdout), masked(&safe.0.read("secret.yaml")), "{name}");
    }
}

#[test]
fn sops_decrypts_what_we_encrypt_and_rotate() {
    for (name, plain) in CORPUS {
        let safe = Safe::with(plain);
        let expected = safe.sops(&["decrypt", "secret.yaml"]).expect_exit(0).stdout;
        safe.ours(&["encrypt", "plain.yaml", "--output", "ours.yaml"]).expect_exit(0);
        assert_eq!(safe.sops(&["decrypt", "ours.yaml"]).expect_exit(0).stdout, expected, "{name}");
        safe.ours(&["rotate", "ours.yaml"]).expect_exit(0);
        assert_eq!(safe.sops(&["decrypt", "ours.yaml"]).expect_exit(0).stdout, expected, "{name}, rotated");
        safe.ours(&["rotate", "secret.yaml"]).expect_exit(0);
        assert_eq!(safe.sops(&["decrypt", "secret.yaml"]).expect_exit(0).stdout, expected, "{name}, rotated from sops");
    }
}

#[test]
fn the_rules_of_selection_choose_what_sops_chooses() {
    for rule in RULES {
        for (name, plain) in CORPUS.into_iter().filter(|(name, _)| ["nested", "comments", "a Secret"].contains(name)) {
            let safe = Safe::new();
            safe.0.file("plain.yaml", plain);
            let call = [&["encrypt"], rule, &["plain.yaml"]].concat();
            let (theirs, ours) = (safe.sops(&call).expect_exit(0), safe.ours(&call).expect_exit(0));
            assert_eq!(masked(&ours.stdout), masked(&theirs.stdout), "{rule:?} {name}");
            safe.0.file("theirs.yaml", &theirs.stdout);
            safe.0.file("ours.yaml", &ours.stdout);
            let crossed = safe.sops(&["decrypt", "ours.yaml"]).expect_exit(0).stdout;
            assert_eq!(safe.ours(&["decrypt", "theirs.yaml"]).expect_exit(0).stdout, crossed, "{rule:?} {name}");
        }
    }
}

#[test]
fn rules_that_are_no_flags_choose_what_sops_chooses() {
    let plain = "# clear\na: 1\nb:\n  # sealed\n  c: 2\n  d: 3\ne:\n  # sealed too\n  - 1\n  # plain\n  - 2\n";
    for rule in [
        "encrypted_comment_regex: sealed",
        "unencrypted_comment_regex: '^ ?(clear|plain)$'",
        "mac_only_encrypted: true\n    encrypted_regex: ^(a|c)$",
    ] {
        let safe = Safe::new();
        safe.0.file(".sops.yaml", format!("creation_rules:\n  - age: {}\n    {rule}\n", key().recipient));
        safe.0.file("plain.yaml", plain);
        let (theirs, ours) = (safe.sops(&["encrypt", "plain.yaml"]), safe.ours(&["encrypt", "plain.yaml"]));
        assert_eq!(masked(&ours.expect_exit(0).stdout), masked(&theirs.stdout), "{rule}");
        safe.0.file("theirs.yaml", &theirs.stdout);
        let decrypted = safe.ours(&["decrypt", "theirs.yaml"]).expect_exit(0).stdout;
        assert_eq!(decrypted, safe.sops(&["decrypt", "theirs.yaml"]).expect_exit(0).stdout, "{rule}");
    }
}

#[test]
fn a_creation_rule_is_found_by_the_path_of_the_file() {
    let safe = Safe::new();
    let rules = format!(
        "creation_rules:\n  - path_regex: prod/.*\\.yaml$\n    age: {0}\n    encrypted_regex: ^x$\n  - path_regex: other\n    \
         age: [{0}]\n    pgp: ABCD\n",
        key().recipient
    );
    safe.0.file(".sops.yaml", rules);
    safe.0.file("prod/a.yaml", "x: 1\nz: 2\n");
    let encrypt = |file: &str| {
        let mut command = safe.command(&["encrypt", file]);
        portreeve_tests::binary::Portreeve::finish(command.env_remove("SOPS_AGE_RECIPIENTS"))
    };
    let encrypted = encrypt("prod/a.yaml").expect_exit(0).stdout;
    assert!(encrypted.contains("z: 2\n") && encrypted.contains("encrypted_regex: ^x$"), "{encrypted}");
    safe.0.file("else.yaml", "x: 1\n");
    assert!(encrypt("else.yaml").expect_exit(1).stderr.contains("no recipients"));
    safe.0.file("other.yaml", "x: 1\n");
    assert!(encrypt("other.yaml").expect_exit(1).stderr.contains("'pgp', which is not supported yet"));
    safe.0.file(".sops.yaml", "creation_rules:\n  - path_regx: a\n    age: age1nonsense\n");
    let wrong = encrypt("else.yaml").expect_exit(5).stderr;
    assert!(wrong.contains("did you mean 'path_regex'?") && wrong.contains("is not an age recipient"), "{wrong}");
}

#[test]
fn parts_are_extracted_as_sops_extracts_them() {
    let safe = Safe::with("a: {b: [x, {c: 1}, 2.50]}\nt: |\n  one\n  two\nd: 2020-01-01\n# c\ne: true\n");
    for path in [
        "[\"a\"]",
        "[\"a\"][\"b\"]",
        "[\"a\"][\"b\"][0]",
        "['a']['b'][1]",
        "[\"a\"][\"b\"][1][\"c\"]",
        "[\"a\"][\"b\"][2]",
        "[\"t\"]",
        "[\"d\"]",
        "[\"e\"]",
    ] {
        let call = ["decrypt", "--extract", path, "secret.yaml"];
        let theirs = safe.sops(&call).expect_exit(0);
        assert_eq!(safe.ours(&call).expect_exit(0).stdout, theirs.stdout, "{path}");
    }
}

#[test]
fn flags_stand_before_or_behind_the_file_and_plaintext_is_for_its_owner_only() {
    use std::os::unix::fs::PermissionsExt as _;
    let safe = Safe::with("a: 1\n");
    safe.0.file("open.yaml", "was here before");
    for call in
        [["decrypt", "secret.yaml", "--output", "open.yaml"], ["decrypt", "--output", "new.yaml", "secret.yaml"]]
    {
        safe.ours(&call).expect_exit(0);
    }
    for name in ["open.yaml", "new.yaml"] {
        assert_eq!(safe.0.read(name), "a: 1\n");
        assert_eq!(std::fs::metadata(safe.path(name)).unwrap().permissions().mode() & 0o777, 0o600, "{name}");
    }
    safe.ours(&["decrypt", "-i", "secret.yaml"]).expect_exit(0);
    assert_eq!(safe.0.read("secret.yaml"), "a: 1\n");
    safe.ours(&["encrypt", "-i", "secret.yaml"]).expect_exit(0);
    assert_eq!(safe.sops(&["decrypt", "secret.yaml"]).expect_exit(0).stdout, "a: 1\n");
}

#[test]
fn identities_come_from_everywhere_sops_looks() {
    let safe = Safe::with("a: 1\n");
    let keys = std::fs::read_to_string(&key().file).unwrap();
    let run = |set: &mut dyn FnMut(&mut std::process::Command)| {
        let mut command = safe.command(&["decrypt", "secret.yaml"]);
        command.env_remove("SOPS_AGE_KEY_FILE");
        set(&mut command);
        portreeve_tests::binary::Portreeve::finish(&mut command)
    };
    run(&mut |_| {}).expect_exit(128);
    run(&mut |command| {
        command.env("SOPS_AGE_KEY", keys.replace('\n', "\n\n"));
    })
    .expect_exit(0);
    safe.0.file("conf/sops/age/keys.txt", &keys);
    run(&mut |command| {
        command.env("XDG_CONFIG_HOME", safe.path("conf"));
    })
    .expect_exit(0);
    safe.0.file("home/.config/sops/age/keys.txt", &keys);
    run(&mut |command| {
        command.env("HOME", safe.path("home"));
    })
    .expect_exit(0);
    safe.0.file("portreeve.yaml", "cluster: {folder: .}\nsecrets: {identities: [{file: conf/sops/age/keys.txt}]}\n");
    run(&mut |_| {}).expect_exit(0);
}
