//! Certificates: a company's own authority is trusted for its host, and nothing else is trusted by accident.

use std::net::SocketAddr;

use axum::Router;
use axum_server::tls_rustls::RustlsConfig;
use portreeve_policies::image::ImageReference;
use portreeve_reports::Cause;
use portreeve_trust::evidence::Lookup;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tokio::task::JoinSet;

use super::fixture::{cause, client, later, message};
use crate::registry::HostOptions;

struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    fn pem(&self) -> Option<Vec<u8>> {
        Some(self.0.pem().into_bytes())
    }

    /// An https registry without images, certified for this name.
    async fn registry(&self, name: &str) -> (SocketAddr, JoinSet<()>) {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new(vec![name.to_owned()]).unwrap().signed_by(&key, &self.0).unwrap();
        let (certificate, key) = (certificate.pem().into_bytes(), key.serialize_pem().into_bytes());
        let config = RustlsConfig::from_pem(certificate, key).await.unwrap();
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let server = axum_server::from_tcp_rustls(listener, config).unwrap();
        let mut tasks = JoinSet::new();
        tasks.spawn(async move { server.serve(Router::new().into_make_service()).await.unwrap() });
        (address, tasks)
    }
}

async fn resolve(address: SocketAddr, options: HostOptions) -> Lookup<crate::registry::ResolvedManifest> {
    let image = ImageReference::parse(&format!("{address}/demo/app:1")).unwrap();
    client(vec![HostOptions { host: address.to_string(), ..options }]).resolve(&image, later()).await
}

#[tokio::test]
async fn a_configured_authority_is_trusted_for_the_names_it_certified() {
    let authority = Authority::new();
    let (address, _server) = authority.registry("127.0.0.1").await;
    let options = HostOptions { ca_pem: authority.pem(), ..HostOptions::default() };
    assert_eq!(resolve(address, options.clone()).await, Lookup::Absent);
    let (elsewhere, _server) = authority.registry("other.example").await;
    assert_eq!(cause(&resolve(elsewhere, options).await), Cause::Unreachable);
}

#[tokio::test]
async fn another_authority_or_none_is_not_trusted_and_http_is_not_tried() {
    let (address, _server) = Authority::new().registry("127.0.0.1").await;
    let stranger = HostOptions { ca_pem: Authority::new().pem(), ..HostOptions::default() };
    for options in [stranger, HostOptions::default()] {
        let answer = resolve(address, options).await;
        assert_eq!(cause(&answer), Cause::Unreachable);
        assert!(message(&answer).contains("certificate"), "{answer:?}");
    }
    let plain = HostOptions { plain_http: true, ..HostOptions::default() };
    assert!(matches!(resolve(address, plain).await, Lookup::Indeterminate(..)));
}
