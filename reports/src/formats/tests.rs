use serde_json::{Value, json};

use super::*;
use crate::finding::{Evidence, Fix, Location, Patch};
use crate::report::{ImageReport, PolicyInput};
use crate::severity::{Effect, Severity};
use crate::subject::{ObjectRef, Subject};
use crate::testing::{draft, finding, hub, image, subjects};
use crate::verdict::{Cause, Verdict};

fn image_report(reference: &str, evidence: Vec<Evidence>) -> ImageReport {
    ImageReport { reference: reference.to_owned(), digest: None, verdict: Verdict::Fail, evidence }
}

/// Every verdict on every type of subject, and every cause.
fn full_report() -> Report {
    let mut findings = Vec::new();
    for verdict in Verdict::ALL {
        let of = |subject| finding("C-0016", Severity::High, verdict, subject);
        findings.extend(subjects().into_iter().map(of));
    }
    for cause in Cause::ALL {
        findings.push(draft("C-0017", Severity::Low, Verdict::Unknown, hub(None)).cause(cause).build().unwrap());
    }
    let fix = Fix {
        patches: vec![Patch { path: "spec.privileged".into(), value: json!(false) }],
        delete: vec!["spec.hostPID".into()],
        commands: vec!["kubectl rollout restart".into()],
    };
    let rich = draft("PR-1001", Severity::Critical, Verdict::Fail, image()).fix(fix).effect(Effect::Warn);
    let rich = rich.evidence("digest", "sha256:aa").related(hub(None)).frameworks(vec!["nsa".into()]);
    findings.push(rich.owner(Some("team-hub".into())).build().unwrap());
    let inputs = vec![PolicyInput { name: "portreeve.yaml".into(), digest: "sha256:00".into() }];
    let images = vec![image_report("quay.io/nebari/hub:1", vec![])];
    Report { tool_version: "0.1.0".into(), inputs, findings, images, objects_read: 3, ..Report::default() }
}

fn all() -> RenderOptions<'static> {
    RenderOptions { shown: Shown::All, ..RenderOptions::default() }
}

/// The report as text.
fn render(format: Format, report: &Report, options: &RenderOptions<'_>) -> String {
    let mut bytes = Vec::new();
    write(format, report, options, &mut bytes).unwrap();
    String::from_utf8(bytes).unwrap()
}

fn parsed(format: Format, report: &Report, options: &RenderOptions<'_>) -> Value {
    serde_json::from_str(&render(format, report, options)).unwrap()
}

fn schema() -> jsonschema::Validator {
    let schema: Value = serde_json::from_str(include_str!("../../schema/json-v1.schema.json")).unwrap();
    jsonschema::draft202012::meta::validate(&schema).unwrap();
    jsonschema::draft202012::new(&schema).unwrap()
}

fn problems(value: &Value) -> Vec<String> {
    schema().iter_errors(value).map(|error| format!("{}: {error}", error.instance_path())).collect()
}

#[test]
fn a_format_is_named_by_its_word_and_a_mistyped_one_gets_a_hint() {
    for (word, format) in WORDS {
        assert_eq!(word.parse(), Ok(format));
    }
    let error = "sarfi".parse::<Format>().unwrap_err().to_string();
    assert_eq!(
        error,
        "'sarfi' is not a format (did you mean 'sarif'?); formats are table, json, json-v1, sarif, prometheus, junit, html"
    );
    assert!("".parse::<Format>().is_err());
}

#[test]
fn json_of_every_verdict_subject_and_cause_is_valid_by_the_published_schema() {
    for report in [full_report(), hostile_report(), Report::default()] {
        assert_eq!(problems(&parsed(Format::Json, &report, &all())), Vec::<String>::new());
    }
}

