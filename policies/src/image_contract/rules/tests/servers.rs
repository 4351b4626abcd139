//! What the platform's spawner, hub and gateway ask.

use super::*;

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
