//! `portreeve verify` and `portreeve image sign` on the built binary, beside cosign, in registries of all kinds.

use std::path::Path;
use std::time::Duration;

use portreeve_tests::OrFail as _;
use portreeve_tests::binary::Output;
use portreeve_tests::cosign::{Cosign, Storage};
use portreeve_tests::desk::{Desk, verdicts};
use portreeve_tests::hostile::{self, Manner};
use portreeve_tests::process::run;
use portreeve_tests::registry::{PASSWORD, Registry, USER};

/// A command's time on a busy machine.
const DEADLINE: Duration = Duration::from_secs(60);

fn path(path: &Path) -> &str {
    path.to_str().or_fail("a path of a test is UTF-8")
}

/// `portreeve verify` of images of this registry with these keys.
fn verify(registry: &Registry, keys: &[&Path], more: &[&str]) -> Output {
    verify_at(registry.host(), keys, more)
}

fn verify_at(host: &str, keys: &[&Path], more: &[&str]) -> Output {
    let mut arguments = vec!["verify", "--plain-http", host];
    arguments.extend(keys.iter().flat_map(|key| ["--key", path(key)]));
    arguments.extend(more);
    Desk::new().run(&arguments)
}

/// `portreeve image sign`; the password of the key is `password`.
fn sign(registry: &Registry, key: &Path, password: &str, more: &[&str]) -> Output {
    let desk = Desk::new();
    let mut command = desk.command(&["image", "sign", "--plain-http", registry.host(), "--key", path(key)]);
    portreeve_tests::binary::Portreeve::finish(command.args(more).env("COSIGN_PASSWORD", password))
}

async fn registries() -> [Registry; 2] {
    [Registry::with_referrers().await, Registry::without_referrers().await]
}

#[tokio::test]
async fn what_cosign_signs_verifies_in_both_storages_and_registries_and_only_with_its_key() {
    for registry in registries().await {
        let (signer, stranger) = (Cosign::new(registry.docker_config()), Cosign::new(registry.docker_config()));
        for storage in [Storage::Tag, Storage::Bundle] {
            let image = registry.push_image(&format!("demo/{storage:?}:1").to_lowercase());
            let unsigned = verify(&registry, &[&signer.public_key()], &[&image]).expect_exit(11);
            assert!(unsigned.stdout.contains("is not signed"), "{}", unsigned.stdout);
            signer.sign(&image, storage);
            let json = ["--format", "json", "--all-verdicts", image.as_str()];
            let verified = verify(&registry, &[&signer.public_key()], &json).expect_exit(0).json();
            assert_eq!(
                verdicts(&verified),
                ["PR-1001 pass", "PR-1002 pass", "PR-1003 pass", "PR-1004 not-applicable"],
                "{storage:?}"
            );
            assert!(image.ends_with(verified["images"][0]["digest"].as_str().unwrap()));
            let untrusted = verify(&registry, &[&stranger.public_key()], &json).expect_exit(12).json();
            assert_eq!(
                verdicts(&untrusted),
                ["PR-1001 pass", "PR-1002 fail", "PR-1003 not-applicable", "PR-1004 not-applicable"]
            );
        }
    }
}

#[tokio::test]
async fn what_we_sign_cosign_verifies_in_both_storages_and_registries() {
    for registry in registries().await {
        let (signer, stranger) = (Cosign::new(registry.docker_config()), Cosign::new(registry.docker_config()));
        for storage in ["v2", "v3"] {
            let image = registry.push_image(&format!("demo/{storage}:1"));
            sign(&registry, &signer.private_key(), "", &["--storage", storage, &image]).expect_exit(0);
            let verified = signer.verify(&image, &signer.public_key());
            assert!(verified.status.success(), "{storage}: {}", String::from_utf8_lossy(&verified.stderr));
            assert!(!signer.verify(&image, &stranger.public_key()).status.success(), "{storage}");
            verify(&registry, &[&signer.public_key()], &[&image]).expect_exit(0);
            verify(&registry, &[&stranger.public_key()], &[&image]).expect_exit(12);
        }
    }
}

