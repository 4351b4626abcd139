//! The filter of the list. The URL is the state: parsed here, written here.

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use portreeve_reports::{Severity, Verdict};
use serde::Deserialize;
use url::form_urlencoded::Serializer;

use crate::store::{FindingQuery, State};

/// Rows of a page of the dashboard.
pub(super) const PAGE: u32 = 50;
/// The longest value of a field.
const MAX_VALUE: usize = 253;
/// In the URL, stands for subjects without a namespace.
const NO_NAMESPACE: &str = "-";

/// The query string of `/` and of `/api/v1/findings`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Params {
    state: Option<String>,
    severity: Option<String>,
    verdict: Option<String>,
    namespace: Option<String>,
    code: Option<String>,
    q: Option<String>,
    page: Option<u64>,
    limit: Option<u32>,
    offset: Option<u64>,
}

/// A filter that is understood.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Filter {
    /// `None` for open and resolved.
    pub(super) state: Option<State>,
    pub(super) severity: Option<Severity>,
    pub(super) verdict: Option<Verdict>,
    /// The empty string for subjects without one.
    pub(super) namespace: Option<String>,
    pub(super) code: Option<String>,
    pub(super) text: Option<String>,
    /// 1 for the first.
    pub(super) page: u64,
}

/// A filter that names a value there is not. Nothing is shown instead of something else than was asked.
#[derive(Debug, thiserror::Error)]
#[error("{field}: '{value}' is not one of {allowed}")]
pub(super) struct InvalidFilter {
    field: &'static str,
    value: String,
    allowed: String,
}

impl IntoResponse for InvalidFilter {
    fn into_response(self) -> Response {
        (StatusCode::BAD_REQUEST, format!("{}\n", portreeve_reports::formats::text::plain(&self.to_string())))
            .into_response()
    }
}

/// The values of `state`.
pub(super) const STATES: [&str; 3] = ["open", "resolved", "all"];

/// The verdicts that are stored.
pub(super) fn stored_verdicts() -> impl Iterator<Item = Verdict> {
    Verdict::ALL.into_iter().filter(|verdict| verdict.is_open())
}

impl Params {
    /// Checks the values. An empty one is as good as none: forms send all their fields.
    pub(super) fn filter(&self) -> Result<Filter, InvalidFilter> {
        let verdicts = || stored_verdicts().map(Verdict::as_str).collect::<Vec<_>>().join(", ");
        let verdict = |word: &str| stored_verdicts().find(|verdict| verdict.as_str() == word);
        let severities = || Severity::ALL.map(Severity::as_str).join(", ");
        let state = match given(self.state.as_ref()) {
            None => Some(State::Open),
            Some("all") => None,
            Some(word) => Some(State::parse(word).ok_or_else(|| invalid("state", word, STATES.join(", ")))?),
        };
        Ok(Filter {
            state,
            severity: word("severity", self.severity.as_ref(), Severity::parse, severities)?,
            verdict: word("verdict", self.verdict.as_ref(), verdict, verdicts)?,
            namespace: given(self.namespace.as_ref())
                .map(|name| if name == NO_NAMESPACE { "" } else { name }.to_owned()),
            code: given(self.code.as_ref()).map(str::to_owned),
            text: given(self.q.as_ref()).map(str::to_owned),
            page: self.page.unwrap_or(1).max(1),
        })
    }

    /// The query of the API: `limit` and `offset` instead of pages.
    pub(super) fn query(&self) -> Result<FindingQuery, InvalidFilter> {
        let limit = self.limit.unwrap_or(100);
        let query = self.filter()?.query();
        Ok(FindingQuery { limit, offset: self.offset.unwrap_or_default(), ..query })
    }
}

fn given(value: Option<&String>) -> Option<&str> {
    let value = value?.trim();
    (!value.is_empty()).then(|| &value[..value.floor_char_boundary(MAX_VALUE)])
}

fn word<T>(
    field: &'static str,
    value: Option<&String>,
    parse: impl Fn(&str) -> Option<T>,
    allowed: impl Fn() -> String,
) -> Result<Option<T>, InvalidFilter> {
    given(value).map(|value| parse(value).ok_or_else(|| invalid(field, value, allowed()))).transpose()
}

fn invalid(field: &'static str, value: &str, allowed: String) -> InvalidFilter {
    InvalidFilter { field, value: value.to_owned(), allowed }
}

impl Filter {
    /// The rows of this page.
    pub(super) fn query(&self) -> FindingQuery {
        FindingQuery {
            state: self.state,
            severity: self.severity,
            verdict: self.verdict,
            code: self.code.clone(),
            namespace: self.namespace.clone(),
            subject: None,
            text: self.text.clone(),
            offset: (self.page - 1).saturating_mul(u64::from(PAGE)),
            limit: PAGE,
        }
    }

    /// The word of the state.
    pub(super) fn state_word(&self) -> &'static str {
        self.state.map_or("all", State::as_str)
    }

    /// The namespace as it stands in the URL; empty for any.
    pub(super) fn namespace_word(&self) -> &str {
        match self.namespace.as_deref() {
            None => "",
            Some("") => NO_NAMESPACE,
            Some(name) => name,
        }
    }

    /// Whether anything is filtered but the state.
    pub(super) fn is_narrow(&self) -> bool {
        *self != Self { state: self.state, page: self.page, ..Self::default() }
    }

    /// The link to the list with this filter.
    pub(super) fn link(&self) -> String {
        let mut query = Serializer::new(String::new());
        let mut put = |name: &str, value: &str| {
            if !value.is_empty() {
                query.append_pair(name, value);
            }
        };
        put("state", if self.state == Some(State::Open) { "" } else { self.state_word() });
        put("severity", self.severity.map_or("", Severity::as_str));
        put("verdict", self.verdict.map_or("", Verdict::as_str));
        put("namespace", self.namespace_word());
        put("code", self.code.as_deref().unwrap_or_default());
        put("q", self.text.as_deref().unwrap_or_default());
        if self.page > 1 {
            put("page", &self.page.to_string());
        }
        let query = query.finish();
        if query.is_empty() { "/#findings".to_owned() } else { format!("/?{query}#findings") }
    }
}
