//! One HTML file that needs nothing else: no script, no request, readable without colour and by a screen reader.
//!
//! Every text goes through [`Page::text`], which escapes it; markup is never made of what a report holds.

use std::fmt::Write as _;

use super::RenderOptions;
use super::table::{Groups, evidence, fixes, grouped, heading, headline_parts, place, rank};
use super::text::plain;
use crate::finding::Finding;
use crate::report::{ImageReport, Report};
use crate::severity::Severity;
use crate::verdict::Verdict;

const STYLE: &str = include_str!("html.css");

/// The report as a page.
pub fn render(report: &Report, options: &RenderOptions<'_>) -> String {
    let mut page = Page::default();
    page.raw("<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n");
    page.raw(
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n",
    );
    page.raw("<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n");
    page.element("title", &format!("Portreeve: {}", verdict_of(report)));
    page.raw("<style>\n").raw(STYLE).raw("</style>\n</head>\n<body>\n<main>\n");
    summary(&mut page, report);
    let is_excepted = |finding: &Finding| finding.verdict == Verdict::Excepted;
    section(&mut page, "Findings", &grouped(report, options, |finding| !is_excepted(finding)), options);
    section(&mut page, "Accepted by exceptions", &grouped(report, options, is_excepted), options);
    images(&mut page, &report.images);
    page.raw("</main>\n</body>\n</html>\n");
    page.0
}

/// Markup that is written, and texts that are escaped.
#[derive(Default)]
struct Page(String);

impl Page {
    fn raw(&mut self, markup: &'static str) -> &mut Self {
        self.0.push_str(markup);
        self
    }

    fn text(&mut self, text: &str) -> &mut Self {
        for character in plain(text).chars() {
            match character {
                '&' => self.0.push_str("&amp;"),
                '<' => self.0.push_str("&lt;"),
                '>' => self.0.push_str("&gt;"),
                '"' => self.0.push_str("&quot;"),
                '\'' => self.0.push_str("&#39;"),
                other => self.0.push(other),
            }
        }
        self
    }

    fn element(&mut self, name: &'static str, text: &str) -> &mut Self {
        // Writing to a String cannot fail.
        let _ = write!(self.0, "<{name}>");
        self.text(text);
        let _ = writeln!(self.0, "</{name}>");
        self
    }

    fn row(&mut self, head: &str, cell: &str) -> &mut Self {
        self.raw("<tr><th scope=\"row\">").text(head).raw("</th><td>").text(cell).raw("</td></tr>\n")
    }

    fn entry(&mut self, name: &str, text: &str) -> &mut Self {
        self.element("dt", name).element("dd", text)
    }
}

fn verdict_of(report: &Report) -> &'static str {
    report.verdict_in_words()
}

fn summary(page: &mut Page, report: &Report) {
    page.element("h1", &format!("Verdict: {}", verdict_of(report)));
    page.raw("<table>\n<caption>The whole</caption>\n<tbody>\n");
    page.row("Coverage", &report.coverage().to_string());
    page.row("Objects read", &report.objects_read.to_string());
    page.row("Images looked at", &report.images.len().to_string());
    let counts = report.counts();
    for verdict in Verdict::ALL {
        page.row(verdict.as_str(), &counts.verdict(verdict).to_string());
    }
    for severity in Severity::ALL {
        page.row(&format!("fail, {severity}"), &counts.failures(severity).to_string());
    }
    page.raw("</tbody>\n</table>\n");
    if !report.inputs.is_empty() {
        page.raw("<table>\n<caption>Judged by</caption>\n<tbody>\n");
        report.inputs.iter().for_each(|input| {
            page.row(&input.name, &input.digest);
        });
        page.raw("</tbody>\n</table>\n");
    }
    page.element("p", &format!("Portreeve {}", report.tool_version));
}

fn section(page: &mut Page, title: &str, groups: &Groups<'_>, options: &RenderOptions<'_>) {
    page.raw("<section>\n").element("h2", title);
    if groups.is_empty() {
        page.element("p", "None.");
    }
    for (file, subjects) in groups {
        page.element("h3", &heading(file, subjects));
        for (subject, findings) in subjects {
            page.element("h4", subject);
            let mut findings = findings.clone();
            findings.sort_by_key(|finding| rank(finding));
            findings.iter().for_each(|finding| article(page, finding, options));
        }
    }
    page.raw("</section>\n");
}

fn article(page: &mut Page, finding: &Finding, options: &RenderOptions<'_>) {
    let (verdict, message) = headline_parts(finding, options);
    page.raw("<article class=\"").text(finding.severity.as_str()).raw("\">\n");
    page.element("h5", &format!("{} {verdict} {}", finding.severity.as_str().to_uppercase(), finding.code));
    page.element("p", &message).raw("<dl>\n");
    finding.locations.iter().filter_map(place).for_each(|text| {
        page.entry("at", &text);
    });
    finding.evidence.iter().for_each(|item| {
        page.entry("seen", &evidence(item));
    });
    if finding.verdict == Verdict::Fail {
        fixes(&finding.fix).iter().for_each(|text| {
            page.entry("fix", text);
        });
    }
    finding.owner.iter().for_each(|owner| {
        page.entry("owner", owner);
    });
    page.entry("fingerprint", finding.fingerprint.as_str());
    page.raw("</dl>\n");
    if let Some(rule) = (options.rules)(&finding.code) {
        page.raw("<details>\n<summary>Why it matters</summary>\n").element("p", &rule.why);
        page.element("p", &format!("How to fix: {}", rule.fix)).raw("</details>\n");
    }
    page.raw("</article>\n");
}

fn images(page: &mut Page, images: &[ImageReport]) {
    if images.is_empty() {
        return;
    }
    page.raw("<section>\n<h2>Images</h2>\n");
    for image in images {
        page.raw("<article>\n").element("h3", &format!("{}: {}", image.reference, image.verdict)).raw("<dl>\n");
        image.digest.iter().for_each(|digest| {
            page.entry("digest", digest);
        });
        image.evidence.iter().for_each(|item| {
            page.entry("seen", &evidence(item));
        });
        page.raw("</dl>\n</article>\n");
    }
    page.raw("</section>\n");
}
