//! `portreeve check` on the built binary: inputs, choices, thresholds and formats.

use std::ffi::OsStr;
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::process::Command;

use portreeve_tests::OrFail as _;
use portreeve_tests::binary::Portreeve;
use portreeve_tests::desk::{Desk, PRIVILEGED, verdicts};
use portreeve_tests::parts::Part;
use portreeve_tests::process::{run, scratch};
use serde_json::{Value, json};

/// Findings of the one control that [`PRIVILEGED`] fails once, in JSON.
const ONE: [&str; 5] = ["check", "--control", "C-0057", "--format", "json"];

fn with<'a>(base: &[&'a str], more: &[&'a str]) -> Vec<&'a str> {
    base.iter().chain(more).copied().collect()
}

fn desk() -> Desk {
    let desk = Desk::new();
    desk.file("web.yaml", PRIVILEGED);
    desk
}

fn pod(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name},
        "spec": {"containers": [{"name": "main", "image": "x", "securityContext": {"privileged": true}}]}})
}

fn subjects(report: &Value) -> Vec<String> {
    let subject = |finding: &Value| {
        let subject = &finding["subject"];
        format!("{}/{}", subject["namespace"].as_str().unwrap_or("-"), subject["name"].as_str().unwrap_or("-"))
    };
    report["findings"].as_array().or_fail("findings").iter().map(subject).collect()
}

#[test]
fn a_failure_names_its_path_its_place_its_evidence_and_its_fix() {
    let report = desk().run(&with(&ONE, &["web.yaml"])).expect_exit(10).json();
    let finding = &report["findings"][0];
    let path = "spec.template.spec.containers[0].securityContext.privileged";
    let place = json!({"objectPath": path, "object": null, "file": "web.yaml", "line": 12, "column": 39});
    assert_eq!(finding["locations"], json!([place]));
    assert_eq!(finding["evidence"], json!([{"name": "securityContext.privileged", "value": "true"}]));
    assert_eq!(finding["fix"]["patches"], json!([{"path": path, "value": false}]));
    assert_eq!(report["verdict"], "fail");
}

#[test]
fn yaml_json_documents_lists_and_stdin_are_the_same_input() {
    let desk = desk();
    let (one, two) = (pod("one").to_string(), pod("two").to_string());
    let list = json!({"apiVersion": "v1", "kind": "List", "items": [pod("one"), pod("two")]});
    desk.file("documents.yaml", format!("{one}\n---\n# nothing here\n---\n{two}\n"));
    desk.file("list.json", list.to_string());
    desk.file("folder/a.yaml", &one);
    desk.file("folder/deeper/b.json", &two);
    desk.file("folder/readme.md", "not: a manifest");
    desk.file("folder/.git/config.yaml", "not: a manifest");
    for path in ["documents.yaml", "list.json", "folder"] {
        let report = desk.run(&with(&ONE, &[path])).expect_exit(10).json();
        assert_eq!(subjects(&report), ["default/one", "default/two"], "{path}");
    }
    let report = desk.run_with(&with(&ONE, &["-"]), &list.to_string()).expect_exit(10).json();
    assert_eq!(subjects(&report), ["default/one", "default/two"]);
    assert_eq!(report["findings"][0]["locations"][0]["file"], "stdin");
}

#[test]
fn nothing_in_a_folder_is_passed_over_in_silence() {
    let desk = desk();
    desk.file("folder/.hidden.yaml", pod("hidden").to_string());
    let report = desk.run(&with(&ONE, &["folder"])).expect_exit(10).json();
    assert_eq!(subjects(&report), ["default/hidden"]);
    std::os::unix::fs::symlink("../web.yaml", desk.folder().join("folder/link.yaml")).or_fail("a link");
    std::fs::remove_file(desk.folder().join("folder/.hidden.yaml")).or_fail("a file");
    let report = desk.run(&with(&ONE, &["folder"])).expect_exit(5).json();
    assert_eq!(report["findings"][0]["code"], "PR-0001");
    assert_eq!(report["findings"][0]["subject"]["file"], "folder/link.yaml");
}

