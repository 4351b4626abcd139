//! The webhook as the API server meets it: TLS at its address, and somebody behind it who speaks HTTP.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use super::{Check, words};
use crate::config::Config;

const AREA: &str = "webhook";

/// Whether the webhook's address speaks https.
pub(super) async fn check(config: &Config, timeout: Duration) -> Vec<Check> {
    let Some(admission) = &config.admission else { return Vec::new() };
    let address = reachable(admission.listen);
    // Nothing is sent that is secret, and the certificate is made for the service's name, not for this address.
    let client = reqwest::Client::builder().no_proxy().timeout(timeout).tls_danger_accept_invalid_certs(true).build();
    let asked = match client {
        Ok(client) => client.get(format!("https://{address}/validate")).send().await,
        Err(error) => Err(error),
    };
    vec![match asked {
        // Reviews are posted: the webhook refuses anything else, and a review would be recorded.
        Ok(answer) if answer.status() == http::StatusCode::METHOD_NOT_ALLOWED => {
            Check::ok(AREA, format!("the webhook answers at https://{address}"))
        }
        Ok(answer) => {
            let message = format!("https://{address}/validate answers {}, which is not our webhook", answer.status());
            Check::fail(AREA, message, "what else listens there? correct admission.listen, or end it")
        }
        Err(error) if error.is_timeout() => {
            let message = format!("https://{address} did not answer within {timeout:?}");
            Check::unknown(AREA, message, "is the daemon overloaded, or a firewall between? look at its log")
        }
        Err(error) => {
            let message = format!("https://{address} cannot be reached: {}", words(&error));
            Check::fail(AREA, message, "start the daemon (`portreeve serve`), or look at its log")
        }
    }]
}

/// Where an address that stands for every interface is reached from here.
fn reachable(listen: SocketAddr) -> SocketAddr {
    let loopback =
        if listen.is_ipv6() { IpAddr::from(std::net::Ipv6Addr::LOCALHOST) } else { Ipv4Addr::LOCALHOST.into() };
    if listen.ip().is_unspecified() { SocketAddr::new(loopback, listen.port()) } else { listen }
}
