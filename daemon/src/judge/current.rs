//! The judge whose turn it is. Custom resources change the rules while the daemon runs: a door asks once for each
//! request or round who judges now, and so judges all of it by one version.

use std::sync::Arc;

use tokio::sync::watch;

use super::{Judge, Rules};

/// Who judges now. Clones share it.
#[derive(Clone)]
pub struct CurrentJudge {
    seat: Arc<watch::Sender<Seat>>,
}

#[derive(Clone)]
struct Seat {
    judge: Arc<Judge>,
    is_settled: bool,
}

impl CurrentJudge {
    /// The first judge; the rules are not settled yet.
    pub fn new(judge: Judge) -> Self {
        Self { seat: Arc::new(watch::Sender::new(Seat { judge: Arc::new(judge), is_settled: false })) }
    }

    /// The judge now.
    pub fn now(&self) -> Arc<Judge> {
        Arc::clone(&self.seat.borrow().judge)
    }

    /// Another takes the seat; whoever asks from now on gets this one.
    pub fn replace(&self, rules: Rules) {
        self.seat.send_modify(|seat| seat.judge = Arc::new(seat.judge.successor(rules)));
    }

    /// All that has a say in the rules at the start was heard, or nothing but files has.
    pub fn settle(&self) {
        self.seat.send_modify(|seat| seat.is_settled = true);
    }

    /// Whether the rules are settled.
    pub fn is_settled(&self) -> bool {
        self.seat.borrow().is_settled
    }

    /// Waits until another judge than that of this version has the seat.
    pub async fn replaced(&self, version: u64) {
        drop(self.seat.subscribe().wait_for(|seat| seat.judge.version() != version).await);
    }

    /// Waits until the rules are settled: what is judged before would be judged without the exceptions of the cluster.
    pub async fn settled(&self) {
        // The sender lives as long as this.
        drop(self.seat.subscribe().wait_for(|seat| seat.is_settled).await);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::judge::{FileSource, JudgeSettings};
    use crate::registry::{RegistryClient, RegistryOptions};

    #[tokio::test]
    async fn a_request_keeps_its_judge_while_another_takes_the_seat() {
        drop(rustls::crypto::aws_lc_rs::default_provider().install_default());
        let settings = JudgeSettings { controls: vec!["C-0057".to_owned()], ..JudgeSettings::default() };
        let rules = Rules::load(&settings, &FileSource::WorkingTree).unwrap();
        let registry = RegistryClient::new(RegistryOptions::default()).unwrap();
        let current = CurrentJudge::new(Judge::new(rules.clone(), registry));
        let held = current.now();
        tokio::join!(current.replaced(0), async { current.replace(rules) });
        assert_eq!((held.version(), current.now().version()), (0, 1));
        tokio::join!(current.settled(), async { current.settle() });
    }
}
