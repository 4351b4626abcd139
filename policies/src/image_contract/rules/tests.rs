use portreeve_reports::{Severity, Subject, Verdict};
use serde_json::json;

use super::super::findings;
use super::super::testing::{Image, all, answers, told, wanted};
use super::*;
use crate::layers::testing::Tar;

fn with(files: Tar) -> Image {
    Image::new().layer("RUN make files", files)
}

fn generic(image: Image, rule: Rule) -> Vec<String> {
    image.asked(rule, Kind::Generic)
}

fn lab(image: Image, rule: Rule) -> Vec<String> {
    image.asked(rule, Kind::Jupyterlab)
}

const SITE: &str = "opt/conda/envs/default/lib/python3.12/site-packages";

/// What a server's image has that is as it should be.
fn good_lab() -> Image {
    let package = |tar: Tar, name: &str| tar.file(&format!("{SITE}/{name}.dist-info/METADATA"), 0o644, "Name: x\n");
    let tools = ["sh", "bash", "ln", "printf", "mkdir"];
    let system = tools
        .iter()
        .fold(Tar::default().link("bin", "usr/bin"), |tar, name| tar.file(&format!("usr/bin/{name}"), 0o755, "ELF"));
    let system = system
        .file("usr/lib/x86_64-linux-gnu/libnss_wrapper.so", 0o644, "ELF")
        .file("etc/passwd", 0o644, "root:x:0:0::/root:/bin/bash\n")
        .file("etc/shadow", 0o640, "root:*:1::::::\n")
        .file("var/lib/dpkg/status", 0o644, "Package: bash\nStatus: install ok installed\nVersion: 5.2\n")
        .folder("tmp/", 0o1777);
    let packages = [
        "jupyterhub-5.3.0",
        "jupyter_server-2.14.1",
        "jupyterlab-4.2.5",
        "nb_conda_kernels-2.5.1",
        "argo_jupyter_scheduler-1.0",
    ];
    let conda = packages.iter().fold(Tar::default(), |tar, name| package(tar, name));
    let conda = conda
        .file("opt/conda/envs/default/bin/jupyterhub-singleuser", 0o755, "#!/opt/conda/envs/default/bin/python\n")
        .file("opt/conda/envs/default/bin/python", 0o755, "ELF");
    Image::new()
        .layer("RUN apt-get install -y bash libnss-wrapper", system)
        .layer("RUN mamba env create", conda)
        .config("Env", json!(["PATH=/opt/conda/envs/default/bin:/usr/bin:/bin"]))
        .config("Cmd", json!(["jupyterhub-singleuser"]))
        .config(
            "Labels",
            json!({
                "org.opencontainers.image.source": "https://example.org/lab",
                "org.opencontainers.image.revision": "abc",
                "org.opencontainers.image.created": "2026-11-01T00:00:00Z",
                "org.opencontainers.image.base.name": "docker.io/library/ubuntu:24.04",
                "org.opencontainers.image.base.digest": format!("sha256:{}", "a".repeat(64)),
            }),
        )
}

fn subject() -> Subject {
    Subject::Image { repository: "quay.io/org/lab".into(), reference: "quay.io/org/lab:1".into(), digest: None }
}

#[test]
fn a_good_image_passes_all_questions() {
    let all = findings(&subject(), &good_lab().contents(), &wanted(Kind::Jupyterlab)).unwrap();
    let bad: Vec<_> = all
        .iter()
        .filter(|f| f.verdict.is_open())
        .map(|f| format!("{} {} {}: {}", f.code, f.check, f.verdict, f.message))
        .collect();
    assert_eq!(bad, [""; 0]);
}

#[test]
fn what_could_not_be_read_is_unknown_for_every_question_about_files_and_passes_none() {
    for kind in Kind::ALL {
        let image = good_lab().unread();
        let all = findings(&subject(), &image, &wanted(kind)).unwrap();
        let of_config = [
            "PR-2003", "PR-2005", "PR-2010", "PR-2022", "PR-2032", "PR-2033", "PR-2040", "PR-2041", "PR-2043",
            "PR-2044", "PR-2045",
        ];
        for finding in all.iter().filter(|finding| finding.verdict == Verdict::Pass) {
            let is_of_config = of_config.contains(&finding.code.as_str())
                || ["form", "layers", "age", "steps", "arguments"].contains(&&*finding.check);
            assert!(is_of_config, "{} {} passes unread: {}", finding.code, finding.check, finding.message);
        }
        assert!(all.iter().any(|f| f.code.as_str() == "PR-2001" && f.verdict == Verdict::Unknown));
    }
    let nothing = super::super::read::unread(crate::layers::Problem::unreadable("no configuration"));
    let all = findings(&subject(), &nothing, &wanted(Kind::Jupyterlab)).unwrap();
    let passes: Vec<_> =
        all.iter().filter(|f| f.verdict == Verdict::Pass).map(|f| format!("{} {}", f.code, f.check)).collect();
    assert_eq!(passes, [""; 0]);
}

