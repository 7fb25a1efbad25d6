//! Chooses what to decode, and queues it for whoever decodes.
//!
//! Decoding is dear and shared by all streams; telling a keyframe from the rest is nearly free. So everything is decided
//! here, on encoded frames: the [`Sampler`] of a stream chooses which pictures are wanted and says which access units it
//! takes to decode them, and the [`queue`] holds the newest such [`Work`] of each stream until a decoder is free.
//! Overload therefore sheds before decoding, always the oldest work of the same stream, and of all streams alike; and what
//! is still decoded then is of now.
//!
//! Pure: no clock, no I/O, no logging, no thread. The time is the arrival of the access unit at hand.

mod pool;
mod promoted;
pub mod queue;
mod ring;
mod sampler;
mod work;

use std::num::NonZeroUsize;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, de::Error};

pub use self::pool::Pool;
pub use self::sampler::Sampler;
pub use self::work::{Course, Work, Worth};
use crate::config::duration;

/// The `[sample]` section of the configuration.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// While a stream is calm, no two keyframes closer than this are chosen, unless `max_gap` demands it.
    #[serde(with = "duration")]
    pub min_interval: Duration,
    /// While video arrives that can be decoded, no stream goes unlooked-at for longer than this and one frame.
    #[serde(serialize_with = "duration::serialize", deserialize_with = "longer_than_zero")]
    pub max_gap: Duration,
    /// Pictures a second once a stream has drawn attention.
    pub burst_fps: Rate,
    /// Memory, in bytes, for the encoded frames of one stream's current and previous group of pictures.
    pub lookback_bytes: usize,
    /// Memory, in bytes, for those of all streams together.
    pub lookback_total_bytes: usize,
    /// The mean time from one picture inside a group, chosen at random while the stream is calm, to the next; zero for none.
    #[serde(with = "duration")]
    pub inside_groups: Duration,
    /// How many streams may be decoded continuously at once; two a core where absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_promoted: Option<usize>,
    /// Work that waited for a decoder longer than this is left, and newer work of its stream takes its turn. What is looked
    /// at because of a suspicion is never left.
    #[serde(serialize_with = "duration::serialize", deserialize_with = "longer_than_zero")]
    pub max_age: Duration,
    /// How many streams may be under inspection at once.
    pub max_streams: NonZeroUsize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            min_interval: Duration::from_millis(500),
            max_gap: Duration::from_secs(2),
            burst_fps: Rate(5.0),
            lookback_bytes: 8 * 1024 * 1024,
            lookback_total_bytes: 1024 * 1024 * 1024,
            inside_groups: Duration::from_mins(3),
            max_promoted: None,
            max_age: Duration::from_millis(750),
            max_streams: NonZeroUsize::MIN.saturating_add(1023),
        }
    }
}

/// Pictures a second, from [`Rate::SLOWEST`] to [`Rate::FASTEST`].
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(try_from = "f64", into = "f64")]
pub struct Rate(f64);

impl Rate {
    /// One picture in ten seconds.
    pub const SLOWEST: f64 = 0.1;
    /// Every picture of nearly any stream.
    pub const FASTEST: f64 = 60.0;

    /// The time from one picture to the next.
    pub fn interval(self) -> Duration {
        Duration::from_secs_f64(1.0 / self.0)
    }
}

impl TryFrom<f64> for Rate {
    type Error = String;

    fn try_from(per_second: f64) -> Result<Self, String> {
        if (Self::SLOWEST..=Self::FASTEST).contains(&per_second) {
            return Ok(Self(per_second));
        }
        Err(format!("{per_second} pictures a second: write a number from {} to {}", Self::SLOWEST, Self::FASTEST))
    }
}

impl From<Rate> for f64 {
    fn from(rate: Rate) -> Self {
        rate.0
    }
}

fn longer_than_zero<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let span = duration::deserialize(deserializer)?;
    if span.is_zero() {
        return Err(D::Error::custom("must be longer than zero: write a duration such as \"2s\""));
    }
    Ok(span)
}

/// What can go wrong in this stage.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SampleError {
    /// As many streams are open as the configuration allows.
    #[error(
        "all {max_streams} places for streams are taken: raise `max_streams` in `[sample]`, or inspect fewer streams"
    )]
    Full {
        /// The limit.
        max_streams: usize,
    },
}

impl SampleError {
    /// A bounded word for metrics.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Full { .. } => "full",
        }
    }

    /// Whether the same call may succeed later with nothing changed.
    pub const fn is_retryable(&self) -> bool {
        match self {
            Self::Full { .. } => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_section_is_the_default() {
        assert_eq!(toml::from_str::<Config>("").unwrap(), Config::default());
        let written = toml::to_string(&Config::default()).unwrap();
        assert_eq!(toml::from_str::<Config>(&written).unwrap(), Config::default(), "{written}");
    }

    #[test]
    fn a_value_that_makes_no_sense_is_refused_where_it_stands() {
        for (text, says) in [
            ("max_gap = \"0s\"", "longer than zero"),
            ("burst_fps = 0.0", "from 0.1 to 60"),
            ("burst_fps = nan", "from 0.1 to 60"),
            ("max_streams = 0", "nonzero"),
            ("min_gap = \"1s\"", "unknown field `min_gap`"),
        ] {
            let message = toml::from_str::<Config>(text).unwrap_err().to_string();
            assert!(message.contains(says) && message.contains("line 1"), "{text}: {message}");
        }
    }
}
