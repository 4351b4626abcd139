//! Readiness: the process is ready when every part that holds a permit has released it, and stays ready after that.

use std::collections::BTreeSet;
use std::sync::Arc;

use tokio::sync::watch;

/// What `/readyz` answers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Readiness {
    /// Whether every part has become ready.
    pub ready: bool,
    /// The parts that have not, by name, sorted.
    pub waiting: Vec<&'static str>,
}

/// Collects the parts that must become ready, before any of them starts.
#[derive(Debug)]
pub struct Parts {
    state: Arc<watch::Sender<BTreeSet<&'static str>>>,
}

/// Held by a part until it is ready. One that is dropped unreleased keeps the process unready: a part that died
/// before its first answer is not ready.
#[derive(Debug)]
#[must_use = "a permit that is never released keeps the process unready"]
pub struct Permit {
    part: &'static str,
    state: Arc<watch::Sender<BTreeSet<&'static str>>>,
}

/// Answers readiness; clones share the state.
#[derive(Clone, Debug)]
pub struct ReadinessWatch {
    state: watch::Receiver<BTreeSet<&'static str>>,
}

impl Default for Parts {
    fn default() -> Self {
        Self::new()
    }
}

impl Parts {
    /// No parts yet.
    pub fn new() -> Self {
        Self { state: Arc::new(watch::Sender::new(BTreeSet::new())) }
    }

    /// A permit for a part; part names are unique.
    pub fn permit(&mut self, part: &'static str) -> Permit {
        self.state.send_modify(|waiting| {
            waiting.insert(part);
        });
        Permit { part, state: Arc::clone(&self.state) }
    }

    /// Ends the collecting; only now can anybody ask, so nobody sees "ready" before all permits were handed out.
    pub fn watch(self) -> ReadinessWatch {
        ReadinessWatch { state: self.state.subscribe() }
    }
}

impl Permit {
    /// The part is ready.
    pub fn release(self) {
        self.state.send_modify(|waiting| {
            waiting.remove(self.part);
        });
    }
}

impl ReadinessWatch {
    /// The state now.
    pub fn now(&self) -> Readiness {
        let waiting: Vec<_> = self.state.borrow().iter().copied().collect();
        Readiness { ready: waiting.is_empty(), waiting }
    }

    /// Waits until every part is ready; `false` when a part died first, for then it never will be.
    pub async fn ready(&mut self) -> bool {
        self.state.wait_for(BTreeSet::is_empty).await.is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn ready_when_the_last_permit_is_released() {
        let mut parts = Parts::new();
        let (index, store) = (parts.permit("index"), parts.permit("store"));
        let mut watch = parts.watch();
        assert_eq!(watch.now(), Readiness { ready: false, waiting: vec!["index", "store"] });
        index.release();
        assert_eq!(watch.now().waiting, ["store"]);
        store.release();
        assert!(watch.ready().await);
        assert_eq!(watch.now(), Readiness { ready: true, waiting: vec![] });
    }

    #[tokio::test]
    async fn a_part_that_died_is_never_ready() {
        let mut parts = Parts::new();
        drop(parts.permit("index"));
        let mut watch = parts.watch();
        assert!(!watch.ready().await);
        assert_eq!(watch.now().waiting, ["index"]);
    }
}