#[test]
fn files_of_rules_in_a_folder_are_no_manifests_unless_they_may_be_applied() {
    let desk = desk();
    desk.file(".sops.yaml", "creation_rules: []\n");
    desk.file("portreeve.yaml", "posture: {params: params.yaml}\n");
    desk.file("params.yaml", "postureControlInputs: {}\n");
    let of_folder = || verdicts(&desk.run(&with(&ONE, &["."])).expect_exit(10).json());
    assert_eq!(of_folder(), ["C-0057 fail"]);
    // Who names one asks about it.
    desk.run(&with(&ONE, &[".sops.yaml"])).expect_exit(5);
    // What else is no object is unknown as ever, and the name alone hides nothing.
    desk.file("values.yaml", "replicas: 3\n");
    assert_eq!(of_folder(), ["C-0057 fail", "PR-0001 unknown"]);
    desk.file("deeper/portreeve.yaml", pod("hidden").to_string());
    let found = desk.run(&with(&ONE, &["."])).expect_exit(10).json();
    assert!(subjects(&found).contains(&"default/hidden".to_owned()), "{found:#}");
}

#[test]
fn mistakes_in_our_own_kinds_are_found_among_manifests_by_the_codes_of_the_cluster() {
    let desk = desk();
    let ours = |kind: &str, metadata: &str, spec: &str| {
        format!("---\napiVersion: portreeve.dev/v1alpha1\nkind: {kind}\nmetadata: {{{metadata}}}\nspec: {spec}\n")
    };
    let exception = "{codes: [C-0057], owner: o, reason: r, expires: 2099-01-31}";
    let chart = "{components: [{name: hub, namespace: hub, source: {chart: hub}}]}";
    let file = [
        ours("Exception", "name: mistyped", &exception.replace("reason", "reson")),
        ours("Exception", "name: good", exception),
        ours("ClusterException", "name: unknown", &exception.replace("C-0057", "C-9999")),
        ours("ImagePolicy", "name: policy", "{mode: enforce, rulez: []}"),
        ours("Platform", "name: demo", chart),
        ours("Platfrom", "name: demo", chart),
    ];
    desk.file("ours.yaml", file.concat());
    let report = desk.run(&with(&ONE, &["ours.yaml"])).expect_exit(10).json();
    let findings = report["findings"].as_array().or_fail("findings");
    let said = |finding: &Value| {
        let [code, message] = ["code", "message"].map(|key| finding[key].as_str().or_fail(key).to_owned());
        let place = &finding["locations"][0];
        assert_eq!(place["file"], "ours.yaml");
        (code, finding["subject"]["name"].to_string(), place["line"].as_u64().or_fail("a line"), message)
    };
    let told: Vec<_> = findings.iter().map(said).collect();
    for (code, name, line, words) in [
        ("PR-0004", "mistyped", 5, "did you mean 'reason'?"),
        ("PR-0004", "unknown", 15, "C-9999"),
        ("PR-0008", "policy", 20, "unknown key 'spec.rulez'"),
        ("PR-5001", "demo", 25, "'source.chart' is not supported yet"),
        ("PR-0001", "demo", 28, "did you mean 'Platform'?"),
    ] {
        let is_told = told.iter().any(|it| it.0 == code && it.1.contains(name) && it.2 == line && it.3.contains(words));
        assert!(is_told, "{code} {name} {line} {words}: {told:#?}");
    }
    assert_eq!(told.len(), 5, "{told:#?}");
    let standard_input = desk.run_with(&with(&ONE, &["-"]), &file[0]).expect_exit(10).json();
    assert_eq!(verdicts(&standard_input), ["PR-0004 fail"]);
    // A file that the configuration names is read, and told, as one of rules.
    desk.file("portreeve.yaml", "exceptions: [rules.yaml]\n");
    desk.file("rules.yaml", ours("Exception", "name: twice, namespace: d", &exception.replace("reason", "reson")));
    let named = desk.run(&with(&ONE, &["rules.yaml"])).expect_exit(10).json();
    assert_eq!(verdicts(&named).iter().filter(|it| **it == "PR-0004 fail").count(), 1, "{named:#}");
}

#[test]
fn a_pipe_is_read_only_where_the_shell_handed_it_over() {
    let desk = desk();
    run(Command::new("mkfifo").arg(desk.folder().join("pipe.yaml")));
    let said = desk.run(&with(&ONE, &["pipe.yaml"])).expect_exit(5).json();
    assert!(said.to_string().contains("not a regular file"), "{said:#}");
    let line = format!("exec {} check --control C-0057 <(cat web.yaml)", Portreeve::path().display());
    let output = Portreeve::finish(Command::new("bash").args(["-c", &line]).current_dir(desk.folder()));
    output.expect_exit(10);
}

