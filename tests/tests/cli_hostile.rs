//! Bad input to the built binary: each is a clear error or `unknown`, within bounded time and memory, and never a pass.

use std::time::Duration;

use portreeve_tests::desk::{Desk, Measured, PRIVILEGED};
use portreeve_tests::process::run;

/// Generous: the binary is not optimized and the machine may be busy.
const DEADLINE: Duration = Duration::from_secs(240);
const GIBIBYTE: u64 = 1 << 30;

const POD: &str = "apiVersion: v1\nkind: Pod\nmetadata: {name: x}\n";

/// Checks the input and expects this exit, and less than a gibibyte.
async fn check(name: &str, content: impl AsRef<[u8]>, exit: i32) -> Measured {
    let desk = Desk::new();
    desk.file(name, content);
    let measured = desk.run_measured(&["check", name], DEADLINE).await;
    let end: String = measured.output.stdout.chars().take(2_000).collect();
    assert_eq!(measured.output.code, Some(exit), "{name}: {end}\n{}", measured.output.stderr);
    assert!(measured.peak_memory < GIBIBYTE, "{name}: {} bytes", measured.peak_memory);
    measured
}

/// An input of which nothing can be judged: unknown, with this word about it.
async fn unknown(name: &str, content: impl AsRef<[u8]>, word: &str) {
    let measured = check(name, content, 5).await;
    let said = &measured.output.stdout;
    assert!(said.contains("PR-0001") && said.contains(word), "{name}: {said}");
}

