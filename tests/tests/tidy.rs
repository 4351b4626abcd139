//! The house of ARCHITECTURE.md, checked over the repository as it is: arrows, purity, mints, doors, sizes.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use portreeve_tests::process::run;
use portreeve_tests::source_scan::Source;
use portreeve_tests::{OrFail, repository, tidy};
use serde_json::Value;

/// Which member may depend on which.
fn arrows() -> BTreeMap<&'static str, Vec<&'static str>> {
    BTreeMap::from([
        ("portreeve-reports", vec![]),
        ("portreeve-policies", vec!["portreeve-reports"]),
        ("portreeve-trust", vec!["portreeve-policies", "portreeve-reports"]),
        ("portreeve-secrets", vec!["portreeve-reports"]),
        ("portreeve-api", vec!["portreeve-trust", "portreeve-policies", "portreeve-reports"]),
        // The harness is for its tests alone: how a PostgreSQL is started.
        (
            "portreeve",
            vec![
                "portreeve-api",
                "portreeve-secrets",
                "portreeve-trust",
                "portreeve-policies",
                "portreeve-reports",
                "portreeve-tests",
            ],
        ),
        (
            "portreeve-tests",
            vec!["portreeve-api", "portreeve-secrets", "portreeve-trust", "portreeve-policies", "portreeve-reports"],
        ),
    ])
}

/// Members that the table knows and that do not exist yet.
const PLANNED: [&str; 0] = [];

/// Folders of the crates that neither wait nor do I/O.
const PURE: [&str; 5] = ["reports/src", "policies/src", "policies/trust/src", "secrets/src", "daemon/api/src"];

/// Packages that a pure crate has no use for outside its tests.
const IMPURE_PACKAGES: [&str; 14] = [
    "tokio",
    "tokio-util",
    "futures",
    "axum",
    "hyper",
    "reqwest",
    "kube",
    "notify",
    "sqlx",
    "tempfile",
    "rand",
    "getrandom",
    "rustix",
    "oci-client",
];

/// What libraries below pure crates do on their own, although our code does not ask for it: crate, library, effect.
const LIBRARY_EFFECTS: [(&str, &str, &str); 2] = [
    ("portreeve-trust", "sigstore-crypto", "signing draws its random number from the operating system"),
    ("portreeve-secrets", "age", "encrypting to a recipient draws its file key from the operating system"),
];

/// Places that break a rule of purity with a reason: start of the violation, reason. None is needed now.
const EXCUSED: [(&str, &str); 0] = [];

/// `unwrap` and `panic!` outside tests.
const EXCUSED_PANICS: [(&str, &str); 1] = [("tests/src/lib.rs:", "the harness fails a test by its one panic")];

/// What may stand at the top of the repository.
const TOP: [&str; 23] = [
    ".ci",
    ".github",
    ".gitignore",
    "ARCHITECTURE.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "Cargo.lock",
    "Cargo.toml",
    "LICENSE",
    "Makefile",
    "README.md",
    "SECURITY.md",
    "charts",
    "clippy.toml",
    "daemon",
    "deny.toml",
    "docs",
    "policies",
    "reports",
    "rust-toolchain.toml",
    "rustfmt.toml",
    "secrets",
    "tests",
];

fn sources(folders: &[&str]) -> Vec<Source> {
    let sources: Vec<_> = folders.iter().flat_map(|folder| Source::below(&repository(), folder)).collect();
    assert!(!sources.is_empty(), "no sources below {folders:?}");
    sources
}

fn all_sources() -> Vec<Source> {
    sources(&[
        "reports/src",
        "policies/src",
        "policies/trust/src",
        "secrets/src",
        "daemon/src",
        "daemon/api/src",
        "tests/src",
    ])
}

