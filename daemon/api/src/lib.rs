//! The kinds of portreeve.dev: one schema for file and custom resource.
