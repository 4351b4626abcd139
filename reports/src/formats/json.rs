//! `json-v1`, the contract that scripts rely on. Its schema is `reports/schema/json-v1.schema.json`.

use std::io;

use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};
use serde_json::{Map, Value, json};

use super::text::is_deceptive;
use super::{RenderOptions, Shown};
use crate::finding::{Evidence, Finding, Fix, Location};
use crate::report::{Counts, ImageReport, PolicyInput, Report};
use crate::severity::Severity;
use crate::subject::Subject;
use crate::verdict::{Cause, Verdict};

/// The JSON schema (draft 2020-12) of the format.
pub const SCHEMA: &str = include_str!("../../schema/json-v1.schema.json");

/// The report as pretty JSON, finding by finding: the text of a large run never stands in memory as a whole.
pub fn write(report: &Report, options: &RenderOptions<'_>, out: &mut dyn io::Write) -> io::Result<()> {
    write_value(&Document { report, shown: options.shown }, out)
}

/// Serializes finding by finding: the whole never stands in memory as a tree.
struct Document<'a> {
    report: &'a Report,
    shown: Shown,
}

impl Serialize for Document<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let report = self.report;
        let mut fields = serializer.serialize_map(None)?;
        fields.serialize_entry("schemaVersion", "json-v1")?;
        fields.serialize_entry("tool", &json!({"name": "portreeve", "version": report.tool_version}))?;
        fields.serialize_entry("inputs", &json!({"policies": policies_value(&report.inputs)}))?;
        fields.serialize_entry("verdict", &report.verdict().map(Verdict::as_str))?;
        fields.serialize_entry("coverage", &report.coverage().ratio())?;
        fields.serialize_entry("counts", &counts_value(&report.counts()))?;
        fields.serialize_entry("findings", &Findings(self))?;
        fields.serialize_entry("images", &report.images.iter().map(image_value).collect::<Vec<_>>())?;
        fields.end()
    }
}

struct Findings<'a>(&'a Document<'a>);

impl Serialize for Findings<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Document { report, shown } = self.0;
        let findings = report.findings.iter().filter(|finding| shown.includes(finding));
        serializer.collect_seq(findings.map(finding_value))
    }
}

fn policies_value(inputs: &[PolicyInput]) -> Value {
    inputs.iter().map(|input| json!({"name": input.name, "digest": input.digest})).collect()
}

/// One finding as it stands in `findings`; the store and the page use the same form.
pub fn finding_value(finding: &Finding) -> Value {
    json!({
        "source": finding.source.as_str(),
        "code": finding.code.as_str(),
        "check": &*finding.check,
        "effect": finding.effect.as_str(),
        "severity": finding.severity.as_str(),
        "confidence": finding.confidence.as_str(),
        "verdict": finding.verdict.as_str(),
        "cause": finding.cause.map(Cause::as_str),
        "fingerprint": finding.fingerprint.as_str(),
        "subject": subject_value(&finding.subject),
        "locations": finding.locations.iter().map(location_value).collect::<Vec<_>>(),
        "message": finding.message,
        "evidence": evidence_value(&finding.evidence),
        "fix": fix_value(&finding.fix),
        "frameworks": finding.frameworks.iter().map(|id| &**id).collect::<Vec<_>>(),
        "owner": finding.owner,
        "related": finding.related.iter().map(subject_value).collect::<Vec<_>>(),
    })
}

/// A subject. The keys of the contract are always there, `null` where they say nothing about this type; credentials
/// and components add their own.
pub fn subject_value(subject: &Subject) -> Value {
    let mut fields = Map::new();
    let mut set = |key: &str, value: Option<&str>| fields.insert(key.to_owned(), value.into());
    set("type", Some(subject.type_name()));
    for key in ["apiVersion", "kind", "namespace", "name", "container", "reference", "digest", "file"] {
        set(key, None);
    }
    match subject {
        Subject::Object(object) => {
            set("apiVersion", Some(&object.api_version));
            set("kind", Some(&object.kind));
            set("namespace", subject.namespace());
            set("name", Some(&object.name));
            set("container", object.container.as_deref());
        }
        Subject::Image { reference, digest, .. } => {
            set("reference", Some(reference));
            set("digest", digest.as_deref());
        }
        Subject::File { path } => {
            set("file", Some(path));
        }
        Subject::Credential { class, holder, key } => {
            set("class", Some(class));
            set("holder", Some(holder));
            set("key", Some(key));
        }
        Subject::Component { platform, component } => {
            set("platform", Some(platform));
            set("component", Some(component));
        }
    }
    Value::Object(fields)
}

