//! Which process has which stream: the fewest to each, suspects where they are to be, and nothing that is a culprit.
//!
//! Promises: a stream is with some process as long as one is up that may have it, but for a few seconds after a crash for
//! those that are suspected of it (see [`super::suspects`]).

use std::collections::{BTreeSet, HashMap};

use super::running::Running;
use super::suspects::Suspects;
use crate::clock::Timestamp;
use crate::inspector::wire::Command;
use crate::media_server::Pull;
use crate::stream::{Attention, Session, StreamId};

pub(super) struct State {
    pub(super) slots: Vec<Slot>,
    pub(super) streams: HashMap<Session, Stream>,
    pub(super) suspects: Suspects<StreamId>,
    pub(super) numbers: u64,
}

/// The place of one process.
pub(super) struct Slot {
    pub(super) phase: Phase,
    pub(super) streams: usize,
    /// How often in a row it was gone soon.
    pub(super) failures: u32,
    pub(super) pinged: Timestamp,
    /// It has become ready, and is given streams of others until it has as many.
    filling: bool,
}

pub(super) enum Phase {
    /// To be started at this time.
    Down(Timestamp),
    Starting(Running),
    Up(Running),
}

/// A stream that is to be inspected.
pub(super) struct Stream {
    pull: Pull,
    /// By whom it is.
    pub(super) at: Option<usize>,
    /// How closely it is looked at: from when, until when.
    raised: Option<(Attention, Timestamp, Timestamp)>,
}

impl Slot {
    pub(super) const fn new() -> Self {
        Self { phase: Phase::Down(Timestamp::ZERO), streams: 0, failures: 0, pinged: Timestamp::ZERO, filling: false }
    }

    pub(super) fn running(&mut self) -> Option<&mut Running> {
        match &mut self.phase {
            Phase::Down(_) => None,
            Phase::Starting(running) | Phase::Up(running) => Some(running),
        }
    }

    pub(super) fn is_up(&self) -> bool {
        matches!(self.phase, Phase::Up(_))
    }

    fn tell(&mut self, command: Command) {
        if let Phase::Up(running) = &mut self.phase {
            running.tell(command);
        }
    }
}

impl State {
    pub(super) fn new(processes: usize) -> Self {
        Self {
            slots: (0..processes).map(|_| Slot::new()).collect(),
            streams: HashMap::new(),
            suspects: Suspects::new(processes),
            numbers: 0,
        }
    }

    /// Begins with a session; false where its stream brought inspectors down.
    pub(super) fn attach(&mut self, session: &Session, pull: Pull, now: Timestamp) -> bool {
        if self.suspects.is_named(&session.stream, now) {
            return false;
        }
        if !self.streams.contains_key(session) {
            self.streams.insert(session.clone(), Stream { pull, at: None, raised: None });
            self.give(session, now);
        }
        true
    }

    /// Ends with a session.
    pub(super) fn detach(&mut self, session: &Session) {
        let Some(stream) = self.streams.remove(session) else { return };
        if let Some(slot) = stream.at.and_then(|at| self.slots.get_mut(at)) {
            slot.streams = slot.streams.saturating_sub(1);
            slot.tell(Command::Detach { session: session.clone() });
        }
    }

    /// Has a session looked at more closely, wherever it is.
    pub(super) fn raise(&mut self, session: &Session, level: Attention, now: Timestamp, until: Timestamp) {
        let Some(stream) = self.streams.get_mut(session) else { return };
        if stream.raised.is_none_or(|(held, _, held_until)| held_until <= now || level >= held) {
            stream.raised = Some((level, now, until));
        }
        if let Some(slot) = stream.at.and_then(|at| self.slots.get_mut(at)) {
            slot.tell(Command::Raise { session: session.clone(), level, now, until });
        }
    }

    /// Where a stream is to be now; none as long as it has to wait.
    fn place(&self, session: &Session, now: Timestamp) -> Option<usize> {
        let is_up = |place: usize| self.slots.get(place).is_some_and(Slot::is_up);
        let place = self.suspects.place(&session.stream, now);
        if let Some(place) = place.filter(|place| place.waits || is_up(place.process)) {
            return Some(place.process).filter(|place| is_up(*place));
        }
        let taken = self.taken(now).filter(|(stream, _)| *stream != session.stream).map(|(_, place)| place);
        let up = (0..self.slots.len()).filter(|place| is_up(*place));
        // Rather beside a suspect than nowhere.
        up.min_by_key(|place| (Some(*place) == taken, self.slots.get(*place).map(|slot| slot.streams)))
    }

    /// The suspect that has a process for itself, and which, as long as it is there.
    fn taken(&self, now: Timestamp) -> Option<(StreamId, usize)> {
        let (stream, place) = self.suspects.by_itself(now)?;
        self.streams.keys().any(|session| session.stream == *stream).then(|| (stream.clone(), place))
    }

