//! Input that means harm: told in a sentence, within bounds.

use std::time::{Duration, Instant};

use portreeve_tests::process::START;

use super::safe::{Safe, key};

fn alias_bomb() -> String {
    let mut text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..12 {
        let below = format!("*a{}, ", level - 1).repeat(10);
        text.push_str(&format!("a{level}: &a{level} [{}]\n", below.trim_end_matches(", ")));
    }
    text
}

#[tokio::test]
async fn hostile_files_are_refused_within_time_and_memory() {
    let safe = Safe::new();
    let deep_flow = format!("a: {}{}\n", "[".repeat(100_000), "]".repeat(100_000));
    let deep_block: String = (0..400).map(|level| format!("{}a:\n", " ".repeat(level))).collect();
    let cases: [(&str, Vec<u8>); 8] = [
        ("alias bomb", alias_bomb().into_bytes()),
        ("deep flow", deep_flow.into_bytes()),
        ("deep block", deep_block.into_bytes()),
        ("50 MB", vec![b'a'; 50_000_000]),
        ("NUL", b"a: \0\n".to_vec()),
        ("not UTF-8", b"a: \xff\xfe\n".to_vec()),
        ("alias of itself", b"a: &a [*a]\n".to_vec()),
        ("nothing but comments", b"# x\n".repeat(200_000)),
    ];
    for (name, bytes) in cases {
        let file = safe.0.file("hostile.yaml", bytes);
        for command in ["decrypt", "encrypt"] {
            let begun = Instant::now();
            let arguments = ["secrets", command, "--output", "out.yaml", file.to_str().unwrap()];
            let arguments = if command == "encrypt" {
                [&arguments[..2], &["--age", &key().recipient][..], &arguments[2..]].concat()
            } else {
                arguments.to_vec()
            };
            let measured = safe.0.run_measured(&arguments, START).await;
            let code = measured.output.code;
            assert!(
                matches!(code, Some(1 | 2 | 92 | 128)) || name.contains("comments"),
                "{command} {name}: {code:?} {}",
                measured.output.stderr
            );
            assert!(measured.output.stderr.len() < 2000, "{command} {name}: {}", measured.output.stderr.len());
            assert!(measured.peak_memory < 600 << 20, "{command} {name}: {} bytes", measured.peak_memory);
            assert!(begun.elapsed() < Duration::from_secs(60), "{command} {name}: {:?}", begun.elapsed());
        }
    }
}

#[test]
fn lies_in_the_sops_block_are_refused() {
    let safe = Safe::with("a: x\n");
    let file = safe.0.read("secret.yaml");
    let head = file.split("    age:\n").next().unwrap();
    for (name, block) in [
        ("no keys", "    mac: x\n    lastmodified: \"2020-01-01T00:00:00Z\"\n    version: 3.13.3\n".to_owned()),
        ("many recipients", format!("    age:\n{}", "        - {recipient: age1x, enc: y}\n".repeat(1000))),
        ("a long stanza", format!("    age:\n        - {{recipient: age1x, enc: {}}}\n", "y".repeat(100_000))),
        ("two rules", "    encrypted_regex: a\n    unencrypted_suffix: b\n    age: [{enc: x}]\n".to_owned()),
        ("no regex", "    encrypted_regex: '('\n    age: [{enc: x}]\n".to_owned()),
        ("age is text", "    age: x\n".to_owned()),
    ] {
        let rest = "    lastmodified: \"2020-01-01T00:00:00Z\"\n    version: 3.13.3\n";
        let rest = if block.contains("lastmodified") { "" } else { rest };
        safe.0.file("lies.yaml", format!("{head}{block}{rest}"));
        let output = safe.ours(&["decrypt", "lies.yaml"]);
        assert!(matches!(output.code, Some(1 | 2 | 8)), "{name}: {:?} {}", output.code, output.stderr);
        assert_eq!(output.stdout, "", "{name}");
    }
}
