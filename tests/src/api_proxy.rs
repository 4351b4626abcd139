//! A proxy in front of the API server: it counts what writes, and refuses, delays or swallows answers as a test says.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use serde_json::json;

use crate::OrFail;
use crate::api::Api;
use crate::control_plane::ControlPlane;
use crate::process::scratch;

/// A request that passes, without its body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// `GET`, `PATCH`, ….
    pub method: String,
    /// Path with query.
    pub path: String,
    /// Which write it is, from 1; 0 for what changes nothing. Leases and dry runs do not count.
    pub write: usize,
}

/// What becomes of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It is forwarded.
    Forward,
    /// It is refused with this code and reason.
    Refuse(u16, &'static str),
    /// It is neither forwarded nor answered.
    Hang,
    /// It is forwarded; the answer never comes.
    Swallow,
}

type Rule = Box<dyn Fn(&Call) -> Answer + Send>;

/// The proxy. It ends with the test process.
pub struct ApiProxy {
    kubeconfig: PathBuf,
    state: Arc<Mutex<State>>,
}

struct State {
    rule: Rule,
    writes: Vec<String>,
    swallowed: usize,
}

impl ApiProxy {
    /// Starts a proxy that forwards everything.
    pub fn start(plane: &ControlPlane) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").or_fail("a loopback port");
        let address = listener.local_addr().or_fail("the address of a listener");
        let state = State { rule: Box::new(|_| Answer::Forward), writes: Vec::new(), swallowed: 0 };
        let state = Arc::new(Mutex::new(state));
        let (api, shared) = (plane.api().clone(), Arc::clone(&state));
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (api, state) = (api.clone(), Arc::clone(&shared));
                thread::spawn(move || serve(stream, &api, &state));
            }
        });
        let kubeconfig = scratch("proxy").join("kubeconfig");
        let config = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "proxy",
            "clusters": [{"name": "proxy", "cluster": {"server": format!("http://{address}")}}],
            "users": [{"name": "proxy", "user": {}}],
            "contexts": [{"name": "proxy", "context": {"cluster": "proxy", "user": "proxy"}}],
        });
        std::fs::write(&kubeconfig, config.to_string()).or_fail("a kubeconfig file");
        Self { kubeconfig, state }
    }

    /// A kubeconfig of the administrator behind the proxy.
    pub fn kubeconfig(&self) -> &PathBuf {
        &self.kubeconfig
    }

    /// From now on requests are answered so, and writes are counted anew.
    pub fn answer(&self, rule: impl Fn(&Call) -> Answer + Send + 'static) {
        let mut state = lock(&self.state);
        (state.rule, state.writes, state.swallowed) = (Box::new(rule), Vec::new(), 0);
    }

    /// The writes so far, as `METHOD path`.
    pub fn writes(&self) -> Vec<String> {
        lock(&self.state).writes.clone()
    }

    /// How many answers were swallowed.
    pub fn swallowed(&self) -> usize {
        lock(&self.state).swallowed
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Answers one connection, request after request, until the client hangs up.
fn serve(stream: TcpStream, api: &Api, state: &Mutex<State>) -> Option<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().ok()?;
    let mut reader = BufReader::new(stream.try_clone().ok()?);
    let mut stream = stream;
    loop {
        let request = Request::read(&mut reader)?;
        let answer = decide(state, &request);
        match answer {
            Answer::Hang => return wait_for_end(&mut reader),
            Answer::Refuse(code, reason) => refuse(&mut stream, code, reason)?,
            Answer::Forward | Answer::Swallow => {
                let response = runtime.block_on(api.forward(
                    &request.method,
                    &request.path,
                    &request.content_type,
                    request.body.clone(),
                ))?;
                if answer == Answer::Swallow {
                    lock(state).swallowed += 1;
                    return wait_for_end(&mut reader);
                }
                runtime.block_on(pass_on(&mut stream, response))?;
                // Without a length the end of the connection ends the body.
                return Some(());
            }
        }
    }
}

fn decide(state: &Mutex<State>, request: &Request) -> Answer {
    let mut state = lock(state);
    let is_lease = request.path.contains("/leases");
    let is_write = request.method != "GET" && !request.path.contains("dryRun") && !is_lease;
    if is_write {
        state.writes.push(format!("{} {}", request.method, request.path));
    }
    let write = if is_write { state.writes.len() } else { 0 };
    (state.rule)(&Call { method: request.method.clone(), path: request.path.clone(), write })
}

fn wait_for_end(reader: &mut BufReader<TcpStream>) -> Option<()> {
    let mut rest = Vec::new();
    reader.read_to_end(&mut rest).ok().map(drop)
}

fn refuse(stream: &mut TcpStream, code: u16, reason: &str) -> Option<()> {
    let status = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "reason": reason,
        "message": format!("{reason} by the test")})
    .to_string();
    let head =
        format!("HTTP/1.1 {code} No\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n", status.len());
    stream.write_all(format!("{head}{status}").as_bytes()).ok()
}

/// Chunks go on as they come: a watch never ends.
async fn pass_on(stream: &mut TcpStream, mut response: reqwest::Response) -> Option<()> {
    let kind = response.headers().get("content-type").and_then(|value| value.to_str().ok()).unwrap_or_default();
    let code = response.status().as_u16();
    let head = format!("HTTP/1.1 {code} Yes\r\nContent-Type: {kind}\r\nConnection: close\r\n\r\n");
    stream.write_all(head.as_bytes()).ok()?;
    while let Some(chunk) = response.chunk().await.ok()? {
        stream.write_all(&chunk).ok()?;
    }
    Some(())
}

/// A request with its body.
struct Request {
    method: String,
    path: String,
    content_type: String,
    body: Vec<u8>,
}

impl Request {
    fn read(reader: &mut BufReader<TcpStream>) -> Option<Self> {
        let mut line = String::new();
        reader.read_line(&mut line).ok().filter(|read| *read > 0)?;
        let mut words = line.split_whitespace();
        let (method, path) = (words.next()?.to_owned(), words.next()?.to_owned());
        let (mut length, mut content_type) = (0, String::new());
        loop {
            let mut header = String::new();
            reader.read_line(&mut header).ok()?;
            let Some((name, value)) = header.trim_end().split_once(':') else { break };
            match name.to_ascii_lowercase().as_str() {
                "content-length" => length = value.trim().parse().ok()?,
                "content-type" => value.trim().clone_into(&mut content_type),
                _ => {}
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body).ok()?;
        Some(Self { method, path, content_type, body })
    }
}
