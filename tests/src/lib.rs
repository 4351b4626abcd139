//! The harness of the tests that need real parts: programs started on loopback, and Portreeve itself as a process.
//!
//! * [`parts`]: where the programs are; `make parts` installs them.
//! * [`process`]: starting, awaiting, reading and ending a program. Nothing outlives the test process.
//! * [`control_plane`]: etcd, kube-apiserver and, on demand, the controllers and a node; [`api`] talks to it.
//! * [`postgres`]: a PostgreSQL of its own for a test.
//! * [`api_proxy`]: in front of the API server, to count writes and to spoil them; the crash harness.
//! * [`registry`], [`cosign`]: registries of three kinds, small real images, and signatures by the original tool.
//! * [`sigstore`]: a private sigstore of the original servers, and cosign signing against it in every way.
//! * [`doors`]: generated objects through all four doors.
//! * [`source_scan`], [`tidy`]: what the house forbids, as checks over the sources.
//! * [`openmetrics`]: what `/metrics` answers, read by Prometheus' own parser.
//! * [`image_layout`]: images built byte by byte, as OCI layouts.
//! * [`desk`]: a folder in which commands are run by hand; [`hostile`]: registries that misbehave.
//! * [`binary`]: the `portreeve` binary, built once for a test process and never stale; [`daemon`]: it, serving.
//! * [`faults`]: the real API server with objects spoiled on the way.
//! * [`chart`]: the chart as helm renders it; [`stage`]: installed, with the daemon behind it; [`tls`]: certificates.
//! * [`folder_cluster`]: the daemon on a folder of manifests, and what its doors answer.
//! * [`figures`]: how benches measure whole processes.
//!
//! A harness that cannot do its work fails the test: functions here return what was asked for or end the test with a
//! line that says what is wrong.

pub mod age;
pub mod api;
pub mod api_proxy;
pub mod binary;
pub mod chart;
pub mod control_plane;
pub mod cosign;
pub mod daemon;
pub mod desk;
pub mod doors;
pub mod faults;
pub mod figures;
pub mod folder_cluster;
pub mod hostile;
pub mod image_layout;
pub mod openmetrics;
pub mod parts;
pub mod postgres;
pub mod process;
pub mod registry;
pub mod sigstore;
pub mod source_scan;
pub mod stage;
pub mod tidy;
pub mod tls;

use std::path::{Path, PathBuf};

/// Ends the test with this message.
#[track_caller]
#[expect(clippy::panic, reason = "a panic is how a Rust test fails; the harness has this one")]
pub fn fail(message: impl std::fmt::Display) -> ! {
    panic!("{message}")
}

/// The value, or the end of the test.
pub trait OrFail<T> {
    /// The value, or the end of the test with `what` and the error.
    fn or_fail(self, what: &str) -> T;
}

impl<T, E: std::fmt::Display> OrFail<T> for Result<T, E> {
    #[track_caller]
    fn or_fail(self, what: &str) -> T {
        match self {
            Ok(value) => value,
            Err(error) => fail(format!("{what}: {error}")),
        }
    }
}

impl<T> OrFail<T> for Option<T> {
    #[track_caller]
    fn or_fail(self, what: &str) -> T {
        match self {
            Some(value) => value,
            None => fail(what),
        }
    }
}

/// The root of the repository.
pub fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().or_fail("the tests crate is a folder of the repository").to_owned()
}
