//! Chooses, for one stream, the pictures that are worth a decoder's time.
//!
//! - **Calm**: keyframes, `min_interval` apart or more. A keyframe decodes alone, so this is cheap.
//! - **Gap**: where keyframes come further apart than `max_gap`, the unit at hand, decoded by way of every unit since
//!   its keyframe. So while units arrive that can be decoded and fit the ring, the gap between chosen pictures never
//!   exceeds `max_gap` and one frame. The run grows with the group of pictures, so this is meant for the odd long group;
//!   a stream that has nothing else is better served by a decoder of its own, which does not exist yet. A group larger
//!   than the ring is inspected at its keyframe only.
//! - **Attention**: as soon as it rises, the pictures of the last two groups `1 / burst_fps` apart, so that the moments
//!   *before* the first suspicion count as evidence; from then on every `1 / burst_fps` the pictures that came since.
//!
//! No picture is asked for twice, and none that needs a unit which never came.

use std::time::Duration;

use crate::clock::Timestamp;
use crate::sample::Config;
use crate::sample::ring::{Moment, Ring};
use crate::stream::{AccessUnit, Attention};

/// What to decode, and of which units pictures are wanted.
///
/// `units` follow one another without a gap and begin with a keyframe; `inspect` names some of them, at least one, in
/// increasing order, and the last of `units` is among them.
#[derive(Debug, Clone)]
pub struct Work {
    /// A run that can be decoded.
    pub units: Vec<AccessUnit>,
    /// The sequence numbers of the units whose pictures are to be inspected.
    pub inspect: Vec<u64>,
    /// What it is worth once it is old.
    pub worth: Worth,
}

/// What becomes of work that waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Worth {
    /// A look at how the stream is now: when it is old, a newer one serves better.
    WhileFresh,
    /// Pictures from before and after a suspicion. They are evidence, and nothing that comes later stands in for them.
    Always,
}

impl Work {
    /// Whether it is still to be done at `now`: what is worth something only while fresh is not, when the newest of its
    /// pictures came longer than `max_age` ago.
    pub fn is_fresh(&self, now: Timestamp, max_age: Duration) -> bool {
        match self.worth {
            Worth::WhileFresh => self.units.last().is_some_and(|newest| now.since(newest.arrived) <= max_age),
            Worth::Always => true,
        }
    }
}

/// The sampler of one stream. It holds at most `lookback_bytes` of encoded frames.
#[derive(Debug)]
pub struct Sampler {
    min_interval: Duration,
    max_gap: Duration,
    burst_interval: Duration,
    phase: Duration,
    ring: Ring,
    chosen: Option<Chosen>,
    attention: Attention,
    /// Where the pictures chosen under attention have got to.
    anchor: Option<Moment>,
    /// When pictures are next chosen under attention.
    burst_due: Timestamp,
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

impl Sampler {
    /// A sampler that has seen nothing yet.
    ///
    /// `phase`, drawn at random from zero to `min_interval`, shifts the times at which pictures are chosen, so that a
    /// publisher cannot time frames to fall between them. It never delays the first picture, nor stretches a gap.
    pub fn new(config: &Config, phase: Duration) -> Self {
        Self {
            min_interval: config.min_interval,
            max_gap: config.max_gap,
            burst_interval: config.burst_fps.interval(),
            phase,
            ring: Ring::new(config.lookback_bytes),
            chosen: None,
            attention: Attention::Calm,
            anchor: None,
            burst_due: Timestamp::ZERO,
        }
    }

    /// Takes in the stream's next unit, and says whether something is to be decoded now.
    ///
    /// The time is `unit.arrived`. `unit.sequence` counts on by one; where it does not, units were lost, and nothing
    /// is chosen that would need them.
    pub fn offer(&mut self, unit: AccessUnit, attention: Attention) -> Option<Work> {
        let (sequence, now) = (unit.sequence, unit.arrived);
        let keyframe = unit.keyframe.then(|| unit.clone());
        self.ring.push(unit);

        if attention > self.attention {
            self.burst_due = now;
        }
        self.attention = attention;

        self.burst(now).or_else(|| self.calm(keyframe?)).or_else(|| self.gap(sequence, now))
    }

