//! Records the signatures in `policies/trust/tests/rekor_v1` anew: `make parts parts-recorders`, then
//! `cargo run -p portreeve-tests --example record_rekor_v1`.

#[tokio::main]
async fn main() {
    portreeve_tests::sigstore::record_rekor_v1().await;
}
