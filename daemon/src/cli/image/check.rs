//! `portreeve image check`: is an image what a data-science platform needs, and nothing that it must not be?

use std::path::{Path, PathBuf};

use clap::Args;
use jiff::{SignedDuration, Timestamp};
use portreeve_policies::image::ImageReference;
use portreeve_policies::image_contract::contents::{ImageContents, InvalidPlatform, Platform};
use portreeve_policies::image_contract::read::{self, Blobs, Descriptor, Listed, Manifest};
use portreeve_policies::image_contract::rules::{Budgets, KIND_LABEL, Kind, Wanted};
use portreeve_policies::layers::{Caps, Problem};
use portreeve_reports::Cause;
use portreeve_reports::gate::{self, ExitCode};
use portreeve_trust::evidence::Lookup;

use super::super::args::{self, GlobalArgs, RegistryArgs, ThresholdArgs};
use super::super::gate::{sort_targets, taken_for_image};
use super::super::output::{self, OutputArgs};
use super::super::{Failure, Outcome};
use crate::config::Use;
use crate::judge::contract::{Contracts, DETECTOR, Inventory, Looked};
use crate::judge::source::{repository_path, repository_root};
use crate::judge::{Asked, FileSource, Judge, JudgeOptions, JudgeSettings};
use crate::registry::{ArchivedImage, Deadline, ImageArchive, ImageLayout, PulledImage, RegistryClient};

/// How an OCI layout is named.
const LAYOUT: &str = "oci:";

/// Check an image against the contract of a data-science platform.
///
/// Examples:
///   portreeve image check quay.io/org/tool:1                           users, secrets, history, labels, sizes
///   portreeve image check --kind jupyterlab --hub-version 5.3.0 IMAGE  what the hub needs of a server's image, too
///   portreeve image check --platforms linux/amd64,linux/arm64 IMAGE    must be there for both
///   portreeve image check oci:build/layout                             an OCI layout, before it is pushed
///   portreeve image check --name quay.io/org/tool ./image.tar          what `docker save` or `crane pull` wrote
///   portreeve image check --inventory packages.json IMAGE              and list its packages
///
/// The image is read layer by layer and never run. Exit codes: 0 it is as it should be · 13 it is not · 3 no such
/// image · 4 refused · 5 it could not be read whole · 2 usage.
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(super) struct CheckArgs {
    /// Images, OCI layouts (`oci:DIR` or `oci:DIR:NAME`) and archives. An existing path, `./` or `/` is a path.
    #[arg(required = true, value_name = "IMAGE|oci:DIR|ARCHIVE")]
    images: Vec<String>,
    /// What the image is for: jupyterlab, jupyterhub, dask-worker or generic [default: its label
    /// dev.portreeve.image.kind, or generic].
    #[arg(long, value_name = "KIND", value_parser = kind)]
    kind: Option<Kind>,
    /// Version of the hub that servers of this image speak to, such as 5.3.0.
    #[arg(long, value_name = "VERSION", value_parser = version)]
    hub_version: Option<String>,
    /// Look at this platform of an index only [default: all of them].
    #[arg(long, value_name = "OS/ARCH", value_parser = platform)]
    platform: Option<Platform>,
    /// Platforms that must be there.
    #[arg(long, value_name = "OS/ARCH", value_delimiter = ',', value_parser = platform)]
    platforms: Vec<Platform>,
    /// Name of the image in findings, for layouts and archives [default: the one in the archive, or the path].
    #[arg(long, value_name = "IMAGE")]
    name: Option<String>,
    /// Most MiB of all layers as stored [default: 8192].
    #[arg(long, value_name = "MIB")]
    max_size: Option<u64>,
    /// Most MiB of one layer as stored [default: 4096].
    #[arg(long, value_name = "MIB")]
    max_layer_size: Option<u64>,
    /// Most layers [default: 100].
    #[arg(long, value_name = "N")]
    max_layers: Option<usize>,
    /// Most days since the image was made [default: 90].
    #[arg(long, value_name = "DAYS", value_parser = clap::value_parser!(u32).range(1..=36_500))]
    max_age: Option<u32>,
    /// File for the packages of all images, as JSON.
    #[arg(long, value_name = "FILE")]
    inventory: Option<PathBuf>,
    /// Exceptions.
    #[arg(long, value_name = "FILE")]
    exceptions: Vec<PathBuf>,
    #[command(flatten)]
    registry: RegistryArgs,
    #[command(flatten)]
    fail: ThresholdArgs,
    #[command(flatten)]
    output: OutputArgs,
}

