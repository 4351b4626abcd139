//! Questions that the platform's spawner, hub and gateway ask of the images that they start.

use portreeve_reports::{Cause, CodeEntry, Severity};
use serde_json::Value;

use super::{Answer, Case, Kind, PLATFORM_USER, answered, matches, pattern};
use crate::image_contract::answer::Seen;
use crate::image_contract::codes::{
    COMPANIONS, DASK, HUB, HUB_VERSION, JUPYTER_CONFIG, MOUNTS, NSS_WRAPPER, SERVER, SINGLEUSER,
};
use crate::image_contract::inspect::is_jupyter_config;
use crate::image_contract::packages::major_minor;
use crate::layers::tree::{Node, Tree};

/// The program that spawners start.
const PROGRAM: &str = "jupyterhub-singleuser";

pub(super) fn config(case: &Case<'_>) -> Vec<Answer> {
    let answers = || {
        let execution = &case.config(&JUPYTER_CONFIG)?.config;
        let words = [("config.Entrypoint", &execution.entrypoint), ("config.Cmd", &execution.cmd)];
        let mut seen: Vec<Seen> = Vec::new();
        for (place, words) in words {
            let settings = words.iter().filter_map(|word| argument(word));
            seen.extend(settings.map(|what| Seen::field(place, what)));
        }
        let mut unread = None;
        for (path, entry) in case.image.tree.iter().filter(|(_, entry)| entry.node == Node::File) {
            let Some(path) = std::str::from_utf8(path).ok().filter(|path| is_jupyter_config(path)) else { continue };
            match case.content(path, entry) {
                Ok(text) => {
                    let settings = if path.ends_with(".json") { of_json(&text) } else { of_python(&text) };
                    seen.extend(settings.into_iter().map(|what| Seen::entry(path.as_bytes(), entry, what)));
                }
                Err(answer) => unread = Some(answer),
            }
        }
        if seen.is_empty() {
            case.files(&JUPYTER_CONFIG)?;
            unread.map_or(Ok(()), Err)?;
        }
        let answer =
            Answer::of(&JUPYTER_CONFIG, seen, "Jupyter is configured unsafely", "no setting of Jupyter is unsafe");
        Ok(vec![answer.shown_by(case.wanted.detector)])
    };
    answered(&JUPYTER_CONFIG, answers())
}

/// `--allow-root`, `--ServerApp.token=''`
fn argument(word: &str) -> Option<&'static str> {
    if word == "--allow-root" {
        return Some("allow_root");
    }
    let (name, value) = word.strip_prefix("--")?.split_once('=')?;
    let value = value.trim_matches(['\'', '"']);
    setting(name.rsplit('.').next().unwrap_or(name), value)
}

/// What a setting with this value takes away.
fn setting(name: &str, value: &str) -> Option<&'static str> {
    let is_true = ["true", "1"].contains(&value.to_ascii_lowercase().as_str());
    match name {
        "allow_root" if is_true => Some("allow_root"),
        "disable_check_xsrf" if is_true => Some("disable_check_xsrf"),
        "token" if value.is_empty() => Some("an empty token"),
        "password" | "hashed_password" if value.is_empty() => Some("an empty password"),
        "allow_origin" if value == "*" => Some("allow_origin '*'"),
        "allow_origin_pat" if [".*", "^.*$", ".+"].contains(&value) => Some("allow_origin_pat of any origin"),
        _ => None,
    }
}

/// Assignments of Python, as far as they are of plain values.
fn of_python(text: &str) -> Vec<&'static str> {
    let assignment = pattern!(
        r#"(?m)^\s*(?:c|get_config\(\))\.[\w.]*?\.?(\w+)\s*=\s*(?:[urb]{0,2}(?:"([^"\n]*)"|'([^'\n]*)')|(\w+))"#
    );
    let Some(assignment) = assignment.as_ref() else { return Vec::new() };
    let found = assignment.captures_iter(text).filter_map(|groups| {
        let value = groups.get(2).or(groups.get(3)).or(groups.get(4))?;
        setting(groups.get(1)?.as_str(), value.as_str())
    });
    found.collect()
}

/// Settings of JSON, by their names, in classes of any name. One that cannot be read, Jupyter does not read either.
fn of_json(text: &str) -> Vec<&'static str> {
    let Ok(Value::Object(classes)) = serde_json::from_str(text) else { return Vec::new() };
    let settings = classes.values().filter_map(Value::as_object).flatten();
    let found = settings.filter_map(|(name, value)| match value {
        Value::Bool(value) => setting(name, if *value { "true" } else { "false" }),
        Value::String(value) => setting(name, value),
        _ => None,
    });
    found.collect()
}

pub(super) fn singleuser(case: &Case<'_>) -> Vec<Answer> {
    let answers = || {
        case.is_of(&[Kind::Jupyterlab], &SINGLEUSER)?;
        case.files(&SINGLEUSER)?;
        Ok(vec![match case.program(PROGRAM) {
            Some((path, entry)) => Answer::pass(&SINGLEUSER, format!("{PROGRAM} is on the PATH"))
                .seen(vec![Seen::entry(&path, entry, "")])
                .shown_by(case.wanted.detector),
            None => {
                let path = case.search_path().join(":");
                let shown: String = path.chars().take(400).collect();
                Answer::fail(&SINGLEUSER, format!("{PROGRAM} is not on the PATH, or not executable"))
                    .evidence("PATH", shown)
            }
        }])
    };
    answered(&SINGLEUSER, answers())
}

