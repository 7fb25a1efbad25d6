//! What was decided before on the same publisher, answered from memory: rules weigh it with every finding.
//!
//! A publisher is known by the stream that they publish, by their account and by their key, as far as the media server
//! tells; never by their address, which others share. Bounded: the newest [`MOST`] verdicts are known.

use std::collections::{HashMap, HashSet, VecDeque};
use std::hash::Hash;

use uuid::Uuid;

use crate::decision::{DenyBy, Earlier, Target};
use crate::ledger::Standing;
use crate::stream::{Publisher, Session, StreamId};

/// Verdicts known; the oldest are forgotten first.
pub(super) const MOST: usize = 20_000;

/// Verdicts on one publisher that rules are given: the newest.
const MOST_OF_ONE: usize = 64;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct History {
    /// Oldest first.
    all: VecDeque<Standing>,
    by_stream: HashMap<StreamId, Vec<Known>>,
    by_target: HashMap<Target, Vec<Known>>,
}

/// A verdict, and the session that it was on: one on this session is no earlier one.
#[derive(Debug, Clone, PartialEq)]
struct Known {
    session: Session,
    verdict: Earlier,
}

/// By what a publisher is known again.
pub(super) fn known_as(publisher: &Publisher) -> Vec<Target> {
    [DenyBy::Account, DenyBy::Key].into_iter().filter_map(|by| Target::named(by, publisher)).collect()
}

impl History {
    /// What the ledger gives at the start, oldest first.
    pub(super) fn new(standing: impl IntoIterator<Item = Standing>) -> Self {
        let mut history = Self::default();
        for verdict in standing {
            history.add(verdict);
        }
        history
    }

    /// A verdict was carried out.
    pub(super) fn add(&mut self, standing: Standing) {
        let known = Known { session: standing.session.clone(), verdict: standing.verdict.clone() };
        self.by_stream.entry(standing.session.stream.clone()).or_default().push(known.clone());
        for target in &standing.known_as {
            self.by_target.entry(target.clone()).or_default().push(known.clone());
        }
        self.all.push_back(standing);
        if self.all.len() > MOST
            && let Some(oldest) = self.all.pop_front()
        {
            self.drop_from_maps(&oldest);
        }
    }

    /// Somebody took a verdict back: it no longer stands against anybody.
    pub(super) fn forget(&mut self, decision: Uuid) {
        if let Some(at) = self.all.iter().position(|standing| standing.verdict.decision == decision)
            && let Some(standing) = self.all.remove(at)
        {
            self.drop_from_maps(&standing);
        }
    }

    /// The verdicts on earlier sessions of whoever publishes in `session`, oldest first.
    pub(super) fn of(&self, session: &Session, publisher: impl FnOnce() -> Publisher) -> Vec<Earlier> {
        // Mostly there are none: nobody is looked up for nothing.
        if self.all.is_empty() {
            return Vec::new();
        }
        let known_as = if self.by_target.is_empty() { Vec::new() } else { known_as(&publisher()) };
        let of_target = known_as.iter().filter_map(|target| self.by_target.get(target));
        let all = self.by_stream.get(&session.stream).into_iter().chain(of_target).flatten();
        let mut seen = HashSet::new();
        let mut earlier: Vec<Earlier> = all
            .filter(|known| known.session != *session && seen.insert(known.verdict.decision))
            .map(|known| known.verdict.clone())
            .collect();
        earlier.sort_by_key(|verdict| (verdict.decided, verdict.decision));
        earlier.drain(..earlier.len().saturating_sub(MOST_OF_ONE));
        earlier
    }

    fn drop_from_maps(&mut self, standing: &Standing) {
        let decision = standing.verdict.decision;
        remove(&mut self.by_stream, &standing.session.stream, decision);
        for target in &standing.known_as {
            remove(&mut self.by_target, target, decision);
        }
    }
}

fn remove<K: Hash + Eq>(map: &mut HashMap<K, Vec<Known>>, key: &K, decision: Uuid) {
    if let Some(of_key) = map.get_mut(key) {
        of_key.retain(|known| known.verdict.decision != decision);
        if of_key.is_empty() {
            map.remove(key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Timestamp;
    use crate::decision::Verdict;

    fn session(name: &str, id: &str) -> Session {
        Session { stream: StreamId::new("main", "live", name), id: id.into() }
    }

    fn publisher(account: &str) -> Publisher {
        Publisher { account: Some(account.into()), address: Some("192.0.2.1".into()), ..Publisher::default() }
    }

    fn cut(name: &str, id: &str, account: &str, second: u64) -> Standing {
        let decided = Timestamp::from_millis(second * 1000);
        let verdict = Earlier { decision: Uuid::now_v7(), verdict: Verdict::Cut, decided };
        Standing { session: session(name, id), known_as: known_as(&publisher(account)), verdict }
    }

    #[test]
    fn a_publisher_is_known_again_by_stream_and_by_account_and_by_no_address() {
        let (first, second) = (cut("a", "1", "ann", 1), cut("b", "1", "bob", 2));
        let history = History::new([first.clone(), second.clone()]);
        for (name, id, account, expected) in [
            ("a", "2", "ann", vec![&first]),
            ("a", "2", "nobody", vec![&first]),
            ("c", "9", "ann", vec![&first]),
            ("b", "2", "ann", vec![&first, &second]),
            ("a", "1", "ann", vec![]),
            ("c", "9", "nobody", vec![]),
        ] {
            let expected: Vec<Earlier> = expected.into_iter().map(|standing| standing.verdict.clone()).collect();
            assert_eq!(history.of(&session(name, id), || publisher(account)), expected, "{name} {id} {account}");
        }
    }

    #[test]
    fn what_is_taken_back_stands_against_nobody() {
        let (first, second) = (cut("a", "1", "ann", 1), cut("a", "2", "ann", 2));
        let mut history = History::new([first.clone(), second.clone()]);
        history.forget(first.verdict.decision);
        history.forget(first.verdict.decision);
        assert_eq!(history.of(&session("a", "3"), || publisher("ann")), [second.verdict.clone()]);
        history.forget(second.verdict.decision);
        assert!(history.by_stream.is_empty() && history.by_target.is_empty() && history.all.is_empty());
    }

    #[test]
    fn what_is_known_is_bounded() {
        let history = History::new((0..MOST as u64 + 10).map(|n| cut(&n.to_string(), "1", "ann", n)));
        assert_eq!((history.all.len(), history.by_stream.len()), (MOST, MOST));
        assert_eq!(history.of(&session("x", "1"), || publisher("ann")).len(), MOST_OF_ONE);
        assert_eq!(history.by_target.values().map(Vec::len).sum::<usize>(), MOST);
    }
}
