//! The breaker: stops automatic cuts when there are more of them than can be right, and says whose work they are.
//!
//! One wrong entry in a bank, or a model that has gone astray, can cut every stream of a platform within seconds. So
//! automatic cuts are counted. When there were [`Config::cuts`] of them within [`Config::within`], or when they took more
//! than [`Config::share`] of the live streams, the breaker opens: from then on what would be cut is held, which a person
//! can undo, until an operator closes it or [`Config::close_after`] has passed.
//!
//! A share is reckoned among streams that have been on the air for [`Config::established`]. Those who put known content up
//! again and again are cut within seconds of their start: a storm of copies is no share of anybody's streams, and must not
//! open the breaker on a small platform that it is larger than. Fewer cuts than [`Config::share_from`] are no share that
//! tells anything; where few streams are live, half of them is, from three on.
//!
//! - No more than `cuts` are carried out within `within`, whatever the streams, the rules and the order, and although it
//!   closes by itself; an operator who closes it lets as many more be cut.
//! - It names the rule, the bank and the model that most of the cuts came from.
//! - What an operator decides is neither counted nor stopped.
//! - Memory is bounded: the cuts within one window, of which there are `cuts` at most.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::config::duration;
use crate::finding::{Finding, Observation};

/// `[policy.breaker]`: how many automatic cuts are too many.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Whether there is a breaker at all.
    pub enabled: bool,
    /// After this many automatic cuts within `within` there are no more.
    pub cuts: usize,
    /// The time within which cuts are counted.
    #[serde(with = "duration")]
    pub within: Duration,
    /// The share of the established live streams that may be cut within that time.
    pub share: f64,
    /// How long a stream has been on the air once it is established.
    #[serde(with = "duration")]
    pub established: Duration,
    /// Fewer cuts of established streams than this are no large share, unless they are half of those that are live.
    pub share_from: usize,
    /// How long it stays open by itself; an operator may close it sooner. Left out: until an operator does.
    #[serde(with = "duration::optional", skip_serializing_if = "Option::is_none")]
    pub close_after: Option<Duration>,
}

/// Fewer cuts of established streams than this are never too large a share, however few are live.
const FEWEST: usize = 3;

/// The most cuts that may be allowed within a window: each is remembered.
const MOST: usize = 100_000;

impl Default for Config {
    fn default() -> Self {
        Self {
            enabled: true,
            cuts: 100,
            within: Duration::from_mins(1),
            share: 0.2,
            established: Duration::from_mins(1),
            share_from: 20,
            close_after: None,
        }
    }
}

impl Config {
    /// Each key that makes no sense, with what it must be.
    pub(super) fn problem(&self) -> Option<(&'static str, String)> {
        if !(1..=MOST).contains(&self.cuts) {
            return Some(("cuts", format!("from 1 to {MOST}")));
        }
        if self.within.is_zero() {
            return Some(("within", "longer than zero".to_owned()));
        }
        if !(self.share > 0.0 && self.share <= 1.0) {
            return Some(("share", "above 0, up to 1".to_owned()));
        }
        if self.share_from == 0 {
            return Some(("share_from", "1 or more".to_owned()));
        }
        // Closed sooner, it would let through as many again within the time in which they are counted.
        if self.close_after.is_some_and(|after| after <= self.within) {
            return Some(("close_after", "longer than `within`, or left out".to_owned()));
        }
        None
    }
}

/// An automatic cut or ban, as far as the breaker cares.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cut {
    at: Timestamp,
    on_air: Duration,
    rule: Arc<str>,
    banks: BTreeSet<Arc<str>>,
    models: BTreeSet<Arc<str>>,
}

impl Cut {
    /// A cut at `at`, of a session that was on the air for `on_air`, by `rule`, resting on `evidence`.
    pub fn new(at: Timestamp, on_air: Duration, rule: &Arc<str>, evidence: &[Finding]) -> Self {
        let mut cut = Self { at, on_air, rule: Arc::clone(rule), banks: BTreeSet::new(), models: BTreeSet::new() };
        for finding in evidence {
            match &finding.observation {
                Observation::Match(seen) => cut.banks.insert(Arc::clone(&seen.bank)),
                Observation::Scores(seen) => cut.models.insert(Arc::clone(&seen.model)),
                Observation::State(_) | Observation::Report(_) => false,
            };
        }
        cut
    }
}

