//! `portreeve gate` on the built binary: one verdict over objects and images, judged by what a change cannot touch.

use portreeve_tests::OrFail as _;
use portreeve_tests::age::AgeKey;
use portreeve_tests::binary::{Output, Portreeve};
use portreeve_tests::cosign::{Cosign, Storage};
use portreeve_tests::desk::{Desk, PRIVILEGED, verdicts};
use portreeve_tests::registry::Registry;
use serde_json::Value;

/// A registry with a signed and an unsigned image, and a repository whose policy wants signatures.
struct Platform {
    desk: Desk,
    registry: Registry,
    signed: String,
    unsigned: String,
    foreign: String,
}

impl Platform {
    async fn new() -> Self {
        let registry = Registry::with_referrers().await;
        let (signer, stranger) = (Cosign::new(registry.docker_config()), Cosign::new(registry.docker_config()));
        let push = |name: &str| registry.push_image(&format!("demo/{name}:1"));
        let (signed, unsigned, foreign) = (push("signed"), push("unsigned"), push("foreign"));
        signer.sign(&signed, Storage::Bundle);
        stranger.sign(&foreign, Storage::Tag);
        let desk = Desk::new();
        desk.file("cosign.pub", std::fs::read(signer.public_key()).or_fail("a public key"));
        desk.file("image-policy.yaml", policy(registry.host()));
        desk.file("exceptions.yaml", EXCEPTION);
        let registries = format!("registries: [{{host: '{}', plainHttp: true}}]\n", registry.host());
        desk.file("registries.yaml", &registries);
        desk.file(
            "portreeve.yaml",
            format!("{registries}images: {{policy: image-policy.yaml}}\nexceptions: [exceptions.yaml]\n"),
        );
        Self { desk, registry, signed, unsigned, foreign }
    }

    /// A hardened but privileged-by-exception workload with this image, as a manifest.
    fn manifest(&self, image: &str) {
        self.desk.file("manifests/web.yaml", PRIVILEGED.replace("example.org/web:1", image));
    }

    fn gate(&self, arguments: &[&str]) -> Output {
        self.desk.run(&[&["gate", "--control", "C-0057", "--format", "json"], arguments].concat())
    }

    /// Commits everything as `main` of a new repository.
    fn commit_base(&self) {
        self.desk.git(&["init", "--quiet", "--initial-branch", "main"]);
        self.desk.git(&["add", "."]);
        self.desk.git(&["commit", "--quiet", "--message", "base"]);
    }
}

fn policy(host: &str) -> String {
    format!(
        "apiVersion: portreeve.dev/v1alpha1\nkind: ImagePolicy\nmetadata: {{name: default}}\nspec:\n  mode: enforce\n  \
         noMatch: deny\n  rules:\n  - name: ours\n    images: ['{host}/demo/**']\n    authorities: {{list: [{{name: \
         release, key: {{file: cosign.pub}}}}]}}\n"
    )
}

/// Accepts the one posture failure of the manifest.
const EXCEPTION: &str = "\
apiVersion: portreeve.dev/v1alpha1
kind: Exception
metadata: {name: devices, namespace: default}
spec:
  codes: [C-0057]
  subjects: {kinds: [Deployment], names: [web]}
  owner: team-web
  reason: it drives the devices
  expires: 2999-01-31
";

#[tokio::test]
async fn objects_and_their_images_are_one_verdict_and_the_worse_exit_wins() {
    let platform = Platform::new().await;
    platform.manifest(&platform.signed);
    let report = platform.gate(&["manifests"]).expect_exit(0).json();
    assert_eq!(verdicts(&report), ["C-0057 excepted"]);
    assert_eq!(report["images"][0]["verdict"], "pass");
    // The findings of a privileged container are 10, of an unsigned image 11, of a foreign signature 12.
    platform.desk.file("exceptions.yaml", "");
    platform.gate(&["manifests"]).expect_exit(10);
    platform.manifest(&platform.foreign);
    let foreign = platform.gate(&["manifests"]).expect_exit(12).json();
    assert_eq!(verdicts(&foreign), ["C-0057 fail", "PR-1002 fail"]);
    let image = foreign["findings"].as_array().unwrap().iter().find(|finding| finding["code"] == "PR-1002").unwrap();
    assert_eq!(image["locations"][0]["objectPath"], "spec.template.spec.containers[0].image");
    assert_eq!(image["locations"][0]["line"], 11);
    platform.gate(&["manifests", &platform.unsigned]).expect_exit(11);
    platform.gate(&["--fail-on", "none", "manifests", &platform.unsigned]).expect_exit(0);
}

