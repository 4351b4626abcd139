//! Records what cosign signs as files, for tests that start nothing.

use std::fs;
use std::path::Path;

use reqwest::Client;
use serde_json::{Value, json};

use super::{By, Identity, PrivateSigstore, Proof, Signer, TrustedRoot, Way, What};
use crate::cosign::Storage;
use crate::registry::Registry;
use crate::{OrFail, api, repository};

/// The repository in the registry.
const REPOSITORY: &str = "demo/app";

/// Signs an image in each of [`Way::all`] and writes what a verifier reads of it to `policies/trust/tests/keyless`; its
/// `README.md` tells the shapes.
pub async fn record() {
    record_into("policies/trust/tests/keyless", PrivateSigstore::shared().await, &Way::all()).await;
}

/// The same for [`Way::LOGGED_V1`] and `policies/trust/tests/rekor_v1`.
pub async fn record_rekor_v1() {
    let sigstore = PrivateSigstore::shared().await.with_rekor_v1().await;
    record_into("policies/trust/tests/rekor_v1", sigstore, &Way::LOGGED_V1).await;
}

async fn record_into(folder: &str, sigstore: &PrivateSigstore, ways: &[Way]) {
    let registry = Registry::with_referrers().await;
    let signer = sigstore.signer(registry.docker_config()).await;
    let (folder, root) = (repository().join(folder), sigstore.trusted_root());
    let shelf = Shelf { folder: &folder, registry: &registry, signer: &signer, root };
    shelf.clear();
    shelf.write("trusted_root.json", &root.bytes());
    shelf.write("strangers_root.json", &sigstore.strangers_root().bytes());
    shelf.write("signer.pub", &fs::read(signer.cosign().public_key()).or_fail("the public key"));
    let mut cases = Vec::new();
    for way in ways {
        cases.push(shelf.case(*way).await);
    }
    let list = serde_json::to_vec_pretty(&cases).or_fail("the list of cases");
    shelf.write("cases.json", &[&list[..], b"\n"].concat());
}

struct Shelf<'a> {
    folder: &'a Path,
    registry: &'a Registry,
    signer: &'a Signer<'a>,
    root: &'a TrustedRoot,
}

impl Shelf<'_> {
    fn clear(&self) {
        for entry in fs::read_dir(self.folder).or_fail("the folder of records") {
            let path = entry.or_fail("the folder of records").path();
            if path.extension().is_some_and(|extension| extension == "json" || extension == "pub") {
                fs::remove_file(path).or_fail("an old record");
            }
        }
    }

    fn write(&self, name: &str, bytes: &[u8]) {
        fs::write(self.folder.join(name), bytes).or_fail("a record");
    }

    /// Signs an image, writes its files, and gives its line in the list of cases.
    async fn case(&self, way: Way) -> Value {
        let name = way.name();
        let image = self.registry.push_image(&format!("{REPOSITORY}:{name}"));
        self.signer.sign(way, &image);
        let verified = self.signer.verify(way, &image, &self.signer.identity(way.by), self.root);
        assert_eq!(verified.status.success(), way.satisfies_cosign(), "cosign on its own {name}");
        let (repository, digest) = image.split_once('@').or_fail("an image that was pushed has a digest");
        let storage = match (way.storage, way.what) {
            (Storage::Bundle, _) => "bundle",
            (Storage::Tag, What::Signature) => "sig",
            (Storage::Tag, What::Attestation(_)) => "att",
        };
        if way.storage == Storage::Bundle {
            let list = json_of(&self.fetch(&format!("referrers/{digest}")).await);
            let manifest = list["manifests"][0]["digest"].as_str().or_fail("a referrer of the image").to_owned();
            let manifest = self.fetch(&format!("manifests/{manifest}")).await;
            self.write(&format!("{name}.bundle.json"), &self.only_layer(&manifest).await);
        } else {
            let manifest = self.fetch(&format!("manifests/{}.{storage}", digest.replace(':', "-"))).await;
            self.write(&format!("{name}.payload.json"), &self.only_layer(&manifest).await);
            self.write(&format!("{name}.manifest.json"), &manifest);
        }
        let mut case = json!({
            "name": name, "repository": repository, "digest": digest, "storage": storage,
            "logged": matches!(way.proof, Proof::Logged | Proof::LoggedV1),
            "stamped": matches!(way.proof, Proof::Logged | Proof::Stamped), "signer": self.who(way.by)});
        if let What::Attestation(predicate) = way.what {
            case["predicateType"] = predicate.uri().into();
        }
        case
    }

    fn who(&self, by: By) -> Value {
        match self.signer.identity(by) {
            Identity::Key(_) => json!({"key": "signer.pub"}),
            Identity::Keyless { issuer, subject } => json!({"issuer": issuer, "subject": subject}),
        }
    }

    async fn only_layer(&self, manifest: &[u8]) -> Vec<u8> {
        let manifest = json_of(manifest);
        let layers = manifest["layers"].as_array().or_fail("a manifest with layers");
        assert_eq!(layers.len(), 1, "one signature: {manifest}");
        self.fetch(&format!("blobs/{}", layers[0]["digest"].as_str().or_fail("the digest of a layer"))).await
    }

    async fn fetch(&self, path: &str) -> Vec<u8> {
        let client: Client = api::http_client().build().or_fail("an HTTP client");
        let url = format!("http://{}/v2/{REPOSITORY}/{path}", self.registry.host());
        let answer = client.get(url).send().await.and_then(reqwest::Response::error_for_status);
        answer.or_fail("the registry").bytes().await.or_fail("the registry").to_vec()
    }
}

fn json_of(bytes: &[u8]) -> Value {
    serde_json::from_slice(bytes).or_fail("an answer of the registry is JSON")
}
