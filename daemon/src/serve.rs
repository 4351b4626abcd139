//! The daemon's composition: which parts there are, what each of them is given, and in which order they start.

use std::io::Write as _;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use jiff::Timestamp;
use portreeve_reports::SubjectKey;
use portreeve_reports::gate::ExitCode;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::admission::{AdmissionError, AdmissionState, Webhook};
use crate::cluster::apply::Applier;
use crate::cluster::client::{ClientError, KubeSource, cluster_id, connect};
use crate::cluster::feed::Feed;
use crate::cluster::folder::{self, FolderOptions};
use crate::cluster::kinds::KINDS;
use crate::cluster::lease::{self, Campaign, LeasePlace};
use crate::cluster::watches::{OnRestart, Watches};
use crate::cluster::writer::{self, ClusterView, Event};
use crate::config::valid::Admission;
use crate::config::{ClusterSource, Config};
use crate::controllers::images::Images;
use crate::controllers::platform::PlatformController;
use crate::controllers::scans::Scans;
use crate::controllers::workloads::Workloads;
use crate::demo;
use crate::http::{self, Hosts, HttpParts, Limits};
use crate::judge::source::{repository_path, repository_root};
use crate::judge::tally::Tally;
use crate::judge::{FileSource, Judge, JudgeSettings, LoadError, Rules};
use crate::registry::{EvidenceShelf, RegistryClient};
use crate::runtime::leader::{Epoch, LeadershipWatch, Seat};
use crate::runtime::metrics::{Metrics, Scanner};
use crate::runtime::readiness::{Parts, ReadinessWatch};
use crate::runtime::supervisor::{RunError, Supervisor, TaskName, os_signals};
use crate::runtime::telemetry;
use crate::scheduler::driver::{self, Trigger};
use crate::store::{RecorderHandle, Retention, Shelf, Store, StoreError, StoreUrl, recorder};

/// How often counters that other parts keep are carried into the metrics.
const CARRY_EVERY: Duration = Duration::from_millis(500);

/// What the daemon runs on.
pub struct ServeOptions {
    /// The configuration.
    pub config: Config,
    /// The registry client, with its hosts and credentials.
    pub registry: RegistryClient,
    /// Lines to print when everything is ready.
    pub announce: Vec<String>,
    /// The demo's registry: its listener and the OCI layout it serves.
    pub demo_registry: Option<(TcpListener, PathBuf)>,
}

