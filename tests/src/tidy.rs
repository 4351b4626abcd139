//! What the house forbids (the invariants of ARCHITECTURE.md), as checks over sources. A check gives every violation
//! as `file:line: what`.

use std::collections::BTreeMap;

use crate::source_scan::{CodePath, Source};

/// Words that a pure crate does not use: they read a clock, random bytes or a terminal, or wait.
const IMPURE_WORDS: [&str; 12] = [
    "async",
    "await",
    "SystemTime",
    "Instant",
    "OsRng",
    "SystemRandom",
    "thread_rng",
    "println",
    "eprintln",
    "print",
    "eprint",
    "dbg",
];

/// Where paths of a pure crate do not start.
const IMPURE_PATHS: [&[&str]; 18] = [
    &["std", "fs"],
    &["std", "env"],
    &["std", "process"],
    &["std", "net", "TcpStream"],
    &["std", "net", "TcpListener"],
    &["std", "net", "UdpSocket"],
    &["std", "net", "*"],
    &["std", "thread"],
    &["std", "os"],
    &["std", "self"],
    &["std", "*"],
    &["std", "io", "stdin"],
    &["std", "io", "stdout"],
    &["std", "io", "stderr"],
    &["tokio"],
    &["futures"],
    &["rand"],
    &["getrandom"],
];

/// Types in those places that are plain values.
const PLAIN_VALUES: [&[&str]; 1] = [&["std", "process", "ExitCode"]];

/// How paths of a pure crate do not end.
const IMPURE_ENDS: [&[&str]; 6] = [
    &["Timestamp", "now"],
    &["Zoned", "now"],
    &["Path", "exists"],
    &["io", "stdin"],
    &["io", "stdout"],
    &["io", "stderr"],
];

/// How a path to something that starts a task or a thread ends.
const SPAWNS: [&[&str]; 8] = [
    &["tokio", "spawn"],
    &["task", "spawn"],
    &["task", "spawn_blocking"],
    &["task", "spawn_local"],
    &["thread", "spawn"],
    &["thread", "scope"],
    &["thread", "Builder"],
    &["task", "JoinSet"],
];

/// The rooms of the daemon that do not know each other.
pub const DOORS: [&str; 4] = ["admission", "controllers", "cli", "http"];

/// I/O, clock, environment, processes, randomness and waiting in a crate that has none.
pub fn impure(source: &Source) -> Vec<String> {
    let is_impure = |path: &CodePath| {
        let plain = PLAIN_VALUES.iter().any(|value| path.segments.starts_with(&owned(value)));
        let starts = IMPURE_PATHS.iter().any(|start| path.segments.starts_with(&owned(start)));
        (starts && !plain) || IMPURE_ENDS.iter().any(|end| path.segments.ends_with(&owned(end)))
    };
    let mut found = report_paths(source, is_impure, "is not for a pure crate");
    let words = source.tokens.iter().filter(|token| IMPURE_WORDS.contains(&token.text.as_str()));
    found
        .extend(words.map(|token| format!("{}:{}: `{}` is not for a pure crate", source.path, token.line, token.text)));
    found
}

/// Places that start a task or a thread.
pub fn spawns(source: &Source) -> Vec<String> {
    let is_spawn = |path: &CodePath| {
        SPAWNS.iter().any(|end| path.segments.ends_with(&owned(end)))
            || path.segments.iter().any(|word| word == "spawn_blocking" || word == "JoinSet")
    };
    report_paths(source, is_spawn, "starts a task outside the supervisor")
}

/// A door of the daemon that names another door.
pub fn door_imports(source: &Source) -> Vec<String> {
    let own = room(source);
    let Some(own) = own.filter(|room| DOORS.contains(room)) else { return Vec::new() };
    let names_other = |path: &CodePath| {
        let inside = path.segments.iter().skip_while(|word| *word == "super" || *word == "self");
        let from_root = ["crate", "portreeve", "super"].contains(&path.segments[0].as_str());
        let target = inside.into_iter().find(|word| *word != "crate" && *word != "portreeve");
        from_root && target.is_some_and(|room| room != own && DOORS.contains(&room.as_str()))
    };
    report_paths(source, names_other, "is another door")
}

