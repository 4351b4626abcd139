//! Credentials on the real API server: found by the watch as by the files, listed, counted, refused when they are asked
//! for; and no value of one in anything that comes out.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Instant;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use jiff::{SignedDuration, Timestamp};
use portreeve_tests::OrFail as _;
use portreeve_tests::api::{Api, Status};
use portreeve_tests::api_proxy::{ApiProxy, Fault, Match};
use portreeve_tests::binary::{Output, Portreeve};
use portreeve_tests::chart::{self, NAMESPACE};
use portreeve_tests::control_plane::ControlPlane;
use portreeve_tests::daemon::Daemon;
use portreeve_tests::process::{START, scratch, until};
use portreeve_tests::stage::Stage;
use serde_json::{Value, json};
use tokio::sync::OnceCell;

/// Stands in every value of a Secret; base64 of texts that begin with it begins alike.
const CANARY: &str = "CANARYVALUE0123456789";
const CANARY_BASE64: &str = "Q0FOQVJZVkFMVUUwMTIzNDU2";

/// A certificate for some names, good between two times from now.
fn certificate(from: SignedDuration, until: SignedDuration) -> String {
    let key = rcgen::KeyPair::generate().or_fail("a key");
    let mut parameters = rcgen::CertificateParams::new(vec!["hub.example.org".to_owned()]).or_fail("parameters");
    let date = |offset: SignedDuration| {
        let at = (Timestamp::now() + offset).to_zoned(jiff::tz::TimeZone::UTC);
        rcgen::date_time_ymd(at.year().into(), at.month().unsigned_abs(), at.day().unsigned_abs())
    };
    (parameters.not_before, parameters.not_after) = (date(from), date(until));
    parameters.self_signed(&key).or_fail("a certificate").pem()
}

fn days(count: i64) -> SignedDuration {
    SignedDuration::from_hours(24 * count)
}

fn jwt(claims: &Value) -> String {
    let part = |text: &str| URL_SAFE_NO_PAD.encode(text);
    format!("{}.{}.{}", part("{\"alg\":\"RS256\"}"), part(&claims.to_string()), part(CANARY))
}

fn secret(namespace: &str, name: &str, secret_type: &str, data: &[(&str, &str)]) -> Value {
    let data: BTreeMap<&str, String> = data.iter().map(|(key, value)| (*key, STANDARD.encode(value))).collect();
    json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, "namespace": namespace,
        "annotations": {"kubectl.kubernetes.io/last-applied-configuration": CANARY}}, "type": secret_type, "data": data})
}

/// Secrets and ConfigMaps of every class, as manifests.
fn manifests(namespace: &str) -> Vec<Value> {
    let auth = STANDARD.encode(format!("{CANARY}:{CANARY}"));
    let docker = json!({"auths": {"registry.example.org": {"auth": auth}}}).to_string();
    let kubeconfig = json!({"apiVersion": "v1", "kind": "Config", "clusters": [], "contexts": [],
        "users": [{"name": "ci", "user": {"token": CANARY}}]})
    .to_string();
    let forever = jwt(&json!({"sub": CANARY}));
    let mut account = secret(namespace, "account", "kubernetes.io/service-account-token", &[]);
    account["metadata"]["annotations"]["kubernetes.io/service-account.name"] = "default".into();
    let tls = |name: &str, from, until| {
        secret(namespace, name, "kubernetes.io/tls", &[("tls.crt", &certificate(from, until)), ("tls.key", CANARY)])
    };
    vec![
        tls("good", days(-30), days(300)),
        tls("near", days(-300), days(5)),
        tls("past", days(-300), days(-5)),
        tls("future", days(5), days(300)),
        secret(namespace, "garbage", "kubernetes.io/tls", &[("tls.crt", CANARY), ("tls.key", CANARY)]),
        secret(namespace, "pull", "kubernetes.io/dockerconfigjson", &[(".dockerconfigjson", &docker)]),
        secret(namespace, "login", "kubernetes.io/basic-auth", &[("username", CANARY), ("password", CANARY)]),
        secret(namespace, "opaque", "Opaque", &[("token", &forever), ("other", CANARY)]),
        account,
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "kube", "namespace": namespace},
            "data": {"config": kubeconfig}}),
    ]
}

