//! Many statuses, and what they say of exceptions that except nothing.

use portreeve_tests::OrFail as _;
use serde_json::{Value, json};

use crate::site::{
    API_VERSION, REGISTRY, condition, definitions, exception, image_policy, install, path_of, site, until_said,
    until_verdict, values,
};

/// Enough that their statuses take seconds to write.
const MANY: usize = 200;

#[tokio::test]
async fn a_policy_hears_before_hundreds_of_exceptions_do_and_each_of_those_hears_too() {
    let (plane, mut daemon) = site(&values(&[])).await;
    let api = plane.api();
    install(api, &definitions()).await;
    let crowd = plane.namespace("crowd").await;
    for number in 0..MANY {
        api.create(&exception(&crowd, &format!("e{number}"), "x")).await.or_fail("an exception");
    }
    let policy = image_policy("late", &format!("{REGISTRY}/app"));
    api.create(&policy).await.unwrap();
    daemon.start().await;
    let said = until_said(api, &policy, "Accepted").await;
    let all_said = |list: &Value| {
        let items = list["items"].as_array()?;
        let times: Option<Vec<String>> = items
            .iter()
            .map(|item| item["status"]["conditions"][0]["lastTransitionTime"].as_str().map(str::to_owned))
            .collect();
        times.filter(|times| times.len() == MANY)
    };
    let exceptions = format!("/apis/{API_VERSION}/namespaces/{crowd}/exceptions");
    let times = api.wait_for(&exceptions, "every exception hears", all_said).await;
    let policy = condition(&said, "Accepted")["lastTransitionTime"].as_str().unwrap();
    assert!(times.iter().all(|time| policy <= time.as_str()), "{policy} {times:?}");
    let log = daemon.log();
    assert_eq!(log.matches("statuses of custom resources wait").count(), 1, "{log}");
}

#[tokio::test]
async fn an_exception_that_has_expired_is_valid_and_not_in_force_and_one_for_no_code_is_not_valid() {
    let (plane, mut daemon) = site(&values(&["team-*"])).await;
    let api = plane.api();
    install(api, &definitions()).await;
    let team = plane.namespace("team").await;
    let (current, mut past, mut unknown) =
        (exception(&team, "current", "hub"), exception(&team, "past", "hub"), exception(&team, "unknown", "hub"));
    past["spec"]["expires"] = "2020-01-31".into();
    unknown["spec"]["codes"] = json!(["C-1057"]);
    for resource in [&current, &past, &unknown] {
        api.create(resource).await.unwrap();
    }
    daemon.start().await;
    let in_force = |said: &Value| {
        let condition = condition(said, "InForce");
        assert_eq!(condition["observedGeneration"], said["metadata"]["generation"]);
        (condition["status"].clone(), condition["reason"].clone())
    };
    let said = until_said(api, &current, "Accepted").await;
    assert_eq!(in_force(&said), ("True".into(), "InForce".into()));
    let said = until_said(api, &past, "Accepted").await;
    assert_eq!(in_force(&said), ("False".into(), "Expired".into()));
    let said = until_said(api, &unknown, "Invalid").await;
    assert_eq!(in_force(&said), ("False".into(), "NotAccepted".into()));
    let message = condition(&said, "Accepted")["message"].as_str().unwrap();
    assert!(message.contains("there is no code 'C-1057' (did you mean 'C-0057'?)"), "{message}");
    until_verdict(&daemon, &format!("code=PR-0004&namespace={team}"), "unknown", "fail").await;
    // One condition of ours does not take another away.
    api.merge(&path_of(&past), &json!({"spec": {"reason": "accepted once more"}})).await.unwrap();
    let said = until_said(api, &past, "Accepted").await;
    assert_eq!(in_force(&said), ("False".into(), "Expired".into()));
}
