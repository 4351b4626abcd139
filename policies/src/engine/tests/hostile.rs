//! Expressions and objects that want to hang us or to be believed.

use portreeve_reports::Cause;

use super::*;

fn message_of(pass: &str) -> String {
    let findings = judged(asking(pass), &object(POD));
    assert_eq!(verdicts(&findings), [Verdict::Error], "{pass}: {findings:?}");
    findings[0].message.clone()
}

#[test]
fn loops_in_loops_end_by_the_budget() {
    let list = format!("[{}]", vec!["0"; 60].join(","));
    let mut pass = "true".to_owned();
    for depth in 0..8 {
        pass = format!("{list}.all(x{depth}, {pass})");
    }
    assert!(message_of(&pass).contains("step budget"));
}

#[test]
fn a_text_that_grows_ends_by_the_budget() {
    let growing = ".map(x, x + x + x + x + x + x + x + x)".repeat(9);
    assert!(message_of(&format!("['aaaaaaaa']{growing}.size() > 0")).contains("step budget"));
}

#[test]
fn a_list_that_grows_ends_by_the_budget() {
    let growing = ".map(x, [x, x, x, x, x, x, x, x])".repeat(9);
    assert!(message_of(&format!("[[0]]{growing}.size() > 0")).contains("step budget"));
}

#[test]
fn an_or_does_not_swallow_a_spent_budget() {
    let list = format!("[{}]", vec!["0"; 200].join(","));
    let spent = format!("{list}.all(a, {list}.all(b, {list}.all(c, {list}.all(d, true))))");
    assert!(message_of(&format!("{spent} || true")).contains("step budget"));
}

#[test]
fn patterns_made_while_evaluating_are_paid_for() {
    let list = format!("[{}]", vec!["'a'"; 600].join(","));
    assert!(message_of(&format!("{list}.all(x, 'a'.matches(x + x + '?'))")).contains("step budget"));
}

#[test]
fn deep_nesting_is_refused_when_the_control_is_compiled() {
    let chained = format!("['a']{}.size() > 0", ".map(x, x)".repeat(30));
    for pass in [chained, format!("{}true{}", "(".repeat(1500), ")".repeat(1500))] {
        assert!(Engine::new(vec![asking(&pass)], &Params::default()).is_err(), "{pass}");
    }
}

#[test]
fn mistakes_are_found_when_the_control_is_compiled() {
    for (pass, said) in [
        ("containr.image == ''", "there is no variable 'containr'; did you mean 'container'?"),
        ("container.image.startWith('a')", "there is no function 'startWith'; did you mean 'startsWith'?"),
        ("container.image.matches('(')", "regex parse error"),
        ("params.nothing == 1", "the control has no parameter 'nothing'"),
        ("matchesAny(container.image, container.args)", "takes a constant list of patterns"),
        ("container.image ==", "no CEL expression"),
        ("'a'.matches('a{1000}{1000}{1000}')", "size limit"),
    ] {
        let problems = Engine::new(vec![asking(pass)], &Params::default()).unwrap_err();
        assert!(problems.to_string().contains(said), "{pass}: {problems}");
        assert!(problems.list()[0].place.line > 0);
    }
}

#[test]
fn an_expression_that_gives_no_boolean_is_an_error() {
    assert!(message_of("container.image").contains("gives string"));
}

#[test]
fn a_field_read_without_has_is_an_error_that_says_so() {
    assert!(message_of("container.nothing == 1").contains("ask has() first"));
}

#[test]
fn a_value_of_another_type_is_unknown_and_not_shown() {
    let findings = judged(asking("container.name > 5"), &object(POD));
    assert_eq!(verdicts(&findings), [Verdict::Unknown]);
    assert!(!findings[0].message.contains("web"), "{}", findings[0].message);
}

#[test]
fn a_budget_used_up_by_an_object_that_no_api_server_stores_is_unknown_and_too_large() {
    let spent = |bytes: usize| {
        let text = POD.replacen("name: web}", &format!("name: web, annotations: {{note: {}}}}}", "v".repeat(bytes)), 1);
        let list = format!("[{}]", vec!["0"; 300].join(","));
        let pass = format!("{list}.all(a, {list}.all(b, {list}.all(c, true)))");
        judged(asking(&pass), &object(&text))[0].clone()
    };
    assert_eq!(spent(1 << 20).verdict, Verdict::Error, "a control that cannot end is a bug");
    let large = spent(2 << 20);
    assert_eq!((large.verdict, large.cause), (Verdict::Unknown, Some(Cause::TooLarge)), "{}", large.message);
}

#[test]
fn a_wide_config_map_is_judged_in_full() {
    let data: String = (0..20_000).map(|index| format!("  name{index}: value\n")).collect();
    let text = format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: wide}}\ndata:\n{data}  password: hunter2\n");
    let control = builtin_controls().unwrap().into_iter().find(|control| control.code.as_str() == "C-0012").unwrap();
    let findings = judged(control, &object(&text));
    let failing: Vec<&Finding> = findings.iter().filter(|finding| finding.verdict == Verdict::Fail).collect();
    assert_eq!(failing.len(), 1, "{:?}", verdicts(&findings));
    assert_eq!(failing[0].locations[0].object_path, "data.password");
}
