//! Documents to YAML, byte for byte as sops 3.13 writes it (indent 4, no folding).
//!
//! Comments are written where go-yaml v3 writes them, which for some is below the block after the one they came from:
//! a comment waits for the next place where one of its kind is written.

use zeroize::Zeroizing;

use super::super::error::{Error, Kind};
use super::super::limits;
use super::super::secret::SecretBytes;
use super::super::stamp;
use super::super::tree::{Branch, Comment, Item, Member, Value};
use super::style::{self, Style, Written};

/// Spaces of one level.
const INDENT: isize = 4;
/// Keys of more bytes are written with `?`.
const SIMPLE_KEY: usize = 128;

/// The YAML of documents.
pub(crate) fn emit(branches: &[Branch]) -> Result<SecretBytes, Error> {
    let mut emitter = Emitter::new();
    for (number, branch) in branches.iter().enumerate() {
        if number > 0 {
            emitter.write_indent();
            emitter.indicator("---", true, false, false);
            emitter.write_indent();
        }
        emitter.document(branch)?;
    }
    Ok(emitter.finish())
}

/// The YAML of a list by itself.
pub(crate) fn emit_list(items: &[Item]) -> Result<SecretBytes, Error> {
    let mut emitter = Emitter::new();
    emitter.head = lines(leading_items(items));
    emitter.write_head();
    emitter.list(items, Within::Root, Vec::new())?;
    emitter.end_document();
    Ok(emitter.finish())
}

/// The YAML of a leaf by itself, with a line end.
pub(crate) fn emit_leaf(value: &Value) -> Result<SecretBytes, Error> {
    let mut emitter = Emitter::new();
    emitter.node(value, Within::Root, Vec::new())?;
    emitter.end_document();
    Ok(emitter.finish())
}

/// Comments, each a line with its `#`, that wait to be written.
type Waiting = Vec<Zeroizing<Vec<u8>>>;

/// What a node stands in.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Within {
    Root,
    Map,
    List,
}

struct Emitter {
    out: Vec<u8>,
    column: isize,
    indent: isize,
    /// Only indentation was written on this line.
    indention: bool,
    whitespace: bool,
    /// Indentation of a foot that was just written: what comes next at it keeps a line's distance.
    foot_indent: isize,
    depth: usize,
    head: Waiting,
    line: Waiting,
    foot: Waiting,
    tail: Waiting,
}

fn line_of(comment: &Comment) -> Zeroizing<Vec<u8>> {
    let mut line = Zeroizing::new(vec![b'#']);
    line.extend_from_slice(comment.text.expose());
    line
}

fn lines(comments: Vec<&Comment>) -> Waiting {
    comments.into_iter().map(line_of).collect()
}

/// The comments before the first pair that go above the map: all of them when there is no pair.
fn leading_members(members: &[Member]) -> Vec<&Comment> {
    let has_pair = members.iter().any(|member| matches!(member, Member::Pair(..)));
    let comments = members.iter().map_while(|member| match member {
        Member::Comment(comment) => Some(comment),
        Member::Pair(..) => None,
    });
    comments.filter(|comment| !has_pair || !comment.inline).collect()
}

fn leading_items(items: &[Item]) -> Vec<&Comment> {
    let has_value = items.iter().any(|item| matches!(item, Item::Value(_)));
    let comments = items.iter().map_while(|item| match item {
        Item::Comment(comment) => Some(comment),
        Item::Value(_) => None,
    });
    comments.filter(|comment| !has_value || !comment.inline).collect()
}

/// The comments that a collection has before its content, and those behind the first value's line.
fn lead_of(value: &Value) -> Waiting {
    match value {
        Value::Map(members) => lines(leading_members(members)),
        Value::List(items) => lines(leading_items(items)),
        _ => Waiting::new(),
    }
}

impl Emitter {
    fn new() -> Self {
        Self {
            out: Vec::new(),
            column: 0,
            indent: -1,
            indention: true,
            whitespace: true,
            foot_indent: -1,
            depth: 0,
            head: Waiting::new(),
            line: Waiting::new(),
            foot: Waiting::new(),
            tail: Waiting::new(),
        }
    }

    fn finish(self) -> SecretBytes {
        SecretBytes::new(self.out)
    }