#[test]
fn a_kind_that_its_group_does_not_have_is_unknown_and_never_passes() {
    let wrong = [
        ("v1", "Deployment"),
        ("apps/v1", "deployment"),
        ("apps/v1", "Pod"),
        ("apps/v1", "Deployments"),
        ("apps/v1", "Deploymnet"),
        ("v1", "Podd"),
        ("batch/v1", "CronJobs"),
    ];
    for (version, kind) in wrong {
        let desk = Desk::new();
        desk.file("web.yaml", PRIVILEGED.replace("apps/v1", version).replace("Deployment", kind));
        let report = desk.run(&with(&ONE, &["web.yaml"])).expect_exit(5).json();
        assert_eq!(verdicts(&report), ["PR-0001 unknown"], "{version} {kind}");
    }
}

#[test]
fn an_object_without_a_namespace_is_where_n_says_else_in_default() {
    let desk = desk();
    assert_eq!(subjects(&desk.run(&with(&ONE, &["web.yaml"])).json()), ["default/web"]);
    assert_eq!(subjects(&desk.run(&with(&ONE, &["-n", "jhub", "web.yaml"])).json()), ["jhub/web"]);
}

#[test]
fn two_objects_of_one_identity_are_both_judged() {
    let desk = desk();
    desk.file("again.yaml", desk.read("web.yaml"));
    let report = desk.run(&with(&ONE, &["web.yaml", "again.yaml"])).expect_exit(10).json();
    assert_eq!(report["findings"].as_array().unwrap().len(), 2);
}

#[test]
fn what_is_named_twice_is_read_once() {
    let desk = desk();
    let folder = desk.folder().display().to_string();
    let named = ["web.yaml", "./web.yaml", ".", &folder];
    let report = desk.run(&with(&ONE, &named)).expect_exit(10).json();
    assert_eq!(verdicts(&report), ["C-0057 fail"]);
}

#[test]
fn a_namespace_that_no_object_can_be_in_is_a_usage_error() {
    let desk = desk();
    for namespace in ["", "A/B", "a.b", "a-", &"a".repeat(64)] {
        for command in [&["check", "web.yaml"][..], &["gate", "web.yaml"], &["credentials", "list", "web.yaml"]] {
            let said = desk.run(&with(command, &["-n", namespace])).expect_exit(2).stderr;
            assert!(said.contains("is not a DNS-1123 label"), "{said}");
        }
    }
}

#[test]
fn what_the_files_do_not_hold_is_missing_unless_they_are_a_part() {
    let desk = desk();
    let whole = ["check", "--control", "C-0030", "--format", "json", "web.yaml"];
    let missing = desk.run(&whole).expect_exit(10).json();
    assert_eq!(verdicts(&missing), ["C-0030 fail", "C-0030 fail"]);
    let partial = desk.run(&with(&whole, &["--partial"])).expect_exit(0).json();
    assert_eq!(verdicts(&partial), ["C-0030 unknown", "C-0030 unknown"]);
    assert_eq!(partial["findings"][0]["cause"], "partial-input");
    assert!(partial["coverage"].as_f64().unwrap() < 1.0);
}

#[test]
fn a_framework_counts_the_controls_that_do_not_exist_yet_against_its_coverage() {
    let report = desk().run(&["check", "--framework", "nsa", "--format", "json", "web.yaml"]).expect_exit(10).json();
    let frameworks =
        report["findings"].as_array().or_fail("a report has findings").iter().map(|finding| &finding["frameworks"]);
    assert!(frameworks.into_iter().all(|ids| ids.as_array().unwrap().contains(&json!("nsa"))));
    let coverage = report["coverage"].as_f64().unwrap();
    assert!((0.3..0.7).contains(&coverage), "12 of 24 controls exist: {coverage}");
}

