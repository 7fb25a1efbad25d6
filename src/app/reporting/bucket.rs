//! How many of something may pass: so many at once, and so many a second after that. Time is an argument.

use std::time::Duration;

use crate::clock::Timestamp;

/// A bucket of tokens that fills at a steady rate.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::app) struct Bucket {
    size: f64,
    per_second: f64,
    tokens: f64,
    at: Timestamp,
}

impl Bucket {
    /// A full bucket of `size` tokens. A rate of zero is taken for a very slow one.
    pub(in crate::app) fn new(size: u32, per_second: f64, now: Timestamp) -> Self {
        Self { size: f64::from(size), per_second: per_second.max(1e-6), tokens: f64::from(size), at: now }
    }

    /// Takes a token, or says how long until there is one.
    pub(in crate::app) fn take(&mut self, now: Timestamp) -> Result<(), Duration> {
        self.tokens = (self.tokens + now.since(self.at).as_secs_f64() * self.per_second).min(self.size);
        self.at = self.at.max(now);
        if self.tokens >= 1.0 {
            self.tokens -= 1.0;
            return Ok(());
        }
        Err(Duration::from_secs_f64((1.0 - self.tokens) / self.per_second))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn so_many_pass_at_once_and_then_as_many_as_time_brings() {
        let at = Timestamp::from_millis;
        let mut bucket = Bucket::new(3, 2.0, at(1000));
        assert!((0..3).all(|_| bucket.take(at(1000)).is_ok()));
        assert_eq!(bucket.take(at(1000)), Err(Duration::from_millis(500)));
        assert!(bucket.take(at(1500)).is_ok());
        assert!(bucket.take(at(1500)).is_err());
        assert!((0..3).all(|_| bucket.take(at(900_000)).is_ok()), "it is full again and no fuller");
        assert!(bucket.take(at(900_000)).is_err());
        assert!(bucket.take(at(0)).is_err(), "time that runs backwards brings nothing");
    }

    proptest! {
        #[test]
        fn no_span_of_time_lets_more_pass_than_its_share(
            size in 1..20_u32, rate in 0.1..50.0_f64, gaps in prop::collection::vec(0..500_u64, 1..200),
        ) {
            let mut bucket = Bucket::new(size, rate, Timestamp::ZERO);
            let mut now = 0;
            let mut passed = Vec::new();
            for gap in gaps {
                now += gap;
                if bucket.take(Timestamp::from_millis(now)).is_ok() {
                    passed.push(now);
                }
            }
            for (first, from) in passed.iter().enumerate() {
                for (last, until) in passed.iter().enumerate().skip(first) {
                    let most = f64::from(size) + (until - from) as f64 / 1000.0 * rate + 1e-6;
                    prop_assert!(((last - first + 1) as f64) <= most, "{} in {} ms", last - first + 1, until - from);
                }
            }
        }
    }
}
