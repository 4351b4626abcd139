//! What it costs to keep a cluster as declared: `cargo bench -p portreeve-tests --bench keeping`, or with one of its
//! parts: `-- plan`, `-- sweep`, `-- replay`, `-- takeover`, `-- decrypt`.
//!
//! On a real control plane on the same machine. A plan of unchanged objects that writes fails the bench; nothing else is
//! asserted: docs/performance.md quotes the figures.

#![expect(clippy::print_stdout, reason = "the figures are the output")]

use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use portreeve_tests::age::AgeKey;
use portreeve_tests::api_proxy::{ApiProxy, Match};
use portreeve_tests::binary::Portreeve;
use portreeve_tests::control_plane::ControlPlane;
use portreeve_tests::daemon::Daemon;
use portreeve_tests::figures::{RUNS, in_turn, memory, pair, quantile, timed};
use portreeve_tests::parts::Part;
use portreeve_tests::process::{START, scratch, until};
use portreeve_tests::{OrFail, fail};
use serde_json::{Value, json};

const PLANNED: usize = 500;
const SWEPT: usize = 2_000;
/// Deployments are among so many of the objects: their controller takes its time for more.
const DEPLOYED: usize = 500;
const TAKEOVERS: usize = 5;
/// An hour of one event each second, sent at this many a second.
const EVENTS: usize = 3_600;
const RATE: usize = 60;
const JOBS: usize = 200;
/// How long a daemon may settle before its memory is read.
const CALM: Duration = Duration::from_secs(5);

#[tokio::main]
async fn main() {
    let wanted: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
    let is_wanted = |part: &str| wanted.is_empty() || wanted.iter().any(|name| name == part);
    if is_wanted("decrypt") {
        decrypt();
    }
    if !["plan", "sweep", "replay", "takeover"].into_iter().any(is_wanted) {
        return;
    }
    let plane = ControlPlane::start().await;
    plane.with_controllers().await;
    if is_wanted("plan") {
        plan(&plane).await;
    }
    if is_wanted("sweep") {
        sweep(&plane).await;
    }
    if is_wanted("replay") {
        replay(&plane).await;
    }
    if is_wanted("takeover") {
        takeover(&plane).await;
    }
}

/// `secrets decrypt` beside sops.
fn decrypt() {
    let (folder, key) = (scratch("bench-decrypt"), AgeKey::new());
    let encrypted = |values: usize| {
        let (plain, sealed) = (folder.join(format!("{values}.plain.yaml")), folder.join(format!("{values}.yaml")));
        let lines = (0..values).map(|index| format!("value_{index}: what is kept in number {index}\n"));
        std::fs::write(&plain, lines.collect::<String>()).or_fail("a file of values");
        let mut command = Portreeve::command();
        command.args(["secrets", "encrypt", "--age", &key.recipient]).arg(&plain).arg("--output").arg(&sealed);
        portreeve_tests::process::run(&mut command);
        sealed
    };
    for values in [10, 10_000, 100_000] {
        let file = encrypted(values);
        println!("secrets decrypt, {values} values:");
        let call = |mut command: Command, arguments: &[&str]| {
            command.env("SOPS_AGE_KEY_FILE", &key.file).args(arguments).arg(&file);
            command
        };
        let ours = || call(Portreeve::command(), &["secrets", "decrypt"]);
        let sops = || call(Command::new(Part::path("sops")), &["--disable-version-check", "decrypt"]);
        let ours = ("portreeve", &ours as &dyn Fn() -> Command);
        match values {
            // sops takes time by the square of the values: once is enough.
            100_000 => {
                in_turn([ours]);
                let (time, peak) = timed(&mut sops());
                println!("  sops                 once:        {time:>9.1?}  peak {:>4} MB", peak / 1000);
            }
            _ => pair(ours, ("sops", &sops)),
        }
    }
}

/// `platform plan` when nothing has changed.
async fn plan(plane: &ControlPlane) {
    let site = Site::applied(plane, "bench-plan", PLANNED).await;
    println!("platform plan, {PLANNED} unchanged objects:");
    in_turn([("portreeve", &|| site.command(&["plan"]))]);
    let proxy = ApiProxy::start(plane).await;
    site.configure(&proxy.kubeconfig());
    proxy.count(Match::path("/"));
    let mut command = site.command(&["plan", "--format", "json"]);
    let output = tokio::task::spawn_blocking(move || Portreeve::finish(&mut command)).await.or_fail("a plan");
    let plan: Value = serde_json::from_str(&output.stdout).or_fail(&output.stderr);
    let objects = plan["components"][0]["plan"]["objects"].as_array().or_fail("objects of a plan");
    let unchanged = objects.iter().filter(|object| object["action"] == "unchanged").count();
    let writes = proxy.writes();
    println!("  requests {}, writes {}, unchanged {unchanged}", proxy.counted(), writes.len());
    if !writes.is_empty() || unchanged != PLANNED {
        fail(format!("a plan of unchanged objects wrote or saw changes: {writes:?}\n{}", output.stdout));
    }
}