#[test]
fn every_code_is_asked_and_no_question_is_asked_twice() {
    let all = findings(&subject(), &good_lab().contents(), &wanted(Kind::Jupyterlab)).unwrap();
    let asked: std::collections::BTreeSet<_> = all.iter().map(|finding| finding.code.to_string()).collect();
    let codes: std::collections::BTreeSet<_> =
        super::super::codes::CODES.iter().map(|entry| entry.code.to_owned()).collect();
    assert_eq!(asked, codes);
    let prints: std::collections::BTreeSet<_> = all.iter().map(|finding| finding.fingerprint.clone()).collect();
    assert_eq!(prints.len(), all.len());
}

#[test]
fn a_finding_names_the_layer_its_digest_and_the_line_that_did_it() {
    let image = with(Tar::default().file("opt/tool", 0o4755, "")).contents();
    let digest = image.layers[0].summary.digest.clone();
    let found = findings(&subject(), &image, &wanted(Kind::Generic)).unwrap();
    let found = found.iter().find(|finding| finding.code.as_str() == "PR-2012" && &*finding.check == "own").unwrap();
    assert_eq!(found.locations[0].object_path, "/opt/tool");
    assert_eq!(found.evidence[0].value, format!("setuid of 0:0, mode 4755; layer 1 {digest}; by: RUN make files"));
}

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
    assert_eq!(lab(with(Tar::default().file("home/jovyan/work/x.ipynb", 0o644, "")), user::home), ["fail"]);
    assert_eq!(generic(with(Tar::default().file("home/me/x", 0o644, "")), user::home), ["not-applicable"]);
    let closed = |mode| {
        let files = Tar::default().folder("usr/bin", 0o755).file("usr/bin/jupyterhub-singleuser", mode, "");
        lab(with(files), user::access)
    };
    assert_eq!((closed(0o755), closed(0o750)), (vec!["pass".to_owned()], vec!["fail".to_owned()]));
}

#[test]
fn commands_and_scripts() {
    let starts = |entrypoint: serde_json::Value, cmd: serde_json::Value, script: &str| {
        let files = Tar::default().file("usr/bin/tini", 0o755, "ELF").file("start.sh", 0o755, script).file(
            "usr/bin/run",
            0o755,
            "ELF",
        );
        generic(with(files).config("Entrypoint", entrypoint).config("Cmd", cmd), start::starts)
    };
    let good = "#!/bin/bash\nset -e\nexec \"$@\"\n";
    let pass = ["form pass", "found pass", "arguments pass"];
    assert_eq!(starts(json!(["tini", "--", "/start.sh"]), json!(["run"]), good), pass);
    assert_eq!(starts(json!(["/start.sh"]), json!(null), "#!/bin/sh\nif true; then exec tini -- \"${@}\"; fi\n"), pass);
    assert_eq!(starts(json!(null), json!(["run", "--x"]), good), pass);
    assert_eq!(starts(json!(["/bin/sh", "-c", "run"]), json!(null), good)[..2], ["form fail", "found fail"]);
    assert_eq!(starts(json!(["/bin/sh", "-c", "exec run"]), json!(null), good)[0], "form pass");
    assert_eq!(starts(json!(["/start.sh"]), json!(null), "#!/bin/sh\n# exec \"$@\"\nrun\n")[2], "arguments fail");
    assert_eq!(starts(json!(["nowhere"]), json!(null), good), ["form pass", "found fail", "arguments not-applicable"]);
    assert_eq!(starts(json!(null), json!(null), good)[1], "found not-applicable");
}

