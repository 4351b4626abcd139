use portreeve_reports::Code;
use portreeve_reports::source::{Limits, yaml};

use super::*;

const PLATFORM: &str = "\
profile: team
defaults: {drift: correct, prune: true, healthTimeout: 5m}
gate: {frameworks: [nsa], failOn: high, images: enforce}
components:
  - {name: base, namespace: platform, source: {folder: base}}
  - name: hub
    namespace: jhub
    dependsOn: [base]
    source: {folder: hub}
    drift: warn
    ignore: [{kind: Deployment, name: hub, paths: [/spec/replicas]}]
";

fn decode(text: &str) -> Result<PlatformSpec, String> {
    let node = yaml::read(text.as_bytes(), &Limits::default()).remove(0).unwrap();
    let mut problems = Problems::new("platform.yaml");
    let spec = PlatformSpec::decode(&node, &mut problems);
    problems.into_result(spec).map(Option::unwrap).map_err(|problems| problems.to_string())
}

fn said(text: &str) -> String {
    decode(text).unwrap_err()
}

#[test]
fn components_take_what_they_do_not_say_from_the_defaults() {
    let spec = decode(PLATFORM).unwrap();
    assert_eq!((spec.profile, spec.gate.images), (Some(Profile::Team), Some(Effect::Block)));
    let [base, hub] = &spec.components[..] else { panic!("{:?}", spec.components) };
    assert_eq!((base.drift, hub.drift), (Drift::Correct, Drift::Warn));
    assert_eq!((hub.health_timeout, hub.max_prune, hub.retain, hub.adopt), (HEALTH_TIMEOUT, MAX_PRUNE, true, false));
    assert_eq!(hub.depends_on, ["base"]);
    assert_eq!(decode(&PLATFORM.replace("drift: warn", "drift: off")).unwrap().components[1].drift, Drift::Off);
    assert_eq!(hub.ignore[0].paths, ["/spec/replicas"]);
}

#[test]
fn charts_are_refused_by_name() {
    let text = PLATFORM.replace("{folder: hub}", "{chart: charts/hub}\n    values: {hub: {replicas: 1}}");
    let said = said(&text);
    assert!(said.contains("'source.chart' is not supported yet"), "{said}");
    assert!(said.contains("'values' are for charts, which are not supported yet"), "{said}");
}

#[test]
fn all_mistakes_come_at_once_with_their_places() {
    let text = PLATFORM
        .replace("drift: warn", "drift: wran")
        .replace("[base]", "[bsae]")
        .replace("5m", "soon")
        .replace("namespace: platform", "namespace: kube-system")
        .replace("/spec/replicas", "spec.replicas");
    let said = said(&text);
    for problem in [
        "'wran' is not one of off, warn, correct",
        "'hub' depends on 'bsae', which is no component",
        "'soon' is not a duration",
        "'kube-system' belongs to the cluster",
        "'spec.replicas' is not a JSON pointer",
    ] {
        assert!(said.contains(problem), "{problem} is not in\n{said}");
    }
}

#[test]
fn a_component_that_depends_on_itself_is_told_with_the_other_mistakes() {
    let said = said(&PLATFORM.replace("[base]", "[hub, bsae]").replace("5m", "soon"));
    for problem in ["'hub' depends on itself", "'hub' depends on 'bsae', which is no component", "'soon' is not a"] {
        assert!(said.contains(problem), "{problem} is not in\n{said}");
    }
    assert!(said.contains("platform.yaml:6:"), "its place: {said}");
}

#[test]
fn a_circle_is_told_beside_a_dependency_that_is_no_component() {
    let text = PLATFORM.replace("namespace: platform,", "namespace: platform, dependsOn: [hub],");
    let said = said(&text.replace("dependsOn: [base]", "dependsOn: [base, bsae]"));
    for problem in ["'hub' depends on 'bsae', which is no component", "in a circle: base -> hub -> base"] {
        assert!(said.contains(problem), "{problem} is not in\n{said}");
    }
}

#[test]
fn a_framework_that_there_is_not_is_told_with_its_place_and_the_other_mistakes() {
    let said = said(&PLATFORM.replace("[nsa]", "[nsa, nas]").replace("5m", "soon"));
    assert!(
        said.contains("platform.yaml:3:26: 'spec.gate.frameworks': there is no framework 'nas' (did you"),
        "{said}"
    );
    assert!(said.contains("'soon' is not a duration"), "{said}");
}

#[test]
fn a_platform_of_no_components_is_one() {
    assert_eq!(decode("components: []\n").unwrap().order, [0_usize; 0]);
}

#[test]
fn a_run_deletes_no_more_than_the_largest_limit_of_a_component_unless_the_platform_says_otherwise() {
    assert_eq!(decode(PLATFORM).unwrap().max_prune, MAX_PRUNE);
    let larger = PLATFORM.replace("drift: warn", "maxPrune: 80");
    assert_eq!(decode(&larger).unwrap().max_prune, 80);
    assert_eq!(decode(&format!("maxPrune: 5\n{larger}")).unwrap().max_prune, 5);
    assert!(said(&format!("maxPrune: -1\n{PLATFORM}")).contains("'spec.maxPrune' must not be negative"));
}

#[test]
fn two_components_of_one_name_are_refused() {
    assert!(said(&PLATFORM.replace("name: hub\n", "name: base\n")).contains("there are two components 'base'"));
}

#[test]
fn pointers_are_those_of_rfc_6901() {
    for good in ["/spec/replicas", "/metadata/annotations/a~1b", "/spec/containers/0/image"] {
        assert!(is_pointer(good), "{good}");
    }
    for bad in ["", "/", "spec", "/a//b", "/a~2", "/metadata", "/metadata/labels"] {
        assert!(!is_pointer(bad), "{bad}");
    }
}

#[test]
fn the_codes_are_unique_and_explained() {
    let mut codes: Vec<&str> = CODES.iter().map(|entry| entry.code).collect();
    for entry in CODES {
        assert!(entry.code.starts_with("PR-5") && Code::parse(entry.code).is_ok(), "{}", entry.code);
        assert!(!entry.why.is_empty() && !entry.fix.is_empty());
    }
    codes.dedup();
    assert_eq!(codes.len(), CODES.len());
}

/// A platform of so many components without sources, each of which would be a mistake.
fn bare(count: usize) -> String {
    let items = (0..count).map(|number| format!("  - {{name: c{number}, namespace: dev}}\n"));
    format!("components:\n{}", items.collect::<String>())
}

#[test]
fn components_beyond_the_most_are_not_even_looked_at() {
    let said = said(&bare(MAX_COMPONENTS + 1));
    assert!(said.contains("more than 200 components; split the platform"), "{said}");
    assert!(!said.contains("source"), "one problem, and none of each: {said}");
    assert!(decode(&bare(MAX_COMPONENTS)).unwrap_err().contains("source"));
}

#[test]
fn a_component_depends_on_no_more_than_there_can_be() {
    let many = vec!["base"; MAX_COMPONENTS + 1].join(", ");
    let said = said(&PLATFORM.replace("[base]", &format!("[{many}]")));
    assert!(said.contains("more than 200 components in 'dependsOn'"), "{said}");
}
