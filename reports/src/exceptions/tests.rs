use serde_json::json;

use super::*;
use crate::severity::{Effect, Severity};
use crate::testing::{code, file, finding, hub, hub_pod, image, node, object, time};

const NOW: &str = "2026-06-01T12:00:00Z";

fn spec_json() -> serde_json::Value {
    json!({
        "codes": ["C-0013", "C-0016"],
        "subjects": {"kinds": ["Deployment"], "names": ["hub"], "containers": ["init-home"]},
        "owner": "team-platform",
        "approvedBy": "security@example.org",
        "reason": "the volume must be chowned",
        "expires": "2027-01-31",
    })
}

fn decode(json: &serde_json::Value) -> Result<ExceptionSpec, String> {
    let mut problems = Problems::new("exceptions.yaml");
    let known = ["C-0013", "C-0016", "PR-1001"].map(code).into_iter().collect();
    let spec = ExceptionSpec::decode(&node(json), &known, &mut problems);
    problems.into_result(()).map_err(|problems| problems.to_string())?;
    Ok(spec.expect("no problem means a spec"))
}

fn exception(name: &str, scope: Scope, change: impl FnOnce(&mut ExceptionSpec)) -> Exception {
    let mut spec = decode(&spec_json()).unwrap();
    change(&mut spec);
    let origin = Origin { file: Some("exceptions.yaml".into()), place: Place { line: 2, column: 1 } };
    Exception { name: name.to_owned(), scope, spec, origin }
}

fn jhub() -> Scope {
    Scope::Namespace("jhub".to_owned())
}

fn verdict_of(exceptions: &Exceptions, finding: Finding, now: &str) -> Verdict {
    exceptions.apply(vec![finding], time(now)).0[0].verdict
}

fn privileged(subject: Subject) -> Finding {
    finding("C-0016", Severity::High, Verdict::Fail, subject)
}

#[test]
fn the_published_example_decodes() {
    let spec = decode(&spec_json()).unwrap();
    assert_eq!(spec.codes, [code("C-0013"), code("C-0016")]);
    assert_eq!(spec.owner, "team-platform");
    assert_eq!(spec.approved_by.as_deref(), Some("security@example.org"));
    assert_eq!(spec.expires.to_string(), "2027-01-31");
    assert_eq!(spec.subjects.containers, Some(vec!["init-home".to_owned()]));
}

#[test]
fn a_code_that_there_is_not_is_a_mistake_with_the_nearest_that_there_is() {
    let mut json = spec_json();
    json["codes"] = json!(["C-0013", "C-0026"]);
    let said = decode(&json).unwrap_err();
    assert!(said.contains("'spec.codes[1]': there is no code 'C-0026' (did you mean 'C-0016'?)"), "{said}");
    json["codes"] = json!(["PR-9999"]);
    assert!(decode(&json).unwrap_err().contains("there is no code 'PR-9999'"));
}

#[test]
fn owner_reason_expiry_and_codes_are_mandatory_and_all_are_named_at_once() {
    let said = decode(&json!({})).unwrap_err();
    for key in ["spec.codes", "spec.owner", "spec.reason", "spec.expires"] {
        assert!(said.contains(&format!("'{key}' is missing")), "{said}");
    }
}

#[test]
fn every_mistake_is_a_problem() {
    let mistakes = [
        ("owner", json!("  "), "must say something"),
        ("codes", json!([]), "at least one code"),
        ("codes", json!(["C-0016", "privileged"]), "'spec.codes[1]': 'privileged' is not a code"),
        ("expires", json!("2027-02-30"), "is not a day"),
        ("expires", json!("2027-01-31T10:00"), "is not a day"),
        ("expires", json!("20270131"), "is not a day"),
        ("reson", json!("x"), "did you mean 'reason'?"),
        ("subjects", json!(null), "'spec.subjects' has no value"),
        ("subjects", json!({"names": []}), "'spec.subjects.names' is empty"),
        ("subjects", json!({"names": null}), "'spec.subjects.names' is empty"),
        ("subjects", json!({"names": [1]}), "must be a string"),
        ("subjects", json!({"namespaces": ["other"]}), "unknown key 'spec.subjects.namespaces'"),
        ("subjects", json!("hub"), "must be a map"),
    ];
    for (key, value, expected) in mistakes {
        let mut json = spec_json();
        json[key] = value;
        let said = decode(&json).expect_err(expected);
        assert!(said.contains(expected), "{said}");
        assert!(said.starts_with("exceptions.yaml:7:3: "), "{said}");
    }
}

