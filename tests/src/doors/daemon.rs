//! The watch and schedule doors: the daemon on the API server, read through its own API.

use std::path::{Path, PathBuf};

use reqwest::Client;
use serde_json::{Value, json};

use super::findings::{AllSeen, Answers, Seen};
use super::images::Images;
use crate::binary::Portreeve;
use crate::control_plane::ControlPlane;
use crate::process::{Running, START, free_port, scratch, until};
use crate::{OrFail, api, fail};

/// Rows of a page of the API.
const PAGE: usize = 500;

/// A daemon that runs.
pub struct Daemon {
    client: Client,
    url: String,
    webhook: String,
    config: PathBuf,
    namespace: String,
    program: Running,
}

/// The certificate of the webhook.
pub struct Certificate {
    pem: String,
    key: String,
}

impl Certificate {
    /// A self-signed one for loopback.
    pub fn new() -> Self {
        let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).or_fail("a certificate");
        Self { pem: made.cert.pem(), key: made.signing_key.serialize_pem() }
    }
}

impl Default for Certificate {
    fn default() -> Self {
        Self::new()
    }
}

impl Daemon {
    /// Starts a daemon with a store of its own; `rescan` is the cron schedule of posture and images. Nightly jobs are
    /// excepted from one question, so that there are findings with that verdict.
    pub async fn start(plane: &ControlPlane, images: &Images, namespace: &str, rescan: &str) -> Self {
        let files = [("exceptions.yaml", nightly(namespace).to_string())];
        Self::start_with(plane, images, (namespace, rescan), (&json!({}), &files)).await
    }

    /// Starts a daemon whose configuration has these sections besides, and these files.
    pub async fn start_with(
        plane: &ControlPlane,
        images: &Images,
        (namespace, rescan): (&str, &str),
        (sections, files): (&Value, &[(&str, String)]),
    ) -> Self {
        let certificate = Certificate::new();
        let (port, webhook_port) = (free_port(), free_port());
        let config = write_config(plane, images, (&certificate, port, webhook_port), (rescan, sections));
        let trusted = reqwest::Certificate::from_pem(certificate.pem.as_bytes()).or_fail("the certificate");
        let client = api::http_client().tls_certs_only([trusted]).build().or_fail("an HTTP client");
        for (name, text) in files {
            std::fs::write(config.with_file_name(name), text).or_fail(name);
        }
        let program = Portreeve::serve(&config).await;
        let url = format!("http://127.0.0.1:{port}");
        let webhook = format!("https://127.0.0.1:{webhook_port}");
        Self { client, url, webhook, config, namespace: namespace.to_owned(), program }
    }

    /// Its configuration, which the commands may use too.
    pub fn config(&self) -> &Path {
        &self.config
    }

    /// The end of its log, for a failure.
    pub fn log(&self) -> String {
        self.program.stderr()
    }

    /// Posts a review to a path of the webhook; gives `response`.
    pub async fn review(&self, path: &str, review: &Value) -> Value {
        let request = self.client.post(format!("{}{path}", self.webhook)).header("Content-Type", "application/json");
        let answer = request.body(review.to_string()).send().await.or_fail("an answer of the webhook");
        let text = answer.text().await.or_fail("the body of an answer");
        let answer: Value = serde_json::from_str(&text).or_fail(&text);
        assert_eq!(answer["response"]["uid"], review["request"]["uid"], "{text}");
        answer["response"].clone()
    }

    /// Waits until the open findings are as expected; fails with what differs.
    pub async fn until_seen(&self, door: &str, expected: &AllSeen) -> Vec<Value> {
        let found = until(START, || async {
            let open = self.open().await;
            (seen(&open) == *expected).then_some(open)
        });
        match found.await {
            Some(open) => open,
            None => {
                let lines = super::findings::differences(("files", expected), (door, &seen(&self.open().await)));
                fail(format!("{} differences\n{}\n{}", lines.len(), head(&lines), self.log()))
            }
        }
    }

    /// Waits until every open finding was judged again after the last of them had been seen: by the schedule, as
    /// nothing else happens.
    pub async fn until_rescanned(&self) {
        let last = |open: &[Value], latest: bool| {
            let times =
                open.iter().map(|finding| instant(finding["lifecycle"]["lastSeen"].as_str().unwrap_or_default()));
            if latest { times.max() } else { times.min() }
        };
        let before = last(&self.open().await, true);
        let rescanned = until(START, || async { (last(&self.open().await, false) > before).then_some(()) });
        rescanned.await.or_fail("every finding is judged again by the schedule");
    }

