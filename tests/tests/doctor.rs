//! `portreeve doctor` against a real control plane, a registry that wants a sign-in, and a daemon's webhook.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

use portreeve_tests::OrFail;
use portreeve_tests::age::AgeKey;
use portreeve_tests::binary::{Output, Portreeve};
use portreeve_tests::chart;
use portreeve_tests::control_plane::ControlPlane;
use portreeve_tests::desk::Desk;
use portreeve_tests::folder_cluster::FolderCluster;
use portreeve_tests::parts::Part;
use portreeve_tests::process::{free_port, run};
use portreeve_tests::registry::{PASSWORD, Registry, USER};
use serde_json::{Value, json};

/// The checks of an area: status, message, remedy.
fn checks<'a>(answer: &'a Value, area: &str) -> Vec<[&'a str; 3]> {
    let all = answer["checks"].as_array().or_fail("checks");
    let of_area = all.iter().filter(|check| check["area"] == area);
    let word = |check: &'a Value, key: &str| check[key].as_str().or_fail(key);
    of_area.map(|check| ["status", "message", "remedy"].map(|key| word(check, key))).collect()
}

fn doctor(desk: &Desk, configuration: &str) -> Output {
    desk.file("portreeve.yaml", configuration);
    desk.run(&["doctor", "--format", "json"])
}

#[test]
fn outside_of_a_pod_what_is_missing_is_told_once() {
    let answer = doctor(&Desk::new(), "{}\n").expect_exit(10).json();
    let message = checks(&answer, "cluster")[0][1];
    assert_eq!(message.matches("environment variable not found").count(), 1, "{message}");
}

#[tokio::test]
async fn connection_clock_and_each_right_are_asked_of_the_api_server() {
    let plane = ControlPlane::shared().await;
    let desk = Desk::new();
    let config = |file: &std::path::Path| format!("cluster: {{kubeconfig: '{}'}}\n", file.display());
    let output = doctor(&desk, &config(&plane.kubeconfig())).expect_exit(0);
    let answer = output.json();
    assert_eq!((answer["schemaVersion"].as_str(), answer["status"].as_str()), (Some("doctor-v1"), Some("ok")));
    assert!(checks(&answer, "cluster")[0][1].contains("v1."), "{answer:#}");
    assert_eq!(checks(&answer, "clock").len(), 1, "{answer:#}");
    let asked = |resource: &str| checks(&answer, "rights").iter().any(|[_, message, _]| message.contains(resource));
    for resource in ["list, watch pods", "list, watch networkpolicies", "get namespaces", "get, create, update leases"]
    {
        assert!(asked(resource), "{resource} in {answer:#}");
    }

    // An account without rights: each that is missing is told, with what it is for.
    let namespace = plane.namespace("doctor").await;
    let account = json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "nobody"}});
    let path = format!("/api/v1/namespaces/{namespace}/serviceaccounts");
    plane.api().post(&path, &account).await.or_fail("a ServiceAccount");
    let nobody = config(&plane.kubeconfig_for(&namespace, "nobody").await);
    fs::create_dir(desk.folder().join("parts")).or_fail("a folder");
    let text = format!("{nobody}secrets: {{clusterRead: full}}\nplatform: {{resource: demo, folder: parts}}\n");
    let answer = doctor(&desk, &text).expect_exit(10).json();
    let rights = checks(&answer, "rights");
    assert!(rights.iter().all(|[status, _, remedy]| *status == "fail" && !remedy.is_empty()), "{answer:#}");
    let secrets = "may not list, watch secrets, which is needed for secrets.clusterRead";
    let inventories = "may not get, list, create, update, delete configmaps in portreeve-system, which is needed for the \
                       platform's inventories";
    for missing in [secrets, inventories] {
        assert!(rights.iter().any(|[_, message, _]| *message == missing), "{missing}: {answer:#}");
    }

    // Nobody there: a failure with what to do, and no right is said to be missing.
    let file = desk.file("away", fs::read_to_string(plane.kubeconfig()).or_fail("a kubeconfig"));
    let away =
        fs::read_to_string(&file).or_fail("it").replace(plane.server(), &format!("https://127.0.0.1:{}", free_port()));
    desk.file("away", away);
    let answer = doctor(&desk, &config(&file)).expect_exit(10).json();
    assert_eq!(checks(&answer, "cluster")[0][0], "fail", "{answer:#}");
    assert_eq!(checks(&answer, "rights")[0][0], "unknown", "{answer:#}");
}

