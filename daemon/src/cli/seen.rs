//! What a command looks at: manifests, or the cluster of the configuration.

use std::path::PathBuf;

use portreeve_policies::object::Object;
use portreeve_policies::world::World;
use portreeve_reports::Finding;
use portreeve_secrets::credentials::Credential;

use super::args::GlobalArgs;
use super::{Failure, block_on, input};
use crate::cluster::client::{KubeSource, connect};
use crate::cluster::once;
use crate::config::{ClusterSource, Config};
use crate::judge::Asked;
use crate::judge::credentials::of_objects;
use crate::judge::secrets::EncryptedFile;
use crate::registry::Deadline;

/// Everything that was read.
pub(super) struct Seen {
    /// The objects to judge.
    pub objects: Vec<Object>,
    /// What could not be read, as findings.
    pub unreadable: Vec<Finding>,
    /// What the objects relate to.
    pub world: World,
    /// The credentials in the objects.
    pub credentials: Vec<Credential>,
    /// Files that sops encrypted.
    pub encrypted: Vec<EncryptedFile>,
    /// What of all this was read, so that what is not there is known not to be.
    pub asked: Asked,
}

/// Where to look.
pub(super) struct Looking<'a> {
    /// Files and folders, `-`, or the word `cluster`.
    pub paths: &'a [PathBuf],
    /// Namespace of objects that name none.
    pub namespace: &'a str,
    /// What the files do not hold is unknown, not missing.
    pub partial: bool,
}

impl Looking<'_> {
    /// Reads the files, or the cluster.
    pub(super) fn look(&self, global: &GlobalArgs, config: &Config, deadline: Deadline) -> Result<Seen, Failure> {
        if !self.paths.iter().any(|path| path.as_os_str() == "cluster") {
            return self.files(self.paths, config);
        }
        if self.paths.len() > 1 {
            return Err(Failure::usage("'cluster' is judged alone; write ./cluster for a file of that name"));
        }
        if global.offline {
            return Err(Failure::usage("'cluster' needs the network, which --offline blocks"));
        }
        let source = match &config.cluster {
            ClusterSource::Folder { path, .. } => return self.files(std::slice::from_ref(path), config),
            ClusterSource::InCluster => KubeSource::InCluster,
            ClusterSource::Kubeconfig { file, context } => {
                KubeSource::Kubeconfig { file: file.clone(), context: context.clone() }
            }
        };
        let listing = block_on(global, async {
            let client = connect(&source).await.map_err(Failure::usage)?;
            let listed = once::list(&client, config.secrets.cluster_read, deadline).await;
            listed.map_err(|nothing| Failure::not_had(nothing.cause, nothing))
        })?;
        let once::Listing { objects, unreadable, world, credentials, are_credentials_read } = listing;
        let asked = Asked { credentials: are_credentials_read, ..Asked::default() };
        Ok(Seen { objects, unreadable, world, credentials, encrypted: Vec::new(), asked })
    }

    fn files(&self, paths: &[PathBuf], config: &Config) -> Result<Seen, Failure> {
        let inputs = input::read(paths, self.namespace, config)?;
        let world = World::of_files(&inputs.objects, self.partial);
        let credentials = of_objects(&inputs.objects);
        let input::Inputs { objects, unreadable, encrypted, .. } = inputs;
        let asked = Asked { credentials: true, files: true, ..Asked::default() };
        Ok(Seen { objects, unreadable, world, credentials, encrypted, asked })
    }
}