#[tokio::test]
async fn a_pkcs8_key_signs_and_a_tag_is_resolved_once() {
    let registry = Registry::with_referrers().await;
    let image = registry.push_image("demo/app:1");
    let desk = Desk::new();
    let pair = rcgen::KeyPair::generate().unwrap();
    let (key, public) = (desk.file("plain.key", pair.serialize_pem()), desk.file("plain.pub", pair.public_key_pem()));
    let tag = format!("{}/demo/app:1", registry.host());
    let signed = sign(&registry, &key, "", &[&tag]).expect_exit(0);
    assert!(signed.stderr.contains(&image), "the digest is named: {}", signed.stderr);
    verify(&registry, &[&public], &[&tag]).expect_exit(0);
    verify(&registry, &[&public], &[&image]).expect_exit(0);
}

#[tokio::test]
async fn an_encrypted_key_needs_its_password() {
    let registry = Registry::with_referrers().await;
    let image = registry.push_image("demo/app:1");
    let cosign = Cosign::new(registry.docker_config());
    run(cosign.command().env("COSIGN_PASSWORD", "secret").args(["generate-key-pair", "--output-key-prefix", "locked"]));
    let file = |name: &str| cosign.private_key().with_file_name(name);
    let (key, public) = (file("locked.key"), file("locked.pub"));
    let refused = sign(&registry, &key, "wrong", &[&image]).expect_exit(2);
    assert!(refused.stderr.contains("COSIGN_PASSWORD") && !refused.stderr.contains("wrong"), "{}", refused.stderr);
    verify(&registry, &[&public], &[&image]).expect_exit(11);
    sign(&registry, &key, "secret", &[&image]).expect_exit(0);
    verify(&registry, &[&public], &[&image]).expect_exit(0);
}

#[tokio::test]
async fn signing_again_keeps_the_signatures_that_are_there() {
    for registry in registries().await {
        let (ours, theirs) = (Cosign::new(registry.docker_config()), Cosign::new(registry.docker_config()));
        for (storage, word) in [(Storage::Tag, "v2"), (Storage::Bundle, "v3")] {
            let image = registry.push_image(&format!("demo/{word}:1"));
            theirs.sign(&image, storage);
            sign(&registry, &ours.private_key(), "", &["--storage", word, &image]).expect_exit(0);
            let both = [&*ours.public_key(), &*theirs.public_key()];
            verify(&registry, &both, &["--threshold", "2", &image]).expect_exit(0);
            for signer in [&ours, &theirs] {
                assert!(signer.verify(&image, &signer.public_key()).status.success(), "{word}");
            }
        }
    }
}

#[tokio::test]
async fn a_threshold_counts_different_keys_that_have_signed() {
    let registry = Registry::with_referrers().await;
    let image = registry.push_image("demo/app:1");
    let (one, two) = (Cosign::new(registry.docker_config()), Cosign::new(registry.docker_config()));
    one.sign(&image, Storage::Tag);
    one.sign(&image, Storage::Bundle);
    let keys = [&*one.public_key(), &*two.public_key()];
    verify(&registry, &keys, &["--threshold", "2", &image]).expect_exit(12);
    two.sign(&image, Storage::Bundle);
    verify(&registry, &keys, &["--threshold", "2", &image]).expect_exit(0);
    let copy = Desk::new().file("copy.pub", std::fs::read(one.public_key()).unwrap());
    let same = [&*one.public_key(), &*copy];
    verify(&registry, &same, &["--threshold", "2", &image]).expect_exit(2);
    verify(&registry, &keys, &["--threshold", "0", &image]).expect_exit(2);
}

#[tokio::test]
async fn a_dry_run_pushes_nothing() {
    let registry = Registry::without_referrers().await;
    let image = registry.push_image("demo/app:1");
    let signer = Cosign::new(registry.docker_config());
    for storage in ["v2", "v3"] {
        let arguments = ["--dry-run", "--storage", storage, &image];
        let said = sign(&registry, &signer.private_key(), "", &arguments).expect_exit(0);
        assert!(said.stderr.contains("would sign"), "{}", said.stderr);
    }
    verify(&registry, &[&signer.public_key()], &[&image]).expect_exit(11);
}

