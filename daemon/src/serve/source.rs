//! Where the objects of the cluster come from.

use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::ServeError;
use crate::cluster::client::{KubeSource, cluster_id, connect, connect_plainly};
use crate::cluster::folder::{self, FolderOptions};
use crate::cluster::kinds::KINDS;
use crate::cluster::watches::{OnRestart, Watches};
use crate::cluster::writer::Event;
use crate::config::valid::ClusterRead;
use crate::config::{ClusterSource, Config};
use crate::judge::content::own_files;
use crate::judge::source::{repository_path, repository_root};
use crate::runtime::metrics::Metrics;
use crate::runtime::supervisor::{Supervisor, TaskName};

/// Where objects come from.
pub(super) enum Source {
    Api {
        client: kube::Client,
        /// For what writes.
        plain: kube::Client,
    },
    Folder {
        path: PathBuf,
        name: String,
        own: Vec<PathBuf>,
    },
}

impl Source {
    pub(super) async fn connect(config: &Config) -> Result<Self, ServeError> {
        let kube = match &config.cluster {
            ClusterSource::Folder { path, name } => {
                if !path.is_dir() {
                    return Err(ServeError::NoFolder(path.display().to_string()));
                }
                let own = own_files(config);
                return Ok(Self::Folder { path: path.clone(), name: name.clone(), own });
            }
            ClusterSource::InCluster => KubeSource::InCluster,
            ClusterSource::Kubeconfig { file, context } => {
                KubeSource::Kubeconfig { file: file.clone(), context: context.clone() }
            }
        };
        Ok(Self::Api { client: connect(&kube).await?, plain: connect_plainly(&kube).await? })
    }

    /// What the store keys findings by.
    pub(super) async fn identity(&self, shutdown: CancellationToken) -> String {
        match self {
            Self::Folder { name, .. } => name.clone(),
            Self::Api { client, .. } => match cluster_id(client, &shutdown).await {
                Some(id) => id,
                None => std::future::pending().await,
            },
        }
    }

    /// Starts what turns events into the index's.
    pub(super) fn start(
        self,
        secrets: ClusterRead,
        events: mpsc::Sender<Event>,
        metrics: &Arc<Metrics>,
        supervisor: &mut Supervisor,
    ) {
        let shutdown = supervisor.shutdown();
        match self {
            Self::Folder { path, own, .. } => {
                // The same name for a file as at the CI door, and so the same fingerprint.
                let shown = repository_path(&path, repository_root().as_deref());
                let options = FolderOptions { shown, own, ..FolderOptions::new(path) };
                supervisor.spawn(TaskName::Folder, folder::run(options, events, shutdown));
            }
            Self::Api { client, .. } => {
                let watches = watches(client, events, metrics, shutdown);
                for kind in &KINDS {
                    supervisor.spawn(TaskName::Watch(kind.plural), watches.clone().run_unless_off(kind, secrets));
                }
            }
        }
    }
}

/// Watches of the API server that count their failures.
pub(super) fn watches(
    client: kube::Client,
    events: mpsc::Sender<Event>,
    metrics: &Arc<Metrics>,
    shutdown: CancellationToken,
) -> Watches {
    let metrics = Arc::clone(metrics);
    let on_restart = OnRestart::new(move |_| {
        metrics.sources.watch_restarts.inc();
    });
    Watches { client, events, on_restart, shutdown }
}
