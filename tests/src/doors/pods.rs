//! Pod specs: every field that a control reads, well and badly set, as far as the API server takes it.

use serde_json::{Map, Value, json};

use super::dice::Dice;
use crate::OrFail;

/// What makes one object's pod spec.
pub struct PodMaker<'a> {
    /// Choices.
    pub dice: &'a mut Dice,
    /// How often in a hundred something is set badly.
    pub carelessness: usize,
    /// Images of careful people.
    pub trusted: &'a [String],
    /// All images.
    pub any: &'a [String],
}

/// Fields of a pod spec, and how nothing is written in them.
const POD_NOTHING: [(&str, &[&str]); 10] = [
    ("automountServiceAccountToken", &["null"]),
    ("hostIPC", &["null"]),
    ("hostNetwork", &["null"]),
    ("hostPID", &["null"]),
    ("hostUsers", &["null"]),
    ("imagePullSecrets", &["null", "[]"]),
    ("initContainers", &["null", "[]"]),
    ("securityContext", &["null", "{}"]),
    ("serviceAccountName", &["null", "\"\""]),
    ("shareProcessNamespace", &["null"]),
];

/// The same of containers.
const CONTAINER_NOTHING: [(&str, &[&str]); 6] = [
    ("args", &["null", "[]"]),
    ("imagePullPolicy", &["null", "\"\""]),
    ("lifecycle", &["null"]),
    ("livenessProbe", &["null"]),
    ("readinessProbe", &["null"]),
    ("securityContext", &["null", "{}"]),
];

