//! One entry of a bank, and which hashes are not fit to be one.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::finding::Opinion;
use crate::hash::PdqHash;

/// One entry of a bank.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Signal {
    /// Identifies it within its bank, for good: it is not given anew once its signal was removed.
    pub id: u64,
    /// What the content looks like.
    pub hash: PdqHash,
    /// PDQ quality of the banked picture, 0-100; none where whoever gave the hash did not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quality: Option<u8>,
    /// How far whoever added it vouches for it.
    pub opinion: Opinion,
    /// The file that it was taken from.
    pub provenance: Arc<Provenance>,
    /// Where in the video it lies; none for a picture. In the file: seconds.
    #[serde(with = "seconds", default, skip_serializing_if = "Option::is_none")]
    pub banked_at: Option<Duration>,
    /// What its provider calls the record that it came with, such as `ncmec:42/image1`: by this name the provider
    /// withdraws it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub record: Option<Arc<str>>,
    /// When it was added. In the file: RFC 3339.
    #[serde(with = "rfc3339")]
    pub added: Timestamp,
}

/// Where a signal comes from.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Provenance {
    /// The file's name, without folders.
    pub file: String,
    /// SHA-256 of the file, hexadecimal.
    pub sha256: String,
}

impl fmt::Display for Provenance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} sha256:{}", self.file, self.sha256)
    }
}

/// Why a hash is not fit to be a signal: it would match what it should not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Refusal {
    /// The picture shows too little.
    LowQuality,
    /// No bit is set: the picture was too small to be hashed.
    AllZero,
    /// Far from 128 bits are set, as of no real picture.
    Unbalanced,
}

impl Refusal {
    /// For people.
    pub const fn words(self) -> &'static str {
        match self {
            Self::LowQuality => "low quality",
            Self::AllZero => "too small",
            Self::Unbalanced => "degenerate hash",
        }
    }

    /// Why `hash`, of a picture of `quality` where that is known, is not fit to be a signal; none if it is fit.
    pub fn of(hash: &PdqHash, quality: Option<u8>, min_quality: u8) -> Option<Self> {
        if *hash == PdqHash::ZERO {
            Some(Self::AllZero)
        } else if !HEALTHY_ONES.contains(&hash.ones()) {
            Some(Self::Unbalanced)
        } else if quality.is_some_and(|quality| quality < min_quality) {
            Some(Self::LowQuality)
        } else {
            None
        }
    }
}

/// A hash has exactly 128 bits set unless coefficients are equal, which takes a picture with next to nothing on it.
const HEALTHY_ONES: std::ops::RangeInclusive<u32> = 112..=144;

mod seconds {
    use std::time::Duration;

    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    #[expect(clippy::ref_option, reason = "the form that serde calls")]
    pub(super) fn serialize<S: Serializer>(at: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
        at.as_ref().map(Duration::as_secs_f64).serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
        let seconds = Option::<f64>::deserialize(deserializer)?;
        seconds.map(Duration::try_from_secs_f64).transpose().map_err(D::Error::custom)
    }
}

/// A point in time that may be none.
pub(super) mod rfc3339_option {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use super::rfc3339;
    use crate::clock::Timestamp;

    #[derive(Serialize, Deserialize)]
    struct At(#[serde(with = "rfc3339")] Timestamp);

    #[expect(clippy::ref_option, reason = "the form that serde calls")]
    pub(crate) fn serialize<S: Serializer>(at: &Option<Timestamp>, serializer: S) -> Result<S::Ok, S::Error> {
        at.map(At).serialize(serializer)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Timestamp>, D::Error> {
        Ok(Option::<At>::deserialize(deserializer)?.map(|At(at)| at))
    }
}

pub(super) mod rfc3339 {
    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serialize, Serializer, ser};

    use crate::clock::Timestamp;

    #[expect(clippy::trivially_copy_pass_by_ref, reason = "the form that serde calls")]
    pub(crate) fn serialize<S: Serializer>(at: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
        let micros = i64::try_from(at.as_micros()).map_err(ser::Error::custom)?;
        jiff::Timestamp::from_microsecond(micros).map_err(ser::Error::custom)?.serialize(serializer)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Timestamp, D::Error> {
        let at = jiff::Timestamp::deserialize(deserializer)?;
        u64::try_from(at.as_microsecond()).map(Timestamp::from_micros).map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    impl Signal {
        /// A healthy signal, for tests.
        pub(crate) fn example() -> Self {
            Self {
                id: 1,
                hash: PdqHash::from_words([u64::MAX, u64::MAX, 0, 0]),
                quality: Some(90),
                opinion: Opinion::Positive,
                provenance: Arc::new(Provenance { file: "clip.mp4".to_owned(), sha256: "ab".repeat(32) }),
                banked_at: None,
                record: None,
                added: Timestamp::from_millis(1_552_616_400_123),
            }
        }
    }

    proptest! {
        #[test]
        fn a_signal_reads_back_from_its_line(words: [u64; 4], id: u64, ms in 0u64..4_000_000_000, us in 0u64..1 << 50) {
            let banked_at = Some(Duration::from_millis(ms) + Duration::from_nanos(us % 1_000_000));
            let added = Timestamp::from_micros(us);
            let signal = Signal { id, hash: PdqHash::from_words(words), banked_at, added, ..Signal::example() };
            let line = serde_json::to_string(&signal).unwrap();
            prop_assert_eq!(serde_json::from_str::<Signal>(&line).unwrap(), signal);
        }
    }

    #[test]
    fn a_line_is_for_people_too() {
        let signal = Signal { banked_at: Some(Duration::from_millis(1500)), ..Signal::example() };
        let line = serde_json::to_string(&signal).unwrap();
        assert!(line.contains(r#""file":"clip.mp4""#), "{line}");
        assert!(line.contains(r#""banked_at":1.5,"added":"2019-03-15T02:20:00.123Z""#), "{line}");
    }

    #[test]
    fn degenerate_hashes_are_refused() {
        let ones = |n: u32| PdqHash::from_words([u64::MAX, (1u64 << (n - 64)) - 1, 0, 0]);
        let healthy = Signal::example().hash;
        for (hash, quality, expected) in [
            (healthy, Some(50), None),
            (healthy, Some(49), Some(Refusal::LowQuality)),
            (healthy, None, None),
            (PdqHash::ZERO, Some(100), Some(Refusal::AllZero)),
            (PdqHash::ZERO, None, Some(Refusal::AllZero)),
            (ones(111), Some(100), Some(Refusal::Unbalanced)),
            (ones(112), Some(100), None),
            (PdqHash::from_words([u64::MAX; 4]), Some(100), Some(Refusal::Unbalanced)),
        ] {
            assert_eq!(Refusal::of(&hash, quality, 50), expected, "{hash:?} {quality:?}");
        }
    }
}
