//! `portreeve serve` on a folder: metrics, health, drain, logs, secrets, exceptions, and a start that is refused.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use portreeve_tests::OrFail;
use portreeve_tests::binary::Portreeve;
use portreeve_tests::folder_cluster::{Answer, Doors, FolderCluster, PATIENCE, is_about, pod, review_of};
use portreeve_tests::parts::Part;
use portreeve_tests::process::{START, free_port, until};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

fn container(image: &str) -> Value {
    json!({"name": "app", "image": image, "securityContext": {"privileged": true}})
}

fn write_pod(cluster: &FolderCluster, namespace: &str, name: &str) {
    cluster.write(&format!("{namespace}-{name}.json"), &pod(namespace, name, container("quay.io/a/b:1")).to_string());
}

/// Name and labels of every series.
fn series(samples: &BTreeMap<String, f64>) -> BTreeSet<&str> {
    samples.keys().map(String::as_str).collect()
}

#[tokio::test]
async fn metrics_are_both_formats_keep_their_series_and_a_scrape_does_no_work() {
    let cluster = FolderCluster::new("");
    write_pod(&cluster, "first", "a");
    let _daemon = cluster.serve().await;
    let doors = cluster.doors();
    let found = |open: &[Value], name: &str| open.iter().any(|finding| is_about(finding, "C-0057", name));
    doors.until_open("the first finding", |open| found(open, "first")).await;
    for scanner in ["posture", "images"] {
        let last = format!("portreeve_scan_last_success_timestamp_seconds{{scanner=\"{scanner}\"}}");
        doors.until_sample(&last, |at| at > 1.7e9).await;
    }
    let answer = doors.open_metrics().await;
    assert!(answer.head.contains("content-type: application/openmetrics-text; version=1.0.0"), "{}", answer.head);
    names_are_as_the_house_has_them(&answer.body);
    let classic = doors.health("/metrics").await;
    assert!(classic.head.contains("content-type: text/plain; version=0.0.4"), "{}", classic.head);
    let file = cluster.root().join("metrics.txt");
    fs::write(&file, &classic.body).or_fail("a file of metrics");
    let mut promtool = Command::new(Part::path("promtool"));
    promtool.args(["check", "metrics"]).stdin(fs::File::open(&file).or_fail("a file of metrics"));
    let checked = promtool.output().or_fail("running promtool");
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));
    let samples = |text: &str| text.lines().filter(|line| !line.starts_with('#')).count();
    assert_eq!(samples(&classic.body), samples(&answer.body), "both have every series");

    assert_eq!(doors.get("/metrics").await.status, 200, "the page's door has the metrics too");
    // What the first scans have still to write may come between; what a scrape does comes with every one.
    let is_idle = until(PATIENCE, || async {
        let before = work(&doors.samples().await);
        for _ in 0..20 {
            doors.health("/metrics").await;
        }
        (before == work(&doors.samples().await)).then_some(())
    });
    is_idle.await.or_fail("20 scrapes without a request to a registry, a write or a scan");
    let before = doors.samples().await;
    let board = doors.get("/api/v1/summary").await.json();
    assert!(board["scans"]["posture"].is_string() && board["scans"]["images"].is_string(), "{board}");

    for number in 0..300 {
        write_pod(&cluster, &format!("tenant-{number}"), "a");
    }
    doors.until_sample("portreeve_index_objects", |objects| objects >= 301.0).await;
    let high = "portreeve_findings{severity=\"high\",verdict=\"fail\"}";
    doors.until_sample(high, |count| count >= 301.0).await;
    let many = doors.samples().await;
    assert_eq!(series(&before), series(&many), "namespaces make no series");
    let text = doors.health("/metrics").await.body;
    assert!(!text.contains("tenant-") && text.len() < 64 * 1024, "{} bytes", text.len());
}

