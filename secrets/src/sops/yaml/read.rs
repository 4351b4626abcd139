//! YAML to documents, as sops takes them from go-yaml v3.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use granit_parser::{Event, Parser, ScalarStyle, Span, StrInput, StructureStyle, Tag};
use portreeve_reports::source::Place;

use super::super::error::{Error, Kind};
use super::super::limits;
use super::super::secret::SecretBytes;
use super::super::tree::{Branch, Comment, Item, Member, Value};
use super::comments::{Chunk, Line, Role, Surroundings, chunks};
use super::scalar::{self, Misfit};

/// The documents of a file.
pub(crate) fn read(bytes: &[u8]) -> Result<Vec<Branch>, Error> {
    let text = text_of(bytes)?;
    let has_comments = text.contains('#');
    let mut options = granit_parser::options! {
        flow_nesting_limit: limits::DEPTH + 1,
        block_nesting_limit: limits::DEPTH + 1,
    };
    options.set_emit_comments(has_comments);
    options.max_buffered_comment_events = limits::NODES;
    let mut parser = Parser::<StrInput<'_>>::new_from_str_with_options(text, options);
    let mut builder = Builder::new(text);
    while let Some(next) = parser.next_event() {
        let (event, span) = next.map_err(|error| {
            let place = place(error.marker().line(), error.marker().col());
            Error::at(Kind::Unreadable, place, format_args!("not YAML: {}", error.kind()))
        })?;
        builder.take(event, &span)?;
    }
    builder.documents.into_iter().map(Node::into_branch).collect()
}

fn text_of(bytes: &[u8]) -> Result<&str, Error> {
    if bytes.len() > limits::BYTES {
        // Readers stop behind the cap: how long the file is nobody knows.
        let message = format!("the file has more than {} MiB, the most that is read", limits::BYTES >> 20);
        return Err(Error::new(Kind::TooLarge, message));
    }
    let text = std::str::from_utf8(bytes)
        .map_err(|error| Error::new(Kind::Unreadable, format!("not UTF-8 from byte {} on", error.valid_up_to())))?;
    Ok(text.strip_prefix('\u{feff}').unwrap_or(text))
}

/// What ends a line for the library of sops, and is a letter as any other in YAML 1.2.
const ODD_BREAKS: [char; 3] = ['\u{85}', '\u{2028}', '\u{2029}'];

/// Whether the library of sops folds a scalar where YAML 1.2 does not: it drops blanks beside such a break in quotes,
/// makes a line feed of U+0085, and begins another line outside of them.
fn is_read_elsewise(source: Option<&str>, style: ScalarStyle) -> bool {
    let source = source.unwrap_or_default();
    let is_quoted = matches!(style, ScalarStyle::SingleQuoted | ScalarStyle::DoubleQuoted);
    let is_space = |letter: Option<char>| letter.is_some_and(char::is_whitespace);
    source.char_indices().filter(|(_, letter)| ODD_BREAKS.contains(letter)).any(|(at, letter)| {
        let (before, behind) = (source.get(..at).unwrap_or_default(), source.get(at + letter.len_utf8()..));
        let is_alone = !is_space(before.chars().next_back()) && !is_space(behind.and_then(|rest| rest.chars().next()));
        !(is_quoted && is_alone && letter != '\u{85}')
    })
}

fn odd_break(at: Place) -> Error {
    let message = "a bare U+0085, U+2028 or U+2029, which sops takes for the end of a line and drops the blanks beside \
                   it; write it as an escape in double quotes, such as \"\\u2028\", in a file that is encrypted already by \
                   `sops edit`";
    Error::at(Kind::Unreadable, at, message)
}

fn place(line: usize, column: usize) -> Place {
    let clamp = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
    Place { line: clamp(line), column: clamp(column + 1) }
}

fn place_of(span: &Span) -> Place {
    place(span.start.line(), span.start.col())
}

/// A node with the comments that are its.
#[derive(Default)]
struct Node {
    content: Content,
    place: Place,
    head: Vec<SecretBytes>,
    line: Vec<SecretBytes>,
    foot: Vec<SecretBytes>,
    /// It stands for another node.
    is_alias: bool,
}

