//! Promises of the pages.
