//! What is told of one label of one model: a histogram, what each threshold does, and how sure that is.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::Serialize;

use crate::cli::model::material::Place;
use crate::cli::table::table;
use crate::eval::{self, Confusion, Judged, Watched};

/// Scores at a threshold that are no further apart are one alarm: what a reviewer looks at once.
const APART: Duration = Duration::from_secs(10);

/// The thresholds that are told of.
const THRESHOLDS: [f64; 14] = [0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.95, 0.98, 0.99];

/// Bars of the histogram.
const BARS: usize = 20;

/// The scores of benign material.
pub(super) struct Benign {
    scores: Vec<f64>,
    stills: usize,
    sources: usize,
    videos: Vec<Watched>,
}

/// What is told of one label of one model.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    pub(super) model: String,
    pub(super) label: String,
    /// Benign pictures that were scored.
    pub(super) pictures: usize,
    pub(super) stills: usize,
    /// Videos and stills that they are from.
    pub(super) sources: usize,
    pub(super) video_hours: f64,
    /// How many benign pictures scored within each twentieth of 0 to 1.
    pub(super) histogram: Vec<usize>,
    /// The highest score of a benign picture.
    pub(super) highest: f64,
    pub(super) thresholds: Vec<Threshold>,
    /// Where there are positive pictures.
    pub(super) positive: Option<Positive>,
}

/// What one threshold does.
#[derive(Debug, Serialize)]
pub(super) struct Threshold {
    pub(super) from: f64,
    /// Benign pictures at or above it.
    pub(super) above: usize,
    /// The most that their share may be, at a confidence of 95 %, where each video and each still is one thing that was tried.
    pub(super) share_at_most: f64,
    /// False alarms in the videos.
    pub(super) alarms: usize,
    /// Per hour of stream; none without videos.
    pub(super) alarms_per_hour: Option<f64>,
    /// The most that they may be per hour, at a confidence of 95 %.
    pub(super) alarms_per_hour_at_most: Option<f64>,
    /// Of the positive pictures, the share at or above it.
    pub(super) recall: Option<f64>,
    /// Between which shares the true one lies, likewise.
    pub(super) recall_between: Option<(f64, f64)>,
    /// Of what is at or above it, the share that is positive, in the mixture that was given.
    pub(super) precision: Option<f64>,
}

/// How well positive pictures are told from benign ones.
#[derive(Debug, Serialize)]
pub(super) struct Positive {
    pub(super) pictures: usize,
    /// Videos and stills that they are from.
    pub(super) sources: usize,
    pub(super) area_under_curve: Option<f64>,
    pub(super) average_precision: Option<f64>,
    /// Recall and precision at each threshold that makes a difference.
    pub(super) curve: Vec<(f64, f64)>,
}

impl Benign {
    /// Of scored pictures, and of how long each video is.
    pub(super) fn new(scored: Vec<(Place, f64)>, videos: &[(usize, Duration)]) -> Self {
        let lengths = videos.iter().map(|(file, length)| (*file, Watched { length: *length, scores: Vec::new() }));
        let mut watched: BTreeMap<usize, Watched> = lengths.collect();
        let mut stills = 0;
        for (place, score) in &scored {
            match (place.at, watched.get_mut(&place.file)) {
                (Some(at), Some(watched)) => {
                    watched.scores.push((at, *score));
                }
                _ => stills += 1,
            }
        }
        let (videos, sources) = (watched.into_values().collect(), sources(&scored));
        Self { scores: scored.into_iter().map(|(_, score)| score).collect(), stills, sources, videos }
    }

    fn hours(&self) -> f64 {
        // An empty sum of floats is -0.
        self.videos.iter().fold(0.0, |sum, watched| sum + watched.length.as_secs_f64()) / 3600.0
    }

    fn alarms(&self, threshold: f64) -> usize {
        self.videos.iter().map(|watched| eval::alarms(watched, threshold, APART)).sum()
    }
}

/// How many files the pictures are from. Pictures of one video say little more than one of them does.
fn sources(scored: &[(Place, f64)]) -> usize {
    scored.iter().map(|(place, _)| place.file).collect::<BTreeSet<usize>>().len()
}

