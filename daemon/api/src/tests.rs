use super::*;

const EXCEPTION: &str = "\
# Accepted until the storage class supports fsGroup.
apiVersion: portreeve.dev/v1alpha1
kind: Exception
metadata: {name: hub-root-init, namespace: jhub}
spec:
  codes: [C-0013, C-0016]
  subjects: {kinds: [Deployment], names: [hub], containers: [init-home]}
  owner: team-platform
  approvedBy: security@example.org
  reason: the volume must be chowned
  expires: 2027-01-31
";

fn codes() -> KnownCodes {
    ["C-0013", "C-0016"].map(|code| portreeve_reports::Code::parse(code).unwrap()).into_iter().collect()
}

fn read(text: &str) -> Vec<Result<Document, String>> {
    let documents = documents("x.yaml", text.as_bytes(), &Limits::default(), &codes());
    documents.into_iter().map(|document| document.map_err(|problems| problems.to_string())).collect()
}

fn said(text: &str) -> String {
    let mut documents = read(text);
    assert_eq!(documents.len(), 1, "{documents:?}");
    documents.remove(0).unwrap_err()
}

#[test]
fn the_published_form_of_an_exception_decodes_with_its_place() {
    let mut documents = read(EXCEPTION);
    let Ok(Document::Exception(exception)) = documents.remove(0) else { panic!("not an exception") };
    assert_eq!((exception.name.as_str(), &exception.scope), ("hub-root-init", &Scope::Namespace("jhub".into())));
    assert_eq!(exception.spec.expires.to_string(), "2027-01-31");
    assert_eq!((exception.origin.file.as_deref(), exception.origin.place.line), (Some("x.yaml"), 2));
}

#[test]
fn a_file_may_hold_all_kinds_and_empty_documents() {
    let policy =
        "apiVersion: portreeve.dev/v1alpha1\nkind: ImagePolicy\nmetadata: {name: default}\nspec: {mode: warn}\n";
    let cluster = EXCEPTION.replace("kind: Exception", "kind: ClusterException").replace(", namespace: jhub", "");
    let documents = read(&format!("---\n---\n{policy}---\n{cluster}---\n"));
    assert_eq!(documents.len(), 2, "{documents:?}");
    let Ok(Document::ImagePolicy { name, node }) = &documents[0] else { panic!("{:?}", documents[0]) };
    assert_eq!((name.as_str(), node.at(["mode"]).and_then(Node::as_str)), ("default", Some("warn")));
    let Ok(Document::Exception(exception)) = &documents[1] else { panic!("{:?}", documents[1]) };
    assert_eq!(exception.scope, Scope::Cluster);
}

#[test]
fn an_unknown_kind_or_version_is_a_problem_with_a_hint() {
    let kind = said(&EXCEPTION.replace("kind: Exception", "kind: Exeption"));
    let expected = "x.yaml:3:7: kind 'Exeption' is not one of Exception, ClusterException, ImagePolicy, Platform; did you mean 'Exception'?";
    assert_eq!(kind, expected);
    let version = said(&EXCEPTION.replace("v1alpha1", "v1"));
    assert_eq!(version, "x.yaml:2:13: apiVersion 'portreeve.dev/v1' is not portreeve.dev/v1alpha1");
}

#[test]
fn all_problems_of_a_document_come_at_once() {
    let text = EXCEPTION.replace("namespace: jhub", "namspace: jhub").replace("  owner: team-platform\n", "");
    let said = said(&text);
    for problem in [
        "unknown key 'metadata.namspace'; did you mean 'namespace'?",
        "'metadata.namespace' is missing",
        "'spec.owner' is missing",
    ] {
        assert!(said.contains(problem), "{problem} is not in:\n{said}");
    }
}

#[test]
fn scope_and_kind_must_agree() {
    let cluster = said(&EXCEPTION.replace("kind: Exception", "kind: ClusterException"));
    assert!(cluster.contains("'metadata.namespace' is not allowed: ClusterException has no namespace"), "{cluster}");
    let wrong = said(&EXCEPTION.replace("namespace: jhub", "namespace: 'J/Hub'"));
    assert!(wrong.contains("'J/Hub' is not a DNS-1123 label"), "{wrong}");
}

#[test]
fn a_wrong_namespace_never_widens_to_the_cluster() {
    for namespace in ["''", "7", "[]", "{}", "a.b"] {
        let text = EXCEPTION.replace("kind: Exception", "kind: ClusterException");
        let said = said(&text.replace("namespace: jhub", &format!("namespace: {namespace}")));
        assert!(said.contains("metadata.namespace"), "{said}");
    }
}

#[test]
fn one_bad_document_leaves_the_others() {
    let documents = read(&format!("{EXCEPTION}---\nkind: Exception\n---\n- a list\n---\n{EXCEPTION}"));
    let good: Vec<bool> = documents.iter().map(Result::is_ok).collect();
    assert_eq!(good, [true, false, false, true]);
    let missing = documents[1].as_ref().unwrap_err();
    for key in ["apiVersion", "metadata", "spec"] {
        assert!(missing.contains(&format!("'{key}' is missing")), "{missing}");
    }
}

#[test]
fn bytes_that_cannot_be_read_are_a_problem_and_never_silence() {
    for bytes in [&b"\xff\xfe\xfd"[..], b"a: [", b"a: 1\na: 2\n"] {
        let documents = documents("x.yaml", bytes, &Limits::default(), &codes());
        assert!(documents.iter().any(Result::is_err), "{bytes:?} {documents:?}");
    }
    let small = Limits { bytes: 10, ..Limits::default() };
    assert!(documents("x.yaml", EXCEPTION.as_bytes(), &small, &codes()).iter().all(Result::is_err));
}

#[test]
fn an_object_of_the_api_server_decodes_without_a_file() {
    let mut json = yaml::read(EXCEPTION.as_bytes(), &Limits::default()).remove(0).unwrap().to_json();
    json["metadata"]["uid"] = "3f".into();
    json["metadata"]["managedFields"] = serde_json::json!([{"manager": "kubectl"}]);
    json["status"] = serde_json::json!({});
    let decoded = document(None, &Node::from_json(&json), &codes()).unwrap();
    let Document::Exception(exception) = decoded else { panic!("{decoded:?}") };
    assert_eq!(exception.origin, Origin::default());
}
