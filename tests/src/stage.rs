//! The daemon as the chart installs it, on a control plane of its own: the chart's rights and webhooks, and nothing that
//! the chart does not give.

use serde_json::{Value, json};

use crate::OrFail;
use crate::chart::{self, NAMESPACE};
use crate::control_plane::ControlPlane;
use crate::daemon::Daemon;
use crate::process::free_port;
use crate::tls::{Authority, Certified};

/// A control plane with the chart's objects, and the daemon that they guard it by.
pub struct Stage {
    /// The control plane.
    pub plane: ControlPlane,
    /// The daemon, with the rights of the chart's account.
    pub daemon: Daemon,
    /// Who certifies the webhook.
    pub authority: Authority,
    /// `https://127.0.0.1:PORT` of the webhook.
    pub webhook: String,
    /// The daemon's configuration.
    pub config: Value,
    /// What the configuration names: image policy and keys.
    pub files: Vec<(String, String)>,
    /// The objects of the chart.
    pub objects: Vec<Value>,
}

impl Stage {
    /// Installs what the chart renders with these values. The daemon has its configuration and does not run yet: a caller
    /// may lay more over it.
    pub async fn installed(plane: ControlPlane, values: &Value) -> Self {
        let objects = chart::rendered(values);
        rights(&plane, &objects).await;
        let webhook = format!("127.0.0.1:{}", free_port());
        let (mut config, files) = chart::configuration(&objects);
        config["cluster"] = json!({"kubeconfig": plane.kubeconfig_for(NAMESPACE, "portreeve").await});
        config["admission"]["listen"] = webhook.as_str().into();
        config["admission"]["tls"] = json!({"certFile": "tls.crt", "keyFile": "tls.key"});
        let (daemon, authority) = (Daemon::configured(&config, &files), Authority::default());
        certify(&daemon, &authority.loopback());
        Self { plane, daemon, authority, webhook: format!("https://{webhook}"), config, files, objects }
    }

    /// Starts the daemon, and has the API server call it. The webhooks take a moment to come into force: a caller awaits
    /// an effect.
    pub async fn guarded(mut self) -> Self {
        self.daemon.configure(&self.config);
        self.daemon.start().await;
        for object in chart::webhooks(&self.objects, &self.webhook, self.authority.pem()) {
            self.plane.api().create(&object).await.or_fail("the webhooks of the chart");
        }
        self
    }
}

/// The release's namespace, with the chart's account and its rights.
pub async fn rights(plane: &ControlPlane, objects: &[Value]) {
    plane.create_namespace(NAMESPACE).await;
    for object in chart::rights(objects) {
        plane.api().create(object).await.or_fail("the rights of the chart");
    }
}

/// Puts certificate and key where the configuration names them.
pub fn certify(daemon: &Daemon, certified: &Certified) {
    daemon.write("tls.crt", &certified.certificate);
    daemon.write("tls.key", &certified.key);
}