#[tokio::test]
async fn the_account_of_the_chart_has_the_rights_that_are_asked_for_and_no_other_is_asked_for() {
    let plane = ControlPlane::shared().await;
    let volume = json!({"emptyDir": {}});
    let objects = chart::rendered(&json!({"platform": {"resource": "demo", "folder": "parts", "volume": volume}}));
    plane.create_namespace(chart::NAMESPACE).await;
    for object in chart::rights(&objects) {
        plane.api().create(object).await.or_fail("the rights of the chart");
    }
    let desk = Desk::new();
    let (mut config, files) = chart::configuration(&objects);
    for (name, content) in files {
        desk.file(&name, content);
    }
    config["cluster"] = json!({"kubeconfig": plane.kubeconfig_for(chart::NAMESPACE, "portreeve").await});
    config["store"] = json!({"url": "sqlite://store.db"});
    fs::create_dir(desk.folder().join("parts")).or_fail("a folder");
    config["platform"]["folder"] = "parts".into();
    // Nobody listens where the webhook should; that is all that is wrong.
    let answer = doctor(&desk, &config.to_string()).expect_exit(10).json();
    let rights = checks(&answer, "rights");
    assert!(rights.iter().all(|[status, ..]| *status == "ok"), "{answer:#}");
    let asked = |start: &str| rights.iter().filter(|[_, message, _]| message.starts_with(start)).count();
    assert_eq!(asked("list, watch secrets"), 0, "{answer:#}");
    let webhooks = "get, patch validatingwebhookconfigurations";
    let inventories = "get, list, create, update, delete configmaps in portreeve-system";
    for start in ["list, watch imagepolicies", "patch exceptions/status", webhooks, inventories] {
        assert_eq!(asked(start), 1, "{start} in {answer:#}");
    }
    config.as_object_mut().or_fail("a map").remove("admission");
    doctor(&desk, &config.to_string()).expect_exit(0);
    config["secrets"] = json!({"clusterRead": "full"});
    let answer = doctor(&desk, &config.to_string()).expect_exit(10).json();
    let failing = checks(&answer, "rights").into_iter().filter(|[status, ..]| *status == "fail");
    let failing: Vec<&str> = failing.map(|[_, message, _]| message).collect();
    assert_eq!(failing, ["may not list, watch secrets, which is needed for secrets.clusterRead"]);
}

#[tokio::test]
async fn registries_are_asked_with_the_credentials_that_are_configured() {
    let registry = Registry::with_sign_in().await;
    let desk = Desk::new();
    let host = registry.host();
    let config = |credentials: &str| {
        format!("cluster: {{folder: .}}\nregistries: [{{host: '{host}', plainHttp: true{credentials}}}]\n")
    };
    let file = registry.docker_config().join("config.json");
    let answer = doctor(&desk, &config(&format!(", credentials: {{dockerConfig: '{}'}}", file.display())));
    let answer = answer.expect_exit(0).json();
    assert_eq!(checks(&answer, "registry")[0][0], "ok", "{answer:#}");
    let answer = doctor(&desk, &config("")).expect_exit(10).json();
    let [status, message, remedy] = checks(&answer, "registry")[0];
    assert!(status == "fail" && message.contains("401") && remedy.contains("dockerConfig"), "{answer:#}");
}

