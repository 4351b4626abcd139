//! Editing: only what was changed changes, and plaintext is left nowhere.

use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use portreeve_tests::binary::{Output, Portreeve};
use portreeve_tests::process::Running;

use super::safe::Safe;

const PLAIN: &str = "a: one\nb: [same, same]\nc: {d: two}\n# note\ne: 5\n";

fn edit(safe: &Safe, editor: &str) -> Output {
    Portreeve::finish(safe.command(&["edit", "secret.yaml"]).env("EDITOR", editor))
}

#[test]
fn a_change_of_one_value_changes_its_line_and_the_mac_only() {
    let safe = Safe::with(PLAIN);
    let before = safe.0.read("secret.yaml");
    edit(&safe, "sed -i s/two/three/").expect_exit(0);
    let after = safe.0.read("secret.yaml");
    let changed: Vec<&str> =
        before.lines().zip(after.lines()).filter(|(old, new)| old != new).map(|(old, _)| old.trim()).collect();
    let names: Vec<&str> = changed.iter().filter_map(|line| line.split(':').next()).collect();
    assert!(names == ["d", "lastmodified", "mac"] || names == ["d", "mac"], "{changed:?}");
    let expected = PLAIN.replace("two", "three");
    let normal = |text: &str| {
        text.replace("{d: three}", "\n    d: three")
            .replace("[same, same]", "\n    - same\n    - same")
            .replace(": \n", ":\n")
    };
    assert_eq!(safe.sops(&["decrypt", "secret.yaml"]).expect_exit(0).stdout, normal(&expected));
}

#[test]
fn what_sops_edited_we_edit_and_the_other_way_round() {
    let safe = Safe::with(PLAIN);
    edit(&safe, "sed -i s/one/uno/").expect_exit(0);
    safe.sops(&["set", "secret.yaml", "[\"c\"][\"d\"]", "\"due\""]).expect_exit(0);
    edit(&safe, "sed -i s/same/lo-stesso/").expect_exit(0);
    let ours = safe.ours(&["decrypt", "secret.yaml"]).expect_exit(0).stdout;
    assert!(ours.contains("uno") && ours.contains("due") && ours.contains("lo-stesso"), "{ours}");
    assert_eq!(safe.sops(&["decrypt", "secret.yaml"]).expect_exit(0).stdout, ours);
}

#[test]
fn equal_items_keep_nonces_of_their_own() {
    let safe = Safe::with(PLAIN);
    edit(&safe, "sed -i 's/- same/- other/'").expect_exit(0);
    let file = safe.0.read("secret.yaml");
    let items: Vec<&str> = file.lines().filter(|line| line.starts_with("    - ENC")).collect();
    assert_eq!(items.len(), 2);
    assert_ne!(items[0], items[1]);
}

#[test]
fn nothing_changed_is_200_and_a_failing_editor_201() {
    let safe = Safe::with(PLAIN);
    let before = safe.0.read("secret.yaml");
    assert!(edit(&safe, "true").expect_exit(200).stderr.contains("nothing was changed"));
    edit(&safe, "false").expect_exit(201);
    edit(&safe, "no-such-editor-anywhere").expect_exit(201);
    Portreeve::finish(safe.command(&["edit", "secret.yaml"]).env_remove("EDITOR")).expect_exit(201);
    assert_eq!(safe.0.read("secret.yaml"), before);
    Portreeve::finish(safe.command(&["edit", "secret.yaml"]).env("EDITOR", "false").env("SOPS_EDITOR", "true"))
        .expect_exit(200);
}

