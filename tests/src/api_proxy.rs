//! A proxy in front of the real API server: it sees each request whole, counts the writes, and does to chosen ones
//! what networks and busy servers do. Clients reach it on loopback over plain http and bring their own token.
//!
//! [`after_each_write`] is the crash test of everything that writes to a cluster: kill the process after its first
//! write, its second, its third …, start it again, and find the same end each time.

use std::future::Future;
use std::path::PathBuf;
use std::process::Command;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use reqwest::{Client, Method};
use serde_json::json;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};

use crate::OrFail as _;
use crate::control_plane::ControlPlane;
use crate::process::scratch;

/// Largest request that is passed on.
const MAX_BODY: usize = 16 << 20;

/// One request that passed, with what the API server answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Write {
    /// `POST`, `PUT`, `PATCH` or `DELETE`.
    pub method: String,
    /// Path with query.
    pub path: String,
    /// The answer's code.
    pub code: u16,
}

impl std::fmt::Display for Write {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {} -> {}", self.method, self.path, self.code)
    }
}

/// Which requests a fault is for.
#[derive(Clone, Debug)]
pub struct Match {
    method: Option<&'static str>,
    path: String,
    query: &'static str,
}

impl Match {
    /// Every request whose path contains the text.
    pub fn path(text: &str) -> Self {
        Self { method: None, path: text.to_owned(), query: "" }
    }

    /// Those whose path or query contains this, too.
    pub fn query(self, query: &'static str) -> Self {
        Self { query, ..self }
    }

    /// Those with this method.
    pub fn method(self, method: &'static str) -> Self {
        Self { method: Some(method), ..self }
    }

    fn is(&self, request: &Request) -> bool {
        self.method.is_none_or(|method| method == request.method)
            && request.path.contains(&self.path)
            && request.path.contains(self.query)
    }
}

/// What happens to a request.
#[derive(Clone, Debug)]
pub enum Fault {
    /// It is not passed on, and this comes back: 403, 409, 500 ….
    Answer(u16),
    /// It is not passed on, and nothing ever comes back.
    Hang,
    /// It is passed on and done, but its answer never comes.
    SwallowAnswer,
    /// It is passed on after a while.
    Delay(Duration),
    /// The connection ends without an answer.
    Drop,
    /// The answer of the first matching read is given to all later ones.
    Stale,
}

/// When the process that writes is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kill {
    /// When the API server has done it, before the process hears of it.
    BeforeAnswer,
    /// When the process has been answered.
    AfterAnswer,
}

/// The proxy. Dropping it ends its task.
pub struct ApiProxy {
    shared: Arc<Shared>,
    address: String,
    token: String,
    task: tokio::task::JoinHandle<()>,
}

struct Shared {
    client: Client,
    server: String,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    writes: Vec<Write>,
    faults: Vec<(Match, Fault, Option<u64>)>,
    stale: Vec<(String, Answer)>,
    kill: Option<(usize, u32, Kill)>,
    killed: bool,
    /// Only these writes are noted; all when absent.
    noted: Option<Match>,
    /// How many requests of a kind came.
    counted: Option<(Match, usize)>,
    /// Connections end when this changes.
    cut: Option<tokio::sync::watch::Sender<u64>>,
}

#[derive(Clone, Debug)]
struct Request {
    method: String,
    path: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

#[derive(Clone, Debug)]
struct Answer {
    code: u16,
    content_type: String,
    body: Vec<u8>,
}

impl ApiProxy {
    /// A proxy in front of this control plane.
    pub async fn start(plane: &ControlPlane) -> Self {
        let ca = reqwest::Certificate::from_pem(plane.ca_pem().as_bytes()).or_fail("the CA of the API server");
        let builder = Client::builder().no_proxy().http1_only().pool_max_idle_per_host(0).tls_certs_only([ca]);
        let client = builder.build().or_fail("an HTTP client");
        let cut = Some(tokio::sync::watch::channel(0).0);
        let state = Mutex::new(State { cut, ..State::default() });
        let shared = Arc::new(Shared { client, server: plane.server().to_owned(), state });
        let listener = TcpListener::bind("127.0.0.1:0").await.or_fail("a loopback port");
        let address = listener.local_addr().or_fail("the address of a listener").to_string();
        let task = tokio::spawn(accept(listener, Arc::clone(&shared)));
        Self { shared, address, token: plane.admin_token().to_owned(), task }
    }

