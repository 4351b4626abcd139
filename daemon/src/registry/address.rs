//! Which addresses a host that nobody configured may have. Image names come from whoever can create a Pod, so a name
//! must not make the daemon talk to itself, to its neighbours on the link, or to a cloud's metadata service.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, ToSocketAddrs as _};
use std::sync::Arc;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use super::names::{Answer, Names};

/// Whether an unconfigured host may be at this address. Private networks are allowed: most company registries are there.
pub(super) fn is_public_enough(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => is_public_enough_v4(v4),
        IpAddr::V6(v6) => match embedded_v4(v6) {
            Some(v4) => is_public_enough_v4(v4),
            None => {
                let is_aws_metadata = v6 == Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254);
                !(v6.is_loopback()
                    || v6.is_unspecified()
                    || v6.is_multicast()
                    || v6.is_unicast_link_local()
                    || is_aws_metadata)
            }
        },
    }
}

fn is_public_enough_v4(address: Ipv4Addr) -> bool {
    let is_this_network = address.octets().first() == Some(&0);
    !(address.is_loopback()
        || address.is_link_local()
        || address.is_multicast()
        || address.is_broadcast()
        || is_this_network)
}

/// The IPv4 address inside an IPv4-mapped (RFC 4291) or NAT64 (RFC 6052, 64:ff9b::/96) address.
fn embedded_v4(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let [a, b, c, d, e, f, high, low] = address.segments();
    let [v1, v2] = high.to_be_bytes();
    let [v3, v4] = low.to_be_bytes();
    match [a, b, c, d, e, f] {
        [0, 0, 0, 0, 0, 0xffff] | [0x64, 0xff9b, 0, 0, 0, 0] => Some(Ipv4Addr::new(v1, v2, v3, v4)),
        _ => None,
    }
}

/// A host name whose every address is refused.
#[derive(Debug, thiserror::Error)]
#[error("its addresses are loopback, link-local or multicast ones; list the host under registries to allow that")]
pub(super) struct RefusedAddress;

/// Resolves as the system does and keeps the allowed addresses, so that what was checked is what is dialled.
pub(super) struct GuardedResolver(Arc<Names>);

impl GuardedResolver {
    pub(super) fn new() -> Self {
        Self(Arc::new(Names::new(Arc::new(allowed_addresses))))
    }
}

impl Resolve for GuardedResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let names = Arc::clone(&self.0);
        Box::pin(async move { Ok(Box::new(names.addresses(name.as_str()).await?.into_iter()) as Addrs) })
    }
}

/// Waits for the system.
fn allowed_addresses(name: &str) -> Answer {
    let found = (name, 0).to_socket_addrs()?;
    let allowed: Vec<_> = found.filter(|address| is_public_enough(address.ip())).collect();
    if allowed.is_empty() {
        return Err(RefusedAddress.into());
    }
    Ok(allowed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_allowed(text: &str) -> bool {
        is_public_enough(text.parse().unwrap())
    }

    #[test]
    fn loopback_link_local_and_metadata_addresses_are_refused_in_every_spelling() {
        for refused in [
            "127.0.0.1",
            "127.9.9.9",
            "0.0.0.0",
            "169.254.169.254",
            "224.0.0.1",
            "255.255.255.255",
            "::1",
            "::",
            "fe80::1",
            "ff02::1",
            "::ffff:127.0.0.1",
            "::ffff:169.254.169.254",
            "64:ff9b::169.254.169.254",
            "fd00:ec2::254",
        ] {
            assert!(!is_allowed(refused), "{refused} was allowed");
        }
    }

    #[test]
    fn public_and_private_addresses_are_allowed() {
        for allowed in ["1.1.1.1", "10.0.0.5", "192.168.1.1", "2606:4700::1111", "fd12:3456::1", "64:ff9b::1.1.1.1"] {
            assert!(is_allowed(allowed), "{allowed} was refused");
        }
    }
}