#[tokio::test]
async fn the_program_that_has_the_credentials_of_a_registry_is_named() {
    let registry = Registry::with_sign_in().await;
    let desk = Desk::new();
    let host = registry.host();
    let login = json!({"username": USER, "password": PASSWORD});
    desk.program("docker-credential-harbour", &format!("echo '{}'", json!({"Username": USER, "Secret": PASSWORD})));
    let version = "credentialprovider.kubelet.k8s.io/v1";
    let response = json!({"apiVersion": version, "kind": "CredentialProviderResponse", "cacheKeyType": "Registry",
                          "auth": {host: login}});
    desk.program("harbour-provider", &format!("echo '{response}'"));
    let provider = json!({"name": "harbour-provider", "matchImages": [host], "defaultCacheDuration": "1h",
                          "apiVersion": version});
    let kubelet = json!({"apiVersion": "kubelet.config.k8s.io/v1", "kind": "CredentialProviderConfig",
                         "providers": [provider]});
    desk.file("providers.yaml", kubelet.to_string());
    desk.file("docker.json", json!({"credHelpers": {host: "harbour"}}).to_string());
    let asked = |more: Value, providers: Value| {
        let mut entry = json!({"host": host, "plainHttp": true});
        entry["credentials"] = more;
        let config = json!({"cluster": {"folder": "."}, "registries": [entry], "credentialProviders": providers});
        desk.file("portreeve.yaml", config.to_string());
        let path = format!("{}:/usr/bin:/bin", desk.folder().display());
        let output = Portreeve::finish(desk.command(&["doctor", "--format", "json"]).env("PATH", path));
        assert!(!output.stdout.contains(PASSWORD), "{output:?}");
        let answer = output.json();
        let [status, message, _] = checks(&answer, "registry")[0];
        format!("{status} {message}")
    };
    let plugins = || json!({"config": "providers.yaml", "binDir": "."});
    let helper = asked(json!({"helper": "harbour"}), Value::Null);
    assert_eq!(helper, format!("ok {host} answers and takes our credentials, which docker-credential-harbour has"));
    let provider = asked(Value::Null, plugins());
    let expected =
        format!("ok {host} answers and takes our credentials, which the credential provider harbour-provider has");
    assert_eq!(provider, expected);
    let named = asked(json!({"dockerConfig": "docker.json"}), Value::Null);
    assert!(named.starts_with("fail ") && named.contains("'helper' in the place of 'dockerConfig'"), "{named}");
    desk.program("harbour-provider", &format!("echo {PASSWORD}; exit 3"));
    let failed = asked(Value::Null, plugins());
    assert!(failed.starts_with("fail ") && failed.contains("harbour-provider") && failed.contains("exit status: 3"));
}

#[test]
fn keys_are_ours_alone_and_are_keys() {
    let desk = Desk::new();
    let made = run(&mut Command::new(Part::path("age-keygen")));
    let secret = made.lines().find(|line| line.starts_with("AGE-")).or_fail("a key of age-keygen");
    let file = desk.file("age.key", &made);
    let mode = |mode| fs::set_permissions(&file, fs::Permissions::from_mode(mode)).or_fail("a mode");
    let config = "cluster: {folder: .}\nsecrets: {identities: [{file: age.key}]}\n";
    mode(0o600);
    doctor(&desk, config).expect_exit(0);
    let key = AgeKey::new();
    key.encrypt("password: x\n", &desk.folder().join("hub.yaml"), &[]);
    let declared = |message: &str| {
        let sync = "cluster: {kubeconfig: none.yaml}\nsecrets:\n  identities: [{file: age.key}]\n  \
                    sync: [{file: hub.yaml, namespace: a, name: b}]\n";
        let answer = doctor(&desk, sync).expect_exit(10).json();
        assert!(checks(&answer, "keys").iter().any(|check| check[1].contains(message)), "{message} in {answer:#}");
    };
    declared("no identity opens the data key");
    fs::copy(&key.file, &file).or_fail("its key");
    declared("hub.yaml of secrets.sync opens, for the Secret a/b");
    desk.file("age.key", &made);
    mode(0o644);
    let output = doctor(&desk, config).expect_exit(10);
    let answer = output.json();
    let keys = checks(&answer, "keys");
    assert!(keys.iter().any(|[status, _, remedy]| *status == "fail" && remedy.starts_with("chmod 600 ")), "{answer:#}");
    mode(0o600);
    desk.file("age.key", format!("{secret}X\n"));
    let output = doctor(&desk, config).expect_exit(10);
    assert!(output.stdout.contains("not an age identity") && !output.stdout.contains(secret), "{output:?}");
    desk.file("portreeve.yaml", "cluster: {folder: missing}\nimages: {policy: missing.yaml}\n");
    let table = desk.run(&["doctor"]).expect_exit(10).stdout;
    assert!(table.contains("fail     files") && table.contains("portreeve.yaml:2:18: 'images.policy'"), "{table}");
    desk.file("portreeve.yaml", "clutser: {}\n");
    desk.run(&["doctor"]).expect_exit(2);
}

