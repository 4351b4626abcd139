//! The webhook against those that nobody has authenticated: what they send costs bounded memory and bounded time.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use portreeve_tests::OrFail as _;
use portreeve_tests::desk::peak_memory;
use portreeve_tests::folder_cluster::{Answer, FolderCluster, PATIENCE, pod, review_of};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use serde_json::{Value, json};

/// Bodies that are sent at one time.
const AT_ONCE: usize = 8;
/// What docs/limits.md says of the daemon's memory under any reviews.
const MOST_MEMORY: u64 = 256 << 20;
/// Values of a review that are read.
const MOST_VALUES: usize = 200_000;
/// What docs/limits.md says of the shutdown of the webhook, and a little for what comes after it.
const SHUTDOWN: Duration = Duration::from_secs(15);
/// What docs/limits.md says of connections.
const MOST_CONNECTIONS: usize = 512;
const MOST_STREAMS: u32 = 32;
/// The series of reviews that are in work.
const IN_WORK: &str = "portreeve_admission_in_flight";
/// Ends a request that never comes to its end.
const ENDLESS: &str = "POST /validate HTTP/1.1\r\nhost: localhost\r\ncontent-length: 100000\r\n\r\n{";

/// A review of a Pod with a field of its own.
fn review(field: &Value) -> Value {
    let mut object = pod("enforced", "big", json!({"name": "main", "image": "quay.io/a/b:1"}));
    object["spec"]["x"] = field.clone();
    review_of("1", &object)
}

fn values(node: &Value) -> usize {
    1 + match node {
        Value::Array(items) => items.iter().map(values).sum(),
        Value::Object(fields) => fields.values().map(values).sum::<usize>(),
        _ => 0,
    }
}

/// A review with exactly so many values, each as costly as a value can be.
fn review_of_values(wanted: usize) -> String {
    let without = values(&review(&json!([])));
    let pairs = vec![json!({"a": []}); (wanted - without) / 2];
    let odd = (wanted - without) % 2;
    let review = review(&pairs.into_iter().chain(vec![json!(1); odd]).collect());
    assert_eq!(values(&review), wanted);
    review.to_string()
}

/// The answers that came. Who has no room until the deadline may still be writing when its connection is closed.
async fn all_at_once(cluster: &FolderCluster, body: &str) -> Vec<Answer> {
    let posts = (0..AT_ONCE).map(|_| cluster.post("validate", body.to_owned()));
    futures::future::join_all(posts).await.into_iter().filter_map(Result::ok).collect()
}