/// What the tests share.
struct World {
    plane: ControlPlane,
    daemon: Daemon,
    objects: Vec<Value>,
}

impl World {
    async fn shared() -> &'static Self {
        static WORLD: OnceCell<World> = OnceCell::const_new();
        WORLD.get_or_init(Self::start).await
    }

    async fn start() -> Self {
        let values = json!({
            "admission": {"namespaces": [{"match": ["enforce-*"], "mode": "enforce"}],
                "exemptNamespaces": ["enforce-free-*"]},
            "secrets": {"clusterRead": "full"},
            "rescan": {"images": "0 0 29 2 *", "posture": "0 0 29 2 *"},
        });
        let mut stage = Stage::installed(ControlPlane::start().await, &values).await;
        stage.config["telemetry"]["log"] = "debug".into();
        let Stage { plane, daemon, objects, .. } = stage.guarded().await;
        let world = Self { plane, daemon, objects };
        world.in_force().await;
        world
    }

    /// A webhook configuration takes a moment to reach the handlers of the API server.
    async fn in_force(&self) {
        let namespace = self.plane.namespace("enforce").await;
        let refused = || async { ask(self.plane.api(), &namespace, TEN_YEARS).await.err() };
        until(START, refused).await.or_fail("the webhook comes into force");
    }

    /// The configuration of another daemon, and its files.
    async fn configured(&self, cluster_read: &str) -> (Value, Vec<(String, String)>) {
        let (mut config, files) = chart::configuration(&self.objects);
        config["cluster"] = json!({"kubeconfig": self.plane.kubeconfig_for(NAMESPACE, "portreeve").await});
        config["secrets"] = json!({"clusterRead": cluster_read});
        config.as_object_mut().or_fail("a map").remove("admission");
        (config, files)
    }

    /// A daemon on the same API server, with another `secrets.clusterRead` and the rights that go with it.
    async fn other(&self, cluster_read: &str) -> Daemon {
        let (config, files) = self.configured(cluster_read).await;
        let mut daemon = Daemon::configured(&config, &files);
        daemon.start().await;
        daemon
    }
}

const TEN_YEARS: i64 = 315_360_000;

async fn ask(api: &Api, namespace: &str, seconds: i64) -> Result<Value, Status> {
    let request = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest",
        "spec": {"expirationSeconds": seconds}});
    api.post(&format!("/api/v1/namespaces/{namespace}/serviceaccounts/default/token"), &request).await
}

/// The findings about credentials that a namespace holds, by the name of the holder.
fn about<'a>(findings: &'a [Value], namespace: &str) -> Vec<(String, &'a Value)> {
    let start = format!("{namespace}/");
    let of = |finding: &'a Value| {
        let holder = finding["subject"]["holder"].as_str()?.strip_prefix(&start)?;
        finding["code"].as_str()?.starts_with("PR-4").then(|| (holder.to_owned(), finding))
    };
    findings.iter().filter_map(of).collect()
}

/// What two doors must agree about.
fn seen(findings: &[Value], namespace: &str) -> BTreeSet<String> {
    let parts = ["code", "verdict", "cause", "effect", "fingerprint", "subject"];
    let of = |(_, finding): (String, &Value)| {
        let told: Vec<String> = parts.iter().map(|part| finding[*part].to_string()).collect();
        format!("{} {}", told.join(" "), finding["locations"][0]["objectPath"])
    };
    about(findings, namespace).into_iter().map(of).collect()
}

/// Code and verdict of what is open, by the name of the holder.
fn by_holder(findings: &[Value], namespace: &str) -> BTreeMap<String, Vec<String>> {
    let mut found: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (holder, finding) in about(findings, namespace) {
        let word = |part: &str| finding[part].as_str().unwrap_or_default().to_owned();
        found.entry(holder).or_default().push(format!("{} {}", word("code"), word("verdict")));
    }
    found.values_mut().for_each(|codes| codes.sort());
    found
}

