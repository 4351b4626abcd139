//! `portreeve completions` and `portreeve man`: what shells and readers of manuals take, made of the command line
//! itself.

use clap::{Args, CommandFactory as _};
use clap_complete::Shell;
use portreeve_reports::gate::ExitCode;

use super::{Cli, Failure, Outcome, output};

/// Print the completions for a shell.
///
/// Examples:
///   portreeve completions bash > ~/.local/share/bash-completion/completions/portreeve
///   portreeve completions zsh > "${fpath[1]}/_portreeve"
#[expect(rustdoc::broken_intra_doc_links, reason = "the brackets of an example are the shell's")]
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(super) struct CompletionsArgs {
    /// The shell.
    #[arg(value_enum)]
    shell: Shell,
}

/// Print the manual page of a command.
///
/// Examples:
///   portreeve man | man -l -
///   portreeve man image sign > portreeve-image-sign.1
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(super) struct ManArgs {
    /// The command; portreeve itself without one.
    command: Vec<String>,
}

/// Runs `completions`.
pub(super) fn completions(args: &CompletionsArgs) -> Outcome {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "portreeve", &mut script);
    output::print(&String::from_utf8_lossy(&script))?;
    Ok(ExitCode::Clean)
}

/// Runs `man`.
pub(super) fn man(args: &ManArgs) -> Outcome {
    let mut root = Cli::command();
    // Commands get the names of those above them: portreeve-image-sign.
    root.build();
    let mut command = &root;
    for name in &args.command {
        let missing =
            || Failure::usage(format!("there is no command '{}'; see `portreeve --help`", args.command.join(" ")));
        command = command.find_subcommand(name).ok_or_else(missing)?;
    }
    let mut page = Vec::new();
    clap_mangen::Man::new(command.clone()).render(&mut page).map_err(Failure::other)?;
    output::print(&String::from_utf8_lossy(&page))?;
    Ok(ExitCode::Clean)
}
