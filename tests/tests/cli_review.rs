//! `portreeve review` on the built binary: the admission door from a file.

use base64::Engine as _;
use portreeve_tests::OrFail as _;
use portreeve_tests::cosign::{Cosign, Storage};
use portreeve_tests::desk::Desk;
use portreeve_tests::registry::Registry;
use serde_json::{Value, json};

/// A review of a Pod with this image in namespace `jhub`.
fn review_of(version: &str, image: &str) -> Value {
    json!({
        "apiVersion": format!("admission.k8s.io/{version}"),
        "kind": "AdmissionReview",
        "request": {
            "uid": "705ab4f5-6393-11e8-b7cc-42010a800002",
            "kind": {"group": "", "version": "v1", "kind": "Pod"},
            "resource": {"group": "", "version": "v1", "resource": "pods"},
            "name": "hub", "namespace": "jhub", "operation": "CREATE",
            "userInfo": {"username": "someone", "groups": ["system:authenticated"]},
            "object": {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "hub", "namespace": "jhub"},
                "spec": {"containers": [{"name": "hub", "image": image}]}},
            "oldObject": null, "dryRun": false,
        },
    })
}

/// A desk whose configuration enforces signatures in namespace `jhub`.
fn enforcing(registry: &Registry, signer: &Cosign) -> Desk {
    let desk = Desk::new();
    let host = registry.host();
    desk.file("cosign.pub", std::fs::read(signer.public_key()).or_fail("a public key"));
    desk.file(
        "image-policy.yaml",
        format!(
            "apiVersion: portreeve.dev/v1alpha1\nkind: ImagePolicy\nmetadata: {{name: default}}\nspec:\n  mode: enforce\n  \
             noMatch: deny\n  rules:\n  - name: ours\n    images: ['{host}/**']\n    authorities: {{list: [{{name: \
             release, key: {{file: cosign.pub}}}}]}}\n"
        ),
    );
    desk.file(
        "portreeve.yaml",
        format!(
            "images: {{policy: image-policy.yaml}}\nregistries: [{{host: '{host}', plainHttp: true}}]\nadmission:\n  \
             tls: {{certFile: tls.crt, keyFile: tls.key}}\n  namespaces: [{{match: [jhub], mode: enforce}}]\n"
        ),
    );
    desk
}

#[test]
fn an_object_that_is_not_what_the_request_says_is_refused() {
    let desk = Desk::new();
    let answers = |exit: i32, change: &dyn Fn(&mut Value)| {
        let mut review = review_of("v1", "example.org/web:1");
        change(&mut review["request"]);
        desk.file("review.json", review.to_string());
        desk.run(&["review", "review.json"]).expect_exit(exit)
    };
    answers(0, &|_| {});
    answers(0, &|request| request["kind"] = Value::Null);
    let said = answers(2, &|request| request["object"]["kind"] = "ConfigMap".into());
    assert!(
        said.stderr.contains("'request.kind' says v1 Pod, and 'request.object' is v1 ConfigMap"),
        "{}",
        said.stderr
    );
    answers(2, &|request| request["kind"] = json!({"group": "apps", "version": "v1", "kind": "Pod"}));
    answers(2, &|request| request["object"]["apiVersion"] = "v2".into());
}

#[tokio::test]
async fn the_response_has_the_version_and_uid_of_the_request_allowed_or_not() {
    let registry = Registry::with_referrers().await;
    let signer = Cosign::new(registry.docker_config());
    let (signed, unsigned) = (registry.push_image("demo/signed:1"), registry.push_image("demo/unsigned:1"));
    signer.sign(&signed, Storage::Bundle);
    let desk = enforcing(&registry, &signer);
    for version in ["v1", "v1beta1"] {
        for (image, allowed) in [(&signed, true), (&unsigned, false)] {
            let review = review_of(version, image);
            desk.file("review.json", review.to_string());
            let answer = desk.run(&["review", "review.json"]).expect_exit(0).json();
            assert_eq!(answer["apiVersion"], review["apiVersion"]);
            assert_eq!(answer["response"]["uid"], review["request"]["uid"]);
            assert_eq!(answer["response"]["allowed"], allowed, "{answer}");
            let message = answer["response"]["status"]["message"].as_str().unwrap_or_default();
            assert_eq!(message.contains("PR-1001"), !allowed, "{message}");
        }
    }
}

#[tokio::test]
async fn mutate_pins_a_tag_to_its_digest_and_decides_nothing() {
    let registry = Registry::with_referrers().await;
    let signer = Cosign::new(registry.docker_config());
    let image = registry.push_image("demo/app:1");
    let desk = enforcing(&registry, &signer);
    let tag = format!("{}/demo/app:1", registry.host());
    let answer = desk.run_with(&["review", "--mutate", "-"], &review_of("v1", &tag).to_string()).expect_exit(0).json();
    let response = &answer["response"];
    assert_eq!((&response["allowed"], &response["patchType"]), (&json!(true), &json!("JSONPatch")));
    let patch = base64::engine::general_purpose::STANDARD.decode(response["patch"].as_str().unwrap()).unwrap();
    let (_, digest) = image.split_once('@').unwrap();
    let pinned = json!([{"op": "replace", "path": "/spec/containers/0/image", "value": format!("{tag}@{digest}")}]);
    assert_eq!(serde_json::from_slice::<Value>(&patch).unwrap(), pinned);
    let pinned = desk.run_with(&["review", "--mutate", "-"], &review_of("v1", &image).to_string()).expect_exit(0);
    assert!(pinned.json()["response"].get("patch").is_none(), "a digest stays as it is");
}