#[tokio::test]
async fn no_authority_and_no_usable_key_are_exit_2_and_say_what_is_wrong() {
    let registry = Registry::with_referrers().await;
    let image = registry.push_image("demo/app:1");
    let signer = Cosign::new(registry.docker_config());
    let none = verify(&registry, &[], &[&image]).expect_exit(2);
    assert!(none.stderr.contains("no authority given"), "{}", none.stderr);
    // A policy has trust roots of its own: one that would not be looked at is not taken.
    let root = portreeve_tests::repository().join("policies/trust/tests/keyless/trusted_root.json");
    let alone = verify(&registry, &[], &["--trusted-root", path(&root), &image]).expect_exit(2);
    assert!(alone.stderr.contains("--trusted-root is for --key"), "{}", alone.stderr);
    let private = verify(&registry, &[&signer.private_key()], &[&image]).expect_exit(2);
    assert!(private.stderr.contains("private key"), "{}", private.stderr);
    let public = sign(&registry, &signer.public_key(), "", &[&image]).expect_exit(2);
    assert!(public.stderr.contains("PUBLIC KEY"), "{}", public.stderr);
    verify(&registry, &[Path::new("missing.pub")], &[&image]).expect_exit(2);
    verify(&registry, &[&signer.public_key()], &["Not An Image"]).expect_exit(2);
}

#[tokio::test]
async fn an_image_that_does_not_exist_is_exit_3_and_outranks_no_verdict() {
    let registry = Registry::with_referrers().await;
    let (signed, unsigned) = (registry.push_image("demo/signed:1"), registry.push_image("demo/unsigned:1"));
    let signer = Cosign::new(registry.docker_config());
    signer.sign(&signed, Storage::Bundle);
    let missing = format!("{}/demo/missing:1", registry.host());
    let key = signer.public_key();
    let said = verify(&registry, &[&key], &[&missing]).expect_exit(3);
    let last = said.stderr.lines().last().or_fail("a last word");
    assert!(last.ends_with(&format!("no such image: {missing}")), "{}", said.stderr);
    assert!(!said.stderr.contains("above the threshold") && said.stdout.contains("coverage: 0.0 %"), "{said:?}");
    verify(&registry, &[&key], &[&signed, &missing]).expect_exit(3);
    verify(&registry, &[&key], &[&missing, &unsigned, &signed]).expect_exit(11);
    sign(&registry, &signer.private_key(), "", &[&missing]).expect_exit(3);
}

#[tokio::test]
async fn a_registry_that_is_down_or_blocked_is_exit_5_and_no_verdict() {
    let mut registry = Registry::with_referrers().await;
    let image = registry.push_image("demo/app:1");
    let signer = Cosign::new(registry.docker_config());
    signer.sign(&image, Storage::Bundle);
    let json = ["--format", "json", image.as_str()];
    let offline = [&["--offline"], &json[..]].concat();
    verify(&registry, &[&signer.public_key()], &offline).expect_exit(5);
    registry.stop();
    let report = verify(&registry, &[&signer.public_key()], &json).expect_exit(5).json();
    assert_eq!(report["verdict"], "unknown");
    assert_eq!(report["findings"][0]["cause"], "unreachable");
    sign(&registry, &signer.private_key(), "", &[&image]).expect_exit(5);
}

#[tokio::test]
async fn a_registry_that_wants_a_sign_in_is_exit_4_without_it_and_verifies_with_it() {
    let registry = Registry::with_sign_in().await;
    let image = registry.push_image("demo/app:1");
    let signer = Cosign::new(registry.docker_config());
    signer.sign(&image, Storage::Tag);
    verify(&registry, &[&signer.public_key()], &[&image]).expect_exit(4);
    sign(&registry, &signer.private_key(), "", &[&image]).expect_exit(4);
    let desk = Desk::new();
    let public = signer.public_key();
    let mut command = desk.command(&["verify", "--plain-http", registry.host(), "--key", path(&public), &image]);
    command.env("DOCKER_CONFIG", registry.docker_config());
    portreeve_tests::binary::Portreeve::finish(&mut command).expect_exit(0);
}

