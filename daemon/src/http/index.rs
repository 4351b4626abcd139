//! `/`: the verdict of the whole, what is open and where, and the list.

use askama::Template;
use axum::extract::{Query, State};
use axum::response::{Html, IntoResponse, Response};
use jiff::Timestamp;
use portreeve_reports::{Severity, Verdict};

use super::api::Unreadable;
use super::filter::{Filter, PAGE, Params, STATES, stored_verdicts};
use super::words::{Moment, counted, grouped, moment, severity_glyph, shown, verdict_glyph};
use super::{HttpParts, Parts};
use crate::store::{self, Board, Counts, ImageCounts, NamespaceRow, StoredFinding, Summary};

/// The verdict of the whole. Before the first scan, and while there is no object, nothing is known, whatever the counts
/// say.
pub(super) fn whole(counts: &Counts, board: &Board) -> Verdict {
    match counts.whole() {
        Verdict::Pass if board.coverage.is_none() || board.objects == 0 => Verdict::Unknown,
        verdict => verdict,
    }
}

/// `/?state&severity&verdict&namespace&code&q&page`.
pub(super) async fn page(State(parts): State<Parts>, Query(params): Query<Params>) -> Result<Response, Unreadable> {
    let filter = match params.filter() {
        Ok(filter) => filter,
        Err(invalid) => return Ok(invalid.into_response()),
    };
    let now = Timestamp::now();
    let summary = parts.store.summary(now).await?;
    let findings = parts.store.findings(&filter.query()).await?;
    Ok(rendered(&IndexPage::new(&parts, &summary, &filter, (&findings, now))))
}

/// The page, or a plain answer when a template fails (it cannot for lack of data: all of it is in the struct).
pub(super) fn rendered(page: &impl Template) -> Response {
    match page.render() {
        Ok(text) => Html(text).into_response(),
        Err(error) => {
            tracing::error!(%error, "a page could not be rendered");
            (axum::http::StatusCode::INTERNAL_SERVER_ERROR, "the page could not be rendered\n").into_response()
        }
    }
}

