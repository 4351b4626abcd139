//! `/findings/{fingerprint}`: the evidence, why it matters, how to fix or accept it, and its life.

use askama::Template;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use jiff::Timestamp;
use portreeve_reports::formats::RuleText;
use serde_json::Value;

use super::Parts;
use super::api::Unreadable;
use super::filter::Filter;
use super::index::{Frame, RowView, rendered};
use super::remedy;
use super::words::{Moment, moment, shown, shown_lines};
use crate::store::{self, FindingQuery, Resolution, StoredFinding};

/// The most items of a list on the page; the API has them all.
const MAX_ITEMS: usize = 100;
/// The most other findings of the subject.
const MAX_SIBLINGS: u32 = 20;

/// The page of one finding.
pub(super) async fn page(State(parts): State<Parts>, Path(fingerprint): Path<String>) -> Result<Response, Unreadable> {
    let frame = Frame::new(&parts);
    let Some(finding) = parts.store.finding(&fingerprint).await? else {
        let page = rendered(&MissingPage { frame });
        return Ok((StatusCode::NOT_FOUND, page).into_response());
    };
    let now = Timestamp::now();
    let of_subject = FindingQuery {
        state: Some(store::State::Open),
        subject: Some(finding.subject_key.clone()),
        limit: MAX_SIBLINGS + 1,
        ..FindingQuery::default()
    };
    let siblings = parts.store.findings(&of_subject).await?.items;
    let siblings = siblings.iter().filter(|sibling| sibling.fingerprint != finding.fingerprint);
    let siblings = siblings.take(MAX_SIBLINGS as usize).map(|sibling| RowView::new(sibling, now)).collect();
    let rule = (parts.explain)(&finding.code);
    Ok(rendered(&DetailPage::new(frame, &finding, (rule, siblings), now)))
}

#[derive(Template)]
#[template(path = "missing.html")]
struct MissingPage {
    frame: Frame,
}

#[derive(Template)]
#[template(path = "detail.html")]
struct DetailPage {
    frame: Frame,
    row: RowView,
    title: String,
    why: String,
    fix: String,
    check: String,
    source: String,
    confidence: String,
    cause: String,
    stale_cause: String,
    owner: String,
    subject: Vec<(&'static str, String)>,
    locations: Vec<LocationView>,
    evidence: Vec<(String, String)>,
    patch: String,
    deletes: Vec<String>,
    commands: Vec<String>,
    frameworks: Vec<String>,
    related: Vec<String>,
    exception: String,
    fingerprint: String,
    first_seen: Moment,
    last_seen: Moment,
    resolved_at: Option<Moment>,
    resolution: &'static str,
    reopened: u64,
    is_truncated: bool,
    same_code: String,
    siblings: Vec<RowView>,
}

struct LocationView {
    path: String,
    object: String,
    place: String,
}

impl DetailPage {
    fn new(
        frame: Frame,
        finding: &StoredFinding,
        (rule, siblings): (Option<RuleText>, Vec<RowView>),
        now: Timestamp,
    ) -> Self {
        let body = &finding.body;
        let text = |name: &str| shown(body[name].as_str().unwrap_or_default());
        let rule = rule.unwrap_or_default();
        let fix = &body["fix"];
        Self {
            frame,
            row: RowView {
                message: shown_lines(body["message"].as_str().unwrap_or_default()),
                ..RowView::new(finding, now)
            },
            title: shown(&rule.title),
            why: shown_lines(&rule.why),
            fix: shown_lines(&rule.fix),
            check: shown(&finding.check),
            source: text("source"),
            confidence: text("confidence"),
            cause: text("cause"),
            stale_cause: shown(finding.stale_cause.as_deref().unwrap_or_default()),
            owner: text("owner"),
            subject: subject_fields(&body["subject"]),
            locations: items(&body["locations"]).map(location).collect(),
            evidence: items(&body["evidence"]).map(|seen| (word(seen, "name"), word(seen, "value"))).collect(),
            patch: shown_lines(&patch(fix, &body["subject"])),
            deletes: items(&fix["delete"]).map(shown_value).collect(),
            commands: items(&fix["commands"]).map(shown_value).collect(),
            frameworks: items(&body["frameworks"]).map(shown_value).collect(),
            related: items(&body["related"]).map(subject_line).collect(),
            exception: shown_lines(&remedy::exception_yaml(&finding.code, body)),
            fingerprint: shown(&finding.fingerprint),
            first_seen: moment(finding.first_seen, now),
            last_seen: moment(finding.last_seen, now),
            resolved_at: finding.resolved_at.map(|at| moment(at, now)),
            resolution: finding.resolution.map_or("", because),
            reopened: finding.reopened,
            is_truncated: body["truncated"] == true,
            same_code: same_code(finding),
            siblings,
        }
    }
}

/// Why a finding is resolved, in words.
fn because(resolution: Resolution) -> &'static str {
    match resolution {
        Resolution::Decided => "decided otherwise",
        Resolution::Gone => "the subject is gone",
        Resolution::NotAsked => "no rule asks this any more",
    }
}

fn same_code(finding: &StoredFinding) -> String {
    let state = Some(store::State::Open);
    Filter { state, code: Some(finding.code.clone()), page: 1, ..Filter::default() }.link()
}

fn items(list: &Value) -> impl Iterator<Item = &Value> {
    list.as_array().into_iter().flatten().take(MAX_ITEMS)
}

fn word(value: &Value, name: &str) -> String {
    shown(value[name].as_str().unwrap_or_default())
}

fn shown_value(value: &Value) -> String {
    shown(value.as_str().unwrap_or_default())
}

fn subject_fields(subject: &Value) -> Vec<(&'static str, String)> {
    let names = [
        ("type", "Type"),
        ("apiVersion", "API version"),
        ("kind", "Kind"),
        ("namespace", "Namespace"),
        ("name", "Name"),
        ("container", "Container"),
        ("reference", "Reference"),
        ("digest", "Digest"),
        ("file", "File"),
        ("class", "Class"),
        ("holder", "Holder"),
        ("key", "Key"),
        ("platform", "Platform"),
        ("component", "Component"),
    ];
    let field = |(name, label): (&str, &'static str)| Some((label, shown(subject[name].as_str()?)));
    names.into_iter().filter_map(field).filter(|(_, text)| !text.is_empty()).collect()
}

fn subject_line(subject: &Value) -> String {
    let parts = subject_fields(subject).into_iter().filter(|(label, _)| !matches!(*label, "Type" | "API version"));
    parts.map(|(_, text)| text).collect::<Vec<_>>().join(" / ")
}

fn location(location: &Value) -> LocationView {
    let number = |name: &str| location[name].as_u64().map(|number| format!(":{number}")).unwrap_or_default();
    let file = word(location, "file");
    let place = if file.is_empty() { file } else { format!("{file}{}{}", number("line"), number("column")) };
    LocationView { path: word(location, "objectPath"), object: word(location, "object"), place }
}

/// The patch as YAML; values that do not fit into one are listed by path.
fn patch(fix: &Value, subject: &Value) -> String {
    let path = |patch: &Value| patch["path"].as_str().unwrap_or_default().to_owned();
    let patches: Vec<(String, Value)> =
        items(&fix["patches"]).map(|patch| (path(patch), patch["value"].clone())).collect();
    remedy::patch_yaml(&patches, subject["container"].as_str())
        .unwrap_or_else(|| patches.iter().map(|(path, value)| format!("# {path} = {value}\n")).collect())
}