impl Report {
    pub(super) fn new(model: &str, label: &str, benign: &Benign, positive: &[(Place, f64)]) -> Self {
        let mut histogram = vec![0; BARS];
        for score in &benign.scores {
            if let Some(bar) = histogram.get_mut(((score * BARS as f64) as usize).min(BARS - 1)) {
                *bar += 1;
            }
        }
        let judged: Vec<Judged> = benign
            .scores
            .iter()
            .map(|score| Judged { score: *score, positive: false })
            .chain(positive.iter().map(|(_, score)| Judged { score: *score, positive: true }))
            .collect();
        let hours = benign.hours();
        let of_positive = (!positive.is_empty()).then(|| Positive {
            pictures: positive.len(),
            sources: sources(positive),
            area_under_curve: eval::area(&judged),
            average_precision: eval::average_precision(&judged),
            curve: eval::curve(&judged).iter().map(|point| (point.recall, point.precision)).collect(),
        });
        let threshold = |threshold: f64| {
            let found = Confusion::at(&judged, threshold);
            let alarms = benign.alarms(threshold);
            let share = found.false_alarms as f64 / benign.scores.len().max(1) as f64;
            let recall = found.recall();
            Threshold {
                from: threshold,
                above: found.false_alarms,
                share_at_most: eval::between(share, benign.sources).1,
                alarms,
                alarms_per_hour: (hours > 0.0).then(|| alarms as f64 / hours),
                alarms_per_hour_at_most: (hours > 0.0).then(|| eval::at_most(alarms) / hours),
                recall,
                recall_between: of_positive.as_ref().zip(recall).map(|(of, recall)| eval::between(recall, of.sources)),
                precision: of_positive.as_ref().and_then(|_| found.precision()),
            }
        };
        Self {
            model: model.to_owned(),
            label: label.to_owned(),
            pictures: benign.scores.len(),
            stills: benign.stills,
            sources: benign.sources,
            video_hours: hours,
            histogram,
            highest: benign.scores.iter().copied().fold(0.0, f64::max),
            thresholds: THRESHOLDS.map(threshold).into(),
            positive: of_positive,
        }
    }

    /// In a line: what was looked at.
    pub(super) fn basis(&self) -> String {
        let positive =
            self.positive.as_ref().map_or(String::new(), |of| format!(", {} positive pictures", of.pictures));
        format!(
            "{} benign pictures: {} stills and {} of {:.3} hours of video{positive}; the highest benign score is {:.3}",
            self.pictures,
            self.stills,
            self.pictures - self.stills,
            self.video_hours,
            self.highest
        )
    }

    /// For people.
    pub(super) fn text(&self) -> String {
        let mut lines = vec![format!("{} · {}", self.model, self.label), self.basis(), String::new()];
        lines.extend(self.bars());
        lines.push(String::new());
        lines.push(self.table());
        let positive = self.positive.as_ref().map_or(String::new(), |of| format!(", and {} for recall", of.sources));
        lines.push(format!(
            "what a share may really be is reckoned from {} videos and stills{positive}: pictures of one video say little \
             more than one of them does",
            self.sources
        ));
        if let Some(Positive { area_under_curve, average_precision, .. }) = &self.positive {
            let shown = |value: &Option<f64>| value.map_or("none".to_owned(), |value| format!("{value:.3}"));
            lines.push(String::new());
            lines.push(format!(
                "area under the curve {}, average precision {}",
                shown(area_under_curve),
                shown(average_precision)
            ));
        }
        lines.join("\n")
    }

    fn bars(&self) -> impl Iterator<Item = String> {
        const WIDEST: f64 = 40.0;
        let most = self.histogram.iter().copied().max().unwrap_or_default().max(1) as f64;
        self.histogram.iter().enumerate().filter(|(_, count)| **count > 0).map(move |(n, count)| {
            let (from, to) = (n as f64 / BARS as f64, (n + 1) as f64 / BARS as f64);
            // What is there at all can be seen.
            let wide = (*count as f64 / most * WIDEST).ceil() as usize;
            format!("{from:.2}-{to:.2}  {}  {count}", "#".repeat(wide))
        })
    }

    fn table(&self) -> String {
        let common = |one: &Threshold| {
            let per_hour = match (one.alarms_per_hour, one.alarms_per_hour_at_most) {
                (Some(rate), Some(most)) => format!("{rate:.1} (at most {most:.1})"),
                _ => "no video".to_owned(),
            };
            let benign = format!("{} of {} (at most {:.1} %)", one.above, self.pictures, 100.0 * one.share_at_most);
            [format!("{:.2}", one.from), benign, one.alarms.to_string(), per_hour]
        };
        if self.positive.is_none() {
            let rows = changing(self.thresholds.iter().map(common));
            return table(["FROM", "BENIGN PICTURES", "ALARMS", "PER STREAM-HOUR"], &rows, "");
        }
        let with_recall = |one: &Threshold| {
            let [from, benign, alarms, per_hour] = common(one);
            let (low, high) = one.recall_between.unwrap_or((0.0, 1.0));
            let recall = format!("{:.2} ({low:.2} to {high:.2})", one.recall.unwrap_or_default());
            let precision = one.precision.map_or("none above".to_owned(), |precision| format!("{precision:.2}"));
            [from, benign, alarms, per_hour, recall, precision]
        };
        let rows = changing(self.thresholds.iter().map(with_recall));
        table(["FROM", "BENIGN PICTURES", "ALARMS", "PER STREAM-HOUR", "RECALL", "PRECISION HERE"], &rows, "")
    }
}

