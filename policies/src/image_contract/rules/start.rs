//! Questions about how the image is started and what is found on the way.

use portreeve_reports::Severity;

use super::{Answer, Case, Kind, answered, matches, pattern};
use crate::image_contract::answer::Seen;
use crate::image_contract::codes::{OPENINGS, SEARCH_PATH, STARTS, TOOLS};
use crate::layers::tree::Node;

/// Programs are larger than scripts.
const LARGEST_SCRIPT: u64 = 1 << 20;
/// What starts something else and passes signals on.
const INITS: [&str; 5] = ["tini", "dumb-init", "catatonit", "s6-svscan", "docker-init"];
/// Folders that a volume must not be over.
const OF_SYSTEM: [&str; 13] = [
    "/",
    "/bin",
    "/boot",
    "/dev",
    "/etc",
    "/lib",
    "/lib64",
    "/proc",
    "/sbin",
    "/sys",
    "/usr",
    "/opt/conda",
    "/var/run",
];
/// Ports of remote shells and desktops.
const SHELL_PORTS: [u16; 4] = [22, 23, 2222, 3389];

pub(super) fn starts(case: &Case<'_>) -> Vec<Answer> {
    let answers = || {
        let config = case.config(&STARTS)?;
        let (entrypoint, cmd) = (&config.config.entrypoint, &config.config.cmd);
        let forms = [("config.Entrypoint", entrypoint), ("config.Cmd", cmd)];
        let seen = forms.into_iter().filter(|(_, words)| is_shell_form(words));
        let seen = seen.map(|(place, words)| Seen::field(place, format!("{} -c …", words[0]))).collect();
        let form = Answer::of(&STARTS, seen, "the image is started by a shell", "the image is started without a shell");
        let found = found(case, entrypoint.first().or(cmd.first())).unwrap_or_else(|answer| answer);
        let passes = passes_arguments(case, entrypoint).unwrap_or_else(|answer| answer.about(&STARTS));
        Ok(vec![form.check("form"), found.check("found"), passes.shown_by(case.wanted.detector).check("arguments")])
    };
    answered(&STARTS, answers())
}

/// `exec` as the first word of a command puts the program in the shell's place.
fn is_shell_form(words: &[String]) -> bool {
    let is_shell = |word: &str| ["sh", "bash", "ash", "dash"].contains(&word.rsplit('/').next().unwrap_or(word));
    match words {
        [shell, flag, command, ..] => {
            is_shell(shell) && flag.ends_with('c') && !command.trim_start().starts_with("exec ")
        }
        _ => false,
    }
}

fn found(case: &Case<'_>, program: Option<&String>) -> Result<Answer, Answer> {
    let Some(program) = program else {
        return Ok(Answer::not_applicable(&STARTS, "the image has no command of its own"));
    };
    case.files(&STARTS)?;
    let shown: String = program.chars().take(100).collect();
    Ok(match case.program(program) {
        Some((path, _)) => Answer::pass(&STARTS, format!("it is started by /{}", String::from_utf8_lossy(&path))),
        None => {
            let seen = vec![Seen::field("config", format!("'{shown}'"))];
            Answer::fail(&STARTS, "what starts the image is not in it, or not executable")
                .seen(seen)
                .severity(Severity::High)
        }
    })
}

