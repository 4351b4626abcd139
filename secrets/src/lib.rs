//! Secrets and credentials: SOPS documents and their keys, rotation, and the detection of credentials that live too
//! long. Sync and without I/O: bytes, times and random bytes are arguments.
//!
//! * [`credentials`]: what a credential is, how long it lives, and the findings about it.
//! * [`sops`]: encrypted documents, read, checked, decrypted and written.
//! * [`sync`]: a Secret that a file declares, beside the one in the cluster.

pub mod credentials;
pub mod sops;
pub mod sync;