/// The rows that say something else than the one before them, apart from their first cell.
fn changing<const N: usize>(rows: impl Iterator<Item = [String; N]>) -> Vec<[String; N]> {
    let mut kept: Vec<[String; N]> = Vec::new();
    for row in rows {
        if kept.last().is_none_or(|last| last.iter().skip(1).ne(row.iter().skip(1))) {
            kept.push(row);
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    fn video(file: usize, second: u64, score: f64) -> (Place, f64) {
        (Place { file, at: Some(Duration::from_secs(second)) }, score)
    }

    fn report(positive: &[(Place, f64)]) -> Report {
        let mut scored = vec![(Place { file: 9, at: None }, 0.62)];
        // An hour of one video in which half a minute looks bad, and one that is fine.
        scored.extend((0..1800).map(|n| video(0, 2 * n, if (100..115).contains(&n) { 0.91 } else { 0.03 })));
        scored.extend((0..900).map(|n| video(1, 2 * n, 0.04)));
        let videos = [(0, Duration::from_hours(1)), (1, Duration::from_mins(30))];
        let benign = Benign::new(scored, &videos);
        Report::new("safety", "nsfl", &benign, positive)
    }

    fn at(report: &Report, threshold: f64) -> &Threshold {
        report.thresholds.iter().find(|one| (one.from - threshold).abs() < 1e-9).unwrap()
    }

    #[test]
    fn false_alarms_are_counted_per_hour_of_video_and_stills_are_no_time() {
        let report = report(&[]);
        assert_eq!((report.pictures, report.stills), (2701, 1));
        assert!((report.video_hours - 1.5).abs() < 1e-9);
        let low = at(&report, 0.6);
        assert_eq!((low.above, low.alarms), (16, 1), "fifteen pictures one after another are one alarm");
        assert!((low.alarms_per_hour.unwrap() - 2.0 / 3.0).abs() < 1e-9);
        let high = at(&report, 0.95);
        assert_eq!((high.above, high.alarms, high.alarms_per_hour), (0, 0, Some(0.0)));
        assert!((high.alarms_per_hour_at_most.unwrap() - 2.0).abs() < 0.01, "none in 1.5 hours may be two an hour");
        assert!(
            (high.share_at_most - 0.5615).abs() < 1e-3,
            "two videos and a still say little: {}",
            high.share_at_most
        );
        let text = report.text();
        for part in ["safety · nsfl", "0.00-0.05  ####", "0.0 (at most 2.0)", "1 stills and 2700 of 1.500 hours"] {
            assert!(text.contains(part), "`{part}` is not in: {text}");
        }
        assert!(text.contains("from 3 videos and stills:") && !text.contains("RECALL"), "{text}");
        let firsts = text.lines().filter_map(|line| Some(line.split_once("  ")?.0));
        let from: Vec<&str> = firsts.filter(|first| first.parse::<f64>().is_ok()).collect();
        assert_eq!(from, ["0.05", "0.70", "0.95"], "a threshold that changes nothing is not told: {text}");
    }

    #[test]
    fn positive_pictures_give_recall_with_how_sure_it_is() {
        let stills: Vec<(Place, f64)> = [0.99, 0.97, 0.5, 0.02]
            .iter()
            .enumerate()
            .map(|(file, score)| (Place { file, at: None }, *score))
            .collect();
        let report = report(&stills);
        let high = at(&report, 0.95);
        assert_eq!((high.recall, high.precision), (Some(0.5), Some(1.0)));
        let (low, up) = high.recall_between.unwrap();
        assert!(low < 0.2 && up > 0.8, "four pictures say little: {low} {up}");
        let text = report.text();
        assert!(text.contains("0.50 (0.15 to 0.85)") && text.contains("average precision"), "{text}");
    }

    #[test]
    fn a_thousand_pictures_of_four_videos_say_no_more_than_four() {
        let videos: Vec<(Place, f64)> =
            (0..1000).map(|n| video(n % 4, n as u64, if n % 4 < 2 { 0.99 } else { 0.02 })).collect();
        let report = report(&videos);
        let text = report.text();
        assert!(text.contains("0.50 (0.15 to 0.85)") && text.contains("and 4 for recall"), "{text}");
    }
}