#[test]
fn folders_that_are_searched() {
    let env = |env: serde_json::Value| {
        let files = Tar::default().folder("open", 0o777).folder("usr/bin", 0o755);
        generic(with(files).config("Env", env), start::search_path)
    };
    assert_eq!(env(json!(["PATH=/usr/bin:/nowhere"])), ["folders pass", "preload pass"]);
    for open in ["PATH=.:/usr/bin", "PATH=/usr/bin:", "PATH=bin", "PATH=/open:/usr/bin", "LD_LIBRARY_PATH=/usr/lib:"] {
        assert_eq!(env(json!([open]))[0], "folders fail", "{open}");
    }
    assert_eq!(env(json!(["LD_PRELOAD=libnss_wrapper.so"]))[1], "preload pass");
    assert_eq!(env(json!(["LD_PRELOAD=/tmp/x.so"]))[1], "preload fail");
    let preload = with(Tar::default().file("etc/ld.so.preload", 0o644, "/x.so"));
    assert_eq!(generic(preload, start::search_path)[1], "preload fail");
}

#[test]
fn ports_volumes_and_tools() {
    let of = |key: &str, name: &str| generic(Image::new().config(key, json!({name: {}})), start::openings);
    assert_eq!(of("ExposedPorts", "8888/tcp"), ["ports pass", "volumes pass"]);
    for port in ["80/tcp", "22", "2222/tcp", "x"] {
        assert_eq!(of("ExposedPorts", port)[0], "ports fail", "{port}");
    }
    assert_eq!(of("Volumes", "/data")[1], "volumes pass");
    for volume in ["/", "/proc/sys", "/etc/", "/var/run/docker.sock", "data"] {
        assert_eq!(of("Volumes", volume)[1], "volumes fail", "{volume}");
    }
    assert_eq!(lab(good_lab(), start::tools), ["pass"]);
    assert_eq!(lab(with(Tar::default().file("bin/sh", 0o755, "")), start::tools), ["fail"]);
    assert_eq!(generic(Image::new(), start::tools), ["not-applicable"]);
}

#[test]
fn keys_and_credentials_in_layers_hidden_ones_included() {
    let keys = |files: Tar| generic(with(files), secrets::private_keys);
    assert_eq!(keys(Tar::default().file("a", 0o644, "plain")), ["own pass", "guarded pass", "published pass"]);
    assert_eq!(keys(Tar::default().file("etc/x.pem", 0o600, "!KEY!")), ["own fail", "guarded pass", "published pass"]);
    assert_eq!(keys(Tar::default().file("x", 0o600, "!KEY! guarded")), ["own pass", "guarded fail", "published pass"]);
    let published = format!("{SITE}/tornado/test/test.key");
    assert_eq!(keys(Tar::default().file(&published, 0o600, "!KEY!")), ["own pass", "guarded pass", "published fail"]);
    let hidden = with(Tar::default().file("root/.netrc", 0o600, "!TOKEN!"))
        .layer("RUN rm /root/.netrc", Tar::default().file("root/.wh..netrc", 0o600, ""));
    let found = findings(&subject(), &hidden.contents(), &wanted(Kind::Generic)).unwrap();
    let found = found.iter().find(|f| f.code.as_str() == "PR-2031" && &*f.check == "own").unwrap();
    assert_eq!(found.verdict, Verdict::Fail);
    assert!(found.evidence[0].value.contains("hidden by a later layer") && found.evidence[0].value.contains("layer 1"));
    let unread = with(Tar::default().file("x", 0o600, "!TOKEN!")).unread();
    assert_eq!(told(&answers(&unread, secrets::credentials, &wanted(Kind::Generic)))[0], "own fail");
    let many = (0..250).fold(Tar::default(), |tar, index| tar.file(&format!("k{index}"), 0o600, "!KEY!"));
    let many = with(many).contents();
    assert_eq!(told(&answers(&many, secrets::private_keys, &wanted(Kind::Generic)))[0], "own fail");
    let others = told(&answers(&many, secrets::credentials, &wanted(Kind::Generic)));
    assert_eq!(others, ["own unknown", "published unknown"], "what is not told may be one");
}

