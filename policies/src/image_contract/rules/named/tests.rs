use super::super::super::testing::Image;
use super::super::{Kind, Rule, build, jupyter, start};
use super::LINKED;
use crate::layers::testing::Tar;

const BAD: &str = "c.ServerApp.token = ''";

fn asked(rule: Rule, files: Tar) -> Vec<String> {
    Image::new().layer("RUN make files", files).asked(rule, Kind::Generic)
}

fn jupyter(files: Tar) -> Vec<String> {
    asked(jupyter::config, files)
}

#[test]
fn configuration_behind_a_link_is_read_or_unknown() {
    let link = || Tar::default().link("etc/jupyter/jupyter_server_config.py", "/opt/x.py");
    assert_eq!(jupyter(link().file("opt/x.py", 0o644, BAD)), ["unknown"], "what is not kept is not known");
    assert_eq!(jupyter(link()), ["unknown"], "it comes when the image runs");
    let kept = Tar::default().link("root/.jupyter/jupyter_lab_config.py", "/etc/jupyter/jupyter_lab_config.py");
    assert_eq!(jupyter(kept.file("etc/jupyter/jupyter_lab_config.py", 0o644, "c.A.b = 1")), ["pass"]);
    let condarc = Tar::default().link("root/.condarc", "/opt/channels").file("opt/channels", 0o644, "ssl_verify: no");
    assert_eq!(asked(build::channels, condarc), ["unknown"]);
}

#[test]
fn configuration_in_a_linked_folder_is_read_or_unknown() {
    for (link, target, file) in [
        ("etc/jupyter", "/opt/j", "opt/j/jupyter_server_config.py"),
        ("etc", "opt/e", "opt/e/jupyter/jupyter_server_config.py"),
        ("etc/jupyter/jupyter_server_config.d", "../../opt/d", "opt/d/x.py"),
        ("home/me/.jupyter", "/", "jupyter_lab_config.py"),
    ] {
        assert_eq!(jupyter(Tar::default().link(link, target).file(file, 0o644, BAD)), ["unknown"], "{link}");
    }
    let twice = Tar::default().link("etc/jupyter", "/opt/j").link("opt/j/jupyter_config.d", "/opt/d");
    assert_eq!(jupyter(twice.file("opt/d/x.json", 0o644, "{}")), ["unknown"]);
    let harmless = Tar::default().link("etc/jupyter", "/opt/j").file("opt/j/logo.svg", 0o644, "");
    assert_eq!(jupyter(harmless.link("usr/share/x", "/nowhere")), ["pass"]);
    let through = Tar::default().link("etc/jupyter", "/opt/j").file("etc/jupyter/jupyter_config.py", 0o644, BAD);
    assert_ne!(jupyter(through), ["pass"]);
}

#[test]
fn linked_folders_are_looked_into_up_to_a_bound() {
    let links = |count: usize| {
        let files = (0..500).fold(Tar::default(), |tar, index| tar.file(&format!("opt/j/{index}"), 0o644, ""));
        (0..count).fold(files, |tar, index| tar.link(&format!("{index}/etc/jupyter"), "/opt/j"))
    };
    assert_eq!(jupyter(links(LINKED / 500)), ["pass"]);
    assert_eq!(jupyter(links(LINKED / 500 + 1)), ["unknown"]);
    let circle = Tar::default().link("etc/jupyter", "/etc").file("etc/x", 0o644, "");
    assert_ne!(jupyter(circle), [""; 0], "it ends");
}

#[test]
fn a_library_that_a_link_preloads_is_one() {
    let preload = |files: Tar| asked(start::search_path, files)[1].clone();
    let link = || Tar::default().link("etc/ld.so.preload", "/opt/p");
    assert_eq!(preload(link().file("opt/p", 0o644, "/x.so")), "preload fail");
    assert_eq!(preload(link().file("opt/p", 0o644, "")), "preload pass");
    assert_eq!(preload(link()), "preload fail", "anybody may put a file there");
    let folder = Tar::default().link("etc", "/opt/e").file("opt/e/ld.so.preload", 0o644, "/x.so");
    assert_eq!(preload(folder), "preload fail");
}
