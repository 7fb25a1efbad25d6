//! What the ledger knows of webhooks: events that wait, events that were given up and may be replayed, and receivers that
//! want no more.
//!
//! An event that is given up stays, with its identifier and its bytes, until somebody replays it: its receiver can then tell
//! that it has it already.

use std::collections::BTreeMap;
use std::sync::Arc;

use rusqlite::{TransactionBehavior, params};
use uuid::Uuid;

use super::rows::{self, Key, Time};
use super::{Ledger, LedgerError};
use crate::clock::Timestamp;
use crate::decision::Action;

const REPLAY_ALL: &str = "UPDATE actions SET state = 'pending', due = ?1
     WHERE kind = 'notify' AND state = 'gave_up' AND payload ->> '$.webhook' = ?2";
/// A statement of its own, so that an event is found by its identifier and not by reading all that were given up: whoever
/// writes a decision waits meanwhile.
const REPLAY_ONE: &str = "UPDATE actions SET state = 'pending', due = ?1
     WHERE id = ?3 AND kind = 'notify' AND state = 'gave_up' AND payload ->> '$.webhook' = ?2";

/// An event that was given up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetter {
    /// The action's identifier: the `webhook-id` under which it was sent.
    pub id: Uuid,
    /// The event, as it was sent.
    pub body: String,
    /// How many attempts were made.
    pub attempts: u32,
    /// When it was given up.
    pub given_up: Timestamp,
    /// What went wrong last.
    pub reason: String,
}

/// How many events of a webhook are not delivered.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Undelivered {
    /// Those that are still tried.
    pub pending: u32,
    /// Those that were given up.
    pub dead: u32,
}

/// A receiver that wants no more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gone {
    /// The `name` of its `[[webhook]]`.
    pub webhook: Arc<str>,
    /// SHA-256 of its address, hexadecimal.
    pub receiver: Arc<str>,
    /// Since when.
    pub since: Timestamp,
}

impl Ledger {
    /// Events for `webhook` that were given up, oldest first, `limit` at most.
    pub fn dead_letters(&self, webhook: &str, limit: usize) -> Result<Vec<DeadLetter>, LedgerError> {
        self.rows(
            "SELECT a.id, a.payload, a.attempts, o.ended, o.detail
             FROM actions a JOIN outcomes o ON o.action = a.id AND o.attempt = a.attempts
             WHERE a.kind = 'notify' AND a.state = 'gave_up' AND a.payload ->> '$.webhook' = ?1
             ORDER BY a.rowid LIMIT ?2",
            params![webhook, i64::try_from(limit).unwrap_or(i64::MAX)],
            |row| {
                let body = match rows::json(row, 1)? {
                    Action::Notify { body, .. } => body,
                    _ => String::new(),
                };
                let Time(given_up) = row.get(3)?;
                Ok(DeadLetter { id: rows::key(row, 0)?, body, attempts: row.get(2)?, given_up, reason: row.get(4)? })
            },
        )
    }

    /// Makes events for `webhook` that were given up due at `now`: those whose identifiers are given, or all. Says how many.
    pub fn replay(&self, webhook: &str, ids: Option<&[Uuid]>, now: Timestamp) -> Result<usize, LedgerError> {
        let failed = |error| self.failed(error);
        let mut inner = self.lock();
        let transaction = inner.connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(failed)?;
        let mut replayed = 0;
        match ids {
            None => {
                let mut all = transaction.prepare_cached(REPLAY_ALL).map_err(failed)?;
                replayed += all.execute(params![Time(now), webhook]).map_err(failed)?;
            }
            Some(ids) => {
                let mut one = transaction.prepare_cached(REPLAY_ONE).map_err(failed)?;
                for id in ids {
                    replayed += one.execute(params![Time(now), webhook, Key(*id)]).map_err(failed)?;
                }
            }
        }
        transaction.commit().map_err(failed)?;
        Ok(replayed)
    }

