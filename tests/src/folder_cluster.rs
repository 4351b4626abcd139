//! The daemon on a folder of manifests: its files, its doors, and what they answer.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use rcgen::{CertificateParams, KeyPair};
use reqwest::{Certificate, Client, Response};
use serde_json::{Value, json};

use crate::binary::Portreeve;
use crate::postgres::{self, Postgres};
use crate::process::{Running, free_port, scratch, until};
use crate::{OrFail, api, fail, openmetrics};

/// How long anything that the daemon should do may take on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A folder with manifests, a store and a configuration whose addresses stay the same over restarts.
pub struct FolderCluster {
    root: PathBuf,
    dashboard: Doors,
    page: u16,
    webhook: u16,
    https: Client,
    environment: Vec<(&'static str, &'static str)>,
}

/// The addresses of page and metrics.
#[derive(Clone, Debug)]
pub struct Doors {
    client: Client,
    page: String,
    metrics: String,
}

/// An answer in plain HTTP.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// `name: value` lines, names in lower case.
    pub head: String,
    /// The body.
    pub body: String,
}

impl Answer {
    /// Reads an answer to its end.
    pub async fn of(response: Response) -> Self {
        let status = response.status().as_u16();
        let line = |(name, value): (_, &reqwest::header::HeaderValue)| {
            format!("{name}: {}\n", String::from_utf8_lossy(value.as_bytes()))
        };
        let head = response.headers().iter().map(|(name, value)| line((name.as_str(), value))).collect();
        Self { status, head, body: response.text().await.or_fail("the body of an answer") }
    }

    /// The body as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).or_fail(&format!("JSON in {} {}", self.status, self.body))
    }
}

impl Doors {
    /// The doors at two loopback ports.
    pub fn at(page: u16, metrics: u16) -> Self {
        let client = api::http_client().build().or_fail("an HTTP client");
        let [page, metrics] = [page, metrics].map(|port| format!("http://127.0.0.1:{port}"));
        Self { client, page, metrics }
    }

    /// The client, for requests of another kind.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// The address of a path of the page's door.
    pub fn url(&self, path: &str) -> String {
        format!("{}{path}", self.page)
    }

    /// What a path of the page's door answers.
    pub async fn get(&self, path: &str) -> Answer {
        Answer::of(self.client.get(self.url(path)).send().await.or_fail(path)).await
    }

    /// What a path of the metrics' door answers.
    pub async fn health(&self, path: &str) -> Answer {
        Answer::of(self.client.get(format!("{}{path}", self.metrics)).send().await.or_fail(path)).await
    }

    /// The metrics as OpenMetrics.
    pub async fn open_metrics(&self) -> Answer {
        let request = self.client.get(format!("{}/metrics", self.metrics));
        Answer::of(request.header("accept", openmetrics::MEDIA_TYPE).send().await.or_fail("/metrics")).await
    }

    /// The open findings, at most 500.
    pub async fn open(&self) -> Vec<Value> {
        let page = self.get("/api/v1/findings?limit=500").await.json();
        assert!(page["total"].as_u64() <= Some(500), "a test has few findings: {}", page["total"]);
        page["items"].as_array().cloned().or_fail("items of a page of findings")
    }

    /// Waits until the open findings are as wanted.
    pub async fn until_open(&self, what: &str, wanted: impl Fn(&[Value]) -> bool) -> Vec<Value> {
        let found = until(PATIENCE, || async { Some(self.open().await).filter(|open| wanted(open)) });
        match found.await {
            Some(open) => open,
            None => {
                let open: Vec<String> = self.open().await.iter().map(in_short).collect();
                fail(format!("{what} did not come; open are\n{}", open.join("\n")))
            }
        }
    }

    /// The samples of `/metrics`, read by the strict parser.
    pub async fn samples(&self) -> BTreeMap<String, f64> {
        openmetrics::parse(&self.open_metrics().await.body).or_fail("OpenMetrics")
    }

    /// The value of a series, given as the exposition writes it.
    pub async fn sample(&self, series: &str) -> f64 {
        let text = self.health("/metrics").await.body;
        let value = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        value.and_then(|value| value.parse().ok()).or_fail(&format!("{series} in\n{text}"))
    }

    /// Waits until the value of a series is as wanted.
    pub async fn until_sample(&self, series: &str, wanted: impl Fn(f64) -> bool) -> f64 {
        let found = until(PATIENCE, || async { Some(self.sample(series).await).filter(|value| wanted(*value)) });
        match found.await {
            Some(value) => value,
            None => fail(format!("{series} stays at {}, which is not what is wanted", self.sample(series).await)),
        }
    }
}

/// `verdict code subject: message` of a finding.
pub fn in_short(finding: &Value) -> String {
    let subject = &finding["subject"];
    format!("{} {} {subject}: {}", finding["verdict"], finding["code"], finding["message"])
}

/// Whether a finding has this code and its subject, in whatever field, this text.
pub fn is_about(finding: &Value, code: &str, text: &str) -> bool {
    finding["code"] == code && finding["subject"].to_string().contains(text)
}

impl FolderCluster {
    /// A cluster without objects; namespaces whose name starts with `enforced` enforce. `more` is added to the
    /// configuration.
    pub fn new(more: &str) -> Self {
        Self::with_store("sqlite://store/portreeve.db", more)
    }

