//! `verify --evidence`, `verify --from-evidence`, `verify-bundle` and attestations on the built binary, with what cosign
//! signs and attests in registries of both kinds.

use std::path::{Path, PathBuf};

use portreeve_tests::OrFail as _;
use portreeve_tests::cosign::{Cosign, Storage};
use portreeve_tests::desk::{Desk, verdicts};
use portreeve_tests::registry::Registry;
use serde_json::{Value, json};

const PROVENANCE: &str = "https://slsa.dev/provenance/v1";

fn path(path: &Path) -> &str {
    path.to_str().or_fail("a path of a test is UTF-8")
}

/// An image in a registry, signed and attested by a key.
struct Attested {
    registry: Registry,
    signer: Cosign,
    image: String,
}

impl Attested {
    async fn in_storage(storage: Storage, registry: Registry) -> Self {
        let signer = Cosign::new(registry.docker_config());
        let image = registry.push_image("demo/app:1");
        signer.sign(&image, storage);
        let predicate = signer.folder().join("predicate.json");
        let content = json!({"buildDefinition": {"buildType": "https://example.org/build/v1", "externalParameters": {}},
            "runDetails": {"builder": {"id": "https://example.org/builder"}}});
        std::fs::write(&predicate, content.to_string()).or_fail("a file");
        signer.attest(&image, storage, "slsaprovenance1", &predicate);
        Self { registry, signer, image }
    }

    /// A policy that wants the signature and this attestation.
    fn policy(&self, desk: &Desk, attestation: &str) -> PathBuf {
        desk.file("signer.pub", std::fs::read(self.signer.public_key()).or_fail("the key"));
        desk.file(
            "policy.yaml",
            format!(
                "apiVersion: portreeve.dev/v1alpha1\nkind: ImagePolicy\nmetadata: {{name: p}}\nspec:\n  rules:\n  - name: r\n    images: ['**']\n    authorities: {{list: [{{name: k, key: {{file: signer.pub}}}}]}}\n    attestations: [{{name: built, {attestation}}}]\n"
            ),
        )
    }
}

#[tokio::test]
async fn what_cosign_attests_is_found_in_both_storages_and_registries_and_asked_of_its_signed_content() {
    for storage in [Storage::Tag, Storage::Bundle] {
        for registry in [Registry::with_referrers().await, Registry::without_referrers().await] {
            let (desk, attested) = (Desk::new(), Attested::in_storage(storage, registry).await);
            for (attestation, exit, told) in [
                (format!("predicateType: '{PROVENANCE}'"), 0, "PR-1004 pass"),
                (
                    format!(
                        "predicateType: '{PROVENANCE}', cel: predicate.runDetails.builder.id.startsWith('https://example.org/')"
                    ),
                    0,
                    "PR-1004 pass",
                ),
                (
                    format!(
                        "predicateType: '{PROVENANCE}', cel: predicate.runDetails.builder.id.startsWith('https://github.com/')"
                    ),
                    13,
                    "PR-1004 fail",
                ),
                ("predicateType: 'https://spdx.dev/Document'".to_owned(), 13, "PR-1004 fail"),
            ] {
                let policy = attested.policy(&desk, &attestation);
                let host = attested.registry.host();
                let arguments = ["verify", "--plain-http", host, "--image-policy", path(&policy), "--format", "json"];
                let told_of = [&arguments[..], &["--all-verdicts", &attested.image]].concat();
                let report = desk.run(&told_of).expect_exit(exit).json();
                assert!(verdicts(&report).contains(&told.to_owned()), "{attestation}: {:?}", verdicts(&report));
            }
        }
    }
}

