//! Which segments to fetch, given one playlist after another (RFC 8216, section 6.3). Pure.
//!
//! It promises that
//!
//! - a stream is joined at its newest segment, so that what is looked at is one segment old and no more;
//! - no segment is given twice, not even when the stream is attached to again while its playlist stands still;
//! - a segment that does not follow the one before is marked as such: after a discontinuity, and where segments were
//!   missed or are missing.
//!
//! A server that begins to count anew, as it does for a new publisher, is joined anew.

use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};
use std::time::Duration;

use super::playlist::{Media, Segment};

/// A playlist that a cache serves may be older than the one before it by so many segments; one that is older than that
/// is a new count.
const STALE: usize = 2;

/// A segment to be fetched.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Planned {
    pub(super) segment: Segment,
    /// Whether a demuxer may take it for the continuation of the one before.
    pub(super) follows: bool,
}

/// What a playlist brought.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct News {
    /// What to fetch, oldest first.
    pub(super) planned: Vec<Planned>,
    /// Whether anything in it was not there before.
    pub(super) moved: bool,
    /// How many segments passed by without having been fetched.
    pub(super) missed: u64,
}

/// Where a stream's playlist has got to.
#[derive(Debug, Clone, Default)]
pub(super) struct Window {
    /// The number of the segment to come; nothing before the first playlist with one.
    next: Option<u64>,
    /// What the latest segments are known by, newest last, so that a new count can be told from an old list.
    recent: Vec<u64>,
    /// Whether the latest segment cannot be followed.
    broken: bool,
    rejoining: bool,
}

impl Window {
    /// The stream is attached to again: what it lists was seen, but its timeline was lost.
    pub(super) fn rejoin(&mut self) {
        self.broken = true;
        self.rejoining = true;
    }

    /// Takes in the playlist as it is now.
    pub(super) fn advance(&mut self, media: &Media) -> News {
        let quiet = News { planned: Vec::new(), moved: false, missed: 0 };
        let Some(last) = media.segments.last() else { return quiet };
        let newest = media.sequence + (media.segments.len() as u64 - 1);
        let rejoining = std::mem::take(&mut self.rejoining);
        let Some(next) = self.next else { return self.join(media, newest) };
        if newest >= next {
            return self.go_on(media, next, newest);
        }
        let behind = next - 1 - newest;
        if self.recent.contains(&name(last)) && (behind == 0 || behind <= STALE as u64 && !rejoining) {
            return quiet;
        }
        // Some servers do not count on when they leave the oldest out: then names tell what is new.
        match media.segments.iter().rposition(|segment| self.recent.last() == Some(&name(segment))) {
            Some(at) if at + 1 < media.segments.len() => self.go_on(media, media.sequence + at as u64 + 1, newest),
            _ => self.join(media, newest),
        }
    }

    /// Starts with the newest segment. What has ended is not joined: there is nothing live about it.
    fn join(&mut self, media: &Media, newest: u64) -> News {
        self.broken = true;
        let from = if media.ended { newest + 1 } else { newest };
        self.take(media, from, newest, 0)
    }

    fn go_on(&mut self, media: &Media, next: u64, newest: u64) -> News {
        let first = next.max(media.sequence);
        // After a long silence, the oldest are left out: what is live counts.
        let mut left = 3 * media.target;
        let fits = |segment: &&Segment| {
            let fits = segment.duration <= left;
            left = left.saturating_sub(segment.duration.max(Duration::from_millis(1)));
            fits
        };
        let fresh = media.segments.iter().rev().take_while(fits).count().max(1) as u64;
        let from = first.max((newest + 1).saturating_sub(fresh));
        self.broken |= from > next;
        self.take(media, from, newest, from - next)
    }

    /// Plans the segments from number `from` on.
    fn take(&mut self, media: &Media, from: u64, newest: u64, missed: u64) -> News {
        let skipped = usize::try_from(from.saturating_sub(media.sequence)).unwrap_or(usize::MAX);
        let mut news = News { planned: Vec::new(), moved: true, missed };
        for segment in media.segments.iter().skip(skipped) {
            if segment.missing {
                self.broken = true;
                news.missed += 1;
                continue;
            }
            let follows = !std::mem::take(&mut self.broken) && !segment.discontinuity;
            news.planned.push(Planned { segment: segment.clone(), follows });
        }
        self.next = Some(newest + 1);
        let latest = media.segments.len().saturating_sub(STALE + 1);
        self.recent = media.segments.iter().skip(latest).map(name).collect();
        news
    }
}

/// A short name for a segment: the address itself need not be kept.
fn name(segment: &Segment) -> u64 {
    BuildHasherDefault::<DefaultHasher>::default().hash_one(&segment.part)
}

/// How long to wait before the playlist is fetched again, counted from when it was last asked for: its target duration,
/// or half of that when it brought nothing (RFC 8216, 6.3.4).
pub(super) fn reload_after(target: Duration, moved: bool) -> Duration {
    if moved { target } else { target / 2 }
}

/// Whether a stream whose playlist has stood still for `unchanged` has stopped. A server must add a segment within one and
/// a half target durations (RFC 8216, 6.2.1); with what it may have taken to see the last one, two make three at most.
pub(super) fn has_stopped(target: Duration, unchanged: Duration) -> bool {
    unchanged >= 2 * target
}

#[cfg(test)]
mod tests;
