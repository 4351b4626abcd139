//! Keeps the platform as declared: on a schedule, and again soon while something is under way. One bad component never
//! stops the others, and nothing is written without the lease.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use portreeve_api::platform::{CODES, FORMER_PLATFORM, Gate, PLATFORM_INVALID};
use portreeve_reports::{CodeEntry, SubjectKey};
use tokio_util::sync::CancellationToken;

use super::ledger::{Keeper, Ledger, Needs};
use super::{dice, soon};
use crate::cluster::apply::Applier;
use crate::config::Config;
use crate::judge::CurrentJudge;
use crate::platform::budget::{Budget, pause};
use crate::platform::build::Validated;
use crate::platform::clear::{self, GateRules};
use crate::platform::findings;
use crate::platform::former::Former;
use crate::platform::keep::{Aim, Look, Outcome, Run, State};
use crate::platform::plan::{AppliedSecrets, DriftClass};
use crate::runtime::leader::{LeadershipWatch, Leading};
use crate::runtime::metrics::PlatformMetrics;
use crate::runtime::supervisor::blocking;
use crate::store::{Record, RecorderHandle, Store};
use declaration::{Loaded, Unusable};

mod declaration;
mod lease;

pub use declaration::Declaration;

/// The first pause while something is under way.
const SOON: Duration = Duration::from_secs(1);

/// What the controller works with.
pub struct PlatformController {
    /// Where it is declared.
    pub declaration: Declaration,
    /// How often that is compared with what is there.
    pub interval: Duration,
    /// Where the rules of the gate are.
    pub config: Config,
    /// Whose image policy and exceptions are in force.
    pub judge: CurrentJudge,
    /// The way to the API server.
    pub applier: Applier,
    /// Who leads.
    pub leadership: LeadershipWatch,
    /// What is stored.
    pub store: Store,
    /// The store.
    pub recorder: RecorderHandle,
    /// What is needed of the exceptions.
    pub needs: Needs,
    /// Counts.
    pub metrics: PlatformMetrics,
}

/// What is remembered from round to round. A restart forgets it: nothing but pauses and patience is lost.
struct Memory {
    gate: Option<(Gate, GateRules)>,
    components: BTreeMap<String, Known>,
    writes: u64,
    books: Books,
    /// What the log says of a resource that cannot be used.
    refused: Option<String>,
    /// Whether the last look could not be taken, since the API server did not answer.
    is_unanswered: bool,
}

/// What a round writes into, whatever it looks at.
struct Books {
    ledger: Ledger,
    budget: Budget,
    /// The platform whose former names were looked for, and of which nothing that is gone is open.
    tidied: Option<String>,
}

/// What is remembered of a component.
#[derive(Default)]
struct Known {
    state: Option<State>,
    drift: BTreeMap<DriftClass, usize>,
    secrets: AppliedSecrets,
    failures: u32,
    /// Whether the last failure was that of an API server that did not answer.
    is_unanswered: bool,
    digest: String,
    not_before: Option<Instant>,
    unhealthy_since: Option<Instant>,
}

impl PlatformController {
    /// Keeps the platform until the shutdown.
    pub async fn run(mut self, shutdown: CancellationToken) {
        let mut memory = Memory::new(&self);
        let mut busy_rounds = 0;
        tokio::select! {
            () = self.judge.settled() => {}
            () = shutdown.cancelled() => return,
        }
        loop {
            let leading = tokio::select! {
                leading = self.leading(&mut memory) => leading,
                () = shutdown.cancelled() => return,
            };
            memory.books.ledger.begin();
            let loaded = tokio::select! {
                loaded = self.declaration.load() => loaded,
                () = shutdown.cancelled() => return,
            };
            let is_busy = {
                let mut round = std::pin::pin!(self.round(&leading, loaded, &mut memory));
                tokio::select! {
                    is_busy = &mut round => is_busy,
                    () = shutdown.cancelled() => {
                        self.applier.close();
                        // The lease is kept beside the write under way, and for no other.
                        tokio::select! {
                            _ = round => {}
                            () = self.applier.quiet() => {}
                        }
                        return;
                    }
                }
            };
            // Whoever asked for the lease gets it between two rounds.
            drop(leading);
            busy_rounds = if is_busy { busy_rounds + 1 } else { 0 };
            let soon = pause(SOON, busy_rounds, dice()).min(self.interval);
            let next = if is_busy { soon } else { pause(self.interval, 0, dice()) };
            tokio::select! {
                () = self.pause(next, &mut memory) => {}
                () = shutdown.cancelled() => return,
            }
        }
    }

