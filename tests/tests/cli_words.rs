//! Exit codes, configuration, `explain` and `list` on the built binary.

use portreeve_tests::binary::Portreeve;
use portreeve_tests::cosign::{Cosign, Storage};
use portreeve_tests::desk::{Desk, PRIVILEGED};
use portreeve_tests::hostile::{self, Manner};
use portreeve_tests::process::free_port;
use portreeve_tests::registry::Registry;
use serde_json::json;

#[tokio::test]
async fn every_exit_code_that_a_command_can_come_to_is_reached() {
    let registry = Registry::with_referrers().await;
    let (signer, stranger) = (Cosign::new(registry.docker_config()), Cosign::new(registry.docker_config()));
    let (signed, unsigned) = (registry.push_image("demo/signed:1"), registry.push_image("demo/unsigned:1"));
    signer.sign(&signed, Storage::Tag);
    let refusing = hostile::registry(Manner::Refuses(403));
    let desk = Desk::new();
    desk.file("web.yaml", PRIVILEGED);
    desk.file("clean.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\n");
    desk.file("broken.yaml", "kind: [");
    desk.file("empty.yaml", "");
    desk.file(
        "token.yaml",
        "apiVersion: v1\nkind: Secret\nmetadata: {name: t, annotations: {kubernetes.io/service-account.name: default}}\n\
         type: kubernetes.io/service-account-token\n",
    );
    desk.file("folder/file.txt", "");
    desk.file(
        "image-policy.yaml",
        "apiVersion: portreeve.dev/v1alpha1\nkind: ImagePolicy\nmetadata: {name: default}\nspec: {mode: enforce, noMatch: \
         deny, rules: []}\n",
    );
    let (key, other) = (signer.public_key(), stranger.public_key());
    let (key, other) = (key.to_str().unwrap(), other.to_str().unwrap());
    let http = ["--plain-http", registry.host()];
    let forbidden = format!("{refusing}/demo/app:1");
    let table: [(i32, Vec<&str>); 13] = [
        (0, vec!["check", "clean.yaml"]),
        (0, [&["verify", "--key", key], &http[..], &[&signed]].concat()),
        (1, vec!["check", "--format", "json=folder/file.txt/report.json", "clean.yaml"]),
        (2, vec!["check", "--control", "C-9999", "clean.yaml"]),
        (3, vec!["check", "empty.yaml"]),
        (4, vec!["verify", "--key", key, "--plain-http", &refusing, &forbidden]),
        (5, vec!["check", "broken.yaml"]),
        (6, vec!["check", "--framework", "nsa", "--fail-on", "none", "--fail-coverage-below", "100", "web.yaml"]),
        (10, vec!["check", "web.yaml"]),
        (11, [&["verify", "--key", key], &http[..], &[&unsigned]].concat()),
        (12, [&["verify", "--key", other], &http[..], &[&signed]].concat()),
        (13, [&["gate", "--image-policy", "image-policy.yaml"], &http[..], &[&signed]].concat()),
        // 14 needs an identity: tests/cli_gate.rs.
        (15, vec!["gate", "token.yaml"]),
    ];
    for (code, arguments) in table {
        let output = desk.run(&arguments).expect_exit(code);
        assert!(
            output.stderr.lines().all(|line| line.starts_with("portreeve: ") || line.starts_with("  ")),
            "{}",
            output.stderr
        );
    }
}

