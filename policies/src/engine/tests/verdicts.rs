//! Verdicts, places, evidence and identity.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use portreeve_reports::{Cause, Subject};
use proptest::prelude::*;

use super::*;

fn one(code: &str, text: &str, world: &World) -> Vec<Finding> {
    static ENGINES: Mutex<BTreeMap<String, Arc<Engine>>> = Mutex::new(BTreeMap::new());
    let engine = || Arc::new(builtin().only(&[portreeve_reports::Code::parse(code).unwrap()]));
    let engine = Arc::clone(ENGINES.lock().unwrap().entry(code.to_owned()).or_insert_with(engine));
    engine.judge(&object(text), world)
}

const PRIVILEGED: &str = "\
apiVersion: apps/v1
kind: Deployment
metadata:
  name: web
  labels: {portreeve.dev/owner: team-a}
spec:
  template:
    spec:
      containers:
        - name: web
          image: nginx
          securityContext:
            privileged: true
";

#[test]
fn a_failure_names_its_field_its_line_its_value_and_its_fix() {
    let findings = one("C-0057", PRIVILEGED, &World::default());
    let failure = &findings[0];
    assert_eq!((failure.verdict, &*failure.check), (Verdict::Fail, "privileged"));
    let path = "spec.template.spec.containers[0].securityContext.privileged";
    let location = &failure.locations[0];
    assert_eq!((&*location.object_path, location.file.as_deref(), location.line), (path, Some("web.yaml"), Some(13)));
    assert_eq!((&*failure.evidence[0].name, &*failure.evidence[0].value), ("securityContext.privileged", "true"));
    assert_eq!((&*failure.fix.patches[0].path, &failure.fix.patches[0].value), (path, &false.into()));
    assert_eq!(failure.subject.container(), Some("web"));
    assert_eq!(failure.owner.as_deref(), Some("team-a"));
    assert_eq!(failure.message, "container web is privileged");
    assert_eq!(verdicts(&findings), [Verdict::Fail, Verdict::Pass]);
}

#[test]
fn a_missing_field_is_named_in_full_and_placed_at_what_exists() {
    let findings = one("C-0016", PRIVILEGED, &World::default());
    let location = &findings[0].locations[0];
    assert_eq!(location.object_path, "spec.template.spec.containers[0].securityContext.allowPrivilegeEscalation");
    assert_eq!(location.line, Some(13));
    assert_eq!(findings[0].evidence[0].value, "not set");
}

#[test]
fn a_kind_that_is_not_asked_is_not_applicable() {
    let service = "{apiVersion: v1, kind: Service, metadata: {name: web}, spec: {}}";
    assert_eq!(verdicts(&one("C-0041", service, &World::default())), [Verdict::NotApplicable]);
}

#[test]
fn no_item_left_is_not_applicable() {
    assert_eq!(verdicts(&one("C-0048", POD, &World::default())), [Verdict::NotApplicable]);
}

#[test]
fn an_allow_list_that_is_not_set_is_unknown_manual() {
    let findings = one("C-0078", POD, &World::default());
    assert_eq!((findings[0].verdict, findings[0].cause), (Verdict::Unknown, Some(Cause::Manual)));
}

#[test]
fn what_could_not_be_seen_is_unknown_unless_it_does_not_matter() {
    let hidden = World::empty(Cause::Forbidden);
    let findings = one("C-0034", POD, &hidden);
    assert_eq!((findings[0].verdict, findings[0].cause), (Verdict::Unknown, Some(Cause::Forbidden)));
    let decided = POD.replace("spec: {", "spec: {automountServiceAccountToken: true, ");
    assert_eq!(one("C-0034", &decided, &hidden)[0].verdict, Verdict::Fail);
    assert_eq!(verdicts(&one("C-0030", POD, &hidden)), [Verdict::Unknown, Verdict::Unknown]);
}

#[test]
fn optional_syntax_does_not_read_hidden_as_absent() {
    for pass in ["related.?serviceAccount.hasValue()", "!related.?serviceAccount.hasValue()"] {
        let engine = Engine::new(vec![asking(pass)], &Params::default()).unwrap();
        let findings = engine.judge(&object(POD), &World::empty(Cause::Unreachable));
        assert_eq!(findings[0].cause, Some(Cause::Unreachable), "{pass}");
    }
}