fn kind(name: &str) -> Result<Kind, String> {
    let names = Kind::ALL.map(Kind::as_str).join(", ");
    Kind::parse(name).ok_or_else(|| format!("not one of {names}"))
}

fn version(text: &str) -> Result<String, String> {
    let known = portreeve_policies::image_contract::packages::major_minor(text);
    known.map(|_| text.to_owned()).ok_or_else(|| "not a version such as 5.3.0".to_owned())
}

fn platform(text: &str) -> Result<Platform, InvalidPlatform> {
    text.parse()
}

/// Runs the command.
pub(super) fn run(args: &CheckArgs, global: &GlobalArgs) -> Outcome {
    let _heartbeat = output::heartbeat()?;
    let loaded = global.load_config_for(&[Use::Rules, Use::Registries])?;
    let registry = args::registry((&loaded.config, &FileSource::WorkingTree), &args.registry, global)?;
    let exceptions = loaded.config.exceptions.iter().chain(&args.exceptions).cloned().collect();
    let settings = JudgeSettings { exceptions, ..JudgeSettings::default() };
    let judge: Judge = args::judge(&settings, &FileSource::WorkingTree, registry)?.keeping(args.output.keep());
    let deadline = Deadline::after(global.timeout_of_images());
    let options = JudgeOptions { now: Timestamp::now(), deadline };
    let targets = args.images.iter().map(|image| target(image)).collect::<Result<Vec<_>, _>>()?;
    let mut check = Check {
        args,
        options,
        caps: Caps::default(),
        contracts: Contracts::default(),
        missing: Contracts::default(),
        inventories: Vec::new(),
    };
    let mut nothing = Vec::new();
    for target in &targets {
        nothing.extend(check.target(target, judge.registry())?);
    }
    let mut judged = judge.contracts(check.contracts, &options);
    judged.findings.extend(judge.audit_exceptions(&judged.usage, options.now, &Asked::default()));
    // One that does not exist is as unknown as at every door; that there is nothing to check is a matter of the exit.
    let present = judge.report(judged, 0);
    let missing = judge.contracts(check.missing, &options);
    let mut report = present.clone();
    report.findings.extend(missing.findings);
    report.images.extend(missing.images);
    let anchor = targets.iter().find_map(Target::file).or(loaded.file.as_deref());
    let to = (global, output::anchor(anchor));
    let written = args.inventory.as_deref().map(|file| inventory(file, &check.inventories));
    nothing.iter().for_each(|line| output::say(line));
    let mut exits = output::render(&report, &args.output, to)?;
    let decision = gate::decide(&present, &args.fail.threshold(&loaded.config));
    output::say(&decision.why);
    exits.push(decision.code);
    exits.extend((!nothing.is_empty()).then_some(ExitCode::NothingToCheck));
    if let Some(Err(failure)) = written {
        output::complain(&failure.message);
        exits.push(failure.exit);
    }
    Ok(ExitCode::worst(exits))
}

/// What an argument names.
#[derive(Debug, PartialEq, Eq)]
enum Target {
    Image(String),
    Layout { folder: PathBuf, name: Option<String> },
    Archive(PathBuf),
}

impl Target {
    /// The file that findings about it point to.
    fn file(&self) -> Option<&Path> {
        match self {
            Self::Archive(file) => Some(file),
            Self::Image(_) | Self::Layout { .. } => None,
        }
    }
}