    /// Waits for the next round. Other rules change verdicts at once, and need no look at the cluster for that; an API
    /// server that answers again is asked again soon.
    async fn pause(&mut self, next: Duration, memory: &mut Memory) {
        let mut end = tokio::time::Instant::now() + next;
        let ledger = &mut memory.books.ledger;
        loop {
            tokio::select! {
                () = tokio::time::sleep_until(end) => return,
                () = self.declaration.changed() => return,
                () = self.leadership.answered_again() => {
                    memory.components.values_mut().for_each(Known::answered_again);
                    end = end.min(tokio::time::Instant::now() + soon());
                    continue;
                }
                () = ledger.rules_changed() => {}
            }
            match self.leadership.now() {
                // Whoever asks for the lease does not wait for the store.
                Some(leading) => tokio::select! {
                    () = ledger.lay_again(&leading) => {}
                    _ = leading.over() => {}
                },
                None => ledger.pass_over(),
            }
        }
    }

    /// One look at everything; whether something is under way.
    async fn round(&self, leading: &Leading, loaded: Result<Loaded, Unusable>, memory: &mut Memory) -> bool {
        let started = Instant::now();
        let Loaded { validated, parts, of } = match loaded {
            Ok(loaded) => loaded,
            Err(unusable) => {
                self.unusable(leading, unusable, memory).await;
                return false;
            }
        };
        memory.refused = None;
        if let Err(why) = self.read_gate(&validated, memory).await {
            self.declaration.tell(&of, (false, "GateUnusable"), why.clone());
            self.whole(leading, &mut memory.books, Some(why), None).await;
            self.not_looked_at(Some(State::Invalid), memory);
            return false;
        }
        let Memory { gate: Some((_, gate)), books, components, is_unanswered, .. } = memory else { return false };
        let gate = gate.in_force(self.judge.now().rules());
        let look = match Look::take(&self.applier, &validated, &gate, parts).await {
            Ok(look) => look,
            Err(failure) => {
                self.declaration.tell(&of, (false, declaration::NOT_LOOKED_AT), failure.to_string());
                self.whole(leading, books, None, None).await;
                *is_unanswered = failure.is_unanswered();
                components.values_mut().for_each(|known| known.not_looked_at(None));
                for component in &validated.spec.components {
                    let outcome = Outcome::not_looked_at(component, failure.clone());
                    let known = components.entry(component.name.clone()).or_default();
                    self.kept(leading, books, (&outcome, &validated), known).await;
                }
                self.count(memory);
                return false;
            }
        };
        if std::mem::take(is_unanswered) {
            components.values_mut().for_each(Known::answered_again);
        }
        self.whole(leading, books, None, Some(&look.former)).await;
        if books.tidied.as_ref() != Some(&validated.name) && self.forget_others(leading, &mut books.ledger, &look).await
        {
            books.tidied = Some(validated.name.clone());
        }
        let is_busy = self.components(leading, (&validated, &look), books, components).await;
        if !self.applier.is_closed() {
            books.ledger.looked(leading).await;
            let states = components.iter().map(|(name, known)| (name.as_str(), known.state));
            let (is_ready, reason, message) = declaration::summary(states);
            self.declaration.tell(&of, (is_ready, reason), message);
        }
        self.count(memory);
        self.metrics.round.set(started.elapsed().as_secs_f64());
        is_busy
    }

    /// There is nothing to keep. A resource with mistakes has its own finding about them, and one is enough.
    async fn unusable(&self, leading: &Leading, unusable: Unusable, memory: &mut Memory) {
        let state = matches!(unusable, Unusable::Because(_) | Unusable::Refused(_)).then_some(State::Invalid);
        self.not_looked_at(state, memory);
        if matches!(unusable, Unusable::NotKnown) {
            return;
        }
        self.declaration.tell_nothing();
        let problem = match unusable {
            Unusable::NotKnown => None,
            Unusable::Nothing(why) | Unusable::Because(why) => {
                memory.refused = None;
                Some(why)
            }
            Unusable::Refused(why) => {
                if memory.refused.as_ref() != Some(&why) {
                    tracing::warn!(platform = self.declaration.shown(), why, "the platform is left as it is");
                }
                memory.refused = Some(why);
                None
            }
        };
        self.whole(leading, &mut memory.books, problem, None).await;
    }

    /// Files are read once; what may change while the daemon runs comes from the judge in each round.
    async fn read_gate(&self, validated: &Validated, memory: &mut Memory) -> Result<(), String> {
        let wanted = &validated.spec.gate;
        if memory.gate.as_ref().is_none_or(|(gate, _)| gate != wanted) {
            let (gate, config, registry) = (wanted.clone(), self.config.clone(), self.judge.now().registry().clone());
            let rules = blocking(move || GateRules::load(&gate, &config, registry)).await;
            memory.gate = Some((wanted.clone(), rules.map_err(|error| format!("spec.gate: {error}"))?));
        }
        Ok(())
    }

