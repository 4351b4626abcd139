//! A real control plane on loopback: etcd and kube-apiserver, with the controllers and a node started on demand.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rcgen::KeyPair;
use serde_json::{Value, json};
use tokio::sync::OnceCell;

use crate::api::Api;
use crate::parts::Part;
use crate::process::{Running, START, free_port, remove_at_end, scratch};
use crate::tls::Authority;
use crate::{OrFail, fail};

/// The bearer token of the administrator. It opens a server on loopback that lives as long as one test process.
const ADMIN_TOKEN: &str = "test-administrator";

/// A control plane. Tests of one binary share one and keep apart by namespaces.
pub struct ControlPlane {
    api: Api,
    server: String,
    etcd: String,
    port: u16,
    files: Files,
    controllers: OnceCell<Running>,
    node: OnceCell<Running>,
    programs: [Running; 2],
}

/// What the programs read from disk.
struct Files {
    folder: PathBuf,
    ca_pem: String,
}

impl ControlPlane {
    /// The control plane of this test process, started by the first that asks.
    pub async fn shared() -> &'static Self {
        static SHARED: OnceCell<ControlPlane> = OnceCell::const_new();
        SHARED.get_or_init(Self::start).await
    }

    /// A control plane of one's own, for tests that stop it or leave marks outside namespaces. About 330 MB.
    pub async fn start() -> Self {
        let files = Files::write(&scratch("control-plane"));
        let (etcd, etcd_url) = start_etcd(&files).await;
        let port = free_port();
        let server = format!("https://127.0.0.1:{port}");
        let api = Api::new(&server, &files.ca_pem, ADMIN_TOKEN);
        let programs = [start_api_server(&files, &etcd_url, (port, &api)).await, etcd];
        let (controllers, node) = (OnceCell::new(), OnceCell::new());
        Self { api, server, etcd: etcd_url, port, files, controllers, node, programs }
    }

    /// The administrator's door.
    pub fn api(&self) -> &Api {
        &self.api
    }

    /// `https://127.0.0.1:PORT`.
    pub fn server(&self) -> &str {
        &self.server
    }

    /// The CA of the serving certificate, as PEM.
    pub fn ca_pem(&self) -> &str {
        &self.files.ca_pem
    }

    /// The administrator's bearer token.
    pub fn admin_token(&self) -> &str {
        ADMIN_TOKEN
    }

    /// A new namespace with its default ServiceAccount; the name starts with the given one.
    pub async fn namespace(&self, prefix: &str) -> String {
        static NEXT: AtomicU32 = AtomicU32::new(1);
        let name = format!("{prefix}-{}", NEXT.fetch_add(1, Ordering::Relaxed));
        self.create_namespace(&name).await;
        name
    }

    /// A namespace of exactly this name, with its default ServiceAccount.
    pub async fn create_namespace(&self, name: &str) {
        let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
        self.api.create(&namespace).await.or_fail(name);
        let account = json!({"apiVersion": "v1", "kind": "ServiceAccount",
            "metadata": {"name": "default", "namespace": name}});
        match self.api.create(&account).await {
            Ok(_) => {}
            Err(status) if status.reason == "AlreadyExists" => {}
            Err(status) => fail(status),
        }
    }

    /// Makes sure that kube-controller-manager runs: Deployments get their Pods, namespaces end.
    pub async fn with_controllers(&self) -> &Self {
        self.controllers.get_or_init(|| self.start_controllers()).await;
        self
    }

    /// Makes sure that the node `localhost` is ready; a Pod with that `nodeName` runs on a fake runtime.
    pub async fn with_node(&self) -> &Self {
        self.node.get_or_init(|| self.start_node()).await;
        self
    }

    /// A token of a ServiceAccount, by TokenRequest, for one hour.
    pub async fn token_for(&self, namespace: &str, account: &str) -> String {
        let request = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest",
            "metadata": {"name": account, "namespace": namespace}, "spec": {"expirationSeconds": 3600}});
        let path = format!("/api/v1/namespaces/{namespace}/serviceaccounts/{account}/token");
        let answer = self.api.post(&path, &request).await.or_fail("a token of a ServiceAccount");
        answer["status"]["token"].as_str().or_fail("a TokenRequest answers with a token").to_owned()
    }

    /// A kubeconfig file of a ServiceAccount: a process that uses it has exactly that account's rights.
    pub async fn kubeconfig_for(&self, namespace: &str, account: &str) -> PathBuf {
        let token = self.token_for(namespace, account).await;
        self.write_kubeconfig(account, &token)
    }

    /// A kubeconfig file of the administrator.
    pub fn kubeconfig(&self) -> PathBuf {
        self.write_kubeconfig("admin", ADMIN_TOKEN)
    }

    /// Ends the API server, as a crash would; etcd stays.
    pub fn crash_api_server(&mut self) {
        self.programs[0].kill();
    }

    /// Starts the API server again, at the same address and on the same etcd, and waits until it is ready.
    pub async fn restart_api_server(&mut self) {
        self.programs[0].kill();
        self.programs[0] = start_api_server(&self.files, &self.etcd, (self.port, &self.api)).await;
    }

    fn write_kubeconfig(&self, user: &str, token: &str) -> PathBuf {
        let path = scratch("kubeconfig").join("kubeconfig");
        let config = kubeconfig(&self.server, &self.files.ca_pem, user, token);
        fs::write(&path, config.to_string()).or_fail("a kubeconfig file");
        path
    }

    async fn start_controllers(&self) -> Running {
        let port = free_port();
        let mut command = Command::new(Part::path("kube-controller-manager"));
        command
            .arg(option("kubeconfig", self.kubeconfig().display()))
            .arg(option("service-account-private-key-file", self.files.path("accounts.key")))
            .arg(option("root-ca-file", self.files.path("ca.pem")))
            .arg(option("secure-port", port))
            .arg(option("cert-dir", self.files.path("controllers")))
            .args(["--bind-address=127.0.0.1", "--use-service-account-credentials=false", "--leader-elect=false"]);
        let mut running = Running::start("kube-controller-manager", &mut command);
        running.listening(port).await;
        running
    }

    async fn start_node(&self) -> Running {
        let mut command = Command::new(Part::path("kubemark"));
        command
            .args(["--morph=kubelet", "--name=localhost", "--use-host-image-service=false"])
            .arg(option("kubeconfig", self.kubeconfig().display()))
            .arg(option("kubelet-port", free_port()))
            .arg(option("kubelet-read-only-port", free_port()));
        let mut kubelet = Running::start("kubemark", &mut command);
        let line = kubelet.line("as root dir for hollow-kubelet", START).await;
        // The kubelet takes no other folder than a new one below /tmp.
        line.split(' ')
            .filter(|word| word.starts_with("/tmp/hollow-kubelet."))
            .for_each(|folder| remove_at_end(folder.as_ref()));
        self.api.wait_for("/api/v1/nodes/localhost", "a ready node", is_ready).await;
        kubelet
    }
}

