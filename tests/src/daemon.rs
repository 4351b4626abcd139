//! `portreeve serve` as a process on loopback, and what it answers.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use reqwest::{Client, StatusCode};
use serde_json::{Value, json};

use crate::api::http_client;
use crate::binary::Portreeve;
use crate::openmetrics;
use crate::postgres::{self, Postgres};
use crate::process::{Running, START, free_port, scratch, until};
use crate::{OrFail, fail};

/// Prints the rows of `decisions` as a JSON array.
const DECISIONS: &str = r"
import json, sqlite3, sys
store = sqlite3.connect(f'file:{sys.argv[1]}?mode=ro', uri=True)
store.row_factory = sqlite3.Row
rows = store.execute('SELECT * FROM decisions ORDER BY decided_at, id')
print(json.dumps([dict(row) for row in rows]))
";

/// A daemon: its files and addresses outlive its process, which can be ended and started again.
pub struct Daemon {
    folder: PathBuf,
    dashboard: String,
    health: String,
    client: Client,
    store: String,
    process: Option<Running>,
}

impl Daemon {
    /// Writes the configuration, with free addresses and a store of its own, and the files it names. Nothing runs yet.
    pub fn configured(config: &Value, files: &[(String, String)]) -> Self {
        Self::with_store(config, files, "sqlite://store.db".to_owned())
    }

    /// The same with its store in a database of this server: a replica of every other that has its store there.
    pub fn on_postgres(server: &Postgres, config: &Value) -> Self {
        Self::with_store(config, &[], server.url(postgres::DATABASE))
    }

    fn with_store(config: &Value, files: &[(String, String)], store: String) -> Self {
        let folder = scratch("daemon");
        let [dashboard, health] = [free_port(), free_port()].map(|port| format!("127.0.0.1:{port}"));
        let client = http_client().build().or_fail("an HTTP client");
        let daemon = Self { folder, dashboard, health, client, store, process: None };
        files.iter().for_each(|(name, content)| daemon.write(name, content));
        daemon.configure(config);
        daemon
    }

    /// Writes another configuration; it holds from the next start.
    pub fn configure(&self, config: &Value) {
        let mut config = config.clone();
        config["http"] = json!({"listen": self.dashboard, "metricsListen": self.health});
        config["store"] = json!({"url": self.store});
        self.write("portreeve.yaml", &config.to_string());
    }

    /// Writes a file beside the configuration.
    pub fn write(&self, name: &str, content: &str) {
        fs::write(self.folder.join(name), content).or_fail(name);
    }

    /// The folder of the configuration.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The page.
    pub fn url(&self) -> String {
        format!("http://{}/", self.dashboard)
    }

    /// Starts the process and waits until it is ready.
    pub async fn start(&mut self) {
        self.launch().line("ready http://", START).await;
    }

    /// Starts the process.
    pub fn launch(&mut self) -> &mut Running {
        let mut command: Command = Portreeve::command();
        // A store in a file asks nobody for a password.
        let command = command
            .env("PGPASSWORD", postgres::PASSWORD)
            .arg("serve")
            .arg("--config")
            .arg(self.folder.join("portreeve.yaml"));
        self.process.insert(Running::start("portreeve", command))
    }

    /// The process.
    pub fn process(&mut self) -> &mut Running {
        self.process.as_mut().or_fail("the daemon runs")
    }

    /// What it has logged.
    pub fn log(&self) -> String {
        self.process.as_ref().or_fail("the daemon runs").stderr()
    }

    /// Kills the process.
    pub fn kill(&mut self) {
        self.process = None;
    }

    /// What the address of health and metrics answers; `None` when nobody does.
    pub async fn health(&self, path: &str) -> Option<(u16, String)> {
        self.ask(&format!("http://{}{path}", self.health)).await
    }

    /// What the address of page and API answers.
    pub async fn page(&self, path: &str) -> Option<(u16, String)> {
        self.ask(&format!("http://{}{path}", self.dashboard)).await
    }

    /// Waits for an answer with this code.
    pub async fn wait_for_health(&self, path: &str, code: u16) -> String {
        let answer = || async { self.health(path).await.filter(|(status, _)| *status == code) };
        match until(START, answer).await {
            Some((_, text)) => text,
            None => fail(format!("{path} did not answer {code}: {:?}", self.health(path).await)),
        }
    }

    /// Findings, by a query such as `code=PR-1001&state=all`; at most 500.
    pub async fn findings(&self, query: &str) -> Vec<Value> {
        let answer = self.page(&format!("/api/v1/findings?limit=500&{query}")).await;
        let (code, text) = answer.or_fail("the API answers");
        assert_eq!(code, StatusCode::OK.as_u16(), "{query}: {text}");
        let page: Value = serde_json::from_str(&text).or_fail("the API answers JSON");
        page["items"].as_array().or_fail("a page has items").clone()
    }

    /// Reads findings until the probe finds what it looks for among them.
    pub async fn wait_for<T>(&self, query: &str, what: &str, probe: impl Fn(&[Value]) -> Option<T>) -> T {
        match until(START, || async { probe(&self.findings(query).await) }).await {
            Some(found) => found,
            None => {
                fail(format!("{query}: {what} did not come: {}", summaries(&self.findings(query).await).join("\n")))
            }
        }
    }

    /// The sum of the samples whose name with labels starts so.
    pub async fn metric(&self, prefix: &str) -> f64 {
        let request = self.client.get(format!("http://{}/metrics", self.health));
        let answer = request.header("accept", openmetrics::MEDIA_TYPE).send().await.or_fail("/metrics answers");
        let text = answer.text().await.or_fail("/metrics");
        let samples = openmetrics::parse(&text).or_fail("/metrics");
        let found: Vec<f64> =
            samples.iter().filter(|(name, _)| name.starts_with(prefix)).map(|(_, value)| *value).collect();
        assert!(!found.is_empty(), "there is a metric {prefix}");
        found.iter().sum()
    }

    /// Waits until a metric has this value.
    pub async fn wait_for_metric(&self, prefix: &str, wanted: f64) {
        let is_there = || async { (self.metric(prefix).await == wanted).then_some(()) };
        if until(START, is_there).await.is_none() {
            fail(format!("{prefix} did not become {wanted}: {}", self.metric(prefix).await));
        }
    }

    /// The rows of the recorded decisions, oldest first.
    pub fn decisions(&self) -> Vec<Value> {
        let output = Command::new("python3").args(["-c", DECISIONS]).arg(self.folder.join("store.db")).output();
        let output = output.or_fail("running python3");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).or_fail("decisions as JSON")
    }

    async fn ask(&self, url: &str) -> Option<(u16, String)> {
        let response = self.client.get(url).send().await.ok()?;
        Some((response.status().as_u16(), response.text().await.ok()?))
    }
}

/// Findings in short, for messages of tests: `C-0016 fail Pod ns/name: message`.
pub fn summaries(findings: &[Value]) -> Vec<String> {
    let word = |value: &Value| value.as_str().unwrap_or("-").to_owned();
    let summary = |finding: &Value| {
        let subject = &finding["subject"];
        let name = if subject["type"] == "image" { word(&subject["reference"]) } else { word(&subject["name"]) };
        let place = format!("{} {}/{name}", word(&subject["kind"]), word(&subject["namespace"]));
        format!("{} {} {place}: {}", word(&finding["code"]), word(&finding["verdict"]), word(&finding["message"]))
    };
    findings.iter().map(summary).collect()
}
