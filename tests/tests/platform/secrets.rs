//! Secrets: nothing that others may read follows from their values, and their owners are those of other fields.

use portreeve_tests::api::documents;
use serde_json::{Value, json};

use crate::site::Site;

fn secret(value: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Secret\nmetadata: {{name: s, annotations: {{sum: '{value}'}}}}\nstringData: {{password: '{value}'}}\n"
    )
}

fn path(site: &Site) -> String {
    format!("/api/v1/namespaces/{}/secrets/s", site.namespace)
}

/// The Secret's row of the inventory, without its UID.
async fn row(site: &Site) -> Vec<Value> {
    let rows = site.inventory("app").await;
    let mut row = rows[0].as_array().cloned().unwrap_or_default();
    assert!(row[5].is_string(), "{row:?}");
    row.remove(4);
    row
}

#[tokio::test]
async fn an_inventory_tells_nothing_of_a_secrets_values() {
    let site = Site::new("values").await;
    site.write("app/s.yaml", &secret("hunter2"));
    site.apply(&[]);
    let before = row(&site).await;
    site.write("app/s.yaml", &secret("correct-horse"));
    site.apply(&[]);
    assert_eq!(row(&site).await, before);
    let live = site.api().get(&path(&site)).await.unwrap();
    assert_eq!(live["data"]["password"], "Y29ycmVjdC1ob3JzZQ==");
    assert_eq!(site.apply(&[])["writes"], 0);
}

#[tokio::test]
async fn what_was_noted_of_a_secrets_values_before_is_replaced() {
    let site = Site::new("noted").await;
    site.write("app/s.yaml", &secret("hunter2"));
    site.apply(&[]);
    let now = row(&site).await;
    let inventory = format!("/api/v1/namespaces/portreeve-system/configmaps/platform.{}.app", site.name);
    let mut rows = site.inventory("app").await;
    rows[0][5] = json!("0123456789abcdef");
    site.api().merge(&inventory, &json!({"data": {"entries": Value::from(rows).to_string()}})).await.unwrap();
    site.apply(&[]);
    assert_eq!(row(&site).await, now);
}

#[tokio::test]
async fn a_secrets_field_of_another_applier_is_left_to_it_though_it_is_declared_as_a_text() {
    let site = Site::new("texts").await;
    site.write("app/s.yaml", &secret("ours"));
    site.apply(&[]);
    let theirs = format!(
        "apiVersion: v1\nkind: Secret\nmetadata: {{name: s, namespace: {}}}\ndata: {{password: dGhlaXJz}}\n",
        site.namespace
    );
    site.api().apply_object(&documents(&theirs)[0], "").await.unwrap();
    let (code, plan) = site.plan();
    let object = &plan["components"][0]["plan"]["objects"][0];
    assert_eq!((code, &object["action"], &object["changes"]), (Some(0), &json!("unchanged"), &json!([])), "{plan}");
    assert_eq!(object["leftToOthers"][0]["path"], "data.password");
    let classes: Vec<&Value> = plan["components"][0]["drift"].as_array().unwrap().iter().map(|d| &d["class"]).collect();
    assert_eq!(classes, ["foreign-owner"], "{plan}");
    assert_eq!(site.apply(&[])["writes"], 0);
    // Whether it declares a text or the data that it becomes.
    site.api()
        .apply_object(
            &documents(&theirs.replace("data: {password: dGhlaXJz}", "stringData: {password: theirs}"))[0],
            "",
        )
        .await
        .unwrap();
    let (_, plan) = site.plan();
    assert_eq!(plan["components"][0]["plan"]["objects"][0]["leftToOthers"][0]["path"], "data.password", "{plan}");
    // Another field that we write names nobody but its owner.
    site.write("app/s.yaml", &secret("ours").replace("{password: 'ours'}", "{password: ours, more: '1'}"));
    site.apply(&[]);
    let live = site.api().get(&path(&site)).await.unwrap();
    assert_eq!(live["data"], json!({"password": "dGhlaXJz", "more": "MQ=="}));
    let (_, plan) = site.plan();
    assert_eq!(plan["components"][0]["drift"][0]["message"], "data.password is tests's", "{plan}");
    // A text that leaves the manifest leaves the Secret.
    site.write("app/s.yaml", &secret("ours"));
    site.apply(&[]);
    assert_eq!(site.api().get(&path(&site)).await.unwrap()["data"], json!({"password": "dGhlaXJz"}));
}

#[tokio::test]
async fn what_is_no_base64_is_told_with_the_secrets_name_and_without_its_value() {
    let site = Site::new("base").await;
    site.write(
        "app/s.yaml",
        "apiVersion: v1\nkind: Secret\nmetadata: {name: s}\ndata: {pin: 'no-base64-918273645!'}\n",
    );
    let output = site.run(&["apply", "--yes"]);
    assert_eq!(output.code, Some(1), "{}{}", output.stdout, output.stderr);
    for said in ["Secret/s: ", "words are left out", "no base64"] {
        assert!(output.stdout.contains(said), "{said}: {}{}", output.stdout, output.stderr);
    }
    assert!(!output.stdout.contains("918273645"), "{}", output.stdout);
}
