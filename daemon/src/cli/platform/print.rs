//! Plans and states, for people and as JSON.

use std::fmt::Write as _;

use portreeve_api::platform::Component;
use serde_json::{Value, json};

use crate::cluster::apply::{ApiFailure, Applier};
use crate::cluster::key::ObjectKey;
use crate::platform::deploy::Applied;
use crate::platform::diff;
use crate::platform::health::{Health, health};
use crate::platform::inventory::{Entry, Inventory, WHOLE};
use crate::platform::keep::{Look, Outcome, State, Stop};
use crate::platform::plan::{self, Action, ComponentPlan, Planned};
use crate::platform::prune::Fate;
use crate::platform::waves::{goes_with, is_retained};

/// How many objects would be deleted and taken over.
pub(super) fn destructive(outcomes: &[Outcome]) -> (usize, usize) {
    let plans =
        || outcomes.iter().filter(|outcome| outcome.stop.is_none()).filter_map(|outcome| outcome.plan.as_deref());
    let adopts =
        plans().flat_map(|plan| &plan.objects).filter(|planned| matches!(planned.action, Action::Adopt)).count();
    (plans().map(ComponentPlan::deletions).sum(), adopts)
}

/// The plan as text.
pub(super) fn plan(look: &Look<'_>, outcomes: &[Outcome]) -> String {
    let mut text = String::new();
    for former in &look.former {
        let _ = writeln!(text, "! {former}");
    }
    for outcome in outcomes {
        let component = &outcome.component;
        let _ = writeln!(text, "{} ({}): {}", component.name, place(outcome), headline(outcome));
        if let Some(plan) = &outcome.plan {
            plan.objects.iter().for_each(|planned| object(&mut text, planned, outcome.stop.as_ref()));
            leftovers(&mut text, plan);
        }
        for (key, health) in &outcome.unhealthy {
            let _ = writeln!(text, "  {key}: {}", health_words(health));
        }
        for image in outcome.verdicts.iter().flat_map(|report| &report.images) {
            let digest = image.digest.as_deref().unwrap_or("digest not known");
            let _ = writeln!(text, "  image {} {digest}: {}", image.reference, image.verdict);
        }
        for drifted in &outcome.drift {
            let _ = writeln!(text, "  drift {} {}: {}", drifted.class.as_str(), drifted.object, drifted.why);
        }
    }
    text
}

fn place(outcome: &Outcome) -> String {
    if outcome.is_removed {
        "no longer in the platform file".to_owned()
    } else {
        format!("namespace {}", outcome.component.namespace)
    }
}

fn headline(outcome: &Outcome) -> String {
    let mut text = match &outcome.stop {
        Some(stop) => stop_words(stop),
        None => outcome.state.as_str().to_owned(),
    };
    if let Some(plan) = &outcome.plan {
        let count = |word: &str| plan.objects.iter().filter(|planned| planned.action.as_str() == word).count();
        let _ = write!(
            text,
            "; {} to create, {} to update, {} to take over, {} to delete, {} unchanged",
            count("create"),
            count("update"),
            count("adopt"),
            plan.deletions(),
            count("unchanged")
        );
        if count("move") > 0 {
            let _ = write!(text, ", {} to move here", count("move"));
        }
    }
    if !outcome.waits_for.is_empty() {
        let _ = write!(text, "; after {}", outcome.waits_for.join(", "));
    }
    text
}

/// Why a component is stopped, in words.
fn stop_words(stop: &Stop) -> String {
    let lines = |lines: Vec<String>| lines.iter().fold(String::new(), |text, line| text + "\n    " + line);
    match stop {
        Stop::Invalid(mistakes) => {
            format!("cannot be used:{}", lines(mistakes.iter().map(ToString::to_string).collect()))
        }
        Stop::Damaged(damaged) => damaged.to_string(),
        Stop::KeptBack(kept) => {
            let told = kept.findings.iter().map(|finding| {
                format!("{} {} {}: {}", finding.code, finding.severity, finding.subject.display(), finding.message)
            });
            format!("kept back by the gate: {}{}", kept.why, lines(told.collect()))
        }
        Stop::Foreign(objects) => {
            let told = objects.iter().map(|(key, why)| format!("{key}: {why}")).collect();
            format!("not applied:{}", lines(told))
        }
        Stop::Refused(refused) => {
            let told = refused.iter().map(|(key, failure)| format!("{key}: {failure}")).collect();
            format!("not applied, the API server refuses:{}", lines(told))
        }
        Stop::Api(failure) => failure.to_string(),
        Stop::TooMuch(why) => format!("not applied: {why}; --confirm-prune allows it"),
    }
}

