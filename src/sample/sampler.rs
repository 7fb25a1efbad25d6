//! Chooses, for one stream, the pictures that are worth a decoder's time.
//!
//! - **Calm**: keyframes, `min_interval` apart or more. A keyframe decodes alone, so this is cheap.
//! - **Gap**: while units arrive, no two chosen pictures are further apart than `max_gap` and one frame, by arrival; a keyframe
//!   that is expected just then may be late by a sixteenth of it. The first time that keyframes come too late for that, the unit at hand is decoded by way of every unit since its keyframe.
//!   The second time the stream is *promoted*: decoded continuously, by a decoder of its own, unit for unit, which costs the
//!   same however rare keyframes are. So is a stream whose group of pictures outgrows the ring, and one of which no keyframe
//!   came for `max_gap`: that begins with what there is, and its first pictures may be damaged. Two groups in a row within
//!   `max_gap` end it.
//! - **Inside groups**: now and then, at moments nobody can tell beforehand, a picture between two keyframes.
//! - **Attention**: as soon as it rises, the newest pictures; then those of the last two groups `1 / burst_fps` apart, so
//!   that the moments *before* the first suspicion count as evidence; from then on, every `1 / burst_fps`, the pictures that
//!   came since. The stream is promoted, for to decode a group anew for each picture is dear.
//!
//! Places for promoted streams are few. Where there is none, pictures are decoded by way of every unit since their keyframe,
//! as long as the group fits the ring. No piece of work takes long, whatever is in it.
//!
//! No picture is asked for twice. Evidence that waits is not displaced, but for a gap that is twice too long.

use std::fmt;
use std::sync::{Arc, Weak};
use std::time::Duration;

use crate::clock::Timestamp;
use crate::sample::Config;
use crate::sample::pool::{Place, Pool, Share};
use crate::sample::promoted::Promoted;
use crate::sample::ring::{Moment, Ring};
use crate::sample::work::{Course, Work, Worth};
use crate::stream::{AccessUnit, Attention};

/// Eager to have so many pictures at once when attention rises: with the first they are three.
const AT_ONCE: usize = 2;

/// Begun without a keyframe, a decoder gives no picture for the first few units: so many more are asked for.
const UNSETTLED: usize = 8;

/// What a promoted stream may hold back for its decoder, however small its ring.
const LEAST_WAITING: usize = 1024 * 1024;

/// Groups of pictures in a row within `max_gap` after which keyframes come often enough.
const OFTEN_ENOUGH: u32 = 2;

/// Where keyframes came often enough so far, the next may be late by this part of `max_gap`.
const JITTER: u32 = 16;

/// The sampler of one stream. It holds at most `lookback_bytes` of encoded frames and the last keyframe; where the stream is
/// promoted, at most 1 MiB and a keyframe where that is more. Where all streams hold too much together, it holds less.
pub struct Sampler {
    min_interval: Duration,
    max_gap: Duration,
    burst_interval: Duration,
    inside_groups: Duration,
    lookback_bytes: usize,
    phase: Duration,
    chance: Box<dyn FnMut() -> f64 + Send>,
    pool: Arc<Pool>,
    held: Share,
    ring: Ring,
    promoted: Option<Promoted>,
    under_way: Weak<()>,
    /// When the work that is under way was given, if it is evidence.
    evidence: Option<Timestamp>,
    chosen: Option<Chosen>,
    /// When the newest unit came.
    now: Option<Timestamp>,
    /// When the first unit of this attachment came, or of those before it that gave no picture.
    attached: Option<Timestamp>,
    /// The last keyframe, or the first unit where none came yet: it brings the parameters that a decoder must know.
    lead: Option<AccessUnit>,
    /// When the last keyframe came, and how many groups in a row were within `max_gap`.
    groups: (Option<Timestamp>, u32),
    /// How often the gap demanded a picture since keyframes last came often enough.
    demanded: u32,
    /// Pictures still to be asked for because the first may not come.
    unsettled: usize,
    /// When there was last no place.
    refused: Option<Timestamp>,
    /// From when on a picture inside a group is chosen.
    inside_due: Option<Timestamp>,
    attention: Attention,
    /// Where the pictures chosen under attention have got to.
    anchor: Option<Moment>,
    /// When pictures are next chosen under attention.
    burst_due: Timestamp,
    /// Pictures still to be chosen at once, however close.
    at_once: usize,
    /// What was before the rise of attention is still to be looked at.
    look_back: bool,
}