fn write(namespace: &str, objects: &[Value]) -> PathBuf {
    let file = scratch("manifests").join(format!("{namespace}.yaml"));
    let text: Vec<String> = objects.iter().map(ToString::to_string).collect();
    std::fs::write(&file, text.join("\n---\n")).or_fail("a file of manifests");
    file
}

fn list(arguments: &[&str]) -> Output {
    Portreeve::run(["credentials", "list"].iter().chain(arguments))
}

fn assert_clean(what: &str, text: &str) {
    for canary in [CANARY, CANARY_BASE64, "\"tls.key\": \""] {
        assert!(!text.contains(canary), "{what} has a value: {text}");
    }
}

async fn page(daemon: &Daemon, path: &str) -> String {
    let (code, text) = daemon.page(path).await.or_fail(path);
    assert_eq!(code, 200, "{path}");
    text
}

fn assert_folder_is_clean(folder: &Path) {
    for entry in std::fs::read_dir(folder).or_fail("the folder of the daemon") {
        let path = entry.or_fail("a file of the daemon").path();
        if path.is_file() {
            let bytes = std::fs::read(&path).or_fail("a file of the daemon");
            assert_clean(&path.display().to_string(), &String::from_utf8_lossy(&bytes));
        }
    }
}

#[tokio::test]
async fn the_watch_finds_what_the_files_say_and_no_value_leaves() {
    let world = World::shared().await;
    let namespace = world.plane.namespace("creds").await;
    let objects = manifests(&namespace);
    let file = write(&namespace, &objects);
    let report = scratch("report").join("report.json");
    let gate = Portreeve::run([
        "gate",
        file.to_str().unwrap(),
        "--format",
        &format!("json={}", report.display()),
        "--format",
        "table",
    ]);
    assert_eq!(gate.code, Some(15), "{}", gate.stderr);
    let text = std::fs::read_to_string(&report).unwrap();
    let files: Value = serde_json::from_str(&text).unwrap();
    let files = files["findings"].as_array().unwrap();
    let expected: BTreeMap<String, Vec<String>> = [
        ("Secret/near", vec!["PR-4002 fail"]),
        ("Secret/past", vec!["PR-4001 fail"]),
        ("Secret/future", vec!["PR-4001 fail"]),
        ("Secret/garbage", vec!["PR-4001 unknown", "PR-4002 unknown"]),
        ("Secret/pull", vec!["PR-4005 fail"]),
        ("Secret/login", vec!["PR-4007 fail"]),
        ("Secret/opaque", vec!["PR-4003 fail"]),
        ("Secret/account", vec!["PR-4004 fail"]),
        ("ConfigMap/kube", vec!["PR-4006 fail", "PR-4009 fail"]),
    ]
    .into_iter()
    .map(|(holder, codes)| (holder.to_owned(), codes.into_iter().map(str::to_owned).collect()))
    .collect();
    assert_eq!(by_holder(files, &namespace), expected);
    for object in &objects {
        world.plane.api().create(object).await.unwrap();
    }
    let wanted = seen(files, &namespace);
    let watched = world
        .daemon
        .wait_for("", "what the files say", |found| (seen(found, &namespace) == wanted).then(|| found.to_vec()));
    let watched = watched.await;
    assert!(world.daemon.metric("portreeve_credentials{class=tls-certificate}").await >= 5.0);
    let earliest = world.daemon.metric("portreeve_credential_expiry_timestamp_seconds{class=tls-certificate}").await;
    let hours = (earliest - Timestamp::now().as_second() as f64) / 3_600.0;
    assert!((-24.0 * 6.0..=-24.0 * 4.0).contains(&hours), "the one that is past: {hours} h");
    assert!(world.daemon.metric("portreeve_credential_expiry_timestamp_seconds{class=basic-auth}").await.is_infinite());

    assert_clean("the report", &text);
    assert_clean("the table", &gate.stdout);
    assert_clean("the API", &serde_json::to_string(&watched).unwrap());
    for path in ["/", "/api/v1/findings?limit=500&state=all", "/api/v1/decisions", "/api/v1/summary"] {
        assert_clean(path, &page(&world.daemon, path).await);
    }
    for finding in watched.iter().filter(|finding| finding["subject"].to_string().contains(&namespace)) {
        let path = format!("/findings/{}", finding["fingerprint"].as_str().unwrap());
        assert_clean(&path, &page(&world.daemon, &path).await);
    }
    assert_clean("the metrics", &world.daemon.health("/metrics").await.unwrap().1);
    assert_clean("the log", &world.daemon.log());
    assert_folder_is_clean(world.daemon.folder());

    world.plane.api().delete(&format!("/api/v1/namespaces/{namespace}/secrets/past")).await.unwrap();
    let renewed = secret(
        &namespace,
        "future",
        "kubernetes.io/tls",
        &[("tls.crt", &certificate(days(-1), days(300))), ("tls.key", CANARY)],
    );
    world.plane.api().apply_object(&renewed, "").await.unwrap();
    let is_resolved = |found: &[Value]| {
        let left = by_holder(found, &namespace);
        (!left.contains_key("Secret/past") && !left.contains_key("Secret/future")).then_some(left.len())
    };
    assert_eq!(world.daemon.wait_for("", "resolved by a deletion and a renewal", is_resolved).await, 7);
}

