use std::fmt::Write as _;

use proptest::prelude::*;

use super::*;
use crate::source::{Value, json};
use crate::verdict::Cause;

fn all(text: &str) -> Vec<Result<Node, SourceError>> {
    read(text.as_bytes(), &Limits::default())
}

fn one(text: &str) -> Node {
    let mut documents = all(text);
    assert_eq!(documents.len(), 1, "{text:?}: {documents:?}");
    documents.remove(0).unwrap()
}

fn error(text: &str) -> SourceError {
    let mut documents = all(text);
    assert_eq!(documents.len(), 1, "{text:?}: {documents:?}");
    documents.remove(0).unwrap_err()
}

fn place(line: u32, column: u32) -> Place {
    Place { line, column }
}

#[test]
fn nodes_and_keys_know_their_places() {
    let node = one("# c\na:\n  b: x\n  c: [1, {d: y}]\n");
    let map = node.as_map().unwrap();
    assert_eq!(map.iter().next().unwrap().key_place, place(2, 1));
    assert_eq!(node.at(["a", "b"]).unwrap().place, place(3, 6));
    let item = &node.at(["a", "c"]).unwrap().as_list().unwrap()[1];
    assert_eq!(item.place, place(4, 10));
    assert_eq!(item.get("d").unwrap().place, place(4, 14));
    let windows = one("a: 1\r\nb:\r\n  - c: 2\r\n");
    assert_eq!(windows.get("b").unwrap().as_list().unwrap()[0].get("c").unwrap().place, place(3, 8));
}

#[test]
fn json_files_have_places_too() {
    let node = one("{\n\t\"a\": [\n\t\t{\"b\": \"x\\u00e9\\/\"}\n\t],\n\t\"c\": 1e3\n}\n");
    let inner = node.get("a").unwrap().as_list().unwrap()[0].get("b").unwrap();
    assert_eq!((inner.as_str(), inner.place), (Some("x\u{e9}/"), place(3, 9)));
    assert!(matches!(node.get("c").unwrap().value, Value::Float(number) if number == 1000.0));
}

#[test]
fn plain_scalars_mean_what_they_mean_to_kubernetes() {
    let json_of = |text: &str| one(&format!("k: {text}\n")).get("k").unwrap().to_json();
    for text in ["yes", "Yes", "on", "ON", "true", "True", "y"] {
        assert_eq!(json_of(text), true, "{text}");
    }
    for text in ["no", "off", "Off", "FALSE", "n"] {
        assert_eq!(json_of(text), false, "{text}");
    }
    for text in ["", "~", "null", "NULL"] {
        assert_eq!(json_of(text), serde_json::Value::Null, "{text}");
    }
    for (text, number) in [
        ("0644", 420),
        ("0o644", 420),
        ("0x1A", 26),
        ("0b101", 5),
        ("-0b11", -3),
        ("1_000", 1000),
        ("+12", 12),
        ("0", 0),
        ("-0x10", -16),
        ("9223372036854775807", i64::MAX),
        ("-9223372036854775808", i64::MIN),
    ] {
        assert_eq!(json_of(text), number, "{text}");
    }
    for (text, number) in [
        ("1.5", 1.5),
        ("1e3", 1000.0),
        (".5", 0.5),
        ("1.", 1.0),
        ("0899", 899.0),
        ("9223372036854775808", 9_223_372_036_854_775_808.0),
    ] {
        assert_eq!(json_of(text), number, "{text}");
    }
    for text in [
        "2001-01-01",
        "2001-12-14t21:59:43.10-05:00",
        "1.2.3",
        "12:30:45",
        "10.0.0.1",
        "yEs",
        "nil",
        "0x",
        "1e",
        "inf",
        "nan",
        "500m",
        "1Gi",
        "'yes'",
        "\"0644\"",
        "!!str 12",
        "1e999",
    ] {
        assert!(json_of(text).is_string(), "{text}");
    }
    assert!(matches!(one("k: .inf").get("k").unwrap().value, Value::Float(number) if number.is_infinite()));
    assert!(matches!(one("k: .nan").get("k").unwrap().value, Value::Float(number) if number.is_nan()));
}

