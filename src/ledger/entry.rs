//! What the ledger keeps of one verdict, written all or nothing.

use rusqlite::{Transaction, TransactionBehavior, params};
use uuid::Uuid;

use super::ending::supersede;
use super::rows::{Json, Key, Time};
use super::{Ledger, LedgerError};
use crate::clock::Timestamp;
use crate::decision::{Action, Decision, Deny, Mode, Target};
use crate::finding::Finding;
use crate::stream::Session;

/// A decision with all that belongs to it.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// What was decided.
    pub decision: Decision,
    /// The denies that follow from it.
    pub denies: Vec<Deny>,
    /// What is to be done. Due at once.
    pub actions: Vec<(Uuid, Action)>,
    /// All that the judge held of the session, in the order in which it was heard: what a replay begins with.
    pub timeline: Vec<Finding>,
    /// By which keys and accounts the publisher is known, so that they are known again.
    pub known_as: Vec<Target>,
}

impl From<Decision> for Entry {
    /// A decision that nothing follows from.
    fn from(decision: Decision) -> Self {
        Self { decision, denies: Vec::new(), actions: Vec::new(), timeline: Vec::new(), known_as: Vec::new() }
    }
}

impl Ledger {
    /// Writes a decision with the denies that follow from it and the actions it asks for, all or nothing.
    ///
    /// A decision that is already there stays as it is, with its denies and its actions: recording twice is recording
    /// once. Actions are due at once.
    pub fn record(&self, entry: &Entry) -> Result<(), LedgerError> {
        let failed = |error| self.failed(error);
        let mut inner = self.lock();
        let transaction = inner.connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(failed)?;
        if !insert_decision(&transaction, entry).map_err(failed)? {
            return Ok(());
        }
        insert_denies(&transaction, &entry.denies).map_err(failed)?;
        insert_timeline(&transaction, entry).map_err(failed)?;
        if entry.decision.verdict.closes() && entry.decision.mode == Mode::Enforced {
            supersede(&transaction, &entry.decision).map_err(failed)?;
        }
        let Decision { id, decided, .. } = entry.decision;
        insert_actions(&transaction, Some(id), &entry.actions, decided).map_err(failed)?;
        transaction.commit().map_err(failed)
    }
}

/// Whether it was not there yet.
fn insert_decision(transaction: &Transaction<'_>, entry: &Entry) -> rusqlite::Result<bool> {
    let Decision { id, session, verdict, rule, capped_by, policy, decided, until, .. } = &entry.decision;
    let Decision { actor, mode, lowered, before, context, evidence, .. } = &entry.decision;
    let Session { stream, id: session } = session;
    let mode = match mode {
        Mode::Enforced => "enforced",
        Mode::Shadow => "shadow",
    };
    let added = transaction
        .prepare_cached(
            "INSERT INTO decisions (id, server, app, name, session, verdict, rule, policy, decided, evidence, capped_by, until,
             actor, mode, lowered, before, context, known_as)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18)
             ON CONFLICT (id) DO NOTHING",
        )?
        .execute(params![
            Key(*id),
            stream.server,
            stream.app,
            stream.name,
            session.0,
            verdict.word(),
            rule,
            policy,
            Time(*decided),
            Json(evidence),
            capped_by,
            until.map(Time),
            Json(actor),
            mode,
            lowered.as_ref().map(Json),
            before.word(),
            Json(context),
            Json(&entry.known_as),
        ])?;
    Ok(added > 0)
}

fn insert_denies(transaction: &Transaction<'_>, denies: &[Deny]) -> rusqlite::Result<()> {
    let mut insert = transaction.prepare_cached(
        "INSERT INTO denies (server, app, name, decision, since, until, target, value)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
    )?;
    for Deny { stream, target, decision, since, until } in denies {
        insert.execute(params![
            stream.server,
            stream.app,
            stream.name,
            Key(*decision),
            Time(*since),
            until.map(Time),
            target.word(),
            target.value(),
        ])?;
    }
    Ok(())
}

fn insert_timeline(transaction: &Transaction<'_>, entry: &Entry) -> rusqlite::Result<()> {
    if entry.timeline.is_empty() {
        return Ok(());
    }
    transaction
        .prepare_cached("INSERT INTO timelines (decision, findings) VALUES (?1, ?2)")?
        .execute(params![Key(entry.decision.id), Json(&entry.timeline)])
        .map(drop)
}

/// Puts actions into the outbox.
pub(super) fn insert_actions(
    transaction: &Transaction<'_>,
    decision: Option<Uuid>,
    actions: &[(Uuid, Action)],
    due: Timestamp,
) -> rusqlite::Result<()> {
    let mut insert = transaction.prepare_cached(
        "INSERT INTO actions (id, decision, kind, payload, state, attempts, due)
         VALUES (?1, ?2, ?3, ?4, 'pending', 0, ?5)",
    )?;
    for (id, action) in actions {
        insert.execute(params![Key(*id), decision.map(Key), action.word(), Json(action), Time(due)])?;
    }
    Ok(())
}
