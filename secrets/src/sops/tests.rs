//! Documents without the real sops: what the daemon relies on.

use std::fmt::Write as _;

use age::secrecy::ExposeSecret as _;
use jiff::Timestamp;
use portreeve_reports::{Code, Verdict};

use super::*;

/// Bytes that are as good as random for a test, and the same each time.
struct Counter(u8);

impl Random for Counter {
    fn fill(&mut self, bytes: &mut [u8]) -> Result<(), Error> {
        for byte in bytes {
            self.0 = self.0.wrapping_mul(5).wrapping_add(7);
            *byte = self.0;
        }
        Ok(())
    }
}

fn now() -> Timestamp {
    "2026-01-31T12:00:00.5Z".parse().unwrap()
}

fn identities() -> Identities {
    let mut identities = Identities::default();
    identities.add(age::x25519::Identity::generate().to_string().expose_secret(), "test").unwrap();
    identities
}

fn encrypted(text: &str, identities: &Identities, rule: Option<Rule>, mac_only: bool) -> Document {
    let selection = Selection::new(rule, mac_only).unwrap();
    let recipe = Recipe { recipients: identities.recipients(), selection };
    Document::encrypt(&Plain::read(text.as_bytes()).unwrap(), &recipe, now(), &mut Counter(1)).unwrap()
}

/// Written and read again.
fn reread(document: &Document) -> Document {
    Document::read(&document.to_yaml().unwrap()).unwrap()
}

fn text(secret: &SecretBytes) -> String {
    String::from_utf8(secret.expose().to_vec()).unwrap()
}

const SECRET: &str = "\
apiVersion: v1
kind: Secret
metadata: {name: hub, namespace: jhub, labels: {app: hub}}
type: Opaque
immutable: true
stringData: {token: swordfish, both: wins}
data: {raw: AAH/, both: bG9zZXM=}
";

fn data_rule() -> Option<Rule> {
    Some(Rule::EncryptedRegex("^(data|stringData)$".to_owned()))
}

#[test]
fn a_manifest_becomes_the_secret_that_it_says_it_is() {
    let identities = identities();
    let document = reread(&encrypted(SECRET, &identities, data_rule(), false));
    let plain = document.decrypt(&identities).unwrap();
    let secret = document.kubernetes_secret(&plain, None).unwrap();
    assert_eq!(secret.target, Target { namespace: "jhub".to_owned(), name: "hub".to_owned() });
    assert_eq!((secret.kind.as_str(), secret.immutable), ("Opaque", Some(true)));
    assert_eq!(secret.labels, [("app".to_owned(), "hub".to_owned())]);
    let data: Vec<_> = secret.data.iter().map(|(key, value)| (key.as_str(), value.expose())).collect();
    assert_eq!(data, [("token", &b"swordfish"[..]), ("both", b"wins"), ("raw", &[0, 1, 255])]);
}

#[test]
fn a_manifest_is_refused_for_another_target_or_with_its_name_unprotected() {
    let identities = identities();
    let refused = |text: &str, mac_only, target: Option<&Target>| {
        let document = encrypted(text, &identities, data_rule(), mac_only);
        let plain = document.decrypt(&identities).unwrap();
        document.kubernetes_secret(&plain, target).err().unwrap().to_string()
    };
    let other = Target { namespace: "prod".to_owned(), name: "hub".to_owned() };
    assert!(refused(SECRET, false, Some(&other)).contains("is for jhub/hub, the configuration says prod/hub"));
    assert!(refused(SECRET, true, None).contains("mac_only_encrypted"));
    assert!(refused(&SECRET.replace(", namespace: jhub", ""), false, None).contains("must both be written"));
    assert!(refused(&SECRET.replace("kind: Secret", "kind: ConfigMap"), false, None).contains("not a manifest"));
    assert!(refused(&SECRET.replace("AAH/", "'*swordfish*'"), false, None).contains("'raw' is not base64"));
    assert!(!refused(&SECRET.replace("AAH/", "'*swordfish*'"), false, None).contains("swordfish"));
    assert!(refused(&SECRET.replace("swordfish", "12"), false, None).contains("'token' is an integer, not text"));
    assert!(refused(&format!("{SECRET}spec: {{}}\n"), false, None).contains("has no field 'spec'"));
    assert!(refused("a: 1\n---\nb: 2\n", false, None).contains("more than one document"));
}

