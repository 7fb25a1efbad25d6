//! Who published at the last look, for servers that are asked about each stream by itself.
//!
//! A question about one stream may fail while the list is sound. Left out of the list, that stream would count as over:
//! nobody would look at it any more, and what was found in it would be forgotten. So it stays as it was last seen.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use crate::media_server::Listed;
use crate::stream::StreamId;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct LastSeen(Mutex<HashMap<StreamId, Listed>>);

impl LastSeen {
    /// Who published `stream` at the last look.
    pub(super) fn of(&self, stream: &StreamId) -> Option<Listed> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(stream).cloned()
    }

    /// Forgets the last look for this one.
    pub(super) fn remember(&self, listed: &[Listed]) {
        let seen = listed.iter().map(|one| (one.session.stream.clone(), one.clone())).collect();
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = seen;
    }
}