/// A script that is the ENTRYPOINT must become what its arguments name.
fn passes_arguments(case: &Case<'_>, entrypoint: &[String]) -> Result<Answer, Answer> {
    let base = |word: &str| word.rsplit('/').next().unwrap_or(word).to_owned();
    let mut words = entrypoint.iter().peekable();
    if words.peek().is_some_and(|word| INITS.contains(&base(word).as_str())) {
        words.next();
    }
    let Some(script) = words.find(|word| !word.starts_with('-')) else {
        return Ok(Answer::pass(&STARTS, "arguments are started as they are"));
    };
    case.files(&STARTS)?;
    let Some((path, entry)) = case.program(script) else {
        return Ok(Answer::not_applicable(&STARTS, "what starts the image is not in it"));
    };
    if entry.size > LARGEST_SCRIPT {
        return Ok(Answer::pass(&STARTS, "a program that is no script starts the image"));
    }
    let text = case.content(&String::from_utf8_lossy(&path), entry)?;
    if !text.starts_with("#!")
        || !matches(pattern!(r"^#!.*\b(?:ba|da|a)?sh\b"), text.lines().next().unwrap_or_default())
    {
        return Ok(Answer::pass(&STARTS, "a program that is no shell script starts the image"));
    }
    let passes = matches(
        pattern!(r#"(?m)^\s*(?:[^#\n]*[;&\s])?exec\s+[^#\n]*(?:\$@|\$\{@\}|\$\*|\$\{?\w*(?:cmd|CMD|args|ARGS))"#),
        &text,
    );
    let seen = vec![Seen::entry(&path, entry, "no exec \"$@\"")];
    Ok(match passes {
        true => Answer::pass(&STARTS, "the script that starts the image executes its arguments"),
        false => Answer::fail(&STARTS, "the script that starts the image does not execute its arguments").seen(seen),
    })
}

pub(super) fn search_path(case: &Case<'_>) -> Vec<Answer> {
    let answers = || {
        let config = case.config(&SEARCH_PATH)?;
        let mut seen = Vec::new();
        for (name, severity_of_empty) in
            [("PATH", "empty, which is the working folder"), ("LD_LIBRARY_PATH", "empty, which is the working folder")]
        {
            let Some(value) = config.config.variable(name) else { continue };
            for folder in value.split(':').filter(|_| !value.is_empty()) {
                let what = match folder {
                    "" => severity_of_empty.to_owned(),
                    relative if !relative.starts_with('/') => format!("'{}' is relative", short(relative)),
                    folder => match case.image.tree.get(folder) {
                        Some((_, entry)) if entry.node == Node::Directory && entry.mode & 0o002 != 0 => {
                            format!("everybody can write {}", short(folder))
                        }
                        _ => continue,
                    },
                };
                seen.push(Seen::field(format!("config.Env['{name}']"), what));
            }
        }
        let folders = match (&case.image.problem, seen.is_empty()) {
            (Some(problem), true) => Answer::unread(&SEARCH_PATH, problem),
            _ => Answer::of(
                &SEARCH_PATH,
                seen,
                "a folder that is searched is open",
                "all folders that are searched are root's",
            ),
        };
        Ok(vec![folders.check("folders"), preload(case).unwrap_or_else(|answer| answer).check("preload")])
    };
    answered(&SEARCH_PATH, answers())
}

/// What is loaded into every program. The platform's own library is not meant.
fn preload(case: &Case<'_>) -> Result<Answer, Answer> {
    let mut seen = Vec::new();
    let value = case.image.config.config.variable("LD_PRELOAD").unwrap_or_default();
    let is_of_platform = |word: &str| word.rsplit('/').next() == Some("libnss_wrapper.so");
    let words = value.split([':', ' ']).filter(|word| !word.is_empty() && !is_of_platform(word));
    seen.extend(words.map(|word| Seen::field("config.Env['LD_PRELOAD']", format!("'{}'", short(word)))));
    if seen.is_empty() {
        case.files(&SEARCH_PATH)?;
    }
    if let Some(entry) = case.image.tree.entry("etc/ld.so.preload").filter(|entry| entry.size > 0) {
        seen.push(Seen::entry(b"etc/ld.so.preload", entry, ""));
    }
    let answer = Answer::of(
        &SEARCH_PATH,
        seen,
        "a library is loaded into every program",
        "no library is loaded into every program",
    );
    Ok(answer.severity(Severity::Medium).shown_by(case.wanted.detector))
}

fn short(text: &str) -> String {
    text.chars().take(100).collect()
}

pub(super) fn openings(case: &Case<'_>) -> Vec<Answer> {
    let answers = || {
        let config = &case.config(&OPENINGS)?.config;
        let ports = config.exposed_ports.keys().filter_map(|written| {
            let number: Result<u16, _> = written.split(['/', '-']).next().unwrap_or_default().parse();
            let what = match number {
                Ok(port) if SHELL_PORTS.contains(&port) => "a port of remote shells and desktops",
                Ok(0..1024) => "a port that needs rights",
                Ok(_) => return None,
                Err(_) => "not a port",
            };
            Some(Seen::field(format!("config.ExposedPorts['{}']", short(written)), what))
        });
        let ports = Answer::of(&OPENINGS, ports.collect(), "a port is odd", "no port is odd");
        let volumes = config.volumes.keys().filter_map(|written| {
            let path = if written.len() > 1 { written.trim_end_matches('/') } else { written.as_str() };
            let is_of_kernel = ["/dev/", "/proc/", "/sys/"].iter().any(|folder| path.starts_with(folder));
            let is_socket = path.ends_with("docker.sock") || path.ends_with("containerd.sock");
            let is_odd = OF_SYSTEM.contains(&path) || is_of_kernel || is_socket || !path.starts_with('/');
            is_odd.then(|| {
                Seen::field(format!("config.Volumes['{}']", short(written)), "over what belongs to the system")
            })
        });
        let volumes =
            Answer::of(&OPENINGS, volumes.collect(), "a volume is odd", "no volume is odd").severity(Severity::Medium);
        Ok(vec![ports.check("ports"), volumes.check("volumes")])
    };
    answered(&OPENINGS, answers())
}

pub(super) fn tools(case: &Case<'_>) -> Vec<Answer> {
    let answers = || {
        case.is_of(&[Kind::Jupyterlab, Kind::Jupyterhub, Kind::DaskWorker], &TOOLS)?;
        case.files(&TOOLS)?;
        let missing =
            ["/bin/sh", "bash", "ln", "printf", "mkdir"].into_iter().filter(|name| case.program(name).is_none());
        let seen = missing.map(|name| Seen::field(name, "")).collect();
        Ok(vec![Answer::of(&TOOLS, seen, "programs are missing", "sh, bash, ln, printf and mkdir are there")])
    };
    answered(&TOOLS, answers())
}