/// What the last chosen picture means for the next.
#[derive(Debug, Clone, Copy)]
struct Chosen {
    /// When the newest chosen picture arrived.
    at: Timestamp,
    /// From when on a calm keyframe may be chosen.
    calm_due: Timestamp,
    /// From when on any picture must be chosen.
    gap_due: Timestamp,
}

impl fmt::Debug for Sampler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sampler")
            .field("chosen", &self.chosen)
            .field("promoted", &self.promoted)
            .finish_non_exhaustive()
    }
}

impl Sampler {
    /// A sampler that has seen nothing yet.
    ///
    /// `chance` gives numbers from 0 up to, but not including, 1, that no publisher can tell beforehand: they shift the times
    /// at which pictures are chosen, so that nobody can time frames to fall between them. Chance never delays the first
    /// picture, nor stretches a gap.
    pub fn new(config: &Config, mut chance: impl FnMut() -> f64 + Send + 'static, pool: &Arc<Pool>) -> Self {
        Self {
            min_interval: config.min_interval,
            max_gap: config.max_gap,
            burst_interval: config.burst_fps.interval(),
            inside_groups: config.inside_groups,
            lookback_bytes: config.lookback_bytes,
            phase: config.min_interval.mul_f64(chance()),
            chance: Box::new(chance),
            pool: Arc::clone(pool),
            held: Share::of(Arc::clone(pool)),
            ring: Ring::new(config.lookback_bytes),
            promoted: None,
            under_way: Weak::new(),
            evidence: None,
            chosen: None,
            now: None,
            attached: None,
            lead: None,
            groups: (None, 0),
            demanded: 0,
            unsettled: 0,
            refused: None,
            inside_due: None,
            attention: Attention::Calm,
            anchor: None,
            burst_due: Timestamp::ZERO,
            at_once: 0,
            look_back: false,
        }
    }

    /// Takes in the stream's next unit, and says whether something is to be decoded now.
    ///
    /// The time is `unit.arrived`. `unit.sequence` counts on by one; where it does not, units were lost.
    #[expect(clippy::needless_pass_by_value, reason = "a unit is handed over, not lent: what is kept shares its bytes")]
    pub fn offer(&mut self, unit: AccessUnit, attention: Attention) -> Option<Work> {
        let now = unit.arrived;
        if attention > self.attention {
            (self.burst_due, self.at_once, self.look_back) = (now, AT_ONCE, true);
        }
        self.attention = attention;
        self.now = Some(now);
        self.attached.get_or_insert(now);
        if unit.keyframe {
            self.count_group(now);
        }
        if unit.keyframe || self.lead.is_none() {
            self.lead = Some(unit.clone());
        }
        let outgrown = self.ring.push(unit.clone());
        // Where groups are short, the next keyframe is there before continuous decoding would be worth its place.
        let cut = self.held.fit(&mut self.ring).filter(|_| self.groups.1 < OFTEN_ENOUGH);
        let outgrown = outgrown.or(cut);
        if unit.keyframe && self.is_over() {
            self.promoted = None;
        }
        let work = match self.promoted.take() {
            Some(promoted) => self.go_on(promoted, &unit),
            None => self.choose(&unit, outgrown),
        };
        let waiting = self.promoted.as_ref().map_or(0, Promoted::bytes);
        self.held.set(self.ring.bytes().max(waiting));
        work
    }