#[test]
fn a_failure_names_the_objects_it_depended_on() {
    let account = object("{apiVersion: v1, kind: ServiceAccount, metadata: {name: default}}");
    let findings = one("C-0034", POD, &World::of_files(&[account], false));
    assert_eq!(findings[0].related.iter().map(Subject::display).collect::<Vec<_>>(), ["app/ServiceAccount/default"]);
}

#[test]
fn no_value_of_an_environment_variable_or_config_map_is_shown() {
    let pod = POD.replace("image: nginx", "image: nginx, env: [{name: DB_PASSWORD, value: hunter2}]");
    let map = "{apiVersion: v1, kind: ConfigMap, metadata: {name: web}, data: {password: hunter2}}";
    for text in [&*pod, map] {
        let findings = one("C-0012", text, &World::default());
        assert!(findings.iter().any(|finding| finding.verdict == Verdict::Fail));
        assert!(!format!("{findings:?}").contains("hunter2"));
    }
}

#[test]
fn a_path_that_leads_to_such_values_shows_none_either() {
    let file = "\
id: PR-7002
title: environment
severity: info
score: 1
why: test
fix: test
for: pod
checks: [{each: containers, pass: '!has(container.env)', paths: [env], message: m}]
";
    let pod = POD.replace("image: nginx", "image: nginx, env: [{name: A, value: hunter2}]");
    let findings = judged(read_control("own.yaml", file.as_bytes()).unwrap(), &object(&pod));
    assert_eq!(verdicts(&findings), [Verdict::Fail]);
    assert!(!format!("{findings:?}").contains("hunter2"));
}

#[test]
fn an_admission_pin_does_not_change_the_answer_about_tags() {
    let judged = |image: &str| {
        let text = POD.replace("image: nginx", &format!("image: '{image}', imagePullPolicy: IfNotPresent"));
        verdicts(&one("C-0075", &text, &World::default()))
    };
    let digest = format!("@sha256:{}", "a".repeat(64));
    for image in ["nginx:latest", "nginx:1.27", "quay.io/a/b:latest"] {
        assert_eq!(judged(image), judged(&format!("{image}{digest}")), "{image}");
    }
}

#[test]
fn the_fingerprint_does_not_depend_on_what_the_api_server_fills_in() {
    let written = POD.replace("image: nginx", "image: nginx, ports: [{containerPort: 80, hostPort: 80}]");
    let stored = POD.replace("image: nginx", "image: nginx, ports: [{hostPort: 80, containerPort: 80, protocol: TCP}]");
    let identity = |text: &str| {
        let findings = one("C-0044", text, &World::default());
        (findings[0].fingerprint.clone(), findings[0].locations[0].object_path.clone())
    };
    assert_eq!(identity(&written), identity(&stored));
}

#[test]
fn a_users_control_file_works_without_any_rust() {
    let file = "\
id: PR-7001
title: no team label
severity: info
score: 1
why: Nobody to ask.
fix: Add the label.
params: {label: team}
for: [ConfigMap, NetworkPolicy.networking.k8s.io]
checks:
  - each: object
    pass: has(object.metadata.labels) && params.label in object.metadata.labels
    paths: [metadata.labels.team]
    message: '{kind} {name} has no team'
";
    let engine = Engine::new(vec![read_control("own.yaml", file.as_bytes()).unwrap()], &Params::default()).unwrap();
    let judged = |text: &str| verdicts(&engine.judge(&object(text), &World::default()));
    assert_eq!(judged("{apiVersion: v1, kind: ConfigMap, metadata: {name: a}}"), [Verdict::Fail]);
    assert_eq!(judged("{apiVersion: v1, kind: ConfigMap, metadata: {name: a, labels: {team: x}}}"), [Verdict::Pass]);
    assert_eq!(
        judged("{apiVersion: example.org/v1, kind: NetworkPolicy, metadata: {name: a}}"),
        [Verdict::NotApplicable]
    );
}

