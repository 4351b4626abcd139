//! Medians of judging one 8 kB pod: `cargo bench -p portreeve-policies --bench judge`.
#![expect(clippy::print_stdout, reason = "a bench prints what it measured")]

use std::fmt::Write as _;
use std::hint::black_box;
use std::time::{Duration, Instant};

use portreeve_policies::control::{Params, builtin_controls};
use portreeve_policies::engine::Engine;
use portreeve_policies::object::{Object, Origin};
use portreeve_policies::world::World;
use portreeve_reports::source::{Limits, yaml};

const ROUNDS: usize = 400;

/// A pod like a notebook hub's: three containers, 50 environment variables, probes, volumes; about 8 kB.
fn pod() -> String {
    let mut text = String::from(
        "apiVersion: v1\nkind: Pod\nmetadata:\n  name: hub-0\n  namespace: app\n  labels: {app: hub, component: hub}\n\
         spec:\n  serviceAccountName: hub\n  automountServiceAccountToken: false\n  securityContext: {runAsNonRoot: true}\n  \
         volumes:\n  - {name: config, configMap: {name: hub}}\n  - {name: data, persistentVolumeClaim: {claimName: hub}}\n  \
         initContainers:\n",
    );
    container(&mut text, "prepare", 10);
    text.push_str("  containers:\n");
    container(&mut text, "hub", 30);
    container(&mut text, "proxy", 10);
    text
}

fn container(text: &mut String, name: &str, variables: usize) {
    let _ = write!(
        text,
        "  - name: {name}\n    image: quay.io/example/{name}:1.2.3\n    args: [serve, --config, /etc/{name}/config.yaml]\n    \
         ports: [{{containerPort: 8081, name: http}}]\n    \
         readinessProbe: {{httpGet: {{path: /health, port: http}}, periodSeconds: 10, failureThreshold: 3}}\n    \
         livenessProbe: {{httpGet: {{path: /health, port: http}}, periodSeconds: 10, failureThreshold: 30}}\n    \
         resources: {{requests: {{cpu: 200m, memory: 512Mi}}, limits: {{cpu: \"1\", memory: 1Gi}}}}\n    \
         securityContext: {{allowPrivilegeEscalation: false, readOnlyRootFilesystem: true, capabilities: {{drop: [ALL]}}}}\n    \
         volumeMounts: [{{name: config, mountPath: /etc/{name}}}, {{name: data, mountPath: /srv/data, subPath: {name}}}]\n    \
         env:\n"
    );
    for index in 0..variables {
        let _ = write!(
            text,
            "    - name: APPLICATION_SETTING_NUMBER_{index}\n      value: \"https://service-{index}.example.org/path/to/some/resource\"\n"
        );
    }
}

fn median(mut run: impl FnMut()) -> Duration {
    let mut times: Vec<Duration> = (0..ROUNDS)
        .map(|_| {
            let start = Instant::now();
            run();
            start.elapsed()
        })
        .collect();
    times.sort_unstable();
    times.get(ROUNDS / 2).copied().unwrap_or_default()
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let text = pod();
    let root = yaml::read(text.as_bytes(), &Limits::default()).remove(0)?;
    println!("pod: {} bytes of YAML, {} of JSON", text.len(), root.to_json().to_string().len());
    let object = Object::from_node(root, Origin::default(), "app").map_err(|error| error.message)?;
    let world = World::of_files(&[], false);
    let started = Instant::now();
    let engine = Engine::new(builtin_controls()?, &Params::default())?;
    println!("read and compile all controls: {:?}", started.elapsed());
    println!("all controls: {:?}", median(|| drop(black_box(engine.judge(&object, &world)))));
    let empty = Engine::new(Vec::new(), &Params::default())?;
    let bind = median(|| drop(black_box(empty.judge(&object, &world))));
    println!("bind alone: {bind:?}");
    let mut each = Vec::new();
    for control in builtin_controls()? {
        let code = control.code.clone();
        let engine = Engine::new(vec![control], &Params::default())?;
        let time = median(|| drop(black_box(engine.judge(&object, &world)))).saturating_sub(bind);
        println!("{code}: {time:?}");
        each.push(time);
    }
    each.sort_unstable();
    println!("median a control, without binding: {:?}", each.get(each.len() / 2));
    Ok(())
}