#[test]
fn check_of_a_cluster_that_refuses_everything_is_exit_4_and_of_one_that_cannot_be_asked_exit_5() {
    let nobody = format!("127.0.0.1:{}", free_port());
    let there = |manner| hostile::registry(manner);
    for (exit, server, words) in [
        (4, there(Manner::Refuses(401)), "answered 401"),
        (4, there(Manner::Refuses(403)), "answered 403"),
        (5, there(Manner::Refuses(500)), "answered 500"),
        (5, there(Manner::Truncates), ""),
        (5, there(Manner::Hangs), "not listed in time"),
        (5, nobody, "refused"),
    ] {
        let desk = Desk::new();
        let kubeconfig = json!({"apiVersion": "v1", "kind": "Config", "current-context": "it",
            "contexts": [{"name": "it", "context": {"cluster": "it", "user": "it"}}],
            "clusters": [{"name": "it", "cluster": {"server": format!("http://{server}")}}],
            "users": [{"name": "it", "user": {"token": "wrong"}}]});
        desk.file("kubeconfig", kubeconfig.to_string());
        desk.file("portreeve.yaml", "cluster: {kubeconfig: kubeconfig}\n");
        let said = desk.run(&["check", "--timeout", "2s", "cluster"]).expect_exit(exit).stderr;
        assert!(said.contains("could not be asked for any kind of objects: ") && said.contains(words), "{said}");
        assert!(!said.trim_end().ends_with(':'), "{said}");
    }
}

#[test]
fn a_mistyped_command_or_flag_is_exit_2_and_help_is_exit_0_with_the_exit_codes() {
    let desk = Desk::new();
    for arguments in [&["chek"][..], &[], &["check", "--contrl", "x", "."], &["check", "--timeout", "3", "."]] {
        let output = desk.run(arguments).expect_exit(2);
        assert_eq!(output.stdout, "", "{arguments:?}");
    }
    let help = desk.run(&["--help"]).expect_exit(0);
    assert!(help.stdout.contains("Exit codes: 0 verdict reached"), "{}", help.stdout);
    assert!(desk.run(&["--version"]).expect_exit(0).stdout.starts_with("portreeve 0."));
}

#[test]
fn config_show_names_where_each_value_comes_from() {
    let desk = Desk::new();
    desk.file("portreeve.yaml", "posture:\n  frameworks: [nsa]\nhttp: {listen: '127.0.0.1:1'}\n");
    desk.file("below/deep/here.txt", "");
    let mut command = desk.command(&["config", "show", "--origin"]);
    command.current_dir(desk.folder().join("below/deep")).env("PORTREEVE_HTTP__LISTEN", "127.0.0.1:2");
    let shown = Portreeve::finish(&mut command).expect_exit(0).stdout;
    let lines: Vec<&str> = shown.lines().collect();
    assert!(lines[2..].iter().all(|line| line.ends_with("  # default")), "{shown}");
    assert!(lines.contains(&"http.metricsListen: \"127.0.0.1:8081\"  # default"), "{shown}");
    assert!(lines[0].starts_with("posture.frameworks: [\"nsa\"]  # "), "{shown}");
    assert!(lines[0].ends_with("portreeve.yaml:2:15"), "{shown}");
    assert_eq!(lines[1], "http.listen: \"127.0.0.1:2\"  # PORTREEVE_HTTP__LISTEN");
}

#[test]
fn config_beats_the_nearest_file_and_the_search_ends_at_the_repository_root() {
    let desk = Desk::new();
    desk.file("portreeve.yaml", "telemetry: {log: outside=info}\n");
    desk.file("repository/.git/HEAD", "");
    desk.file("explicit.yaml", "telemetry: {log: explicit=info}\n");
    let shown = |arguments: &[&str]| {
        let mut command = desk.command(&["config", "show"]);
        command.args(arguments).current_dir(desk.folder().join("repository"));
        Portreeve::finish(&mut command).expect_exit(0).stdout
    };
    assert_eq!(shown(&[]), "");
    assert_eq!(shown(&["--config", "../explicit.yaml"]), "telemetry.log: \"explicit=info\"\n");
}

#[test]
fn all_mistakes_of_a_configuration_come_at_once_with_place_and_nearest_word() {
    let desk = Desk::new();
    desk.file("portreeve.yaml", "imgaes: {}\nposture:\n  failOn: sometimes\nimages: {outageGrace: 1h}\n");
    desk.file("web.yaml", PRIVILEGED);
    for arguments in [&["config", "show"][..], &["check", "web.yaml"], &["gate", "web.yaml"], &["serve"]] {
        let said = desk.run(arguments).expect_exit(2).stderr;
        for part in [
            "portreeve.yaml:1:1: unknown key 'imgaes'; did you mean 'images'?",
            "portreeve.yaml:3:11: 'posture.failOn'",
            "portreeve.yaml:4:23: 'images.outageGrace' is not supported yet",
        ] {
            assert!(said.contains(part), "{arguments:?}: {said}");
        }
    }
    desk.run(&["config", "show", "--config", "missing.yaml"]).expect_exit(2);
}