    /// The open findings about the namespace and about images. What only one door tells is left out: exceptions are
    /// audited by scans.
    pub async fn open(&self) -> Vec<Value> {
        let mut all: Vec<Value> = Vec::new();
        loop {
            let url = format!("{}/api/v1/findings?limit={PAGE}&offset={}", self.url, all.len());
            let answer = self.client.get(url).send().await.or_fail("the API answers");
            let text = answer.text().await.or_fail("the body of an answer");
            let page: Value = serde_json::from_str(&text).or_fail(&text);
            let items = page["items"].as_array().or_fail("a page has items");
            all.extend(items.iter().cloned());
            if items.len() < PAGE {
                break;
            }
        }
        all.retain(|finding| {
            let subject = &finding["subject"];
            let is_rule = subject["apiVersion"].as_str().is_some_and(|version| version.starts_with("portreeve.dev/"));
            !is_rule && (subject["namespace"] == self.namespace.as_str() || subject["type"] == "image")
        });
        all
    }
}

/// What is to be compared of open findings.
pub fn seen(open: &[Value]) -> AllSeen {
    open.iter().filter_map(Seen::of).collect()
}

/// Their answers; passes are not stored.
pub fn answers(open: &[Value]) -> Answers {
    Answers::of(open)
}

/// The first lines.
pub fn head(lines: &[String]) -> String {
    lines[..lines.len().min(30)].join("\n")
}

/// A timestamp in UTC that compares as text: with all digits of its fraction.
fn instant(time: &str) -> String {
    let (seconds, fraction) = time.trim_end_matches('Z').split_once('.').unwrap_or((time.trim_end_matches('Z'), ""));
    format!("{seconds}.{fraction:0<9}")
}

fn write_config(
    plane: &ControlPlane,
    images: &Images,
    (certificate, port, webhook_port): (&Certificate, u16, u16),
    (rescan, sections): (&str, &Value),
) -> PathBuf {
    let folder = scratch("daemon");
    let save = |name: &str, text: &str| std::fs::write(folder.join(name), text).or_fail(name);
    save("webhook.pem", &certificate.pem);
    save("webhook.key", &certificate.key);
    save("params.yaml", &images.params().to_string());
    let policy = images.write_policy(&folder);
    let mut config = json!({
        "cluster": {"kubeconfig": plane.kubeconfig()},
        "registries": [{"host": images.host(), "plainHttp": true}],
        "images": {"policy": policy, "rescan": rescan},
        "posture": {"params": "params.yaml", "rescan": rescan},
        "exceptions": ["exceptions.yaml"],
        "store": {"url": "sqlite://portreeve.db"},
        "admission": {
            "listen": format!("127.0.0.1:{webhook_port}"), "deadline": "9s",
            "tls": {"certFile": "webhook.pem", "keyFile": "webhook.key"},
        },
        "http": {"listen": format!("127.0.0.1:{port}"), "metricsListen": format!("127.0.0.1:{}", free_port())},
        "telemetry": {"log": "warn"},
    });
    lay_over(&mut config, sections);
    save("portreeve.yaml", &config.to_string());
    folder.join("portreeve.yaml")
}

/// Maps are merged, anything else is replaced.
fn lay_over(under: &mut Value, over: &Value) {
    match (under.as_object_mut(), over.as_object()) {
        (Some(under), Some(over)) => {
            over.iter().for_each(|(key, value)| lay_over(under.entry(key.clone()).or_insert(Value::Null), value));
        }
        _ => *under = over.clone(),
    }
}

/// An exception of nightly jobs.
fn nightly(namespace: &str) -> Value {
    json!({
        "apiVersion": "portreeve.dev/v1alpha1", "kind": "Exception",
        "metadata": {"name": "nightly", "namespace": namespace},
        "spec": {
            "codes": ["C-0017"], "subjects": {"kinds": ["CronJob"]}, "owner": "team-platform",
            "approvedBy": "security@example.org", "reason": "nightly jobs unpack archives", "expires": "2099-01-31",
        },
    })
}
