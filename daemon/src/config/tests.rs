//! What the configuration reads, refuses and says.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value;

use super::files::NamedFile;
use super::load::parse;
use super::schema::schema;
use super::valid::{AdmissionScope, ClusterRead, LeaderConfig, PlatformSource, SecretTarget, SyncMode};
use super::{LoadedConfig, duration, show};

fn environment(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn parsed(text: &str, variables: &[(&str, &str)]) -> Result<LoadedConfig, String> {
    parse(Some("conf/portreeve.yaml".into()), text.as_bytes().to_vec(), &environment(variables), &|_| Ok(()))
        .map_err(|error| error.to_string())
}

#[test]
fn all_mistakes_come_at_once_with_their_places() {
    let text = "cluster: {folder: a, kubeconfig: b}\nhtpp: {}\nposture:\n  failOn: sometimes\nstore:\n  urll: x\n\
                images: {outageGrace: 24h}\n";
    let said = parsed(text, &[]).unwrap_err();
    assert_eq!(
        said,
        "conf/portreeve.yaml:1:19: 'cluster' takes one of kubeconfig and folder, not both\n\
         conf/portreeve.yaml:2:1: unknown key 'htpp'; did you mean 'http'?\n\
         conf/portreeve.yaml:4:11: 'posture.failOn': 'sometimes' is not one of critical, high, medium, low, none\n\
         conf/portreeve.yaml:6:3: unknown key 'store.urll'; did you mean 'url'?\n\
         conf/portreeve.yaml:7:23: 'images.outageGrace' is not supported yet by this version; remove it"
    );
}

#[test]
fn the_environment_lays_over_the_file_and_names_itself_in_problems() {
    let loaded = parsed("http: {listen: '127.0.0.1:1'}\n", &[("PORTREEVE_HTTP__LISTEN", "127.0.0.1:2")]).unwrap();
    assert_eq!(loaded.config.http_listen.port(), 2);
    let said = parsed("", &[("PORTREEVE_HTTP__METRICS_LISTEN", "nowhere")]).unwrap_err();
    assert!(said.contains("PORTREEVE_HTTP__METRICS_LISTEN: 'http.metricsListen'"), "{said}");
    assert!(parsed("", &[("PORTREEVE_HTPP__LISTEN", "x")]).is_err());
    assert!(parsed("", &[("PORTREEVE_PARTS", "/x")]).is_ok());
}

#[test]
fn a_deadline_that_the_api_server_does_not_wait_for_is_refused() {
    let text = |deadline: &str| format!("admission: {{deadline: {deadline}, tls: {{certFile: a, keyFile: b}}}}\n");
    assert!(parsed(&text("9s"), &[]).is_ok());
    let said = parsed(&text("5m"), &[]).unwrap_err();
    assert_eq!(
        said,
        "conf/portreeve.yaml:1:23: 'admission.deadline' is at most 9s: the API server stops waiting after 10 s \
         (timeoutSeconds)"
    );
}

#[test]
fn paths_are_relative_to_the_file_and_the_dashboard_stays_on_loopback() {
    let loaded = parsed("cluster: {folder: manifests}\nexceptions: [e.yaml]\n", &[]).unwrap();
    assert_eq!(loaded.config.exceptions, [PathBuf::from("conf/e.yaml")]);
    assert_eq!(loaded.config.store_url, "sqlite://conf/portreeve.db");
    let said = parsed("http: {listen: '0.0.0.0:8080'}\n", &[]).unwrap_err();
    assert!(said.contains("stays on loopback"), "{said}");
}

#[test]
fn the_strictest_mode_of_all_matching_globs_holds_and_warn_is_the_default() {
    let text = "admission:\n  tls: {certFile: a, keyFile: b}\n  exemptNamespaces: [kube-*]\n  namespaces:\n\
                \x20   - {match: ['*'], mode: audit}\n    - {match: [jhub, 'dev-*'], mode: enforce}\n";
    let scope = parsed(text, &[]).unwrap().config.admission.unwrap().scope;
    use portreeve_reports::Effect;
    assert_eq!(scope.mode_of("dev-x"), Effect::Block);
    assert_eq!(scope.mode_of("other"), Effect::Audit);
    assert_eq!(AdmissionScope::default().mode_of("other"), Effect::Warn);
    assert!(scope.is_exempt("kube-system") && !scope.is_exempt("my-kube-x"));
}

#[test]
fn the_sections_of_what_writes_are_read_with_their_defaults() {
    let text = "secrets:\n  identities: [{file: age.key}]\n  clusterRead: off\n  sync:\n\
                \x20   - {file: hub.sops.yaml, namespace: jhub, name: hub, type: Opaque}\n\
                \x20   - {file: whole.yaml, mode: detect}\nplatform: {file: platform.yaml}\n";
    let config = parsed(text, &[]).unwrap().config;
    assert_eq!(config.secrets.identities, [PathBuf::from("conf/age.key")]);
    assert_eq!(config.secrets.cluster_read, ClusterRead::Off);
    let [hub, whole] = &config.secrets.sync[..] else { unreachable!() };
    assert_eq!(hub.target, Some(SecretTarget { namespace: "jhub".into(), name: "hub".into() }));
    assert_eq!((hub.mode, hub.secret_type.as_deref()), (SyncMode::Correct, Some("Opaque")));
    assert_eq!((&whole.target, whole.mode), (&None, SyncMode::Detect));
    let platform = config.platform.unwrap();
    assert_eq!(
        (platform.source, platform.interval),
        (PlatformSource::File("conf/platform.yaml".into()), Duration::from_secs(60))
    );
    assert_eq!(config.credentials.max_token_lifetime, Duration::from_secs(24 * 3600));
    assert_eq!(config.credentials.warn_before_expiry, Duration::from_secs(14 * 24 * 3600));
    let leader = LeaderConfig { namespace: "portreeve-system".into(), lease: "portreeve".into() };
    assert_eq!(config.leader, leader);
    assert_eq!(parsed("", &[]).unwrap().config.platform, None);
}

#[test]
fn mistakes_behind_an_item_that_is_left_out_name_their_own_item() {
    let text = "secrets:\n  sync:\n    - {namespace: ns, name: s}\n    - [a]\n    - {file: c, namespace: J, name: s}\n";
    let said = parsed(text, &[]).unwrap_err();
    assert!(said.contains("'secrets.sync[2].namespace': 'J'"), "{said}");
}

#[test]
fn a_platform_is_a_file_or_a_resource_with_a_folder() {
    let platform = |keys: &str| parsed(&format!("platform: {{{keys}}}\n"), &[]);
    let source = platform("resource: demo, folder: manifests").unwrap().config.platform.unwrap().source;
    assert_eq!(source, PlatformSource::Resource { name: "demo".into(), folder: "conf/manifests".into() });
    for (keys, said) in [
        ("file: a, resource: demo", "1:31: 'platform.resource' and 'platform.file' exclude each other"),
        ("file: a, folder: b", "1:29: 'platform.folder' goes with 'platform.resource'"),
        ("resource: demo", "1:22: 'platform.resource' needs 'platform.folder'"),
        ("resource: a.b, folder: b", "1:22: 'platform.resource': 'a.b' is not a DNS-1123 label"),
        ("interval: 1m", "1:11: 'platform' needs 'file', or 'resource' with 'folder'"),
    ] {
        let refused = platform(keys).unwrap_err();
        assert!(refused.contains(said), "{keys}: {refused}");
    }
}

#[test]
fn mistakes_of_the_sections_of_what_writes_have_places_and_hints() {
    let text = "secrets:\n  identities: [{path: a}]\n  clusterRead: metdata\n  sync:\n\
                \x20   - {file: a, namespace: jhub}\n    - {file: b, namespace: J, name: hub, mode: fix}\n\
                \x20   - {file: c, namespace: ns, name: s}\n    - {file: d, namespace: ns, name: s}\n\
                credentials: {maxTokenLifetime: 1 fortnight, warnBeforeExpiry: 0s}\n\
                platform: {file: p, interval: 10ms}\nleader: {namespace: a.b, lease: '-'}\n";
    let said = parsed(text, &[]).unwrap_err();
    let expected = [
        "2:16: 'secrets.identities[0].file' is missing",
        "2:17: unknown key 'secrets.identities[0].path'",
        "3:16: 'secrets.clusterRead': 'metdata' is not one of off, metadata, full; did you mean 'metadata'?",
        "5:28: 'secrets.sync[0]' takes namespace and name both, or neither for a file that is a manifest of a Secret",
        "6:28: 'secrets.sync[1].namespace': 'J' is not a DNS-1123 label: lower-case letters, digits and '-', at most \
         63 characters",
        "6:48: 'secrets.sync[1].mode': 'fix' is not one of correct, detect",
        "8:38: 'secrets.sync[3]': the Secret ns/s is that of 'secrets.sync[2]' already",
        "9:33: 'credentials.maxTokenLifetime': '1 fortnight' is not a duration such as 8s, 5m, 1h30m or 14d",
        "9:64: 'credentials.warnBeforeExpiry': '0s' is no time; it must be more than 0",
        "10:31: 'platform.interval' is at least 1s",
        "11:21: 'leader.namespace': 'a.b' is not a DNS-1123 label: lower-case letters, digits and '-', at most 63 \
         characters",
        "11:33: 'leader.lease': '-' is not a DNS-1123 subdomain: lower-case letters, digits and '-' in parts joined \
         by '.', at most 253 characters",
    ];
    let expected: Vec<String> = expected.iter().map(|line| format!("conf/portreeve.yaml:{line}")).collect();
    assert_eq!(said.lines().collect::<Vec<_>>(), expected);
}

#[test]
fn a_store_is_a_file_or_a_postgres_server_and_a_wrong_url_is_not_repeated() {
    let url = "postgres://portreeve@db.example.org/portreeve";
    assert_eq!(parsed(&format!("store: {{url: '{url}'}}\n"), &[]).unwrap().config.store_url, url);
    for wrong in ["mysql://user:hunter2@h/db", "postgres://user:hunter2@h/db"] {
        let said = parsed(&format!("store: {{url: '{wrong}'}}\n"), &[]).unwrap_err();
        assert!(said.starts_with("conf/portreeve.yaml:1:14: 'store.url': ") && !said.contains("hunter2"), "{said}");
    }
}

#[test]
fn durations_are_written_in_seconds_minutes_hours_and_days() {
    let seconds = |text| duration(text).map(|duration| duration.as_secs());
    assert_eq!(
        [seconds("8s"), seconds("5m"), seconds("1h30m"), seconds("14d")],
        [Some(8), Some(300), Some(5_400), Some(1_209_600)]
    );
    assert_eq!([seconds("1mo"), seconds("-5s"), seconds(""), seconds("5")], [None; 4]);
}

#[test]
fn values_that_do_not_go_together_are_problems_with_places() {
    let text = "cluster: {folder: f}\nregistries: [{host: 'http://x'}, {host: r:443, plainHttp: true}, {host: a.io}, {host: a.io:443}]\n\
                images: {rescan: '0 0 3 * * * 2027'}\nadmission:\n  listen: 0.0.0.0:8081\n  namespaces: [{match: []}]\n\
                http: {listen: 127.0.0.1:8081}\n";
    let said = parsed(text, &[]).unwrap_err();
    let expected = [
        "1:19: 'admission' needs 'tls.certFile' and 'tls.keyFile' beside 'cluster.folder': a folder has no Secret for a \
         certificate of our own",
        "2:21: 'registries[0].host': registry host 'http://x' is not a host with an optional port",
        "2:41: 'registries[1].host': registry host 'r:443' has the port of https; plain http needs another one",
        "2:87: 'registries[3].host': 'a.io:443' is that of 'registries[2]' already; merge the two",
        "3:18: 'images.rescan': '0 0 3 * * * 2027' has 7 fields; a cron schedule has five: minute, hour, day of the \
         month, month, day of the week; or six, with seconds before them",
        "5:11: 'http.listen' and 'admission.listen' cannot both listen on port 8081: 127.0.0.1:8081 and 0.0.0.0:8081",
        "5:11: 'http.metricsListen' and 'admission.listen' cannot both listen on port 8081: 127.0.0.1:8081 and \
         0.0.0.0:8081",
        "6:16: 'admission.namespaces[0].match' names no namespace; '*' is for all",
        "6:16: 'admission.namespaces': 'mode' is missing: audit, warn or enforce",
        "7:16: 'http.listen' and 'http.metricsListen' cannot both listen on port 8081: 127.0.0.1:8081 and \
         127.0.0.1:8081",
    ];
    let expected: Vec<String> = expected.iter().map(|line| format!("conf/portreeve.yaml:{line}")).collect();
    assert_eq!(said.lines().collect::<Vec<_>>(), expected);
    let said = parsed("posture: {rescan: '0 0 30 2 *'}\n", &[]).unwrap_err();
    assert!(said.contains("yaml:1:19: 'posture.rescan': '0 0 30 2 *' is a time that never comes"), "{said}");
    parsed("posture: {rescan: '0 0 29 2 *'}\n", &[]).unwrap();
    for (wrong, why) in [("0 3 * *", "has 4 fields"), ("61 * * * *", "not a cron"), ("@never", "not a cron")] {
        let said = parsed(&format!("images: {{rescan: '{wrong}'}}\n"), &[]).unwrap_err();
        assert!(said.contains(why), "{said}");
    }
    let said = parsed(&format!("images: {{rescan: '{}0 * * * *'}}\n", "1,".repeat(100_000)), &[]).unwrap_err();
    assert!(said.contains("has at most 1000 bytes") && said.len() < 200, "{said}");
    let hosts = parsed("registries: [{host: 'A.Example:443'}]\n", &[]).unwrap();
    assert_eq!(hosts.config.registries[0].host, "a.example:443", "names of hosts have no case");
    let hub = parsed("registries: [{host: index.docker.io}]\n", &[]).unwrap();
    assert_eq!(hub.config.registries[0].host, "docker.io", "as references write it");
    parsed("http: {listen: '127.0.0.1:0', metricsListen: '127.0.0.1:0'}\nimages: {rescan: '@daily'}\n", &[]).unwrap();
}

/// A document that has every key of a schema.
fn everything(schema: &Value) -> Value {
    if let Some(words) = schema["enum"].as_array() {
        return words[0].clone();
    }
    let kind = schema["type"].as_array().map_or(&schema["type"], |kinds| &kinds[0]);
    match kind.as_str() {
        Some("object") => {
            let properties = schema["properties"].as_object().unwrap();
            properties.iter().map(|(key, schema)| (key.clone(), everything(schema))).collect()
        }
        Some("array") => Value::Array(vec![everything(&schema["items"])]),
        Some("boolean") => Value::Bool(true),
        Some("string") => schema.get("default").cloned().unwrap_or_else(|| "x".into()),
        _ => unreachable!("{schema}"),
    }
}

/// All keys of a schema.
fn keys(schema: &Value, found: &mut BTreeSet<String>) {
    for (key, below) in schema["properties"].as_object().into_iter().flatten() {
        found.insert(key.clone());
        keys(below, found);
    }
    if schema["items"].is_object() {
        keys(&schema["items"], found);
    }
}

#[test]
fn the_schema_has_the_keys_that_are_read_and_no_other() {
    let schema = schema();
    let said = parsed(&everything(&schema).to_string(), &[]).unwrap_err();
    let said: Vec<&str> = said.lines().filter(|line| !line.contains("not supported yet")).collect();
    assert_eq!(said.len(), 7, "a key that is not read, or a default that is not valid: {said:#?}");
    for expected in [
        "'cluster' takes one of",
        "'registries[0].credentials' takes one of",
        "'posture.frameworks[0]': there is",
        "'posture.enforce[0]': there is",
        "'platform' needs an API server",
        "'platform.resource' and 'platform.file' exclude each other",
        "'secrets.sync' needs an API server",
    ] {
        assert!(said.iter().any(|line| line.contains(expected)), "{said:#?}");
    }
    let mut known = BTreeSet::new();
    keys(&schema, &mut known);
    let source = include_str!("raw.rs").split("impl RawConfig").nth(1).unwrap();
    let literals = regex::Regex::new(r#"\(\w+, "(\w+)"|\.(?:maps|optional_\w+)\("(\w+)""#).unwrap();
    let read: BTreeSet<String> = literals
        .captures_iter(source)
        .filter_map(|found| Some(found.get(1).or(found.get(2))?.as_str().to_owned()))
        .collect();
    assert_eq!(read, known, "the decoder and the schema have the same keys");
}

#[test]
fn a_credential_helper_has_a_name_and_stands_alone() {
    let config = |credentials: &str| parsed(&format!("registries: [{{host: r, credentials: {credentials}}}]\n"), &[]);
    let helper = config("{helper: ecr-login}").unwrap().config.registries.remove(0).helper.unwrap();
    assert_eq!(helper.to_string(), "docker-credential-ecr-login");
    let path = config("{helper: ../sh}").unwrap_err();
    assert!(path.contains("'registries[].credentials.helper': '../sh' names no credential helper"), "{path}");
    let both = config("{helper: x, dockerConfig: c.json}").unwrap_err();
    assert!(both.contains("'registries[0].credentials' takes one of dockerConfig and helper"), "{both}");
    let half = parsed("credentialProviders: {config: x}\n", &[]).unwrap_err();
    assert!(half.contains("'credentialProviders.binDir' is missing"), "{half}");
}

#[test]
fn where_a_value_comes_from_is_shown_and_defaults_that_are_in_force() {
    let text = "store: {url: 'postgres://me@db/p'}\nregistries: [{host: r}]\n";
    let loaded = parsed(text, &[("PORTREEVE_LEADER__LEASE", "mine")]).unwrap();
    let lines = show::lines(&loaded, true);
    let has = |line: &str| assert!(lines.iter().any(|shown| shown == line), "{line} in {lines:#?}");
    has("store.url: \"postgres://me@db/p\"  # conf/portreeve.yaml:1:14");
    has("leader.lease: \"mine\"  # PORTREEVE_LEADER__LEASE");
    has("leader.namespace: \"portreeve-system\"  # default");
    has("registries[0].plainHttp: false  # default");
    assert!(!lines.iter().any(|line| line.starts_with("admission")), "{lines:#?}");
    assert_eq!(lines.iter().filter(|line| line.starts_with("store.url")).count(), 1, "{lines:#?}");
}

#[test]
fn a_file_that_is_not_there_is_a_problem_at_its_name_beside_all_others() {
    let text = "images: {policy: a}\nexceptions: [b, c]\nposture: {frameworks: [nas, cis-1.10]}\n\
                store: {url: 'sqlite://d/e.db'}\ntelemetry: {log: 'x=y=z'}\n";
    let missing = |file: &NamedFile| if file.path.ends_with("c") { Ok(()) } else { Err("is gone".to_owned()) };
    let said = parse(Some("conf/p.yaml".into()), text.as_bytes().to_vec(), &environment(&[]), &missing).unwrap_err();
    assert_eq!(
        said.to_string(),
        "conf/p.yaml:1:18: 'images.policy': conf/a is gone\n\
         conf/p.yaml:2:14: 'exceptions[0]': conf/b is gone\n\
         conf/p.yaml:3:24: 'posture.frameworks[0]': there is no framework 'nas' (did you mean 'nsa'?); `portreeve list \
         frameworks` prints them\n\
         conf/p.yaml:3:29: 'posture.frameworks[1]': the framework 'cis-1.10' does not exist yet in this version; there \
         are nsa, pss-baseline, all\n\
         conf/p.yaml:4:14: 'store.url': conf/d is gone\n\
         conf/p.yaml:5:18: 'telemetry.log': 'x=y=z' is not a log filter: write a level (info) or target=level pairs \
         (portreeve=debug,info)"
    );
}
