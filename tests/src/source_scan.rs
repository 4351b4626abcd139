//! A reader of Rust sources that is just good enough for the tidy test: tokens without comments, strings and test
//! code, paths with `use` trees written out, functions with their sizes.

use std::path::{Path, PathBuf};

use crate::OrFail;

/// The attribute of what exists in tests only.
const CFG_TEST: [&str; 7] = ["#", "[", "cfg", "(", "test", ")", "]"];

/// A token and the line it stands on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    /// An identifier, a number, or punctuation (`::`, `->`, `=>`, `==` and `..` are one token).
    pub text: String,
    /// 1-based.
    pub line: usize,
}

/// A path as it would be written in full from where it starts: `std::time::Instant`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CodePath {
    /// Its segments.
    pub segments: Vec<String>,
    /// 1-based.
    pub line: usize,
    /// Whether a `use` names it.
    pub imported: bool,
}

/// A function with a body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Function {
    /// Its name.
    pub name: String,
    /// The line of `fn`, 1-based.
    pub line: usize,
    /// Lines of code from `fn` to the closing brace; blank lines and comments do not count.
    pub lines: usize,
}

/// A source file.
#[derive(Clone, Debug)]
pub struct Source {
    /// Relative to the repository, with `/`.
    pub path: String,
    /// All lines.
    pub lines: usize,
    /// The tokens outside tests.
    pub tokens: Vec<Token>,
    /// The functions outside tests.
    pub functions: Vec<Function>,
    /// Modules under `#[cfg(test)]` in files of their own: paths without `.rs`.
    test_modules: Vec<String>,
}

impl Source {
    /// Reads a text as the source of this path.
    pub fn new(path: &str, text: &str) -> Self {
        let code = blank(text);
        let all = tokens(&code);
        let tokens = without_tests(&all);
        let functions = functions(&tokens, &code);
        let test_modules = test_modules(path, &all);
        Self { path: path.to_owned(), lines: text.lines().count(), tokens, functions, test_modules }
    }

    /// Every `.rs` file below a folder of the repository, in order; those that hold only tests are left out but for their
    /// length.
    pub fn below(repository: &Path, folder: &str) -> Vec<Self> {
        let mut files = Vec::new();
        collect(&repository.join(folder), &mut files);
        files.sort();
        let read = |file: &PathBuf| {
            let path = file.strip_prefix(repository).or_fail("a source is in the repository").display().to_string();
            Self::new(&path, &std::fs::read_to_string(file).or_fail(&path))
        };
        without_test_files(files.iter().map(read).collect())
    }

    /// All paths outside tests.
    pub fn paths(&self) -> Vec<CodePath> {
        let mut paths = Vec::new();
        let mut at = 0;
        while at < self.tokens.len() {
            at = if self.text(at) == "use" { self.import(at + 1, &mut paths) } else { self.inline(at, &mut paths) };
        }
        paths
    }

    /// Whether there is anything but tests.
    pub fn has_code(&self) -> bool {
        !self.tokens.is_empty()
    }

    /// The text of a token; empty before the start and after the end.
    pub fn text(&self, at: usize) -> &str {
        self.tokens.get(at).map_or("", |token| token.text.as_str())
    }

    /// The index behind the bracket that closes the one at this index.
    pub fn closed(&self, open: usize) -> usize {
        closed(&self.tokens, open)
    }

    fn inline(&self, start: usize, paths: &mut Vec<CodePath>) -> usize {
        if !is_word(self.text(start)) {
            return start + 1;
        }
        let mut segments = vec![self.text(start).to_owned()];
        let mut at = start + 1;
        while self.text(at) == "::" && is_word(self.text(at + 1)) {
            segments.push(self.text(at + 1).to_owned());
            at += 2;
        }
        if start == 0 || self.text(start - 1) != "::" {
            paths.push(CodePath { segments, line: self.tokens[start].line, imported: false });
        }
        at
    }

