//! Where credentials come from: what is configured for the host, the helper that is, a credential provider, the docker
//! config. Programs are asked once for many questions, and not again for a while.

use std::ffi::OsString;
use std::fmt;
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

#[derive(Clone, PartialEq, Eq, Hash)]
struct Asked {
    helper: HelperName,
    server: String,
}

#[derive(Clone)]
struct Answer {
    outcome: Result<Option<Credentials>, Failure>,
    since: Instant,
}

/// The sources of credentials that hosts share.
pub(super) struct Keyring {
    docker_config: Option<Arc<DockerConfig>>,
    programs: Programs,
    answers: Cache<Asked, Answer>,
}

impl Keyring {
    pub(super) fn new(options: &RegistryOptions) -> Self {
        Self {
            docker_config: options.docker_config.clone(),
            programs: options.programs.clone(),
            answers: Cache::builder().max_capacity(KEPT).expire_after(AnswerExpiry).build(),
        }
    }

    /// What there is for a host; `helper` is the one that is configured for it.
    pub(super) async fn find(
        &self,
        host: &str,
        helper: Option<&HelperName>,
        deadline: Deadline,
    ) -> Result<Found, Failure> {
        if let Some(helper) = helper {
            return self.told_by(helper, host, deadline).await;
        }
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

    async fn told_by(&self, helper: &HelperName, host: &str, deadline: Deadline) -> Result<Found, Failure> {
        let asked = Asked { helper: helper.clone(), server: helpers::server(host).to_owned() };
        let answer = self.answers.get_with_by_ref(&asked, self.ask(&asked));
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

    async fn ask(&self, asked: &Asked) -> Answer {
        let outcome = match self.program(&asked.helper) {
            Some(program) => helpers::ask(&program, &asked.helper, &asked.server).await,
            None => Err(missing(&asked.helper, &asked.server)),
        };
        Answer { outcome, since: Instant::now() }
    }

    /// Lets what programs said about a host be asked anew: the registry has refused it.
    pub(super) async fn forget(&self, host: &str, helper: Option<&HelperName>) {
        let held = self.docker_config.as_ref().and_then(|config| config.held(host).ok());
        let helper = match (helper, held) {
            (Some(helper), _) => helper.clone(),
            (None, Some(Held::ByHelper(helper) | Held::PerhapsBy(helper))) => helper,
            _ => return,
        };
        let asked = Asked { helper, server: helpers::server(host).to_owned() };
        if self.answers.get(&asked).await.is_some_and(|answer| answer.since.elapsed() > FRESH) {
            self.answers.invalidate(&asked).await;
        }
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

impl Expiry<Asked, Answer> for AnswerExpiry {
    fn expire_after_create(&self, _: &Asked, answer: &Answer, _: Instant) -> Option<Duration> {
        Some(if answer.outcome.is_ok() { LIFETIME } else { FAILURE_LIFETIME })
    }
}
