//! Objects with credentials of every class, good and hostile.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use jiff::{SignedDuration, Timestamp};
use portreeve_reports::source::{Limits as ReadLimits, Node, yaml};
use portreeve_reports::{Cause, Code, Effect, Finding, ObjectRef, Verdict};
use serde_json::{Value, json};

use super::rules::{self, CODES, TokenOrigin};
use super::{Class, Credential, Expiry, Limits, Values, inspect, redacted};

/// Stands in every value; nothing that comes out may have it.
const CANARY: &str = "CANARY0123456789";

fn now() -> Timestamp {
    "2026-06-01T00:00:00Z".parse().unwrap()
}

fn days(count: i64) -> SignedDuration {
    SignedDuration::from_hours(24 * count)
}

fn seconds(from_now: SignedDuration) -> i64 {
    (now() + from_now).as_second()
}

fn read(object: &Value) -> Node {
    yaml::read(object.to_string().as_bytes(), &ReadLimits::default()).remove(0).unwrap()
}

fn holder(kind: &str) -> ObjectRef {
    ObjectRef {
        api_version: "v1".into(),
        kind: kind.into(),
        namespace: "dev".into(),
        name: "a".into(),
        ..ObjectRef::default()
    }
}

fn found_as(kind: &str, object: &Value, values: Values) -> Vec<Credential> {
    inspect(&holder(kind), &read(object), None, values)
}

fn secret(secret_type: &str, data: Value) -> Vec<Credential> {
    found_as("Secret", &json!({"type": secret_type, "stringData": data}), Values::Read)
}

fn config_map(data: Value) -> Vec<Credential> {
    found_as("ConfigMap", &json!({"data": data}), Values::Read)
}

fn judged(credential: &Credential) -> Vec<Finding> {
    rules::findings(credential, TokenOrigin::Unknown, &Limits::default(), now()).unwrap()
}

/// Code and verdict of what is open.
fn open(credentials: &[Credential]) -> Vec<String> {
    let findings = credentials.iter().flat_map(judged).filter(|finding| finding.verdict.is_open());
    findings.map(|finding| format!("{} {}", finding.code, finding.verdict)).collect()
}

fn jwt(claims: &str) -> String {
    let part = |text: &str| URL_SAFE_NO_PAD.encode(text);
    format!("{}.{}.{}", part("{\"alg\":\"RS256\"}"), part(claims), part(CANARY))
}

fn certificate(from: SignedDuration, until: SignedDuration) -> String {
    let key = rcgen::KeyPair::generate().unwrap();
    let mut parameters = rcgen::CertificateParams::new(vec!["hub.example.org".to_owned()]).unwrap();
    let date = |offset: SignedDuration| {
        let at = (now() + offset).to_zoned(jiff::tz::TimeZone::UTC);
        rcgen::date_time_ymd(at.year().into(), at.month().unsigned_abs(), at.day().unsigned_abs())
    };
    (parameters.not_before, parameters.not_after) = (date(from), date(until));
    parameters.self_signed(&key).unwrap().pem()
}

fn tls(from: SignedDuration, until: SignedDuration) -> Vec<Credential> {
    secret("kubernetes.io/tls", json!({"tls.crt": certificate(from, until), "tls.key": CANARY}))
}

