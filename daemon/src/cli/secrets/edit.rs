//! `portreeve secrets edit`: plaintext in the user's editor, and nowhere else for longer than that.

use std::io::{BufRead as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::task::Poll;

use clap::Args;
use jiff::Timestamp;
use portreeve_secrets::sops::{Error, Kind, Plain, SecretBytes};
use tempfile::TempDir;
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::super::args::GlobalArgs;
use super::file::{self, Staged};
use super::{Done, Refusal, SystemRandom, exits, identities, read_document};
use crate::runtime::supervisor::blocking;

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
    // Whoever has typed for an hour does not want to hear it then.
    Staged::would_be_written(&args.file)?;
    let desk = Desk::new(&args.file, &opened.plain().to_yaml().map_err(refused)?)?;
    let seal = |edited: &Plain| opened.seal(edited, Timestamp::now(), &mut SystemRandom::new())?.to_yaml();
    let Some(sealed) = desk.edit(&seal)? else {
        file::say(&format!("{}: nothing was changed", args.file.display()));
        return Ok(exits::UNCHANGED);
    };
    file::replace(&args.file, &bytes, &sealed).map_err(|refusal| aside(&args.file, &sealed, refusal))?;
    Ok(0)
}

/// What was typed is not lost when it cannot be saved.
fn aside(path: &Path, sealed: &[u8], refusal: Refusal) -> Refusal {
    let Refusal { exit, message } = refusal;
    match file::keep_aside(path, sealed) {
        Ok(kept) => {
            let kept = kept.display();
            let then = "take over from there what you want to keep, and remove it";
            Refusal::new(exit, format_args!("{message}\nwhat you saved is in {kept}, encrypted like the file: {then}"))
        }
        Err(error) => {
            Refusal::new(exit, format_args!("{message}; what you saved could not be kept elsewhere: {error}"))
        }
    }
}

/// Encrypts what was edited.
type Seal<'a> = &'a dyn Fn(&Plain) -> Result<Vec<u8>, Error>;

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

    /// What the editor left, encrypted; `None` when that is what it was given.
    fn edit(&self, seal: Seal<'_>) -> Result<Option<Vec<u8>>, Refusal> {
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
            match Plain::read(after.expose()).and_then(|plain| seal(&plain)) {
                Ok(sealed) => return Ok(Some(sealed)),
                Err(error) if error.kind == Kind::AlreadyEncrypted => {
                    self.go_on("a key 'sops' at the top is not possible", exits::ENCRYPTED_ALREADY)?;
                }
                Err(error) => self.go_on(&error.to_string(), super::exit_of(error.kind))?,
            }
        }
    }

    /// Runs the editor in the foreground. The terminal's interrupt is the editor's to handle; when we are told to end,
    /// the folder goes first.
    fn run(&self, editor: &str) -> Result<ExitStatus, Refusal> {
        waiting(async |signals| {
            let mut command = tokio::process::Command::new("sh");
            // The file is an argument, so that its name is not read by the shell.
            command.arg("-c").arg(format!("{editor} \"$1\"")).arg("sh").arg(&self.file).kill_on_drop(true);
            let mut child = command.spawn().map_err(failed)?;
            loop {
                tokio::select! {
                    status = child.wait() => return status.map_err(failed),
                    exit = signals.end() => match exit {
                        exits::INTERRUPTED => {}
                        exit => return Err(self.told_to_end(exit)),
                    },
                }
            }
        })
    }

    /// Says what is wrong with what was edited, and waits for the word to open the editor again. Here the terminal's
    /// interrupt is ours, too.
    fn go_on(&self, problem: &str, exit: u8) -> Result<(), Refusal> {
        file::say(&format!("what was saved cannot be encrypted: {problem}"));
        file::say("press Enter to open the editor again, or Ctrl-C to leave the file as it was");
        let line = || std::io::stdin().lock().read_line(&mut String::new());
        waiting(async |signals| {
            tokio::select! {
                read = blocking(line) => match read {
                    Ok(1..) => Ok(()),
                    _ => Err(Refusal::new(exit, "nothing was changed")),
                },
                exit = signals.end() => Err(self.told_to_end(exit)),
            }
        })
    }

    fn told_to_end(&self, exit: u8) -> Refusal {
        let folder = self.folder.path().display();
        Refusal::new(exit, format_args!("told to end; nothing was changed, {folder} is removed"))
    }
}

fn failed(error: std::io::Error) -> Refusal {
    Refusal::new(exits::EDITOR, format_args!("the editor: {error}"))
}

/// What asks a process to end.
struct Signals([(Signal, u8); 3]);

impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Self([
            (signal(SignalKind::interrupt())?, exits::INTERRUPTED),
            (signal(SignalKind::terminate())?, exits::TERMINATED),
            (signal(SignalKind::hangup())?, exits::HUNG_UP),
        ]))
    }

    /// Waits for one; gives its exit code.
    async fn end(&mut self) -> u8 {
        std::future::poll_fn(|context| {
            let came = |(signal, exit): &mut (Signal, u8)| signal.poll_recv(context).is_ready().then_some(*exit);
            self.0.iter_mut().find_map(came).map_or(Poll::Pending, Poll::Ready)
        })
        .await
    }
}

/// Waits for `what`, beside the signals.
fn waiting<T>(what: impl AsyncFnOnce(&mut Signals) -> Result<T, Refusal>) -> Result<T, Refusal> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(failed)?;
    let done = runtime.block_on(async { what(&mut Signals::new().map_err(failed)?).await });
    // A line that nobody writes is not waited for.
    runtime.shutdown_background();
    done
}

fn editor() -> Result<String, Refusal> {
    let set = |name: &str| std::env::var(name).ok().filter(|value| !value.trim().is_empty());
    set("SOPS_EDITOR").or_else(|| set("EDITOR")).or_else(|| set("VISUAL")).ok_or_else(|| {
        Refusal::new(exits::EDITOR, "there is no editor: set SOPS_EDITOR or EDITOR, such as EDITOR='vim'")
    })
}
