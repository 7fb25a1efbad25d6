//! The report: one page that loads nothing and runs nothing, so that it can be kept, sent and opened anywhere.
//!
//! Names in it come from strangers and are text wherever they stand. Pictures are in it as 16x9 colours only.

use std::fmt::{Arguments, Write as _};
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use tempfile::Builder;

use super::input::Input;
use super::inspection::{Hit, Inspection, Outcome, Timeline, What, time};
use super::picks::Every;
use super::say::{Told, describe};
use super::thumbnail::Thumbnail;
use crate::cli::table::harmless;
use crate::eval::{Axis, Chart, Line};

/// A line of a chart has at most so many points: the highest of each stretch.
const POINTS: usize = 1000;

/// A recording lists at most so many hits one by one.
const LISTED: usize = 5000;

/// Nothing is loaded, whatever a name may have got into the page.
const POLICY: &str =
    "default-src 'none'; img-src data:; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'";

const STYLE: &str = ":root { color-scheme: light dark; font-family: system-ui, sans-serif; line-height: 1.4 }
body { max-width: 64rem; margin: 2rem auto; padding: 0 1rem }
svg { max-width: 100%; height: auto }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums }
th, td { text-align: left; vertical-align: top; padding: .3rem .8rem .3rem 0; border-bottom: 1px solid #8886 }
td img { width: 128px; height: 72px; filter: blur(3px); clip-path: inset(0) }
.hash { overflow-wrap: anywhere; font-family: ui-monospace, monospace; font-size: .85em }
.findings { border-left: 4px solid #d55e00; padding-left: .8rem }
.not_inspected { border-left: 4px solid #e69f00; padding-left: .8rem }
.clear { border-left: 4px solid #009e73; padding-left: .8rem }
";

/// Refuses a place that the report cannot or should not be written to, before time is spent.
///
/// # Errors
/// When its folder is missing, it is a folder, or it is one of the recordings.
pub(super) fn expect_place(path: &Path, inputs: &[Input]) -> anyhow::Result<()> {
    let shown = path.display();
    if path.is_dir() {
        bail!("{shown} is a folder: name a file for --report");
    }
    if !folder(path).is_dir() {
        bail!("there is no folder {} to write the report to: create it first", folder(path).display());
    }
    let same = |file: &Path| {
        fs::canonicalize(file).ok().is_some_and(|file| fs::canonicalize(path).is_ok_and(|path| path == file))
    };
    if inputs.iter().filter_map(Input::file).any(same) {
        bail!("{shown} is one of the recordings: name another file for --report");
    }
    Ok(())
}

fn folder(path: &Path) -> PathBuf {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder.to_owned(),
        _ => PathBuf::from("."),
    }
}

/// Writes the report to `path`: all of it, or nothing.
///
/// # Errors
/// When it cannot be written there; an earlier file is then as it was.
pub(super) fn write(path: &Path, told: &Told<'_>) -> anyhow::Result<()> {
    let unwritable = || format!("cannot write the report {}: check the folder's permissions and room", path.display());
    // As any other file that is written for people, not for their owner alone as temporary files are.
    let readable = fs::Permissions::from_mode(0o666);
    let mut file = Builder::new().permissions(readable).tempfile_in(folder(path)).with_context(unwritable)?;
    file.write_all(page(told).as_bytes()).with_context(unwritable)?;
    file.as_file().sync_all().with_context(unwritable)?;
    file.persist(path).with_context(unwritable)?;
    Ok(())
}

fn page(told: &Told<'_>) -> String {
    let mut html = format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\"/>\n<meta http-equiv=\"Content-Security-Policy\" \
         content=\"{POLICY}\"/>\n<title>Sluicegate: what recordings show</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n\
         <h1>What recordings show</h1>\n"
    );
    summary(&mut html, told);
    for one in told.inspections {
        recording(&mut html, told, one);
    }
    html.push_str("</body>\n</html>\n");
    html
}

/// Growing a string cannot fail.
fn put(html: &mut String, what: Arguments<'_>) {
    html.write_fmt(what).ok();
}

fn summary(html: &mut String, told: &Told<'_>) {
    let outcome = told.outcome();
    let words = match outcome {
        Outcome::Clear => "Everything was inspected, and there is no finding.",
        Outcome::Findings => "There are findings.",
        Outcome::NotInspected => "There is no finding, but something could not be inspected.",
    };
    put(html, format_args!("<p class=\"{}\">{words}</p>\n", outcome.word()));
    let every = match told.every {
        Every::Frame => "every picture".to_owned(),
        Every::Span(span) => format!("one picture in {} s, give or take a quarter", span.as_secs_f64()),
    };
    put(
        html,
        format_args!(
            "<p>{} recordings, {}; inspected from {} on, in {:.1} s, by Sluicegate {}. Nothing here is a sharp picture.</p>\n",
            told.inspections.len(),
            escaped(&every),
            told.started,
            told.spent.as_secs_f64(),
            env!("CARGO_PKG_VERSION")
        ),
    );
    html.push_str("<h2>Looked for</h2>\n<table>\n<tr><th>What</th><th>Version</th><th>Of it</th></tr>\n");
    for bank in &told.brief.banks {
        put(
            html,
            format_args!(
                "<tr><td>bank {} ({})</td><td>revision {}</td><td>{} signals</td></tr>\n",
                escaped(&bank.name),
                bank.kind,
                bank.revision,
                bank.signals
            ),
        );
    }
    for (model, digest) in &told.brief.scorers {
        let thresholds = told.inspections.iter().flat_map(|one| one.scores.keys()).filter(|(of, _)| of == model);
        let mut labels: Vec<String> = thresholds
            .map(|(model, label)| match told.brief.thresholds.above(model, label) {
                Some(above) => format!("{label} above {above}"),
                None => format!("{label} (no threshold)"),
            })
            .collect();
        labels.sort();
        labels.dedup();
        put(
            html,
            format_args!(
                "<tr><td>model {}</td><td class=\"hash\">sha256 {}</td><td>{}</td></tr>\n",
                escaped(model),
                escaped(digest),
                escaped(&labels.join(", "))
            ),
        );
    }
    html.push_str("</table>\n");
    list(html, told.brief.notes.iter().map(String::as_str));
}

fn list<'a>(html: &mut String, lines: impl Iterator<Item = &'a str>) {
    let items: Vec<String> = lines.map(|line| format!("<li>{}</li>\n", escaped(line))).collect();
    if !items.is_empty() {
        put(html, format_args!("<ul>\n{}</ul>\n", items.concat()));
    }
}

fn recording(html: &mut String, told: &Told<'_>, one: &Inspection) {
    put(html, format_args!("<h2><bdi>{}</bdi></h2>\n", escaped(&one.shown)));
    let length = one.duration.map_or("of unknown length".to_owned(), |duration| format!("{} long", time(duration)));
    let sha256 = one.sha256.as_deref().unwrap_or("unknown");
    put(
        html,
        format_args!(
            "<p class=\"{}\">{}: {} pictures inspected, {} of them show nothing, {} vetoed by a benign bank; {} bytes, \
             {length}.<br/><span class=\"hash\">sha256 {sha256}</span></p>\n",
            one.outcome().word(),
            one.outcome().word().replace('_', " "),
            one.pictures.len(),
            one.flat,
            one.vetoed,
            one.bytes
        ),
    );
    let missing = one.not_inspected.iter().map(|missing| {
        let part = missing.part.map_or("It".to_owned(), |(from, to)| format!("From {} to {}", time(from), time(to)));
        format!("{part} was not inspected: {}", harmless(&missing.reason))
    });
    let missing: Vec<String> = missing.chain(one.notes.iter().cloned()).collect();
    list(html, missing.iter().map(String::as_str));
    html.push_str(&strip(one));
    for chart in charts(one) {
        html.push_str(&chart.svg());
    }
    spans(html, told, one);
    hits(html, one);
}

fn spans(html: &mut String, told: &Told<'_>, one: &Inspection) {
    let spans = one.spans(told.every);
    if spans.is_empty() {
        return;
    }
    html.push_str("<table>\n<tr><th></th><th>From</th><th>To</th><th>Pictures</th><th>Found</th><th>Best</th></tr>\n");
    for span in spans {
        put(
            html,
            format_args!(
                "<tr><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td></tr>\n",
                image(span.best.thumbnail.as_ref()),
                time(span.from),
                time(span.to),
                span.pictures,
                escaped(&span.best.what.key()),
                escaped(&describe(&span.best.what))
            ),
        );
    }
    html.push_str("</table>\n");
}

/// Every hit by itself, those that are no evidence too.
fn hits(html: &mut String, one: &Inspection) {
    if one.hits.is_empty() {
        return;
    }
    put(
        html,
        format_args!(
            "<details><summary>All {} of them</summary>\n<table>\n<tr><th></th><th>At</th><th>Found</th><th>What</th>\
             <th>Quality</th><th>Version</th><th>Counts</th></tr>\n",
            one.hits.len()
        ),
    );
    for Hit { at, what, counts, thumbnail } in one.hits.iter().take(LISTED) {
        let (quality, version) = match what {
            What::Match(found) => (found.quality.to_string(), format!("revision {}", found.bank_revision)),
            What::Score(score) => (String::new(), format!("sha256 {}", score.digest)),
        };
        put(
            html,
            format_args!(
                "<tr><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{quality}</td><td class=\"hash\">{}</td><td>{}</td></tr>\n",
                image(thumbnail.as_ref()),
                time(*at),
                escaped(&what.key()),
                escaped(&describe(what)),
                escaped(&version),
                if *counts { "yes" } else { "no" }
            ),
        );
    }
    html.push_str("</table>\n");
    if one.hits.len() > LISTED {
        put(html, format_args!("<p>{LISTED} of them are listed: --json has all.</p>\n"));
    }
    html.push_str("</details>\n");
}

fn image(thumbnail: Option<&Arc<Thumbnail>>) -> String {
    let address = thumbnail.and_then(|thumbnail| thumbnail.address());
    address.map_or(String::new(), |address| format!("<img alt=\"blurred\" src=\"{address}\"/>"))
}

/// Where the recording was inspected, what was not, and where it matches.
fn strip(one: &Inspection) -> String {
    const WIDTH: f64 = 960.0;
    let last = one.pictures.last().copied().unwrap_or_default();
    let ends = one.not_inspected.iter().filter_map(|missing| missing.part.map(|(_, to)| to));
    let end = ends.chain(one.duration).fold(last, Duration::max).as_secs_f64().max(0.001);
    let x = |at: Duration| at.as_secs_f64() / end * WIDTH;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} 62\" width=\"{WIDTH}\" height=\"62\" role=\"img\" \
         aria-label=\"What was inspected and what was found over time\" font-family=\"system-ui, sans-serif\" \
         font-size=\"11\" fill=\"currentColor\">\n<rect y=\"8\" width=\"{WIDTH}\" height=\"30\" fill-opacity=\".08\"/>\n"
    );
    // More ticks than there is room for are one line.
    let mut drawn = f64::MIN;
    for at in &one.pictures {
        if x(*at) - drawn >= 1.0 {
            drawn = x(*at);
            put(
                &mut svg,
                format_args!("<path d=\"M{drawn:.1} 30v8\" stroke=\"currentColor\" stroke-opacity=\".4\"/>\n"),
            );
        }
    }
    for (from, to) in one.not_inspected.iter().filter_map(|missing| missing.part) {
        let (from, wide) = (x(from), (x(to) - x(from)).max(2.0));
        put(
            &mut svg,
            format_args!("<rect x=\"{from:.1}\" y=\"8\" width=\"{wide:.1}\" height=\"30\" fill=\"#e69f00\"/>\n"),
        );
    }
    let mut drawn = f64::MIN;
    for hit in one.hits.iter().filter(|hit| hit.counts) {
        if x(hit.at) - drawn >= 1.0 {
            drawn = x(hit.at);
            put(&mut svg, format_args!("<path d=\"M{drawn:.1} 8v22\" stroke=\"#d55e00\" stroke-width=\"2\"/>\n"));
        }
    }
    put(
        &mut svg,
        format_args!(
            "<text y=\"54\">0:00.0</text><text x=\"{:.0}\" y=\"54\" text-anchor=\"middle\">grey: inspected, red: a finding, \
             orange: not inspected</text><text x=\"{WIDTH}\" y=\"54\" text-anchor=\"end\">{}</text>\n</svg>\n",
            WIDTH / 2.0,
            time(Duration::from_secs_f64(end))
        ),
    );
    svg
}

