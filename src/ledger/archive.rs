//! What explains decisions later: their timelines and policies, what is known of publishers from before, and what is to
//! be known again after a restart.

use rusqlite::{OptionalExtension as _, params};
use uuid::Uuid;

use super::rows::{self, Key, Time};
use super::{Ledger, LedgerError};
use crate::clock::Timestamp;
use crate::decision::{Earlier, Target};
use crate::finding::Finding;
use crate::stream::Session;

/// A verdict that stands, with whom it was on.
#[derive(Debug, Clone, PartialEq)]
pub struct Standing {
    /// The session that it was on.
    pub session: Session,
    /// By which keys and accounts the publisher is known.
    pub known_as: Vec<Target>,
    /// The verdict.
    pub verdict: Earlier,
}

impl Ledger {
    /// All that the judge held of the session when it decided, in the order in which it was heard; empty where no finding
    /// was behind the decision, or it was recorded before timelines were.
    pub fn timeline(&self, decision: Uuid) -> Result<Vec<Finding>, LedgerError> {
        self.lock()
            .connection
            .prepare_cached("SELECT findings FROM timelines WHERE decision = ?1")
            .and_then(|mut select| select.query_row(params![Key(decision)], |row| rows::json(row, 0)).optional())
            .map(Option::unwrap_or_default)
            .map_err(|error| self.failed(error))
    }

    /// Keeps the text of the policy that decisions name by `digest`, in force since `now` if it is new.
    pub fn keep_policy(&self, digest: &str, text: &str, now: Timestamp) -> Result<(), LedgerError> {
        self.lock()
            .connection
            .execute(
                "INSERT INTO policies (digest, text, since) VALUES (?1, ?2, ?3) ON CONFLICT (digest) DO NOTHING",
                params![digest, text, Time(now)],
            )
            .map(drop)
            .map_err(|error| self.failed(error))
    }

    /// The text of a policy.
    pub fn policy(&self, digest: &str) -> Result<Option<String>, LedgerError> {
        self.text("SELECT text FROM policies WHERE digest = ?1", digest)
    }

    /// The newest `limit` verdicts from hold upwards that were carried out and that nobody took back, oldest first. A cut
    /// that no deny followed from only enforced one that stood: it is no verdict of its own.
    pub fn standing(&self, limit: usize) -> Result<Vec<Standing>, LedgerError> {
        let mut newest = self.rows(
            "SELECT server, app, name, session, known_as, id, verdict, decided FROM decisions
             WHERE verdict IN ('hold', 'cut', 'ban') AND mode = 'enforced'
             AND (verdict = 'hold' OR EXISTS (SELECT 1 FROM denies WHERE decision = decisions.id))
             AND (ending IS NULL OR json_extract(ending, '$.because') <> 'released')
             ORDER BY decided DESC LIMIT ?1",
            params![i64::try_from(limit).unwrap_or(i64::MAX)],
            rows::standing,
        )?;
        newest.reverse();
        Ok(newest)
    }

    /// Keeps `value` under `name` for after a restart, in the place of what was there; `None` keeps nothing.
    pub fn keep(&self, name: &str, value: Option<&str>) -> Result<(), LedgerError> {
        let inner = self.lock();
        let kept = match value {
            Some(value) => inner
                .connection
                .execute("INSERT OR REPLACE INTO kept (name, value) VALUES (?1, ?2)", params![name, value]),
            None => inner.connection.execute("DELETE FROM kept WHERE name = ?1", params![name]),
        };
        kept.map(drop).map_err(|error| self.failed(error))
    }

    /// What was kept under `name`.
    pub fn kept(&self, name: &str) -> Result<Option<String>, LedgerError> {
        self.text("SELECT value FROM kept WHERE name = ?1", name)
    }

    fn text(&self, sql: &str, key: &str) -> Result<Option<String>, LedgerError> {
        self.lock()
            .connection
            .prepare_cached(sql)
            .and_then(|mut select| select.query_row(params![key], |row| row.get(0)).optional())
            .map_err(|error| self.failed(error))
    }
}
