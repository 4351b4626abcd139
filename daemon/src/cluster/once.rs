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
use crate::runtime::errors::chain;

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
    /// Whether these are all.
    pub are_credentials_read: bool,
}

/// No kind could be listed.
#[derive(Debug, thiserror::Error)]
#[error("the API server could not be asked for any kind of objects: {why}")]
pub struct NothingListed {
    /// `Forbidden` when every kind was refused.
    pub cause: Cause,
    why: String,
}

/// Lists every watched kind. A kind that cannot be listed is a finding; when none can be, there is nothing to judge.
/// `secrets` says how far Secrets are read.
pub async fn list(client: &kube::Client, secrets: ClusterRead, deadline: Deadline) -> Result<Listing, NothingListed> {
    let mut index = Index::new();
    let mut failure: Option<NothingListed> = None;
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
                // That all was refused is told only of all.
                if cause != Cause::Forbidden || failure.is_none() {
                    failure = Some(NothingListed { cause, why });
                }
            }
        }
    }
    match failure {
        Some(failure) if listed == 0 => Err(failure),
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
            Err((Cause::Forbidden, watches::said(&status)))
        }
        Ok(Err(kube::Error::Api(status))) if status.code == 429 => Err((Cause::RateLimited, watches::said(&status))),
        Ok(Err(kube::Error::Api(status))) => Err((Cause::Unreachable, watches::said(&status))),
        Ok(Err(error)) => Err((Cause::Unreachable, chain(&error))),
        Err(_) => Err((Cause::TimedOut, format!("{} were not listed in time", kind.plural))),
    }
}

fn collect(index: &Index) -> Listing {
    let mut listing = Listing {
        objects: Vec::new(),
        unreadable: Vec::new(),
        world: index.world(),
        credentials: index.all_credentials(),
        are_credentials_read: index.are_credentials_read(),
    };
    for subject in index.everything().subjects {
        let Some(state) = index.subject(&subject) else { continue };
        listing.objects.extend(state.objects);
        listing.unreadable.extend(state.findings);
    }
    listing
}
