//! Programs that are asked one question on standard input and answer on standard output, within time and bytes. No
//! shell is between, what they say on standard error is for nobody (it may hold secrets), and none of them is left
//! behind.

use std::ffi::{OsStr, OsString};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use secrecy::zeroize::Zeroizing;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::{Child, Command};

/// How long an answer may take.
pub const PATIENCE: Duration = Duration::from_secs(10);
/// Largest answer, in bytes.
pub const ANSWER_BYTES: usize = 64 << 10;

/// A program and what it is asked. Variables may be secrets, so there is no Debug.
pub struct Question<'a> {
    /// The program's file.
    pub program: &'a Path,
    /// Its arguments.
    pub arguments: &'a [String],
    /// Variables laid over our own environment.
    pub environment: &'a [(String, String)],
    /// What it reads.
    pub input: &'a [u8],
}

/// What it said. It may be a secret, so there is no Debug.
pub struct Answer {
    /// How it ended.
    pub status: ExitStatus,
    /// Its standard output.
    pub output: Zeroizing<Vec<u8>>,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum Unanswered {
    /// The system could not start it, or speak to it.
    #[error("it could not be run: {0}")]
    NotRun(#[from] std::io::Error),
    /// Too late.
    #[error("it did not answer within {} s", PATIENCE.as_secs())]
    TimedOut,
    /// Too much.
    #[error("it answered with more than {ANSWER_BYTES} bytes")]
    TooLarge,
}

/// Looks for a program in the folders of a `PATH`. Relative folders do not count: what they hold depends on where we
/// were started.
pub fn find(name: &str, path: &OsStr) -> Option<PathBuf> {
    let folders = std::env::split_paths(path).filter(|folder| folder.is_absolute());
    folders.map(|folder| folder.join(name)).find(|file| is_program(file))
}

/// Whether this file can be run by somebody.
pub fn is_program(file: &Path) -> bool {
    file.metadata().is_ok_and(|about| about.is_file() && about.permissions().mode() & 0o111 != 0)
}

/// Asks a program. Whoever stops waiting ends it.
pub async fn ask(question: &Question<'_>) -> Result<Answer, Unanswered> {
    tokio::time::timeout(PATIENCE, answered(question)).await.unwrap_or(Err(Unanswered::TimedOut))
}

async fn answered(question: &Question<'_>) -> Result<Answer, Unanswered> {
    let variables = question.environment.iter().map(|(name, value)| (OsString::from(name), OsString::from(value)));
    let mut child = Command::new(question.program)
        .args(question.arguments)
        .envs(variables)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .process_group(0)
        .kill_on_drop(true)
        .spawn()?;
    let _group = Group::of(&child);
    let (stdin, stdout) = (child.stdin.take(), child.stdout.take());
    let told = async {
        if let Some(mut stdin) = stdin {
            // A program may answer without reading what it is asked.
            let _ = stdin.write_all(question.input).await;
        }
    };
    // Of its final size: a buffer that grows leaves copies of the secret.
    let mut output = Zeroizing::new(Vec::with_capacity(ANSWER_BYTES + 1));
    let heard = async {
        match stdout {
            Some(stdout) => stdout.take(ANSWER_BYTES as u64 + 1).read_to_end(&mut output).await,
            None => Ok(0),
        }
    };
    let ((), read) = tokio::join!(told, heard);
    if read? > ANSWER_BYTES {
        return Err(Unanswered::TooLarge);
    }
    Ok(Answer { status: child.wait().await?, output })
}

/// The process group of a program, ended when nobody waits for it any more: what the program started has no
/// other owner.
struct Group(Option<Pid>);

impl Group {
    fn of(child: &Child) -> Self {
        Self(child.id().and_then(|id| Pid::from_raw(id.try_into().ok()?)))
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(group) = self.0 {
            // A group whose last process has ended is not there any more.
            let _ = kill_process_group(group, Signal::KILL);
        }
    }
}

#[cfg(test)]
mod tests;
