//! How fast a segment's bytes are handed on. Pure.
//!
//! A segment arrives at once, and what is in it happened over some seconds. Were it handed on at once, all its pictures
//! would arrive at the same moment: the sampler, which goes by arrival, would choose one of them, and the decoders would
//! get their work in lumps. So it is handed on in pieces, a little faster than it was taken to be through before the
//! next one comes, and the faster the more are waiting.

use std::ops::Range;
use std::time::Duration;

/// How much of a segment's time one piece is.
const STEP: Duration = Duration::from_millis(100);

/// How long a segment takes to hand on, of how long it lasts, while none is waiting.
const BRISK: f64 = 0.9;

/// The pieces of `bytes` that last `duration`: which bytes, and when in the segment they begin.
pub(super) fn pieces(bytes: usize, duration: Duration) -> impl Iterator<Item = (Range<usize>, Duration)> {
    let count = duration.as_nanos().div_ceil(STEP.as_nanos()).clamp(1, u32::MAX.into()) as u32;
    let at = move |piece: u32| (bytes as u128 * u128::from(piece) / u128::from(count)) as usize;
    (0..count)
        .map(move |piece| (at(piece)..at(piece + 1), duration * piece / count))
        .filter(|(range, _)| !range.is_empty())
}

/// How long `media` time takes to hand on while `waiting` segments are known behind this one.
pub(super) fn takes(media: Duration, waiting: usize) -> Duration {
    match waiting {
        0 => media.mul_f64(BRISK),
        1 => media / 2,
        2 => media / 4,
        _ => Duration::ZERO,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_segment_is_handed_on_over_the_time_that_it_lasts() {
        let cut = |bytes, millis| pieces(bytes, Duration::from_millis(millis)).collect::<Vec<_>>();
        let at = Duration::from_millis;
        assert_eq!(cut(100, 400), [(0..25, at(0)), (25..50, at(100)), (50..75, at(200)), (75..100, at(300))]);
        assert_eq!(cut(100, 0), [(0..100, at(0))], "no time to spread it over");
        assert_eq!(cut(2, 400), [(0..1, at(100)), (1..2, at(300))], "fewer bytes than pieces");
        assert_eq!(cut(0, 400), []);
    }

    #[test]
    fn what_waits_makes_it_hurry() {
        let spans: Vec<u64> = (0..5).map(|waiting| takes(Duration::from_secs(6), waiting).as_millis() as u64).collect();
        assert_eq!(spans, [5400, 3000, 1500, 0, 0]);
    }

    proptest! {
        #[test]
        fn every_byte_is_handed_on_once_and_in_order(bytes in 0..100_000_usize, millis in 0..60_000_u64) {
            let duration = Duration::from_millis(millis);
            let mut next = (0, Duration::ZERO);
            for (range, at) in pieces(bytes, duration) {
                prop_assert_eq!(range.start, next.0);
                prop_assert!(at >= next.1 && (at < duration || millis == 0));
                next = (range.end, at);
            }
            prop_assert_eq!(next.0, bytes);
        }
    }
}
