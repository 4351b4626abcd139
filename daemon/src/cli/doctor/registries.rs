//! Registries that are configured: `/v2/`, with the credentials that are configured for them.

use std::time::Duration;

use portreeve_reports::Cause;

use super::Check;
use crate::cli::Failure;
use crate::config::Config;
use crate::registry::{Deadline, RegistryClient, Source};

const AREA: &str = "registry";

/// A line for each registry.
pub(super) async fn check(config: &Config, client: Result<RegistryClient, Failure>, timeout: Duration) -> Vec<Check> {
    let client = match client {
        Ok(client) => client,
        Err(failure) => return vec![Check::fail(AREA, failure.message, "correct registries in the configuration")],
    };
    let asked = config.registries.iter().map(|registry| ping(&client, &registry.host, timeout));
    futures::future::join_all(asked).await
}

async fn ping(client: &RegistryClient, host: &str, timeout: Duration) -> Check {
    let deadline = Deadline::after(timeout);
    let answered = async {
        client.ping(host, deadline).await?;
        client.credentials_of(host, deadline).await
    };
    let failure = match answered.await {
        Ok((Source::File, _)) => return Check::ok(AREA, format!("{host} answers and takes our credentials")),
        Ok((Source::Program(program), true)) => {
            return Check::ok(AREA, format!("{host} answers and takes our credentials, which {program} has"));
        }
        Ok((Source::Program(program), false)) => {
            return Check::ok(AREA, format!("{host} answers without credentials; {program} has none for it"));
        }
        Err(failure) => failure,
    };
    let message = format!("{host}: {failure}");
    match failure.cause {
        Cause::Forbidden => Check::fail(
            AREA,
            message,
            "correct the credentials of this host: its dockerConfig, or what its helper says",
        ),
        Cause::RateLimited | Cause::TimedOut => Check::unknown(AREA, message, "ask again later"),
        _ => Check::fail(AREA, message, "is the host right, plainHttp, its caFile, and the way to it open?"),
    }
}
