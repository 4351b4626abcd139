//! A registry on loopback that answers by script, byte for byte, and remembers what it was asked.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use portreeve_policies::image::{Digest, ImageReference};
use portreeve_reports::Cause;
use portreeve_trust::evidence::Lookup;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use crate::registry::wire::digest_of;
use crate::registry::{Deadline, HostOptions, RegistryClient, RegistryOptions};

/// A request as it arrived.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    pub(super) method: String,
    pub(super) target: String,
    pub(super) host: String,
    pub(super) authorization: Option<String>,
    pub(super) body: String,
}

impl Seen {
    pub(super) fn asks_for(&self, end: &str) -> bool {
        self.target.split('?').next().is_some_and(|path| path.ends_with(end))
    }
}

/// What the script does with a request.
pub(super) enum Reply {
    Answer(u16, Vec<(&'static str, String)>, Vec<u8>),
    /// Reads and never answers.
    Hang,
    /// Closes without an answer.
    Reset,
    /// Announces more bytes than it sends.
    Truncate(Vec<u8>),
    /// Sends without end, as fast as it is read.
    Endless,
    /// Sends one byte every few milliseconds, without end.
    Drip,
}

pub(super) fn status(code: u16) -> Reply {
    Reply::Answer(code, Vec::new(), br#"{"errors":[{"code":"DENIED","message":"no"}]}"#.to_vec())
}

pub(super) fn ok(media_type: &str, body: &[u8]) -> Reply {
    Reply::Answer(200, vec![("Content-Type", media_type.to_owned())], body.to_vec())
}

/// The fixture. Dropping it ends its tasks.
pub(super) struct Registry {
    pub(super) address: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
    sent: Arc<AtomicUsize>,
    _server: JoinSet<()>,
}

impl Registry {
    pub(super) async fn start(script: impl Fn(&Seen) -> Reply + Send + Sync + 'static) -> Self {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let sent = Arc::new(AtomicUsize::new(0));
        let mut server = JoinSet::new();
        let (log, counter, script) = (Arc::clone(&seen), Arc::clone(&sent), Arc::new(script));
        server.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let (log, counter, script) = (Arc::clone(&log), Arc::clone(&counter), Arc::clone(&script));
                connections.spawn(async move {
                    serve(stream, &log, &counter, script.as_ref()).await;
                });
            }
        });
        Self { address, seen, sent, _server: server }
    }

    pub(super) fn host(&self) -> String {
        self.address.to_string()
    }

    pub(super) fn plain(&self) -> HostOptions {
        HostOptions { host: self.host(), plain_http: true, ..HostOptions::default() }
    }

    pub(super) fn client(&self) -> RegistryClient {
        client(vec![self.plain()])
    }

    pub(super) fn image(&self, rest: &str) -> ImageReference {
        ImageReference::parse(&format!("{}/demo/app{rest}", self.host())).unwrap()
    }

    pub(super) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    pub(super) fn bytes_sent(&self) -> usize {
        self.sent.load(Ordering::SeqCst)
    }
}

pub(super) fn client(hosts: Vec<HostOptions>) -> RegistryClient {
    RegistryClient::new(RegistryOptions { hosts, ..RegistryOptions::default() }).unwrap()
}

pub(super) fn soon() -> Deadline {
    Deadline::after(Duration::from_millis(700))
}

pub(super) fn later() -> Deadline {
    Deadline::after(Duration::from_secs(20))
}

pub(super) fn cause<T: std::fmt::Debug>(lookup: &Lookup<T>) -> Cause {
    match lookup {
        Lookup::Indeterminate(cause, _) => *cause,
        other => panic!("expected an unknown, got {other:?}"),
    }
}

pub(super) fn message<T: std::fmt::Debug>(lookup: &Lookup<T>) -> &str {
    match lookup {
        Lookup::Indeterminate(_, message) => message,
        other => panic!("expected an unknown, got {other:?}"),
    }
}

pub(super) fn some_digest() -> Digest {
    digest_of(b"some image")
}

