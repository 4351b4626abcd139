//! The JSON schema of the configuration, made of the types that the file is decoded to.

use schemars::generate::SchemaSettings;
use serde_json::{Value, json};

use super::raw::RawConfig;

/// The schema (draft 2020-12) of `portreeve.yaml`.
pub fn schema() -> Value {
    let mut schema = SchemaSettings::draft2020_12().into_generator().into_root_schema_for::<RawConfig>();
    schema.insert("title".to_owned(), json!("portreeve.yaml"));
    schema.to_value()
}