async fn start_etcd(files: &Files) -> (Running, String) {
    let (clients, peers) = (free_port(), free_port());
    let (client_url, peer_url) = (format!("http://127.0.0.1:{clients}"), format!("http://127.0.0.1:{peers}"));
    let mut command = Command::new(Part::path("etcd"));
    command
        .arg(option("data-dir", files.path("etcd")))
        .arg(option("listen-client-urls", &client_url))
        .arg(option("advertise-client-urls", &client_url))
        .arg(option("listen-peer-urls", &peer_url))
        .arg(option("initial-advertise-peer-urls", &peer_url))
        .arg(option("initial-cluster", format!("default={peer_url}")))
        .args(["--unsafe-no-fsync", "--log-level=error"]);
    let mut etcd = Running::start("etcd", &mut command);
    etcd.listening(clients).await;
    (etcd, client_url)
}

async fn start_api_server(files: &Files, etcd_url: &str, (port, api): (u16, &Api)) -> Running {
    let mut command = Command::new(Part::path("kube-apiserver"));
    command
        .arg(option("etcd-servers", etcd_url))
        .arg(option("secure-port", port))
        .arg(option("tls-cert-file", files.path("server.pem")))
        .arg(option("tls-private-key-file", files.path("server.key")))
        .arg(option("cert-dir", files.path("certificates")))
        .arg(option("token-auth-file", files.path("tokens.csv")))
        .arg(option("service-account-key-file", files.path("accounts.pub")))
        .arg(option("service-account-signing-key-file", files.path("accounts.key")))
        // What Portreeve finds must be there to be found; every real cluster has this for its own network plugin.
        .arg("--allow-privileged=true")
        .args(["--bind-address=127.0.0.1", "--authorization-mode=RBAC", "--endpoint-reconciler-type=none"])
        .arg("--allow-privileged=true")
        .args(["--service-account-issuer=https://kubernetes.test", "--service-cluster-ip-range=10.0.0.0/24"]);
    let mut server = Running::start("kube-apiserver", &mut command);
    let ready = |_: &Running| {
        let api = api.clone();
        async move { api.get("/readyz").await.ok() }
    };
    server.until("readiness", START, ready).await;
    server
}

impl Files {
    fn write(folder: &Path) -> Self {
        let authority = Authority::default();
        let files = Self { folder: folder.to_owned(), ca_pem: authority.pem().to_owned() };
        let serving = authority.loopback();
        files.add("ca.pem", &files.ca_pem);
        files.add("server.pem", &serving.certificate);
        files.add("server.key", &serving.key);
        let accounts = KeyPair::generate().or_fail("a key");
        files.add("accounts.key", &accounts.serialize_pem());
        files.add("accounts.pub", &accounts.public_key_pem());
        files.add("tokens.csv", &format!("{ADMIN_TOKEN},admin,admin,system:masters\n"));
        files
    }

    fn add(&self, name: &str, content: &str) {
        fs::write(self.folder.join(name), content).or_fail(name);
    }

    fn path(&self, name: &str) -> String {
        self.folder.join(name).display().to_string()
    }
}

/// JSON is YAML: readers of kubeconfig files take it.
fn kubeconfig(server: &str, ca_pem: &str, user: &str, token: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "tests",
        "clusters": [{"name": "tests", "cluster": {
            "server": server, "certificate-authority-data": STANDARD.encode(ca_pem)}}],
        "users": [{"name": user, "user": {"token": token}}],
        "contexts": [{"name": "tests", "context": {"cluster": "tests", "user": user}}],
    })
}

fn option(name: &str, value: impl std::fmt::Display) -> String {
    format!("--{name}={value}")
}

fn is_ready(node: &Value) -> Option<()> {
    let conditions = node["status"]["conditions"].as_array()?;
    conditions.iter().find(|condition| condition["type"] == "Ready" && condition["status"] == "True").map(drop)
}
