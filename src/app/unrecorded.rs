//! Decisions that the ledger could not take yet: they wait in memory, and nothing is done about them.
//!
//! Promises: no decision is dropped, however many wait. What waits is not allowed to take ever more memory for each: beyond
//! [`WITH_TIMELINE`] they wait without the timeline, which only a replay needs.

use std::collections::VecDeque;

use uuid::Uuid;

use crate::decision::Mode;
use crate::ledger::{Entry, LedgerError};
use crate::stream::Session;

/// So many keep all that the judge held of their session.
const WITH_TIMELINE: usize = 1000;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Unrecorded {
    waiting: VecDeque<Entry>,
    /// What kept the last one out keeps any other out too.
    for_all: bool,
}

impl Unrecorded {
    /// Whether a fresh decision is not even to be tried.
    pub(super) fn blocks(&self) -> bool {
        self.for_all && !self.waiting.is_empty()
    }

    /// A decision could not be recorded.
    pub(super) const fn failed(&mut self, error: &LedgerError) {
        self.for_all =
            matches!(error, LedgerError::Full { .. } | LedgerError::Busy { .. } | LedgerError::ReadOnly { .. });
    }

    /// Lets one wait, behind all others.
    pub(super) fn push(&mut self, mut entry: Entry) {
        if self.waiting.len() >= WITH_TIMELINE {
            entry.timeline = Vec::new();
        }
        self.waiting.push_back(entry);
    }

    /// The one that waits in front.
    pub(super) fn pop(&mut self) -> Option<Entry> {
        self.waiting.pop_front()
    }

    /// Takes out a certain one.
    pub(super) fn take(&mut self, decision: Uuid) -> Option<Entry> {
        let at = self.waiting.iter().position(|entry| entry.decision.id == decision)?;
        self.waiting.remove(at)
    }

    /// The first that closes `session`.
    pub(super) fn closing(&mut self, session: &Session) -> Option<&mut Entry> {
        self.waiting.iter_mut().find(|Entry { decision, .. }| {
            decision.session == *session && decision.verdict.closes() && decision.mode == Mode::Enforced
        })
    }

    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }
}
