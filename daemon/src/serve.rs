//! The daemon's composition: which parts there are, what each of them is given, and in which order they start.

mod carrier;
mod error;
mod listeners;
mod source;
mod turn;

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use futures::StreamExt as _;
use jiff::Timestamp;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use crate::admission::certificates::{Keeper, SecretReader};
use crate::admission::{AdmissionState, CertificateSource, Webhook};
use crate::cluster::apply::Applier;
use crate::cluster::feed::Feed;
use crate::cluster::kinds::RULE_KINDS;
use crate::cluster::lease::{self, Campaign};
use crate::cluster::writer::{self, ClusterView};
use crate::config::Config;
use crate::config::valid::{Admission, PlatformSource, Tls};
use crate::controllers::Means;
use crate::controllers::credentials::Credentials;
use crate::controllers::images::Images;
use crate::controllers::ledger::Needs;
use crate::controllers::platform::{self, Declaration, PlatformController};
use crate::controllers::resources::{Declared, Heard, Ready, RuleResources, StatusWriter, Teller};
use crate::controllers::scans::Scans;
use crate::controllers::secrets::{self, SecretsController};
use crate::controllers::workloads::Workloads;
use crate::demo;
use crate::http::{self, Hosts, HttpParts, Limits};
use crate::judge::secrets::Opening;
use crate::judge::tally::Tally;
use crate::judge::{CurrentJudge, Judge, Rules};
use crate::registry::{EvidenceShelf, RegistryClient};
use crate::runtime::leader::{LeadershipWatch, Seat};
use crate::runtime::metrics::{Metrics, Scanner};
use crate::runtime::readiness::{Parts, ReadinessWatch};
use crate::runtime::supervisor::{Supervisor, TaskName, os_signals};
use crate::runtime::telemetry;
use crate::scheduler::driver::{self, Trigger};
use crate::store::{RecorderHandle, Retention, Shelf, Store, StoreUrl, recorder};

use carrier::{Carrier, announce_when_ready};
pub use error::ServeError;
use listeners::Listeners;
use source::Source;
use turn::Turn;

/// Events of custom resources that wait.
const RULE_QUEUE: usize = 256;

/// How long the store may take to become one file.
const CLOSING: Duration = Duration::from_secs(5);

/// What the daemon runs on.
pub struct ServeOptions {
    /// The configuration.
    pub config: Config,
    /// What to judge by.
    pub rules: Rules,
    /// What encrypted files in a folder that stands for the cluster are judged with.
    pub opening: Opening,
    /// The registry client, with its hosts and credentials.
    pub registry: RegistryClient,
    /// Lines to print when everything is ready.
    pub announce: Vec<String>,
    /// The demo's registry: its listener and the OCI layout it serves.
    pub demo_registry: Option<(TcpListener, PathBuf)>,
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
    let store_url = options.config.store_url.parse::<StoreUrl>()?;
    let listeners = Listeners::bind(&options.config)?;
    let webhook = match &options.config.admission {
        Some(admission) => Some(Webhook::bind(admission.listen, &admission.tls).await?),
        None => None,
    };
    if let Some((listener, layout)) = options.demo_registry {
        start_demo_registry(&mut supervisor, listener, &layout)?;
    }
    let source = Source::connect(&options.config).await?;
    // Health is answered and a signal heeded while the API server is away.
    let cluster = tokio::select! {
        cluster = source.identity(supervisor.shutdown()) => cluster,
        ended = listeners.serve_starting() => return Err(process(ended)),
        _ = signals.next() => return Ok(()),
    };
    let shared = Shared::open(&store_url, (options.rules, options.registry), &cluster, &mut supervisor).await?;
    let opening = Arc::new(options.opening);
    let leadership = shared.stand_for_lease(&source, &options.config, &mut supervisor).await?;
    let mut parts = Parts::new();
    let door = match (webhook, &options.config.admission) {
        (Some(webhook), Some(admission)) => {
            let certificates = certificates(&source, &admission.tls, leadership.clone(), &mut supervisor)?;
            Some((webhook, certificates, admission, parts.permit("webhook certificate")))
        }
        _ => None,
    };
    let (following, kept) = Following::new();
    shared.keep_platform((&options.config, kept), &source, leadership.clone(), &mut supervisor)?;
    shared.keep_secrets(&options.config, (&source, &cluster), leadership.clone(), &mut supervisor)?;
    let source = (source, &options.config, opening);
    let watching = shared.start_watching(source, (&leadership, parts), following, &mut supervisor);
    shared.start_schedule(&options.config, &watching, &mut supervisor);
    if let Some((webhook, certificates, admission, permit)) = door {
        let state = shared.admission_state(admission, &watching.view);
        let serving = webhook.serve((state, certificates), permit, supervisor.shutdown());
        supervisor.spawn(TaskName::Admission, serving);
    }
    let announce = std::iter::once(format!("ready http://{}/", listeners.dashboard_address()?)).chain(options.announce);
    shared.start_serving(listeners, watching, announce.collect(), &mut supervisor);
    let store = shared.store.clone();
    drop(shared);
    let ended = supervisor.run(signals).await;
    close(&store).await;
    Ok(ended?)
}