#[tokio::test]
async fn an_image_outside_the_policy_is_exit_13_and_one_that_cannot_be_checked_exit_5() {
    let mut platform = Platform::new().await;
    let other = platform.registry.push_image("other/app:1");
    let report = platform.gate(&[&other]).expect_exit(13).json();
    assert!(verdicts(&report).contains(&"PR-1003 fail".to_owned()));
    platform.registry.stop();
    platform.gate(&[&platform.signed]).expect_exit(5);
    platform.manifest(&platform.signed);
    platform.gate(&["manifests"]).expect_exit(5);
}

#[tokio::test]
async fn a_change_that_weakens_policy_exceptions_or_configuration_is_judged_by_the_base() {
    let platform = Platform::new().await;
    platform.manifest(&platform.signed);
    platform.commit_base();
    platform.desk.git(&["checkout", "--quiet", "-b", "change"]);
    platform.manifest(&platform.unsigned);
    platform.desk.file("image-policy.yaml", policy(platform.registry.host()).replace("enforce", "audit"));
    platform.desk.file("portreeve.yaml", platform.desk.read("registries.yaml"));
    platform.desk.file("exceptions.yaml", EXCEPTION.replace("[C-0057]", "[C-0057, PR-1001]"));
    platform.desk.git(&["commit", "--quiet", "--all", "--message", "weaken"]);
    platform.gate(&["manifests", "--exceptions", "exceptions.yaml"]).expect_exit(0);
    let report = platform.gate(&["manifests", "--base", "main"]).expect_exit(11).json();
    let inputs: Vec<&str> =
        report["inputs"]["policies"].as_array().unwrap().iter().map(|input| input["name"].as_str().unwrap()).collect();
    let commit = platform.desk.git(&["rev-parse", "main"]);
    assert_eq!(inputs.len(), 4, "configuration, policy, key, exceptions: {inputs:?}");
    assert!(inputs.iter().all(|name| name.ends_with(&format!("from main ({})", commit.trim()))), "{inputs:?}");
    // The same without a word, as in a pull request.
    platform.desk.git(&["update-ref", "refs/remotes/origin/main", "main"]);
    for variable in ["GITHUB_BASE_REF", "CI_MERGE_REQUEST_TARGET_BRANCH_NAME"] {
        let mut command = platform.desk.command(&["gate", "--control", "C-0057", "manifests"]);
        Portreeve::finish(command.env(variable, "main")).expect_exit(11);
    }
}

#[tokio::test]
async fn a_file_deleted_by_the_change_is_still_read_from_the_base() {
    let platform = Platform::new().await;
    platform.manifest(&platform.unsigned);
    platform.commit_base();
    for file in ["image-policy.yaml", "cosign.pub", "exceptions.yaml", "portreeve.yaml"] {
        std::fs::remove_file(platform.desk.folder().join(file)).unwrap();
    }
    let report = platform.gate(&["manifests", "--base", "main"]).expect_exit(11).json();
    assert_eq!(verdicts(&report), ["C-0057 excepted", "PR-1001 fail"]);
}