#[tokio::test]
async fn a_credential_that_went_away_while_we_were_down_is_resolved_and_one_that_is_not_read_any_more_is_kept() {
    let world = World::shared().await;
    let namespace = world.plane.namespace("down").await;
    let login = |name: &str| secret(&namespace, name, "kubernetes.io/basic-auth", &[("password", CANARY)]);
    for name in ["gone", "kept"] {
        world.plane.api().create(&login(name)).await.unwrap();
    }
    let mut daemon = world.other("full").await;
    let names = |found: &[Value]| by_holder(found, &namespace).into_keys().collect::<Vec<_>>();
    let both = |found: &[Value]| (names(found) == ["Secret/gone", "Secret/kept"]).then_some(());
    daemon.wait_for("", "both", both).await;
    daemon.kill();
    world.plane.api().delete(&format!("/api/v1/namespaces/{namespace}/secrets/gone")).await.unwrap();
    daemon.start().await;
    let one = |found: &[Value]| (names(found) == ["Secret/kept"]).then_some(());
    daemon.wait_for("", "the one that is left", one).await;
    let token = secret(&namespace, "token", "Opaque", &[("token", &jwt(&json!({"sub": CANARY})))]);
    world.plane.api().create(&token).await.unwrap();
    let with_token = |found: &[Value]| (names(found) == ["Secret/kept", "Secret/token"]).then_some(());
    daemon.wait_for("", "a token in a value", with_token).await;
    daemon.kill();
    daemon.configure(&world.configured("metadata").await.0);
    daemon.start().await;
    not_visible(&daemon).await;
    // A credential that comes now is judged after what was there at the start.
    world.plane.api().create(&login("later")).await.unwrap();
    let later = |found: &[Value]| names(found).contains(&"Secret/later".to_owned()).then(|| names(found));
    let found = daemon.wait_for("", "the one that came later", later).await;
    assert_eq!(found, ["Secret/kept", "Secret/later", "Secret/token"], "a value that is not read proves nothing");
    daemon.kill();
    world.plane.api().delete(&format!("/api/v1/namespaces/{namespace}/secrets/later")).await.unwrap();
    world.plane.api().delete(&format!("/api/v1/namespaces/{namespace}/secrets/token")).await.unwrap();
    daemon.start().await;
    daemon.wait_for("", "those that are gone are resolved", one).await;
    daemon.kill();
    world.plane.api().delete(&format!("/api/v1/namespaces/{namespace}/secrets/kept")).await.unwrap();
    daemon.configure(&world.configured("off").await.0);
    daemon.start().await;
    not_visible(&daemon).await;
    assert_eq!(names(&daemon.findings("").await), ["Secret/kept"], "what is not read proves nothing");
}

