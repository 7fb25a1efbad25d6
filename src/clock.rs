//! Time as every stage sees it: microseconds since the Unix epoch that never run backwards within a process.
//!
//! Pure stages take a [`Timestamp`] as an argument; only `app` and the edges of the house ask a [`Clock`]. A timestamp
//! is plain data, so it crosses process boundaries and reads back from the ledger unchanged.

use std::fmt;
use std::ops::Add;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

/// A point in time, in microseconds since the Unix epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timestamp(u64);

impl Timestamp {
    /// The Unix epoch.
    pub const ZERO: Self = Self(0);

    /// The point `micros` microseconds after the Unix epoch.
    pub const fn from_micros(micros: u64) -> Self {
        Self(micros)
    }

    /// The point `millis` milliseconds after the Unix epoch.
    pub const fn from_millis(millis: u64) -> Self {
        Self(millis.saturating_mul(1000))
    }

    /// Microseconds since the Unix epoch.
    pub const fn as_micros(self) -> u64 {
        self.0
    }

    /// Time passed since `earlier`; zero when `earlier` is in fact later.
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0))
    }

    /// The point `span` before this one, not before the epoch.
    #[must_use]
    pub fn minus(self, span: Duration) -> Self {
        Self(self.0.saturating_sub(micros(span)))
    }
}

impl Add<Duration> for Timestamp {
    type Output = Self;

    fn add(self, span: Duration) -> Self {
        Self(self.0.saturating_add(micros(span)))
    }
}

/// RFC 3339 in UTC, to the millisecond.
impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let micros = i64::try_from(self.0).unwrap_or(i64::MAX);
        match jiff::Timestamp::from_microsecond(micros) {
            Ok(at) => write!(f, "{at:.3}"),
            Err(_) => write!(f, "{}us", self.0),
        }
    }
}

/// What [`Instant`] counts: the time since the machine was started.
fn monotonic() -> Duration {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    Duration::new(now.tv_sec as u64, now.tv_nsec as u32)
}

fn micros(span: Duration) -> u64 {
    u64::try_from(span.as_micros()).unwrap_or(u64::MAX)
}

/// Reads the time: the wall clock once, at the start, and the monotonic clock from then on.
///
/// So a step of the wall clock can neither shorten nor lengthen an evidence window. Cloning is cheap, and clones agree.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    started: Instant,
    started_at: Timestamp,
}

impl Clock {
    /// A clock anchored to the wall clock now.
    #[expect(clippy::disallowed_methods, reason = "this is the one place that asks the operating system for the time")]
    pub fn system() -> Self {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self { started: Instant::now(), started_at: Timestamp(micros(wall)) }
    }

    /// What this clock is set to, for [`Clock::anchored`] in another process: the time when the machine's monotonic clock
    /// stood at zero.
    pub fn anchor(&self) -> Timestamp {
        self.now().minus(monotonic())
    }

    /// The clock whose [`Clock::anchor`] this is, in whatever process of this machine.
    #[expect(clippy::disallowed_methods, reason = "this is the one place that asks the operating system for the time")]
    pub fn anchored(anchor: Timestamp) -> Self {
        Self { started: Instant::now(), started_at: anchor + monotonic() }
    }

    /// What the wall clock says now: for those who compare it with theirs. Unlike [`Clock::now`] it follows every step.
    #[expect(clippy::disallowed_methods, reason = "this is the one place that asks the operating system for the time")]
    pub fn wall(&self) -> Timestamp {
        Timestamp(micros(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()))
    }

    /// The time now.
    pub fn now(&self) -> Timestamp {
        self.started_at + self.started.elapsed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_as_rfc_3339() {
        assert_eq!(Timestamp::from_millis(1_552_616_400_123).to_string(), "2019-03-15T02:20:00.123Z");
    }

    #[test]
    fn a_later_time_is_never_a_negative_span_away() {
        let (early, late) = (Timestamp::from_millis(5), Timestamp::from_millis(9));
        assert_eq!(late.since(early), Duration::from_millis(4));
        assert_eq!(early.since(late), Duration::ZERO);
        assert_eq!(early.minus(Duration::from_secs(1)), Timestamp::ZERO);
    }

    #[test]
    fn clocks_with_one_anchor_agree() {
        let clock = Clock::system();
        let other = Clock::anchored(clock.anchor());
        let (before, between, after) = (clock.now(), other.now(), clock.now());
        let slack = Duration::from_millis(5);
        assert!(before <= between + slack && between <= after + slack, "{before:?} {between:?} {after:?}");
    }

    #[test]
    fn a_clock_does_not_run_backwards() {
        let clock = Clock::system();
        let first = clock.now();
        assert!(clock.now() >= first);
    }
}