#[test]
fn the_configuration_of_the_base_is_the_nearest_one_above_the_working_directory() {
    let desk = Desk::new();
    desk.file("team/portreeve.yaml", "posture: {frameworks: [nsa]}\n");
    desk.file("team/web.yaml", PRIVILEGED);
    desk.git(&["init", "--quiet", "--initial-branch", "main"]);
    desk.git(&["add", "."]);
    desk.git(&["commit", "--quiet", "--message", "base"]);
    let mut command = desk.command(&["gate", "--base", "main", "--format", "json", "web.yaml"]);
    let report = Portreeve::finish(command.current_dir(desk.folder().join("team"))).expect_exit(10).json();
    let name = report["inputs"]["policies"][0]["name"].as_str().unwrap();
    assert!(name.contains("team/portreeve.yaml from main"), "{name}");
}

#[test]
fn each_object_that_uses_a_denied_image_is_a_place_of_the_finding() {
    let desk = Desk::new();
    let digest = "0a".repeat(32);
    let pod = |namespace: &str, name: &str| {
        format!(
            "apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}, namespace: {namespace}}}\nspec:\n  containers:\n  - name: \
             main\n    image: quay.io/org/app@sha256:{digest}\n---\n"
        )
    };
    desk.file("pods.yaml", [pod("dev", "a"), pod("dev", "b"), pod("prod", "c"), pod("prod", "d")].concat());
    desk.file("image-policy.yaml", policy("registry.example"));
    desk.file("cosign.pub", rcgen::KeyPair::generate().or_fail("a key").public_key_pem());
    let arguments = ["gate", "--control", "C-0057", "--image-policy", "image-policy.yaml", "--format", "json"];
    let report = desk.run(&[&arguments[..], &["pods.yaml"]].concat()).expect_exit(13).json();
    let findings = report["findings"].as_array().or_fail("findings");
    let denied = findings.iter().find(|finding| finding["code"] == "PR-1003").or_fail("PR-1003");
    let place = |place: &Value| (place["object"].as_str().map(str::to_owned), place["line"].as_u64());
    let mut places: Vec<_> = denied["locations"].as_array().or_fail("places").iter().map(place).collect();
    places.sort();
    let expected = [("dev/Pod/a", 7), ("dev/Pod/b", 15), ("prod/Pod/c", 23), ("prod/Pod/d", 31)];
    assert_eq!(places, expected.map(|(object, line)| (Some(object.to_owned()), Some(line))), "{denied:#}");
}

/// Whoever opens a pull request may push tags and branches of any name.
#[test]
fn a_change_cannot_put_a_ref_of_its_own_in_the_place_of_the_base() {
    let upstream = Desk::new();
    upstream.file("web.yaml", PRIVILEGED);
    upstream.git(&["init", "--quiet", "--initial-branch", "main"]);
    upstream.git(&["add", "."]);
    upstream.git(&["commit", "--quiet", "--message", "base"]);
    upstream.git(&["checkout", "--quiet", "-b", "change"]);
    upstream.file("portreeve.yaml", "posture: {failOn: none}\n");
    upstream.git(&["add", "."]);
    upstream.git(&["commit", "--quiet", "--message", "no gate"]);
    let base = upstream.git(&["rev-parse", "main"]);
    for tag in ["main", "origin/main", "refs/remotes/origin/main", &base[..9]] {
        upstream.git(&["update-ref", &format!("refs/tags/{tag}"), "change"]);
    }
    let desk = Desk::new();
    desk.git(&["clone", "--quiet", "--branch", "change", &upstream.folder().display().to_string(), "."]);
    let gate = |branch: &str, arguments: &[&str]| {
        let mut command = desk.command(&[&["gate", "web.yaml"], arguments].concat());
        Portreeve::finish(command.env("GITHUB_BASE_REF", branch))
    };
    gate("main", &[]).expect_exit(10);
    gate("", &["--base", "refs/remotes/origin/main"]).expect_exit(10);
    gate("", &["--base", base.trim()]).expect_exit(10);
    gate("", &[]).expect_exit(0);
    desk.git(&["branch", "--quiet", "origin/main"]);
    desk.git(&["branch", "--quiet", "main", "origin/change"]);
    for (name, other) in
        [("origin/main", "refs/heads/origin/main"), ("main", "refs/heads/main"), (&base[..9], "a commit")]
    {
        let said = gate("", &["--base", name]).expect_exit(2).stderr;
        let tag = format!("refs/tags/{name}");
        assert!(said.contains("ambiguous") && said.contains(&tag) && said.contains(other), "{said}");
    }
    // Without the branch itself, a tag that is called like it in full is not it.
    desk.git(&["update-ref", "-d", "refs/remotes/origin/main"]);
    assert!(gate("main", &[]).expect_exit(2).stderr.contains("not in this clone; fetch it first"));
    gate("", &["--base", "refs/remotes/origin/main"]).expect_exit(2);
}