fn location_value(location: &Location) -> Value {
    json!({
        "objectPath": location.object_path,
        "object": location.object,
        "file": location.file.as_deref(),
        "line": location.line.filter(|line| *line > 0),
        "column": location.column.filter(|column| *column > 0),
    })
}

fn evidence_value(evidence: &[Evidence]) -> Value {
    evidence.iter().map(|item| json!({"name": item.name, "value": item.value})).collect()
}

fn fix_value(fix: &Fix) -> Value {
    let patches: Vec<Value> =
        fix.patches.iter().map(|patch| json!({"path": patch.path, "value": patch.value})).collect();
    json!({"patches": patches, "delete": fix.delete, "commands": fix.commands})
}

fn image_value(image: &ImageReport) -> Value {
    json!({
        "reference": image.reference,
        "digest": image.digest,
        "verdict": image.verdict.as_str(),
        "evidence": evidence_value(&image.evidence),
    })
}

fn counts_value(counts: &Counts) -> Value {
    let by_severity: Map<String, Value> = Severity::ALL
        .into_iter()
        .map(|severity| (severity.as_str().to_owned(), counts.failures(severity).into()))
        .collect();
    let mut fields: Map<String, Value> =
        Verdict::ALL.into_iter().map(|verdict| (verdict.as_str().to_owned(), counts.verdict(verdict).into())).collect();
    fields.insert("bySeverity".to_owned(), Value::Object(by_severity));
    Value::Object(fields)
}

/// Pretty JSON with a final newline, in which deceptive characters are `\u` escapes: the same value to a parser, and
/// harmless to a terminal that it is printed on.
pub(super) fn write_value(value: &impl Serialize, out: &mut dyn io::Write) -> io::Result<()> {
    let mut serializer = serde_json::Serializer::with_formatter(&mut *out, Escaping::default());
    value.serialize(&mut serializer).map_err(io::Error::from)?;
    out.write_all(b"\n")
}

#[derive(Default)]
struct Escaping<'a> {
    pretty: serde_json::ser::PrettyFormatter<'a>,
}

impl serde_json::ser::Formatter for Escaping<'_> {
    fn write_string_fragment<W: ?Sized + io::Write>(&mut self, writer: &mut W, fragment: &str) -> io::Result<()> {
        let mut rest = fragment;
        while let Some(start) = rest.find(is_deceptive) {
            writer.write_all(&rest.as_bytes()[..start])?;
            let mut characters = rest[start..].chars();
            for unit in characters.next().into_iter().flat_map(utf16) {
                write!(writer, "\\u{unit:04x}")?;
            }
            rest = characters.as_str();
        }
        writer.write_all(rest.as_bytes())
    }

    fn begin_array<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.pretty.begin_array(writer)
    }

    fn end_array<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.pretty.end_array(writer)
    }

    fn begin_array_value<W: ?Sized + io::Write>(&mut self, writer: &mut W, first: bool) -> io::Result<()> {
        self.pretty.begin_array_value(writer, first)
    }

    fn end_array_value<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.pretty.end_array_value(writer)
    }

    fn begin_object<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.pretty.begin_object(writer)
    }

    fn end_object<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.pretty.end_object(writer)
    }

    fn begin_object_key<W: ?Sized + io::Write>(&mut self, writer: &mut W, first: bool) -> io::Result<()> {
        self.pretty.begin_object_key(writer, first)
    }

    fn begin_object_value<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.pretty.begin_object_value(writer)
    }

    fn end_object_value<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.pretty.end_object_value(writer)
    }
}

fn utf16(character: char) -> Vec<u16> {
    character.encode_utf16(&mut [0; 2]).to_vec()
}