/// Rounds of a daemon that keeps objects nobody has touched.
async fn sweep(plane: &ControlPlane) {
    let site = Site::applied(plane, "bench-sweep", SWEPT).await;
    let proxy = ApiProxy::start(plane).await;
    proxy.count(Match::path("/namespaces/bench-sweep/"));
    let mut once = site.keeping(&proxy.kubeconfig(), "1h");
    once.start().await;
    next_round(&once, 0.0).await;
    println!("drift sweep, {SWEPT} objects:");
    println!("  requests {}, writes {}", proxy.counted(), sweep_writes(&proxy));
    once.process().signal("TERM");
    once.process().ended(START).await;
    drop(once);

    let mut daemon = site.keeping(&plane.kubeconfig(), "1s");
    daemon.start().await;
    let (mut last, mut times) = (0.0, Vec::new());
    for _ in 0..=RUNS {
        last = next_round(&daemon, last).await;
        times.push(Duration::from_secs_f64(last));
    }
    // The first is beside the start of the watches.
    let times = &times[1..];
    println!("  median of {RUNS}: {:.2?}, max {:.2?}", quantile(times, 0.5), quantile(times, 1.0));
}

/// What an hour of events leaves in the memory of a daemon that also keeps a platform: updates that change verdicts,
/// through the API server and the watches.
async fn replay(plane: &ControlPlane) {
    let site = Site::applied(plane, "bench-replay", PLANNED).await;
    plane.create_namespace("bench-events").await;
    for index in 0..JOBS {
        plane.api().create(&job(index)).await.or_fail("a CronJob");
    }
    let mut daemon = site.keeping(&plane.kubeconfig(), "1m");
    daemon.start().await;
    next_round(&daemon, 0.0).await;
    wait_privileged(&daemon, JOBS / 2).await;
    tokio::time::sleep(CALM).await;
    let process = daemon.process().id();
    println!("  resident before {} MB", memory(process).0);
    // What the second hour adds is growth; the first one also fills caches.
    for hour in 1..=2 {
        one_hour(plane).await;
        wait_privileged(&daemon, JOBS / 2).await;
        tokio::time::sleep(CALM).await;
        let after = memory(process);
        println!("  resident after hour {hour}: {} MB, peak {} MB", after.0, after.1);
    }
}

/// The updates of an hour.
async fn one_hour(plane: &ControlPlane) {
    let started = Instant::now();
    let mut ticks = tokio::time::interval(Duration::from_secs(1) / u32::try_from(RATE).or_fail("a rate"));
    for event in 0..EVENTS {
        ticks.tick().await;
        // Each round changes the verdict about every job; half of them are always privileged.
        let is_privileged = (event / JOBS + event).is_multiple_of(2);
        let path = format!("/apis/batch/v1/namespaces/bench-events/cronjobs/job-{}", event % JOBS);
        plane.api().merge(&path, &json!({"spec": spec(is_privileged)})).await.or_fail("an update");
    }
    println!("replay of {EVENTS} updates of {JOBS} CronJobs in {:.0?}:", started.elapsed());
}

/// From kill -9 of the holder of the lease to the other daemon's word that it leads.
async fn takeover(plane: &ControlPlane) {
    plane.create_namespace("bench-lease").await;
    let start = async || {
        let config = json!({"cluster": {"kubeconfig": plane.kubeconfig()}, "leader": {"namespace": "bench-lease"},
            "posture": {"frameworks": ["nsa"]}});
        let mut daemon = Daemon::configured(&config, &[]);
        daemon.start().await;
        daemon
    };
    let (mut leader, mut times) = (start().await, Vec::new());
    wait_gauge(&leader, "portreeve_leader", |value| value == 1.0).await;
    for _ in 0..TAKEOVERS {
        let follower = start().await;
        let killed = Instant::now();
        leader.kill();
        wait_gauge(&follower, "portreeve_leader", |value| value == 1.0).await;
        times.push(killed.elapsed());
        leader = follower;
    }
    let (least, median, most) = (quantile(&times, 0.0), quantile(&times, 0.5), quantile(&times, 1.0));
    println!("take-over after kill -9, {TAKEOVERS} runs: median {median:.1?}, {least:.1?} to {most:.1?}");
}

/// A platform of one component with objects of five kinds.
struct Site {
    folder: PathBuf,
    name: String,
}

