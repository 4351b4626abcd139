//! Questions about the steps of the build, and about where packages come from.

use std::sync::LazyLock;

use portreeve_reports::{Cause, CodeEntry, Severity};
use regex::Regex;

use super::{Answer, Case, answered, matches, pattern};
use crate::image::ImageReference;
use crate::image_contract::answer::Seen;
use crate::image_contract::codes::{ADDED_URL, BASE, CHANNELS, CHMOD, PIPED, SUDO, UPGRADE};
use crate::image_contract::history::{Instruction, commands, instruction};
use crate::layers::tree::{Entry, Node};

type Pattern = LazyLock<Option<Regex>>;

/// Steps whose command has the pattern.
fn steps(case: &Case<'_>, pattern: &Pattern) -> Vec<Seen> {
    commands(case.image)
        .filter(|(_, command)| matches(pattern, command))
        .map(|(index, _)| Seen::step(index, ""))
        .collect()
}

/// The answer about steps. An image without a history, or with one that was thrown away, tells nothing.
fn of_steps(case: &Case<'_>, entry: &'static CodeEntry, seen: Vec<Seen>, failure: &str, pass: &str) -> Vec<Answer> {
    let answers = || {
        let config = case.config(entry)?;
        if config.history.iter().all(|step| step.created_by.trim().is_empty()) {
            return Err(Answer::unknown(entry, Cause::NotVisible, "the image has no history of its build"));
        }
        Ok(vec![Answer::of(entry, seen, failure, pass).shown_by(case.wanted.detector)])
    };
    answered(entry, answers())
}

pub(super) fn piped(case: &Case<'_>) -> Vec<Answer> {
    let shells = pattern!(
        r"(?s)\b(?:curl|wget|fetch)\b[^;&|]*\|\s*(?:sudo\s+)?(?:\S*/)?(?:ba|da|z|a|k)?sh\b|\b(?:ba|da|z|a|k)?sh\b[^;&|]*(?:<\(|\$\(|`)\s*(?:curl|wget)\b|\b(?:curl|wget)\b[^;&|]*\|\s*(?:sudo\s+)?(?:python|perl|ruby|node)"
    );
    of_steps(
        case,
        &PIPED,
        steps(case, shells),
        "a step runs what it downloads",
        "no step runs what it downloads unseen",
    )
}

pub(super) fn added_urls(case: &Case<'_>) -> Vec<Answer> {
    let is_url = |what: &str| {
        let mut words = what.split_whitespace();
        !what.contains("--checksum=") && words.any(|word| word.starts_with("http://") || word.starts_with("https://"))
    };
    let history = case.image.config.history.iter().enumerate();
    let found = history.filter(|(_, step)| matches!(instruction(step), Instruction::Add(what) if is_url(what)));
    let seen = found.map(|(index, _)| Seen::step(index, "")).collect();
    of_steps(case, &ADDED_URL, seen, "a step adds what a URL answers", "no step adds from a URL without a checksum")
}

pub(super) fn sudo(case: &Case<'_>) -> Vec<Answer> {
    let used = pattern!(r"(?:^|[\s;&|(])sudo\s+[^\s=]");
    let steps = of_steps(case, &SUDO, steps(case, used), "a step uses or installs sudo", "no step uses sudo");
    let mut answers: Vec<Answer> = steps.into_iter().map(|answer| answer.check("steps")).collect();
    let files = || {
        let tree = case.files(&SUDO)?;
        let found = ["usr/bin/sudo", "usr/local/bin/sudo", "bin/sudo"].into_iter().find_map(|path| tree.get(path));
        let mut seen: Vec<Seen> = found.iter().map(|(path, entry)| Seen::entry(path, entry, "")).collect();
        let open = tree.below(b"etc/sudoers.d").filter(|(_, entry)| entry.node == Node::File);
        seen.extend(open.filter(|_| found.is_some()).map(|(path, entry)| Seen::entry(path, entry, "")));
        Ok(vec![Answer::of(&SUDO, seen, "the image has sudo", "the image has no sudo").shown_by(case.wanted.detector)])
    };
    answers.extend(answered(&SUDO, files()).into_iter().map(|answer| answer.check("installed")));
    answers
}

pub(super) fn upgrades(case: &Case<'_>) -> Vec<Answer> {
    let upgrade = pattern!(
        r"\bapt(?:-get)?\b[^;&|]*\b(?:dist-upgrade|full-upgrade|upgrade)\b|\bapk\b[^;&|]*\bupgrade\b|\b(?:yum|dnf|microdnf)\b[^;&|]*\b(?:update|upgrade)\b(?:\s+-y)?\s*(?:$|[;&|])"
    );
    of_steps(case, &UPGRADE, steps(case, upgrade), "a step upgrades the system", "no step upgrades the system")
}

pub(super) fn chmod(case: &Case<'_>) -> Vec<Answer> {
    let open = pattern!(
        r"\bchmod\b[^;&|]*\s(?:0?[0-7]{2}[2367]|[ao]*[+=][rxX]*w[rwxX]*|[ugo]*o[ugo]*[+=][rxX]*w[rwxX]*)(?:\s|$)"
    );
    of_steps(case, &CHMOD, steps(case, open), "a step makes files writable for everybody", "no step does")
}

