//! The owner of every task. Nothing else in the process spawns: a task has a name, and one that ends before the
//! shutdown, by returning or by a panic, ends the process with that name.

use std::any::Any;
use std::collections::HashMap;
use std::error::Error;
use std::fmt;
use std::future::Future;
use std::time::Duration;

use futures::{Stream, StreamExt};
use tokio::task::{Id, JoinError, JoinSet};
use tokio_util::sync::CancellationToken;

use super::errors::chain;

/// How long tasks may take to end after the first signal. Kubernetes kills after 30 s.
pub const DRAIN: Duration = Duration::from_secs(25);

/// The tasks of the process. Names are metric labels: the set is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum TaskName {
    /// Folds cluster events into the index.
    Index,
    /// Watches a folder of manifests.
    Folder,
    /// Watches one kind of the API server; the plural names it.
    Watch(&'static str),
    /// Judges objects.
    Workloads,
    /// Judges images.
    Images,
    /// Judges credentials.
    Credentials,
    /// Follows custom resources that are rules.
    Rules,
    /// Tells the store of custom resources.
    RuleFindings,
    /// Writes statuses of custom resources.
    Status,
    /// Keeps the platform as declared.
    Platform,
    /// Keeps declared Secrets like their files.
    Secrets,
    /// Fires what is due by cron.
    Scheduler,
    /// Writes findings to the store.
    Recorder,
    /// Serves admission reviews.
    Admission,
    /// Serves health and metrics.
    Health,
    /// Serves the dashboard and the API.
    Dashboard,
    /// Serves the demo's images.
    DemoRegistry,
    /// Keeps the webhook's certificate.
    Certificates,
    /// Stands for the lease and renews it.
    Leader,
    /// Carries numbers into the metrics.
    Metrics,
    /// Says when everything is ready.
    Announcer,
}

impl fmt::Display for TaskName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Index => f.write_str("index"),
            Self::Folder => f.write_str("folder"),
            Self::Watch(plural) => write!(f, "watch-{plural}"),
            Self::Workloads => f.write_str("workloads"),
            Self::Images => f.write_str("images"),
            Self::Credentials => f.write_str("credentials"),
            Self::Rules => f.write_str("rules"),
            Self::RuleFindings => f.write_str("rule-findings"),
            Self::Status => f.write_str("status"),
            Self::Platform => f.write_str("platform"),
            Self::Secrets => f.write_str("secrets"),
            Self::Scheduler => f.write_str("scheduler"),
            Self::Recorder => f.write_str("recorder"),
            Self::Admission => f.write_str("admission"),
            Self::Health => f.write_str("health"),
            Self::Dashboard => f.write_str("dashboard"),
            Self::DemoRegistry => f.write_str("demo-registry"),
            Self::Certificates => f.write_str("certificates"),
            Self::Leader => f.write_str("leader"),
            Self::Metrics => f.write_str("metrics"),
            Self::Announcer => f.write_str("announcer"),
        }
    }
}

/// What a task's future may return: nothing, or a result whose error is the reason of its end.
pub trait TaskOutput: Send + 'static {
    /// Why the task ended, when it knows.
    fn reason(self) -> Option<String>;
}

impl TaskOutput for () {
    fn reason(self) -> Option<String> {
        None
    }
}

impl<E: Error + Send + 'static> TaskOutput for Result<(), E> {
    fn reason(self) -> Option<String> {
        self.err().map(|error| chain(&error))
    }
}

/// Why the process ended other than by a drain that went well.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum RunError {
    /// A task ended although nobody asked it to.
    #[error("task {name} ended: {reason}")]
    TaskEnded {
        /// The task.
        name: TaskName,
        /// Its error, its panic, or that it returned.
        reason: String,
    },
    /// A task panicked: a bug of ours.
    #[error("task {name} ended: {reason}; this is a bug, please report it")]
    TaskPanicked {
        /// The task.
        name: TaskName,
        /// What it said.
        reason: String,
    },
    /// A second signal came before the drain was over.
    #[error("stopped by a second signal before these tasks had ended: {}", names(.waiting))]
    Aborted {
        /// Tasks that were cut off.
        waiting: Vec<TaskName>,
    },
    /// The drain took too long.
    #[error("these tasks did not end within {} s: {}", DRAIN.as_secs(), names(.waiting))]
    DrainTimedOut {
        /// Tasks that were cut off.
        waiting: Vec<TaskName>,
    },
}

/// Owns the tasks of the process.
#[derive(Debug)]
pub struct Supervisor {
    tasks: JoinSet<Option<String>>,
    names: HashMap<Id, TaskName>,
    shutdown: CancellationToken,
    drain: Duration,
}

impl Supervisor {
    /// A supervisor without tasks; `shutdown` is cancelled when the drain begins.
    pub fn new(shutdown: CancellationToken) -> Self {
        Self { tasks: JoinSet::new(), names: HashMap::new(), shutdown, drain: DRAIN }
    }

