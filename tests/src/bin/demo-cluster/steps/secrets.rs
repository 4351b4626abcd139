//! A secret in a file, and in the cluster.

use std::time::Instant;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use portreeve_tests::binary::Portreeve;
use portreeve_tests::process::START;
use portreeve_tests::{OrFail as _, fail};
use serde_json::{Value, json};

use crate::play::Play;
use crate::site::SHOP;
use crate::steps::text;
use crate::teller::{Teller, seconds};

const FILE: &str = "secrets/db.yaml";
const SECRET: &str = "/api/v1/namespaces/shop/secrets/db";
/// The value of before and after: of the demo, and shown nowhere.
const PASSWORDS: [&str; 2] = ["correct-horse", "battery-staple"];

/// Encrypted, kept in the cluster, its key rotated, its value changed.
pub(crate) async fn kept(play: &mut Play, teller: &mut Teller) {
    teller.head("A secret is kept like its file, its key is rotated, its value changes");
    let recipient = &play.key.recipient;
    play.write(".sops.yaml", &format!("creation_rules: [{{path_regex: secrets/, age: [{recipient}]}}]\n"));
    play.write(FILE, &format!("username: shop\npassword: {}\n", PASSWORDS[0]));
    play.done(teller, &["secrets", "encrypt", "--in-place", FILE]);
    teller.answer(&values(&play.read(FILE)));
    declare(play, teller).await;
    let made = holding(play, PASSWORDS[0]).await;
    shown(teller, &made);

    rotate(play, teller);

    let (from, to) = (PASSWORDS[0], PASSWORDS[1]);
    teller.act(&format!("EDITOR=… portreeve secrets edit {FILE}        # another password"));
    let mut edit = play.command(&["secrets", "edit", FILE]);
    let since = Instant::now();
    let output = Portreeve::finish(edit.env("EDITOR", format!("sed -i s/{from}/{to}/")));
    if output.code != Some(0) {
        fail(format!("the edit ended with {:?}: {}", output.code, output.stderr));
    }
    let followed = holding(play, to).await;
    let took = seconds(since.elapsed());
    shown(teller, &followed);
    if content(&made) == content(&followed) {
        fail("the Secret is written when its file changes");
    }
    teller.outcome(&format!("the Secret followed {took} after the edit; no value was shown"));
}

/// The configuration names the file; it is read at the start.
async fn declare(play: &mut Play, teller: &Teller) {
    let item = json!({"file": FILE, "namespace": SHOP, "name": "db"});
    teller.say("The configuration names the file, and the daemon starts anew:");
    teller.answer(&format!("secrets: {{sync: [{{file: {FILE}, namespace: {SHOP}, name: db}}]}}"));
    play.stage.config["secrets"]["sync"] = json!([item]);
    play.stage.config["secrets"]["interval"] = "1s".into();
    let daemon = &mut play.stage.daemon;
    daemon.configure(&play.stage.config);
    daemon.process().signal("TERM");
    daemon.process().ended(START).await;
    daemon.start().await;
}

/// Another data key, the same values; the Secret stays as it is.
fn rotate(play: &Play, teller: &Teller) {
    let (before, value) = (play.read(FILE), plaintext(play));
    play.done(teller, &["secrets", "rotate", FILE]);
    let after = play.read(FILE);
    teller.answer(&values(&after));
    if stanza(&before) == stanza(&after) || values(&before) == values(&after) || plaintext(play) != value {
        fail("a rotation changes the data key and not the values");
    }
    teller.say("Another data key, the same values (compared, not shown)");
}

/// The live Secret, as soon as its password is this one.
async fn holding(play: &Play, password: &str) -> Value {
    let wanted = STANDARD.encode(password);
    let probe = |live: &Value| (text(live, "/data/password") == wanted).then(|| live.clone());
    play.api().wait_for(SECRET, "the password of the file", probe).await
}

/// The Secret without its values.
fn shown(teller: &Teller, live: &Value) {
    teller.act(&format!("GET {SECRET}"));
    let keys: Vec<&String> = live["data"].as_object().into_iter().flatten().map(|(key, _)| key).collect();
    let manager = text(live, "/metadata/managedFields/0/manager");
    teller.answer(&format!("{SHOP}/db  keys {keys:?}  content {}  by {manager}", content(live)));
}

/// What stands for the content: the start of the HMAC that Portreeve leaves at the Secret.
fn content(live: &Value) -> &str {
    let hmac = live["metadata"]["annotations"]["portreeve.dev/content"].as_str().unwrap_or_default();
    hmac.get(..12).unwrap_or(hmac)
}

/// What the file says once it is decrypted.
fn plaintext(play: &Play) -> String {
    let output = Portreeve::finish(&mut play.command(&["secrets", "decrypt", FILE]));
    if output.code != Some(0) {
        fail(format!("{FILE} decrypts: {}", output.stderr));
    }
    output.stdout
}

/// The encrypted values.
fn values(file: &str) -> String {
    file.lines().filter(|line| line.contains(": ENC[") && !line.starts_with(' ')).collect::<Vec<_>>().join("\n")
}

/// The data key as it is encrypted for the recipient.
fn stanza(file: &str) -> &str {
    let begun = file.find("-----BEGIN AGE").or_fail("an encrypted data key");
    let ended = file.find("-----END AGE").or_fail("an encrypted data key");
    file.get(begun..ended).unwrap_or_default()
}
