use jiff::Timestamp;

use super::*;
use crate::sops::{Document, Error, Plain, Random, Recipe, Selection, public_key_of};
use portreeve_reports::Verdict;

const CANARY: &str = "canary-3f1d";

struct Counting(u8);

impl Random for Counting {
    fn fill(&mut self, bytes: &mut [u8]) -> Result<(), Error> {
        self.0 += 1;
        bytes.fill(self.0);
        Ok(())
    }
}

fn identity() -> String {
    use age::secrecy::ExposeSecret as _;
    age::x25519::Identity::generate().to_string().expose_secret().to_owned()
}

fn identities(identity: &str) -> Identities {
    let mut identities = Identities::default();
    identities.add(identity, "test").unwrap();
    identities
}

/// A manifest of a Secret, encrypted and opened again.
fn secret(identity: &str, text: &str) -> KubernetesSecret {
    let recipe =
        Recipe { recipients: vec![public_key_of(identity).unwrap()], selection: Selection::new(None, false).unwrap() };
    let plain = Plain::read(text.as_bytes()).unwrap();
    let document = Document::encrypt(&plain, &recipe, Timestamp::UNIX_EPOCH, &mut Counting(0)).unwrap();
    let plain = document.decrypt(&identities(identity)).unwrap();
    document.kubernetes_secret(&plain, None).unwrap()
}

fn text(password: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Secret\nmetadata: {{name: hub, namespace: jhub, labels: {{team: a}}}}\nstringData:\n  \
         password: {password}\n"
    )
}

fn declared(identity: &str, cluster: &str, password: &str) -> Declared {
    Declared::new(secret(identity, &text(password)), &identities(identity), cluster).unwrap()
}

#[test]
fn the_annotation_tells_nothing_without_the_identity_and_stays_the_same_for_the_same_content() {
    let (one, other) = (identity(), identity());
    let content = declared(&one, "a", CANARY).content().to_owned();
    assert_eq!(content.len(), 64);
    assert_eq!(content, declared(&one, "a", CANARY).content(), "a rotation changes the file and not the annotation");
    assert_ne!(content, declared(&other, "a", CANARY).content());
    assert_ne!(content, declared(&one, "b", CANARY).content());
    assert_ne!(content, declared(&one, "a", "else").content());
    assert!(Declared::new(secret(&one, &text(CANARY)), &Identities::default(), "a").is_none());
}

#[test]
fn what_differs_is_named_by_its_field_and_never_by_its_value() {
    let key = identity();
    let declared = declared(&key, "a", CANARY);
    let same = declared.manifest();
    assert_eq!(declared.state(None, false), State::Missing);
    assert_eq!(declared.state(Some(&same), true), State::Same);
    assert_eq!(declared.state(Some(&same), false), State::Adoptable);
    let changed = |change: &dyn Fn(&mut Value)| {
        let mut live = same.clone();
        change(&mut live);
        live
    };
    let differs = |live: &Value| match declared.state(Some(live), true) {
        State::Differs(difference) => difference,
        other => unreachable!("{other:?}"),
    };
    let other = changed(&|live| live["data"]["password"] = json!(STANDARD.encode("x")));
    assert_eq!(differs(&other).fields, ["data.password"]);
    assert_eq!(declared.state(Some(&other), false), State::Foreign);
    let extra = differs(&changed(&|live| live["data"]["more"] = json!("")));
    assert_eq!((extra.fields, extra.extra), (vec!["data.more".to_owned()], vec!["more".to_owned()]));
    assert_eq!(
        differs(&changed(&|live| live["metadata"]["labels"]["team"] = json!("b"))).fields,
        ["metadata.labels.team"]
    );
    assert_eq!(differs(&changed(&|live| live["metadata"]["annotations"] = json!({}))).origin, Origin::Cluster);
    assert_eq!(differs(&changed(&|live| live["metadata"]["annotations"][CONTENT] = json!("old"))).origin, Origin::File);
    let theirs = changed(&|live| live["metadata"]["labels"]["theirs"] = json!("x"));
    assert_eq!(declared.state(Some(&theirs), true), State::Same, "labels of others are theirs");
    let typed = changed(&|live| live["type"] = json!("kubernetes.io/tls"));
    assert_eq!(declared.state(Some(&typed), true), State::OtherType("kubernetes.io/tls".to_owned()));
    let mut fixed = other;
    fixed["immutable"] = json!(true);
    assert_eq!(declared.state(Some(&fixed), true), State::Immutable);
    let component = changed(&|live| live["metadata"]["labels"][COMPONENT] = json!("app"));
    assert_eq!(declared.state(Some(&component), true), State::Adoptable, "what a platform applies is not ours");
}

#[test]
fn every_state_has_its_findings_and_none_says_a_value() {
    let key = identity();
    let declared = declared(&key, "a", CANARY);
    let mut live = declared.manifest();
    live["data"]["password"] = json!(STANDARD.encode("live-canary"));
    let drifted = declared.state(Some(&live), true);
    let told = |kept: Kept<'_>| {
        let findings = secret_findings(declared.target(), "hub.yaml", &kept).unwrap();
        let open = findings.iter().filter(|finding| finding.verdict.is_open());
        for finding in &findings {
            assert!(!finding.message.contains("canary"), "{}", finding.message);
        }
        open.map(|finding| finding.code.to_string()).collect::<Vec<_>>()
    };
    let (same, missing, foreign) = (State::Same, State::Missing, State::Foreign);
    assert_eq!(told(Kept::Seen(&same)), [""; 0]);
    assert_eq!(told(Kept::Seen(&drifted)), ["PR-3008"]);
    assert_eq!(told(Kept::Written(&drifted)), [""; 0]);
    assert_eq!(told(Kept::Seen(&foreign)), ["PR-3009"]);
    assert_eq!(told(Kept::Seen(&State::Immutable)), ["PR-3010"]);
    assert_eq!(told(Kept::Seen(&State::OtherType("x".to_owned()))), ["PR-3010"]);
    assert_eq!(told(Kept::Refused(Some(&missing), "refused".to_owned())), ["PR-3008", "PR-3011"]);
    assert_eq!(told(Kept::Unknown(portreeve_reports::Cause::TimedOut, "no answer".to_owned())), ["PR-3011"]);
    assert_eq!(told(Kept::Stalled(&drifted)), ["PR-3008", "PR-3012"]);
    let passed = secret_findings(declared.target(), "hub.yaml", &Kept::Seen(&same)).unwrap();
    assert_eq!(passed.len(), 5, "each question passes again when it is mended");
    assert!(passed.iter().all(|finding| finding.verdict == Verdict::Pass));
    assert!(readable("hub.yaml", Some("gone")).unwrap().verdict.is_open());
}
