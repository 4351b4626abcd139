//! The steps of a build, as the history of an image has them: BuildKit's own lines, and those of the builder before it.

use super::contents::{ImageContents, Step};
use super::inspect::Detector;
use super::words;

/// What a step did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Instruction<'a> {
    /// A command of a shell.
    Run(&'a str),
    /// `ADD`, with all that follows.
    Add(&'a str),
    /// Anything else.
    Other(&'a str),
}

/// The instruction of a step. Build arguments stand before the command: `|1 NAME=value /bin/sh -c …`.
pub fn instruction(step: &Step) -> Instruction<'_> {
    let text = step.created_by.trim();
    let text = text.strip_suffix("# buildkit").unwrap_or(text).trim();
    if let Some(rest) = text.strip_prefix("/bin/sh -c #(nop)") {
        return match rest.trim().strip_prefix("ADD ") {
            Some(what) => Instruction::Add(what),
            None => Instruction::Other(rest.trim()),
        };
    }
    if let Some(what) = text.strip_prefix("ADD ") {
        return Instruction::Add(what);
    }
    let is_other =
        ["COPY ", "ENV ", "LABEL ", "CMD ", "ENTRYPOINT ", "USER ", "WORKDIR ", "EXPOSE ", "ARG ", "VOLUME "];
    if is_other.iter().any(|word| text.starts_with(word)) {
        return Instruction::Other(text);
    }
    let run = text.strip_prefix("RUN ").unwrap_or(text);
    Instruction::Run(run)
}

/// Index and command of each step that ran one.
pub fn commands(image: &ImageContents) -> impl Iterator<Item = (usize, &str)> {
    image.config.history.iter().enumerate().filter_map(|(index, step)| match instruction(step) {
        Instruction::Run(command) => Some((index, command)),
        _ => None,
    })
}

/// The line of a step as it may be shown.
pub fn shown(step: &Step, detector: &Detector) -> String {
    let line = words::shown(&step.created_by, detector);
    if line.is_empty() { "(a step without a line)".to_owned() } else { line }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_builders_write_steps_that_are_understood() {
        let step = |text: &str| Step { created_by: text.to_owned(), empty_layer: false };
        let cases = [
            ("RUN /bin/sh -c apt-get update # buildkit", Instruction::Run("/bin/sh -c apt-get update")),
            ("/bin/sh -c apt-get update", Instruction::Run("/bin/sh -c apt-get update")),
            ("RUN |1 A=b /bin/sh -c x # buildkit", Instruction::Run("|1 A=b /bin/sh -c x")),
            ("ADD https://a/b /b # buildkit", Instruction::Add("https://a/b /b")),
            ("/bin/sh -c #(nop) ADD file:ab in / ", Instruction::Add("file:ab in /")),
            ("/bin/sh -c #(nop)  CMD [\"x\"]", Instruction::Other("CMD [\"x\"]")),
            ("COPY a b # buildkit", Instruction::Other("COPY a b")),
        ];
        for (text, expected) in cases {
            assert_eq!(instruction(&step(text)), expected, "{text}");
        }
    }
}
