//! Who may publish, answered from memory: a media server waits for the answer before it lets anybody in.
//!
//! The gate holds what the ledger holds; whoever changes one changes the other, the ledger first.

use std::collections::HashMap;
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use uuid::Uuid;

use crate::clock::Timestamp;
use crate::decision::{Deny, DenyBy, Target};
use crate::media_server::Admission;
use crate::stream::{Publisher, StreamId};

/// The denies in force, by whom they refuse.
#[derive(Debug, Default)]
struct Denies {
    by_name: HashMap<StreamId, Vec<Deny>>,
    by_target: HashMap<Target, Vec<Deny>>,
}

/// The denies in force. Shared between threads; an answer takes a read lock and a look-up for each thing known of the
/// publisher.
#[derive(Debug, Default)]
pub struct Gate {
    denies: RwLock<Denies>,
}

impl Gate {
    /// A gate that refuses whom `denies` name: what the ledger gives at the start.
    pub fn new(denies: impl IntoIterator<Item = Deny>) -> Self {
        let gate = Self::default();
        for deny in denies {
            gate.deny(deny);
        }
        gate
    }

    /// Whether `publisher` may publish to `stream` at `now`. What is not known of them cannot be held against them.
    pub fn admit(&self, stream: &StreamId, publisher: &Publisher, now: Timestamp) -> Admission {
        let denies = self.read();
        let stand =
            |denies: Option<&Vec<Deny>>| denies.is_some_and(|denies| denies.iter().any(|deny| stands(deny, now)));
        let refused = stand(denies.by_name.get(stream))
            // Mostly nobody is refused by anything but a name: no key is digested for nothing.
            || (!denies.by_target.is_empty()
                && [DenyBy::Account, DenyBy::Address, DenyBy::Key]
                    .into_iter()
                    .filter_map(|by| Target::named(by, publisher))
                    .any(|target| stand(denies.by_target.get(&target))));
        if refused { Admission::Refuse } else { Admission::Allow }
    }

    /// Refuses somebody from now on. A second deny of the same that follows from the same decision takes the place of the
    /// first.
    pub fn deny(&self, deny: Deny) {
        let mut denies = self.write();
        let standing = match &deny.target {
            Target::Name => denies.by_name.entry(deny.stream.clone()).or_default(),
            target => denies.by_target.entry(target.clone()).or_default(),
        };
        standing.retain(|other| other.decision != deny.decision);
        standing.push(deny);
    }

    /// Takes back every deny that follows from `decision`, and says how many there were.
    pub fn lift_decision(&self, decision: Uuid) -> usize {
        self.write().retain(|deny| deny.decision != decision)
    }

    /// Forgets the denies that have ended by `now`, and says how many. Without it they only take up memory.
    pub fn expire(&self, now: Timestamp) -> usize {
        self.write().retain(|deny| stands(deny, now))
    }

    /// How many denies there are.
    pub fn count(&self) -> usize {
        let denies = self.read();
        denies.by_name.values().chain(denies.by_target.values()).map(Vec::len).sum()
    }