#[derive(Default)]
enum Content {
    #[default]
    Empty,
    Leaf(Value),
    List(Vec<Node>),
    Map(Vec<(Node, Node)>),
    Shared(Arc<Shared>),
}

/// An anchored node, and what one use of it costs.
struct Shared {
    node: Node,
    nodes: usize,
    height: usize,
}

enum Open {
    List(Vec<Node>),
    Map { pairs: Vec<(Node, Node)>, key: Option<Node> },
}

struct Frame {
    open: Open,
    is_block: bool,
    indent: Option<usize>,
    anchor: usize,
    /// Number of nodes before it.
    nodes: usize,
    height: usize,
    node: Node,
}

struct Builder<'text> {
    text: &'text str,
    /// Whether there is one of [`ODD_BREAKS`] in it.
    has_odd_breaks: bool,
    stack: Vec<Frame>,
    anchors: HashMap<usize, Arc<Shared>>,
    nodes: usize,
    documents: Vec<Node>,
    root: Option<Node>,
    /// Comments since the last node.
    gap: Vec<Line>,
    /// Chunks that no node took yet, and how many were cut.
    queue: Vec<(usize, Chunk)>,
    cut: usize,
    /// Up to which chunk the blocks that end take feet.
    mark: Option<usize>,
    /// Where the last node ended: byte and line.
    prior: Option<(usize, usize)>,
    /// Where the last comment ended.
    told: usize,
    /// A comment behind the `|` of a block scalar.
    header: Vec<SecretBytes>,
}

impl<'text> Builder<'text> {
    fn new(text: &'text str) -> Self {
        Self {
            text,
            has_odd_breaks: text.contains(ODD_BREAKS),
            stack: Vec::new(),
            anchors: HashMap::new(),
            nodes: 0,
            documents: Vec::new(),
            root: None,
            gap: Vec::new(),
            queue: Vec::new(),
            cut: 0,
            mark: None,
            prior: None,
            told: 0,
            header: Vec::new(),
        }
    }

    fn take(&mut self, event: Event<'text>, span: &Span) -> Result<(), Error> {
        if let Event::Comment(text, _) = &event {
            return self.comment(text, span);
        }
        if !matches!(event, Event::DocumentStart(..) | Event::StreamStart) {
            self.close_gap(&event, span);
        }
        match event {
            Event::DocumentStart(..) => self.start_document(span),
            Event::DocumentEnd => {
                self.end_document();
                Ok(())
            }
            Event::Scalar(text, style, anchor, tag) => self.scalar(&text, style, (anchor, tag.as_deref()), span),
            Event::SequenceStart(style, anchor, _) => self.open(Open::List(Vec::new()), style, anchor, span),
            Event::MappingStart(style, anchor, _) => {
                self.open(Open::Map { pairs: Vec::new(), key: None }, style, anchor, span)
            }
            Event::SequenceEnd | Event::MappingEnd => self.end(span),
            Event::Alias(id) => self.alias(id, span),
            _ => Ok(()),
        }
    }

    fn start_document(&mut self, span: &Span) -> Result<(), Error> {
        self.anchors.clear();
        self.root = None;
        if self.documents.len() >= limits::DOCUMENTS {
            let message = format_args!("more than {} documents", limits::DOCUMENTS);
            return Err(Error::at(Kind::TooLarge, place_of(span), message));
        }
        Ok(())
    }

    fn end_document(&mut self) {
        let mut root = self.root.take().unwrap_or_default();
        for (_, chunk) in self.queue.drain(..) {
            root.foot.extend(chunk.lines);
        }
        self.documents.push(root);
    }

    fn count(&mut self, nodes: usize, place: Place) -> Result<(), Error> {
        self.nodes = self.nodes.saturating_add(nodes);
        if self.nodes <= limits::NODES {
            return Ok(());
        }
        let message = format_args!("more than {} values, aliases counted at each use", limits::NODES);
        Err(Error::at(Kind::TooLarge, place, message))
    }