/// The counters of what the daemon does on its own.
fn work(samples: &BTreeMap<String, f64>) -> BTreeMap<String, f64> {
    let is_work = |name: &str| ["registry_requests", "store_writes", "scans"].iter().any(|word| name.contains(word));
    let all = samples.iter().filter(|(name, _)| is_work(name));
    all.map(|(name, value)| (name.clone(), *value)).collect()
}

/// Prefix, base units, and the suffixes that go with the types.
fn names_are_as_the_house_has_them(exposition: &str) {
    let families = exposition.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '));
    for (name, kind) in families {
        assert!(name.starts_with("portreeve_"), "{name}");
        assert!(!name.ends_with("_total"), "{name}: the suffix is the sample's");
        for unit in ["milliseconds", "_ms", "kilobytes", "percent", "minutes"] {
            assert!(!name.contains(unit), "{name} is not in a base unit");
        }
        let samples: Vec<&str> = exposition.lines().filter(|line| line.starts_with(name)).collect();
        let has = |suffix: &str| samples.iter().any(|line| line[name.len()..].starts_with(suffix));
        match kind {
            "counter" => assert!(has("_total"), "{name}"),
            "histogram" => {
                assert!(has("_bucket") && has("_sum") && has("_count") && name.ends_with("_seconds"), "{name}");
            }
            "gauge" | "info" => assert!(!has("_total"), "{name}"),
            other => unreachable!("{name} is a {other}"),
        }
    }
    assert!(exposition.lines().filter(|line| line.starts_with("# HELP ")).count() >= 15, "{exposition}");
}

#[tokio::test]
async fn health_is_alive_from_the_start_and_ready_when_the_cluster_was_read() {
    // An API server that never answers: alive, not ready, and a signal is heeded.
    let silent = TcpListener::bind("127.0.0.1:0").await.or_fail("a port");
    let address = silent.local_addr().or_fail("its address");
    let cluster = FolderCluster::new("");
    let (page, metrics) = (free_port(), free_port());
    let kubeconfig = format!(
        "apiVersion: v1\nkind: Config\nclusters: [{{name: c, cluster: {{server: 'http://{address}'}}}}]\n\
         users: [{{name: u, user: {{token: t}}}}]\ncontexts: [{{name: c, context: {{cluster: c, user: u}}}}]\ncurrent-context: c\n"
    );
    fs::write(cluster.root().join("kubeconfig"), kubeconfig).or_fail("a kubeconfig");
    let config = cluster.root().join("api.yaml");
    let text = format!(
        "cluster: {{kubeconfig: kubeconfig}}\nstore: {{url: 'sqlite://store/api.db'}}\n\
         http: {{listen: '127.0.0.1:{page}', metricsListen: '127.0.0.1:{metrics}'}}\n"
    );
    fs::write(&config, text).or_fail("a configuration");
    let mut command = Portreeve::command();
    command.arg("serve").arg("--config").arg(&config);
    let mut daemon = portreeve_tests::process::Running::start("starting", &mut command);
    let waiting = Doors::at(page, metrics);
    daemon.listening(metrics).await;
    assert_eq!(waiting.health("/healthz").await.status, 200);
    let answer = waiting.health("/readyz").await;
    assert_eq!(answer.status, 503);
    assert!(answer.body.contains("waiting for"), "{}", answer.body);
    daemon.signal("TERM");
    assert_eq!(daemon.ended(START).await.code(), Some(0), "{}", daemon.stderr());

    let daemon = cluster.serve().await;
    let doors = cluster.doors();
    for path in ["/healthz", "/readyz"] {
        assert_eq!((doors.health(path).await.status, doors.get(path).await.status), (200, 200), "{path}");
    }
    assert_eq!(doors.health("/").await.status, 404, "the metrics' door has no page");
    only_reading_and_only_our_names(doors).await;
    drop(daemon);
}

