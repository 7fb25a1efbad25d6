//! What came of one recording: what was found, what was seen, and what was not inspected.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::brief::Thresholds;
use super::line::Glance;
use super::picks::Every;
use super::reading::Told;
use super::thumbnail::Thumbnail;
use crate::finding::{Match, Opinion};

/// Findings of the same kind that are no further apart are told as one.
const APART: Duration = Duration::from_secs(3);

/// What came of a recording, or of all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    /// Everything was inspected, and there is no finding.
    Clear,
    /// There is a finding.
    Findings,
    /// There is no finding, but something was not inspected.
    NotInspected,
}

impl Outcome {
    pub(super) const fn word(self) -> &'static str {
        match self {
            Self::Clear => "clear",
            Self::Findings => "findings",
            Self::NotInspected => "not_inspected",
        }
    }

    /// What several come to: one finding is enough, and so is one thing not inspected where there is none.
    pub(super) fn of(each: impl Iterator<Item = Self>) -> Self {
        let rank = |outcome: &Self| match outcome {
            Self::Clear => 0,
            Self::NotInspected => 1,
            Self::Findings => 2,
        };
        each.max_by_key(rank).unwrap_or(Self::Clear)
    }
}

/// One thing that one picture shows.
#[derive(Debug, Clone)]
pub(super) struct Hit {
    pub(super) at: Duration,
    pub(super) what: What,
    /// Whether it is a finding, or only worth telling.
    pub(super) counts: bool,
    pub(super) thumbnail: Option<Arc<Thumbnail>>,
}

#[derive(Debug, Clone)]
pub(super) enum What {
    Match(Match),
    Score(Score),
}

/// A score above its threshold.
#[derive(Debug, Clone)]
pub(super) struct Score {
    pub(super) model: Arc<str>,
    pub(super) digest: Arc<str>,
    pub(super) calibration: Option<Arc<str>>,
    pub(super) label: Arc<str>,
    pub(super) value: f32,
    pub(super) above: f32,
}

impl What {
    /// What is told together: `bank demo`, `safety nsfl`.
    pub(super) fn key(&self) -> String {
        match self {
            Self::Match(found) => format!("bank {}", found.bank),
            Self::Score(score) => format!("{} {}", score.model, score.label),
        }
    }

    /// How much of it there is, the more the higher: to tell the best of several.
    fn strength(&self) -> i64 {
        match self {
            Self::Match(found) => -i64::from(found.distance),
            Self::Score(score) => (f64::from(score.value) * 1e6) as i64,
        }
    }
}

/// Hits of one kind that follow one another.
#[derive(Debug, Clone)]
pub(super) struct Span {
    pub(super) from: Duration,
    pub(super) to: Duration,
    pub(super) pictures: usize,
    pub(super) best: Hit,
}

/// A part that was not inspected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct NotInspected {
    /// From where to where; none of what has no place in time.
    pub(super) part: Option<(Duration, Duration)>,
    pub(super) reason: String,
}

/// The scores of one label over time, as rules would see them.
pub(super) type Timeline = Vec<(Duration, f32)>;

/// What came of one recording.
#[derive(Debug, Default)]
pub(super) struct Inspection {
    pub(super) shown: String,
    pub(super) sha256: Option<String>,
    pub(super) bytes: u64,
    /// How long it says it is.
    pub(super) duration: Option<Duration>,
    /// When the inspected pictures are.
    pub(super) pictures: Vec<Duration>,
    /// Pictures that show nothing, which no model was asked about.
    pub(super) flat: usize,
    /// Pictures that matched, and a benign bank too.
    pub(super) vetoed: usize,
    pub(super) hits: Vec<Hit>,
    /// By model and label.
    pub(super) scores: BTreeMap<(Arc<str>, Arc<str>), Timeline>,
    pub(super) not_inspected: Vec<NotInspected>,
    /// What is no reason to doubt the outcome.
    pub(super) notes: Vec<String>,
    glances: Vec<Glance>,
    over: bool,
}

