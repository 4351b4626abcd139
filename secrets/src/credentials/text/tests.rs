use super::*;

/// What a text has of tokens is put together here, so that no scanner takes this file for one.
fn github() -> String {
    format!("ghp_{}", "aB3".repeat(12))
}

fn pem(label: &str, body: &str) -> String {
    format!("-----BEGIN {label}-----\n{body}\n-----END {label}-----\n")
}

fn kinds(found: &[InText]) -> Vec<&'static str> {
    found.iter().map(|found| found.kind).collect()
}

#[test]
fn tokens_are_told_by_their_form_and_place_and_not_by_their_value() {
    let text = format!("curl -H 'Authorization: {}' https://me:hunter2@example.org/", github());
    let found = in_text(&text);
    assert_eq!(kinds(&found), ["GitHub token", "password in a URL"]);
    assert_eq!(text[found[0].range.clone()], github());
    assert!(!format!("{found:?}").contains("hunter2"));
}

#[test]
fn a_key_has_a_body_and_the_line_of_one_in_a_program_is_none() {
    let body = "MC4CAQAwBQYDK2VwBCIEIA".repeat(4);
    let found = in_file("etc/x.pem", pem("PRIVATE KEY", &body).as_bytes());
    assert_eq!((kinds(&found), found[0].is_key, found[0].is_guarded), (vec!["private key"], true, false));
    assert!(in_file("x", pem("ENCRYPTED PRIVATE KEY", &body).as_bytes())[0].is_guarded);
    let json = format!("{{\"private_key\": \"-----BEGIN PRIVATE KEY-----\\n{body}\\n-----END PRIVATE KEY-----\\n\"}}");
    assert_eq!(kinds(&in_file("key.json", json.as_bytes())), ["private key"]);
    let broken_off = format!("-----BEGIN RSA PRIVATE KEY-----\n{body}");
    assert_eq!(kinds(&in_file("x", broken_off.as_bytes())), ["private key"]);
    for none in ["begin = '-----BEGIN PRIVATE KEY-----'\nend = '-----END PRIVATE KEY-----'", &pem("CERTIFICATE", &body)]
    {
        assert_eq!(in_file("x.py", none.as_bytes()), []);
    }
}

#[test]
fn examples_of_the_issuers_and_words_that_look_alike_are_none() {
    for none in
        ["AKIAIOSFODNN7EXAMPLE", "npm_config_prefix", "hf_hub_download", "notghp_", "eyJust.a.word", "xoxb-short"]
    {
        assert_eq!(in_text(none), [], "{none}");
    }
    assert_eq!(kinds(&in_text("AWS=AKIAABCDEFGHIJKLMNOP")), ["AWS access key"]);
}

#[test]
fn a_file_is_looked_at_as_its_name_says() {
    let docker = br#"{"auths":{"quay.io":{"auth":"bWU6aHVudGVyMg=="}}}"#;
    let cases: [(&str, &[u8], &[&str]); 11] = [
        ("root/.netrc", b"machine a login b password c", &["login in a .netrc file"]),
        ("root/.netrc", b"machine a login b", &[]),
        ("root/.docker/config.json", docker, &["registry login"]),
        ("root/.docker/config.json", br#"{"credHelpers":{"a":"b"}}"#, &[]),
        ("srv/config.json", docker, &[]),
        ("root/.npmrc", b"//r.example.org/:_authToken=abc", &["login of a package index or a cloud"]),
        ("root/.npmrc", b"//r.example.org/:_authToken=${TOKEN}", &[]),
        ("etc/pip.conf", b"index-url = https://me:hunter2@pypi.example.org/simple", &["password in a URL"]),
        ("etc/pip.conf", b"index-url = https://pypi.example.org/simple", &[]),
        ("opt/conda/.condarc", b"- https://c.example.org/t/ab-12345678/x", &["token in the URL of a channel"]),
        ("usr/share/doc/x.md", b"https://me:hunter2@example.org", &[]),
    ];
    for (path, content, expected) in cases {
        assert_eq!(kinds(&in_file(path, content)), expected, "{path}");
    }
}

#[test]
fn binary_files_and_hostile_texts_cost_one_pass() {
    let binary = [b"\0\0".as_slice(), github().as_bytes()].concat();
    assert_eq!(in_file("x", &binary), []);
    let started = std::time::Instant::now();
    for text in ["eyJ.".repeat(250_000), "-----BEGIN ".repeat(90_000), "ghp_".repeat(250_000), "://a:".repeat(200_000)]
    {
        in_text(&text);
        in_file("etc/pip.conf", text.as_bytes());
    }
    assert!(started.elapsed().as_secs() < 20, "{:?}", started.elapsed());
    let many = format!("{}\n", github()).repeat(1_000);
    assert_eq!(in_text(&many).len(), MOST);
    assert_eq!(kinds(&in_file("x", &[b"\xff\xfe ", github().as_bytes()].concat())), ["GitHub token"]);
}