async fn only_reading_and_only_our_names(doors: &Doors) {
    use reqwest::Method;
    for method in [Method::POST, Method::PUT, Method::DELETE, Method::PATCH, Method::OPTIONS, Method::TRACE] {
        let sent = doors.client().request(method.clone(), doors.url("/api/v1/findings")).send().await;
        let answer = Answer::of(sent.or_fail("an answer")).await;
        assert_eq!(answer.status, 405, "{method}");
        assert!(answer.head.contains("allow: GET, HEAD"), "{}", answer.head);
    }
    let head = doors.client().head(doors.url("/")).send().await.or_fail("an answer");
    assert_eq!(head.status(), 200);
    for path in ["/", "/api/v1/findings", "/api/v1/decisions", "/metrics", "/healthz"] {
        for host in ["evil.example", "127.0.0.1.evil.example", "localhost.evil.example:80"] {
            let sent = doors.client().get(doors.url(path)).header("host", host).send().await;
            let answer = Answer::of(sent.or_fail("an answer")).await;
            assert_eq!(answer.status, 421, "{path} for {host}");
            assert!(!answer.body.contains("finding"), "{}", answer.body);
        }
    }
    assert_eq!(doors.get("/api/v1/decisions?limit=1&x=2").await.status, 400);
    assert_eq!(doors.get("/api/v1/decisions?limit=999999999").await.status, 200);
}

/// A registry that holds its answers back until it is told to go away.
struct Held {
    listener: TcpListener,
    host: String,
}

impl Held {
    async fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.or_fail("a port");
        let host = listener.local_addr().or_fail("its address").to_string();
        Self { listener, host }
    }

    /// A cluster whose image policy asks this registry.
    fn cluster(&self, more: &str) -> FolderCluster {
        let host = &self.host;
        let cluster = FolderCluster::new(&format!(
            "images: {{policy: image-policy.yaml}}\nregistries:\n  - {{host: '{host}', plainHttp: true{more}}}\n"
        ));
        write_policy(cluster.root(), host);
        cluster
    }

    /// The next request, still without an answer.
    async fn asked(&self) -> TcpStream {
        let (mut stream, _) = self.listener.accept().await.or_fail("a request");
        let mut head = [0; 2048];
        let read = stream.read(&mut head).await.or_fail("the head of a request");
        assert!(read > 0, "the registry was asked");
        stream
    }
}

/// A policy that lets nothing of the host through but what this key signed.
fn write_policy(folder: &Path, host: &str) {
    let policy = format!(
        "apiVersion: portreeve.dev/v1alpha1\nkind: ImagePolicy\nmetadata: {{name: p}}\nspec:\n  mode: enforce\n  noMatch: allow\n  \
         rules:\n    - name: all\n      images: ['{host}/**']\n      authorities: {{list: [{{name: k, key: {{file: cosign.pub}}}}]}}\n"
    );
    fs::write(folder.join("image-policy.yaml"), policy).or_fail("a policy");
    let key = rcgen::KeyPair::generate().or_fail("a key");
    fs::write(folder.join("cosign.pub"), key.public_key_pem()).or_fail("a key file");
}

/// Waits until nobody listens any more: the drain has begun.
async fn drain_begun(port: u16) {
    let refused = until(PATIENCE, || async move { TcpStream::connect(("127.0.0.1", port)).await.err() });
    refused.await.or_fail("the end of listening");
}

#[tokio::test]
async fn a_request_under_way_is_answered_after_the_signal() {
    let registry = Held::new().await;
    let cluster = registry.cluster("");
    let mut daemon = cluster.serve().await;
    let review = review_of("slow", &pod("enforced", "asked", container(&format!("{}/a/b:1", registry.host))));
    let signalled = async {
        let held = registry.asked().await;
        daemon.signal("TERM");
        drain_begun(cluster.webhook_port()).await;
        drop(held);
        // Whoever asks again hears nothing either.
        while let Ok((stream, _)) = registry.listener.accept().await {
            drop(stream);
        }
    };
    let answer = tokio::select! {
        answer = cluster.validate(&review) => answer,
        () = signalled => unreachable!("a listener ends with its test"),
    };
    let answer = answer.or_fail("the answer of a request under way").json();
    assert_eq!(answer["response"]["uid"], "slow");
    assert_eq!(answer["response"]["allowed"], false, "what is not known is not let in: {answer}");
    assert_eq!(daemon.ended(START).await.code(), Some(0), "{}", daemon.stderr());
}

