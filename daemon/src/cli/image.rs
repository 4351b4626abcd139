//! `portreeve image sign`: signatures that cosign verifies.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use portreeve_policies::image::ImageReference;
use portreeve_reports::gate::ExitCode;
use portreeve_trust::sign::SigningKey;

use super::args::{self, GlobalArgs, RegistryArgs};
use super::{Failure, Outcome, block_on, output};
use crate::judge::FileSource;
use crate::registry::{Deadline, SignatureStorage};

/// Environment variable with the password of an encrypted key; the name is cosign's.
const PASSWORD_VARIABLE: &str = "COSIGN_PASSWORD";

/// Sign images.
#[derive(Debug, Args)]
pub struct ImageArgs {
    #[command(subcommand)]
    command: ImageCommand,
}

#[derive(Debug, Subcommand)]
enum ImageCommand {
    /// Sign an image with a private key.
    Sign(SignArgs),
}

/// Sign an image with a private key.
///
/// Examples:
///   portreeve image sign --key cosign.key quay.io/org/app@sha256:…
///   portreeve image sign --key cosign.key --storage v2 quay.io/org/app:1
///
/// The key is PKCS#8 PEM, or cosign's encrypted PEM with its password in COSIGN_PASSWORD.
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
struct SignArgs {
    /// The image; a tag is resolved once and the digest signed.
    image: String,
    /// Private key file.
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
    /// Where the signature is stored.
    #[arg(long, value_enum, default_value_t = Storage::V3)]
    storage: Storage,
    /// Say what would be pushed, and push nothing.
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    registry: RegistryArgs,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Storage {
    /// cosign 2: the tag sha256-….sig.
    V2,
    /// cosign 3: a sigstore bundle, by the referrers API or its fallback tag.
    V3,
}

/// Runs the command.
pub fn run(args: &ImageArgs, global: &GlobalArgs) -> Outcome {
    let ImageCommand::Sign(args) = &args.command;
    let loaded = global.load_config()?;
    let registry = args::registry(&loaded.config, &args.registry, global)?;
    let reference = ImageReference::parse(&args.image).map_err(Failure::usage)?;
    let pem = FileSource::WorkingTree.read(&args.key).map_err(Failure::usage)?;
    let password = std::env::var(PASSWORD_VARIABLE).ok();
    let key = SigningKey::from_pem(&pem, password.as_deref().map(str::as_bytes)).map_err(|error| {
        Failure::usage(format!("{}: {error} (an encrypted key's password is read from {PASSWORD_VARIABLE})", args.key.display()))
    })?;
    let storage = match args.storage {
        Storage::V2 => SignatureStorage::V2,
        Storage::V3 => SignatureStorage::V3,
    };
    let deadline = Deadline::after(global.timeout);
    let signed = block_on(global, async {
        registry.sign(&reference, &key, storage, (args.dry_run, deadline)).await.map_err(Failure::other)
    })?;
    let verb = if args.dry_run { "would sign" } else { "signed" };
    output::say(&format!("{verb} {}@{} ({})", reference.repository, signed.digest, signed.place));
    Ok(ExitCode::Clean)
}