#[tokio::test]
async fn truncated_input_is_unknown_and_what_stands_before_it_is_judged() {
    unknown("truncated.yaml", format!("{POD}spec: {{containers: ["), "unreadable").await;
    unknown("truncated.json", r#"{"apiVersion":"v1","kind":"Pod","metadata":{"name":"x""#, "unreadable").await;
    let measured = check("after.yaml", format!("{PRIVILEGED}---\n{POD}spec: ["), 10).await;
    assert!(measured.output.stdout.contains("unknown (unreadable) PR-0001"), "{}", measured.output.stdout);
}

#[tokio::test]
async fn nesting_of_a_hundred_thousand_levels_is_too_large() {
    let (open, close) = ("[".repeat(100_000), "]".repeat(100_000));
    unknown("flow.yaml", format!("{POD}spec: {open}{close}"), "too-large").await;
    unknown("block.yaml", format!("{}a\n", "- ".repeat(100_000)), "too-large").await;
    unknown("lists.json", format!(r#"{{"apiVersion":"v1","kind":"Pod","spec":{open}{close}}}"#), "too-large").await;
    unknown("maps.json", format!("{}1{}", r#"{"a":"#.repeat(100_000), "}".repeat(100_000)), "too-large").await;
}

#[tokio::test]
async fn aliases_that_multiply_are_too_large() {
    let levels = (1..12).map(|level| {
        let aliases = vec![format!("*a{}", level - 1); 9].join(", ");
        format!("a{level}: &a{level} [{aliases}]\n")
    });
    unknown("laughs.yaml", format!("{POD}a0: &a0 [lol]\n{}", levels.collect::<String>()), "too-large").await;
    unknown("itself.yaml", format!("{POD}spec: &s {{containers: *s}}\n"), "unreadable").await;
}

#[tokio::test]
async fn a_key_that_is_written_twice_is_unknown_and_never_the_milder_of_two() {
    let twice = PRIVILEGED.replace("privileged: true", "privileged: true, privileged: false");
    unknown("twice.yaml", twice, "privileged").await;
    let json = r#"{"apiVersion":"v1","kind":"Pod","metadata":{"name":"x"},"spec":{"hostPID":true,"hostPID":false}}"#;
    unknown("twice.json", json, "hostPID").await;
}

#[tokio::test]
async fn bytes_that_are_no_text_are_unknown() {
    let bytes = PRIVILEGED.replace("web:1", "web:\u{1}").into_bytes();
    let bytes: Vec<u8> = bytes.into_iter().map(|byte| if byte == 1 { 0xff } else { byte }).collect();
    unknown("latin.yaml", bytes, "UTF-8").await;
    let wide: Vec<u8> = "\u{feff}a: 1".encode_utf16().flat_map(u16::to_le_bytes).collect();
    unknown("wide.yaml", wide, "UTF-16").await;
    unknown("zero.yaml", format!("{PRIVILEGED}\0\0"), "unreadable").await;
    unknown("random.json", (0..=255).cycle().take(100_000).collect::<Vec<u8>>(), "unreadable").await;
}

#[tokio::test]
async fn an_object_of_fifty_megabytes_is_judged_or_too_large_and_never_passes_unread() {
    let entries = (0..450_000).map(|number| format!("  k{number}: '{}'\n", "x".repeat(95)));
    let text =
        format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: big}}\ndata:\n{}", entries.collect::<String>());
    assert!(text.len() > 48_000_000);
    let measured = check("big.yaml", text, 5).await;
    assert!(measured.output.stdout.contains("unknown (too-large)"), "{}", measured.output.stdout);
    let padded = format!("{PRIVILEGED}# {}\n", "x".repeat(50 << 20));
    check("padded.yaml", padded, 10).await;
    unknown("beyond.yaml", format!("{PRIVILEGED}# {}\n", "x".repeat(65 << 20)), "too-large").await;
}

#[tokio::test]
async fn what_is_left_of_a_document_with_too_many_values_is_skipped_and_the_next_one_is_judged() {
    let list = format!("{POD}spec: [{}, \"\n---\n{PRIVILEGED}", "1,".repeat(8 << 20));
    let measured = check("list.yaml", list, 10).await;
    let said = &measured.output.stdout;
    assert!(said.contains("more than 2000000 values") && said.contains("C-0057"), "{said}");
}

#[tokio::test]
async fn two_hundred_thousand_documents_are_judged_as_far_as_there_is_room_and_the_rest_is_unknown() {
    let document = format!("---\n{POD}spec: {{containers: [{{name: a, image: x}}]}}\n");
    let measured = check("many.yaml", document.repeat(200_000), 10).await;
    let said = &measured.output.stdout;
    assert!(said.contains("more than 20000 documents; the rest is not read"), "what is not read is said");
    let items = format!("- {}\n", document.trim_start_matches("---\n").trim().replace('\n', "\n  "));
    let list = format!("apiVersion: v1\nkind: List\nitems:\n{}", items.repeat(200_000));
    unknown("list.yaml", list, "too-large").await;
    check("empty.yaml", "---\n".repeat(200_000), 3).await;
}

#[tokio::test]
async fn pipes_and_devices_without_an_end_are_bounded() {
    let desk = Desk::new();
    desk.file("folder/web.yaml", PRIVILEGED);
    run(std::process::Command::new("mkfifo").arg(desk.folder().join("folder/pipe.yaml")));
    let folder = desk.run_measured(&["check", "folder"], DEADLINE).await;
    assert_eq!(folder.output.code, Some(10), "a pipe in a folder is passed over: {}", folder.output.stderr);
    for arguments in [
        &["check", "/dev/zero"][..],
        &["check", "--exceptions", "/dev/zero", "folder"],
        &["check", "--config", "/dev/zero", "folder"],
        &["review", "/dev/zero"],
    ] {
        let measured = desk.run_measured(arguments, DEADLINE).await;
        let code = measured.output.code;
        assert!(code == Some(5) || code == Some(2), "{arguments:?}: {code:?}");
        assert!(measured.peak_memory < GIBIBYTE, "{arguments:?}: {} bytes", measured.peak_memory);
    }
}

#[tokio::test]
async fn text_of_an_input_moves_no_cursor_and_makes_no_annotation() {
    let desk = Desk::new();
    let name = r#""x\u001b[2J\n::error::pwned""#;
    desk.file("escape.yaml", PRIVILEGED.replace("name: web\n", &format!("name: {name}\n")));
    let output = desk.run(&["check", "escape.yaml"]);
    assert!(!matches!(output.code, Some(0)));
    let text = format!("{}{}", output.stdout, output.stderr);
    assert!(!text.contains('\u{1b}') && !text.lines().any(|line| line.starts_with("::")), "{text}");
}
