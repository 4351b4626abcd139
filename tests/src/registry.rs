//! Registries on loopback, and small real images in them.

use std::fs;
use std::process::Command;

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::cosign::Storage;
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

    /// Has the signature of one image stand at another one of its repository, as whoever may push can have it.
    pub async fn move_signature(&self, storage: Storage, from: &str, to: &str) {
        let (repository, from) = from.split_once('@').or_fail("an image by its digest");
        let (_, to) = to.split_once('@').or_fail("an image by its digest");
        let [from_tag, to_tag] = [from, to].map(|digest| digest.replace(':', "-"));
        if storage == Storage::Tag {
            let [from, to] = [from_tag, to_tag].map(|tag| format!("{repository}:{tag}.sig"));
            run(self.crane().args(["copy", &from, &to]));
            return;
        }
        let path = repository.strip_prefix(&self.host).or_fail("a repository of this registry");
        let list = match self.manifest(path, &format!("referrers/{from}")).await {
            Some(list) => list,
            None => self.manifest(path, &format!("manifests/{from_tag}")).await.or_fail("a fallback tag"),
        };
        let mut index: Value = serde_json::from_slice(&list).or_fail("a list of referrers");
        let found = index["manifests"][0]["digest"].as_str().or_fail("a referrer").to_owned();
        let bytes = self.manifest(path, &format!("manifests/{found}")).await.or_fail("a referrer");
        let mut referrer: Value = serde_json::from_slice(&bytes).or_fail("a referrer");
        let subject = self.manifest(path, &format!("manifests/{to}")).await.or_fail("an image");
        referrer["subject"]["digest"] = to.into();
        referrer["subject"]["size"] = subject.len().into();
        let bytes = referrer.to_string();
        let digest = format!("sha256:{:x}", Sha256::digest(&bytes));
        index["manifests"] = json!([index["manifests"][0].take()]);
        index["manifests"][0]["digest"] = digest.as_str().into();
        index["manifests"][0]["size"] = bytes.len().into();
        self.put_manifest(path, &digest, (&referrer["mediaType"], bytes)).await;
        self.put_manifest(path, &to_tag, (&index["mediaType"], index.to_string())).await;
    }

    async fn manifest(&self, repository: &str, name: &str) -> Option<Vec<u8>> {
        let url = format!("http://{}/v2{repository}/{name}", self.host);
        let request = api::http_client().build().or_fail("an HTTP client").get(url).basic_auth(USER, Some(PASSWORD));
        let types = ["manifest", "index"].map(|kind| format!("application/vnd.oci.image.{kind}.v1+json"));
        let request = request
            .header("Accept", format!("{}, application/vnd.docker.distribution.manifest.v2+json", types.join(", ")));
        let answer = request.send().await.or_fail("the registry").error_for_status().ok()?;
        Some(answer.bytes().await.or_fail("a manifest").to_vec())
    }

    async fn put_manifest(&self, repository: &str, name: &str, (media_type, bytes): (&Value, String)) {
        let url = format!("http://{}/v2{repository}/manifests/{name}", self.host);
        let request = api::http_client().build().or_fail("an HTTP client").put(url).basic_auth(USER, Some(PASSWORD));
        let media_type = media_type.as_str().or_fail("a media type");
        let answer = request.header("Content-Type", media_type).body(bytes).send().await.or_fail("the registry");
        let status = answer.status();
        assert!(status.is_success(), "{status}: {}", answer.text().await.unwrap_or_default());
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
