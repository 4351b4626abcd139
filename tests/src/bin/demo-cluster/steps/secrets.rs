//! A secret in a file.

use portreeve_tests::binary::Portreeve;
use portreeve_tests::parts::Part;
use portreeve_tests::process::run;
use portreeve_tests::{OrFail as _, fail};
use std::process::Command;

use crate::play::Play;
use crate::teller::Teller;

const FILE: &str = "secrets/db.yaml";

/// Encrypted, and encrypted anew under another key with the same value.
pub(crate) async fn rotated(play: &Play, teller: &mut Teller) {
    teller.head("A secret is kept in a file, and its key is rotated");
    let identity = play.stage.daemon.folder().join("age.key");
    let recipient = run(Command::new(Part::path("age-keygen")).arg("-y").arg(identity));
    play.write(".sops.yaml", &format!("creation_rules: [{{path_regex: secrets/, age: [{}]}}]\n", recipient.trim()));
    play.write(FILE, "username: shop\npassword: correct-horse\n");
    play.done(teller, &["secrets", "encrypt", "--in-place", FILE]);
    let before = play.read(FILE);
    teller.answer(&head(&before));
    let value = plaintext(play);
    play.done(teller, &["secrets", "rotate", FILE]);
    let after = play.read(FILE);
    teller.answer(&head(&after));
    let is_new = stanza(&before) != stanza(&after) && head(&before) != head(&after);
    if !is_new || plaintext(play) != value {
        fail("a rotation changes the data key and not the values");
    }
    teller.outcome("another data key, the same values (compared, not shown)");
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
fn head(file: &str) -> String {
    file.lines().filter(|line| line.contains(": ENC[") && !line.starts_with(' ')).collect::<Vec<_>>().join("\n")
}

/// The data key as it is encrypted for the recipient.
fn stanza(file: &str) -> &str {
    let begun = file.find("-----BEGIN AGE").or_fail("an encrypted data key");
    let ended = file.find("-----END AGE").or_fail("an encrypted data key");
    file.get(begun..ended).unwrap_or_default()
}
