//! Logs: structured, to stderr, text for people or JSON for machines.
//!
//! No request body and no secret is logged: what may hold one is passed as [`Redacted`], and the libraries that log
//! bodies at their lower levels are capped. Control characters in values are escaped, so that no value can forge a
//! line or drive a terminal.

use std::fmt;

use portreeve_reports::source::decode::did_you_mean;
use tracing::Subscriber;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::field::MakeExt;
use tracing_subscriber::filter::{FilterExt as _, filter_fn};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::fmt::format::{Writer, debug_fn};
use tracing_subscriber::layer::{Layer as _, SubscriberExt as _};
use tracing_subscriber::{EnvFilter, Registry};

/// What libraries may say at most, whatever the filter says: their lower levels hold bodies, headers or statements with
/// values. The client of the API server warns with the whole answer where one cannot be read, a Secret among them; what
/// it comes to we say ourselves.
const CAPPED: [(&str, LevelFilter); 7] = [
    ("kube_client", LevelFilter::OFF),
    ("kube_runtime", LevelFilter::INFO),
    ("hyper", LevelFilter::INFO),
    ("hyper_util", LevelFilter::INFO),
    ("h2", LevelFilter::INFO),
    ("tower", LevelFilter::INFO),
    ("sqlx", LevelFilter::WARN),
];

const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];

/// How lines look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// Logging could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The filter is not one.
    #[error(
        "'telemetry.log': '{0}' is not a log filter: write a level (info) or target=level pairs (portreeve=debug,info)"
    )]
    InvalidFilter(String),
    /// A bare word that is no level; taken for a target it would silence all others.
    #[error(
        "'telemetry.log': '{word}' is not a level{hint}: write one of off, error, warn, info, debug, trace, or {word}=debug for a target"
    )]
    NoLevel {
        /// The word.
        word: String,
        /// A did-you-mean, or nothing.
        hint: String,
    },
    /// Somebody else set up logging first.
    #[error("logging was already set up")]
    AlreadySet,
}

/// Whether a text is a log filter.
pub fn check_filter(filter: &str) -> Result<(), TelemetryError> {
    parsed(filter).map(drop)
}

/// Starts logging to stderr for the whole process.
pub fn init(filter: &str, format: LogFormat) -> Result<(), TelemetryError> {
    let subscriber = subscriber(filter, format, std::io::stderr)?;
    tracing::subscriber::set_global_default(subscriber).map_err(|_| TelemetryError::AlreadySet)
}

fn subscriber<W>(
    filter: &str,
    format: LogFormat,
    writer: W,
) -> Result<Box<dyn Subscriber + Send + Sync>, TelemetryError>
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    // A line that cannot be written (a full disk below stderr) is no reason to end: it would be said by a panic.
    let lines = tracing_subscriber::fmt::layer().log_internal_errors(false).with_ansi(false).with_writer(writer);
    let wanted = parsed(filter)?.and(filter_fn(|event| *event.level() <= cap(event.target())));
    Ok(match format {
        LogFormat::Text => {
            let lines = lines.fmt_fields(debug_fn(escaped_field).delimited(" "));
            Box::new(Registry::default().with(lines.with_filter(wanted)))
        }
        LogFormat::Json => Box::new(Registry::default().with(lines.json().flatten_event(true).with_filter(wanted))),
    })
}

fn parsed(filter: &str) -> Result<EnvFilter, TelemetryError> {
    refuse_bare_targets(filter)?;
    EnvFilter::builder().parse(filter).map_err(|_| TelemetryError::InvalidFilter(filter.to_owned()))
}

/// The most that a target may say.
fn cap(target: &str) -> LevelFilter {
    let is_of =
        |library: &str| target.strip_prefix(library).is_some_and(|rest| rest.is_empty() || rest.starts_with(':'));
    CAPPED.iter().find(|(library, _)| is_of(library)).map_or(LevelFilter::TRACE, |(_, most)| *most)
}

