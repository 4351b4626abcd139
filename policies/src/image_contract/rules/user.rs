//! Questions about users, modes and who may do what.

use portreeve_reports::Severity;

use super::{Answer, Case, Kind, PLATFORM_USER, answered};
use crate::image_contract::answer::Seen;
use crate::image_contract::codes::{ACCESS, ACCOUNTS, HOME, SETUID, USER, WRITABLE};
use crate::layers::tree::{Entry, Node};

/// Programs that distributions ship with the bit, and that do nothing without a terminal of root's.
const OF_DISTRIBUTIONS: [&str; 23] = [
    "chage",
    "chfn",
    "chsh",
    "crontab",
    "dbus-daemon-launch-helper",
    "dotlockfile",
    "expiry",
    "fusermount",
    "fusermount3",
    "gpasswd",
    "mount",
    "newgrp",
    "ntfs-3g",
    "pam_extrausers_chkpwd",
    "pam_timestamp_check",
    "passwd",
    "ping",
    "ssh-agent",
    "ssh-keysign",
    "su",
    "umount",
    "unix_chkpwd",
    "wall",
];
/// What every new home has.
const SKELETON: [&str; 6] = [".bashrc", ".profile", ".bash_logout", ".bash_profile", ".cache", ".zshrc"];

/// A line of `/etc/passwd`.
struct Account<'a> {
    name: &'a str,
    password: &'a str,
    uid: Option<u64>,
}

fn accounts_of(text: &str) -> impl Iterator<Item = Account<'_>> {
    text.lines().filter(|line| !line.starts_with('#') && line.contains(':')).map(|line| {
        let mut fields = line.split(':');
        let mut next = || fields.next().unwrap_or_default();
        let (name, password, uid) = (next(), next(), next());
        Account { name, password, uid: uid.parse().ok() }
    })
}

pub(super) fn user(case: &Case<'_>) -> Vec<Answer> {
    let answers = || {
        let config = case.config(&USER)?;
        let written = config.config.user.as_str();
        let name = written.split(':').next().unwrap_or_default();
        let seen = || vec![Seen::field("config.User", format!("'{written}'"))];
        let root = |message: String| {
            let numeric = Answer::not_applicable(&USER, "it is root by any name").check("numeric");
            vec![Answer::fail(&USER, message).seen(seen()).check("root"), numeric]
        };
        if name.is_empty() {
            return Ok(root("the image names no user, and so runs as root".to_owned()));
        }
        if let Ok(uid) = name.parse::<u64>() {
            let pass = |check| Answer::pass(&USER, format!("the image runs as user {uid}")).check(check);
            return Ok(if uid == 0 {
                root("the image runs as root".to_owned())
            } else {
                vec![pass("root"), pass("numeric")]
            });
        }
        if name == "root" {
            return Ok(root("the image runs as root".to_owned()));
        }
        let numeric = Answer::fail(&USER, "the user is a name, which runAsNonRoot cannot check").seen(seen());
        let numeric = numeric.severity(Severity::Low).check("numeric");
        Ok(vec![named_user(case, name).unwrap_or_else(|answer| answer.about(&USER)).check("root"), numeric])
    };
    answered(&USER, answers())
}

/// A user by name is who the image's own accounts say.
fn named_user(case: &Case<'_>, name: &str) -> Result<Answer, Answer> {
    case.files(&USER)?;
    let text = case.text("etc/passwd")?.map(|(_, text)| text).unwrap_or_default();
    let uid = accounts_of(&text).find(|account| account.name == name).and_then(|account| account.uid);
    let seen = vec![Seen::field("config.User", format!("'{name}'"))];
    Ok(match uid {
        Some(0) => Answer::fail(&USER, "the user is root by another name").seen(seen),
        Some(uid) => Answer::pass(&USER, format!("{name} is user {uid}")),
        None => Answer::fail(&USER, "the user is in no account of the image, which so does not start").seen(seen),
    })
}

pub(super) fn accounts(case: &Case<'_>) -> Vec<Answer> {
    let answers = || {
        case.files(&ACCOUNTS)?;
        let mut seen = Vec::new();
        if let Some((entry, text)) = case.text("etc/passwd")? {
            let found = |what: String| Seen::entry(b"etc/passwd", entry, what);
            for account in accounts_of(&text) {
                let name: String = account.name.chars().take(40).collect();
                if account.uid == Some(0) && account.name != "root" {
                    seen.push(found(format!("{name} has user id 0")));
                }
                if account.password.is_empty() {
                    seen.push(found(format!("{name} has no password")));
                }
            }
        }
        if let Some((entry, text)) = case.text("etc/shadow")? {
            for account in accounts_of(&text).filter(|account| account.password.is_empty()) {
                let name: String = account.name.chars().take(40).collect();
                seen.push(Seen::entry(b"etc/shadow", entry, format!("{name} has no password")));
            }
        }
        let answer = Answer::of(&ACCOUNTS, seen, "an account has an open door", "all accounts are locked");
        Ok(vec![answer.shown_by(case.wanted.detector)])
    };
    answered(&ACCOUNTS, answers())
}