#[tokio::test]
async fn a_second_signal_ends_at_once_and_names_what_was_cut_off() {
    let registry = Held::new().await;
    let cluster = registry.cluster("");
    let mut daemon = cluster.serve().await;
    let review = review_of("cut", &pod("enforced", "asked", container(&format!("{}/a/b:1", registry.host))));
    let (answer, _held) = tokio::join!(cluster.validate(&review), async {
        let held = registry.asked().await;
        daemon.signal("TERM");
        drain_begun(cluster.webhook_port()).await;
        daemon.signal("TERM");
        let status = daemon.ended(START).await;
        assert!(status.code().is_some_and(|code| code != 0), "{status}");
        held
    });
    assert!(answer.is_err(), "{answer:?}");
    assert!(daemon.stderr().contains("second signal") && daemon.stderr().contains("admission"), "{}", daemon.stderr());
}

#[tokio::test]
async fn a_start_that_cannot_be_is_refused_with_all_that_is_wrong() {
    let cluster = FolderCluster::new("");
    let refused = |text: &str| {
        fs::write(cluster.config(), text).or_fail("a configuration");
        let output = Portreeve::finish(&mut cluster.command());
        assert_eq!(output.code, Some(2), "{text}\n{output:?}");
        assert!(output.stdout.is_empty(), "{output:?}");
        output.stderr
    };
    let all = refused(
        "cluster: {folder: manifests}\nhttp: {listn: '127.0.0.1:1', metricsListen: nowhere}\nposture: {rescan: hourly, failOn: \
         some}\nstorage: {}\n",
    );
    for said in ["listn", "nowhere", "hourly", "some", "storage", "portreeve.yaml:2"] {
        assert!(all.contains(said), "{said} is told in\n{all}");
    }
    for (text, said) in [
        ("cluster: {folder: manifests}\nexceptions: [missing.yaml]\n", "missing.yaml"),
        ("cluster: {folder: manifests}\nimages: {policy: no-policy.yaml}\n", "no-policy.yaml"),
        ("cluster: {folder: manifests}\nposture: {frameworks: [nsaa]}\n", "nsaa"),
        ("cluster: {folder: manifests}\nstore: {url: 'mysql://db'}\n", "store.url"),
    ] {
        let problems = refused(text);
        assert!(problems.contains(said), "{said} is told in\n{problems}");
    }
}

