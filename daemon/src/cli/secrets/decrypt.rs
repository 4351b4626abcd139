//! `portreeve secrets decrypt`.

use std::path::PathBuf;

use clap::Args;
use portreeve_secrets::sops::{Extracted, KeyPath};

use super::super::args::GlobalArgs;
use super::file::{self, Staged};
use super::{Done, Refusal, TargetArgs, identities, read_document};

/// Decrypt a file to standard output.
///
/// Examples:
///   portreeve secrets decrypt secrets/hub.yaml
///   portreeve secrets decrypt --extract '["database"]["password"]' secrets/hub.yaml
///   portreeve secrets decrypt secrets/hub.yaml --output /dev/shm/hub.yaml
///
/// Nothing is written unless the MAC of the whole file is right.
#[expect(rustdoc::broken_intra_doc_links, reason = "the brackets of an example are the path's")]
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(super) struct DecryptArgs {
    /// The encrypted file.
    file: PathBuf,
    /// Only the value at this path: texts as they are, all else as YAML.
    #[arg(long, value_name = "PATH", conflicts_with = "in_place")]
    extract: Option<String>,
    #[command(flatten)]
    target: TargetArgs,
}

/// Runs the command.
pub(super) fn run(args: &DecryptArgs, global: &GlobalArgs) -> Done {
    file::only_yaml(&args.file)?;
    let refused = |error| Refusal::of(&args.file, &error);
    let path = args.extract.as_deref().map(KeyPath::parse).transpose().map_err(refused)?;
    let _held = args.target.hold(&args.file)?;
    let bytes = file::read(&args.file)?;
    let document = read_document(&args.file, &bytes)?;
    let plain = document.decrypt(&identities::load(global)?).map_err(refused)?;
    let text = match path {
        None => plain.to_yaml().map_err(refused)?,
        Some(path) => match plain.extract(&path).map_err(refused)? {
            Extracted::Text(text) | Extracted::Yaml(text) => text,
        },
    };
    match (&args.target.output, args.target.in_place) {
        (Some(output), _) => Staged::write_private(output, text.expose())?.commit()?,
        (None, true) => file::replace(&args.file, &bytes, text.expose())?,
        (None, false) => file::print(&text)?,
    }
    Ok(0)
}
