use super::*;

fn id(kind: RuleKind, namespace: &str) -> ResourceId {
    ResourceId { kind, namespace: namespace.to_owned(), name: "x".to_owned() }
}

fn subject(parts: &[&str]) -> SubjectKey {
    SubjectKey(parts.join("\u{1f}"))
}

#[test]
fn a_change_reaches_the_subjects_of_its_scope_only() {
    let pod = |namespace| subject(&["object", "", "Pod", namespace, "p"]);
    let (node, image) = (subject(&["object", "", "Node", "", "n"]), subject(&["image", "quay.io/a"]));
    let reach = Reach::of(&[id(RuleKind::Exception, "a")].into());
    assert!(reach.contains(&pod("a")) && !reach.contains(&pod("b")));
    assert!(!reach.contains(&node) && !reach.contains(&image));
    let reach = Reach::of(&[id(RuleKind::ClusterException, "")].into());
    assert!(reach.contains(&node) && reach.contains(&image) && !reach.contains(&pod("a")));
}

#[test]
fn whole_scans_are_apart_however_often_resources_change() {
    let start = Instant::now();
    let mut work = Work::new();
    assert_eq!(work.pause(start), IDLE);
    work.plan_scan(start);
    assert!(work.takes_scan(start) && !work.takes_scan(start));
    work.plan_scan(start);
    work.plan_scan(start);
    assert!(!work.takes_scan(start));
    assert_eq!(work.pause(start), SCANS_APART);
    assert!(work.takes_scan(start + SCANS_APART));
}
