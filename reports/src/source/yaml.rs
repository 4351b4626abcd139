//! YAML (and JSON, which is YAML here) to trees, read as Kubernetes reads it.
//!
//! Structure is YAML 1.2; plain scalars are resolved as `sigs.k8s.io/yaml` does, so that a manifest means here what it
//! means to `kubectl`. Where readers are known to disagree about a text (duplicate keys, merges over keys written
//! before them, characters that only YAML 1.1 takes for line breaks) the document is unreadable, never guessed at.
//!
//! The parser is driven by events and holds no recursion; depth, nodes (aliases counted at each use), documents and
//! bytes are capped by [`Limits`].

mod build;
mod hazards;
mod scalar;
#[cfg(test)]
mod tests;

use std::ops::Range;

use granit_parser::{ErrorKind, Event, Parser, ScalarStyle, ScanError, Span};

use self::build::Builder;
use self::hazards::Hazards;
use super::{Limits, Node, Place, SourceError};
use crate::verdict::Cause;

/// The documents of an input, in order. Empty documents are left out; a document that cannot be read is an error at
/// the place where reading stopped, and reading goes on at the next `---`. Beyond [`Limits::documents`] one
/// `too-large` error stands for the rest.
pub fn read(bytes: &[u8], limits: &Limits) -> Vec<Result<Node, SourceError>> {
    match text_of(bytes, limits).and_then(|text| Ok((text, Hazards::of(text)?))) {
        Ok((text, hazards)) => Reader::new(text, hazards, limits).read(),
        Err(error) => vec![Err(error)],
    }
}

/// The input as text, when it is UTF-8 within the cap.
pub(super) fn text_of<'input>(bytes: &'input [u8], limits: &Limits) -> Result<&'input str, SourceError> {
    let start = Place { line: 1, column: 1 };
    if bytes.len() > limits.bytes {
        // Readers stop behind the cap: how long the input is nobody knows.
        let message = format!("the input has more than {}, the most that is read", size(limits.bytes));
        return Err(SourceError::too_large(start, message));
    }
    if bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]) {
        return Err(SourceError::unreadable(start, "the input is UTF-16; save it as UTF-8"));
    }
    std::str::from_utf8(bytes).map_err(|error| {
        let valid = &bytes[..error.valid_up_to()];
        SourceError::unreadable(end_of(valid), "the input is not UTF-8 from here on; save it as UTF-8")
    })
}

/// A cap as people say it.
fn size(bytes: usize) -> String {
    match (bytes >> 20 << 20 == bytes, bytes >> 10 << 10 == bytes) {
        (true, _) if bytes > 0 => format!("{} MiB", bytes >> 20),
        (_, true) if bytes > 0 => format!("{} KiB", bytes >> 10),
        _ => format!("{bytes} bytes"),
    }
}

/// The place just behind these bytes, which are UTF-8.
fn end_of(bytes: &[u8]) -> Place {
    let lines = bytes.iter().filter(|byte| **byte == b'\n').count();
    let last = bytes.rsplit(|byte| *byte == b'\n').next().unwrap_or_default();
    let column = String::from_utf8_lossy(last).chars().count();
    Place { line: clamp(lines + 1), column: clamp(column + 1) }
}

