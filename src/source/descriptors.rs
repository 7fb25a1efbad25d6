//! How many files and connections this process may have open, and whether that is enough for its streams.
//!
//! Debian lets a program open 1,024 files unless it asks for more, and a stream that finds no descriptor left fails in a
//! way that says nothing of it. So it is asked for more at the start.

use std::num::NonZeroUsize;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Descriptors of one stream: its connection, what its threads are woken with, and one to spare.
const PER_STREAM: u64 = 5;

/// Descriptors of everything else: the ledger, banks, models, decoders, the HTTP interface and its clients.
const HOUSE: u64 = 512;

/// Whether so many streams can be attached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Room {
    /// This many descriptors may be open, and that is enough.
    Enough(u64),
    /// Fewer may be open than are needed, and this process may not raise the limit by itself.
    Short {
        /// How many may be open at most.
        limit: u64,
        /// How many are needed.
        needed: u64,
    },
}

/// Whether `max_streams` have room, once [`make_room`] has raised the limit as far as it goes.
pub fn room_for(max_streams: NonZeroUsize) -> Room {
    compare(getrlimit(Resource::Nofile).maximum, needed(max_streams))
}

/// Raises the limit of open descriptors to what `max_streams` need, as far as this process may.
pub fn make_room(max_streams: NonZeroUsize) -> Room {
    let (now, needed) = (getrlimit(Resource::Nofile), needed(max_streams));
    if now.current.is_some_and(|current| current < needed) {
        let raised = now.maximum.map_or(needed, |maximum| maximum.min(needed));
        if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: Some(raised), maximum: now.maximum }) {
            tracing::debug!(%error, "the limit of open files stays");
        }
    }
    compare(getrlimit(Resource::Nofile).current, needed)
}

fn needed(max_streams: NonZeroUsize) -> u64 {
    (max_streams.get() as u64).saturating_mul(PER_STREAM).saturating_add(HOUSE)
}

fn compare(limit: Option<u64>, needed: u64) -> Room {
    let limit = limit.unwrap_or(u64::MAX);
    if limit >= needed { Room::Enough(limit) } else { Room::Short { limit, needed } }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_is_made_up_to_the_hard_limit() {
        let before = getrlimit(Resource::Nofile);
        let few = NonZeroUsize::MIN;
        assert!(matches!(make_room(few), Room::Enough(limit) if limit >= needed(few)));
        assert!(getrlimit(Resource::Nofile).current >= before.current, "never lowered");
        let all = NonZeroUsize::MAX;
        if let Some(maximum) = before.maximum {
            assert_eq!(make_room(all), Room::Short { limit: maximum, needed: u64::MAX });
            assert_eq!(room_for(all), Room::Short { limit: maximum, needed: u64::MAX });
            assert_eq!(getrlimit(Resource::Nofile).current, Some(maximum), "as far as it goes");
        }
    }
}