#[tokio::test]
async fn the_webhook_is_reached_where_it_listens_and_missed_where_it_does_not() {
    let cluster = FolderCluster::new("");
    let ask = || {
        let mut command = Portreeve::command();
        command.args(["doctor", "--format", "json", "--config"]).arg(cluster.config());
        Portreeve::finish(&mut command)
    };
    let answer = ask().expect_exit(10).json();
    let [status, _, remedy] = checks(&answer, "webhook")[0];
    assert!(status == "fail" && remedy.contains("portreeve serve"), "{answer:#}");
    let _daemon = cluster.serve().await;
    let answer = ask().expect_exit(0).json();
    assert_eq!(checks(&answer, "webhook")[0][0], "ok", "{answer:#}");
}

#[test]
fn the_store_is_looked_at_and_nothing_is_made() {
    let desk = Desk::new();
    let store = |configuration: &str| {
        let answer = doctor(&desk, configuration).json();
        let [status, message, remedy] = checks(&answer, "store")[0];
        (status.to_owned(), format!("{message} {remedy}"))
    };
    let told = |configuration: &str, status: &str, words: &str| {
        let found = store(configuration);
        assert!(found.0 == status && found.1.contains(words), "{configuration}: {found:?}");
    };
    told("store: {url: 'sqlite://new.db'}\n", "ok", "at the first start");
    assert!(!desk.folder().join("new.db").exists() && !desk.folder().join("new.db.lock").exists());
    told("store: {url: 'sqlite://away/new.db'}\n", "fail", "does not exist");
    std::os::unix::fs::symlink("gone/portreeve.db", desk.folder().join("link.db")).or_fail("a link");
    told("store: {url: 'sqlite://link.db'}\n", "fail", "a link that dangles, to gone/portreeve.db");
    desk.file("text.db", "not a database\n");
    told("store: {url: 'sqlite://text.db'}\n", "fail", "text.db");
    told("store: {url: 'postgres://portreeve@127.0.0.1:1/portreeve'}\n", "fail", "connection refused");
}

#[tokio::test]
async fn a_store_that_a_daemon_has_open_is_told_so_and_later_is_intact() {
    let cluster = FolderCluster::new("");
    let asked = || {
        let mut doctor = Portreeve::command();
        doctor.args(["doctor", "--format", "json"]).current_dir(cluster.root());
        let answer = Portreeve::finish(&mut doctor).json();
        let [status, message, _] = checks(&answer, "store")[0];
        (status.to_owned(), message.to_owned())
    };
    let daemon = cluster.serve().await;
    let (status, message) = asked();
    assert!(status == "ok" && message.contains("open in a running daemon"), "{status} {message}");
    drop(daemon);
    let (status, message) = asked();
    assert!(status == "ok" && message.contains("intact"), "{status} {message}");
}