    fn comment(&mut self, text: &str, span: &Span) -> Result<(), Error> {
        self.count(1, place_of(span))?;
        let range = span.byte_range().unwrap_or_default();
        let (end, prior_line) = self.prior.unwrap_or((0, 0));
        let between = self.text.get(end.max(self.told)..range.start).unwrap_or_default();
        self.told = range.end;
        let line = span.start.line();
        let text = SecretBytes::from(text);
        let has_dash = between.contains('-') && !between.contains("---");
        let after_dash = has_dash || self.gap.last().is_some_and(|line| line.after_dash);
        if self.gap.is_empty() && self.prior.is_some() && prior_line == line && !between.contains('\n') {
            if between.contains(['|', '>']) {
                self.header.push(text);
                return Ok(());
            }
            if let Some(node) = self.last_node().filter(|_| !after_dash) {
                node.line.push(text);
                return Ok(());
            }
        }
        self.gap.push(Line { text, line, column: span.start.col(), after_dash });
        Ok(())
    }

    /// The node that ended last, as comments see it: a key that waits for its value, a value, an item.
    fn last_node(&mut self) -> Option<&mut Node> {
        match &mut self.stack.last_mut()?.open {
            Open::Map { key: Some(key), .. } => Some(key),
            Open::Map { pairs, .. } => pairs.last_mut().map(|(_, value)| value),
            Open::List(items) => items.last_mut(),
        }
    }

    fn close_gap(&mut self, event: &Event<'_>, span: &Span) {
        if self.gap.is_empty() {
            return;
        }
        let start = span.byte_range().unwrap_or_default().start;
        let ends_flow = matches!(event, Event::SequenceEnd | Event::MappingEnd)
            && self.stack.last().is_some_and(|frame| !frame.is_block);
        let after_colon = matches!(self.stack.last(), Some(Frame { open: Open::Map { key: Some(_), .. }, .. }));
        let around = Surroundings {
            prior_line: self.prior.map(|(_, line)| line),
            after_colon,
            indent: self.stack.iter().rev().find_map(|frame| frame.indent).unwrap_or_default(),
            at_end: self.text.get(start..).is_some_and(|rest| rest.trim().is_empty()),
            closes_flow: ends_flow,
            next: (span.start.line(), span.start.col()),
        };
        self.mark = None;
        for mut chunk in chunks(std::mem::take(&mut self.gap), &around) {
            self.cut += 1;
            if chunk.role == Role::FootOfPrior {
                if after_colon || self.attach_foot(&mut chunk.lines).is_none() {
                    chunk.role = Role::Foot;
                } else {
                    continue;
                }
            }
            self.queue.push((self.cut, chunk));
        }
    }

    /// Puts a foot below what ended last in the open collection.
    fn attach_foot(&mut self, lines: &mut Vec<SecretBytes>) -> Option<()> {
        let node = match &mut self.stack.last_mut()?.open {
            Open::Map { pairs, key: None } => pairs.last_mut().map(|(key, _)| key)?,
            Open::List(items) => items.last_mut()?,
            Open::Map { .. } => return None,
        };
        node.foot.append(lines);
        Some(())
    }

    /// Gives a node the comments that wait for one.
    fn dress(&mut self, node: &mut Node) {
        let mut feet = Vec::new();
        for (_, chunk) in self.queue.drain(..) {
            if chunk.role == Role::Head { &mut node.head } else { &mut feet }.extend(chunk.lines);
        }
        if feet.is_empty() {
            return;
        }
        // The foot that comes with a key is that of the pair before it.
        if let Some(Frame { open: Open::Map { pairs, key: None }, is_block: true, .. }) = self.stack.last_mut()
            && let Some((prior, _)) = pairs.last_mut()
        {
            prior.foot.append(&mut feet);
        } else {
            node.foot.append(&mut feet);
        }
    }

    fn scalar(
        &mut self,
        text: &str,
        style: ScalarStyle,
        (anchor, tag): (usize, Option<&Tag>),
        span: &Span,
    ) -> Result<(), Error> {
        let at = place_of(span);
        self.count(1, at)?;
        let is_absent = span.is_empty() && style == ScalarStyle::Plain;
        let tag = tag.and_then(short_tag);
        let value = match (is_absent, tag.as_deref()) {
            (true, None | Some("!!null")) => Ok(Value::Null),
            (_, tag) => scalar::value(if is_absent { "" } else { text }, style, tag),
        };
        let value = value.map_err(|misfit| misfitting(misfit, at))?;
        if self.has_odd_breaks && is_read_elsewise(self.text.get(span.byte_range().unwrap_or_default()), style) {
            return Err(odd_break(at));
        }
        let mut node = Node { content: Content::Leaf(value), place: at, ..Node::default() };
        if !is_absent {
            self.dress(&mut node);
            node.line.append(&mut self.header);
            self.ends_at(span);
        }
        self.set_indent(span);
        self.attach(node, anchor, 1, 0)
    }