fn clamp(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

/// Where in the input the parser at hand began: after a document that is too large, one begins anew behind it.
#[derive(Clone, Copy, Debug, Default)]
struct Start {
    byte: usize,
    lines: usize,
}

impl Start {
    fn place(self, line: usize, column: usize) -> Place {
        Place { line: clamp(line + self.lines), column: clamp(column + 1) }
    }

    fn place_of(self, span: &Span) -> Place {
        self.place(span.start.line(), span.start.col())
    }
}

/// The first byte behind `from` at which a line begins that starts or ends a document. Such a line is one wherever it
/// stands, within quotes too (YAML 1.2, `c-forbidden`), so nothing else need be parsed to find it.
fn next_document(text: &str, from: usize) -> Option<usize> {
    let bytes = text.as_bytes();
    let is_mark = |at: usize| {
        let ends = bytes.get(at + 3).is_none_or(|byte| matches!(byte, b' ' | b'\t' | b'\n' | b'\r'));
        ends && (bytes[at..].starts_with(b"---") || bytes[at..].starts_with(b"..."))
    };
    let breaks = bytes.get(from..)?.iter().enumerate().filter(|(_, byte)| matches!(**byte, b'\n' | b'\r'));
    breaks.map(|(at, _)| from + at + 1).find(|at| is_mark(*at))
}

/// Lines that end in a text: by `\n`, `\r` or both.
fn lines_in(text: &str) -> usize {
    let bytes = text.as_bytes();
    let is_end = |(at, byte): &(usize, &u8)| match byte {
        b'\n' => true,
        b'\r' => bytes.get(at + 1) != Some(&b'\n'),
        _ => false,
    };
    bytes.iter().enumerate().filter(is_end).count()
}

/// There is no further document.
struct NoMore;

type TextParser<'input> = Parser<'input, granit_parser::StrInput<'input>>;

struct Reader<'input, 'limits> {
    text: &'input str,
    start: Start,
    parser: TextParser<'input>,
    builder: Builder<'limits>,
    hazards: Hazards,
    limits: &'limits Limits,
    documents: Vec<Result<Node, SourceError>>,
    /// The document before this event failed: what stands between is already reported.
    recovering: bool,
}

impl<'input, 'limits> Reader<'input, 'limits> {
    fn new(text: &'input str, hazards: Hazards, limits: &'limits Limits) -> Self {
        Self {
            text,
            start: Start::default(),
            parser: parser(text, limits),
            builder: Builder::new(limits),
            hazards,
            limits,
            documents: Vec::new(),
            recovering: false,
        }
    }

    fn read(mut self) -> Vec<Result<Node, SourceError>> {
        while let Some(next) = self.parser.next_event() {
            let goes_on = match next {
                Ok((event, span)) => {
                    let reached = self.bytes_of(&span).start;
                    self.take(event, &span).or_else(|error| self.recover(error, reached))
                }
                Err(error) => self.recover(explain(&error, self.limits, self.start), 0),
            };
            if goes_on.is_err() || self.is_full() {
                return self.documents;
            }
        }
        if let Some(error) = self.hazards.rest() {
            self.documents.push(Err(error));
        }
        self.documents
    }

    fn take(&mut self, event: Event<'input>, span: &Span) -> Result<(), SourceError> {
        let bytes = self.bytes_of(span);
        match event {
            Event::DocumentStart(..) => {
                if std::mem::take(&mut self.recovering) {
                    self.hazards.forget_before(bytes.start);
                }
                self.builder.start();
                Ok(())
            }
            Event::DocumentEnd => {
                if let Some(error) = self.hazards.before(bytes.start) {
                    return Err(error);
                }
                self.documents.extend(self.builder.finish().filter(|node| !node.is_null()).map(Ok));
                Ok(())
            }
            event => {
                if let Event::Scalar(_, ScalarStyle::SingleQuoted | ScalarStyle::DoubleQuoted, ..) = &event {
                    self.hazards.pass_quoted(bytes);
                }
                self.builder.take(event, self.start.place_of(span))
            }
        }
    }

    fn bytes_of(&self, span: &Span) -> Range<usize> {
        let Range { start, end } = span.byte_range().unwrap_or_default();
        start + self.start.byte..end + self.start.byte
    }

    /// Reports the failed document and goes to the next one; an error when there is none. What is left of a document
    /// beyond a cap is not parsed: that would cost what the cap is there to save.
    fn recover(&mut self, error: SourceError, reached: usize) -> Result<(), NoMore> {
        let is_too_large = error.cause == Cause::TooLarge && reached > 0;
        self.documents.push(Err(error));
        self.recovering = true;
        self.builder.start();
        if !is_too_large {
            return if self.parser.proceed_next_document().unwrap_or(false) { Ok(()) } else { Err(NoMore) };
        }
        let Some(byte) = next_document(self.text, reached) else {
            self.hazards.forget_before(usize::MAX);
            return Err(NoMore);
        };
        let lines = self.start.lines + lines_in(&self.text[self.start.byte..byte]);
        self.start = Start { byte, lines };
        self.parser = parser(&self.text[byte..], self.limits);
        Ok(())
    }

    fn is_full(&mut self) -> bool {
        if self.documents.len() <= self.limits.documents {
            return false;
        }
        let place = match self.documents.pop() {
            Some(Ok(node)) => node.place,
            Some(Err(error)) => error.place,
            None => Place::default(),
        };
        let message = format!("more than {} documents; the rest is not read", self.limits.documents);
        self.documents.push(Err(SourceError::too_large(place, message)));
        true
    }
}

fn parser<'input>(text: &'input str, limits: &Limits) -> TextParser<'input> {
    let mut options = granit_parser::options! {
        // One more than the cap, so that the builder sees the level that is too deep and names the cap.
        flow_nesting_limit: limits.depth.saturating_add(1),
        block_nesting_limit: limits.depth.saturating_add(1),
    };
    options.set_emit_comments(false);
    Parser::new_from_str_with_options(text, options)
}

fn explain(error: &ScanError, limits: &Limits, start: Start) -> SourceError {
    let place = start.place(error.marker().line(), error.marker().col());
    match error.kind() {
        ErrorKind::RecursionLimitExceeded => build::too_deep(place, limits),
        kind => SourceError::unreadable(place, format!("not YAML: {kind}")),
    }
}
