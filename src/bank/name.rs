//! A bank's name: short, and safe as a file name, a metric label and a word on the command line.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// The longest name.
const LONGEST: usize = 64;

/// One to 64 of `a`-`z`, `0`-`9`, `_` and `-`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct BankName(Arc<str>);

impl BankName {
    /// The name as text, shared.
    pub fn shared(&self) -> Arc<str> {
        Arc::clone(&self.0)
    }
}

impl fmt::Display for BankName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A text that cannot be a bank's name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{}` cannot be the name of a bank: use 1 to {LONGEST} of a-z, 0-9, _ and -", .0.escape_debug())]
pub struct BadName(String);

impl FromStr for BankName {
    type Err = BadName;

    fn from_str(text: &str) -> Result<Self, BadName> {
        let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'_' | b'-');
        if (1..=LONGEST).contains(&text.len()) && text.bytes().all(allowed) {
            Ok(Self(text.into()))
        } else {
            Err(BadName(text.to_owned()))
        }
    }
}

impl TryFrom<String> for BankName {
    type Error = BadName;

    fn try_from(text: String) -> Result<Self, BadName> {
        text.parse()
    }
}

impl From<BankName> for String {
    fn from(name: BankName) -> Self {
        name.0.as_ref().to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_safe_everywhere() {
        for name in ["a", "terror_2026-11", "-", &"x".repeat(64)] {
            assert_eq!(name.parse::<BankName>().unwrap().to_string(), name);
        }
        for name in ["", "A", "a b", "../etc", "a.bank", "bänk", "a\n", &"x".repeat(65)] {
            let refused = name.parse::<BankName>().unwrap_err().to_string();
            assert!(refused.contains("use 1 to 64 of a-z"), "{refused}");
            assert!(!refused.contains('\n'), "{refused}");
        }
    }
}
