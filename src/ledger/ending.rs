//! How decisions come to their end: denies are lifted, holds are released, and whoever was told of them is told so.

use rusqlite::{OptionalExtension as _, Transaction, TransactionBehavior, params};
use uuid::Uuid;

use super::entry::insert_actions;
use super::rows::{self, Json, Key, Time, decision_columns, deny_columns};
use super::{Ledger, LedgerError};
use crate::clock::Timestamp;
use crate::decision::{Action, Decision, Deny, Ended, Ending};
use crate::stream::Session;

impl Ledger {
    /// Ends `decision`: lifts the denies that follow from it where somebody released it, and writes `actions`, which are
    /// due at once; all or nothing. Gives the denies that were lifted.
    ///
    /// `None`: nothing of it stood any more, or there is no such decision. Then nothing is written, so ending twice is
    /// ending once.
    pub fn end(
        &self,
        decision: Uuid,
        ended: &Ended,
        actions: &[(Uuid, Action)],
    ) -> Result<Option<Vec<Deny>>, LedgerError> {
        let failed = |error| self.failed(error);
        let mut inner = self.lock();
        let transaction = inner.connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(failed)?;
        let lifted = match ended.because {
            Ending::Released { .. } => lift(&transaction, decision, ended.at).map_err(failed)?,
            Ending::Expired | Ending::Superseded { .. } => Vec::new(),
        };
        let expired = ended.because == Ending::Expired;
        let stood = transaction
            .prepare_cached(
                "UPDATE decisions SET ended = ?2, ending = ?3 WHERE id = ?1 AND ended IS NULL AND mode = 'enforced'
                 AND (?4 OR verdict = 'hold' AND (?5 OR until IS NULL OR until > ?2))",
            )
            .and_then(|mut update| {
                let (at, how) = (Time(ended.at), Json(&ended.because));
                update.execute(params![Key(decision), at, how, !lifted.is_empty(), expired])
            })
            .map_err(failed)?;
        if stood == 0 {
            // Dropping the transaction undoes it: of a decision that has ended no deny stands.
            return Ok(None);
        }
        insert_actions(&transaction, Some(decision), actions, ended.at).map_err(failed)?;
        transaction.commit().map_err(failed)?;
        Ok(Some(lifted))
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