#[test]
fn a_configuration_of_the_base_that_is_a_link_is_told_as_one() {
    let desk = Desk::new();
    desk.file("web.yaml", PRIVILEGED);
    desk.file("real.yaml", "posture: {failOn: none}\n");
    std::os::unix::fs::symlink("real.yaml", desk.folder().join("portreeve.yaml")).or_fail("a link");
    desk.git(&["init", "--quiet", "--initial-branch", "main"]);
    desk.git(&["add", "."]);
    desk.git(&["commit", "--quiet", "--message", "base"]);
    let said = desk.run(&["gate", "web.yaml", "--base", "main"]).expect_exit(2).stderr;
    assert!(said.contains("portreeve.yaml could not be read from main: it is a symbolic link there"), "{said}");
}

#[test]
fn a_ref_that_is_not_there_is_exit_2_with_the_command_that_fetches_it() {
    let desk = Desk::new();
    desk.file("web.yaml", PRIVILEGED);
    desk.run(&["gate", "web.yaml", "--base", "main"]).expect_exit(2);
    desk.git(&["init", "--quiet", "--initial-branch", "main"]);
    let mut command = desk.command(&["gate", "web.yaml"]);
    let said = Portreeve::finish(command.env("GITHUB_BASE_REF", "release")).expect_exit(2);
    assert!(
        said.stderr.contains("git fetch --depth=1 origin +refs/heads/release:refs/remotes/origin/release"),
        "{}",
        said.stderr
    );
    assert_eq!(said.stdout, "");
    desk.run(&["gate", "web.yaml", "--base", "--output=/etc/passwd"]).expect_exit(2);
    for blank in ["", " ", "\t"] {
        let said = desk.run(&["gate", "web.yaml", "--base", blank]).expect_exit(2).stderr;
        assert!(said.contains("names no ref") && !said.contains("git fetch"), "{said}");
    }
}

#[test]
fn what_may_be_a_path_or_an_image_is_exit_2() {
    let desk = Desk::new();
    desk.file("busybox:1", PRIVILEGED);
    let said = desk.run(&["gate", "busybox:1"]).expect_exit(2);
    assert!(said.stderr.contains("./busybox:1"), "{}", said.stderr);
    desk.run(&["gate", "./busybox:1"]).expect_exit(10);
    desk.run(&["gate", "./missing.yaml"]).expect_exit(2);
    desk.run(&["gate", "Not An Image"]).expect_exit(2);
}

#[tokio::test]
async fn an_image_that_does_not_exist_is_the_same_finding_to_verify_and_to_gate() {
    let platform = Platform::new().await;
    let host = platform.registry.host();
    let by_tag = format!("{host}/demo/missing:1");
    let by_digest = format!("{host}/demo/unsigned@sha256:{}", "0".repeat(64));
    let identities = |report: &Value| {
        let findings = report["findings"].as_array().or_fail("findings");
        let fields = ["code", "verdict", "cause", "fingerprint", "message"];
        // A gate audits exceptions too.
        let of_images = findings.iter().filter(|finding| finding["subject"]["type"] == "image");
        of_images.map(|finding| fields.map(|field| finding[field].to_string())).collect::<Vec<_>>()
    };
    for missing in [&by_tag, &by_digest] {
        let run = |command: &str| platform.desk.run(&[command, "--format", "json", missing]);
        let verified = run("verify").expect_exit(3);
        let last = verified.stderr.lines().last().or_fail("a last word");
        assert!(last.ends_with(&format!("no such image: {missing}")), "{}", verified.stderr);
        let (verified, gated) = (verified.json(), run("gate").expect_exit(5).json());
        assert_eq!(identities(&verified), identities(&gated));
        assert!(identities(&verified)[0][4].contains("the registry has no such image"), "{verified:#}");
        assert_eq!((&verified["verdict"], &gated["verdict"]), (&Value::from("unknown"), &Value::from("unknown")));
        assert!(verified["coverage"].as_f64() < Some(100.0), "{verified:#}");
    }
}