#[test]
fn a_file_that_somebody_else_changed_meanwhile_is_not_written_over() {
    let safe = Safe::with(PLAIN);
    let editor = format!("sh -c 'sed -i s/one/uno/ \"$1\"; echo x >> {}' sh", safe.path("secret.yaml").display());
    let said = edit(&safe, &editor).expect_exit(3);
    assert!(said.stderr.contains("changed by somebody else"), "{}", said.stderr);
    assert!(safe.0.read("secret.yaml").ends_with("x\n"));
    // What was typed is kept, encrypted like the file and for its owner only.
    let (_, kept) = said.stderr.split_once("what you saved is in ").expect("where it is kept");
    let kept = kept.split_once(", encrypted").expect("a path").0;
    assert_eq!(std::fs::metadata(kept).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(!std::fs::read_to_string(kept).unwrap().contains("uno"));
    assert!(safe.sops(&["decrypt", kept]).expect_exit(0).stdout.contains("a: uno"));
    assert_eq!(safe.staged(), [""; 0]);
}

#[test]
fn what_was_typed_is_kept_beside_a_file_with_a_long_extension_too() {
    let safe = Safe::with(PLAIN);
    let target = safe.path(&format!("t.{}", "x".repeat(200)));
    std::fs::rename(safe.path("secret.yaml"), &target).unwrap();
    std::os::unix::fs::symlink(&target, safe.path("secret.yaml")).unwrap();
    let editor = format!("sh -c 'sed -i s/one/uno/ \"$1\"; echo x >> {}' sh", target.display());
    let said = edit(&safe, &editor).expect_exit(3);
    assert!(said.stderr.contains("what you saved is in "), "{}", said.stderr);
}

#[test]
fn a_file_that_could_not_be_saved_opens_no_editor() {
    let safe = Safe::with(PLAIN);
    // Whatever the user may do: beside a name of this length there is no room for another.
    let name = format!("{}.yaml", "x".repeat(240));
    safe.0.file(&name, safe.0.read("secret.yaml"));
    let editor = format!("touch {}; sed -i s/one/uno/", safe.path("opened").display());
    let said = Portreeve::finish(safe.command(&["edit", &name]).env("EDITOR", editor)).expect_exit(3);
    assert!(said.stderr.contains("could not be written"), "{}", said.stderr);
    assert!(!safe.path("opened").exists());
}

#[test]
fn what_cannot_be_read_is_told_and_leaves_the_file_when_nobody_goes_on() {
    let safe = Safe::with(PLAIN);
    let before = safe.0.read("secret.yaml");
    let seen = safe.path("seen");
    let editor = format!("sh -c 'echo \"$1\" > {}; sed -i s/one/[/ \"$1\"' sh", seen.display());
    let said = edit(&safe, &editor).expect_exit(2);
    assert!(said.stderr.contains("cannot be encrypted: line "), "{}", said.stderr);
    assert!(said.stderr.contains("press Enter"), "{}", said.stderr);
    assert_eq!(safe.0.read("secret.yaml"), before);
    assert!(!std::path::Path::new(safe.0.read("seen").trim()).exists());
}

#[tokio::test]
async fn a_command_that_is_told_to_end_takes_the_plaintext_with_it() {
    let safe = Safe::with(PLAIN);
    let before = safe.0.read("secret.yaml");
    let mut command = safe.command(&["edit", "secret.yaml"]);
    let seen = safe.path("seen");
    command.env("EDITOR", format!("sh -c 'echo \"$1\" > {0}.new; mv {0}.new {0}; exec sleep 60' sh", seen.display()));
    let mut running = Running::start("portreeve", &mut command);
    let limit = Duration::from_secs(30);
    let file = running
        .until("the editor", limit, |_| {
            let file = std::fs::read_to_string(&seen).ok();
            async { file }
        })
        .await;
    let file = std::path::PathBuf::from(file.trim());
    assert!(std::fs::read_to_string(&file).unwrap().contains("two"));
    running.signal("TERM");
    assert_eq!(running.ended(limit).await.code(), Some(143));
    assert!(!file.exists() && !file.parent().unwrap().exists());
    assert_eq!(safe.0.read("secret.yaml"), before);
}

#[tokio::test]
async fn at_the_prompt_a_signal_ends_the_command_and_takes_the_plaintext_with_it() {
    let safe = Safe::with(PLAIN);
    let before = safe.0.read("secret.yaml");
    for (name, exit) in [("TERM", 143), ("INT", 130), ("HUP", 129)] {
        let mut command = safe.command(&["edit", "secret.yaml"]);
        let seen = safe.path("seen");
        command.env("EDITOR", format!("sh -c 'echo \"$1\" > {}; sed -i s/one/[/ \"$1\"' sh", seen.display()));
        let (answer, _question) = std::io::pipe().unwrap();
        let mut running = Running::reading("portreeve", &mut command, answer);
        let limit = Duration::from_secs(30);
        running.line("press Enter", limit).await;
        let file = std::path::PathBuf::from(safe.0.read("seen").trim());
        assert!(file.exists());
        running.signal(name);
        assert_eq!(running.ended(limit).await.code(), Some(exit), "{name}");
        assert!(!file.exists() && !file.parent().unwrap().exists());
        assert_eq!(safe.0.read("secret.yaml"), before);
    }
}
