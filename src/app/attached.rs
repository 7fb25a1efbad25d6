//! A session under inspection, as the core knows it: since when, how closely to look, and how it is doing.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::clock::Timestamp;
use crate::inspector::Progress;
use crate::stream::{AttentionCell, Session, StreamState, UninspectableReason};

/// One publisher's session under inspection.
#[derive(Debug)]
pub(super) struct Attached {
    pub(super) session: Session,
    pub(super) attention: AttentionCell,
    since: Timestamp,
    found: AtomicBool,
    seen: Mutex<Seen>,
}

/// What was told of a session so far.
#[derive(Debug, Default)]
struct Seen {
    received: u64,
    inspected: u64,
    last_inspected: Option<Timestamp>,
    hindrance: Option<UninspectableReason>,
    /// Why it is with nobody who inspects.
    barred: Option<UninspectableReason>,
}

impl Attached {
    pub(super) fn new(session: Session, now: Timestamp) -> Self {
        Self {
            session,
            attention: AttentionCell::default(),
            since: now,
            found: AtomicBool::new(false),
            seen: Mutex::default(),
        }
    }

    /// When the session was attached.
    pub(super) fn since(&self) -> Timestamp {
        self.since
    }

    /// Notes that the session was on the air before anybody here looked: nobody knows for how long.
    pub(super) fn was_found(&self) {
        self.found.store(true, Ordering::Relaxed);
    }

    /// How long the session has been on the air at `now`, as far as is known; as long as can be where it was there before
    /// anybody looked.
    pub(super) fn on_air(&self, now: Timestamp) -> Duration {
        if self.found.load(Ordering::Relaxed) { Duration::MAX } else { now.since(self.since) }
    }

    /// Notes how the inspection got on.
    pub(super) fn got_on(&self, progress: &Progress) {
        let mut seen = self.seen();
        seen.received += progress.received;
        seen.inspected += progress.inspected;
        seen.last_inspected = seen.last_inspected.max(progress.last_inspected);
        seen.hindrance = progress.hindrance;
    }

    /// Notes why it is not to be inspected; none: it is.
    pub(super) fn bar(&self, reason: Option<UninspectableReason>) {
        self.seen().barred = reason;
    }

    /// Why it is not to be inspected.
    pub(super) fn barred(&self) -> Option<UninspectableReason> {
        self.seen().barred
    }

    /// Access units received so far.
    pub(super) fn received(&self) -> u64 {
        self.seen().received
    }

    /// Pictures inspected so far.
    pub(super) fn pictures_inspected(&self) -> u64 {
        self.seen().inspected
    }

    /// When the last picture was inspected.
    pub(super) fn last_inspected(&self) -> Option<Timestamp> {
        self.seen().last_inspected
    }

    /// How the stream is doing at `now`. Nothing inspected for `blind_after` is blind, however much video arrives.
    pub(super) fn state(&self, now: Timestamp, blind_after: Duration) -> StreamState {
        let Seen { barred, hindrance, last_inspected, .. } = *self.seen();
        if let Some(reason) = barred.or(hindrance) {
            return StreamState::Uninspectable(reason);
        }
        match last_inspected {
            Some(at) if now.since(at) <= blind_after => StreamState::Inspected,
            None if now.since(self.since) <= blind_after => StreamState::Connecting,
            _ => StreamState::Blind,
        }
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stream::StreamId;

    const BLIND_AFTER: Duration = Duration::from_secs(5);

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_millis(1_000_000 + seconds * 1000)
    }

    fn attached() -> Attached {
        Attached::new(Session { stream: StreamId::new("main", "live", "cam"), id: "7".into() }, at(0))
    }

    fn progress(stream: &Attached, inspected: u64, at: Option<Timestamp>) -> Progress {
        Progress { session: stream.session.clone(), received: 10, inspected, last_inspected: at, hindrance: None }
    }

    #[test]
    fn a_stream_connects_is_inspected_and_goes_blind() {
        let stream = attached();
        assert_eq!(stream.state(at(5), BLIND_AFTER), StreamState::Connecting);
        assert_eq!(stream.state(at(6), BLIND_AFTER), StreamState::Blind);
        stream.got_on(&progress(&stream, 1, Some(at(7))));
        assert_eq!(stream.state(at(12), BLIND_AFTER), StreamState::Inspected);
        assert_eq!(stream.state(at(13), BLIND_AFTER), StreamState::Blind);
        assert_eq!(stream.pictures_inspected(), 1);
    }

    #[test]
    fn what_another_inspector_goes_on_with_adds_up() {
        let stream = attached();
        stream.got_on(&progress(&stream, 2, Some(at(7))));
        stream.got_on(&progress(&stream, 0, None));
        assert_eq!((stream.received(), stream.pictures_inspected(), stream.last_inspected()), (20, 2, Some(at(7))));
        stream.got_on(&Progress { hindrance: Some(UninspectableReason::NoVideo), ..progress(&stream, 0, None) });
        assert_eq!(stream.state(at(8), BLIND_AFTER), StreamState::Uninspectable(UninspectableReason::NoVideo));
    }

    #[test]
    fn what_is_barred_stays_so_whatever_still_comes() {
        let stream = attached();
        stream.bar(Some(UninspectableReason::Crashed));
        stream.got_on(&progress(&stream, 1, Some(at(7))));
        assert_eq!(stream.state(at(7), BLIND_AFTER), StreamState::Uninspectable(UninspectableReason::Crashed));
        stream.bar(None);
        assert_eq!(stream.state(at(7), BLIND_AFTER), StreamState::Inspected);
    }

    #[test]
    fn what_was_on_the_air_before_anybody_looked_is_as_old_as_can_be() {
        let stream = attached();
        assert_eq!(stream.on_air(at(5)), Duration::from_secs(5));
        stream.was_found();
        assert_eq!(stream.on_air(at(5)), Duration::MAX);
        assert_eq!(stream.since(), at(0));
    }
}
