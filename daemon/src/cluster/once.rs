//! Everything the API server has, listed a single time.

use portreeve_policies::object::Object;
use portreeve_policies::world::World;
use portreeve_reports::{Cause, Finding};
use portreeve_secrets::credentials::Credential;

use crate::cluster::index::{Index, Item};
use crate::cluster::kinds::{KINDS, WatchedKind};
use crate::cluster::watches;
use crate::config::valid::ClusterRead;
use crate::registry::Deadline;

/// What one listing came to.
#[derive(Debug)]
pub struct Listing {
    /// The objects to judge: what an owner's template covers is left out.
    pub objects: Vec<Object>,
    /// What could not be read, objects and kinds, as findings.
    pub unreadable: Vec<Finding>,
    /// What the objects relate to.
    pub world: World,
    /// The credentials in the objects.
    pub credentials: Vec<Credential>,
}

/// The API server could not be reached at all.
#[derive(Debug, thiserror::Error)]
#[error("the API server could not be asked for any kind of objects: {0}")]
pub struct NothingListed(String);

/// Lists every watched kind. A kind that cannot be listed is a finding; when none can be, there is nothing to judge.
/// `secrets` says how far Secrets are read.
pub async fn list(client: &kube::Client, secrets: ClusterRead, deadline: Deadline) -> Result<Listing, NothingListed> {
    let mut index = Index::new();
    let mut last_failure = None;
    let mut listed = 0_usize;
    for kind in &KINDS {
        let kind = match kind.read_as(secrets) {
            Ok(kind) => kind,
            Err(why) => {
                index.hide(kind, Cause::NotVisible, why);
                continue;
            }
        };
        match within(client, kind, deadline).await {
            Ok(items) => {
                index.reset(kind, items);
                listed += 1;
            }
            Err((cause, why)) => {
                index.hide(kind, cause, &why);
                last_failure = Some(why);
            }
        }
    }
    match last_failure {
        Some(why) if listed == 0 => Err(NothingListed(why)),
        _ => Ok(collect(&index)),
    }
}

async fn within(
    client: &kube::Client,
    kind: &'static WatchedKind,
    deadline: Deadline,
) -> Result<Vec<Item>, (Cause, String)> {
    match tokio::time::timeout(deadline.remaining(), watches::list(client, kind)).await {
        Ok(Ok(items)) => Ok(items),
        Ok(Err(kube::Error::Api(status))) if matches!(status.code, 401 | 403) => {
            Err((Cause::Forbidden, status.message.clone()))
        }
        Ok(Err(kube::Error::Api(status))) if status.code == 429 => Err((Cause::RateLimited, status.message.clone())),
        Ok(Err(error)) => Err((Cause::Unreachable, error.to_string())),
        Err(_) => Err((Cause::TimedOut, format!("{} were not listed in time", kind.plural))),
    }
}

fn collect(index: &Index) -> Listing {
    let mut listing = Listing {
        objects: Vec::new(),
        unreadable: Vec::new(),
        world: index.world(),
        credentials: index.all_credentials(),
    };
    for subject in index.everything().subjects {
        let Some(state) = index.subject(&subject) else { continue };
        listing.objects.extend(state.objects);
        listing.unreadable.extend(state.findings);
    }
    listing
}
