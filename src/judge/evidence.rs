//! What is held of one session: its pictures, its reports, and the state that it is in.
//!
//! - Findings of pictures and reports are held for as long as the widest rule that can count them looks back, reckoned from
//!   the newest of their sort, and [`EVIDENCE_LIMIT`] of each sort at most: a flood of reports pushes out no picture.
//! - Of a state, the first and the latest word are held, from when it began until another begins.
//! - The order in which findings were heard is known, so that a judgement can be come to again.

use std::time::Duration;

use crate::clock::Timestamp;
use crate::finding::{Finding, Observation};
use crate::judge::EVIDENCE_LIMIT;
use crate::stream::StreamState;

/// How far back rules look.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Widest {
    pub(super) pictures: Duration,
    pub(super) reports: Duration,
}

/// What is held, by sort.
#[derive(Debug, Default)]
pub(super) struct Evidence {
    pictures: Sort,
    reports: Sort,
    /// The first and the latest word of the state; empty while the stream is well.
    state: Vec<Held>,
    heard: u64,
}

/// Findings by arrival.
#[derive(Debug, Default)]
struct Sort(Vec<Held>);

#[derive(Debug)]
struct Held {
    heard: u64,
    finding: Finding,
}

impl Sort {
    /// Before this, findings are forgotten.
    fn horizon(&self, widest: Duration) -> Timestamp {
        self.0.last().map_or(Timestamp::ZERO, |newest| newest.finding.arrived.minus(widest))
    }

    /// Holds one more, unless it is older than the horizon; lets go of what then is, and of what is too much.
    fn keep(&mut self, held: Held, widest: Duration) -> bool {
        if held.finding.arrived < self.horizon(widest) {
            return false;
        }
        let order = |held: &Held| (held.finding.arrived, held.finding.sequence);
        let at = self.0.partition_point(|kept| order(kept) <= order(&held));
        self.0.insert(at, held);
        let horizon = self.horizon(widest);
        let old = self.0.partition_point(|kept| kept.finding.arrived < horizon);
        let surplus = self.0.len().saturating_sub(EVIDENCE_LIMIT);
        self.0.drain(..old.max(surplus));
        true
    }
}

impl Evidence {
    /// Holds `finding`; `false` when it comes too late to matter.
    pub(super) fn keep(&mut self, finding: Finding, widest: Widest) -> bool {
        self.heard += 1;
        let (observed, held) = (finding.observation.clone(), Held { heard: self.heard, finding });
        match observed {
            Observation::Match(_) | Observation::Scores(_) => self.pictures.keep(held, widest.pictures),
            Observation::Report(_) => self.reports.keep(held, widest.reports),
            Observation::State(state) => self.enter(state, held),
        }
    }

    fn enter(&mut self, state: StreamState, held: Held) -> bool {
        if self.state.last().is_some_and(|latest| held.finding.arrived < latest.finding.arrived) {
            return false;
        }
        let goes_on = self.state.first().is_some_and(|first| first.finding.observation == held.finding.observation);
        self.state.truncate(usize::from(goes_on));
        if matches!(state, StreamState::Blind | StreamState::Uninspectable(_)) {
            self.state.push(held);
        }
        true
    }

    /// Pictures, by arrival.
    pub(super) fn pictures(&self) -> impl Iterator<Item = &Finding> {
        self.pictures.0.iter().map(|held| &held.finding)
    }

    /// Reports, by arrival.
    pub(super) fn reports(&self) -> impl Iterator<Item = &Finding> {
        self.reports.0.iter().map(|held| &held.finding)
    }

    /// The first and the latest word of the state that the stream is in, if it is not well; one where it is both.
    pub(super) fn state(&self) -> Vec<&Finding> {
        self.state.iter().map(|held| &held.finding).collect()
    }

    /// Before this, nothing is left of the pictures.
    pub(super) fn picture_horizon(&self, widest: Widest) -> Timestamp {
        self.pictures.horizon(widest.pictures)
    }

    /// Before this, nothing is left of the reports.
    pub(super) fn report_horizon(&self, widest: Widest) -> Timestamp {
        self.reports.horizon(widest.reports)
    }

    /// When the newest of all arrived.
    pub(super) fn newest(&self) -> Option<Timestamp> {
        let sorts = [&self.pictures.0, &self.reports.0, &self.state];
        sorts.iter().filter_map(|sort| Some(sort.last()?.finding.arrived)).max()
    }

    /// Everything that is held, in the order in which it was heard.
    pub(super) fn timeline(&self) -> Vec<Finding> {
        let mut all: Vec<&Held> = [&self.pictures.0, &self.reports.0, &self.state].into_iter().flatten().collect();
        all.sort_by_key(|held| held.heard);
        all.into_iter().map(|held| held.finding.clone()).collect()
    }
}