    fn ends_at(&mut self, span: &Span) {
        let range = span.byte_range().unwrap_or_default();
        let source = self.text.get(range.clone()).unwrap_or_default().trim_end();
        let lines = source.bytes().filter(|byte| *byte == b'\n').count();
        self.prior = Some((range.start + source.len(), span.start.line() + lines));
    }

    /// A block map is indented as its first key is.
    fn set_indent(&mut self, span: &Span) {
        if let Some(frame) = self.stack.last_mut()
            && frame.is_block
            && frame.indent.is_none()
        {
            frame.indent = Some(span.start.col());
        }
    }

    fn open(&mut self, open: Open, style: StructureStyle, anchor: usize, span: &Span) -> Result<(), Error> {
        let at = place_of(span);
        self.count(1, at)?;
        if self.stack.len() >= limits::DEPTH {
            let message = format_args!("nested deeper than {} levels", limits::DEPTH);
            return Err(Error::at(Kind::TooLarge, at, message));
        }
        let is_block = style == StructureStyle::Block;
        let mut node = Node { place: at, ..Node::default() };
        if is_block {
            self.dress_stem(&mut node);
        } else {
            self.set_indent(span);
            self.dress(&mut node);
            self.prior = Some((span.byte_range().unwrap_or_default().end, span.end.line()));
        }
        let indent = (is_block && matches!(open, Open::List(_))).then(|| self.dash_column(span));
        self.stack.push(Frame { open, is_block, indent, anchor, nodes: self.nodes, height: 1, node });
        Ok(())
    }

    /// The column of a list's first `-`; the parser may place the list behind it.
    fn dash_column(&self, span: &Span) -> usize {
        let start = span.byte_range().unwrap_or_default().start;
        let (before, behind) = self.text.split_at_checked(start).unwrap_or_default();
        let line = before.rsplit('\n').next().unwrap_or_default();
        match line.rfind('-') {
            Some(dash) if !behind.starts_with("- ") && !behind.starts_with("-\n") => {
                line.get(..dash).map_or(0, |line| line.chars().count())
            }
            _ => span.start.col(),
        }
    }

    /// What stands before the `-` of an item that is itself a block belongs to the block as a whole.
    fn dress_stem(&mut self, node: &mut Node) {
        if !matches!(self.stack.last(), Some(Frame { open: Open::List(_), is_block: true, .. })) {
            return;
        }
        let is_stem = |(_, chunk): &mut (usize, Chunk)| chunk.role == Role::Head && !chunk.after_dash;
        for (_, chunk) in self.queue.extract_if(.., is_stem) {
            node.head.extend(chunk.lines);
        }
    }

    fn end(&mut self, span: &Span) -> Result<(), Error> {
        let Some(mut frame) = self.stack.pop() else { return Ok(()) };
        if frame.is_block {
            self.end_block(&mut frame);
        } else {
            for (_, chunk) in self.queue.drain(..) {
                frame.node.foot.extend(chunk.lines);
            }
            self.prior = Some((span.byte_range().unwrap_or_default().end, span.end.line()));
        }
        let mut node = frame.node;
        node.content = match frame.open {
            Open::List(items) => Content::List(items),
            Open::Map { pairs, .. } => {
                refuse_duplicates(&pairs)?;
                Content::Map(pairs)
            }
        };
        let nodes = self.nodes - frame.nodes + 1;
        self.attach(node, frame.anchor, nodes, frame.height)
    }

    /// The feet that stand at the indentation of a block, or before, end with it.
    fn end_block(&mut self, frame: &mut Frame) {
        let at_indent =
            self.queue.iter().find(|(_, chunk)| Some(chunk.column) == frame.indent).map(|(number, _)| *number);
        self.mark = at_indent.or(self.mark);
        let (Some(mark), Open::Map { pairs, .. }) = (self.mark, &mut frame.open) else { return };
        let Some((key, _)) = pairs.last_mut() else { return };
        let taken = self.queue.iter().take_while(|(number, chunk)| *number <= mark && chunk.role != Role::Head).count();
        for (_, chunk) in self.queue.drain(..taken) {
            key.foot.extend(chunk.lines);
        }
    }