#[test]
fn the_closed_list_of_this_crate_is_unique_parses_and_is_reviewed_when_it_changes() {
    let list: Vec<String> =
        CODES.iter().map(|entry| format!("{} {} {}", entry.code, entry.severity, entry.title)).collect();
    insta::assert_snapshot!(list.join("\n"), @r"
    PR-4001 high credential is expired or not yet valid
    PR-4002 medium credential expires soon
    PR-4003 high token lives too long
    PR-4004 high service account token is kept in a Secret
    PR-4005 medium registry credential does not expire
    PR-4006 high kubeconfig holds a long-lived credential
    PR-4007 low static password
    PR-4008 medium private key is not protected
    PR-4009 high credential is kept in a ConfigMap
    PR-4010 high requested token lives too long
    ");
    let codes: BTreeMap<Code, ()> = CODES.iter().map(|entry| (Code::parse(entry.code).unwrap(), ())).collect();
    assert_eq!(codes.len(), CODES.len());
    assert!(CODES.iter().all(|entry| !entry.why.is_empty() && !entry.fix.is_empty()));
}

#[test]
fn a_certificate_is_judged_by_its_dates() {
    assert_eq!(open(&tls(days(-30), days(60))), [""; 0]);
    assert_eq!(open(&tls(days(-80), days(10))), ["PR-4002 fail"]);
    assert_eq!(open(&tls(days(-90), days(-1))), ["PR-4001 fail"]);
    let future = tls(days(2), days(90));
    assert_eq!(open(&future), ["PR-4001 fail"]);
    assert!(judged(&future[0])[0].message.contains("is not valid before 2026-06-03"), "{:?}", judged(&future[0])[0]);
}

#[test]
fn a_certificate_without_an_end_shows_the_date_that_it_has() {
    let mut parameters = rcgen::CertificateParams::new(vec!["hub.example.org".to_owned()]).unwrap();
    parameters.not_after = rcgen::date_time_ymd(9999, 12, 31);
    let pem = parameters.self_signed(&rcgen::KeyPair::generate().unwrap()).unwrap().pem();
    let credential = &secret("kubernetes.io/tls", json!({"tls.crt": pem}))[0];
    let finding = judged(credential).into_iter().find(|finding| finding.code.to_string() == "PR-4001");
    assert!(finding.unwrap().message.ends_with("is good until 9999-12-31T23:59:59Z"));
}

#[test]
fn what_is_made_for_a_short_life_is_not_near_its_end_all_the_time() {
    assert_eq!(open(&tls(days(-1), days(5))), [""; 0]);
    assert_eq!(open(&tls(days(-5), days(1))), ["PR-4002 fail"]);
}

#[test]
fn a_chain_ends_with_the_first_that_is_needed_and_roots_do_not_count() {
    let chain = format!("{}{}", certificate(days(-30), days(60)), certificate(days(-900), days(-1)));
    assert_eq!(open(&secret("kubernetes.io/tls", json!({"tls.crt": chain}))), [""; 0], "the second issues itself");
}

#[test]
fn garbage_where_a_certificate_should_be_is_unknown_and_no_pass() {
    for text in
        ["", "garbage", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "-----BEGIN CERTIFICATE-----"]
    {
        let credentials = secret("kubernetes.io/tls", json!({"tls.crt": text}));
        assert_eq!(open(&credentials), ["PR-4001 unknown", "PR-4002 unknown"], "{text}");
        assert_eq!(judged(&credentials[0])[0].cause, Some(Cause::Unreadable));
    }
    assert_eq!(open(&secret("kubernetes.io/tls", json!({}))), ["PR-4001 unknown", "PR-4002 unknown"]);
}

#[test]
fn a_token_needs_an_expiry_within_the_limit() {
    let exp = |claims: Value| open(&secret("Opaque", json!({"t": jwt(&claims.to_string())})));
    let iat = now().as_second() - 60;
    assert_eq!(exp(json!({"iat": iat, "exp": seconds(SignedDuration::from_hours(1))})), [""; 0]);
    assert_eq!(exp(json!({"iat": iat, "exp": seconds(days(3650))})), ["PR-4003 fail"]);
    assert_eq!(exp(json!({"sub": CANARY})), ["PR-4003 fail"]);
    assert_eq!(exp(json!({"exp": -1})), ["PR-4001 fail"]);
    assert_eq!(exp(json!({"exp": i64::MAX})), ["PR-4003 fail"]);
    assert_eq!(exp(json!({"exp": 1e300})), ["PR-4003 fail"]);
    assert_eq!(exp(json!({"exp": -1e300})), ["PR-4001 fail"]);
    for odd in [json!("soon"), json!(null), json!([1])] {
        assert_eq!(exp(json!({"exp": odd})), ["PR-4001 unknown", "PR-4002 unknown", "PR-4003 unknown"], "{odd}");
    }
}

#[test]
fn claims_that_stand_twice_are_no_claims() {
    let twice = format!("{{\"exp\":{},\"exp\":{}}}", seconds(days(1)), seconds(days(9000)));
    let found = secret("Opaque", json!({"t": jwt(&twice)}));
    assert_eq!(open(&found), ["PR-4001 unknown", "PR-4002 unknown", "PR-4003 unknown"]);
}

#[test]
fn tokens_are_found_in_the_midst_of_text_and_only_by_structure() {
    let token = jwt("{}");
    let text = format!("Authorization: Bearer {token}\nother = \"{token}\"\n eyJhbGciOi.x.y {CANARY}.eyJ.{CANARY}\n");
    let found = secret("Opaque", json!({"config.ini": text}));
    let keys: Vec<&str> = found.iter().map(|credential| credential.key.as_str()).collect();
    assert_eq!(keys, ["config.ini", "config.ini[2]"]);
}

#[test]
fn a_secret_of_a_service_account_fails_whatever_is_in_it() {
    for data in [json!({}), json!({"token": jwt("{}")}), json!({"token": "garbage"})] {
        let found = secret("kubernetes.io/service-account-token", data);
        assert_eq!(open(&found), ["PR-4004 fail"]);
        assert_eq!(found[0].class, Class::ServiceAccountToken);
    }
}

fn pull_secret(user: &str, password: &str) -> Vec<Credential> {
    let auth = STANDARD.encode(format!("{user}:{password}"));
    let config = json!({"auths": {"https://user:pw@registry.example.org/v1/": {"auth": auth}}});
    secret("kubernetes.io/dockerconfigjson", json!({".dockerconfigjson": config.to_string()}))
}

#[test]
fn pull_secrets_are_told_apart_by_who_issues_them() {
    let soon = SignedDuration::from_hours(5);
    let ecr = STANDARD.encode(json!({"payload": CANARY, "expiration": seconds(soon)}).to_string());
    let acr = jwt(&json!({"iat": now().as_second(), "exp": seconds(SignedDuration::from_hours(3))}).to_string());
    let unseen = ["PR-4001 unknown", "PR-4002 unknown"];
    assert_eq!(open(&pull_secret("AWS", &ecr)), [""; 0], "a token of twelve hours is not near its end after seven");
    assert_eq!(open(&pull_secret("AWS", CANARY)), unseen);
    assert_eq!(open(&pull_secret("oauth2accesstoken", CANARY)), unseen);
    assert_eq!(open(&pull_secret("x", &format!("ghs_{CANARY}"))), unseen);
    assert_eq!(open(&pull_secret("00000000-0000-0000-0000-000000000000", &acr)), [""; 0]);
    for (user, password) in [("_json_key", "{}"), ("me", "ghp_x"), ("org+robot", CANARY), ("me", CANARY)] {
        let found = pull_secret(user, password);
        assert_eq!(open(&found), ["PR-4005 fail"], "{user}");
        assert_eq!(found[0].key, ".dockerconfigjson[registry.example.org]");
        assert!(
            judged(&found[0])
                .iter()
                .all(|finding| finding.code.as_str() != "PR-4005" || finding.effect == Effect::Warn)
        );
    }
}

#[test]
fn a_docker_configuration_without_logins_has_no_credential_and_a_bad_one_is_unknown() {
    let of = |text: &str| secret("kubernetes.io/dockerconfigjson", json!({".dockerconfigjson": text}));
    assert_eq!(of("{\"auths\": {}, \"credsStore\": \"ecr\"}"), []);
    assert_eq!(of("{\"auths\": {\"a.b\": {}}}"), []);
    for text in ["", "[]", "{\"auths\": 1}", "{\"auths\": {}, \"auths\": {}}"] {
        assert!(open(&of(text)).contains(&"PR-4005 unknown".to_owned()), "{text}");
    }
    assert!(open(&of("{\"auths\": {\"a.b\": {\"auth\": \"%\"}}}")).contains(&"PR-4005 unknown".to_owned()));
}

fn kubeconfig(user: Value) -> String {
    json!({"apiVersion": "v1", "kind": "Config", "clusters": [], "contexts": [], "users": [{"name": "ci", "user": user}]})
        .to_string()
}

#[test]
fn users_of_a_kubeconfig_may_run_programs_and_hold_short_tokens_only() {
    let of = |user: Value| open(&secret("Opaque", json!({"config": kubeconfig(user)})));
    assert_eq!(of(json!({"exec": {"command": "aws"}})), [""; 0]);
    assert_eq!(of(json!({"tokenFile": "/a"})), [""; 0]);
    assert_eq!(of(json!({"token": CANARY})), ["PR-4006 fail"]);
    assert_eq!(of(json!({"username": "a", "password": CANARY})), ["PR-4006 fail"]);
    let short = jwt(&json!({"iat": now().as_second(), "exp": seconds(SignedDuration::from_hours(1))}).to_string());
    assert_eq!(of(json!({"token": short})), [""; 0]);
    let pem = STANDARD.encode(certificate(days(-30), days(335)));
    assert_eq!(of(json!({"client-certificate-data": pem, "client-key-data": CANARY})), ["PR-4006 fail"]);
    let found = config_map(json!({"config": kubeconfig(json!({"token": CANARY}))}));
    assert_eq!(found[0].key, "config.users[ci].token");
    assert_eq!(open(&found), ["PR-4006 fail", "PR-4009 fail"]);
}

#[test]
fn a_kubeconfig_is_known_by_its_users_whatever_else_it_says() {
    let of = |text: &str| open(&secret("Opaque", json!({"config": text})));
    assert_eq!(of(&format!("users: [{{name: ci, user: {{token: {CANARY}}}}}]")), ["PR-4006 fail"]);
    assert_eq!(of(&format!("users:\n- user:\n    username: a\n    password: {CANARY}\n")), ["PR-4006 fail"]);
    assert_eq!(of(&format!("kind: Config\nusers: [{{user: {{token: {CANARY}}}}}]")), ["PR-4006 fail"]);
    let key = of(&format!("users: [{{name: ci, user: {{client-certificate: c.pem, client-key-data: {CANARY}}}}}]"));
    assert!(key.contains(&"PR-4006 unknown".to_owned()), "{key:?}");
    assert_eq!(of("kind: UserList\nusers: [{user: {token: x}}]"), [""; 0]);
    assert_eq!(of("users: [{name: a, token: b}]"), [""; 0]);
}

#[test]
fn a_bootstrap_token_without_an_expiration_never_ends() {
    let of = |data: Value| open(&secret("bootstrap.kubernetes.io/token", data));
    assert_eq!(of(json!({"token-id": "abcdef", "token-secret": CANARY})), ["PR-4003 fail"]);
    let at = |time: &str| of(json!({"token-secret": CANARY, "expiration": time}));
    assert_eq!(at("2026-05-01T00:00:00Z"), ["PR-4001 fail"]);
    assert_eq!(at("2027-06-01T00:00:00Z"), ["PR-4003 fail"]);
    assert_eq!(at("tomorrow"), ["PR-4001 unknown", "PR-4002 unknown", "PR-4003 unknown"]);
}

fn openssh(cipher: &str) -> String {
    let mut bytes = b"openssh-key-v1\0".to_vec();
    for word in [cipher, if cipher == "none" { "none" } else { "bcrypt" }] {
        bytes.extend(u32::try_from(word.len()).unwrap().to_be_bytes());
        bytes.extend(word.as_bytes());
    }
    bytes.extend(CANARY.as_bytes());
    format!("-----BEGIN OPENSSH PRIVATE KEY-----\n{}\n-----END OPENSSH PRIVATE KEY-----\n", STANDARD.encode(bytes))
}

#[test]
fn keys_and_identities_are_asked_for_a_guard() {
    let ssh = |key: &str| open(&secret("kubernetes.io/ssh-auth", json!({"ssh-privatekey": key})));
    assert_eq!(ssh(&openssh("none")), ["PR-4008 fail"]);
    assert_eq!(ssh(&openssh("aes256-ctr")), [""; 0]);
    assert_eq!(ssh("-----BEGIN RSA PRIVATE KEY-----\nA\n-----END RSA PRIVATE KEY-----"), ["PR-4008 fail"]);
    assert_eq!(ssh(CANARY), ["PR-4001 unknown", "PR-4002 unknown", "PR-4008 unknown"]);
    let age = |line: &str| open(&secret("Opaque", json!({"keys.txt": format!("# made\n{line}\n")})));
    let body = "Q".repeat(58);
    assert_eq!(age(&format!("AGE-SECRET-KEY-1{body}")), ["PR-4008 fail"]);
    assert_eq!(age(&format!("AGE-SECRET-KEY-PQ-1{body}")), ["PR-4008 fail"]);
    assert_eq!(age(&format!("AGE-PLUGIN-YUBIKEY-1{body}")), [""; 0]);
    assert_eq!(secret("Opaque", json!({"a": "see AGE-SECRET-KEY-1 in the documentation"})), []);
    assert_eq!(open(&config_map(json!({"k": "-----BEGIN PRIVATE KEY-----\nA\n-----END PRIVATE KEY-----"}))).len(), 2);
    assert_eq!(secret("Opaque", json!({"k": "-----BEGIN PRIVATE KEY-----\nA\n-----END PRIVATE KEY-----"})), []);
}

#[test]
fn a_key_is_found_whatever_stands_before_it_and_the_worst_guard_counts() {
    let block = |label: &str, body: &str| format!("-----BEGIN {label}-----\n{body}\n-----END {label}-----\n");
    let map = |texts: &[&str]| open(&config_map(json!({"k": texts.concat()})));
    let (plain, exposed) = (block("EC PRIVATE KEY", "A"), ["PR-4008 fail", "PR-4009 fail"]);
    assert_eq!(map(&[&certificate(days(-30), days(60)), &block("PRIVATE KEY", "A")]), exposed);
    assert_eq!(map(&[&block("EC PARAMETERS", "A"), &plain]), exposed);
    assert_eq!(map(&["-----BEGIN CERTIFICATE-----\nA\n", &plain]), exposed, "a block without an end hides nothing");
    assert_eq!(map(&[&openssh("aes256-ctr"), &plain]), exposed);
    assert_eq!(map(&[&openssh("aes256-ctr")]), ["PR-4009 fail"]);
    assert_eq!(map(&[&block("EC PARAMETERS", "A").repeat(10_000), &plain]), exposed, "however many there are");
    let ssh = |keys: &[String]| open(&secret("kubernetes.io/ssh-auth", json!({"ssh-privatekey": keys.concat()})));
    assert_eq!(ssh(&[openssh("aes256-ctr"), openssh("none")]), ["PR-4008 fail"]);
    let unreadable = block("OPENSSH PRIVATE KEY", "AAAA");
    assert_eq!(ssh(&[openssh("aes256-ctr"), unreadable]), ["PR-4001 unknown", "PR-4002 unknown", "PR-4008 unknown"]);
}

#[test]
fn what_is_too_large_to_be_looked_at_is_unknown_and_never_passed_over() {
    let unknown = |found: &[Credential], key: &str| {
        let last = found.iter().find(|credential| credential.key == key).unwrap();
        assert!(matches!(last.expires, Expiry::Unknown(Cause::TooLarge, _)), "{last:?}");
        let verdicts: Vec<Verdict> = judged(last).iter().map(|finding| finding.verdict).collect();
        assert!(verdicts.contains(&Verdict::Unknown) && !verdicts.contains(&Verdict::Fail), "{verdicts:?}");
    };
    let large = "x".repeat((1 << 20) + 1);
    unknown(&secret("Opaque", json!({"large": large})), "large");
    unknown(&config_map(json!({"large": large})), "large");
    unknown(&secret("Opaque", json!({"t": format!("{}\n", jwt("{}")).repeat(20)})), "t[17]");
    assert_eq!(secret("Opaque", json!({"t": format!("{}\n", jwt("{}")).repeat(16)})).len(), 16);
    let long = jwt(&json!({"sub": "x".repeat(20 << 10)}).to_string());
    unknown(&secret("Opaque", json!({"t": long})), "t");
    let chain = certificate(days(-30), days(60)).repeat(600);
    unknown(&secret("kubernetes.io/tls", json!({"tls.crt": chain})), "tls.crt");
    let users = format!("kind: Config\nclusters: []\nusers: [{}]\n", "a,".repeat(200_000));
    unknown(&secret("Opaque", json!({"config": users})), "config.users");
}

#[test]
fn a_value_that_makes_a_parser_panic_is_an_error_of_its_holder() {
    let (holder, root) = (holder("ConfigMap"), read(&json!({"data": {"k": CANARY}})));
    let found = super::inspect::guarded(
        || super::inspect::Found::new(&holder, &root, None, Values::Read),
        |_| panic!("a parser"),
    );
    assert_eq!(open(&found), ["PR-4001 error"]);
    assert!(found[0].is_stand_in());
}

#[test]
fn without_values_what_the_type_says_is_judged_and_the_rest_is_not_visible() {
    let hidden = |secret_type: &str, data: Value| {
        open(&found_as("Secret", &json!({"type": secret_type, "stringData": data}), Values::Hidden))
    };
    assert_eq!(hidden("kubernetes.io/service-account-token", json!({})), ["PR-4004 fail"]);
    assert_eq!(hidden("kubernetes.io/basic-auth", json!({"password": CANARY})), ["PR-4007 fail"]);
    let tls = found_as("Secret", &json!({"type": "kubernetes.io/tls", "stringData": {"tls.crt": "x"}}), Values::Hidden);
    assert_eq!(judged(&tls[0])[0].cause, Some(Cause::NotVisible));
    assert_eq!(hidden("Opaque", json!({"t": jwt("{}")})), [""; 0]);
}

#[test]
fn what_sops_encrypted_is_not_visible_and_no_mistake() {
    let sops = "ENC[AES256_GCM,data:AAAA,iv:AAAA,tag:AAAA,type:str]";
    for field in ["data", "stringData"] {
        let object = json!({"type": "kubernetes.io/tls", field: {"tls.crt": sops}});
        let found = found_as("Secret", &object, Values::Read);
        assert_eq!(found[0].expires, Expiry::Unknown(Cause::NotVisible, "it is encrypted with SOPS"));
    }
}

#[test]
fn the_same_credential_has_the_same_fingerprint_in_data_and_string_data() {
    let pem = certificate(days(-30), days(60));
    let findings = |object: Value| judged(&found_as("Secret", &object, Values::Read)[0]);
    let written = findings(json!({"type": "kubernetes.io/tls", "stringData": {"tls.crt": pem}}));
    let stored = findings(json!({"type": "kubernetes.io/tls", "data": {"tls.crt": STANDARD.encode(&pem)}}));
    for (left, right) in written.iter().zip(&stored) {
        assert_eq!(left.fingerprint, right.fingerprint);
        assert_eq!(left.locations[0].object_path, right.locations[0].object_path);
    }
}

#[test]
fn large_and_many_values_take_bounded_time_and_the_rest_is_said() {
    let start = std::time::Instant::now();
    for text in ["eyJ".repeat(400_000), "eyJ.".repeat(260_000), "-----BEGIN CERTIFICATE-----\n".repeat(40_000)] {
        drop(secret("Opaque", json!({"big": text})));
        drop(secret("kubernetes.io/tls", json!({"tls.crt": text})));
    }
    let tokens: serde_json::Map<String, Value> = (0..400).map(|n| (format!("k{n}"), json!(jwt("{}")))).collect();
    let many = secret("Opaque", Value::Object(tokens));
    assert_eq!(many.len(), 257);
    assert_eq!(many[256].key, "*");
    assert!(matches!(many[256].expires, Expiry::Unknown(Cause::TooLarge, _)));
    let large = secret("kubernetes.io/tls", json!({"tls.crt": "x".repeat(2 << 20)}));
    assert!(matches!(large[0].expires, Expiry::Unknown(Cause::TooLarge, _)));
    assert!(start.elapsed() < std::time::Duration::from_secs(20), "{:?}", start.elapsed());
}

#[test]
fn no_value_is_in_what_comes_out() {
    let all = [
        secret("kubernetes.io/basic-auth", json!({"username": CANARY, "password": CANARY})),
        secret("Opaque", json!({"t": jwt(&json!({"sub": CANARY, "iss": CANARY, "aud": CANARY}).to_string())})),
        secret("Opaque", json!({"c": kubeconfig(json!({"token": CANARY, "username": CANARY, "password": CANARY}))})),
        secret("kubernetes.io/ssh-auth", json!({"ssh-privatekey": openssh("none")})),
        secret("bootstrap.kubernetes.io/token", json!({"token-secret": CANARY, "expiration": CANARY})),
        pull_secret(CANARY, CANARY),
    ];
    for credential in all.iter().flatten() {
        let text = format!("{credential:?} {:?}", judged(credential));
        assert!(!text.contains(CANARY) && !text.contains(&STANDARD.encode(CANARY)[..12]), "{text}");
    }
}

#[test]
fn what_is_kept_of_a_secret_has_neither_data_nor_annotations() {
    let object = json!({"apiVersion": "v1", "kind": "Secret", "type": "Opaque", "data": {"a": CANARY}, "stringData": {"b": CANARY},
        "metadata": {"name": "a", "labels": {"x": "y"}, "annotations": {"kubectl.kubernetes.io/last-applied-configuration": CANARY}},
        "other": CANARY});
    let kept = redacted(&read(&object)).to_json();
    assert!(!kept.to_string().contains(CANARY), "{kept}");
    assert_eq!(kept["metadata"], json!({"name": "a", "labels": {"x": "y"}}));
    assert_eq!(kept["type"], "Opaque");
}

fn token_request(spec: Value) -> Finding {
    let account = holder("ServiceAccount");
    rules::token_request(&account, Some(&read(&spec)), &Limits::default()).unwrap()
}

#[test]
fn a_token_request_is_held_to_the_limit_and_the_kubelet_gets_what_it_asks_for() {
    let verdict = |spec: Value| token_request(spec).verdict;
    assert_eq!(verdict(json!({"expirationSeconds": 600})), Verdict::Pass);
    assert_eq!(verdict(json!({"expirationSeconds": 86_400})), Verdict::Pass);
    assert_eq!(verdict(json!({"audiences": ["x"]})), Verdict::Pass);
    assert_eq!(verdict(json!({"expirationSeconds": "long"})), Verdict::Unknown);
    let refused = token_request(json!({"expirationSeconds": 315_360_000}));
    assert_eq!(refused.verdict, Verdict::Fail);
    assert!(refused.message.contains("at most 24h is allowed (credentials.maxTokenLifetime)"), "{}", refused.message);
    let barely = token_request(json!({"expirationSeconds": 86_401}));
    assert!(barely.message.contains("a token for 24h 1s is asked for; at most 24h is"), "{}", barely.message);
    let hour = Limits { max_token_lifetime: SignedDuration::from_hours(1), ..Limits::default() };
    let more = read(&json!({"expirationSeconds": 3607}));
    let said = rules::token_request(&holder("ServiceAccount"), Some(&more), &hour).unwrap().message;
    assert!(said.contains("a token for 1h 7s is asked for; at most 1h is"), "{said}");
    let tight = Limits { max_token_lifetime: SignedDuration::from_mins(30), ..Limits::default() };
    let kubelet = json!({"expirationSeconds": 3607, "boundObjectRef": {"kind": "Pod"}});
    let of = |spec: &Value| rules::token_request(&holder("ServiceAccount"), Some(&read(spec)), &tight).unwrap().verdict;
    assert_eq!(of(&kubelet), Verdict::Pass);
    assert_eq!(of(&json!({"expirationSeconds": 3607})), Verdict::Fail);
}

#[test]
fn time_alone_changes_verdicts_at_the_beginning_the_warning_and_the_end() {
    let credential = &tls(days(2), days(92))[0];
    let limits = Limits::default();
    let mut time = now();
    let mut changes = Vec::new();
    while let Some(next) = credential.next_change(time, &limits) {
        changes.push((next.duration_since(now()).as_hours()) / 24);
        time = next;
    }
    assert_eq!(changes, [2, 78, 92]);
}
