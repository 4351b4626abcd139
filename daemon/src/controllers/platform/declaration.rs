//! Where a platform is declared, and, where that is a resource, what is said of it there.

use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::watch;

use crate::cluster::status::Condition;
use crate::controllers::resources::{About, Declared, READY, Ready};
use crate::judge::source::{repository_path, repository_root};
use crate::platform::build::{Part, Validated};
use crate::platform::keep::State;
use crate::runtime::supervisor::blocking;

/// Why nothing can be said of components.
pub(super) const NOT_LOOKED_AT: &str = "NotLookedAt";
/// Most components that a condition names.
const MAX_NAMED: usize = 20;

/// Where the platform is declared.
pub enum Declaration {
    /// In a file.
    File(PathBuf),
    /// In a resource of the cluster.
    Resource {
        /// Its name.
        name: String,
        /// What folders of components are relative to.
        folder: PathBuf,
        /// What it asks for.
        declared: watch::Receiver<Declared>,
        /// What is to be said in its status.
        ready: watch::Sender<Option<Arc<Ready>>>,
    },
}

/// What is declared, as of now.
pub(super) struct Loaded {
    pub(super) validated: Validated,
    pub(super) parts: Vec<Part>,
    /// The resource that says so.
    pub(super) of: About,
}

/// Why there is nothing to keep.
pub(super) enum Unusable {
    /// The API server was not heard yet.
    NotKnown,
    /// No platform is declared.
    Nothing(String),
    /// Its file is missing or has mistakes.
    Because(String),
    /// The resource has mistakes, and a finding about them.
    Refused(String),
}

impl Declaration {
    /// Reads what is declared, with the manifests of every component. What is declared by now is no change any more.
    pub(super) async fn load(&mut self) -> Result<Loaded, Unusable> {
        match self {
            Self::File(file) => {
                let file = file.clone();
                let load = move || Validated::load(&file).map(|validated| built(validated, About::default()));
                blocking(load).await.map_err(|invalid| Unusable::Because(invalid.to_string()))
            }
            Self::Resource { name, folder, declared, .. } => {
                let declared = declared.borrow_and_update().clone();
                match declared {
                    Declared::Waiting => Err(Unusable::NotKnown),
                    Declared::Nothing(why) => Err(Unusable::Nothing(why)),
                    Declared::Refused(why) => Err(Unusable::Refused(why)),
                    Declared::Spec { spec, about } => {
                        let spec = Arc::unwrap_or_clone(spec);
                        let validated = Validated::of_resource(name.clone(), spec, folder.clone());
                        Ok(blocking(move || built(validated, about)).await)
                    }
                }
            }
        }
    }

    /// Waits until something else is declared; what a file says is looked at once in a while.
    pub(super) async fn changed(&mut self) {
        if let Self::Resource { declared, .. } = self
            && declared.changed().await.is_ok()
        {
            return;
        }
        std::future::pending::<()>().await;
    }

    /// The platform as findings about the whole of it name it.
    pub(super) fn shown(&self) -> String {
        match self {
            Self::File(file) => repository_path(file, repository_root().as_deref()),
            Self::Resource { name, .. } => name.clone(),
        }
    }

    /// The file as findings name it, where it is one.
    pub(super) fn file(&self) -> Option<String> {
        matches!(self, Self::File(_)).then(|| self.shown())
    }

    /// Has it said in the status of the resource whether the platform is ready.
    pub(super) fn tell(&self, of: &About, (is_true, reason): (bool, &str), message: String) {
        let Self::Resource { name, ready, .. } = self else { return };
        let observed_generation = of.generation;
        let condition = Condition { type_: READY, is_true, observed_generation, reason: reason.to_owned(), message };
        let now = Some(Arc::new(Ready { name: name.clone(), uid: of.uid.clone(), condition }));
        ready.send_if_modified(|ready| std::mem::replace(ready, now.clone()) != now);
    }

    /// There is no platform to say anything of.
    pub(super) fn tell_nothing(&self) {
        if let Self::Resource { ready, .. } = self {
            ready.send_if_modified(|ready| ready.take().is_some());
        }
    }
}

fn built(validated: Validated, of: About) -> Loaded {
    let parts = validated.build();
    Loaded { validated, parts, of }
}