#[test]
fn the_schema_refuses_what_the_contract_does_not_know() {
    let good = parsed(Format::Json, &full_report(), &all());
    let breakages: [fn(&mut Value); 8] = [
        |value| value["extra"] = json!(1),
        |value| value["verdict"] = json!("ok"),
        |value| value["coverage"] = json!(87.5),
        |value| value["findings"][0]["extra"] = json!(1),
        |value| value["findings"][0]["locations"] = json!([]),
        |value| value["findings"][0]["cause"] = json!("manual"),
        |value| value["findings"][0]["subject"]["kind"] = json!(null),
        |value| value["findings"][0]["fingerprint"] = json!("abc"),
    ];
    for (index, breakage) in breakages.into_iter().enumerate() {
        let mut value = good.clone();
        breakage(&mut value);
        assert!(!problems(&value).is_empty(), "breakage {index} was accepted");
    }
}

#[test]
fn json_keys_stand_in_the_order_of_the_contract() {
    let value = parsed(Format::Json, &full_report(), &all());
    let keys = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>().join(" ");
    assert_eq!(keys(&value), "schemaVersion tool inputs verdict coverage counts findings images");
    assert_eq!(
        keys(&value["findings"][0]),
        "source code check effect severity confidence verdict cause fingerprint subject locations message evidence \
         fix frameworks owner related"
    );
    assert_eq!(
        keys(&value["findings"][0]["subject"]),
        "type apiVersion kind namespace name container reference digest file"
    );
    assert_eq!(keys(&value["counts"]), "fail error unknown excepted pass not-applicable bySeverity");
}

#[test]
fn passes_are_counted_and_listed_only_when_asked_for() {
    let value = parsed(Format::Json, &full_report(), &RenderOptions::default());
    let listed = |verdict: &str| {
        value["findings"].as_array().unwrap().iter().filter(|finding| finding["verdict"] == verdict).count()
    };
    assert_eq!((listed("pass"), listed("not-applicable")), (0, 0));
    assert_eq!((listed("fail"), listed("excepted"), listed("unknown"), listed("error")), (6, 5, 15, 5));
    assert_eq!(value["counts"]["pass"], 5);
    assert_eq!(value["counts"]["bySeverity"], json!({"critical": 1, "high": 5, "medium": 0, "low": 0, "info": 0}));
}

#[test]
fn nothing_judged_has_a_null_verdict() {
    assert_eq!(parsed(Format::Json, &Report::default(), &all())["verdict"], Value::Null);
}