    /// Writes out a `use` tree; gives the index behind its `;`.
    fn import(&self, start: usize, paths: &mut Vec<CodePath>) -> usize {
        let mut prefix: Vec<String> = Vec::new();
        let mut marks = vec![0];
        let mut at = start;
        let mut renamed = false;
        while at < self.tokens.len() {
            match self.text(at) {
                "{" => marks.push(prefix.len()),
                "," | "}" | ";" => {
                    let mark = marks.last().copied().unwrap_or(0);
                    if prefix.len() > mark && self.text(at - 1) != "}" {
                        paths.push(CodePath {
                            segments: prefix.clone(),
                            line: self.tokens[at - 1].line,
                            imported: true,
                        });
                    }
                    match self.text(at) {
                        ";" => return at + 1,
                        "}" => prefix.truncate(marks.pop().unwrap_or(0)),
                        _ => prefix.truncate(mark),
                    }
                    renamed = false;
                }
                "as" => renamed = true,
                "::" => {}
                _ if renamed => {}
                word => prefix.push(word.to_owned()),
            }
            at += 1;
        }
        at
    }
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    for entry in entries {
        let path = entry.or_fail("an entry of a folder").path();
        match path.extension() {
            _ if path.is_dir() => collect(&path, files),
            Some(extension) if extension == "rs" => files.push(path),
            _ => {}
        }
    }
}

/// Empties the sources that a `#[cfg(test)] mod name;` leads to.
fn without_test_files(mut sources: Vec<Source>) -> Vec<Source> {
    let modules: Vec<_> = sources.iter().flat_map(|source| source.test_modules.clone()).collect();
    let is_test = |path: &str| {
        let name = path.trim_end_matches(".rs");
        modules.iter().any(|module| name == module || name.starts_with(&format!("{module}/")))
    };
    for source in sources.iter_mut().filter(|source| is_test(&source.path)) {
        source.tokens.clear();
        source.functions.clear();
    }
    sources
}

/// Where the modules under `#[cfg(test)]` of a file are, when they have files of their own.
fn test_modules(path: &str, tokens: &[Token]) -> Vec<String> {
    let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
    let base = match name {
        "lib.rs" | "main.rs" | "mod.rs" => folder.to_owned(),
        _ => path.trim_end_matches(".rs").to_owned(),
    };
    let declares = |at: &usize| {
        starts_with(&tokens[*at..], &CFG_TEST)
            && tokens[*at..].get(CFG_TEST.len()).is_some_and(|token| token.text == "mod")
            && tokens[*at..].get(CFG_TEST.len() + 2).is_some_and(|token| token.text == ";")
    };
    let found = (0..tokens.len()).filter(declares);
    found.map(|at| format!("{base}/{}", tokens[at + CFG_TEST.len() + 1].text)).collect()
}

fn is_word(text: &str) -> bool {
    text.starts_with(|first: char| first.is_alphabetic() || first == '_')
}

/// The text with comments, strings, characters and lifetimes made blank; lines stay.
pub fn blank(text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    let mut code = String::with_capacity(text.len());
    let mut at = 0;
    while at < chars.len() {
        let end = skipped(&chars, at);
        if end == at {
            code.push(chars[at]);
            at += 1;
        } else {
            code.extend(chars[at..end].iter().map(|&char| if char == '\n' { '\n' } else { ' ' }));
            at = end;
        }
    }
    code
}

