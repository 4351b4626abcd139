use portreeve_policies::image::ImageReference;
use portreeve_reports::source::{Limits, yaml};
use portreeve_trust::policy::{NoMatch, Selection};

use super::*;
use crate::config::valid::Namespaces;
use crate::judge::{FileSource, JudgeSettings};

fn rules() -> Rules {
    let settings = JudgeSettings { controls: vec!["C-0057".to_owned()], ..JudgeSettings::default() };
    Rules::load(&settings, &FileSource::WorkingTree).unwrap()
}

fn put(resources: &mut Resources, kind: RuleKind, name: &str, created: &str, spec: &str) -> ResourceId {
    let namespace = if kind == RuleKind::Exception { "team-a" } else { "" };
    let id = ResourceId { kind, namespace: namespace.to_owned(), name: name.to_owned() };
    let of = if namespace.is_empty() { String::new() } else { format!(", namespace: {namespace}") };
    let text = format!(
        "{{apiVersion: portreeve.dev/v1alpha1, kind: {}, metadata: {{name: {name}{of}}}, spec: {spec}}}",
        kind.as_str()
    );
    let node = yaml::read(text.as_bytes(), &Limits::default()).remove(0).unwrap();
    resources.insert(id.clone(), Resource::read(&id, created, Ok(&node)));
    id
}

const EXCEPTED: &str = "{codes: [C-0057], owner: o, reason: r, expires: 2099-01-31}";

fn policy(pattern: &str, no_match: &str) -> String {
    format!(
        "{{mode: enforce, noMatch: {no_match}, rules: [{{name: r, images: ['{pattern}'], static: {{deny: true, reason: \
         x}}}}]}}"
    )
}

fn reasons(laid: &Laid) -> Vec<(&str, Reason)> {
    laid.accounts.iter().map(|(id, account)| (id.name.as_str(), account.reason)).collect()
}

fn chosen(laid: &Laid, image: &str) -> Option<String> {
    let repository = ImageReference::parse(image).unwrap().repository;
    match laid.rules.image_policy.as_ref()?.rule_for(&repository, Some("team-a")) {
        Selection::Rule(rule) => Some(rule.name().to_owned()),
        Selection::NoMatch(NoMatch::Deny) => Some("denied".to_owned()),
        Selection::NoMatch(_) => None,
    }
}

#[test]
fn an_exception_counts_in_the_namespaces_that_the_configuration_names_only() {
    let mut resources = Resources::new();
    put(&mut resources, RuleKind::Exception, "mine", "2026-01-01T00:00:00Z", EXCEPTED);
    put(&mut resources, RuleKind::ClusterException, "whole", "2026-01-01T00:00:00Z", EXCEPTED);
    let laid = rules().laid_over(&resources, &Namespaces::default());
    assert_eq!(reasons(&laid), [("whole", Reason::Accepted), ("mine", Reason::NamespaceNotAllowed)]);
    let laid = rules().laid_over(&resources, &Namespaces::of(&["team-*"]));
    assert_eq!(reasons(&laid), [("whole", Reason::Accepted), ("mine", Reason::Accepted)]);
}

#[test]
fn a_tenant_s_thousands_take_no_room_of_others_and_the_oldest_count() {
    let mut resources = Resources::new();
    for number in 0..=MAX_PER_NAMESPACE {
        let created = format!("2026-01-01T00:00:00.{number:06}Z");
        put(&mut resources, RuleKind::Exception, &format!("e{number}"), &created, EXCEPTED);
    }
    let laid = rules().laid_over(&resources, &Namespaces::of(&["*"]));
    let too_many: Vec<_> = reasons(&laid).into_iter().filter(|(_, reason)| *reason == Reason::TooMany).collect();
    let youngest = format!("e{MAX_PER_NAMESPACE}");
    assert_eq!(too_many, [(youngest.as_str(), Reason::TooMany)]);
}

#[test]
fn in_the_place_of_a_policy_that_cannot_be_used_what_nothing_names_is_denied() {
    let mut resources = Resources::new();
    put(&mut resources, RuleKind::ImagePolicy, "good", "2026-01-01T00:00:00Z", &policy("quay.io/a", "allow"));
    let laid = rules().laid_over(&resources, &Namespaces::default());
    assert_eq!((chosen(&laid, "quay.io/a"), chosen(&laid, "quay.io/b")), (Some("r".to_owned()), None));
    put(&mut resources, RuleKind::ImagePolicy, "bad", "2025-01-01T00:00:00Z", "{rules: 7}");
    let laid = rules().laid_over(&resources, &Namespaces::default());
    assert_eq!(reasons(&laid), [("bad", Reason::Invalid), ("good", Reason::Accepted)]);
    assert_eq!(chosen(&laid, "quay.io/a").as_deref(), Some("r"), "the others hold");
    assert_eq!(chosen(&laid, "quay.io/b").as_deref(), Some("denied"));
}

const PLATFORM: &str = "{gate: {frameworks: [nsa]}, components: [{name: a, namespace: a, source: {folder: a}}]}";

