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
    rows[0][5] = json!(digest_of_before(&site, "hunter2"));
    assert_ne!(rows[0][5], now[4]);
    site.api().merge(&inventory, &json!({"data": {"entries": Value::from(rows).to_string()}})).await.unwrap();
    // The very manifest was applied, and it tells values: what differs has drifted, also where the field is called ours.
    let other = json!({"apiVersion": "v1", "kind": "Secret", "metadata": metadata(&site, "other"),
        "data": {"password": "b3RoZXI="}});
    site.api().apply_as("portreeve", &other, "").await.unwrap();
    let (_, plan) = site.plan();
    let drift = &plan["components"][0]["drift"][0];
    assert_eq!(
        (&drift["class"], &drift["object"]),
        (&json!("modified"), &json!(format!("{}/Secret/s", site.namespace)))
    );
    site.apply(&[]);
    assert_eq!(row(&site).await, now);
    // By what is noted now, that cannot be told from a change of the manifest.
    site.api().apply_as("portreeve", &other, "").await.unwrap();
    assert_eq!(site.plan().1["components"][0]["drift"], json!([]));
}

fn metadata(site: &Site, value: &str) -> Value {
    json!({"name": "s", "annotations": {"sum": value}, "namespace": site.namespace,
        "labels": {"portreeve.dev/platform": site.name, "portreeve.dev/component": "app"}})
}

/// What inventories noted of a Secret before: a digest of all of the manifest with our labels, its values as well.
fn digest_of_before(site: &Site, value: &str) -> String {
    let body = json!({"apiVersion": "v1", "kind": "Secret", "metadata": metadata(site, value),
        "stringData": {"password": value}});
    let digest = portreeve_reports::digest::sha256(body.to_string().as_bytes());
    digest.trim_start_matches("sha256:").chars().take(16).collect()
}

#[tokio::test]
async fn a_secret_that_a_tool_applied_as_texts_is_taken_over_with_them_and_follows_its_manifest() {
    let site = Site::new("rotated").await;
    let theirs = format!(
        "apiVersion: v1\nkind: Secret\nmetadata: {{name: s, namespace: {}}}\nstringData: {{password: one, more: theirs}}\n",
        site.namespace
    );
    site.api().apply_as("kubectl", &documents(&theirs)[0], "").await.unwrap();
    site.component("adopt: true");
    for value in ["two", "three"] {
        site.write("app/s.yaml", &secret(value));
        let applied = site.apply(&[]);
        assert_eq!(applied["components"][0]["drift"], json!([]), "{applied}");
        let live = site.api().get(&path(&site)).await.unwrap();
        let wanted = if value == "two" { "dHdv" } else { "dGhyZWU=" };
        assert_eq!(live["data"], json!({"password": wanted, "more": "dGhlaXJz"}), "{applied}");
    }
}

#[tokio::test]
async fn why_a_secret_is_refused_is_told_without_its_values_also_where_the_gate_keeps_it_back() {
    let site = Site::new("hint").await;
    let secret = |rest: &str| format!("apiVersion: v1\nkind: Secret\nmetadata: {{name: s}}\n{rest}\n");
    let refused = |arguments: &[&str], told: &str| {
        let output = site.run(arguments);
        let said = output.stdout + &output.stderr;
        assert!(said.contains(told) && !said.contains("918273645"), "{told}: {said}");
        said
    };
    for (rest, told) in [
        ("stringDatas: {pin: '918273645'}", "a field that a Secret does not have (is 'stringData' meant?)"),
        ("stringData: {'a b/c': '918273645'}", "data[a b/c] is no key (letters, digits, '-', '_' and '.' are)"),
        ("type: kubernetes.io/tls\nstringData: {tls.crt: '918273645'}", "data[tls.key] is missing"),
    ] {
        site.write("app/s.yaml", &secret(rest));
        refused(&["apply", "--yes"], told);
        let said = refused(&["plan"], told);
        assert_eq!(said.matches(told).count(), 1, "it is said once: {said}");
    }
    let text = std::fs::read_to_string(site.folder.join("platform.yaml")).unwrap();
    site.write("platform.yaml", &text.replace("failOn: critical", "failOn: high"));
    let pod = "apiVersion: v1\nkind: Pod\nmetadata: {name: root}\nspec: {containers: [{name: a, image: 'example.org/a:1', \
        securityContext: {privileged: true}}]}\n";
    site.write("app/pod.yaml", pod);
    let said = refused(&["plan"], "data[tls.key] is missing");
    assert!(said.contains("kept back by the gate"), "{said}");
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