#[tokio::test]
async fn secrets_that_are_not_read_are_one_unknown_and_config_maps_are_judged() {
    let world = World::shared().await;
    let namespace = world.plane.namespace("off").await;
    for object in manifests(&namespace) {
        world.plane.api().create(&object).await.unwrap();
    }
    let daemon = world.other("off").await;
    let found = daemon.wait_for("", "the ConfigMap", |found| {
        by_holder(found, &namespace).contains_key("ConfigMap/kube").then(|| found.to_vec())
    });
    let found = found.await;
    assert_eq!(by_holder(&found, &namespace).keys().collect::<Vec<_>>(), ["ConfigMap/kube"]);
    let said = not_visible(&daemon).await;
    assert!(said.contains("secrets.clusterRead is off"), "{said}");
}

#[tokio::test]
async fn that_nothing_ends_is_not_said_while_the_api_server_refuses_secrets() {
    let world = World::shared().await;
    let namespace = world.plane.namespace("forbidden").await;
    let proxy = ApiProxy::start(&world.plane).await;
    let secrets = || Match::path("/api/v1/secrets");
    proxy.fault(secrets(), Fault::Answer(403), None);
    let (mut config, files) = world.configured("full").await;
    config["cluster"]["kubeconfig"] = json!(proxy.kubeconfig());
    let mut daemon = Daemon::configured(&config, &files);
    daemon.start().await;
    let ends = async |daemon: &Daemon| {
        daemon.metric("portreeve_credential_expiry_timestamp_seconds{class=age-identity}").await
    };
    daemon.wait_for_metric("portreeve_credentials_read{kind=ConfigMap}", 1.0).await;
    assert_eq!(daemon.metric("portreeve_credentials_read{kind=Secret}").await, 0.0);
    assert!(ends(&daemon).await.is_nan(), "an identity may be in a Secret");
    proxy.heal();
    daemon.wait_for_metric("portreeve_credentials_read{kind=Secret}", 1.0).await;
    assert_eq!(ends(&daemon).await, f64::INFINITY, "there is none");
    // Values that are not looked into are not read, either.
    let other = world.other("metadata").await;
    let opaque = secret(&namespace, "opaque", "Opaque", &[("key", CANARY)]);
    world.plane.api().create(&opaque).await.unwrap();
    other.wait_for_metric("portreeve_credentials_read{kind=ConfigMap}", 1.0).await;
    other.wait_for_metric("portreeve_credentials_read{kind=Secret}", 0.0).await;
    assert!(ends(&other).await.is_nan());
}

#[tokio::test]
async fn metadata_tells_types_and_leaves_values_alone() {
    let world = World::shared().await;
    let namespace = world.plane.namespace("metadata").await;
    for object in manifests(&namespace) {
        world.plane.api().create(&object).await.unwrap();
    }
    let daemon = world.other("metadata").await;
    let found = daemon.wait_for("", "the account's token", |found| {
        by_holder(found, &namespace).contains_key("Secret/account").then(|| found.to_vec())
    });
    let found = by_holder(&found.await, &namespace);
    assert_eq!(found["Secret/account"], ["PR-4004 fail"]);
    assert_eq!(found["Secret/past"], ["PR-4001 unknown", "PR-4002 unknown"]);
    assert!(!found.contains_key("Secret/opaque"), "{found:?}");
    let said = not_visible(&daemon).await;
    assert!(said.contains("without looking into their values"), "{said}");
}

/// What the one finding about kinds that are not read says: it is about Secrets.
async fn not_visible(daemon: &Daemon) -> String {
    let one = |found: &[Value]| (found.len() == 1).then(|| found[0].clone());
    let finding = daemon.wait_for("code=PR-0006", "the Secrets that are not read", one).await;
    assert_eq!((&finding["cause"], &finding["subject"]["kind"]), (&json!("not-visible"), &json!("Secret")));
    finding["message"].as_str().or_fail("a message").to_owned()
}

