//! Image trust: which images may run, by whose word, and how that is proved. Sync and without I/O: evidence bytes
//! come in, verdicts go out. The sigstore crates are used here and nowhere else.

pub mod evidence;
