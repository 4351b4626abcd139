//! YAML read and written again.

use super::super::error::Kind;
use super::super::stamp::{yaml_float, yaml_time};
use super::{emit, read};

fn again(text: &str) -> String {
    let written = emit(&read(text.as_bytes()).unwrap()).unwrap();
    String::from_utf8(written.expose().to_vec()).unwrap()
}

fn refused(text: &str) -> Kind {
    read(text.as_bytes()).err().unwrap().kind
}

#[test]
fn what_is_written_is_read_back_and_written_the_same() {
    for text in [
        "a: 1\n",
        "a: -0.0\n",
        "a: \" x\"\nb: 'x '\nc: |2\n    x\n   y\n",
        "list:\n  - |2\n      two\n     one\n  - - a: |-\n        x\n        y\n",
        "a: \"\\u2028\"\nb: \"x\\u2029y\"\n",
        "# c\na: 1 # d\nb:\n  # e\n  - 1 # f\n  # g\n",
        "? |\n  two\n  lines\n: 1\n",
        "a: !!binary /wD+\n",
        "a: {}\nb: []\nc: ''\nd: null\n",
    ] {
        let once = again(text);
        assert_eq!(again(&once), once, "{text}");
        let trees = (read(text.as_bytes()).unwrap(), read(once.as_bytes()).unwrap());
        let plain = text.contains('#') || trees.0 == trees.1;
        assert!(plain, "{text} and {once} differ");
    }
}

#[test]
fn breaks_that_sops_folds_are_refused_where_it_reads_another_text() {
    for text in
        ["a: 'x\u{2028}    y'", "a: \"x \u{2029}y\"", "a: x\u{2028}y", "a: |\n  x\u{2028}  y\n", "a: 'x\u{85}y'"]
    {
        let error = read(text.as_bytes()).err().unwrap();
        assert!(error.kind == Kind::Unreadable && error.to_string().contains("U+2028"), "{text:?}: {error}");
    }
    for text in ["a: 'x\u{2028}y'", "a: \"x\\L    y\"", "# x\u{2028} y\na: 1"] {
        assert!(read(text.as_bytes()).is_ok(), "{text:?}");
    }
}

#[test]
fn numbers_and_times_are_those_of_go() {
    let floats = [1.0, 1.5, 999_999.0, 1e6, 1_234_567.5, 1e20, 1e-4, 1e-5, -2.5e-10, 5e-324];
    let written: Vec<String> = floats.into_iter().map(yaml_float).collect();
    assert_eq!(
        written,
        ["1", "1.5", "999999", "1e+06", "1.2345675e+06", "1e+20", "0.0001", "1e-05", "-2.5e-10", "5e-324"]
    );
    for (text, time) in [
        ("2020-01-01", Some("2020-01-01T00:00:00Z")),
        ("2020-1-2", Some("2020-01-02T00:00:00Z")),
        ("2020-01-02T03:04:05.600+00:00", Some("2020-01-02T03:04:05.6Z")),
        ("2020-01-02t3:4:5-07:30", Some("2020-01-02T03:04:05-07:30")),
        ("2020-01-02 3:04:05", Some("2020-01-02T03:04:05Z")),
        ("2020-02-30", None),
        ("2020-01-02T03:04:05", None),
        ("2020-01-02T24:00:00Z", None),
        ("20200102", None),
        ("2020-01-01 ", None),
    ] {
        assert_eq!(yaml_time(text).as_deref(), time, "{text}");
    }
}

#[test]
fn what_readers_disagree_about_or_cannot_hold_is_refused() {
    assert_eq!(refused("a: 1\na: 2\n"), Kind::Unreadable);
    assert_eq!(refused("a: {b: 1, b: 2}\n"), Kind::Unreadable);
    assert_eq!(refused("a: 1\n---\nb: 1\nb: 2\n"), Kind::Unreadable);
    assert_eq!(refused("- a\n"), Kind::Unreadable);
    assert_eq!(refused("a: !!int x\n"), Kind::Unreadable);
    assert_eq!(refused("1: x\n"), Kind::Unwritable);
    assert_eq!(refused("a: 9223372036854775808\n"), Kind::Unwritable);
    assert_eq!(refused("a: *b\n"), Kind::Unreadable);
}

#[test]
fn depth_and_aliases_are_bounded() {
    let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..9 {
        let below = format!("*a{}, ", level - 1).repeat(10);
        bomb.push_str(&format!("a{level}: &a{level} [{}]\n", below.trim_end_matches(", ")));
    }
    assert_eq!(refused(&bomb), Kind::TooLarge);
    let deep: String = (0..200).map(|level| format!("{}a:\n", " ".repeat(level))).collect();
    assert!(matches!(refused(&deep), Kind::TooLarge | Kind::Unreadable));
    assert_eq!(refused(&"---\na: 1\n".repeat(1001)), Kind::TooLarge);
}