    async fn components(
        &self,
        leading: &Leading,
        (validated, look): (&Validated, &Look<'_>),
        books: &mut Books,
        known: &mut BTreeMap<String, Known>,
    ) -> bool {
        let (mut run, mut is_busy, now) = (Run::default(), false, Instant::now());
        let removed = look.removed();
        let all = look.parts.iter().map(|part| &part.component).chain(&removed);
        known.retain(|name, _| all.clone().any(|component| component.name == *name));
        let kept = self.subjects(look);
        books.ledger.retain(|subject| kept.contains(subject));
        for part in &look.parts {
            let known = known.entry(part.component.name.clone()).or_default();
            // What bounds all components stops one of them, too.
            if !known.is_due(&format!("{} {}", part.digest(), validated.spec.max_prune), now) {
                continue;
            }
            let stalled = books.budget.stalled(now);
            let aim = Aim::Keep { leading, stalled: &stalled, secrets: &known.secrets };
            let outcome = look.component(part, &run, aim).await;
            run.applied(&outcome);
            is_busy |= self.kept(leading, books, (&outcome, validated), known).await;
        }
        for component in &removed {
            let (stalled, secrets) = (BTreeSet::new(), AppliedSecrets::default());
            let aim = Aim::Keep { leading, stalled: &stalled, secrets: &secrets };
            let outcome = look.remove(component, &run, aim).await;
            run.removed(&outcome);
            let known = known.entry(component.name.clone()).or_default();
            is_busy |= self.kept(leading, books, (&outcome, validated), known).await;
            if outcome.is_gone() {
                let subject = findings::subject(&validated.name, &component.name).key();
                if !books.ledger.gone(leading, subject).await {
                    // Its inventory is gone, too: what is left open is found in the store only.
                    books.tidied = None;
                }
            }
        }
        is_busy
    }

    /// Notes, logs and records what became of a component; whether to look again soon.
    async fn kept(
        &self,
        leading: &Leading,
        books: &mut Books,
        (outcome, validated): (&Outcome, &Validated),
        known: &mut Known,
    ) -> bool {
        if self.applier.is_closed() {
            // What a round that was stopped came to says nothing of the component.
            return false;
        }
        let now = Instant::now();
        known.note(outcome, now, self.interval);
        spend(&mut books.budget, outcome, now);
        let is_late =
            known.unhealthy_since.is_some_and(|since| now.duration_since(since) > outcome.component.health_timeout);
        let (platform, component) = (&validated.name, &outcome.component.name);
        let place = validated.location(outcome.component.place);
        let found = findings::findings(platform, outcome, &place, is_late);
        if let Some(applied) = outcome.applied.as_ref().filter(|applied| !applied.written.is_empty()) {
            tracing::info!(platform, component, objects = applied.written.len(), "applied");
        }
        let asked = CODES.iter().filter(|entry| entry.code != FORMER_PLATFORM.code).map(CodeEntry::code);
        let subject = findings::subject(platform, component).key();
        if let Some(verdicts) = &outcome.verdicts {
            books.ledger.passed_gate(&subject, clear::failures(verdicts));
        }
        books.ledger.found(leading, subject, (found, asked)).await;
        let is_late_or_final = is_late || outcome.stop.is_some();
        let has_written = outcome.applied.as_ref().is_some_and(|applied| !applied.written.is_empty());
        has_written || (matches!(outcome.state, State::Progressing) && !is_late_or_final)
    }

    /// Says and records what is found of the platform as a whole; that of a file has no name that could be relied on.
    async fn whole(&self, leading: &Leading, books: &mut Books, problem: Option<String>, former: Option<&[Former]>) {
        let (shown, file) = (self.declaration.shown(), self.declaration.file());
        let mut found = findings::whole(&shown, file.as_deref(), problem, former);
        found.extend(lease::finding(&shown, file.as_deref(), None));
        let asked = [PLATFORM_INVALID, FORMER_PLATFORM].map(|entry| entry.code());
        books.ledger.found(leading, findings::subject(&shown, "").key(), (found, asked.into_iter())).await;
    }

    /// What findings of this platform are about.
    fn subjects(&self, look: &Look<'_>) -> BTreeSet<SubjectKey> {
        let declared = look.parts.iter().map(|part| part.component.name.clone());
        let removed = look.removed().into_iter().map(|component| component.name);
        let components = declared.chain(removed).map(|name| findings::subject(look.platform(), &name).key());
        components.chain([findings::subject(&self.declaration.shown(), "").key()]).collect()
    }

    /// Resolves what is stored of components that are not in this platform: it had another name or file before. Whether
    /// all of it is.
    async fn forget_others(&self, leading: &Leading, ledger: &mut Ledger, look: &Look<'_>) -> bool {
        let known = self.subjects(look);
        match self.store.subjects().await {
            Ok(stored) => {
                let mut is_done = true;
                for subject in findings::forgotten(stored, &known) {
                    is_done &= ledger.gone(leading, subject).await;
                }
                is_done
            }
            Err(error) => {
                tracing::warn!(%error, "findings about components that are not kept any more stay open for now");
                false
            }
        }
    }

    /// Nothing was looked at: what was seen before is not counted as if it were so.
    fn not_looked_at(&self, state: Option<State>, memory: &mut Memory) {
        memory.components.values_mut().for_each(|known| known.not_looked_at(state));
        self.count(memory);
    }

    fn count(&self, memory: &mut Memory) {
        let states = || memory.components.values().filter_map(|known| known.state);
        let of_class = |class| memory.components.values().filter_map(|known| known.drift.get(&class)).sum();
        self.metrics.set_components(|state| states().filter(|found| *found == state).count());
        self.metrics.set_drift(of_class);
        let writes = self.applier.writes();
        self.metrics.writes.inc_by(writes.saturating_sub(memory.writes));
        memory.writes = writes;
    }
}

/// Resolves what is stored of components where no platform is kept.
pub async fn forget_all(recorder: RecorderHandle, stored: Vec<SubjectKey>, shutdown: CancellationToken) {
    for subject in findings::forgotten(stored, &BTreeSet::new()) {
        let ack = recorder.send_when_room(Record::Deleted { subject, at: Timestamp::now() }).await;
        if let Err(error) = ack.committed().await {
            tracing::warn!(%error, "findings about components that are not kept any more stay open");
        }
    }
    shutdown.cancelled().await;
}

impl Memory {
    fn new(controller: &PlatformController) -> Self {
        let (judge, recorder) = (controller.judge.clone(), controller.recorder.clone());
        let ledger = Ledger::new(Keeper::Platform, (judge, recorder), controller.needs.clone());
        let books = Books { ledger, budget: Budget::default(), tidied: None };
        Self { gate: None, components: BTreeMap::new(), writes: 0, books, refused: None, is_unanswered: false }
    }
}

impl Known {
    /// Whether it is tried now: after a failure only when the pause is over, or when it asks for something else.
    fn is_due(&mut self, digest: &str, now: Instant) -> bool {
        if self.digest != digest {
            (self.digest, self.failures, self.not_before) = (digest.to_owned(), 0, None);
        }
        self.not_before.is_none_or(|at| now >= at)
    }

