use serde_json::json;

use super::*;
use crate::image_contract::testing::{CONFIG, DETECTOR, Image, LAYER, Memory};
use crate::layers::testing::Tar;

fn image() -> Image {
    Image::new()
        .step("ENV A=b")
        .layer("RUN one", Tar::default().file("a", 0o644, "1"))
        .layer("RUN two", Tar::default().file("b", 0o644, "2"))
}

fn contents_of(memory: &Memory, manifest: &Manifest) -> Result<ImageContents, Problem> {
    contents(memory, manifest, None, (&Caps::default(), DETECTOR))
}

#[test]
fn layers_know_the_steps_that_made_them() {
    let image = image().contents();
    let steps: Vec<_> = image.layers.iter().map(|layer| layer.history).collect();
    assert_eq!((steps, image.problem), (vec![Some(1), Some(2)], None));
    let squashed = Image { config: json!({"rootfs": {}, "history": []}), ..self::image() }.contents();
    assert_eq!(squashed.layers[0].history, None, "a history that does not go with the layers says nothing");
}

#[test]
fn bytes_unlike_their_digest_or_size_are_unreadable_wherever_they_are() {
    for which in 0..3 {
        let (mut memory, manifest) = image().store();
        let all: Vec<&Descriptor> = manifest.layers.iter().chain([&manifest.config]).collect();
        let victim = memory.0.get_mut(&all[which].digest).unwrap();
        let last = victim.len() - 1;
        victim[last] ^= 1;
        let problem = match contents_of(&memory, &manifest) {
            Ok(image) => image.problem.unwrap(),
            Err(problem) => problem,
        };
        assert_eq!(problem.cause, Cause::Unreadable, "{which}: {problem}");
    }
    let (memory, mut manifest) = image().store();
    manifest.layers[0].size = Some(10);
    let problem = contents_of(&memory, &manifest).unwrap().problem.unwrap();
    assert!(problem.message.contains("more bytes than its descriptor says"), "{problem}");
    manifest.layers[0].size = Some(1 << 20);
    let problem = contents_of(&memory, &manifest).unwrap().problem.unwrap();
    assert!(problem.message.contains("its descriptor says 1048576"), "{problem}");
}

#[test]
fn a_layer_that_the_configuration_does_not_name_is_unreadable() {
    let (mut memory, mut manifest) = image().store();
    let other = memory.put(LAYER, crate::layers::testing::gzip(&Tar::default().file("evil", 0o4755, "").end()));
    let honest = std::mem::replace(&mut manifest.layers[1], other);
    let image = contents_of(&memory, &manifest).unwrap();
    assert!(image.problem.as_ref().unwrap().message.contains("and the configuration says"), "{:?}", image.problem);
    assert_eq!(image.layers.len(), 1, "what was read before is still said");
    manifest.layers = vec![honest];
    let problem = contents_of(&memory, &manifest).unwrap().problem.unwrap();
    assert!(problem.message.contains("the manifest has 1 layers and the configuration names 2"), "{problem}");
}

#[test]
fn a_blob_that_is_missing_is_a_cause_and_no_empty_layer() {
    let (mut memory, manifest) = image().store();
    memory.0.remove(&manifest.layers[1].digest);
    let image = contents_of(&memory, &manifest).unwrap();
    assert!(image.problem.unwrap().message.contains("layer 2"), "it is named");
    memory.0.remove(&manifest.config.digest);
    assert!(contents_of(&memory, &manifest).is_err());
}

