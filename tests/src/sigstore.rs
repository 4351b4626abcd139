//! A private sigstore of the original servers on loopback, and cosign signing against it.
//!
//! ```no_run
//! # async fn test() {
//! use portreeve_tests::registry::Registry;
//! use portreeve_tests::sigstore::{Anchor, PrivateSigstore, Way};
//!
//! let (sigstore, registry) = (PrivateSigstore::shared().await, Registry::with_referrers().await);
//! let signer = sigstore.signer(registry.docker_config()).await;
//! let (image, way) = (registry.push_image("demo/app:1"), Way::SIGNATURES[0]);
//! signer.sign(way, &image);
//! assert!(signer.verify(way, &image, &signer.identity(way.by), sigstore.trusted_root()).status.success());
//! let strange = sigstore.trusted_root().with(Anchor::Fulcio, sigstore.strangers_root());
//! assert!(!signer.verify(way, &image, &signer.identity(way.by), &strange).status.success());
//! # }
//! ```

mod recorded;
mod rekor_v1;
mod roots;
mod servers;
mod signer;
mod ways;

use std::path::Path;

use serde_json::{Value, json};
use tokio::sync::OnceCell;

pub use recorded::{record, record_rekor_v1};
pub use roots::{Anchor, TrustedRoot};
pub use signer::Signer;
pub use ways::{By, Identity, Predicate, Proof, Way, What};

use crate::{OrFail, api};
use rekor_v1::RekorV1;
use roots::Keys;
use servers::{Servers, SigningConfigs};

/// The mail address of [`By::Mail`].
pub const MAIL: &str = "dev@example.org";
/// The subject of [`By::GitHub`]: the workflow and the ref it ran at.
pub const WORKFLOW: &str = "https://github.com/example-org/app/.github/workflows/release.yml@refs/heads/main";

/// Fulcio, a timestamp authority, Rekor v2, a log that promises certificates a place, and issuers of tokens. About 100 MB.
pub struct PrivateSigstore {
    keys: Keys,
    servers: Servers,
    rekor_v1: OnceCell<RekorV1>,
    configs: SigningConfigs,
    trusted_root: TrustedRoot,
    strangers_root: TrustedRoot,
}

impl PrivateSigstore {
    /// The sigstore of this test process, started by the first that asks.
    pub async fn shared() -> &'static Self {
        static SHARED: OnceCell<PrivateSigstore> = OnceCell::const_new();
        SHARED.get_or_init(Self::start).await
    }

    /// A sigstore with keys of its own. A machine runs one at a time, other processes queue: see [`Self::shared`].
    async fn start() -> Self {
        let keys = Keys::generate();
        let servers = Servers::start(&keys).await;
        let configs = SigningConfigs::write(&servers);
        let (trusted_root, strangers_root) = (keys.trusted_root(), Keys::generate().trusted_root());
        Self { keys, servers, rekor_v1: OnceCell::new(), configs, trusted_root, strangers_root }
    }

    /// Has a Rekor v1, too, which the trusted root knows in any case. Its programs are no part of `make parts`.
    pub async fn with_rekor_v1(&self) -> &Self {
        let started = self.rekor_v1.get_or_init(|| async {
            let rekor = RekorV1::start(&self.keys).await;
            self.configs.add_rekor_v1(&self.servers, &rekor.url);
            rekor
        });
        started.await;
        self
    }

    /// The root of what this sigstore signs.
    pub fn trusted_root(&self) -> &TrustedRoot {
        &self.trusted_root
    }

    /// A root of other keys under the same names: nothing here is signed by them.
    pub fn strangers_root(&self) -> &TrustedRoot {
        &self.strangers_root
    }

    /// The issuer of mail addresses, `http://127.0.0.1:PORT/mail`.
    pub fn mail_issuer(&self) -> String {
        format!("{}/mail", self.servers.issuers)
    }

    /// The issuer of GitHub's workflows, `http://127.0.0.1:PORT/github`.
    pub fn github_issuer(&self) -> String {
        format!("{}/github", self.servers.issuers)
    }

    /// A token of the holder of a mail address, good for an hour.
    pub async fn token(&self, email: &str) -> String {
        let claims = json!({"sub": email, "email": email, "email_verified": true});
        signed_claims(&self.mail_issuer(), &claims).await
    }

    /// A token of a workflow; [`github_claims`] has all claims that fulcio asks for.
    pub async fn github_token(&self, claims: &Value) -> String {
        signed_claims(&self.github_issuer(), claims).await
    }

    /// A cosign that signs as [`MAIL`], as [`WORKFLOW`] and with a key pair of its own.
    pub async fn signer(&self, docker_config: &Path) -> Signer<'_> {
        self.signer_as(docker_config, &self.token(MAIL).await, &self.github_token(&github_claims()).await)
    }

    /// The same with other tokens for [`By::Mail`] and [`By::GitHub`].
    pub fn signer_as(&self, docker_config: &Path, mail_token: &str, github_token: &str) -> Signer<'_> {
        Signer::new(self, docker_config, mail_token, github_token)
    }
}

/// The claims of a run of [`WORKFLOW`], pushed to `refs/heads/main` of the public repository `example-org/app`, on a
/// runner of GitHub's.
pub fn github_claims() -> Value {
    const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";
    let workflow = WORKFLOW.trim_start_matches("https://github.com/");
    json!({
        "sub": "repo:example-org/app:ref:refs/heads/main", "event_name": "push", "actor": "dev", "actor_id": "7",
        "repository": "example-org/app", "repository_id": "101", "repository_visibility": "public",
        "repository_owner": "example-org", "repository_owner_id": "11",
        "ref": "refs/heads/main", "ref_type": "branch", "base_ref": "", "head_ref": "", "sha": COMMIT,
        "workflow": "release", "workflow_ref": workflow, "workflow_sha": COMMIT,
        "job_workflow_ref": workflow, "job_workflow_sha": COMMIT,
        "run_id": "900", "run_number": "42", "run_attempt": "1", "runner_environment": "github-hosted"})
}

async fn signed_claims(issuer: &str, claims: &Value) -> String {
    let client = api::http_client().build().or_fail("an HTTP client");
    let answer = client.post(format!("{issuer}/token")).json(claims).send().await.or_fail("the issuer");
    answer.error_for_status().or_fail("a token").text().await.or_fail("a token")
}