    fn document(&mut self, branch: &Branch) -> Result<(), Error> {
        self.head = lines(leading_members(branch));
        self.write_head();
        self.map(branch, Within::Root, Vec::new())?;
        self.end_document();
        Ok(())
    }

    fn end_document(&mut self) {
        self.write_line_comment();
        self.foot_indent = 0;
        self.write_foot();
        self.foot_indent = -1;
        self.write_indent();
    }

    fn put(&mut self, byte: u8) {
        self.out.push(byte);
        self.column += 1;
    }

    fn put_break(&mut self) {
        self.out.push(b'\n');
        self.column = 0;
        self.indention = true;
    }

    fn put_text(&mut self, text: &[u8]) {
        self.out.extend_from_slice(text);
        self.column += isize::try_from(text.len()).unwrap_or(isize::MAX / 2);
    }

    fn write_indent(&mut self) {
        let indent = self.indent.max(0);
        if !self.indention || self.column > indent || (self.column == indent && !self.whitespace) {
            self.put_break();
        }
        if self.foot_indent == indent {
            self.put_break();
        }
        while self.column < indent {
            self.put(b' ');
        }
        self.whitespace = true;
        self.foot_indent = -1;
    }

    fn indicator(&mut self, text: &str, needs_space: bool, is_space: bool, is_indention: bool) {
        if needs_space && !self.whitespace {
            self.put(b' ');
        }
        self.put_text(text.as_bytes());
        self.whitespace = is_space;
        self.indention = self.indention && is_indention;
    }

    fn write_comments(&mut self, comments: Waiting) {
        for (number, comment) in comments.iter().enumerate() {
            if number > 0 {
                self.write_indent();
            }
            self.put_text(comment);
            self.put_break();
        }
        self.whitespace = true;
    }

    fn write_head(&mut self) {
        let tail = std::mem::take(&mut self.tail);
        if !tail.is_empty() {
            self.write_indent();
            self.write_comments(tail);
            self.foot_indent = self.indent.max(0);
        }
        let head = std::mem::take(&mut self.head);
        if !head.is_empty() {
            self.write_indent();
            self.write_comments(head);
        }
    }

    fn write_line_comment(&mut self) {
        let line = std::mem::take(&mut self.line);
        if line.is_empty() {
            return;
        }
        if !self.whitespace {
            self.put(b' ');
        }
        self.write_comments(line);
    }

    fn write_foot(&mut self) {
        let foot = std::mem::take(&mut self.foot);
        if foot.is_empty() {
            return;
        }
        self.write_indent();
        self.write_comments(foot);
        self.foot_indent = self.indent.max(0);
    }

    /// The indentation within a node.
    fn increase(&mut self, within: Within, is_flow: bool) {
        self.indent = match (self.indent, within) {
            (..0, _) => {
                if is_flow {
                    INDENT
                } else {
                    0
                }
            }
            (indent, Within::List) => indent + 2,
            (indent, _) => INDENT * ((indent + INDENT) / INDENT),
        };
    }

    fn descend(&mut self) -> Result<(), Error> {
        self.depth += 1;
        if self.depth > limits::DEPTH {
            return Err(Error::new(Kind::TooLarge, format!("nested deeper than {} levels", limits::DEPTH)));
        }
        Ok(())
    }

    /// A node; `line` is the comment behind it.
    fn node(&mut self, value: &Value, within: Within, line: Waiting) -> Result<(), Error> {
        match value {
            Value::Map(members) => self.map(members, within, line),
            Value::List(items) => self.list(items, within, line),
            leaf => {
                self.line.extend(line);
                self.scalar(&written(leaf), within, false);
                Ok(())
            }
        }
    }

