//! `make demo-cluster`: a control plane with a node, guarded and deployed to by Portreeve, in seven steps that are shown
//! as they happen. Everything is on loopback and in temporary folders, and nothing of it is left at the end.

mod play;
mod site;
mod steps;
mod teller;

use std::io::Write as _;
use std::process::ExitCode;

use portreeve_tests::OrFail as _;
use portreeve_tests::process::end_everything;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::play::Play;
use crate::teller::Teller;

const HELP: &str = "\
Examples:
  make demo-cluster                                    with what it needs; Ctrl-C ends it
  cargo run -p portreeve-tests --bin demo-cluster -- --once

Options:
  --once    End after the last step
  --help    This

Exit codes: 0 all steps went as promised · 1 one did not · 2 usage · 130, 143 ended by a signal during the steps.
";

/// Ends what was started, also when a step fails.
struct Ends;

impl Drop for Ends {
    fn drop(&mut self) {
        end_everything();
    }
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => ended(false),
        ["--once"] => ended(true),
        ["--help" | "-h"] => print(HELP, ExitCode::SUCCESS),
        _ => {
            // Without stderr there is nobody to tell.
            let _unheard = write!(std::io::stderr(), "demo-cluster: error: unknown argument\n\n{HELP}");
            ExitCode::from(2)
        }
    }
}

fn print(text: &str, code: ExitCode) -> ExitCode {
    // Whoever closed stdout wants no more of it.
    let _unheard = std::io::stdout().write_all(text.as_bytes());
    code
}

/// Plays in a scope of its own, so that everything has ended when its code is given.
fn ended(is_once: bool) -> ExitCode {
    std::panic::set_hook(Box::new(|failure| {
        let what = failure.payload_as_str().unwrap_or("a step failed");
        let _unheard = writeln!(std::io::stderr(), "\ndemo-cluster: error: {what}");
    }));
    let played = std::panic::catch_unwind(|| {
        let _ends = Ends;
        tokio::runtime::Builder::new_multi_thread().enable_all().build().or_fail("a runtime").block_on(played(is_once))
    });
    played.unwrap_or(ExitCode::FAILURE)
}

async fn played(is_once: bool) -> ExitCode {
    let (mut interrupt, mut terminate) = (listener(SignalKind::interrupt()), listener(SignalKind::terminate()));
    let mut teller = Teller::default();
    let play = tokio::select! {
        play = Play::through(&mut teller) => play,
        _ = interrupt.recv() => return ExitCode::from(130),
        _ = terminate.recv() => return ExitCode::from(143),
    };
    if !is_once {
        teller.line(&format!("\nThe page stays open: {}   Ctrl-C ends everything.", play.url()));
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    }
    drop(play);
    end_everything();
    teller.line("\nEverything has ended; nothing is left.");
    ExitCode::SUCCESS
}

fn listener(kind: SignalKind) -> Signal {
    signal(kind).or_fail("a listener for signals")
}
