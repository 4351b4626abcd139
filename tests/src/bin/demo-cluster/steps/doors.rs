//! Tokens, and what there is to see at the end.

use portreeve_tests::api::Status;
use portreeve_tests::{OrFail as _, fail};
use serde_json::{Value, json};

use crate::play::Play;
use crate::site::SHOP;
use crate::steps::text;
use crate::teller::Teller;

const TOKEN: &str = "/api/v1/namespaces/shop/serviceaccounts/web/token";
const SECRETS: &str = "/api/v1/namespaces/shop/secrets";
/// What the API server fills with a token that never ends.
const TYPE: &str = "kubernetes.io/service-account-token";

/// A token for ten years is refused, one for ten minutes is given.
pub(crate) async fn tokens(play: &Play, teller: &mut Teller) {
    teller.head("A token that lives too long is refused");
    match ask(play, teller, 315_360_000).await {
        Err(refused) if refused.message.contains("PR-4010") => teller.answer(&refused.to_string()),
        answer => fail(format!("a token of ten years is refused, not {:?}", answer.err())),
    }
    let given = ask(play, teller, 600).await.or_fail("a token of ten minutes");
    teller.answer(&format!("201 Created: a token until {}", text(&given, "/status/expirationTimestamp")));
    teller.say("A Secret with a token that never ends can be made, and is found:");
    teller.act(&format!("POST {SECRETS}  {{name: forever, type: {TYPE}}}"));
    let secret = json!({"apiVersion": "v1", "kind": "Secret", "type": TYPE, "metadata": {"name": "forever",
        "namespace": SHOP, "annotations": {"kubernetes.io/service-account.name": "web"}}});
    play.api().create(&secret).await.or_fail("a Secret for a token");
    let finding = play.finding("code=PR-4004").await;
    teller.answer(&format!("finding PR-4004 {}: {}", text(&finding, "/severity"), text(&finding, "/message")));
    teller.outcome("ten years refused, ten minutes given, no end found");
}

async fn ask(play: &Play, teller: &Teller, seconds: u32) -> Result<Value, Status> {
    teller.act(&format!("POST {TOKEN}  {{expirationSeconds: {seconds}}}"));
    let request = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest",
        "spec": {"expirationSeconds": seconds}});
    play.api().post(TOKEN, &request).await
}

/// What Portreeve knows now.
pub(crate) async fn findings(play: &Play, teller: &mut Teller) {
    teller.head("What there is to see");
    teller.act(&format!("GET {}api/v1/summary", play.url()));
    let (code, summary) = play.stage.daemon.page("/api/v1/summary").await.or_fail("the API answers");
    let summary: Value = serde_json::from_str(&summary).or_fail("the API answers JSON");
    if code != 200 {
        fail(format!("the API answers {code}"));
    }
    let count = |severity: &str| format!("{} {severity}", summary["counts"]["bySeverity"][severity]);
    let counts = ["critical", "high", "medium", "low"].map(count).join(", ");
    teller.answer(&format!("verdict {}; failures by severity: {counts}", text(&summary, "/verdict")));
    play.done(teller, &["platform", "status"]);
    let listed = play.run(teller, &["credentials", "list", "cluster"]);
    if !listed.stdout.contains("forever") {
        fail("the list names the token that never ends");
    }
    teller.outcome("all steps went as promised");
}
