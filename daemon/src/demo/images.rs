//! The demo's images, as an OCI image layout: small and real, one for each outcome of image trust. The signing key lives
//! as long as the call.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use portreeve_policies::image::{Digest, ImageReference, InvalidReference};
use portreeve_trust::sign::{Descriptor, MANIFEST, SignError, SignedV3, SigningKey, sign_v2, sign_v3};
use serde_json::{Value, json};

use super::registry::REFERENCE_ANNOTATION;
use crate::registry::digest_of;

const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";

/// What was written.
#[derive(Clone, Debug)]
pub struct DemoImages {
    /// The key that the trusted images are signed with.
    pub public_key_pem: String,
    /// `demo/signed-v2:1`, `demo/signed-v3:1`, `demo/unsigned:1`, `demo/stranger:1` (signed by another key) and
    /// `demo/tampered:1` (a byte of its signature was changed), in this order, with host and tag.
    pub references: Vec<ImageReference>,
}

/// Why the layout could not be written.
#[derive(Debug, thiserror::Error)]
pub enum LayoutError {
    /// A file could not be written.
    #[error("cannot write {}", path.display())]
    Write {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A layer could not be packed.
    #[error("cannot pack a demo layer")]
    Layer(#[source] io::Error),
    /// The registry's host makes no image reference.
    #[error("the demo registry's address is no registry host")]
    Host(#[from] InvalidReference),
    /// Signing failed.
    #[error("cannot sign a demo image")]
    Sign(#[from] SignError),
    /// A bundle of ours is not what was expected of it.
    #[error("a demo bundle has no signature to change")]
    Bundle,
    /// JSON of ours could not be read or written.
    #[error("cannot write demo JSON")]
    Json(#[from] serde_json::Error),
}

/// Writes the layout into `directory` (made when it is not there) for a registry that will be reached as
/// `registry_host`, such as `127.0.0.1:5000`.
///
/// # Errors
/// When a file cannot be written or signing fails.
pub fn build_layout(directory: &Path, registry_host: &str) -> Result<DemoImages, LayoutError> {
    let (trusted, stranger) = (SigningKey::generate()?, SigningKey::generate()?);
    let mut layout = LayoutWriter::new(directory, registry_host)?;

    let (image, subject) = layout.image("signed-v2")?;
    layout.sign_v2(&trusted, &image, &subject.digest)?;
    let (_, subject) = layout.image("signed-v3")?;
    layout.referrer("signed-v3", &sign_v3(&trusted, &subject, Timestamp::now())?)?;
    layout.image("unsigned")?;
    let (_, subject) = layout.image("stranger")?;
    layout.referrer("stranger", &sign_v3(&stranger, &subject, Timestamp::now())?)?;
    let (_, subject) = layout.image("tampered")?;
    layout.referrer("tampered", &tampered(sign_v3(&trusted, &subject, Timestamp::now())?)?)?;

    Ok(DemoImages { public_key_pem: trusted.public_key_pem()?, references: layout.finish()? })
}

struct LayoutWriter<'a> {
    directory: &'a Path,
    host: &'a str,
    entries: Vec<Value>,
    references: Vec<ImageReference>,
}

impl<'a> LayoutWriter<'a> {
    fn new(directory: &'a Path, host: &'a str) -> Result<Self, LayoutError> {
        let blobs = directory.join("blobs/sha256");
        fs::create_dir_all(&blobs).map_err(|source| LayoutError::Write { path: blobs, source })?;
        Ok(Self { directory, host, entries: Vec::new(), references: Vec::new() })
    }

    /// A one-layer image under `demo/<name>:1`.
    fn image(&mut self, name: &str) -> Result<(ImageReference, Descriptor), LayoutError> {
        let layer = layer(name).map_err(LayoutError::Layer)?;
        let layer_digest = self.blob(&layer)?;
        let config = serde_json::to_vec(&json!({
            "architecture": "amd64", "os": "linux",
            "config": {"User": "1000:100", "Cmd": ["/bin/true"]},
            "rootfs": {"type": "layers", "diff_ids": [layer_digest]},
        }))?;
        let manifest = serde_json::to_vec(&json!({
            "schemaVersion": 2, "mediaType": MANIFEST,
            "config": {"mediaType": CONFIG, "digest": self.blob(&config)?, "size": config.len()},
            "layers": [{"mediaType": LAYER, "digest": layer_digest, "size": layer.len()}],
        }))?;
        let reference = ImageReference::parse(&format!("{}/demo/{name}:1", self.host))?;
        let digest = self.manifest(&format!("demo/{name}:1"), &manifest)?;
        self.references.push(reference.clone());
        let (media_type, size) = (MANIFEST.to_owned(), manifest.len() as u64);
        Ok((reference, Descriptor { media_type, digest, size, annotations: Default::default() }))
    }

    fn sign_v2(&mut self, key: &SigningKey, image: &ImageReference, digest: &Digest) -> Result<(), LayoutError> {
        let signed = sign_v2(key, image, digest, &[])?;
        self.blob(&signed.payload)?;
        self.blob(&signed.config)?;
        self.manifest(&format!("{}:{}", image.repository.path, signed.tag), &signed.manifest)?;
        Ok(())
    }

    fn referrer(&mut self, name: &str, signed: &SignedV3) -> Result<(), LayoutError> {
        self.blob(&signed.bundle)?;
        self.blob(&signed.config)?;
        self.manifest(&format!("demo/{name}"), &signed.manifest)?;
        Ok(())
    }

    /// A manifest listed as `repository:tag`, or as `repository` when it is reached by digest only.
    fn manifest(&mut self, name: &str, bytes: &[u8]) -> Result<Digest, LayoutError> {
        let digest = self.blob(bytes)?;
        self.entries.push(json!({
            "mediaType": MANIFEST, "digest": digest, "size": bytes.len(),
            "annotations": {REFERENCE_ANNOTATION: name},
        }));
        Ok(digest)
    }

    fn blob(&self, bytes: &[u8]) -> Result<Digest, LayoutError> {
        let digest = digest_of(bytes);
        self.write(&format!("blobs/sha256/{}", digest.hex()), bytes)?;
        Ok(digest)
    }

    fn finish(self) -> Result<Vec<ImageReference>, LayoutError> {
        self.write("oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#)?;
        let index = json!({"schemaVersion": 2, "manifests": self.entries});
        self.write("index.json", &serde_json::to_vec(&index)?)?;
        Ok(self.references)
    }

    fn write(&self, name: &str, bytes: &[u8]) -> Result<(), LayoutError> {
        let path = self.directory.join(name);
        fs::write(&path, bytes).map_err(|source| LayoutError::Write { path, source })
    }
}

/// An uncompressed layer with one file; the same bytes each time.
fn layer(name: &str) -> io::Result<Vec<u8>> {
    let text = format!("This is the image demo/{name}.\n");
    let mut header = tar::Header::new_ustar();
    header.set_size(text.len() as u64);
    header.set_mode(0o644);
    let mut archive = tar::Builder::new(Vec::new());
    archive.append_data(&mut header, "etc/motd", text.as_bytes())?;
    archive.into_inner()
}

/// The same bundle with the last byte of its signature changed; the manifest names the changed bundle, so that only
/// verification can tell.
fn tampered(mut signed: SignedV3) -> Result<SignedV3, LayoutError> {
    let mut bundle: Value = serde_json::from_slice(&signed.bundle)?;
    let signature = bundle.pointer_mut("/dsseEnvelope/signatures/0/sig").ok_or(LayoutError::Bundle)?;
    let decoded = signature.as_str().and_then(|text| STANDARD.decode(text).ok());
    let mut bytes = decoded.ok_or(LayoutError::Bundle)?;
    *bytes.last_mut().ok_or(LayoutError::Bundle)? ^= 1;
    *signature = STANDARD.encode(bytes).into();
    signed.bundle = serde_json::to_vec(&bundle)?;
    let mut manifest: Value = serde_json::from_slice(&signed.manifest)?;
    let layer = manifest.pointer_mut("/layers/0").ok_or(LayoutError::Bundle)?;
    *layer = json!({
        "mediaType": signed.artifact_type, "digest": digest_of(&signed.bundle), "size": signed.bundle.len(),
    });
    signed.manifest = serde_json::to_vec(&manifest)?;
    Ok(signed)
}

#[cfg(test)]
mod tests;
