//! The files of the platform, as somebody would keep them in a repository.

use serde_json::{Value, json};

/// The namespace of the platform, which is in `enforce`.
pub(crate) const SHOP: &str = "shop";

/// Values of the chart: the shop is enforced, its images are signed with one key.
pub(crate) fn values(registry: &str, public_key: &str) -> Value {
    json!({
        "admission": {"namespaces": [{"match": [SHOP], "mode": "enforce"}]},
        "secrets": {"clusterRead": "full"},
        "registries": [{"host": registry, "plainHttp": true}],
        "imagePolicy": {
            "spec": {"mode": "enforce", "noMatch": "deny", "rules": [
                {"name": "shop", "images": [format!("{registry}/shop/**")],
                    "authorities": {"list": [{"name": "shop key", "key": {"file": "cosign.pub"}}]}}]},
            "files": {"cosign.pub": public_key},
        },
    })
}

/// What the chart does not give: rights to deploy, as somebody grants them who lets Portreeve keep a platform.
pub(crate) fn deployer(account: &Value) -> [Value; 2] {
    let deploy = json!(["get", "list", "create", "patch", "delete"]);
    let rule = |group: &str, resources: Value, verbs: &Value| json!({"apiGroups": [group], "resources": resources, "verbs": verbs});
    let role = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole",
    "metadata": {"name": "portreeve-deployer"}, "rules": [
        rule("", json!(["namespaces", "configmaps", "serviceaccounts"]), &deploy),
        rule("apps", json!(["deployments"]), &deploy),
        rule("rbac.authorization.k8s.io", json!(["roles", "rolebindings"]), &deploy),
        // The inventories.
        rule("", json!(["configmaps"]), &json!(["update"])),
        // The Secret that is kept like a file, by its name.
        json!({"apiGroups": [""], "resources": ["secrets"], "resourceNames": ["db"], "verbs": ["get", "create", "patch"]}),
    ]});
    let binding = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding",
        "metadata": {"name": "portreeve-deployer"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "portreeve-deployer"},
        "subjects": [{"kind": "ServiceAccount", "name": account["metadata"]["name"],
            "namespace": account["metadata"]["namespace"]}]});
    [role, binding]
}

/// A platform without components: what the daemon keeps until somebody proposes more.
pub(crate) const EMPTY: &str = "\
apiVersion: portreeve.dev/v1alpha1
kind: Platform
metadata: {name: demo}
spec: {components: []}
";

/// The platform of two components.
pub(crate) const PLATFORM: &str = "\
apiVersion: portreeve.dev/v1alpha1
kind: Platform
metadata: {name: demo}
spec:
  defaults: {drift: correct}
  gate: {frameworks: [nsa], failOn: high, images: enforce}
  components:
    - {name: base, namespace: shop, source: {folder: base}}
    - {name: web, namespace: shop, source: {folder: web}, dependsOn: [base]}
";

/// The component `base`.
pub(crate) const BASE: &str = "\
apiVersion: v1
kind: Namespace
metadata: {name: shop}
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: web, namespace: shop}
automountServiceAccountToken: false
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: web, namespace: shop}
rules: [{apiGroups: [''], resources: [configmaps], resourceNames: [web], verbs: [get]}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: web, namespace: shop}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: web}
subjects: [{kind: ServiceAccount, name: web, namespace: shop}]
---
apiVersion: v1
kind: ConfigMap
metadata: {name: web, namespace: shop}
data: {greeting: welcome}
";

/// The component `web`, with its image.
pub(crate) fn web(image: &str) -> String {
    format!(
        "\
apiVersion: apps/v1
kind: Deployment
metadata: {{name: web, namespace: {SHOP}}}
spec:
  replicas: 1
  selector: {{matchLabels: {{app: web}}}}
  template:
    metadata: {{labels: {{app: web}}}}
    spec:
      nodeName: localhost            # the cluster has one node and no scheduler
      serviceAccountName: web
      automountServiceAccountToken: false
      securityContext: {{runAsNonRoot: true, runAsUser: 1000, runAsGroup: 1000, seccompProfile: {{type: RuntimeDefault}}}}
      containers:
        - name: web
          image: {image}
          resources: {{requests: {{cpu: 10m, memory: 16Mi}}, limits: {{cpu: 100m, memory: 32Mi}}}}
          securityContext:
            allowPrivilegeEscalation: false
            readOnlyRootFilesystem: true
            capabilities: {{drop: [ALL]}}
"
    )
}

/// A Pod of one container, as somebody makes one by hand.
pub(crate) fn pod(image: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "by-hand", "namespace": SHOP},
        "spec": {"automountServiceAccountToken": false, "containers": [{"name": "main", "image": image}]}})
}
