//! A [`Curve`] as one page of HTML that stands alone: charts as inline SVG, the figures as a table, nothing fetched and
//! no script. It follows the reader's choice of light or dark, and the width of the screen.

mod panel;
mod scale;

use super::knee::{COLUMNS, Curve, Verdict, cpu_percent};
use super::report::{LoadReport, Quantiles};
use panel::{Line, Panel};
use scale::Scale;
use std::fmt::Write as _;

const STYLE: &str = include_str!("chart/style.css");

/// The page. What comes from outside (the title, addresses, errors) is escaped.
pub fn page(curve: &Curve, title: &str) -> String {
    let (title, conclusion) = (escape(title), escape(&curve.conclusion()));
    let charts: Vec<String> = panels(curve).iter().map(figure).collect();
    let (facts, charts, table) = (facts(curve), charts.concat(), table(curve));
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n<title>{title}</title>\n\
         <style>\n{STYLE}</style>\n</head>\n<body>\n<main>\n<h1>{title}</h1>\n\
         <p class=\"conclusion\">{conclusion}</p>\n{facts}<div class=\"charts\">\n{charts}</div>\n{table}</main>\n\
         </body>\n</html>\n"
    )
}

/// What was measured, and how.
fn facts(curve: &Curve) -> String {
    let Some(first) = curve.points.first() else { return String::new() };
    let text = format!(
        "{} to {}, {:.0} s for each number of people, each of whom speaks {:.0} % of the time. Final latency runs from \
         the last speech sent to the final text; its 95th percentile may be {:.0} ms.",
        first.protocol,
        first.url,
        first.duration_s,
        first.duty * 100.0,
        curve.limit_ms
    );
    format!("<p>{}</p>\n", escape(&text))
}

/// One chart for each quantity that was measured at all.
fn panels(curve: &Curve) -> Vec<Panel> {
    let all = [latency(curve), words(curve), losses(curve), processor(curve)];
    all.into_iter().filter(|panel| panel.lines.iter().any(|line| !line.points.is_empty())).collect()
}

fn latency(curve: &Curve) -> Panel {
    let of = |of: fn(&Quantiles) -> f64| {
        move |report: &LoadReport| report.final_latency_ms.as_ref().map(of).filter(|ms| *ms > 0.0)
    };
    let lines = vec![
        line(curve, "p50", 0, of(|quantiles| quantiles.p50)),
        line(curve, "p95", 1, of(|quantiles| quantiles.p95)),
        line(curve, "p99", 2, of(|quantiles| quantiles.p99)),
    ];
    Panel {
        limit: Some(curve.limit_ms),
        ..panel(curve, "Final latency", "milliseconds", Scale::Logarithmic, lines)
    }
}

fn words(curve: &Curve) -> Panel {
    let wer = line(curve, "word error", 0, |report| report.wer.map(|wer| wer * 100.0));
    panel(curve, "Word error", "percent of words", Scale::Linear { finest: 0.1 }, vec![wer])
}

fn losses(curve: &Curve) -> Panel {
    let lines = vec![
        line(curve, "lost utterances", 1, |report| Some(report.lost_utterances as f64)),
        line(curve, "errors and rejections", 2, |report| {
            Some((report.errors.values().sum::<u64>() + report.rejected) as f64)
        }),
    ];
    panel(curve, "Losses and errors", "number", Scale::Linear { finest: 1.0 }, lines)
}

fn processor(curve: &Curve) -> Panel {
    let lines = vec![line(curve, "server", 0, cpu_percent)];
    panel(curve, "Processor", "percent of one core", Scale::Linear { finest: 1.0 }, lines)
}

fn panel(curve: &Curve, title: &'static str, unit: &'static str, scale: Scale, lines: Vec<Line>) -> Panel {
    Panel { title, unit, scale, lines, limit: None, knee: curve.knee }
}

/// One value of every load that has it.
fn line(curve: &Curve, name: &'static str, color: usize, value: impl Fn(&LoadReport) -> Option<f64>) -> Line {
    let point = |report: &LoadReport| {
        let value = value(report).filter(|value| value.is_finite())?;
        Some((report.clients, value, curve.verdict(report) == Verdict::Passed))
    };
    Line { name, color, points: curve.points.iter().filter_map(point).collect() }
}