fn refuse_bare_targets(filter: &str) -> Result<(), TelemetryError> {
    let bare = filter.split(',').map(str::trim).find(|part| {
        // A part with other signs is for the parser to take or to refuse.
        let is_word = part.contains(|c: char| c.is_alphabetic()) && !part.contains(['=', ' ', '[', ']', '{', '}']);
        is_word && part.parse::<LevelFilter>().is_err()
    });
    let Some(word) = bare else { return Ok(()) };
    let near = did_you_mean(&word.to_lowercase(), &LEVELS);
    let hint = near.map_or_else(String::new, |near| format!(" (did you mean '{near}'?)"));
    Err(TelemetryError::NoLevel { word: word.to_owned(), hint })
}

fn escaped_field(writer: &mut Writer<'_>, field: &tracing::field::Field, value: &dyn fmt::Debug) -> fmt::Result {
    if field.name() != "message" {
        write!(writer, "{field}=")?;
    }
    writer.write_str(&escape(&format!("{value:?}")))
}

/// The text with control characters, line separators and direction marks written as `\u{..}`.
fn escape(text: &str) -> String {
    let forges = |c: char| {
        c.is_control() || matches!(c, '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if forges(c) { out.extend(c.escape_default()) } else { out.push(c) }
    }
    out
}

/// A value that must not reach a log line, a message or a debug print. It is not serializable.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Redacted<T>(pub T);

impl<T> fmt::Debug for Redacted<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

impl<T> fmt::Display for Redacted<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    fn logged(filter: &str, format: LogFormat, log: impl FnOnce()) -> String {
        let lines = Lines::default();
        let writer = lines.clone();
        let subscriber = subscriber(filter, format, move || writer.clone()).unwrap();
        tracing::subscriber::with_default(subscriber, log);
        let bytes = lines.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn a_value_cannot_forge_a_line_or_drive_a_terminal() {
        for format in [LogFormat::Text, LogFormat::Json] {
            let out = logged("info", format, || {
                tracing::info!(name = %"a\nERROR forged\u{1b}[31m\u{202e}", "told {}", "b\r\nERROR forged");
            });
            assert_eq!(out.lines().count(), 1, "{out:?}");
            assert!(!out.trim_end_matches('\n').contains(|c: char| c.is_control()), "{out:?}");
        }
    }

    #[test]
    fn a_redacted_value_is_in_no_line() {
        let out = logged("info", LogFormat::Text, || {
            let body = Redacted("password=hunter2");
            tracing::info!(%body, other = ?body, "request {body}");
        });
        assert!(out.contains("[redacted]") && !out.contains("hunter2"), "{out}");
    }

    #[test]
    fn libraries_that_log_bodies_are_capped_whatever_the_filter_says() {
        for filter in ["trace", "trace,kube_client::client=trace,hyper::proto=trace"] {
            let out = logged(filter, LogFormat::Text, || {
                tracing::error!(target: "kube_client::client", "body");
                tracing::warn!(target: "kube_client", "body");
                tracing::debug!(target: "hyper::proto", "body");
                tracing::trace!(target: "hyperbole", "another");
                tracing::debug!(target: "portreeve", "ours");
            });
            assert!(out.contains("ours") && out.contains("another") && !out.contains("body"), "{out}");
        }
    }

    #[test]
    fn a_bare_word_that_is_no_level_is_an_error_with_the_nearest_level() {
        let said = check_filter("portreeve=debug,wran").unwrap_err().to_string();
        assert!(said.starts_with("'telemetry.log': 'wran' is not a level (did you mean 'warn'?): "), "{said}");
        for filter in ["warn", "INFO", "off", "portreeve=debug,info", "portreeve::judge=trace, warn"] {
            check_filter(filter).unwrap();
        }
    }

    #[test]
    fn a_filter_that_is_none_is_an_error() {
        assert!(matches!(subscriber("in fo==", LogFormat::Text, std::io::sink), Err(TelemetryError::InvalidFilter(_))));
    }
}
