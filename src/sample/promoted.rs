//! A stream that is decoded continuously: its units since the last piece of work, to be decoded without leaving one out.
//!
//! One piece is under way at a time; what comes meanwhile waits here, within a budget of bytes and of units. Where the decoders
//! are so far behind that it outgrows the budget, the stream goes on from the newest keyframe that waits, or else from the newest unit:
//! a decoder that misses units gives damaged pictures for a while, and none at all would be worse.

use std::time::Duration;

use crate::clock::Timestamp;
use crate::sample::pool::Place;
use crate::sample::ring::{MOST_UNITS, cost};
use crate::stream::AccessUnit;

/// Units are handed on at least so often: a decoder holds a picture back until the ones shown before it have come.
const PIECE: Duration = Duration::from_millis(100);

/// So many units behind one whose picture is wanted are handed on at once: most encoders reorder no more.
const SHOWN_AFTER: u64 = 4;

/// The most units of one piece, so that nobody waits long for a worker that is busy with it.
const PIECE_UNITS: usize = 64;

/// The most units that wait: all of a group that the stream begins with, and what comes while that is decoded.
const MOST_WAITING: usize = 2 * MOST_UNITS;

/// See the module.
#[derive(Debug)]
pub(super) struct Promoted {
    waiting: Vec<AccessUnit>,
    /// Those of `waiting` whose pictures are wanted.
    wanted: Vec<u64>,
    bytes: usize,
    budget: usize,
    /// The unit before those that wait.
    before: u64,
    /// By when the decoder has what it needs to give the picture that was asked for last.
    shown_by: u64,
    /// When units were last handed on.
    handed_on: Timestamp,
    _place: Place,
}

impl Promoted {
    /// A stream that begins with `units` at `now`, of which the pictures `wanted` are; and its first piece, as
    /// [`Promoted::take`] gives it.
    pub(super) fn new(
        place: Place,
        mut units: Vec<AccessUnit>,
        mut wanted: Vec<u64>,
        now: Timestamp,
        budget: usize,
    ) -> (Self, Vec<AccessUnit>, Vec<u64>) {
        let waiting = units.split_off(units.len().min(PIECE_UNITS));
        let before = units.last().map_or(0, |last| last.sequence);
        let later = wanted.split_off(wanted.partition_point(|wanted| *wanted <= before));
        let bytes = waiting.iter().map(cost).sum();
        let shown_by = later.last().map_or(0, |last| last.saturating_add(SHOWN_AFTER));
        let promoted = Self { waiting, wanted: later, bytes, budget, before, shown_by, handed_on: now, _place: place };
        (promoted, units, wanted)
    }

    /// Takes in the next unit. Gives the number of units that are passed over for it.
    pub(super) fn push(&mut self, unit: AccessUnit) -> usize {
        let mut skipped = 0;
        let last = self.waiting.last().map_or(self.before, |last| last.sequence);
        if last.checked_add(1) != Some(unit.sequence) {
            skipped += self.skip(self.waiting.len());
        }
        self.bytes += cost(&unit);
        self.waiting.push(unit);
        if self.bytes > self.budget || self.waiting.len() > MOST_WAITING {
            let newest = self.waiting.len().saturating_sub(1);
            let keyframe = self.waiting.iter().rposition(|unit| unit.keyframe).filter(|at| *at > 0);
            skipped += self.skip(keyframe.unwrap_or(newest));
            if self.bytes > self.budget {
                skipped += self.skip(self.waiting.len().saturating_sub(1));
            }
        }
        skipped
    }

    /// Asks for the picture of the newest unit.
    pub(super) fn want(&mut self) {
        if let Some(newest) = self.waiting.last() {
            self.wanted.push(newest.sequence);
            self.shown_by = newest.sequence.saturating_add(SHOWN_AFTER);
        }
    }

    /// Whether pictures that were asked for wait.
    pub(super) fn wants(&self) -> bool {
        !self.wanted.is_empty()
    }

    /// The next piece, if it is time for one at `now`: its units, and those whose pictures are wanted.
    pub(super) fn take(&mut self, now: Timestamp) -> Option<(Vec<AccessUnit>, Vec<u64>)> {
        let shown_soon = self.waiting.first().is_some_and(|first| first.sequence <= self.shown_by);
        let much = self.waiting.len() >= PIECE_UNITS;
        let due = self.wants() || shown_soon || much || now.since(self.handed_on) >= PIECE;
        if !due || self.waiting.is_empty() {
            return None;
        }
        let rest = self.waiting.split_off(self.waiting.len().min(PIECE_UNITS));
        let units = std::mem::replace(&mut self.waiting, rest);
        let last = units.last()?.sequence;
        let later = self.wanted.split_off(self.wanted.partition_point(|wanted| *wanted <= last));
        let wanted = std::mem::replace(&mut self.wanted, later);
        self.bytes = self.waiting.iter().map(cost).sum();
        (self.before, self.handed_on) = (last, now);
        Some((units, wanted))
    }

    /// Bytes that wait, bookkeeping included.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Drops the first `count` units that wait; how many that were.
    fn skip(&mut self, count: usize) -> usize {
        let dropped = self.waiting.drain(..count).count();
        let first = self.waiting.first().map(|unit| unit.sequence);
        self.wanted.retain(|wanted| first.is_some_and(|first| *wanted >= first));
        self.bytes = self.waiting.iter().map(cost).sum();
        dropped
    }
}
