//! The way to the API server.

use std::path::{Path, PathBuf};
use std::time::Duration;

use k8s_openapi::api::core::v1::Namespace;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Config};
use tokio_util::sync::CancellationToken;

/// The longest pause between two tries to reach the API server.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// Where the address and the credentials come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KubeSource {
    /// A kubeconfig file, and its context when not the current one.
    Kubeconfig {
        /// The file.
        file: PathBuf,
        /// The context.
        context: Option<String>,
    },
    /// The service account of the pod we run in.
    InCluster,
}

/// Why there is no client.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The kubeconfig does not do.
    #[error("kubeconfig {file}{}: it cannot be used", context.as_ref().map(|name| format!(", context {name}")).unwrap_or_default())]
    Kubeconfig {
        /// The file.
        file: PathBuf,
        /// The context asked for.
        context: Option<String>,
        /// What is wrong with it.
        #[source]
        source: Box<kube::config::KubeconfigError>,
    },
    /// We do not run in a pod with a service account.
    #[error("there is no service account of a pod here; set cluster.kubeconfig or cluster.folder")]
    InCluster(#[source] kube::config::InClusterError),
    /// Certificates or addresses do not do.
    #[error("the client of the API server could not be built")]
    Build(#[source] Box<kube::Error>),
}

/// A client. Nothing is sent yet: an API server that is away is no error here.
pub async fn connect(source: &KubeSource) -> Result<Client, ClientError> {
    client(config(source).await?)
}

/// A client that passes on every answer. The other one asks again when the API server is busy, or is just now not whole,
/// and when the time is over nobody knows what was answered.
pub async fn connect_plainly(source: &KubeSource) -> Result<Client, ClientError> {
    let mut config = config(source).await?;
    config.default_retry = false;
    client(config)
}

fn client(config: Config) -> Result<Client, ClientError> {
    Client::try_from(config).map_err(|error| ClientError::Build(Box::new(error)))
}

async fn config(source: &KubeSource) -> Result<Config, ClientError> {
    match source {
        KubeSource::Kubeconfig { file, context } => from_file(file, context.as_deref()).await,
        KubeSource::InCluster => Config::incluster().map_err(ClientError::InCluster),
    }
}

async fn from_file(file: &Path, context: Option<&str>) -> Result<Config, ClientError> {
    let refused = |source| ClientError::Kubeconfig {
        file: file.to_owned(),
        context: context.map(str::to_owned),
        source: Box::new(source),
    };
    let kubeconfig = Kubeconfig::read_from(file).map_err(refused)?;
    let options = KubeConfigOptions { context: context.map(str::to_owned), ..KubeConfigOptions::default() };
    Config::from_custom_kubeconfig(kubeconfig, &options).await.map_err(refused)
}

/// The cluster's identity: the UID of the namespace kube-system, which lives as long as the cluster. Asked for until
/// it is answered; `None` when the shutdown comes first.
pub async fn cluster_id(client: &Client, shutdown: &CancellationToken) -> Option<String> {
    let namespaces: Api<Namespace> = Api::all(client.clone());
    let mut pause = Duration::from_millis(500);
    loop {
        let asked = tokio::select! {
            asked = namespaces.get_metadata("kube-system") => asked,
            () = shutdown.cancelled() => return None,
        };
        match asked.map(|namespace| namespace.metadata.uid) {
            Ok(Some(uid)) => return Some(uid),
            Ok(None) => tracing::warn!("the API server names no UID of kube-system; asking again"),
            Err(error) => tracing::warn!(%error, "the API server cannot be asked for kube-system; asking again"),
        }
        tokio::select! {
            () = tokio::time::sleep(pause) => pause = (pause * 2).min(LONGEST_PAUSE),
            () = shutdown.cancelled() => return None,
        }
    }
}
