//! `portreeve image`: images are checked, and signed so that cosign verifies.

mod check;

use std::collections::BTreeMap;
use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use jiff::Timestamp;
use portreeve_policies::image::{Digest, ImageReference};
use portreeve_reports::gate::ExitCode;
use portreeve_trust::evidence::{Lookup, SignatureLayer};
use portreeve_trust::sign::{Descriptor, MANIFEST, SigningKey, sign_v2, sign_v3};

use super::args::{self, GlobalArgs, RegistryArgs};
use super::{Failure, Outcome, block_on, output};
use crate::config::Use;
use crate::judge::FileSource;
use crate::registry::{self, Deadline, ReferrerManifest, RegistryClient, ResolvedManifest};

/// Environment variable with the password of an encrypted key; the name is cosign's.
const PASSWORD_VARIABLE: &str = "COSIGN_PASSWORD";

/// Check and sign images.
///
/// Examples:
///   portreeve image check --kind jupyterlab quay.io/org/lab:1
///   portreeve image sign registry.example.com/demo/app:1 --key signing.key
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(super) struct ImageArgs {
    #[command(subcommand)]
    command: ImageCommand,
}

#[derive(Debug, Subcommand)]
enum ImageCommand {
    Check(Box<check::CheckArgs>),
    Sign(SignArgs),
}

/// Sign an image with a private key.
///
/// Examples:
///   portreeve image sign --key cosign.key quay.io/org/app@sha256:…
///   portreeve image sign --key cosign.key --storage v2 quay.io/org/app:1
///
/// Exit codes: 0 signed · 3 no such image · 4 refused · 5 the registry could not be reached · 2 usage.
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
pub(super) fn run(args: &ImageArgs, global: &GlobalArgs) -> Outcome {
    match &args.command {
        ImageCommand::Check(args) => check::run(args, global),
        ImageCommand::Sign(args) => sign(args, global),
    }
}

fn sign(args: &SignArgs, global: &GlobalArgs) -> Outcome {
    let loaded = global.load_config_for(&[Use::Registries])?;
    let registry = args::registry((&loaded.config, &FileSource::WorkingTree), &args.registry, global)?;
    let reference = ImageReference::parse(&args.image).map_err(Failure::usage)?;
    let pem = FileSource::WorkingTree.read(&args.key).map_err(Failure::usage)?;
    let password = std::env::var(PASSWORD_VARIABLE).ok();
    let key = SigningKey::from_pem(&pem, password.as_deref().map(str::as_bytes)).map_err(|error| {
        Failure::usage(format!(
            "{}: {error} (an encrypted key's password is read from {PASSWORD_VARIABLE})",
            args.key.display()
        ))
    })?;
    let signer = Signer { registry: &registry, reference: &reference, deadline: Deadline::after(global.timeout()) };
    let digest = block_on(global, signer.sign(args, &key))?;
    let verb = if args.dry_run { "would sign" } else { "signed" };
    output::say(&format!("{verb} {}@{digest}", reference.repository));
    Ok(ExitCode::Clean)
}

/// Signs one image.
struct Signer<'a> {
    registry: &'a RegistryClient,
    reference: &'a ImageReference,
    deadline: Deadline,
}

impl Signer<'_> {
    async fn sign(&self, args: &SignArgs, key: &SigningKey) -> Result<Digest, Failure> {
        let subject = match self.registry.resolve(self.reference, self.deadline).await {
            Lookup::Found(manifest) => manifest,
            Lookup::Absent => {
                let message = format!("no such image: {}", self.reference);
                return Err(Failure { exit: ExitCode::NothingToCheck, message });
            }
            Lookup::Indeterminate(cause, why) => return Err(Failure::not_had(cause, why)),
        };
        match args.storage {
            Storage::V2 => self.sign_v2(key, &subject, args.dry_run).await?,
            Storage::V3 => self.sign_v3(key, &subject, args.dry_run).await?,
        }
        Ok(subject.digest)
    }

    async fn sign_v2(&self, key: &SigningKey, subject: &ResolvedManifest, dry_run: bool) -> Result<(), Failure> {
        let existing = self.existing_layers(&subject.digest).await?;
        let signed = sign_v2(key, self.reference, &subject.digest, &existing).map_err(Failure::other)?;
        if dry_run {
            return Ok(());
        }
        self.put_blob(signed.payload).await?;
        self.put_blob(signed.config).await?;
        let manifest = (MANIFEST, signed.manifest);
        self.registry
            .put_manifest(self.reference, Some(&signed.tag), manifest, self.deadline)
            .await
            .map_err(refused)?;
        Ok(())
    }

    async fn sign_v3(&self, key: &SigningKey, subject: &ResolvedManifest, dry_run: bool) -> Result<(), Failure> {
        let descriptor = Descriptor {
            media_type: subject.media_type.clone(),
            digest: subject.digest.clone(),
            size: subject.size,
            annotations: BTreeMap::new(),
        };
        let signed = sign_v3(key, &descriptor, Timestamp::now()).map_err(Failure::other)?;
        if dry_run {
            return Ok(());
        }
        self.put_blob(signed.bundle).await?;
        self.put_blob(signed.config).await?;
        let referrer = ReferrerManifest {
            bytes: signed.manifest,
            artifact_type: signed.artifact_type.to_owned(),
            annotations: signed.descriptor.annotations,
        };
        self.registry.push_referrer(self.reference, &subject.digest, referrer, self.deadline).await.map_err(refused)?;
        Ok(())
    }

    async fn put_blob(&self, bytes: Vec<u8>) -> Result<(), Failure> {
        self.registry.put_blob(self.reference, bytes, self.deadline).await.map(drop).map_err(refused)
    }

    /// The signatures that are behind the tag already. They are kept; one that cannot be read stops the signing,
    /// because the tag would be written without it.
    async fn existing_layers(&self, digest: &Digest) -> Result<Vec<Descriptor>, Failure> {
        let evidence = self.registry.evidence(self.reference, digest, self.deadline).await;
        let layers = match &evidence.tag_signatures {
            Lookup::Found(layers) => layers,
            Lookup::Absent => return Ok(Vec::new()),
            Lookup::Indeterminate(cause, why) => {
                return Err(Failure::not_had(*cause, format!("existing signatures: {why}")));
            }
        };
        layers.iter().map(existing_layer).collect()
    }
}

/// A push that the registry did not take.
fn refused(failure: registry::Failure) -> Failure {
    Failure::not_had(failure.cause, failure.message)
}

fn existing_layer(layer: &SignatureLayer) -> Result<Descriptor, Failure> {
    let Lookup::Found(payload) = &layer.payload else {
        return Err(Failure::other("an existing signature could not be read, and would be lost by signing again"));
    };
    Ok(Descriptor {
        media_type: layer.media_type.clone(),
        digest: Digest::parse(&portreeve_reports::digest::sha256(payload)).map_err(Failure::other)?,
        size: payload.len() as u64,
        annotations: layer.annotations.clone(),
    })
}