#[test]
fn credentials_in_configuration_and_history() {
    let env = |pair: &str| generic(Image::new().config("Env", json!([pair])), secrets::environment);
    assert_eq!(env("MODE=production"), ["named pass", "random pass"]);
    assert_eq!(env("DB_PASSWORD=hunter2"), ["named fail", "random pass"]);
    assert_eq!(env("X=!TOKEN!"), ["named fail", "random pass"]);
    assert_eq!(env("X=x9Kd82hQzP0vLmW7rTbY4cEf"), ["named pass", "random fail"]);
    let label = Image::new().config("Labels", json!({"a": "!TOKEN!"}));
    assert_eq!(generic(label, secrets::environment)[0], "named fail");
    let step = |step: &str| generic(Image::new().step(step), secrets::history);
    assert_eq!(step("RUN /bin/sh -c make # buildkit"), ["pass"]);
    assert_eq!(step("RUN |1 API_TOKEN=abc /bin/sh -c make"), ["fail"]);
    assert_eq!(step("/bin/sh -c echo !TOKEN!"), ["fail"]);
    let image = Image::new().step("RUN |1 API_TOKEN=s3cr3t /bin/sh -c make");
    let found = findings(&subject(), &image.contents(), &wanted(Kind::Generic)).unwrap();
    assert!(!format!("{found:?}").contains("s3cr3t"), "no value is shown");
}

#[test]
fn repositories() {
    assert_eq!(generic(with(Tar::default().file("src/.git/HEAD", 0o644, "ref")), secrets::repository), ["fail"]);
    assert_eq!(generic(with(Tar::default().file("src/.gitignore", 0o644, "")), secrets::repository), ["pass"]);
}

#[test]
fn steps_of_the_build() {
    let step = |rule: Rule, step: &str| generic(Image::new().step(step), rule).remove(0);
    let cases: [(Rule, &str, &[&str], &[&str]); 5] = [
        (
            build::piped,
            "",
            &[
                "curl -fsSL https://x.sh | bash",
                "wget -qO- https://x | sudo sh -s -- -y",
                "bash <(curl https://x)",
                "sh -c \"$(curl -fsSL https://x)\"",
                "curl https://x | python3 -",
            ],
            &["curl -o x https://x && sha256sum -c sums && bash x", "echo curl | cat", "RUN pip install curl"],
        ),
        (
            build::added_urls,
            "",
            &["ADD https://x.org/a /a # buildkit", "/bin/sh -c #(nop) ADD http://x/a in /"],
            &["ADD --checksum=sha256:ab https://x.org/a /a", "ADD file:ab in /", "COPY https://x /"],
        ),
        (
            build::upgrades,
            "",
            &["apt-get update && apt-get upgrade -y", "apk -U upgrade", "dnf -y update && x", "apt-get dist-upgrade"],
            &["apt-get update && apt-get install -y x", "pip install --upgrade pip", "dnf install -y update-tool"],
        ),
        (
            build::chmod,
            "",
            &["chmod 777 /x", "chmod -R 0777 /opt", "chmod a+rwx x", "chmod o+w x && y", "chmod 666 x"],
            &["chmod 755 x", "chmod u+w x", "chmod -R g+w x", "chmod 1770 x", "chmod +x run"],
        ),
        (build::sudo, "steps", &["sudo make", "a && sudo -E b"], &["apt-get install pseudo", "echo nosudo"]),
    ];
    for (rule, check, bad, good) in cases {
        let line = |verdict: &str| format!("{check} {verdict}").trim().to_owned();
        bad.iter().for_each(|text| assert_eq!(step(rule, text), line("fail"), "{text}"));
        good.iter().for_each(|text| assert_eq!(step(rule, text), line("pass"), "{text}"));
        assert_eq!(generic(Image::new(), rule).remove(0), line("unknown"), "no history tells nothing");
    }
    let installed = with(Tar::default().file("usr/bin/sudo", 0o4755, ""));
    assert_eq!(generic(installed, build::sudo), ["steps pass", "installed fail"]);
}

#[test]
fn bases_and_labels() {
    let base = |labels: serde_json::Value| generic(Image::new().config("Labels", labels), build::base);
    let name = "org.opencontainers.image.base.name";
    assert_eq!(base(json!({})), ["unknown"]);
    assert_eq!(base(json!({name: "ubuntu:latest"})), ["fail"]);
    assert_eq!(base(json!({name: "ubuntu:24.04"})), ["fail"]);
    assert_eq!(base(json!({name: "ubuntu:24.04", "org.opencontainers.image.base.digest": "sha256:a"})), ["pass"]);
    assert_eq!(generic(good_lab(), whole::labels), ["pass"]);
    assert_eq!(generic(Image::new(), whole::labels), ["fail"]);
}