impl Told {
    /// The number of the input.
    pub(super) const fn input(&self) -> usize {
        match self {
            Self::Taken { input }
            | Self::Downloaded { input, .. }
            | Self::Begun { input, .. }
            | Self::Length { input, .. }
            | Self::Glance { input, .. }
            | Self::Missed { input, .. }
            | Self::LeftOut { input, .. }
            | Self::Broken { input, .. }
            | Self::Read { input } => *input,
        }
    }
}

impl Inspection {
    /// Of what is shown as `shown`, of which nothing is known yet.
    pub(super) fn of(shown: String) -> Self {
        Self { shown, ..Self::default() }
    }

    /// Whether it was read as far as it goes.
    pub(super) const fn is_over(&self) -> bool {
        self.over
    }

    pub(super) fn hear(&mut self, told: Told) {
        match told {
            Told::Taken { .. } | Told::Downloaded { .. } => {}
            Told::Begun { sha256, bytes, .. } => (self.sha256, self.bytes) = (Some(sha256), bytes),
            Told::Length { duration, .. } => self.duration = Some(duration),
            Told::Glance { glance, .. } => self.glances.push(glance),
            Told::Missed { from, to, reason, .. } => self.missing(Some((from, to)), reason),
            Told::LeftOut { reason, .. } => self.missing(None, reason),
            Told::Broken { reason, .. } => {
                self.over = true;
                self.missing(None, reason);
            }
            Told::Read { .. } => self.over = true,
        }
    }

    fn missing(&mut self, part: Option<(Duration, Duration)>, reason: String) {
        self.not_inspected.push(NotInspected { part, reason });
    }

    /// Once everything was heard: in the order of time, and weighed.
    pub(super) fn settled(mut self, thresholds: &Thresholds, every: Every) -> Self {
        let mut glances = std::mem::take(&mut self.glances);
        glances.sort_by_key(|glance| glance.at);
        for glance in glances {
            self.take(glance, thresholds);
        }
        self.weigh();
        if self.pictures.is_empty() && self.not_inspected.is_empty() {
            self.missing(None, "not a single picture could be inspected".to_owned());
        }
        self.not_inspected.sort_by_key(|missing| missing.part);
        self.join_missing();
        self.note_silence(every);
        self
    }

    fn take(&mut self, glance: Glance, thresholds: &Thresholds) {
        let Glance { at, matches, vetoed, scores, flat, problems, thumbnail } = glance;
        self.pictures.push(at);
        self.flat += usize::from(flat);
        self.vetoed += usize::from(vetoed);
        for problem in problems {
            self.missing(Some((at, at)), problem);
        }
        for found in matches {
            let thumbnail = thumbnail.clone();
            self.hits.push(Hit { at, what: What::Match(found), counts: true, thumbnail });
        }
        for scores in scores {
            for (label, value, above) in thresholds.exceeded(&scores) {
                let score = Score {
                    model: Arc::clone(&scores.model),
                    digest: Arc::clone(&scores.digest),
                    calibration: scores.calibration.clone(),
                    label,
                    value,
                    above,
                };
                self.hits.push(Hit { at, what: What::Score(score), counts: true, thumbnail: thumbnail.clone() });
            }
            for (label, score) in scores.scores {
                self.scores.entry((Arc::clone(&scores.model), label)).or_default().push((at, score));
            }
        }
    }

    /// A match counts once as many pictures match its bank as that asks for, and its signal is not known to be a mistake.
    fn weigh(&mut self) {
        let mut pictures: BTreeMap<Arc<str>, Vec<Duration>> = BTreeMap::new();
        let vouched = |found: &Match| found.counts_as() != Opinion::Negative;
        for hit in &self.hits {
            if let What::Match(found) = &hit.what
                && vouched(found)
            {
                let of_bank = pictures.entry(Arc::clone(&found.bank)).or_default();
                if of_bank.last() != Some(&hit.at) {
                    of_bank.push(hit.at);
                }
            }
        }
        for hit in &mut self.hits {
            if let What::Match(found) = &hit.what {
                let enough = pictures.get(&found.bank).is_some_and(|seen| seen.len() >= found.quorum as usize);
                hit.counts = enough && vouched(found);
            }
        }
    }

