//! Every check is shown a snippet that it must refuse, and one beside it that it must not.

use super::*;

fn source(text: &str) -> Source {
    Source::new("daemon/src/cli/check.rs", text)
}

/// How many violations a check finds in each snippet.
fn counts(check: impl Fn(&Source) -> Vec<String>, snippets: &[&str]) -> Vec<usize> {
    snippets.iter().map(|snippet| check(&source(snippet)).len()).collect()
}

#[test]
fn impurity_is_found_however_it_is_written() {
    let wrong = [
        "use std::fs;",
        "use std::{collections::BTreeMap, env};",
        "let x = std :: env::var(name);",
        "use std::process::Command;",
        "use std::net::TcpStream;",
        "use std::time::SystemTime;",
        "use std::time; fn f() { time::Instant::now(); }",
        "use std::*;",
        "let t = jiff::Timestamp::now();",
        "let t = Zoned::now();",
        "async fn f() {}",
        "let x = f().await;",
        "tokio::spawn(x);",
        "rand::random();",
        "getrandom::fill(&mut bytes);",
        "println!(\"x\");",
        "std::io::stdin().read();",
    ];
    for snippet in wrong {
        assert_ne!(impure(&source(snippet)), [""; 0], "{snippet}");
    }
    let right = "// std::fs\nuse std::time::Duration; use std::{net::Ipv6Addr, process::ExitCode}; use std::io::Write; const X: &str = \"tokio::spawn\"; \
                 include_str!(\"a\"); fn tokio() {} #[cfg(test)] mod tests { use std::fs; }";
    assert_eq!(impure(&source(right)), ["daemon/src/cli/check.rs:2: `tokio` is not for a pure crate"]);
}

#[test]
fn every_way_to_start_a_task_is_found() {
    let wrong = [
        "tokio::spawn(x);",
        "tokio::task::spawn(x);",
        "use tokio::task::spawn_blocking;",
        "std::thread::spawn(x);",
        "use std::thread; fn f() { thread::spawn(x); }",
        "use tokio::task::JoinSet;",
        "let h = handle.spawn_blocking(x);",
    ];
    assert_eq!(counts(spawns, &wrong), [1; 7]);
    assert_eq!(counts(spawns, &["supervisor.spawn(\"x\", y);", "Command::new(\"git\").spawn()"]), [0; 2]);
}

#[test]
fn a_door_does_not_know_another_door() {
    let wrong = [
        "use crate::admission::Server;",
        "use crate::{store, http};",
        "crate::controllers::run();",
        "use super::super::http::page;",
        "use portreeve::admission;",
    ];
    assert_eq!(counts(door_imports, &wrong), [1; 5]);
    assert_eq!(counts(door_imports, &["use crate::judge::Judge; use super::verify; use http::StatusCode;"]), [0]);
    let elsewhere = Source::new("daemon/src/serve.rs", "use crate::{admission, http};");
    assert_eq!(door_imports(&elsewhere), [""; 0]);
}

#[test]
fn only_the_judge_calls_the_rules() {
    let wrong = [
        "Engine::new(x);",
        "use portreeve_policies::engine::Engine;",
        "portreeve_trust::verify::verify(x);",
        "portreeve_secrets::credentials::rules::findings(x);",
    ];
    assert_eq!(counts(rule_calls, &wrong), [1; 4]);
    let right = ["use base64::Engine as _;", "use portreeve_trust::verify::VerifiedImage;", "judge.objects(x).await;"];
    assert_eq!(counts(rule_calls, &right), [0; 3]);
    assert_eq!(rule_calls(&Source::new("daemon/src/judge/mod.rs", wrong[0])), [""; 0]);
}

#[test]
fn panics_are_found_outside_tests_only() {
    assert_eq!(counts(panics, &["x.unwrap();", "panic!(\"x\")", "todo!()", "unimplemented!()"]), [1; 4]);
    assert_eq!(
        counts(panics, &["x.unwrap_or(1);", "#[cfg(test)] mod t { x.unwrap() }", "std::panic::catch()"]),
        [0; 3]
    );
}

