//! The access units of a stream's current and previous group of pictures, within a budget of bytes.
//!
//! What is kept can always be decoded: it begins with a keyframe and no unit in it is missing. Where that cannot be
//! held, because a unit was lost or the budget is spent, the ring is empty until the next keyframe.

use std::time::Duration;

use crate::clock::Timestamp;
use crate::sample::{Work, Worth};
use crate::stream::AccessUnit;

/// See the module.
#[derive(Debug)]
pub(super) struct Ring {
    kept: Vec<Kept>,
    /// Where in `kept` the keyframe of the current group stands.
    current: usize,
    bytes: usize,
    budget: usize,
}

#[derive(Debug)]
struct Kept {
    unit: AccessUnit,
    /// Its picture was asked for, and is not asked for again.
    chosen: bool,
}

/// When a picture is shown and when it came.
#[derive(Debug, Clone, Copy)]
pub(super) struct Moment {
    pts: Option<Duration>,
    arrived: Timestamp,
}

impl Moment {
    fn of(unit: &AccessUnit) -> Self {
        Self { pts: unit.pts, arrived: unit.arrived }
    }

    /// The publisher writes the timestamps, so a clock that stands still must not keep pictures from being chosen:
    /// the time of arrival, which is ours, counts as well.
    fn is_past(self, earlier: Self, interval: Duration) -> bool {
        let shown = self.pts.zip(earlier.pts).is_some_and(|(now, then)| now.saturating_sub(then) >= interval);
        shown || self.arrived.since(earlier.arrived) >= interval
    }
}

impl Ring {
    /// An empty ring that holds at most `budget` bytes.
    pub(super) fn new(budget: usize) -> Self {
        Self { kept: Vec::new(), current: 0, bytes: 0, budget }
    }

    /// Takes in the next unit; it is kept if it can be decoded.
    pub(super) fn push(&mut self, unit: AccessUnit) {
        if self.kept.last().is_some_and(|last| last.unit.sequence.checked_add(1) != Some(unit.sequence)) {
            self.clear();
        }
        if unit.keyframe {
            self.drop_previous();
            self.current = self.kept.len();
        } else if self.kept.is_empty() {
            return;
        }
        self.bytes += cost(&unit);
        self.kept.push(Kept { unit, chosen: false });
        if self.bytes > self.budget {
            self.drop_previous();
        }
        if self.bytes > self.budget {
            self.clear();
        }
    }

    /// Forgets everything: what comes next does not follow from what came before.
    pub(super) fn clear(&mut self) {
        self.kept.clear();
        self.current = 0;
        self.bytes = 0;
    }

    /// Marks the newest unit's picture as chosen, if it is `sequence`.
    pub(super) fn choose(&mut self, sequence: u64) {
        if let Some(newest) = self.kept.last_mut().filter(|newest| newest.unit.sequence == sequence) {
            newest.chosen = true;
        }
    }

    /// Chooses the newest unit's picture, if it is `sequence`: the run from its keyframe to it.
    pub(super) fn run_to(&mut self, sequence: u64) -> Option<Work> {
        let newest = self.kept.last_mut()?;
        if newest.unit.sequence != sequence || newest.chosen {
            return None;
        }
        newest.chosen = true;
        Some(self.work(self.current, vec![sequence], Worth::WhileFresh))
    }

    /// Chooses, of all that is kept, pictures `interval` apart, and gives a run that decodes those that were not chosen
    /// before. `anchor` is the last picture that an earlier pick went by, and is moved on; units that this earlier pick
    /// passed over are passed over again.
    pub(super) fn pick(&mut self, anchor: &mut Option<Moment>, interval: Duration) -> Option<Work> {
        let mut start = None;
        let mut inspect = Vec::new();
        for (at, kept) in self.kept.iter_mut().enumerate() {
            let moment = Moment::of(&kept.unit);
            let due = anchor.is_none_or(|anchor| moment.is_past(anchor, interval));
            if due && !kept.chosen {
                kept.chosen = true;
                inspect.push(kept.unit.sequence);
                start.get_or_insert(if at < self.current { 0 } else { self.current });
            }
            if kept.chosen {
                *anchor = Some(moment);
            }
        }
        Some(self.work(start?, inspect, Worth::Always))
    }

    /// Chooses the newest unit's picture as well: `work` then runs up to it.
    pub(super) fn extend(&mut self, work: &mut Work) {
        let done = work.inspect.last().copied().unwrap_or_default();
        work.units.extend(self.kept.iter().map(|kept| &kept.unit).filter(|unit| unit.sequence > done).cloned());
        if let Some(newest) = self.kept.last_mut().filter(|newest| !newest.chosen) {
            newest.chosen = true;
            work.inspect.push(newest.unit.sequence);
        }
    }

    /// The units from `start` to the last that is to be inspected.
    fn work(&self, start: usize, inspect: Vec<u64>, worth: Worth) -> Work {
        let last = inspect.last().copied().unwrap_or_default();
        let run = self.kept.iter().skip(start).map(|kept| &kept.unit);
        Work { units: run.take_while(|unit| unit.sequence <= last).cloned().collect(), inspect, worth }
    }

    fn drop_previous(&mut self) {
        let dropped: usize = self.kept.drain(..self.current).map(|kept| cost(&kept.unit)).sum();
        self.bytes -= dropped;
        self.current = 0;
    }
}

/// Bookkeeping counts too: a publisher may send a great many tiny frames.
fn cost(unit: &AccessUnit) -> usize {
    unit.data.len() + size_of::<Kept>()
}