#[test]
fn core_tags_are_honoured_and_others_are_not_guessed_at() {
    let node = one("a: !!int \"12\"\nb: !!float 1\nc: !!bool yes\nd: !!null ~\ne: !!map {}\nf: !!seq []\ng: !!str\n");
    assert_eq!(node.get("a").unwrap().as_int(), Some(12));
    assert!(matches!(node.get("b").unwrap().value, Value::Float(number) if number == 1.0));
    assert_eq!(node.get("c").unwrap().as_bool(), Some(true));
    assert!(node.get("d").unwrap().is_null());
    assert_eq!(node.get("g").unwrap().as_str(), Some(""));
    for text in ["a: !foo b", "a: !!binary aGk=", "!!set {a}", "a: !!int x", "a: !!bool 3", "a: !!map []", "a: !x []"] {
        assert_eq!(error(text).cause, Cause::Unreadable, "{text}");
    }
}

#[test]
fn keys_become_the_text_that_json_would_have() {
    let node = one("on: a\n1: b\n0x10: c\n1.5: d\n\"on\": e\n<: f\n");
    let keys: Vec<&str> = node.as_map().unwrap().iter().map(|entry| &*entry.key).collect();
    assert_eq!(keys, ["true", "1", "16", "1.5", "on", "<"]);
    for text in ["~: a", "? [a]\n: b", "? {a: b}\n: c"] {
        assert_eq!(error(text).cause, Cause::Unreadable, "{text}");
    }
}

#[test]
fn a_key_that_stands_twice_is_an_error_at_the_second() {
    let found = error("a:\n  x: 1\n  y: 2\n  x: 3\n");
    assert_eq!(found.place, place(4, 3));
    assert!(found.message.contains("'x'"));
    assert_eq!(error("1: a\n\"1\": b\n").place, place(2, 1));
    let mut many: String = (0..40).fold(String::new(), |mut text, index| {
        let _ = writeln!(text, "k{index}: 1");
        text
    });
    many.push_str("k3: 2\n");
    assert_eq!(error(&many).place, place(41, 1));
}

#[test]
fn merges_fill_in_what_is_not_written() {
    let node = one("base: &b {x: 1, w: 2}\nother: &o {w: 3, z: 4}\nuse:\n  <<: [*b, *o]\n  x: 9\n");
    assert_eq!(node.get("use").unwrap().to_json(), serde_json::json!({"x": 9, "w": 2, "z": 4}));
    assert_eq!(one("a: {\"<<\": 1}").get("a").unwrap().to_json(), serde_json::json!({"<<": 1}));
    assert!(error("b: &b {x: 1}\nu:\n  x: 2\n  <<: *b\n").message.contains("write '<<' first"));
    assert!(error("u:\n  <<: 3\n").message.contains("merges a map"));
    assert!(error("b: &b {x: 1}\nu:\n  <<: *b\n  <<: *b\n").message.contains("twice"));
}

#[test]
fn aliases_stand_for_their_anchors() {
    let node = one("a: &x [1, 2]\nb: *x\nc: &k key\n*k : v\n");
    assert_eq!(node.get("b").unwrap().to_json(), serde_json::json!([1, 2]));
    assert_eq!(node.get("key").unwrap().as_str(), Some("v"));
    assert_eq!(error("a: *nowhere\n").cause, Cause::Unreadable);
    assert_eq!(error("a: &a [*a]\n").cause, Cause::Unreadable);
    assert_eq!(all("a: &x 1\n---\nb: *x\n").len(), 2);
    assert!(all("a: &x 1\n---\nb: *x\n")[1].is_err(), "anchors end with their document");
}