fn target(text: &str) -> Result<Target, Failure> {
    if let Some(rest) = text.strip_prefix(LAYOUT) {
        let (folder, name) = match rest.rsplit_once(':') {
            Some((folder, name)) if !Path::new(rest).exists() => (folder, Some(name.to_owned())),
            _ => (rest, None),
        };
        let folder = PathBuf::from(folder);
        let is_folder = folder.is_dir();
        let missing = || Failure::usage(format!("{}: no such folder; an OCI layout is needed", folder.display()));
        return is_folder.then(|| Target::Layout { folder: folder.clone(), name }).ok_or_else(missing);
    }
    let sorted = sort_targets(std::slice::from_ref(&text.to_owned()))?;
    sorted.unlikely.iter().for_each(|image| output::say(&taken_for_image(image)));
    match (sorted.paths.into_iter().next(), sorted.images.into_iter().next()) {
        (Some(path), _) if path.is_dir() => Ok(Target::Layout { folder: path, name: None }),
        (Some(path), _) if path.as_os_str() == "-" => Err(Failure::usage("an image is not read from standard input")),
        (Some(path), _) if !path.exists() => Err(Failure::usage(format!("{}: no such file", path.display()))),
        (Some(path), _) => Ok(Target::Archive(path)),
        (None, Some(image)) => Ok(Target::Image(image)),
        (None, None) => Err(Failure::usage(format!("'{text}' names nothing"))),
    }
}

/// The check of all images, one after the other.
struct Check<'a> {
    args: &'a CheckArgs,
    options: JudgeOptions,
    caps: Caps,
    contracts: Contracts,
    /// Of images that the registry does not have.
    missing: Contracts,
    inventories: Vec<Inventory>,
}

/// What there was nothing of, in words.
type Nothing = Vec<String>;

