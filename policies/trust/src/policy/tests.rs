use portreeve_policies::image::ImageReference;
use portreeve_reports::source::{Fields, Limits, yaml};
use sigstore_crypto::KeyPair;

use super::*;
use crate::authority::Authority;

const DIGEST: &str = "sha256:9ae97d36d26566ff84e8893c64a6dc4fe8ca6d1144bf5b87b2b85a32def253c7";

fn decode(text: &str) -> Result<ImagePolicySpec, Problems> {
    let document = yaml::read(text.as_bytes(), &Limits::default()).remove(0).unwrap();
    let mut problems = Problems::new("policy.yaml");
    let spec = Fields::of(&document, "spec", &mut problems).and_then(|map| map.finish_with(ImagePolicySpec::decode));
    let spec = problems.into_result(spec)?;
    Ok(spec.unwrap())
}

fn problems(text: &str) -> String {
    decode(text).unwrap_err().to_string()
}

/// A file without mistakes so far.
fn sound() -> Problems {
    Problems::new("policy.yaml")
}

/// All that is told of a policy and its key files.
fn round(text: &str, keys: &FileBytes) -> String {
    let document = yaml::read(text.as_bytes(), &Limits::default()).remove(0).unwrap();
    let mut problems = sound();
    let spec = Fields::of(&document, "spec", &mut problems).and_then(|map| map.finish_with(ImagePolicySpec::decode));
    ImagePolicy::build(&spec.unwrap(), keys, problems).unwrap_err().to_string()
}

fn key() -> Vec<u8> {
    KeyPair::generate_ecdsa_p256().unwrap().public_key_der().unwrap().to_pem().into_bytes()
}

fn built(text: &str) -> ImagePolicy {
    let keys = BTreeMap::from([("a.pub".to_owned(), Ok(key())), ("b.pub".to_owned(), Ok(key()))]);
    ImagePolicy::build(&decode(text).unwrap(), &keys, sound()).unwrap()
}

/// A rule in one line: `name images namespaces`.
fn rules(rules: &[(&str, &str, &str)]) -> String {
    let mut text = "mode: enforce\nrules:\n".to_owned();
    for (name, images, namespaces) in rules {
        text.push_str(&format!(
            "  - {{name: {name}, images: [{images}], namespaces: [{namespaces}], static: {{deny: true, reason: banned}}}}\n"
        ));
    }
    text
}

fn chosen<'policy>(policy: &'policy ImagePolicy, image: &str, namespace: Option<&str>) -> &'policy str {
    match policy.rule_for(&ImageReference::parse(image).unwrap().repository, namespace) {
        Selection::Rule(rule) => rule.name(),
        Selection::NoMatch(no_match) => no_match.as_str(),
    }
}

const SUPPORTED: &str = r#"
mode: enforce
noMatch: warn
rules:
  - name: platform images
    images: ["quay.io/nebari/**"]
    namespaces: ["*"]
    mode: warn
    platforms: index
    authorities:
      threshold: 2
      list:
        - {name: release, required: true, key: {file: a.pub, notBefore: 2026-01-01, notAfter: 2027-06-30, log: optional}}
        - {name: second, key: {file: b.pub, notAfter: "2027-06-30T12:00:00Z"}}
  - name: pinned
    images: [docker.io/library/busybox]
    static:
      allow: ["sha256:9ae97d36d26566ff84e8893c64a6dc4fe8ca6d1144bf5b87b2b85a32def253c7"]
      owner: team-platform
      reason: root init container of the hub
      expires: 2027-03-01
  - {name: miners, images: ["*.mine.example/**"], static: {deny: true, reason: no miners}}
"#;

#[test]
fn what_this_version_supports_is_decoded() {
    let spec = decode(SUPPORTED).unwrap();
    assert_eq!(spec.files(), BTreeSet::from(["a.pub", "b.pub"]));
    let policy = built(SUPPORTED);
    assert_eq!(chosen(&policy, "quay.io/nebari/hub:1", Some("jhub")), "platform images");
    assert_eq!(chosen(&policy, "busybox", Some("jhub")), "pinned");
    assert_eq!(chosen(&policy, "ghcr.io/x/y", Some("jhub")), "warn");
    let Selection::Rule(rule) = policy.rule_for(&ImageReference::parse("quay.io/nebari/a").unwrap().repository, None)
    else {
        panic!("no rule")
    };
    let Basis::Authorities(authorities) = rule.basis() else { panic!("no authorities") };
    assert_eq!((authorities.threshold(), rule.mode()), (2, Mode::Warn));
    let [Authority { trust: Trust::Key(first), .. }, Authority { trust: Trust::Key(second), .. }] = authorities.list()
    else {
        panic!("two keys")
    };
    let times = [first.not_before, first.not_after, second.not_after].map(|time| time.unwrap().to_string());
    assert_eq!(times, ["2026-01-01T00:00:00Z", "2027-06-30T23:59:59.999999999Z", "2027-06-30T12:00:00Z"]);
}

