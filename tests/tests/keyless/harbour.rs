//! Images signed in every way, in two registries, and how a policy asks about them.

use std::path::Path;

use portreeve_tests::OrFail as _;
use portreeve_tests::cosign::Storage;
use portreeve_tests::doors::findings::ImageOutcome;
use portreeve_tests::registry::Registry;
use portreeve_tests::sigstore::{
    Anchor, By, Identity, Predicate, PrivateSigstore, Proof, Signer, TrustedRoot, Way, What,
};
use serde_json::{Value, json};
use tokio::sync::OnceCell;

/// What is signed in each registry besides [`Way::SIGNATURES`]: attestations, which are no signatures.
const ATTESTATIONS: [Way; 3] = [
    Way::attestation(By::Mail, Predicate::SlsaV1, Proof::Logged, Storage::Bundle),
    Way::attestation(By::Mail, Predicate::SlsaV1, Proof::Stamped, Storage::Tag),
    Way::attestation(By::Key, Predicate::SlsaV1, Proof::Bare, Storage::Bundle),
];
/// Whose signatures are moved to another image.
const MOVED: [Way; 4] = [
    Way::signature(By::Mail, Proof::Logged, Storage::Bundle),
    Way::signature(By::Mail, Proof::Stamped, Storage::Tag),
    Way::signature(By::Key, Proof::Bare, Storage::Bundle),
    Way::signature(By::Key, Proof::Bare, Storage::Tag),
];

/// An image in a repository of its own.
#[derive(Clone, Debug)]
pub(crate) struct Berth {
    /// How it was signed.
    pub(crate) way: Way,
    /// Whether the signature was made for another image.
    pub(crate) is_moved: bool,
    /// Of the registry.
    pub(crate) has_referrers: bool,
    /// `host/repository@sha256:…`
    pub(crate) image: String,
}

impl Berth {
    /// `host/repository`
    pub(crate) fn repository(&self) -> &str {
        self.image.split_once('@').or_fail("an image by its digest").0
    }

    /// A name for tables, of which Pods have theirs.
    pub(crate) fn name(&self) -> String {
        format!("{}{}-{}", if self.is_moved { "moved-" } else { "" }, self.way.name(), self.storage())
    }

    pub(crate) fn storage(&self) -> &'static str {
        if self.has_referrers { "api" } else { "fallback" }
    }
}

/// Two registries, whoever signed what is there, and a stranger.
pub(crate) struct Harbour {
    pub(crate) sigstore: &'static PrivateSigstore,
    pub(crate) registries: [Registry; 2],
    pub(crate) signer: Signer<'static>,
    pub(crate) stranger: Signer<'static>,
    pub(crate) berths: Vec<Berth>,
}

impl Harbour {
    /// The one of this test process.
    pub(crate) async fn shared() -> &'static Self {
        static SHARED: OnceCell<Harbour> = OnceCell::const_new();
        SHARED.get_or_init(Self::new).await
    }

    /// Signs everything in both registries, side by side.
    async fn new() -> Self {
        let (sigstore, with, without) =
            tokio::join!(PrivateSigstore::shared(), Registry::with_referrers(), Registry::with_sign_in());
        let signer = sigstore.signer(without.docker_config()).await;
        let stranger = sigstore.signer(without.docker_config()).await;
        let registries = [with, without];
        let (one, other) = (&registries[0], &registries[1]);
        let mut berths = Vec::new();
        std::thread::scope(|scope| {
            let threads = [one, other].map(|registry| scope.spawn(|| signed(registry, &signer)));
            berths.extend(threads.into_iter().flat_map(|thread| thread.join().ok().or_fail("what is signed")));
        });
        for registry in &registries {
            for way in MOVED {
                berths.push(moved(registry, &signer, way).await);
            }
        }
        for berth in &mut berths {
            berth.has_referrers = berth.image.starts_with(registries[0].host());
        }
        Self { sigstore, registries, signer, stranger, berths }
    }

    /// The `registries` of a configuration.
    pub(crate) fn registries(&self) -> Value {
        let docker = self.registries[1].docker_config().join("config.json");
        json!([{"host": self.registries[0].host(), "plainHttp": true},
            {"host": self.registries[1].host(), "plainHttp": true, "credentials": {"dockerConfig": docker}}])
    }

    /// The identity of a signer.
    pub(crate) fn keyless(&self, by: By) -> (String, String) {
        match self.signer.identity(by) {
            Identity::Keyless { issuer, subject } => (issuer, subject),
            Identity::Key(_) => (String::new(), String::new()),
        }
    }

    fn key(&self, of_stranger: bool) -> std::path::PathBuf {
        let signer = if of_stranger { &self.stranger } else { &self.signer };
        signer.cosign().public_key()
    }
}

