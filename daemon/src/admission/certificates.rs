//! The webhook's own certificate, in a Secret: made, rotated and made known by the leader, read by every replica.
//!
//! Each certificate has a CA of its own, whose key is forgotten as soon as it has signed. A rotation goes in steps,
//! each of which is one write that a crash may follow: the next pair is put beside the current one (*stage*), both
//! CAs are made known to the API server, the next becomes the current (*promote*), and the CA of the previous one is
//! dropped when no replica serves it any more (*retire*). So whatever is served at any time is trusted.
//!
//! * [`pair`] makes and reads certificates; [`plan`] says which step is next, and is pure.
//! * [`Keeper`] does it, while it leads; [`SecretReader`] is what replicas serve from.

mod pair;
mod plan;
mod publish;

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kube::api::{ObjectMeta, PostParams};
use kube::{Api, Client};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::cluster::request::{FIELD_MANAGER, Failed, within};
use crate::config::valid::ManagedTls;
use crate::runtime::leader::{LeadershipLost, LeadershipWatch, Leading};
pub(super) use pair::expiry;
use pair::{Held, Pair};
use plan::{Settled, Step};

/// How often the Secret, the time and the webhook configurations are looked at. By looking, and not by one long
/// timer, a clock that was set is noticed.
const LOOK: Duration = Duration::from_secs(5);
/// How long the CA of the next certificate is known before it is served: API servers take it from a watch.
const KNOWN_FOR: Duration = Duration::from_secs(15);
/// How long the CA of the previous certificate stays known: replicas read the Secret again within [`LOOK`].
const SERVED_FOR: Duration = Duration::from_secs(60);
/// Annotation of the Secret that asks for a rotation now.
const ROTATE: &str = "portreeve.dev/rotate";

/// A certificate chain and its key, PEM.
pub(super) type PemPair = (Vec<u8>, Vec<u8>);

/// The Secret as replicas read it.
#[derive(Clone)]
pub struct SecretReader {
    secrets: Api<Secret>,
    name: String,
}

impl SecretReader {
    /// Reads the Secret of this configuration.
    pub fn new(client: Client, managed: &ManagedTls) -> Self {
        Self { secrets: Api::namespaced(client, &managed.namespace), name: managed.secret.clone() }
    }

    /// What is to be served; `None` while there is nothing.
    pub(super) async fn read(&self) -> Option<PemPair> {
        let data = within(self.secrets.get_opt(&self.name)).await.ok()??.data?;
        let part = |key: &str| data.get(key).map(|bytes| bytes.0.clone());
        Some((part(pair::CERTIFICATE)?, part(pair::KEY)?))
    }
}