#[tokio::test]
async fn an_image_that_cannot_be_checked_and_an_object_that_cannot_be_read_are_denied() {
    let mut registry = Registry::with_referrers().await;
    let signer = Cosign::new(registry.docker_config());
    let image = registry.push_image("demo/app:1");
    signer.sign(&image, Storage::Tag);
    let desk = enforcing(&registry, &signer);
    let allowed = |review: &Value| {
        let answer = desk.run_with(&["review", "-"], &review.to_string()).expect_exit(0).json();
        answer["response"]["allowed"].as_bool().unwrap()
    };
    assert!(allowed(&review_of("v1", &image)));
    let mut mistyped = review_of("v1", &image);
    mistyped["request"]["object"]["spec"]["containers"] = json!({"hub": image});
    assert!(!allowed(&mistyped));
    mistyped["request"]["object"] = json!([]);
    assert!(!allowed(&mistyped));
    registry.stop();
    assert!(!allowed(&review_of("v1", &image)));
}

#[tokio::test]
async fn a_review_alone_does_what_the_api_server_does_and_validate_says_why_it_denies_a_tag() {
    let registry = Registry::with_referrers().await;
    let signer = Cosign::new(registry.docker_config());
    let image = registry.push_image("demo/app:1");
    signer.sign(&image, Storage::Bundle);
    let desk = enforcing(&registry, &signer);
    let review = review_of("v1", &format!("{}/demo/app:1", registry.host())).to_string();
    let answer = |arguments: &[&str]| desk.run_with(arguments, &review).expect_exit(0).json()["response"].clone();
    let both = answer(&["review", "-"]);
    assert_eq!(both["allowed"], true, "{both}");
    assert_eq!(both["patch"], answer(&["review", "--mutate", "-"])["patch"], "the answer of /mutate is in it");
    let passed = |response: &Value| response["auditAnnotations"]["passed"].as_str().unwrap_or_default().to_owned();
    assert!(passed(&both).contains("PR-1003"), "{both}");
    let alone = answer(&["review", "--validate", "-"]);
    assert_eq!(alone["allowed"], false, "{alone}");
    let message = alone["status"]["message"].as_str().unwrap();
    assert!(message.contains("PR-1003") && message.contains("/mutate"), "{message}");
    assert!(
        passed(&alone).contains("PR-1001") && !passed(&alone).contains("PR-1003"),
        "what denies did not pass: {alone}"
    );
    assert_eq!(alone["auditAnnotations"]["unpinned"], "spec.containers[0].image");
}

#[test]
fn an_update_is_judged_when_anything_that_rules_read_has_changed() {
    let desk = Desk::new();
    desk.file(
        "portreeve.yaml",
        "posture: {enforce: [nsa]}\nadmission:\n  tls: {certFile: a, keyFile: b}\n  namespaces: [{match: ['*'], mode: \
         enforce}]\n",
    );
    let mut review = review_of("v1", "");
    let account = |mounts: bool, finalizers: Value| {
        json!({"apiVersion": "v1", "kind": "ServiceAccount", "automountServiceAccountToken": mounts,
            "metadata": {"name": "hub", "namespace": "jhub", "finalizers": finalizers}})
    };
    review["request"]["operation"] = "UPDATE".into();
    review["request"]["kind"]["kind"] = "ServiceAccount".into();
    review["request"]["object"] = account(true, json!([]));
    let mut allowed = |old: Value| {
        review["request"]["oldObject"] = old;
        let answer = desk.run_with(&["review", "-"], &review.to_string()).expect_exit(0).json();
        answer["response"]["allowed"].as_bool().unwrap()
    };
    assert!(!allowed(account(false, json!([]))), "the token is mounted now");
    assert!(allowed(account(true, json!(["example.org/wait"]))), "a finalizer stays removable");
}

#[test]
fn what_is_no_review_is_exit_2_with_an_empty_stdout() {
    let desk = Desk::new();
    let text = |change: fn(&mut Value)| {
        let mut review = review_of("v1", "x");
        change(&mut review);
        review.to_string()
    };
    let repeated = review_of("v1", "x").to_string().replacen("\"uid\"", "\"uid\":\"other\",\"uid\"", 1);
    let garbage = [
        "garbage".to_owned(),
        String::new(),
        "{}".to_owned(),
        "[".repeat(100_000),
        repeated,
        text(|review| review["apiVersion"] = "admission.k8s.io/v2".into()),
        text(|review| review["kind"] = "Pod".into()),
        text(|review| review["request"] = Value::Null),
        text(|review| review["request"]["uid"] = "".into()),
        text(|review| review["request"]["uid"] = 7.into()),
        text(|review| review["request"]["operation"] = "BIND".into()),
        text(|review| review["request"]["userInfo"]["groups"] = "system:masters".into()),
        text(|review| review["padding"] = "x".repeat(9 << 20).into()),
    ];
    for review in garbage {
        let output = desk.run_with(&["review", "-"], &review).expect_exit(2);
        assert_eq!(output.stdout, "");
        assert!(output.stderr.contains("portreeve: error: "), "{}", output.stderr);
    }
    desk.run(&["review", "missing.json"]).expect_exit(2);
}
