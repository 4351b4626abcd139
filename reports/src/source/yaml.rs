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

use granit_parser::{ErrorKind, Event, Parser, ScalarStyle, ScanError, Span};

use self::build::Builder;
use self::hazards::Hazards;
use super::{Limits, Node, Place, SourceError};

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
        let message = format!("the input has {} bytes; at most {} are read", bytes.len(), limits.bytes);
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

fn place_of(span: &Span) -> Place {
    Place { line: clamp(span.start.line()), column: clamp(span.start.col() + 1) }
}

struct Reader<'input, 'limits> {
    parser: Parser<'input, granit_parser::StrInput<'input>>,
    builder: Builder<'limits>,
    hazards: Hazards,
    limits: &'limits Limits,
    documents: Vec<Result<Node, SourceError>>,
    /// The document before this event failed: what stands between is already reported.
    recovering: bool,
}

impl<'input, 'limits> Reader<'input, 'limits> {
    fn new(text: &'input str, hazards: Hazards, limits: &'limits Limits) -> Self {
        let mut options = granit_parser::options! {
            // One more than the cap, so that the builder sees the level that is too deep and names the cap.
            flow_nesting_limit: limits.depth.saturating_add(1),
            block_nesting_limit: limits.depth.saturating_add(1),
        };
        options.set_emit_comments(false);
        Self {
            parser: Parser::new_from_str_with_options(text, options),
            builder: Builder::new(limits),
            hazards,
            limits,
            documents: Vec::new(),
            recovering: false,
        }
    }

    fn read(mut self) -> Vec<Result<Node, SourceError>> {
        while let Some(next) = self.parser.next_event() {
            let step =
                next.map_err(|error| explain(&error, self.limits)).and_then(|(event, span)| self.take(event, &span));
            let goes_on = match step {
                Ok(()) => true,
                Err(error) => self.recover(error),
            };
            if !goes_on || self.is_full() {
                return self.documents;
            }
        }
        if let Some(error) = self.hazards.rest() {
            self.documents.push(Err(error));
        }
        self.documents
    }

    fn take(&mut self, event: Event<'input>, span: &Span) -> Result<(), SourceError> {
        let bytes = span.byte_range().unwrap_or_default();
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
                self.builder.take(event, place_of(span))
            }
        }
    }

    /// Reports the failed document and goes to the next one; false when there is none.
    fn recover(&mut self, error: SourceError) -> bool {
        self.documents.push(Err(error));
        self.recovering = true;
        self.builder.start();
        self.parser.proceed_next_document().unwrap_or(false)
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

fn explain(error: &ScanError, limits: &Limits) -> SourceError {
    let mark = error.marker();
    let place = Place { line: clamp(mark.line()), column: clamp(mark.col() + 1) };
    match error.kind() {
        ErrorKind::RecursionLimitExceeded => build::too_deep(place, limits),
        kind => SourceError::unreadable(place, format!("not YAML: {kind}")),
    }
}
