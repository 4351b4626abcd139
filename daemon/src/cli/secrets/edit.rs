//! `portreeve secrets edit`: plaintext in the user's editor, and nowhere else for longer than that.

use std::io::{BufRead as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;

use clap::Args;
use jiff::Timestamp;
use portreeve_secrets::sops::{Plain, SecretBytes};
use tempfile::TempDir;
use tokio::signal::unix::{SignalKind, signal};

use super::super::args::GlobalArgs;
use super::file::{self, Staged};
use super::{Done, Refusal, SystemRandom, exits, identities, read_document};

/// Where plaintext never reaches a disk, when there is such a place.
const MEMORY: &str = "/dev/shm";

/// Edit the plaintext of a file in $SOPS_EDITOR, else $EDITOR.
///
/// Examples:
///   portreeve secrets edit secrets/hub.yaml
///   EDITOR='code --wait' portreeve secrets edit secrets/hub.yaml
///
/// Values that are not changed keep their ciphertext, so that a change of one value is a change of one line. The
/// plaintext is kept in memory (/dev/shm) where there is such a place, and removed whatever ends the command.
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(super) struct EditArgs {
    /// The encrypted file.
    file: PathBuf,
}

/// Runs the command.
pub(super) fn run(args: &EditArgs, global: &GlobalArgs) -> Done {
    file::only_yaml(&args.file)?;
    let refused = |error| Refusal::of(&args.file, &error);
    let _held = file::hold(&args.file)?;
    let bytes = file::read(&args.file)?;
    let document = read_document(&args.file, &bytes)?;
    let opened = document.open(&identities::load(global)?).map_err(refused)?;
    let desk = Desk::new(&args.file, &opened.plain().to_yaml().map_err(refused)?)?;
    let Some(edited) = desk.edit()? else {
        file::say(&format!("{}: nothing was changed", args.file.display()));
        return Ok(exits::UNCHANGED);
    };
    let sealed = opened.seal(&edited, Timestamp::now(), &mut SystemRandom::new()).map_err(refused)?;
    let staged = Staged::write(&args.file, &sealed.to_yaml().map_err(refused)?)?;
    file::unchanged(&args.file, &bytes)?;
    staged.commit()?;
    Ok(0)
}

/// A folder of our own with the plaintext in it.
struct Desk {
    folder: TempDir,
    file: PathBuf,
    before: SecretBytes,
}

impl Desk {
    fn new(path: &Path, plain: &SecretBytes) -> Result<Self, Refusal> {
        let failed =
            |error: std::io::Error| Refusal::new(exits::UNWRITABLE, format_args!("a place to edit in: {error}"));
        let private = std::fs::Permissions::from_mode(0o700);
        let mut builder = tempfile::Builder::new();
        builder.prefix("portreeve-").permissions(private);
        let folder = builder.tempdir_in(MEMORY).or_else(|_| builder.tempdir()).map_err(failed)?;
        let file = folder.path().join(path.file_name().unwrap_or_default());
        let desk = Self { folder, file, before: plain.clone() };
        let mut handle = std::fs::File::create_new(&desk.file).map_err(failed)?;
        handle.set_permissions(std::fs::Permissions::from_mode(0o600)).map_err(failed)?;
        handle.write_all(plain.expose()).map_err(failed)?;
        Ok(desk)
    }

    /// What the editor left; `None` when that is what it was given.
    fn edit(&self) -> Result<Option<Plain>, Refusal> {
        let editor = editor()?;
        loop {
            let status = self.run(&editor)?;
            if !status.success() {
                return Err(Refusal::new(
                    exits::EDITOR,
                    format_args!("the editor failed ({status}); nothing was changed"),
                ));
            }
            let after = file::read(&self.file)?;
            if after == self.before {
                return Ok(None);
            }
            match Plain::read(after.expose()) {
                Ok(plain) if !plain.has_block() => return Ok(Some(plain)),
                Ok(_) => go_on("a key 'sops' at the top is not possible", exits::ENCRYPTED_ALREADY)?,
                Err(error) => go_on(&error.to_string(), super::exit_of(error.kind))?,
            }
        }
    }

    /// Runs the editor in the foreground. The terminal's interrupt is the editor's to handle; when we are told to end,
    /// the folder goes first.
    fn run(&self, editor: &str) -> Result<ExitStatus, Refusal> {
        let failed = |error: std::io::Error| Refusal::new(exits::EDITOR, format_args!("the editor: {error}"));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(failed)?;
        runtime.block_on(async {
            let mut interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
            let mut terminate = signal(SignalKind::terminate()).map_err(failed)?;
            let mut hang_up = signal(SignalKind::hangup()).map_err(failed)?;
            let mut command = tokio::process::Command::new("sh");
            // The file is an argument, so that its name is not read by the shell.
            command.arg("-c").arg(format!("{editor} \"$1\"")).arg("sh").arg(&self.file).kill_on_drop(true);
            let mut child = command.spawn().map_err(failed)?;
            loop {
                tokio::select! {
                    status = child.wait() => return status.map_err(failed),
                    _ = interrupt.recv() => {}
                    _ = terminate.recv() => break,
                    _ = hang_up.recv() => break,
                }
            }
            let folder = self.folder.path().display();
            Err(Refusal::new(exits::TERMINATED, format_args!("told to end; nothing was changed, {folder} is removed")))
        })
    }
}

fn editor() -> Result<String, Refusal> {
    let set = |name: &str| std::env::var(name).ok().filter(|value| !value.trim().is_empty());
    set("SOPS_EDITOR").or_else(|| set("EDITOR")).or_else(|| set("VISUAL")).ok_or_else(|| {
        Refusal::new(exits::EDITOR, "there is no editor: set SOPS_EDITOR or EDITOR, such as EDITOR='vim'")
    })
}

/// Says what is wrong with what was edited, and waits for the word to open the editor again.
fn go_on(problem: &str, exit: u8) -> Result<(), Refusal> {
    file::say(&format!("what was saved cannot be encrypted: {problem}"));
    file::say("press Enter to open the editor again, or Ctrl-C to leave the file as it was");
    let mut answer = String::new();
    match std::io::stdin().lock().read_line(&mut answer) {
        Ok(1..) => Ok(()),
        _ => Err(Refusal::new(exit, "nothing was changed")),
    }
}
