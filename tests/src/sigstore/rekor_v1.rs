//! Rekor v1: a log of its own kind, on Trillian and PostgreSQL. Its programs come with `make parts-recorders`.

use std::process::Command;

use super::roots::{Keys, REKOR_V1};
use super::servers::{flag, healthy, url};
use crate::parts::Part;
use crate::postgres::{DATABASE, Postgres};
use crate::process::{Running, START, free_port, run};

/// A Rekor v1 that runs.
pub(super) struct RekorV1 {
    /// `http://127.0.0.1:PORT`.
    pub(super) url: String,
    _programs: [Running; 3],
    _database: Postgres,
}

impl RekorV1 {
    /// Starts it on an empty database and waits until it answers.
    pub(super) async fn start(keys: &Keys) -> Self {
        let database = Postgres::trusting().await;
        let database_url = format!("{}?sslmode=disable", database.url(DATABASE));
        let schema = Part::folder().join("share/trillian.sql");
        let mut psql = Command::new(Part::path("psql"));
        run(psql.args(["--quiet", "--set=ON_ERROR_STOP=1", &database_url]).arg("--file").arg(schema));
        let (trees, port) = (free_port(), free_port());
        let mut trees_server = trillian("trillian_log_server", trees, &database_url, &[]);
        trees_server.listening(trees).await;
        let sequencer = ["--force_master", "--sequencer_guard_window=0", "--sequencer_interval=100ms"];
        let signer = trillian("trillian_log_signer", free_port(), &database_url, &sequencer);
        let mut rekor = rekor(keys, port, trees);
        healthy(&mut rekor, port, "ping", START).await;
        Self { url: url(port), _programs: [rekor, signer, trees_server], _database: database }
    }
}

fn trillian(program: &str, port: u16, database: &str, more: &[&str]) -> Running {
    let mut command = Command::new(Part::path(program));
    command.arg(format!("--rpc_endpoint=127.0.0.1:{port}")).arg(format!("--http_endpoint=127.0.0.1:{}", free_port()));
    command.args(["--storage_system=postgresql", "--quota_system=noop"]);
    command.arg(format!("--postgresql_uri={database}")).args(more);
    Running::start(program, &mut command)
}

fn rekor(keys: &Keys, port: u16, trees: u16) -> Running {
    let mut command = Command::new(Part::path("rekor-server"));
    command.args(["serve", "--rekor_server.address=127.0.0.1", "--enable_retrieve_api=false"]);
    command.arg(format!("--port={port}")).arg(format!("--trillian_log_server.port={trees}"));
    command.arg(format!("--rekor_server.hostname={REKOR_V1}"));
    command.arg(flag("rekor_server.signer", &keys.file("rekor1.key")));
    Running::start("rekor-server", &mut command)
}