#[test]
fn files_and_functions_have_a_hard_stop() {
    let long = format!("fn f() {{\n{}}}\n", "x;\n".repeat(79));
    assert_eq!(counts(sizes, &[&long, &long.replace("fn f() {\n", "fn f() {\n\n// why\n")]), [1; 2]);
    assert_eq!(counts(sizes, &[&"x;\n".repeat(800), &"x;\n".repeat(801)]), [0, 1]);
}

#[test]
fn every_mint_of_a_struct_is_counted() {
    let mints = |text: &str| struct_literals(&source(text), "Token").len();
    assert_eq!(mints("struct Token { a: u8 } impl Token { fn a(&self) -> Token { self.clone() } }"), 0);
    assert_eq!(
        mints("impl Token { fn new() -> Self { Self { a: 1 } } } impl Other { fn new() -> Self { Self { b: 1 } } }"),
        1
    );
    assert_eq!(mints("fn f() -> Token { Token { a: 1 } } fn g() { h(Token(1)); }"), 2);
    assert_eq!(mints("impl Make for Token { fn make() -> Self { Self { a: 1 } } }"), 1);
}

#[test]
fn a_variant_that_is_made_is_told_from_one_that_is_matched() {
    let made = |text: &str| variant_literals(&source(text), "Fact", "Verified").len();
    assert_eq!(made("let x = Fact::Verified { digest, authorities };"), 1);
    assert_eq!(made("Some(Fact::Verified { digest: digest.clone() })"), 1);
    assert_eq!(made("use super::Fact::*;"), 1);
    assert_eq!(made("use crate::Fact::{Unsigned, Verified};"), 1);
    assert_eq!(made("match x { Fact::Verified { digest } => 1, Some(Fact::Verified { digest }) if y => 2 }"), 0);
    assert_eq!(made("if let Fact::Verified { digest } = x {} matches!(x, Fact::Verified { .. })"), 0);
}

#[test]
fn a_struct_that_others_could_make_is_open() {
    let open = |text: &str| open_struct(&source(text), "Token").len();
    assert_eq!(open("#[derive(Clone, Debug)] pub struct Token { a: u8 }"), 0);
    assert_eq!(open("#[derive(Clone, Deserialize)] pub struct Token { a: u8 }"), 1);
    assert_eq!(open("#[derive(Default)] #[serde(x)] struct Token { pub a: u8 }"), 2);
    assert_eq!(open("pub struct Token { pub(crate) a: u8 }"), 1);
    assert_eq!(open("impl<'de> Deserialize<'de> for Token { }"), 1);
    assert_eq!(open("#[derive(Deserialize)] struct Other { a: u8 } pub struct Token { a: u8 }"), 0);
}

#[test]
fn arrows_that_are_not_in_the_table_are_wrong() {
    let table = BTreeMap::from([("base", vec![]), ("top", vec!["base"]), ("later", vec!["base"])]);
    let edges = |list: &[(&str, &str)]| {
        let mut edges = BTreeMap::from([("base".to_owned(), vec![]), ("top".to_owned(), vec![])]);
        list.iter().for_each(|(from, to)| edges.entry((*from).to_owned()).or_default().push((*to).to_owned()));
        edges
    };
    assert_eq!(wrong_arrows(&edges(&[("top", "base")]), &table, &["later"]), [""; 0]);
    assert_eq!(wrong_arrows(&edges(&[("base", "top")]), &table, &["later"]), ["base -> top"]);
    assert_eq!(wrong_arrows(&edges(&[("new", "base")]), &table, &["later"]).len(), 1);
    assert_eq!(wrong_arrows(&edges(&[]), &table, &[]), ["later: is gone"]);
}
