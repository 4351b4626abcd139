//! YAML as sops reads and writes it: the texts of go-yaml v3.

mod comments;
mod emit;
mod read;
mod scalar;
mod style;
#[cfg(test)]
mod tests;

pub(crate) use emit::{emit, emit_leaf, emit_list};
pub(crate) use read::read;
