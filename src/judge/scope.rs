//! By what a deny names the publisher whom it refuses.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

pub use crate::decision::DenyBy;

/// By what a deny names the publisher: whoever is met by one of them is refused. Where the media server tells none of
/// them, there is always the name of the stream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Scope(BTreeSet<DenyBy>);

impl Scope {
    /// Whether the publisher is named by it.
    pub fn contains(&self, by: DenyBy) -> bool {
        self.0.contains(&by)
    }

    /// All of them, each once, in the order of [`DenyBy`].
    pub fn iter(&self) -> impl Iterator<Item = DenyBy> {
        self.0.iter().copied()
    }
}

impl Default for Scope {
    fn default() -> Self {
        Self::from_iter([DenyBy::Name])
    }
}

impl FromIterator<DenyBy> for Scope {
    fn from_iter<I: IntoIterator<Item = DenyBy>>(by: I) -> Self {
        Self(by.into_iter().collect())
    }
}
