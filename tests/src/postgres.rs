//! A real PostgreSQL on a loopback port, with a password. It refuses to run as root, so a root runs it as another user.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use crate::OrFail;
use crate::parts::Part;
use crate::process::{Running, START, free_port, remove_at_end, run, until};

/// The superuser of the server.
pub const USER: &str = "portreeve";
/// The password of that user.
pub const PASSWORD: &str = "harbour-store-pass";
/// The database that every server has.
pub const DATABASE: &str = "postgres";

/// A server that runs. Dropping it kills it.
pub struct Postgres {
    folder: PathBuf,
    port: u16,
    program: Option<Running>,
}

impl Postgres {
    /// A new server that wants [`PASSWORD`].
    pub async fn start() -> Self {
        Self::with("scram-sha-256").await
    }

    /// A new server that lets in everybody: for tests inside a process, whose environment must not change.
    pub async fn trusting() -> Self {
        Self::with("trust").await
    }

    async fn with(method: &str) -> Self {
        let folder = copy_of_template();
        fs::write(folder.join("pg_hba.conf"), format!("host all all 127.0.0.1/32 {method}\n")).or_fail("pg_hba.conf");
        let mut server = Self { folder, port: free_port(), program: None };
        server.start_again().await;
        server
    }

    /// `postgres://…` of a database, without the password, which [`PASSWORD`] is.
    pub fn url(&self, database: &str) -> String {
        format!("postgres://{USER}@127.0.0.1:{}/{database}", self.port)
    }

    /// Kills the server as a crash would: its children notice and end.
    pub fn kill(&mut self) {
        self.program = None;
    }

    /// Starts it after a kill, on the same port with the same data, and waits until it takes connections.
    pub async fn start_again(&mut self) {
        let log = "ready to accept connections";
        // The children of a killed server hold its memory for a moment, and a new one refuses to start until then.
        let started = until(START, || {
            let mut program = Running::start("postgres", &mut self.command());
            async move {
                let is_over = |program: &Running| program.stderr().contains("is still in use");
                let ready = until(START, || {
                    let log_now = program.stderr();
                    let is_over = is_over(&program);
                    async move { (is_over || log_now.contains(log)).then_some(()) }
                });
                ready.await.or_fail("a server that starts or says why not");
                if is_over(&program) {
                    program.kill();
                    return None;
                }
                Some(program)
            }
        });
        self.program = Some(started.await.or_fail("PostgreSQL"));
    }

    fn command(&self) -> Command {
        let mut command = as_other_user(&program("postgres"));
        command.arg("-D").arg(&self.folder).args(["-p", &self.port.to_string()]);
        let settings = [
            "listen_addresses=127.0.0.1",
            "unix_socket_directories=",
            // A killed process loses nothing that was written; only a power cut would need these.
            "fsync=off",
            "full_page_writes=off",
            "max_connections=100",
            "shared_buffers=16MB",
            "log_min_messages=log",
        ];
        for setting in settings {
            command.args(["-c", setting]);
        }
        command
    }
}

/// The program itself: the folder of parts may be closed to other users, the links in it do not matter.
fn program(name: &str) -> PathBuf {
    fs::canonicalize(Part::path(name)).or_fail(name)
}

fn is_root() -> bool {
    run(Command::new("id").arg("-u")).trim() == "0"
}

/// A command of a program, as `postgres` or `nobody` where we are root.
fn as_other_user(program: &Path) -> Command {
    if !is_root() {
        return Command::new(program);
    }
    let mut command = Command::new("setpriv");
    command.arg(format!("--reuid={}", user())).args(["--regid=65534", "--clear-groups", "--"]).arg(program);
    command.current_dir("/");
    command
}

fn user() -> &'static str {
    static USER: OnceLock<String> = OnceLock::new();
    USER.get_or_init(|| {
        let has = |name: &str| Command::new("id").arg(name).output().is_ok_and(|output| output.status.success());
        if has("postgres") { "postgres".to_owned() } else { "nobody".to_owned() }
    })
}

/// A folder that only the server's user can read; it is removed when the test process is gone.
fn folder() -> PathBuf {
    let folder = tempfile::Builder::new().prefix("portreeve-postgres-").tempdir().or_fail("a folder").keep();
    remove_at_end(&folder);
    folder
}

fn give(folder: &Path) {
    if is_root() {
        run(Command::new("chown").args(["-R", user()]).arg(folder));
    }
}

/// Making a cluster takes longer than copying one.
fn copy_of_template() -> PathBuf {
    static TEMPLATE: OnceLock<PathBuf> = OnceLock::new();
    let template = TEMPLATE.get_or_init(|| {
        let folder = folder();
        let password = folder.join("password");
        fs::write(&password, PASSWORD).or_fail("the password file");
        give(&folder);
        let mut command = as_other_user(&program("initdb"));
        command.args(["--no-sync", "--auth=scram-sha-256", "--encoding=UTF8", "--locale=C.UTF-8"]);
        command.args(["--username", USER]).arg("--pwfile").arg(&password).arg("-D").arg(folder.join("data"));
        run(&mut command);
        folder.join("data")
    });
    let copy = folder();
    run(Command::new("cp").arg("-R").arg(template).arg(copy.join("data")));
    give(&copy);
    copy.join("data")
}
