//! How fast sources are attached: a few at once, the rest one after another, so that neither a start with a thousand
//! streams nor the return of a server is a flood of connections to it. Pure.

use std::num::NonZeroU32;
use std::time::Duration;

use crate::clock::Timestamp;

/// What may be attached at once is what may be attached in this time, one at least.
const AT_ONCE: Duration = Duration::from_millis(200);

/// A bucket of tokens, one an attachment: full at first, and filled again with time.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Pace {
    per_second: f64,
    tokens: f64,
    filled: Timestamp,
}

impl Pace {
    /// A pace of `per_second` attachments that begins at `now`.
    pub(super) fn new(per_second: NonZeroU32, now: Timestamp) -> Self {
        let per_second = f64::from(per_second.get());
        Self { per_second, tokens: at_once(per_second), filled: now }
    }

    /// Whether one more may be attached at `now`; it is counted then.
    pub(super) fn allows(&mut self, now: Timestamp) -> bool {
        let gained = now.since(self.filled).as_secs_f64() * self.per_second;
        self.tokens = (self.tokens + gained).min(at_once(self.per_second));
        self.filled = self.filled.max(now);
        let allowed = self.tokens >= 1.0;
        if allowed {
            self.tokens -= 1.0;
        }
        allowed
    }
}

fn at_once(per_second: f64) -> f64 {
    (per_second * AT_ONCE.as_secs_f64()).max(1.0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(millis: u64) -> Timestamp {
        Timestamp::from_millis(1_000_000 + millis)
    }

    fn pace(per_second: u32) -> Pace {
        Pace::new(NonZeroU32::new(per_second).unwrap(), at(0))
    }

    /// How many of those who ask without end are let through at each of these times.
    fn allowed(pace: &mut Pace, times: &[u64]) -> Vec<usize> {
        times.iter().map(|millis| std::iter::from_fn(|| pace.allows(at(*millis)).then_some(())).count()).collect()
    }

    #[test]
    fn a_few_are_let_through_at_once_and_the_rest_in_time() {
        assert_eq!(allowed(&mut pace(50), &[0, 0, 10, 20, 40, 140, 10_000, 10_000]), [10, 0, 0, 1, 1, 5, 10, 0]);
        assert_eq!(allowed(&mut pace(1), &[0, 500, 1000, 1500, 10_000]), [1, 0, 1, 0, 1]);
    }

    #[test]
    fn a_clock_that_is_set_back_gives_nothing_away() {
        assert_eq!(allowed(&mut pace(50), &[100, 0, 100, 120]), [10, 0, 0, 1]);
    }

    proptest! {
        #[test]
        fn never_more_than_at_once_and_the_rate(
            per_second in 1..500_u32,
            steps in prop::collection::vec(0..300_u64, 1..100),
        ) {
            let mut pace = pace(per_second);
            let (mut now, mut count) = (0, 0);
            for step in steps {
                now += step;
                count += allowed(&mut pace, &[now])[0];
                let most = at_once(f64::from(per_second)) + f64::from(per_second) * now as f64 / 1000.0;
                prop_assert!(count as f64 <= most + 1e-6, "{count} after {now} ms");
            }
        }
    }
}
