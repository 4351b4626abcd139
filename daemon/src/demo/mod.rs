//! What `portreeve demo` needs beyond the daemon itself: images of every trust outcome, and a registry to serve them.

pub mod images;
pub mod registry;
