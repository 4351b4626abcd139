//! The files that a configuration names. Which they are is told from the configuration alone; looking for them is the
//! caller's, who knows whether they are on disk or in a git ref.

use std::path::{Path, PathBuf};

use portreeve_reports::source::{Place, Problems};

use super::raw::{Placed, RawConfig};
use crate::runtime::files::open_named;

/// What a file is needed for. A command looks for the files that it uses: a gate in CI has no kubeconfig, and no
/// identity of age.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Use {
    /// To judge: image policy, parameters, exceptions.
    Rules,
    /// To speak to registries: certificate authorities, credentials.
    Registries,
    /// To reach the cluster: kubeconfig, or the folder that stands in for one.
    Cluster,
    /// To decrypt, and to keep Secrets like files.
    Secrets,
    /// For what only the daemon does: credential providers, platform, webhook, store.
    Daemon,
}

impl Use {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Rules, Self::Registries, Self::Cluster, Self::Secrets, Self::Daemon];
    /// What a command needs that judges files.
    pub const JUDGING: [Self; 2] = [Self::Rules, Self::Registries];
}

/// A file or folder that a configuration names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedFile {
    /// The key that names it.
    pub key: String,
    /// The path, relative to the working directory.
    pub path: PathBuf,
    /// Where the name stands.
    pub place: Place,
    /// What it is needed for.
    pub used_for: Use,
    /// Whether it is a folder.
    pub is_folder: bool,
}

/// Looks for a file; what is wrong with it otherwise.
pub type Look<'a> = &'a dyn Fn(&NamedFile) -> Result<(), String>;

/// Looks for each file that is named; what is wrong goes to `problems`.
pub(super) fn look_for_all(raw: &RawConfig, base: &Path, look: Look<'_>, problems: &mut Problems) {
    for file in named(raw, base) {
        if let Err(reason) = look(&file) {
            problems.push(file.place, format!("'{}': {} {reason}", file.key, file.path.display()));
        }
    }
}

/// Whether a file can be opened, and is a file, or a folder where one is needed.
pub fn on_disk(file: &NamedFile) -> Result<(), String> {
    let path = if file.path.as_os_str().is_empty() { Path::new(".") } else { &file.path };
    let about = std::fs::metadata(path).map_err(|error| unreadable(&error))?;
    match (file.is_folder, about.is_dir()) {
        (true, true) => Ok(()),
        (true, false) => Err("is not a folder".to_owned()),
        (false, true) => Err("is a folder, not a file".to_owned()),
        (false, false) => open_named(path).map(drop).map_err(|error| unreadable(&error)),
    }
}

fn unreadable(error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::NotFound => "does not exist; create it, or correct the path".to_owned(),
        std::io::ErrorKind::PermissionDenied => "may not be read by this user; give it the right to".to_owned(),
        _ => format!("could not be read: {error}"),
    }
}

fn named(raw: &RawConfig, base: &Path) -> Vec<NamedFile> {
    let mut list = Named { base, files: Vec::new() };
    list.rules(raw);
    list.registries(raw);
    list.cluster(raw);
    list.secrets(raw);
    list.daemon(raw);
    list.files
}

struct Named<'a> {
    base: &'a Path,
    files: Vec<NamedFile>,
}

impl Named<'_> {
    fn file(&mut self, used_for: Use, key: impl Into<String>, file: Option<&Placed<String>>) {
        self.add((used_for, false), key.into(), file);
    }

    fn folder(&mut self, used_for: Use, key: impl Into<String>, folder: Option<&Placed<String>>) {
        self.add((used_for, true), key.into(), folder);
    }

    fn add(&mut self, (used_for, is_folder): (Use, bool), key: String, file: Option<&Placed<String>>) {
        let path = |file: &Placed<String>| self.base.join(&file.value);
        let named = file.map(|file| NamedFile { key, path: path(file), place: file.place, used_for, is_folder });
        self.files.extend(named);
    }

    fn rules(&mut self, raw: &RawConfig) {
        self.file(Use::Rules, "images.policy", raw.images.as_ref().and_then(|images| images.policy.as_ref()));
        self.file(Use::Rules, "posture.params", raw.posture.as_ref().and_then(|posture| posture.params.as_ref()));
        for (index, file) in raw.exceptions.iter().enumerate() {
            self.file(Use::Rules, format!("exceptions[{index}]"), Some(file));
        }
    }

    fn registries(&mut self, raw: &RawConfig) {
        for (index, registry) in raw.registries.iter().enumerate() {
            self.file(Use::Registries, format!("registries[{index}].caFile"), registry.ca_file.as_ref());
            let docker = registry.credentials.as_ref().and_then(|credentials| credentials.docker_config.as_ref());
            self.file(Use::Registries, format!("registries[{index}].credentials.dockerConfig"), docker);
        }
    }

    fn cluster(&mut self, raw: &RawConfig) {
        let Some(cluster) = &raw.cluster else { return };
        self.file(Use::Cluster, "cluster.kubeconfig", cluster.kubeconfig.as_ref());
        self.folder(Use::Cluster, "cluster.folder", cluster.folder.as_ref());
    }

    fn secrets(&mut self, raw: &RawConfig) {
        let Some(secrets) = &raw.secrets else { return };
        let identities = secrets.identities.iter().map(|identity| (&identity.key, &identity.file));
        let sync = secrets.sync.iter().map(|sync| (&sync.key, &sync.file));
        for (key, file) in identities.chain(sync) {
            self.file(Use::Secrets, format!("{key}.file"), Some(file));
        }
    }

    fn daemon(&mut self, raw: &RawConfig) {
        if let Some(providers) = &raw.credential_providers {
            self.file(Use::Daemon, "credentialProviders.config", Some(&providers.config));
            self.folder(Use::Daemon, "credentialProviders.binDir", Some(&providers.bin_dir));
        }
        if let Some(platform) = &raw.platform {
            self.file(Use::Daemon, "platform.file", platform.file.as_ref());
            self.folder(Use::Daemon, "platform.folder", platform.folder.as_ref());
        }
        if let Some(tls) = raw.admission.as_ref().and_then(|admission| admission.tls.as_ref()) {
            self.file(Use::Daemon, "admission.tls.certFile", tls.cert_file.as_ref());
            self.file(Use::Daemon, "admission.tls.keyFile", tls.key_file.as_ref());
        }
        let url = raw.store.as_ref().and_then(|store| store.url.as_ref());
        let folder = url.and_then(|url| {
            let store = url.value.strip_prefix("sqlite://")?;
            let folder = Path::new(store).parent()?.to_str()?.to_owned();
            Some(Placed { value: folder, place: url.place })
        });
        self.folder(Use::Daemon, "store.url", folder.as_ref());
    }
}