#[test]
fn what_the_format_has_and_this_version_has_not_is_refused_at_its_place() {
    let text = r#"
mode: enforce
trustRoots:
  - {name: public, tuf: {url: https://tuf.example}}
rules:
  - name: a
    images: ["quay.io/a/**"]
    platforms: index-or-child
    authorities:
      list:
        - name: k
          certificate: {file: ca.pem}
        - name: w
          notary: {trustStore: ca}
"#;
    insta::assert_snapshot!(problems(text), @r"
    policy.yaml:4:25: 'spec.trustRoots[0].tuf' is not supported yet
    policy.yaml:8:16: 'spec.rules[0].platforms': 'index-or-child' is not supported yet; 'index' is
    policy.yaml:12:24: 'spec.rules[0].authorities.list[0].certificate' is not supported yet
    policy.yaml:14:19: 'spec.rules[0].authorities.list[1].notary' is not supported yet
    ");
}

const KEYLESS: &str = r#"
trustRoots:
  - {name: public, embedded: sigstore}
rules:
  - name: workflow
    images: ["quay.io/nebari/**"]
    authorities:
      list:
        - name: release workflow
          keyless:
            issuer: https://token.actions.githubusercontent.com
            subjectRegexp: 'https://github\.com/nebari-dev/x/\.github/workflows/build\.yml@refs/tags/.+'
            claims: {sourceRepositoryOwner: nebari-dev}
            trustRoot: public
        - {name: key, key: {file: a.pub, log: required, trustRoot: public}}
"#;

#[test]
fn identities_and_logs_of_a_trust_root_are_decoded_and_change_the_digest() {
    let policy = built(KEYLESS);
    for (from, to) in [
        ("embedded: sigstore", "embedded: sigstore-staging"),
        ("actions", "action"),
        ("issuer:", "issuerRegexp:"),
        ("build", "release"),
        ("nebari-dev}", "nebari}"),
        ("sourceRepositoryOwner:", "sourceRepositoryRef:"),
        ("trustRoot: public\n", "trustRoot: public\n            log: optional\n"),
        ("trustRoot: public\n", "trustRoot: public\n            sct: optional\n"),
        ("log: required", "log: optional"),
    ] {
        assert!(KEYLESS.contains(from), "{from}");
        let one = |text: &str| {
            let keys = BTreeMap::from([("a.pub".to_owned(), Ok(SAME_KEY.as_bytes().to_vec()))]);
            ImagePolicy::build(&decode(text).unwrap(), &keys, sound()).unwrap().digest().to_owned()
        };
        assert_ne!(one(KEYLESS), one(&KEYLESS.replacen(from, to, 1)), "{to}");
    }
    assert_eq!(chosen(&policy, "quay.io/nebari/hub", None), "workflow");
}

#[test]
fn mistakes_of_attestations_are_told_at_once_with_their_places() {
    let text = r#"
rules:
  - name: a
    images: ["quay.io/a/**"]
    authorities: {list: [{name: k, key: {file: a.pub}}]}
    attestations:
      - {name: one, predicateType: slsaprovenance1, authorities: [l], maxAge: soon, cel: predicat.x == 1}
      - {name: one, predicateType: "https://slsa.dev/provenance/v1", authorities: [], maxAge: 0s, cel: "predicate ="}
      - {}
  - {name: b, images: ["quay.io/b"], static: {deny: true, reason: r}, attestations: [{name: x, predicateType: "a:b"}]}
"#;
    insta::assert_snapshot!(problems(text), @r"
    policy.yaml:7:36: 'spec.rules[0].attestations[0].predicateType': 'slsaprovenance1' is not a URI; write https://slsa.dev/provenance/v1
    policy.yaml:7:66: 'spec.rules[0].attestations[0].authorities': the rule has no authority 'l' (did you mean 'k'?)
    policy.yaml:7:79: 'spec.rules[0].attestations[0].maxAge': 'soon' is not a duration such as 90d or 12h
    policy.yaml:7:90: 'spec.rules[0].attestations[0].cel': there is no variable 'predicat'; did you mean 'predicate'?
    policy.yaml:8:9: two attestations have the name 'one'
    policy.yaml:8:83: 'spec.rules[0].attestations[1].authorities' needs at least one name; leave it out for all of the rule's
    policy.yaml:8:95: 'spec.rules[0].attestations[1].maxAge': '0s' is not a duration such as 90d or 12h
    policy.yaml:8:104: 'spec.rules[0].attestations[1].cel': this is no CEL expression: ERROR: <input>:1:11: Syntax error: token recognition error at: '='
    | predicate =
    | ..........^
    policy.yaml:9:9: 'spec.rules[0].attestations[2].name' is missing
    policy.yaml:9:9: 'spec.rules[0].attestations[2].predicateType' is missing
    policy.yaml:10:85: 'spec.rules[1].attestations' needs 'authorities' beside it: somebody must have made them
    ");
}

#[test]
fn attestations_change_the_digest() {
    let rule = |attestation: &str| {
        let text = format!(
            "trustRoots: [{{name: r, embedded: sigstore}}]\nrules:\n- name: a\n  images: ['**']\n  authorities:\n    list:\n    - {{name: k, keyless: {{issuer: i, subject: k, trustRoot: r}}}}\n    - {{name: l, keyless: {{issuer: i, subject: l, trustRoot: r}}}}\n  attestations: [{{{attestation}}}]\n"
        );
        ImagePolicy::build(&decode(&text).unwrap(), &FileBytes::new(), sound()).unwrap().digest().to_owned()
    };
    let written = "name: p, predicateType: 'a:b', authorities: [k], maxAge: 90d, cel: predicate.x == 1";
    for (from, to) in [
        ("name: p", "name: q"),
        ("a:b", "a:c"),
        ("[k]", "[l]"),
        (", authorities: [k]", ""),
        ("90d", "91d"),
        (", maxAge: 90d", ""),
        ("== 1", "== 2"),
        (", cel: predicate.x == 1", ""),
    ] {
        assert!(written.contains(from), "{from}");
        assert_ne!(rule(written), rule(&written.replacen(from, to, 1)), "{to}");
    }
}

/// Any key; the public-good log's.
const SAME_KEY: &str = "-----BEGIN PUBLIC KEY-----
MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE2G2Y+2tabdTV5BcGiBIx0a9fAFwr
kBbmLSGtks4L3qX6yYY0zufBnhC8Ur/iy55GhWP/9A/bY2LhC30M9+RYtw==
-----END PUBLIC KEY-----
";

#[test]
fn mistakes_of_identities_and_trust_roots_are_told_at_once_with_their_places() {
    let text = r#"
trustRoots:
  - {name: public, embedded: public}
  - {name: github, embedded: github}
  - {name: corp, trustedRootFile: root.json, embedded: sigstore}
  - {name: corp, trustedRootFile: gone.json}
  - {name: none}
rules:
  - name: a
    images: ["quay.io/a/**"]
    authorities:
      list:
        - name: both
          key: {file: a.pub}
          keyless: {issuer: i, subject: s, trustRoot: github}
        - {name: neither}
        - {name: open, keyless: {issuerRegexp: '.*', subject: '', trustRoot: githob, log: maybe}}
        - {name: half, keyless: {issuer: i, issuerRegexp: i, claims: {sourceRepositoryOwnr: x, buildTrigger: 1}}}
        - {name: lacking, keyless: {issuer: i, subject: s, trustRoot: github}}
        - {name: unlogged, key: {file: a.pub, log: required}}
        - {name: logless, key: {file: a.pub, log: required, trustRoot: broken}}
        - {name: lost, keyless: {issuer: i, subject: s, trustRoot: corp}}
"#;
    let files = FileBytes::from([("a.pub".to_owned(), Ok(key())), ("root.json".to_owned(), Ok(b"{}".to_vec()))]);
    insta::assert_snapshot!(round(text, &files), @r"
    policy.yaml:3:30: 'spec.trustRoots[0].embedded': 'public' is not one of sigstore, sigstore-staging, github
    policy.yaml:5:5: 'spec.trustRoots[2]' needs one of 'embedded', 'trustedRootFile', 'trustedRootData'
    policy.yaml:6:5: two trust roots have the name 'corp'
    policy.yaml:6:5: trust root file 'gone.json' could not be read
    policy.yaml:7:5: 'spec.trustRoots[4]' needs one of 'embedded', 'trustedRootFile', 'trustedRootData'
    policy.yaml:13:11: an authority has either 'key' or 'keyless', not both
    policy.yaml:16:11: 'spec.rules[0].authorities.list[1]' needs 'key' or 'keyless'
    policy.yaml:17:48: 'spec.rules[0].authorities.list[2].keyless.issuerRegexp': it matches every address and every URI; say whose word counts
    policy.yaml:17:63: 'spec.rules[0].authorities.list[2].keyless.subject': it is empty and would match nobody
    policy.yaml:17:78: 'spec.rules[0].authorities.list[2].keyless.trustRoot': 'trustRoots' has no 'githob' (did you mean 'github'?)
    policy.yaml:17:91: 'spec.rules[0].authorities.list[2].keyless.log': 'maybe' is not one of required, optional
    policy.yaml:18:33: an identity has either 'issuer' or 'issuerRegexp', not both
    policy.yaml:18:33: 'spec.rules[0].authorities.list[3].keyless.subject' is missing; or 'subjectRegexp'
    policy.yaml:18:33: 'spec.rules[0].authorities.list[3].keyless.trustRoot' is missing
    policy.yaml:18:71: 'spec.rules[0].authorities.list[3].keyless.claims': no certificate has a claim 'sourceRepositoryOwnr' (did you mean 'sourceRepositoryOwner'?)
    policy.yaml:18:110: 'spec.rules[0].authorities.list[3].keyless.claims.buildTrigger' must be a string that is not empty
    policy.yaml:19:36: trust root 'github' names no transparency log, and this authority needs one
    policy.yaml:20:33: 'spec.rules[0].authorities.list[5].key.trustRoot' is missing: 'log: required' needs a log to check against
    policy.yaml:21:72: 'spec.rules[0].authorities.list[6].key.trustRoot': 'trustRoots' has no 'broken'
    ");
}

#[test]
fn all_mistakes_are_told_at_once_with_their_places() {
    let text = r#"
mode: enforced
rules:
  - {name: a, images: [busybox], authorities: {threshold: 0, list: []}}
  - {name: a, images: [], static: {allow: [latest], owner: me, reason: why}}
  - {images: ["quay.io/x"], namespaces: [Prod], static: {deny: false, reason: r}}
  - {name: d, images: ["quay.io/y"]}
  - {name: e, images: ["quay.io/z"], static: {deny: true, reason: r}, authorities: {list: []}}
  - {name: f, images: ["quay.io/w"], authorities: {list: [{name: k, key: {file: a.pub, notAfter: soon}, requred: true}]}}
"#;
    insta::assert_snapshot!(problems(text));
}

#[test]
fn no_mistake_hides_another_in_rules_keys_or_between_them() {
    let text = r#"
rules:
  - {name: a, images: ["quay.io/a"], authorities: {threshold: 2, list: [{name: k, key: {file: good.pub}}]}}
  - {name: a, images: ["quay.io/a"], authorities: {list: [{name: k, key: {file: missing.pub}}]}}
  - {name: b, images: ["quay.io/b"], authorities: {threshold: 0, list: [{name: k, key: {file: garbage.pub}}]}}
  - name: c
    images: ["quay.io/c"]
    authorities: {list: [{name: k, key: {file: missing.pub}}]}
    static: {allow: [latest], owner: me, reason: why}
  - {images: ["quay.io/d"], authorities: {list: [{key: {data: nothing}}, {name: k, key: {file: gone.pub, data: x}}]}}
  - {name: e, images: ["quay.io/e"], static: {reason: r}}
  - {name: f, images: ["quay.io/a"]}
  - {name: g, images: ["quay.io/g"], authorities: {threshold: 3, list: [{name: k, key: {file: garbage.pub}}]}}
"#;
    let keys = FileBytes::from([
        ("good.pub".to_owned(), Ok(key())),
        ("garbage.pub".to_owned(), Ok(b"garbage".to_vec())),
        ("missing.pub".to_owned(), Err("it is not there".to_owned())),
    ]);
    insta::assert_snapshot!(round(text, &keys), @r"
    policy.yaml:3:51: rule 'a': a threshold of 2 cannot be met by 1 different authority
    policy.yaml:4:5: two rules have the name 'a'
    policy.yaml:4:5: rules 'a' and 'a' are equally specific and both can match: 'quay.io/a' and 'quay.io/a'
    policy.yaml:4:74: key file 'missing.pub': it is not there
    policy.yaml:5:51: 'spec.rules[2].authorities.threshold' must be 1 or more
    policy.yaml:5:88: key file 'garbage.pub': it holds no PEM block; a public key reads '-----BEGIN PUBLIC KEY-----' …
    policy.yaml:6:5: a rule has either 'authorities' or 'static', not both
    policy.yaml:8:41: key file 'missing.pub': it is not there
    policy.yaml:9:13: 'spec.rules[3].static.expires' is missing
    policy.yaml:9:22: 'spec.rules[3].static.allow[0]': 'latest' is not a digest: sha256: and 64 lower-case hex digits are needed
    policy.yaml:10:5: 'spec.rules[4].name' is missing
    policy.yaml:10:50: 'spec.rules[4].authorities.list[0].name' is missing
    policy.yaml:10:56: the key: it holds no PEM block; a public key reads '-----BEGIN PUBLIC KEY-----' …
    policy.yaml:10:89: a key has either 'file' or 'data', not both
    policy.yaml:10:89: key file 'gone.pub' could not be read
    policy.yaml:11:46: 'static' needs either 'allow' (a list of digests) or 'deny: true'
    policy.yaml:12:5: a rule needs 'authorities' or 'static'; without either it would trust nobody
    policy.yaml:12:5: rules 'a' and 'f' are equally specific and both can match: 'quay.io/a' and 'quay.io/a'
    policy.yaml:12:5: rules 'a' and 'f' are equally specific and both can match: 'quay.io/a' and 'quay.io/a'
    policy.yaml:13:51: rule 'g': a threshold of 3 cannot be met by 1 different authority
    policy.yaml:13:88: key file 'garbage.pub': it holds no PEM block; a public key reads '-----BEGIN PUBLIC KEY-----' …
    ");
}

#[test]
fn a_policy_with_mistakes_is_not_built_even_by_who_lost_them() {
    let document = yaml::read(b"rules: [{name: a, images: [quay.io/a]}]", &Limits::default()).remove(0).unwrap();
    let mut lost = sound();
    let spec = Fields::of(&document, "spec", &mut lost).and_then(|map| map.finish_with(ImagePolicySpec::decode));
    assert!(ImagePolicy::build(&spec.unwrap(), &FileBytes::new(), sound()).is_err());
}

#[test]
fn a_static_allow_needs_owner_reason_and_expiry() {
    let text = format!("rules:\n  - {{name: a, images: [quay.io/a], static: {{allow: ['{DIGEST}']}}}}\n");
    let said = problems(&text);
    for field in ["owner", "reason", "expires"] {
        assert!(said.contains(&format!("'spec.rules[0].static.{field}' is missing")), "{said}");
    }
}

#[test]
fn the_most_specific_rule_counts_whatever_the_order() {
    let mut list = [
        ("all", "'**'", "'*'"),
        ("registry", "quay.io/**", "'*'"),
        ("group", "quay.io/nebari/**", "'*'"),
        ("name", "quay.io/nebari/hub", "'*'"),
        ("prod", "quay.io/nebari/hub", "'prod-*'"),
    ];
    for _ in 0..list.len() {
        let policy = built(&rules(&list));
        assert_eq!(chosen(&policy, "busybox", Some("dev")), "all");
        assert_eq!(chosen(&policy, "quay.io/x/y", Some("dev")), "registry");
        assert_eq!(chosen(&policy, "quay.io/nebari/lab", Some("prod-a")), "group");
        assert_eq!(chosen(&policy, "quay.io/nebari/hub", Some("dev")), "name");
        assert_eq!(chosen(&policy, "quay.io/nebari/hub", Some("prod-a")), "prod");
        list.rotate_left(1);
    }
}

#[test]
fn without_a_namespace_the_image_pattern_decides() {
    let policy = built(&rules(&[("prod", "quay.io/nebari/hub", "prod"), ("all", "quay.io/**", "'*'")]));
    assert_eq!(chosen(&policy, "quay.io/nebari/hub", None), "prod");
    assert_eq!(chosen(&policy, "quay.io/nebari/hub", Some("dev")), "all");
    let policy = built(&rules(&[("prod", "quay.io/a", "prod"), ("all", "quay.io/a", "'*'")]));
    assert_eq!(chosen(&policy, "quay.io/a", None), "all");
}

#[test]
fn a_tie_between_rules_that_can_both_match_is_an_error() {
    let said = problems(&rules(&[("a", "quay.io/x*/hub", "'*'"), ("b", "quay.io/*y/hub", "'*'")]));
    assert_eq!(
        said,
        "policy.yaml:4:5: rules 'a' and 'b' are equally specific and both can match: 'quay.io/x*/hub' and 'quay.io/*y/hub'"
    );
    assert!(decode(&rules(&[("a", "quay.io/x", "'*'"), ("b", "quay.io/y", "'*'")])).is_ok());
    assert!(decode(&rules(&[("a", "quay.io/x", "dev"), ("b", "quay.io/x", "prod")])).is_ok());
    assert!(decode(&rules(&[("a", "quay.io/x", "dev"), ("b", "quay.io/x", "'*'")])).is_ok());
    assert!(decode(&rules(&[("a", "quay.io/x", "'a*'"), ("b", "quay.io/x", "'*a'")])).is_err());
}

#[test]
fn too_many_patterns_are_refused_before_they_are_compared() {
    let images: Vec<String> = (0..1001).map(|index| format!("quay.io/x{index}")).collect();
    assert!(problems(&rules(&[("a", &images.join(", "), "'*'")])).contains("at most 1000"));
}

#[test]
fn a_policy_is_not_built_without_its_keys() {
    let spec = decode(SUPPORTED).unwrap();
    let keys = BTreeMap::from([
        ("a.pub".to_owned(), Ok(b"".to_vec())),
        ("b.pub".to_owned(), Err("b.pub is not there".to_owned())),
    ]);
    let said = ImagePolicy::build(&spec, &keys, sound()).unwrap_err().to_string();
    insta::assert_snapshot!(said, @r"
    policy.yaml:13:48: key file 'a.pub': it holds no PEM block; a public key reads '-----BEGIN PUBLIC KEY-----' …
    policy.yaml:14:31: key file 'b.pub': b.pub is not there
    ");
    let same = key();
    let twice = BTreeMap::from([("a.pub".to_owned(), Ok(same.clone())), ("b.pub".to_owned(), Ok(same))]);
    let said = ImagePolicy::build(&spec, &twice, sound()).unwrap_err().to_string();
    assert_eq!(
        said,
        "policy.yaml:11:7: rule 'platform images': a threshold of 2 cannot be met by 1 different authority"
    );
    assert!(matches!(ImagePolicy::given(Given::default(), 1), Err(InvalidAuthorities::Nobody)));
    let one = Given { keys: BTreeMap::from([("a.pub".to_owned(), key())]), ..Given::default() };
    assert!(matches!(ImagePolicy::given(one, 0), Err(InvalidAuthorities::Threshold { .. })));
}

#[test]
fn the_digest_changes_with_everything_that_can_change_a_verdict() {
    let (a, b) = (key(), key());
    let digest = |text: &str, a: &[u8], b: &[u8]| {
        let keys = BTreeMap::from([("a.pub".to_owned(), Ok(a.to_vec())), ("b.pub".to_owned(), Ok(b.to_vec()))]);
        ImagePolicy::build(&decode(text).unwrap(), &keys, sound()).unwrap().digest().to_owned()
    };
    let original = digest(SUPPORTED, &a, &b);
    assert_eq!(original, digest(&format!("{SUPPORTED}# a comment\n"), &a, &b));
    assert_ne!(original, digest(SUPPORTED, &b, &a));
    for (from, to) in [
        ("noMatch: warn", "noMatch: deny"),
        ("mode: warn", "mode: audit"),
        ("threshold: 2", "threshold: 1"),
        ("required: true", "required: false"),
        ("2027-06-30,", "2027-07-01,"),
        ("nebari", "nebula"),
        ("[\"*\"]", "[\"a*\"]"),
        ("sha256:9", "sha256:8"),
        ("2027-03-01", "2027-03-02"),
        ("no miners", "miners"),
        ("mode: enforce", "mode: audit"),
    ] {
        assert!(SUPPORTED.contains(from), "{from}");
        assert_ne!(original, digest(&SUPPORTED.replacen(from, to, 1), &a, &b), "{to}");
    }
}

#[test]
fn policies_together_have_all_rules_and_the_strictest_answer_to_what_none_names() {
    let policy = |no_match: &str, mode: &str, pattern: &str| {
        let text = rules(&[("r", pattern, "'*'")]);
        built(&text.replace("mode: enforce", &format!("mode: {mode}\nnoMatch: {no_match}")))
    };
    let together = |policies: [ImagePolicy; 2]| {
        let policy = ImagePolicy::together(policies).unwrap();
        assert_eq!(chosen(&policy, "quay.io/a", None), "r");
        assert_eq!(chosen(&policy, "quay.io/b", None), "r");
        (policy.mode, policy.no_match)
    };
    let of = |no_match, mode, pattern| policy(no_match, mode, pattern);
    // Neither blocks what it does not name, and so both do not.
    let mild = [of("deny", "audit", "quay.io/a"), of("allow", "enforce", "quay.io/b")];
    assert_eq!(together(mild), (Mode::Audit, NoMatch::Deny));
    let strict = [of("warn", "enforce", "quay.io/a"), of("deny", "enforce", "quay.io/b")];
    assert_eq!(together(strict), (Mode::Enforce, NoMatch::Deny));
    let unreadable = ImagePolicy::together([of("allow", "audit", "quay.io/a"), ImagePolicy::unreadable()]).unwrap();
    assert_eq!((unreadable.mode, unreadable.no_match, unreadable.rules.len()), (Mode::Enforce, NoMatch::Deny, 1));
    assert!(ImagePolicy::together([]).is_none());
}

#[test]
fn a_policy_with_mistakes_denies_what_it_names_and_leaves_no_other_to_say_more() {
    let text = r#"
mode: warn
rules:
  - {name: strict, images: ["quay.io/prod/**"], namespaces: [prod], mode: enforce, authorities: {list: [{name: k, kee: {}}]}}
  - {name: rest, images: ["quay.io/rest"]}
"#;
    let document = yaml::read(text.as_bytes(), &Limits::default()).remove(0).unwrap();
    let mut problems = sound();
    let spec = Fields::of(&document, "spec", &mut problems).and_then(|map| map.finish_with(ImagePolicySpec::decode));
    let lax = built(&rules(&[("lax", "'**'", "'*'")]).replace("mode: enforce", "mode: audit"));
    let together = ImagePolicy::together([lax, ImagePolicy::standing_in(&spec.unwrap())]).unwrap();
    for (image, namespace, rule, mode) in [
        ("quay.io/prod/app", "prod", "strict", Mode::Enforce),
        ("quay.io/prod/app", "dev", "lax", Mode::Audit),
        ("quay.io/rest", "dev", "rest", Mode::Warn),
    ] {
        let image = ImageReference::parse(image).unwrap();
        let Selection::Rule(chosen) = together.rule_for(&image.repository, Some(namespace)) else { panic!("no rule") };
        assert_eq!((chosen.name(), chosen.mode()), (rule, mode));
        assert!(matches!(chosen.basis(), Basis::Deny { .. }));
    }
    assert_eq!(together.no_match, NoMatch::Deny);
}

#[test]
fn a_key_stands_in_a_file_or_in_the_policy_and_policies_without_files_refuse_the_first() {
    let pem = String::from_utf8(key()).unwrap();
    let with = |key: &str| {
        format!(
            "rules:\n- name: r\n  images: [quay.io/a]\n  authorities:\n    list:\n    - name: k\n      key: {key}\n"
        )
    };
    let data = serde_json::to_string(&pem).unwrap();
    let spec = decode(&with(&format!("{{data: {data}}}"))).unwrap();
    assert!(ImagePolicy::build(&spec, &BTreeMap::new(), sound()).is_ok());
    assert!(spec.no_files().is_empty());
    let named = decode(&with("{file: /etc/passwd}")).unwrap();
    let said = ImagePolicy::build(&named, &named.no_files(), sound()).unwrap_err().to_string();
    assert!(said.contains("key file '/etc/passwd': a policy of the cluster has no files"), "{said}");
    assert!(problems(&with(&format!("{{file: a.pub, data: {data}}}"))).contains("not both"));
    let broken = decode(&with("{data: nothing}")).unwrap();
    assert!(ImagePolicy::build(&broken, &BTreeMap::new(), sound()).unwrap_err().to_string().contains("key 'k'"));
}
