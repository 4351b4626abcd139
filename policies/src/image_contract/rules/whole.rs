//! Questions about the image as a whole: could it be read, is it where it should be, how large, from where, what is in.

use std::collections::BTreeSet;

use portreeve_reports::{Cause, Severity};

use super::{Answer, Case, answered};
use crate::image_contract::answer::Seen;
use crate::image_contract::codes::{BUDGET, INSIDE, INVENTORY, LABELS, PLATFORMS, READABLE};
use crate::image_contract::contents::Platform;
use crate::layers::tree::Oddity;

pub(super) fn readable(case: &Case<'_>) -> Vec<Answer> {
    let image = case.image;
    vec![match &image.problem {
        Some(problem) => {
            let message = format!("the image could not be read whole: {problem}");
            let count = format!("{} of {}", image.layers.len(), image.layer_count);
            Answer::unknown(&READABLE, problem.cause, message).evidence("layers read", count)
        }
        None => {
            let entries: usize = image.layers.iter().map(|layer| layer.summary.entries).sum();
            Answer::pass(&READABLE, format!("{} layers with {entries} entries were read", image.layers.len()))
        }
    }]
}

pub(super) fn inside(case: &Case<'_>) -> Vec<Answer> {
    let (oddities, untold) = case.image.tree.oddities();
    let seen = |wanted: &[Oddity]| -> Vec<Seen> {
        let found = oddities.iter().filter(|(oddity, ..)| wanted.contains(oddity));
        found.map(|(oddity, layer, name)| Seen::file(name, *layer, what(*oddity))).collect()
    };
    let answer = |check: &'static str, severity: Severity, wanted: &[Oddity], failure: &str| {
        let seen = seen(wanted);
        let failed = !seen.is_empty();
        match (&case.image.problem, failed) {
            (Some(problem), false) => Answer::unread(&INSIDE, problem),
            _ => Answer::of(&INSIDE, seen, failure, "no entry of a layer does"),
        }
        .unseen(if failed { untold } else { 0 })
        .severity(severity)
        .check(check)
        .shown_by(case.wanted.detector)
    };
    vec![
        answer("names", Severity::High, &[Oddity::Escape], "a name in a layer leads out of the image"),
        answer("devices", Severity::Medium, &[Oddity::Device], "a layer has a device"),
        answer(
            "links",
            Severity::Medium,
            &[Oddity::Circle, Oddity::DeadLink],
            "a link in a layer goes nowhere or in a circle",
        ),
        answer("absolute", Severity::Low, &[Oddity::Absolute], "a name in a layer begins at the root"),
    ]
}

fn what(oddity: Oddity) -> &'static str {
    match oddity {
        Oddity::Escape => "leads out of the image",
        Oddity::Absolute => "begins at the root",
        Oddity::Device => "a device",
        Oddity::Circle => "links in a circle, or more of them than a system follows",
        Oddity::DeadLink => "another name of a file that no layer has",
    }
}

pub(super) fn platforms(case: &Case<'_>) -> Vec<Answer> {
    let image = case.image;
    let own = [image.platform.clone()];
    let there: &[Platform] = if image.platforms.is_empty() { &own } else { &image.platforms };
    let list = |platforms: &[Platform]| platforms.iter().map(Platform::to_string).collect::<Vec<_>>().join(", ");
    let answers = || {
        case.config(&PLATFORMS)?;
        let missing = case.wanted.platforms.iter().filter(|wanted| !there.iter().any(|there| there.is(wanted)));
        let missing: Vec<Seen> = missing.map(|wanted| Seen::field(wanted.to_string(), "")).collect();
        let wanted = match case.wanted.platforms.as_slice() {
            [] => Answer::not_applicable(&PLATFORMS, "no platforms were asked for (--platforms)"),
            _ => Answer::of(&PLATFORMS, missing, "the image is missing for a platform", "it is there for all of them"),
        };
        let as_listed = match &image.listed_platform {
            Some(listed) if !listed.is(&image.platform) => {
                let message = format!("the index lists it as {listed}, and its configuration says {}", image.platform);
                Answer::fail(&PLATFORMS, message).severity(Severity::High)
            }
            _ => Answer::pass(&PLATFORMS, "it is for the platform that it is listed for"),
        };
        Ok(vec![wanted.check("wanted").evidence("platforms", list(there)), as_listed.check("listed")])
    };
    answered(&PLATFORMS, answers())
}

