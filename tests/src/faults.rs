//! A door in front of the real API server that spoils what goes through: objects that no API server would send.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use reqwest::{Certificate, Client};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use crate::OrFail;
use crate::api::http_client;
use crate::control_plane::ControlPlane;
use crate::process::scratch;

/// Changes one object on its way.
pub type Spoil = fn(&mut Value);

/// Passes reading requests on, and answers with what came of the objects. It ends with this value.
pub struct FaultyApiServer {
    address: SocketAddr,
    kubeconfig: PathBuf,
    serving: JoinHandle<()>,
}

impl Drop for FaultyApiServer {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl FaultyApiServer {
    /// Stands in front of a control plane and spoils objects.
    pub async fn before(plane: &ControlPlane, spoil: Spoil) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.or_fail("a loopback port");
        let address = listener.local_addr().or_fail("the address of a listener");
        let ca = Certificate::from_pem(plane.ca_pem().as_bytes()).or_fail("the CA of the API server");
        let behind = Arc::new(Behind {
            client: http_client().tls_certs_only([ca]).build().or_fail("an HTTP client"),
            server: plane.server().to_owned(),
            spoil,
        });
        let serving = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let behind = Arc::clone(&behind);
                // A client that hangs up ends its connection.
                tokio::spawn(async move { behind.pass(stream).await });
            }
        });
        let kubeconfig = scratch("faulty").join("kubeconfig");
        Self { address, kubeconfig, serving }.with_kubeconfig(plane)
    }

    /// A kubeconfig of the administrator whose server is this one.
    pub fn kubeconfig(&self) -> &PathBuf {
        &self.kubeconfig
    }

    fn with_kubeconfig(self, plane: &ControlPlane) -> Self {
        let text = std::fs::read_to_string(plane.kubeconfig()).or_fail("the kubeconfig of the administrator");
        let mut config: Value = serde_json::from_str(&text).or_fail("a kubeconfig in JSON");
        config["clusters"][0]["cluster"] = json!({"server": format!("http://{}", self.address)});
        std::fs::write(&self.kubeconfig, config.to_string()).or_fail("a kubeconfig file");
        self
    }
}

struct Behind {
    client: Client,
    server: String,
    spoil: Spoil,
}

impl Behind {
    /// One request of one connection.
    async fn pass(&self, stream: TcpStream) -> Option<()> {
        let mut stream = BufReader::new(stream);
        let mut lines: Vec<String> = Vec::new();
        loop {
            let mut line = String::new();
            stream.read_line(&mut line).await.ok().filter(|read| *read > 0)?;
            match line.trim_end() {
                "" => break,
                line => lines.push(line.to_owned()),
            }
        }
        let target = lines.first()?.split(' ').nth(1)?;
        let mut request = self.client.get(format!("{}{target}", self.server));
        for (name, value) in lines.iter().skip(1).filter_map(|line| line.split_once(": ")) {
            if ["authorization", "accept"].contains(&name.to_ascii_lowercase().as_str()) {
                request = request.header(name, value);
            }
        }
        let mut answer = request.send().await.ok()?;
        let head = format!(
            "HTTP/1.1 {} Passed\r\nContent-Type: application/json\r\nConnection: close\r\n\r\n",
            answer.status().as_u16()
        );
        stream.write_all(head.as_bytes()).await.ok()?;
        // Lists are one line, and so is each event of a watch.
        let mut rest: Vec<u8> = Vec::new();
        while let Some(chunk) = answer.chunk().await.ok()? {
            rest.extend_from_slice(&chunk);
            while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = rest.drain(..=end).collect();
                stream.write_all(self.spoiled(&line).as_bytes()).await.ok()?;
                stream.flush().await.ok()?;
            }
        }
        stream.write_all(self.spoiled(&rest).as_bytes()).await.ok()?;
        stream.shutdown().await.ok()
    }

    fn spoiled(&self, line: &[u8]) -> String {
        let Ok(mut value) = serde_json::from_slice::<Value>(line) else {
            return String::from_utf8_lossy(line).into_owned();
        };
        match value.get_mut("items").and_then(Value::as_array_mut) {
            Some(items) => items.iter_mut().for_each(self.spoil),
            None => value.get_mut("object").into_iter().for_each(self.spoil),
        }
        format!("{value}\n")
    }
}
