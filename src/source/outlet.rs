//! The one way out of a source: its events, in order, from whichever thread has one.
//!
//! Access units come from the streaming thread of the current attachment; all else comes from the supervisor. The
//! streaming thread never waits for the supervisor: while that speaks, which it only does to say that this attachment
//! is of no use, a unit is dropped. Once the supervisor has moved on, nothing of an older attachment gets out.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError, TryLockError};

use super::SourceEvent;
use crate::stream::AccessUnit;

/// Which attachment of a source; counts up.
pub(super) type Attempt = u64;

const CLOSED: Attempt = Attempt::MAX;

/// Where a source's events go.
pub(super) struct Outlet {
    current: AtomicU64,
    /// Segments that were not looked at, to be said before what is said next.
    missed: AtomicU64,
    inner: Mutex<Inner>,
}

struct Inner {
    on_event: Box<dyn FnMut(SourceEvent) + Send>,
    next_sequence: u64,
    speaking: Option<Attempt>,
}

/// Whether an attachment still has a way out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Passage {
    Open,
    Shut,
}

impl Outlet {
    pub(super) fn new(on_event: Box<dyn FnMut(SourceEvent) + Send>) -> Self {
        let inner = Inner { on_event, next_sequence: 0, speaking: None };
        Self { current: AtomicU64::new(0), missed: AtomicU64::new(0), inner: Mutex::new(inner) }
    }

    /// Shuts out the current attachment and opens the way for the next, whose number it gives.
    pub(super) fn supersede(&self) -> Attempt {
        let next = |current| (current != CLOSED).then(|| current + 1);
        match self.current.fetch_update(Ordering::AcqRel, Ordering::Acquire, next) {
            Ok(previous) => previous + 1,
            Err(closed) => closed - 1,
        }
    }

    /// Goes on under a new number, where `attempt` is still the current one: what follows is announced as another
    /// attachment, because its timestamps begin anew.
    pub(super) fn renew(&self, attempt: Attempt) -> Option<Attempt> {
        let renewed = self.current.compare_exchange(attempt, attempt + 1, Ordering::AcqRel, Ordering::Acquire);
        renewed.ok().map(|previous| previous + 1)
    }

    /// Lets nothing out any more, but for an event that is on its way.
    pub(super) fn close(&self) {
        self.current.store(CLOSED, Ordering::Release);
    }

    pub(super) fn is_closed(&self) -> bool {
        self.current.load(Ordering::Acquire) == CLOSED
    }

    /// Notes that so many segments were not looked at. Never waits, and keeps nothing else from getting out.
    pub(super) fn miss(&self, segments: u64) {
        self.missed.fetch_add(segments, Ordering::Relaxed);
    }

    fn say_missed(&self, inner: &mut Inner) {
        let missed = self.missed.swap(0, Ordering::Relaxed);
        if missed > 0 {
            (inner.on_event)(SourceEvent::Missed(missed));
        }
    }

    /// Hands on an access unit of `attempt`, as `make` builds it from its sequence number. Never waits.
    pub(super) fn unit(&self, attempt: Attempt, make: impl FnOnce(u64) -> AccessUnit) -> Passage {
        let mut inner = match self.inner.try_lock() {
            Ok(inner) => inner,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return Passage::Open,
        };
        if self.current.load(Ordering::Acquire) != attempt {
            return Passage::Shut;
        }
        self.say_missed(&mut inner);
        if inner.speaking.replace(attempt) != Some(attempt) {
            (inner.on_event)(SourceEvent::Attached);
        }
        let unit = make(inner.next_sequence);
        inner.next_sequence += 1;
        (inner.on_event)(SourceEvent::Unit(unit));
        Passage::Open
    }

    /// Says `event`, unless the outlet is closed. For the supervisor: waits for an event that is on its way.
    pub(super) fn say(&self, event: SourceEvent) {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        if !self.is_closed() {
            self.say_missed(&mut inner);
            (inner.on_event)(event);
        }
    }
}

impl fmt::Debug for Outlet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outlet").field("current", &self.current).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use bytes::Bytes;

    use super::*;
    use crate::clock::Timestamp;
    use crate::source::Reason;
    use crate::stream::Codec;

    fn unit(sequence: u64) -> AccessUnit {
        let data = Bytes::new();
        AccessUnit { sequence, codec: Codec::H264, keyframe: true, pts: None, arrived: Timestamp::ZERO, data }
    }

    fn outlet() -> (Outlet, Arc<Mutex<Vec<String>>>) {
        let said = Arc::new(Mutex::new(Vec::new()));
        let heard = Arc::clone(&said);
        let on_event = Box::new(move |event| {
            heard.lock().unwrap().push(match event {
                SourceEvent::Unit(unit) => unit.sequence.to_string(),
                SourceEvent::Reconnecting { reason, .. } => reason.word().to_owned(),
                other => format!("{other:?}"),
            });
        });
        (Outlet::new(on_event), said)
    }

    #[test]
    fn numbers_go_on_over_attachments_and_each_is_announced() {
        let (outlet, said) = outlet();
        let first = outlet.supersede();
        outlet.unit(first, unit);
        outlet.unit(first, unit);
        let second = outlet.supersede();
        outlet.say(SourceEvent::Reconnecting { reason: Reason::Ended, error: None, after: std::time::Duration::ZERO });
        assert_eq!(outlet.unit(first, unit), Passage::Shut, "an older attachment has no say");
        outlet.unit(second, unit);
        assert_eq!(*said.lock().unwrap(), ["Attached", "0", "1", "ended", "Attached", "2"]);
    }

    #[test]
    fn an_attachment_can_begin_anew_unless_it_is_superseded() {
        let (outlet, said) = outlet();
        let first = outlet.supersede();
        outlet.unit(first, unit);
        let renewed = outlet.renew(first).unwrap();
        assert_eq!(outlet.unit(first, unit), Passage::Shut);
        outlet.unit(renewed, unit);
        assert_eq!(*said.lock().unwrap(), ["Attached", "0", "Attached", "1"]);
        outlet.supersede();
        assert_eq!(outlet.renew(renewed), None);
        outlet.close();
        assert_eq!(outlet.renew(outlet.supersede()), None);
    }

    #[test]
    fn a_closed_outlet_lets_nothing_out() {
        let (outlet, said) = outlet();
        let attempt = outlet.supersede();
        outlet.close();
        assert_eq!(outlet.unit(attempt, unit), Passage::Shut);
        outlet.say(SourceEvent::NoVideo);
        assert_eq!(outlet.unit(outlet.supersede(), unit), Passage::Shut);
        assert!(outlet.is_closed());
        assert!(said.lock().unwrap().is_empty());
    }

    #[test]
    fn a_unit_never_waits_for_the_supervisor() {
        let (outlet, said) = outlet();
        let attempt = outlet.supersede();
        let held = outlet.inner.lock().unwrap();
        assert_eq!(outlet.unit(attempt, unit), Passage::Open);
        drop(held);
        assert!(said.lock().unwrap().is_empty());
    }
}