pub(super) fn budgets(case: &Case<'_>) -> Vec<Answer> {
    let (image, budgets) = (case.image, &case.wanted.budgets);
    let config = match case.config(&BUDGET) {
        Ok(config) => config,
        Err(answer) => return vec![answer],
    };
    let sized = || {
        case.files(&BUDGET)?;
        let stored = image.layers.iter().map(|layer| layer.summary.stored);
        let size: u64 = stored.clone().sum();
        let over = |bytes: u64, most: u64, what: &str| match bytes > most {
            true => Answer::fail(&BUDGET, format!("{what} has {}, more than {}", mib(bytes), mib(most))),
            false => Answer::pass(&BUDGET, format!("{what} has {}, at most {} are asked", mib(bytes), mib(most))),
        };
        let largest = stored.enumerate().max_by_key(|(_, bytes)| *bytes);
        let (index, largest) = largest.unwrap_or((0, 0));
        let seen =
            image.layers.get(index).map(|_| Seen { layer: Some(index), ..Seen::field(format!("layers[{index}]"), "") });
        Ok(vec![
            over(size, budgets.size, "the image").check("size"),
            over(largest, budgets.layer, "the largest layer")
                .seen(seen.into_iter().collect())
                .shown_by(case.wanted.detector)
                .check("largest-layer"),
        ])
    };
    let mut answers = sized().unwrap_or_else(|answer: Answer| vec![answer.check("size")]);
    answers.push(
        match image.layer_count > budgets.layers {
            true => Answer::fail(&BUDGET, format!("{} layers are more than {}", image.layer_count, budgets.layers)),
            false => Answer::pass(&BUDGET, format!("{} layers, at most {}", image.layer_count, budgets.layers)),
        }
        .check("layers"),
    );
    let days = budgets.age.as_hours() / 24;
    answers.push(
        match config.made() {
            Some(made) if case.wanted.now.duration_since(made) > budgets.age => {
                Answer::fail(&BUDGET, format!("it was made at {made}, more than {days} days ago"))
            }
            Some(made) => Answer::pass(&BUDGET, format!("it was made at {made}")),
            None => Answer::unknown(&BUDGET, Cause::NotVisible, "the image does not say when it was made"),
        }
        .check("age"),
    );
    answers
}

fn mib(bytes: u64) -> String {
    format!("{} MiB", bytes.div_ceil(1 << 20))
}

pub(super) fn labels(case: &Case<'_>) -> Vec<Answer> {
    let answers = || {
        let config = case.config(&LABELS)?;
        let label = |name: &str| config.config.labels.get(&format!("org.opencontainers.image.{name}"));
        let is_there = |name: &str| label(name).is_some_and(|value| !value.trim().is_empty());
        let missing = ["source", "revision", "created"].into_iter().filter(|name| !is_there(name));
        let missing = missing.filter(|name| *name != "created" || config.made().is_none());
        let missing = missing.map(|name| Seen::field(format!("config.Labels['org.opencontainers.image.{name}']"), ""));
        Ok(vec![Answer::of(&LABELS, missing.collect(), "labels are missing", "source, revision and time are there")])
    };
    answered(&LABELS, answers())
}

pub(super) fn inventory(case: &Case<'_>) -> Vec<Answer> {
    let answers = || {
        case.files(&INVENTORY)?;
        let unread = &case.packages.unread;
        let mut answer = match unread.first() {
            None => Answer::pass(&INVENTORY, "the records of all package managers were read"),
            Some((path, why)) => {
                let reasons: BTreeSet<&str> = unread.iter().map(|(_, why)| *why).collect();
                let is_of_ours = reasons.iter().all(|why| why.contains("rpm"));
                let cause = if is_of_ours { Cause::NotImplemented } else { Cause::TooLarge };
                Answer::unknown(&INVENTORY, cause, format!("/{path} could not be read: {why}"))
                    .evidence("records not read", unread.len().to_string())
            }
        };
        for (manager, count) in case.packages.counts() {
            answer = answer.evidence(manager.as_str(), format!("{count} packages"));
        }
        Ok(vec![answer])
    };
    answered(&INVENTORY, answers())
}
