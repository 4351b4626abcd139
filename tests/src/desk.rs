//! A folder at which a user of the command line works: files in it, commands run in it, what they came to.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::Value;

use crate::binary::{Output, Portreeve};
use crate::process::{Running, run, scratch};
use crate::{OrFail, fail};

/// A Deployment whose one container is privileged and lacks all that hardening asks for.
pub const PRIVILEGED: &str = "\
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers:
      - name: web
        image: example.org/web:1
        securityContext: {privileged: true}
";

/// A folder with files; commands run in it.
pub struct Desk {
    folder: PathBuf,
}

impl Default for Desk {
    fn default() -> Self {
        Self::new()
    }
}

impl Desk {
    /// An empty folder outside any repository.
    pub fn new() -> Self {
        Self { folder: scratch("desk") }
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Writes a file, with the folders above it.
    pub fn file(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.folder.join(name);
        let parent = path.parent().or_fail("a file stands in a folder");
        fs::create_dir_all(parent).or_fail("the folder of a file");
        fs::write(&path, content).or_fail("a file of a test");
        path
    }

    /// Makes a shell script that can be run. It is put in place by another process: a descriptor of ours could be held
    /// open by a fork of another test's thread, and a file that is open for writing cannot be run.
    pub fn program(&self, name: &str, script: &str) -> PathBuf {
        let text = self.file(&format!("{name}.sh"), format!("#!/bin/sh\n{script}\n"));
        let program = self.folder.join(name);
        run(Command::new("install").args(["-m", "755"]).arg(text).arg(&program));
        program
    }

    /// What a file holds.
    pub fn read(&self, name: &str) -> String {
        fs::read_to_string(self.folder.join(name)).or_fail(name)
    }

    /// A file as JSON.
    pub fn json(&self, name: &str) -> Value {
        serde_json::from_str(&self.read(name)).or_fail(name)
    }

    /// A `portreeve` command in this folder.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Portreeve::command();
        command.current_dir(&self.folder).args(arguments);
        command
    }

    /// Runs a `portreeve` command to its end.
    pub fn run(&self, arguments: &[&str]) -> Output {
        Portreeve::finish(&mut self.command(arguments))
    }

    /// Runs a command that reads `input` from standard input.
    pub fn run_with(&self, arguments: &[&str], input: &str) -> Output {
        let mut command = self.command(arguments);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().or_fail("starting portreeve");
        let mut stdin = child.stdin.take().or_fail("the stdin of portreeve");
        // A command that ends before it has read everything is judged by its exit code.
        let _closed = stdin.write_all(input.as_bytes());
        drop(stdin);
        let output = child.wait_with_output().or_fail("running portreeve");
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).or_fail("portreeve prints UTF-8");
        Output { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
    }

    /// Runs a command and watches what it costs; one that outlives the deadline fails the test.
    pub async fn run_measured(&self, arguments: &[&str], deadline: Duration) -> Measured {
        let mut running = Running::start("portreeve", &mut self.command(arguments));
        let id = running.id();
        let mut ticks = tokio::time::interval(Duration::from_millis(10));
        let mut peak = 0;
        let status = {
            let mut ended = std::pin::pin!(running.ended(deadline));
            loop {
                tokio::select! {
                    status = &mut ended => break status,
                    _ = ticks.tick() => peak = peak_memory(id).unwrap_or_default().max(peak),
                }
            }
        };
        let output = Output { code: status.code(), stdout: running.stdout(), stderr: running.stderr() };
        Measured { output, peak_memory: peak }
    }

    /// Runs git in this folder.
    pub fn git(&self, arguments: &[&str]) -> String {
        let mut git = Command::new("git");
        git.current_dir(&self.folder).env("GIT_CONFIG_GLOBAL", "/dev/null").env("GIT_CONFIG_NOSYSTEM", "1");
        git.args(["-c", "user.name=tests", "-c", "user.email=tests@example.org", "-c", "init.defaultBranch=main"]);
        run(git.args(arguments))
    }
}

/// What a command did and cost.
#[derive(Debug)]
pub struct Measured {
    /// What it did.
    pub output: Output,
    /// Most resident memory, in bytes.
    pub peak_memory: u64,
}

/// The high-water mark of a process's resident memory, in bytes; `None` when it has ended.
pub fn peak_memory(id: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{id}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix(" kB")?.parse::<u64>().ok().map(|kilobytes| kilobytes << 10)
}

impl Output {
    /// Fails the test unless the command exited so.
    #[track_caller]
    pub fn expect_exit(self, code: i32) -> Self {
        if self.code != Some(code) {
            fail(format!("exit {:?}, not {code}\nstdout:\n{}\nstderr:\n{}", self.code, self.stdout, self.stderr));
        }
        self
    }

    /// Stdout as JSON.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).or_fail(&format!("JSON on stdout: {}", self.stdout))
    }
}

/// `CODE verdict` of every finding of a json-v1 report, sorted.
pub fn verdicts(report: &Value) -> Vec<String> {
    let findings = report["findings"].as_array().or_fail("a report has findings");
    let text = |finding: &Value, key: &str| finding[key].as_str().or_fail(key).to_owned();
    let mut verdicts: Vec<String> =
        findings.iter().map(|finding| format!("{} {}", text(finding, "code"), text(finding, "verdict"))).collect();
    verdicts.sort();
    verdicts
}