    /// The token that tasks end by.
    pub fn shutdown(&self) -> CancellationToken {
        self.shutdown.clone()
    }

    /// Starts a task. It must end soon after the shutdown token is cancelled, and not before.
    pub fn spawn<F>(&mut self, name: TaskName, future: F)
    where
        F: Future + Send + 'static,
        F::Output: TaskOutput,
    {
        let id = self.tasks.spawn(async move { future.await.reason() }).id();
        self.names.insert(id, name);
    }

    /// Runs until a signal, a task that ends early, or the cancelling of the token by somebody else; then drains.
    /// Dropping what this returns from has aborted every task that is left.
    pub async fn run(mut self, signals: impl Stream<Item = ()> + Send) -> Result<(), RunError> {
        let mut signals = std::pin::pin!(signals.fuse());
        let shutdown = self.shutdown.clone();
        let early = tokio::select! {
            Some(()) = signals.next() => None,
            () = shutdown.cancelled() => None,
            Some(ended) = self.tasks.join_next_with_id() => Some(self.early_end(ended)),
        };
        shutdown.cancel();
        let drained = self.drain(signals).await;
        early.map_or(drained, Err)
    }

    /// Waits for all tasks to end, for the second signal, or for the deadline.
    async fn drain(&mut self, mut signals: impl Stream<Item = ()> + Unpin) -> Result<(), RunError> {
        let deadline = tokio::time::sleep(self.drain);
        tokio::pin!(deadline);
        loop {
            tokio::select! {
                ended = self.tasks.join_next_with_id() => match ended {
                    None => return Ok(()),
                    Some(ended) => self.late_end(ended)?,
                },
                Some(()) = signals.next() => return Err(RunError::Aborted { waiting: self.waiting() }),
                () = &mut deadline => return Err(RunError::DrainTimedOut { waiting: self.waiting() }),
            }
        }
    }

    fn early_end(&mut self, ended: Result<(Id, Option<String>), JoinError>) -> RunError {
        let is_panic = ended.as_ref().is_err_and(JoinError::is_panic);
        let (id, reason) = match ended {
            Ok((id, reason)) => (id, reason.unwrap_or_else(|| "it returned before the shutdown".to_owned())),
            Err(error) => (error.id(), failure(error)),
        };
        // `spawn` has entered every id of the set, so the other name is never used.
        let name = self.names.remove(&id).unwrap_or(TaskName::Index);
        tracing::error!(task = %name, reason, "a task ended early; the process stops");
        if is_panic { RunError::TaskPanicked { name, reason } } else { RunError::TaskEnded { name, reason } }
    }

    /// A task may return during the drain; one that fails or panics then is still an error of the process.
    fn late_end(&mut self, ended: Result<(Id, Option<String>), JoinError>) -> Result<(), RunError> {
        match ended {
            Ok((id, None)) => {
                self.names.remove(&id);
                Ok(())
            }
            failed => Err(self.early_end(failed)),
        }
    }

    fn waiting(&self) -> Vec<TaskName> {
        let mut waiting: Vec<_> = self.names.values().copied().collect();
        waiting.sort();
        waiting
    }
}

/// SIGTERM and SIGINT of this process, one item each.
pub fn os_signals() -> std::io::Result<impl Stream<Item = ()> + Send> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(futures::stream::poll_fn(move |context| {
        let terminated = terminate.poll_recv(context);
        if terminated.is_ready() { terminated } else { interrupt.poll_recv(context) }
    }))
}

/// What [`every`] started; dropping it ends it.
#[derive(Debug)]
pub struct Ticker {
    _running: std::sync::mpsc::Sender<()>,
}

/// Calls `tick` with the time since now, each time a period has passed, until the [`Ticker`] is dropped. For commands
/// that compute without waiting: their one thread has no time for it.
pub fn every(period: Duration, mut tick: impl FnMut(Duration) + Send + 'static) -> std::io::Result<Ticker> {
    let (running, ended) = std::sync::mpsc::channel::<()>();
    let started = std::time::Instant::now();
    let body = move || {
        while ended.recv_timeout(period) == Err(std::sync::mpsc::RecvTimeoutError::Timeout) {
            tick(started.elapsed());
        }
    };
    std::thread::Builder::new().name("ticker".to_owned()).spawn(body)?;
    Ok(Ticker { _running: running })
}

/// Work that computes or reads files for long, run beside the event loop and waited for; its owner is the task that
/// waits. A panic of the work is a panic of that task.
pub async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        // The pool only refuses work when the runtime is being shut down: then this task ends too.
        Err(_) => std::future::pending().await,
    }
}

fn failure(error: JoinError) -> String {
    match error.try_into_panic() {
        Ok(payload) => format!("it panicked: {}", panic_text(payload.as_ref())),
        Err(_) => "it was cancelled".to_owned(),
    }
}

