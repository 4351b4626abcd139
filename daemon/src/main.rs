//! The portreeve binary: parse, run, exit.

use clap::Parser;
use portreeve::cli::Cli;

fn main() -> std::process::ExitCode {
    portreeve::cli::run(Cli::parse())
}
