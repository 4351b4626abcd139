//! Credentials in objects: classes, lifetimes and findings.
