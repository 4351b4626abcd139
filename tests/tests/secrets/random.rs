//! Documents by dice: both programs write the same.

use portreeve_secrets::sops::Plain;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use super::safe::Safe;

/// Texts of leaves, as YAML.
fn leaf() -> impl Strategy<Value = String> {
    let words = [
        "1",
        "-0x1f",
        "017",
        "1_000",
        "1.5",
        "1e3",
        "~",
        "''",
        "true",
        "yes",
        "foo",
        "\"q\"",
        "2020-01-01",
        "2020-01-01T10:00:00.50+01:00",
        ".inf",
        ".nan",
        "0o17",
        "1:30",
        "12e03",
        ".5",
        "+12",
        "08",
        "\"a\\tb\"",
        "é",
        "\"\\U0001F600\"",
        "\"  lead\"",
        "=",
        "!!str 1",
        "!!binary aGVsbG8=",
        "\"\\x01\"",
        "'it''s'",
        "\"a #b\"",
        "[]",
        "{}",
        "[1, [2, x]]",
        "{a: 1, b: {c: d}}",
        "\"- x\"",
        "\"a:\"",
        "\"%\"",
        "\"null\"",
        "\"---\"",
        "0.1",
        "1e400",
    ];
    prop_oneof![
        4 => proptest::sample::select(words.to_vec()).prop_map(str::to_owned),
        1 => "[ -~]{0,12}".prop_map(|text| format!("'{}'", text.replace('\'', "''"))),
        1 => "[a-zäöü][a-zäöü \\n]{0,15}".prop_map(|text| format!("\"{}\"", text.replace('\n', "\\n"))),
    ]
}

/// A tree; the flag puts a comment before a value, the other one behind it.
#[derive(Clone, Debug)]
enum Tree {
    Leaf(String, bool),
    List(Vec<(bool, Tree)>),
    Map(Vec<(bool, Tree)>),
}

fn tree() -> impl Strategy<Value = Tree> {
    let leaf = (leaf(), proptest::bool::weighted(0.2)).prop_map(|(text, comment)| Tree::Leaf(text, comment));
    leaf.prop_recursive(3, 24, 4, |inner| {
        let items = proptest::collection::vec((proptest::bool::weighted(0.2), inner), 1..4);
        prop_oneof![items.clone().prop_map(Tree::List), items.prop_map(Tree::Map)]
    })
}

/// A comment above the first thing in an item of a list is left out: where the list has one too, sops loses it.
fn write(tree: &Tree, (indent, in_list): (usize, bool), out: &mut String) {
    let pad = " ".repeat(indent);
    match tree {
        Tree::Leaf(text, comment) => {
            // Behind brackets sops moves comments to the next place, or loses them.
            let comment = *comment && !text.starts_with(['[', '{']);
            out.push_str(&format!(" {text}{}\n", if comment { " # behind" } else { "" }));
        }
        Tree::List(items) => {
            out.push('\n');
            for (number, (comment, item)) in items.iter().enumerate() {
                if *comment && !(in_list && number == 0) {
                    out.push_str(&format!("{pad}# before\n"));
                }
                out.push_str(&format!("{pad}-"));
                write(item, (indent + 2, true), out);
            }
        }
        Tree::Map(items) => {
            out.push('\n');
            for (number, (comment, item)) in items.iter().enumerate() {
                if *comment && !(in_list && number == 0) {
                    out.push_str(&format!("{pad}# before\n"));
                }
                out.push_str(&format!("{pad}k{number}:"));
                write(item, (indent + 2, false), out);
            }
        }
    }
}

#[test]
fn documents_by_dice_are_written_as_sops_writes_them() {
    let safe = Safe::new();
    let config = Config { cases: 48, failure_persistence: None, ..Config::default() };
    let documents = proptest::collection::vec((proptest::bool::weighted(0.2), tree()), 1..5).prop_map(Tree::Map);
    let mut runner =
        TestRunner::new_with_rng(config, proptest::test_runner::TestRng::deterministic_rng(Default::default()));
    let result = runner.run(&documents, |tree| {
        let mut text = String::new();
        write(&tree, (0, false), &mut text);
        safe.0.file("plain.yaml", &text);
        // Nothing is encrypted, so that what is compared is the writing itself.
        let theirs = safe.sops(&["encrypt", "--encrypted-regex", "^nothing$", "plain.yaml"]);
        let ours = Plain::read(text.as_bytes()).and_then(|plain| plain.to_yaml());
        match (theirs.code, ours) {
            (Some(0), Ok(ours)) => {
                let ours = String::from_utf8_lossy(ours.expose()).into_owned();
                let theirs = theirs.stdout.split("\nsops:\n").next().unwrap_or_default();
                prop_assert_eq!(ours.trim_end(), theirs.trim_end(), "of\n{}", text);
            }
            (code, ours) => {
                prop_assert!(code != Some(0) && ours.is_err(), "sops {:?} {} of\n{}", code, theirs.stderr, text);
            }
        }
        Ok(())
    });
    if let Err(error) = result {
        portreeve_tests::fail(error.to_string());
    }
}