/// The end of what is no code at this index; the index itself when code stands there.
fn skipped(chars: &[char], at: usize) -> usize {
    let next = |offset: usize| chars.get(at + offset).copied().unwrap_or('\0');
    let in_word = at > 0 && (chars[at - 1].is_alphanumeric() || chars[at - 1] == '_');
    match (next(0), next(1)) {
        ('/', '/') => find(chars, at, |char| char == '\n'),
        ('/', '*') => comment_end(chars, at),
        ('"', _) => quoted_end(chars, at + 1, '"'),
        ('r', '"' | '#') if !in_word => raw_end(chars, at + 1).unwrap_or(at),
        ('b' | 'c', 'r') if !in_word => raw_end(chars, at + 2).unwrap_or(at),
        ('\'', '\\') => quoted_end(chars, at + 1, '\''),
        ('\'', _) if next(2) == '\'' => at + 3,
        ('\'', _) => find(chars, at + 1, |char| !char.is_alphanumeric() && char != '_'),
        _ => at,
    }
}

fn find(chars: &[char], from: usize, wanted: impl Fn(char) -> bool) -> usize {
    (from..chars.len()).find(|&at| wanted(chars[at])).unwrap_or(chars.len())
}

fn quoted_end(chars: &[char], from: usize, quote: char) -> usize {
    let mut at = from;
    while at < chars.len() && chars[at] != quote {
        at += if chars[at] == '\\' { 2 } else { 1 };
    }
    (at + 1).min(chars.len())
}

fn comment_end(chars: &[char], from: usize) -> usize {
    let (mut depth, mut at) = (0, from);
    while at < chars.len() {
        match (chars[at], chars.get(at + 1)) {
            ('/', Some('*')) => (depth, at) = (depth + 1, at + 2),
            ('*', Some('/')) => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            break;
        }
    }
    at.min(chars.len())
}

/// The end of a raw string whose hashes start here; `None` for a raw identifier.
fn raw_end(chars: &[char], from: usize) -> Option<usize> {
    let quote = find(chars, from, |char| char != '#');
    let hashes = quote - from;
    (chars.get(quote) == Some(&'"')).then_some(())?;
    let closes =
        |at: &usize| chars[*at] == '"' && chars[at + 1..].iter().take_while(|char| **char == '#').count() >= hashes;
    Some((quote + 1..chars.len()).find(closes).map_or(chars.len(), |at| at + 1 + hashes))
}

/// The tokens of blanked code.
fn tokens(code: &str) -> Vec<Token> {
    let mut tokens = Vec::new();
    for (number, line) in code.lines().enumerate() {
        let mut rest = line.trim_start();
        while let Some(first) = rest.chars().next() {
            let length = match first {
                _ if first.is_alphanumeric() || first == '_' => {
                    rest.find(|char: char| !char.is_alphanumeric() && char != '_').unwrap_or(rest.len())
                }
                _ if ["::", "->", "=>", "==", ".."].iter().any(|joint| rest.starts_with(joint)) => 2,
                _ => first.len_utf8(),
            };
            tokens.push(Token { text: rest[..length].to_owned(), line: number + 1 });
            rest = rest[length..].trim_start();
        }
    }
    tokens
}

/// The index behind the bracket that closes the one at `open`.
fn closed(tokens: &[Token], open: usize) -> usize {
    let mut depth = 0;
    for (at, token) in tokens.iter().enumerate().skip(open) {
        match token.text.as_str() {
            "(" | "[" | "{" => depth += 1,
            ")" | "]" | "}" => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return at + 1;
        }
    }
    tokens.len()
}

/// The tokens without items under `#[cfg(test)]`.
fn without_tests(tokens: &[Token]) -> Vec<Token> {
    let mut kept = Vec::with_capacity(tokens.len());
    let mut at = 0;
    while at < tokens.len() {
        if starts_with(&tokens[at..], &CFG_TEST) {
            at = item_end(tokens, at);
        } else {
            kept.push(tokens[at].clone());
            at += 1;
        }
    }
    kept
}

/// The end of an item that starts with attributes: its `;`, or the brace that closes its body.
fn item_end(tokens: &[Token], start: usize) -> usize {
    let mut at = start;
    while at < tokens.len() {
        match tokens[at].text.as_str() {
            ";" => return at + 1,
            "{" => return closed(tokens, at),
            "(" | "[" => at = closed(tokens, at),
            _ => at += 1,
        }
    }
    at
}

