//! What is printed: numbered steps, what is done in them, and what came of it.

use std::io::Write as _;
use std::time::{Duration, Instant};

use portreeve_tests::binary::Output;

/// How many steps there are.
const STEPS: u8 = 7;
/// Most characters of a line; more is cut.
const WIDTH: usize = 200;

/// Tells what happens, with the time that each step took.
pub(crate) struct Teller {
    begun: Instant,
    step: u8,
}

impl Default for Teller {
    fn default() -> Self {
        Self { begun: Instant::now(), step: 0 }
    }
}

impl Teller {
    /// A line as it is.
    pub(crate) fn line(&self, text: &str) {
        let mut stdout = std::io::stdout();
        // Whoever closed stdout wants no more of it; the play goes on.
        let _unheard = writeln!(stdout, "{text}").and_then(|()| stdout.flush());
    }

    /// The head of the next step.
    pub(crate) fn head(&mut self, title: &str) {
        self.step += 1;
        self.begun = Instant::now();
        self.line(&format!("\n[{}/{STEPS}] {title}", self.step));
    }

    /// A sentence about what comes.
    pub(crate) fn say(&self, text: &str) {
        self.line(&format!("  {text}"));
    }

    /// A command or request as somebody would write it.
    pub(crate) fn act(&self, text: &str) {
        self.line(&format!("  $ {text}"));
    }

    /// What was answered.
    pub(crate) fn answer(&self, text: &str) {
        for line in text.lines().filter(|line| !line.trim().is_empty()) {
            let cut: String = line.chars().take(WIDTH).collect();
            let dots = if cut.len() < line.len() { "…" } else { "" };
            self.line(&format!("  | {cut}{dots}"));
        }
    }

    /// What a command printed, and its exit code unless it is 0.
    pub(crate) fn output(&self, output: &Output) {
        self.answer(&output.stdout);
        self.answer(&output.stderr);
        if let Some(code) = output.code.filter(|code| *code != 0) {
            self.answer(&format!("exit {code}"));
        }
    }

    /// What the step came to.
    pub(crate) fn outcome(&self, text: &str) {
        self.line(&format!("  => {text} ({})", seconds(self.begun.elapsed())));
    }
}

/// `1.2 s`
pub(crate) fn seconds(time: Duration) -> String {
    format!("{:.1} s", time.as_secs_f64())
}