impl Site {
    /// The platform, applied.
    async fn applied(plane: &ControlPlane, name: &str, objects: usize) -> Self {
        let site = Self { folder: scratch(name), name: name.to_owned() };
        plane.create_namespace(name).await;
        std::fs::create_dir(site.folder.join("app")).or_fail("a folder");
        site.write("app/objects.yaml", &manifests(objects));
        let platform = format!(
            "apiVersion: portreeve.dev/v1alpha1\nkind: Platform\nmetadata: {{name: {name}}}\nspec:\n  gate: \
             {{frameworks: [nsa], failOn: critical}}\n  components:\n    - {{name: app, namespace: {name}, source: \
             {{folder: app}}, drift: correct}}\n"
        );
        site.write("platform.yaml", &platform);
        site.configure(&plane.kubeconfig());
        let started = Instant::now();
        let output = Portreeve::finish(&mut site.command(&["apply", "--yes"]));
        if output.code != Some(0) {
            fail(format!("apply ended with {:?}: {}", output.code, output.stderr));
        }
        println!("platform apply of {objects} new objects, until healthy: {:.1?}", started.elapsed());
        site
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.folder.join(name), text).or_fail(name);
    }

    fn configure(&self, kubeconfig: &std::path::Path) {
        let config = json!({"cluster": {"kubeconfig": kubeconfig}, "leader": {"lease": self.name}});
        self.write("portreeve.yaml", &config.to_string());
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Portreeve::command();
        command.current_dir(&self.folder).arg("platform").args(arguments);
        command
    }

    /// A daemon that keeps it.
    fn keeping(&self, kubeconfig: &std::path::Path, interval: &str) -> Daemon {
        let config = json!({
            "cluster": {"kubeconfig": kubeconfig},
            "leader": {"lease": self.name},
            "platform": {"file": self.folder.join("platform.yaml"), "interval": interval},
            "posture": {"frameworks": ["nsa"]},
        });
        Daemon::configured(&config, &[])
    }
}

/// Writes to kept objects.
fn sweep_writes(proxy: &ApiProxy) -> usize {
    proxy.writes().iter().filter(|write| write.path.contains("/namespaces/bench-sweep/")).count()
}

/// The time in seconds of the next round, by the daemon's own word.
async fn next_round(daemon: &Daemon, last: f64) -> f64 {
    wait_gauge(daemon, "portreeve_platform_round_duration_seconds", |value| value != last).await
}

async fn wait_privileged(daemon: &Daemon, wanted: usize) {
    let count = || async { (daemon.findings("code=C-0057&state=open").await.len() == wanted).then_some(()) };
    until(START, count).await.or_fail("the findings of the last updates");
}

async fn wait_gauge(daemon: &Daemon, name: &str, is_it: impl Fn(f64) -> bool) -> f64 {
    let read = || async {
        let (_, text) = daemon.health("/metrics").await?;
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '))?;
        line.parse().ok().filter(|value| is_it(*value))
    };
    until(START, read).await.or_fail(&format!("{name}\n{}", daemon.log()))
}

/// Configuration, services, accounts, Roles, and Deployments of no replicas, so that no node is needed.
fn manifests(count: usize) -> String {
    let mut text = String::new();
    for index in 0..count {
        let object = match index % 5 {
            0 | 1 => config_map(index),
            2 => format!(
                "apiVersion: v1\nkind: Service\nmetadata: {{name: s-{index}}}\nspec: {{clusterIP: None, selector: {{app: \
                 a-{index}}}, ports: [{{port: 80}}]}}\n"
            ),
            3 => format!("apiVersion: v1\nkind: ServiceAccount\nmetadata: {{name: a-{index}}}\n"),
            _ if index >= DEPLOYED => format!(
                "apiVersion: rbac.authorization.k8s.io/v1\nkind: Role\nmetadata: {{name: r-{index}}}\nrules: [{{apiGroups: \
                 [''], resources: [configmaps], verbs: [get]}}]\n"
            ),
            _ => format!(
                "apiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: d-{index}}}\nspec:\n  replicas: 0\n  selector: \
                 {{matchLabels: {{app: a-{index}}}}}\n  template:\n    metadata: {{labels: {{app: a-{index}}}}}\n    spec: \
                 {{containers: [{{name: main, image: 'example.org/app:{index}', env: [{{name: A, value: b}}]}}]}}\n"
            ),
        };
        writeln!(text, "---\n{object}").or_fail("formatting");
    }
    text
}

/// About 1 kB.
fn config_map(index: usize) -> String {
    let values = (0..20).map(|key| format!("  key-{key}: a plain value of some length, {index}\n"));
    let values: String = values.collect();
    format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: c-{index}}}\ndata:\n{values}")
}

/// It never runs; its template is judged like all others.
fn job(index: usize) -> Value {
    let name = format!("job-{index}");
    json!({"apiVersion": "batch/v1", "kind": "CronJob", "metadata": {"name": name, "namespace": "bench-events"},
        "spec": spec(index % 2 == 1)})
}

fn spec(is_privileged: bool) -> Value {
    let container = json!({"name": "main", "image": "example.org/job:1",
        "securityContext": {"privileged": is_privileged}});
    json!({"schedule": "0 0 * * *", "suspend": true, "jobTemplate": {"spec": {"template": {"spec": {
        "restartPolicy": "Never", "containers": [container]}}}}})
}
