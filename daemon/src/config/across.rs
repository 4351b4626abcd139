//! What is wrong only when two values of the configuration are seen together.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use portreeve_reports::source::Place;

use crate::registry::normal_host;

use super::check::Check;
use super::raw::{RawConfig, RawRegistry};

/// The keys of the addresses, in the order in which [`Check::across`] takes them.
const LISTENERS: [&str; 3] = ["http.listen", "http.metricsListen", "admission.listen"];

impl Check<'_> {
    /// Pushes a problem for each pair of values that do not go together; `listeners` are those of `LISTENERS`.
    pub(super) fn across(&mut self, raw: &RawConfig, listeners: [Option<SocketAddr>; 3]) {
        self.refuse_repeated_hosts(&raw.registries);
        self.refuse_two_credentials(&raw.registries);
        self.refuse_shared_addresses(raw, listeners);
        self.refuse_managed_certificate_in_folder(raw);
        self.refuse_writing_to_folder(raw);
    }

    /// Of two entries for one host the one with http, or without its certificate authorities, could win.
    fn refuse_repeated_hosts(&mut self, registries: &[RawRegistry]) {
        let mut seen = BTreeMap::new();
        for (index, registry) in registries.iter().enumerate() {
            let host = &registry.host;
            let key = format!("registries[{index}].host");
            match normal_host(&host.value, registry.plain_http.unwrap_or(false)) {
                Err(error) => self.problems.push(host.place, format!("'{key}': {error}")),
                Ok(name) => match seen.get(&name) {
                    None => drop(seen.insert(name, index)),
                    Some(first) => {
                        let message =
                            format!("'{}' is that of 'registries[{first}]' already; merge the two", host.value);
                        self.problems.push(host.place, format!("'{key}': {message}"));
                    }
                },
            }
        }
    }

    fn refuse_two_credentials(&mut self, registries: &[RawRegistry]) {
        for (index, credentials) in registries.iter().map(|registry| registry.credentials.as_ref()).enumerate() {
            let both = credentials.and_then(|given| given.docker_config.as_ref().zip(given.helper.as_ref()));
            if let Some((_, helper)) = both {
                let message =
                    format!("'registries[{index}].credentials' takes one of dockerConfig and helper, not both");
                self.problems.push(helper.place, message);
            }
        }
    }

    fn refuse_shared_addresses(&mut self, raw: &RawConfig, listeners: [Option<SocketAddr>; 3]) {
        let http = raw.http.as_ref();
        let written = [
            http.and_then(|http| http.listen.as_ref()),
            http.and_then(|http| http.metrics_listen.as_ref()),
            raw.admission.as_ref().and_then(|admission| admission.listen.as_ref()),
        ];
        for (first, second) in [(0, 1), (0, 2), (1, 2)] {
            let (Some(one), Some(other)) = (listeners[first], listeners[second]) else { continue };
            if are_shared(one, other) {
                let place = written[second].or(written[first]).map_or_else(Place::default, |address| address.place);
                let message = format!("'{}' and '{}' cannot both listen on", LISTENERS[first], LISTENERS[second]);
                self.problems.push(place, format!("{message} port {}: {one} and {other}", one.port()));
            }
        }
    }

    fn refuse_managed_certificate_in_folder(&mut self, raw: &RawConfig) {
        let tls = raw.admission.as_ref().map(|admission| admission.tls.as_ref());
        let is_managed = tls.is_some_and(|tls| tls.is_none_or(|tls| tls.cert_file.is_none() && tls.key_file.is_none()));
        let folder = raw.cluster.as_ref().and_then(|cluster| cluster.folder.as_ref());
        if let Some(folder) = folder.filter(|_| is_managed) {
            let message = "'admission' needs 'tls.certFile' and 'tls.keyFile' beside 'cluster.folder': a folder has no \
                           Secret for a certificate of our own";
            self.problems.push(folder.place, message);
        }
    }
}

impl Check<'_> {
    /// A folder that stands for a cluster takes neither objects nor Secrets.
    fn refuse_writing_to_folder(&mut self, raw: &RawConfig) {
        if raw.cluster.as_ref().is_none_or(|cluster| cluster.folder.is_none()) {
            return;
        }
        let platform = raw.platform.as_ref().map(|platform| {
            let named = platform.file.as_ref().or(platform.resource.as_ref());
            ("platform", "deploy to", named.map_or(platform.place, |named| named.place))
        });
        let sync = raw.secrets.as_ref().and_then(|secrets| secrets.sync.first());
        let sync = sync.map(|sync| ("secrets.sync", "write to", sync.file.place));
        for (key, purpose, place) in platform.into_iter().chain(sync) {
            let message = "and 'cluster.folder' names a folder; remove one of them";
            self.problems.push(place, format!("'{key}' needs an API server to {purpose}, {message}"));
        }
    }
}

/// Port 0 is another free one for each.
fn are_shared(one: SocketAddr, other: SocketAddr) -> bool {
    let overlap = one.ip() == other.ip() || one.ip().is_unspecified() || other.ip().is_unspecified();
    one.port() == other.port() && one.port() != 0 && overlap
}