pub(super) const MANIFEST_TYPE: &str = "application/vnd.oci.image.manifest.v1+json";

/// A manifest with these layers: media type and bytes.
pub(super) fn manifest_of(layers: &[(&str, &[u8])]) -> Vec<u8> {
    let layers: Vec<Value> = layers
        .iter()
        .map(|(media_type, bytes)| json!({"mediaType": media_type, "digest": digest_of(bytes), "size": bytes.len()}))
        .collect();
    json!({"schemaVersion": 2, "mediaType": MANIFEST_TYPE, "layers": layers}).to_string().into_bytes()
}

/// An index of these manifests, all listed with the artifact type given.
pub(super) fn index_of(manifests: &[&[u8]], artifact_type: &str) -> Vec<u8> {
    let manifests: Vec<Value> = manifests
        .iter()
        .map(|bytes| {
            json!({"mediaType": MANIFEST_TYPE, "digest": digest_of(bytes), "size": bytes.len(),
                   "artifactType": artifact_type})
        })
        .collect();
    json!({"schemaVersion": 2, "manifests": manifests}).to_string().into_bytes()
}

async fn serve(mut stream: TcpStream, log: &Mutex<Vec<Seen>>, sent: &AtomicUsize, script: impl Fn(&Seen) -> Reply) {
    let Some(seen) = read_request(&mut stream).await else { return };
    log.lock().unwrap().push(seen.clone());
    match script(&seen) {
        Reply::Hang => std::future::pending().await,
        Reply::Reset => {}
        Reply::Answer(code, headers, body) => {
            let body = if seen.method == "HEAD" { Vec::new() } else { body };
            let _ = stream.write_all(head(code, &headers, body.len()).as_bytes()).await;
            send(&mut stream, sent, &body).await;
        }
        Reply::Truncate(body) => {
            let _ = stream.write_all(head(200, &[], body.len() + 100).as_bytes()).await;
            send(&mut stream, sent, &body).await;
        }
        Reply::Endless => {
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n").await;
            while send(&mut stream, sent, &[b' '; 65536]).await {}
        }
        Reply::Drip => {
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n").await;
            while send(&mut stream, sent, b" ").await {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }
    }
}

fn head(code: u16, headers: &[(&'static str, String)], length: usize) -> String {
    let mut head = format!("HTTP/1.1 {code} X\r\nConnection: close\r\nContent-Length: {length}\r\n");
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head + "\r\n"
}

async fn send(stream: &mut TcpStream, sent: &AtomicUsize, bytes: &[u8]) -> bool {
    for chunk in bytes.chunks(65536) {
        if stream.write_all(chunk).await.is_err() {
            return false;
        }
        sent.fetch_add(chunk.len(), Ordering::SeqCst);
    }
    true
}

async fn read_request(stream: &mut TcpStream) -> Option<Seen> {
    let mut bytes = Vec::new();
    let end = loop {
        if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            break end + 4;
        }
        let mut buffer = [0; 4096];
        match stream.read(&mut buffer).await {
            Ok(0) | Err(_) => return None,
            Ok(read) => bytes.extend_from_slice(&buffer[..read]),
        }
    };
    let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
    let header = |name: &str| {
        head.lines().filter_map(|line| line.split_once(": ")).find(|(key, _)| key.eq_ignore_ascii_case(name))
    };
    let length: usize = header("content-length").map_or(0, |(_, value)| value.parse().unwrap());
    while bytes.len() < end + length {
        let mut buffer = [0; 4096];
        match stream.read(&mut buffer).await {
            Ok(0) | Err(_) => return None,
            Ok(read) => bytes.extend_from_slice(&buffer[..read]),
        }
    }
    let mut words = head.split(' ');
    Some(Seen {
        method: words.next()?.to_owned(),
        target: words.next()?.to_owned(),
        host: header("host").map(|(_, value)| value.to_owned())?,
        authorization: header("authorization").map(|(_, value)| value.to_owned()),
        body: String::from_utf8_lossy(&bytes[end..]).into_owned(),
    })
}