fn signed(registry: &Registry, signer: &Signer<'_>) -> Vec<Berth> {
    let ways = Way::SIGNATURES.into_iter().chain(ATTESTATIONS);
    let berths = ways.map(|way| {
        let image = registry.push_image(&format!("demo/{}:1", way.name()));
        signer.sign(way, &image);
        Berth { way, is_moved: false, has_referrers: false, image }
    });
    berths.collect()
}

async fn moved(registry: &Registry, signer: &Signer<'_>, way: Way) -> Berth {
    let repository = format!("demo/moved-{}", way.name());
    let [from, image] = ["1", "2"].map(|tag| registry.push_image(&format!("{repository}:{tag}")));
    signer.sign(way, &from);
    registry.move_signature(way.storage, &from, &image).await;
    Berth { way, is_moved: true, has_referrers: false, image }
}

/// What a policy asks, of all images alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Case {
    /// The signer, by name, and the proofs that its way of signing has.
    Signer,
    /// The signer, by expressions and claims.
    Described,
    /// Another subject, another key.
    OtherSubject,
    /// An issuer that has vouched for somebody else.
    OtherIssuer,
    /// A claim that the certificate has otherwise, or has not.
    OtherClaim,
    /// An entry of the log, of all.
    Logged,
    /// The other kind of authority: a key for certificates.
    OtherKind,
    /// A root of other keys under the same names.
    Strangers,
    /// The root with one anchor of strangers.
    Mixed(Anchor),
}

impl Case {
    /// All of them.
    pub(crate) fn all() -> Vec<Self> {
        let mut all = vec![
            Self::Signer,
            Self::Described,
            Self::OtherSubject,
            Self::OtherIssuer,
            Self::OtherClaim,
            Self::Logged,
            Self::OtherKind,
            Self::Strangers,
        ];
        all.extend(Anchor::ALL.map(Self::Mixed));
        all
    }

    pub(crate) fn name(self) -> String {
        match self {
            Self::Mixed(anchor) => format!("{anchor:?} of strangers"),
            other => format!("{other:?}"),
        }
    }

    /// Whether it is asked of an image. Keys have no issuer and no claims; what is no signature for this image is none
    /// whatever is asked.
    pub(crate) fn is_of(self, berth: &Berth) -> bool {
        let is_plain = !berth.is_moved && berth.way.what == What::Signature;
        match self {
            Self::Signer => true,
            Self::Described | Self::OtherIssuer | Self::OtherClaim | Self::OtherKind => {
                is_plain && berth.way.by != By::Key
            }
            Self::OtherSubject | Self::Logged | Self::Strangers | Self::Mixed(_) => is_plain,
        }
    }

    /// What it must come to.
    pub(crate) fn expected(self, berth: &Berth) -> ImageOutcome {
        let Berth { way, .. } = berth;
        // Nothing says that a certificate lived when this was signed.
        let is_timeless = way.by != By::Key && way.proof == Proof::Bare;
        let holds = match self {
            _ if way.what != What::Signature => return ImageOutcome::Unsigned,
            _ if berth.is_moved || is_timeless => false,
            Self::Signer | Self::Described => true,
            Self::OtherSubject | Self::OtherIssuer | Self::OtherClaim | Self::OtherKind => false,
            Self::Logged => way.proof == Proof::Logged,
            Self::Strangers => anchors(*way).is_empty(),
            Self::Mixed(anchor) => !anchors(*way).contains(&anchor),
        };
        if holds { ImageOutcome::Verified } else { ImageOutcome::Untrusted }
    }

    /// The trusted root that it goes by.
    pub(crate) fn root(self, sigstore: &PrivateSigstore) -> TrustedRoot {
        match self {
            Self::Strangers => sigstore.strangers_root().clone(),
            Self::Mixed(anchor) => sigstore.trusted_root().with(anchor, sigstore.strangers_root()),
            _ => sigstore.trusted_root().clone(),
        }
    }