#[tokio::test]
async fn a_start_without_a_certificate_a_port_or_a_folder_says_what_to_do_and_is_exit_2() {
    let cluster = FolderCluster::new("");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").or_fail("a port");
    let taken = taken.local_addr().or_fail("its address");
    let (page, metrics) = (free_port(), free_port());
    fs::write(cluster.root().join("garbage.pem"), "no certificate").or_fail("a file");
    let refused = |text: &str, said: &[&str]| {
        let http = format!("http: {{listen: '127.0.0.1:{page}', metricsListen: '127.0.0.1:{metrics}'}}\n");
        let http = if text.contains("http:") { String::new() } else { http };
        fs::write(cluster.config(), format!("cluster: {{folder: manifests}}\n{text}\n{http}")).or_fail("a file");
        let output = Portreeve::finish(&mut cluster.command());
        assert_eq!((output.code, output.stdout.as_str()), (Some(2), ""), "{text}\n{output:?}");
        for said in said {
            assert!(output.stderr.contains(said), "{said} is told in\n{}", output.stderr);
        }
    };
    let webhook = |cert: &str, listen: &str| {
        format!("admission: {{listen: '{listen}', tls: {{certFile: {cert}, keyFile: garbage.pem}}}}")
    };
    refused(
        &webhook("missing.pem", "127.0.0.1:0"),
        &[
            "portreeve.yaml:2:52: 'admission.tls.certFile'",
            "missing.pem does not exist; create it, or correct the path",
        ],
    );
    refused(&webhook("garbage.pem", "127.0.0.1:0"), &["'admission.tls'", "garbage.pem", "are PEM files"]);
    refused(
        &webhook("garbage.pem", &taken.to_string()),
        &["'admission.listen'", &taken.to_string(), "name another one in the configuration"],
    );
    refused(
        &format!("http: {{listen: '{taken}', metricsListen: '127.0.0.1:{metrics}'}}"),
        &["'http.listen'", &taken.to_string(), "end what holds the address, or name another one"],
    );
    refused(
        &format!("http: {{listen: '127.0.0.1:{page}', metricsListen: '{taken}'}}"),
        &["'http.metricsListen'", &taken.to_string()],
    );
    refused(
        "store: {url: 'sqlite://no/such/folder/p.db'}\ntelemetry: {log: 'portreeve=loud'}",
        &["portreeve.yaml:2:14: 'store.url'", "no/such/folder does not exist", "portreeve.yaml:3:18: 'telemetry.log'"],
    );
}

#[tokio::test]
async fn exceptions_of_the_daemon_are_applied_and_audited() {
    let cluster = FolderCluster::new("exceptions: [exceptions.yaml]\n");
    let exception = |name: &str, code: &str, object: &str, expires: &str| {
        format!(
            "---\napiVersion: portreeve.dev/v1alpha1\nkind: Exception\nmetadata: {{name: {name}, namespace: dev}}\nspec: {{codes: \
             [{code}], subjects: {{kinds: [Pod], names: [{object}]}}, owner: team, reason: it is known, expires: {expires}}}\n"
        )
    };
    let text = [
        exception("needed", "C-0057", "miner", "2100-01-01"),
        exception("unneeded", "C-0057", "nobody", "2100-01-01"),
        exception("too-old", "C-0016", "miner", "2020-01-01"),
        exception("mistaken", "C-0017", "miner", "someday"),
    ];
    fs::write(cluster.root().join("exceptions.yaml"), text.concat()).or_fail("exceptions");
    write_pod(&cluster, "dev", "miner");
    let daemon = cluster.serve().await;
    let doors = cluster.doors();
    let says = |open: &[Value], code: &str, name: &str| {
        open.iter().any(|finding| finding["code"] == code && finding["message"].to_string().contains(name))
    };
    let is_audited = |open: &[Value]| {
        says(open, "PR-0002", "unneeded") && says(open, "PR-0003", "too-old") && says(open, "PR-0004", "someday")
    };
    let open = doors.until_open("the audit", is_audited).await;
    assert_eq!(open.iter().filter(|finding| finding["code"] == "PR-0002").count(), 1, "{open:#?}");
    let verdict = |code: &str| {
        open.iter().find(|finding| is_about(finding, code, "miner")).map(|finding| finding["verdict"].clone())
    };
    assert_eq!((verdict("C-0057"), verdict("C-0016")), (Some(json!("excepted")), Some(json!("fail"))));

    // An exception that is needed from now on is not unused any more, without waiting for the next rescan.
    write_pod(&cluster, "dev", "nobody");
    doors
        .until_open("an exception that is needed", |open| !open.iter().any(|finding| finding["code"] == "PR-0002"))
        .await;
    drop(daemon);

    // Findings about exceptions that were taken out or mended are gone after a restart, and those that stay are not
    // doubled.
    fs::write(cluster.root().join("exceptions.yaml"), exception("too-old", "C-0016", "miner", "2020-01-01"))
        .or_fail("exceptions");
    let _daemon = cluster.serve().await;
    let open = doors
        .until_open("fresh findings", |open| {
            let is_old = |finding: &Value| finding["verdict"] == "excepted" || finding["code"] == "PR-0004";
            says(open, "C-0057", "privileged") && !open.iter().any(is_old)
        })
        .await;
    let audits: Vec<_> = open
        .iter()
        .filter(|finding| ["PR-0002", "PR-0003", "PR-0004"].contains(&finding["code"].as_str().unwrap_or("")))
        .collect();
    assert_eq!(audits.len(), 1, "{audits:#?}");
    assert_eq!(audits[0]["lifecycle"]["reopened"], 0, "{audits:#?}");
}