    /// Starts afresh after the stream was attached again: timestamps begin anew, and the group of pictures is broken.
    pub fn reset(&mut self) {
        self.ring.clear();
        self.anchor = None;
    }

    fn burst(&mut self, now: Timestamp) -> Option<Work> {
        if self.attention == Attention::Calm || now < self.burst_due {
            return None;
        }
        let mut work = self.ring.pick(&mut self.anchor, self.burst_interval)?;
        self.burst_due = now + self.burst_interval;
        self.note_last(&work);
        if self.chosen.is_some_and(|chosen| now >= chosen.gap_due) {
            self.ring.extend(&mut work);
            self.note_last(&work);
        }
        Some(work)
    }

    fn calm(&mut self, keyframe: AccessUnit) -> Option<Work> {
        if self.chosen.is_some_and(|chosen| keyframe.arrived < chosen.calm_due) {
            return None;
        }
        // Not by way of the ring: a keyframe too large for it must not go unseen.
        self.ring.choose(keyframe.sequence);
        let work = Work { inspect: vec![keyframe.sequence], units: vec![keyframe], worth: Worth::WhileFresh };
        self.note_last(&work);
        Some(work)
    }

    fn gap(&mut self, sequence: u64, now: Timestamp) -> Option<Work> {
        let chosen = self.chosen.filter(|chosen| now >= chosen.gap_due)?;
        let work = self.ring.run_to(sequence)?;
        // The next keyframe stays as due as it was: left out, it would only make for another run.
        self.chosen = Some(Chosen { at: now, gap_due: now + self.gap_after(work.units.last()?), ..chosen });
        Some(work)
    }

    /// Counts the times from the last picture of `work`, if it is the newest that was chosen.
    fn note_last(&mut self, work: &Work) {
        let Some(last) = work.units.last() else { return };
        let at = last.arrived;
        if self.chosen.is_some_and(|newest| at < newest.at) {
            return;
        }
        let calm = if self.chosen.is_none() { self.min_interval + self.phase } else { self.min_interval };
        self.chosen = Some(Chosen { at, calm_due: at + calm, gap_due: at + self.gap_after(last) });
    }

