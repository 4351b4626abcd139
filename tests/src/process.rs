//! Starting a program, awaiting what it announces, reading what it printed, ending it by its id.
//!
//! A reaper (a small shell program) hears of every program and folder. It ends them when the test process is gone,
//! however it went: Rust drops no statics, and a killed test runner drops nothing at all.

use std::collections::HashSet;
use std::fs::File;
use std::future::Future;
use std::io::Write;
use std::net::TcpListener;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{LazyLock, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::{OrFail, fail};

/// How often a condition is looked at.
const TICK: Duration = Duration::from_millis(20);
/// How long a program may take to become ready on a busy machine.
pub const START: Duration = Duration::from_secs(120);

/// A program that runs. Dropping it kills it.
#[derive(Debug)]
pub struct Running {
    name: String,
    child: Child,
    stdout: PathBuf,
    stderr: PathBuf,
}

impl Running {
    /// Starts a program in a process group of its own; what it prints goes to files.
    pub fn start(name: &str, command: &mut Command) -> Self {
        Self::reading(name, command, Stdio::null())
    }

    /// The same, with something to read.
    pub fn reading(name: &str, command: &mut Command, stdin: impl Into<Stdio>) -> Self {
        let folder = scratch(name);
        let (stdout, stderr) = (folder.join("stdout"), folder.join("stderr"));
        let create = |path: &Path| File::create(path).or_fail("the log of a program");
        let child = command
            .stdin(stdin)
            .stdout(create(&stdout))
            .stderr(create(&stderr))
            .process_group(0)
            .spawn()
            .or_fail(&format!("starting {name}"));
        reaper("+", &child.id().to_string());
        Self { name: name.to_owned(), child, stdout, stderr }
    }

    /// The process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// What it has printed to stdout.
    pub fn stdout(&self) -> String {
        read_log(&self.stdout)
    }

    /// What it has printed to stderr.
    pub fn stderr(&self) -> String {
        read_log(&self.stderr)
    }

    /// Waits for the probe to find what it looks for; a program that ended, or the deadline, fails the test with the
    /// end of the program's log.
    pub async fn until<T, F: Future<Output = Option<T>>>(
        &mut self,
        what: &str,
        deadline: Duration,
        mut probe: impl FnMut(&Self) -> F,
    ) -> T {
        let end = Instant::now() + deadline;
        let mut ticks = tokio::time::interval(TICK);
        loop {
            ticks.tick().await;
            if let Some(found) = probe(self).await {
                return found;
            }
            if let Some(status) = self.child.try_wait().or_fail("the state of a program") {
                fail(format!("{} ended ({status}) before {what}\n{}", self.name, self.log_end()));
            }
            if Instant::now() > end {
                fail(format!("{}: {what} did not come within {deadline:?}\n{}", self.name, self.log_end()));
            }
        }
    }

    /// Waits until a line of stdout or stderr contains the text; gives that line.
    pub async fn line(&mut self, text: &str, deadline: Duration) -> String {
        let what = format!("a line with `{text}`");
        self.until(&what, deadline, |program| {
            let line = find_line(&program.stdout(), text).or_else(|| find_line(&program.stderr(), text));
            async { line }
        })
        .await
    }

    /// Waits until something listens on the loopback port.
    pub async fn listening(&mut self, port: u16) {
        self.until(&format!("port {port}"), START, |_| connects(port)).await;
    }

    /// Whether it has ended by itself.
    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().or_fail("the state of a program").is_some()
    }

    /// Sends a signal such as `INT` or `TERM`.
    pub fn signal(&self, signal: &str) {
        let status = Command::new("kill").args(["-s", signal, "--", &self.id().to_string()]).status();
        assert!(status.or_fail("the kill program").success(), "{} was there to get the signal", self.name);
    }

    /// Waits for the program to end by itself.
    pub async fn ended(&mut self, deadline: Duration) -> ExitStatus {
        let waited = until(deadline, || {
            let status = self.child.try_wait().or_fail("the state of a program");
            async move { status }
        });
        match waited.await {
            Some(status) => status,
            None => fail(format!("{} did not end within {deadline:?}\n{}", self.name, self.log_end())),
        }
    }

    /// Kills the program and waits until it is gone.
    pub fn kill(&mut self) {
        // A program that is gone already is what was wanted.
        let _gone = self.child.kill();
        let _status = self.child.wait();
        reaper("-", &self.child.id().to_string());
    }

    fn log_end(&self) -> String {
        let log = format!("{}{}", self.stdout(), self.stderr());
        let lines: Vec<_> = log.lines().collect();
        lines[lines.len().saturating_sub(25)..].join("\n")
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Waits for the probe to find what it looks for; `None` at the deadline.
pub async fn until<T, F: Future<Output = Option<T>>>(deadline: Duration, mut probe: impl FnMut() -> F) -> Option<T> {
    let end = Instant::now() + deadline;
    let mut ticks = tokio::time::interval(TICK);
    loop {
        ticks.tick().await;
        if let Some(found) = probe().await {
            return Some(found);
        }
        if Instant::now() > end {
            return None;
        }
    }
}

/// Runs a program to its end and gives its stdout; a failure fails the test with its stderr.
pub fn run(command: &mut Command) -> String {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command.stdin(Stdio::null()).output().or_fail(&program);
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if !output.status.success() {
        let arguments: Vec<_> = command.get_args().map(|argument| argument.to_string_lossy()).collect();
        fail(format!("{program} {} ({})\n{}", arguments.join(" "), output.status, text(&output.stderr)));
    }
    text(&output.stdout)
}

/// A loopback port that was free a moment ago and that no other caller in this process gets.
pub fn free_port() -> u16 {
    static GIVEN: LazyLock<Mutex<HashSet<u16>>> = LazyLock::new(Mutex::default);
    loop {
        let listener = TcpListener::bind("127.0.0.1:0").or_fail("a loopback port");
        let port = listener.local_addr().or_fail("the address of a listener").port();
        if GIVEN.lock().unwrap_or_else(PoisonError::into_inner).insert(port) {
            return port;
        }
    }
}

/// A new folder for the files of one part; it is removed when the test process is gone.
pub fn scratch(name: &str) -> PathBuf {
    static ROOT: LazyLock<PathBuf> = LazyLock::new(|| {
        let root = tempfile::Builder::new().prefix("portreeve-tests-").tempdir().or_fail("a temporary folder").keep();
        remove_at_end(&root);
        root
    });
    let prefix = format!("{name}-");
    tempfile::Builder::new().prefix(&prefix).tempdir_in(&*ROOT).or_fail("a folder for a part").keep()
}

/// Removes a folder when the test process is gone.
pub fn remove_at_end(folder: &Path) {
    reaper("folder", &folder.to_string_lossy());
}

async fn connects(port: u16) -> Option<()> {
    tokio::net::TcpStream::connect(("127.0.0.1", port)).await.ok().map(drop)
}

fn find_line(log: &str, text: &str) -> Option<String> {
    // The last line may still be in the writing.
    let complete = &log[..log.rfind('\n')?];
    complete.lines().find(|line| line.contains(text)).map(str::to_owned)
}

fn read_log(path: &Path) -> String {
    std::fs::read(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).or_fail("the log of a program")
}

/// Ends what runs and removes every folder now, and waits until that is done; for a program that wants to be gone without
/// a trace when it says so. Nothing can be started afterwards.
pub fn end_everything() {
    let mut reaper = REAPER.lock().unwrap_or_else(PoisonError::into_inner);
    drop(reaper.stdin.take());
    // A reaper that is gone has nothing left to do.
    let _status = reaper.wait();
}

/// Hears of programs and folders on its stdin, and acts when that ends.
static REAPER: LazyLock<Mutex<Child>> = LazyLock::new(|| {
    let mut command = Command::new("sh");
    command.args(["-c", include_str!("reaper.sh")]).stdin(Stdio::piped()).stdout(Stdio::null());
    Mutex::new(command.process_group(0).spawn().or_fail("the reaper"))
});

/// Tells the reaper of a program (`+` started, `-` ended) or of a folder.
fn reaper(what: &str, which: &str) {
    let mut reaper = REAPER.lock().unwrap_or_else(PoisonError::into_inner);
    let stdin = reaper.stdin.as_mut().or_fail("the reaper's stdin is a pipe");
    writeln!(stdin, "{what} {which}").or_fail("the reaper listens");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_line_is_awaited_and_the_program_ends_when_dropped() {
        let mut program = Running::start("shell", Command::new("sh").args(["-c", "echo 'ready now'; exec sleep 1000"]));
        assert_eq!(program.line("ready", START).await, "ready now");
        let id = program.id();
        assert!(Path::new(&format!("/proc/{id}")).exists());
        drop(program);
        assert!(!Path::new(&format!("/proc/{id}")).exists());
    }

    #[tokio::test]
    #[should_panic(expected = "ended (exit status: 3) before a line with `ready`\nno such thing")]
    async fn a_program_that_ends_early_fails_the_test_with_its_log() {
        let mut program = Running::start("shell", Command::new("sh").args(["-c", "echo no such thing; exit 3"]));
        program.line("ready", START).await;
    }

    #[tokio::test]
    async fn a_signal_reaches_the_program() {
        let mut program = Running::start(
            "shell",
            Command::new("sh").args(["-c", "trap 'exit 7' TERM; echo up; while :; do sleep 0.01; done"]),
        );
        program.line("up", START).await;
        program.signal("TERM");
        assert_eq!(program.ended(START).await.code(), Some(7));
    }

    #[test]
    fn ports_are_not_given_twice() {
        let ports: HashSet<_> = (0..50).map(|_| free_port()).collect();
        assert_eq!(ports.len(), 50);
    }

    #[tokio::test]
    async fn the_reaper_ends_what_is_left_when_its_owner_is_gone() {
        let folder = tempfile::tempdir().unwrap();
        let victims = ["one", "two with a space"].map(|name| folder.path().join(name));
        victims.iter().for_each(|victim| std::fs::create_dir(victim).unwrap());
        let mut left = Command::new("sleep").arg("1000").spawn().unwrap();
        let mut reaper =
            Command::new("sh").args(["-c", include_str!("reaper.sh")]).stdin(Stdio::piped()).spawn().unwrap();
        let mut stdin = reaper.stdin.take().unwrap();
        writeln!(stdin, "+ {}\n+ 999999999\n- 999999999", left.id()).unwrap();
        victims.iter().for_each(|victim| writeln!(stdin, "folder {}", victim.display()).unwrap());
        drop(stdin);
        assert!(reaper.wait().unwrap().success());
        assert!(!left.wait().unwrap().success());
        assert!(victims.iter().all(|victim| !victim.exists()));
    }
}
