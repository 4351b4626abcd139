//! YAML read and written again.
