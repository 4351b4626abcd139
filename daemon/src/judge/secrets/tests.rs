use super::*;

#[test]
fn a_git_that_cannot_say_whether_there_are_rules_is_not_a_missing_file() {
    let root = std::env::current_dir().unwrap();
    let source = FileSource::GitRef { reference: "base".to_owned(), commit: "0".repeat(40), root };
    let said = Opening::load(&[], &source).err().unwrap();
    assert!(said.contains(RULES) && said.contains("from base"), "{said}");
}

#[test]
fn an_identity_that_cannot_be_looked_at_is_not_a_missing_one() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("key.txt");
    let opening = Opening::load(std::slice::from_ref(&file), &FileSource::WorkingTree).unwrap();
    assert_eq!(opening.missing.as_ref(), Some(&file));
    std::os::unix::fs::symlink(&file, &file).unwrap();
    let said = Opening::load(&[file], &FileSource::WorkingTree).err().unwrap();
    assert!(said.starts_with("secrets.identities: ") && said.contains("key.txt"), "{said}");
}

#[test]
fn a_file_about_which_nothing_could_be_said_is_an_error() {
    let file = EncryptedFile { shown: "a.yaml".to_owned(), path: None, document: None, clear: Vec::new() };
    let findings = broken(&file, &BuildError::NoSubject(UNREADABLE_INPUT.code()));
    let [finding] = &findings[..] else { panic!("{findings:?}") };
    assert_eq!((finding.code.as_str(), finding.verdict), ("PR-0001", Verdict::Error));
}