#[test]
fn channels() {
    let file = |path: &str, text: &str| generic(with(Tar::default().file(path, 0o644, text)), build::channels);
    for (path, bad) in [
        ("opt/conda/.condarc", "channels:\n  - http://conda.example.org/x\n"),
        ("root/.condarc", "ssl_verify: false\n"),
        ("etc/pip.conf", "[global]\nindex-url = http://pypi.example.org/simple\n"),
        ("etc/pip.conf", "[global]\ntrusted-host = pypi.example.org\n"),
        ("root/.npmrc", "registry=http://npm.example.org\n"),
        ("root/.npmrc", "strict-ssl=false\n"),
    ] {
        assert_eq!(file(path, bad), ["fail"], "{bad}");
    }
    for (path, good) in [
        ("opt/conda/.condarc", "channels:\n  - conda-forge\n  - https://x.org\n# http://old\nssl_verify: true\n"),
        ("etc/pip.conf", "[global]\nindex-url = https://pypi.example.org/simple\n"),
        ("etc/other.conf", "trusted-host = x"),
    ] {
        assert_eq!(file(path, good), ["pass"], "{good}");
    }
    for bad in ["PIP_INDEX_URL=http://x/simple", "PIP_TRUSTED_HOST=x", "CONDA_SSL_VERIFY=false", "GIT_SSL_NO_VERIFY=1"]
    {
        assert_eq!(generic(Image::new().config("Env", json!([bad])), build::channels), ["fail"], "{bad}");
    }
}

