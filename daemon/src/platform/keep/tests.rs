use std::sync::Arc;

use super::outcome::{finished, stop};
use super::*;
use crate::platform::health::Health;
use crate::platform::plan::{DriftClass, Drifted};
use crate::platform::prune::TooMuch;

/// A component that was in the file and said this about its end.
fn component(name: &str, policy: Policy) -> Component {
    let mut inventory = Inventory::default();
    inventory.policy = Some(policy);
    removed_component(name, Some(&inventory))
}

fn policy(depends_on: &[&str]) -> Policy {
    let depends_on = depends_on.iter().map(|&name| name.to_owned()).collect();
    Policy { prune: true, retain: true, max_prune: 2, depends_on }
}

fn key(name: &str) -> ObjectKey {
    let text = |text: &str| Arc::<str>::from(text);
    ObjectKey { group: text(""), kind: text("ConfigMap"), namespace: text("dev"), name: text(name) }
}

/// A plan that deletes so many objects.
fn deleting(component: &Component, count: usize) -> ComponentPlan {
    let leftover = |number: usize| {
        let address = crate::cluster::apply::Address { api_version: "v1".into(), key: key(&number.to_string()) };
        let entry = crate::platform::inventory::Entry { address, uid: None, digest: None };
        Leftover { entry, fate: Fate::Delete(Box::default()) }
    };
    let leftovers = (0..count).map(leftover).collect();
    ComponentPlan { component: component.clone(), objects: Vec::new(), leftovers, extra: Vec::new() }
}

const PLAN: Aim<'_> = Aim::Plan { confirm_prune: false };

fn too_much(stop: Option<Stop>) -> Option<TooMuch> {
    stop.map(|stop| match stop {
        Stop::TooMuch(why) => why,
        other => panic!("{other:?}"),
    })
}

#[test]
fn a_removed_component_is_what_its_inventory_remembers_and_without_that_keeps_what_it_has() {
    let known = component("hub", Policy { prune: false, max_prune: 7, ..policy(&["base"]) });
    assert_eq!(
        (known.prune, known.retain, known.max_prune, known.depends_on),
        (false, true, 7, vec!["base".to_owned()])
    );
    assert!(!removed_component("hub", Some(&Inventory::default())).prune, "nothing says that it may be pruned");
    assert!(!removed_component("hub", None).prune);
}

#[test]
fn drift_that_is_left_as_it_is_keeps_nobody_waiting_and_bad_health_does() {
    let hub = component("hub", policy(&["base"]));
    let drift = vec![Drifted { class: DriftClass::Modified, object: "a".to_owned(), why: String::new() }];
    let looked_at = |unhealthy: Vec<(ObjectKey, Health)>| {
        let outcome = Outcome::new(&component("base", policy(&[])), State::Pending);
        let outcome = Outcome { drift: drift.clone(), ..outcome };
        let mut run = Run::default();
        run.applied(&finished(outcome, Applied::default(), unhealthy));
        run.missing(&hub)
    };
    assert_eq!(looked_at(Vec::new()), [""; 0]);
    assert_eq!(looked_at(vec![(key("a"), Health::Progressing("it is not there".to_owned()))]), ["base"]);
    assert_eq!(looked_at(vec![(key("a"), Health::Unknown(String::new()))]), ["base"]);
    assert_eq!(Run::default().missing(&hub), ["base"], "what was not looked at is not known to be healthy");
}

#[test]
fn a_component_goes_when_those_that_needed_it_are_gone() {
    let (base, hub) = (component("base", policy(&[])), component("hub", policy(&["base"])));
    let mut run = Run::default();
    let ending = Applied { ending: vec![key("a")], ..Applied::default() };
    run.removed(&finished(Outcome::new(&hub, State::Pending), ending, Vec::new()));
    assert_eq!(run.dependents(&base.name), ["hub"]);
    let mut run = Run::default();
    let gone = Applied { is_gone: true, ..Applied::default() };
    run.removed(&finished(Outcome::new(&hub, State::Pending), gone, Vec::new()));
    assert_eq!(run.dependents(&base.name), [""; 0]);
}

#[test]
fn what_a_run_deletes_is_bound_by_component_and_over_all_and_nothing_else_is_stopped_by_that() {
    let hub = component("hub", policy(&[]));
    let of_run = || Some(TooMuch::OfPlatform { deletions: 99, limit: 50 });
    let stopped = |count, aim, of_run| too_much(stop(&deleting(&hub, count), &hub, aim, of_run));
    assert_eq!(stopped(2, PLAN, None), None);
    assert_eq!(stopped(3, PLAN, None), Some(TooMuch::OfComponent { deletions: 3, limit: 2 }));
    assert_eq!(stopped(1, PLAN, of_run()), of_run());
    assert_eq!(stopped(0, PLAN, of_run()), None, "a component that deletes nothing is applied");
    assert_eq!(stopped(9, Aim::Plan { confirm_prune: true }, of_run()), None);
}

#[test]
fn a_suspension_that_cannot_be_read_is_not_known() {
    let of = |is_suspended| {
        let mut inventory = Inventory::default();
        inventory.is_suspended = is_suspended;
        Ok(inventory)
    };
    let damaged = Inventory::of_object(&serde_json::Value::Null);
    let known = |whole, hub| {
        let inventories = Inventories::from([(WHOLE.to_owned(), whole), ("hub".to_owned(), hub)]);
        suspended(&inventories, "hub")
    };
    assert_eq!(suspended(&Inventories::new(), "hub"), Some(false), "nothing says so");
    assert_eq!(known(of(false), of(false)), Some(false));
    assert_eq!(known(of(true), of(false)), Some(true));
    assert_eq!(known(of(false), of(true)), Some(true));
    assert_eq!(known(of(false), damaged.clone()), None);
    assert_eq!(known(damaged, of(false)), None);
}
