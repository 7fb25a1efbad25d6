//! The ledger as the outbox: what is pending is a row, who works on it is known in memory only.
//!
//! So after a crash every action that was not finished is pending again and is carried out once more; an action whose
//! outcome is recorded never is.

use std::time::Duration;

use rusqlite::{OptionalExtension as _, TransactionBehavior, params};
use uuid::Uuid;

use super::entry::insert_actions;
use super::rows::{self, Key, Time};
use super::{Ledger, LedgerError};
use crate::clock::Timestamp;
use crate::decision::{Action, Job, Lane, Outbox, OutboxError, Outcome};

/// No kick is ever put off for longer. One that is due later still was written when the clock was ahead, and would leave
/// its publisher on the air until the clock is there again.
const NEVER_LATER: Duration = Duration::from_mins(1);

impl Outbox for Ledger {
    fn claim(&self, lane: Lane, now: Timestamp, limit: usize) -> Result<Vec<Job>, OutboxError> {
        Ok(self.claim_due(lane, now, limit)?)
    }

    fn finish(
        &self,
        job: Uuid,
        began: Timestamp,
        ended: Timestamp,
        outcome: &Outcome,
        then: &[(Uuid, Action)],
    ) -> Result<(), OutboxError> {
        Ok(self.conclude(job, began, ended, outcome, then)?)
    }

    fn stands(&self, job: Uuid) -> Result<bool, OutboxError> {
        let pending =
            self.rows("SELECT 1 FROM actions WHERE id = ?1 AND state = 'pending'", params![Key(job)], |_row| Ok(()))?;
        Ok(!pending.is_empty())
    }

    fn next_due(&self, lane: Lane, now: Timestamp) -> Result<Option<Duration>, OutboxError> {
        Ok(self.first_due(lane)?.map(|due| due.since(now)))
    }
}

impl Ledger {
    fn claim_due(&self, lane: Lane, now: Timestamp, limit: usize) -> Result<Vec<Job>, LedgerError> {
        let mut inner = self.lock();
        let jobs: Vec<Job> = inner
            .connection
            .prepare_cached(
                "SELECT id, decision, payload, attempts FROM actions
                 WHERE state = 'pending' AND kind = ?1 AND (due <= ?2 OR kind = 'kick' AND due > ?4)
                 ORDER BY due, rowid LIMIT ?3",
            )
            // Claimed rows are still pending: read past them, of each no more than its identifier.
            .and_then(|mut select| {
                let enough = i64::try_from(limit.saturating_add(inner.claimed.len())).unwrap_or(i64::MAX);
                let mut rows = select.query(params![lane.word(), Time(now), enough, Time(now + NEVER_LATER)])?;
                let mut jobs = Vec::new();
                while let Some(row) = rows.next()? {
                    if !inner.claimed.contains(&rows::key(row, 0)?) {
                        jobs.push(rows::job(row)?);
                    }
                    if jobs.len() >= limit {
                        break;
                    }
                }
                Ok(jobs)
            })
            .map_err(|error| self.failed(error))?;
        inner.claimed.extend(jobs.iter().map(|job| job.id));
        Ok(jobs)
    }

    /// Finishing a job that is already done or given up changes nothing: the first outcome stands.
    fn conclude(
        &self,
        job: Uuid,
        began: Timestamp,
        ended: Timestamp,
        outcome: &Outcome,
        then: &[(Uuid, Action)],
    ) -> Result<(), LedgerError> {
        let failed = |error| self.failed(error);
        let (state, detail, due) = match outcome {
            Outcome::Done { detail } => ("done", detail, None),
            Outcome::GaveUp { detail } => ("gave_up", detail, None),
            Outcome::Retry { detail, due } => ("pending", detail, Some(*due)),
        };
        let mut inner = self.lock();
        let transaction = inner.connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(failed)?;
        let (before, attempt, decision): (String, u32, Option<Uuid>) = transaction
            .query_row("SELECT state, attempts + 1, decision FROM actions WHERE id = ?1", params![Key(job)], |row| {
                Ok((row.get(0)?, row.get(1)?, rows::optional_key(row, 2)?))
            })
            .optional()
            .map_err(failed)?
            .ok_or_else(|| LedgerError::NoSuchAction { path: self.path.clone(), id: job })?;
        if before == "pending" {
            transaction
                .prepare_cached("UPDATE actions SET state = ?2, attempts = ?3, due = ifnull(?4, due) WHERE id = ?1")
                .and_then(|mut update| update.execute(params![Key(job), state, attempt, due.map(Time)]))
                .map_err(failed)?;
            transaction
                .prepare_cached(
                    "INSERT INTO outcomes (action, attempt, began, ended, outcome, detail, due)
                     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
                )
                .and_then(|mut insert| {
                    insert.execute(params![
                        Key(job),
                        attempt,
                        Time(began),
                        Time(ended),
                        outcome.word(),
                        detail,
                        due.map(Time)
                    ])
                })
                .map_err(failed)?;
            insert_actions(&transaction, decision, then, ended).map_err(failed)?;
        }
        transaction.commit().map_err(failed)?;
        inner.claimed.remove(&job);
        Ok(())
    }

    fn first_due(&self, lane: Lane) -> Result<Option<Timestamp>, LedgerError> {
        let inner = self.lock();
        let due: Vec<(Uuid, Time)> = inner
            .connection
            .prepare_cached(
                "SELECT id, due FROM actions WHERE state = 'pending' AND kind = ?1 ORDER BY due, rowid LIMIT ?2",
            )
            .and_then(|mut select| {
                let enough = i64::try_from(inner.claimed.len() + 1).unwrap_or(i64::MAX);
                select.query_map(params![lane.word(), enough], |row| Ok((rows::key(row, 0)?, row.get(1)?)))?.collect()
            })
            .map_err(|error| self.failed(error))?;
        let first = due.into_iter().find(|(id, _)| !inner.claimed.contains(id));
        Ok(first.map(|(_, Time(due))| due))
    }
}
