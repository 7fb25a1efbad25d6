//! What the threads of one attachment note, and the supervisor reads.

use std::fmt;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use super::watch::Observed;
use super::{Reason, SourceError};
use crate::clock::Timestamp;

/// How an attachment came to its end by itself.
#[derive(Debug, Clone)]
pub(super) struct Ending {
    pub(super) reason: Reason,
    pub(super) error: Option<SourceError>,
}

/// What an attachment has given so far, and how it ended.
pub(super) struct Progress {
    since: Timestamp,
    pub(super) data: Span,
    pub(super) units: Span,
    has_video: AtomicBool,
    /// How long the source may be silent for good reasons, in microseconds.
    patience: AtomicU64,
    ending: OnceLock<Ending>,
    wake: Box<dyn Fn() + Send + Sync>,
}

/// The first and the last time of something, in microseconds; 0 is never.
#[derive(Debug, Default)]
pub(super) struct Span {
    first: AtomicU64,
    last: AtomicU64,
}

impl Span {
    pub(super) fn note(&self, now: Timestamp) {
        if self.last.swap(now.as_micros(), Ordering::Relaxed) == 0 {
            self.first.store(now.as_micros(), Ordering::Relaxed);
        }
    }

    fn get(&self) -> Option<(Timestamp, Timestamp)> {
        let (first, last) = (self.first.load(Ordering::Relaxed), self.last.load(Ordering::Relaxed));
        (first != 0).then(|| (Timestamp::from_micros(first), Timestamp::from_micros(last)))
    }
}

impl Progress {
    /// Of an attachment started at `since`; `wake` is called, from any thread, when there is something to look at.
    pub(super) fn new(since: Timestamp, wake: impl Fn() + Send + Sync + 'static) -> Self {
        Self {
            since,
            data: Span::default(),
            units: Span::default(),
            has_video: AtomicBool::new(false),
            patience: AtomicU64::new(0),
            ending: OnceLock::new(),
            wake: Box::new(wake),
        }
    }

    /// Notes that there is video; false when there was already.
    pub(super) fn found_video(&self) -> bool {
        !self.has_video.swap(true, Ordering::Relaxed)
    }

    /// What had video is replaced, and what replaces it is yet to show some.
    pub(super) fn look_for_video(&self) {
        self.has_video.store(false, Ordering::Relaxed);
    }

    /// The stream may be silent for `patience` without being stalled, even where the configuration says less.
    pub(super) fn be_patient(&self, patience: Duration) {
        self.patience.store(patience.as_micros() as u64, Ordering::Relaxed);
    }

    pub(super) fn observed(&self) -> Observed {
        Observed {
            since: self.since,
            data: self.data.get(),
            has_video: self.has_video.load(Ordering::Relaxed),
            units: self.units.get(),
            patience: Duration::from_micros(self.patience.load(Ordering::Relaxed)),
        }
    }

    /// Notes the end; the first one counts.
    pub(super) fn end(&self, reason: Reason, error: Option<SourceError>) {
        if self.ending.set(Ending { reason, error }).is_ok() {
            (self.wake)();
        }
    }

    pub(super) fn ending(&self) -> Option<&Ending> {
        self.ending.get()
    }
}

impl fmt::Debug for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.observed().fmt(f)
    }
}
