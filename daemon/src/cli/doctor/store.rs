//! The store: whether the daemon could open it. It is only looked at, a running daemon is not disturbed.

use std::time::Duration;

use super::{Check, words};
use crate::config::Config;
use crate::store::{Found, Store, StoreError, StoreUrl};

const AREA: &str = "store";

/// One line.
pub(super) async fn check(config: &Config, (timeout, offline): (Duration, bool)) -> Check {
    let url = match config.store_url.parse::<StoreUrl>() {
        Ok(url) => url,
        Err(error) => return Check::fail(AREA, error.to_string(), "correct store.url"),
    };
    if offline && matches!(url, StoreUrl::Postgres(_)) {
        return Check::unknown(AREA, format!("{url}: --offline blocks the network"), "run it without --offline");
    }
    match tokio::time::timeout(timeout, Store::probe(&url)).await {
        Ok(found) => told(&url, found),
        Err(_) => {
            Check::unknown(AREA, format!("{url} did not answer within {timeout:?}"), "give it more time by --timeout")
        }
    }
}

fn told(url: &StoreUrl, found: Result<Found, StoreError>) -> Check {
    match found {
        Ok(Found::Store) => Check::ok(AREA, format!("{url} is intact and of a schema that this version opens")),
        Ok(Found::Nothing) => {
            Check::ok(AREA, format!("{url} is empty; the daemon makes its tables at the first start"))
        }
        Ok(Found::InUse) => Check::ok(AREA, format!("{url} is open in a running daemon")),
        Err(error) => {
            Check::fail(AREA, words(&error), "see docs/troubleshooting.md; a store is never replaced by an empty one")
        }
    }
}
