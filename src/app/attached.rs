//! A stream under inspection, as all threads share it: whose it is, how closely to look, and how it is doing.
//!
//! Nearly everything here is an atomic word, so neither the streaming thread nor a worker ever waits for the other. What
//! models said last is shared between workers and the models' threads only.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use crate::clock::Timestamp;
use crate::detect::classify::Gates;
use crate::stream::{AttentionCell, Session, StreamState, UninspectableReason};

/// Failures of the decoder, with no picture in between, after which a stream counts as undecodable.
const UNDECODABLE_AFTER: u32 = 3;

/// One publisher's session under inspection.
#[derive(Debug)]
pub(super) struct Attached {
    pub(super) session: Session,
    pub(super) attention: AttentionCell,
    /// What models said last of its pictures.
    pub(super) gates: Arc<Gates>,
    since: Timestamp,
    found: AtomicBool,
    received: AtomicU64,
    inspected: AtomicU64,
    last_inspected: AtomicU64,
    failures: AtomicU32,
    hindrance: AtomicU8,
    ended: AtomicBool,
}

impl Attached {
    pub(super) fn new(session: Session, now: Timestamp) -> Self {
        Self {
            session,
            attention: AttentionCell::default(),
            gates: Arc::default(),
            since: now,
            found: AtomicBool::new(false),
            received: AtomicU64::new(0),
            inspected: AtomicU64::new(0),
            last_inspected: AtomicU64::new(0),
            failures: AtomicU32::new(0),
            hindrance: AtomicU8::new(0),
            ended: AtomicBool::new(false),
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

    /// Notes an access unit received.
    pub(super) fn receive(&self) {
        self.received.fetch_add(1, Ordering::Relaxed);
    }

    /// Access units received so far.
    pub(super) fn received(&self) -> u64 {
        self.received.load(Ordering::Relaxed)
    }

    /// Notes pictures inspected, and gives the time since the last: whatever hindered inspection is over.
    pub(super) fn inspected(&self, pictures: u64, now: Timestamp) -> Option<Duration> {
        self.inspected.fetch_add(pictures, Ordering::Relaxed);
        let last = self.last_inspected.swap(now.as_micros(), Ordering::AcqRel);
        self.failures.store(0, Ordering::Relaxed);
        self.hindrance.store(0, Ordering::Release);
        (last > 0).then(|| now.since(Timestamp::from_micros(last)))
    }

    /// Notes that chosen units gave no picture.
    pub(super) fn undecoded(&self) {
        if self.failures.fetch_add(1, Ordering::Relaxed) + 1 >= UNDECODABLE_AFTER {
            self.hinder(UninspectableReason::Undecodable);
        }
    }

    /// Notes why the stream cannot be inspected.
    pub(super) fn hinder(&self, reason: UninspectableReason) {
        self.hindrance.store(code(reason), Ordering::Release);
    }

    /// Pictures inspected so far.
    pub(super) fn pictures_inspected(&self) -> u64 {
        self.inspected.load(Ordering::Relaxed)
    }

    /// When the last picture was inspected.
    pub(super) fn last_inspected(&self) -> Option<Timestamp> {
        Some(self.last_inspected.load(Ordering::Acquire)).filter(|at| *at > 0).map(Timestamp::from_micros)
    }

    /// How the stream is doing at `now`. Nothing inspected for `blind_after` is blind, however much video arrives.
    pub(super) fn state(&self, now: Timestamp, blind_after: Duration) -> StreamState {
        if let Some(reason) = reason(self.hindrance.load(Ordering::Acquire)) {
            return StreamState::Uninspectable(reason);
        }
        match self.last_inspected() {
            Some(at) if now.since(at) <= blind_after => StreamState::Inspected,
            None if now.since(self.since) <= blind_after => StreamState::Connecting,
            _ => StreamState::Blind,
        }
    }

    /// Ends the session: work of it that still waits is not done any more.
    pub(super) fn end(&self) {
        self.ended.store(true, Ordering::Release);
    }

    /// Whether the session is over.
    pub(super) fn has_ended(&self) -> bool {
        self.ended.load(Ordering::Acquire)
    }
}

fn code(reason: UninspectableReason) -> u8 {
    match reason {
        UninspectableReason::NoVideo => 1,
        UninspectableReason::UnsupportedCodec => 2,
        UninspectableReason::Undecodable => 3,
        UninspectableReason::TooLarge => 4,
        UninspectableReason::Crashed => 5,
        UninspectableReason::NoPlace => 6,
    }
}

fn reason(code: u8) -> Option<UninspectableReason> {
    match code {
        1 => Some(UninspectableReason::NoVideo),
        2 => Some(UninspectableReason::UnsupportedCodec),
        3 => Some(UninspectableReason::Undecodable),
        4 => Some(UninspectableReason::TooLarge),
        5 => Some(UninspectableReason::Crashed),
        6 => Some(UninspectableReason::NoPlace),
        _ => None,
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

    #[test]
    fn a_stream_connects_is_inspected_and_goes_blind() {
        let stream = attached();
        assert_eq!(stream.state(at(5), BLIND_AFTER), StreamState::Connecting);
        assert_eq!(stream.state(at(6), BLIND_AFTER), StreamState::Blind);
        assert_eq!(stream.inspected(1, at(7)), None);
        assert_eq!(stream.state(at(12), BLIND_AFTER), StreamState::Inspected);
        assert_eq!(stream.state(at(13), BLIND_AFTER), StreamState::Blind);
        assert_eq!(stream.pictures_inspected(), 1);
    }

    #[test]
    fn what_was_on_the_air_before_anybody_looked_is_as_old_as_can_be() {
        let stream = attached();
        assert_eq!(stream.on_air(at(5)), Duration::from_secs(5));
        stream.was_found();
        assert_eq!(stream.on_air(at(5)), Duration::MAX);
        assert_eq!(stream.since(), at(0));
    }

    #[test]
    fn a_stream_is_undecodable_after_failures_in_a_row_until_a_picture_comes() {
        let stream = attached();
        stream.undecoded();
        stream.undecoded();
        assert_eq!(stream.inspected(1, at(1)), None);
        stream.undecoded();
        stream.undecoded();
        assert_eq!(stream.state(at(2), BLIND_AFTER), StreamState::Inspected);
        stream.undecoded();
        assert_eq!(stream.state(at(2), BLIND_AFTER), StreamState::Uninspectable(UninspectableReason::Undecodable));
        assert_eq!(stream.inspected(1, at(3)), Some(Duration::from_secs(2)), "since the last");
        assert_eq!(stream.state(at(3), BLIND_AFTER), StreamState::Inspected);
    }
}