#[test]
fn an_index_gives_its_images_and_leaves_out_what_is_none() {
    let mut memory = Memory::default();
    let manifest = |platform: serde_json::Value, extra: serde_json::Value| {
        let mut entry = json!({"mediaType": MANIFESTS[0], "digest": format!("sha256:{}", "0".repeat(64)), "size": 2, "platform": platform});
        extra.as_object().unwrap().iter().for_each(|(key, value)| entry[key] = value.clone());
        entry
    };
    let inner = json!({"manifests": [manifest(json!({"os": "linux", "architecture": "arm64"}), json!({}))]});
    let inner = memory.put(INDEXES[0], inner.to_string().into_bytes());
    let attestation = json!({"annotations": {"vnd.docker.reference.type": "attestation-manifest"}});
    let outer = json!({"manifests": [
        manifest(json!({"os": "linux", "architecture": "amd64"}), json!({})),
        manifest(json!({"os": "unknown", "architecture": "unknown"}), attestation),
        manifest(json!(null), json!({"artifactType": "application/spdx+json"})),
        {"mediaType": INDEXES[0], "digest": inner.digest, "size": inner.size},
    ]});
    let outer = memory.put(INDEXES[1], outer.to_string().into_bytes());
    let found = images(&memory, &outer).unwrap();
    let platforms: Vec<String> = found[0].platforms.iter().map(ToString::to_string).collect();
    assert_eq!((found.len(), platforms), (2, vec!["linux/amd64".to_owned(), "linux/arm64".to_owned()]));
}

#[test]
fn indexes_that_are_too_many_or_too_deep_are_refused() {
    let mut memory = Memory::default();
    let listed = |count: usize| {
        let one = json!({"mediaType": MANIFESTS[0], "digest": "sha256:0", "size": 2});
        json!({"manifests": vec![one; count]}).to_string().into_bytes()
    };
    for (count, is_ok) in [(63, true), (64, true), (65, false)] {
        let index = memory.put(INDEXES[0], listed(count));
        assert_eq!(images(&memory, &index).is_ok(), is_ok, "{count}");
    }
    let mut index = memory.put(INDEXES[0], listed(1));
    for (depth, is_ok) in [(2, true), (3, true), (4, true), (5, false)] {
        let outer = json!({"manifests": [{"mediaType": INDEXES[0], "digest": index.digest, "size": index.size}]});
        index = memory.put(INDEXES[0], outer.to_string().into_bytes());
        assert_eq!(images(&memory, &index).is_ok(), is_ok, "{depth} indexes");
    }
}

#[test]
fn what_is_no_image_is_told_from_one() {
    let mut memory = Memory::default();
    let chart = json!({"config": {"mediaType": "application/vnd.cncf.helm.config.v1+json", "digest": "sha256:0", "size": 2}, "layers": []});
    let chart = memory.put(MANIFESTS[0], chart.to_string().into_bytes());
    assert!(manifest(&memory, &chart).unwrap_err().message.contains("no container image"));
    let broken = memory.put(MANIFESTS[0], b"{\"secret\": hunter2}".to_vec());
    let problem = manifest(&memory, &broken).unwrap_err();
    assert!(problem.message.contains("line 1 column") && !problem.message.contains("hunter2"), "{problem}");
}

#[test]
fn documents_are_read_up_to_their_cap() {
    for (extra, is_ok) in [(0, true), (1, false)] {
        let mut memory = Memory::default();
        let mut text = json!({"rootfs": {"diff_ids": []}}).to_string();
        let most = usize::try_from(DOCUMENT_BYTES).unwrap();
        text.push_str(&" ".repeat(most + extra - text.len()));
        let mut config = memory.put(CONFIG, text.into_bytes());
        for size in [config.size, None] {
            config.size = size;
            let manifest = Manifest { config: config.clone(), layers: Vec::new() };
            let read = contents_of(&memory, &manifest);
            assert_eq!(read.is_ok(), is_ok, "{extra}");
            assert!(read.map_or_else(|problem| problem.cause == Cause::TooLarge, |image| image.problem.is_none()));
        }
    }
}

#[test]
fn go_writes_null_for_empty_lists() {
    let mut memory = Memory::default();
    let text = r#"{"os":"linux","architecture":"amd64","config":{"Env":null,"Cmd":null,"Labels":null},"rootfs":{"diff_ids":null},"history":null}"#;
    let config = memory.put(CONFIG, text.as_bytes().to_vec());
    let image = contents_of(&memory, &Manifest { config, layers: Vec::new() }).unwrap();
    assert_eq!((image.problem, image.layer_count), (None, 0));
}