    /// Starts afresh after the stream was attached again: timestamps begin anew, and the group of pictures is broken.
    pub fn reset(&mut self) {
        self.ring.clear();
        // Attachments that give no picture, one after another, count as one: they could all be too short to be looked at.
        let gave = |attached| self.chosen.is_some_and(|chosen| chosen.at >= attached);
        self.attached = self.attached.filter(|attached| !gave(*attached));
        (self.promoted, self.lead, self.anchor) = (None, None, None);
        (self.groups, self.unsettled) = ((None, 0), 0);
        self.held.set(0);
    }

    /// Chooses for a stream that is not promoted.
    fn choose(&mut self, unit: &AccessUnit, outgrown: Option<Vec<AccessUnit>>) -> Option<Work> {
        let outgrown = outgrown.filter(|_| !unit.keyframe);
        let burst = if outgrown.is_none() { self.burst(unit) } else { None };
        burst
            .or_else(|| self.calm(unit))
            .or_else(|| self.gap(unit, outgrown))
            .or_else(|| self.inside(unit))
            .or_else(|| self.look_back(Course::Alone))
    }

    fn burst(&mut self, unit: &AccessUnit) -> Option<Work> {
        let now = unit.arrived;
        if self.attention == Attention::Calm || now < self.burst_due || !self.is_idle() {
            return None;
        }
        if self.ring.bytes() == 0 {
            // Nothing is held, but a keyframe may be on its way.
            let hopeless = self.lead.as_ref().is_some_and(|lead| lead.keyframe) || !self.is_new(now);
            let place = if hopeless { self.place(now) } else { None }?;
            self.burst_due = now;
            return Some(self.begin_without(place, unit));
        }
        let gap = self.chosen.is_some_and(|chosen| now >= chosen.gap_due);
        let inspect = self.ring.pick(&mut self.anchor, self.burst_interval, self.at_once.max(gap.into()));
        let last = *inspect.last()?;
        self.at_once = self.at_once.saturating_sub(inspect.len());
        self.burst_due = if self.at_once > 0 { now } else { now + self.burst_interval };
        let mut units = self.ring.group();
        if let Some(chosen) = units.iter().find(|unit| unit.sequence == last).cloned() {
            self.note(&chosen);
        }
        if let Some(place) = self.place(now) {
            return Some(self.promote(place, units, inspect, now));
        }
        units.retain(|unit| unit.sequence <= last);
        Some(self.work(units, inspect, Course::Alone))
    }

    fn calm(&mut self, unit: &AccessUnit) -> Option<Work> {
        let now = unit.arrived;
        if !unit.keyframe || self.chosen.is_some_and(|chosen| now < chosen.calm_due) || self.keeps_back(now) {
            return None;
        }
        // Not by way of the ring: a keyframe too large for it must not go unseen.
        self.ring.choose(unit.sequence);
        self.note(unit);
        Some(self.work(vec![unit.clone()], vec![unit.sequence], Course::Alone))
    }

    fn gap(&mut self, unit: &AccessUnit, outgrown: Option<Vec<AccessUnit>>) -> Option<Work> {
        let (now, sequence) = (unit.arrived, unit.sequence);
        let due = self.chosen.is_none_or(|chosen| now >= chosen.gap_due);
        if self.keeps_back(now) {
            return None;
        }
        if let Some(group) = outgrown
            && let Some(place) = self.place(now)
        {
            // The last moment at which it can be begun with a keyframe. Were it let go until the gap is due, what was painted
            // early in the group and not since would not be seen until it ends.
            let inspect = Vec::from_iter(due.then_some(sequence));
            self.note_if(due, unit);
            return Some(self.promote(place, group, inspect, now));
        }
        if !due {
            return None;
        }
        if let Some(run) = self.ring.run_to(sequence) {
            self.demanded += u32::from(!unit.keyframe);
            self.note_if(true, unit);
            if self.demanded > 1
                && let Some(place) = self.place(now)
            {
                return Some(self.promote(place, run, vec![sequence], now));
            }
            return Some(self.work(run, vec![sequence], Course::Alone));
        }
        // Nothing is held that leads up to it. A keyframe may be on its way, if this attachment is fresh.
        if self.is_new(now) {
            return None;
        }
        let place = self.place(now)?;
        self.demanded += 1;
        Some(self.begin_without(place, unit))
    }

