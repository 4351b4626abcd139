//! What runs beside the doors: numbers carried into the metrics, and the word that everything is ready.

use std::io::Write as _;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::cluster::writer::ClusterView;
use crate::judge::CurrentJudge;
use crate::judge::tally::Tally;
use crate::runtime::metrics::Metrics;
use crate::runtime::readiness::ReadinessWatch;

/// How often counters that other parts keep are carried into the metrics.
const CARRY_EVERY: Duration = Duration::from_millis(500);

/// Carries numbers that other parts keep into the board and the metrics, so that a scrape triggers no work.
pub(super) struct Carrier {
    pub(super) judge: CurrentJudge,
    pub(super) tally: Arc<Tally>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) view: ClusterView,
}

impl Carrier {
    pub(super) async fn run(self, shutdown: CancellationToken) {
        let mut carried = self.judge.now().registry().statistics();
        let mut tick = tokio::time::interval(CARRY_EVERY);
        loop {
            tokio::select! {
                () = shutdown.cancelled() => return,
                _ = tick.tick() => {}
            }
            let objects = self.view.objects();
            self.tally.publish(objects);
            self.metrics.sources.index_objects.set(i64::try_from(objects).unwrap_or(i64::MAX));
            let snapshot = self.view.snapshot();
            self.metrics.sources.watch_connected.set(i64::from(snapshot.is_synced && snapshot.stale == 0));
            if let Some(coverage) = self.tally.board().borrow().coverage {
                self.metrics.scans.coverage.set(coverage);
            }
            let now = self.judge.now().registry().statistics();
            for (outcome, total) in now.requests {
                let new = total.saturating_sub(carried.requests_with(outcome));
                self.metrics.sources.registry_requests(outcome, new);
            }
            carried = now;
        }
    }
}

/// Prints `ready` and what else there is to say to stdout, once.
pub(super) async fn announce_when_ready(
    mut readiness: ReadinessWatch,
    lines: Vec<String>,
    shutdown: CancellationToken,
) {
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