    fn alias(&mut self, id: usize, span: &Span) -> Result<(), Error> {
        let at = place_of(span);
        let Some(shared) = self.anchors.get(&id).cloned() else {
            return Err(Error::at(Kind::Unreadable, at, "this alias is part of what it stands for"));
        };
        if self.stack.len() + shared.height > limits::DEPTH {
            let message = format_args!("nested deeper than {} levels", limits::DEPTH);
            return Err(Error::at(Kind::TooLarge, at, message));
        }
        self.count(shared.nodes, at)?;
        let (nodes, height) = (shared.nodes, shared.height);
        let mut node = Node { content: Content::Shared(shared), place: at, is_alias: true, ..Node::default() };
        self.dress(&mut node);
        self.set_indent(span);
        self.ends_at(span);
        self.attach(node, 0, nodes, height)
    }

    /// Puts a finished node where it belongs.
    fn attach(&mut self, mut node: Node, anchor: usize, nodes: usize, height: usize) -> Result<(), Error> {
        if anchor != 0 {
            let inner = std::mem::take(&mut node);
            node = Node { place: inner.place, head: inner.head.clone(), line: inner.line.clone(), ..Node::default() };
            let shared = Arc::new(Shared { node: inner, nodes, height });
            self.anchors.insert(anchor, Arc::clone(&shared));
            node.content = Content::Shared(shared);
        }
        let Some(frame) = self.stack.last_mut() else {
            self.root = Some(node);
            return Ok(());
        };
        frame.height = frame.height.max(height + 1);
        match &mut frame.open {
            Open::List(items) => items.push(node),
            Open::Map { pairs, key } => match key.take() {
                Some(key) => pairs.push((key, node)),
                None => *key = Some(node),
            },
        }
        Ok(())
    }
}

fn misfitting(misfit: Misfit, at: Place) -> Error {
    match misfit {
        Misfit::TooBig => {
            Error::at(Kind::Unwritable, at, "an integer beyond 64 signed bits; quote it to keep it as text")
        }
        Misfit::NotItsTag => Error::at(Kind::Unreadable, at, "the value is not what its tag says"),
    }
}

/// The short name of a tag; none for `!`, which means nothing.
fn short_tag(tag: &Tag) -> Option<String> {
    let full = format!("{}{}", tag.handle(), tag.suffix());
    match full.strip_prefix("tag:yaml.org,2002:") {
        Some(name) => Some(format!("!!{name}")),
        None => (full != "!").then_some(full),
    }
}

fn refuse_duplicates(pairs: &[(Node, Node)]) -> Result<(), Error> {
    let mut seen = HashSet::with_capacity(pairs.len());
    for (key, _) in pairs {
        let name = key.name()?;
        if !seen.insert(name) {
            return Err(Error::at(Kind::Unreadable, key.place, format_args!("key '{}' is there twice", shown(name))));
        }
    }
    Ok(())
}

/// A key in a message.
fn shown(key: &str) -> String {
    portreeve_reports::source::shown(key)
}

impl Node {
    fn name(&self) -> Result<&str, Error> {
        match &self.content {
            Content::Leaf(Value::Text(bytes)) => std::str::from_utf8(bytes.expose()).map_err(|_| self.no_key()),
            Content::Shared(shared) => shared.node.name(),
            _ => Err(self.no_key()),
        }
    }

    fn no_key(&self) -> Error {
        Error::at(Kind::Unwritable, self.place, "a key that is not text; quote it")
    }

    /// The top map of a document.
    fn into_branch(self) -> Result<Branch, Error> {
        let place = self.place;
        let mut branch = Branch::new();
        match self.content {
            Content::Empty | Content::Leaf(Value::Null) => own_lines(&mut branch, self.head),
            Content::Map(_) | Content::Shared(_) => match self.flat(false)? {
                Value::Map(members) => return Ok(members),
                _ => return Err(Error::at(Kind::Unreadable, place, "a document must be a map")),
            },
            Content::Leaf(_) | Content::List(_) => {
                return Err(Error::at(Kind::Unreadable, place, "a document must be a map, not a list or a value"));
            }
        }
        own_lines(&mut branch, self.line);
        own_lines(&mut branch, self.foot);
        Ok(branch)
    }