/// Why the daemon did not start, or ended other than by a signal.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// A file of rules cannot be used.
    #[error(transparent)]
    Rules(#[from] LoadError),
    /// The store cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The store's address cannot be used.
    #[error("'store.url': {0}")]
    StoreUrl(#[from] crate::store::InvalidStoreUrl),
    /// The API server's address or credentials cannot be used.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// The folder that stands for the cluster is not there.
    #[error("'cluster.folder': {0} is not a folder")]
    NoFolder(String),
    /// A folder that stands for a cluster takes no objects.
    #[error("'platform' needs an API server to deploy to, and 'cluster.folder' names a folder; remove one of them")]
    PlatformWithoutApiServer,
    /// The webhook cannot be served.
    #[error(transparent)]
    Admission(#[from] AdmissionError),
    /// An address is taken or not ours.
    #[error("cannot listen on {address}: {reason}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// The system's words.
        reason: String,
    },
    /// Logs, signals or threads.
    #[error("{0}")]
    Process(String),
    /// A task ended, or the drain took too long.
    #[error(transparent)]
    Run(#[from] RunError),
}

impl ServeError {
    /// The exit code of the process.
    pub fn exit(&self) -> ExitCode {
        match self {
            Self::Rules(_)
            | Self::StoreUrl(_)
            | Self::Client(_)
            | Self::NoFolder(_)
            | Self::PlatformWithoutApiServer => ExitCode::Usage,
            Self::Run(RunError::TaskPanicked { .. }) => ExitCode::Bug,
            _ => ExitCode::Unclassified,
        }
    }
}

/// Runs the daemon until a signal.
pub fn run(options: ServeOptions) -> Result<(), ServeError> {
    telemetry::init(&options.config.log, options.config.log_format).map_err(process)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(process)?;
    let ended = runtime.block_on(daemon(options));
    // What a blocking call still holds must not keep the process.
    runtime.shutdown_timeout(Duration::from_secs(1));
    ended
}

fn process(error: impl std::fmt::Display) -> ServeError {
    ServeError::Process(error.to_string())
}

async fn daemon(options: ServeOptions) -> Result<(), ServeError> {
    let mut signals = Box::pin(os_signals().map_err(process)?);
    let mut supervisor = Supervisor::new(CancellationToken::new());
    // What is wrong in files comes before what is taken on the machine.
    let rules = Rules::load(&settings(&options.config), &FileSource::WorkingTree)?;
    let store_url = options.config.store_url.parse::<StoreUrl>()?;
    let listeners = Listeners::bind(&options.config)?;
    let webhook = match &options.config.admission {
        Some(admission) => Some(Webhook::bind(admission.listen, admission.tls.clone()).await?),
        None => None,
    };
    if let Some((listener, layout)) = options.demo_registry {
        start_demo_registry(&mut supervisor, listener, &layout)?;
    }
    let source = Source::connect(&options.config.cluster).await?;
    // Health is answered and a signal heeded while the API server is away.
    let cluster = tokio::select! {
        cluster = source.identity(supervisor.shutdown()) => cluster,
        ended = listeners.serve_starting() => return Err(process(ended)),
        _ = signals.next() => return Ok(()),
    };
    let shared = Shared::open(&store_url, (rules, options.registry), &cluster, &mut supervisor).await?;
    let stored = shared.store.subjects().await?;
    let leadership = shared.stand_for_lease(&source, &options.config, &mut supervisor);
    shared.keep_platform(&options.config, &source, leadership, &mut supervisor)?;
    let watching = shared.start_watching(source, stored, &mut supervisor);
    shared.start_schedule(&options.config, &watching, &mut supervisor);
    if let (Some(webhook), Some(admission)) = (webhook, &options.config.admission) {
        shared.start_admission(webhook, (admission, &watching.view), &mut supervisor);
    }
    let announce = std::iter::once(format!("ready http://{}/", listeners.dashboard_address()?)).chain(options.announce);
    shared.start_serving(listeners, watching, announce.collect(), &mut supervisor);
    drop(shared);
    Ok(supervisor.run(signals).await?)
}

fn settings(config: &Config) -> JudgeSettings {
    JudgeSettings {
        frameworks: config.posture.frameworks.clone(),
        controls: Vec::new(),
        params: config.posture.params.clone(),
        image_policy: config.image_policy.clone(),
        exceptions: config.exceptions.clone(),
        enforce: config.posture.enforce.clone(),
    }
}

fn start_demo_registry(supervisor: &mut Supervisor, listener: TcpListener, layout: &Path) -> Result<(), ServeError> {
    let layout = demo::registry::Layout::read(layout).map_err(process)?;
    listener.set_nonblocking(true).map_err(process)?;
    let listener = tokio::net::TcpListener::from_std(listener).map_err(process)?;
    let stop = supervisor.shutdown().cancelled_owned();
    supervisor.spawn(TaskName::DemoRegistry, demo::registry::serve(layout, listener, stop));
    Ok(())
}

/// The two addresses of http.
struct Listeners {
    dashboard: TcpListener,
    metrics: TcpListener,
}

impl Listeners {
    fn bind(config: &Config) -> Result<Self, ServeError> {
        let bind = |address: SocketAddr| {
            TcpListener::bind(address).map_err(|error| ServeError::Listen { address, reason: error.to_string() })
        };
        Ok(Self { dashboard: bind(config.http_listen)?, metrics: bind(config.metrics_listen)? })
    }

    fn dashboard_address(&self) -> Result<SocketAddr, ServeError> {
        self.dashboard.local_addr().map_err(process)
    }

    /// Health before the cluster is known: alive, not ready.
    async fn serve_starting(&self) -> http::ServeError {
        let served = match self.metrics.try_clone() {
            Ok(listener) => http::serve(listener, http::starting(), CancellationToken::new()).await,
            Err(error) => Err(error.into()),
        };
        match served {
            Err(error) => error,
            Ok(()) => std::future::pending().await,
        }
    }
}

/// Where objects come from.
enum Source {
    Api(kube::Client),
    Folder { path: PathBuf, name: String },
}

impl Source {
    async fn connect(cluster: &ClusterSource) -> Result<Self, ServeError> {
        let kube = match cluster {
            ClusterSource::Folder { path, name } => {
                if !path.is_dir() {
                    return Err(ServeError::NoFolder(path.display().to_string()));
                }
                return Ok(Self::Folder { path: path.clone(), name: name.clone() });
            }
            ClusterSource::InCluster => KubeSource::InCluster,
            ClusterSource::Kubeconfig { file, context } => {
                KubeSource::Kubeconfig { file: file.clone(), context: context.clone() }
            }
        };
        Ok(Self::Api(connect(&kube).await?))
    }

    /// What the store keys findings by.
    async fn identity(&self, shutdown: CancellationToken) -> String {
        match self {
            Self::Folder { name, .. } => name.clone(),
            Self::Api(client) => match cluster_id(client, &shutdown).await {
                Some(id) => id,
                None => std::future::pending().await,
            },
        }
    }

    /// Starts what turns events into the index's.
    fn start(self, events: mpsc::Sender<Event>, metrics: &Arc<Metrics>, supervisor: &mut Supervisor) {
        let shutdown = supervisor.shutdown();
        match self {
            Self::Folder { path, .. } => {
                // The same name for a file as at the CI door, and so the same fingerprint.
                let shown = repository_path(&path, repository_root().as_deref());
                let options = FolderOptions { shown, ..FolderOptions::new(path) };
                supervisor.spawn(TaskName::Folder, folder::run(options, events, shutdown));
            }
            Self::Api(client) => {
                let metrics = Arc::clone(metrics);
                let on_restart = OnRestart::new(move |_| {
                    metrics.sources.watch_restarts.inc();
                });
                let watches = Watches { client, events, on_restart, shutdown };
                for kind in &KINDS {
                    supervisor.spawn(TaskName::Watch(kind.plural), watches.clone().run(kind));
                }
            }
        }
    }
}

/// What the doors share.
struct Shared {
    judge: Arc<Judge>,
    tally: Arc<Tally>,
    store: Store,
    recorder: RecorderHandle,
    metrics: Arc<Metrics>,
}

impl Shared {
    /// Opens the store and starts what writes to it.
    async fn open(
        url: &StoreUrl,
        (rules, registry): (Rules, RegistryClient),
        cluster: &str,
        supervisor: &mut Supervisor,
    ) -> Result<Self, ServeError> {
        let metrics = Arc::new(Metrics::new(env!("CARGO_PKG_VERSION")));
        let store = Store::open_with(url, cluster, metrics.store.clone()).await?;
        let (writing, recorder) = recorder(store.clone(), Retention::default());
        // The recorder ends after the doors: when the last of them has dropped its handle.
        supervisor.spawn(TaskName::Recorder, writing.run(CancellationToken::new()));
        let shelf = Shelf::of(&store, &recorder).map(|shelf| Arc::new(shelf) as Arc<dyn EvidenceShelf>);
        let judge = Judge::new(rules, registry.sharing(shelf));
        let tally = Arc::new(Tally::new(judge.rules().unimplemented.len()));
        let scans = store.scans().await?;
        for scanner in Scanner::ALL.iter().map(|scanner| scanner.as_str()) {
            scans.get(scanner).into_iter().for_each(|at| tally.scanned(scanner, *at));
        }
        Ok(Self { judge: Arc::new(judge), tally, store, recorder, metrics })
    }

    /// Starts what makes this process the one that may write, when it is its turn.
    fn stand_for_lease(&self, source: &Source, config: &Config, supervisor: &mut Supervisor) -> LeadershipWatch {
        let (seat, watch) = Seat::new();
        let (metrics, shutdown) = (self.metrics.leader.clone(), supervisor.shutdown());
        match source {
            Source::Folder { path, .. } => {
                let place = (path.clone(), Epoch::default());
                supervisor.spawn(TaskName::Leader, lease::folder::run(place, seat, metrics, shutdown));
            }
            Source::Api(client) => {
                let candidate = (lease::identity(), Epoch::default());
                let leader = &config.leader;
                let place = LeasePlace { namespace: leader.namespace.clone(), name: leader.lease.clone() };
                let campaign = Campaign::new(client.clone(), place, seat, candidate);
                supervisor.spawn(TaskName::Leader, campaign.metrics(metrics).run(shutdown));
            }
        }
        watch
    }

    /// Starts what keeps the platform, when there is one.
    fn keep_platform(
        &self,
        config: &Config,
        source: &Source,
        leadership: LeadershipWatch,
        supervisor: &mut Supervisor,
    ) -> Result<(), ServeError> {
        let Some(platform) = config.platform.clone() else { return Ok(()) };
        let Source::Api(client) = source else { return Err(ServeError::PlatformWithoutApiServer) };
        let controller = PlatformController {
            platform,
            config: config.clone(),
            registry: self.judge.registry().clone(),
            applier: Applier::new(client.clone()),
            leadership,
            recorder: self.recorder.clone(),
            metrics: self.metrics.platform.clone(),
        };
        supervisor.spawn(TaskName::Platform, controller.run(supervisor.shutdown()));
        Ok(())
    }

    /// Starts the watch and schedule doors.
    fn start_watching(&self, source: Source, stored: Vec<SubjectKey>, supervisor: &mut Supervisor) -> Watching {
        let mut parts = Parts::new();
        let feeds = [Feed::default(), Feed::default()];
        let (writer, events, view) = writer::index(feeds.to_vec(), parts.permit("cluster"));
        supervisor.spawn(TaskName::Index, writer.run(supervisor.shutdown()));
        source.start(events, &self.metrics, supervisor);
        let [workload_feed, image_feed] = feeds;
        let triggers = [Trigger::default(), Trigger::default()];
        let [posture_rescan, image_rescan] = triggers.clone();
        let scans = Scans::new(
            Arc::clone(&self.judge),
            (self.store.clone(), self.recorder.clone()),
            Arc::clone(&self.tally),
            Arc::clone(&self.metrics),
        );
        let workloads = Workloads {
            judge: Arc::clone(&self.judge),
            cluster: view.clone(),
            feed: workload_feed,
            recorder: self.recorder.clone(),
            tally: Arc::clone(&self.tally),
            rescan: posture_rescan,
            scans: scans.clone(),
        };
        let images = Images {
            judge: Arc::clone(&self.judge),
            cluster: view.clone(),
            feed: image_feed,
            recorder: self.recorder.clone(),
            tally: Arc::clone(&self.tally),
            rescan: image_rescan,
            scans,
        };
        supervisor.spawn(TaskName::Workloads, workloads.run(stored.clone(), supervisor.shutdown()));
        supervisor.spawn(TaskName::Images, images.run(stored, supervisor.shutdown()));
        Watching { view, readiness: parts.watch(), triggers }
    }

    fn start_schedule(&self, config: &Config, watching: &Watching, supervisor: &mut Supervisor) {
        let [posture, images] = watching.triggers.clone();
        let schedules =
            vec![(config.posture.rescan.clone().into(), posture), (config.image_rescan.clone().into(), images)];
        supervisor.spawn(TaskName::Scheduler, driver::run(schedules, Timestamp::now, supervisor.shutdown()));
    }

    fn start_admission(
        &self,
        webhook: Webhook,
        (admission, view): (&Admission, &ClusterView),
        supervisor: &mut Supervisor,
    ) {
        let state = AdmissionState {
            judge: Arc::clone(&self.judge),
            scope: Arc::new(admission.scope.clone()),
            view: view.clone(),
            recorder: self.recorder.clone(),
            metrics: Arc::clone(&self.metrics),
            deadline: admission.deadline,
        };
        supervisor.spawn(TaskName::Admission, webhook.serve(state, supervisor.shutdown()));
    }

    /// Starts page, API, health and metrics, and says when everything is ready.
    fn start_serving(
        &self,
        listeners: Listeners,
        watching: Watching,
        announce: Vec<String>,
        supervisor: &mut Supervisor,
    ) {
        let shutdown = supervisor.shutdown();
        let readiness = watching.readiness.clone();
        let parts = Arc::new(HttpParts {
            store: self.store.clone(),
            metrics: Arc::clone(&self.metrics),
            board: self.tally.board(),
            waiting: Box::new(move || readiness.now().waiting),
            explain: Box::new(crate::judge::explain::text),
            shutdown: shutdown.clone(),
        });
        let limits = Limits { in_flight: 64, deadline: Duration::from_secs(10) };
        let hosts = |listener: &TcpListener| match listener.local_addr() {
            Ok(address) => Hosts::of(address, &[]),
            Err(_) => Hosts::Loopback(Vec::new()),
        };
        let dashboard = http::dashboard(Arc::clone(&parts), hosts(&listeners.dashboard), limits);
        let health = http::health(parts, hosts(&listeners.metrics), limits);
        supervisor.spawn(TaskName::Dashboard, http::serve(listeners.dashboard, dashboard, shutdown.clone()));
        supervisor.spawn(TaskName::Health, http::serve(listeners.metrics, health, shutdown.clone()));
        let carrier = Carrier {
            judge: Arc::clone(&self.judge),
            tally: Arc::clone(&self.tally),
            metrics: Arc::clone(&self.metrics),
            view: watching.view,
        };
        supervisor.spawn(TaskName::Metrics, carrier.run(shutdown.clone()));
        supervisor.spawn(TaskName::Announcer, announce_when_ready(watching.readiness, announce, shutdown));
    }
}

/// The watch and schedule doors, running.
struct Watching {
    view: ClusterView,
    readiness: ReadinessWatch,
    triggers: [Trigger; 2],
}

/// Carries numbers that other parts keep into the board and the metrics, so that a scrape triggers no work.
struct Carrier {
    judge: Arc<Judge>,
    tally: Arc<Tally>,
    metrics: Arc<Metrics>,
    view: ClusterView,
}

impl Carrier {
    async fn run(self, shutdown: CancellationToken) {
        let mut carried = self.judge.registry().statistics();
        let mut tick = tokio::time::interval(CARRY_EVERY);
        loop {
            tokio::select! {
                () = shutdown.cancelled() => return,
                _ = tick.tick() => {}
            }
            let objects = self.view.objects();
            self.tally.publish(objects);
            self.metrics.sources.index_objects.set(i64::try_from(objects).unwrap_or(i64::MAX));
            if let Some(coverage) = self.tally.board().borrow().coverage {
                self.metrics.scans.coverage.set(coverage);
            }
            let now = self.judge.registry().statistics();
            for (outcome, total) in now.requests {
                let new = total.saturating_sub(carried.requests_with(outcome));
                self.metrics.sources.registry_requests(outcome, new);
            }
            carried = now;
        }
    }
}

/// Prints `ready` and what else there is to say to stdout, once.
async fn announce_when_ready(mut readiness: ReadinessWatch, lines: Vec<String>, shutdown: CancellationToken) {
    let is_ready = tokio::select! {
        is_ready = readiness.ready() => is_ready,
        () = shutdown.cancelled() => false,
    };
    if is_ready {
        let mut stdout = std::io::stdout().lock();
        let written = lines.iter().try_for_each(|line| writeln!(stdout, "{line}")).and_then(|()| stdout.flush());
        if let Err(error) = written {
            tracing::warn!(%error, "standard output is closed");
        }
    }
    shutdown.cancelled().await;
}