/// Fails with every violation that no excuse covers, and with every excuse that covers none.
#[track_caller]
fn assert_none(violations: &[String], excused: &[(&str, &str)]) {
    let is_excused = |violation: &&String| excused.iter().any(|(start, _)| violation.starts_with(start));
    let left: Vec<_> = violations.iter().filter(|violation| !is_excused(violation)).cloned().collect();
    assert!(left.is_empty(), "{} violations:\n{}", left.len(), left.join("\n"));
    let is_used = |start: &str| violations.iter().any(|violation| violation.starts_with(start));
    let unused: Vec<_> = excused.iter().filter(|(start, _)| !is_used(start)).collect();
    assert!(unused.is_empty(), "excuses that nothing needs: {unused:?}");
}

fn check(sources: &[Source], rule: fn(&Source) -> Vec<String>) -> Vec<String> {
    sources.iter().flat_map(rule).collect()
}

fn packages() -> Vec<Value> {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.current_dir(repository()).args(["metadata", "--no-deps", "--format-version=1", "--locked"]);
    let metadata: Value = serde_json::from_str(&run(&mut cargo)).or_fail("the metadata of cargo");
    metadata["packages"].as_array().or_fail("packages").clone()
}

/// Names of what a package depends on, tests left out when `shipped`.
fn dependencies(package: &Value, shipped: bool) -> Vec<String> {
    let all = package["dependencies"].as_array().into_iter().flatten();
    let kept = all.filter(|dependency| !shipped || dependency["kind"] != "dev");
    kept.filter_map(|dependency| dependency["name"].as_str().map(str::to_owned)).collect()
}

#[test]
fn the_arrows_between_crates_are_those_of_the_design() {
    let mut edges: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for package in packages() {
        let inside = dependencies(&package, false).into_iter().filter(|name| name.starts_with("portreeve"));
        edges.insert(package["name"].as_str().unwrap().to_owned(), inside.collect());
    }
    assert_none(&tidy::wrong_arrows(&edges, &arrows(), &PLANNED), &[]);
}

#[test]
fn pure_crates_do_no_io_and_read_no_clock_environment_or_random_bytes() {
    assert_none(&check(&sources(&PURE), tidy::impure), &EXCUSED);
}

#[test]
fn pure_crates_have_no_library_for_io() {
    let pure = ["portreeve-reports", "portreeve-policies", "portreeve-trust", "portreeve-secrets", "portreeve-api"];
    for package in packages() {
        let name = package["name"].as_str().unwrap().to_owned();
        let impure = |library: &String| pure.contains(&name.as_str()) && IMPURE_PACKAGES.contains(&library.as_str());
        let libraries: Vec<_> = dependencies(&package, true).into_iter().filter(impure).collect();
        assert_eq!(libraries, [""; 0], "{name}");
    }
}

#[test]
fn libraries_that_do_more_than_they_are_asked_for_are_listed_where_they_are_used() {
    let packages = packages();
    for (user, library, effect) in LIBRARY_EFFECTS {
        let package = packages.iter().find(|package| package["name"] == user).unwrap();
        assert!(dependencies(package, true).iter().any(|name| name == library), "{user} has no {library}: {effect}");
    }
}

#[test]
fn a_verified_image_is_minted_in_one_place_and_never_read_from_data() {
    let sources = all_sources();
    let mints: Vec<_> = sources.iter().flat_map(|source| tidy::struct_literals(source, "VerifiedImage")).collect();
    assert_eq!(mints.len(), 1, "mints of VerifiedImage: {mints:?}");
    assert!(mints[0].starts_with("policies/trust/src/"), "{mints:?}");
    assert_none(&check(&sources, |source| tidy::open_struct(source, "VerifiedImage")), &[]);
}

#[test]
fn one_function_says_that_an_image_is_verified() {
    let made = |source: &Source| tidy::variant_literals(source, "ImageFact", "Verified");
    let made: Vec<_> = all_sources().iter().flat_map(made).collect();
    assert_eq!(made.len(), 1, "places that make ImageFact::Verified: {made:?}");
    assert!(made[0].starts_with("policies/trust/src/"), "{made:?}");
}

