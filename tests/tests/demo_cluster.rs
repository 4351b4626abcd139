//! `make demo-cluster`: what it shows, and that nothing of it is left.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use portreeve_tests::OrFail as _;
use portreeve_tests::api::http_client;
use portreeve_tests::binary::Portreeve;
use portreeve_tests::process::{Running, START, scratch, until};

/// How long all steps may take.
const WHOLE: Duration = Duration::from_secs(90);
/// What runs from the second step on: etcd, API server, controllers, node, registry, Portreeve.
const PROGRAMS: usize = 6;

/// A demo whose programs and folders are known by a folder of their own.
struct Demo {
    folder: PathBuf,
    running: Running,
}

impl Demo {
    fn start(arguments: &[&str]) -> Self {
        // Here, so that no step is charged for it.
        Portreeve::path();
        let folder = scratch("demo-cluster");
        let mut command = Command::new(env!("CARGO_BIN_EXE_demo-cluster"));
        let running = Running::start("demo-cluster", command.args(arguments).env("TMPDIR", &folder));
        Self { folder, running }
    }

    /// The ids of the programs that it started and that run, itself among them.
    fn programs(&self) -> Vec<String> {
        let needle = self.folder.to_str().or_fail("a path in UTF-8");
        let knows = |process: &Path| {
            let environment = fs::read(process.join("environ")).unwrap_or_default();
            String::from_utf8_lossy(&environment).contains(needle)
        };
        let processes = fs::read_dir("/proc").or_fail("/proc").filter_map(Result::ok).map(|entry| entry.path());
        let ours = processes.filter(|process| knows(process));
        ours.filter_map(|process| Some(process.file_name()?.to_str()?.to_owned())).collect()
    }

    /// Waits until a step begins, and sees that the programs are there to be ended.
    async fn until_step(&mut self, step: u8) {
        self.running.line(&format!("[{step}/7]"), WHOLE).await;
        assert!(self.programs().len() > PROGRAMS, "{:?}", self.programs());
    }

    /// The demo has ended with this code, and nothing of it is left.
    async fn ended(mut self, code: i32) -> String {
        let status = self.running.ended(WHOLE).await;
        let (stdout, stderr) = (self.running.stdout(), self.running.stderr());
        assert_eq!(status.code(), Some(code), "{stdout}\n{stderr}");
        assert_eq!(self.programs(), [""; 0], "a program was left");
        let left: Vec<_> = fs::read_dir(&self.folder).or_fail("the folder").filter_map(Result::ok).collect();
        assert!(left.is_empty(), "{left:?}");
        stdout
    }
}

/// The lines of a step.
fn step(stdout: &str, number: u8) -> &str {
    let begin = stdout.find(&format!("[{number}/7]")).or_fail("the step");
    let rest = &stdout[begin..];
    rest.split("\n[").next().unwrap_or(rest)
}

#[tokio::test]
async fn every_step_comes_to_what_it_promises_and_nothing_is_left() {
    let mut demo = Demo::start(&["--once"]);
    demo.until_step(2).await;
    let shown = demo.ended(0).await;
    let promised: [&[&str]; 7] = [
        &["shop/web:1 is signed by cosign, shop/web:2 is not", "=> the page is at http://127.0.0.1:"],
        &["+ create shop/Deployment/web", "web:1 sha256:", "Running on localhost", "=> web runs by the digest"],
        &[
            "| 403 Forbidden: admission webhook \"enforce.portreeve.dev\" denied the request: portreeve: PR-1001",
            "| finding PR-5002 high: web is not applied, the version that runs stays",
            "=> refused twice",
        ],
        &["(spec.replicas (by somebody)); corrected", "| replicas: 1, by portreeve", "=> put right "],
        &[
            "a new data key for age1",
            "Another data key, the same values",
            "shop/db  keys [\"password\", \"username\"]",
            "=> the Secret followed ",
        ],
        &[
            "| 403 Forbidden: admission webhook \"tokens.portreeve.dev\" denied the request: portreeve: PR-4010",
            "| 201 Created: a token until ",
            "| finding PR-4004 ",
        ],
        &["failures by severity: ", "| web                      healthy", "forever", "=> all steps went as promised"],
    ];
    for (number, promised) in (1..).zip(promised) {
        let lines = step(&shown, number);
        for text in promised {
            assert!(lines.contains(text), "step {number} says {text}:\n{lines}");
        }
    }
    assert!(shown.ends_with("Everything has ended; nothing is left.\n"), "{shown}");
}

#[tokio::test]
async fn the_page_stays_open_until_an_interrupt_which_ends_well() {
    let mut demo = Demo::start(&[]);
    let line = demo.running.line("The page stays open: ", WHOLE).await;
    let url = line.split(' ').find(|word| word.starts_with("http://")).or_fail("an address");
    let page = http_client().build().or_fail("a client").get(url).send().await.or_fail("the page");
    assert_eq!(page.status().as_u16(), 200);
    demo.running.signal("INT");
    demo.ended(0).await;
}

#[tokio::test]
async fn a_signal_during_the_steps_leaves_nothing() {
    let mut demo = Demo::start(&["--once"]);
    demo.until_step(3).await;
    demo.running.signal("TERM");
    demo.ended(143).await;
}

/// Nobody can clean up after this one but the reaper, which does it a moment later.
#[tokio::test]
async fn a_demo_that_is_killed_leaves_nothing_either() {
    let mut demo = Demo::start(&["--once"]);
    demo.until_step(2).await;
    demo.running.signal("KILL");
    demo.running.ended(START).await;
    let is_gone = || async { demo.programs().is_empty().then_some(()) };
    until(START, is_gone).await.or_fail("its programs end");
}
