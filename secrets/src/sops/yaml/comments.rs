//! Which comment belongs to which node, as go-yaml v3 decides it.
//!
//! Comments between two nodes are cut into chunks. A chunk is a *foot* (of the node before it, or of the collection
//! that ends there) or a *head* (of what follows), by blank lines and by its column against the indentation of the
//! block that is open.

use super::super::secret::SecretBytes;

/// A comment as the parser gives it.
pub(super) struct Line {
    pub(super) text: SecretBytes,
    pub(super) line: usize,
    /// Columns from 0.
    pub(super) column: usize,
    /// A `-` stands between the last node and it.
    pub(super) after_dash: bool,
}

/// What a chunk of comments is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// Foot of the node before.
    FootOfPrior,
    /// Foot of the collection that ends around it.
    Foot,
    Head,
}

/// Comments that belong together.
pub(super) struct Chunk {
    pub(super) role: Role,
    pub(super) column: usize,
    pub(super) after_dash: bool,
    pub(super) lines: Vec<SecretBytes>,
}

/// Where the comments of a gap stand.
pub(super) struct Surroundings {
    /// Line on which the node before ended; `None` at the start of the file.
    pub(super) prior_line: Option<usize>,
    /// What stands before is a `:` that still waits for its value.
    pub(super) after_colon: bool,
    /// Indentation of the innermost open block; 0 outside of blocks.
    pub(super) indent: usize,
    /// The gap ends at the end of the file, which counts as a blank line.
    pub(super) at_end: bool,
    /// The gap ends at the bracket of a flow collection.
    pub(super) closes_flow: bool,
    /// Line and column of what follows.
    pub(super) next: (usize, usize),
}

/// Cuts the comments of a gap into chunks.
pub(super) fn chunks(lines: Vec<Line>, around: &Surroundings) -> Vec<Chunk> {
    let mut cutter = Cutter { around, done: Vec::new(), open: None, prior: true };
    let mut first_blank = lines.first().is_some_and(|first| cutter.newlines_before(first) <= 1);
    let starts: Vec<usize> = lines.iter().map(|line| line.line).chain([around.next.0]).collect();
    for (index, line) in lines.into_iter().enumerate() {
        let next = starts.get(index + 1).copied().unwrap_or(around.next.0);
        let number = line.line;
        cutter.add(line);
        let is_last = index + 2 == starts.len();
        let blank_follows = next > number + 1 || (is_last && around.at_end);
        if blank_follows {
            cutter.blank(first_blank);
            first_blank = false;
        }
    }
    cutter.finish()
}

struct Open {
    column: usize,
    line: usize,
    after_dash: bool,
    lines: Vec<SecretBytes>,
}

struct Cutter<'a> {
    around: &'a Surroundings,
    done: Vec<Chunk>,
    open: Option<Open>,
    /// The next foot is that of the node before the gap.
    prior: bool,
}

impl Cutter<'_> {
    fn newlines_before(&self, first: &Line) -> usize {
        first.line.saturating_sub(self.around.prior_line.unwrap_or(first.line.saturating_sub(1)))
    }

    fn add(&mut self, line: Line) {
        let dedents = |open: &Open| line.column < self.around.indent && line.column != open.column;
        if self.open.as_ref().is_some_and(dedents) {
            self.close_foot();
        }
        let open = self.open.get_or_insert_with(|| Open {
            column: line.column,
            line: line.line,
            after_dash: line.after_dash,
            lines: Vec::new(),
        });
        open.lines.push(line.text);
    }

    /// A blank line: what came before the first one is a foot when it follows the node directly, or is dedented.
    fn blank(&mut self, is_first: bool) {
        let Some(open) = &self.open else { return };
        let follows = self.around.prior_line.is_some_and(|line| open.line == line + 1) && !self.around.after_colon;
        if is_first && (follows || open.column < self.around.indent) {
            if open.column < self.around.indent {
                self.prior = false;
            }
            self.close_foot();
        }
    }

    fn close_foot(&mut self) {
        let role = if std::mem::take(&mut self.prior) { Role::FootOfPrior } else { Role::Foot };
        self.close(role);
    }

    fn close(&mut self, role: Role) {
        if let Some(open) = self.open.take() {
            let Open { column, after_dash, lines, .. } = open;
            self.done.push(Chunk { role, column, after_dash, lines });
        }
    }

    fn finish(mut self) -> Vec<Chunk> {
        let (_, column) = self.around.next;
        let dedents = |open: &Open| column < self.around.indent && column != open.column;
        if self.around.closes_flow || (!self.around.at_end && self.open.as_ref().is_some_and(dedents)) {
            self.close_foot();
        } else {
            self.close(Role::Head);
        }
        self.done
    }
}
