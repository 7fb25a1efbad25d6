//! Who may publish, answered from memory: a media server waits for the answer before it lets anybody in.
//!
//! The gate holds what the ledger holds; whoever changes one changes the other, the ledger first.

use std::collections::HashMap;
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use uuid::Uuid;

use crate::clock::Timestamp;
use crate::decision::Deny;
use crate::media_server::Admission;
use crate::stream::StreamId;

type Denies = HashMap<StreamId, Vec<Deny>>;

/// The denies in force. Shared between threads; an answer takes a read lock and one look-up.
#[derive(Debug, Default)]
pub struct Gate {
    denies: RwLock<Denies>,
}

impl Gate {
    /// A gate that refuses what `denies` name: what the ledger gives at the start.
    pub fn new(denies: impl IntoIterator<Item = Deny>) -> Self {
        let gate = Self::default();
        for deny in denies {
            gate.deny(deny);
        }
        gate
    }

    /// Whether somebody may publish to `stream` at `now`.
    pub fn admit(&self, stream: &StreamId, now: Timestamp) -> Admission {
        let denied = self.read().get(stream).is_some_and(|denies| denies.iter().any(|deny| stands(deny, now)));
        if denied { Admission::Refuse } else { Admission::Allow }
    }

    /// Refuses a stream from now on. A second deny that follows from the same decision takes the place of the first.
    pub fn deny(&self, deny: Deny) {
        let mut denies = self.write();
        let standing = denies.entry(deny.stream.clone()).or_default();
        standing.retain(|other| other.decision != deny.decision);
        standing.push(deny);
    }

    /// Takes back every deny against `stream`, and says how many there were.
    pub fn lift(&self, stream: &StreamId) -> usize {
        self.write().remove(stream).map_or(0, |denies| denies.len())
    }

    /// Takes back the deny that follows from `decision`, and says how many there were.
    pub fn lift_decision(&self, decision: Uuid) -> usize {
        retain(&mut self.write(), |deny| deny.decision != decision)
    }

    /// Forgets the denies that have ended by `now`, and says how many. Without it they only take up memory.
    pub fn expire(&self, now: Timestamp) -> usize {
        retain(&mut self.write(), |deny| stands(deny, now))
    }

    /// How many denies there are.
    pub fn count(&self) -> usize {
        self.read().values().map(Vec::len).sum()
    }

    fn read(&self) -> RwLockReadGuard<'_, Denies> {
        self.denies.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Denies> {
        self.denies.write().unwrap_or_else(PoisonError::into_inner)
    }
}

fn stands(deny: &Deny, now: Timestamp) -> bool {
    deny.until.is_none_or(|until| now < until)
}

fn retain(denies: &mut Denies, keep: impl Fn(&Deny) -> bool) -> usize {
    let mut removed = 0;
    denies.retain(|_, standing| {
        let before = standing.len();
        standing.retain(&keep);
        removed += before - standing.len();
        !standing.is_empty()
    });
    removed
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Timestamp {
        Timestamp::from_millis(millis)
    }

    fn stream(name: &str) -> StreamId {
        StreamId::new("main", "live", name)
    }

    fn deny(name: &str, until: Option<u64>) -> Deny {
        Deny { stream: stream(name), decision: Uuid::now_v7(), since: at(0), until: until.map(at) }
    }

    #[test]
    fn refuses_what_is_denied_and_nothing_else() {
        let gate = Gate::new([deny("a&b", None)]);
        assert_eq!(gate.admit(&stream("a&b"), at(1)), Admission::Refuse);
        for other in ["a", "a%26b", "A&B", ""] {
            assert_eq!(gate.admit(&stream(other), at(1)), Admission::Allow, "{other}");
        }
        assert_eq!(gate.admit(&StreamId::new("other", "live", "a&b"), at(1)), Admission::Allow);
    }

    #[test]
    fn a_deny_ends_on_time_without_being_swept() {
        let gate = Gate::new([deny("a", Some(1000))]);
        assert_eq!(gate.admit(&stream("a"), at(999)), Admission::Refuse);
        assert_eq!(gate.admit(&stream("a"), at(1000)), Admission::Allow);
        assert_eq!((gate.expire(at(999)), gate.count()), (0, 1));
        assert_eq!((gate.expire(at(1000)), gate.count()), (1, 0));
    }

    #[test]
    fn the_longest_deny_decides() {
        let (brief, lasting) = (deny("a", Some(1000)), deny("a", None));
        let gate = Gate::new([lasting.clone(), brief]);
        assert_eq!(gate.admit(&stream("a"), at(2000)), Admission::Refuse);
        assert_eq!(gate.lift_decision(lasting.decision), 1);
        assert_eq!(gate.admit(&stream("a"), at(2000)), Admission::Allow);
    }

    #[test]
    fn lifting_a_stream_takes_back_every_deny_against_it() {
        let gate = Gate::new([deny("a", None), deny("a", Some(9000)), deny("b", None)]);
        assert_eq!((gate.lift(&stream("a")), gate.lift(&stream("a")), gate.count()), (2, 0, 1));
        assert_eq!(gate.admit(&stream("a"), at(1)), Admission::Allow);
    }

    #[test]
    fn the_same_deny_twice_is_one() {
        let deny = deny("a", None);
        assert_eq!(Gate::new([deny.clone(), deny]).count(), 1);
    }
}
