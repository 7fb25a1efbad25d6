//! Which stream brings inspector processes down: found by keeping suspects apart, as one finds a bad fuse.
//!
//! A process that breaks may have broken over what it was decoding, or over any stream that it had (a demuxer broke). Both
//! are followed at once.
//!
//! - What was being decoded is put on the process that is started anew, and the rest on others. A stream that alone was
//!   being decoded, and shares no neighbour with an earlier crash in which it was being decoded too, is the culprit.
//! - All that the process had are spread over the processes, and halved with every crash that follows; the last one left is
//!   given a process for itself. What brings down a process that had nothing else is the culprit.
//!
//! So what breaks a decoder is named at its second crash, and what breaks a demuxer after about `log n`, base the number of
//! processes; who happened to be near is not, even where there are several culprits. With one process alone nobody can be
//! kept apart: there a stream is named that alone was being decoded at four crashes in a row, as long as none happened with
//! nothing being decoded.
//!
//! Streams are known by their names, and remembered after they have ended: who breaks a process, goes and comes again is
//! the same suspect. Pure: time is an argument.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::clock::Timestamp;

/// After so long without a crash nobody is suspected any more, and a culprit is given another chance.
const CALM: Duration = Duration::from_mins(10);

/// For so long a suspect waits for the process that it is to be on; after that any other will do.
const PATIENCE: Duration = Duration::from_secs(15);

/// Crashes in a row at which a stream alone was being decoded that stand for having kept it apart.
const IN_A_ROW: u32 = 4;

/// How a process came to its end, as far as a stream may be at fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum How {
    /// It broke: what was being decoded counts, and to be alone on it once is enough for a suspect.
    Broke,
    /// It took too much memory. Of whose is not known, so only to be alone on it counts, twice.
    TookMemory,
    /// It fell silent, which may be for want of a processor: three times.
    FellSilent,
}

impl How {
    const fn alone(self) -> u32 {
        match self {
            Self::Broke => 1,
            Self::TookMemory => 2,
            Self::FellSilent => 3,
        }
    }
}

/// Where a suspect is to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) process: usize,
    /// It waits until that process is up; otherwise it is with another until then.
    pub(super) waits: bool,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Suspects<K> {
    processes: usize,
    /// What was being decoded at a crash.
    hands: BTreeMap<K, Hand<K>>,
    /// Who may be the one that every crash of a row goes back to, and on which process each is to be.
    left: BTreeMap<K, usize>,
    /// There was more than one crash in that row.
    narrowed: bool,
    /// At the last of them the rest was kept away from what was being decoded.
    kept_away: bool,
    last: Timestamp,
    /// When a process last broke with nothing being decoded.
    idle: Option<Timestamp>,
    /// How often a stream was all that a process had that came to its end, and when it was last.
    alone: BTreeMap<K, (u32, Timestamp)>,
    /// Culprits, and since when.
    named: BTreeMap<K, Timestamp>,
}

#[derive(Debug)]
struct Hand<K> {
    place: usize,
    last: Timestamp,
    /// Who was on the same process at each of the crashes.
    neighbours: BTreeSet<K>,
    /// Crashes in a row at which nothing else was being decoded.
    row: u32,
}

impl<K: Ord + Clone> Suspects<K> {
    /// Nobody, among the streams of so many processes.
    pub(super) const fn new(processes: usize) -> Self {
        Self {
            processes: if processes == 0 { 1 } else { processes },
            hands: BTreeMap::new(),
            left: BTreeMap::new(),
            narrowed: false,
            kept_away: false,
            last: Timestamp::ZERO,
            idle: None,
            alone: BTreeMap::new(),
            named: BTreeMap::new(),
        }
    }

    /// Where a suspect is to be; none for a stream that is not suspected.
    pub(super) fn place(&self, stream: &K, now: Timestamp) -> Option<Place> {
        if let Some(hand) = self.hands.get(stream).filter(|hand| now.since(hand.last) <= CALM) {
            return Some(Place { process: hand.place, waits: now.since(hand.last) <= PATIENCE });
        }
        let process = self.left.get(stream).copied().filter(|_| now.since(self.last) <= CALM)?;
        Some(Place { process, waits: self.narrowed && now.since(self.last) <= PATIENCE })
    }

    /// The suspect that is to have a process for itself, and which.
    pub(super) fn by_itself(&self, now: Timestamp) -> Option<(&K, usize)> {
        let (only, _) = self.left.first_key_value().filter(|_| self.narrowed && self.left.len() == 1)?;
        Some((only, self.place(only, now)?.process))
    }

    /// Whether a stream is one that brought processes down, and is not to be inspected.
    pub(super) fn is_named(&self, stream: &K, now: Timestamp) -> bool {
        self.named.get(stream).is_some_and(|since| now.since(*since) <= CALM)
    }

