use super::*;
use crate::verdict::Cause;

fn read_text(text: &str) -> Result<Node, SourceError> {
    read(text.as_bytes(), &Limits::default())
}

#[test]
fn values_keep_their_types() {
    let node = read_text(r#"{"a":[1,-2,1.5,true,null,"x"],"u":18446744073709551615}"#).unwrap();
    let list = node.get("a").unwrap().as_list().unwrap();
    assert_eq!(list[0].as_int(), Some(1));
    assert_eq!(list[1].as_int(), Some(-2));
    assert!(matches!(list[2].value, Value::Float(number) if number == 1.5));
    assert_eq!(list[3].as_bool(), Some(true));
    assert!(list[4].is_null());
    assert_eq!(list[5].as_str(), Some("x"));
    assert!(matches!(node.get("u").unwrap().value, Value::Float(_)));
}

#[test]
fn a_key_that_stands_twice_is_named() {
    let error = read_text("{\"a\":1,\n\"a\":2}").unwrap_err();
    assert_eq!(error.cause, Cause::Unreadable);
    assert!(error.message.contains("key 'a' is written twice"), "{error}");
    assert_eq!(error.place.line, 2);
}

#[test]
fn truncated_trailing_and_foreign_bytes_are_unreadable() {
    for text in ["", "{", "{\"a\":", "[1,2", "{} x", "{}{}", "nul", "{'a':1}", "{a:1}", "\"\u{1}\""] {
        let error = read_text(text).unwrap_err();
        assert_eq!(error.cause, Cause::Unreadable, "{text:?}");
    }
    assert_eq!(read(b"\"\xff\"", &Limits::default()).unwrap_err().place, Place { line: 1, column: 2 });
}

#[test]
fn caps_are_kept() {
    let deep = "[".repeat(100_000);
    assert_eq!(read_text(&deep).unwrap_err().cause, Cause::TooLarge);
    let limits = Limits { depth: 3, nodes: 5, bytes: 40, documents: 1 };
    assert!(read(b"[[[1]]]", &limits).is_ok());
    assert!(read(b"[[[[]]]]", &limits).unwrap_err().message.contains("3 levels"));
    assert!(read(b"[1,2,3,4]", &limits).is_ok());
    assert!(read(b"[1,2,3,4,5]", &limits).unwrap_err().message.contains("5 values"));
    assert_eq!(read(&[b' '; 41], &limits).unwrap_err().cause, Cause::TooLarge);
}

#[test]
fn a_json_value_becomes_the_tree_that_its_text_is_read_as() {
    let text = r#"{"a":{"b":[1,2.5,"c",false,null]},"n":9223372036854775808}"#;
    let value: serde_json::Value = serde_json::from_str(text).unwrap();
    assert_eq!(Node::from_json(&value), read_text(text).unwrap());
}

#[test]
fn a_large_map_finds_its_keys_and_its_duplicates() {
    let fields: Vec<String> = (0..500).map(|index| format!("\"k{index}\":{index}")).collect();
    let node = read_text(&format!("{{{}}}", fields.join(","))).unwrap();
    assert_eq!(node.get("k499").and_then(Node::as_int), Some(499));
    assert!(node.get("k500").is_none());
    let error = read_text(&format!("{{{},\"k7\":0}}", fields.join(","))).unwrap_err();
    assert!(error.message.contains("'k7'"));
}