#[tokio::test]
async fn a_token_for_ten_years_is_denied_and_one_for_ten_minutes_is_issued() {
    let world = World::shared().await;
    let api = world.plane.api();
    let namespace = world.plane.namespace("enforce").await;
    let refused = ask(api, &namespace, TEN_YEARS).await.unwrap_err();
    assert_eq!(refused.code, 403, "{refused}");
    assert!(refused.message.contains("tokens.portreeve.dev"), "{refused}");
    assert!(refused.message.contains("PR-4010") && refused.message.contains("at most 24h is allowed"), "{refused}");
    for seconds in [600, 3_607, 86_400] {
        let issued = ask(api, &namespace, seconds).await.unwrap();
        assert!(issued["status"]["token"].is_string(), "{seconds}");
    }
    let lenient = world.plane.namespace("lab").await;
    let exempt = world.plane.namespace("enforce-free").await;
    let rescuer = api.impersonating("rescuer", &["system:masters", "portreeve:break-glass"]);
    for (api, namespace) in [(api, &lenient), (api, &exempt), (&rescuer, &namespace)] {
        ask(api, namespace, TEN_YEARS).await.unwrap_or_else(|status| panic!("{namespace}: {status}"));
    }
    let decisions = || async {
        let of = |decision: &Value| {
            (
                decision["namespace"].as_str().unwrap().to_owned(),
                decision["allowed"] == 1,
                decision["mode"].to_string(),
                decision["codes"].to_string(),
            )
        };
        let found: Vec<_> =
            world.daemon.decisions().iter().filter(|decision| decision["kind"] == "TokenRequest").map(of).collect();
        let has = |namespace: &str, allowed: bool, mode: &str, code: bool| {
            found.iter().any(|(at, is_allowed, how, codes)| {
                at == namespace && *is_allowed == allowed && how.contains(mode) && codes.contains("PR-4010") == code
            })
        };
        let all = has(&namespace, false, "enforce", true)
            && has(&namespace, true, "enforce", false)
            && has(&lenient, true, "warn", true)
            && has(&namespace, true, "break-glass", false);
        (all && !found.iter().any(|(at, ..)| *at == exempt)).then_some(())
    };
    until(START, decisions).await.or_fail("each decision is recorded");
}

#[tokio::test]
async fn the_list_of_the_cluster_starts_with_what_ends_first() {
    let world = World::shared().await;
    let namespace = world.plane.namespace("listed").await;
    for object in manifests(&namespace) {
        world.plane.api().create(&object).await.unwrap();
    }
    let config = scratch("list").join("portreeve.yaml");
    let kubeconfig = world.plane.kubeconfig_for(NAMESPACE, "portreeve").await;
    let written =
        |cluster_read: &str| json!({"cluster": {"kubeconfig": kubeconfig}, "secrets": {"clusterRead": cluster_read}});
    std::fs::write(&config, written("full").to_string()).unwrap();
    let listed = list(&["cluster", "--format", "json", "--config", config.to_str().unwrap()]);
    assert_eq!(listed.code, Some(15), "{}", listed.stderr);
    let document: Value = serde_json::from_str(&listed.stdout).unwrap();
    let here: Vec<&Value> = document["credentials"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|row| row["holder"]["namespace"] == namespace.as_str())
        .collect();
    let names: Vec<&str> = here.iter().map(|row| row["holder"]["name"].as_str().unwrap()).collect();
    assert_eq!(names[..4], ["past", "near", "future", "good"].map(|name| name), "{names:?}");
    assert_eq!(
        (&here[0]["verdict"], &here[0]["class"], &here[3]["verdict"]),
        (&json!("fail"), &json!("tls-certificate"), &json!("pass"))
    );
    assert!(here[0]["advice"].as_str().unwrap().contains("Renew"), "{}", here[0]);
    assert_clean("the list", &listed.stdout);
    let table = list(&["cluster", "--config", config.to_str().unwrap()]);
    assert!(table.stdout.starts_with("CLASS"), "{}", table.stdout);
    assert_clean("the table", &table.stdout);
    std::fs::write(&config, written("off").to_string()).unwrap();
    let off = list(&["cluster", "--format", "json", "--config", config.to_str().unwrap()]);
    let document: Value = serde_json::from_str(&off.stdout).unwrap();
    assert_eq!(document["notRead"][0]["cause"], "not-visible");
    assert!(off.stderr.contains("secrets.clusterRead is off"), "{}", off.stderr);
}