pub(super) fn hub_version(case: &Case<'_>) -> Vec<Answer> {
    let answers = || {
        case.is_of(&[Kind::Jupyterlab, Kind::Jupyterhub], &HUB_VERSION)?;
        case.files(&HUB_VERSION)?;
        let prefix = case.environment_of(PROGRAM);
        let there = ["jupyterhub", "jupyterhub-base", "jupyterhub-singleuser"];
        let Some(package) = there.into_iter().find_map(|name| case.packages.python(name, prefix.as_deref())) else {
            return Ok(vec![Answer::fail(&HUB_VERSION, "JupyterHub is not installed, or left no record")]);
        };
        let version = &package.version;
        let record = vec![Seen::field(format!("/{}", package.record), format!("version {version}"))];
        let Some(wanted) = &case.wanted.hub_version else {
            let message = "name the hub's version with --hub-version to have it compared";
            return Ok(vec![Answer::unknown(&HUB_VERSION, Cause::Manual, message).seen(record)]);
        };
        Ok(vec![
            match (major_minor(version), major_minor(wanted)) {
                (Some(there), Some(wanted)) if there == wanted => {
                    Answer::pass(&HUB_VERSION, format!("JupyterHub is {version}"))
                }
                (Some((there, _)), Some((wanted_major, _))) if there == wanted_major => Answer::fail(
                    &HUB_VERSION,
                    format!("JupyterHub is {version}, the hub {wanted}: another minor version"),
                )
                .severity(Severity::Low),
                (Some(_), Some(_)) => Answer::fail(
                    &HUB_VERSION,
                    format!("JupyterHub is {version}, the hub {wanted}: another major version"),
                ),
                _ => Answer::unknown(&HUB_VERSION, Cause::Unreadable, "a version that has no numbers"),
            }
            .seen(record),
        ])
    };
    answered(&HUB_VERSION, answers())
}

pub(super) fn server(case: &Case<'_>) -> Vec<Answer> {
    let answers = || {
        case.is_of(&[Kind::Jupyterlab], &SERVER)?;
        case.files(&SERVER)?;
        let prefix = case.environment_of(PROGRAM);
        let least = |name: &'static str, least: u64, check: &'static str| {
            let package = case.packages.python(name, prefix.as_deref());
            match package.map(|package| (package, major_minor(&package.version))) {
                None => Answer::fail(&SERVER, format!("{name} is not installed, or left no record")),
                Some((package, Some((major, _)))) if major >= least => {
                    Answer::pass(&SERVER, format!("{name} is {}", package.version))
                }
                Some((package, Some(_))) => {
                    Answer::fail(&SERVER, format!("{name} is {}, and {least} is needed", package.version))
                        .seen(vec![Seen::field(format!("/{}", package.record), "")])
                }
                Some((_, None)) => {
                    Answer::unknown(&SERVER, Cause::Unreadable, format!("the version of {name} has no numbers"))
                }
            }
            .check(check)
        };
        Ok(vec![least("jupyter-server", 2, "server"), least("jupyterlab", 3, "lab")])
    };
    answered(&SERVER, answers())
}

pub(super) fn nss_wrapper(case: &Case<'_>) -> Vec<Answer> {
    let answers = || {
        case.is_of(&[Kind::Jupyterlab], &NSS_WRAPPER)?;
        let tree = case.files(&NSS_WRAPPER)?;
        let musl: Vec<Seen> = tree
            .iter()
            .filter(|(path, _)| path.starts_with(b"lib/ld-musl-") || path.starts_with(b"usr/lib/ld-musl-"))
            .map(|(path, entry)| Seen::entry(path, entry, ""))
            .collect();
        let libc = Answer::of(&NSS_WRAPPER, musl, "the image is built on musl", "the image is not built on musl");
        Ok(vec![
            library(tree).check("library"),
            libc.severity(Severity::Medium).shown_by(case.wanted.detector).check("libc"),
        ])
    };
    answered(&NSS_WRAPPER, answers())
}

/// The library by its bare name is looked for where the loader looks.
fn library(tree: &Tree) -> Answer {
    let named = tree.iter().filter(|(path, entry)| {
        let is_library = matches!(entry.node, Node::File | Node::Link(_));
        is_library && (path.ends_with(b"/libnss_wrapper.so"))
    });
    let named: Vec<_> =
        named.filter(|(path, _)| tree.get_bytes(path).is_some_and(|(_, entry)| entry.node == Node::File)).collect();
    let is_searched = |path: &[u8]| {
        let path = std::str::from_utf8(path).unwrap_or_default();
        let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
        matches(pattern!(r"^(?:usr/)?(?:local/)?lib(?:64)?(?:/[a-z0-9_]+-linux-gnu[a-z0-9]*)?$"), folder)
    };
    let message = "libnss_wrapper.so is not there";
    match (named.iter().find(|(path, _)| is_searched(path)), named.first()) {
        (Some((path, entry)), _) => {
            Answer::pass(&NSS_WRAPPER, "libnss_wrapper.so is there").seen(vec![Seen::entry(path, entry, "")])
        }
        (None, Some((path, entry))) => {
            Answer::fail(&NSS_WRAPPER, "libnss_wrapper.so is where the loader does not look by its bare name")
                .seen(vec![Seen::entry(path, entry, "")])
                .severity(Severity::Medium)
        }
        (None, None) => Answer::fail(&NSS_WRAPPER, message),
    }
}

