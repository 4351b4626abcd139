//! The servers of a private sigstore: fulcio, a timestamp authority, Rekor v2, a log of certificates, issuers of tokens.

use std::env::temp_dir;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::Proof;
use super::roots::{Keys, REKOR, START};
use crate::parts::Part;
use crate::process::{self, Running, free_port, run, scratch};
use crate::{OrFail, api, cosign};

/// How long to queue for the port that only one timestamp server can have.
const QUEUE: Duration = Duration::from_secs(600);

/// Where the servers listen, and their processes; dropped, they end.
pub(super) struct Servers {
    /// `http://127.0.0.1:PORT` of fulcio.
    pub(super) fulcio: String,
    /// The same of Rekor v2.
    pub(super) rekor: String,
    /// `http://127.0.0.1:PORT/api/v1/timestamp`.
    pub(super) tsa: String,
    /// `http://127.0.0.1:PORT`; issuers are below it.
    pub(super) issuers: String,
    _programs: [Running; 5],
}

impl Servers {
    /// Starts all of them and waits until they answer.
    pub(super) async fn start(keys: &Keys) -> Self {
        let [rekor_port, tsa_port, issuer_port, ct_port, fulcio_port] = std::array::from_fn(|_| free_port());
        let mut tsa = tsa(keys, tsa_port);
        let mut rekor = rekor(keys, rekor_port);
        let mut ct = ctlog(keys, ct_port);
        let address = format!("127.0.0.1:{issuer_port}");
        let mut issuers =
            Running::start("oidcissuer", Command::new(Part::path("oidcissuer")).args(["-addr", &address]));
        // Fulcio reads the issuers' discovery documents when it starts.
        healthy(&mut issuers, issuer_port, "healthz", process::START).await;
        let mut fulcio = fulcio(keys, fulcio_port, &url(issuer_port), &url(ct_port));
        healthy(&mut ct, ct_port, "healthz", process::START).await;
        healthy(&mut rekor, rekor_port, "healthz", process::START).await;
        healthy(&mut fulcio, fulcio_port, "healthz", process::START).await;
        healthy(&mut tsa, tsa_port, "ping", QUEUE).await;
        Self {
            fulcio: url(fulcio_port),
            rekor: url(rekor_port),
            tsa: format!("{}/api/v1/timestamp", url(tsa_port)),
            issuers: url(issuer_port),
            _programs: [fulcio, tsa, rekor, ct, issuers],
        }
    }
}

/// The timestamp server takes port 2112 for its metrics and has no flag for that. A lock that its own process holds makes
/// the test binaries of a machine take turns.
fn tsa(keys: &Keys, port: u16) -> Running {
    let mut command = Command::new("flock");
    command.arg("--no-fork").arg(temp_dir().join("portreeve-tests-port-2112.lock"));
    command.arg(Part::path("timestamp-server")).args(["serve", "--host=127.0.0.1"]).arg(format!("--port={port}"));
    command.args(["--timestamp-signer=file", "--disable-ntp-monitoring"]);
    command.arg(flag("file-signer-key-path", &keys.file("tsa.key")));
    command.arg(flag("certificate-chain-path", &keys.file("tsa-chain.pem")));
    Running::start("timestamp-server", &mut command)
}

fn rekor(keys: &Keys, port: u16) -> Running {
    let mut command = Command::new(Part::path("rekor-tiles-posix"));
    command.args(["serve", "--http-address=127.0.0.1", "--grpc-address=127.0.0.1"]);
    command.arg(format!("--http-port={port}")).arg(format!("--grpc-port={}", free_port()));
    command.arg(format!("--http-metrics-port={}", free_port())).arg(format!("--hostname={REKOR}"));
    command.arg(flag("storage-dir", &scratch("rekor-storage")));
    command.arg(flag("signer-filepath", &keys.file("rekor.key")));
    command.args(["--checkpoint-interval=200ms", "--batch-max-age=50ms"]);
    Running::start("rekor", &mut command)
}

fn ctlog(keys: &Keys, port: u16) -> Running {
    let mut command = Command::new(Part::path("ctlog"));
    command.args(["-addr", &format!("127.0.0.1:{port}")]).arg("-key").arg(keys.file("ct.key"));
    Running::start("ctlog", &mut command)
}

