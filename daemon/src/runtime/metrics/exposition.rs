//! The two texts that a scraper may ask for. The library writes OpenMetrics; the classic text of Prometheus, which all
//! of its readers take, is the same samples under other headings.

/// A text format of metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exposition {
    /// Prometheus' text format 0.0.4: what is answered unless OpenMetrics is asked for.
    Classic,
    /// OpenMetrics 1.0.0.
    OpenMetrics,
}

impl Exposition {
    /// What an `Accept` header asks for (RFC 9110 §12.5.1). OpenMetrics must be named, in a version that we write, and
    /// be wanted at least as much as plain text.
    pub fn asked(accept: &str) -> Self {
        let (mut classic, mut open) = (0.0_f32, 0.0_f32);
        for range in accept.split(',') {
            let mut parts = range.split(';').map(str::trim);
            let media_type = parts.next().unwrap_or_default().to_ascii_lowercase();
            let parameters: Vec<(&str, &str)> = parts.filter_map(|part| part.split_once('=')).collect();
            let of =
                |name: &str| parameters.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|found| found.1);
            let weight = of("q").map_or(1.0, |weight| weight.parse::<f32>().unwrap_or(0.0));
            match media_type.as_str() {
                "application/openmetrics-text" if matches!(of("version"), None | Some("0.0.1" | "1.0.0")) => {
                    open = open.max(weight);
                }
                "text/plain" => classic = classic.max(weight),
                _ => {}
            }
        }
        if open > 0.0 && open >= classic { Self::OpenMetrics } else { Self::Classic }
    }

    /// The `Content-Type`.
    pub fn content_type(self) -> &'static str {
        match self {
            Self::Classic => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

/// OpenMetrics text as classic text: families are named like their samples, and there is neither a unit nor an end.
pub(super) fn classic(open: &str) -> String {
    let mut text = String::with_capacity(open.len());
    let mut help = None;
    for line in open.lines() {
        if let Some(described) = line.strip_prefix("# HELP ") {
            help = described.split_once(' ');
        } else if let Some((name, kind)) = line.strip_prefix("# TYPE ").and_then(|typed| typed.split_once(' ')) {
            let (suffix, kind) = match kind {
                "counter" => ("_total", "counter"),
                "info" => ("_info", "gauge"),
                "unknown" => ("", "untyped"),
                kind => ("", kind),
            };
            let about = help.take().filter(|(described, _)| *described == name).map_or("", |(_, about)| about);
            text.push_str(&format!("# HELP {name}{suffix} {about}\n# TYPE {name}{suffix} {kind}\n"));
        } else if !line.starts_with('#') {
            let (series, value) = line.rsplit_once(' ').unwrap_or((line, ""));
            let value = match value {
                "inf" => "+Inf",
                "-inf" => "-Inf",
                value => value,
            };
            text.push_str(&format!("{series} {value}\n"));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classic_text_is_the_default_and_open_metrics_what_names_it() {
        let prometheus = "application/openmetrics-text;version=1.0.0;q=0.5,application/openmetrics-text;version=0.0.1;\
                          q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2";
        for (accept, asked) in [
            ("", Exposition::Classic),
            ("*/*", Exposition::Classic),
            ("text/html, text/plain;q=0.9", Exposition::Classic),
            ("application/openmetrics-text; version=2.0.0, text/plain;q=0.1", Exposition::Classic),
            ("application/openmetrics-text;q=0", Exposition::Classic),
            ("application/openmetrics-text;q=0.2, text/plain; q=0.3", Exposition::Classic),
            ("application/openmetrics-text;q=nonsense", Exposition::Classic),
            ("Application/OpenMetrics-Text; Version=1.0.0; charset=utf-8", Exposition::OpenMetrics),
            (prometheus, Exposition::OpenMetrics),
        ] {
            assert_eq!(Exposition::asked(accept), asked, "{accept}");
        }
    }

    #[test]
    fn families_are_named_like_their_samples() {
        let open = "# HELP a Things.\n# TYPE a counter\na_total{x=\"1 2\"} 3\n# HELP t Time.\n# TYPE t gauge\n# UNIT t seconds\nt \
                    inf\n# HELP b Build.\n# TYPE b info\nb_info{version=\"1\"} 1\n# EOF\n";
        assert_eq!(
            classic(open),
            "# HELP a_total Things.\n# TYPE a_total counter\na_total{x=\"1 2\"} 3\n# HELP t Time.\n# TYPE t gauge\nt +Inf\n# \
             HELP b_info Build.\n# TYPE b_info gauge\nb_info{version=\"1\"} 1\n"
        );
    }
}