    /// The value; `handled` when the comments around it were put elsewhere.
    fn flat(self, handled: bool) -> Result<Value, Error> {
        match self.content {
            Content::Empty => Ok(Value::Null),
            Content::Leaf(value) => Ok(value),
            Content::Shared(shared) if self.is_alias => shared.node.copy().flat(false),
            Content::Shared(shared) => {
                let inner = shared.node.copy();
                Self {
                    content: inner.content,
                    place: self.place,
                    head: self.head,
                    line: self.line,
                    foot: self.foot,
                    is_alias: false,
                }
                .flat(handled)
            }
            Content::List(items) => {
                let mut list = Vec::with_capacity(items.len());
                if !handled {
                    list_lines(&mut list, self.head, false);
                    list_lines(&mut list, self.line, false);
                }
                for item in items {
                    item.into_item(&mut list)?;
                }
                if !handled {
                    list_lines(&mut list, self.foot, false);
                }
                Ok(Value::List(list))
            }
            Content::Map(pairs) => {
                let mut members = Vec::with_capacity(pairs.len());
                if !handled {
                    own_lines(&mut members, self.head);
                    own_lines(&mut members, self.line);
                }
                for (key, value) in pairs {
                    pair_into(&mut members, key, value)?;
                }
                if !handled {
                    own_lines(&mut members, self.foot);
                }
                Ok(Value::Map(members))
            }
        }
    }

    fn into_item(mut self, list: &mut Vec<Item>) -> Result<(), Error> {
        list_lines(list, std::mem::take(&mut self.head), false);
        list_lines(list, std::mem::take(&mut self.line), true);
        let foot = std::mem::take(&mut self.foot);
        list.push(Item::Value(self.flat(true)?));
        list_lines(list, foot, false);
        Ok(())
    }

    /// A copy for another use of an anchored node.
    fn copy(&self) -> Self {
        let content = match &self.content {
            Content::Empty => Content::Empty,
            Content::Leaf(value) => Content::Leaf(value.clone()),
            Content::List(items) => Content::List(items.iter().map(Self::copy).collect()),
            Content::Map(pairs) => Content::Map(pairs.iter().map(|(key, value)| (key.copy(), value.copy())).collect()),
            Content::Shared(shared) => Content::Shared(Arc::clone(shared)),
        };
        Self {
            content,
            place: self.place,
            head: self.head.clone(),
            line: self.line.clone(),
            foot: self.foot.clone(),
            is_alias: self.is_alias,
        }
    }

    /// Scalars and aliases share their comments with their key.
    fn shares_comments(&self) -> bool {
        match &self.content {
            Content::Shared(shared) => self.is_alias || shared.node.shares_comments(),
            content => matches!(content, Content::Leaf(_) | Content::Empty),
        }
    }
}

fn pair_into(members: &mut Vec<Member>, key: Node, mut value: Node) -> Result<(), Error> {
    let name = key.name()?.to_owned();
    own_lines(members, key.head);
    own_lines(members, key.line);
    let shares = value.shares_comments();
    let mut foot = Vec::new();
    if shares {
        own_lines(members, std::mem::take(&mut value.head));
        members.extend(
            std::mem::take(&mut value.line).into_iter().map(|text| Member::Comment(Comment { text, inline: true })),
        );
        foot = std::mem::take(&mut value.foot);
    }
    members.push(Member::Pair(name, value.flat(shares)?));
    own_lines(members, foot);
    own_lines(members, key.foot);
    Ok(())
}

fn own_lines(members: &mut Vec<Member>, lines: Vec<SecretBytes>) {
    members.extend(lines.into_iter().map(|text| Member::Comment(Comment { text, inline: false })));
}

fn list_lines(items: &mut Vec<Item>, lines: Vec<SecretBytes>, inline: bool) {
    items.extend(lines.into_iter().map(|text| Item::Comment(Comment { text, inline })));
}