#[test]
fn a_plain_map_goes_where_the_configuration_says_and_nowhere_without_it() {
    let identities = identities();
    let document = encrypted("token: swordfish\nempty: ''\n", &identities, None, false);
    let plain = document.decrypt(&identities).unwrap();
    assert!(document.kubernetes_secret(&plain, None).err().unwrap().to_string().contains("has no target"));
    let target = Target { namespace: "jhub".to_owned(), name: "hub".to_owned() };
    let secret = document.kubernetes_secret(&plain, Some(&target)).unwrap();
    assert_eq!(secret.target, target);
    assert_eq!(secret.data.len(), 2);
    let nested = encrypted("a: {b: c}\n", &identities, None, false);
    let plain = nested.decrypt(&identities).unwrap();
    assert!(nested.kubernetes_secret(&plain, Some(&target)).is_err());
    let odd = encrypted("a/b: c\n", &identities, None, false);
    assert!(odd.kubernetes_secret(&odd.decrypt(&identities).unwrap(), Some(&target)).is_err());
}

#[test]
fn a_plain_map_whose_clear_values_no_mac_covers_is_no_secret() {
    let identities = identities();
    let rule = || Some(Rule::EncryptedRegex("pass".to_owned()));
    let file = encrypted("user: clear\ndata_pass: x\n", &identities, rule(), true).to_yaml().unwrap();
    let tampered = String::from_utf8(file).unwrap().replace("user: clear", "user: other");
    let document = Document::read(tampered.as_bytes()).unwrap();
    let plain = document.decrypt(&identities).unwrap();
    let target = Target { namespace: "jhub".to_owned(), name: "hub".to_owned() };
    let said = document.kubernetes_secret(&plain, Some(&target)).err().unwrap().to_string();
    assert!(said.contains("mac_only_encrypted leaves clear values"), "{said}");
    let facts = Facts { file: "a.yaml", document: &document, checked: Checked::Whole, rule: None };
    let whole = findings(&facts).unwrap().remove(0);
    assert!(whole.message.contains("says nothing of clear values"), "{}", whole.message);
}

#[test]
fn any_changed_character_of_a_ciphertext_is_refused() {
    let identities = identities();
    let file =
        String::from_utf8(encrypted("a: xy\nb: [1, true]\n", &identities, None, false).to_yaml().unwrap()).unwrap();
    let mut tried = 0;
    for (start, _) in file.match_indices("ENC[") {
        let end = start + file[start..].find(",type:").unwrap();
        for at in (start + 4..end).step_by(7) {
            let letter = if file.as_bytes()[at] == b'C' { 'D' } else { 'C' };
            let changed = format!("{}{letter}{}", &file[..at], &file[at + 1..]);
            let opened = Document::read(changed.as_bytes()).and_then(|document| document.decrypt(&identities));
            // The last character of base64 may have bits that mean nothing.
            let same = opened.as_ref().is_ok_and(|plain| text(&plain.to_yaml().unwrap()).starts_with("a: xy\n"));
            assert!(opened.is_err() || (same && file.as_bytes()[at + 1] == b'='), "byte {at}");
            tried += 1;
        }
    }
    assert!(tried > 50, "{tried}");
}

#[test]
fn a_value_cannot_leave_the_mac_by_calling_itself_a_comment() {
    let identities = identities();
    let file = String::from_utf8(encrypted("a: xy\nb: [1, 2]\n", &identities, None, false).to_yaml().unwrap()).unwrap();
    for (from, to) in [("type:str]\nb", "type:comment]\nb"), ("type:int]", "type:comment]")] {
        let document = Document::read(file.replacen(from, to, 1).as_bytes()).unwrap();
        assert_eq!(document.decrypt(&identities).err().unwrap().kind, Kind::MacMismatch, "{to}");
    }
}

