//! Users, modes and who may do what.

use super::*;

#[test]
fn users() {
    let user = |user: &str| {
        let passwd = "root:x:0:0::/root:/bin/sh\ntoor:x:0:0::/:/bin/sh\njovyan:x:1000:100::/home:/bin/sh\n";
        with(Tar::default().file("etc/passwd", 0o644, passwd)).config("User", json!(user))
    };
    for root in ["", "0", "0:0", "root", "root:users", "00"] {
        assert_eq!(generic(user(root), user::user), ["root fail", "numeric not-applicable"], "{root:?}");
    }
    assert_eq!(generic(user("1000:100"), user::user), ["root pass", "numeric pass"]);
    assert_eq!(generic(user("jovyan"), user::user), ["root pass", "numeric fail"]);
    assert_eq!(generic(user("toor"), user::user), ["root fail", "numeric fail"]);
    assert_eq!(generic(user("nobody-knows"), user::user), ["root fail", "numeric fail"]);
    for line in [" jovyan:x:0:0::/:/bin/sh", "jovyan:x:many:0::/:/bin/sh", "jovyan"] {
        let passwd = format!("{line}\njovyan:x:1000:100::/home:/bin/sh\n");
        let image = with(Tar::default().file("etc/passwd", 0o644, passwd)).config("User", json!("jovyan"));
        assert_eq!(generic(image, user::user)[0], "root fail", "runtimes take '{line}' for root");
    }
    let unread = user("jovyan").unread();
    assert_eq!(told(&answers(&unread, user::user, &wanted(Kind::Generic))), ["root unknown", "numeric fail"]);
}

#[test]
fn accounts() {
    let accounts = |passwd: &str, shadow: &str| {
        generic(
            with(Tar::default().file("etc/passwd", 0o644, passwd).file("etc/shadow", 0o640, shadow)),
            user::accounts,
        )
    };
    assert_eq!(accounts("root:x:0:0::/:/bin/sh\n", "root:*:1:0:\nme:!:1:0:\n"), ["pass"]);
    assert_eq!(accounts("root:x:0:0::/:/bin/sh\n", "me::1:0:\n"), ["fail"]);
    assert_eq!(accounts("root:x:0:0::/:\nadmin:x:0:0::/:\n", ""), ["fail"]);
    assert_eq!(accounts("root::0:0::/:/bin/sh\n", ""), ["fail"]);
    assert_eq!(accounts("root:x:0:0::/:\nodd:x:12a:0::/:\n", ""), ["fail"]);
    assert_eq!(generic(with(Tar::default().link("etc/passwd", "/run/passwd")), user::accounts), ["unknown"]);
    let large = with(Tar::default().file("etc/shadow", 0o640, vec![b'x'; 5 << 20]));
    assert_eq!(generic(large, user::accounts), ["unknown"]);
}

#[test]
fn programs_with_more_rights() {
    let files = |tar: Tar| generic(with(tar), user::setuid);
    assert_eq!(files(Tar::default().file("usr/bin/su", 0o4755, "")), ["own pass", "distribution fail"]);
    assert_eq!(files(Tar::default().file("usr/local/bin/su", 0o4755, "")), ["own fail", "distribution pass"]);
    assert_eq!(
        files(Tar::default().raw((b'0', b"usr/bin/su"), (0o4755, 1000), b"", b"")),
        ["own fail", "distribution pass"]
    );
    assert_eq!(files(Tar::default().file("opt/x", 0o2755, "")), ["own fail", "distribution pass"]);
    let capable = Tar::default().pax(&[("SCHILY.xattr.security.capability", "\u{1}")]).file("opt/x", 0o755, "");
    assert_eq!(files(capable), ["own fail", "distribution pass"]);
    assert_eq!(files(Tar::default().folder("var/mail", 0o2775)), ["own pass", "distribution pass"]);
    let gone =
        with(Tar::default().file("opt/x", 0o4755, "")).layer("RUN rm", Tar::default().file("opt/.wh.x", 0o600, ""));
    assert_eq!(generic(gone, user::setuid), ["own pass", "distribution pass"]);
}

#[test]
fn what_everybody_can_write() {
    let files = |tar: Tar| generic(with(tar), user::writable);
    assert_eq!(files(Tar::default().folder("tmp", 0o1777).file("a", 0o664, "").link("b", "a")), ["pass"]);
    assert_eq!(files(Tar::default().folder("tmp", 0o777)), ["fail"]);
    assert_eq!(files(Tar::default().file("opt/x", 0o666, "")), ["fail"]);
    assert_eq!(files(Tar::default().raw((b'0', b"dev/null"), (0o666, 0), b"", b"")), ["pass"]);
}

#[test]
fn home_and_access() {
    assert_eq!(lab(with(Tar::default().file("home/jovyan/.bashrc", 0o644, "")), user::home), ["pass"]);
    assert_eq!(lab(with(Tar::default().file("home/jovyan/notes/x.ipynb", 0o644, "")), user::home), ["fail"]);
    assert_eq!(generic(with(Tar::default().file("home/me/x", 0o644, "")), user::home), ["not-applicable"]);
    let closed = |mode| {
        let files = Tar::default().folder("usr/bin", 0o755).file("usr/bin/jupyterhub-singleuser", mode, "");
        lab(with(files), user::access)
    };
    assert_eq!((closed(0o755), closed(0o750)), (vec!["pass".to_owned()], vec!["fail".to_owned()]));
}