    /// The API server answers again: what it did not answer is tried at once.
    fn answered_again(&mut self) {
        if std::mem::take(&mut self.is_unanswered) {
            (self.failures, self.not_before) = (0, None);
        }
    }

    fn not_looked_at(&mut self, state: Option<State>) {
        self.state = state;
        self.drift.clear();
    }

    fn note(&mut self, outcome: &Outcome, now: Instant, interval: Duration) {
        self.state = Some(outcome.state);
        self.is_unanswered = outcome.is_unanswered();
        self.drift.clear();
        for drifted in &outcome.drift {
            *self.drift.entry(drifted.class).or_default() += 1;
        }
        if let (Some(plan), Some(applied)) = (&outcome.plan, &outcome.applied) {
            self.secrets.note(&plan.objects, &applied.written);
        }
        let has_written = outcome.applied.as_ref().is_some_and(|applied| !applied.written.is_empty());
        match outcome.state {
            State::Failed => {
                self.not_before = Some(now + pause(interval, self.failures, dice()));
                self.failures = self.failures.saturating_add(1);
            }
            _ => (self.failures, self.not_before) = (0, None),
        }
        match outcome.state {
            State::Progressing | State::Unhealthy if has_written => self.unhealthy_since = Some(now),
            State::Progressing | State::Unhealthy => {
                self.unhealthy_since.get_or_insert(now);
            }
            _ => self.unhealthy_since = None,
        }
    }
}

/// Counts corrections, and forgets them for what was applied because its manifest changed.
fn spend(budget: &mut Budget, outcome: &Outcome, now: Instant) {
    let is_correction = |object: &str| {
        let corrected = |class| matches!(class, DriftClass::Missing | DriftClass::Modified);
        outcome.drift.iter().any(|drifted| corrected(drifted.class) && drifted.object == object)
    };
    for key in outcome.applied.iter().flat_map(|applied| &applied.written) {
        if is_correction(&key.to_string()) { budget.corrected(key, now) } else { budget.forget(key) }
    }
}