#[tokio::test]
async fn reviews_of_many_values_cost_bounded_memory_however_many_come_at_once() {
    let cluster = FolderCluster::new("");
    let daemon = cluster.serve().await;
    let peak = || peak_memory(daemon.id()).or_fail("the memory of the daemon");

    let many = review(&json!("@")).to_string().replace("\"@\"", &format!("[{}1]", r#"{"a":[]},"#.repeat(850_000)));
    assert!(many.len() < 8 << 20);
    let answers = all_at_once(&cluster, &many).await;
    assert!(answers.iter().all(|answer| matches!(answer.status, 400 | 408 | 503)), "{answers:?}");
    assert!(answers.iter().any(|answer| answer.body.contains("more than 200000 values")), "{answers:?}");
    assert!(peak() < MOST_MEMORY, "beyond the cap: {} bytes", peak());

    let most = review_of_values(MOST_VALUES);
    let answers = all_at_once(&cluster, &most).await;
    assert!(answers.iter().all(|answer| matches!(answer.status, 200 | 408 | 503)), "{answers:?}");
    assert!(answers.iter().any(|answer| answer.status == 200), "{answers:?}");
    assert!(peak() < MOST_MEMORY, "at the cap: {} bytes", peak());
    let below = cluster.post("validate", review_of_values(MOST_VALUES - 1)).await.or_fail("an answer");
    assert_eq!(below.json()["response"]["uid"], "1", "{}", below.body);
    let above = cluster.post("validate", review_of_values(MOST_VALUES + 1)).await.or_fail("an answer");
    assert_eq!(above.status, 400, "{}", above.body);
}

#[tokio::test]
async fn an_object_has_at_most_so_many_images() {
    let cluster = FolderCluster::new("");
    let _daemon = cluster.serve().await;
    let ask = async |images: usize| {
        let mut object = pod("enforced", "many", json!({}));
        let container = |number| json!({"name": format!("c{number}"), "image": format!("quay.io/a/b{number}:1")});
        object["spec"]["containers"] = (0..images).map(container).collect();
        cluster.validate(&review_of("1", &object)).await.or_fail("an answer")
    };
    for images in [499, 500] {
        assert_eq!(ask(images).await.status, 200, "{images}");
    }
    let above = ask(501).await;
    let expected = json!({"error": "not an AdmissionReview: the object has 501 images; at most 500 are judged"});
    assert_eq!((above.status, above.json()), (400, expected));
}

#[tokio::test]
async fn a_refusal_for_size_has_the_shape_of_all_refusals() {
    let cluster = FolderCluster::new("");
    let _daemon = cluster.serve().await;
    let padded = |bytes: usize| {
        let review = review(&json!(1)).to_string();
        let padding = " ".repeat(bytes - review.len());
        review + &padding
    };
    for bytes in [(8 << 20) - 1, 8 << 20] {
        let answer = cluster.post("validate", padded(bytes)).await.or_fail("an answer");
        assert_eq!((answer.status, &answer.json()["response"]["uid"]), (200, &json!("1")), "{bytes}");
    }
    let above = cluster.post("validate", padded((8 << 20) + 1)).await.or_fail("an answer");
    let expected = json!({"error": "the review has more than 8 MiB, the most that is read"});
    assert_eq!((above.status, above.json()), (413, expected));
}

/// A client of the webhook that says what it likes.
struct Peer(StreamOwned<ClientConnection, TcpStream>);

impl Peer {
    fn connect(cluster: &FolderCluster) -> Self {
        let pem = std::fs::read(cluster.root().join("tls.crt")).or_fail("the certificate");
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(&pem).or_fail("a certificate")).or_fail("a root");
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let config = config.or_fail("versions of TLS").with_root_certificates(roots).with_no_client_auth();
        let name = "localhost".try_into().or_fail("a name");
        let client = ClientConnection::new(Arc::new(config), name).or_fail("a client");
        let mut peer = Self(StreamOwned::new(client, tcp(cluster.webhook_port())));
        let Self(StreamOwned { conn, sock }) = &mut peer;
        while conn.is_handshaking() {
            conn.complete_io(sock).or_fail("a handshake");
        }
        peer
    }

    fn say(&mut self, words: impl AsRef<[u8]>) {
        self.0.write_all(words.as_ref()).and_then(|()| self.0.flush()).or_fail("a word");
    }

    fn heard_until_the_end(&mut self) -> String {
        until_the_end(&mut self.0)
    }
}

fn tcp(port: u16) -> TcpStream {
    let stream = TcpStream::connect(("127.0.0.1", port)).or_fail("a connection");
    stream.set_read_timeout(Some(PATIENCE)).and_then(|()| stream.set_nodelay(true)).or_fail("a socket");
    stream
}

/// All that comes until the other side closes; to wait for that in vain fails the test.
fn until_the_end(stream: &mut impl Read) -> String {
    let (mut heard, mut chunk) = (Vec::new(), [0; 4096]);
    loop {
        match stream.read(&mut chunk) {
            Ok(0) => break,
            Ok(read) => heard.extend_from_slice(&chunk[..read]),
            Err(error) => {
                let waited = matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut);
                assert!(!waited, "the connection stays open; {}", String::from_utf8_lossy(&heard));
                break;
            }
        }
    }
    String::from_utf8_lossy(&heard).into_owned()
}

