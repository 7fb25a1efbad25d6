//! The report as one page with charts that loads nothing: it can be kept, sent and printed.

use std::fmt::{Arguments, Write};

use super::report::{Positive, Report, Threshold};
use crate::eval::{Axis, Chart, Line};

/// A page of `reports`, with what was left out of them and what they do not say.
pub(super) fn page(reports: &[Report], left_out: &[String], unmeasured: &str) -> String {
    let mut html = String::from(
        "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n<title>Sluicegate: what models say</title>\n<style>\n\
         :root { color-scheme: light dark; font-family: system-ui, sans-serif; line-height: 1.4 }\n\
         body { max-width: 64rem; margin: 2rem auto; padding: 0 1rem }\n\
         .charts { display: flex; flex-wrap: wrap; gap: 1rem }\n\
         svg { max-width: 100%; height: auto }\n\
         pre { overflow-x: auto }\n\
         .note { border-left: 4px solid #d55e00; padding-left: .8rem }\n\
         </style>\n<h1>What models say of this material</h1>\n",
    );
    put(&mut html, format_args!("<p class=\"note\">{}</p>\n", escaped(unmeasured)));
    for report in reports {
        let charts: String = charts(report).iter().map(Chart::svg).collect();
        put(
            &mut html,
            format_args!(
                "<h2>{}: {}</h2>\n<div class=\"charts\">\n{charts}</div>\n<pre>{}</pre>\n",
                escaped(&report.model),
                escaped(&report.label),
                escaped(&report.text())
            ),
        );
    }
    if !left_out.is_empty() {
        html.push_str("<h2>Left out</h2>\n<ul>\n");
        for what in left_out {
            put(&mut html, format_args!("<li>{}</li>\n", escaped(what)));
        }
        html.push_str("</ul>\n");
    }
    html.push_str("</html>\n");
    html
}

/// Growing a string cannot fail.
fn put(html: &mut String, what: Arguments<'_>) {
    html.write_fmt(what).ok();
}

fn charts(report: &Report) -> Vec<Chart> {
    let mut charts = vec![histogram(report)];
    charts.extend(alarms(report));
    charts.extend(report.positive.as_ref().map(precision));
    charts
}

fn unit(label: &str) -> Axis {
    Axis { label: label.to_owned(), from: 0.0, to: 1.0 }
}

/// On a logarithmic scale, for what matters is the few that score high.
fn histogram(report: &Report) -> Chart {
    let log = |count: usize| (count as f64 + 1.0).log10();
    let mut points = vec![(0.0, 0.0)];
    let width = 1.0 / report.histogram.len().max(1) as f64;
    for (n, count) in report.histogram.iter().enumerate() {
        let from = n as f64 * width;
        points.extend([(from, log(*count)), (from + width, log(*count))]);
    }
    points.push((1.0, 0.0));
    let most = report.histogram.iter().copied().max().unwrap_or_default();
    Chart {
        title: "Scores of benign pictures".to_owned(),
        x: unit("score"),
        y: Axis { label: "log10 of pictures + 1".to_owned(), from: 0.0, to: log(most).max(1.0) },
        lines: vec![Line { label: format!("{} pictures", report.pictures), points }],
    }
}

/// None without videos.
fn alarms(report: &Report) -> Option<Chart> {
    let line = |label: &str, of: fn(&Threshold) -> Option<f64>| {
        let points: Option<Vec<(f64, f64)>> =
            report.thresholds.iter().map(|one| of(one).map(|rate| (one.from, rate))).collect();
        points.map(|points| Line { label: label.to_owned(), points })
    };
    let lines = vec![
        line("counted", |one| one.alarms_per_hour)?,
        line("at most, at a confidence of 95 %", |one| one.alarms_per_hour_at_most)?,
    ];
    let most = lines.iter().flat_map(|line| &line.points).map(|(_, rate)| *rate).fold(1.0, f64::max);
    Some(Chart {
        title: format!("False alarms, from {:.3} hours of video", report.video_hours),
        x: unit("threshold"),
        y: Axis { label: "per stream-hour".to_owned(), from: 0.0, to: most },
        lines,
    })
}

fn precision(positive: &Positive) -> Chart {
    Chart {
        title: "Precision and recall, in this mixture".to_owned(),
        x: unit("recall"),
        y: unit("precision"),
        lines: vec![Line { label: format!("{} positive pictures", positive.pictures), points: positive.curve.clone() }],
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::super::report::Benign;
    use super::*;
    use crate::cli::model::material::Place;
    use std::time::Duration;

    #[test]
    fn the_page_has_its_charts_and_loads_nothing() {
        let place = |second: u64| Place { file: 0, at: Some(Duration::from_secs(second)) };
        let scored = (0..5).map(|n| (place(2 * n), 0.1)).collect();
        let benign = Benign::new(scored, &[(0, Duration::from_secs(10))]);
        let with = Report::new("safety", "nsfl", &benign, &[(place(0), 0.9)]);
        let without = Report::new("other", "x", &Benign::new(vec![(Place { file: 0, at: None }, 0.2)], &[]), &[]);
        let html = page(&[with, without], &["<b>.png: is empty".to_owned()], "Recall is unmeasured.");
        assert_eq!(html.matches("<svg").count(), 3 + 1);
        assert!(html.contains("Recall is unmeasured.") && html.contains("&lt;b&gt;.png"));
        for loads in ["src=", "href=", "url(", "<script"] {
            assert!(!html.contains(loads), "{loads}");
        }
    }
}