    /// A kubeconfig file of the administrator, by way of the proxy.
    pub fn kubeconfig(&self) -> PathBuf {
        self.kubeconfig_with(&self.token)
    }

    /// The same for a token of somebody else.
    pub fn kubeconfig_with(&self, token: &str) -> PathBuf {
        let path = scratch("proxied").join("kubeconfig");
        let config = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "proxied",
            "clusters": [{"name": "proxied", "cluster": {"server": format!("http://{}", self.address)}}],
            "users": [{"name": "user", "user": {"token": token}}],
            "contexts": [{"name": "proxied", "context": {"cluster": "proxied", "user": "user"}}],
        });
        std::fs::write(&path, config.to_string()).or_fail("a kubeconfig file");
        path
    }

    /// The writes that were answered with success, oldest first.
    pub fn writes(&self) -> Vec<Write> {
        self.shared.state().writes.clone()
    }

    /// From now on only matching writes are noted and counted.
    pub fn note_only(&self, which: Match) {
        self.shared.state().noted = Some(which);
    }

    /// From now on requests of this kind are counted, whether they write or not.
    pub fn count(&self, which: Match) {
        self.shared.state().counted = Some((which, 0));
    }

    /// How many requests of the kind came since [`ApiProxy::count`].
    pub fn counted(&self) -> usize {
        self.shared.state().counted.as_ref().map_or(0, |(_, count)| *count)
    }

    /// Forgets the writes.
    pub fn forget(&self) {
        self.shared.state().writes.clear();
    }

    /// Does this to matching requests from now on; `times` limits it.
    pub fn fault(&self, which: Match, fault: Fault, times: Option<u64>) {
        self.shared.state().faults.push((which, fault, times));
    }

    /// No faults any more.
    pub fn heal(&self) {
        let mut state = self.shared.state();
        state.faults.clear();
        state.stale.clear();
    }

    /// Ends all open connections, watches among them.
    pub fn cut(&self) {
        if let Some(cut) = &self.shared.state().cut {
            cut.send_modify(|generation| *generation += 1);
        }
    }

    /// Kills this process at its n-th write from now on, counted from 1; nothing of it passes afterwards.
    pub fn kill_at(&self, n: usize, process: u32, when: Kill) {
        let mut state = self.shared.state();
        state.writes.clear();
        (state.kill, state.killed) = (Some((n, process, when)), false);
    }

    /// Whether the kill has happened.
    pub fn has_killed(&self) -> bool {
        self.shared.state().killed
    }

    /// Lets everything pass again.
    pub fn forget_kill(&self) {
        let mut state = self.shared.state();
        (state.kill, state.killed) = (None, false);
    }
}

impl Drop for ApiProxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The fault of a request, used up when it is limited; the request is counted.
    fn fault_of(&self, request: &Request) -> Option<Fault> {
        let mut state = self.state();
        if let Some((_, count)) = state.counted.as_mut().filter(|(which, _)| which.is(request)) {
            *count += 1;
        }
        let found = state.faults.iter_mut().find(|(which, _, left)| which.is(request) && *left != Some(0))?;
        if let Some(left) = &mut found.2 {
            *left -= 1;
        }
        Some(found.1.clone())
    }

    /// Notes a write that was done (a dry run does nothing); the process to kill because of it.
    fn note(&self, request: &Request, code: u16) -> Option<(u32, Kill)> {
        let is_dry_run = request.path.contains("dryRun=");
        if request.method == "GET" || is_dry_run || !(200..300).contains(&code) {
            return None;
        }
        let mut state = self.state();
        if state.noted.as_ref().is_some_and(|noted| !noted.is(request)) {
            return None;
        }
        state.writes.push(Write { method: request.method.clone(), path: request.path.clone(), code });
        let (n, process, when) = state.kill?;
        if state.writes.len() < n || state.killed {
            return None;
        }
        state.killed = true;
        Some((process, when))
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    // Its tasks end with it.
    let mut connections = tokio::task::JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let shared = Arc::clone(&shared);
        let mut cut = shared.state().cut.as_ref().map(tokio::sync::watch::Sender::subscribe);
        connections.spawn(async move {
            let is_cut = async {
                match &mut cut {
                    Some(cut) => drop(cut.changed().await),
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                _ended = serve(stream, &shared) => {}
                () = is_cut => {}
            }
        });
    }
}

