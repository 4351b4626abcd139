//! The `portreeve` binary as a process: built once for a test process by cargo itself, so never a stale one.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use serde_json::Value;

use crate::process::{Running, START, scratch};
use crate::{OrFail, fail, repository};

/// What the environment of a command may hold: nothing that changes what Portreeve does.
const KEPT_VARIABLES: [&str; 3] = ["PATH", "TMPDIR", "LANG"];

/// What a command did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Output {
    /// The exit code; `None` when a signal ended it.
    pub code: Option<i32>,
    /// All of stdout.
    pub stdout: String,
    /// All of stderr.
    pub stderr: String,
}

/// The binary under test.
pub struct Portreeve;

impl Portreeve {
    /// The path of the binary, built from the sources as they are now.
    pub fn path() -> &'static Path {
        static BUILT: OnceLock<PathBuf> = OnceLock::new();
        BUILT.get_or_init(build)
    }

    /// A command of the binary in a scrubbed environment: no `PORTREEVE_*`, no CI, `NO_COLOR` set, an empty home.
    pub fn command() -> Command {
        scrubbed(Command::new(Self::path()))
    }

    /// Runs a command to its end.
    pub fn run<I: AsRef<OsStr>>(arguments: impl IntoIterator<Item = I>) -> Output {
        Self::finish(Self::command().args(arguments))
    }

    /// Runs a command, made by [`Portreeve::command`], to its end.
    pub fn finish(command: &mut Command) -> Output {
        let output = command.output().or_fail("running portreeve");
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).or_fail("portreeve prints UTF-8");
        Output { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
    }

    /// Starts `portreeve serve` with a configuration file and waits for its `ready` line.
    pub async fn serve(config: &Path) -> Running {
        let mut command = Self::command();
        Self::serve_by(command.arg("serve").arg("--config").arg(config)).await
    }

    /// Starts a serving command, made by [`Portreeve::command`], and waits for its `ready` line.
    pub async fn serve_by(command: &mut Command) -> Running {
        let mut running = Running::start("portreeve", command);
        running.line("ready", START).await;
        running
    }
}

fn scrubbed(mut command: Command) -> Command {
    command.env_clear().env("NO_COLOR", "1").env("HOME", scratch("home")).stdin(Stdio::null());
    let kept = KEPT_VARIABLES.iter().filter_map(|name| Some((name, std::env::var_os(name)?)));
    command.envs(kept);
    command
}

/// Builds with the profile of the running test, and keeps a copy: another build may replace cargo's own.
fn build() -> PathBuf {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(repository()).args(["build", "--workspace", "--bin", "portreeve"]);
    cargo.args(["--profile", profile(), "--message-format=json-render-diagnostics"]);
    let output = cargo.stdin(Stdio::null()).output().or_fail("running cargo");
    if !output.status.success() {
        fail(format!("portreeve does not build\n{}", String::from_utf8_lossy(&output.stderr)));
    }
    let messages = String::from_utf8_lossy(&output.stdout).into_owned();
    let built = executable(&messages).or_fail("cargo names the binary that it built");
    let copy = scratch("binary").join("portreeve");
    // Another process copies: one that this process starts meanwhile would inherit the file that is being written, and
    // a file that is open for writing cannot be executed.
    let copied = Command::new("cp").arg(built).arg(&copy).status().or_fail("running cp");
    assert!(copied.success(), "the binary is not copied");
    copy
}

/// The executable in cargo's messages.
fn executable(messages: &str) -> Option<PathBuf> {
    let messages = messages.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let mut binaries = messages.filter(|message| message["target"]["name"] == "portreeve");
    binaries.find_map(|message| message["executable"].as_str().map(PathBuf::from))
}

/// The cargo profile of this program.
fn profile() -> &'static str {
    static PROFILE: OnceLock<String> = OnceLock::new();
    PROFILE.get_or_init(|| {
        let program = std::env::current_exe().or_fail("the path of this program");
        profile_of(&program).or_fail("the profile folder of this program").to_owned()
    })
}

/// The profile by where a program is: `target/<profile>/deps/<test>`, or `target/<profile>/<binary>`.
fn profile_of(program: &Path) -> Option<&str> {
    let mut folders = program.ancestors().skip(1).filter_map(Path::file_name).filter_map(OsStr::to_str);
    match folders.find(|folder| *folder != "deps")? {
        "debug" => Some("dev"),
        profile => Some(profile),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_binary_is_found_among_the_messages_of_cargo() {
        let messages = r#"{"reason":"compiler-artifact","target":{"name":"portreeve_reports"},"executable":null}
            {"reason":"compiler-artifact","target":{"name":"portreeve"},"executable":null}
            {"reason":"compiler-artifact","target":{"name":"portreeve"},"executable":"/t/debug/portreeve"}"#;
        assert_eq!(executable(messages), Some(PathBuf::from("/t/debug/portreeve")));
        assert_eq!(executable("no json"), None);
    }

    #[test]
    fn a_test_and_a_binary_know_their_profile() {
        for (program, profile) in [
            ("/t/debug/deps/doors-0a1b", "dev"),
            ("/t/debug/demo-cluster", "dev"),
            ("/t/release/deps/product-0a1b", "release"),
            ("/t/release/demo-cluster", "release"),
        ] {
            assert_eq!(profile_of(Path::new(program)), Some(profile), "{program}");
        }
    }

    #[test]
    fn a_command_sees_nothing_of_the_caller_that_could_change_it() {
        let output = scrubbed(Command::new("env")).output().unwrap();
        let names = String::from_utf8(output.stdout).unwrap();
        let names: Vec<_> = names.lines().filter_map(|line| line.split_once('=')).map(|(name, _)| name).collect();
        assert!(names.contains(&"NO_COLOR"));
        let expected = ["HOME", "LANG", "NO_COLOR", "PATH", "TMPDIR"];
        assert!(names.iter().all(|name| expected.contains(name)), "{names:?}");
    }
}
