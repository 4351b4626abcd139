//! One look: a declared file opened, and the live Secret beside it. Both are dropped with it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use portreeve_reports::Finding;
use portreeve_reports::finding::BuildError;
use portreeve_secrets::sops::{Document, Identities, Plain, Target};
use portreeve_secrets::sync::{Declared, Kept, State};
use serde_json::Value;

use crate::cluster::apply::{Address, ApiFailure, Applier};
use crate::cluster::folder::walk;
use crate::cluster::key::ObjectKey;
use crate::config::valid::{SecretSync, SyncMode};
use crate::judge::secrets as rules;
use crate::platform::fields;

/// How long one Secret may take to be read.
const PATIENCE: Duration = Duration::from_secs(3);
/// Most bytes of a declared file: those of a document.
const MAX_BYTES: usize = 32 << 20;

/// A file, opened: what is found about it, and what it declares for each item of the configuration.
pub(super) struct Opened {
    pub(super) findings: Vec<Finding>,
    pub(super) declared: Vec<Option<Declared>>,
}

/// What one item of the configuration says of a file.
struct Item<'a> {
    target: Option<Target>,
    kind: Option<&'a str>,
}

impl Opened {
    /// Reads and opens the file. What is wrong is a finding, and declares nothing.
    pub(super) fn file(
        (file, shown): (&Path, &str),
        identities: &[PathBuf],
        items: &[SecretSync],
        cluster: &str,
    ) -> Self {
        let mut found = Vec::new();
        let opened = open(file, shown, identities, &mut found);
        let problem = opened.as_ref().err().and_then(Option::as_deref);
        found.push(rules::readable(shown, problem));
        let declared = items.iter().map(|item| {
            let (identities, document, plain) = opened.as_ref().ok()?;
            let item = Item::of(item);
            let secret = item.declare((document, plain), identities, cluster);
            let problem = secret.as_ref().err().map(String::as_str);
            found.push(rules::declared(shown, item.target.as_ref(), problem));
            secret.ok()
        });
        let declared = declared.collect();
        // A finding that cannot be built is a bug, and the file is then not used.
        match found.into_iter().collect::<Result<Vec<_>, _>>() {
            Ok(findings) => Self { findings, declared },
            Err(error) => {
                tracing::error!(%error, file = shown, "a finding could not be made; this is a bug");
                Self { findings: Vec::new(), declared: items.iter().map(|_| None).collect() }
            }
        }
    }
}

/// Opens a file; the MAC was right when it is. `Err` says why it could not be read; `None` when that it does not open is
/// a finding already.
fn open(
    file: &Path,
    shown: &str,
    identities: &[PathBuf],
    found: &mut Vec<Result<Finding, BuildError>>,
) -> Result<(Identities, Document, Plain), Option<String>> {
    let bytes = walk::bytes(file, MAX_BYTES).map_err(|(_, why)| Some(why))?;
    let document = Document::read(&bytes).map_err(|error| Some(error.to_string()))?;
    let identities = rules::identities(identities).map_err(|why| Some(format!("secrets.identities: {why}")))?;
    if identities.is_empty() {
        return Err(Some("secrets.identities: there is no identity; name the file of one".to_owned()));
    }
    let opened = document.decrypt(&identities);
    match rules::opened(shown, &document, opened.as_ref()) {
        Ok(about) => found.extend(about.into_iter().map(Ok)),
        Err(error) => found.push(Err(error)),
    }
    let plain = opened.map_err(|_| None)?;
    Ok((identities, document, plain))
}

impl<'a> Item<'a> {
    fn of(sync: &'a SecretSync) -> Self {
        let target = sync.target.as_ref();
        let target = target.map(|target| Target { namespace: target.namespace.clone(), name: target.name.clone() });
        Self { target, kind: sync.secret_type.as_deref() }
    }

    /// The Secret of the file, bound to its target; why not, otherwise.
    fn declare(
        &self,
        (document, plain): (&Document, &Plain),
        identities: &Identities,
        cluster: &str,
    ) -> Result<Declared, String> {
        let mut secret = document.kubernetes_secret(plain, self.target.as_ref()).map_err(|error| error.to_string())?;
        if let Some(kind) = self.kind.filter(|kind| **kind != secret.kind) {
            if secret.kind != "Opaque" {
                let written = portreeve_reports::source::shown(&secret.kind);
                return Err(format!("the manifest is of type {written}, the configuration says {kind}"));
            }
            secret.kind = kind.to_owned();
        }
        Declared::new(secret, identities, cluster).ok_or_else(|| "there is no identity".to_owned())
    }
}

/// A declared Secret and the live one.
pub(super) struct Looked {
    pub(super) declared: Declared,
    pub(super) address: Address,
    pub(super) live: Option<Value>,
    pub(super) state: Result<State, ApiFailure>,
    pub(super) mode: SyncMode,
}

impl Looked {
    /// Reads the live Secret.
    pub(super) async fn at(applier: &Applier, declared: Declared, mode: SyncMode) -> Self {
        let Target { namespace, name } = declared.target();
        let key = ObjectKey {
            group: "".into(),
            kind: "Secret".into(),
            namespace: namespace.as_str().into(),
            name: name.as_str().into(),
        };
        let address = Address { api_version: "v1".into(), key };
        let got = tokio::time::timeout(PATIENCE, applier.get(&address)).await;
        let (live, state) = match got.unwrap_or(Err(ApiFailure::TimedOut(PATIENCE))) {
            Ok(live) => {
                let is_ours = live.as_ref().is_some_and(fields::is_managed);
                let state = match mode {
                    SyncMode::Correct => declared.state(live.as_ref(), is_ours),
                    SyncMode::Detect => declared.compared(live.as_ref()),
                };
                (live, Ok(state))
            }
            Err(failure) => (None, Err(failure)),
        };
        Self { declared, address, live, state, mode }
    }

    /// Whether somebody changed the Secret; `is_known` says that it was there as declared.
    pub(super) fn is_drift(&self, is_known: bool) -> bool {
        matches!(&self.state, Ok(state) if super::is_cluster(state) || (is_known && matches!(state, State::Missing)))
    }

    /// As it was found.
    pub(super) fn seen(&self) -> Kept<'_> {
        match &self.state {
            Ok(state) => Kept::Seen(state),
            Err(failure) => super::refused(None, failure),
        }
    }

    pub(super) fn findings(&self, shown: &str, kept: Kept<'_>) -> Result<Vec<Finding>, BuildError> {
        rules::kept(shown, self.declared.target(), &kept)
    }
}

/// The server's words about an object that it does not accept may quote what is in it.
pub(super) fn without_content(failure: &ApiFailure) -> String {
    match failure {
        ApiFailure::Invalid(_) => "the API server does not accept the Secret as it is declared".to_owned(),
        other => other.to_string(),
    }
}
