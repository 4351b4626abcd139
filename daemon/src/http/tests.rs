//! Promises of the pages, over a real listener.

use std::net::{SocketAddr, TcpListener};

use jiff::Timestamp;
use portreeve_reports::formats::json::finding_value;
use portreeve_reports::{
    Cause, Code, Finding, FindingBuilder, Fix, Location, ObjectRef, Patch, Severity, Subject, Verdict,
};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

use super::*;
use crate::store::{ImageCounts, StoreUrl, SubjectFindings};

/// Names that a tenant could choose, were nobody to check them.
const HOSTILE: &str =
    "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>javascript:alert(3)\u{202e}\0\u{1b}[31m{{7*7}}&amp;";

struct Server {
    _folder: TempDir,
    address: SocketAddr,
    parts: Arc<HttpParts>,
    board: watch::Sender<Board>,
    task: tokio::task::JoinHandle<Result<(), ServeError>>,
}

struct Answer {
    status: u16,
    head: String,
    body: String,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }
}

impl Server {
    async fn new() -> Self {
        Self::with(Limits::default(), Vec::new()).await
    }

    async fn with(limits: Limits, waiting: Vec<&'static str>) -> Self {
        let folder = TempDir::new().unwrap();
        let metrics = Arc::new(Metrics::new("1.2.3"));
        let url = StoreUrl::sqlite(folder.path().join("p.db"));
        let store = Store::open_with(&url, "demo", metrics.store.clone()).await.unwrap();
        let board = watch::Sender::new(Board::default());
        let rule = RuleText {
            title: "title".into(),
            why: "why it matters".into(),
            fix: "do this".into(),
            ..RuleText::default()
        };
        let parts = Arc::new(HttpParts {
            store,
            metrics,
            board: board.subscribe(),
            waiting: Box::new(move || waiting.clone()),
            stale: Box::new(|| 0),
            explain: Box::new(move |code| (code == "C-0057").then(|| rule.clone())),
            shutdown: CancellationToken::new(),
        });
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let router = dashboard(Arc::clone(&parts), Hosts::of(address, &[]), limits);
        let task = tokio::spawn(serve(listener, router, parts.shutdown.clone()));
        Self { _folder: folder, address, parts, board, task }
    }

    async fn get(&self, path: &str) -> Answer {
        self.send(&format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")).await
    }

    async fn send(&self, request: &str) -> Answer {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).await.unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        Answer { status, head: head.to_lowercase(), body: body.to_owned() }
    }

    async fn record(&self, finding: Finding) {
        let subject = finding.subject.key();
        let batch = SubjectFindings { subject, findings: vec![finding], at: Timestamp::now() };
        self.parts.store.record(batch).await.unwrap();
    }
}

fn finding(name: &str, verdict: Verdict) -> FindingBuilder {
    let subject = Subject::Object(ObjectRef {
        api_version: "apps/v1".into(),
        kind: "Deployment".into(),
        namespace: name.into(),
        name: name.into(),
        container: Some(name.into()),
        owner: None,
    });
    let builder = FindingBuilder::new(Code::parse("C-0057").unwrap(), Severity::High, verdict)
        .subject(subject)
        .message(format!("{name} is privileged"))
        .evidence(name, name)
        .location(Location {
            object_path: format!("spec.{name}"),
            file: Some(name.into()),
            line: Some(3),
            ..Default::default()
        })
        .owner(Some(name.into()))
        .related(Subject::File { path: name.into() })
        .fix(Fix {
            patches: vec![Patch { path: "spec.containers[0].securityContext.privileged".into(), value: json!(name) }],
            delete: vec![name.into()],
            commands: vec![name.into()],
        });
    if verdict == Verdict::Unknown { builder.cause(Cause::Unreachable) } else { builder }
}

fn built(name: &str, verdict: Verdict) -> Finding {
    finding(name, verdict).build().unwrap()
}