/// Whether all components are healthy; else the worst state as a reason, and what is not healthy. A component that was
/// not looked at is not healthy either: after a failure it may be waited with.
pub(super) fn summary<'a>(states: impl Iterator<Item = (&'a str, Option<State>)>) -> (bool, &'static str, String) {
    let states: Vec<(&str, Option<State>)> = states.collect();
    let is_off = |(_, state): &&(&str, Option<State>)| *state != Some(State::Healthy);
    let off: Vec<&(&str, Option<State>)> = states.iter().filter(is_off).collect();
    let badness = |state: State| State::ALL.iter().position(|known| *known == state);
    let worst = off.iter().filter_map(|(_, state)| *state).max_by_key(|state| badness(*state));
    let healthy = format!("{} of {} components are healthy", states.len() - off.len(), states.len());
    let named = off.iter().take(MAX_NAMED).map(|(name, state)| match state {
        Some(state) => format!("; {name} is {}", state.as_str()),
        None => format!("; {name} was not looked at yet"),
    });
    let more = off.len().saturating_sub(MAX_NAMED);
    let more = (more > 0).then(|| format!("; and {more} more are not"));
    let message = std::iter::once(healthy).chain(named).chain(more).collect();
    let otherwise = if off.is_empty() { "Healthy" } else { NOT_LOOKED_AT };
    (off.is_empty(), worst.map_or(otherwise, reason), message)
}

fn reason(state: State) -> &'static str {
    match state {
        State::Healthy => "Healthy",
        State::Progressing => "Progressing",
        State::Unhealthy => "Unhealthy",
        State::Pending => "Pending",
        State::Waiting => "Waiting",
        State::Drifted => "Drifted",
        State::Suspended => "Suspended",
        State::KeptBack => "KeptBack",
        State::Invalid => "Invalid",
        State::Failed => "Failed",
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    #[tokio::test]
    async fn what_was_loaded_is_no_change_and_where_nothing_is_declared_nothing_is_said() {
        let (sender, declared) = watch::channel(Declared::Waiting);
        let ready = watch::Sender::new(None);
        let said = ready.subscribe();
        let mut declaration = Declaration::Resource { name: "p".to_owned(), folder: "f".into(), declared, ready };
        sender.send_replace(Declared::Nothing("gone".to_owned()));
        assert!(matches!(declaration.load().await, Err(Unusable::Nothing(why)) if why == "gone"));
        assert!(declaration.changed().now_or_never().is_none(), "it is known");
        sender.send_replace(Declared::Refused("a mistake".to_owned()));
        assert!(declaration.changed().now_or_never().is_some());
        assert!(matches!(declaration.load().await, Err(Unusable::Refused(_))));
        let about = About { uid: "1".to_owned(), generation: Some(1) };
        declaration.tell(&about, (true, "Healthy"), "all".to_owned());
        assert_eq!(said.borrow().as_ref().map(|ready| ready.uid.clone()).as_deref(), Some("1"));
        declaration.tell_nothing();
        assert!(said.borrow().is_none());
    }

    #[test]
    fn a_platform_is_ready_when_all_its_components_are_healthy_and_else_says_which_are_not() {
        let healthy = [("a", Some(State::Healthy)), ("b", Some(State::Healthy))];
        assert_eq!(summary(healthy.into_iter()), (true, "Healthy", "2 of 2 components are healthy".to_owned()));
        let mixed = [("a", Some(State::KeptBack)), ("b", Some(State::Healthy)), ("c", Some(State::Progressing))];
        let said = "1 of 3 components are healthy; a is kept-back; c is progressing".to_owned();
        assert_eq!(summary(mixed.into_iter()), (false, "KeptBack", said));
        let names: Vec<String> = (0..200).map(|number| format!("c{number}")).collect();
        let (_, _, said) = summary(names.iter().map(|name| (name.as_str(), Some(State::Failed))));
        assert!(said.len() < 1_000 && said.ends_with("; and 180 more are not"), "{said}");
    }

    #[test]
    fn a_component_that_was_not_looked_at_makes_no_platform_ready() {
        let said = "0 of 1 components are healthy; db was not looked at yet".to_owned();
        assert_eq!(summary([("db", None)].into_iter()), (false, "NotLookedAt", said));
        let (is_ready, reason, _) = summary([("a", None), ("b", Some(State::Failed))].into_iter());
        assert_eq!((is_ready, reason), (false, "Failed"));
    }
}
