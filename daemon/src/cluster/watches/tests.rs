use kube::runtime::watcher::Event as Watched;
use serde_json::json;

use super::*;
use crate::cluster::key::ObjectKey;

fn pods() -> &'static WatchedKind {
    WatchedKind::find("", "Pod").unwrap()
}

fn raw(value: serde_json::Value) -> RawObject {
    serde_json::from_value(value).unwrap()
}

fn pod(name: &str) -> serde_json::Value {
    json!({
        "metadata": {"name": name, "namespace": "dev", "uid": "u", "managedFields": [{"manager": "kubectl"}]},
        "spec": {"containers": [{"name": "app", "image": "quay.io/a/b:1"}]},
    })
}

#[test]
fn a_listed_object_gets_its_kind_and_loses_its_managed_fields() {
    let Item::Good(object) = raw(pod("web")).into_item(pods()) else { panic!("it is a good pod") };
    assert_eq!((&*object.api_version, &*object.kind, &*object.namespace), ("v1", "Pod", "dev"));
    assert!(object.root.at(["metadata", "managedFields"]).is_none());
}

#[test]
fn a_bad_object_is_data_with_the_key_of_its_delete() {
    for bad in [
        json!({"metadata": {"name": "web", "namespace": "dev"}, "spec": "none"}),
        json!({"metadata": {"name": "web", "namespace": "dev", "labels": 7}, "spec": {"containers": {}}}),
    ] {
        let key = raw(bad.clone()).key(pods());
        let Item::Bad(kept, unreadable) = raw(bad).into_item(pods()) else { panic!("it is a bad pod") };
        assert_eq!(kept, key);
        assert_eq!(unreadable.identity.unwrap().name, "web");
    }
    assert_eq!(raw(json!(7)).key(pods()).name, "".into());
}

#[test]
fn a_list_is_handed_over_when_it_is_complete() {
    let mut listed = None;
    assert!(fold(pods(), Watched::Init, &mut listed).is_none());
    assert!(fold(pods(), Watched::InitApply(raw(pod("a"))), &mut listed).is_none());
    assert!(fold(pods(), Watched::InitApply(raw(pod("b"))), &mut listed).is_none());
    let Some(Event::Listed(kind, items)) = fold(pods(), Watched::InitDone, &mut listed) else { panic!("no list") };
    assert_eq!((kind.kind, items.len()), ("Pod", 2));
    // A list that was broken off is forgotten with the next one.
    fold(pods(), Watched::Init, &mut listed);
    fold(pods(), Watched::InitApply(raw(pod("a"))), &mut listed);
    fold(pods(), Watched::Init, &mut listed);
    let Some(Event::Listed(_, items)) = fold(pods(), Watched::InitDone, &mut listed) else { panic!("no list") };
    assert!(items.is_empty());
}

#[test]
fn changes_and_deletes_name_their_object() {
    let key = ObjectKey { group: "".into(), kind: "Pod".into(), namespace: "dev".into(), name: "web".into() };
    let applied = fold(pods(), Watched::Apply(raw(pod("web"))), &mut None);
    assert!(matches!(applied, Some(Event::Applied(item)) if item.key() == key));
    let deleted =
        fold(pods(), Watched::Delete(raw(json!({"metadata": {"name": "web", "namespace": "dev"}}))), &mut None);
    assert!(matches!(deleted, Some(Event::Deleted(deleted)) if deleted == key));
}