#[test]
fn configuration_of_jupyter() {
    let path = "etc/jupyter/jupyter_server_config.py";
    let python = |text: &str| generic(with(Tar::default().file(path, 0o644, text)), jupyter::config);
    for bad in [
        "c.ServerApp.allow_root = True",
        "c.NotebookApp.token = ''",
        "c.ServerApp.password = u\"\"",
        "c.ServerApp.disable_check_xsrf = True",
        "c.ServerApp.allow_origin = '*'",
        "    c.ServerApp.allow_origin_pat = '.*'",
        "c.IdentityProvider.token = \"\"",
    ] {
        assert_eq!(python(bad), ["fail"], "{bad}");
    }
    for good in [
        "# c.ServerApp.allow_root = True",
        "c.ServerApp.allow_root = False",
        "c.ServerApp.allow_origin = 'https://x'",
        "c.ServerApp.token = 'x'",
    ] {
        assert_eq!(python(good), ["pass"], "{good}");
    }
    let json_path = "usr/local/etc/jupyter/jupyter_server_config.json";
    let of_json = |text: &str| generic(with(Tar::default().file(json_path, 0o644, text)), jupyter::config);
    assert_eq!(of_json(r#"{"ServerApp": {"allow_root": true}}"#), ["fail"]);
    assert_eq!(of_json(r#"{"ServerApp": {"allow_root": false, "token": "x"}}"#), ["pass"]);
    let cmd = |word: &str| generic(Image::new().config("Cmd", json!(["jupyter", "lab", word])), jupyter::config);
    assert_eq!(cmd("--allow-root"), ["fail"]);
    assert_eq!(cmd("--NotebookApp.token=''"), ["fail"]);
    assert_eq!(cmd("--ip=0.0.0.0"), ["pass"]);
}

#[test]
fn versions_of_the_hub() {
    let version = |version: &str| {
        let files = Tar::default().file(
            &format!("usr/lib/python3/dist-packages/jupyterhub-{version}.dist-info/METADATA"),
            0o644,
            "",
        );
        let image = with(files).contents();
        answers(&image, jupyter::hub_version, &wanted(Kind::Jupyterlab)).remove(0)
    };
    assert_eq!(version("5.3.1").verdict(), Verdict::Pass);
    for (text, severity) in [("5.2.0", Severity::Low), ("4.1.0", Severity::High)] {
        let answer = version(text);
        let found = answer.finding(&subject(), &Image::new().contents()).unwrap();
        assert_eq!((found.verdict, found.severity), (Verdict::Fail, severity), "{text}");
    }
    assert_eq!(lab(Image::new(), jupyter::hub_version), ["fail"]);
    let unasked = Wanted { hub_version: None, ..wanted(Kind::Jupyterlab) };
    assert_eq!(told(&answers(&good_lab().contents(), jupyter::hub_version, &unasked)), ["unknown"]);
    // Another environment's version is not the one that is started.
    let two = good_lab().layer(
        "RUN pip",
        Tar::default().file("usr/lib/python3/dist-packages/jupyterhub-4.0.0.dist-info/METADATA", 0o644, ""),
    );
    assert_eq!(lab(two, jupyter::hub_version), ["pass"]);
    let by_conda = with(Tar::default().file("opt/conda/conda-meta/jupyterhub-base-5.3.0-py_0.json", 0o644, "{}"));
    assert_eq!(lab(by_conda, jupyter::hub_version), ["pass"]);
}

#[test]
fn what_a_server_needs() {
    assert_eq!(lab(Image::new(), jupyter::singleuser), ["fail"]);
    let not_executable = with(Tar::default().file("usr/bin/jupyterhub-singleuser", 0o644, ""));
    assert_eq!(lab(not_executable, jupyter::singleuser), ["fail"]);
    assert_eq!(lab(Image::new(), jupyter::server), ["server fail", "lab fail"]);
    let old = with(Tar::default().file(&format!("{SITE}/jupyter_server-1.24.0.dist-info/METADATA"), 0o644, ""));
    assert_eq!(lab(old, jupyter::server)[0], "server fail");
    assert_eq!(lab(Image::new(), jupyter::companions), ["fail"]);
    assert_eq!(generic(Image::new(), jupyter::singleuser), ["not-applicable"]);
    assert_eq!(lab(Image::new(), jupyter::nss_wrapper), ["library fail", "libc pass"]);
    let linked = Tar::default().link("usr/lib64/libnss_wrapper.so", "libnss_wrapper.so.0").file(
        "usr/lib64/libnss_wrapper.so.0",
        0o755,
        "",
    );
    assert_eq!(lab(with(linked), jupyter::nss_wrapper)[0], "library pass");
    let elsewhere = with(Tar::default().file("opt/conda/lib/libnss_wrapper.so", 0o644, ""));
    assert_eq!(lab(elsewhere, jupyter::nss_wrapper)[0], "library fail");
    let alpine =
        with(Tar::default().file("lib/ld-musl-x86_64.so.1", 0o755, "").file("usr/lib/libnss_wrapper.so", 0o755, ""));
    assert_eq!(lab(alpine, jupyter::nss_wrapper), ["library pass", "libc fail"]);
}

#[test]
fn mounts_are_not_blocked() {
    assert_eq!(lab(with(Tar::default().folder("etc/dask", 0o755)), jupyter::mounts), ["pass"]);
    assert_eq!(lab(with(Tar::default().file("etc/dask", 0o644, "")), jupyter::mounts), ["fail"]);
    assert_eq!(lab(with(Tar::default().file("opt/conda/envs", 0o644, "")), jupyter::mounts), ["fail"]);
    assert_eq!(
        lab(with(Tar::default().link("etc/dask", "/srv/dask").folder("srv/dask", 0o755)), jupyter::mounts),
        ["pass"]
    );
}

#[test]
fn hub_and_dask() {
    let package = |tar: Tar, name: &str| {
        tar.file(&format!("usr/lib/python3/dist-packages/{name}-1.0.dist-info/METADATA"), 0o644, "")
    };
    let of = |names: &[&str], files: Tar| with(names.iter().fold(files, |tar, name| package(tar, name)));
    let hub = ["jupyterhub", "jupyterhub_kubespawner", "oauthenticator", "jupyterhub_idle_culler"];
    let writable = || Tar::default().raw((b'5', b"srv/jupyterhub"), (0o755, 1000), b"", b"");
    assert_eq!(of(&hub, writable()).asked(jupyter::hub, Kind::Jupyterhub), ["packages pass", "files pass"]);
    assert_eq!(of(&hub[..2], Tar::default()).asked(jupyter::hub, Kind::Jupyterhub), ["packages fail", "files fail"]);
    let closed = Tar::default().folder("srv/jupyterhub", 0o755);
    assert_eq!(of(&hub, closed).asked(jupyter::hub, Kind::Jupyterhub)[1], "files fail");
    let scripts =
        |mode| Tar::default().file("opt/conda-run-worker", mode, "").file("opt/conda-run-scheduler", 0o755, "");
    assert_eq!(
        of(&["dask_gateway", "distributed"], scripts(0o755)).asked(jupyter::dask, Kind::DaskWorker),
        ["packages pass", "files pass"]
    );
    assert_eq!(of(&[], scripts(0o644)).asked(jupyter::dask, Kind::DaskWorker), ["packages fail", "files fail"]);
}

#[test]
fn platforms_and_budgets() {
    let image = Image::new().contents();
    assert_eq!(told(&answers(&image, whole::platforms, &wanted(Kind::Generic))), ["wanted pass", "listed pass"]);
    let both = Wanted {
        platforms: vec!["linux/amd64".parse().unwrap(), "linux/arm64/v8".parse().unwrap()],
        ..wanted(Kind::Generic)
    };
    assert_eq!(told(&answers(&image, whole::platforms, &both)), ["wanted fail", "listed pass"]);
    let arm64 = "linux/arm64".parse().unwrap();
    let indexed = ImageContents { platforms: vec!["linux/amd64".parse().unwrap(), arm64], ..Image::new().contents() };
    assert_eq!(told(&answers(&indexed, whole::platforms, &both)), ["wanted pass", "listed pass"]);
    let wrong = ImageContents { listed_platform: Some("linux/arm64".parse().unwrap()), ..Image::new().contents() };
    assert_eq!(told(&answers(&wrong, whole::platforms, &wanted(Kind::Generic)))[1], "listed fail");

    let budgets = |budgets: Budgets, image: Image| {
        told(&answers(&image.contents(), whole::budgets, &Wanted { budgets, ..wanted(Kind::Generic) }))
    };
    let files = || with(Tar::default().file("x", 0o644, "x"));
    assert_eq!(budgets(Budgets::default(), files()), ["size pass", "largest-layer pass", "layers pass", "age pass"]);
    let none = Budgets { size: 10, layer: 10, layers: 0, age: SignedDuration::from_hours(24) };
    assert_eq!(budgets(none, files()), ["size fail", "largest-layer fail", "layers fail", "age fail"]);
    let mut timeless = files();
    timeless.config["created"] = json!("1970-01-01T00:00:00Z");
    assert_eq!(budgets(Budgets::default(), timeless)[3], "age unknown");
}

#[test]
fn records_of_packages() {
    assert_eq!(generic(good_lab(), whole::inventory), ["pass"]);
    let rpm = with(Tar::default().file("var/lib/rpm/rpmdb.sqlite", 0o644, "x")).contents();
    let answer = answers(&rpm, whole::inventory, &wanted(Kind::Generic)).remove(0);
    let found = answer.finding(&subject(), &rpm).unwrap();
    assert_eq!((found.verdict, found.cause), (Verdict::Unknown, Some(Cause::NotImplemented)));
    let large = with(Tar::default().file("var/lib/dpkg/status", 0o644, vec![b'x'; 5 << 20]));
    assert_eq!(generic(large, whole::inventory), ["unknown"]);
}

#[test]
fn what_leads_out_of_the_image() {
    let of = |files: Tar| generic(with(files), whole::inside);
    assert_eq!(of(Tar::default().file("a", 0o644, "")), ["names pass", "devices pass", "links pass", "absolute pass"]);
    assert_eq!(of(Tar::default().file("../a", 0o644, ""))[0], "names fail");
    assert_eq!(of(Tar::default().raw((b'4', b"dev/sda"), (0o600, 0), b"", b""))[1], "devices fail");
    assert_eq!(of(Tar::default().hard_link("a", "b"))[2], "links fail");
    assert_eq!(of(Tar::default().file("/a", 0o644, ""))[3], "absolute fail");
    let unread = Image::new().unread();
    assert!(all(&answers(&unread, whole::inside, &wanted(Kind::Generic)), &[Verdict::Unknown]));
}

#[test]
fn hostile_names_are_shown_and_break_nothing() {
    let files = Tar::default().raw((b'0', b"x\xff\x1b[31m"), (0o4777, 0), b"!KEY!", b"").raw(
        (b'0', b"etc/passwd"),
        (0o644, 0),
        b"\xff:\xff:\xff\n",
        b"",
    );
    let found = findings(&subject(), &with(files).contents(), &wanted(Kind::Jupyterlab)).unwrap();
    assert!(found.iter().any(|finding| finding.code.as_str() == "PR-2030" && finding.verdict == Verdict::Fail));
}
