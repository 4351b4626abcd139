//! The order of components by what they depend on. Pure.

use std::collections::{BTreeMap, BTreeSet};

use super::Component;

/// Components that wait for each other.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("components depend on each other in a circle: {}; remove one 'dependsOn'", .0.join(" -> "))]
pub(super) struct Cycle(Vec<String>);

/// Positions of the components, each after those it depends on and else as in the file. A dependency that is no component
/// is waited for for ever.
pub(super) fn order(components: &[Component]) -> Result<Vec<usize>, Cycle> {
    let positions: BTreeMap<&str, usize> =
        components.iter().enumerate().map(|(index, component)| (component.name.as_str(), index)).collect();
    let mut waits: Vec<usize> = components.iter().map(|component| component.depends_on.len()).collect();
    let mut dependents = vec![Vec::new(); components.len()];
    for (index, component) in components.iter().enumerate() {
        for needed in component.depends_on.iter().filter_map(|name| positions.get(name.as_str())) {
            dependents[*needed].push(index);
        }
    }
    let mut ready: BTreeSet<usize> = (0..components.len()).filter(|index| waits[*index] == 0).collect();
    let mut ordered = Vec::with_capacity(components.len());
    while let Some(next) = ready.pop_first() {
        ordered.push(next);
        for dependent in &dependents[next] {
            waits[*dependent] -= 1;
            if waits[*dependent] == 0 {
                ready.insert(*dependent);
            }
        }
    }
    if ordered.len() < components.len() { Err(circle(components, &ordered)) } else { Ok(ordered) }
}

/// The components with what they depend on among each other; themselves left out.
pub(super) fn among(components: &[Component]) -> Vec<Component> {
    let names: BTreeSet<&str> = components.iter().map(|component| component.name.as_str()).collect();
    let among = |component: &Component| {
        let counts = |name: &&String| names.contains(name.as_str()) && **name != component.name;
        let depends_on = component.depends_on.iter().filter(counts).cloned().collect();
        Component { depends_on, ..component.clone() }
    };
    components.iter().map(among).collect()
}

/// The order of taking down: each before those it depends on. What they depend on and is not among them does not count,
/// and a circle (of components that were never in one file) is taken as it comes.
pub fn last_first(components: Vec<Component>) -> Vec<Component> {
    let mut ordered = match order(&among(&components)) {
        Ok(order) => order.into_iter().filter_map(|index| components.get(index).cloned()).collect(),
        Err(_) => components,
    };
    ordered.reverse();
    ordered
}

/// Every component that is left waits for another that is left: following them ends in a circle.
fn circle(components: &[Component], done: &[usize]) -> Cycle {
    let left: Vec<&Component> =
        components.iter().enumerate().filter(|(index, _)| !done.contains(index)).map(|(_, left)| left).collect();
    let waits_for = |component: &Component| {
        component.depends_on.iter().find_map(|name| left.iter().copied().find(|other| other.name == *name))
    };
    let mut path: Vec<&str> = Vec::new();
    let mut at = left.first().copied();
    while let Some(component) = at {
        if let Some(start) = path.iter().position(|name| *name == component.name) {
            let circle = path[start..].iter().chain([&path[start]]);
            return Cycle(circle.map(|name| (*name).to_owned()).collect());
        }
        path.push(&component.name);
        at = waits_for(component);
    }
    Cycle(path.into_iter().map(str::to_owned).collect())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use portreeve_reports::source::Place;

    use super::*;
    use crate::platform::Drift;

    /// A component, in the namespace of its name.
    fn component(name: &str, depends_on: &[&str]) -> Component {
        Component {
            name: name.to_owned(),
            namespace: name.to_owned(),
            depends_on: depends_on.iter().map(|&name| name.to_owned()).collect(),
            folder: name.to_owned(),
            drift: Drift::Warn,
            prune: true,
            retain: true,
            adopt: false,
            max_prune: 50,
            health_timeout: Duration::from_secs(1),
            ignore: Vec::new(),
            place: Place::default(),
        }
    }

    #[test]
    fn a_component_comes_after_those_it_depends_on_and_else_as_written() {
        let components =
            [component("c", &["a", "b"]), component("a", &[]), component("b", &["a"]), component("d", &[])];
        let names: Vec<&str> =
            order(&components).unwrap().into_iter().map(|index| components[index].name.as_str()).collect();
        assert_eq!(names, ["a", "b", "c", "d"]);
    }

    #[test]
    fn a_component_is_taken_down_before_those_it_depends_on() {
        let names = |components: &[Component]| -> Vec<String> {
            last_first(components.to_vec()).into_iter().map(|component| component.name).collect()
        };
        assert_eq!(names(&[component("hub", &["base", "gone"]), component("base", &[])]), ["hub", "base"]);
        assert_eq!(names(&[component("base", &[]), component("hub", &["base"])]), ["hub", "base"]);
        assert_eq!(names(&[component("a", &["b"]), component("b", &["a"])]).len(), 2);
    }

    #[test]
    fn a_circle_is_named_without_what_only_leads_to_it() {
        let components = [component("x", &["a"]), component("a", &["b"]), component("b", &["a"]), component("ok", &[])];
        let said = order(&components).unwrap_err().to_string();
        assert!(said.contains("a -> b -> a") && !said.contains('x'), "{said}");
        assert_eq!(order(&[component("self", &["self"])]), Err(Cycle(vec!["self".to_owned(), "self".to_owned()])));
    }
}