/// One chart a model, of its labels over time.
fn charts(one: &Inspection) -> Vec<Chart> {
    let mut charts: Vec<Chart> = Vec::new();
    let last = one.pictures.last().copied().unwrap_or_default();
    let end = one.duration.map_or(last, |duration| duration.max(last)).as_secs_f64().max(0.001);
    for ((model, label), timeline) in &one.scores {
        let line = Line { label: label.to_string(), points: thinned(timeline) };
        match charts.last_mut().filter(|chart| chart.title == **model) {
            Some(chart) => chart.lines.push(line),
            None => charts.push(Chart {
                title: model.to_string(),
                x: Axis { label: "seconds".to_owned(), from: 0.0, to: end },
                y: Axis { label: "score".to_owned(), from: 0.0, to: 1.0 },
                lines: vec![line],
            }),
        }
    }
    charts
}

/// As many points as can be seen: a peak stays, however short it is.
fn thinned(timeline: &Timeline) -> Vec<(f64, f64)> {
    let stretch = timeline.len().div_ceil(POINTS).max(1);
    let highest = timeline.chunks(stretch).filter_map(|part| part.iter().max_by(|a, b| a.1.total_cmp(&b.1)));
    highest.map(|(at, score)| (at.as_secs_f64(), f64::from(*score))).collect()
}

/// For text and for attributes in quotes.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            other => escaped.push(other),
        }
    }
    escaped
}