#[test]
fn a_failure_that_is_matched_whole_becomes_excepted_and_says_by_whom() {
    let exceptions = Exceptions::new(vec![exception("hub-root-init", jhub(), |_| {})], vec![]);
    let (findings, _) = exceptions.apply(vec![privileged(hub(Some("init-home")))], time(NOW));
    assert_eq!(findings[0].verdict, Verdict::Excepted);
    assert_eq!(findings[0].owner.as_deref(), Some("team-platform"));
    let evidence: Vec<_> = findings[0].evidence.iter().map(|item| format!("{}={}", item.name, item.value)).collect();
    let expected = [
        "exception=hub-root-init",
        "exception owner=team-platform",
        "exception reason=the volume must be chowned",
        "exception expires=2027-01-31",
        "exception approved by=security@example.org",
    ];
    assert_eq!(evidence, expected);
}

#[test]
fn a_pod_is_excepted_as_its_deployment() {
    let exceptions = Exceptions::new(vec![exception("e", jhub(), |_| {})], vec![]);
    assert_eq!(verdict_of(&exceptions, privileged(hub_pod(Some("init-home"))), NOW), Verdict::Excepted);
}

#[test]
fn kind_and_name_come_from_the_same_object() {
    let mixed = exception("e", jhub(), |spec| {
        spec.subjects.kinds = Some(vec!["Pod".to_owned()]);
        spec.subjects.names = Some(vec!["hub".to_owned()]);
    });
    let exceptions = Exceptions::new(vec![mixed], vec![]);
    assert_eq!(verdict_of(&exceptions, privileged(hub_pod(Some("init-home"))), NOW), Verdict::Fail);
}

#[test]
fn one_part_that_does_not_match_leaves_the_failure() {
    let exceptions = Exceptions::new(vec![exception("e", jhub(), |_| {})], vec![]);
    let other = |namespace: &str, kind: &str, name: &str| {
        let container = Some("init-home".to_owned());
        Subject::Object(crate::ObjectRef { container, ..object(namespace, kind, name) })
    };
    let failures = [
        finding("C-0017", Severity::High, Verdict::Fail, hub(Some("init-home"))),
        privileged(hub(Some("hub"))),
        privileged(hub(None)),
        privileged(other("other", "Deployment", "hub")),
        privileged(other("", "Deployment", "hub")),
        privileged(other("jhub", "StatefulSet", "hub")),
        privileged(other("jhub", "Deployment", "hub2")),
        privileged(other("jhub", "Deployment", "HUB")),
    ];
    for failure in failures {
        let display = failure.subject.display();
        assert_eq!(verdict_of(&exceptions, failure, NOW), Verdict::Fail, "{display}");
    }
}

#[test]
fn names_are_exact_and_a_star_is_only_a_star() {
    let star = exception("e", jhub(), |spec| spec.subjects.names = Some(vec!["*".to_owned()]));
    let exceptions = Exceptions::new(vec![star], vec![]);
    assert_eq!(verdict_of(&exceptions, privileged(hub(Some("init-home"))), NOW), Verdict::Fail);
}

#[test]
fn a_cluster_exception_reaches_subjects_without_a_namespace_only() {
    let wide = exception("e", Scope::Cluster, |spec| spec.subjects = Selector::default());
    let exceptions = Exceptions::new(vec![wide], vec![]);
    for subject in [image(), file("k8s/hub.yaml"), Subject::Object(object("", "ClusterRole", "admin"))] {
        assert_eq!(verdict_of(&exceptions, privileged(subject), NOW), Verdict::Excepted);
    }
    assert_eq!(verdict_of(&exceptions, privileged(hub(None)), NOW), Verdict::Fail);
}

#[test]
fn an_image_is_matched_by_its_repository() {
    let of_repository = |repository: &str| {
        let repository = repository.to_owned();
        exception("e", Scope::Cluster, |spec| {
            let kinds = Some(vec!["Image".to_owned()]);
            spec.subjects = Selector { kinds, names: Some(vec![repository]), containers: None };
        })
    };
    let right = Exceptions::new(vec![of_repository("quay.io/nebari/hub")], vec![]);
    let wrong = Exceptions::new(vec![of_repository("quay.io/nebari/hub:1")], vec![]);
    assert_eq!(verdict_of(&right, privileged(image()), NOW), Verdict::Excepted);
    assert_eq!(verdict_of(&wrong, privileged(image()), NOW), Verdict::Fail);
}

#[test]
fn an_exception_is_in_force_through_the_end_of_its_last_day() {
    let exceptions = Exceptions::new(vec![exception("e", jhub(), |_| {})], vec![]);
    let at = |now| verdict_of(&exceptions, privileged(hub(Some("init-home"))), now);
    assert_eq!(at("2027-01-31T23:59:59.999Z"), Verdict::Excepted);
    assert_eq!(at("2027-02-01T00:00:00Z"), Verdict::Fail);
}