    /// The same with its store in a database of this server: a replica of every other that has its store there.
    pub fn on_postgres(server: &Postgres, more: &str) -> Self {
        let environment = vec![("PGPASSWORD", postgres::PASSWORD)];
        Self { environment, ..Self::with_store(&server.url(postgres::DATABASE), more) }
    }

    fn with_store(store: &str, more: &str) -> Self {
        let root = scratch("folder-cluster");
        ["manifests", "store"].iter().for_each(|name| fs::create_dir(root.join(name)).or_fail("a folder"));
        let (page, metrics, webhook) = (free_port(), free_port(), free_port());
        let ca = write_certificate(&root);
        let text = format!(
            "cluster: {{folder: manifests, name: folder}}\n\
             store: {{url: '{store}'}}\n\
             http: {{listen: '127.0.0.1:{page}', metricsListen: '127.0.0.1:{metrics}'}}\n\
             admission:\n  listen: '127.0.0.1:{webhook}'\n  deadline: 8s\n  \
             namespaces: [{{match: ['enforced*'], mode: enforce}}]\n  \
             tls: {{certFile: tls.crt, keyFile: tls.key}}\n{more}"
        );
        fs::write(root.join("portreeve.yaml"), text).or_fail("a configuration");
        let https = api::http_client().tls_certs_only([ca]).build().or_fail("an HTTPS client");
        Self { root, dashboard: Doors::at(page, metrics), page, webhook, https, environment: Vec::new() }
    }

    /// The folder of everything.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The configuration file.
    pub fn config(&self) -> PathBuf {
        self.root.join("portreeve.yaml")
    }

    /// The database.
    pub fn database(&self) -> PathBuf {
        self.root.join("store/portreeve.db")
    }

    /// The folder of the manifests.
    pub fn manifests(&self) -> PathBuf {
        self.root.join("manifests")
    }

    /// Page and metrics.
    pub fn doors(&self) -> &Doors {
        &self.dashboard
    }

    /// The port of the webhook.
    pub fn webhook_port(&self) -> u16 {
        self.webhook
    }

    /// The port of the page.
    pub fn page_port(&self) -> u16 {
        self.page
    }

    /// Writes a manifest.
    pub fn write(&self, name: &str, text: &str) {
        fs::write(self.manifests().join(name), text).or_fail(name);
    }

    /// Deletes a manifest.
    pub fn delete(&self, name: &str) {
        fs::remove_file(self.manifests().join(name)).or_fail(name);
    }

    /// The command that serves this cluster.
    pub fn command(&self) -> Command {
        let mut command = Portreeve::command();
        command.arg("serve").arg("--config").arg(self.config()).current_dir(&self.root);
        command.envs(self.environment.iter().copied());
        command
    }

    /// The daemon, ready.
    pub async fn serve(&self) -> Running {
        Portreeve::serve_by(&mut self.command()).await
    }

    /// What `/validate` answers to a review; an error of the connection otherwise.
    pub async fn validate(&self, review: &Value) -> Result<Answer, reqwest::Error> {
        self.post("validate", review.to_string()).await
    }

    /// What a path of the webhook answers to a body.
    pub async fn post(&self, path: &str, body: String) -> Result<Answer, reqwest::Error> {
        let url = format!("https://localhost:{}/{path}", self.webhook);
        let request = self.https.post(url).header("content-type", "application/json").body(body);
        let response = request.send().await?;
        let status = response.status().as_u16();
        Ok(Answer { status, head: String::new(), body: response.text().await? })
    }
}

/// A certificate for `localhost` beside the configuration; it is its own CA.
fn write_certificate(root: &Path) -> Certificate {
    let key = KeyPair::generate().or_fail("a key");
    let params = CertificateParams::new(vec!["localhost".to_owned()]).or_fail("a certificate request");
    let pem = params.self_signed(&key).or_fail("a certificate").pem();
    fs::write(root.join("tls.crt"), &pem).or_fail("a certificate file");
    fs::write(root.join("tls.key"), key.serialize_pem()).or_fail("a key file");
    Certificate::from_pem(pem.as_bytes()).or_fail("a certificate that was just made")
}

/// An AdmissionReview that creates an object.
pub fn review_of(uid: &str, object: &Value) -> Value {
    let (group, version) = match object["apiVersion"].as_str().unwrap_or_default().split_once('/') {
        Some((group, version)) => (group.to_owned(), version.to_owned()),
        None => (String::new(), object["apiVersion"].as_str().unwrap_or_default().to_owned()),
    };
    let kind = json!({"group": group, "version": version, "kind": object["kind"]});
    let plural = format!("{}s", object["kind"].as_str().unwrap_or_default().to_lowercase());
    json!({
        "apiVersion": "admission.k8s.io/v1",
        "kind": "AdmissionReview",
        "request": {
            "uid": uid, "kind": kind, "requestKind": kind,
            "resource": {"group": group, "version": version, "resource": plural},
            "name": object["metadata"]["name"], "namespace": object["metadata"]["namespace"],
            "operation": "CREATE", "userInfo": {"username": "ada", "groups": ["system:authenticated"]},
            "object": object, "oldObject": null, "dryRun": false,
        },
    })
}

/// A Pod with one container.
pub fn pod(namespace: &str, name: &str, container: Value) -> Value {
    let metadata = json!({"name": name, "namespace": namespace});
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": {"containers": [container]}})
}
