//! Whole-process figures beside the peers: `cargo bench -p portreeve-tests --bench product`.
//!
//! Each row is the median of paired runs (ours, theirs, ours, …), so that a drift of the machine meets both. Nothing is
//! asserted: docs/performance.md quotes the medians. kube-score needs `make parts-peers`.

#![expect(clippy::print_stdout, reason = "the figures are the output")]

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use portreeve_tests::binary::Portreeve;
use portreeve_tests::cosign::{Cosign, Storage};
use portreeve_tests::figures::{RUNS, memory, pair, quantile};
use portreeve_tests::parts::Part;
use portreeve_tests::process::{Running, free_port, scratch};
use portreeve_tests::registry::Registry;
use portreeve_tests::{OrFail, fail};
use serde_json::{Value, json};

const WORKLOADS: usize = 1_000;
const ADMISSIONS: usize = 2_000;

#[tokio::main]
async fn main() {
    let _installed_before = rustls::crypto::aws_lc_rs::default_provider().install_default();
    posture();
    images().await;
    daemon().await;
}

/// `check` on generated workloads beside kube-score.
fn posture() {
    let file = scratch("bench-posture").join("workloads.yaml");
    std::fs::write(&file, workloads()).or_fail("writing the workloads");
    let size = std::fs::metadata(&file).or_fail("their size").len();
    println!("check, {WORKLOADS} workloads, {} kB:", size / 1000);
    let ours = || {
        let mut command = Portreeve::command();
        command.args(["check", "--format", "json"]).arg(&file);
        command
    };
    let peer = || {
        let mut command = Command::new(Part::path("kube-score"));
        command.args(["score", "--output-format", "json"]).arg(&file);
        command
    };
    pair(("portreeve check", &ours), ("kube-score score", &peer));
}

/// `verify` beside cosign, on a loopback registry.
async fn images() {
    let registry = Registry::with_referrers().await;
    let image = registry.push_image("bench/app:1");
    let cosign = Cosign::new(registry.docker_config());
    for storage in [Storage::Tag, Storage::Bundle] {
        cosign.sign(&image, storage);
    }
    println!("verify, keyed, loopback registry:");
    let key = cosign.public_key();
    let ours = || {
        let mut command = Portreeve::command();
        command.args(["verify", "--plain-http", registry.host(), "--key"]).arg(&key).arg(&image);
        command
    };
    let peer = || {
        let mut command = cosign.command();
        command.args(["verify", "--insecure-ignore-tlog=true", "--key"]).arg(&key).arg(&image);
        command
    };
    pair(("portreeve verify", &ours), ("cosign verify", &peer));
}

/// Admission, event to finding, and memory of a running daemon over a folder.
async fn daemon() {
    let registry = Registry::with_referrers().await;
    let image = registry.push_image("bench/app:1");
    let cosign = Cosign::new(registry.docker_config());
    cosign.sign(&image, Storage::Bundle);
    let bench = Daemon::start(&registry, &cosign.public_key()).await;
    bench.admission(&image).await;
    bench.event_to_finding().await;
    println!("daemon, resident memory: {} MB", memory(bench.running.id()).0);
}

struct Daemon {
    running: Running,
    folder: PathBuf,
    webhook: u16,
    page: u16,
    client: reqwest::Client,
}