#[test]
fn a_control_file_with_mistakes_names_them_all() {
    let file = "id: X\ntitel: a\nseverity: worst\nscore: 11\nchecks: [{each: a..b, pass: 'true', mesage: x}]\n";
    let problems = read_control("own.yaml", file.as_bytes()).unwrap_err().to_string();
    for said in [
        "'X' is not a code",
        "did you mean 'title'",
        "'worst' is not one of",
        "1 to 10",
        "a..b",
        "did you mean 'message'",
    ] {
        assert!(problems.contains(said), "{said} in {problems}");
    }
}

#[test]
fn parameters_of_kubescape_are_taken_and_unknown_ones_refused() {
    let build = |text: &str| {
        let params = Params::read("params.yaml", text.as_bytes())?;
        Engine::new(builtin_controls()?, &params).map(drop)
    };
    assert_eq!(
        build("postureControlInputs: {memory_limit_max: ['1Gi'], wlKnownNames: [a], insecureCapabilities: [BPF]}"),
        Ok(())
    );
    let problems = build("insecureCapabilites: [BPF]\nmemory_limit_max: {a: b}\n").unwrap_err().to_string();
    assert!(problems.contains(
        "params.yaml:1:1: no control has a parameter 'insecureCapabilites'; did you mean 'insecureCapabilities'?"
    ));
    assert!(problems.contains("must be a string, not a map"), "{problems}");
}

#[test]
fn two_controls_of_one_code_are_refused() {
    let problems = Engine::new(vec![asking("true"), asking("false")], &Params::default()).unwrap_err();
    assert!(problems.to_string().contains("also defined"));
}

#[test]
fn the_engine_is_shared_between_threads() {
    fn shared<T: Send + Sync>(_: &T) {}
    shared(&builtin());
}

#[test]
fn lists_and_maps_compare_whatever_they_are_made_of() {
    let pod = POD.replace("image: nginx", "image: nginx, args: [a, b], securityContext: {capabilities: {drop: [ALL]}}");
    for pass in [
        "container.args == ['a', 'b'] && ['a', 'b'] == container.args",
        "['a', 'c'] != container.args && container.args != ['a']",
        "container.args.map(x, x) == container.args",
        "{'drop': ['ALL']} == container.securityContext.capabilities",
        "'ALL' in container.securityContext.capabilities.drop && container.args.size() == 2 && size(container.args) == 2",
        "container.args[1] == 'b' && container.args.filter(x, x == 'b') == ['b'] && container.args.exists_one(x, x == 'a')",
    ] {
        assert_eq!(verdicts(&judged(asking(pass), &object(&pod))), [Verdict::Pass], "{pass}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn an_init_container_that_fails_alone_fails_when_it_is_added(
        position in 0_usize..3,
        privileged: bool,
        code in prop::sample::select(vec!["C-0013", "C-0016", "C-0017", "C-0055", "C-0057"]),
    ) {
        let good = |name: usize| format!(
            "{{name: init{name}, image: 'a:1', securityContext: {{allowPrivilegeEscalation: false, \
             readOnlyRootFilesystem: true, runAsNonRoot: true, capabilities: {{drop: [ALL]}}}}}}"
        );
        let bad = format!("{{name: bad, image: 'a:1', securityContext: {{privileged: {}}}}}", privileged || code == "C-0057");
        let pod = |inits: &[String]| format!(
            "{{apiVersion: v1, kind: Pod, metadata: {{name: web}}, spec: {{containers: [{}], initContainers: [{}]}}}}",
            good(9), inits.join(", ")
        );
        let mut inits = vec![good(0), good(1)];
        prop_assert!(one(code, &pod(&inits), &World::default()).iter().all(|finding| finding.verdict == Verdict::Pass));
        inits.insert(position, bad);
        let findings = one(code, &pod(&inits), &World::default());
        let failing: Vec<&Finding> = findings.iter().filter(|finding| finding.verdict == Verdict::Fail).collect();
        prop_assert!(!failing.is_empty());
        let prefix = format!("spec.initContainers[{position}]");
        prop_assert!(failing.iter().all(|finding| finding.locations[0].object_path.starts_with(&prefix)));
    }
}
