//! A cluster, a registry, and Portreeve between them.

use portreeve_tests::OrFail as _;
use portreeve_tests::age::AgeKey;
use portreeve_tests::chart::of_kind;
use portreeve_tests::control_plane::ControlPlane;
use portreeve_tests::cosign::{Cosign, Storage};
use portreeve_tests::process::{START, until};
use portreeve_tests::registry::Registry;
use portreeve_tests::stage::Stage;
use serde_json::{Value, json};

use crate::play::Play;
use crate::site::{self, EMPTY};
use crate::steps::text;
use crate::teller::Teller;

/// The image that is signed.
pub(crate) const SIGNED: &str = "shop/web:1";
/// The image that nobody signed.
pub(crate) const UNSIGNED: &str = "shop/web:2";

/// Starts everything.
pub(crate) async fn up(teller: &mut Teller) -> Play {
    teller.head("A cluster with a guard");
    let (plane, registry) = tokio::join!(started(), Registry::with_referrers());
    teller.say(&format!("API server {} with its controllers and a node", plane.server()));
    let signer = Cosign::new(registry.docker_config());
    signer.sign(&registry.push_image(SIGNED), Storage::Tag);
    registry.push_image(UNSIGNED);
    let host = registry.host();
    teller.say(&format!("Registry {host}: {SIGNED} is signed by cosign, {UNSIGNED} is not"));
    let public_key = std::fs::read_to_string(signer.public_key()).or_fail("the public key");
    let mut stage = Stage::installed(plane, &site::values(host, &public_key)).await;
    for object in site::deployer(of_kind(&stage.objects, "ServiceAccount")) {
        stage.plane.api().create(&object).await.or_fail("the rights to deploy");
    }
    let folder = stage.daemon.folder().to_owned();
    let key = AgeKey::new();
    stage.daemon.write("platform.yaml", EMPTY);
    stage.config["platform"] = json!({"file": "platform.yaml", "interval": "1s"});
    stage.config["secrets"]["identities"] = json!([{"file": key.file}]);
    let play = Play { stage: stage.guarded().await, registry, key };
    until(START, || in_force(&play)).await.or_fail("the webhooks come into force");
    teller.say("Portreeve runs with the chart's rights, and those to deploy; the API server asks its webhook");
    teller.say(&format!("Commands below run in {}", folder.display()));
    teller.outcome(&format!("the page is at {}", play.url()));
    play
}

async fn started() -> ControlPlane {
    let plane = ControlPlane::start().await;
    tokio::join!(plane.with_controllers(), plane.with_node());
    plane
}

/// Whether both webhooks are called: an unsigned image is warned of, a signed one is pinned. Nothing is created.
async fn in_force(play: &Play) -> Option<()> {
    let warned = dry(play, UNSIGNED).await?.warnings.iter().any(|warning| warning.contains("PR-1001"));
    let pinned = text(&dry(play, SIGNED).await?.object, "/spec/containers/0/image").contains('@');
    (warned && pinned).then_some(())
}

async fn dry(play: &Play, image: &str) -> Option<portreeve_tests::api::Accepted> {
    let mut pod: Value = site::pod(&format!("{}/{image}", play.registry.host()));
    pod["metadata"]["namespace"] = "default".into();
    play.api().create_warned(&pod, "dryRun=All").await.ok()
}