#[tokio::test]
async fn evidence_is_verified_again_without_the_registry_and_no_byte_of_it_is_believed() {
    let (desk, mut attested) =
        (Desk::new(), Attested::in_storage(Storage::Bundle, Registry::with_referrers().await).await);
    let policy = attested.policy(&desk, &format!("predicateType: '{PROVENANCE}'"));
    let host = attested.registry.host().to_owned();
    let file = desk.folder().join("evidence.json");
    let online = ["verify", "--plain-http", &host, "--image-policy", path(&policy), "--format", "json"];
    let before = desk.run(&[&online[..], &["--evidence", path(&file), &attested.image]].concat()).expect_exit(0).json();
    attested.registry.stop();

    let offline = ["verify", "--offline", "--image-policy", path(&policy), "--format", "json", "--from-evidence"];
    let again = |file: &Path, exit: i32| desk.run(&[&offline[..], &[path(file)]].concat()).expect_exit(exit);
    assert_eq!(again(&file, 0).json()["images"], before["images"]);
    let named = [&offline[..], &[path(&file), "127.0.0.1:1/other/app:1"]].concat();
    let unknown = desk.run(&named).expect_exit(5);
    assert!(unknown.stdout.contains("the evidence file does not tell of it"), "{}", unknown.stdout);

    let evidence: Value = desk.json("evidence.json");
    let mut absent = evidence.clone();
    absent["evidence"][0]["referrers"] = json!("absent");
    again(&desk.file("absent.json", absent.to_string()), 11);
    let mut unread = evidence.clone();
    unread["evidence"][0]["referrers"] = json!({"indeterminate": ["timed-out", "late"]});
    again(&desk.file("unread.json", unread.to_string()), 5);
    let mut twice = evidence.clone();
    let first = twice["evidence"][0].clone();
    twice["evidence"].as_array_mut().or_fail("a list").push(first);
    again(&desk.file("twice.json", twice.to_string()), 2);
    let mut moved = evidence.clone();
    moved["evidence"][0]["digest"] = format!("sha256:{}", "0".repeat(64)).into();
    again(&desk.file("moved.json", moved.to_string()), 5);
    let mut forged = evidence.clone();
    for referrer in forged["evidence"][0]["referrers"]["found"].as_array_mut().or_fail("referrers") {
        let bundle = &mut referrer["content"]["bundle"];
        let text = bundle.as_str().or_fail("a bundle").to_owned();
        *bundle = format!("{}{}", &text[..text.len() / 2], "A".repeat(text.len() - text.len() / 2)).into();
    }
    again(&desk.file("forged.json", forged.to_string()), 12);
    for (name, content) in
        [("empty.json", ""), ("other.json", r#"{"schemaVersion":"evidence-v9","manifests":{},"evidence":[]}"#)]
    {
        let refused = again(&desk.file(name, content), 2);
        assert!(refused.stderr.contains(name), "{}", refused.stderr);
    }
}

/// A recorded file of `policies/trust/tests/keyless`.
fn recorded(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../policies/trust/tests/keyless").join(name)
}

#[test]
fn a_bundle_proves_who_signed_a_file_or_digest_and_nothing_else() {
    let cases: Vec<Value> =
        serde_json::from_slice(&std::fs::read(recorded("cases.json")).or_fail("cases")).or_fail("JSON");
    let case = |name: &str| cases.iter().find(|case| case["name"] == name).or_fail("a case").clone();
    let (keyless, keyed) = (case("keyless-logged"), case("keyed-logged"));
    let text = |value: &Value| value.as_str().or_fail("text").to_owned();
    let desk = Desk::new();
    let verify = |case: &Value, by: &[&str], root: &str, artifact: &str| {
        let bundle = recorded(&format!("{}.bundle.json", text(&case["name"])));
        let root = recorded(root);
        let arguments = ["verify-bundle", "--bundle", path(&bundle), "--trusted-root", path(&root)];
        desk.run(&[&arguments[..], by, &[artifact]].concat())
    };
    let (issuer, digest) = (text(&keyless["signer"]["issuer"]), text(&keyless["digest"]));
    let dev = ["--certificate-identity", "dev@example.org", "--certificate-oidc-issuer", &issuer];
    let proved = verify(&keyless, &dev, "trusted_root.json", &digest).expect_exit(0);
    assert_eq!(proved.stdout, format!("{digest}: signed by dev@example.org (issuer {issuer})\n"));
    let eve = ["--certificate-identity", "eve@example.org", "--certificate-oidc-issuer", &issuer];
    let stranger = verify(&keyless, &eve, "trusted_root.json", &digest).expect_exit(12);
    assert!(stranger.stderr.contains("signed by dev@example.org"), "{}", stranger.stderr);
    verify(&keyless, &dev, "strangers_root.json", &digest).expect_exit(12);
    verify(&keyless, &dev, "trusted_root.json", &text(&keyed["digest"])).expect_exit(12);
    let key = recorded("signer.pub");
    verify(&keyed, &["--key", path(&key)], "trusted_root.json", &text(&keyed["digest"])).expect_exit(0);
    verify(&keyless, &["--key", path(&key)], "trusted_root.json", &digest).expect_exit(12);
    // A bundle without a log entry.
    let bare = case("keyed-bare");
    verify(&bare, &["--key", path(&key)], "trusted_root.json", &text(&bare["digest"])).expect_exit(12);
    let lost = verify(&keyless, &dev, "trusted_root.json", "no-such-file").expect_exit(2);
    assert!(lost.stderr.contains("no-such-file"), "{}", lost.stderr);
    verify(&keyless, &[], "trusted_root.json", &digest).expect_exit(2);
    let half = verify(&keyless, &dev[..2], "trusted_root.json", &digest).expect_exit(2);
    assert!(half.stderr.contains("--certificate-oidc-issuer is missing"), "{}", half.stderr);
}

#[test]
fn what_is_no_bundle_proves_nothing() {
    let desk = Desk::new();
    let artifact = desk.file("app.tar", "the bytes of a file\n");
    let bundle = desk.file("not-a-bundle.json", "{}");
    let key = recorded("signer.pub");
    let arguments = ["verify-bundle", "--key", path(&key), "--bundle", path(&bundle), path(&artifact)];
    let refused = desk.run(&arguments).expect_exit(12);
    assert!(refused.stderr.contains("no sigstore bundle"), "{}", refused.stderr);
}