/// Why an object is left as it is, unless the component's headline says so.
fn why_left(planned: &Planned, stop: Option<&Stop>) -> Option<String> {
    match (&planned.action, stop) {
        (Action::Refused(_), Some(Stop::Refused(_))) | (Action::Foreign(_), Some(Stop::Foreign(_))) => None,
        (Action::Refused(failure), _) => Some(failure.to_string()),
        _ => plan::foreign(planned),
    }
}

fn object(text: &mut String, planned: &Planned, stop: Option<&Stop>) {
    let key = &planned.wanted.address.key;
    let mark = match &planned.action {
        Action::Create { .. } => '+',
        Action::Update | Action::Adopt | Action::Move(_) => '~',
        Action::Foreign(_) | Action::Refused(_) => '!',
        Action::Unchanged if planned.yields.is_empty() => return,
        Action::Unchanged => '=',
    };
    let from = match &planned.action {
        Action::Move(component) => format!(" (from {component})"),
        _ => String::new(),
    };
    let why = why_left(planned, stop).map_or_else(String::new, |why| format!(": {why}"));
    let _ = writeln!(text, "  {mark} {} {key}{from}{why}", planned.action.as_str());
    let told = planned.changes.iter().map(|told| (told, "")).chain(planned.yields.iter().map(|told| (told, "left: ")));
    for (told, word) in told {
        let value = |value: Option<&Value>| diff::shown(&key.kind, &told.change.path, value);
        let owners: Vec<String> = told.owners.iter().map(ToString::to_string).collect();
        let owner = if owners.is_empty() { String::new() } else { format!("  (owner {})", owners.join(", ")) };
        let (before, after) = (value(told.change.before.as_ref()), value(told.change.after.as_ref()));
        let _ = writeln!(text, "      {word}{}: {before} -> {after}{owner}", told.change.path);
    }
}

fn leftovers(text: &mut String, plan: &ComponentPlan) {
    for leftover in &plan.leftovers {
        let (mark, word) = match &leftover.fate {
            Fate::Delete(_) => ('-', "delete".to_owned()),
            Fate::Retain => ('=', "retain".to_owned()),
            Fate::Gone => ('=', "gone".to_owned()),
            Fate::Ending => ('=', "ending".to_owned()),
            Fate::Kept => ('=', "kept (prune: false)".to_owned()),
            Fate::HandedOver(other) => ('=', format!("handed over to {other}")),
            Fate::Awaited(other) => ('=', format!("kept until {other} takes it")),
            Fate::Undecided(other) => ('!', format!("kept ({other} cannot be read, and may declare it)")),
            Fate::NotOurs(why) => ('=', format!("left alone ({why})")),
            Fate::NotServed(why) => ('!', format!("kept ({why})")),
        };
        let key = &leftover.entry.address.key;
        let with = if mark == '-' { and_with(key) } else { String::new() };
        let _ = writeln!(text, "  {mark} {word} {key}{with}");
    }
}

fn and_with(key: &ObjectKey) -> String {
    goes_with(key).map_or_else(String::new, |with| format!(" and {with}"))
}