#[test]
fn a_folder_as_cluster_takes_no_platform_and_no_secrets_and_says_so_among_the_other_mistakes() {
    let desk = Desk::new();
    ["manifests/web.yaml", "platform.yaml", "hub.sops.yaml"].iter().for_each(|file| drop(desk.file(file, "")));
    desk.file(
        "portreeve.yaml",
        "cluster: {folder: manifests}\nplatform: {file: platform.yaml}\nsecrets: {sync: [{file: \
         hub.sops.yaml}]}\nposture: {failOn: some}\n",
    );
    for arguments in [&["config", "show"][..], &["serve"]] {
        let said = desk.run(arguments).expect_exit(2).stderr;
        for part in [
            "portreeve.yaml:2:18: 'platform' needs an API server to deploy to, and 'cluster.folder' names a folder",
            "portreeve.yaml:3:25: 'secrets.sync' needs an API server to write to",
            "portreeve.yaml:4:19: 'posture.failOn'",
        ] {
            assert!(said.contains(part), "{arguments:?}: {part} in\n{said}");
        }
    }
}

#[test]
fn what_is_wrong_inside_of_named_files_comes_at_once_over_all_files() {
    let desk = Desk::new();
    desk.file("manifests/web.yaml", PRIVILEGED);
    desk.file("params.yaml", "no_such_parameter: [a]\ncpu_request_max: 3\nallowedHostPaths: [\n");
    desk.file("bad.pub", "no key");
    desk.file(
        "policy.yaml",
        "apiVersion: portreeve.dev/v1alpha1\nkind: ImagePolicy\nmetadata: {name: p}\nspec:\n  mode: enforce\n  noMatch: \
         deny\n  rules:\n  - name: ours\n    images: ['quay.io/**']\n    authorities:\n      list:\n      - {name: a, key: \
         {file: bad.pub}}\n      - {name: b, key: {file: missing.pub}}\n",
    );
    let exception = "apiVersion: portreeve.dev/v1alpha1\nkind: Exception\nmetadata: {name: e, namespace: d}\nspec: {codes: \
                     [C-0057], owner: o, reasn: r}\n";
    desk.file("exceptions.yaml", exception);
    desk.file(
        "other.yaml",
        "apiVersion: portreeve.dev/v1alpha1\nkind: Platform\nmetadata: {name: p}\nspec: {components: []}\n",
    );
    desk.file("docker.json", "{");
    desk.file("age.key", "no identity");
    desk.file("platform.yaml", "kind: [\n");
    let rules = "registries: [{host: r.example.org, credentials: {dockerConfig: docker.json}}]\nimages: {policy: \
                 policy.yaml}\nposture: {params: params.yaml}\nexceptions: [exceptions.yaml, other.yaml]\n";
    let all = [
        "params.yaml:",
        "policy.yaml:12:",
        "bad.pub",
        "policy.yaml:13:",
        "missing.pub",
        "reasn",
        "other.yaml",
        "docker.json",
    ];
    let folder = "cluster: {folder: manifests}\n";
    let rest = "secrets: {identities: [{file: age.key}]}\nplatform: {file: platform.yaml}\n";
    for (arguments, config, more) in [
        (&["serve"][..], format!("{folder}{rules}"), &[][..]),
        (&["config", "show"], format!("{rules}{rest}"), &["age.key", "platform.yaml:"]),
    ] {
        desk.file("portreeve.yaml", config);
        let said = desk.run(arguments).expect_exit(2).stderr;
        for part in all.iter().chain(more) {
            assert!(said.contains(part), "{arguments:?}: {part} in\n{said}");
        }
    }
    desk.file("portreeve.yaml", format!("{folder}exceptions: [exceptions.yaml]\n"));
    let said = desk.run(&["config", "show"]).expect_exit(2).stderr;
    assert!(said.contains("exceptions.yaml:4:") && said.contains("did you mean 'reason'?"), "{said}");
}