#[test]
fn images_without_a_policy_are_exit_2_and_nothing_is_exit_3() {
    let desk = Desk::new();
    let said = desk.run(&["gate", "quay.io/org/app:1"]).expect_exit(2);
    assert!(said.stderr.contains("--image-policy") && !said.stderr.contains("no such path"), "{}", said.stderr);
    let typo = desk.run(&["gate", "manifets"]).expect_exit(2).stderr;
    assert!(typo.contains("'manifets': no such path, taken for an image reference"), "{typo}");
    desk.file("folder/readme.md", "");
    desk.run(&["gate", "folder"]).expect_exit(3);
}

#[test]
fn images_of_manifests_without_a_policy_are_open_questions_that_lower_coverage_and_not_the_exit() {
    let desk = Desk::new();
    desk.file("web.yaml", PRIVILEGED);
    let gate = |more: &[&str]| desk.run(&[&["gate", "--control", "C-0075", "web.yaml"], more].concat());
    let report = gate(&["--format", "json"]).expect_exit(0).json();
    assert_eq!(verdicts(&report), ["PR-1001 unknown", "PR-1002 unknown", "PR-1003 unknown"]);
    assert_eq!(report["findings"][0]["cause"], "manual");
    assert_eq!((&report["verdict"], &report["coverage"]), (&"pass".into(), &0.25.into()));
    let said = gate(&["--fail-coverage-below", "100"]).expect_exit(6);
    assert!(said.stdout.contains("no image policy says whom to trust"), "{}", said.stdout);
    assert!(said.stderr.contains("images were not judged"), "{}", said.stderr);
}

/// A change that points at another CA would have its registry believed.
#[test]
fn the_ca_of_a_registry_is_the_bases_and_every_result_says_where_its_rules_came_from() {
    let desk = Desk::new();
    let authority = |name: &str| {
        let key = rcgen::KeyPair::generate().or_fail("a key");
        let params = rcgen::CertificateParams::new(vec![name.to_owned()]).or_fail("a certificate request");
        params.self_signed(&key).or_fail("a certificate").pem()
    };
    desk.file("ca.pem", authority("base.example"));
    desk.file("portreeve.yaml", "registries: [{host: registry.example, caFile: ca.pem}]\n");
    desk.file("web.yaml", PRIVILEGED);
    desk.git(&["init", "--quiet", "--initial-branch", "main"]);
    desk.git(&["add", "."]);
    desk.git(&["commit", "--quiet", "--message", "base"]);
    desk.file("ca.pem", authority("change.example"));
    let ca = |arguments: &[&str]| {
        let report = desk.run(&[&["gate", "--format", "json", "web.yaml"], arguments].concat()).expect_exit(10).json();
        let inputs = report["inputs"]["policies"].as_array().cloned().or_fail("policies");
        let ca = inputs.into_iter().find(|input| input["name"].as_str().is_some_and(|name| name.contains("CA")));
        ca.or_fail("the CA is among what is judged by")
    };
    let (base, tree) = (ca(&["--base", "main"]), ca(&[]));
    assert_ne!(base["digest"], tree["digest"]);
    assert!(base["name"].as_str().or_fail("a name").contains("from main ("), "{base}");
    let table = desk.run(&["gate", "--base", "main", "web.yaml"]).expect_exit(10).stdout;
    let line = table.lines().find(|line| line.starts_with("judged by configuration")).or_fail(&table);
    assert!(line.contains("portreeve.yaml from main ("), "{line}");
    // A CA that only the change has is no CA of the base.
    desk.file("portreeve.yaml", "registries: [{host: registry.example, caFile: other.pem}]\n");
    desk.git(&["commit", "--quiet", "--all", "--message", "a CA that is nowhere"]);
    desk.file("other.pem", authority("change.example"));
    let said = desk.run(&["gate", "--base", "main", "web.yaml"]).expect_exit(2);
    assert!(said.stderr.contains("other.pem could not be read from main"), "{}", said.stderr);
}