    fn give(&mut self, session: &Session, now: Timestamp) {
        let place = self.place(session, now);
        let (Some(place), Some(stream)) = (place, self.streams.get_mut(session)) else { return };
        let Some(slot) = self.slots.get_mut(place) else { return };
        stream.at = Some(place);
        slot.streams += 1;
        slot.tell(Command::Attach { session: session.clone(), pull: stream.pull.clone() });
        if let Some((level, from, until)) = stream.raised.filter(|(.., until)| *until > now) {
            slot.tell(Command::Raise { session: session.clone(), level, now: from, until });
        }
    }

    /// Gives all streams that nobody inspects.
    pub(super) fn give_all(&mut self, now: Timestamp) {
        let mut waiting: Vec<Session> =
            self.streams.iter().filter(|(_, stream)| stream.at.is_none()).map(|(session, _)| session.clone()).collect();
        waiting.sort();
        for session in waiting {
            self.give(&session, now);
        }
    }

    /// Takes suspects away from where they are not to be, and others from whom is to be by itself.
    pub(super) fn part(&mut self, now: Timestamp) {
        let taken = self.taken(now);
        let elsewhere = |place: usize| self.slots.iter().enumerate().any(|(at, slot)| at != place && slot.is_up());
        let moved: Vec<Session> = self
            .streams
            .iter()
            .filter(|(session, stream)| {
                let Some(at) = stream.at else { return false };
                match (self.suspects.place(&session.stream, now), &taken) {
                    (Some(place), _) if place.process == at => false,
                    (Some(place), _) => place.waits || self.slots.get(place.process).is_some_and(Slot::is_up),
                    (None, Some((_, taken))) => *taken == at && elsewhere(at),
                    (None, None) => false,
                }
            })
            .map(|(session, _)| session.clone())
            .collect();
        for session in moved {
            self.take(&session);
        }
    }

    /// Takes a stream from the process that has it.
    fn take(&mut self, session: &Session) {
        let Some(at) = self.streams.get_mut(session).and_then(|stream| stream.at.take()) else { return };
        if let Some(slot) = self.slots.get_mut(at) {
            slot.streams = slot.streams.saturating_sub(1);
            slot.tell(Command::Detach { session: session.clone() });
        }
    }

    /// A process is ready: it gets what waits for it, and then its share of what the others have.
    pub(super) fn is_ready(&mut self, place: usize, now: Timestamp) {
        if let Some(slot) = self.slots.get_mut(place) {
            slot.filling = true;
        }
        self.part(now);
        self.give_all(now);
    }

    /// Moves one stream from the process with the most to one that has become ready and has fewer. Suspects stay where they
    /// are, and of the others whoever is looked at closely goes last.
    pub(super) fn even_out(&mut self, now: Timestamp) {
        let taken = self.taken(now).map(|(_, place)| place);
        let filling = |place: usize| self.slots.get(place).is_some_and(|slot| slot.filling && slot.is_up());
        let count = |place: usize| self.slots.get(place).map_or(0, |slot| slot.streams);
        let Some(to) = (0..self.slots.len())
            .filter(|place| filling(*place) && Some(*place) != taken)
            .min_by_key(|place| count(*place))
        else {
            return;
        };
        let up = (0..self.slots.len()).filter(|place| self.slots.get(*place).is_some_and(Slot::is_up));
        let from = up.max_by_key(|place| count(*place)).filter(|from| count(*from) > count(to) + 1);
        let movable = self.streams.iter().filter(|(session, stream)| {
            stream.at.is_some() && stream.at == from && self.suspects.place(&session.stream, now).is_none()
        });
        let calmest =
            movable.min_by_key(|(_, stream)| stream.raised.filter(|(.., until)| *until > now).map(|(level, ..)| level));
        let moved = calmest.map(|(session, _)| session.clone());
        if let Some(session) = &moved {
            self.take(session);
            self.give(session, now);
        } else if let Some(slot) = self.slots.get_mut(to) {
            slot.filling = false;
        }
    }

    /// Forgets by whom the streams of a process were inspected that is gone: whose they are.
    pub(super) fn orphans(&mut self, place: usize) -> Vec<StreamId> {
        if let Some(slot) = self.slots.get_mut(place) {
            (slot.streams, slot.filling) = (0, false);
        }
        let theirs = self.streams.iter_mut().filter(|(_, stream)| stream.at == Some(place));
        let orphaned: BTreeSet<StreamId> = theirs
            .map(|(session, stream)| {
                stream.at = None;
                session.stream.clone()
            })
            .collect();
        orphaned.into_iter().collect()
    }

    /// Ends with all sessions of a stream: which they were.
    pub(super) fn remove(&mut self, stream: &StreamId) -> Vec<Session> {
        let mut sessions: Vec<Session> =
            self.streams.keys().filter(|session| session.stream == *stream).cloned().collect();
        sessions.sort();
        for session in &sessions {
            self.detach(session);
        }
        sessions
    }
}
