//! Where credentials come from: what is configured for the host, the helper that is, a credential provider, the docker
//! config. Programs are asked once for many questions, and not again for a while.

use std::ffi::OsString;
use std::fmt;
use std::hash::Hash;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use moka::Expiry;
use moka::future::Cache;
use portreeve_reports::Cause;

use super::credentials::{Credentials, DockerConfig, Held};
use super::failure::{Deadline, Failure};
use super::helpers::{self, HelperName};
use super::options::RegistryOptions;
use super::providers::{Provider, Providers, Reach, Told};
use crate::runtime::programs;

/// How long the answer of a helper counts, and how long that it failed.
const LIFETIME: Duration = Duration::from_secs(300);
const FAILURE_LIFETIME: Duration = Duration::from_secs(10);
/// Credentials that a registry refuses are asked for anew, but not more often than this.
const FRESH: Duration = Duration::from_secs(30);
/// Most answers kept.
const KEPT: u64 = 4096;

/// Programs that know credentials, and which of them are run.
#[derive(Clone, Debug, Default)]
pub struct Programs {
    /// The folders where helpers are looked for, as in `PATH`.
    pub path: OsString,
    /// Whether helpers are run that only the docker config names.
    pub docker_helpers: bool,
    /// Plug-ins in the manner of kubelet.
    pub providers: Option<Arc<Providers>>,
}

/// Who has the credentials of a host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// The configuration, or a docker config.
    File,
    /// A program, by its name.
    Program(String),
}

/// Credentials, or that there are none, and who says so.
#[derive(Clone)]
pub(super) struct Found {
    pub(super) credentials: Option<Credentials>,
    pub(super) source: Source,
}

impl Found {
    pub(super) fn in_file(credentials: Option<Credentials>) -> Self {
        Self { credentials, source: Source::File }
    }
}

/// What credentials are for: a host, and a repository there (empty: none in particular).
#[derive(Clone, Copy)]
pub(super) struct Place<'a> {
    pub(super) host: &'a str,
    pub(super) repository: &'a str,
}

impl Place<'_> {
    fn image(&self) -> String {
        if self.repository.is_empty() { self.host.to_owned() } else { format!("{}/{}", self.host, self.repository) }
    }
}

#[derive(Clone, PartialEq, Eq, Hash)]
struct Asked {
    helper: HelperName,
    server: String,
}

/// What the answer of a provider counts for.
#[derive(Clone, PartialEq, Eq, Hash)]
enum For {
    Image(String),
    Host(String),
    Everything,
}

/// A provider by its place in the list.
type AskedProvider = (usize, For);

#[derive(Clone)]
struct Answer<T> {
    outcome: Result<T, Failure>,
    since: Instant,
    lifetime: Duration,
}

impl<T> Answer<T> {
    fn new(outcome: Result<T, Failure>, lifetime: impl FnOnce(&T) -> Duration) -> Self {
        let lifetime = outcome.as_ref().map_or(FAILURE_LIFETIME, lifetime);
        Self { outcome, since: Instant::now(), lifetime }
    }

    fn is_fresh(&self) -> bool {
        self.since.elapsed() <= FRESH
    }
}

/// The sources of credentials that hosts share.
pub(super) struct Keyring {
    docker_config: Option<Arc<DockerConfig>>,
    programs: Programs,
    of_helpers: Cache<Asked, Answer<Option<Credentials>>>,
    of_providers: Cache<AskedProvider, Answer<Arc<Told>>>,
}

impl Keyring {
    pub(super) fn new(options: &RegistryOptions) -> Self {
        Self {
            docker_config: options.docker_config.clone(),
            programs: options.programs.clone(),
            of_helpers: Cache::builder().max_capacity(KEPT).expire_after(AnswerExpiry).build(),
            of_providers: Cache::builder().max_capacity(KEPT).expire_after(AnswerExpiry).build(),
        }
    }

    /// What there is for a place; `helper` is the one that is configured for its host.
    pub(super) async fn find(
        &self,
        place: Place<'_>,
        helper: Option<&HelperName>,
        deadline: Deadline,
    ) -> Result<Found, Failure> {
        if let Some(helper) = helper {
            return self.told_by(helper, place.host, deadline).await;
        }
        match self.provided(place, deadline).await? {
            Some(provided) => Ok(provided),
            None => self.of_docker(place.host, deadline).await,
        }
    }

    async fn of_docker(&self, host: &str, deadline: Deadline) -> Result<Found, Failure> {
        let held = self.docker_config.as_ref().map_or(Ok(Held::Nothing), |config| config.held(host))?;
        match held {
            Held::Nothing => Ok(Found::in_file(None)),
            Held::Here(credentials) => Ok(Found::in_file(Some(credentials))),
            Held::ByHelper(helper) if self.programs.docker_helpers => self.told_by(&helper, host, deadline).await,
            Held::ByHelper(helper) => Err(not_run(host, &helper)),
            // A store that is not installed has nothing.
            Held::PerhapsBy(helper) if self.programs.docker_helpers && self.program(&helper).is_some() => {
                self.told_by(&helper, host, deadline).await
            }
            Held::PerhapsBy(_) => Ok(Found::in_file(None)),
        }
    }