#[test]
fn the_exit_code_of_a_list_says_what_is_in_it() {
    let of = |objects: &[Value]| list(&[write("exit", objects).to_str().unwrap()]);
    let tls = |from, until| {
        secret("dev", "a", "kubernetes.io/tls", &[("tls.crt", &certificate(from, until)), ("tls.key", CANARY)])
    };
    assert_eq!(of(&[tls(days(-1), days(200))]).code, Some(0));
    assert_eq!(of(&[tls(days(-300), days(5))]).code, Some(0), "near its end fails no gate");
    assert_eq!(of(&[tls(days(-300), days(-5))]).code, Some(15));
    assert_eq!(of(&[secret("dev", "a", "kubernetes.io/tls", &[("tls.crt", "x")])]).code, Some(5));
    assert_eq!(list(&["/nonexistent"]).code, Some(2));
    let empty = scratch("empty");
    assert_eq!(list(&[empty.to_str().unwrap()]).code, Some(3));
}

#[test]
fn a_file_that_is_named_twice_is_listed_once_and_each_object_of_a_name_by_itself() {
    let objects = [(); 2].map(|()| secret("dev", "a", "kubernetes.io/service-account-token", &[]));
    let file = write("twice", &objects);
    let file = file.to_str().unwrap();
    let listed = list(&[file, file]);
    assert_eq!(listed.stdout.lines().count(), 3, "{}", listed.stdout);
}

#[test]
fn an_exception_covers_a_credential_by_its_holder() {
    let file = write("excepted", &[secret("dev", "a", "kubernetes.io/service-account-token", &[])]);
    let exceptions = scratch("exceptions").join("exceptions.yaml");
    let exception = json!({"apiVersion": "portreeve.dev/v1alpha1", "kind": "ClusterException",
        "metadata": {"name": "old-token"}, "spec": {"codes": ["PR-4004"], "owner": "team", "reason": "until the migration is done",
        "expires": "2090-01-01", "subjects": {"kinds": ["Credential"], "names": ["dev/Secret/a"]}}});
    std::fs::write(&exceptions, exception.to_string()).unwrap();
    let listed = list(&[file.to_str().unwrap(), "--exceptions", exceptions.to_str().unwrap()]);
    assert_eq!(listed.code, Some(0), "{}{}", listed.stdout, listed.stderr);
    assert!(listed.stdout.contains("excepted PR-4004"), "{}", listed.stdout);
}

#[test]
fn five_thousand_secrets_and_a_large_one_are_listed_in_bounded_time() {
    let pem = certificate(days(-30), days(300));
    let mut objects: Vec<Value> = (0..5_000)
        .map(|number| {
            secret("dev", &format!("s-{number}"), "kubernetes.io/tls", &[("tls.crt", &pem), ("tls.key", CANARY)])
        })
        .collect();
    objects.push(secret("dev", "large", "Opaque", &[("blob", &"eyJ.".repeat(260_000))]));
    let file = write("many", &objects);
    let start = Instant::now();
    let listed = list(&[file.to_str().unwrap()]);
    assert_eq!(listed.code, Some(0), "{}", listed.stderr);
    assert_eq!(listed.stdout.lines().count(), 5_001);
    assert!(start.elapsed().as_secs() < 40, "{:?}", start.elapsed());
}

#[test]
fn explain_knows_the_codes_of_credentials() {
    for code in 4_001..=4_010 {
        let explained = Portreeve::run(["explain", &format!("PR-{code}")]);
        assert_eq!(explained.code, Some(0), "{code}");
    }
}