fn panic_text(payload: &(dyn Any + Send)) -> &str {
    let text = payload.downcast_ref::<&'static str>().copied();
    text.or_else(|| payload.downcast_ref::<String>().map(String::as_str)).unwrap_or("no message")
}

fn names(tasks: &[TaskName]) -> String {
    tasks.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use futures::stream;
    use tokio::sync::mpsc;

    use super::*;

    #[test]
    fn a_ticker_ticks_until_it_is_dropped() {
        let (ticks, ticked) = std::sync::mpsc::channel();
        let ticker = every(Duration::from_millis(1), move |elapsed| ticks.send(elapsed).unwrap()).unwrap();
        let (first, second) = (ticked.recv().unwrap(), ticked.recv().unwrap());
        assert!(first < second);
        drop(ticker);
        // The channel closes with the thread that ticks.
        while ticked.recv().is_ok() {}
    }

    fn supervisor() -> Supervisor {
        Supervisor::new(CancellationToken::new())
    }

    fn signals() -> (mpsc::UnboundedSender<()>, impl Stream<Item = ()> + Send) {
        let (sender, mut receiver) = mpsc::unbounded_channel();
        (sender, stream::poll_fn(move |context| receiver.poll_recv(context)))
    }

    fn until_shutdown(supervisor: &Supervisor) -> impl Future<Output = ()> + Send + use<> {
        supervisor.shutdown().cancelled_owned()
    }

    #[tokio::test]
    async fn a_task_that_returns_early_ends_the_process_with_its_name() {
        let mut supervisor = supervisor();
        let other = until_shutdown(&supervisor);
        supervisor.spawn(TaskName::Index, other);
        supervisor.spawn(TaskName::Folder, async {});
        let error = supervisor.run(stream::pending()).await.unwrap_err();
        assert_eq!(error.to_string(), "task folder ended: it returned before the shutdown");
    }

    #[tokio::test]
    async fn a_panic_ends_the_process_with_the_name_and_the_message() {
        let mut supervisor = supervisor();
        supervisor.spawn(TaskName::Watch("pods"), std::future::poll_fn(|_| -> std::task::Poll<()> { panic!("boom") }));
        let error = supervisor.run(stream::pending()).await.unwrap_err();
        assert_eq!(error.to_string(), "task watch-pods ended: it panicked: boom; this is a bug, please report it");
    }

    #[tokio::test]
    async fn an_error_ends_the_process_with_its_whole_chain() {
        #[derive(Debug, thiserror::Error)]
        #[error("cannot listen")]
        struct Listen(#[source] std::io::Error);
        let mut supervisor = supervisor();
        supervisor.spawn(TaskName::Health, async { Err(Listen(std::io::Error::other("port taken"))) });
        let error = supervisor.run(stream::pending()).await.unwrap_err();
        assert_eq!(error.to_string(), "task health ended: cannot listen: port taken");
    }

    #[tokio::test]
    async fn the_first_signal_drains() {
        let mut supervisor = supervisor();
        let (drained, mut seen) = mpsc::unbounded_channel();
        let wait = until_shutdown(&supervisor);
        supervisor.spawn(TaskName::Recorder, async move {
            wait.await;
            drained.send("written").unwrap();
        });
        let (signal, signals) = signals();
        signal.send(()).unwrap();
        assert_eq!(supervisor.run(signals).await, Ok(()));
        assert_eq!(seen.recv().await, Some("written"));
    }

    #[tokio::test]
    async fn the_second_signal_aborts_and_names_who_was_cut_off() {
        let mut supervisor = supervisor();
        supervisor.spawn(TaskName::Recorder, std::future::pending::<()>());
        let (signal, signals) = signals();
        signal.send(()).unwrap();
        signal.send(()).unwrap();
        let error = supervisor.run(signals).await.unwrap_err();
        assert_eq!(error, RunError::Aborted { waiting: vec![TaskName::Recorder] });
    }

    #[tokio::test]
    async fn a_drain_that_takes_too_long_is_cut_off() {
        let mut supervisor = supervisor();
        supervisor.drain = Duration::from_millis(1);
        supervisor.spawn(TaskName::Images, std::future::pending::<()>());
        supervisor.shutdown.cancel();
        let error = supervisor.run(stream::pending()).await.unwrap_err();
        assert_eq!(error, RunError::DrainTimedOut { waiting: vec![TaskName::Images] });
    }

    #[tokio::test]
    async fn a_panic_of_blocking_work_is_a_panic_of_its_task() {
        let mut supervisor = supervisor();
        supervisor.spawn(TaskName::Workloads, blocking(|| -> () { panic!("deep") }));
        let error = supervisor.run(stream::pending()).await.unwrap_err();
        assert_eq!(error.to_string(), "task workloads ended: it panicked: deep; this is a bug, please report it");
    }
}