    fn map(&mut self, members: &[Member], within: Within, line: Waiting) -> Result<(), Error> {
        let outer = self.indent;
        if !members.iter().any(|member| matches!(member, Member::Pair(..))) {
            self.empty("{", "}", within, line);
            return Ok(());
        }
        self.descend()?;
        self.after_start();
        self.increase(within, false);
        let lead = leading_members(members).len();
        let (mut head, mut inline) = (Waiting::new(), Waiting::new());
        let mut skipped = 0;
        for member in members {
            match member {
                Member::Comment(comment) if comment.inline => inline.push(line_of(comment)),
                // Those were written above the map.
                Member::Comment(_) if skipped < lead => skipped += 1,
                Member::Comment(comment) => head.push(line_of(comment)),
                Member::Pair(key, value) => {
                    self.head.append(&mut head);
                    self.write_head();
                    self.pair(key, value, std::mem::take(&mut inline))?;
                }
            }
        }
        head.append(&mut inline);
        self.tail.append(&mut head);
        self.line.extend(line);
        self.write_head();
        self.indent = outer;
        self.depth -= 1;
        Ok(())
    }

    /// What go-yaml writes when a block begins is what waited from before.
    fn after_start(&mut self) {
        if self.depth > 1 {
            self.write_line_comment();
            self.write_foot();
        }
    }

    fn pair(&mut self, key: &str, value: &Value, inline: Waiting) -> Result<(), Error> {
        self.write_indent();
        let is_simple = key.len() <= SIMPLE_KEY && !key.contains(style::is_break);
        let name = style::of_text(key.as_bytes(), is_simple);
        if is_simple {
            self.scalar(&name, Within::Map, true);
            self.indicator(":", false, false, false);
        } else {
            self.indicator("?", true, false, true);
            self.scalar(&name, Within::Map, false);
            self.write_indent();
            self.indicator(":", true, false, true);
        }
        self.head.append(&mut lead_of(value));
        self.node(value, Within::Map, inline)?;
        if !matches!(value, Value::Map(_) | Value::List(_)) {
            self.write_line_comment();
            self.write_foot();
        }
        Ok(())
    }

    fn list(&mut self, items: &[Item], within: Within, line: Waiting) -> Result<(), Error> {
        let outer = self.indent;
        let Some(last) = items.iter().rposition(|item| matches!(item, Item::Value(_))) else {
            self.empty("[", "]", within, line);
            return Ok(());
        };
        self.descend()?;
        self.after_start();
        self.increase(within, false);
        let lead = leading_items(items).len();
        let (mut head, mut inline) = (Waiting::new(), Waiting::new());
        let mut skipped = 0;
        for (number, item) in items.iter().enumerate() {
            match item {
                Item::Comment(comment) if comment.inline => inline.push(line_of(comment)),
                // Those were written above the list.
                Item::Comment(_) if skipped < lead => skipped += 1,
                Item::Comment(comment) => head.push(line_of(comment)),
                Item::Value(value) => {
                    self.head.append(&mut head);
                    self.head.append(&mut lead_of(value));
                    let foot = if number == last { foot_of(items.get(number + 1..)) } else { Waiting::new() };
                    self.item(value, std::mem::take(&mut inline), foot)?;
                }
            }
        }
        self.line.extend(line);
        self.indent = outer;
        self.depth -= 1;
        Ok(())
    }

    fn item(&mut self, value: &Value, inline: Waiting, foot: Waiting) -> Result<(), Error> {
        self.write_head();
        self.write_indent();
        self.indicator("-", true, false, true);
        let is_block = matches!(value, Value::Map(_) | Value::List(_));
        self.node(value, Within::List, inline)?;
        self.foot.extend(foot);
        if !is_block {
            self.write_line_comment();
            self.write_foot();
        }
        Ok(())
    }

    fn empty(&mut self, open: &str, close: &str, within: Within, line: Waiting) {
        self.indicator(open, true, true, false);
        let outer = self.indent;
        self.increase(within, true);
        self.write_line_comment();
        self.write_foot();
        if open == "{" {
            self.write_head();
        }
        self.indent = outer;
        if self.column == 0 && open == "[" {
            self.write_indent();
        }
        self.indicator(close, false, false, false);
        self.line.extend(line);
        self.write_line_comment();
        self.write_foot();
    }

    fn scalar(&mut self, written: &Written, within: Within, is_key: bool) {
        if let Some(tag) = written.tag {
            self.indicator(tag, true, false, false);
        }
        let outer = self.indent;
        self.increase(within, true);
        match written.style {
            Style::Plain => self.plain(&written.text),
            Style::Single => self.single(&written.text),
            Style::Double => self.double(&written.text),
            Style::Literal => self.literal(&written.text, outer),
        }
        self.indent = outer;
        // A key is followed by its `:` without a space.
        self.whitespace = self.whitespace && !is_key;
    }