#[test]
fn a_configuration_beyond_the_cap_is_told_the_cap_and_no_size_that_nobody_knows() {
    let desk = Desk::new();
    desk.file("portreeve.yaml", format!("posture: {{}}\n{}", "#".repeat(50 << 20)));
    let said = desk.run(&["config", "show"]).expect_exit(2).stderr;
    assert!(said.contains("more than 1 MiB, the most that is read"), "{said}");
    assert!(!said.contains("1048577"), "{said}");
}

#[test]
fn files_that_a_configuration_names_and_a_command_uses_are_missed_all_at_once() {
    let desk = Desk::new();
    desk.file("web.yaml", PRIVILEGED);
    desk.file("bad/not-a-folder", "");
    desk.file(
        "portreeve.yaml",
        "cluster: {kubeconfig: bad/kubeconfig}\nregistries:\n- {host: r.example.org, caFile: bad/ca.pem, credentials: \
         {dockerConfig: bad/docker.json}}\nimages: {policy: bad/policy.yaml}\nposture: {params: bad/params.yaml, \
         frameworks: [nsaa], enforce: [pss-restricted]}\nexceptions: [bad, bad/not-a-folder/e.yaml]\nsecrets: {identities: \
         [{file: bad/age.key}], sync: [{file: bad/hub.sops.yaml}]}\nplatform: {file: bad/platform.yaml}\ntelemetry: {log: \
         'x=loud'}\n",
    );
    let judging = [
        "portreeve.yaml:3:33: 'registries[0].caFile': ",
        "portreeve.yaml:3:73: 'registries[0].credentials.dockerConfig': ",
        "portreeve.yaml:4:18: 'images.policy': ",
        "portreeve.yaml:5:19: 'posture.params': ",
        "portreeve.yaml:5:49: 'posture.frameworks[0]': there is no framework 'nsaa' (did you mean 'nsa'?)",
        "portreeve.yaml:5:66: 'posture.enforce[0]': the framework 'pss-restricted' does not exist yet",
        "portreeve.yaml:6:14: 'exceptions[0]': ",
        "portreeve.yaml:6:19: 'exceptions[1]': ",
        "portreeve.yaml:9:18: 'telemetry.log': 'x=loud' is not a log filter",
    ];
    let daemon = [
        "portreeve.yaml:1:23: 'cluster.kubeconfig': ",
        "'secrets.identities[0].file': ",
        "'secrets.sync[0].file': ",
        "portreeve.yaml:8:18: 'platform.file': ",
    ];
    for (arguments, uses_all) in [
        (&["check", "web.yaml"][..], false),
        (&["gate", "web.yaml"], false),
        (&["serve"], true),
        (&["config", "show"], true),
    ] {
        let said = desk.run(arguments).expect_exit(2).stderr;
        judging.iter().for_each(|part| assert!(said.contains(part), "{arguments:?}: {part} in\n{said}"));
        daemon.iter().for_each(|part| assert_eq!(said.contains(part), uses_all, "{arguments:?}: {part} in\n{said}"));
    }
    let cluster = desk.run(&["check", "cluster"]).expect_exit(2).stderr;
    assert!(cluster.contains(daemon[0]), "{cluster}");
}

