//! A session that is pulled and inspected, as the line's threads share it: how closely to look, and how it is doing.
//!
//! Nearly everything here is an atomic word, so neither the streaming thread nor a worker ever waits for the other. What
//! models said last is shared between workers and the models' threads only.

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::Progress;
use super::worker::Own;
use crate::clock::Timestamp;
use crate::detect::classify::Gates;
use crate::stream::{AttentionCell, Session, UninspectableReason};

/// Failures of the decoder, with no picture in between, after which a stream counts as undecodable.
const UNDECODABLE_AFTER: u32 = 3;

/// See the module.
#[derive(Debug)]
pub(super) struct Pulled {
    pub(super) session: Session,
    pub(super) attention: AttentionCell,
    /// What models said last of its pictures.
    pub(super) gates: Arc<Gates>,
    /// Its own decoder, while it is decoded continuously. Hardly ever have two workers work for it at
    /// once.
    pub(super) own: Mutex<Option<Own>>,
    received: AtomicU64,
    inspected: AtomicU64,
    last_inspected: AtomicU64,
    failures: AtomicU32,
    hindrance: AtomicU8,
    ended: AtomicBool,
}

/// What was told of a session last.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Told {
    received: u64,
    inspected: u64,
    hindrance: u8,
}

impl Pulled {
    pub(super) fn new(session: Session) -> Self {
        Self {
            session,
            attention: AttentionCell::default(),
            gates: Arc::default(),
            own: Mutex::default(),
            received: AtomicU64::new(0),
            inspected: AtomicU64::new(0),
            last_inspected: AtomicU64::new(0),
            failures: AtomicU32::new(0),
            hindrance: AtomicU8::new(0),
            ended: AtomicBool::new(false),
        }
    }

    /// Notes an access unit received.
    pub(super) fn receive(&self) {
        self.received.fetch_add(1, Ordering::Relaxed);
    }

    /// Notes pictures inspected, and gives the time since those before: whatever hindered inspection is over.
    pub(super) fn inspected(&self, pictures: u64, now: Timestamp) -> Option<Duration> {
        let last = self.last_inspected.swap(now.as_micros(), Ordering::Relaxed);
        self.failures.store(0, Ordering::Relaxed);
        self.hindrance.store(0, Ordering::Release);
        self.inspected.fetch_add(pictures, Ordering::Release);
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

    /// What is new since it was `told`, which is brought up to date.
    pub(super) fn progress(&self, told: &mut Told) -> Option<Progress> {
        let inspected = self.inspected.load(Ordering::Acquire);
        let hindrance = self.hindrance.load(Ordering::Acquire);
        let now = Told { received: self.received.load(Ordering::Relaxed), inspected, hindrance };
        let before = std::mem::replace(told, now);
        let last = self.last_inspected.load(Ordering::Relaxed);
        (before != now).then(|| Progress {
            session: self.session.clone(),
            received: now.received - before.received,
            inspected: now.inspected - before.inspected,
            last_inspected: Some(last).filter(|at| *at > 0).map(Timestamp::from_micros),
            hindrance: reason(hindrance),
        })
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

/// From 1; 0 is none.
fn code(reason: UninspectableReason) -> u8 {
    UninspectableReason::ALL.iter().zip(1..).find(|(known, _)| **known == reason).map_or(0, |(_, code)| code)
}

fn reason(code: u8) -> Option<UninspectableReason> {
    UninspectableReason::ALL.get(usize::from(code).checked_sub(1)?).copied()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stream::StreamId;

    fn pulled() -> Pulled {
        Pulled::new(Session { stream: StreamId::new("main", "live", "cam"), id: "7".into() })
    }

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_millis(1_000_000 + seconds * 1000)
    }

    #[test]
    fn only_what_is_new_is_told() {
        let (stream, mut told) = (pulled(), Told::default());
        assert_eq!(stream.progress(&mut told), None);
        stream.receive();
        stream.receive();
        assert_eq!(stream.inspected(1, at(3)), None);
        let first = stream.progress(&mut told).unwrap();
        assert_eq!((first.received, first.inspected, first.last_inspected), (2, 1, Some(at(3))));
        assert_eq!(stream.progress(&mut told), None);
        stream.receive();
        stream.hinder(UninspectableReason::NoVideo);
        let second = stream.progress(&mut told).unwrap();
        assert_eq!((second.received, second.inspected, second.last_inspected), (1, 0, Some(at(3))));
        assert_eq!(second.hindrance, Some(UninspectableReason::NoVideo));
    }

    #[test]
    fn a_stream_is_undecodable_after_failures_in_a_row_until_a_picture_comes() {
        let (stream, mut told) = (pulled(), Told::default());
        let mut hindrance = || {
            stream.receive();
            stream.progress(&mut told).unwrap().hindrance
        };
        stream.undecoded();
        stream.undecoded();
        assert_eq!(stream.inspected(1, at(1)), None);
        stream.undecoded();
        stream.undecoded();
        assert_eq!(hindrance(), None);
        stream.undecoded();
        assert_eq!(hindrance(), Some(UninspectableReason::Undecodable));
        assert_eq!(stream.inspected(1, at(3)), Some(Duration::from_secs(2)), "since the last");
        assert_eq!(hindrance(), None);
    }

    #[test]
    fn every_reason_is_itself_again() {
        for known in UninspectableReason::ALL {
            assert_eq!(reason(code(known)), Some(known));
        }
        assert_eq!((reason(0), reason(200)), (None, None));
    }
}
