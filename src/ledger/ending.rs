//! How decisions come to their end: denies are lifted, holds are released, and whoever was told of them is told so.

use rusqlite::{OptionalExtension as _, Transaction, TransactionBehavior, params};
use uuid::Uuid;

use super::entry::insert_actions;
use super::rows::{self, Json, Key, Time, decision_columns, deny_columns};
use super::{Ledger, LedgerError};
use crate::clock::Timestamp;
use crate::decision::{Action, Decision, Deny, Ended, Ending};
use crate::stream::Session;

/// The `type` of the event that asks to hide a stream.
const HELD: &str = "org.sluicegate.stream.held";

/// What came of ending a decision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Over {
    /// The denies that were lifted.
    pub lifted: Vec<Deny>,
    /// Whether its actions were written: nothing else hides or closes the session.
    pub told: bool,
    /// Whether the session was still to be kicked, or what outlives it to be moved, and now is not.
    pub spared: bool,
}

impl Ledger {
    /// Ends `decision`, and writes `actions`, which are due at once, if nothing else hides or closes its session; all or
    /// nothing. Where somebody released it, its denies are lifted, and what is still to be done to its session is given
    /// up unless another decision closes the session too. That it was held is told to nobody any more.
    ///
    /// What has run out by itself, or was superseded, can still be released: then it no longer stands against anybody.
    ///
    /// `None`: nothing of it stood any more, or there is no such decision. Then nothing is written, so ending twice is
    /// ending once.
    pub fn end(&self, decision: Uuid, ended: &Ended, actions: &[(Uuid, Action)]) -> Result<Option<Over>, LedgerError> {
        let over = self.end_all(&[(decision, actions.to_vec())], ended)?;
        Ok(over.into_iter().next().flatten())
    }

    /// Ends many decisions as [`Ledger::end`] does, in the order given, with one wait for the disk.
    pub fn end_all(
        &self,
        decisions: &[(Uuid, Vec<(Uuid, Action)>)],
        ended: &Ended,
    ) -> Result<Vec<Option<Over>>, LedgerError> {
        let failed = |error| self.failed(error);
        let mut inner = self.lock();
        let transaction = inner.connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(failed)?;
        let over = decisions
            .iter()
            .map(|(decision, actions)| end_one(&transaction, *decision, ended, actions))
            .collect::<rusqlite::Result<_>>()
            .map_err(failed)?;
        transaction.commit().map_err(failed)?;
        Ok(over)
    }

    /// Up to `limit` holds that have run out by `now` and were not ended yet, the oldest first.
    pub fn run_out(&self, now: Timestamp, limit: usize) -> Result<Vec<Decision>, LedgerError> {
        self.rows(
            concat!(
                "SELECT ",
                decision_columns!(),
                " FROM decisions WHERE ended IS NULL AND until IS NOT NULL AND until <= ?1 AND verdict = 'hold'
                  AND mode = 'enforced' ORDER BY until LIMIT ?2"
            ),
            params![Time(now), i64::try_from(limit).unwrap_or(i64::MAX)],
            rows::decision,
        )
    }

    /// How a decision came to its end, if it did.
    pub fn ended(&self, decision: Uuid) -> Result<Option<Ended>, LedgerError> {
        self.lock()
            .connection
            .prepare_cached("SELECT ended, ending FROM decisions WHERE id = ?1 AND ended IS NOT NULL")
            .and_then(|mut select| select.query_row(params![Key(decision)], rows::ended).optional())
            .map_err(|error| self.failed(error))
    }
}

/// A severer decision takes the place of the holds of its session: nobody is told that they are over, for what was hidden
/// is not to be shown again now.
pub(super) fn supersede(transaction: &Transaction<'_>, by: &Decision) -> rusqlite::Result<()> {
    let Session { stream, id } = &by.session;
    transaction
        .prepare_cached(
            "UPDATE decisions SET ended = ?1, ending = ?2 WHERE server = ?3 AND app = ?4 AND name = ?5 AND session = ?6
             AND verdict = 'hold' AND mode = 'enforced' AND ended IS NULL AND id <> ?7",
        )?
        .execute(params![
            Time(by.decided),
            Json(&Ending::Superseded { decision: by.id }),
            stream.server,
            stream.app,
            stream.name,
            id.0,
            Key(by.id)
        ])
        .map(drop)
}

