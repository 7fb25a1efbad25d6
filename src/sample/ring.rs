//! The access units of a stream's current and previous group of pictures, within a budget of bytes.
//!
//! What is kept can always be decoded: it begins with a keyframe and no unit in it is missing. Where that cannot be
//! held, because a unit was lost, the budget is spent or a group is too long to be decoded in one go, the ring is empty until
//! the next keyframe.

use std::time::Duration;

use crate::clock::Timestamp;
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
    /// It is shown before its group's keyframe, as in an open group of pictures.
    leads: bool,
}

/// The longest group that is kept, in units: about what encoders make of their own accord, and what a core decodes in three
/// seconds at 1080p. Nobody can have a worker busy for longer by a great many small units.
pub(super) const MOST_UNITS: usize = 250;

/// How many pictures an encoder reorders over a keyframe, at most; more is not believed.
const MOST_LEADING: usize = 8;

/// When a picture is shown and when it came.
#[derive(Debug, Clone, Copy)]
pub(super) struct Moment {
    pts: Option<Duration>,
    arrived: Timestamp,
}

impl Moment {
    pub(super) fn of(unit: &AccessUnit) -> Self {
        Self { pts: unit.pts, arrived: unit.arrived }
    }

    /// The publisher writes the timestamps, so a clock that stands still must not keep pictures from being chosen:
    /// the time of arrival, which is ours, counts as well.
    pub(super) fn is_past(self, earlier: Self, interval: Duration) -> bool {
        let shown = self.pts.zip(earlier.pts).is_some_and(|(now, then)| now.saturating_sub(then) >= interval);
        shown || self.arrived.since(earlier.arrived) >= interval
    }
}

impl Ring {
    /// An empty ring that holds at most `budget` bytes.
    pub(super) fn new(budget: usize) -> Self {
        Self { kept: Vec::new(), current: 0, bytes: 0, budget }
    }

    /// Takes in the next unit; it is kept if it can be decoded. Gives the units of the current group where they have just
    /// outgrown the ring: it holds them no more.
    pub(super) fn push(&mut self, unit: AccessUnit) -> Option<Vec<AccessUnit>> {
        if self.kept.last().is_some_and(|last| last.unit.sequence.checked_add(1) != Some(unit.sequence)) {
            self.clear();
        }
        if unit.keyframe {
            self.drop_previous();
            self.current = self.kept.len();
        } else if self.kept.is_empty() {
            return None;
        }
        self.bytes += cost(&unit);
        let leads = self.leads(&unit);
        self.kept.push(Kept { unit, chosen: false, leads });
        let too_long = self.kept.len() - self.current > MOST_UNITS;
        if self.bytes > self.budget || too_long {
            self.drop_previous();
        }
        if self.bytes <= self.budget && !too_long {
            return None;
        }
        Some(self.give_up())
    }

    /// Drops everything; the units of the current group, where the one before it was dropped already.
    pub(super) fn give_up(&mut self) -> Vec<AccessUnit> {
        let kept = self.kept.drain(..).map(|kept| kept.unit).collect();
        self.clear();
        kept
    }

    /// Whether `unit` is one of the few that follow a keyframe and are shown before it.
    fn leads(&self, unit: &AccessUnit) -> bool {
        let Some([keyframe, before @ ..]) = self.kept.get(self.current..) else { return false };
        let shown_before = unit.pts.zip(keyframe.unit.pts).is_some_and(|(unit, keyframe)| unit < keyframe);
        // The publisher writes the timestamps: were there no limit, they could have a whole group passed over.
        shown_before && before.len() < MOST_LEADING && before.iter().all(|kept| kept.leads)
    }

    /// Bytes held, bookkeeping included.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
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

    /// Chooses the newest unit's picture, if it is `sequence`: the run that decodes it.
    pub(super) fn run_to(&mut self, sequence: u64) -> Option<Vec<AccessUnit>> {
        let newest = self.kept.last_mut()?;
        if newest.unit.sequence != sequence || newest.chosen {
            return None;
        }
        newest.chosen = true;
        // Shown before its group's keyframe, it is made of the group before as well.
        let start = if newest.leads { 0 } else { self.current };
        Some(self.units(start))
    }

    /// Chooses, of the current group, pictures `interval` apart that were not chosen before, and `more` of the newest.
    /// `anchor` is the last picture that an earlier pick went by, and is moved on; units that this earlier pick passed over
    /// are passed over again, but for the newest. Their sequence numbers, in order.
    pub(super) fn pick(&mut self, anchor: &mut Option<Moment>, interval: Duration, more: usize) -> Vec<u64> {
        let mut picked = choose(self.kept.iter_mut().skip(self.current), anchor, interval);
        let rest = self.kept.iter_mut().skip(self.current).rev().filter(|kept| !kept.chosen && !kept.leads);
        for kept in rest.take(more.saturating_sub(picked.len())) {
            kept.chosen = true;
            picked.push(kept.unit.sequence);
        }
        picked.sort_unstable();
        picked
    }

    /// The units of the current group, from its keyframe on.
    pub(super) fn group(&self) -> Vec<AccessUnit> {
        self.units(self.current)
    }

    /// Chooses, of all that is kept, pictures `interval` apart that were not chosen before: a run that decodes them, and
    /// their sequence numbers. Where it is too much for one run, of the current group first, and of the one before when asked
    /// again.
    pub(super) fn look_back(&mut self, interval: Duration) -> Option<(Vec<AccessUnit>, Vec<u64>)> {
        let current = self.kept.get(self.current)?.unit.sequence;
        let in_one = self.kept.len() <= MOST_UNITS;
        let mut picked = choose(self.kept.iter_mut().skip(if in_one { 0 } else { self.current }), &mut None, interval);
        if picked.is_empty() && !in_one {
            picked = choose(self.kept.iter_mut().take(self.current), &mut None, interval);
        }
        let (first, last) = (*picked.first()?, *picked.last()?);
        let mut units = self.units(if first < current { 0 } else { self.current });
        units.retain(|unit| unit.sequence <= last);
        Some((units, picked))
    }

    fn units(&self, start: usize) -> Vec<AccessUnit> {
        self.kept.iter().skip(start).map(|kept| kept.unit.clone()).collect()
    }

    /// Drops the group before the current one.
    pub(super) fn drop_previous(&mut self) {
        let dropped: usize = self.kept.drain(..self.current).map(|kept| cost(&kept.unit)).sum();
        self.bytes -= dropped;
        self.current = 0;
    }
}

/// Chooses of `kept` pictures `interval` apart, from `anchor` on.
fn choose<'a>(kept: impl Iterator<Item = &'a mut Kept>, anchor: &mut Option<Moment>, interval: Duration) -> Vec<u64> {
    let mut chosen = Vec::new();
    for kept in kept.filter(|kept| !kept.leads) {
        let moment = Moment::of(&kept.unit);
        if !kept.chosen && anchor.is_none_or(|anchor| moment.is_past(anchor, interval)) {
            kept.chosen = true;
            chosen.push(kept.unit.sequence);
        }
        if kept.chosen {
            *anchor = Some(moment);
        }
    }
    chosen
}

/// Bookkeeping counts too: a publisher may send a great many tiny frames.
pub(super) fn cost(unit: &AccessUnit) -> usize {
    unit.data.len() + size_of::<Kept>()
}