#[test]
fn only_the_supervisor_starts_tasks() {
    let mut sources = sources(&["daemon/src"]);
    sources.retain(|source| !source.path.starts_with("daemon/src/runtime/supervisor"));
    assert_none(&check(&sources, tidy::spawns), &[]);
}

#[test]
fn the_doors_of_the_daemon_do_not_know_each_other() {
    assert_none(&check(&sources(&["daemon/src"]), tidy::door_imports), &[]);
}

#[test]
fn only_the_judge_calls_the_rules() {
    assert_none(&check(&sources(&["daemon/src"]), tidy::rule_calls), &[]);
}

#[test]
fn nothing_panics_on_purpose() {
    assert_none(&check(&all_sources(), tidy::panics), &EXCUSED_PANICS);
}

#[test]
fn files_and_functions_are_small() {
    let sources = all_sources();
    let mut lines: Vec<_> = sources.iter().flat_map(|source| &source.functions).map(|f| f.lines).collect();
    lines.sort_unstable();
    let (median, p95) = (lines[lines.len() / 2], lines[lines.len() * 95 / 100]);
    let large: Vec<_> = sources.iter().filter(|source| source.lines > 500).map(|source| &source.path).collect();
    println!("{} files, {} above 500 lines: {large:?}", sources.len(), large.len());
    println!("{} functions, median {median}, p95 {p95}, longest {:?}", lines.len(), lines.last());
    assert_none(&check(&sources, tidy::sizes), &[]);
    assert!(median <= 10, "the median function has {median} lines");
}

#[test]
fn every_module_opens_with_what_it_is() {
    for source in all_sources().iter().filter(|source| source.has_code()) {
        let text = std::fs::read_to_string(repository().join(&source.path)).unwrap();
        let first = text.lines().next().unwrap_or_default();
        assert!(first.starts_with("//! ") && first.len() > 15, "{}: opens with {first:?}", source.path);
    }
}

fn tracked_files() -> Vec<String> {
    let mut git = Command::new("git");
    git.current_dir(repository()).args(["ls-files", "--cached", "--others", "--exclude-standard"]);
    run(&mut git).lines().map(str::to_owned).collect()
}

fn unexpected_at_the_top(files: &[String]) -> Vec<&str> {
    let tops = files.iter().map(|file| file.split('/').next().unwrap_or_default());
    tops.filter(|top| !TOP.contains(top)).collect()
}

#[test]
fn the_top_of_the_repository_is_the_fixed_list() {
    assert_eq!(unexpected_at_the_top(&["notes.txt".to_owned(), "tests/a.rs".to_owned()]), ["notes.txt"]);
    assert_eq!(unexpected_at_the_top(&tracked_files()), [""; 0]);
}

/// Paths that exist on one machine only: where this checkout is, and tool caches of its user.
fn machine_paths() -> Vec<String> {
    let home = std::env::var("HOME").unwrap_or_default();
    let caches = [".cargo", ".cache", ".rustup"].map(|folder| format!("{home}/{folder}"));
    let places = repository().ancestors().take(2).map(|path| format!("{}/", path.display())).collect::<Vec<_>>();
    caches.into_iter().chain(places).filter(|path| path.matches('/').count() > 1).collect()
}

fn with_machine_paths(file: &str, text: &str) -> Vec<String> {
    let lines = text.lines().enumerate();
    let named = lines.filter(|(_, line)| machine_paths().iter().any(|path| line.contains(path)));
    named.map(|(number, line)| format!("{file}:{}: {line}", number + 1)).collect()
}

#[test]
fn no_file_names_a_path_of_one_machine() {
    assert_eq!(with_machine_paths("x", &format!("at {}/a", repository().display())).len(), 1);
    let read = |file: &String| Some((file.clone(), std::fs::read_to_string(Path::new(&repository()).join(file)).ok()?));
    let texts: Vec<_> = tracked_files().iter().filter_map(read).collect();
    assert!(texts.len() > 20, "files are read");
    let named: Vec<_> = texts.iter().flat_map(|(file, text)| with_machine_paths(file, text)).collect();
    assert_none(&named, &[]);
}
