use portreeve_reports::digest::sha256;
use serde_json::{Value, json};

use super::*;

#[test]
fn names_of_configurations_tell_their_digest_and_other_names_tell_none() {
    let hex = "ab".repeat(32);
    for member in [format!("sha256:{hex}"), format!("{hex}.json"), format!("blobs/sha256/{hex}")] {
        assert_eq!(digest_in(&member), format!("sha256:{hex}"));
    }
    assert_eq!(digest_in("config.json"), "");
}

#[test]
fn paths_of_members_stay_in_the_archive() {
    assert_eq!(plain("./a/../b//c"), "b/c");
    assert_eq!(plain("../../etc/passwd"), "etc/passwd");
}

const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";

/// An archive of these members.
fn archive(members: &[(String, Vec<u8>)]) -> ImageArchive {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    let mut writer = tar::Builder::new(&mut file);
    for (name, bytes) in members {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        header.set_uid(0);
        header.set_gid(0);
        writer.append_data(&mut header, name, bytes.as_slice()).unwrap();
    }
    writer.finish().unwrap();
    drop(writer);
    ImageArchive::open(file.path(), &Caps::default()).unwrap()
}

/// A blob at its place, and what a document says of it.
fn blob(members: &mut Vec<(String, Vec<u8>)>, kind: &str, bytes: impl Into<Vec<u8>>) -> Value {
    let bytes = bytes.into();
    let digest = sha256(&bytes);
    let described = json!({"mediaType": kind, "digest": digest, "size": bytes.len()});
    members.push((blob_path(&digest).unwrap(), bytes));
    described
}

fn place(descriptor: &Value) -> String {
    blob_path(descriptor["digest"].as_str().unwrap()).unwrap()
}

/// An archive whose index has one image, with a second configuration and layer that are in no index, and this list.
fn in_both_forms(list: impl Fn(&[Value; 2], &[Value; 2]) -> Value) -> Result<Vec<ArchivedImage>, Problem> {
    let mut members = vec![("oci-layout".to_owned(), b"{}".to_vec())];
    let configs = ["{}", "{\"evil\":1}"].map(|text| blob(&mut members, CONFIG, text));
    let layers = ["good", "evil"].map(|text| blob(&mut members, LAYER, text));
    let manifest = json!({"config": configs[0], "layers": [layers[0]]}).to_string();
    let manifest = blob(&mut members, MANIFEST, manifest);
    members.push(("index.json".to_owned(), json!({"manifests": [manifest]}).to_string().into_bytes()));
    members.push((LIST.to_owned(), list(&configs, &layers).to_string().into_bytes()));
    archive(&members).images()
}

#[test]
fn an_archive_with_two_forms_must_mean_the_same_images_by_both() {
    let same = in_both_forms(|configs, layers| json!([{"Config": place(&configs[0]), "Layers": [place(&layers[0])]}]));
    assert!(matches!(same.unwrap().as_slice(), [ArchivedImage::Described(..)]));
    assert!(in_both_forms(|_, _| json!([])).is_ok(), "none is none other");
    for (config, layers) in [(1, vec![0]), (0, vec![1]), (0, vec![0, 1]), (0, vec![])] {
        let problem = in_both_forms(|configs, all| {
            let layers: Vec<String> = layers.iter().map(|index: &usize| place(&all[*index])).collect();
            json!([{"Config": place(&configs[0]), "Layers": [place(&all[0])]}, {"Config": place(&configs[config]), "Layers": layers}])
        });
        let problem = problem.err().unwrap();
        assert_eq!(problem.cause, Cause::Unreadable);
        assert!(problem.message.contains("image 2 of manifest.json is none of index.json"), "{problem}");
    }
    let missing = in_both_forms(|_, layers| json!([{"Config": "gone.json", "Layers": [place(&layers[0])]}]));
    assert!(missing.is_err());
}

#[test]
fn what_a_document_says_of_members_is_not_believed() {
    let mut members = vec![("oci-layout".to_owned(), b"{}".to_vec()), ("evil.json".to_owned(), b"{}".to_vec())];
    let config = json!({"mediaType": CONFIG, "digest": format!("sha256:{}", "0".repeat(64)), "size": 2, "member": "evil.json",
        "annotations": {"dev.portreeve.member": "evil.json"}});
    let manifest = blob(&mut members, MANIFEST, json!({"config": config, "layers": []}).to_string());
    members.push(("index.json".to_owned(), json!({"manifests": [manifest]}).to_string().into_bytes()));
    let archive = archive(&members);
    let images = archive.images().unwrap();
    let [ArchivedImage::Described(descriptor, _)] = images.as_slice() else { panic!("one image") };
    let manifest = read::manifest(&archive, descriptor).unwrap();
    assert!(archive.open(&manifest.config).is_err(), "it is only where its digest says");
}
