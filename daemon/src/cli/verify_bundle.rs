//! `portreeve verify-bundle`: does a sigstore bundle prove who signed a file?

use std::io::Read;
use std::path::{Path, PathBuf};

use clap::Args;
use portreeve_policies::image::Digest;
use portreeve_reports::gate::ExitCode;
use portreeve_trust::artifact::{Artifact, Signatory, verify};
use portreeve_trust::key::TrustedKey;
use portreeve_trust::root::{EmbeddedRoot, TrustRoot};
use sha2::{Digest as _, Sha256};

use super::identity::IdentityArgs;
use super::{Failure, Outcome, output};
use crate::judge::FileSource;
use crate::runtime::files;

/// Largest file that is read as a whole; of larger ones the digest is taken.
const MAX_WHOLE: u64 = 64 << 20;

/// Verify a file by a sigstore bundle.
///
/// Examples:
///   portreeve verify-bundle --bundle app.tar.sigstore.json --certificate-identity dev@example.org \
///     --certificate-oidc-issuer ISSUER_URL app.tar
///   portreeve verify-bundle --bundle b.json --key signer.pub --trusted-root trusted_root.json sha256:…
///
/// The certificate, its certificate transparency, the log entry and the time are all needed; with --key the log entry.
/// Nothing is asked of the network.
///
/// Exit codes: 0 signed by whom it should be · 12 not · 2 usage, or a file that cannot be read.
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(super) struct VerifyBundleArgs {
    /// The file, or its digest (sha256: and 64 hexadecimal digits).
    #[arg(value_name = "FILE_OR_DIGEST")]
    artifact: String,
    /// The bundle.
    #[arg(long, value_name = "FILE")]
    bundle: PathBuf,
    /// Public key that must have signed, PEM.
    #[arg(long, value_name = "FILE", conflicts_with_all = super::identity::WHO)]
    key: Option<PathBuf>,
    #[command(flatten)]
    identity: IdentityArgs,
    /// Take the embedded trusted root of sigstore's staging instance.
    #[arg(long, conflicts_with = "trusted_root")]
    staging: bool,
}

/// Runs the command.
pub(super) fn run(args: &VerifyBundleArgs) -> Outcome {
    let read = |file: &Path| FileSource::WorkingTree.read(file).map_err(Failure::usage);
    let root = root(args)?;
    let by = signatory(args)?;
    let bundle = read(&args.bundle)?;
    let verified = match artifact(&args.artifact)? {
        Content::Bytes(bytes) => verify(&bundle, Artifact::Bytes(&bytes), &by, &root),
        Content::Digest(digest) => verify(&bundle, Artifact::Digest(&digest), &by, &root),
    };
    match verified {
        Ok(signer) => {
            output::print(&format!("{}: signed by {signer}\n", args.artifact))?;
            Ok(ExitCode::Clean)
        }
        Err(error) => {
            output::say(&format!("{}: {error}", args.bundle.display()));
            Ok(ExitCode::Untrusted)
        }
    }
}

fn root(args: &VerifyBundleArgs) -> Result<TrustRoot, Failure> {
    let root = match &args.identity.trusted_root {
        Some(file) => TrustRoot::from_json(&FileSource::WorkingTree.read(file).map_err(Failure::usage)?),
        None if args.staging => TrustRoot::embedded(EmbeddedRoot::SigstoreStaging),
        None => TrustRoot::embedded(EmbeddedRoot::Sigstore),
    };
    root.map_err(|error| Failure::usage_by(&error))
}

fn signatory(args: &VerifyBundleArgs) -> Result<Signatory, Failure> {
    match (&args.key, args.identity.identity()?) {
        (Some(file), _) => {
            let bytes = FileSource::WorkingTree.read(file).map_err(Failure::usage)?;
            let key = TrustedKey::from_pem(&bytes);
            key.map(Signatory::Key).map_err(|error| Failure::usage(format!("{}: {error}", file.display())))
        }
        (None, Some(identity)) => Ok(Signatory::Identity(identity)),
        (None, None) => Err(Failure::usage(
            "nobody to trust: name a key with --key, or an identity with --certificate-identity and \
             --certificate-oidc-issuer",
        )),
    }
}

enum Content {
    Bytes(Vec<u8>),
    Digest(Digest),
}

/// A digest is one unless there is a file of that name.
fn artifact(named: &str) -> Result<Content, Failure> {
    let path = Path::new(named);
    if !path.exists()
        && let Ok(digest) = Digest::parse(named)
    {
        return Ok(Content::Digest(digest));
    }
    let fail = |error: std::io::Error| Failure::usage(format!("{named}: {error}"));
    let mut file = files::open_named(path).map_err(fail)?;
    let mut bytes = Vec::new();
    (&mut file).take(MAX_WHOLE + 1).read_to_end(&mut bytes).map_err(fail)?;
    if bytes.len() as u64 <= MAX_WHOLE {
        return Ok(Content::Bytes(bytes));
    }
    let mut hash = Sha256::new();
    hash.update(&bytes);
    std::io::copy(&mut file, &mut hash).map_err(fail)?;
    let digest = format!("sha256:{}", portreeve_reports::digest::hex(&hash.finalize()));
    Digest::parse(&digest).map(Content::Digest).map_err(Failure::other)
}
