//! Durations in configuration files: `"2s"`, `"250ms"`, `"1m30s"`, `"24h"`.

use std::time::Duration;

use jiff::SignedDuration;
use serde::{Deserialize, Deserializer, Serializer, de::Error};

/// Reads a duration; for `#[serde(with = "crate::config::duration")]`.
///
/// # Errors
/// When the text is no duration, or a negative one.
pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let text = String::deserialize(deserializer)?;
    parse(&text).map_err(D::Error::custom)
}

/// Writes a duration as [`deserialize`] reads it.
///
/// # Errors
/// When the serializer fails.
pub fn serialize<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    let signed = SignedDuration::try_from(*duration).unwrap_or(SignedDuration::MAX);
    serializer.serialize_str(&format!("{signed:#}"))
}

/// Parses `"2s"`, `"250ms"`, `"1m30s"`.
///
/// # Errors
/// A message that names the text and gives an example.
pub fn parse(text: &str) -> Result<Duration, String> {
    let refused = || format!("`{text}` is not a duration: write a number and a unit, such as \"2s\" or \"250ms\"");
    let signed: SignedDuration = text.parse().map_err(|_error: jiff::Error| refused())?;
    Duration::try_from(signed).map_err(|_error: jiff::Error| refused())
}

/// A duration that may be left out; for `#[serde(with = "crate::config::duration::optional")]`.
pub mod optional {
    use std::time::Duration;

    use serde::{Deserializer, Serializer};

    /// Reads a duration that is there.
    ///
    /// # Errors
    /// When the text is no duration, or a negative one.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
        super::deserialize(deserializer).map(Some)
    }

    /// Writes a duration as [`deserialize`] reads it. One that is left out is to be skipped.
    ///
    /// # Errors
    /// When the serializer fails.
    #[expect(clippy::ref_option, reason = "serde hands a reference")]
    pub fn serialize<S: Serializer>(duration: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
        match duration {
            Some(duration) => super::serialize(duration, serializer),
            None => serializer.serialize_none(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_people_write() {
        for (text, millis) in [("2s", 2000), ("250ms", 250), ("1m30s", 90_000), ("24h", 86_400_000), ("1m 30s", 90_000)]
        {
            assert_eq!(parse(text), Ok(Duration::from_millis(millis)), "{text}");
        }
    }

    #[test]
    fn refuses_what_is_no_duration() {
        for text in ["", "2", "fast", "-2s", "2 parsecs"] {
            assert!(parse(text).unwrap_err().contains("such as"), "{text}");
        }
    }
}