#[test]
fn a_platform_is_kept_where_the_configuration_names_it_and_says_so_where_not() {
    let mut resources = Resources::new();
    let id = put(&mut resources, RuleKind::Platform, "demo", "", PLATFORM);
    let resource = |name: &str| PlatformSource::Resource { name: name.to_owned(), folder: "f".into() };
    let account = |named: Option<&PlatformSource>| platforms(&resources, named)[&id].clone();
    assert!(account(Some(&resource("demo"))).is_accepted());
    for (named, words) in [
        (Some(resource("other")), "names the Platform 'other'"),
        (Some(PlatformSource::File("p.yaml".into())), "names a file (platform.file)"),
        (None, "names no platform"),
    ] {
        let account = account(named.as_ref());
        assert_eq!(account.reason, Reason::NotNamed);
        assert!(account.message.contains(words), "{}", account.message);
        assert!(account.message.contains("set platform.resource to 'demo'"), "{}", account.message);
        let verdict = finding(&id, &account).unwrap().verdict;
        assert_eq!(verdict, Verdict::NotApplicable, "there is nothing in it to correct");
    }
}

#[test]
fn a_platform_with_a_mistake_is_told_all_of_them() {
    for (right, wrong, words) in [
        ("folder: a", "folder: ../../etc", "'a': the folder '../../etc' is not inside"),
        ("folder: a", "folder: /etc", "'a': the folder '/etc' is not inside"),
        ("name: a,", "name: a, dependsOn: [a],", "'a' depends on itself"),
        ("namespace: a", "namespace: kube-system", "'kube-system' belongs to the cluster"),
        ("gate:", "gaet:", "unknown key 'spec.gaet'; did you mean 'gate'?"),
        ("[nsa]", "[nas]", "did you mean 'nsa'"),
    ] {
        let mut resources = Resources::new();
        let id = put(&mut resources, RuleKind::Platform, "demo", "", &PLATFORM.replacen(right, wrong, 1));
        let named = PlatformSource::Resource { name: "demo".to_owned(), folder: "f".into() };
        let account = &platforms(&resources, Some(&named))[&id];
        assert_eq!(account.reason, Reason::Invalid, "{wrong}");
        assert!(account.message.contains(words), "{wrong}: {}", account.message);
    }
}

#[test]
fn an_exception_for_a_code_that_there_is_not_is_invalid_and_for_one_that_is_only_listed_is_not() {
    let listed = JudgeSettings { frameworks: vec!["nsa".to_owned()], ..JudgeSettings::default() };
    let listed = Rules::load(&listed, &FileSource::WorkingTree).unwrap().unimplemented;
    let of = |code: &str| {
        let mut resources = Resources::new();
        let spec = EXCEPTED.replace("C-0057", code);
        let id = put(&mut resources, RuleKind::ClusterException, "x", "", &spec);
        rules().laid_over(&resources, &Namespaces::default()).accounts[&id].clone()
    };
    let account = of("C-9999");
    assert_eq!(account.reason, Reason::Invalid);
    assert!(account.message.contains("there is no code 'C-9999'"), "{}", account.message);
    for code in listed {
        assert!(of(code.as_str()).is_accepted(), "{code}");
    }
}

#[test]
fn of_two_policies_that_tie_the_older_is_in_force() {
    let mut resources = Resources::new();
    put(&mut resources, RuleKind::ImagePolicy, "a", "2026-02-01T00:00:00Z", &policy("quay.io/x", "allow"));
    put(&mut resources, RuleKind::ImagePolicy, "b", "2026-01-01T00:00:00Z", &policy("quay.io/x", "allow"));
    let laid = rules().laid_over(&resources, &Namespaces::default());
    assert_eq!(reasons(&laid), [("a", Reason::Conflict), ("b", Reason::Accepted)]);
    assert_eq!(laid.accounts.values().next().unwrap().message.split(':').next().unwrap(), "ImagePolicy b came first");
}

#[test]
fn a_policy_of_the_cluster_names_no_files() {
    let mut resources = Resources::new();
    let spec = "{rules: [{name: r, images: [quay.io/a], authorities: {list: [{name: k, key: {file: /etc/passwd}}]}}]}";
    let id = put(&mut resources, RuleKind::ImagePolicy, "files", "", spec);
    let laid = rules().laid_over(&resources, &Namespaces::default());
    assert_eq!(laid.accounts[&id].reason, Reason::Invalid);
    assert!(laid.accounts[&id].message.contains("has no files"), "{}", laid.accounts[&id].message);
}

#[test]
fn what_is_found_about_a_resource_resolves_when_it_is_accepted() {
    let id = ResourceId { kind: RuleKind::Exception, namespace: "a".to_owned(), name: "b".to_owned() };
    for kind in [RuleKind::Exception, RuleKind::ClusterException, RuleKind::ImagePolicy, RuleKind::Platform] {
        let id = ResourceId { kind, ..id.clone() };
        let found = |reason| finding(&id, &Account::new(reason, "m")).unwrap();
        let (failed, passed) = (found(Reason::Invalid), found(Reason::Accepted));
        assert_eq!((failed.verdict, passed.verdict), (Verdict::Fail, Verdict::Pass));
        assert_eq!((&failed.fingerprint, &failed.subject), (&passed.fingerprint, &passed.subject));
    }
}