/// Serves one connection, one request after the other.
async fn serve(stream: TcpStream, shared: &Shared) -> std::io::Result<()> {
    let mut stream = BufReader::new(stream);
    while let Some(request) = read_request(&mut stream).await? {
        if shared.state().killed {
            return Ok(());
        }
        let fault = shared.fault_of(&request);
        match fault {
            Some(Fault::Hang) => std::future::pending::<()>().await,
            Some(Fault::Drop) => return Ok(()),
            Some(Fault::Answer(code)) => {
                write_answer(&mut stream, &refusal(code)).await?;
                continue;
            }
            Some(Fault::Delay(time)) => tokio::time::sleep(time).await,
            _ => {}
        }
        if is_watch(&request) {
            return stream_through(stream.into_inner(), &request, shared).await;
        }
        let answer = match (&fault, stale(shared, &request, fault.as_ref())) {
            (_, Some(answer)) => answer,
            _ => pass(shared, &request).await?,
        };
        if matches!(fault, Some(Fault::Stale)) {
            shared.state().stale.push((request.path.clone(), answer.clone()));
        }
        let kill = shared.note(&request, answer.code);
        if let Some((process, Kill::BeforeAnswer)) = kill {
            kill_process(process);
            return Ok(());
        }
        if matches!(fault, Some(Fault::SwallowAnswer)) {
            std::future::pending::<()>().await;
        }
        write_answer(&mut stream, &answer).await?;
        if let Some((process, Kill::AfterAnswer)) = kill {
            kill_process(process);
            return Ok(());
        }
    }
    Ok(())
}

fn is_watch(request: &Request) -> bool {
    request.path.contains("watch=true") || request.path.contains("watch=1")
}

fn stale(shared: &Shared, request: &Request, fault: Option<&Fault>) -> Option<Answer> {
    let is_stale = matches!(fault, Some(Fault::Stale)) && request.method == "GET";
    let state = shared.state();
    is_stale.then(|| state.stale.iter().find(|(path, _)| *path == request.path).map(|(_, answer)| answer.clone()))?
}

fn kill_process(process: u32) {
    let status = Command::new("kill").args(["-s", "KILL", "--", &process.to_string()]).status();
    status.or_fail("the kill program");
}

fn refusal(code: u16) -> Answer {
    let reason = match code {
        403 => "Forbidden",
        404 => "NotFound",
        409 => "Conflict",
        410 => "Expired",
        _ => "InternalError",
    };
    let status = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "code": code,
        "reason": reason, "message": format!("the proxy answers {code}")});
    Answer { code, content_type: "application/json".to_owned(), body: status.to_string().into_bytes() }
}

async fn read_request(stream: &mut BufReader<TcpStream>) -> std::io::Result<Option<Request>> {
    let mut line = String::new();
    if stream.read_line(&mut line).await? == 0 {
        return Ok(None);
    }
    let mut words = line.split_whitespace().map(str::to_owned);
    let (Some(method), Some(path)) = (words.next(), words.next()) else { return Ok(None) };
    let mut headers = Vec::new();
    loop {
        let mut line = String::new();
        stream.read_line(&mut line).await?;
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
    let header = |wanted: &str| headers.iter().find(|(name, _)| name == wanted).map(|(_, value)| value.clone());
    let length = header("content-length").and_then(|value| value.parse().ok()).unwrap_or(0_usize);
    let body = match header("transfer-encoding") {
        Some(_) => read_chunks(stream).await?,
        None => {
            let mut body = vec![0; length.min(MAX_BODY)];
            stream.read_exact(&mut body).await?;
            body
        }
    };
    Ok(Some(Request { method, path, headers, body }))
}

async fn read_chunks(stream: &mut BufReader<TcpStream>) -> std::io::Result<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let mut line = String::new();
        stream.read_line(&mut line).await?;
        let size = usize::from_str_radix(line.trim(), 16).map_err(std::io::Error::other)?;
        let mut chunk = vec![0; size.min(MAX_BODY) + 2];
        stream.read_exact(&mut chunk).await?;
        if size == 0 {
            return Ok(body);
        }
        body.extend_from_slice(&chunk[..size]);
    }
}