    /// The authority of the rule for an image, in a policy whose root is `root` and whose keys are `release.pub` and
    /// `stranger.pub`.
    pub(crate) fn authority(self, berth: &Berth, harbour: &Harbour) -> Value {
        let Berth { way, .. } = berth;
        let is_logged = way.proof == Proof::Logged || self == Self::Logged;
        let log = if is_logged { "required" } else { "optional" };
        if way.by == By::Key || self == Self::OtherKind {
            let file = if self == Self::OtherSubject { "stranger.pub" } else { "release.pub" };
            return json!({"name": "release", "key": {"file": file, "log": log, "trustRoot": "root"}});
        }
        let (issuer, subject) = harbour.keyless(way.by);
        let mut keyless = json!({"issuer": issuer, "subject": subject, "trustRoot": "root", "log": log});
        match self {
            Self::Described => {
                keyless = json!({"issuerRegexp": r"http://127\.0\.0\.1:\d+/(mail|github)", "trustRoot": "root", "log": log,
                    "subjectRegexp": subject.replace('.', r"\.").replace("main", "(main|release)")});
                if way.by == By::GitHub {
                    keyless["claims"] = json!({"sourceRepositoryOwner": "example-org", "buildTrigger": "push",
                        "sourceRepositoryRef": "refs/heads/main", "runnerEnvironment": "github-hosted"});
                }
            }
            Self::OtherSubject => keyless["subject"] = format!("{subject}.example").into(),
            Self::OtherIssuer => keyless["issuer"] = harbour.keyless(other(way.by)).0.into(),
            // A certificate for a mail address has no such claim.
            Self::OtherClaim if way.by == By::GitHub => keyless["claims"] = json!({"sourceRepositoryOwner": "example"}),
            Self::OtherClaim => keyless["claims"] = json!({"sourceRepositoryOwner": "example-org"}),
            _ => {}
        }
        json!({"name": "release", "keyless": keyless})
    }

    /// The same as flags of `verify`, where they can say it: they ask identities for a log entry, keys for none, and have
    /// no claims.
    pub(crate) fn flags(self, berth: &Berth, harbour: &Harbour, root: &Path) -> Option<Vec<String>> {
        let Berth { way, .. } = berth;
        let root = root.display().to_string();
        if way.by == By::Key || self == Self::OtherKind {
            let key = harbour.key(self == Self::OtherSubject).display().to_string();
            let is_same = self != Self::Logged || way.proof == Proof::Logged;
            return is_same.then(|| ["--key", &key, "--trusted-root", &root].map(str::to_owned).to_vec());
        }
        let asks_as_much = way.proof == Proof::Logged || self == Self::Logged || !self.is_ok(berth);
        let keyless = self.authority(berth, harbour)["keyless"].take();
        let text = |key: &str| keyless[key].as_str().map(str::to_owned);
        let flag = |name: &str, value: Option<String>| value.map(|value| [name.to_owned(), value]);
        let named = [
            flag("--certificate-identity", text("subject")),
            flag("--certificate-identity-regexp", text("subjectRegexp")),
            flag("--certificate-oidc-issuer", text("issuer")),
            flag("--certificate-oidc-issuer-regexp", text("issuerRegexp")),
            flag("--trusted-root", Some(root)),
        ];
        let can_say = asks_as_much && self != Self::OtherClaim;
        can_say.then(|| named.into_iter().flatten().flatten().collect())
    }

    fn is_ok(self, berth: &Berth) -> bool {
        self.expected(berth) == ImageOutcome::Verified
    }
}

fn other(by: By) -> By {
    if by == By::Mail { By::GitHub } else { By::Mail }
}

/// What in a trusted root has a say about a signature.
fn anchors(way: Way) -> Vec<Anchor> {
    let of_certificate = [Anchor::Fulcio, Anchor::Ct].into_iter().filter(|_| way.by != By::Key);
    let of_time: &[Anchor] = match way.proof {
        // An entry of Rekor v2 states no time.
        Proof::Logged | Proof::LoggedV1 => &[Anchor::Rekor, Anchor::Tsa],
        Proof::Stamped => &[Anchor::Tsa],
        Proof::Bare => &[],
    };
    of_certificate.chain(of_time.iter().copied()).collect()
}
