//! What a match of a bank means.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// What a match of a bank means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// The picture is known content.
    #[default]
    Harmful,
    /// The picture is known to be innocent, such as a test card, a title card or a game's display: it is no evidence,
    /// whatever else it is like.
    Benign,
}

impl Kind {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Harmful, Self::Benign];

    /// Its name.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Harmful => "harmful",
            Self::Benign => "benign",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// A text that is no kind of bank.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{}` is no kind of bank: use harmful or benign", .0.escape_debug())]
pub struct BadKind(String);

impl FromStr for Kind {
    type Err = BadKind;

    fn from_str(text: &str) -> Result<Self, BadKind> {
        Self::ALL.into_iter().find(|kind| kind.word() == text).ok_or_else(|| BadKind(text.to_owned()))
    }
}