#[tokio::test]
async fn who_stops_in_the_middle_is_not_waited_for() {
    let cluster = FolderCluster::new("");
    let _daemon = cluster.serve().await;
    let connect = || Peer::connect(&cluster);
    let (mut body, mut head, mut silent, mut idle) = (connect(), connect(), connect(), connect());
    let mut plain = tcp(cluster.webhook_port());
    body.say(ENDLESS);
    head.say("POST /validate HTTP/1.1\r\nhost:");
    idle.say("GET / HTTP/1.1\r\nhost: localhost\r\n\r\n");
    let heard = body.heard_until_the_end();
    assert!(heard.starts_with("HTTP/1.1 408 ") && heard.ends_with(r#"{"error":"the body did not arrive within 5 s"}"#));
    assert!(!head.heard_until_the_end().contains("allowed"));
    assert_eq!(silent.heard_until_the_end(), "");
    assert!(idle.heard_until_the_end().starts_with("HTTP/1.1 404 "));
    until_the_end(&mut plain);

    let mut page = tcp(cluster.page_port());
    page.write_all(ENDLESS.replace("POST /validate", "GET /").as_bytes()).or_fail("a word");
    assert!(until_the_end(&mut page).starts_with("HTTP/1.1 200 "));
}

#[tokio::test]
async fn a_body_that_says_it_is_too_large_is_refused_at_once_and_who_still_writes_it_hears_so() {
    let cluster = FolderCluster::new("");
    let _daemon = cluster.serve().await;
    let announced = format!("POST /validate HTTP/1.1\r\nhost: localhost\r\ncontent-length: {}\r\n\r\n", 16 << 20);
    let is_refused = |heard: &str| heard.starts_with("HTTP/1.1 413 ") && heard.contains("more than 8 MiB");
    // One byte of it comes, and no more: what is known already is not waited for.
    let mut silent = Peer::connect(&cluster);
    silent.say(&announced);
    silent.say("{");
    let heard = silent.heard_until_the_end();
    assert!(is_refused(&heard), "{heard}");
    let mut writing = Peer::connect(&cluster);
    writing.say(&announced);
    (0..16).for_each(|_| writing.say(" ".repeat(1 << 20)));
    let heard = writing.heard_until_the_end();
    assert!(is_refused(&heard), "{heard}");
}

#[tokio::test]
async fn the_shutdown_waits_for_nobody_who_stopped_in_the_middle() {
    let cluster = FolderCluster::new("");
    let mut daemon = cluster.serve().await;
    let mut peers: Vec<Peer> = (0..20).map(|_| Peer::connect(&cluster)).collect();
    let _plain = [(); 5].map(|()| tcp(cluster.webhook_port()));
    peers.iter_mut().step_by(2).for_each(|peer| peer.say(ENDLESS));
    daemon.signal("TERM");
    assert!(daemon.ended(SHUTDOWN).await.success());
}

/// A frame of HTTP/2 without flags but these.
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).or_fail("a length").to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// What begins HTTP/2, with settings that say nothing.
fn preface() -> Vec<u8> {
    [&b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"[..], &frame(4, 0, 0, &[])].concat()
}

/// The head of a small review whose body does not come: POST, https, and three fields in full.
fn head_without_body(stream: u32) -> Vec<u8> {
    let field = |index: &[u8], value: &str| [index, &[value.len() as u8], value.as_bytes()].concat();
    let (path, length, host) = (field(&[4], "/validate"), field(&[0xf, 13], "262144"), field(&[1], "localhost"));
    frame(1, 4, stream, &[&[0x83, 0x87][..], &path, &host, &length].concat())
}

impl Peer {
    /// A client whose HTTP/2 has begun and to whom the other side answers.
    fn speaks_http2(cluster: &FolderCluster) -> Self {
        let mut peer = Self::connect(cluster);
        peer.say(preface());
        drop(peer.is_answered());
        peer
    }

    /// Waits for the answer to a PING, which nobody who is closed gets; what was said until then.
    fn is_answered(&mut self) -> Vec<u8> {
        self.say(frame(6, 0, 0, b"anybody?"));
        let (answer, mut heard, mut chunk) = (frame(6, 1, 0, b"anybody?"), Vec::new(), [0; 4096]);
        while !heard.windows(answer.len()).any(|window| window == answer) {
            let read = self.0.read(&mut chunk).or_fail("an answer to a PING");
            assert!(read > 0, "the connection was closed");
            heard.extend_from_slice(&chunk[..read]);
        }
        heard
    }
}

#[tokio::test]
async fn a_connection_has_few_requests_at_a_time_with_small_heads() {
    let cluster = FolderCluster::new("");
    let _daemon = cluster.serve().await;
    let mut peer = Peer::connect(&cluster);
    peer.say(preface());
    let settings = peer.is_answered();
    for (what, setting) in [("streams", [0, 3, 0, 0, 0, 32]), ("bytes of a head", [0, 6, 0, 0, 32, 0])] {
        assert!(settings.windows(6).any(|told| told == setting), "{what}: {settings:?}");
    }
    let ca = std::fs::read(cluster.root().join("tls.crt")).or_fail("the certificate");
    let ca = reqwest::Certificate::from_pem(&ca).or_fail("a certificate");
    let client =
        portreeve_tests::api::http_client().http2_prior_knowledge().tls_certs_only([ca]).build().or_fail("a client");
    for (head, expected) in [(6 << 10, 200), (9 << 10, 431)] {
        let post = client.post(format!("https://localhost:{}/validate", cluster.webhook_port()));
        let post = post.header("x-long", "x".repeat(head)).body(review(&json!(1)).to_string());
        let answer = post.send().await.or_fail("an answer");
        assert_eq!((answer.version(), answer.status().as_u16()), (reqwest::Version::HTTP_2, expected), "{head}");
    }
}

#[tokio::test]
async fn bodies_that_do_not_come_take_room_from_nobody() {
    let cluster = FolderCluster::new("");
    let _daemon = cluster.serve().await;
    let (connections, streams) = (5, 30);
    let silent: Vec<Peer> = (0..connections)
        .map(|_| {
            let mut peer = Peer::speaks_http2(&cluster);
            (0..streams).for_each(|stream| peer.say(head_without_body(2 * stream + 1)));
            peer
        })
        .collect();
    let in_work = f64::from(connections * streams);
    cluster.doors().until_sample(IN_WORK, |reviews| reviews == in_work).await;
    let answer = cluster.validate(&review(&json!(1))).await.or_fail("an answer");
    assert_eq!((answer.status, &answer.json()["response"]["uid"]), (200, &json!("1")));
    assert_eq!(cluster.doors().sample(IN_WORK).await, in_work, "it waited for those that are silent");
    drop(silent);
}

#[tokio::test]
async fn requests_without_bodies_cost_bounded_memory_however_many_there_are() {
    let cluster = FolderCluster::new("");
    let daemon = cluster.serve().await;
    let heads: Vec<u8> = (0..MOST_STREAMS).flat_map(|stream| head_without_body(2 * stream + 1)).collect();
    let silent: Vec<Peer> = (0..MOST_CONNECTIONS)
        .map(|_| {
            let mut peer = Peer::speaks_http2(&cluster);
            peer.say(&heads);
            drop(peer.is_answered());
            peer
        })
        .collect();
    let answer = cluster.validate(&review(&json!(1))).await.or_fail("an answer");
    assert_eq!(answer.status, 200);
    let peak = peak_memory(daemon.id()).or_fail("the memory of the daemon");
    assert!(peak < MOST_MEMORY, "{peak} bytes");
    drop(silent);
}

#[tokio::test]
async fn connections_that_only_ping_keep_nobody_out_and_page_and_health_go_on() {
    let cluster = FolderCluster::new("");
    let _daemon = cluster.serve().await;
    let mut held: Vec<Peer> = (0..MOST_CONNECTIONS).map(|_| Peer::speaks_http2(&cluster)).collect();
    assert_eq!(cluster.doors().health("/readyz").await.status, 200);
    assert_eq!(cluster.doors().get("/").await.status, 200);
    let answer = cluster.validate(&review(&json!(1))).await.or_fail("an answer of the webhook");
    assert_eq!(answer.status, 200);
    // Who has said nothing for longest has made room, and nobody else.
    let mut rest = held.split_off(1);
    held.iter_mut().for_each(|first| drop(first.heard_until_the_end()));
    rest.iter_mut().for_each(|other| drop(other.is_answered()));
}
