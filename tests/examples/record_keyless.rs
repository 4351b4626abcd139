//! Records the signatures in `policies/trust/tests/keyless` anew, with `cargo run -p portreeve-tests --example record_keyless`.

#[tokio::main]
async fn main() {
    portreeve_tests::sigstore::record().await;
}