#[test]
fn an_encrypted_file_is_intact_or_exits_14_and_its_kind_need_not_be_readable() {
    let (desk, key) = (Desk::new(), AgeKey::new());
    let secret = "apiVersion: v1\nkind: Secret\nmetadata: {name: s, namespace: d}\nstringData: {password: hunter2}\n";
    let file = desk.folder().join("s.sops.yaml");
    let gate = || {
        let output = desk.run(&["gate", "--format", "json", "s.sops.yaml"]);
        assert!(!format!("{}{}", output.stdout, output.stderr).contains("hunter2"), "{output:?}");
        output
    };
    std::fs::copy(&key.file, desk.folder().join("key.txt")).or_fail("the identity");
    desk.file("portreeve.yaml", "secrets: {identities: [{file: key.txt}]}\n");
    for flags in [&["--encrypted-regex", "^(data|stringData)$"][..], &[]] {
        key.encrypt(secret, &file, flags);
        gate().expect_exit(0);
        let text = std::fs::read_to_string(&file).or_fail("the encrypted file");
        for command in ["gate", "check"] {
            let piped = desk.run_with(&[command, "--format", "json", "-"], &text).expect_exit(0);
            assert!(!piped.stdout.contains("PR-0001"), "a file is the same on standard input: {}", piped.stdout);
        }
        let text = std::fs::read_to_string(&file).or_fail("the encrypted file");
        let (before, mac) = text.split_once("mac: ENC[AES256_GCM,data:").or_fail("a MAC");
        let flipped = if mac.starts_with('A') { "B" } else { "A" };
        desk.file("s.sops.yaml", format!("{before}mac: ENC[AES256_GCM,data:{flipped}{}", &mac[1..]));
        let report = gate().expect_exit(14).json();
        assert!(report["findings"].to_string().contains("PR-3001"), "{report:#}");
    }
}

/// A Pod whose only fault is a capability.
const ADDING: &str = "apiVersion: v1\nkind: Pod\nmetadata: {name: p, namespace: d}\nspec: {containers: [{name: c, image: \
                      'example.org/web:1', securityContext: {capabilities: {add: [SYS_ADMIN]}}}]}\n";

#[test]
fn an_object_whose_kind_is_encrypted_counts_as_unreadable_unless_it_opens_and_is_a_secret() {
    let (desk, key) = (Desk::new(), AgeKey::new());
    let secret = "apiVersion: v1\nkind: Secret\nmetadata: {name: s, namespace: d}\nstringData: {password: hunter2}\n";
    let file = desk.folder().join("s.sops.yaml");
    std::fs::copy(&key.file, desk.folder().join("key.txt")).or_fail("the identity");
    let unreadable = |command: &str, exit: i32, expected: usize| {
        let output = desk.run(&[command, "--control", "C-0057", "--format", "json", "s.sops.yaml"]).expect_exit(exit);
        assert!(!format!("{}{}", output.stdout, output.stderr).contains("hunter2"), "{output:?}");
        let report = output.json();
        let findings = report["findings"].as_array().or_fail("findings").clone();
        let found = findings.into_iter().filter(|finding| finding["code"] == "PR-0001");
        let found: Vec<String> = found.map(|finding| finding.to_string()).collect();
        assert_eq!(found.len(), expected, "{command} {report:#}");
        assert!(found.iter().all(|one| one.contains("--encrypted-regex") && one.contains("unreadable")), "{found:?}");
    };
    for (configuration, of_a_secret) in [("", (5, 1)), ("secrets: {identities: [{file: key.txt}]}\n", (3, 0))] {
        desk.file("portreeve.yaml", configuration);
        for command in ["gate", "check"] {
            key.encrypt(secret, &file, &[]);
            unreadable(command, of_a_secret.0, of_a_secret.1);
            key.encrypt(PRIVILEGED, &file, &[]);
            unreadable(command, 5, 1);
            key.encrypt(&format!("{secret}---\n{PRIVILEGED}"), &file, &[]);
            unreadable(command, 5, 2);
            key.encrypt("password: hunter2\n", &file, &[]);
            unreadable(command, 3, 0);
            // A part of an object is enough to hide what a control looks for; data are not looked at.
            key.encrypt(ADDING, &file, &["--encrypted-regex", "^(add)$"]);
            unreadable(command, 5, 1);
            let map = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: m, namespace: d}\ndata: {password: hunter2}\n";
            key.encrypt(map, &file, &["--encrypted-regex", "^(data)$"]);
            unreadable(command, 0, 0);
        }
    }
}