/// Which limit was reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Limit {
    /// The number of cuts.
    Cuts,
    /// The share of the live streams.
    Share,
}

/// How many of the cuts came from one rule, bank or model.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Suspect {
    /// Its name.
    pub name: Arc<str>,
    /// Its cuts.
    pub cuts: usize,
}

/// Why the breaker is open, and since when.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Opening {
    /// Since when.
    pub at: Timestamp,
    /// When it closes by itself; absent: when an operator closes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
    /// Which limit was reached.
    pub limit: Limit,
    /// How many automatic cuts there were within the time in which they are counted.
    pub cuts: usize,
    /// How many established streams were live then.
    pub live: usize,
    /// The rule that most of the cuts came from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rule: Option<Suspect>,
    /// The bank that most of them rest on, where any does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bank: Option<Suspect>,
    /// The model that most of them rest on, where any does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<Suspect>,
}

/// Counts automatic cuts, and is open when there were too many.
#[derive(Debug)]
pub struct Breaker {
    config: Config,
    /// Oldest first.
    recent: VecDeque<Cut>,
    opening: Option<Opening>,
}

impl Breaker {
    /// A breaker that is closed and has counted nothing.
    pub fn new(config: Config) -> Self {
        Self { config, recent: VecDeque::new(), opening: None }
    }

    /// Why it is open at `now`, if it is. While it is open, hand its state to the judge in
    /// [`crate::decision::Context::breaker_open`].
    pub fn opening(&self, now: Timestamp) -> Option<&Opening> {
        self.opening.as_ref().filter(|opening| opening.until.is_none_or(|until| now < until))
    }

    /// Counts an automatic cut, while `live` established streams are live. Says so when it opens because of it.
    pub fn count(&mut self, cut: Cut, live: usize) -> Option<&Opening> {
        if !self.config.enabled || self.opening(cut.at).is_some() {
            return None;
        }
        self.expire(cut.at);
        let (now, since) = (cut.at, cut.at.minus(self.config.within));
        while self.recent.front().is_some_and(|oldest| oldest.at < since) {
            self.recent.pop_front();
        }
        self.recent.push_back(cut);
        let cuts = self.recent.len();
        let established = self.recent.iter().filter(|cut| cut.on_air >= self.config.established).count();
        // Most of what was cut is live no more.
        let share = established as f64 / (live + established) as f64;
        let limit = if cuts >= self.config.cuts {
            Limit::Cuts
        } else if established >= self.config.share_from.min(FEWEST.max(live / 2)) && share > self.config.share {
            Limit::Share
        } else {
            return None;
        };
        let until = self.config.close_after.map(|after| now + after);
        let rule = most(self.recent.iter().map(|cut| &cut.rule));
        let bank = most(self.recent.iter().flat_map(|cut| &cut.banks));
        let model = most(self.recent.iter().flat_map(|cut| &cut.models));
        Some(self.opening.insert(Opening { at: now, until, limit, cuts, live, rule, bank, model }))
    }

    /// Closes it and counts from nothing; gives what it was open for.
    pub fn close(&mut self) -> Option<Opening> {
        self.recent.clear();
        self.opening.take()
    }

    /// Closes it where its time has passed; gives what it was open for. Call it every few seconds.
    pub fn expire(&mut self, now: Timestamp) -> Option<Opening> {
        let over = self.opening.is_some() && self.opening(now).is_none();
        if over { self.close() } else { None }
    }

    /// Opens it as it was before a restart.
    pub fn restore(&mut self, opening: Opening) {
        self.opening = Some(opening);
    }
}

/// Who is named most often; among equals the first by name.
fn most<'name>(names: impl Iterator<Item = &'name Arc<str>>) -> Option<Suspect> {
    let mut counts: BTreeMap<&Arc<str>, usize> = BTreeMap::new();
    for name in names {
        *counts.entry(name).or_default() += 1;
    }
    let (name, cuts) = counts.into_iter().rev().max_by_key(|(_, cuts)| *cuts)?;
    Some(Suspect { name: Arc::clone(name), cuts })
}