#[tokio::test]
async fn the_page_shows_the_verdict_coverage_images_and_the_list() {
    let server = Server::new().await;
    let before = server.get("/").await.body;
    assert!(before.contains("<strong>unknown</strong>") && before.contains("nothing has been scanned yet"));
    server.record(built("hub", Verdict::Fail)).await;
    let images = ImageCounts { verified: 3, unsigned: 1, ..ImageCounts::default() };
    server.board.send_replace(Board { coverage: Some(0.9996), images, objects: 9, ..Board::default() });
    let page = server.get("/").await.body;
    for part in [
        "<strong>fail</strong>",
        "1 finding must be fixed",
        "99.9 %",
        "4 images",
        "hub is privileged",
        "hub/Deployment/hub [hub]",
    ] {
        assert!(page.contains(part), "{part}\n{page}");
    }
    server.record(built("hub", Verdict::Pass)).await;
    assert!(server.get("/").await.body.contains("<strong>pass</strong>"));
    server.board.send_replace(Board { coverage: Some(1.0), ..Board::default() });
    let empty = server.get("/").await.body;
    assert!(empty.contains("<strong>unknown</strong>") && empty.contains("there is nothing to judge"));
}

#[tokio::test]
async fn the_detail_shows_evidence_place_reason_fix_and_exception() {
    let server = Server::new().await;
    let finding = built("hub", Verdict::Fail);
    server.record(finding.clone()).await;
    let page = server.get(&format!("/findings/{}", finding.fingerprint)).await;
    assert_eq!(page.status, 200);
    for part in [
        "hub is privileged",
        "<code>spec.hub</code>",
        "hub:3",
        "why it matters",
        "do this",
        "- name: hub",
        "kind: Exception",
        finding.fingerprint.as_str(),
    ] {
        assert!(page.body.contains(part), "{part}\n{}", page.body);
    }
    let missing = server.get(&format!("/findings/{}", "0".repeat(64))).await;
    assert_eq!((missing.status, missing.body.contains("No such finding")), (404, true));
}

#[tokio::test]
async fn hostile_text_is_shown_and_does_nothing() {
    let server = Server::new().await;
    let finding = built(HOSTILE, Verdict::Fail);
    server.record(finding.clone()).await;
    let encoded: String = url::form_urlencoded::byte_serialize(HOSTILE.as_bytes()).collect();
    let detail = format!("/findings/{}", finding.fingerprint);
    let filtered = format!("/?namespace={encoded}&code={encoded}&q={encoded}");
    for path in ["/", detail.as_str(), filtered.as_str()] {
        let page = server.get(path).await;
        assert_eq!(page.status, 200, "{path}");
        for forbidden in ["<script>", "<img src=x", "href=\"javascript", "\u{202e}", "\0", "\u{1b}", "49&amp;"] {
            assert!(!page.body.contains(forbidden), "{forbidden:?} in {path}\n{}", page.body);
        }
        assert!(page.body.contains("\\u{202e}\\u{0}\\u{1b}[31m"), "{path}");
    }
    let invalid = server.get(&format!("/?severity={encoded}")).await;
    assert_eq!(invalid.status, 400);
    assert!(invalid.head.contains("text/plain") && !invalid.body.contains(['\0', '\u{1b}', '\u{202e}']));
}

#[tokio::test]
async fn pages_hold_no_inline_script_style_or_handler() {
    let server = Server::new().await;
    let finding = built("hub", Verdict::Fail);
    server.record(finding.clone()).await;
    for path in ["/".to_owned(), format!("/findings/{}", finding.fingerprint), "/findings/none".to_owned()] {
        let page = server.get(&path).await.body;
        for forbidden in [" style=", "<style", " onclick", " onload", "<script>", "http://", "https://"] {
            assert!(!page.contains(forbidden), "{forbidden} in {path}");
        }
        for expected in ["<html lang=\"en\">", "<main id=\"main\">", "<h1"] {
            assert!(page.contains(expected), "{expected} in {path}");
        }
    }
}

#[tokio::test]
async fn every_answer_carries_the_policy() {
    let server = Server::new().await;
    let paths =
        ["/", "/nothing", "/assets/app.css", "/assets/app.js", "/assets/icon.svg", "/api/v1/summary", "/healthz"];
    for path in paths {
        let answer = server.get(path).await;
        for header in [
            "default-src 'none'; style-src 'self'",
            "frame-ancestors 'none'",
            "nosniff",
            "no-referrer",
            "cache-control",
        ] {
            assert!(answer.head.contains(header), "{header} of {path}\n{}", answer.head);
        }
    }
    assert!(server.get("/assets/../p.db").await.status == 404);
}