    /// Notes that a process came to its end that had these streams, some of them `in_hand`; the culprit, if that is clear
    /// now.
    pub(super) fn ended(
        &mut self,
        process: usize,
        how: How,
        (streams, in_hand): (&[K], &[K]),
        now: Timestamp,
    ) -> Option<K> {
        self.hands.retain(|_, hand| now.since(hand.last) <= CALM);
        self.alone.retain(|_, (_, last)| now.since(*last) <= CALM);
        self.named.retain(|_, since| now.since(*since) <= CALM);
        if now.since(self.last) > CALM {
            self.left.clear();
        }
        // What was decoded for a crash only: it says nothing of who took memory.
        let in_hand: BTreeSet<K> = in_hand.iter().filter(|_| how == How::Broke).cloned().collect();
        let there: BTreeSet<K> = streams.iter().cloned().chain(in_hand.iter().cloned()).collect();
        if there.is_empty() {
            return None;
        }
        self.last = now;
        let by_itself = self.count_alone(how, &there, now);
        let by_hand = if how == How::Broke { self.count_hands(&there, &in_hand, now) } else { None };
        if let Some(culprit) = by_hand.or(by_itself) {
            self.hands.clear();
            self.left.clear();
            self.alone.clear();
            self.named.insert(culprit.clone(), now);
            return Some(culprit);
        }
        self.narrow(process, &there, &in_hand);
        None
    }

    /// The culprit, where a process had nothing else, often enough, and it was suspected before.
    fn count_alone(&mut self, how: How, there: &BTreeSet<K>, now: Timestamp) -> Option<K> {
        let only = there.first().filter(|_| there.len() == 1)?;
        let suspected = self.left.contains_key(only) || self.hands.contains_key(only) || self.alone.contains_key(only);
        let (times, last) = self.alone.entry(only.clone()).or_insert((0, now));
        (*times, *last) = (*times + 1, now);
        (suspected && *times >= how.alone()).then(|| only.clone())
    }

    /// The culprit, where nothing else was being decoded and nothing else is common to its crashes.
    fn count_hands(&mut self, there: &BTreeSet<K>, in_hand: &BTreeSet<K>, now: Timestamp) -> Option<K> {
        if in_hand.is_empty() {
            self.idle = Some(now);
        }
        // It was there and was not being decoded: that is not how it breaks processes, if it does.
        self.hands.retain(|stream, _| in_hand.contains(stream) || !there.contains(stream));
        let sole = in_hand.len() == 1;
        let idle = self.idle.is_some_and(|at| now.since(at) <= CALM);
        let mut culprit = None;
        for stream in in_hand {
            let Some(hand) = self.hands.get_mut(stream) else {
                let neighbours = there.iter().filter(|other| *other != stream).cloned().collect();
                let hand = Hand { place: 0, last: now, neighbours, row: sole.into() };
                self.hands.insert(stream.clone(), hand);
                continue;
            };
            hand.last = now;
            hand.neighbours.retain(|other| there.contains(other));
            hand.row = if sole { hand.row + 1 } else { 0 };
            if sole && (hand.neighbours.is_empty() || (hand.row >= IN_A_ROW && !idle)) {
                culprit = Some(stream.clone());
            }
        }
        culprit
    }

    /// Goes on with those that may have done this one as well, and says where they are to be.
    fn narrow(&mut self, process: usize, there: &BTreeSet<K>, in_hand: &BTreeSet<K>) {
        let still: BTreeSet<K> = there.iter().filter(|stream| self.left.contains_key(*stream)).cloned().collect();
        self.narrowed = !still.is_empty();
        let suspects = if self.narrowed { &still } else { there };
        self.left.clear();
        let nth = |nth: usize| (process + nth) % self.processes;
        // The process that is started anew is empty: what was decoded gets it, or who is the only one left.
        for (number, stream) in in_hand.iter().enumerate() {
            if let Some(hand) = self.hands.get_mut(stream) {
                hand.place = nth(number);
            }
        }
        let only = suspects.first().filter(|_| self.narrowed && suspects.len() == 1);
        // Of two processes only one is left beside what was decoded, and nothing would be halved: every other time it is.
        self.kept_away = !(in_hand.is_empty() || self.narrowed && self.kept_away && self.processes == 2);
        let hands = if self.kept_away { in_hand.len() } else { 0 };
        let mut free: Vec<usize> = (1..=self.processes).map(nth).collect();
        // With hands on all of them, at least the first is by itself.
        free.truncate(self.processes.saturating_sub(hands.min(1)).max(1));
        if hands < self.processes {
            free.retain(|place| (0..hands).all(|hand| nth(hand) != *place));
        }
        let mut places = free.iter().copied().cycle();
        for stream in suspects {
            let hand = self.hands.get(stream).filter(|_| in_hand.contains(stream)).map(|hand| hand.place);
            let place = hand.or_else(|| only.map(|_| nth(in_hand.len())));
            if let Some(place) = place.or_else(|| places.next()) {
                self.left.insert(stream.clone(), place);
            }
        }
    }
}

#[cfg(test)]
mod tests;