impl Daemon {
    async fn start(registry: &Registry, key: &Path) -> Self {
        let folder = scratch("bench-daemon");
        let certificate = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).or_fail("a certificate");
        let write = |name: &str, text: &str| std::fs::write(folder.join(name), text).or_fail("writing a file");
        std::fs::create_dir(folder.join("manifests")).or_fail("the folder of manifests");
        std::fs::copy(key, folder.join("cosign.pub")).or_fail("copying the key");
        write("tls.crt", &certificate.cert.pem());
        write("tls.key", &certificate.signing_key.serialize_pem());
        write("manifests/pods.yaml", &pods(false));
        write("image-policy.yaml", &policy(registry.host()));
        let (webhook, page) = (free_port(), free_port());
        write("portreeve.yaml", &config(registry.host(), (webhook, page, free_port())));
        let running = Portreeve::serve(&folder.join("portreeve.yaml")).await;
        let root = reqwest::Certificate::from_pem(certificate.cert.pem().as_bytes()).or_fail("our certificate");
        let client = reqwest::Client::builder().tls_certs_only([root]).build().or_fail("a client");
        Self { running, folder, webhook, page, client }
    }

    /// Warm answers of `/validate` for one image, eight at a time.
    async fn admission(&self, image: &str) {
        let body = review(image).to_string();
        self.validate(&body).await;
        let started = Instant::now();
        let workers = (0..8).map(|_| async {
            let mut times = Vec::with_capacity(ADMISSIONS / 8);
            for _ in 0..ADMISSIONS / 8 {
                times.push(self.validate(&body).await);
            }
            times
        });
        let times = futures::future::join_all(workers).await.concat();
        let rate = times.len() as f64 / started.elapsed().as_secs_f64();
        let (p50, p99) = (quantile(&times, 0.5), quantile(&times, 0.99));
        println!("admission, warm, 8 at a time: {rate:.0}/s, p50 {p50:.1?}, p99 {p99:.1?}");
        let mut times = Vec::new();
        for _ in 0..200 {
            times.push(self.validate(&body).await);
        }
        println!(
            "admission, warm, one at a time: p50 {:.1?}, p99 {:.1?}",
            quantile(&times, 0.5),
            quantile(&times, 0.99)
        );
    }

    async fn validate(&self, body: &str) -> Duration {
        let started = Instant::now();
        let url = format!("https://127.0.0.1:{}/validate", self.webhook);
        let request = self.client.post(url).header("content-type", "application/json").body(body.to_owned());
        let answer: Value = request.send().await.or_fail("an answer").json().await.or_fail("JSON");
        if answer["response"]["allowed"] != true {
            fail(format!("the signed image was denied: {answer}"));
        }
        started.elapsed()
    }

    /// From the rename of a manifest to the finding on the API.
    async fn event_to_finding(&self) {
        let mut times = Vec::new();
        for round in 0..RUNS * 2 {
            let wanted = if round % 2 == 0 { 1 } else { 0 };
            let (new, file) = (self.folder.join(".next"), self.folder.join("manifests/pods.yaml"));
            std::fs::write(&new, pods(wanted == 1)).or_fail("writing the manifest");
            let started = Instant::now();
            std::fs::rename(&new, &file).or_fail("replacing the manifest");
            while self.privileged().await != wanted {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            times.push(started.elapsed());
        }
        println!("event to finding, folder: median {:.1?}, max {:.1?}", quantile(&times, 0.5), quantile(&times, 1.0));
    }

    async fn privileged(&self) -> u64 {
        let url = format!("http://127.0.0.1:{}/api/v1/findings?code=C-0057&state=open", self.page);
        let answer: Value = self.client.get(url).send().await.or_fail("the API").json().await.or_fail("JSON");
        answer["items"].as_array().map_or(0, Vec::len) as u64
    }
}

/// Deployments of about 4 kB, half of them hardened.
fn workloads() -> String {
    let mut text = String::new();
    for index in 0..WORKLOADS {
        let hardened = index % 2 == 0;
        let security = if hardened {
            "{allowPrivilegeEscalation: false, readOnlyRootFilesystem: true, capabilities: {drop: [ALL]}}"
        } else {
            "{privileged: true}"
        };
        writeln!(
            text,
            "---\napiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: app-{index}, namespace: ns-{}, labels: {{app: app-{index}}}}}\n\
             spec:\n  selector: {{matchLabels: {{app: app-{index}}}}}\n  template:\n    metadata: {{labels: {{app: app-{index}}}}}\n    \
             spec:\n      containers:",
            index % 20
        )
        .or_fail("formatting");
        for container in ["main", "sidecar", "metrics"] {
            writeln!(text, "        - name: {container}\n          image: quay.io/org/{container}:1.{index}\n          securityContext: {security}\n          env:").or_fail("formatting");
            for variable in 0..18 {
                writeln!(text, "            - name: SETTING_{variable}\n              value: a plain value of some length {variable}").or_fail("formatting");
            }
        }
    }
    text
}

fn pods(privileged: bool) -> String {
    format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: app, namespace: dev}}\nspec:\n  containers:\n    - name: app\n      \
         image: 127.0.0.1:1/none:1\n      securityContext: {{privileged: {privileged}}}\n"
    )
}

fn policy(host: &str) -> String {
    format!(
        "apiVersion: portreeve.dev/v1alpha1\nkind: ImagePolicy\nmetadata: {{name: bench}}\nspec:\n  mode: enforce\n  noMatch: allow\n  rules:\n    \
         - name: bench\n      images: ['{host}/**']\n      authorities: {{list: [{{name: key, key: {{file: cosign.pub}}}}]}}\n"
    )
}

fn config(host: &str, (webhook, page, metrics): (u16, u16, u16)) -> String {
    format!(
        "cluster: {{folder: manifests, name: bench}}\nregistries: [{{host: '{host}', plainHttp: true}}]\nimages: {{policy: image-policy.yaml}}\n\
         admission:\n  listen: '127.0.0.1:{webhook}'\n  tls: {{certFile: tls.crt, keyFile: tls.key}}\n  namespaces: [{{match: [dev], mode: enforce}}]\n\
         http: {{listen: '127.0.0.1:{page}', metricsListen: '127.0.0.1:{metrics}'}}\n"
    )
}

fn review(image: &str) -> Value {
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "app", "namespace": "dev"},
        "spec": {"containers": [{"name": "app", "image": image}]},
    });
    json!({
        "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview",
        "request": {
            "uid": "bench", "operation": "CREATE", "namespace": "dev", "name": "app",
            "kind": {"group": "", "version": "v1", "kind": "Pod"}, "userInfo": {"username": "bench", "groups": []},
            "object": pod,
        },
    })
}
