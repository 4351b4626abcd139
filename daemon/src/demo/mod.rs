//! `portreeve demo`: everything in one process on loopback. A registry with signed, unsigned and damaged images, a
//! folder of manifests as the cluster, and the daemon on top.

pub mod images;
pub mod registry;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use crate::config::{LoadedConfig, Use, load};

/// Marks a folder as one that the demo may clear.
const MARKER: &str = ".portreeve-demo";

/// The files of the demo, with `{registry}`, `{listen}` and `{metrics}` to be filled in.
const FILES: [(&str, &str); 4] = [
    ("manifests/jupyterhub.yaml", include_str!("manifests/jupyterhub.yaml")),
    ("manifests/conda-store.yaml", include_str!("manifests/conda-store.yaml")),
    ("image-policy.yaml", include_str!("image-policy.yaml")),
    ("portreeve.yaml", include_str!("portreeve.yaml")),
];

/// Addresses of the demo.
#[derive(Clone, Copy, Debug)]
pub struct DemoAddresses {
    /// The registry, as it listens.
    pub registry: SocketAddr,
    /// The dashboard.
    pub listen: SocketAddr,
    /// Health and metrics.
    pub metrics: SocketAddr,
}

/// Why there is no demo.
#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    /// The folder holds something else.
    #[error("{0} exists and was not made by the demo; name another folder with --dir")]
    Foreign(String),
    /// Another demo runs on the folder.
    #[error("a demo is running in {0}; end it, or name another folder with --dir")]
    Running(String),
    /// A file or folder could not be written.
    #[error("{path} could not be written: {reason}")]
    Write {
        /// The path.
        path: String,
        /// The system's words.
        reason: String,
    },
    /// The images could not be made.
    #[error("the demo's images could not be made: {0}")]
    Images(#[from] images::LayoutError),
    /// The configuration that was written does not load.
    #[error(transparent)]
    Config(#[from] crate::config::ConfigError),
}

/// Where the demo's files are.
#[derive(Clone, Debug)]
pub struct DemoFolder {
    root: PathBuf,
}

impl DemoFolder {
    /// An empty folder: a new one, or one that an earlier demo made, cleared.
    pub fn prepare(root: &Path) -> Result<Self, DemoError> {
        if is_running(root) {
            return Err(DemoError::Running(root.display().to_string()));
        }
        if root.join(MARKER).is_file() {
            std::fs::remove_dir_all(root).map_err(|error| write_error(root, &error))?;
        } else if root.exists() {
            return Err(DemoError::Foreign(root.display().to_string()));
        }
        let folder = Self { root: root.to_path_buf() };
        folder.write(MARKER, b"This folder is deleted and made anew by `portreeve demo`.\n")?;
        Ok(folder)
    }

    /// Writes the images and all files, and loads the configuration among them.
    pub fn fill(&self, addresses: DemoAddresses) -> Result<LoadedConfig, DemoError> {
        let registry = addresses.registry.to_string();
        let images = images::build_layout(&self.layout(), &registry)?;
        self.write("cosign.pub", images.public_key_pem.as_bytes())?;
        for (name, text) in FILES {
            let text = text
                .replace("{registry}", &registry)
                .replace("{listen}", &addresses.listen.to_string())
                .replace("{metrics}", &addresses.metrics.to_string());
            self.write(name, text.as_bytes())?;
        }
        Ok(load(Some(&self.config_file()), &std::collections::BTreeMap::new(), &Use::ALL)?)
    }

    /// The OCI layout that the registry serves.
    pub fn layout(&self) -> PathBuf {
        self.root.join("registry")
    }

    /// The configuration.
    pub fn config_file(&self) -> PathBuf {
        self.root.join("portreeve.yaml")
    }

    /// The manifests.
    pub fn manifests(&self) -> PathBuf {
        self.root.join("manifests")
    }

    fn write(&self, name: &str, bytes: &[u8]) -> Result<(), DemoError> {
        let path = self.root.join(name);
        let folder = path.parent().unwrap_or(&self.root);
        std::fs::create_dir_all(folder)
            .and_then(|()| std::fs::write(&path, bytes))
            .map_err(|error| write_error(&path, &error))
    }
}

/// Whether a daemon holds the lock of the folder's store.
fn is_running(root: &Path) -> bool {
    let lock = std::fs::File::open(root.join("portreeve.db.lock"));
    lock.is_ok_and(|lock| matches!(lock.try_lock(), Err(std::fs::TryLockError::WouldBlock)))
}

fn write_error(path: &Path, error: &std::io::Error) -> DemoError {
    DemoError::Write { path: path.display().to_string(), reason: error.to_string() }
}