/// A room of the daemon other than `judge` that calls the rules.
pub fn rule_calls(source: &Source) -> Vec<String> {
    if room(source) == Some("judge") {
        return Vec::new();
    }
    let calls = |path: &CodePath| {
        let names: Vec<_> = path.segments.iter().map(String::as_str).collect();
        let engine = names.iter().position(|name| *name == "Engine").is_some_and(|at| at + 1 < names.len());
        let verifies = names.starts_with(&["portreeve_trust", "verify"]) && names.last() != Some(&"VerifiedImage");
        let credentials = names.starts_with(&["portreeve_secrets", "credentials", "rules"]);
        let of_secrets = [["portreeve_secrets", "sops", "findings"], ["portreeve_secrets", "sync", "secret_findings"]];
        let secrets = of_secrets.iter().any(|rule| names.starts_with(rule));
        (engine && !path.imported)
            || names.starts_with(&["portreeve_policies", "engine"])
            || names.starts_with(&["portreeve_policies", "image_contract", "findings"])
            || verifies
            || credentials
            || secrets
    };
    report_paths(source, calls, "calls the rules; only `judge` does")
}

/// `unwrap()`, `panic!` and unfinished code outside tests.
pub fn panics(source: &Source) -> Vec<String> {
    let is_panic = |at: &usize| {
        let (before, word, after) = (source.text(at.wrapping_sub(1)), source.text(*at), source.text(at + 1));
        match word {
            "unwrap" => before == "." && after == "(",
            "panic" | "todo" | "unimplemented" => after == "!",
            _ => false,
        }
    };
    let found = (0..source.tokens.len()).filter(is_panic).map(|at| &source.tokens[at]);
    found.map(|token| format!("{}:{}: `{}` outside tests", source.path, token.line, token.text)).collect()
}

/// Files and functions beyond the hard stops.
pub fn sizes(source: &Source) -> Vec<String> {
    let file = (source.lines > 800).then(|| format!("{}: {} lines, more than 800", source.path, source.lines));
    let long = source.functions.iter().filter(|function| function.lines > 80);
    let functions = long
        .map(|long| format!("{}:{}: `{}` has {} lines, more than 80", source.path, long.line, long.name, long.lines));
    file.into_iter().chain(functions).collect()
}

/// The places where a value of a struct is made: literals of its name, and of `Self` in its `impl` blocks.
pub fn struct_literals(source: &Source, name: &str) -> Vec<String> {
    let ranges = impl_blocks(source, name);
    let makes = |at: &usize| {
        let (before, word, after) = (source.text(at.wrapping_sub(1)), source.text(*at), source.text(at + 1));
        let is_self = word == "Self" && ranges.iter().any(|(start, end)| (*start..*end).contains(at));
        let declares = ["struct", "impl", "for", "let", "->", "enum"].contains(&before);
        (word == name || is_self) && !declares && (after == "{" || after == "(")
    };
    (0..source.tokens.len()).filter(makes).map(|at| place(source, at)).collect()
}

/// The places where a variant with fields is made, patterns left out.
pub fn variant_literals(source: &Source, owner: &str, variant: &str) -> Vec<String> {
    let makes = |at: &usize| {
        let path = [source.text(*at), source.text(at + 1), source.text(at + 2), source.text(at + 3)];
        path == [owner, "::", variant, "{"] && !is_pattern(source, at + 3)
    };
    let imports = source.paths().into_iter().filter(|path| {
        let from = path.segments.iter().position(|word| word == owner);
        path.imported
            && from.is_some_and(|at| path.segments.get(at + 1).is_some_and(|name| name == variant || name == "*"))
    });
    let imports = imports.map(|path| format!("{}:{}: imports the variants of {owner}", source.path, path.line));
    (0..source.tokens.len()).filter(makes).map(|at| place(source, at)).chain(imports).collect()
}

