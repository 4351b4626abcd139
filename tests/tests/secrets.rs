//! `portreeve secrets` beside the real sops: each reads what the other writes, and they write the same.

#[path = "secrets/corpus.rs"]
mod corpus;
#[path = "secrets/edit.rs"]
mod edit;
#[path = "secrets/exits.rs"]
mod exits;
#[path = "secrets/hostile.rs"]
mod hostile;
#[path = "secrets/random.rs"]
mod random;
#[path = "secrets/rotate.rs"]
mod rotate;
#[path = "secrets/safe.rs"]
mod safe;
#[path = "secrets/same.rs"]
mod same;
