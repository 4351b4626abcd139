//! Registries that misbehave, as plain sockets: what a well-behaved server library would not send.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::thread;

use crate::OrFail;

/// What a hostile registry does to every request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    /// Reads the request and never answers.
    Hangs,
    /// Answers with a body that never ends.
    NeverEnds,
    /// Closes the connection in the middle of the body.
    Truncates,
    /// Answers with this status and no body.
    Refuses(u16),
    /// Answers with bytes that are no manifest, under any digest.
    Garbage,
}

/// Starts such a registry on loopback; gives its `host:port`. It ends with the test process.
pub fn registry(manner: Manner) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").or_fail("a loopback port");
    let host = listener.local_addr().or_fail("the address of a listener").to_string();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            thread::spawn(move || answer(stream, manner));
        }
    });
    host
}

/// Answers one connection. The client hangs up sooner or later, which ends it.
fn answer(mut stream: TcpStream, manner: Manner) -> Option<()> {
    let mut lines = BufReader::new(stream.try_clone().ok()?).lines();
    while !lines.next()?.ok()?.is_empty() {}
    let head = |length: usize| {
        format!(
            "HTTP/1.1 200 OK\r\nContent-Type: application/vnd.oci.image.manifest.v1+json\r\nContent-Length: {length}\r\n\r\n"
        )
    };
    match manner {
        Manner::Hangs => lines.next().map(drop),
        Manner::NeverEnds => {
            let chunked = "HTTP/1.1 200 OK\r\nContent-Type: application/vnd.oci.image.manifest.v1+json\r\nTransfer-Encoding: chunked\r\n\r\n";
            stream.write_all(chunked.as_bytes()).ok()?;
            loop {
                stream.write_all(b"1000\r\n").ok()?;
                stream.write_all(&[b' '; 0x1000]).ok()?;
                stream.write_all(b"\r\n").ok()?;
            }
        }
        Manner::Truncates => stream.write_all(format!("{}{{\"schemaVersion\"", head(500)).as_bytes()).ok(),
        Manner::Refuses(status) => {
            let text = format!("HTTP/1.1 {status} No\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
            stream.write_all(text.as_bytes()).ok()
        }
        Manner::Garbage => stream.write_all(format!("{}garbage", head(7)).as_bytes()).ok(),
    }
}