#[tokio::test]
async fn a_credential_helper_of_the_docker_config_lets_in_as_it_lets_in_crane() {
    let registry = Registry::with_sign_in().await;
    let image = registry.push_image("demo/app:1");
    let signer = Cosign::new(registry.docker_config());
    signer.sign(&image, Storage::Tag);
    let desk = Desk::new();
    let answer = serde_json::json!({"ServerURL": registry.host(), "Username": USER, "Secret": PASSWORD});
    let script = format!("[ \"$1 $(cat)\" = 'get {}' ] && echo '{answer}'", registry.host());
    let helper = desk.program("docker-credential-harbour", &script);
    desk.file("config.json", serde_json::json!({"credHelpers": {registry.host(): "harbour"}}).to_string());
    let path = format!("{}:/usr/bin:/bin", desk.folder().display());
    let mut crane = registry.crane();
    run(crane.args(["digest", &image]).env("DOCKER_CONFIG", desk.folder()).env("PATH", &path));
    let public = signer.public_key();
    let verify = || {
        let mut command =
            desk.command(&["verify", "--plain-http", registry.host(), "--key", self::path(&public), &image]);
        portreeve_tests::binary::Portreeve::finish(command.env("DOCKER_CONFIG", desk.folder()).env("PATH", &path))
    };
    verify().expect_exit(0);
    std::fs::remove_file(helper).or_fail("the helper goes");
    let missing = verify().expect_exit(4);
    assert!(missing.stdout.contains("docker-credential-harbour"), "{missing:?}");
    desk.program("docker-credential-harbour", &format!("echo {PASSWORD}; echo {PASSWORD} >&2; exit 1"));
    let failed = verify().expect_exit(4);
    let said = format!("{}{}", failed.stdout, failed.stderr);
    assert!(said.contains("exit status: 1") && !said.contains(PASSWORD), "{said}");
}

#[tokio::test]
async fn a_registry_that_refuses_is_exit_4_and_one_that_fails_exit_5() {
    let key = Cosign::new(Desk::new().folder()).public_key();
    for (manner, exit) in [
        (Manner::Refuses(401), 4),
        (Manner::Refuses(403), 4),
        (Manner::Refuses(404), 3),
        (Manner::Refuses(429), 5),
        (Manner::Refuses(500), 5),
        (Manner::Truncates, 5),
        (Manner::Garbage, 5),
    ] {
        let host = hostile::registry(manner);
        let image = format!("{host}/demo/app:1");
        let output = verify_at(&host, &[&key], &["--timeout", "3s", "--format", "json", &image]);
        assert_eq!(output.code, Some(exit), "{manner:?}: {}\n{}", output.stdout, output.stderr);
        assert_ne!(output.json()["verdict"], "pass", "{manner:?}");
    }
}

#[tokio::test]
async fn a_registry_that_hangs_or_never_ends_a_body_costs_the_timeout_and_no_memory() {
    let key = Cosign::new(Desk::new().folder()).public_key();
    for manner in [Manner::Hangs, Manner::NeverEnds] {
        let host = hostile::registry(manner);
        let image = format!("{host}/demo/app:1");
        let arguments = ["verify", "--plain-http", &host, "--key", path(&key), "--timeout", "3s", &image];
        let measured = Desk::new().run_measured(&arguments, DEADLINE).await;
        assert_eq!(measured.output.code, Some(5), "{manner:?}: {}", measured.output.stderr);
        assert!(measured.peak_memory < 256 << 20, "{manner:?}: {} bytes", measured.peak_memory);
    }
}