fn upstream(shared: &Shared, request: &Request) -> reqwest::RequestBuilder {
    let method = Method::from_bytes(request.method.as_bytes()).or_fail("a method");
    let mut builder = shared.client.request(method, format!("{}{}", shared.server, request.path));
    let kept =
        |name: &str| !["host", "connection", "content-length", "transfer-encoding", "accept-encoding"].contains(&name);
    for (name, value) in request.headers.iter().filter(|(name, _)| kept(name)) {
        builder = builder.header(name, value);
    }
    builder.body(request.body.clone())
}

async fn pass(shared: &Shared, request: &Request) -> std::io::Result<Answer> {
    let response = upstream(shared, request).send().await.map_err(std::io::Error::other)?;
    let code = response.status().as_u16();
    let content_type = content_type(&response);
    let body = response.bytes().await.map_err(std::io::Error::other)?.to_vec();
    Ok(Answer { code, content_type, body })
}

fn content_type(response: &reqwest::Response) -> String {
    let value = response.headers().get("content-type").and_then(|value| value.to_str().ok());
    value.unwrap_or("application/json").to_owned()
}

async fn write_answer(stream: &mut BufReader<TcpStream>, answer: &Answer) -> std::io::Result<()> {
    let head = format!(
        "HTTP/1.1 {} Proxied\r\nContent-Type: {}\r\nContent-Length: {}\r\n\r\n",
        answer.code,
        answer.content_type,
        answer.body.len()
    );
    let stream = stream.get_mut();
    stream.write_all(head.as_bytes()).await?;
    stream.write_all(&answer.body).await
}

/// Passes a watch on as it comes.
async fn stream_through(mut stream: TcpStream, request: &Request, shared: &Shared) -> std::io::Result<()> {
    let mut response = upstream(shared, request).send().await.map_err(std::io::Error::other)?;
    let (code, content_type) = (response.status().as_u16(), content_type(&response));
    let head = format!("HTTP/1.1 {code} Proxied\r\nContent-Type: {content_type}\r\nTransfer-Encoding: chunked\r\n\r\n");
    stream.write_all(head.as_bytes()).await?;
    while let Some(chunk) = response.chunk().await.map_err(std::io::Error::other)? {
        stream.write_all(format!("{:x}\r\n", chunk.len()).as_bytes()).await?;
        stream.write_all(&chunk).await?;
        stream.write_all(b"\r\n").await?;
    }
    stream.write_all(b"0\r\n\r\n").await
}

/// What a run with a kill came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Run {
    /// The process was killed.
    Killed,
    /// It did all its writes, which were fewer.
    Finished,
}

/// Kills what `run` starts at each of its writes in turn, before and after the answer, until a run finishes.
///
/// `run` puts the cluster into its first state, starts the process, calls [`ApiProxy::kill_at`] with `n` and the kind
/// of kill that it is given, and waits for the kill or for the end of the work. `again` starts the process without
/// a kill, waits for the end of its work, and compares the end state. The crash points are printed and returned.
pub async fn after_each_write<A: Future<Output = Run>, B: Future<Output = ()>>(
    proxy: &ApiProxy,
    mut run: impl FnMut(usize, Kill) -> A,
    mut again: impl FnMut(usize) -> B,
) -> Vec<Write> {
    let mut points = Vec::new();
    for n in 1.. {
        let mut is_finished = false;
        for when in [Kill::BeforeAnswer, Kill::AfterAnswer] {
            is_finished |= run(n, when).await == Run::Finished;
            let last = proxy.writes().last().cloned();
            proxy.forget_kill();
            again(n).await;
            if let (false, Some(write)) = (is_finished, last) {
                println_point(n, when, &write);
                points.push(write);
            }
        }
        if is_finished {
            break;
        }
    }
    assert!(!points.is_empty(), "nothing was written, so nothing was tried");
    points
}

#[expect(clippy::print_stdout, reason = "the crash points are what such a test reports")]
fn println_point(n: usize, when: Kill, write: &Write) {
    println!("killed at write {n}, {when:?}: {write}");
}
