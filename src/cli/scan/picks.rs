//! Which pictures of a recording are looked at. Pure.
//!
//! Keyframes are ten times cheaper than any other picture, so they are taken where they come about as often as pictures are
//! wanted, and pictures in between only where they do not.

use std::time::Duration;

use crate::stream::AccessUnit;

/// How often a picture is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Every {
    /// Each one.
    Frame,
    /// One in so long, give or take a quarter: a keyframe that is near enough saves decoding all before it.
    Span(Duration),
}

/// What was looked at so far of one recording, in the order of its time.
#[derive(Debug, Clone, Copy)]
pub(super) struct Picks {
    span: Duration,
    last: Option<Duration>,
}

impl Picks {
    pub(super) const fn new(span: Duration) -> Self {
        Self { span, last: None }
    }

    /// Where the next picture is wanted; none where it is the first.
    pub(super) fn wanted(&self) -> Duration {
        self.last.map_or(Duration::ZERO, |last| last + self.span)
    }

    /// Whether the picture at `at` is looked at, where pictures come one by one and cost the same.
    pub(super) fn take(&mut self, at: Duration) -> bool {
        let taken = at >= self.wanted();
        if taken {
            self.last = Some(at);
        }
        taken
    }

    /// The sequence numbers of those of a group, which begins with a keyframe, that are looked at. `end` is when the next group begins.
    pub(super) fn of_group(&mut self, units: &[AccessUnit], end: Option<Duration>) -> Vec<u64> {
        let mut frames: Vec<(Duration, u64)> =
            units.iter().filter_map(|unit| Some((unit.pts?, unit.sequence))).collect();
        let mut chosen = Vec::new();
        let Some(&(begin, keyframe)) = frames.first() else {
            // A recording that does not tell the time shows its keyframes.
            return units.first().map(|unit| unit.sequence).into_iter().collect();
        };
        // A keyframe costs least, so it is taken early, unless the next one comes soon enough as well.
        let early = begin + self.span / 2 >= self.wanted() && end.is_none_or(|end| end > self.wanted() + self.span / 4);
        if self.last.is_none() || begin >= self.wanted() || early {
            chosen.push(keyframe);
            self.last = Some(begin);
        }
        frames.sort_unstable();
        for (at, sequence) in frames {
            // The next keyframe comes soon enough.
            let spared = end.is_some_and(|end| end <= self.wanted() + self.span / 4);
            if at >= self.wanted() && !spared {
                chosen.push(sequence);
                self.last = Some(at);
            }
        }
        chosen
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::clock::Timestamp;
    use crate::stream::Codec;

    fn millis(count: u64) -> Duration {
        Duration::from_millis(count)
    }

    /// The times, in milliseconds, of what is looked at of a recording of so many seconds with groups of so many frames.
    fn looked_at(rate: u64, group: u64, seconds: u64, span: u64) -> (Vec<u64>, u64) {
        let mut picks = Picks::new(millis(span));
        let (mut times, mut decoded) = (Vec::new(), 0);
        let at = |frame: u64| millis(frame * 1000 / rate);
        let all = seconds * rate;
        for begin in (0..all).step_by(group as usize) {
            let end = (begin + group).min(all);
            let unit = |sequence| AccessUnit {
                sequence,
                codec: Codec::H264,
                keyframe: sequence == begin,
                pts: Some(at(sequence)),
                arrived: Timestamp::ZERO,
                data: Bytes::new(),
            };
            let units: Vec<AccessUnit> = (begin..end).map(unit).collect();
            let chosen = picks.of_group(&units, (end < all).then(|| at(end)));
            decoded += chosen.iter().max().map_or(0, |last| last - begin + 1);
            times.extend(chosen.into_iter().map(|sequence| at(sequence).as_millis() as u64));
        }
        (times, decoded)
    }

    #[test]
    fn keyframes_are_enough_where_they_come_often_enough() {
        for (rate, group, expected) in [(30, 30, 10), (30, 33, 10), (25, 24, 11), (30, 36, 9), (25, 5, 10)] {
            let (times, decoded) = looked_at(rate, group, 10, 1000);
            assert!(times.len().abs_diff(expected) <= 1, "{rate}/{group}: {times:?}");
            assert!(decoded <= times.len() as u64 + group, "{rate}/{group}: {decoded} decoded for {times:?}");
        }
    }

    #[test]
    fn pictures_in_between_are_taken_where_keyframes_are_rare() {
        assert_eq!(looked_at(25, 50, 6, 1000).0, [0, 1000, 2000, 3000, 4000, 5000]);
        assert_eq!(looked_at(25, 250, 4, 1000).0, [0, 1000, 2000, 3000]);
        assert_eq!(looked_at(25, 40, 4, 1000).0, [0, 1000, 1600, 2600, 3200]);
    }

    #[test]
    fn nothing_is_passed_over_for_much_longer_than_was_asked() {
        for span in [200, 400, 1000, 2000, 5000] {
            for group in [1, 7, 24, 25, 26, 48, 60, 250, 900] {
                let (times, _) = looked_at(25, group, 30, span);
                assert_eq!(times[0], 0);
                assert!(times.is_sorted());
                let widest = times.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap_or_default();
                assert!(widest <= span + span / 4 + 40, "{span} {group}: {widest}");
                assert!(30_000 - times.last().unwrap() <= span + span / 4 + 40, "{span} {group}: the end");
            }
        }
    }

    #[test]
    fn one_by_one_the_first_after_each_span_is_taken() {
        let mut picks = Picks::new(millis(100));
        let taken: Vec<u64> = (0..10).map(|n| n * 40).filter(|at| picks.take(millis(*at))).collect();
        assert_eq!(taken, [0, 120, 240, 360]);
    }
}
