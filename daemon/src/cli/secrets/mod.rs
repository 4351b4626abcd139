//! `portreeve secrets`: SOPS files, with sops's own exit codes.

mod decrypt;
mod edit;
mod encrypt;
mod file;
mod identities;
mod rotate;

use std::path::PathBuf;

use clap::{Args, Subcommand};
use portreeve_secrets::sops::{Document, Error, Kind, Random, SecretBytes};
use rustls::crypto::SecureRandom;

use super::args::GlobalArgs;
use super::output;

/// Exit codes of sops, kept for the scripts that know them (sops: cmd/sops/codes).
mod exits {
    pub(super) const GENERIC: u8 = 1;
    pub(super) const UNREADABLE: u8 = 2;
    pub(super) const UNWRITABLE: u8 = 3;
    pub(super) const CONFIG: u8 = 5;
    pub(super) const CONFLICT: u8 = 8;
    pub(super) const ENCRYPT: u8 = 23;
    pub(super) const DECRYPT: u8 = 25;
    pub(super) const MAC: u8 = 51;
    pub(super) const PATH: u8 = 91;
    pub(super) const EMPTY: u8 = 92;
    pub(super) const NO_FILE: u8 = 100;
    pub(super) const NO_IDENTITY: u8 = 128;
    pub(super) const UNCHANGED: u8 = 200;
    pub(super) const EDITOR: u8 = 201;
    pub(super) const ENCRYPTED_ALREADY: u8 = 203;
    pub(super) const HUNG_UP: u8 = 129;
    pub(super) const INTERRUPTED: u8 = 130;
    pub(super) const TERMINATED: u8 = 143;
}

/// Why a command did not do what it was asked for.
struct Refusal {
    exit: u8,
    message: String,
}

impl Refusal {
    fn new(exit: u8, message: impl std::fmt::Display) -> Self {
        Self { exit, message: message.to_string() }
    }

    /// A problem with a file, under the exit code that sops has for it.
    fn of(file: &std::path::Path, error: &Error) -> Self {
        Self::new(exit_of(error.kind), format_args!("{}: {error}", file.display()))
    }
}

/// An encrypted file that cannot be read is no encrypted file to sops.
fn read_document(file: &std::path::Path, bytes: &SecretBytes) -> Result<Document, Refusal> {
    let refused = |error| Refusal::new(exits::GENERIC, format_args!("{}: {error}", file.display()));
    Document::read(bytes.expose()).map_err(refused)
}

fn exit_of(kind: Kind) -> u8 {
    match kind {
        Kind::Unreadable | Kind::TooLarge => exits::UNREADABLE,
        Kind::Empty => exits::EMPTY,
        Kind::AlreadyEncrypted => exits::ENCRYPTED_ALREADY,
        Kind::NoIdentity => exits::NO_IDENTITY,
        Kind::Value => exits::DECRYPT,
        Kind::MacMissing | Kind::MacMismatch => exits::MAC,
        Kind::Unwritable => exits::ENCRYPT,
        Kind::Path => exits::PATH,
        Kind::Rule => exits::CONFLICT,
        Kind::NotEncrypted | Kind::NotYet | Kind::Key | Kind::PathNotFound | Kind::Target | Kind::Random => {
            exits::GENERIC
        }
    }
}

/// What a command of this room comes to: an exit code, or a refusal.
type Done = Result<u8, Refusal>;

/// Random bytes of the operating system, by the TLS provider's generator.
struct SystemRandom(&'static dyn SecureRandom);

impl SystemRandom {
    fn new() -> Self {
        Self(rustls::crypto::aws_lc_rs::default_provider().secure_random)
    }
}

impl Random for SystemRandom {
    fn fill(&mut self, bytes: &mut [u8]) -> Result<(), Error> {
        self.0.fill(bytes).map_err(|_| Error::no_random())
    }
}

/// Decrypt, encrypt, edit and rotate SOPS files (YAML, age keys).
///
/// Examples:
///   portreeve secrets decrypt secrets/hub.yaml
///   portreeve secrets encrypt --in-place secrets/hub.yaml
///   portreeve secrets edit secrets/hub.yaml
///   portreeve secrets rotate --dry-run secrets/hub.yaml
///
/// Exit codes are those of sops: 0 done · 1 generic, not an encrypted file · 2 unreadable · 3 not written · 5 wrong
/// .sops.yaml · 8 conflicting rules · 23 cannot be encrypted · 25 a value does not decrypt · 51 wrong or missing MAC ·
/// 91 bad --extract · 92 empty · 100 no such file · 128 no identity opens it · 200 edited without a change · 201 editor failed · 203 encrypted already.
///
/// Identities are taken from SOPS_AGE_KEY, SOPS_AGE_KEY_FILE, sops/age/keys.txt in the user's configuration folder, and
/// `secrets.identities` of the configuration, all of them together.
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(super) struct SecretsArgs {
    #[command(subcommand)]
    command: SecretsCommand,
}

#[derive(Debug, Subcommand)]
enum SecretsCommand {
    Decrypt(decrypt::DecryptArgs),
    Encrypt(encrypt::EncryptArgs),
    Edit(edit::EditArgs),
    Rotate(rotate::RotateArgs),
}

/// Where a result goes.
#[derive(Debug, Args)]
struct TargetArgs {
    /// Write the result over the file.
    #[arg(short, long, conflicts_with = "output")]
    in_place: bool,
    /// Write the result to this file, readable by its owner only.
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
}

impl TargetArgs {
    /// The file, held when the result is written over it.
    fn hold(&self, file: &std::path::Path) -> Result<Option<std::fs::File>, Refusal> {
        self.in_place.then(|| file::hold(file)).transpose()
    }
}

/// Runs the command.
pub(super) fn run(args: &SecretsArgs, global: &GlobalArgs) -> std::process::ExitCode {
    let done = match &args.command {
        SecretsCommand::Decrypt(args) => decrypt::run(args, global),
        SecretsCommand::Encrypt(args) => encrypt::run(args),
        SecretsCommand::Edit(args) => edit::run(args, global),
        SecretsCommand::Rotate(args) => rotate::run(args, global),
    };
    let exit = done.unwrap_or_else(|refusal| {
        output::complain(&refusal.message);
        refusal.exit
    });
    exit.into()
}