/// The same of containers that may have resources.
const RESOURCES_NOTHING: [(&str, &[&str]); 1] =
    [("resources", &["null", "{}", r#"{"limits": null}"#, r#"{"limits": {}, "requests": null}"#])];

/// The same of security contexts.
const SECURITY_NOTHING: [(&str, &[&str]); 10] = [
    ("allowPrivilegeEscalation", &["null"]),
    ("capabilities", &["null", "{}", r#"{"add": null, "drop": []}"#]),
    ("privileged", &["null"]),
    ("procMount", &["null"]),
    ("readOnlyRootFilesystem", &["null"]),
    ("runAsNonRoot", &["null"]),
    ("runAsUser", &["null"]),
    ("seLinuxOptions", &["null", "{}"]),
    ("seccompProfile", &["null"]),
    ("windowsOptions", &["null", "{}"]),
];

/// Which list a container stands in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum List {
    Main,
    Init,
    Sidecar,
    Ephemeral,
}

impl PodMaker<'_> {
    /// A pod spec.
    pub fn spec(&mut self, restart_policy: &str) -> Value {
        let has_node_volume = self.bad() || self.dice.percent(45);
        let containers: Vec<Value> = (0..1 + self.dice.below(2))
            .map(|number| self.container(&format!("main-{number}"), (List::Main, number), has_node_volume))
            .collect();
        let inits: Vec<Value> = (0..self.dice.below(3))
            .map(|number| {
                let list = if self.dice.percent(40) { List::Sidecar } else { List::Init };
                self.container(&format!("init-{number}"), (list, 5 + number), has_node_volume)
            })
            .collect();
        let mut spec = json!({
            "restartPolicy": restart_policy, "containers": containers,
            "volumes": self.volumes(has_node_volume),
        });
        if !inits.is_empty() {
            spec["initContainers"] = inits.into();
        }
        self.pod_fields(&mut spec);
        self.say_nothing(&mut spec, &POD_NOTHING);
        spec
    }

    /// Writes absent fields out as something that means absent: `null`, and what is empty. The API server leaves
    /// them out or sets its default.
    fn say_nothing(&mut self, holder: &mut Value, fields: &[(&str, &[&str])]) {
        for (field, empty) in fields {
            if holder[*field].is_null() && self.dice.percent(15) {
                let text = *self.dice.pick(empty);
                holder[*field] = serde_json::from_str(text).or_fail(text);
            }
        }
    }

    /// Ephemeral containers, as a debugger adds them to a Pod that is there.
    pub fn ephemeral(&mut self) -> Vec<Value> {
        (0..self.dice.below(3))
            .map(|number| self.container(&format!("debug-{number}"), (List::Ephemeral, number), false))
            .collect()
    }

    fn bad(&mut self) -> bool {
        self.dice.percent(self.carelessness)
    }

    fn image(&mut self) -> String {
        let from = if self.bad() { self.any } else { self.trusted };
        self.dice.pick(from).clone()
    }

    fn volumes(&mut self, has_node_volume: bool) -> Vec<Value> {
        let mut volumes = vec![json!({"name": "scratch", "emptyDir": {}})];
        if has_node_volume {
            volumes.push(json!({"name": "node", "hostPath": {"path": "/var/log"}}));
        }
        if self.dice.percent(15) {
            volumes.push(json!({"name": "model", "image": {"reference": self.image()}}));
        }
        volumes
    }

    fn pod_fields(&mut self, spec: &mut Value) {
        for field in ["hostPID", "hostIPC", "hostNetwork"] {
            if self.bad() {
                spec[field] = true.into();
            } else if self.dice.percent(20) {
                spec[field] = false.into();
            }
        }
        match self.dice.below(5) {
            0 => spec["serviceAccountName"] = "quiet".into(),
            1 => spec["serviceAccountName"] = "loud".into(),
            2 => spec["serviceAccount"] = "quiet".into(),
            3 => spec["serviceAccountName"] = "default".into(),
            _ => {}
        }
        if !self.bad() {
            spec["automountServiceAccountToken"] = false.into();
        } else if self.dice.percent(40) {
            spec["automountServiceAccountToken"] = true.into();
        }
        let mut context = self.pod_security();
        // The API server refuses a sysctl of a namespace that is shared, and HostProcess beside a network of its own.
        if spec["hostNetwork"] != json!(true) && spec["hostIPC"] != json!(true) {
            let name = if self.dice.percent(30) { "kernel.msgmax" } else { "kernel.shm_rmid_forced" };
            context.insert("sysctls".to_owned(), json!([{"name": name, "value": "1"}]));
        } else if spec["hostNetwork"] == json!(true) {
            context.insert("windowsOptions".to_owned(), json!({"hostProcess": true}));
        }
        spec["securityContext"] = context.into();
        if self.dice.percent(15) {
            spec["hostUsers"] = true.into();
        }
    }

    fn pod_security(&mut self) -> Map<String, Value> {
        let mut context = Map::new();
        let mut set = |key: &str, value: Value| context.insert(key.to_owned(), value);
        if self.dice.percent(30) {
            set("runAsUser", if self.bad() { 0 } else { 1_000 }.into());
        }
        if self.dice.percent(20) {
            set("runAsGroup", if self.bad() { 0 } else { 1_000 }.into());
        }
        if self.dice.percent(20) {
            set("runAsNonRoot", (!self.bad()).into());
        }
        if self.dice.percent(15) {
            let profile = if self.bad() { "Unconfined" } else { "RuntimeDefault" };
            set("seccompProfile", json!({"type": profile}));
        }
        match self.dice.below(20) {
            0 => set("appArmorProfile", json!({"type": "RuntimeDefault"})),
            1 => set("appArmorProfile", json!({"type": "Unconfined"})),
            2 => set("seLinuxOptions", json!({"level": "s0:c1", "type": "container_t"})),
            3 | 4 => set("seLinuxOptions", json!({"role": "sysadm_r"})),
            _ => None,
        };
        context
    }

    fn container(&mut self, name: &str, (list, number): (List, usize), has_node_volume: bool) -> Value {
        let mut container = json!({"name": name, "image": self.image(), "env": self.environment()});
        if list == List::Sidecar {
            container["restartPolicy"] = "Always".into();
        }
        match (self.bad(), self.dice.below(3)) {
            (true, _) => container["imagePullPolicy"] = "IfNotPresent".into(),
            (false, 0) => container["imagePullPolicy"] = "Always".into(),
            (false, _) => {}
        }
        let mut context = Value::from(self.security());
        self.say_nothing(&mut context, &SECURITY_NOTHING);
        if context.as_object().is_some_and(|fields| !fields.is_empty()) {
            container["securityContext"] = context;
        }
        self.say_nothing(&mut container, &CONTAINER_NOTHING);
        let mut mounts = vec![json!({"name": "scratch", "mountPath": "/tmp"})];
        if has_node_volume {
            let mut mount = json!({"name": "node", "mountPath": "/logs"});
            if !self.bad() {
                mount["readOnly"] = true.into();
            }
            mounts.push(mount);
        }
        container["volumeMounts"] = mounts.into();
        if list != List::Ephemeral {
            self.serving_fields(&mut container, (list, number));
        }
        container
    }

    /// What an ephemeral container may not have; probes are for containers that stay.
    fn serving_fields(&mut self, container: &mut Value, (list, number): (List, usize)) {
        let resources = self.resources();
        if !resources.is_empty() {
            container["resources"] = resources.into();
        }
        self.say_nothing(container, &RESOURCES_NOTHING);
        let port = 8_000 + 10 * number;
        let mut opened = json!({"containerPort": port});
        match (self.bad(), self.dice.below(3)) {
            (true, _) => opened["hostPort"] = port.into(),
            (false, 0) => opened["protocol"] = "TCP".into(),
            (false, 1) => opened["hostPort"] = 0.into(),
            (false, _) => opened["protocol"] = "".into(),
        }
        container["ports"] = json!([opened]);
        if list == List::Init {
            return;
        }
        for probe in ["livenessProbe", "readinessProbe"] {
            if !self.bad() {
                container[probe] = json!({"httpGet": {"path": "/healthz", "port": port}});
            } else if self.dice.percent(30) {
                container[probe] = json!({"tcpSocket": {"port": port, "host": "127.0.0.1"}});
            }
        }
        if self.bad() && self.dice.percent(30) {
            let call = json!({"httpGet": {"port": port, "host": "169.254.169.254"}});
            let hook = *self.dice.pick(&["postStart", "preStop"]);
            container["lifecycle"] = json!({hook: call});
        }
    }

    fn resources(&mut self) -> Map<String, Value> {
        let mut limits = Map::new();
        if !self.bad() {
            limits.insert("cpu".to_owned(), self.dice.pick(&[json!(1), json!("500m"), json!("1000m")]).clone());
        }
        if !self.bad() {
            let memory = if self.bad() {
                json!("2Gi")
            } else {
                let sizes = [json!("256Mi"), json!("1024Mi"), json!("1.0Gi"), json!(1_073_741_824), json!("5e8")];
                self.dice.pick(&sizes).clone()
            };
            limits.insert("memory".to_owned(), memory);
        }
        let mut resources = Map::new();
        if !self.bad() {
            resources.insert(
                "requests".to_owned(),
                json!({"memory": self.dice.pick(&[json!("64Mi"), json!(0), json!("6e7")])}),
            );
        }
        if !limits.is_empty() {
            resources.insert("limits".to_owned(), limits.into());
        }
        resources
    }

    fn environment(&mut self) -> Vec<Value> {
        let mut variables = vec![json!({"name": "MODE", "value": "production"})];
        if self.dice.percent(30) {
            let from = json!({"secretKeyRef": {"name": "database", "key": "password"}});
            variables.push(json!({"name": "PASSWORD", "valueFrom": from}));
        }
        if self.dice.percent(20) {
            variables.push(json!({"name": "TOKEN", "value": self.dice.pick(&[json!(""), Value::Null])}));
        }
        if self.bad() {
            let found = [
                json!({"name": "DB_PASSWORD", "value": "hunter2"}),
                json!({"name": "A header: it", "value": "Bearer x"}),
            ];
            variables.push(self.dice.pick(&found).clone());
        }
        variables
    }

    fn security(&mut self) -> Map<String, Value> {
        let mut context = Map::new();
        let privileged = self.bad() && self.dice.percent(60);
        if privileged || self.dice.percent(20) {
            context.insert("privileged".to_owned(), privileged.into());
        }
        let capabilities = self.capabilities();
        // The API server refuses this contradiction.
        let escalates = privileged || capabilities["add"] == json!(["CAP_SYS_ADMIN"]);
        if capabilities.as_object().is_some_and(|fields| !fields.is_empty()) {
            context.insert("capabilities".to_owned(), capabilities);
        }
        if !self.bad() && !escalates {
            context.insert("allowPrivilegeEscalation".to_owned(), false.into());
        } else if self.dice.percent(30) {
            context.insert("allowPrivilegeEscalation".to_owned(), true.into());
        }
        if !self.bad() {
            context.insert("readOnlyRootFilesystem".to_owned(), true.into());
        }
        if !self.bad() {
            context.insert("runAsNonRoot".to_owned(), true.into());
        } else if self.dice.percent(40) {
            context.insert("runAsUser".to_owned(), 0.into());
        }
        if self.dice.percent(10) {
            context.insert("runAsGroup".to_owned(), if self.bad() { 0 } else { 1_000 }.into());
        }
        if self.dice.percent(10) {
            let profile = if self.bad() { "Unconfined" } else { "RuntimeDefault" };
            context.insert("appArmorProfile".to_owned(), json!({"type": profile}));
        }
        if !self.bad() {
            context.insert("seccompProfile".to_owned(), json!({"type": "RuntimeDefault"}));
        } else if self.dice.percent(30) {
            context.insert("seccompProfile".to_owned(), json!({"type": "Unconfined"}));
        }
        if self.dice.percent(15) {
            let kind = if self.bad() { "spc_t" } else { "container_t" };
            context.insert("seLinuxOptions".to_owned(), json!({"type": kind}));
        }
        if self.dice.percent(15) {
            context.insert("procMount".to_owned(), "Default".into());
        }
        context
    }

    fn capabilities(&mut self) -> Value {
        if self.bad() {
            let dangerous = ["NET_RAW", "SYS_ADMIN", "CAP_SYS_ADMIN", "SYS_PTRACE"];
            return json!({"add": [self.dice.pick(&dangerous)]});
        }
        match self.dice.below(4) {
            0 => json!({"drop": ["ALL"], "add": ["NET_BIND_SERVICE"]}),
            _ => json!({}),
        }
    }
}