/// Builders note their base in two labels; the history does not say it.
pub(super) fn base(case: &Case<'_>) -> Vec<Answer> {
    let answers = || {
        let labels = &case.config(&BASE)?.config.labels;
        let label =
            |name: &str| labels.get(&format!("org.opencontainers.image.base.{name}")).filter(|value| !value.is_empty());
        let place = "config.Labels['org.opencontainers.image.base.name']";
        Ok(vec![match (label("name"), label("digest")) {
            (_, Some(_)) => Answer::pass(&BASE, "the base is noted with its digest"),
            (None, None) => Answer::unknown(&BASE, Cause::NotVisible, "the image does not say what it is built on"),
            (Some(name), None) => {
                let shown: String = name.chars().take(200).collect();
                match ImageReference::parse(name) {
                    Ok(base) if base.digest.is_some() => Answer::pass(&BASE, "the base is noted with its digest"),
                    Ok(base) => {
                        let is_latest = base.tag_or_latest() == "latest";
                        let severity = if is_latest { Severity::Medium } else { BASE.severity };
                        Answer::fail(&BASE, "the base is noted without its digest")
                            .seen(vec![Seen::field(place, shown)])
                            .severity(severity)
                    }
                    Err(_) => {
                        Answer::fail(&BASE, "the base that is noted is no image").seen(vec![Seen::field(place, shown)])
                    }
                }
            }
        }])
    };
    answered(&BASE, answers())
}

/// A setting that takes away what makes packages trustworthy.
struct Setting {
    files: &'static [&'static str],
    pattern: &'static Pattern,
    what: &'static str,
}

fn settings() -> [Setting; 6] {
    const CONDA: &[&str] = &[".condarc", "condarc"];
    const PIP: &[&str] = &["pip.conf"];
    const NPM: &[&str] = &[".npmrc", "npmrc"];
    // What this machine answers is nobody else's.
    [
        Setting {
            files: CONDA,
            pattern: pattern!(r"(?m)^[^#\n]*\bhttp://(?:[^l1\s]|l[^o\s]|1[^2\s])"),
            what: "a channel by http",
        },
        Setting {
            files: CONDA,
            pattern: pattern!(r"(?mi)^\s*ssl_verify\s*:\s*(?:false|no|off)\b"),
            what: "ssl_verify: false",
        },
        Setting {
            files: PIP,
            pattern: pattern!(
                r"(?mi)^\s*(?:extra-)?index-url\s*=[^#\n]*\bhttp://(?:[^l1\s]|l[^o\s]|1[^2\s])|^\s+http://"
            ),
            what: "an index by http",
        },
        Setting { files: PIP, pattern: pattern!(r"(?mi)^\s*trusted-host\s*="), what: "trusted-host" },
        Setting {
            files: NPM,
            pattern: pattern!(r"(?mi)^\s*(?:@[^:\s]+:)?registry\s*=\s*[\x22']?http://"),
            what: "a registry by http",
        },
        Setting { files: NPM, pattern: pattern!(r"(?mi)^\s*strict-ssl\s*=\s*false"), what: "strict-ssl=false" },
    ]
}

pub(super) fn channels(case: &Case<'_>) -> Vec<Answer> {
    let answers = || {
        let config = &case.config(&CHANNELS)?.config;
        let mut seen: Vec<Seen> = config.env.iter().filter_map(|pair| variable(pair)).collect();
        let mut unread = None;
        let settings = settings();
        for (path, entry) in case.image.tree.iter().filter(|(_, entry)| entry.node == Node::File) {
            let Ok(path) = std::str::from_utf8(path) else { continue };
            let name = path.rsplit('/').next().unwrap_or(path);
            let asked: Vec<&Setting> = settings.iter().filter(|setting| setting.files.contains(&name)).collect();
            if asked.is_empty() {
                continue;
            }
            match case.content(path, entry) {
                Ok(text) => seen.extend(found(path, entry, &text, &asked)),
                Err(answer) => unread = Some(answer),
            }
        }
        if seen.is_empty() {
            case.files(&CHANNELS)?;
            unread.map_or(Ok(()), Err)?;
        }
        let answer = Answer::of(&CHANNELS, seen, "packages come unchecked", "packages come over TLS");
        Ok(vec![answer.shown_by(case.wanted.detector)])
    };
    answered(&CHANNELS, answers())
}

fn found(path: &str, entry: &Entry, text: &str, asked: &[&Setting]) -> Vec<Seen> {
    let is_there = |setting: &&&Setting| matches(setting.pattern, text);
    asked.iter().filter(is_there).map(|setting| Seen::entry(path.as_bytes(), entry, setting.what)).collect()
}

fn variable(pair: &str) -> Option<Seen> {
    let (name, value) = pair.split_once('=')?;
    let is_off = ["false", "0", "no"].contains(&value.to_ascii_lowercase().as_str());
    let is_on = !value.is_empty() && !is_off;
    let is_bad = match name {
        "PIP_INDEX_URL" | "PIP_EXTRA_INDEX_URL" | "UV_INDEX_URL" | "CONDA_CHANNELS" | "NPM_CONFIG_REGISTRY" => {
            value.contains("http://")
        }
        "PIP_TRUSTED_HOST" | "UV_INSECURE_HOST" => !value.is_empty(),
        "CONDA_SSL_VERIFY" | "PYTHONHTTPSVERIFY" | "NODE_TLS_REJECT_UNAUTHORIZED" | "NPM_CONFIG_STRICT_SSL" => is_off,
        "GIT_SSL_NO_VERIFY" => is_on,
        _ => false,
    };
    is_bad.then(|| Seen::field(format!("config.Env['{name}']"), ""))
}
