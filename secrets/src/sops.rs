//! SOPS documents.