/// Why a look came to nothing; the next one tries again.
#[derive(Debug, thiserror::Error)]
enum LookError {
    #[error(transparent)]
    Lost(#[from] LeadershipLost),
    #[error("the Secret {name}: {failed}{hint}")]
    Secret { name: String, failed: Failed, hint: &'static str },
    #[error("the {kind} portreeve: {failed}")]
    Webhook { kind: &'static str, failed: Failed },
    #[error("a certificate could not be made: {0}")]
    Made(#[from] rcgen::Error),
}

/// Keeps certificate, Secret and `caBundle`s as they should be.
pub struct Keeper {
    client: Client,
    secrets: Api<Secret>,
    managed: ManagedTls,
    said: String,
}

/// The CAs that are known to the API server, and since when all of them are, by our clock that cannot be set.
type Known = Option<(String, Instant)>;

impl Keeper {
    /// A keeper of the certificate of this configuration.
    pub fn new(client: Client, managed: ManagedTls) -> Self {
        let secrets = Api::namespaced(client.clone(), &managed.namespace);
        Self { client, secrets, managed, said: String::new() }
    }

    /// Keeps them whenever this process leads, until the shutdown.
    pub async fn run(mut self, mut leadership: LeadershipWatch, shutdown: CancellationToken) {
        loop {
            let leading = tokio::select! {
                leading = leadership.leading() => leading,
                () = shutdown.cancelled() => return,
            };
            tokio::select! {
                () = self.keep(&leading) => {}
                _ = leading.over() => {}
                () = shutdown.cancelled() => return,
            }
        }
    }

    /// Looks until the term is over. What another leader saw settle is waited for again: its clock is not ours.
    async fn keep(&mut self, leading: &Leading) {
        let mut known = None;
        let mut ticks = tokio::time::interval(LOOK);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            match self.look(leading, &mut known).await {
                Ok(()) => self.said.clear(),
                Err(LookError::Lost(_)) => return,
                Err(error) => self.say(&error.to_string()),
            }
        }
    }

    async fn look(&self, leading: &Leading, known: &mut Known) -> Result<(), LookError> {
        let secret = within(self.secrets.get_opt(&self.managed.secret)).await.map_err(|failed| self.failed(failed))?;
        let held = Held::read(secret.as_ref().and_then(|secret| secret.data.as_ref()));
        let Some(held) = self.advance(leading, secret, held, known).await? else { return Ok(()) };
        let bundle = held.bundle();
        publish::make_known(&self.client, leading, &bundle).await?;
        if known.as_ref().is_none_or(|(known, _)| *known != bundle) {
            *known = Some((bundle, Instant::now()));
        }
        Ok(())
    }

    /// Does the next step; what is held afterwards. `None` when somebody else was faster.
    async fn advance(
        &self,
        leading: &Leading,
        secret: Option<Secret>,
        held: Held,
        known: &Known,
    ) -> Result<Option<Held>, LookError> {
        let now = Timestamp::now();
        let step = plan::next(&held, &self.managed.names, now, (is_asked(secret.as_ref()), settled(&held, known)));
        let held = match step {
            Step::Rest => return Ok(Some(held)),
            Step::Make => held.made(Pair::make(&self.managed.names, now, None)?),
            Step::Stage => {
                let next = Pair::make(&self.managed.names, now, held.current.as_ref())?;
                held.staged(next)
            }
            Step::Promote => held.promoted(),
            Step::Retire => held.retired(),
        };
        leading.next_step()?;
        match self.write(secret, held.data()).await {
            Ok(()) => {
                tracing::info!(secret = self.managed.secret, step = step.as_str(), "the webhook's certificate");
                Ok(Some(held))
            }
            Err(Failed::Changed) => Ok(None),
            Err(failed) => Err(self.failed(failed)),
        }
    }

    /// Replaces what was read, if nobody did since, or creates what was not there.
    async fn write(&self, read: Option<Secret>, data: BTreeMap<String, ByteString>) -> Result<(), Failed> {
        let params = PostParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PostParams::default() };
        let name = &self.managed.secret;
        let mut secret = read.unwrap_or_else(|| Secret {
            metadata: ObjectMeta { name: Some(name.clone()), ..ObjectMeta::default() },
            ..Secret::default()
        });
        if let Some(annotations) = &mut secret.metadata.annotations {
            annotations.remove(ROTATE);
        }
        secret.data = Some(data);
        match secret.metadata.resource_version {
            Some(_) => within(self.secrets.replace(name, &params, &secret)).await.map(drop),
            None => within(self.secrets.create(&params, &secret)).await.map(drop),
        }
    }

    fn failed(&self, failed: Failed) -> LookError {
        let hint = match failed.code() {
            Some(403) => {
                "; the account needs get and update of it, and somebody has to create it once (the chart does)"
            }
            _ => "",
        };
        LookError::Secret { name: format!("{}/{}", self.managed.namespace, self.managed.secret), failed, hint }
    }

    /// Says something once, until it is something else.
    fn say(&mut self, text: &str) {
        if self.said != text {
            tracing::warn!("the webhook's certificate cannot be kept: {text}");
            text.clone_into(&mut self.said);
        }
    }
}

fn is_asked(secret: Option<&Secret>) -> bool {
    secret.and_then(|secret| secret.metadata.annotations.as_ref()).is_some_and(|all| all.contains_key(ROTATE))
}

fn settled(held: &Held, known: &Known) -> Settled {
    let since = known.as_ref().filter(|(known, _)| *known == held.bundle()).map(|(_, since)| since.elapsed());
    let is_past = |time: Duration| since.is_some_and(|since| since >= time);
    Settled { is_known: is_past(KNOWN_FOR), is_served: is_past(SERVED_FOR) }
}