/// What was done, as text.
pub(super) fn applied(outcomes: &[Outcome], writes: u64) -> String {
    let mut text = String::new();
    for outcome in outcomes {
        let _ = write!(text, "{}: ", outcome.component.name);
        match (&outcome.stop, &outcome.applied) {
            (Some(stop), Some(applied)) if !applied.written.is_empty() || !applied.deleted.is_empty() => {
                let _ = write!(text, "{} before it stopped; {}", done(applied), stop_words(stop));
            }
            (Some(stop), _) => text.push_str(&stop_words(stop)),
            (None, Some(applied)) => {
                let _ = write!(text, "{}; {}", outcome.state.as_str(), done(applied));
            }
            (None, None) if outcome.state == State::Suspended => {
                text.push_str("suspended, nothing was done; 'portreeve platform resume' ends that");
            }
            (None, None) => text.push_str(outcome.state.as_str()),
        }
        if !outcome.waits_for.is_empty() {
            let _ = write!(text, "; after {}", outcome.waits_for.join(", "));
        }
        text.push('\n');
        for (key, health) in &outcome.unhealthy {
            let _ = writeln!(text, "  {key}: {}", health_words(health));
        }
    }
    let _ = writeln!(text, "{writes} writes");
    text
}

fn done(applied: &Applied) -> String {
    let mut words = vec![format!("{} written", applied.written.len()), format!("{} deleted", applied.deleted.len())];
    if !applied.retained.is_empty() {
        words.push(format!("{} retained", applied.retained.len()));
    }
    if !applied.handed_over.is_empty() {
        words.push(format!("{} handed over", applied.handed_over.len()));
    }
    if !applied.ending.is_empty() {
        words.push(format!("{} being deleted", applied.ending.len()));
    }
    if !applied.left_alone.is_empty() {
        words.push(format!("{} left alone", applied.left_alone.len()));
    }
    words.join(", ")
}

fn health_words(health: &Health) -> String {
    match health {
        Health::Healthy => "healthy".to_owned(),
        Health::Progressing(why) => format!("progressing: {why}"),
        Health::Failed(why) => format!("failed: {why}"),
        Health::Unknown(why) => format!("unknown: {why}"),
    }
}

/// Plans and what was done as JSON.
pub(super) fn json(look: &Look<'_>, outcomes: &[Outcome]) -> String {
    let keys = |keys: &[ObjectKey]| keys.iter().map(ToString::to_string).collect::<Vec<_>>();
    let unhealthy = |found: &[(ObjectKey, Health)]| {
        let told =
            found.iter().map(|(key, health)| json!({"object": key.to_string(), "message": health_words(health)}));
        told.collect::<Vec<_>>()
    };
    let component = |outcome: &Outcome| {
        let applied = outcome.applied.as_ref().map(|applied| {
            json!({"written": keys(&applied.written), "deleted": keys(&applied.deleted),
                "retained": keys(&applied.retained), "handedOver": keys(&applied.handed_over), "ending": keys(&applied.ending)})
        });
        let images = outcome.verdicts.iter().flat_map(|report| &report.images);
        json!({
            "name": outcome.component.name, "namespace": outcome.component.namespace,
            "state": outcome.state.as_str(), "message": outcome.stop.as_ref().map(stop_words),
            "waitsFor": outcome.waits_for, "plan": outcome.plan.as_deref().map(plan::to_json), "applied": applied,
            "unhealthy": unhealthy(&outcome.unhealthy),
            "images": images.map(|image| json!({"reference": image.reference, "digest": image.digest,
                "verdict": image.verdict.as_str()})).collect::<Vec<_>>(),
            "drift": outcome.drift.iter().map(|drifted| json!({"class": drifted.class.as_str(),
                "object": drifted.object, "message": drifted.why})).collect::<Vec<_>>(),
        })
    };
    let components: Vec<Value> = outcomes.iter().map(component).collect();
    let former: Vec<String> = look.former.iter().map(ToString::to_string).collect();
    let (platform, writes) = (look.platform(), look.writes());
    format!("{:#}\n", json!({"platform": platform, "components": components, "former": former, "writes": writes}))
}

/// A component's line of `status`.
pub(super) struct Row {
    name: String,
    pub(super) state: State,
    objects: usize,
    unhealthy: Vec<(String, String)>,
    waits_for: Vec<String>,
}