/// A chart with its title and its legend, which stands outside so that it covers no line.
fn figure(panel: &Panel) -> String {
    let mut legend = String::new();
    for Line { name, color, .. } in &panel.lines {
        let _ = write!(legend, "<li><i class=\"line color-{color}\"></i>{name}</li>");
    }
    if panel.limit.is_some() {
        legend += "<li><i class=\"dashes color-limit\"></i>limit</li>";
    }
    if panel.knee.is_some() {
        legend += "<li><i class=\"dashes color-knee\"></i>knee</li>";
    }
    legend += "<li><i class=\"hollow\"></i>did not pass</li>";
    let (title, chart) = (panel.title, panel.svg());
    format!("<figure>\n<figcaption>{title}<ul>{legend}</ul></figcaption>\n{chart}</figure>\n")
}

fn table(curve: &Curve) -> String {
    let heads = each_in("<th scope=\"col\">", "</th>", &COLUMNS.map(String::from));
    let mut rows = String::new();
    for report in &curve.points {
        let class = if curve.knee == Some(report.clients) { " class=\"knee\"" } else { "" };
        let [people, cells @ ..] = curve.row(report).map(|cell| escape(&cell));
        let cells = each_in("<td>", "</td>", &cells);
        let _ = writeln!(rows, "<tr{class}><th scope=\"row\">{people}</th>{cells}</tr>");
    }
    format!(
        "<div class=\"table\" tabindex=\"0\" role=\"region\" aria-label=\"All figures\">\n<table>\n\
         <caption>All figures</caption>\n<thead><tr>{heads}</tr></thead>\n<tbody>\n{rows}</tbody>\n</table>\n</div>\n"
    )
}

/// Every text between these tags.
fn each_in(open: &str, close: &str, texts: &[String]) -> String {
    texts.iter().flat_map(|text| [open, text, close]).collect()
}

/// Text as it may stand in HTML, between tags and in quoted attributes.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped += "&amp;",
            '<' => escaped += "&lt;",
            '>' => escaped += "&gt;",
            '"' => escaped += "&quot;",
            '\'' => escaped += "&#39;",
            other => escaped.push(other),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::super::knee::curves::{curve, point};
    use super::*;

    fn measured() -> Curve {
        let points =
            [(4, 180.0), (8, 190.0), (16, 240.0), (24, 600.0), (28, 980.0), (29, 1_300.0), (32, 9_000.0)];
        let point = |(n, p95): (u32, f64)| {
            let mut point = point(n, p95);
            (point.protocol, point.url, point.duty) =
                ("realtime".into(), "http://127.0.0.1:8080".into(), 0.4);
            point.wer = Some(0.07 + f64::from(n) / 5_000.0);
            point.server.cpu_seconds = Some(f64::from(n) * 3.0);
            if n > 28 {
                point.errors.insert("<script>".into(), u64::from(n - 28));
            }
            point
        };
        curve(points.map(point).into())
    }

    #[test]
    fn the_page_holds_the_charts_the_table_and_nothing_from_elsewhere() {
        let page = page(&measured(), "Knee");
        assert_eq!(page.matches("<svg ").count(), 4);
        assert_eq!(page.matches("<tr").count(), 8, "a head and seven loads");
        assert!(page.contains("28 people are served well") && page.contains("class=\"knee\""));
        for foreign in ["<script", "src=", "href=", "@import", "url("] {
            assert!(!page.contains(foreign), "{foreign}");
        }
        let remote = page.replace("http://127.0.0.1:8080", "").replace("http://www.w3.org/2000/svg", "");
        assert!(!remote.contains("http"));
    }

    #[test]
    fn what_comes_from_outside_is_escaped() {
        let mut curve = measured();
        curve.points[0].url = "http://x/<img onerror='1'>&\"".into();
        let page = page(&curve, "</title><script>alert(1)</script>");
        assert!(page.contains("&lt;/title&gt;&lt;script&gt;alert(1)"));
        assert!(page.contains("http://x/&lt;img onerror=&#39;1&#39;&gt;&amp;&quot;"));
        assert!(page.contains("&lt;script&gt;; p95"), "the code of an error is from the server");
        assert!(!page.contains("<script") && !page.contains("<img"));
    }

    #[test]
    fn every_chart_can_be_read_aloud() {
        let page = page(&measured(), "Knee");
        assert_eq!(page.matches("role=\"img\"").count(), 4);
        assert!(
            page.contains(
                "aria-label=\"Final latency in milliseconds by number of people: p50 90 to 4,500, p95"
            ),
            "{page}"
        );
    }

    #[test]
    fn what_was_not_measured_has_no_chart() {
        let bare = page(&curve(vec![point(4, 100.0)]), "Bare");
        assert_eq!(bare.matches("<svg ").count(), 2, "latency and losses");
        let nothing = page(&curve(Vec::new()), "Nothing");
        assert!(!nothing.contains("<svg") && nothing.contains("did not serve a single person well"));
    }
}
