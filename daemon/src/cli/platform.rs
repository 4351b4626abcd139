//! `portreeve platform`: what would change, applying it, and taking it down.

mod args;
mod print;

use std::io::{BufRead as _, IsTerminal as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use portreeve_api::platform::Component;
use portreeve_reports::Cause;
use portreeve_reports::gate::ExitCode;
use tokio::time::Instant;

use super::args::{GlobalArgs, RegistryArgs, registry};
use super::{Failure, Outcome, output};
use crate::cluster::apply::{ApiFailure, Applier};
use crate::cluster::client::{KubeSource, connect_plainly};
use crate::cluster::key::ObjectKey;
use crate::cluster::lease::command::acquire_for_command;
use crate::config::valid::{LeaderConfig, PlatformSource};
use crate::config::{ClusterSource, Config};
use crate::judge::FileSource;
use crate::platform::build::Validated;
use crate::platform::clear::GateRules;
use crate::platform::deploy::{Applied, Deployer, Patience};
use crate::platform::inventory::{Inventory, WHOLE};
use crate::platform::keep::{self, Aim, Look, Run, State, Stop};
use crate::runtime::leader::Leading;
pub(super) use args::PlatformArgs;
use args::{ApplyArgs, DestroyArgs, Format, PlatformCommand, SomeArgs, WhichArgs};

/// Where the platform file is looked for.
const FILE: &str = "platform.yaml";
/// The pause between two looks at objects whose deletion has begun.
const LOOK: Duration = Duration::from_millis(300);

/// Runs the command.
pub(super) fn run(args: &PlatformArgs, global: &GlobalArgs) -> Outcome {
    let which = match &args.command {
        PlatformCommand::Plan(which) | PlatformCommand::Status(which) => which,
        PlatformCommand::Apply(args) => &args.which,
        PlatformCommand::Suspend(args) | PlatformCommand::Resume(args) => &args.which,
        PlatformCommand::Destroy(args) => &args.which,
    };
    let timeout = match &args.command {
        PlatformCommand::Apply(_) | PlatformCommand::Destroy(_) => global.timeout_of_writing(),
        _ => global.timeout(),
    };
    let session = Session::open((which, timeout), global)?;
    // No request is waited for past the time, and no object written: nothing is cut in its middle.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(Failure::other)?;
    runtime.block_on(async {
        let applier = session.connect().await?;
        match &args.command {
            PlatformCommand::Plan(_) => session.plan(&applier).await,
            PlatformCommand::Apply(args) => Box::pin(session.apply(&applier, args)).await,
            PlatformCommand::Status(_) => session.status(&applier).await,
            PlatformCommand::Suspend(args) => Box::pin(session.suspend(&applier, args, true)).await,
            PlatformCommand::Resume(args) => Box::pin(session.suspend(&applier, args, false)).await,
            PlatformCommand::Destroy(args) => Box::pin(session.destroy(&applier, args)).await,
        }
    })
}

/// What every sub-command works with.
struct Session {
    validated: Validated,
    gate: GateRules,
    source: KubeSource,
    lease: LeaderConfig,
    format: Format,
    deadline: Instant,
}

impl Session {
    fn open((which, timeout): (&WhichArgs, Duration), global: &GlobalArgs) -> Result<Self, Failure> {
        let config = global.load_config()?.config;
        if global.offline {
            return Err(Failure::usage("'platform' needs the API server, which --offline blocks"));
        }
        let file = file(which.file.as_deref(), &config)?;
        let validated = Validated::load(&file).map_err(Failure::usage)?;
        let registry = registry((&config, &FileSource::WorkingTree), &RegistryArgs::default(), global)?;
        let gate = GateRules::load(&validated.spec.gate, &config, registry);
        let gate = gate.map_err(|error| Failure::usage_by(&error))?;
        let deadline = Instant::now() + timeout;
        let lease = config.leader.clone();
        Ok(Self { validated, gate, source: source(&config)?, lease, format: which.format, deadline })
    }

    async fn connect(&self) -> Result<Applier, Failure> {
        let connected = tokio::time::timeout_at(self.deadline, connect_plainly(&self.source)).await;
        let client = connected.map_err(|_| not_asked(ApiFailure::OutOfTime))?.map_err(Failure::usage)?;
        Ok(Applier::new(client, &self.lease).until(self.deadline))
    }

    async fn look<'a>(&'a self, applier: &'a Applier) -> Result<Look<'a>, Failure> {
        Look::take(applier, &self.validated, &self.gate, self.validated.build()).await.map_err(not_asked)
    }

    /// Does what writes while this process holds the lease. A daemon that holds it is asked for it, and gives it between
    /// two of its steps.
    async fn leading<T>(
        &self,
        applier: &Applier,
        work: impl AsyncFnOnce(Leading) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        applier.make_own_namespace().await.map_err(not_asked)?;
        let held = acquire_for_command(applier.client().clone(), self.lease.clone(), applier.left()).await;
        let held = held.map_err(|held| Failure::not_had(Cause::Unreachable, held))?;
        let leading = held.leading();
        let done = Box::pin(held.during(work(leading))).await;
        done.map_err(|lost| Failure::not_had(Cause::Unreachable, format!("{lost}; run the command again")))?
    }

    async fn plan(&self, applier: &Applier) -> Outcome {
        let look = self.look(applier).await?;
        let outcomes = planned(&look, applier, false).await?;
        self.show(&look, &outcomes)?;
        Ok(exit(&outcomes))
    }

    async fn apply(&self, applier: &Applier, args: &ApplyArgs) -> Outcome {
        let look = self.look(applier).await?;
        let planned = planned(&look, applier, args.confirm_prune).await?;
        if args.dry_run {
            self.show(&look, &planned)?;
            return Ok(exit(&planned));
        }
        if self.format == Format::Table {
            self.show(&look, &planned)?;
        }
        let (deletes, adopts) = print::destructive(&planned);
        let mut applier = applier.clone();
        if deletes + adopts > 0 {
            applier = confirm(applier, &format!("Delete {deletes} and take over {adopts} object(s)?"), args.yes)?;
        }
        let applier = &applier;
        let (outcomes, handed_over) = self
            .leading(applier, async |leading| {
                let wait = if args.no_wait { Duration::ZERO } else { Duration::MAX };
                // Again: whoever led before may have written.
                let look = self.look(applier).await?;
                let aim = Aim::Apply { leading: &leading, confirm_prune: args.confirm_prune, wait };
                let mut outcomes = all(&look, applier, aim).await;
                let handed_over = look.hand_over(&mut outcomes, &leading).await;
                Ok((outcomes, handed_over))
            })
            .await?;
        match self.format {
            Format::Json => self.show(&look, &outcomes)?,
            Format::Table => output::print(&print::applied(&outcomes, applier.writes()))?,
        }
        // What was applied is told before.
        handed_over.map_err(not_asked)?;
        Ok(exit(&outcomes))
    }

    async fn status(&self, applier: &Applier) -> Outcome {
        let look = self.look(applier).await?;
        let mut rows = Vec::new();
        let removed = look.removed();
        for component in look.parts.iter().map(|part| &part.component).chain(&removed) {
            let row = print::Row::of(&look, component, applier).await.map_err(not_asked)?;
            rows.push(row.after(&rows, &look, component));
        }
        output::print(&match self.format {
            Format::Json => print::status_json(&self.validated.name, &rows),
            Format::Table => print::status(&rows),
        })?;
        let is_well = rows.iter().all(|row| matches!(row.state, State::Healthy | State::Suspended));
        Ok(if is_well { ExitCode::Clean } else { ExitCode::Unknown })
    }

    async fn suspend(&self, applier: &Applier, args: &SomeArgs, is_suspended: bool) -> Outcome {
        let look = self.look(applier).await?;
        let whole = [WHOLE.to_owned()];
        let names: &[String] = if args.components.is_empty() { &whole } else { &args.components };
        let removed = look.removed();
        let known: Vec<&str> =
            look.parts.iter().map(|part| &part.component).chain(&removed).map(|known| &*known.name).collect();
        if let Some(unknown) = args.components.iter().find(|name| !known.contains(&name.as_str())) {
            return Err(Failure::usage(format!("there is no component '{unknown}'; there are {}", known.join(", "))));
        }
        let word = if is_suspended { "suspended" } else { "resumed" };
        let shown = |name: &str| if name == WHOLE { self.validated.name.clone() } else { name.to_owned() };
        if args.dry_run {
            let lines = names.iter().map(|name| format!("{} would be {word}\n", shown(name)));
            output::print(&lines.collect::<String>())?;
            return Ok(ExitCode::Clean);
        }
        self.leading(applier, async |leading| {
            let mut look = self.look(applier).await?;
            for name in names {
                self.mark(applier, (&leading, &mut look), (name, is_suspended)).await?;
                output::print(&format!("{} is {word}\n", shown(name)))?;
            }
            Ok(ExitCode::Clean)
        })
        .await
    }

    /// Stores whether a component or the platform is suspended.
    async fn mark(
        &self,
        applier: &Applier,
        (leading, look): (&Leading, &mut Look<'_>),
        (name, is_suspended): (&str, bool),
    ) -> Result<(), Failure> {
        let known = look.inventories.remove(name);
        let mut inventory = known.unwrap_or_else(|| Ok(Inventory::default())).map_err(Failure::other)?;
        let whose = crate::platform::prune::Whose { platform: &self.validated.name, component: name };
        let marked =
            Deployer { applier, leading, whose, patience: NO_PATIENCE }.suspend(&mut inventory, is_suspended).await;
        marked.map_err(not_asked)?;
        look.inventories.insert(name.to_owned(), Ok(inventory));
        Ok(())
    }

    async fn destroy(&self, applier: &Applier, args: &DestroyArgs) -> Outcome {
        let look = self.look(applier).await?;
        let targets = look.standing();
        output::print(&print::destruction(&look, &targets))?;
        if args.dry_run {
            return Ok(ExitCode::Clean);
        }
        let question = format!("Take down the platform '{}'?", self.validated.name);
        let applier = &confirm(applier.clone(), &question, args.yes)?;
        let exit = self
            .leading(applier, async |leading| {
                let mut look = self.look(applier).await?;
                // First: a daemon that keeps the platform must not bring back what goes.
                self.mark(applier, (&leading, &mut look), (WHOLE, true)).await?;
                let (mut left, mut exits): (Vec<Component>, Vec<ExitCode>) = Default::default();
                for component in look.standing() {
                    let needs_it = |other: &&Component| other.depends_on.contains(&component.name);
                    if let Some(dependent) = left.iter().find(needs_it) {
                        output::print(&format!("{}: waits until {} is gone\n", component.name, dependent.name))?;
                        left.push(component);
                        continue;
                    }
                    let exit = self.take_down(applier, (&leading, &look), &component).await?;
                    exits.push(exit);
                    if exit != ExitCode::Clean {
                        left.push(component);
                    }
                }
                Ok(ExitCode::worst(exits))
            })
            .await?;
        let word = if exit == ExitCode::Clean { "gone" } else { "not gone yet; run it again" };
        output::print(&format!("platform {} is {word} and stays suspended\n", self.validated.name))?;
        Ok(exit)
    }

    /// Deletes one component's objects until they are gone, which is a clean exit, or the time is over.
    async fn take_down(
        &self,
        applier: &Applier,
        (leading, look): (&Leading, &Look<'_>),
        component: &Component,
    ) -> Result<ExitCode, Failure> {
        let whose = look.whose(&component.name);
        let deployer = Deployer { applier, leading, whose, patience: NO_PATIENCE };
        let mut inventory = match look.inventories.get(&component.name) {
            Some(Ok(inventory)) => inventory.clone(),
            Some(Err(damaged)) => return Err(Failure::other(damaged)),
            None => return Ok(ExitCode::Clean),
        };
        loop {
            let applied = match keep::take_down(&deployer, component, &mut inventory).await {
                Ok(applied) => applied,
                Err(cut) => Applied { cut: Some(cut), ..Applied::default() },
            };
            output::print(&print::taken_down(&component.name, &applied))?;
            if applied.is_done() {
                return Ok(ExitCode::Clean);
            }
            if !applied.failures.is_empty() {
                return Ok(refused_exit(&applied.failures));
            }
            if let Some(cut) = &applied.cut {
                return Ok(Failure::not_had(cut.cause(), "").exit);
            }
            if applier.left() < LOOK {
                return Ok(ExitCode::Unknown);
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    fn show(&self, look: &Look<'_>, outcomes: &[keep::Outcome]) -> Result<(), Failure> {
        output::print(&match self.format {
            Format::Json => print::json(look, outcomes),
            Format::Table => print::plan(look, outcomes),
        })
    }
}

const NO_PATIENCE: Patience = Patience { waves: Duration::ZERO, health: Duration::ZERO };

/// The plans of all. One that is not whole is none.
async fn planned(look: &Look<'_>, applier: &Applier, confirm_prune: bool) -> Result<Vec<keep::Outcome>, Failure> {
    let outcomes = all(look, applier, Aim::Plan { confirm_prune }).await;
    let is_cut = |outcome: &keep::Outcome| matches!(outcome.stop, Some(Stop::Api(ApiFailure::OutOfTime)));
    if applier.left().is_zero() || outcomes.iter().any(is_cut) {
        return Err(not_asked(ApiFailure::OutOfTime));
    }
    Ok(outcomes)
}

/// Every component, each after those it depends on, and then what is no longer declared.
async fn all(look: &Look<'_>, applier: &Applier, aim: Aim<'_>) -> Vec<keep::Outcome> {
    let mut run = Run::default();
    let mut outcomes = Vec::new();
    // When nothing more can be done, that is said of the others, and not what comes of asking all the same.
    let over = || match aim {
        Aim::Apply { leading, .. } if leading.check().is_err() => leading.check().err().map(ApiFailure::from),
        _ => applier.left().is_zero().then_some(ApiFailure::OutOfTime),
    };
    for part in &look.parts {
        let outcome = match over() {
            Some(over) => keep::Outcome::not_looked_at(&part.component, over),
            None => look.component(part, &run, aim).await,
        };
        run.applied(&outcome);
        outcomes.push(outcome);
    }
    for component in look.removed() {
        let outcome = match over() {
            Some(over) => keep::Outcome { is_removed: true, ..keep::Outcome::not_looked_at(&component, over) },
            None => look.remove(&component, &run, aim).await,
        };
        run.removed(&outcome);
        outcomes.push(outcome);
    }
    outcomes
}

/// The file that is meant: the one that is named, else the configured one, and not one that only happens to lie here.
fn file(named: Option<&Path>, config: &Config) -> Result<PathBuf, Failure> {
    match (named, config.platform.as_ref().map(|platform| &platform.source)) {
        (Some(named), _) => Ok(named.to_owned()),
        (None, Some(PlatformSource::File(file))) => Ok(file.clone()),
        (None, Some(PlatformSource::Resource { name, folder })) => {
            let file = shown(&folder.join(FILE));
            Err(Failure::usage(format!(
                "the configuration names the Platform '{name}' of the cluster, and this command works with files: run \
                 `kubectl get platform {name} -o yaml > {file}`, then say -f {file}"
            )))
        }
        (None, None) => Ok(PathBuf::from(FILE)),
    }
}

fn source(config: &Config) -> Result<KubeSource, Failure> {
    match &config.cluster {
        ClusterSource::InCluster => Ok(KubeSource::InCluster),
        ClusterSource::Kubeconfig { file, context } => {
            Ok(KubeSource::Kubeconfig { file: file.clone(), context: context.clone() })
        }
        ClusterSource::Folder { path, .. } => Err(Failure::usage(format!(
            "a platform is deployed to an API server, and 'cluster.folder' names {}; set cluster.kubeconfig",
            shown(path)
        ))),
    }
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}

/// Exit 4 or 5: the API server could not be asked.
fn not_asked(failure: ApiFailure) -> Failure {
    Failure::not_had(failure.cause(), failure)
}

/// Asks on a terminal; elsewhere `--yes` is the answer. The time that somebody takes to answer is not the command's.
fn confirm(applier: Applier, question: &str, yes: bool) -> Result<Applier, Failure> {
    if yes {
        return Ok(applier);
    }
    let left = applier.left();
    if !std::io::stdin().is_terminal() {
        return Err(Failure::usage(format!("{question} Without a terminal, say --yes")));
    }
    output::say(&format!("{question} [y/N]"));
    let mut line = String::new();
    std::io::stdin().lock().read_line(&mut line).map_err(Failure::other)?;
    if matches!(line.trim(), "y" | "yes") {
        Ok(applier.until(Instant::now() + left))
    } else {
        Err(Failure::usage("nothing was done"))
    }
}

/// The exit that refusals of objects come to.
fn refused_exit(refused: &[(ObjectKey, ApiFailure)]) -> ExitCode {
    let is_any = |causes: &[Cause]| refused.iter().any(|(_, failure)| causes.contains(&failure.cause()));
    if is_any(&[Cause::Forbidden]) {
        ExitCode::Forbidden
    } else if is_any(&[Cause::Unreachable, Cause::TimedOut, Cause::RateLimited]) {
        ExitCode::Unknown
    } else {
        ExitCode::Unclassified
    }
}

/// The exit that all components come to.
fn exit(outcomes: &[keep::Outcome]) -> ExitCode {
    ExitCode::worst(outcomes.iter().map(|outcome| match &outcome.stop {
        Some(Stop::KeptBack(kept)) => kept.exit,
        Some(Stop::Invalid(_)) => ExitCode::Usage,
        Some(Stop::Api(failure)) => Failure::not_had(failure.cause(), "").exit,
        Some(Stop::Refused(refused)) => refused_exit(refused),
        Some(_) => ExitCode::Unclassified,
        None => match outcome.state {
            State::Unhealthy | State::Progressing | State::Waiting if outcome.applied.is_some() => ExitCode::Unknown,
            State::Waiting => ExitCode::Unknown,
            // Asked for, and not done.
            State::Suspended => ExitCode::Unclassified,
            _ => ExitCode::Clean,
        },
    }))
}