#[test]
fn the_table_groups_by_file_and_subject_and_ends_with_the_summary() {
    let mut unknown = draft("C-0017", Severity::Low, Verdict::Unknown, hub(None)).cause(Cause::RateLimited);
    unknown = unknown.message("the registry did not say");
    let fix = Fix { patches: vec![Patch { path: "spec.privileged".into(), value: json!(false) }], ..Fix::default() };
    let failure = draft("C-0016", Severity::High, Verdict::Fail, hub(None)).fix(fix).evidence("privileged", "true");
    let pass = finding("C-0018", Severity::Low, Verdict::Pass, hub(None));
    let findings = vec![unknown.build().unwrap(), pass, failure.build().unwrap()];
    let report = Report { findings, objects_read: 1, ..Report::default() };
    insta::assert_snapshot!(render(Format::Table, &report, &RenderOptions::default()), @r"
    k8s/hub.yaml
      jhub/Deployment/hub
        HIGH     fail C-0016 container init-home is privileged
                 at: k8s/hub.yaml:12:9 spec.template.spec.containers[0].securityContext.privileged
                 seen: privileged = true
                 fix: set spec.privileged to false
        LOW      unknown (rate-limited) C-0017 the registry did not say
                 at: k8s/hub.yaml:12:9 spec.template.spec.containers[0].securityContext.privileged

    verdict: fail; coverage: 66.6 %; findings: 1 fail (1 high), 0 error, 1 unknown, 0 excepted, 1 pass, 0 not-applicable; 1 objects and 0 images read
    ");
}

#[test]
fn colour_is_only_there_when_asked_for_and_severity_is_a_word_either_way() {
    let plain = render(Format::Table, &full_report(), &all());
    let coloured = render(Format::Table, &full_report(), &RenderOptions { style: Style::Colour, ..all() });
    assert!(!plain.contains('\u{1b}') && coloured.contains("\u{1b}[31mHIGH"));
    assert!(plain.contains("HIGH     fail"));
}

fn sarif_results(report: &Report) -> Vec<Value> {
    let log = parsed(Format::Sarif, report, &RenderOptions::default());
    log["runs"][0]["results"].as_array().unwrap().clone()
}

#[test]
fn every_open_finding_has_a_sarif_result_even_without_a_file() {
    let code = Code::parse("C-0016").unwrap();
    let live = crate::FindingBuilder::new(code, Severity::High, Verdict::Fail).subject(hub(None));
    let live = live.location(Location::default()).build().unwrap();
    let results = sarif_results(&Report { findings: vec![live.clone()], ..Report::default() });
    let physical = &results[0]["locations"][0]["physicalLocation"];
    assert_eq!(physical["artifactLocation"]["uri"], "portreeve.yaml");
    assert_eq!(physical["region"], json!({"startLine": 1, "startColumn": 1, "endLine": 1, "endColumn": 2}));
    let logical = &results[0]["locations"][0]["logicalLocations"][0];
    assert_eq!(logical["fullyQualifiedName"], "jhub/Deployment/hub");
    let hash = format!("{}:1", live.fingerprint);
    assert_eq!(results[0]["partialFingerprints"]["primaryLocationLineHash"], hash.as_str());
    let open = full_report().findings.iter().filter(|finding| finding.verdict.is_open()).count();
    assert_eq!(sarif_results(&full_report()).len(), open);
}

#[test]
fn sarif_says_which_results_are_unknown_errors_or_excepted() {
    for (verdict, level) in [(Verdict::Unknown, "warning"), (Verdict::Error, "error"), (Verdict::Fail, "note")] {
        let judged = finding("C-0016", Severity::Low, verdict, hub(None));
        let result = sarif_results(&Report { findings: vec![judged], ..Report::default() }).remove(0);
        assert_eq!((&result["level"], &result["properties"]["verdict"]), (&json!(level), &json!(verdict.as_str())));
        assert_eq!(result["suppressions"], json!([]));
    }
    let excepted = draft("C-0016", Severity::High, Verdict::Excepted, hub(None)).evidence("exception", "hub-root");
    let report = Report { findings: vec![excepted.build().unwrap()], ..Report::default() };
    let suppressions = &sarif_results(&report)[0]["suppressions"];
    let expected = json!([{"kind": "external", "status": "accepted", "justification": "exception: hub-root"}]);
    assert_eq!(suppressions, &expected);
}

#[test]
fn sarif_rules_carry_help_and_a_security_severity_as_text() {
    let findings = vec![
        finding("PR-0001", Severity::High, Verdict::Fail, hub(None)),
        finding("C-0016", Severity::Critical, Verdict::Fail, hub(None)),
    ];
    let log = parsed(Format::Sarif, &Report { findings, ..Report::default() }, &RenderOptions::default());
    let driver = &log["runs"][0]["tool"]["driver"];
    let rule = |index: usize| driver["rules"][index].clone();
    assert_eq!((rule(0)["id"].as_str(), rule(1)["id"].as_str()), (Some("C-0016"), Some("PR-0001")));
    assert_eq!(rule(0)["properties"]["security-severity"], "9.5");
    assert_eq!(rule(1)["shortDescription"]["text"], "input could not be read");
    assert!(rule(1)["help"]["text"].as_str().unwrap().contains("How to fix: Correct the document"));
    for result in log["runs"][0]["results"].as_array().unwrap() {
        let index = usize::try_from(result["ruleIndex"].as_u64().unwrap()).unwrap();
        assert_eq!(rule(index)["id"], result["ruleId"]);
    }
}

#[test]
fn sarif_keeps_the_worst_results_and_says_what_it_left_out() {
    let low = finding("C-0017", Severity::Low, Verdict::Fail, hub(None));
    let mut findings = vec![finding("C-0018", Severity::Critical, Verdict::Excepted, hub(None))];
    findings.extend(std::iter::repeat_n(low, sarif::MAX_RESULTS));
    findings.push(finding("C-0016", Severity::Critical, Verdict::Fail, hub(None)));
    let log = parsed(Format::Sarif, &Report { findings, ..Report::default() }, &RenderOptions::default());
    let results = log["runs"][0]["results"].as_array().unwrap();
    assert_eq!(results.len(), sarif::MAX_RESULTS);
    assert_eq!(results[0]["ruleId"], "C-0016");
    assert!(results.iter().all(|result| result["ruleId"] != "C-0018"));
    let said = log["runs"][0]["invocations"][0]["toolExecutionNotifications"][0]["message"]["text"].as_str().unwrap();
    assert!(said.starts_with("2 findings of the lowest severities are left out"), "{said}");
}

#[test]
fn prometheus_has_help_type_and_a_bounded_set_of_series() {
    let text = render(Format::Prometheus, &full_report(), &all());
    let series: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
    assert_eq!(series.len(), 1 + 30 + 6 + 1 + 1 + 4);
    for line in &series {
        let name = line.split(['{', ' ']).next().unwrap();
        let declared = |word: &str| text.contains(&format!("# {word} {name} "));
        assert!(declared("HELP") && declared("TYPE"), "{line}");
    }
    assert!(text.contains("portreeve_findings{severity=\"critical\",verdict=\"fail\"} 1\n"));
    assert!(text.contains("portreeve_verdict{verdict=\"fail\"} 1\n"));
}

const HOSTILE: &str = "]]>\u{fffe}&lt;!--'\u{1b}[2J\u{1b}]8;;http://x\u{7}a\u{202e}b\u{2066}\r\n::error::x\0<script>alert(1)</script>\u{9b}31m\u{7f}\u{2028}[x](http://y)\"\\{0}";

/// Every untrusted string of a report is hostile.
fn hostile_report() -> Report {
    let text = || HOSTILE.to_owned();
    let object = ObjectRef {
        api_version: text(),
        kind: text(),
        namespace: text(),
        name: text(),
        container: Some(text()),
        owner: None,
    };
    let place = Location {
        object_path: text(),
        object: Some(text()),
        file: Some(HOSTILE.into()),
        line: Some(1),
        column: Some(0),
    };
    let fix = Fix {
        patches: vec![Patch { path: text(), value: json!(HOSTILE) }],
        delete: vec![text()],
        commands: vec![text()],
    };
    let subjects = [
        Subject::Object(object),
        Subject::Image { repository: text(), reference: text(), digest: Some(text()) },
        Subject::File { path: text() },
        Subject::Credential { class: text(), holder: text(), key: text() },
        Subject::Component { platform: text(), component: text() },
    ];
    let mut findings = Vec::new();
    for verdict in Verdict::ALL {
        for subject in &subjects {
            let draft = draft("C-0016", Severity::High, verdict, subject.clone()).check(HOSTILE).message(text());
            let draft = draft.location(place.clone()).location(place.clone()).fix(fix.clone()).evidence(text(), text());
            let draft = draft.evidence("exception", text()).related(subject.clone()).owner(Some(text()));
            findings.push(draft.frameworks(vec![HOSTILE.into()]).build().unwrap());
        }
    }
    let evidence = vec![Evidence { name: text(), value: text() }];
    let image = ImageReport { digest: Some(text()), ..image_report(HOSTILE, evidence) };
    let inputs = vec![PolicyInput { name: text(), digest: text() }];
    Report { tool_version: text(), cluster: Some(text()), inputs, findings, images: vec![image], ..Report::default() }
}

#[test]
fn no_format_lets_a_hostile_name_command_a_terminal_or_end_a_line() {
    let report = hostile_report();
    let options = RenderOptions { fallback_file: HOSTILE, automation_id: HOSTILE, ..all() };
    for (word, format) in WORDS {
        let rendered = render(format, &report, &options);
        let passed = rendered.chars().find(|character| *character != '\n' && text::is_deceptive(*character));
        assert_eq!(passed, None, "{word}");
        assert!(rendered.lines().all(|line| !line.starts_with("::")), "{word}");
    }
}

#[test]
fn json_keeps_a_hostile_name_as_it_is() {
    let value = parsed(Format::Json, &hostile_report(), &all());
    assert_eq!(value["findings"][0]["subject"]["name"], HOSTILE);
    assert_eq!(value["findings"][0]["message"], HOSTILE);
}

#[test]
fn a_hostile_message_is_no_link_in_sarif() {
    for result in sarif_results(&hostile_report()) {
        let said = result["message"]["text"].as_str().unwrap();
        assert!(said.contains("[x\\](http://y)") && !said.contains("[x](http"), "{said}");
    }
}

#[test]
fn a_hostile_version_stays_inside_its_label() {
    let rendered = render(Format::Prometheus, &hostile_report(), &all());
    let line = rendered.lines().find(|line| line.starts_with("portreeve_build_info")).unwrap();
    assert!(line.ends_with("\"} 1") && line.contains("\\\""), "{line}");
}

#[test]
fn lists_that_the_sarif_schema_wants_unique_are_unique() {
    for result in sarif_results(&hostile_report()) {
        assert_eq!(result["relatedLocations"].as_array().map(Vec::len), Some(1));
    }
    let tagged = draft("C-0016", Severity::High, Verdict::Fail, hub(None));
    let tagged = tagged.frameworks(vec!["nsa".into(), "security".into(), "nsa".into()]).build().unwrap();
    let log = parsed(Format::Sarif, &Report { findings: vec![tagged], ..Report::default() }, &all());
    let tags = &log["runs"][0]["tool"]["driver"]["rules"][0]["properties"]["tags"];
    assert_eq!(tags, &json!(["security", "nsa"]));
}

#[test]
fn junit_fails_only_what_the_gate_fails_and_never_succeeds_at_what_is_unknown() {
    let text = render(Format::Junit, &full_report(), &RenderOptions::default());
    let count = |word: &str| text.matches(word).count();
    // Five failures that block and the whole; one that warns, five excepted and four unknowns are skipped.
    assert_eq!((count("<failure "), count("<error "), count("<skipped ")), (6, 5 + 5 + 6, 1 + 5 + 4), "{text}");
    assert_eq!(count("<testcase "), 6 + 16 + 10);
    let nothing = render(Format::Junit, &Report::default(), &RenderOptions::default());
    assert!(nothing.contains("<error ") && nothing.contains("nothing was judged"), "{nothing}");
    let clean = Report { objects_read: 1, ..Report::default() };
    let clean = render(Format::Junit, &clean, &RenderOptions::default());
    assert!(!clean.contains("<error ") && clean.contains("tests=\"1\""), "{clean}");
}

#[test]
fn the_page_says_what_the_table_says_and_needs_nothing_else() {
    let text = render(Format::Html, &full_report(), &all());
    for word in [
        "<h1>Verdict: fail</h1>",
        "container init-home is privileged",
        "set spec.privileged to false",
        "digest = sha256:aa",
        "Accepted by exceptions",
        "unknown (rate-limited)",
        "portreeve.yaml",
        "team-hub",
    ] {
        assert!(text.contains(word), "{word} is not in\n{text}");
    }
    for forbidden in ["<script", "src=", "href=", "onload", "url("] {
        assert!(!text.contains(forbidden), "{forbidden}");
    }
}

#[test]
fn a_hostile_name_is_no_markup() {
    for (format, markup) in [(Format::Html, "<script"), (Format::Junit, "<script")] {
        let text = render(format, &hostile_report(), &all());
        assert!(!text.contains(markup) && !text.contains("]]>") && text.contains("&lt;script&gt;"), "{text}");
    }
}