    fn read(&self) -> RwLockReadGuard<'_, Denies> {
        self.denies.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Denies> {
        self.denies.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Denies {
    /// Keeps those that `keep` says, and gives how many went.
    fn retain(&mut self, keep: impl Fn(&Deny) -> bool) -> usize {
        retain(&mut self.by_name, &keep) + retain(&mut self.by_target, &keep)
    }
}

fn stands(deny: &Deny, now: Timestamp) -> bool {
    deny.until.is_none_or(|until| now < until)
}

fn retain<K>(denies: &mut HashMap<K, Vec<Deny>>, keep: impl Fn(&Deny) -> bool) -> usize {
    let mut removed = 0;
    denies.retain(|_, standing| {
        let before = standing.len();
        standing.retain(|deny| keep(deny));
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
        deny_of(name, Target::Name, until)
    }

    fn deny_of(name: &str, target: Target, until: Option<u64>) -> Deny {
        Deny { stream: stream(name), target, decision: Uuid::now_v7(), since: at(0), until: until.map(at) }
    }

    /// What somebody is answered of whom nothing is known.
    fn admit(gate: &Gate, stream: &StreamId, now: u64) -> Admission {
        gate.admit(stream, &Publisher::default(), at(now))
    }

    #[test]
    fn refuses_what_is_denied_and_nothing_else() {
        let gate = Gate::new([deny("a&b", None)]);
        assert_eq!(admit(&gate, &stream("a&b"), 1), Admission::Refuse);
        for other in ["a", "a%26b", "A&B", ""] {
            assert_eq!(admit(&gate, &stream(other), 1), Admission::Allow, "{other}");
        }
        assert_eq!(admit(&gate, &StreamId::new("other", "live", "a&b"), 1), Admission::Allow);
    }

    #[test]
    fn a_deny_ends_on_time_without_being_swept() {
        let gate = Gate::new([deny("a", Some(1000))]);
        assert_eq!(admit(&gate, &stream("a"), 999), Admission::Refuse);
        assert_eq!(admit(&gate, &stream("a"), 1000), Admission::Allow);
        assert_eq!((gate.expire(at(999)), gate.count()), (0, 1));
        assert_eq!((gate.expire(at(1000)), gate.count()), (1, 0));
    }

    #[test]
    fn the_longest_deny_decides() {
        let (brief, lasting) = (deny("a", Some(1000)), deny("a", None));
        let gate = Gate::new([lasting.clone(), brief]);
        assert_eq!(admit(&gate, &stream("a"), 2000), Admission::Refuse);
        assert_eq!(gate.lift_decision(lasting.decision), 1);
        assert_eq!(admit(&gate, &stream("a"), 2000), Admission::Allow);
    }

    #[test]
    fn a_publisher_is_refused_wherever_they_publish() {
        let mallory = Publisher {
            address: Some("::ffff:192.0.2.7".into()),
            key: Some("sk_secret".into()),
            account: Some("mallory".into()),
        };
        for target in [Target::key("sk_secret"), Target::Account("mallory".into()), Target::address("192.0.2.7")] {
            let gate = Gate::new([deny_of("a", target.clone(), Some(1000))]);
            let elsewhere = StreamId::new("other", "vod", "b");
            assert_eq!(gate.admit(&elsewhere, &mallory, at(999)), Admission::Refuse, "{target:?}");
            assert_eq!(gate.admit(&elsewhere, &mallory, at(1000)), Admission::Allow, "{target:?} has ended");
            assert_eq!(admit(&gate, &stream("a"), 1), Admission::Allow, "nothing stands against the name");
            let alice = Publisher {
                address: Some("192.0.2.70".into()),
                key: Some("sk_".into()),
                account: Some("Mallory".into()),
            };
            assert_eq!(gate.admit(&stream("a"), &alice, at(1)), Admission::Allow, "{target:?}");
        }
    }

    #[test]
    fn what_is_refused_by_one_word_is_not_refused_by_another() {
        let gate = Gate::new([deny_of("a", Target::Account("192.0.2.7".into()), None)]);
        let there = Publisher::at(Some("192.0.2.7"));
        assert_eq!(gate.admit(&stream("b"), &there, at(1)), Admission::Allow);
    }

    #[test]
    fn lifting_a_decision_takes_back_all_its_denies() {
        let first = deny("a", None);
        let second = Deny { target: Target::Account("mallory".into()), ..first.clone() };
        let gate = Gate::new([first.clone(), second, deny("a", None), deny("b", None)]);
        assert_eq!((gate.count(), gate.lift_decision(first.decision), gate.count()), (4, 2, 2));
        assert_eq!(admit(&gate, &stream("a"), 1), Admission::Refuse, "another decision refuses it too");
    }

    #[test]
    fn the_same_deny_twice_is_one() {
        let deny = deny("a", None);
        assert_eq!(Gate::new([deny.clone(), deny]).count(), 1);
    }
}