impl Check<'_> {
    fn target(&mut self, target: &Target, registry: &RegistryClient) -> Result<Nothing, Failure> {
        match target {
            Target::Image(image) => self.image(image, registry),
            Target::Layout { folder, name } => self.layout(folder, name.as_deref()),
            Target::Archive(file) => self.archive(file),
        }
    }

    fn image(&mut self, text: &str, registry: &RegistryClient) -> Result<Nothing, Failure> {
        let image = ImageReference::parse(text).map_err(Failure::usage)?;
        let runtime = super::super::runtime()?;
        let pulled = PulledImage::new(registry, &image, &runtime, self.options.deadline);
        let looked = |digest: Option<String>| Looked {
            reference: text.to_owned(),
            repository: image.repository.to_string(),
            digest,
            manifest: None,
        };
        match pulled.root() {
            Lookup::Found(root) => Ok(self.root(&pulled, &root, looked(Some(root.digest.clone())))),
            Lookup::Absent => {
                let message = "the registry has no such image; correct the reference, or push the image".to_owned();
                let (looked, image) = (looked(None), read::unread(Problem { cause: Cause::Unreachable, message }));
                let wanted = self.wanted(&looked, &image);
                self.missing.add(&looked, &image, &wanted);
                Ok(vec![format!("no such image: {text}")])
            }
            Lookup::Indeterminate(cause, message) => {
                self.unread(&looked(None), Problem { cause, message });
                Ok(Nothing::new())
            }
        }
    }

    fn layout(&mut self, folder: &Path, name: Option<&str>) -> Result<Nothing, Failure> {
        let place = format!("{LAYOUT}{}", repository_path(folder, repository_root().as_deref()));
        let (layout, images) = match ImageLayout::open(folder, name) {
            Ok(opened) => opened,
            Err(problem) => {
                self.unread(&self.local(&place, None, None)?, problem);
                return Ok(Nothing::new());
            }
        };
        let mut nothing = nothing_there(&place, name, images.len());
        for image in images {
            let looked = self.local(&place, layout_name(&image), Some(image.digest.clone()))?;
            nothing.extend(self.root(&layout, &image, looked));
        }
        Ok(nothing)
    }

    fn archive(&mut self, file: &Path) -> Result<Nothing, Failure> {
        let place = repository_path(file, repository_root().as_deref());
        let opened = ImageArchive::open(file, &self.caps);
        let listed = opened.and_then(|archive| archive.images().map(|images| (archive, images)));
        let (archive, images) = match listed {
            Ok(listed) => listed,
            Err(problem) => {
                self.unread(&self.local(&place, None, None)?, problem);
                return Ok(Nothing::new());
            }
        };
        let mut nothing = nothing_there(&place, None, images.len());
        for image in images {
            match image {
                ArchivedImage::Described(descriptor, name) => {
                    let looked = self.local(&place, name, Some(descriptor.digest.clone()))?;
                    nothing.extend(self.root(&archive, &descriptor, looked));
                }
                ArchivedImage::Listed(manifest, name) => {
                    let looked = self.local(&place, name, None)?;
                    nothing.extend(self.manifest(&archive, &manifest, None, &looked));
                }
            }
        }
        Ok(nothing)
    }

    /// An image that is in no registry: by the name that somebody gives it, or it has, or the path.
    fn local(&self, place: &str, own: Option<String>, digest: Option<String>) -> Result<Looked, Failure> {
        let named = self.args.name.as_deref().map(ImageReference::parse).transpose().map_err(Failure::usage)?;
        let own = own.as_deref().and_then(|own| ImageReference::parse(own).ok());
        let repository = named.or(own).map_or_else(|| place.to_owned(), |name| name.repository.to_string());
        Ok(Looked { reference: place.to_owned(), repository, digest, manifest: None })
    }

    /// All images behind a descriptor.
    fn root(&mut self, blobs: &dyn Blobs, root: &Descriptor, looked: Looked) -> Nothing {
        let listed = match read::images(blobs, root) {
            Ok(listed) => listed,
            Err(problem) => {
                self.unread(&looked, problem);
                return Nothing::new();
            }
        };
        let is_meant = |listed: &&Listed| match (&self.args.platform, &listed.descriptor.platform) {
            (Some(wanted), Some(there)) => there.is(wanted),
            _ => true,
        };
        let meant: Vec<&Listed> = listed.iter().filter(is_meant).collect();
        let mut nothing = Nothing::new();
        if meant.is_empty() {
            let there: Vec<String> = listed
                .iter()
                .filter_map(|listed| listed.descriptor.platform.as_ref())
                .map(Platform::to_string)
                .collect();
            let there = if there.is_empty() { "none".to_owned() } else { there.join(", ") };
            nothing.push(format!("{}: no image for the platform; those there are: {there}", looked.reference));
        }
        for listed in meant {
            let looked = Looked { manifest: Some(listed.descriptor.digest.clone()), ..looked.clone() };
            match read::manifest(blobs, &listed.descriptor) {
                Ok(manifest) => nothing.extend(self.manifest(blobs, &manifest, Some(listed), &looked)),
                Err(problem) => self.unread(&looked, problem),
            }
        }
        nothing
    }

    fn manifest(
        &mut self,
        blobs: &dyn Blobs,
        manifest: &Manifest,
        listed: Option<&Listed>,
        looked: &Looked,
    ) -> Nothing {
        match read::contents(blobs, manifest, listed, (&self.caps, DETECTOR)) {
            Ok(image) => {
                let is_listed = listed.is_some_and(|listed| listed.descriptor.platform.is_some());
                if let Some(wanted) =
                    self.args.platform.as_ref().filter(|wanted| !is_listed && !image.platform.is(wanted))
                {
                    return vec![format!("{}: it is for {}, not for {wanted}", looked.reference, image.platform)];
                }
                self.judge(looked, &image);
            }
            Err(problem) => self.unread(looked, problem),
        }
        Nothing::new()
    }

    fn unread(&mut self, looked: &Looked, problem: Problem) {
        self.judge(looked, &read::unread(problem));
    }

    fn judge(&mut self, looked: &Looked, image: &ImageContents) {
        let wanted = self.wanted(looked, image);
        self.contracts.add(looked, image, &wanted);
        if self.args.inventory.is_some() {
            self.inventories.push(Inventory::of(looked, image));
        }
    }

    fn wanted(&self, looked: &Looked, image: &ImageContents) -> Wanted {
        let args = self.args;
        let label = image.config.config.labels.get(KIND_LABEL).map(String::as_str);
        let kind = args.kind.or_else(|| label.and_then(Kind::parse)).unwrap_or_default();
        if args.kind.is_none() && image.has_config {
            output::say(&match label {
                Some(label) if Kind::parse(label).is_some() => {
                    format!("{}: checked as {label}, as its label says", looked.reference)
                }
                _ => format!(
                    "{}: checked as generic; --kind or the label {KIND_LABEL} says what an image is for",
                    looked.reference
                ),
            });
        }
        let budgets = Budgets::default();
        Wanted {
            kind,
            hub_version: args.hub_version.clone(),
            platforms: args.platforms.clone(),
            budgets: Budgets {
                size: args.max_size.map_or(budgets.size, mib),
                layer: args.max_layer_size.map_or(budgets.layer, mib),
                layers: args.max_layers.unwrap_or(budgets.layers),
                age: args.max_age.map_or(budgets.age, |days| SignedDuration::from_hours(i64::from(days) * 24)),
            },
            now: self.options.now,
            detector: DETECTOR,
        }
    }
}

