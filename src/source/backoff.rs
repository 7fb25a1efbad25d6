//! How long to wait before a source is attached again: longer with every failure, and never in step with others.

use std::time::Duration;

/// The wait before attempt number `attempt` (the first is 0), for `luck` drawn evenly from 0 to 1.
///
/// Exponential backoff with full jitter: evenly between `min` and a ceiling that starts at twice `min` and doubles with
/// each attempt up to `max`. So a thousand streams of one restarted server do not come back in the same instant.
pub(super) fn delay(attempt: u32, min: Duration, max: Duration, luck: f64) -> Duration {
    let doubled = 2_u32.checked_pow(attempt.saturating_add(1)).and_then(|factor| min.checked_mul(factor));
    let ceiling = doubled.unwrap_or(max).min(max);
    min.min(max) + ceiling.saturating_sub(min).mul_f64(luck.clamp(0.0, 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MIN: Duration = Duration::from_millis(200);
    const MAX: Duration = Duration::from_secs(10);

    #[test]
    fn the_ceiling_doubles_up_to_the_maximum() {
        let ceilings: Vec<u128> = (0..8).map(|attempt| delay(attempt, MIN, MAX, 1.0).as_millis()).collect();
        assert_eq!(ceilings, [400, 800, 1600, 3200, 6400, 10_000, 10_000, 10_000]);
    }

    proptest! {
        #[test]
        fn a_delay_stays_between_minimum_and_maximum(attempt: u32, min in 0_u64..20_000, max in 0_u64..60_000, luck in 0.0..1.0) {
            let (min, max) = (Duration::from_millis(min), Duration::from_millis(max));
            let delay = delay(attempt, min, max, luck);
            prop_assert!(delay >= min.min(max) && delay <= max, "{delay:?}");
        }

        #[test]
        fn more_failures_never_shorten_the_wait(attempt in 0_u32..1000, luck in 0.0..1.0) {
            prop_assert!(delay(attempt, MIN, MAX, luck) <= delay(attempt + 1, MIN, MAX, luck));
        }

        #[test]
        fn luck_spreads_the_waits(attempt: u32, a in 0.0..0.5, b in 0.5_f64..1.0) {
            prop_assert!(delay(attempt, MIN, MAX, a) <= delay(attempt, MIN, MAX, b));
            prop_assert_eq!(delay(attempt, MIN, MAX, 0.0), MIN);
        }
    }
}
