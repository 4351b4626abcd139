//! Questions about what should be in no image: keys, credentials, repositories.

use portreeve_reports::{Cause, CodeEntry, Confidence, Severity};

use super::{Answer, Case, answered};
use crate::image_contract::answer::Seen;
use crate::image_contract::codes::{CREDENTIAL, ENVIRONMENT, HISTORY_SECRET, PRIVATE_KEY, REPOSITORY};
use crate::image_contract::inspect::Sighting;
use crate::image_contract::words;

/// Folders into which packages come that everybody has.
const OF_PACKAGES: [&str; 6] =
    ["/site-packages/", "/dist-packages/", "/node_modules/", "/usr/share/", "/conda/pkgs/", "/usr/lib/python3"];
/// Folders of what packages bring to be tested with or read.
const OF_TESTS: [&str; 9] =
    ["test", "tests", "testing", "testdata", "test-data", "doc", "docs", "examples", "fixtures"];

pub(super) fn private_keys(case: &Case<'_>) -> Vec<Answer> {
    in_layers(case, &PRIVATE_KEY, true)
}

pub(super) fn credentials(case: &Case<'_>) -> Vec<Answer> {
    in_layers(case, &CREDENTIAL, false)
}

/// What was noticed in files. What packages publish to be tested with is known to everybody, and said as such.
fn in_layers(case: &Case<'_>, entry: &'static CodeEntry, is_key: bool) -> Vec<Answer> {
    let sightings = &case.image.sightings;
    let wanted = sightings.told.iter().filter(|sighting| sighting.noticed.is_key == is_key);
    let (published, own): (Vec<_>, Vec<_>) = wanted.partition(|sighting| is_published(sighting));
    let (guarded, plain): (Vec<_>, Vec<_>) = own.into_iter().partition(|sighting| sighting.noticed.is_guarded);
    let seen = |found: Vec<&Sighting>| found.into_iter().map(|sighting| seen(case, sighting)).collect::<Vec<_>>();
    let noun = if is_key { "a private key" } else { "a credential" };
    // What is not told, or could not be read, may hold what was not seen.
    let answer = |seen: Vec<Seen>, failure: String, check: &'static str| {
        let untold = if seen.is_empty() { 0 } else { sightings.untold };
        let answer = match (&case.image.problem, seen.is_empty(), sightings.untold) {
            (Some(problem), true, _) => Answer::unread(entry, problem),
            (None, true, more @ 1..) => {
                let message = format!("{more} more files hold keys or credentials than are told");
                Answer::unknown(entry, Cause::TooLarge, message)
            }
            _ => Answer::of(entry, seen, failure, format!("no layer holds {noun}")),
        };
        answer.unseen(untold).check(check).shown_by(case.wanted.detector)
    };
    let mut answers = vec![answer(seen(plain), format!("a layer holds {noun}"), "own")];
    if is_key {
        let guarded = answer(seen(guarded), "a layer holds a private key with a passphrase".to_owned(), "guarded");
        answers.push(guarded.severity(Severity::Medium));
    }
    let published = answer(seen(published), format!("a package brings {noun} to be tested with"), "published");
    answers.push(published.severity(Severity::Info).confidence(Confidence::Low));
    answers
}

fn seen(case: &Case<'_>, sighting: &Sighting) -> Seen {
    let there = case.image.tree.entry_bytes(&sighting.path);
    let is_hidden = there.is_none_or(|entry| entry.layer != sighting.layer);
    let hidden = if is_hidden { ", hidden by a later layer and still in this one" } else { "" };
    Seen::file(&sighting.path, sighting.layer, format!("{}{hidden}", sighting.noticed.kind))
}

fn is_published(sighting: &Sighting) -> bool {
    let path = format!("/{}", String::from_utf8_lossy(&sighting.path));
    let is_of_package = OF_PACKAGES.iter().any(|folder| path.contains(folder));
    let is_description = path.ends_with("/METADATA") || path.ends_with("/PKG-INFO");
    is_of_package && (is_description || path.split('/').any(|part| OF_TESTS.contains(&part)))
}

pub(super) fn environment(case: &Case<'_>) -> Vec<Answer> {
    let answers = || {
        let config = &case.config(&ENVIRONMENT)?.config;
        let variables = config.env.iter().filter_map(|pair| pair.split_once('='));
        let variables = variables.map(|(name, value)| ("config.Env", name, value));
        let labels = config.labels.iter().map(|(name, value)| ("config.Labels", name.as_str(), value.as_str()));
        let (mut seen, mut random) = (Vec::new(), Vec::new());
        for (place, name, value) in variables.chain(labels) {
            let shown: String = name.chars().take(100).collect();
            let found = |what: &str| Seen::field(format!("{place}['{shown}']"), what);
            let noticed = (case.wanted.detector.of_text)(value);
            if let Some(noticed) = noticed.first() {
                seen.push(found(noticed.kind));
            } else if place == "config.Env" && words::is_credential(name, value) {
                seen.push(found("named like a credential"));
            } else if place == "config.Env" && words::is_random(value) {
                random.push(found("drawn by dice, as it seems"));
            }
        }
        let named = Answer::of(
            &ENVIRONMENT,
            seen,
            "the configuration holds a credential",
            "the configuration holds no credential",
        );
        let random =
            Answer::of(&ENVIRONMENT, random, "a variable may be a credential", "no value looks like a credential");
        let random = random.severity(Severity::Low).confidence(Confidence::Low);
        Ok(vec![named.check("named"), random.check("random")])
    };
    answered(&ENVIRONMENT, answers())
}

pub(super) fn history(case: &Case<'_>) -> Vec<Answer> {
    let answers = || {
        let config = case.config(&HISTORY_SECRET)?;
        let mut seen = Vec::new();
        for (index, step) in config.history.iter().enumerate() {
            let text = &step.created_by;
            if let Some(noticed) = (case.wanted.detector.of_text)(text).first() {
                seen.push(Seen::step(index, noticed.kind));
            } else if let Some((name, _)) = words::assigned(text).first() {
                seen.push(Seen::step(index, format!("a value for {name}")));
            }
        }
        let answer =
            Answer::of(&HISTORY_SECRET, seen, "the history holds a credential", "the history holds no credential");
        Ok(vec![answer.shown_by(case.wanted.detector)])
    };
    answered(&HISTORY_SECRET, answers())
}

pub(super) fn repository(case: &Case<'_>) -> Vec<Answer> {
    let answers = || {
        let tree = case.files(&REPOSITORY)?;
        let is_head = |path: &[u8]| path == b".git/HEAD" || path.ends_with(b"/.git/HEAD");
        let found = tree.iter().filter(|(path, _)| is_head(path));
        let seen =
            found.map(|(path, entry)| Seen::entry(path.strip_suffix(b"/HEAD").unwrap_or(path), entry, "")).collect();
        let answer = Answer::of(&REPOSITORY, seen, "a repository is in the image", "no repository is in the image");
        Ok(vec![answer.shown_by(case.wanted.detector)])
    };
    answered(&REPOSITORY, answers())
}