    /// How long after `picture` the next must follow. The phase comes in between pictures inside a group only, or it
    /// would have streams with short groups pay for runs they do not need.
    fn gap_after(&self, picture: &AccessUnit) -> Duration {
        if picture.keyframe { self.max_gap } else { self.max_gap.saturating_sub(self.phase).max(self.max_gap / 2) }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use bytes::Bytes;
    use proptest::prelude::*;

    use super::*;
    use crate::stream::Codec;

    const STEP: Duration = Duration::from_millis(100);

    fn unit(sequence: u64, keyframe: bool, millis: u64, bytes: usize) -> AccessUnit {
        AccessUnit {
            sequence,
            codec: Codec::H264,
            keyframe,
            pts: Some(Duration::from_millis(millis)),
            arrived: Timestamp::from_millis(1_000_000 + millis),
            data: Bytes::from(vec![0; bytes]),
        }
    }

    /// `7` for a picture that decodes alone, `3-7:5,7` for a run and the pictures wanted of it.
    fn shown(work: &Work) -> String {
        let wanted: Vec<String> = work.inspect.iter().map(u64::to_string).collect();
        match work.units.as_slice() {
            [only] => only.sequence.to_string(),
            [first, .., last] => format!("{}-{}:{}", first.sequence, last.sequence, wanted.join(",")),
            [] => "nothing".to_owned(),
        }
    }

    /// Plays a timeline of 100 ms a step: `k` a keyframe, `.` another frame, `-` no frame, `~` a frame that is lost on
    /// the way, `r` a new attachment; `!` behind a frame: people look closely.
    fn play(sampler: &mut Sampler, timeline: &str) -> String {
        let mut chosen = Vec::new();
        let mut sequence = 0;
        for (step, token) in timeline.split_whitespace().enumerate() {
            let attention = if token.ends_with('!') { Attention::Suspicious } else { Attention::Calm };
            let at = (STEP * step as u32).as_millis() as u64;
            match token.trim_end_matches('!') {
                frame @ ("k" | ".") => {
                    let work = sampler.offer(unit(sequence, frame == "k", at, 100), attention);
                    chosen.extend(work.as_ref().map(shown));
                    sequence += 1;
                }
                "~" => sequence += 1,
                "r" => sampler.reset(),
                _ => {}
            }
        }
        chosen.join(" ")
    }

    #[test]
    fn stories() {
        let config = || Config { max_gap: Duration::from_secs(1), ..Config::default() };
        let small = || Config { lookback_bytes: 3 * (100 + 200), ..config() };
        let slow = || Config { burst_fps: 2.5.try_into().unwrap(), ..config() };
        for (story, config, timeline, chosen) in [
            ("keyframes are chosen", config(), "k . . . . . k . . . . . k", "0 6 12"),
            ("but not too close", config(), "k . k . k . k . k . k", "0 6"),
            ("nothing before the first keyframe", config(), ". . . . . . . . . . . . k", "12"),
            ("a long group is looked into", config(), "k . . . . . . . . . . . . k", "0 0-10:10 13"),
            ("and its keyframe is due as ever", config(), "k . . . . . . . . . . k . . . .", "0 0-10:10 11"),
            ("again and again", config(), "k . . . . . . . . . . . . . . . . . . . . .", "0 0-10:10 0-20:20"),
            ("unless a frame of it is lost", config(), "k . . . . ~ . . . . . . . . k", "0 14"),
            ("or it outgrows the ring", small(), "k . . . . . . . . . . . . k", "0 13"),
            ("a new attachment waits for a keyframe", config(), "k . . . . r . . . . . . . . k . .", "0 13"),
            ("and does not come round sooner", config(), "k r k . . . . . . . . .", "0 1-9:9"),
            (
                "look back, then look often",
                config(),
                "k . . . . . k . . .! .! .! .! .!",
                "0 6 0-8:2,4,8 6-10:10 6-12:12",
            ),
            ("look back without repeating", config(), "k . . . . . k .! .", "0 6 0-4:2,4"),
            ("keyframes not chosen before count too", config(), "k . . k . .! .", "0 0-4:2,4"),
            ("a look back with nothing to see", config(), ".! .! k! .! .! .! k!", "2 2-4:4 6"),
            ("a look back does not hasten the next keyframe", config(), "k . . . . . k .! . k . k", "0 6 0-4:2,4 11"),
            ("only what is held counts", small(), "k . k . k . k . k . k . k .!", "0 6 12 10"),
            ("a new attachment begins a new count", slow(), "k! r k! .! .!", "0 1"),
            ("attention that returns", config(), "k .! .! . . . . .! .!", "0 0-2:2 0-6:4,6"),
            ("a lost frame ends the look back", config(), "k . . ~ k . .! .!", "0 4-6:4,6"),
        ] {
            let mut sampler = Sampler::new(&config, Duration::ZERO);
            assert_eq!(play(&mut sampler, timeline), chosen, "{story}: {timeline}");
        }
    }

    #[test]
    fn looks_become_stale_and_evidence_does_not() {
        let config = Config { max_gap: Duration::from_secs(1), ..Config::default() };
        let mut sampler = Sampler::new(&config, Duration::ZERO);
        let max_age = Duration::from_millis(750);
        for (sequence, attention, fresh, story) in [
            (0, Attention::Calm, false, "a keyframe"),
            (10, Attention::Calm, false, "a picture that fills a gap"),
            (12, Attention::Suspicious, true, "a look back"),
        ] {
            let offer = |sequence| sampler.offer(unit(sequence, sequence == 0, sequence * 100, 100), attention);
            let first = [0, 1, 11][[0, 10, 12].iter().position(|last| *last == sequence).unwrap()];
            let work = (first..=sequence).filter_map(offer).last().unwrap();
            let came = work.units.last().unwrap().arrived;
            assert!(work.is_fresh(came + max_age, max_age), "{story}");
            assert_eq!(work.is_fresh(came + max_age + Duration::from_millis(1), max_age), fresh, "{story}");
        }
    }

    #[test]
    fn the_phase_shifts_later_pictures_but_never_the_first() {
        let config = Config { max_gap: Duration::from_secs(1), ..Config::default() };
        for (story, millis, timeline, chosen) in [
            ("keyframes only", 0, "k k k k k k k k k k k k k k", "0 5 10"),
            ("keyframes only, shifted", 200, "k k k k k k k k k k k k k k", "0 7 12"),
            ("a long group", 0, "k . . . . . . . . . . . . . . . . . . . . .", "0 0-10:10 0-20:20"),
            ("a long group, shifted", 200, "k . . . . . . . . . . . . . . . . . . . . .", "0 0-10:10 0-18:18"),
        ] {
            let mut sampler = Sampler::new(&config, Duration::from_millis(millis));
            assert_eq!(play(&mut sampler, timeline), chosen, "{story}: {timeline}");
        }
    }

    #[test]
    fn a_phase_longer_than_the_gap_does_not_choose_every_frame() {
        let second = Duration::from_secs(1);
        let config = Config { min_interval: 3 * second, max_gap: second, ..Config::default() };
        let mut sampler = Sampler::new(&config, 2 * second);
        let timeline = "k . . . . . . . . . . . . . . . . . . . .";
        assert_eq!(play(&mut sampler, timeline), "0 0-10:10 0-15:15 0-20:20");
    }

    #[test]
    fn timestamps_that_stand_still_hide_nothing() {
        let mut sampler = Sampler::new(&Config::default(), Duration::ZERO);
        let frozen = |sequence, keyframe| AccessUnit {
            pts: Some(Duration::ZERO),
            ..unit(sequence, keyframe, sequence * 100, 100)
        };
        let mut chosen = vec![sampler.offer(frozen(0, true), Attention::Calm).unwrap()];
        chosen.extend((1..=6).filter_map(|sequence| sampler.offer(frozen(sequence, false), Attention::Suspicious)));
        assert_eq!(chosen.iter().map(shown).collect::<Vec<_>>(), ["0", "0-2:2", "0-4:4", "0-6:6"]);
    }

    #[test]
    fn frames_that_arrive_at_once_are_told_apart_by_their_timestamps() {
        let mut sampler = Sampler::new(&Config::default(), Duration::ZERO);
        let at_once = |sequence| AccessUnit {
            arrived: Timestamp::from_millis(1_000_000),
            ..unit(sequence, sequence == 0, sequence * 100, 100)
        };
        for sequence in 0..6 {
            sampler.offer(at_once(sequence), Attention::Calm);
        }
        let work = sampler.offer(at_once(6), Attention::Reported).unwrap();
        assert_eq!(shown(&work), "0-6:2,4,6");
    }

    /// A frame as the property tests deal it: whether it is a keyframe, the time since the one before, its size, whether
    /// the one before was lost, how closely people look, and whether the stream was attached again before it.
    type Dealt = (bool, u64, usize, bool, bool, bool);

    fn frames(keyframes: f64, lost: f64, attached: f64) -> impl Strategy<Value = Vec<Dealt>> {
        let weighted = prop::bool::weighted;
        prop::collection::vec(
            (weighted(keyframes), 1..120_u64, 0..3000_usize, weighted(lost), any::<bool>(), weighted(attached)),
            1..400,
        )
    }

    fn config() -> impl Strategy<Value = Config> {
        (0..1500_u64, 1..3000_u64, 0.5..60.0_f64, 0..200_000_usize).prop_map(|(min, max, fps, lookback_bytes)| Config {
            min_interval: Duration::from_millis(min),
            max_gap: Duration::from_millis(max),
            burst_fps: fps.try_into().unwrap(),
            lookback_bytes,
            ..Config::default()
        })
    }

    /// Deals the frames to a sampler: what was offered, and the work chosen, with the number of frames offered by then.
    fn deal(config: &Config, phase: f64, frames: &[Dealt]) -> (Vec<AccessUnit>, Vec<(usize, Work)>) {
        let mut sampler = Sampler::new(config, config.min_interval.mul_f64(phase));
        let (mut offered, mut chosen, mut millis, mut sequence) = (Vec::new(), Vec::new(), 0, 0);
        let mut attention = Attention::Calm;
        for (keyframe, gap, bytes, lost, turn, attached) in frames {
            millis += gap;
            sequence += 1 + u64::from(*lost);
            // Attention comes and goes in stretches.
            if *turn && sequence % 7 == 0 {
                attention = if attention == Attention::Calm { Attention::Suspicious } else { Attention::Calm };
            }
            if *attached {
                sampler.reset();
            }
            let unit = unit(sequence, *keyframe, millis, *bytes);
            offered.push(unit.clone());
            chosen.extend(sampler.offer(unit, attention).map(|work| (offered.len(), work)));
        }
        (offered, chosen)
    }

    proptest! {
        #[test]
        fn work_can_always_be_decoded_and_asks_for_nothing_twice(
            config in config(), phase in 0.0..1.0_f64, frames in frames(0.05, 0.02, 0.01),
        ) {
            let (offered, chosen) = deal(&config, phase, &frames);
            let mut asked = BTreeSet::new();
            for (seen, work) in chosen {
                let run: Vec<u64> = work.units.iter().map(|unit| unit.sequence).collect();
                prop_assert!(work.units[0].keyframe);
                prop_assert!(run.windows(2).all(|pair| pair[0] + 1 == pair[1]), "{:?}", run);
                prop_assert!(work.inspect.windows(2).all(|pair| pair[0] < pair[1]), "{:?}", work.inspect);
                prop_assert!(work.inspect.iter().all(|sequence| run.contains(sequence)));
                prop_assert_eq!(work.inspect.last(), run.last());
                prop_assert!(work.inspect.iter().all(|sequence| asked.insert(*sequence)), "twice: {:?}", work.inspect);
                prop_assert!(offered[..seen].iter().any(|unit| unit.sequence == work.inspect[0]));
                let held: usize = work.units.iter().map(|unit| unit.data.len()).sum();
                prop_assert!(work.units.len() == 1 || held <= config.lookback_bytes);
            }
        }

        #[test]
        fn the_gap_between_chosen_pictures_is_bounded(
            config in config(), phase in 0.0..1.0_f64, frames in frames(0.02, 0.0, 0.0),
        ) {
            let config = Config { lookback_bytes: usize::MAX, ..config };
            let mut frames = frames;
            frames[0].0 = true;
            let (offered, chosen) = deal(&config, phase, &frames);
            let asked: BTreeSet<u64> = chosen.iter().flat_map(|(_, work)| work.inspect.clone()).collect();
            let mut since = offered[0].arrived;
            let mut before = since;
            prop_assert!(asked.contains(&offered[0].sequence));
            for unit in &offered {
                let frame = unit.arrived.since(before);
                prop_assert!(unit.arrived.since(since) <= config.max_gap + frame, "{}", unit.sequence);
                before = unit.arrived;
                if asked.contains(&unit.sequence) {
                    since = unit.arrived;
                }
            }
        }

        #[test]
        fn calm_keyframes_keep_their_distance(
            config in config(), phase in 0.0..1.0_f64, frames in frames(0.6, 0.05, 0.05),
        ) {
            let config = Config { max_gap: Duration::from_hours(1), ..config };
            let calm: Vec<Dealt> = frames.iter().map(|&(key, gap, bytes, lost, _, again)| (key, gap, bytes, lost, false, again)).collect();
            let (_, chosen) = deal(&config, phase, &calm);
            let times: Vec<Timestamp> = chosen.iter().map(|(_, work)| work.units[0].arrived).collect();
            prop_assert!(chosen.iter().all(|(_, work)| work.units.len() == 1));
            prop_assert!(times.windows(2).all(|pair| pair[1].since(pair[0]) >= config.min_interval));
        }
    }
}
