//! Registries on loopback, and small real images in them.

use std::fs;
use std::process::Command;

use crate::parts::Part;
use crate::process::{Running, START, free_port, run, scratch};
use crate::{OrFail, api};

/// The user of a registry with sign-in.
pub const USER: &str = "harbour";
/// The password of that user.
pub const PASSWORD: &str = "harbour-pass";
/// The pair as htpasswd has it (bcrypt, the one form that the registry takes).
const HTPASSWD: &str = "harbour:$2b$05$abcdefghijklmnopqrstuuDixDlWTLS9/r7iUsNMXg1WxDd2zrf8G\n";

/// A registry that runs.
pub struct Registry {
    host: String,
    docker_config: std::path::PathBuf,
    program: Running,
}

impl Registry {
    /// With the referrers API of OCI 1.1.
    pub async fn with_referrers() -> Self {
        let port = free_port();
        let mut command = Command::new(Part::path("ociregistry"));
        Self::started("ociregistry", command.args(["-addr", &format!("127.0.0.1:{port}")]), port).await
    }

    /// Without the referrers API: signatures in bundles are found by the fallback tag.
    pub async fn without_referrers() -> Self {
        let port = free_port();
        let mut command = Command::new(Part::path("crane"));
        command.args(["registry", "serve", "--address", &format!("127.0.0.1:{port}")]);
        Self::started("crane", &mut command, port).await
    }

    /// The CNCF distribution registry, without referrers, that lets in only [`USER`] with [`PASSWORD`].
    pub async fn with_sign_in() -> Self {
        let port = free_port();
        let folder = scratch("docker-registry-files");
        let (passwords, config) = (folder.join("htpasswd"), folder.join("config.yml"));
        fs::write(&passwords, HTPASSWD).or_fail("the password file of the registry");
        let text = format!(
            "version: 0.1\nlog: {{level: error}}\nstorage: {{filesystem: {{rootdirectory: {folder}/data}}}}\n\
             http: {{addr: '127.0.0.1:{port}'}}\nauth: {{htpasswd: {{realm: tests, path: {folder}/htpasswd}}}}\n",
            folder = folder.display()
        );
        fs::write(&config, text).or_fail("the configuration of the registry");
        let mut command = Command::new(Part::path("docker-registry"));
        let registry = Self::started("docker-registry", command.arg("serve").arg(config), port).await;
        let login = ["auth", "login", "--username", USER, "--password", PASSWORD, registry.host()];
        run(registry.crane().args(login));
        registry
    }

    /// `127.0.0.1:PORT`.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The folder with the `config.json` of a client that has signed in.
    pub fn docker_config(&self) -> &std::path::Path {
        &self.docker_config
    }

    /// Pushes a small real image under `repo:tag`; gives `host/repo@sha256:…`. The content follows the reference, so
    /// two images differ.
    pub fn push_image(&self, reference: &str) -> String {
        let target = format!("{}/{reference}", self.host);
        let layer = scratch("layer").join("layer.tar");
        let content = layer.with_file_name("greeting.txt");
        fs::write(&content, format!("hello from {reference}\n")).or_fail("the content of an image");
        let parent = content.parent().or_fail("a file stands in a folder");
        run(Command::new("tar").arg("-cf").arg(&layer).arg("-C").arg(parent).arg("greeting.txt"));
        run(self.crane().arg("append").arg("-f").arg(&layer).args(["-t", &target]));
        let (repository, _tag) = target.rsplit_once(':').or_fail("a reference to push has a tag");
        format!("{repository}@{}", run(self.crane().args(["digest", &target])).trim())
    }

    /// `crane`, signed in to this registry where that is needed.
    pub fn crane(&self) -> Command {
        let mut command = Command::new(Part::path("crane"));
        command.env("DOCKER_CONFIG", &self.docker_config);
        command
    }

    /// Ends the registry, as a crash would.
    pub fn stop(&mut self) {
        self.program.kill();
    }

    async fn started(name: &str, command: &mut Command, port: u16) -> Self {
        let host = format!("127.0.0.1:{port}");
        let url = format!("http://{host}/v2/");
        let client = api::http_client().build().or_fail("an HTTP client");
        let mut program = Running::start(name, command);
        let answers = |_: &Running| {
            let request = client.get(&url).send();
            async move { request.await.ok() }
        };
        program.until("an answer of /v2/", START, answers).await;
        Self { host, docker_config: scratch("docker-config"), program }
    }
}
