//! The hash as a value: its text, its bits and its distance. It never shows itself in a log.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// Bits in a hash.
pub(super) const BITS: usize = 256;

const WORDS: usize = BITS / 64;

/// A PDQ hash: 256 bits.
///
/// As text it is 64 lower-case hexadecimal digits in the reference's order, the highest frequencies first. [`fmt::Debug`]
/// keeps the bits to itself: hashes of banked content may be confidential, and `Debug` is what ends up in logs.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct PdqHash([u64; WORDS]);

impl PdqHash {
    /// No bit set: the hash of what cannot be hashed.
    pub const ZERO: Self = Self([0; WORDS]);

    /// The hash whose text is these four words in hexadecimal, one after the other.
    pub const fn from_words(words: [u64; WORDS]) -> Self {
        Self(words)
    }

    /// The four words, in the order of the text.
    pub const fn words(&self) -> &[u64; WORDS] {
        &self.0
    }

    /// The Hamming distance: how many bits differ, 0 to 256.
    #[inline]
    pub fn distance(&self, other: &Self) -> u32 {
        self.0.iter().zip(&other.0).map(|(a, b)| (a ^ b).count_ones()).sum()
    }

    /// How many bits are set. 128 in every healthy hash, fewer where a picture is so plain that coefficients are equal.
    pub fn ones(&self) -> u32 {
        self.0.iter().map(|word| word.count_ones()).sum()
    }

    /// Sets bit `k` of the algorithm: coefficient `k / 16` down, `k % 16` across. The text starts with bit 255.
    pub(super) fn set(&mut self, k: usize) {
        if let Some(word) = self.0.iter_mut().rev().nth(k / 64) {
            *word |= 1 << (k % 64);
        }
    }
}

impl fmt::Display for PdqHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|word| write!(f, "{word:016x}"))
    }
}

impl fmt::Debug for PdqHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PdqHash({} of {BITS} bits set)", self.ones())
    }
}

/// The text is not a PDQ hash.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a PDQ hash is 64 hexadecimal digits, and this text is not: compare it with where it was copied from")]
pub struct ParseHashError;

impl FromStr for PdqHash {
    type Err = ParseHashError;

    /// Reads 64 hexadecimal digits of either case.
    fn from_str(text: &str) -> Result<Self, ParseHashError> {
        let mut bytes = [0; BITS / 8];
        hex::decode_to_slice(text, &mut bytes).or(Err(ParseHashError))?;
        let mut words = [0; WORDS];
        for (word, eight) in words.iter_mut().zip(bytes.as_chunks().0) {
            *word = u64::from_be_bytes(*eight);
        }
        Ok(Self(words))
    }
}

impl Serialize for PdqHash {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for PdqHash {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn hashes() -> impl Strategy<Value = PdqHash> {
        any::<[u64; 4]>().prop_map(PdqHash)
    }

    fn bits(hash: &PdqHash) -> Vec<bool> {
        hash.to_string()
            .chars()
            .flat_map(|digit| {
                let nibble = digit.to_digit(16).unwrap();
                (0..4).rev().map(move |bit| nibble >> bit & 1 == 1)
            })
            .collect()
    }

    proptest! {
        #[test]
        fn text_and_json_read_back(hash in hashes()) {
            prop_assert_eq!(hash.to_string().len(), 64);
            prop_assert!(hash.to_string().parse() == Ok(hash));
            prop_assert!(hash.to_string().to_uppercase().parse() == Ok(hash));
            let json = serde_json::to_string(&hash).unwrap();
            prop_assert_eq!(&json, &format!("\"{hash}\""));
            prop_assert!(serde_json::from_str::<PdqHash>(&json).unwrap() == hash);
        }

        #[test]
        fn distance_counts_the_digits_bits_that_differ(a in hashes(), b in hashes()) {
            let slow = bits(&a).iter().zip(bits(&b)).filter(|(x, y)| **x != *y).count();
            prop_assert_eq!(a.distance(&b) as usize, slow);
        }

        #[test]
        fn distance_is_a_metric(a in hashes(), b in hashes(), c in hashes()) {
            prop_assert_eq!(a.distance(&a), 0);
            prop_assert_eq!(a.distance(&b) == 0, a == b);
            prop_assert_eq!(a.distance(&b), b.distance(&a));
            prop_assert!(a.distance(&c) <= a.distance(&b) + b.distance(&c));
        }

        #[test]
        fn debug_does_not_give_the_hash_away(hash in hashes()) {
            let shown = format!("{hash:?} {:?}", Some(hash));
            let text = hash.to_string();
            prop_assert!((0..60).all(|at| !shown.contains(&text[at..at + 4])));
        }
    }

    #[test]
    fn bit_255_comes_first_in_the_text_and_bit_0_last() {
        for (bit, digits) in [(255, "8000"), (0, "0001"), (16, "00010000"), (63, "8000000000000000")] {
            let mut hash = PdqHash::ZERO;
            hash.set(bit);
            let text = hash.to_string();
            assert!(if bit == 255 { text.starts_with(digits) } else { text.ends_with(digits) }, "{bit}: {text}");
            assert_eq!(hash.ones(), 1);
        }
    }

    #[test]
    fn refuses_what_is_no_hash() {
        for text in ["", "0", &"0".repeat(63), &"0".repeat(65), &"g".repeat(64), &format!(" {}", "0".repeat(63))] {
            assert_eq!(text.parse::<PdqHash>(), Err(ParseHashError), "{text}");
        }
    }
}