fn end_one(
    transaction: &Transaction<'_>,
    decision: Uuid,
    ended: &Ended,
    actions: &[(Uuid, Action)],
) -> rusqlite::Result<Option<Over>> {
    let released = matches!(ended.because, Ending::Released { .. });
    let found = transaction
        .prepare_cached(
            "SELECT server, app, name, session, ended IS NULL FROM decisions
             WHERE id = ?1 AND mode = 'enforced' AND CASE WHEN ?2
                 THEN verdict IN ('hold', 'cut', 'ban') AND (ending IS NULL OR ending ->> '$.because' <> 'released')
                 ELSE verdict = 'hold' AND ended IS NULL END",
        )?
        .query_row(params![Key(decision), released], |row| Ok((rows::session(row)?, row.get(4)?)))
        .optional()?;
    let Some((session, stood)): Option<(Session, bool)> = found else { return Ok(None) };
    transaction.prepare_cached("UPDATE decisions SET ended = ?2, ending = ?3 WHERE id = ?1")?.execute(params![
        Key(decision),
        Time(ended.at),
        Json(&ended.because)
    ])?;
    let lifted = if released { lift(transaction, decision, ended.at)? } else { Vec::new() };
    let (held, closed) = others(transaction, &session, ended.at)?;
    let told = stood && !held && !closed;
    if told {
        insert_actions(transaction, Some(decision), actions, ended.at)?;
    }
    say_no_more(transaction, decision, ended.at)?;
    let spared = released && !closed && spare(transaction, &session, ended.at)?;
    Ok(Some(Over { lifted, told, spared }))
}

/// Whether a hold of the session has not ended, and whether a deny that followed from closing it stands.
fn others(transaction: &Transaction<'_>, session: &Session, at: Timestamp) -> rusqlite::Result<(bool, bool)> {
    let Session { stream, id } = session;
    transaction
        .prepare_cached(
            "SELECT ifnull(max(verdict = 'hold'), 0), ifnull(max(verdict <> 'hold' AND EXISTS (
                 SELECT 1 FROM denies WHERE decision = decisions.id AND lifted IS NULL AND (until IS NULL OR until > ?5)
             )), 0) FROM decisions
             WHERE server = ?1 AND app = ?2 AND name = ?3 AND session = ?4 AND ended IS NULL AND mode = 'enforced'
             AND verdict IN ('hold', 'cut', 'ban')",
        )?
        .query_row(params![stream.server, stream.app, stream.name, id.0, Time(at)], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })
}

/// Gives up what released decisions ask to be done to a session, and says whether there was anything. A decision that is
/// not the first to close a session relies on the kick of the first, which is then given up with the last.
fn spare(transaction: &Transaction<'_>, session: &Session, at: Timestamp) -> rusqlite::Result<bool> {
    let Session { stream, id } = session;
    let given_up = transaction
        .prepare_cached(
            "UPDATE actions SET state = 'gave_up', attempts = attempts + 1
             WHERE state = 'pending' AND kind IN ('kick', 'quarantine') AND decision IN (
                 SELECT id FROM decisions WHERE server = ?1 AND app = ?2 AND name = ?3 AND session = ?4
                 AND ending ->> '$.because' = 'released'
             ) RETURNING id, attempts",
        )?
        .query_map(params![stream.server, stream.app, stream.name, id.0], |row| Ok((rows::key(row, 0)?, row.get(1)?)))?
        .collect::<rusqlite::Result<Vec<_>>>()?;
    settle(transaction, &given_up, "gave_up", "the decision was released", at)?;
    Ok(!given_up.is_empty())
}

/// That a stream is to be hidden is of no account when it is to be shown: whoever was not told yet never is. It is not
/// given up, or replaying what was given up would hide the stream again.
fn say_no_more(transaction: &Transaction<'_>, decision: Uuid, at: Timestamp) -> rusqlite::Result<()> {
    let moot = transaction
        .prepare_cached(
            "UPDATE actions SET state = 'done', attempts = attempts + 1
             WHERE state = 'pending' AND kind = 'notify' AND decision = ?1
             AND CASE WHEN json_valid(payload ->> '$.body') THEN payload ->> '$.body' ->> '$.type' = ?2 ELSE 0 END
             RETURNING id, attempts",
        )?
        .query_map(params![Key(decision), HELD], |row| Ok((rows::key(row, 0)?, row.get(1)?)))?
        .collect::<rusqlite::Result<Vec<_>>>()?;
    settle(transaction, &moot, "done", "not sent: the hold is over", at)
}

/// Writes down how actions ended that nobody made an attempt at.
fn settle(
    transaction: &Transaction<'_>,
    actions: &[(Uuid, u32)],
    outcome: &str,
    detail: &str,
    at: Timestamp,
) -> rusqlite::Result<()> {
    let mut insert = transaction.prepare_cached(
        "INSERT INTO outcomes (action, attempt, began, ended, outcome, detail) VALUES (?1, ?2, ?3, ?3, ?4, ?5)",
    )?;
    for (action, attempt) in actions {
        insert.execute(params![Key(*action), attempt, Time(at), outcome, detail])?;
    }
    Ok(())
}

fn lift(transaction: &Transaction<'_>, decision: Uuid, at: Timestamp) -> rusqlite::Result<Vec<Deny>> {
    transaction
        .prepare_cached(concat!(
            "UPDATE denies SET lifted = ?1
             WHERE lifted IS NULL AND (until IS NULL OR until > ?1) AND decision = ?2
             RETURNING ",
            deny_columns!()
        ))?
        .query_map(params![Time(at), Key(decision)], rows::deny)?
        .collect()
}