pub(super) fn mounts(case: &Case<'_>) -> Vec<Answer> {
    let answers = || {
        let paths: &[&str] = match case.wanted.kind {
            Kind::Jupyterlab => &[
                "opt/conda/envs/default/share/jupyter/lab/settings",
                "etc/jupyter/labconfig",
                "etc/ipython",
                "etc/dask",
                "home/conda",
                "tmp",
            ],
            Kind::Jupyterhub => &["usr/local/etc/jupyterhub", "srv/jupyterhub", "tmp"],
            Kind::DaskWorker => &["etc/dask", "home/conda", "tmp"],
            Kind::Generic => &[],
        };
        case.is_of(&[Kind::Jupyterlab, Kind::Jupyterhub, Kind::DaskWorker], &MOUNTS)?;
        let tree = case.files(&MOUNTS)?;
        // A path that is not there is made by the runtime.
        let mut seen = Vec::new();
        for path in paths {
            let ends = path.match_indices('/').map(|(end, _)| end).chain([path.len()]);
            let blocking =
                ends.filter_map(|end| tree.get(&path[..end])).find(|(_, entry)| entry.node != Node::Directory);
            seen.extend(blocking.map(|(at, entry)| Seen::entry(&at, entry, format!("in the way of /{path}"))));
        }
        let answer = Answer::of(
            &MOUNTS,
            seen,
            "a file is where the platform mounts a folder",
            "nothing is in the way of mounts",
        );
        Ok(vec![answer.shown_by(case.wanted.detector)])
    };
    answered(&MOUNTS, answers())
}

/// Packages that are missing, as places.
fn missing(case: &Case<'_>, names: &[&str], prefix: Option<&str>) -> Vec<Seen> {
    let missing = names.iter().filter(|name| case.packages.python(name, prefix).is_none());
    missing.map(|name| Seen::field(*name, "")).collect()
}

pub(super) fn companions(case: &Case<'_>) -> Vec<Answer> {
    let answers = || {
        case.is_of(&[Kind::Jupyterlab], &COMPANIONS)?;
        case.files(&COMPANIONS)?;
        let prefix = case.environment_of(PROGRAM);
        let seen = missing(case, &["argo-jupyter-scheduler", "nb-conda-kernels"], prefix.as_deref());
        Ok(vec![Answer::of(&COMPANIONS, seen, "packages are missing", "the packages are there")])
    };
    answered(&COMPANIONS, answers())
}

/// Packages and files that an image of a kind needs.
fn needs(case: &Case<'_>, entry: &'static CodeEntry, packages: &[&str], seen: Vec<Seen>) -> Vec<Answer> {
    let packages = Answer::of(entry, missing(case, packages, None), "packages are missing", "the packages are there");
    let files = Answer::of(entry, seen, "files are missing or cannot be used", "the files are there");
    vec![packages.check("packages"), files.check("files").shown_by(case.wanted.detector)]
}

pub(super) fn hub(case: &Case<'_>) -> Vec<Answer> {
    let answers = || {
        case.is_of(&[Kind::Jupyterhub], &HUB)?;
        let tree = case.files(&HUB)?;
        let mut seen = Vec::new();
        match tree.get("srv/jupyterhub") {
            None => seen.push(Seen::field("/srv/jupyterhub", "not there")),
            Some((path, entry)) if !tree.lets(b"srv/jupyterhub", PLATFORM_USER, 2) => {
                seen.push(Seen::entry(
                    &path,
                    entry,
                    format!("{}:{}, mode {:04o}, user 1000 cannot write it", entry.uid, entry.gid, entry.mode),
                ));
            }
            Some(_) => {}
        }
        let packages = ["jupyterhub", "jupyterhub-kubespawner", "oauthenticator", "jupyterhub-idle-culler"];
        Ok(needs(case, &HUB, &packages, seen))
    };
    answered(&HUB, answers())
}

pub(super) fn dask(case: &Case<'_>) -> Vec<Answer> {
    let answers = || {
        case.is_of(&[Kind::DaskWorker], &DASK)?;
        case.files(&DASK)?;
        let scripts = ["/opt/conda-run-worker", "/opt/conda-run-scheduler"];
        let gone = scripts.into_iter().filter(|script| case.program(script).is_none());
        let seen = gone.map(|script| Seen::field(script, "not there, or not executable")).collect();
        Ok(needs(case, &DASK, &["dask-gateway", "distributed"], seen))
    };
    answered(&DASK, answers())
}