#[derive(Template)]
#[template(path = "index.html")]
struct IndexPage {
    frame: Frame,
    whole: WholeView,
    coverage: Option<CoverageView>,
    severities: Vec<Tile>,
    others: Vec<Tile>,
    images: ImagesView,
    opened_day: String,
    resolved_day: String,
    scans: Vec<(&'static str, Moment)>,
    notices: Vec<String>,
    namespaces: Vec<NamespaceView>,
    namespaces_more: Option<String>,
    filter: FilterView,
    rows: Vec<RowView>,
    range: String,
    previous: Option<String>,
    next: Option<String>,
}

/// What every page has around it.
pub(super) struct Frame {
    pub(super) cluster: String,
    pub(super) version: &'static str,
}

impl Frame {
    pub(super) fn new(parts: &HttpParts) -> Self {
        Self { cluster: shown(parts.store.cluster()), version: env!("CARGO_PKG_VERSION") }
    }
}

struct WholeView {
    word: &'static str,
    glyph: &'static str,
    sentence: String,
}

struct CoverageView {
    percent: String,
    /// Of a ring with a circumference of 100.
    dash: String,
}

struct Tile {
    word: &'static str,
    glyph: &'static str,
    count: String,
    link: String,
    is_zero: bool,
    is_chosen: bool,
}

struct ImagesView {
    total: String,
    segments: Vec<Segment>,
}

/// A part of the bar of images, which is 100 wide.
struct Segment {
    word: &'static str,
    count: String,
    start: String,
    width: String,
}

struct NamespaceView {
    name: String,
    link: String,
    is_named: bool,
    cells: Vec<Cell>,
}

struct Cell {
    class: &'static str,
    count: u64,
    link: String,
}

struct FilterView {
    states: Vec<Choice>,
    severities: Vec<Choice>,
    verdicts: Vec<Choice>,
    namespace: String,
    code: String,
    text: String,
    is_narrow: bool,
    reset: String,
}

struct Choice {
    word: &'static str,
    is_chosen: bool,
}

pub(super) struct RowView {
    pub(super) link: String,
    pub(super) severity: &'static str,
    pub(super) glyph: &'static str,
    pub(super) verdict: &'static str,
    pub(super) verdict_glyph: &'static str,
    pub(super) code: String,
    pub(super) subject: String,
    pub(super) message: String,
    pub(super) is_resolved: bool,
    pub(super) is_stale: bool,
    pub(super) effect: &'static str,
    pub(super) changed: Moment,
}

impl RowView {
    pub(super) fn new(finding: &StoredFinding, now: Timestamp) -> Self {
        Self {
            link: format!("/findings/{}", finding.fingerprint),
            severity: finding.severity.as_str(),
            glyph: severity_glyph(finding.severity),
            verdict: finding.verdict.as_str(),
            verdict_glyph: verdict_glyph(finding.verdict),
            code: shown(&finding.code),
            subject: shown(&finding.subject),
            message: shown(&finding.message),
            is_resolved: finding.state == store::State::Resolved,
            is_stale: finding.stale_cause.is_some(),
            effect: finding.effect.as_str(),
            changed: moment(finding.changed_at, now),
        }
    }
}

impl IndexPage {
    fn new(
        parts: &HttpParts,
        summary: &Summary,
        filter: &Filter,
        (page, now): (&store::Page<StoredFinding>, Timestamp),
    ) -> Self {
        let board = parts.board.borrow().clone();
        let turned = |page: u64| Filter { page, ..filter.clone() }.link();
        let last = page.total.div_ceil(u64::from(PAGE));
        Self {
            frame: Frame::new(parts),
            whole: whole_view(&summary.counts, &board),
            coverage: board.coverage.map(coverage_view),
            severities: severity_tiles(&summary.counts, filter),
            others: verdict_tiles(&summary.counts, filter),
            images: images_view(board.images),
            opened_day: grouped(summary.opened_day),
            resolved_day: grouped(summary.resolved_day),
            scans: board.scans.iter().map(|(scanner, at)| (*scanner, moment(*at, now))).collect(),
            notices: notices(parts),
            namespaces: summary.namespaces.iter().map(namespace_view).collect(),
            namespaces_more: more_namespaces(summary),
            filter: filter_view(filter),
            rows: page.items.iter().map(|finding| RowView::new(finding, now)).collect(),
            range: range(page),
            previous: (filter.page > 1).then(|| turned((filter.page - 1).min(last).max(1))),
            next: (filter.page < last).then(|| turned(filter.page + 1)),
        }
    }
}

fn whole_view(counts: &Counts, board: &Board) -> WholeView {
    let verdict = whole(counts, board);
    let sentence = match verdict {
        Verdict::Fail => format!("{} must be fixed", counted(counts.blocking(), "finding", "findings")),
        Verdict::Error => {
            format!("{} of ours could not be evaluated", counted(counts.with_verdict(Verdict::Error), "rule", "rules"))
        }
        Verdict::Unknown if board.coverage.is_none() => "nothing has been scanned yet".to_owned(),
        Verdict::Unknown if board.objects == 0 => "there is nothing to judge".to_owned(),
        Verdict::Unknown => {
            let unknown = counts.with_verdict(Verdict::Unknown);
            format!("{} could not be answered", counted(unknown, "question", "questions"))
        }
        _ => "nothing open that blocks".to_owned(),
    };
    WholeView { word: verdict.as_str(), glyph: verdict_glyph(verdict), sentence }
}

/// Rounded down: 99.96 % is not 100 %.
fn coverage_view(ratio: f64) -> CoverageView {
    let percent = (ratio.clamp(0.0, 1.0) * 1000.0).floor() / 10.0;
    CoverageView { percent: format!("{percent:.1}"), dash: format!("{percent:.1} 100") }
}

fn severity_tiles(counts: &Counts, filter: &Filter) -> Vec<Tile> {
    let tile = |severity: Severity| {
        let count = counts.of(severity, Verdict::Fail);
        let chosen = Filter { severity: Some(severity), verdict: Some(Verdict::Fail), ..open() };
        Tile {
            word: severity.as_str(),
            glyph: severity_glyph(severity),
            count: grouped(count),
            link: chosen.link(),
            is_zero: count == 0,
            is_chosen: filter.severity == Some(severity),
        }
    };
    Severity::ALL.into_iter().map(tile).collect()
}

fn verdict_tiles(counts: &Counts, filter: &Filter) -> Vec<Tile> {
    let tile = |verdict: Verdict| {
        let count = counts.with_verdict(verdict);
        Tile {
            word: verdict.as_str(),
            glyph: verdict_glyph(verdict),
            count: grouped(count),
            link: Filter { verdict: Some(verdict), ..open() }.link(),
            is_zero: count == 0,
            is_chosen: filter.verdict == Some(verdict),
        }
    };
    stored_verdicts().filter(|verdict| *verdict != Verdict::Fail).map(tile).collect()
}

fn open() -> Filter {
    Filter { state: Some(store::State::Open), page: 1, ..Filter::default() }
}

fn images_view(images: ImageCounts) -> ImagesView {
    let parts = [
        ("verified", images.verified),
        ("unsigned", images.unsigned),
        ("untrusted", images.untrusted),
        ("mismatch", images.mismatch),
        ("unknown", images.unknown),
    ];
    let total = images.total();
    let share = |count: u64| count as f64 * 100.0 / total.max(1) as f64;
    let mut before = 0;
    let segments = parts.into_iter().map(|(word, count)| {
        let start = share(before);
        before += count;
        let width = format!("{:.2}", share(count));
        Segment { word, count: grouped(count), start: format!("{start:.2}"), width }
    });
    ImagesView { segments: segments.collect(), total: counted(total, "image", "images") }
}

fn notices(parts: &HttpParts) -> Vec<String> {
    let health = parts.store.health();
    let mut notices = Vec::new();
    let waiting = (parts.waiting)();
    if !waiting.is_empty() {
        notices.push(format!("Starting: waiting for {}. What is shown is of before.", waiting.join(", ")));
    }
    let stale = (parts.stale)() as u64;
    if stale > 0 {
        let kinds = counted(stale, "kind of objects is", "kinds of objects are");
        notices.push(format!("The API server is away: {kinds} shown as before it went. Scans do not count meanwhile."));
    }
    if !health.is_writable {
        notices.push("The store cannot be written: what is shown may be old, and new findings are lost.".to_owned());
    }
    if health.lost_total > 0 {
        notices.push(format!("{} lost since the start.", counted(health.lost_total, "record was", "records were")));
    }
    notices
}

fn namespace_view(row: &NamespaceRow) -> NamespaceView {
    let of = Filter { namespace: Some(row.namespace.clone()), ..open() };
    let failing = |severity: Severity| Cell {
        class: severity.as_str(),
        count: row.failing.get(&severity).copied().unwrap_or_default(),
        link: Filter { severity: Some(severity), verdict: Some(Verdict::Fail), ..of.clone() }.link(),
    };
    let with = |verdict: Verdict, count| Cell {
        class: verdict.as_str(),
        count,
        link: Filter { verdict: Some(verdict), ..of.clone() }.link(),
    };
    let mut cells: Vec<Cell> = Severity::ALL.into_iter().map(failing).collect();
    cells.push(with(Verdict::Unknown, row.undecided));
    cells.push(with(Verdict::Excepted, row.excepted));
    NamespaceView { name: shown(&row.namespace), is_named: !row.namespace.is_empty(), link: of.link(), cells }
}

fn more_namespaces(summary: &Summary) -> Option<String> {
    let hidden = summary.namespaces_total.saturating_sub(summary.namespaces.len() as u64);
    (hidden > 0).then(|| format!("and {} with fewer", counted(hidden, "namespace", "namespaces")))
}

fn filter_view(filter: &Filter) -> FilterView {
    let choices = |words: Vec<&'static str>, chosen: &str| {
        words.into_iter().map(|word| Choice { word, is_chosen: word == chosen }).collect()
    };
    FilterView {
        states: choices(STATES.to_vec(), filter.state_word()),
        severities: choices(Severity::ALL.map(Severity::as_str).to_vec(), filter.severity.map_or("", Severity::as_str)),
        verdicts: choices(stored_verdicts().map(Verdict::as_str).collect(), filter.verdict.map_or("", Verdict::as_str)),
        namespace: shown(filter.namespace_word()),
        code: shown(filter.code.as_deref().unwrap_or_default()),
        text: shown(filter.text.as_deref().unwrap_or_default()),
        is_narrow: filter.is_narrow(),
        reset: Filter { state: filter.state, page: 1, ..Filter::default() }.link(),
    }
}

fn range(page: &store::Page<StoredFinding>) -> String {
    match page.items.len() as u64 {
        0 => format!("none of {}", counted(page.total, "finding", "findings")),
        shown if shown == page.total => counted(page.total, "finding", "findings"),
        shown => {
            let (first, last) = (page.offset + 1, page.offset + shown);
            format!("{}–{} of {}", grouped(first), grouped(last), counted(page.total, "finding", "findings"))
        }
    }
}