    fn is_new(&self, now: Timestamp) -> bool {
        self.attached.is_some_and(|attached| now.since(attached) < self.max_gap)
    }

    /// Begins to decode continuously with what there is where nothing is held that leads up to `unit`.
    fn begin_without(&mut self, place: Place, unit: &AccessUnit) -> Work {
        self.note_if(true, unit);
        self.unsettled = if unit.keyframe { 0 } else { UNSETTLED };
        let lead = self.lead.clone().filter(|lead| lead.sequence != unit.sequence);
        self.promote(place, lead.into_iter().chain([unit.clone()]).collect(), vec![unit.sequence], unit.arrived)
    }

    /// A picture between two keyframes, at a moment that nobody can tell beforehand; under attention there are enough.
    fn inside(&mut self, unit: &AccessUnit) -> Option<Work> {
        let now = unit.arrived;
        if self.inside_groups.is_zero() || self.attention != Attention::Calm {
            return None;
        }
        if self.inside_due.is_none() {
            self.inside_due = Some(now + self.until_inside());
        }
        if unit.keyframe || self.inside_due.is_some_and(|due| now < due) || !self.is_idle() {
            return None;
        }
        let run = self.ring.run_to(unit.sequence)?;
        self.inside_due = Some(now + self.until_inside());
        if let Some(chosen) = &mut self.chosen {
            // The next keyframe stays as due as it was. Full measure, or this would make for another run.
            (chosen.at, chosen.gap_due) = (now, chosen.gap_due.max(now + self.max_gap));
        }
        Some(self.work(run, vec![unit.sequence], Course::Alone))
    }

    /// The pictures from before the rise of attention, once those that are there at once were asked for.
    fn look_back(&mut self, course: Course) -> Option<Work> {
        if !self.look_back || self.at_once > 0 || self.attention == Attention::Calm || !self.is_idle() {
            return None;
        }
        let piece = self.ring.look_back(self.burst_interval);
        // There may be more than fits one piece.
        self.look_back = piece.is_some();
        let (units, inspect) = piece?;
        Some(self.work(units, inspect, course))
    }

    /// Chooses for a stream that is promoted.
    fn go_on(&mut self, mut promoted: Promoted, unit: &AccessUnit) -> Option<Work> {
        let now = unit.arrived;
        let skipped = promoted.push(unit.clone());
        self.pool.skip(skipped);
        let moment = Moment::of(unit);
        let calm = unit.keyframe && self.chosen.is_none_or(|chosen| now >= chosen.calm_due);
        let gap = self.chosen.is_none_or(|chosen| now >= chosen.gap_due);
        let past = |anchor: Moment| moment.is_past(anchor, self.burst_interval);
        let burst = self.attention != Attention::Calm && (self.at_once > 0 || self.anchor.is_none_or(past));
        if calm || gap || burst || skipped > 0 || self.unsettled > 0 {
            promoted.want();
            self.unsettled = self.unsettled.saturating_sub(1);
            self.at_once = self.at_once.saturating_sub(1);
            self.anchor = Some(moment);
            self.ring.choose(unit.sequence);
            self.note(unit);
        }
        let piece = if self.is_idle() && !promoted.wants() { self.look_back(Course::Aside) } else { None };
        let piece = piece.or_else(|| {
            let (units, inspect) = if self.is_idle() { promoted.take(now)? } else { return None };
            Some(self.work(units, inspect, Course::Continued))
        });
        self.promoted = Some(promoted);
        piece
    }

    /// Whether a promoted stream needs no decoder of its own any more.
    fn is_over(&self) -> bool {
        let often = self.groups.1 >= OFTEN_ENOUGH && self.attention == Attention::Calm;
        often && self.promoted.as_ref().is_some_and(|promoted| !promoted.wants())
    }