#[test]
fn explain_says_why_how_to_fix_and_how_to_except_and_the_exception_is_accepted_as_printed() {
    let desk = Desk::new();
    desk.file("web.yaml", PRIVILEGED);
    for (code, kind) in [("C-0057", "kind: Exception\n"), ("PR-1001", "kind: ClusterException\n")] {
        let said = desk.run(&["explain", code]).expect_exit(0).stdout;
        assert!(said.contains("\nWhy: ") && said.contains("\nFix: "), "{said}");
        let (_, template) = said.split_once("apiVersion:").unwrap();
        assert!(template.contains(kind), "{template}");
        let filled = template.replace("CHOOSE-A-NAME", "a").replace("2027-01-31", "2999-01-31");
        let filled = filled.replace("NAMESPACE", "default").replace("[NAME]", "[web]");
        desk.file(&format!("{code}.yaml"), format!("apiVersion:{filled}"));
    }
    let except = |file: &str| desk.run(&["check", "--control", "C-0057", "--exceptions", file, "web.yaml"]);
    except("C-0057.yaml").expect_exit(0);
    let said = except("PR-1001.yaml").expect_exit(10).stdout;
    assert!(!said.contains("PR-000"), "valid, and about what is not asked here: {said}");
    for (code, subjects) in [
        ("PR-3001", "kinds: [File], names: [PATH]"),
        ("PR-4001", "kinds: [Credential], names: [NAMESPACE/KIND/NAME]"),
        ("PR-5002", "kinds: [Component], names: [PLATFORM/COMPONENT]"),
    ] {
        let said = desk.run(&["explain", code]).expect_exit(0).stdout;
        assert!(said.contains("kind: ClusterException\n") && said.contains(subjects), "{said}");
    }
    for code in (1..=8).map(|number| format!("PR-000{number}")) {
        let said = desk.run(&["explain", &code]).expect_exit(0).stdout;
        assert!(said.ends_with("\nExcept: no exception reaches it; the fix resolves it.\n"), "{said}");
    }
    let unknown = desk.run(&["explain", "C-057"]).expect_exit(2);
    assert!(unknown.stderr.contains("did you mean 'C-0057'?"), "{}", unknown.stderr);
}

#[test]
fn every_listed_code_can_be_explained() {
    let desk = Desk::new();
    let codes = desk.run(&["list", "codes"]).expect_exit(0).stdout;
    let controls = desk.run(&["list", "controls"]).expect_exit(0).stdout;
    assert_eq!(controls.lines().count(), 28);
    assert!(codes.ends_with(&controls));
    for line in codes.lines() {
        desk.run(&["explain", line.split_whitespace().next().unwrap()]).expect_exit(0);
    }
    let frameworks = desk.run(&["list", "frameworks"]).expect_exit(0).stdout;
    assert!(frameworks.starts_with("nsa ") && frameworks.contains("12 of 24 controls (not yet: "), "{frameworks}");
}

#[test]
fn shells_get_completions_and_readers_a_manual_of_each_command() {
    let desk = Desk::new();
    for shell in ["bash", "zsh", "fish"] {
        let script = desk.run(&["completions", shell]).expect_exit(0).stdout;
        assert!(script.contains("portreeve") && script.contains("fail-on"), "{shell}");
    }
    let page = desk.run(&["man", "image", "sign"]).expect_exit(0).stdout;
    assert!(page.contains(".TH portreeve-image-sign 1") && page.contains("Sign an image"), "{page}");
    assert!(desk.run(&["man", "chek"]).expect_exit(2).stderr.contains("no command 'chek'"));
}

#[test]
fn the_help_of_every_command_begins_with_examples() {
    let mut waiting = vec![Vec::<String>::new()];
    let mut seen = 0;
    while let Some(command) = waiting.pop() {
        let help = Portreeve::run(command.iter().map(String::as_str).chain(["--help"])).stdout;
        let (about, rest) = help.split_once("Usage:").unwrap();
        assert!(about.contains("Examples:\n  portreeve"), "{command:?}: {help}");
        seen += 1;
        let Some((_, commands)) = rest.split_once("Commands:\n") else { continue };
        let names = commands.split("\n\n").next().unwrap().lines().filter(|line| !line.starts_with("   "));
        for name in names.filter_map(|line| line.split_whitespace().next()).filter(|name| *name != "help") {
            waiting.push(command.iter().cloned().chain([name.to_owned()]).collect());
        }
    }
    assert!(seen > 25, "{seen}");
}
