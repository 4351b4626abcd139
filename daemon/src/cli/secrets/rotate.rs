//! `portreeve secrets rotate`: a new data key. Planned, staged, checked, committed: each step takes what the one before
//! gives, and a run that is killed leaves the old file or the new one.

use std::path::{Path, PathBuf};

use clap::Args;
use jiff::Timestamp;
use portreeve_secrets::sops::{Document, Identities, Plain, SecretBytes};

use super::super::args::GlobalArgs;
use super::file::{self, Staged};
use super::{Done, Refusal, SystemRandom, exits, identities, read_document};

/// Encrypt a file again, under a new data key.
///
/// Examples:
///   portreeve secrets rotate --dry-run secrets/hub.yaml
///   portreeve secrets rotate secrets/hub.yaml
///
/// The recipients stay, every value gets a new nonce. The new file is written beside the old one, read back, decrypted
/// and compared before it takes its place. Who knew the values still knows them: change those too when somebody left.
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(super) struct RotateArgs {
    /// The encrypted file.
    file: PathBuf,
    /// Write the result over the file, which is done in any case; sops wants it said.
    #[arg(short, long)]
    in_place: bool,
    /// Say what would be done, and write nothing.
    #[arg(long)]
    dry_run: bool,
}

/// The new file, in memory.
struct Planned {
    before: SecretBytes,
    plain: Plain,
    bytes: Vec<u8>,
    recipients: Vec<String>,
}

/// The new file beside the old one, decrypted from the disk and found to be the same.
struct CheckedFile(Staged);

/// Runs the command.
pub(super) fn run(args: &RotateArgs, global: &GlobalArgs) -> Done {
    file::only_yaml(&args.file)?;
    let _held = file::hold(&args.file)?;
    let identities = identities::load(global)?;
    let planned = plan(&args.file, &identities)?;
    planned.compare(&planned.bytes, &identities)?;
    let verb = if args.dry_run { "would rotate" } else { "rotating" };
    let recipients = planned.recipients.join(", ");
    file::say(&format!("{verb} {}: a new data key for {recipients}, a new nonce for every value", args.file.display()));
    if args.dry_run {
        Staged::would_be_written(&args.file)?;
    } else {
        let checked = check(Staged::write(&args.file, &planned.bytes)?, &planned, &identities)?;
        file::unchanged(&args.file, &planned.before)?;
        checked.commit()?;
    }
    Ok(0)
}

fn plan(path: &Path, identities: &Identities) -> Result<Planned, Refusal> {
    let refused = |error| Refusal::of(path, &error);
    let bytes = file::read(path)?;
    let document = read_document(path, &bytes)?;
    let opened = document.open(identities).map_err(refused)?;
    let plain = opened.plain().clone();
    let rotated = opened.rotate(Timestamp::now(), &mut SystemRandom::new()).map_err(refused)?;
    let recipients = rotated.recipients().into_iter().map(str::to_owned).collect();
    Ok(Planned { plain, recipients, bytes: rotated.to_yaml().map_err(refused)?, before: bytes })
}

fn check(staged: Staged, planned: &Planned, identities: &Identities) -> Result<CheckedFile, Refusal> {
    planned.compare(staged.read()?.expose(), identities)?;
    Ok(CheckedFile(staged))
}

impl Planned {
    /// Whether bytes open, and say what the old file says.
    fn compare(&self, bytes: &[u8], identities: &Identities) -> Result<(), Refusal> {
        let plain = Document::read(bytes).and_then(|document| document.decrypt(identities));
        match plain {
            Ok(plain) if plain.says_the_same_as(&self.plain) => Ok(()),
            Ok(_) => Err(Refusal::new(
                exits::GENERIC,
                "the new file would hold other values or comments than the old one; nothing was changed",
            )),
            Err(error) => Err(Refusal::new(
                exits::GENERIC,
                format_args!("the new file does not open; nothing was changed: {error}"),
            )),
        }
    }
}

impl CheckedFile {
    fn commit(self) -> Result<(), Refusal> {
        self.0.commit()
    }
}