pub(super) fn setuid(case: &Case<'_>) -> Vec<Answer> {
    let answers = || {
        let tree = case.files(&SETUID)?;
        let is_file = |(_, entry): &(&[u8], &Entry)| entry.node == Node::File;
        let has_more = |(_, entry): &(&[u8], &Entry)| entry.mode & 0o6000 != 0 || entry.has_capabilities;
        let found = tree.iter().filter(is_file).filter(has_more);
        let (known, others): (Vec<_>, Vec<_>) = found.partition(|(path, entry)| is_of_distribution(path, entry));
        let seen = |found: Vec<(&[u8], &Entry)>| -> Vec<Seen> {
            found.into_iter().map(|(path, entry)| Seen::entry(path, entry, rights(entry))).collect()
        };
        let failure = "a program gives its user more rights";
        let others = Answer::of(&SETUID, seen(others), failure, "no program of its own does").check("own");
        let known =
            Answer::of(&SETUID, seen(known), "programs of the distribution give their user more rights", "none does")
                .severity(Severity::Info)
                .check("distribution");
        Ok(vec![others.shown_by(case.wanted.detector), known.shown_by(case.wanted.detector)])
    };
    answered(&SETUID, answers())
}

/// By name and place, and root's: anybody can call a file `su`.
fn is_of_distribution(path: &[u8], entry: &Entry) -> bool {
    let Ok(path) = std::str::from_utf8(path) else { return false };
    let name = path.rsplit('/').next().unwrap_or(path);
    let is_of_system = ["usr/", "bin/", "sbin/", "lib/"].iter().any(|folder| path.starts_with(folder));
    is_of_system && !path.starts_with("usr/local/") && entry.uid == 0 && OF_DISTRIBUTIONS.contains(&name)
}

fn rights(entry: &Entry) -> String {
    let words = [
        (entry.mode & 0o4000 != 0, "setuid"),
        (entry.mode & 0o2000 != 0, "setgid"),
        (entry.has_capabilities, "capabilities"),
    ];
    let words: Vec<&str> = words.into_iter().filter(|(has, _)| *has).map(|(_, word)| word).collect();
    format!("{} of {}:{}, mode {:04o}", words.join(", "), entry.uid, entry.gid, entry.mode)
}

pub(super) fn writable(case: &Case<'_>) -> Vec<Answer> {
    let answers = || {
        let tree = case.files(&WRITABLE)?;
        let is_open = |entry: &Entry| match entry.node {
            Node::File => entry.mode & 0o002 != 0,
            Node::Directory => entry.mode & 0o1002 == 0o002,
            _ => false,
        };
        let is_of_kernel =
            |path: &[u8]| [&b"proc/"[..], b"sys/", b"dev/"].iter().any(|folder| path.starts_with(folder));
        let found = tree.iter().filter(|(path, entry)| is_open(entry) && !is_of_kernel(path));
        let mut seen: Vec<Seen> =
            found.map(|(path, entry)| Seen::entry(path, entry, format!("mode {:04o}", entry.mode))).collect();
        let all = seen.len();
        seen.truncate(200);
        let answer =
            Answer::of(&WRITABLE, seen, "files are writable for everybody", "no file is writable for everybody");
        Ok(vec![answer.unseen(all.saturating_sub(200)).shown_by(case.wanted.detector)])
    };
    answered(&WRITABLE, answers())
}

pub(super) fn home(case: &Case<'_>) -> Vec<Answer> {
    let answers = || {
        case.is_of(&[Kind::Jupyterlab], &HOME)?;
        let tree = case.files(&HOME)?;
        let is_skeleton = |path: &str| path.split('/').nth(2).is_none_or(|name| SKELETON.contains(&name));
        let found = tree.below(b"home").filter(|(_, entry)| entry.node != Node::Directory);
        let found = found.filter(|(path, _)| !std::str::from_utf8(path).is_ok_and(is_skeleton));
        let seen = found.map(|(path, entry)| Seen::entry(path, entry, "")).collect();
        let answer =
            Answer::of(&HOME, seen, "the mount of the home folder hides files", "the home folder has nothing to hide");
        Ok(vec![answer.shown_by(case.wanted.detector)])
    };
    answered(&HOME, answers())
}

pub(super) fn access(case: &Case<'_>) -> Vec<Answer> {
    let answers = || {
        case.is_of(&[Kind::Jupyterlab, Kind::Jupyterhub, Kind::DaskWorker], &ACCESS)?;
        let tree = case.files(&ACCESS)?;
        let started = case.image.config.config.entrypoint.first().map(String::as_str);
        let of_kind: &[&str] = match case.wanted.kind {
            Kind::Jupyterlab => &["jupyterhub-singleuser", "python"],
            Kind::Jupyterhub => &["jupyterhub", "python"],
            _ => &["/opt/conda-run-worker", "/opt/conda-run-scheduler", "python"],
        };
        let programs = of_kind.iter().copied().chain(started).filter_map(|name| case.program(name));
        let mut seen: Vec<Seen> = programs
            .filter(|(path, _)| !tree.lets(path, PLATFORM_USER, 5))
            .map(|(path, entry)| Seen::entry(&path, entry, mode(entry)))
            .collect();
        for folder in ["opt/conda", "opt/conda/envs/default", "srv/jupyterhub"] {
            if let Some((path, entry)) = tree.get(folder).filter(|_| !tree.lets(folder.as_bytes(), PLATFORM_USER, 5)) {
                seen.push(Seen::entry(&path, entry, mode(entry)));
            }
        }
        seen.sort_by(|left, right| left.place.cmp(&right.place));
        seen.dedup();
        let answer =
            Answer::of(&ACCESS, seen, "user 1000 with group 100 may not use it", "user 1000 with group 100 may use it");
        Ok(vec![answer.shown_by(case.wanted.detector)])
    };
    answered(&ACCESS, answers())
}

fn mode(entry: &Entry) -> String {
    format!("{}:{}, mode {:04o}", entry.uid, entry.gid, entry.mode)
}
