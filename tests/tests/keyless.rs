//! What cosign signs as an identity or with a key, in registries of both kinds, as the built binary judges it at every
//! door: for whom it should, and for nobody else.

#[path = "keyless/harbour.rs"]
mod harbour;

#[path = "keyless/cosign.rs"]
mod cosign;
#[path = "keyless/matrix.rs"]
mod matrix;