fn mib(mib: u64) -> u64 {
    mib.saturating_mul(1 << 20)
}

/// The whole name that an image of a layout has.
fn layout_name(image: &Descriptor) -> Option<String> {
    let names = ["io.containerd.image.name", "org.opencontainers.image.ref.name"];
    let mut names = names.into_iter().filter_map(|key| image.annotations.get(key));
    // A tag alone names nothing.
    names.find(|name| name.contains('/')).cloned()
}

fn nothing_there(place: &str, name: Option<&str>, count: usize) -> Nothing {
    let named = name.map_or_else(String::new, |name| format!(" called '{name}'"));
    if count == 0 { vec![format!("{place}: there is no image{named}")] } else { Nothing::new() }
}

fn inventory(file: &Path, inventories: &[Inventory]) -> Result<(), Failure> {
    let image = |inventory: &Inventory| {
        let packages = inventory.packages.iter().map(|(manager, package)| {
            serde_json::json!({
                "manager": manager.as_str(),
                "name": package.name,
                "version": package.version,
                "prefix": package.prefix,
                "record": package.record,
            })
        });
        let packages: Vec<_> = packages.collect();
        serde_json::json!({"reference": inventory.reference, "platform": inventory.platform, "packages": packages})
    };
    let images: Vec<_> = inventories.iter().map(image).collect();
    let document = serde_json::json!({"schemaVersion": "packages-v1", "images": images});
    output::write_whole(file, |out| {
        serde_json::to_writer_pretty(&mut *out, &document)?;
        out.write_all(b"\n")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layouts_are_named_by_their_word_and_paths_by_their_form() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().to_str().unwrap();
        let layout = |name: Option<&str>| Target::Layout { folder: path.into(), name: name.map(str::to_owned) };
        assert_eq!(target(&format!("oci:{path}")).unwrap(), layout(None));
        assert_eq!(target(&format!("oci:{path}:v1")).unwrap(), layout(Some("v1")));
        assert_eq!(target(path).unwrap(), layout(None));
        assert!(target("oci:nowhere").unwrap_err().message.contains("no such folder"));
        assert_eq!(target("quay.io/org/app:1").unwrap(), Target::Image("quay.io/org/app:1".into()));
        assert!(target("./nothing.tar").unwrap_err().message.contains("no such file"));
    }
}