    /// What the first provider has that has something; that one of them failed, when none has.
    async fn provided(&self, place: Place<'_>, deadline: Deadline) -> Result<Option<Found>, Failure> {
        let Some(providers) = &self.programs.providers else { return Ok(None) };
        let image = place.image();
        let mut failed = None;
        for (index, provider) in providers.of_image(&image) {
            let answer = deadline.bound(self.told_by_provider((index, provider), (place.host, &image))).await;
            match answer.map_or_else(|| Err(late(provider)), |answer| answer.outcome) {
                Err(failure) => failed = failed.or(Some(failure)),
                Ok(told) => {
                    if let Some(credentials) = told.credentials(&image) {
                        let source = Source::Program(provider.to_string());
                        return Ok(Some(Found { credentials: Some(credentials.clone()), source }));
                    }
                }
            }
        }
        failed.map_or(Ok(None), Err)
    }

    async fn told_by_provider(
        &self,
        (index, provider): (usize, &Provider),
        (host, image): (&str, &str),
    ) -> Answer<Arc<Told>> {
        if let Some(answer) = self.told_for_more(index, host).await {
            return answer;
        }
        let asking = async {
            let _turn = provider.turns.acquire().await;
            // Who had the turn before may have asked for us, too.
            if let Some(answer) = self.told_for_more(index, host).await {
                return answer;
            }
            let answer = Answer::new(provider.ask(image).await.map(Arc::new), |told| told.lifetime);
            let more = match answer.outcome.as_ref().map(|told| told.reach) {
                Ok(Reach::Registry) => Some(For::Host(host.to_owned())),
                Ok(Reach::Global) => Some(For::Everything),
                Ok(Reach::Image) | Err(_) => None,
            };
            if let Some(more) = more {
                self.of_providers.insert((index, more), answer.clone()).await;
            }
            answer
        };
        self.of_providers.get_with((index, For::Image(image.to_owned())), Box::pin(asking)).await
    }

    async fn told_for_more(&self, index: usize, host: &str) -> Option<Answer<Arc<Told>>> {
        match self.of_providers.get(&(index, For::Everything)).await {
            None => self.of_providers.get(&(index, For::Host(host.to_owned()))).await,
            everything => everything,
        }
    }

    async fn told_by(&self, helper: &HelperName, host: &str, deadline: Deadline) -> Result<Found, Failure> {
        let asked = Asked { helper: helper.clone(), server: helpers::server(host).to_owned() };
        let answer = self.of_helpers.get_with_by_ref(&asked, self.ask(&asked));
        match deadline.bound(answer).await {
            Some(Answer { outcome, .. }) => {
                Ok(Found { credentials: outcome?, source: Source::Program(helper.to_string()) })
            }
            None => Err(late(helper)),
        }
    }

    fn program(&self, helper: &HelperName) -> Option<PathBuf> {
        programs::find(&helper.to_string(), &self.programs.path)
    }

    async fn ask(&self, asked: &Asked) -> Answer<Option<Credentials>> {
        let outcome = match self.program(&asked.helper) {
            Some(program) => helpers::ask(&program, &asked.helper, &asked.server).await,
            None => Err(missing(&asked.helper, &asked.server)),
        };
        Answer::new(outcome, |_| LIFETIME)
    }

    /// Lets what programs said about a place be asked anew: the registry has refused it.
    pub(super) async fn forget(&self, place: Place<'_>, helper: Option<&HelperName>) {
        for index in 0..self.programs.providers.as_ref().map_or(0, |providers| providers.count()) {
            for key in [For::Image(place.image()), For::Host(place.host.to_owned()), For::Everything] {
                forget_old(&self.of_providers, &(index, key)).await;
            }
        }
        let held = self.docker_config.as_ref().and_then(|config| config.held(place.host).ok());
        let helper = match (helper, held) {
            (Some(helper), _) => helper.clone(),
            (None, Some(Held::ByHelper(helper) | Held::PerhapsBy(helper))) => helper,
            _ => return,
        };
        forget_old(&self.of_helpers, &Asked { helper, server: helpers::server(place.host).to_owned() }).await;
    }
}

async fn forget_old<K, T>(answers: &Cache<K, Answer<T>>, key: &K)
where
    K: Hash + Eq + Send + Sync + 'static,
    T: Clone + Send + Sync + 'static,
{
    if answers.get(key).await.is_some_and(|answer| !answer.is_fresh()) {
        answers.invalidate(key).await;
    }
}

fn late(program: &dyn fmt::Display) -> Failure {
    Failure::new(Cause::TimedOut, format!("{program} was asked for credentials and did not answer before the deadline"))
}

fn missing(helper: &HelperName, server: &str) -> Failure {
    let message =
        format!("{helper}, which has the credentials of {server}, is in no folder of PATH; install it, or log in anew");
    Failure::new(Cause::Forbidden, message)
}

fn not_run(host: &str, helper: &HelperName) -> Failure {
    let message = format!(
        "the credentials of {host} are with {helper}, which the daemon runs only where its configuration says so: name \
         it as registries[].credentials.helper"
    );
    Failure::new(Cause::Forbidden, message)
}

struct AnswerExpiry;

impl<K, T> Expiry<K, Answer<T>> for AnswerExpiry {
    fn expire_after_create(&self, _: &K, answer: &Answer<T>, _: Instant) -> Option<Duration> {
        Some(answer.lifetime.saturating_sub(answer.since.elapsed()))
    }
}