impl Row {
    /// What the inventory and the live objects say.
    pub(super) async fn of(look: &Look<'_>, component: &Component, applier: &Applier) -> Result<Self, ApiFailure> {
        let name = &component.name;
        let (unhealthy, waits_for) = (Vec::new(), Vec::new());
        // What was destroyed has no inventory any more, and does not come back.
        let state = if look.is_suspended(name) { State::Suspended } else { State::Pending };
        let mut row = Self { name: name.clone(), state, objects: 0, unhealthy, waits_for };
        let is_damaged = |name: &str| matches!(look.inventories.get(name), Some(Err(_)));
        if is_damaged(WHOLE) || is_damaged(name) {
            return Ok(Self { state: State::Failed, ..row });
        }
        let Some(Ok(inventory)) = look.inventories.get(name) else { return Ok(row) };
        row.objects = inventory.entries().len();
        row.state = State::Healthy;
        for Entry { address, .. } in inventory.entries() {
            let found = match applier.get(address).await? {
                Some(live) => health(&live),
                None => Health::Failed("it is not there".to_owned()),
            };
            if found != Health::Healthy {
                let is_coming = matches!(found, Health::Progressing(_)) && row.state != State::Unhealthy;
                row.state = if is_coming { State::Progressing } else { State::Unhealthy };
                row.unhealthy.push((address.key.to_string(), health_words(&found)));
            }
        }
        if look.is_suspended(name) {
            row.state = State::Suspended;
        }
        Ok(row)
    }

    /// The same beside the rows before it: what has a change to apply waits for what is not healthy.
    pub(super) fn after(self, rows: &[Self], look: &Look<'_>, component: &Component) -> Self {
        if self.state == State::Suspended || look.is_applied(component) {
            return self;
        }
        let is_well = |name: &str| rows.iter().any(|row| row.name == name && row.state == State::Healthy);
        let waits_for: Vec<String> = component.depends_on.iter().filter(|name| !is_well(name)).cloned().collect();
        let state = if waits_for.is_empty() { self.state } else { State::Waiting };
        Self { state, waits_for, ..self }
    }
}

/// The states as text.
pub(super) fn status(rows: &[Row]) -> String {
    let mut text = String::new();
    for row in rows {
        let objects = if row.objects == 1 { "object" } else { "objects" };
        let after =
            if row.waits_for.is_empty() { String::new() } else { format!(" after {}", row.waits_for.join(", ")) };
        let _ = writeln!(text, "{:<24} {:<12} {} {objects}{after}", row.name, row.state.as_str(), row.objects);
        for (key, words) in &row.unhealthy {
            let _ = writeln!(text, "  {key}: {words}");
        }
    }
    text
}

/// The states as JSON.
pub(super) fn status_json(platform: &str, rows: &[Row]) -> String {
    let row = |row: &Row| {
        json!({"name": row.name, "state": row.state.as_str(), "objects": row.objects,
            "waitsFor": row.waits_for, "unhealthy": row.unhealthy.iter().map(|(object, message)| json!({"object": object, "message": message}))
                .collect::<Vec<_>>()})
    };
    let components: Vec<Value> = rows.iter().map(row).collect();
    format!("{:#}\n", json!({"platform": platform, "components": components}))
}

/// What would be taken down.
pub(super) fn destruction(look: &Look<'_>, targets: &[Component]) -> String {
    let mut text = String::new();
    for component in targets {
        let Some(Ok(inventory)) = look.inventories.get(&component.name) else { continue };
        let _ = writeln!(text, "{}: {} objects", component.name, Inventory::entries(inventory).len());
        for entry in inventory.entries() {
            let key = &entry.address.key;
            let _ = match component.retain && is_retained(key) {
                true => writeln!(text, "  = retain {key}"),
                false => writeln!(text, "  - delete {key}{}", and_with(key)),
            };
        }
    }
    text
}

/// What a round of taking down came to.
pub(super) fn taken_down(name: &str, applied: &Applied) -> String {
    let failures = applied.failures.iter().map(|(key, failure)| format!("  {key}: {failure}\n"));
    let cut = applied.cut.as_ref().map_or_else(String::new, |cut| format!("; {cut}"));
    format!("{name}: {}{cut}\n{}", done(applied), failures.collect::<String>())
}