#[tokio::test]
async fn only_get_and_head_and_only_our_own_names_are_answered() {
    let server = Server::new().await;
    for method in ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"] {
        let answer = server.send(&format!("{method} / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")).await;
        assert_eq!((answer.status, answer.head.contains("allow: get, head")), (405, true), "{method}");
    }
    let head = server.send("HEAD / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").await;
    assert_eq!((head.status, head.body.as_str()), (200, ""));
    let rebound = server.send("GET /api/v1/findings HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n").await;
    assert_eq!((rebound.status, rebound.body.contains("items")), (421, false));
    let absolute = "GET http://evil.example/ HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    assert_eq!(server.send(absolute).await.status, 421);
}

#[tokio::test]
async fn the_url_is_the_filter_and_a_wrong_one_is_refused() {
    let server = Server::new().await;
    server.record(built("hub", Verdict::Fail)).await;
    server.record(built("proxy", Verdict::Unknown)).await;
    let total = async |query: &str| server.get(&format!("/api/v1/findings?{query}")).await.json()["total"].clone();
    for (query, expected) in [
        ("", 2),
        ("severity=&verdict=fail", 1),
        ("namespace=proxy", 1),
        ("namespace=-", 0),
        ("q=HUB+is", 1),
        ("state=resolved", 0),
        ("state=all&code=C-0057", 2),
        ("limit=1&offset=1", 2),
    ] {
        assert_eq!(total(query).await, expected, "{query}");
    }
    for query in ["severity=worst", "state=gone", "verdict=pass", "limit=x", "colour=red", "page=-1"] {
        assert_eq!(server.get(&format!("/?{query}")).await.status, 400, "{query}");
    }
    let page = server.get("/?verdict=fail&q=hub").await.body;
    assert!(page.contains("value=\"hub\"") && page.contains("<option value=\"fail\" selected>"));
    assert!(page.contains("none of 0") || page.contains("1 finding"));
    assert_eq!(server.get("/?page=99999999999").await.status, 200);
}

#[tokio::test]
async fn the_api_gives_json_v1_with_the_life_beside() {
    let server = Server::new().await;
    let finding = built("hub", Verdict::Fail);
    server.record(finding.clone()).await;
    let page = server.get("/api/v1/findings").await.json();
    let mut item = page["items"][0].clone();
    let lifecycle = item.as_object_mut().unwrap().remove("lifecycle").unwrap();
    assert_eq!(item, finding_value(&finding));
    assert_eq!(
        (&lifecycle["state"], &lifecycle["reopened"], &lifecycle["resolvedAt"]),
        (&json!("open"), &json!(0), &Value::Null)
    );
    assert_eq!(server.get(&format!("/api/v1/findings/{}", finding.fingerprint)).await.json(), page["items"][0]);
    assert_eq!(server.get("/api/v1/findings/none").await.status, 404);
}

#[tokio::test]
async fn the_summary_is_empty_until_something_changed() {
    let server = Server::new().await;
    let summary = server.get("/api/v1/summary").await.json();
    assert_eq!((&summary["verdict"], &summary["coverage"]), (&json!("unknown"), &Value::Null));
    let since = format!("/api/v1/summary?since={}", summary["revision"]);
    assert_eq!(server.get(&since).await.status, 204);
    server.record(built("hub", Verdict::Fail)).await;
    let changed = server.get(&since).await.json();
    assert_eq!((&changed["verdict"], &changed["counts"]["bySeverity"]["high"]), (&json!("fail"), &json!(1)));
    assert_eq!(
        changed["namespaces"][0],
        json!({"namespace": "hub", "failing": {"high": 1}, "undecided": 0, "excepted": 0})
    );
}

#[tokio::test]
async fn metrics_move_with_the_store() {
    let server = Server::new().await;
    let open = "portreeve_findings{severity=\"high\",verdict=\"fail\"}";
    assert!(server.get("/metrics").await.body.contains(&format!("{open} 0\n")));
    server.record(built("hub", Verdict::Fail)).await;
    let metrics = server.get("/metrics").await;
    assert!(metrics.head.contains("text/plain; version=0.0.4; charset=utf-8"));
    for line in [
        &format!("{open} 1\n"),
        "portreeve_findings_opened_total 1\n",
        "portreeve_store_writes_total{result=\"success\"} 1\n",
    ] {
        assert!(metrics.body.contains(line), "{line}\n{}", metrics.body);
    }
    assert!(!metrics.body.contains("# EOF"));
}