#[test]
fn one_bad_document_does_not_lose_the_others() {
    for bad in [
        "a: [1, 2",
        "a: {b: 1",
        "a: \"x",
        "a: 'x",
        "a: b: c",
        "a:\n\tb: 1\n c: 2",
        "a: *b",
        "a: 1\na: 2",
        "- a\nb",
        "a: !foo b",
        "a:\n  b: 1\n c: 2",
        "%FOO",
        "@x",
        "a: |\n x\n\0",
        "]",
        "a: \u{2028}x: 1",
        "{a: 1}}",
        "&a &b c",
        "? ~",
    ] {
        let text = format!("first: 1\n---\n{bad}\n---\nlast: 3\n--- {{inline: 4}}\n");
        let documents = all(&text);
        let good: Vec<_> = documents.iter().flatten().map(|node| node.to_json().to_string()).collect();
        assert_eq!(good, [r#"{"first":1}"#, r#"{"last":3}"#, r#"{"inline":4}"#], "{bad:?}: {documents:?}");
        let errors: Vec<_> = documents.iter().filter_map(|document| document.as_ref().err()).collect();
        assert_eq!(errors.len(), 1, "{bad:?}: {documents:?}");
        assert!(errors[0].place.line >= 3, "{bad:?}: {errors:?}");
    }
}

#[test]
fn empty_documents_are_left_out() {
    assert!(all("").is_empty());
    assert!(all("# only a comment\n---\n---\n# another\n...\n---\nnull\n").is_empty());
    assert_eq!(all("---\n---\na: 1\n---\n\n").len(), 1);
}

#[test]
fn a_byte_order_mark_is_accepted_at_the_start_only() {
    assert_eq!(one("\u{feff}a: 1\n").get("a").unwrap().as_int(), Some(1));
    assert_eq!(error("a: 1\n\u{feff}b: 2\n").cause, Cause::Unreadable);
}

#[test]
fn other_encodings_are_unreadable() {
    for bytes in [&b"\xff\xfea\0:\0"[..], b"\xfe\xff\0a\0:", b"a: 1\nb: \xff\n", b"a\0:\0 \x001\0"] {
        let documents = read(bytes, &Limits::default());
        assert!(
            documents.iter().all(|document| document.as_ref().is_err_and(|error| error.cause == Cause::Unreadable))
        );
        assert!(!documents.is_empty());
    }
    let documents = read(b"a: 1\nb: \xff\n", &Limits::default());
    assert_eq!(documents[0].as_ref().unwrap_err().place, place(2, 4));
}

#[test]
fn nothing_behind_a_nul_byte_is_lost_in_silence() {
    let documents = all("a: 1\n---\nb: 2\n\0\n---\nc: 3\n");
    assert!(documents.iter().any(Result::is_err), "{documents:?}");
    let documents = all("a: 1\n\0---\nc: 3\n");
    assert!(documents.iter().any(Result::is_err), "{documents:?}");
    assert!(all("a: 1\n# \0").iter().any(Result::is_err));
}

#[test]
fn a_line_break_of_yaml_1_1_only_is_unreadable_unless_quoted() {
    for text in ["a: 1 # x\u{2028}b: 2\n", "a: x\u{85}b\n", "# \u{2029}a: 1\n", "a: |\n  x\u{2028}b: 2\n"] {
        let found = error(text);
        assert_eq!(found.cause, Cause::Unreadable, "{text:?}");
        assert!(found.message.contains("line break to some readers"), "{found}");
    }
    assert_eq!(one("{\"a\": \"x\u{2028}y\"}").get("a").unwrap().as_str(), Some("x\u{2028}y"));
    assert_eq!(one("a: caf\u{e9} \u{2192} \u{a0}\n").get("a").unwrap().as_str(), Some("caf\u{e9} \u{2192} \u{a0}"));
}

#[test]
fn a_hundred_thousand_levels_are_too_large() {
    for text in ["[".repeat(100_000), "{a: ".repeat(100_000), "- ".repeat(100_000), "? ".repeat(100_000)] {
        let documents = all(&format!("{text}\n---\na: 1\n"));
        assert_eq!(documents[0].as_ref().unwrap_err().cause, Cause::TooLarge, "{}", &text[..4]);
        assert!(documents.last().unwrap().is_ok());
    }
    let nested: String = (0..2000).map(|level| format!("{}a:\n", " ".repeat(level))).collect();
    assert_eq!(error(&nested).cause, Cause::TooLarge);
    let limits = Limits { depth: 3, ..Limits::default() };
    assert!(read(b"a: [[1]]", &limits)[0].is_ok());
    assert!(read(b"a: [[[1]]]", &limits)[0].as_ref().unwrap_err().message.contains("3 levels"));
    assert!(read(b"x: &x [[1]]\ny: [*x]", &limits)[0].is_err(), "an alias brings its depth");
}

#[test]
fn a_billion_laughs_are_too_large() {
    let mut text = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x]\n");
    for level in 1..12 {
        let below = level - 1;
        let _ = writeln!(text, "a{level}: &a{level} [{}]", vec![format!("*a{below}"); 9].join(", "));
    }
    assert_eq!(error(&text).cause, Cause::TooLarge);
    let merged = text.replace('[', "{").replace(']', "}");
    assert!(all(&merged)[0].is_err());
}

#[test]
fn documents_beyond_the_cap_are_one_error() {
    let documents = all(&"---\na: 1\n".repeat(200_000));
    assert_eq!(documents.len(), 20_001);
    assert_eq!(documents.last().unwrap().as_ref().unwrap_err().cause, Cause::TooLarge);
    assert!(documents[..20_000].iter().all(Result::is_ok));
    let broken = all(&"---\na: [\n".repeat(200_000));
    assert_eq!(broken.len(), 20_001);
}

#[test]
fn an_input_beyond_the_cap_is_one_error() {
    let limits = Limits { bytes: 10, ..Limits::default() };
    let documents = read(b"a: 1\nb: 2\nc: 3", &limits);
    assert_eq!(documents.len(), 1);
    assert_eq!(documents[0].as_ref().unwrap_err().cause, Cause::TooLarge);
}

#[test]
fn truncation_at_any_byte_is_never_a_panic() {
    let text =
        "a: &x {b: [1, \"two\", 'three'], c: |\n  text\n}\n---\n<<: *x\n? k\n: !!int 4\n...\n%YAML 1.2\n---\nd: e\n";
    for end in 0..text.len() {
        let _ = all(&text[..end]);
    }
}

fn tree() -> impl Strategy<Value = serde_json::Value> {
    let text = prop_oneof![
        "[ -~]{0,12}",
        "\\PC{0,8}",
        Just("yes".to_owned()),
        Just("0644".to_owned()),
        Just("a\tb\n\"c\\\u{1}".to_owned())
    ];
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(Into::into),
        any::<i64>().prop_map(Into::into),
        any::<u64>().prop_map(Into::into),
        (-1e12..1e12f64).prop_map(Into::into),
        any::<f64>().prop_map(Into::into),
        text.clone().prop_map(Into::into),
    ];
    leaf.prop_recursive(5, 60, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(serde_json::Value::Array),
            prop::collection::vec((text.clone(), inner), 0..6)
                .prop_map(|fields| serde_json::Value::Object(fields.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn json_text_is_the_same_tree_to_both_readers(value in tree()) {
        for text in [serde_json::to_string(&value).unwrap(), serde_json::to_string_pretty(&value).unwrap()] {
            let quick = json::read(text.as_bytes(), &Limits::default()).unwrap();
            prop_assert_eq!(&quick, &Node::from_json(&value));
            if !value.is_null() {
                prop_assert_eq!(&one(&text), &quick);
            }
        }
    }

    #[test]
    fn any_bytes_end_in_documents_or_errors(bytes in prop::collection::vec(prop_oneof![Just(b'\n'), Just(b' '), Just(b'-'), Just(b':'), any::<u8>()], 0..200)) {
        let _ = read(&bytes, &Limits::default());
    }

    #[test]
    fn any_text_of_yaml_signs_ends_in_documents_or_errors(text in "[-\\[\\]{}:,&*!|>'\"%@#? \\n\\ta1<]{0,80}") {
        let _ = all(&text);
    }
}

#[test]
fn what_is_left_of_a_document_beyond_a_cap_is_not_parsed_and_the_next_one_is_read_at_its_place() {
    let limits = Limits { nodes: 1_000, ..Limits::default() };
    let rest = "x, '\r\n --- ' ,\r[".repeat(200_000);
    let text = format!("first: 1\n---\r\na: [{}{rest}\n---\nlast:\n  - here\n", "1, ".repeat(2_000));
    let line = 1 + text.matches(['\n', '\r']).count() - text.matches("\r\n").count();
    let documents = read(text.as_bytes(), &limits);
    assert_eq!(documents.len(), 3, "{documents:?}");
    assert!(documents[0].is_ok());
    assert_eq!(documents[1].as_ref().unwrap_err().cause, Cause::TooLarge);
    let here = &documents[2].as_ref().unwrap().get("last").unwrap().as_list().unwrap()[0];
    assert_eq!((here.as_str(), here.place), (Some("here"), Place { line: clamp(line - 1), column: 5 }));
    let dots = format!("a: [{}\n...\n# nothing\n---\nb: 2\n", "1, ".repeat(2_000));
    let documents = read(dots.as_bytes(), &limits);
    assert_eq!(documents.len(), 2, "{documents:?}");
    assert_eq!(documents[1].as_ref().unwrap().get("b").unwrap().place, Place { line: 5, column: 4 });
    let mistake = format!("a: [{}\n---\nb: [\n", "1, ".repeat(2_000));
    assert!(read(mistake.as_bytes(), &limits)[1].as_ref().unwrap_err().place.line > 2);
}