/// Leaves a SQLite store as one file, which may be copied. What is in its log is committed all the same.
async fn close(store: &Store) {
    match tokio::time::timeout(CLOSING, store.close()).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::warn!(%error, "the store was not closed; copy its log with it"),
        Err(_) => tracing::warn!("the store was not closed in time; copy its log with it"),
    }
}

/// Where the webhook's certificate is read from; starts what keeps it when that is ours to do.
fn certificates(
    source: &Source,
    tls: &Tls,
    leadership: LeadershipWatch,
    supervisor: &mut Supervisor,
) -> Result<CertificateSource, ServeError> {
    match (tls, source) {
        (Tls::Files(files), _) => Ok(CertificateSource::Files(files.clone())),
        (Tls::Managed(_), Source::Folder { .. }) => Err(ServeError::NoCertificate),
        (Tls::Managed(managed), Source::Api { client, .. }) => {
            let keeper = Keeper::new(client.clone(), managed.clone());
            supervisor.spawn(TaskName::Certificates, keeper.run(leadership, supervisor.shutdown()));
            Ok(CertificateSource::Secret(Box::new(SecretReader::new(client.clone(), managed))))
        }
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

/// What the doors share.
struct Shared {
    judge: CurrentJudge,
    tally: Arc<Tally>,
    store: Store,
    recorder: RecorderHandle,
    metrics: Arc<Metrics>,
    needs: Needs,
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
        let judge = CurrentJudge::new(judge);
        let tally = Arc::new(Tally::new(judge.now().rules().unimplemented.len()));
        let scans = store.scans().await?;
        for scanner in Scanner::ALL.iter().map(|scanner| scanner.as_str()) {
            scans.get(scanner).into_iter().for_each(|at| tally.scanned(scanner, *at));
        }
        Ok(Self { judge, tally, store, recorder, metrics, needs: Needs::default() })
    }

    /// Starts what makes this process the one that may write, when it is its turn.
    async fn stand_for_lease(
        &self,
        source: &Source,
        config: &Config,
        supervisor: &mut Supervisor,
    ) -> Result<LeadershipWatch, ServeError> {
        let (seat, watch) = Seat::new();
        let known = self.store.epoch().await?;
        let (metrics, shutdown) = (self.metrics.leader.clone(), supervisor.shutdown());
        match source {
            Source::Folder { path, .. } => {
                let place = (path.clone(), known);
                supervisor.spawn(TaskName::Leader, lease::folder::run(place, seat, metrics, shutdown));
            }
            Source::Api { client, .. } => {
                let candidate = (lease::identity()?, known);
                let campaign = Campaign::new(client.clone(), config.leader.clone(), seat, candidate);
                supervisor.spawn(TaskName::Leader, campaign.metrics(metrics).run(shutdown));
            }
        }
        Ok(watch)
    }

    /// Starts what keeps the platform, when there is one; without, what was said of one is over.
    fn keep_platform(
        &self,
        (config, kept): (&Config, Kept),
        source: &Source,
        leadership: LeadershipWatch,
        supervisor: &mut Supervisor,
    ) -> Result<(), ServeError> {
        let Some(platform) = config.platform.clone() else {
            let stored = (self.store.clone(), self.recorder.clone());
            let (turn, shutdown) = (Turn::new(stored, &leadership, supervisor.shutdown()), supervisor.shutdown());
            let forgetting = turn.write(move |recorder, stored| platform::forget_all(recorder, stored, shutdown));
            supervisor.spawn(TaskName::Platform, forgetting);
            return Ok(());
        };
        let Source::Api { plain, .. } = source else { return Err(ServeError::PlatformWithoutApiServer) };
        let declaration = match platform.source {
            PlatformSource::File(file) => Declaration::File(file),
            PlatformSource::Resource { name, folder } => {
                Declaration::Resource { name, folder, declared: kept.declared, ready: kept.ready }
            }
        };
        let controller = PlatformController {
            declaration,
            interval: platform.interval,
            config: config.clone(),
            judge: self.judge.clone(),
            applier: Applier::new(plain.clone(), &config.leader),
            leadership,
            store: self.store.clone(),
            recorder: self.recorder.clone(),
            needs: self.needs.clone(),
            metrics: self.metrics.platform.clone(),
        };
        supervisor.spawn(TaskName::Platform, controller.run(supervisor.shutdown()));
        Ok(())
    }

    /// Starts what keeps Secrets like their files, when any are declared.
    fn keep_secrets(
        &self,
        config: &Config,
        (source, cluster): (&Source, &str),
        leadership: LeadershipWatch,
        supervisor: &mut Supervisor,
    ) -> Result<(), ServeError> {
        if config.secrets.sync.is_empty() {
            return Ok(());
        }
        let Source::Api { plain, .. } = source else { return Err(ServeError::SecretsWithoutApiServer) };
        let controller = SecretsController {
            secrets: config.secrets.clone(),
            cluster: cluster.to_owned(),
            applier: Applier::new(plain.clone(), &config.leader),
            leadership,
            judge: self.judge.clone(),
            recorder: self.recorder.clone(),
            needs: self.needs.clone(),
            metrics: self.metrics.secrets.clone(),
        };
        supervisor.spawn(TaskName::Secrets, controller.run(supervisor.shutdown()));
        Ok(())
    }

    /// Starts the watch and schedule doors.
    fn start_watching(
        &self,
        (source, config, opening): (Source, &Config, Arc<Opening>),
        (leadership, mut parts): (&LeadershipWatch, Parts),
        following: Following,
        supervisor: &mut Supervisor,
    ) -> Watching {
        let feeds = [Feed::default(), Feed::default(), Feed::default()];
        let (writer, events, view) = writer::index(feeds.to_vec(), parts.permit("cluster"));
        supervisor.spawn(TaskName::Index, writer.run(supervisor.shutdown()));
        let triggers = [Trigger::default(), Trigger::default(), Trigger::default()];
        let turn = Turn::new((self.store.clone(), self.recorder.clone()), leadership, supervisor.shutdown());
        match &source {
            // A folder has no custom resources: files alone are the rules.
            Source::Folder { .. } => self.judge.settle(),
            Source::Api { client, .. } => {
                let rules = RuleResources {
                    judge: self.judge.clone(),
                    allowed: config.exception_namespaces.clone(),
                    cluster: view.clone(),
                    feeds: feeds.clone(),
                    rescans: triggers.clone(),
                    heard: watch::Sender::new(Arc::new(Heard::default())),
                    platform: config.platform.as_ref().map(|platform| platform.source.clone()),
                    declared: following.declared,
                    clock: Timestamp::now,
                    permit: Some(parts.permit("custom resources")),
                };
                self.start_rules((rules, following.ready), client, (leadership, &turn), supervisor);
            }
        }
        let are_files = matches!(source, Source::Folder { .. });
        source.start(config.secrets.cluster_read, events, &self.metrics, supervisor);
        let [workload_feed, image_feed, credential_feed] = feeds;
        let [posture_rescan, image_rescan, credential_rescan] = triggers.clone();
        let shared_scans = self.scans(&view, are_files);
        let (judge, tally, cluster) = (self.judge.clone(), Arc::clone(&self.tally), view.clone());
        let (scans, shutdown) = (Arc::clone(&shared_scans), supervisor.shutdown());
        let declared = secrets::subjects(&config.secrets);
        let workloads = turn.clone().write(move |recorder, mut stored| {
            let scans = scans(&recorder);
            stored.retain(|subject| !declared.contains(subject));
            let (feed, rescan) = (workload_feed, posture_rescan);
            let means = Means { judge, cluster, feed, recorder, tally, rescan, scans };
            Workloads { means, opening }.run(stored, shutdown)
        });
        supervisor.spawn(TaskName::Workloads, workloads);
        let (judge, tally, cluster) = (self.judge.clone(), Arc::clone(&self.tally), view.clone());
        let (scans, shutdown) = (Arc::clone(&shared_scans), supervisor.shutdown());
        let images = turn.clone().write(move |recorder, stored| {
            let scans = scans(&recorder);
            let (feed, rescan) = (image_feed, image_rescan);
            Images(Means { judge, cluster, feed, recorder, tally, rescan, scans }).run(stored, shutdown)
        });
        supervisor.spawn(TaskName::Images, images);
        let (judge, tally, cluster) = (self.judge.clone(), Arc::clone(&self.tally), view.clone());
        let shutdown = supervisor.shutdown();
        let credentials = turn.write(move |recorder, stored| {
            let scans = shared_scans(&recorder);
            let (feed, rescan) = (credential_feed, credential_rescan);
            Credentials(Means { judge, cluster, feed, recorder, tally, rescan, scans }).run(stored, shutdown)
        });
        supervisor.spawn(TaskName::Credentials, credentials);
        Watching { view, readiness: parts.watch(), triggers }
    }

    /// Starts what follows custom resources, tells the store of them, and writes their status.
    fn start_rules(
        &self,
        (rules, ready): (RuleResources, watch::Receiver<Option<Arc<Ready>>>),
        client: &kube::Client,
        (leadership, turn): (&LeadershipWatch, &Turn),
        supervisor: &mut Supervisor,
    ) {
        let (sender, events) = mpsc::channel(RULE_QUEUE);
        let watches = source::watches(client.clone(), sender, &self.metrics, supervisor.shutdown());
        for kind in &RULE_KINDS {
            supervisor.spawn(TaskName::Watch(kind.plural), watches.clone().run(kind));
        }
        let (heard, leadership) = (rules.heard.subscribe(), leadership.clone());
        let writer = StatusWriter { client: client.clone(), heard: heard.clone(), ready, leadership };
        supervisor.spawn(TaskName::Status, writer.run(supervisor.shutdown()));
        let shutdown = supervisor.shutdown();
        let (judge, needs) = (self.judge.clone(), self.needs.clone());
        let teller =
            turn.clone().write(move |recorder, stored| Teller { heard, recorder, judge, needs }.run(stored, shutdown));
        supervisor.spawn(TaskName::RuleFindings, teller);
        supervisor.spawn(TaskName::Rules, rules.run(events, supervisor.shutdown()));
    }

    /// Makes the scans that both controllers share, for the first of them whose turn it is.
    fn scans(&self, view: &ClusterView, are_files: bool) -> Arc<dyn Fn(&RecorderHandle) -> Scans + Send + Sync> {
        let made = OnceLock::new();
        let (judge, tally) = (self.judge.clone(), Arc::clone(&self.tally));
        let (store, metrics, view) = (self.store.clone(), Arc::clone(&self.metrics), view.clone());
        let needs = self.needs.clone();
        Arc::new(move |recorder: &RecorderHandle| {
            let scans = || {
                let (judge, tally, metrics) = (judge.clone(), Arc::clone(&tally), Arc::clone(&metrics));
                let needs = (needs.clone(), are_files);
                Scans::new((judge, view.clone()), (store.clone(), recorder.clone()), tally, metrics, needs)
            };
            made.get_or_init(scans).clone()
        })
    }

    fn start_schedule(&self, config: &Config, watching: &Watching, supervisor: &mut Supervisor) {
        let [posture, images, credentials] = watching.triggers.clone();
        let schedules = vec![
            (config.posture.rescan.clone(), posture),
            (config.posture.rescan.clone(), credentials),
            (config.image_rescan.clone(), images),
        ];
        supervisor.spawn(TaskName::Scheduler, driver::run(schedules, Timestamp::now, supervisor.shutdown()));
    }

    fn admission_state(&self, admission: &Admission, view: &ClusterView) -> AdmissionState {
        AdmissionState {
            judge: self.judge.clone(),
            scope: Arc::new(admission.scope.clone()),
            view: view.clone(),
            recorder: self.recorder.clone(),
            metrics: Arc::clone(&self.metrics),
            deadline: admission.deadline,
        }
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
        let (readiness, view) = (watching.readiness.clone(), watching.view.clone());
        let parts = Arc::new(HttpParts {
            store: self.store.clone(),
            metrics: Arc::clone(&self.metrics),
            board: self.tally.board(),
            waiting: Box::new(move || readiness.now().waiting),
            stale: Box::new(move || view.snapshot().stale),
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
            judge: self.judge.clone(),
            tally: Arc::clone(&self.tally),
            metrics: Arc::clone(&self.metrics),
            view: watching.view,
        };
        supervisor.spawn(TaskName::Metrics, carrier.run(shutdown.clone()));
        supervisor.spawn(TaskName::Announcer, announce_when_ready(watching.readiness, announce, shutdown));
    }
}

/// The ends of what follows the resource of a platform: what it asks for goes out, what became of it comes in.
struct Following {
    declared: watch::Sender<Declared>,
    ready: watch::Receiver<Option<Arc<Ready>>>,
}

/// The ends of what keeps the platform.
struct Kept {
    declared: watch::Receiver<Declared>,
    ready: watch::Sender<Option<Arc<Ready>>>,
}

impl Following {
    fn new() -> (Self, Kept) {
        let (declared, of_kept) = watch::channel(Declared::Waiting);
        let (ready, of_following) = watch::channel(None);
        (Self { declared, ready: of_following }, Kept { declared: of_kept, ready })
    }
}

/// The watch and schedule doors, running.
struct Watching {
    view: ClusterView,
    readiness: ReadinessWatch,
    triggers: [Trigger; 3],
}