#[tokio::test]
async fn ready_names_what_is_waited_for_and_the_page_says_so() {
    let server = Server::with(Limits::default(), vec!["index"]).await;
    let ready = server.get("/readyz").await;
    assert_eq!((ready.status, ready.body.as_str()), (503, "waiting for index\n"));
    assert_eq!(server.get("/healthz").await.body, "ok\n");
    assert!(server.get("/").await.body.contains("waiting for index"));
    assert_eq!(Server::new().await.get("/readyz").await.status, 200);
}

#[tokio::test]
async fn a_server_that_is_dropped_leaves_no_connection_behind() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let router = Router::new().route("/healthz", get(probes::healthz));
    let serving = tokio::spawn(serve(listener, router, CancellationToken::new()));
    let mut stream = BufReader::new(TcpStream::connect(address).await.unwrap());
    stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
    assert_eq!(skip_answer(&mut stream).await, "HTTP/1.1 200 OK");
    serving.abort();
    assert!(serving.await.unwrap_err().is_cancelled());
    let mut rest = Vec::new();
    let ended = tokio::time::timeout(std::time::Duration::from_secs(4), stream.read_to_end(&mut rest)).await;
    assert_eq!(ended.expect("the connection ends with its server").unwrap(), 0);
}

/// Reads one answer with a length and returns its first line.
async fn skip_answer(stream: &mut BufReader<TcpStream>) -> String {
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        stream.read_line(&mut line).await.unwrap();
        match line.trim_end() {
            "" => break,
            line => lines.push(line.to_owned()),
        }
    }
    let length = lines.iter().find_map(|line| line.strip_prefix("content-length: ")).unwrap().parse().unwrap();
    stream.read_exact(&mut vec![0; length]).await.unwrap();
    lines.swap_remove(0)
}

#[tokio::test]
async fn too_many_requests_at_one_time_are_told_to_come_back() {
    let server = Server::with(Limits { in_flight: 0, ..Limits::default() }, Vec::new()).await;
    let answer = server.get("/healthz").await;
    assert_eq!((answer.status, answer.head.contains("retry-after: 1")), (503, true));
}

#[tokio::test]
async fn an_endless_head_is_refused() {
    let server = Server::new().await;
    let request = format!("GET / HTTP/1.1\r\nHost: localhost\r\nX-Long: {}\r\n\r\n", "a".repeat(100_000));
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    // The server may close before it has read all of it.
    drop(stream.write_all(request.as_bytes()).await);
    let mut text = Vec::new();
    drop(stream.read_to_end(&mut text).await);
    assert!(text.is_empty() || text.starts_with(b"HTTP/1.1 431"), "{}", String::from_utf8_lossy(&text));
}

#[tokio::test]
async fn a_client_that_never_finishes_its_head_is_left() {
    let server = Server::new().await;
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nHost: loc").await.unwrap();
    let mut text = Vec::new();
    let closed = tokio::time::timeout(std::time::Duration::from_secs(20), stream.read_to_end(&mut text)).await;
    assert!(closed.is_ok() && !text.starts_with(b"HTTP/1.1 200"));
}

#[tokio::test]
async fn a_page_is_told_of_changes_until_the_shutdown() {
    let server = Server::new().await;
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    stream.write_all(b"GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
    let mut lines = BufReader::new(stream).lines();
    let mut next = async || {
        while let Some(line) = lines.next_line().await.unwrap() {
            if let Some(revision) = line.strip_prefix("data: ") {
                return Some(revision.parse::<u64>().unwrap());
            }
        }
        None
    };
    let first = next().await.unwrap();
    server.record(built("hub", Verdict::Fail)).await;
    assert_eq!(next().await, Some(first + 1));
    server.board.send_replace(Board { coverage: Some(1.0), ..Board::default() });
    assert_eq!(next().await, Some(first + 1));
    server.parts.shutdown.cancel();
    assert_eq!(next().await, None);
    server.task.await.unwrap().unwrap();
}