fn fulcio(keys: &Keys, port: u16, issuers: &str, ct: &str) -> Running {
    let mut command = Command::new(Part::path("fulcio"));
    command.args(["serve", "--host=127.0.0.1", "--grpc-host=127.0.0.1"]);
    command.arg(format!("--port={port}")).arg(format!("--grpc-port={}", free_port()));
    command.arg(format!("--metrics-port={}", free_port()));
    command.arg(format!("--legacy-unix-domain-socket=@portreeve-tests-fulcio-{port}"));
    // It wants a password for a key that has none, too.
    command.args(["--ca=fileca", "--fileca-watch=false", "--fileca-key-passwd=none"]);
    command.arg(flag("fileca-cert", &keys.file("fulcio.pem"))).arg(flag("fileca-key", &keys.file("fulcio.key")));
    command.arg(format!("--ct-log-url={ct}")).arg(flag("ct-log-public-key-path", &keys.file("ct.pub")));
    command.arg(flag("config-path", &fulcio_config(issuers)));
    Running::start("fulcio", &mut command)
}

/// Which issuer is of which kind.
fn fulcio_config(issuers: &str) -> PathBuf {
    let issuer = |name: &str, kind: &str| {
        format!("  {issuers}/{name}: {{issuer-url: {issuers}/{name}, client-id: sigstore, type: {kind}}}\n")
    };
    let path = scratch("fulcio-config").join("fulcio.yaml");
    let text = format!("oidc-issuers:\n{}{}", issuer("mail", "email"), issuer("github", "github-workflow"));
    fs::write(&path, text).or_fail("the configuration of fulcio");
    path
}

/// Signing configurations: where cosign gets proof of a signature from.
pub(super) struct SigningConfigs {
    folder: PathBuf,
}

impl SigningConfigs {
    /// Has cosign write one for each kind of proof.
    pub(super) fn write(servers: &Servers) -> Self {
        let configs = Self { folder: scratch("signing-configs") };
        let fulcio = service("fulcio", &servers.fulcio, 1);
        let rekor = service("rekor", &servers.rekor, 2);
        let tsa = [service("tsa", &servers.tsa, 1), "--tsa-config=ANY".to_owned()];
        configs.create(Proof::Logged, &[&[fulcio.clone(), rekor, ANY_REKOR.to_owned()], &tsa]);
        configs.create(Proof::Stamped, &[&[fulcio], &tsa]);
        configs.create(Proof::Bare, &[]);
        configs
    }

    /// The same for a Rekor v1 that was started later.
    pub(super) fn add_rekor_v1(&self, servers: &Servers, rekor: &str) {
        let services = [service("fulcio", &servers.fulcio, 1), service("rekor", rekor, 1), ANY_REKOR.to_owned()];
        self.create(Proof::LoggedV1, &[&services]);
    }

    fn create(&self, proof: Proof, services: &[&[String]]) {
        let mut command = cosign::bare();
        command.args(["signing-config", "create", "--out"]).arg(self.file(proof));
        run(command.args(services.iter().copied().flatten()));
    }

    /// The one for this kind of proof.
    pub(super) fn file(&self, proof: Proof) -> PathBuf {
        self.folder.join(match proof {
            Proof::Logged => "logged.json",
            Proof::LoggedV1 => "logged-v1.json",
            Proof::Stamped => "stamped.json",
            Proof::Bare => "bare.json",
        })
    }
}

const ANY_REKOR: &str = "--rekor-config=ANY";

fn service(name: &str, url: &str, version: u8) -> String {
    format!("--{name}=url={url},api-version={version},start-time={START},operator=test")
}

pub(super) async fn healthy(program: &mut Running, port: u16, path: &str, deadline: Duration) {
    let client = api::http_client().build().or_fail("an HTTP client");
    let address = format!("{}/{path}", url(port));
    let answers = |_: &Running| {
        let request = client.get(&address).send();
        async move { request.await.ok()?.status().is_success().then_some(()) }
    };
    program.until(&format!("an answer of {address}"), deadline, answers).await;
}

pub(super) fn url(port: u16) -> String {
    format!("http://127.0.0.1:{port}")
}

pub(super) fn flag(name: &str, path: &Path) -> String {
    format!("--{name}={}", path.display())
}