fn starts_with(tokens: &[Token], words: &[&str]) -> bool {
    tokens.len() >= words.len() && tokens.iter().zip(words).all(|(token, word)| token.text == *word)
}

fn functions(tokens: &[Token], code: &str) -> Vec<Function> {
    let lines: Vec<&str> = code.lines().collect();
    let is_named = |at: &usize| tokens[*at].text == "fn" && tokens.get(at + 1).is_some_and(|name| is_word(&name.text));
    let measured = |at: usize| {
        let end = item_end(tokens, at);
        let (first, last) = (tokens[at].line, tokens[end - 1].line);
        let has_body = tokens[end - 1].text == "}";
        let counted = lines[first - 1..last].iter().filter(|line| !line.trim().is_empty()).count();
        has_body.then(|| Function { name: tokens[at + 1].text.clone(), line: first, lines: counted })
    };
    (0..tokens.len()).filter(is_named).filter_map(measured).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> String {
        let source = Source::new("x/src/a.rs", text);
        source.tokens.iter().map(|token| token.text.as_str()).collect::<Vec<_>>().join(" ")
    }

    fn paths(text: &str) -> Vec<String> {
        Source::new("x/src/a.rs", text).paths().iter().map(|path| path.segments.join("::")).collect()
    }

    #[test]
    fn comments_strings_and_characters_are_no_code() {
        assert_eq!(words("a // std::fs\n/* x /* y */ z */ b"), "a b");
        assert_eq!(words(r##"f("std::fs \" x", r#"a " b"#, b"c", 'x', '\'', '"') y"##), "f ( , , b , , , ) y");
        assert_eq!(words("fn f<'a>(x: &'a str) {}"), "fn f < > ( x : & str ) { }");
        assert_eq!(words("let r = r#async; br"), "let r = r # async ; br");
    }

    #[test]
    fn items_under_cfg_test_are_left_out_and_what_follows_is_not() {
        assert_eq!(words("a #[cfg(test)] mod tests { fn x() { { } } } b"), "a b");
        assert_eq!(words("#[cfg(test)] mod tests; b"), "b");
        assert_eq!(words("#[cfg(test)] #[path = \"x\"] fn y(a: [u8; 3]) { z } b"), "b");
        assert_eq!(words("#[cfg(feature)] fn y() {}"), "# [ cfg ( feature ) ] fn y ( ) { }");
        let sources =
            [("x/src/a.rs", "#[cfg(test)] mod check; mod real;"), ("x/src/a/check.rs", "y"), ("x/src/a/real.rs", "z")];
        let kept = without_test_files(sources.map(|(path, text)| Source::new(path, text)).to_vec());
        assert_eq!(kept.iter().map(|source| source.tokens.len()).collect::<Vec<_>>(), [3, 0, 1]);
    }

    #[test]
    fn use_trees_are_written_out() {
        let text = "use std::{fs, time::{self, Duration as D, Instant}, io::*}; use a::b;";
        let expected =
            ["std::fs", "std::time::self", "std::time::Duration", "std::time::Instant", "std::io::*", "a::b"];
        assert_eq!(paths(text), expected);
        assert_eq!(paths("let x = std :: env ::var(y);"), ["let", "x", "std::env::var", "y"]);
    }

    #[test]
    fn functions_are_measured_without_blank_lines_and_comments() {
        let text =
            "fn a() -> [u8; 2] {\n\n    // why\n    x;\n}\ntrait T { fn b(&self); fn c(&self) { } }\nlet f: fn(u8);";
        let functions = Source::new("x/src/a.rs", text).functions;
        let sizes: Vec<_> = functions.iter().map(|f| (f.name.as_str(), f.line, f.lines)).collect();
        assert_eq!(sizes, [("a", 1, 3), ("c", 6, 1)]);
    }
}