/// Secrets in every place that we read.
const SECRETS: [&str; 6] = [
    "canary-env-7f3a",
    "canary-map-91bc",
    "canary-docker-55de",
    "canary-review-2c4d",
    "canary-garbage-8e1f",
    "canary-secret-0a6b",
];

/// A registry that lets nobody in: it makes the client send what it has.
async fn refuse_all(listener: TcpListener, seen: Arc<Mutex<String>>) {
    while let Ok((mut stream, _)) = listener.accept().await {
        let mut head = vec![0; 8192];
        let read = stream.read(&mut head).await.unwrap_or(0);
        if let Ok(mut seen) = seen.lock() {
            seen.push_str(&String::from_utf8_lossy(&head[..read]).to_lowercase());
        }
        let answer = "HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Basic realm=\"r\"\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
        drop(stream.write_all(answer.as_bytes()).await);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_secret_reaches_a_log_a_page_the_api_a_metric_a_report_or_the_store() {
    let [env, _, docker, review, ..] = SECRETS;
    let registry = Held::new().await;
    let host = registry.host.clone();
    let cluster = registry.cluster(", credentials: {dockerConfig: config.json}");
    let config = fs::read_to_string(cluster.config()).or_fail("the configuration");
    fs::write(cluster.config(), format!("{config}telemetry: {{log: trace, format: json}}\n"))
        .or_fail("a configuration");
    let auth = STANDARD.encode(format!("robot:{docker}"));
    let docker_config = json!({"auths": {host.as_str(): {"auth": auth}}});
    fs::write(cluster.root().join("config.json"), docker_config.to_string()).or_fail("a docker configuration");
    cluster.write("pod.json", &pod("dev", "leaky", leaky(&host, env)).to_string());
    write_other_secrets(&cluster);
    let seen = Arc::default();
    let refusing = tokio::spawn(refuse_all(registry.listener, Arc::clone(&seen)));

    let mut daemon = cluster.serve().await;
    let has = |open: &[Value], code, name| open.iter().any(|finding| is_about(finding, code, name));
    let is_there = |open: &[Value]| has(open, "C-0012", "leaky") && has(open, "PR-1001", "a/b");
    let open = cluster.doors().until_open("findings about what leaks", is_there).await;
    let asked = cluster.validate(&review_of("r", &pod("enforced", "asked", leaky(&host, review)))).await;
    let mut texts = vec![("answer", asked.or_fail("an answer").body)];
    texts.extend(answers(&cluster, &open).await);
    texts.extend(reports(&cluster));
    daemon.signal("TERM");
    assert_eq!(daemon.ended(START).await.code(), Some(0), "{}", daemon.stderr());
    refusing.abort();
    let log = daemon.stderr();
    for line in log.lines() {
        let entry: Value = serde_json::from_str(line).or_fail(&format!("a line of the log is JSON: {line}"));
        assert!(entry["level"].is_string() && entry["timestamp"].is_string(), "{line}");
    }
    assert!(log.lines().count() > 0, "the log has lines");
    texts.extend([("log", log), ("stdout", daemon.stdout())]);
    texts.extend(stored(&cluster));
    let sent = seen.lock().or_fail("what the registry saw").clone();
    assert!(sent.contains(&format!("authorization: basic {}", auth.to_lowercase())), "the password was in use: {sent}");
    for place in ["page", "report", "store"] {
        assert!(texts.iter().any(|(other, text)| place == *other && text.contains("leaky")), "{place} has the Pod");
    }
    for (place, text) in &texts {
        for canary in SECRETS.into_iter().chain([auth.as_str()]) {
            assert_eq!(near(text, canary), None, "{canary} is in the {place}");
        }
    }
}

type Texts = Vec<(&'static str, String)>;

/// A container with a secret in its environment and its command.
fn leaky(host: &str, value: &str) -> Value {
    let env = json!([{"name": "DB_PASSWORD", "value": value}, {"name": "URL", "value": format!("postgres://u:{value}@db/x")}]);
    json!({"name": "app", "image": format!("{host}/a/b:1"), "command": ["run", format!("--password={value}")], "env": env})
}

fn write_other_secrets(cluster: &FolderCluster) {
    let [_, map, _, _, garbage, secret] = SECRETS;
    let metadata = json!({"name": "m", "namespace": "dev"});
    let data = json!({"password": map, "app.ini": format!("password={map}")});
    let map = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data});
    cluster.write("map.json", &map.to_string());
    let data = json!({"p": STANDARD.encode(secret)});
    let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": {"password": secret}, "data": data});
    cluster.write("secret.json", &secret.to_string());
    cluster.write("broken.yaml", &format!("apiVersion: v1\nkind: Secret\nstringData: {{password: \"{garbage}\n"));
}

/// What the doors answer, also to garbage.
async fn answers(cluster: &FolderCluster, open: &[Value]) -> Texts {
    let garbage = SECRETS[4];
    let mut texts = Vec::new();
    let unreadable = json!({"request": {"uid": "x", "object": garbage}}).to_string();
    for (path, body) in
        [("validate", format!("{{\"request\": \"{garbage}")), ("mutate", garbage.to_owned()), ("validate", unreadable)]
    {
        texts.push(("answer to garbage", cluster.post(path, body).await.or_fail("an answer").body));
    }
    let mut pages: Vec<String> =
        ["/", "/api/v1/findings?limit=500&state=all", "/api/v1/summary", "/api/v1/decisions", "/metrics"]
            .map(str::to_owned)
            .into();
    pages.extend(open.iter().filter_map(|finding| Some(format!("/findings/{}", finding["fingerprint"].as_str()?))));
    for path in pages {
        texts.push(("page", cluster.doors().get(&path).await.body));
    }
    texts
}

/// What the commands print about the same files.
fn reports(cluster: &FolderCluster) -> Texts {
    let of = |command: &str, format: &str| {
        let mut line = Portreeve::command();
        line.arg(command).arg("--config").arg(cluster.config()).args(["--format", format]).arg(cluster.manifests());
        let output = Portreeve::finish(&mut line);
        assert!(output.stdout.contains("C-0012"), "{command} {format}: {output:?}");
        [("report", output.stdout), ("stderr of a report", output.stderr)]
    };
    let formats = ["table", "json", "sarif"].into_iter();
    formats.flat_map(|format| of("check", format)).chain(of("gate", "json")).collect()
}

fn stored(cluster: &FolderCluster) -> Texts {
    let files = fs::read_dir(cluster.root().join("store")).or_fail("the store");
    let text = |file: std::io::Result<fs::DirEntry>| {
        let bytes = fs::read(file.or_fail("a file").path()).or_fail("a file of the store");
        ("store", String::from_utf8_lossy(&bytes).into_owned())
    };
    files.map(text).collect()
}

/// What stands around a word.
fn near(text: &str, word: &str) -> Option<String> {
    let start = text.floor_char_boundary(text.find(word)?.saturating_sub(200));
    Some(text[start..].chars().take(400).collect())
}