    fn plain(&mut self, text: &str) {
        if !text.is_empty() && !self.whitespace {
            self.put(b' ');
        }
        self.put_text(text.as_bytes());
        self.whitespace = false;
        self.indention = false;
    }

    fn single(&mut self, text: &str) {
        self.indicator("'", true, false, false);
        for byte in text.bytes() {
            if byte == b'\'' {
                self.put(b'\'');
            }
            self.put(byte);
        }
        self.indicator("'", false, false, false);
    }

    fn double(&mut self, text: &str) {
        self.indicator("\"", true, false, false);
        for letter in text.chars() {
            let mut bytes = [0; 4];
            match escape(letter) {
                Some(escaped) => self.put_text(escaped.as_bytes()),
                None => self.put_text(letter.encode_utf8(&mut bytes).as_bytes()),
            }
        }
        self.indicator("\"", false, false, false);
    }

    fn literal(&mut self, text: &str, outer: isize) {
        self.indicator("|", true, false, false);
        if text.starts_with([' ', '\n']) {
            // Within a list the reference writes the indent of maps here, and cannot read that back. Where there is
            // nothing but breaks, nothing is to be read back.
            let is_blank = text.bytes().all(|byte| byte == b'\n');
            let hint = if is_blank { INDENT } else { self.indent - outer.max(0) };
            self.put_text(hint.to_string().as_bytes());
        }
        let chomped = text.strip_suffix('\n');
        match chomped {
            None => self.put(b'-'),
            Some(rest) if rest.is_empty() || rest.ends_with('\n') => self.put(b'+'),
            Some(_) => {}
        }
        self.whitespace = false;
        self.indention = false;
        if self.line.is_empty() {
            self.put_break();
        } else {
            self.write_line_comment();
        }
        self.whitespace = true;
        let mut at_start = true;
        for line in text.split_inclusive('\n') {
            let content = line.strip_suffix('\n').unwrap_or(line);
            if !content.is_empty() {
                if at_start {
                    self.write_indent();
                }
                self.put_text(content.as_bytes());
                self.indention = false;
            }
            at_start = line.len() > content.len();
            if at_start {
                self.put_break();
            }
        }
    }
}

/// Comments below the last item.
fn foot_of(rest: Option<&[Item]>) -> Waiting {
    let comments = rest.unwrap_or_default().iter().filter_map(|item| match item {
        Item::Comment(comment) => Some(comment),
        Item::Value(_) => None,
    });
    let (inline, own): (Vec<_>, Vec<_>) = comments.partition(|comment| comment.inline);
    lines(own.into_iter().chain(inline).collect())
}

fn written(leaf: &Value) -> Written {
    let text = match leaf {
        Value::Text(bytes) => return style::of_text(bytes.expose(), false),
        Value::Time(bytes) => String::from_utf8_lossy(bytes.expose()).into_owned(),
        Value::Bool(flag) => flag.to_string(),
        Value::Int(number) => number.to_string(),
        Value::Float(number) => stamp::yaml_float(*number),
        Value::Null | Value::List(_) | Value::Map(_) => "null".to_owned(),
    };
    Written { tag: None, text: text.into(), style: Style::Plain }
}

/// A character in double quotes, where it is not written as it is.
fn escape(letter: char) -> Option<String> {
    let short = match letter {
        '\0' => '0',
        '\u{7}' => 'a',
        '\u{8}' => 'b',
        '\t' => 't',
        '\n' => 'n',
        '\u{b}' => 'v',
        '\u{c}' => 'f',
        '\r' => 'r',
        '\u{1b}' => 'e',
        '"' => '"',
        '\\' => '\\',
        '\u{85}' => 'N',
        '\u{2028}' => 'L',
        '\u{2029}' => 'P',
        letter if style::is_printable(letter) => return None,
        letter => {
            return Some(match u32::from(letter) {
                code @ ..=0xff => format!("\\x{code:02X}"),
                code @ ..=0xffff => format!("\\u{code:04X}"),
                code => format!("\\U{code:08X}"),
            });
        }
    };
    Some(format!("\\{short}"))
}