#[test]
fn only_failures_are_excepted() {
    let exceptions = Exceptions::new(vec![exception("e", jhub(), |_| {})], vec![]);
    for verdict in Verdict::ALL.into_iter().filter(|verdict| *verdict != Verdict::Fail) {
        let judged = finding("C-0016", Severity::High, verdict, hub(Some("init-home")));
        let (after, usage) = exceptions.apply(vec![judged.clone()], time(NOW));
        assert_eq!(after, [judged]);
        assert!(!usage.is_used(0), "{verdict} does not use the exception");
    }
}

#[test]
fn two_exceptions_never_combine() {
    let right_code_wrong_container = exception("a", jhub(), |spec| spec.subjects.containers = Some(vec!["hub".into()]));
    let wrong_code_right_container = exception("b", jhub(), |spec| spec.codes = vec![code("C-0013")]);
    let exceptions = Exceptions::new(vec![right_code_wrong_container, wrong_code_right_container], vec![]);
    assert_eq!(verdict_of(&exceptions, privileged(hub(Some("init-home"))), NOW), Verdict::Fail);
}

fn audit(exceptions: &Exceptions, usage: &Usage, now: &str) -> Vec<(String, Verdict)> {
    let findings = exceptions.audit(usage, time(now), &|_| true);
    findings.into_iter().map(|finding| (finding.code.to_string(), finding.verdict)).collect()
}

#[test]
fn used_unused_and_expired_exceptions_are_told_apart() {
    let exceptions = Exceptions::new(vec![exception("e", jhub(), |_| {})], vec![]);
    let (_, used) = exceptions.apply(vec![privileged(hub(Some("init-home")))], time(NOW));
    let (expired, unused) = ("PR-0003".to_owned(), "PR-0002".to_owned());
    let of = |usage: &Usage, now: &str| audit(&exceptions, usage, now);
    let valid = ("PR-0004".to_owned(), Verdict::Pass);
    let all = |first, second| [(expired.clone(), first), (unused.clone(), second), valid.clone()];
    assert_eq!(of(&used, NOW), all(Verdict::Pass, Verdict::Pass));
    assert_eq!(of(&Usage::default(), NOW), all(Verdict::Pass, Verdict::Fail));
    let later = of(&Usage::default(), "2028-01-01T00:00:00Z");
    assert_eq!(later, all(Verdict::Fail, Verdict::NotApplicable));
}

#[test]
fn a_usage_covers_another_when_nothing_else_was_needed_there() {
    let usage = |counts: [usize; 2]| Usage(counts.map(|failures| Uses { failures, undecided: 1 }).to_vec());
    let (none, first, both) = (Usage::default(), usage([2, 0]), usage([1, 1]));
    assert!(both.covers(&first) && first.covers(&none) && none.covers(&usage([0, 0])));
    assert!(!first.covers(&both) && !none.covers(&first));
}

#[test]
fn usage_of_the_parts_of_a_run_adds_up() {
    let exceptions = Exceptions::new(vec![exception("a", jhub(), |_| {})], vec![]);
    let (_, used) = exceptions.apply(vec![privileged(hub(Some("init-home")))], time(NOW));
    let mut whole = Usage::default();
    whole.merge(&exceptions.apply(vec![], time(NOW)).1);
    assert!(!whole.is_used(0));
    whole.merge(&used);
    assert!(whole.is_used(0));
}

#[test]
fn an_audit_finding_is_about_the_file_or_else_about_the_object() {
    let mut in_cluster = exception("in-cluster", jhub(), |_| {});
    in_cluster.origin = Origin::default();
    let exceptions = Exceptions::new(vec![exception("in-file", jhub(), |_| {}), in_cluster], vec![]);
    let findings = exceptions.audit(&Usage::default(), time(NOW), &|_| true);
    assert_eq!(findings[0].subject, file("exceptions.yaml"));
    assert_eq!((findings[0].locations[0].line, findings[0].locations[0].column), (Some(2), Some(1)));
    assert_eq!(findings[2].subject.display(), "jhub/Exception/in-cluster");
    let of_exceptions = findings.iter().filter(|finding| finding.code.as_str() != "PR-0004");
    assert!(of_exceptions.clone().count() == 4 && of_exceptions.clone().all(|finding| finding.effect == Effect::Warn));
}