    /// Makes one of parts that follow one another for the same reason.
    fn join_missing(&mut self) {
        let mut joined: Vec<NotInspected> = Vec::new();
        for missing in self.not_inspected.drain(..) {
            match (joined.last_mut().filter(|last| last.reason == missing.reason), missing.part) {
                (Some(NotInspected { part: Some((_, to)), .. }), Some((from, end))) if from <= *to + APART => {
                    *to = end.max(*to);
                }
                _ => joined.push(missing),
            }
        }
        self.not_inspected = joined;
    }

    /// Where the recording has no pictures there was nothing to inspect, and somebody may wonder.
    fn note_silence(&mut self, every: Every) {
        let span = match every {
            Every::Frame => APART,
            Every::Span(span) => span.max(APART) * 2,
        };
        let missing = |from: Duration| {
            self.not_inspected
                .iter()
                .any(|missing| missing.part.is_some_and(|(begin, end)| begin <= from + span && from <= end))
        };
        let ends = self.duration.filter(|_| !self.pictures.is_empty());
        let pairs = self.pictures.iter().zip(self.pictures.iter().skip(1).chain(ends.iter()));
        let silent = pairs.filter(|(from, to)| to.saturating_sub(**from) > span && !missing(**from));
        let notes: Vec<String> =
            silent.map(|(from, to)| format!("there is no picture from {} to {}", time(*from), time(*to))).collect();
        self.notes.extend(notes);
    }

    pub(super) fn outcome(&self) -> Outcome {
        match (self.hits.iter().any(|hit| hit.counts), self.not_inspected.is_empty()) {
            (true, _) => Outcome::Findings,
            (false, true) => Outcome::Clear,
            (false, false) => Outcome::NotInspected,
        }
    }

    /// The findings, those of one kind that follow one another made one, in the order of their beginnings.
    pub(super) fn spans(&self, every: Every) -> Vec<Span> {
        let apart = match every {
            Every::Frame => APART,
            Every::Span(span) => APART.max(span * 3),
        };
        let mut spans: Vec<Span> = Vec::new();
        let mut open: BTreeMap<String, usize> = BTreeMap::new();
        for hit in self.hits.iter().filter(|hit| hit.counts) {
            let key = hit.what.key();
            let follows = |span: &&mut Span| hit.at <= span.to + apart;
            if let Some(span) = open.get(&key).and_then(|at| spans.get_mut(*at)).filter(follows) {
                span.pictures += 1;
                span.to = hit.at;
                if hit.what.strength() > span.best.what.strength() {
                    span.best = hit.clone();
                }
            } else {
                open.insert(key, spans.len());
                spans.push(Span { from: hit.at, to: hit.at, pictures: 1, best: hit.clone() });
            }
        }
        spans
    }

    /// The highest score of each label, and when.
    pub(super) fn highest(&self) -> impl Iterator<Item = (&Arc<str>, &Arc<str>, Duration, f32)> {
        self.scores.iter().filter_map(|((model, label), line)| {
            let (at, score) = line.iter().max_by(|a, b| a.1.total_cmp(&b.1).then(Reverse(a.0).cmp(&Reverse(b.0))))?;
            Some((model, label, *at, *score))
        })
    }
}

/// A place in a recording, for people: `1:02:03.4`.
pub(super) fn time(at: Duration) -> String {
    let tenths = (at.as_millis() + 50) / 100;
    let (seconds, tenth) = (tenths / 10, tenths % 10);
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    if hours > 0 {
        format!("{hours}:{minutes:02}:{seconds:02}.{tenth}")
    } else {
        format!("{minutes}:{seconds:02}.{tenth}")
    }
}