#[test]
fn what_a_merge_key_makes_of_an_encrypted_file_is_judged() {
    let (desk, key) = (Desk::new(), AgeKey::new());
    let file = desk.folder().join("s.sops.yaml");
    key.encrypt("password: hunter2\n", &file, &[]);
    let text = std::fs::read_to_string(&file).or_fail("the encrypted file");
    let pod = "<<: {apiVersion: v1, kind: Pod}\nmetadata: {name: p, namespace: d}\nspec: {containers: [{name: c, image: \
               'example.org/web:1', securityContext: {privileged: true}}]}\n";
    desk.file("s.sops.yaml", format!("{pod}{text}"));
    let report = desk.run(&["gate", "--control", "C-0057", "--format", "json", "s.sops.yaml"]).expect_exit(10).json();
    assert!(report["findings"].to_string().contains("C-0057"), "{report:#}");
}

#[test]
fn a_secret_in_clear_is_found_where_a_rule_says_to_encrypt_it() {
    let (desk, key) = (Desk::new(), AgeKey::new());
    let rule = format!("{{path_regex: ^secrets/, age: {}, encrypted_regex: ^stringData$}}", key.recipient);
    desk.file(".sops.yaml", format!("creation_rules: [{rule}]\n"));
    let secret = "apiVersion: v1\nkind: Secret\nmetadata: {name: s, namespace: d}\nstringData: {password: hunter2}\n";
    desk.file("elsewhere/s.yaml", secret);
    let found = |command: &str, exit: i32| {
        let output = desk.run(&[command, "--framework", "all", "--format", "json", "."]).expect_exit(exit);
        assert!(!format!("{}{}", output.stdout, output.stderr).contains("hunter2"), "{output:?}");
        let findings = output.json()["findings"].as_array().or_fail("findings").clone();
        let found = findings.into_iter().filter(|finding| finding["code"] == "PR-3013" && finding["verdict"] == "fail");
        found.map(|finding| finding.to_string()).collect::<Vec<_>>()
    };
    for command in ["gate", "check"] {
        let file = desk.file("secrets/s.yaml", secret);
        let clear = found(command, 14);
        assert!(clear.len() == 1 && clear[0].contains("secrets/s.yaml") && clear[0].contains("d/s"), "{clear:?}");
        // By another name of its folder it is the same file.
        std::os::unix::fs::symlink("secrets", desk.folder().join("link")).or_fail("a link");
        for path in ["link", "link/", "./link/s.yaml", "secrets"] {
            let said = desk.run(&[command, "--format", "json", path]).expect_exit(14).stdout;
            assert!(said.contains("PR-3013"), "{command} {path}: {said}");
        }
        std::fs::remove_file(desk.folder().join("link")).or_fail("the link");
        key.encrypt(secret, &file, &["--encrypted-regex", "^data$"]);
        assert_eq!(found(command, 14).len(), 1, "a sops block alone encrypts nothing");
        key.encrypt(secret, &file, &["--encrypted-regex", "^stringData$"]);
        assert_eq!(found(command, 0), [""; 0]);
    }
}
