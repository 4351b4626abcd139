//! One schema for file and resource: what the decoder takes the API server takes, and neither takes a typing mistake.

use portreeve_reports::Code;
use portreeve_reports::source::{Limits, yaml};
use portreeve_tests::control_plane::ControlPlane;
use portreeve_tests::{OrFail as _, repository};
use serde_json::Value;

use crate::site::{definitions, install};

const STRICT: &str = "dryRun=All&fieldValidation=Strict";

/// An image policy of all that the format has; what of it this version does not do is refused by its name.
const WHOLE_FORMAT: &str = r#"
apiVersion: portreeve.dev/v1alpha1
kind: ImagePolicy
metadata: {name: default}
spec:
  mode: enforce
  noMatch: deny
  trustRoots:
    - {name: public, embedded: sigstore}
    - {name: corp, trustedRootFile: trusted_root.json}
  rules:
    - name: platform images
      images: ["quay.io/nebari/**"]
      namespaces: ["*"]
      mode: warn
      authorities:
        threshold: 1
        list:
          - name: release key
            key: {file: cosign.pub, notAfter: 2027-06-30, log: optional}
          - name: release workflow
            keyless:
              issuer: https://token.actions.githubusercontent.com
              subjectRegexp: 'https://github\.com/nebari-dev/nebari-docker-images/\.github/workflows/build\.yml@refs/tags/.+'
              claims: {sourceRepositoryOwner: nebari-dev}
              trustRoot: public
      attestations:
        - name: provenance
          predicateType: https://slsa.dev/provenance/v1
          authorities: [release workflow]
          maxAge: 90d
          cel: predicate.runDetails.builder.id.startsWith('https://github.com/')
      platforms: index-or-child
    - name: pinned init image
      images: [docker.io/library/busybox]
      static:
        allow: ["sha256:9ae97d36d26566ff84e8893c64a6dc4fe8ca6d1144bf5b87b2b85a32def253c7"]
        owner: team-platform
        reason: root init container of the hub
        expires: 2027-03-01
"#;

/// The documents of our kinds that the documentation shows.
fn documented() -> Vec<String> {
    let pages = ["docs/exceptions.md", "docs/custom-resources.md", "docs/image-trust.md"];
    let texts = pages.map(|page| std::fs::read_to_string(repository().join(page)).or_fail(page));
    let blocks = texts.iter().flat_map(|text| text.split("```yaml\n").skip(1));
    blocks.filter_map(|block| block.split("```").next()).map(str::to_owned).collect()
}

fn object(text: &str) -> Value {
    yaml::read(text.as_bytes(), &Limits::default()).remove(0).or_fail(text).to_json()
}

/// What the decoder says of a document.
fn problems(text: &str) -> String {
    let codes = ["C-0013", "C-0016", "PR-1001"].map(|code| Code::parse(code).or_fail(code)).into_iter().collect();
    let read = portreeve_api::documents("file.yaml", text.as_bytes(), &Limits::default(), &codes);
    let problems = read.into_iter().filter_map(Result::err).map(|problems| problems.to_string());
    problems.collect::<Vec<_>>().join("\n")
}

#[tokio::test]
async fn what_the_documentation_shows_is_taken_by_decoder_and_api_server_and_a_typing_mistake_by_neither() {
    let plane = ControlPlane::start().await;
    let api = plane.api();
    install(api, &definitions()).await;
    api.create(&serde_json::json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "jhub"}}))
        .await
        .unwrap();
    let documented = documented();
    assert!(documented.len() >= 5, "{documented:?}");
    for text in documented.iter().map(String::as_str).chain([WHOLE_FORMAT]) {
        assert_eq!(problems(text), "", "{text}");
        let accepted = api.create_warned(&object(text), STRICT).await.or_fail(text);
        assert_eq!(accepted.warnings, [""; 0]);
        let mistyped = text.replacen("spec:\n", "spec:\n  ownr: x\n", 1);
        let refused = api.create_warned(&object(&mistyped), STRICT).await.unwrap_err();
        assert!(refused.message.contains(r#"unknown field "spec.ownr""#), "{refused}");
    }
    let mistyped = documented[0].replacen("owner:", "ownr:", 1);
    let said = problems(&mistyped);
    assert!(said.contains("file.yaml:7:3: unknown key 'spec.ownr'; did you mean 'owner'?"), "{said}");
    for (right, wrong, field) in [
        ("codes: [C-0013, C-0016]", "codes: []", "spec.codes"),
        ("codes: [C-0013, C-0016]", "codes: [C-16]", "spec.codes[0]"),
        ("owner: team-platform", "owner: ' '", "spec.owner"),
        ("expires: 2027-01-31", "expires: 2027-02-30", "spec.expires"),
        ("expires: 2027-01-31", "expires: soon", "spec.expires"),
        ("containers: [init-home]", "containers: []", "spec.subjects.containers"),
    ] {
        let text = documented[0].replacen(right, wrong, 1);
        let refused = api.create_warned(&object(&text), STRICT).await.unwrap_err();
        assert!(refused.message.contains(field), "{wrong}: {refused}");
        assert!(problems(&text).contains(field), "{wrong}: {}", problems(&text));
    }
}