    /// Begins to decode continuously, with `units`.
    fn promote(&mut self, place: Place, units: Vec<AccessUnit>, inspect: Vec<u64>, now: Timestamp) -> Work {
        let budget = self.lookback_bytes.max(LEAST_WAITING);
        let (promoted, units, inspect) = Promoted::new(place, units, inspect, now, budget);
        self.promoted = Some(promoted);
        self.work(units, inspect, Course::Begun)
    }

    /// A place among the streams that are decoded continuously. That there is none is counted once in `max_gap`.
    fn place(&mut self, now: Timestamp) -> Option<Place> {
        let place = self.pool.place();
        if place.is_none() && self.refused.is_none_or(|at| now.since(at) >= self.max_gap) {
            self.pool.refuse();
            self.refused = Some(now);
        }
        place
    }

    fn work(&mut self, units: Vec<AccessUnit>, inspect: Vec<u64>, course: Course) -> Work {
        let under_way = Arc::new(());
        self.under_way = Arc::downgrade(&under_way);
        let is_look = course == Course::Alone && self.attention == Attention::Calm;
        let worth = if is_look { Worth::WhileFresh } else { Worth::Always };
        self.evidence = self.now.filter(|_| worth == Worth::Always);
        Work { units, inspect, course, worth, _under_way: under_way }
    }

    /// Whether evidence waits that newer work would displace; but nobody holds out for it for longer than `max_gap`.
    fn keeps_back(&self, now: Timestamp) -> bool {
        !self.is_idle() && self.evidence.is_some_and(|given| now.since(given) < self.max_gap)
    }

    /// Whether the work given last was done, or will not be.
    fn is_idle(&self) -> bool {
        self.under_way.strong_count() == 0
    }

    fn count_group(&mut self, now: Timestamp) {
        let (before, often) = self.groups;
        let often = match before.map(|before| now.since(before)) {
            Some(length) if length <= self.max_gap + self.max_gap / JITTER => often.saturating_add(1),
            Some(_) => 0,
            None => often,
        };
        self.groups = (Some(now), often);
        if often >= OFTEN_ENOUGH {
            self.demanded = 0;
        }
    }

    /// Counts the times from `picture`, if it is the newest that was chosen.
    fn note(&mut self, picture: &AccessUnit) {
        let at = picture.arrived;
        if self.chosen.is_some_and(|newest| at < newest.at) {
            return;
        }
        let calm = if self.chosen.is_none() { self.min_interval + self.phase } else { self.min_interval };
        self.chosen = Some(Chosen { at, calm_due: at + calm, gap_due: at + self.gap_after(picture) });
    }

    /// Counts the gap from `picture` if it `is` chosen. The next keyframe stays as due as it was: left out, it would only make
    /// for another run.
    fn note_if(&mut self, is: bool, picture: &AccessUnit) {
        if is {
            let before = self.chosen;
            self.note(picture);
            if let (Some(chosen), Some(before)) = (&mut self.chosen, before) {
                chosen.calm_due = before.calm_due;
            }
        }
    }

    /// How long after `picture` the next must follow. Chance comes in between pictures inside a group only, or it would have
    /// streams with short groups pay for runs they do not need.
    fn gap_after(&mut self, picture: &AccessUnit) -> Duration {
        if picture.keyframe && self.promoted.is_none() {
            // Groups just as long as the gap are common, and the next keyframe is then a little late as often as not.
            let regular = self.groups.1 >= OFTEN_ENOUGH;
            return if regular { self.max_gap + self.max_gap / JITTER } else { self.max_gap };
        }
        self.max_gap.mul_f64(1.0 - (self.chance)() / 2.0)
    }

    /// How long until the next picture inside a group: of any length, on average `inside_groups`, and no more likely to end in
    /// one moment than in another (an exponential distribution).
    fn until_inside(&mut self) -> Duration {
        self.inside_groups.mul_f64(-(1.0 - (self.chance)()).max(f64::MIN_POSITIVE).ln())
    }
}

#[cfg(test)]
mod tests;