#[test]
fn a_file_without_mistakes_passes_where_it_failed_before() {
    let invalid = |line| {
        let mut problems = Problems::new("exceptions.yaml");
        problems.push(Place { line, column: 3 }, "'spec.owner' is missing");
        InvalidException::from(problems.into_result(()).unwrap_err())
    };
    let valid = || exception("in-file", jhub(), |_| {});
    let validity = |exceptions: Exceptions| {
        let findings = exceptions.audit(&Usage::default(), time(NOW), &|_| true);
        let mut found: Vec<Finding> = findings.into_iter().filter(|found| found.code.as_str() == "PR-0004").collect();
        assert_eq!(found.len(), 1, "{found:#?}");
        found.remove(0)
    };
    let failing = validity(Exceptions::new(vec![valid()], vec![invalid(9), invalid(20)]));
    assert_eq!(failing.verdict, Verdict::Fail);
    assert_eq!(
        failing.message,
        "exceptions.yaml:9:3: 'spec.owner' is missing; exceptions.yaml:20:3: 'spec.owner' is missing"
    );
    let passing = validity(Exceptions::new(vec![valid()], vec![]));
    assert_eq!((passing.verdict, &passing.fingerprint), (Verdict::Pass, &failing.fingerprint));
    let many = validity(Exceptions::new(vec![], (1..=100).map(invalid).collect()));
    let told: Vec<&str> = many.message.split("; ").collect();
    assert_eq!((told.len(), told.last()), (21, Some(&"and 80 more")));
}

#[test]
fn an_invalid_exception_is_a_failing_finding_at_its_place() {
    let mut problems = Problems::new("exceptions.yaml");
    problems.push(Place { line: 9, column: 3 }, "'spec.owner' is missing");
    let invalid = InvalidException::from(problems.into_result(()).unwrap_err());
    let findings = Exceptions::new(vec![], vec![invalid]).audit(&Usage::default(), time(NOW), &|_| true);
    assert_eq!((findings[0].code.as_str(), findings[0].verdict), ("PR-0004", Verdict::Fail));
    assert_eq!(findings[0].locations[0].line, Some(9));
    assert_eq!(findings[0].message, "exceptions.yaml:9:3: 'spec.owner' is missing");
}

#[test]
fn a_name_that_stands_twice_in_a_file_counts_once_and_is_found() {
    let second = exception("e", jhub(), |spec| spec.codes = vec![code("C-0017")]);
    let exceptions = Exceptions::new(vec![exception("e", jhub(), |_| {}), second], vec![]);
    let failure = finding("C-0017", Severity::High, Verdict::Fail, hub(Some("init-home")));
    assert_eq!(verdict_of(&exceptions, failure, NOW), Verdict::Fail);
    assert!(audit(&exceptions, &Usage::default(), NOW).contains(&("PR-0004".to_owned(), Verdict::Fail)));
}

#[test]
fn exceptions_beyond_the_cap_are_not_applied_and_are_found() {
    let mut many: Vec<Exception> =
        (0..MAX_EXCEPTIONS).map(|n| exception(&n.to_string(), jhub(), |s| s.codes = vec![code("C-0001")])).collect();
    many.push(exception("last", jhub(), |_| {}));
    let exceptions = Exceptions::new(many, vec![]);
    assert_eq!(verdict_of(&exceptions, privileged(hub(Some("init-home"))), NOW), Verdict::Fail);
    let findings = exceptions.audit(&Usage::default(), time(NOW), &|_| true);
    let said = &findings.last().unwrap().message;
    assert_eq!(said, "1 exceptions beyond the limit of 10000 are not applied");
}

#[test]
fn an_exception_is_not_called_unused_while_its_questions_are_not_asked() {
    let exceptions = Exceptions::new(vec![exception("e", jhub(), |_| {})], vec![]);
    let use_when = |is_asked: bool| {
        let findings = exceptions.audit(&Usage::default(), time(NOW), &|_| is_asked);
        findings.into_iter().find(|finding| finding.code.as_str() == "PR-0002").unwrap().verdict
    };
    assert_eq!((use_when(true), use_when(false)), (Verdict::Fail, Verdict::NotApplicable));
}

#[test]
fn an_exception_is_not_called_unused_while_the_answer_about_its_subject_is_not_known() {
    let exceptions = Exceptions::new(vec![exception("e", jhub(), |_| {})], vec![]);
    let verdict = |usage: &Usage| {
        let findings = exceptions.audit(usage, time(NOW), &|_| true);
        findings.into_iter().find(|finding| finding.code.as_str() == "PR-0002").unwrap().verdict
    };
    let judged = |verdict, container| {
        let finding = Finding { verdict, ..privileged(hub(Some(container))) };
        exceptions.apply(vec![finding], time(NOW)).1
    };
    for undecided in [Verdict::Unknown, Verdict::Error] {
        assert_eq!(verdict(&judged(undecided, "init-home")), Verdict::NotApplicable);
        assert_eq!(verdict(&judged(undecided, "other")), Verdict::Fail, "that is not about its subject");
    }
    assert_eq!(verdict(&judged(Verdict::Pass, "init-home")), Verdict::Fail);
    let mut both = judged(Verdict::Unknown, "init-home");
    both.merge(&judged(Verdict::Fail, "init-home"));
    assert_eq!(verdict(&both), Verdict::Pass);
}