#[test]
fn values_that_stay_keep_their_ciphertext_and_others_do_not() {
    let identities = identities();
    let document = encrypted("a: one\nb: two\nl: [same, same]\n", &identities, None, false);
    let opened = document.open(&identities).unwrap();
    let edited = Plain::read(b"a: one\nb: three\nl: [same, same, same]\n").unwrap();
    let sealed = opened.seal(&edited, now(), &mut Counter(9)).unwrap();
    let lines = |document: &Document| String::from_utf8(document.to_yaml().unwrap()).unwrap();
    let (before, after) = (lines(&document), lines(&sealed));
    let line = |file: &str, start: &str| file.lines().find(|line| line.starts_with(start)).unwrap().to_owned();
    assert_eq!(line(&before, "a:"), line(&after, "a:"));
    assert_ne!(line(&before, "b:"), line(&after, "b:"));
    let items: std::collections::HashSet<_> = after.lines().filter(|line| line.starts_with("    - ENC")).collect();
    assert_eq!(items.len(), 3, "equal items have ciphertexts of their own");
    assert_eq!(sealed.last_modified(), "2026-01-31T12:00:00Z");
}

#[test]
fn creation_rules_tell_all_their_mistakes_at_once() {
    let said = CreationRules::read(
        b"creation_rules:\n  - path_regx: a\n  - path_regex: '('\n  - age: age1x\n  - {encrypted_regex: a, encrypted_suffix: b}\nstores: {yaml: {indent: 2}}\n",
        ".sops.yaml",
    );
    insta::assert_snapshot!(said.unwrap_err().to_string(), @r"
    .sops.yaml:2:5: unknown key 'creation_rules[0].path_regx'; did you mean 'path_regex'?
    .sops.yaml:3:17: 'creation_rules[1].path_regex': not a regular expression
    .sops.yaml:4:10: 'age': 'age1x' is not an age recipient: those read age1…
    .sops.yaml:5:5: more than one of the encrypted_… and unencrypted_… rules
    .sops.yaml:6:25: 'stores.yaml.indent' other than 4 is not supported yet
    ");
}

/// The verdicts of a document, by code.
fn verdicts(facts: &Facts<'_>) -> String {
    let mut said = String::new();
    for finding in findings(facts).unwrap() {
        writeln!(said, "{} {:?}", finding.code, finding.verdict).unwrap();
    }
    said
}

#[test]
fn findings_answer_every_question_about_a_file() {
    let identities = identities();
    let document = encrypted(SECRET, &identities, data_rule(), true);
    let file = String::from_utf8(document.to_yaml().unwrap()).unwrap();
    let broken = Document::read(file.replacen("type:str]", "type:str] rest", 1).as_bytes()).unwrap();
    let rules = CreationRules::read(b"creation_rules: [{}]\n", ".sops.yaml").unwrap();
    let stranger = Identities::default();
    let error = broken.decrypt(&stranger).err().unwrap();
    let facts =
        Facts { file: "a.yaml", document: &broken, checked: Checked::Failed(&error), rule: rules.for_path("a.yaml") };
    insta::assert_snapshot!(verdicts(&facts), @r"
    PR-3001 Unknown
    PR-3002 Fail
    PR-3003 Fail
    PR-3004 Fail
    PR-3005 Fail
    ");
    let whole = encrypted("a: 1\n", &identities, None, false);
    let facts = Facts { file: "a.yaml", document: &whole, checked: Checked::Whole, rule: None };
    let kinds: Vec<Verdict> = findings(&facts).unwrap().iter().map(|finding| finding.verdict).collect();
    use Verdict::{NotApplicable, Pass};
    assert_eq!(kinds, [Pass, Pass, NotApplicable, Pass, NotApplicable]);
}

#[test]
fn the_closed_list_of_codes_is_unique_parses_and_is_reviewed_when_it_changes() {
    let list: Vec<String> =
        CODES.iter().map(|entry| format!("{} {} {}", entry.code, entry.severity, entry.title)).collect();
    insta::assert_snapshot!(list.join("\n"), @r"
    PR-3001 critical encrypted file is whole
    PR-3002 high encrypted file opens with the keys at hand
    PR-3003 high name and namespace of an encrypted Secret are protected
    PR-3004 medium encrypted values end with their bracket
    PR-3005 high recipients are those of the creation rule
    PR-3013 high Secrets that .sops.yaml says to encrypt are encrypted
    ");
    for entry in CODES {
        assert_eq!(Code::parse(entry.code).unwrap(), entry.code());
    }
}

#[test]
fn a_manifest_has_a_kind_however_it_is_written_and_one_that_is_encrypted_is_hidden() {
    let identities = identities();
    let about = |text: &str, rule| {
        let document = encrypted(text, &identities, rule, false);
        (document.is_manifest(), document.hides_kind(), document.decrypt(&identities).unwrap().is_of_secrets())
    };
    let pod = SECRET.replace("kind: Secret", "kind: Pod");
    assert_eq!(about(SECRET, data_rule()), (true, false, true));
    assert_eq!(about(SECRET, None), (true, true, true));
    assert_eq!(about(&pod, data_rule()), (true, false, false));
    assert_eq!(about(&pod, None), (true, true, false));
    assert_eq!(about(&format!("{SECRET}---\n{pod}"), None), (true, true, false));
    assert_eq!(about(&SECRET.replace("v1", "v2"), None), (true, true, false));
    assert_eq!(about("a: kind\n", None), (false, false, true));
    assert_eq!(about(&format!("<<: {{a: b}}\n{SECRET}"), None), (true, true, false));
    assert_eq!(about("<<: {kind: Pod}\na: b\n", None), (true, false, false));
    assert_eq!(about("kind: {a: b}\n", None), (true, false, false));
    let kind_alone = Some(Rule::EncryptedRegex("^kind$".to_owned()));
    assert_eq!(about(&pod, kind_alone), (true, true, false));
}

#[test]
fn a_secret_in_clear_is_one_whose_rule_encrypts_a_value_that_it_has() {
    let secret = |text: &str| {
        let node =
            portreeve_reports::source::yaml::read(text.as_bytes(), &portreeve_reports::source::Limits::default());
        ClearSecret::of("d/s".to_owned(), &node.into_iter().next().unwrap().unwrap())
    };
    let sealed = "kind: Secret\ndata: {a: 'ENC[AES256_GCM,data:x,type:str]', b: ''}\nstringData: {c: null}\n";
    assert!(secret(sealed).is_none() && secret("kind: Secret\n").is_none());
    let verdict = |text: &str, rule: &str| {
        let rules = CreationRules::read(format!("creation_rules: [{rule}]\n").as_bytes(), ".sops.yaml").unwrap();
        let finding = secrets_sealed("a.yaml", &[secret(text).unwrap()], rules.for_path("a.yaml").unwrap()).unwrap();
        assert!(!finding.message.contains("hunter2"), "{}", finding.message);
        finding.verdict
    };
    for clear in ["data: {a: hunter2}\n", "stringData: {a: hunter2, b: 'ENC[AES256_GCM,data:x]'}\n", "data: {a: 1}\n"] {
        assert_eq!(verdict(clear, "{}"), Verdict::Fail);
        assert_eq!(verdict(clear, "{encrypted_regex: ^(data|stringData)$}"), Verdict::Fail);
        assert_eq!(verdict(clear, "{encrypted_regex: ^password$}"), Verdict::Pass);
        // Whether a comment says so is not read.
        assert_eq!(verdict(clear, "{encrypted_comment_regex: sops}"), Verdict::Unknown);
        assert_eq!(verdict(clear, "{unencrypted_comment_regex: clear}"), Verdict::Unknown);
    }
    assert_eq!(verdict("stringData: {host_unencrypted: a}\n", "{}"), Verdict::Pass);
}