#[tokio::test]
async fn an_image_that_the_policy_asks_nothing_of_is_exit_3_and_not_verified() {
    let registry = Registry::without_referrers().await;
    let image = registry.push_image("demo/app:1");
    let desk = Desk::new();
    let policy = "apiVersion: portreeve.dev/v1alpha1\nkind: ImagePolicy\nmetadata: {name: some}\nspec:\n  \
                  noMatch: allow\n  rules:\n    - {name: other, images: [quay.io/other], static: {deny: true, reason: old}}\n";
    desk.file("policy.yaml", policy);
    let output =
        desk.run(&["verify", "--plain-http", registry.host(), "--image-policy", "policy.yaml", &image]).expect_exit(3);
    assert!(output.stderr.contains("not verified: the policy asks nothing of"), "{}", output.stderr);
}

#[tokio::test]
async fn a_registry_on_loopback_that_nobody_listed_is_not_asked_and_the_message_says_how_to_list_it() {
    let registry = Registry::with_referrers().await;
    let image = registry.push_image("demo/app:1");
    let key = Cosign::new(registry.docker_config()).public_key();
    let desk = Desk::new();
    let output = desk.run(&["verify", "--key", path(&key), &image]).expect_exit(5);
    assert!(
        output.stdout.contains("unknown (unreachable)") && output.stdout.contains("--plain-http"),
        "{}",
        output.stdout
    );
}

#[tokio::test]
async fn results_in_sarif_point_to_the_policy_or_key_that_was_asked() {
    let registry = Registry::with_referrers().await;
    let image = registry.push_image("demo/app:1");
    let desk = Desk::new();
    std::fs::copy(Cosign::new(registry.docker_config()).public_key(), desk.folder().join("release.pub"))
        .or_fail("a key");
    let policy = "apiVersion: portreeve.dev/v1alpha1\nkind: ImagePolicy\nmetadata: {name: some}\nspec:\n  noMatch: deny\n  rules: \
                  []\n";
    desk.file("policies/images.yaml", policy);
    for (argument, file, exit) in [("--key", "release.pub", 11), ("--image-policy", "policies/images.yaml", 13)] {
        let sarif = desk.run(&["verify", "--plain-http", registry.host(), "--format", "sarif", argument, file, &image]);
        let log = sarif.expect_exit(exit).json();
        let place = &log["runs"][0]["results"][0]["locations"][0]["physicalLocation"]["artifactLocation"]["uri"];
        assert_eq!(place, file);
    }
}

#[test]
fn what_is_wrong_with_the_keys_of_a_policy_is_said_once() {
    let desk = Desk::new();
    desk.file("bad.pub", "no key");
    let policy = "apiVersion: portreeve.dev/v1alpha1\nkind: ImagePolicy\nmetadata: {name: some}\nspec:\n  noMatch: deny\n  rules:\n  \
                  - {name: ours, images: [quay.io/a/**], authorities: {list: [{name: release, key: {file: bad.pub}}]}}\n";
    desk.file("policy.yaml", policy);
    let said = desk.run(&["verify", "--image-policy", "policy.yaml", "quay.io/a/b:1"]).expect_exit(2).stderr;
    assert_eq!(said.matches("policy.yaml:7:").count(), 1, "{said}");
}

#[test]
fn a_bundle_by_a_key_is_verified_against_a_trusted_root_and_a_key_beside_an_identity_is_refused() {
    let folder = portreeve_tests::repository().join("policies/trust/tests/keyless");
    let cases: Vec<serde_json::Value> =
        serde_json::from_slice(&std::fs::read(folder.join("cases.json")).unwrap()).unwrap();
    let case = cases.iter().find(|case| case["name"] == "keyed-logged").or_fail("a recorded case");
    let [bundle, key, root] = ["keyed-logged.bundle.json", "signer.pub", "trusted_root.json"].map(|it| folder.join(it));
    let arguments = ["verify-bundle", "--bundle", path(&bundle), "--key", path(&key), "--trusted-root", path(&root)];
    let digest = case["digest"].as_str().or_fail("a digest");
    Desk::new().run(&[&arguments[..], &[digest]].concat()).expect_exit(0);
    let both = [&arguments[..], &["--certificate-identity", "dev@example.org", digest]].concat();
    Desk::new().run(&both).expect_exit(2);
}