#[test]
fn parameters_are_ours_or_kubescapes() {
    let desk = desk();
    desk.file("kubescape.json", r#"{"postureControlInputs": {"imageRepositoryAllowList": ["example.org"]}}"#);
    desk.file("strict.yaml", "imageRepositoryAllowList: [registry.example.com]\n");
    let base = ["check", "--control", "C-0078", "--all-verdicts", "--format", "json", "web.yaml"];
    let cases: [(&[&str], i32, &str); 3] = [
        (&[], 0, "C-0078 unknown"),
        (&["--params", "kubescape.json"], 0, "C-0078 pass"),
        (&["--params", "strict.yaml"], 10, "C-0078 fail"),
    ];
    for (more, exit, verdict) in cases {
        assert_eq!(verdicts(&desk.run(&with(&base, more)).expect_exit(exit).json()), [verdict], "{more:?}");
    }
    desk.file("wrong.yaml", "imageRepositoryAlowList: [x]\n");
    let refused = desk.run(&with(&base, &["--params", "wrong.yaml"])).expect_exit(2);
    assert!(refused.stderr.contains("wrong.yaml:1:1"), "{}", refused.stderr);
    desk.file("wrong.yaml", "imageRepositoryAllowList: [1]\n");
    let said = desk.run(&with(&base, &["--params", "wrong.yaml"])).expect_exit(2).stderr;
    assert!(said.contains("must be a list of strings, not one with an integer"), "{said}");
    assert!(refused.stderr.contains("did you mean 'imageRepositoryAllowList'"), "{}", refused.stderr);
}

fn exception(name: &str, code: &str, expires: &str) -> String {
    format!(
        "---\napiVersion: portreeve.dev/v1alpha1\nkind: Exception\nmetadata: {{name: {name}, namespace: default}}\n\
         spec:\n  codes: [{code}]\n  subjects: {{kinds: [Deployment], names: [web]}}\n  owner: team-web\n  \
         reason: it drives the devices\n  expires: {expires}\n"
    )
}

#[test]
fn exceptions_except_and_the_unused_expired_and_invalid_are_findings() {
    let desk = desk();
    desk.file("used.yaml", exception("used", "C-0057", "2999-01-31"));
    let report = desk.run(&with(&ONE, &["--exceptions", "used.yaml", "web.yaml"])).expect_exit(0).json();
    assert_eq!(verdicts(&report), ["C-0057 excepted"]);
    assert_eq!(report["findings"][0]["owner"], "team-web");
    let unused = exception("unused", "C-0057", "2999-01-31").replace("names: [web]", "names: [other]");
    let text = unused + &exception("unasked", "C-0016", "2999-01-31") + &exception("expired", "C-0057", "2020-01-31");
    desk.file("spent.yaml", text);
    let report = desk.run(&with(&ONE, &["--exceptions", "spent.yaml", "web.yaml"])).expect_exit(10).json();
    assert_eq!(verdicts(&report), ["C-0057 fail", "PR-0002 fail", "PR-0003 fail"]);
    desk.file("invalid.yaml", exception("invalid", "C-0057", "2999-01-31").replace("owner: team-web", "owned: x"));
    let report = desk.run(&with(&ONE, &["--exceptions", "invalid.yaml", "web.yaml"])).expect_exit(10).json();
    assert_eq!(verdicts(&report), ["C-0057 fail", "PR-0004 fail"]);
    desk.file("unknown.yaml", exception("unknown", "C-1057", "2999-01-31"));
    let report = desk.run(&with(&ONE, &["--exceptions", "unknown.yaml", "web.yaml"])).expect_exit(10).json();
    assert_eq!(verdicts(&report), ["C-0057 fail", "PR-0004 fail"]);
    let said = report["findings"][1]["message"].as_str().unwrap();
    let words = "unknown.yaml:6:11: 'spec.codes[0]': there is no code 'C-1057' (did you mean 'C-0057'?)";
    assert!(said.contains(words), "{said}");
    let none = ["--fail-on", "none", "--exceptions", "used.yaml", "--exceptions", "missing.yaml", "web.yaml"];
    desk.run(&with(&ONE, &none)).expect_exit(2);
}

#[test]
fn exceptions_for_what_this_door_did_not_ask_are_not_told_as_unused() {
    let desk = desk();
    let of_cluster = |code: &str, kind: &str| {
        exception("e", code, "2999-01-31")
            .replace("[Deployment]", kind)
            .replace(", namespace: default", "")
            .replace("kind: Exception", "kind: ClusterException")
    };
    desk.file(
        "images.yaml",
        "apiVersion: portreeve.dev/v1alpha1\nkind: ImagePolicy\nmetadata: {name: p}\nspec: {mode: \
        enforce, noMatch: deny, rules: []}\n",
    );
    desk.file("portreeve.yaml", "images: {policy: images.yaml}\n");
    // Single controls leave secrets and credentials out; `check` judges no image and no platform; a token is asked for
    // at admission.
    let cases = [
        ("PR-4001", "[Credential]", &ONE[..]),
        ("PR-3001", "[File]", &ONE[..]),
        ("PR-1001", "[Image]", &["check", "--format", "json"][..]),
        ("PR-5005", "[Component]", &["check", "--format", "json"][..]),
        ("PR-3008", "[File]", &["check", "--format", "json"][..]),
        ("PR-4010", "[Credential]", &["check", "--format", "json"][..]),
    ];
    for (code, kind, command) in cases {
        desk.file("unasked.yaml", of_cluster(code, kind));
        let report = desk.run(&with(command, &["--exceptions", "unasked.yaml", "web.yaml"])).expect_exit(10).json();
        assert!(!verdicts(&report).iter().any(|it| it.starts_with("PR-0002")), "{code}: {report:#}");
    }
    // What was asked is told.
    for (code, kind) in [("PR-4001", "[Credential]"), ("PR-3001", "[File]")] {
        desk.file("unused.yaml", of_cluster(code, kind));
        let all = ["check", "--format", "json", "--exceptions", "unused.yaml", "web.yaml"];
        let report = desk.run(&all).expect_exit(10).json();
        assert!(verdicts(&report).contains(&"PR-0002 fail".to_owned()), "{code}: {report:#}");
    }
}

#[test]
fn an_exception_is_bound_to_its_namespace() {
    let desk = desk();
    desk.file("used.yaml", exception("used", "C-0057", "2999-01-31"));
    let arguments = with(&ONE, &["-n", "other", "--exceptions", "used.yaml", "web.yaml"]);
    assert_eq!(verdicts(&desk.run(&arguments).expect_exit(10).json()), ["C-0057 fail", "PR-0002 fail"]);
}

#[test]
fn fail_on_is_a_threshold_and_hides_no_finding() {
    let desk = desk();
    for (fail_on, exit) in [("low", 10), ("high", 10), ("critical", 0), ("none", 0)] {
        let output = desk.run(&with(&ONE, &["--fail-on", fail_on, "web.yaml"])).expect_exit(exit);
        assert_eq!(verdicts(&output.json()), ["C-0057 fail"], "{fail_on}");
    }
}

#[test]
fn low_coverage_exits_6_only_when_asked() {
    let desk = desk();
    let base = ["check", "--framework", "nsa", "--fail-on", "none", "web.yaml"];
    desk.run(&base).expect_exit(0);
    desk.run(&with(&base, &["--fail-coverage-below", "10"])).expect_exit(0);
    let low = desk.run(&with(&base, &["--fail-coverage-below", "99.5%"])).expect_exit(6);
    assert!(low.stderr.contains("coverage is"), "{}", low.stderr);
}

#[test]
fn all_verdicts_adds_what_passed_and_counts_stay_the_same() {
    let desk = desk();
    let open = desk.run(&["check", "--format", "json", "web.yaml"]).json();
    let all = desk.run(&["check", "--format", "json", "--all-verdicts", "web.yaml"]).json();
    assert_eq!(open["counts"], all["counts"]);
    let decided = |report: &Value| verdicts(report).iter().filter(|line| line.ends_with("pass")).count();
    assert_eq!((decided(&open), decided(&all) > 0), (0, true));
    assert_eq!(all["counts"]["pass"], decided(&all));
}

#[test]
fn names_that_do_not_exist_exit_2_with_the_nearest_that_does() {
    let desk = desk();
    let cases: [(&[&str], &str); 6] = [
        (&["--control", "C-057"], "did you mean 'C-0057'?"),
        (&["--framework", "nas"], "did you mean 'nsa'?"),
        (&["--format", "jsn"], "did you mean 'json'?"),
        (&["--fail-on", "hihg"], "critical, high, medium, low, none"),
        (&["--fail-coverage-below", "101"], "percentage"),
        (&["--format", "json", "--format", "sarif"], "only one --format"),
    ];
    for (more, said) in cases {
        let output = desk.run(&with(&["check", "web.yaml"], more)).expect_exit(2);
        assert!(output.stderr.contains(said), "{more:?}: {}", output.stderr);
        assert_eq!(output.stdout, "", "{more:?}");
    }
}

#[test]
fn several_formats_go_to_files_whole_and_readable_and_one_to_stdout() {
    let desk = desk();
    desk.file("report.json", "what was there before");
    let formats = ["--format", "json=report.json", "--format", "sarif=report.sarif", "--format", "prometheus"];
    let output = desk.run(&with(&["check", "web.yaml"], &formats)).expect_exit(10);
    assert!(output.stdout.contains("portreeve_verdict{verdict=\"fail\"} 1"), "{}", output.stdout);
    assert_eq!(desk.json("report.json")["schemaVersion"], "json-v1");
    assert_eq!(desk.json("report.sarif")["version"], "2.1.0");
    let mode = std::fs::metadata(desk.folder().join("report.json")).unwrap().permissions().mode();
    assert_eq!(mode & 0o444, 0o444, "others read reports too: {mode:o}");
    let left: Vec<_> = std::fs::read_dir(desk.folder()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left.len(), 3, "no temporary file is left: {left:?}");
}

#[test]
fn a_report_that_cannot_be_written_is_never_exit_0_and_leaves_the_old_one() {
    let desk = Desk::new();
    desk.file("config.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\n");
    desk.file("folder/file", "");
    desk.run(&["check", "--format", "json=folder", "config.yaml"]).expect_exit(1);
    desk.run(&["check", "--format", "json=folder/file/report.json", "config.yaml"]).expect_exit(1);
    assert!(desk.folder().join("folder/file").is_file());
}

#[test]
fn json_reports_hold_to_the_schema_that_list_prints() {
    let desk = desk();
    desk.file("broken.yaml", "kind: [");
    desk.file("used.yaml", exception("used", "C-0057", "2999-01-31"));
    let schema = desk.run(&["list", "schema"]).expect_exit(0).json();
    let validator = jsonschema::validator_for(&schema).or_fail("the published schema");
    let arguments = ["check", "--format", "json", "--all-verdicts", "--exceptions", "used.yaml", "."];
    let report = desk.run(&arguments).json();
    let problems: Vec<String> = validator.iter_errors(&report).map(|error| error.to_string()).collect();
    assert_eq!(problems, [""; 0]);
    let mut other = report.clone();
    other["findings"][0]["verdict"] = "perhaps".into();
    assert!(!validator.is_valid(&other), "the schema refuses what is no report");
}

/// What the multitool holds against a SARIF file, by the standard and by GitHub's rules. It exits 0 all the same.
fn sarif_errors(desk: &Desk, file: &str) -> Vec<String> {
    let mut multitool = Command::new(Part::path("sarif-multitool"));
    // Its launcher goes through a shell, for which the semicolon needs quotes.
    multitool.current_dir(desk.folder()).args(["validate", file, "--rule-kind", "'Sarif;Ghas'"]);
    let output = multitool.output().or_fail("running sarif-multitool");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(said.contains("1 files scanned"), "the multitool has not read the report: {said}");
    said.lines().filter(|line| line.contains(": error ")).map(str::to_owned).collect()
}

#[test]
fn sarif_reports_keep_the_rules_of_github() {
    let desk = desk();
    desk.file("broken.yaml", "kind: [");
    desk.run(&["check", "--format", "sarif=report.sarif", "."]).expect_exit(10);
    assert_eq!(sarif_errors(&desk, "report.sarif"), [""; 0]);
    desk.file("wrong.sarif", desk.read("report.sarif").replace("\"ruleId\"", "\"rule\""));
    assert!(!sarif_errors(&desk, "wrong.sarif").is_empty(), "the rules are looked at");
}

#[test]
fn prometheus_text_is_what_promtool_takes() {
    let desk = desk();
    desk.run(&["check", "--format", "prometheus=metrics.prom", "web.yaml"]).expect_exit(10);
    let mut promtool = Command::new(Part::path("promtool"));
    promtool.args(["check", "metrics"]).stdin(std::fs::File::open(desk.folder().join("metrics.prom")).unwrap());
    let output = promtool.output().or_fail("running promtool");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn nothing_to_check_is_exit_3_and_a_path_that_is_not_there_exit_2() {
    let desk = Desk::new();
    desk.file("empty.yaml", "# nothing\n---\n");
    desk.file("folder/readme.md", "");
    desk.run(&["check", "empty.yaml"]).expect_exit(3);
    desk.run(&["check", "folder"]).expect_exit(3);
    desk.run_with(&["check", "-"], "").expect_exit(3);
    desk.run(&["check", "missing.yaml"]).expect_exit(2);
    desk.run(&["check"]).expect_exit(2);
}

#[test]
fn an_unreadable_document_is_unknown_and_does_not_stop_the_others() {
    let desk = Desk::new();
    desk.file("mixed.yaml", format!("{PRIVILEGED}---\nkind: [\n---\n{}\n", pod("after")));
    let report = desk.run(&with(&ONE, &["mixed.yaml"])).expect_exit(10).json();
    assert_eq!(verdicts(&report), ["C-0057 fail", "C-0057 fail", "PR-0001 unknown"]);
    desk.file("only.yaml", "kind: [\n");
    let unknown = desk.run(&with(&ONE, &["only.yaml"])).expect_exit(5).json();
    assert_eq!(unknown["verdict"], "unknown");
}

/// Reads XML with a parser that is not ours, and counts elements by their names.
const COUNT_ELEMENTS: &str = "
import collections, json, sys, xml.etree.ElementTree as tree
print(json.dumps(collections.Counter(element.tag for element in tree.parse(sys.argv[1]).iter())))
";

#[test]
fn junit_is_xml_whose_failures_are_those_of_the_gate() {
    let desk = desk();
    desk.file("bad.yaml", "kind: [");
    let hostile = r#""x\u001b[2J]]><script>\uFFFE""#;
    desk.file("hostile.yaml", PRIVILEGED.replace("name: web\n", &format!("name: {hostile}\n")));
    let report =
        desk.run(&["check", "--format", "json", "--format", "junit=out.xml", "--format", "html=out.html", "."]);
    let report = report.expect_exit(10).json();
    let mut python = Command::new("python3");
    let counted = python.args(["-c", COUNT_ELEMENTS, "out.xml"]).current_dir(desk.folder());
    let counted: Value = serde_json::from_str(&run(counted)).or_fail("what python read");
    let of = |verdict: &str| report["counts"][verdict].as_u64().or_fail(verdict);
    // The whole is a test case of its own.
    assert_eq!(counted["failure"].as_u64(), Some(of("fail") + 1), "{counted}");
    // The broken file; what only a parameter could answer is skipped.
    assert_eq!((of("error"), counted["error"].as_u64()), (0, Some(1)), "{counted}");
    assert_eq!(counted["skipped"].as_u64(), Some(of("unknown") - 1), "{counted}");
    let page = desk.read("out.html");
    assert!(page.starts_with("<!DOCTYPE html>") && page.contains("<h1>Verdict: fail</h1>"), "{page}");
    assert!(!page.contains("<script") && page.contains("C-0057"), "{page}");
}

#[test]
fn explain_names_what_to_read_more() {
    let said = desk().run(&["explain", "C-0057"]).expect_exit(0).stdout;
    assert!(said.contains("References:\n  https://"), "{said}");
}

#[test]
fn a_report_goes_through_a_link_and_never_replaces_what_is_no_file() {
    let folder = scratch("report");
    let manifest = folder.join("pod.yaml");
    std::fs::write(&manifest, "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n").or_fail("a manifest");
    let report = |target: &std::path::Path| {
        let format = format!("json={}", target.display());
        Portreeve::run([OsStr::new("check"), manifest.as_os_str(), OsStr::new("--format"), OsStr::new(&format)])
    };
    let (file, link) = (folder.join("report.json"), folder.join("link.json"));
    std::fs::write(&file, "old").or_fail("a file");
    std::os::unix::fs::symlink(&file, &link).or_fail("a link");
    assert_eq!(report(&link).code, Some(0));
    assert!(link.is_symlink());
    assert!(std::fs::read_to_string(&file).or_fail("the report").contains("json-v1"));

    let pipe = folder.join("pipe");
    run(Command::new("mkfifo").arg(&pipe));
    let reading = pipe.clone();
    let reader = std::thread::spawn(move || std::fs::read_to_string(reading));
    assert_eq!(report(&pipe).code, Some(0));
    let read = reader.join().ok().or_fail("the reader ends").or_fail("what came through the pipe");
    assert!(read.contains("json-v1"));
    assert!(std::fs::metadata(&pipe).or_fail("the pipe").file_type().is_fifo(), "it is still a pipe");

    let twice = Portreeve::run(["check", "--format", "json=a", "--format", "sarif=a", "."]);
    assert_eq!(twice.code, Some(2), "{twice:?}");
}