/// What is wrong with a struct that only its own module may make: public fields, or a trait that makes one from data.
pub fn open_struct(source: &Source, name: &str) -> Vec<String> {
    let is_declared = |at: &usize| source.text(*at) == "struct" && source.text(at + 1) == name;
    let mut found = Vec::new();
    for at in (0..source.tokens.len()).filter(is_declared) {
        let body = source.closed(at + 2);
        let public = (at + 2..body).filter(|field| source.text(*field) == "pub");
        found.extend(public.map(|field| format!("{}: a field of {name} is public", place(source, field))));
        let derives = attributes_before(source, at).into_iter().filter(|word| is_maker(source.text(*word)));
        found.extend(derives.map(|word| format!("{}: {name} derives {}", place(source, word), source.text(word))));
    }
    let implements = |at: &usize| is_maker(source.text(*at)) && implemented_for(source, *at) == Some(name);
    found.extend((0..source.tokens.len()).filter(implements).map(|at| format!("{}: is for {name}", place(source, at))));
    found
}

/// Edges between workspace members that the table does not allow, members it does not know, and members that are gone.
pub fn wrong_arrows(
    edges: &BTreeMap<String, Vec<String>>,
    allowed: &BTreeMap<&str, Vec<&str>>,
    planned: &[&str],
) -> Vec<String> {
    let mut found = Vec::new();
    for (member, targets) in edges {
        match allowed.get(member.as_str()) {
            None => found.push(format!("{member}: is not a member that the table of arrows knows")),
            Some(allowed) => found.extend(
                targets
                    .iter()
                    .filter(|target| !allowed.contains(&target.as_str()))
                    .map(|target| format!("{member} -> {target}")),
            ),
        }
    }
    let missing = allowed.keys().filter(|member| !edges.contains_key(**member) && !planned.contains(*member));
    found.extend(missing.map(|member| format!("{member}: is gone")));
    found
}

fn is_maker(word: &str) -> bool {
    ["Deserialize", "DeserializeOwned", "Default", "Arbitrary"].contains(&word)
}

/// `X` of `impl … Trait<…> for X`, for a trait that stands at this index.
fn implemented_for(source: &Source, at: usize) -> Option<&str> {
    let end = (at + 1..at + 8).find(|next| source.text(*next) == "for")?;
    Some(source.text(end + 1))
}

/// Indices of the words in the attributes right before a declaration.
fn attributes_before(source: &Source, declaration: usize) -> Vec<usize> {
    let before = (0..declaration).rev();
    before.take_while(|at| !["}", ";", "{"].contains(&source.text(*at))).collect()
}

/// Ranges of `impl NAME { … }` and `impl … for NAME { … }`.
fn impl_blocks(source: &Source, name: &str) -> Vec<(usize, usize)> {
    let opens = |at: &usize| {
        let before = source.text(at.wrapping_sub(1));
        source.text(*at) == name && source.text(at + 1) == "{" && (before == "impl" || before == "for")
    };
    (0..source.tokens.len()).filter(opens).map(|at| (at, source.closed(at + 1))).collect()
}

/// Whether braces at this index belong to a pattern: they end in `..`, or an arm, a `let` or a guard follows.
fn is_pattern(source: &Source, open: usize) -> bool {
    let behind = source.closed(open);
    let rest = source.text(behind.saturating_sub(2)) == "..";
    let follower = (behind..source.tokens.len()).map(|at| source.text(at)).find(|word| *word != ")");
    rest || follower.is_some_and(|word| ["=>", "=", "|", "if"].contains(&word))
}

/// The room of the daemon that a source belongs to.
fn room(source: &Source) -> Option<&str> {
    let inside = source.path.strip_prefix("daemon/src/")?;
    inside.split('/').next().map(|first| first.trim_end_matches(".rs"))
}

fn place(source: &Source, at: usize) -> String {
    format!("{}:{}", source.path, source.tokens[at].line)
}

fn report_paths(source: &Source, is_wrong: impl Fn(&CodePath) -> bool, what: &str) -> Vec<String> {
    let wrong = source.paths().into_iter().filter(is_wrong);
    wrong.map(|path| format!("{}:{}: `{}` {what}", source.path, path.line, path.segments.join("::"))).collect()
}

fn owned(words: &[&str]) -> Vec<String> {
    words.iter().map(|&word| word.to_owned()).collect()
}

#[cfg(test)]
mod tests;