    /// How many events are not delivered, by webhook; those without any are not in it.
    pub fn undelivered(&self) -> Result<BTreeMap<Arc<str>, Undelivered>, LedgerError> {
        let counted: Vec<(Arc<str>, u32, u32)> = self.rows(
            "SELECT webhook, sum(dead = 0), sum(dead) FROM (
                 SELECT payload ->> '$.webhook' AS webhook, 0 AS dead FROM actions
                 WHERE kind = 'notify' AND state = 'pending'
                 UNION ALL
                 SELECT payload ->> '$.webhook', 1 FROM actions WHERE kind = 'notify' AND state = 'gave_up'
             ) GROUP BY webhook",
            params![],
            |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)),
        )?;
        Ok(counted.into_iter().map(|(webhook, pending, dead)| (webhook, Undelivered { pending, dead })).collect())
    }

    /// The receivers that want no more.
    pub fn gone(&self) -> Result<Vec<Gone>, LedgerError> {
        self.rows("SELECT webhook, receiver, since FROM receivers_gone ORDER BY webhook", params![], |row| {
            let Time(since) = row.get(2)?;
            Ok(Gone { webhook: row.get(0)?, receiver: row.get(1)?, since })
        })
    }

    /// Remembers that a receiver wants no more. The first time that it is said stands.
    pub fn set_gone(&self, gone: &Gone) -> Result<(), LedgerError> {
        let Gone { webhook, receiver, since } = gone;
        self.rows(
            "INSERT INTO receivers_gone (webhook, receiver, since) VALUES (?1, ?2, ?3)
             ON CONFLICT (webhook) DO UPDATE SET receiver = excluded.receiver, since = excluded.since
             WHERE receiver <> excluded.receiver",
            params![webhook, receiver, Time(*since)],
            |_row| Ok(()),
        )
        .map(drop)
    }

    /// Forgets it.
    pub fn set_back(&self, webhook: &str) -> Result<(), LedgerError> {
        self.rows("DELETE FROM receivers_gone WHERE webhook = ?1", params![webhook], |_row| Ok(())).map(drop)
    }
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;
    use crate::decision::{Lane, Outbox as _, Outcome};
    use crate::ledger::Config;

    fn at(millis: u64) -> Timestamp {
        Timestamp::from_millis(millis)
    }

    fn open(dir: &TempDir) -> Ledger {
        Ledger::open(&Config { path: dir.path().join("ledger.sqlite") }).unwrap()
    }

    fn event(webhook: &str, number: u32) -> (Uuid, Action) {
        (Uuid::now_v7(), Action::Notify { webhook: webhook.into(), body: format!("{{\"event\":{number}}}") })
    }

    /// Three events for each of two webhooks; the first two of `ops` are given up.
    fn story(ledger: &Ledger) -> Vec<Uuid> {
        let events: Vec<_> = (0..3).flat_map(|number| [event("ops", number), event("other", number)]).collect();
        ledger.announce(&events, at(1000)).unwrap();
        let given_up = vec![events[0].0, events[2].0];
        assert_eq!(ledger.claim(Lane::Notify, at(1000), 9).unwrap().len(), 6);
        for id in &given_up {
            let gave_up = Outcome::GaveUp { detail: "HTTP 410".into() };
            ledger.finish(*id, at(1000), at(1100), &gave_up, &[]).unwrap();
        }
        given_up
    }

    #[test]
    fn what_was_given_up_is_listed_with_its_bytes_and_why() {
        let dir = TempDir::new().unwrap();
        let ledger = open(&dir);
        let given_up = story(&ledger);
        let letters = ledger.dead_letters("ops", 9).unwrap();
        assert_eq!(letters.iter().map(|letter| letter.id).collect::<Vec<_>>(), given_up);
        let first = DeadLetter {
            id: given_up[0],
            body: "{\"event\":0}".into(),
            attempts: 1,
            given_up: at(1100),
            reason: "HTTP 410".into(),
        };
        assert_eq!(letters[0], first);
        assert_eq!(ledger.dead_letters("ops", 1).unwrap().len(), 1);
        assert_eq!(ledger.dead_letters("other", 9).unwrap(), []);
        let expected = [("ops", 1, 2), ("other", 3, 0)]
            .map(|(webhook, pending, dead)| (Arc::from(webhook), Undelivered { pending, dead }));
        assert_eq!(ledger.undelivered().unwrap(), BTreeMap::from(expected));
    }

    #[test]
    fn what_is_replayed_is_due_again_under_its_identifier_and_nothing_else_is() {
        let dir = TempDir::new().unwrap();
        let ledger = open(&dir);
        let given_up = story(&ledger);
        let pending = ledger.dead_letters("other", 9).unwrap();
        assert_eq!(pending, []);
        assert_eq!(ledger.replay("other", None, at(2000)).unwrap(), 0);
        assert_eq!(ledger.replay("other", Some(&given_up), at(2000)).unwrap(), 0, "another webhook's");
        assert_eq!(ledger.replay("ops", Some(&given_up[1..]), at(2000)).unwrap(), 1);
        assert_eq!(ledger.replay("ops", Some(&given_up[1..]), at(2000)).unwrap(), 0, "it waits already");
        assert_eq!(ledger.claim(Lane::Notify, at(1999), 9).unwrap(), []);
        let jobs = ledger.claim(Lane::Notify, at(2000), 9).unwrap();
        assert_eq!(jobs.iter().map(|job| (job.id, job.attempts)).collect::<Vec<_>>(), [(given_up[1], 1)]);
        assert_eq!(jobs[0].action, Action::Notify { webhook: "ops".into(), body: "{\"event\":1}".into() });

        assert_eq!(ledger.replay("ops", None, at(3000)).unwrap(), 1);
        let done = Outcome::Done { detail: "HTTP 204".into() };
        ledger.finish(given_up[1], at(2000), at(2100), &done, &[]).unwrap();
        assert_eq!(ledger.replay("ops", None, at(3000)).unwrap(), 0, "delivered, or waiting");
    }

    #[test]
    fn an_event_is_found_by_its_identifier() {
        let dir = TempDir::new().unwrap();
        let ledger = open(&dir);
        let explained = format!("EXPLAIN QUERY PLAN {REPLAY_ONE}");
        let plan: Vec<String> =
            ledger.rows(&explained, params![Time(at(1)), "ops", Key(Uuid::nil())], |row| row.get(3)).unwrap();
        assert!(plan.iter().all(|step| step.contains("(id=?)")), "{plan:?}");
    }

    #[test]
    fn who_is_gone_is_remembered_until_it_is_back_or_somewhere_else() {
        let dir = TempDir::new().unwrap();
        let gone = |receiver: &str, since| Gone { webhook: "ops".into(), receiver: receiver.into(), since: at(since) };
        open(&dir).set_gone(&gone("here", 1)).unwrap();
        let ledger = open(&dir);
        ledger.set_gone(&gone("here", 2)).unwrap();
        assert_eq!(ledger.gone().unwrap(), [gone("here", 1)]);
        ledger.set_gone(&gone("there", 3)).unwrap();
        assert_eq!(ledger.gone().unwrap(), [gone("there", 3)]);
        ledger.set_back("ops").unwrap();
        assert_eq!(ledger.gone().unwrap(), []);
    }
}
