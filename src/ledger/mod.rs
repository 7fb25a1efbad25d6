//! What must survive a crash: decisions with their evidence, standing denies, the outbox and what became of each action.
//!
//! One SQLite file in WAL mode with `synchronous = FULL`: when [`Ledger::record`] returns, a verdict, the denies
//! that follow from it and the actions it asks for are on the disk together, before anything is done about them. Calls block
//! on the disk: make them where blocking is allowed. The file holds stream keys, so it is created readable by its owner
//! only.

mod archive;
mod ending;
mod entry;
mod error;
mod outbox;
mod reports;
mod rows;
mod schema;
mod webhooks;

use std::collections::HashSet;
use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags, OptionalExtension as _, TransactionBehavior, params};
use serde::Deserialize;
use uuid::Uuid;

use crate::clock::Timestamp;
use crate::decision::{Action, Decision, Deny};
use crate::stream::Session;

pub use archive::Standing;
pub use ending::Over;
pub use entry::Entry;
pub use error::LedgerError;
pub use reports::{COUNTED, REPEATED, Reception, Which};
pub use rows::Attempt;
use rows::{Key, Time, decision_columns, deny_columns};
pub use webhooks::{DeadLetter, Gone, Undelivered};

/// How long a call waits for another program that has the file locked.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// The section `[ledger]`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// The SQLite file. Its folder must exist.
    pub path: PathBuf,
}

impl Default for Config {
    fn default() -> Self {
        Self { path: "/var/lib/sluicegate/ledger.sqlite".into() }
    }
}

/// The open ledger. One process at a time may have it.
#[derive(Debug)]
pub struct Ledger {
    path: PathBuf,
    inner: Mutex<Inner>,
    /// Held for as long as the ledger is open; the system lets go of it even after `kill -9`.
    _lock: File,
}

#[derive(Debug)]
struct Inner {
    connection: Connection,
    /// Jobs given out and not finished. In memory on purpose: after a crash they are pending again.
    claimed: HashSet<Uuid>,
}

impl Ledger {
    /// Opens the file, or makes a new one, and brings it up to this program's version.
    pub fn open(config: &Config) -> Result<Self, LedgerError> {
        let path = config.path.clone();
        let lock = lock(&path)?;
        create_private(&path)?;
        let failed = |error| LedgerError::of(&path, error);
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let mut connection = Connection::open_with_flags(&path, flags).map_err(failed)?;
        connection.busy_timeout(BUSY_TIMEOUT).map_err(failed)?;
        connection
            .execute_batch("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON;")
            .map_err(failed)?;
        let health: String = connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0)).map_err(failed)?;
        if health != "ok" {
            return Err(LedgerError::Damaged { path, reason: health.replace('\n', " ") });
        }
        schema::migrate(&mut connection, &path, schema::STEPS)?;
        Ok(Self { path, inner: Mutex::new(Inner { connection, claimed: HashSet::new() }), _lock: lock })
    }

    /// Writes actions that no decision asks for, all or nothing. They are due at `now`.
    pub fn announce(&self, actions: &[(Uuid, Action)], now: Timestamp) -> Result<(), LedgerError> {
        let failed = |error| self.failed(error);
        let mut inner = self.lock();
        let transaction = inner.connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(failed)?;
        entry::insert_actions(&transaction, None, actions, now).map_err(failed)?;
        transaction.commit().map_err(failed)
    }

    /// The denies in force at `now`, oldest first.
    pub fn denies(&self, now: Timestamp) -> Result<Vec<Deny>, LedgerError> {
        self.rows(
            concat!(
                "SELECT ",
                deny_columns!(),
                " FROM denies WHERE lifted IS NULL AND (until IS NULL OR until > ?1) ORDER BY id"
            ),
            params![Time(now)],
            rows::deny,
        )
    }

    /// The newest `limit` decisions, newest first.
    pub fn decisions(&self, limit: usize) -> Result<Vec<Decision>, LedgerError> {
        self.rows(
            concat!("SELECT ", decision_columns!(), " FROM decisions ORDER BY decided DESC, id DESC LIMIT ?1"),
            params![i64::try_from(limit).unwrap_or(i64::MAX)],
            rows::decision,
        )
    }

    /// One decision.
    pub fn decision(&self, id: Uuid) -> Result<Option<Decision>, LedgerError> {
        self.lock()
            .connection
            .prepare_cached(concat!("SELECT ", decision_columns!(), " FROM decisions WHERE id = ?1"))
            .and_then(|mut select| select.query_row(params![Key(id)], rows::decision).optional())
            .map_err(|error| self.failed(error))
    }

    /// Every attempt at an action of `decision`, in the order in which they ended.
    pub fn outcomes(&self, decision: Uuid) -> Result<Vec<Attempt>, LedgerError> {
        self.rows(
            "SELECT o.action, a.kind, o.attempt, o.began, o.ended, o.outcome, o.detail, o.due
             FROM outcomes o JOIN actions a ON a.id = o.action WHERE a.decision = ?1 ORDER BY o.id",
            params![Key(decision)],
            rows::attempt,
        )
    }

    /// How many actions are neither done nor given up.
    pub fn pending(&self) -> Result<usize, LedgerError> {
        self.lock()
            .connection
            .prepare_cached("SELECT count(*) FROM actions WHERE state = 'pending'")
            .and_then(|mut select| select.query_row([], |row| row.get::<_, u32>(0)))
            .map(|count| count as usize)
            .map_err(|error| self.failed(error))
    }

    /// The sessions that a decision closes and that were not observed gone yet.
    pub fn unfinished_kicks(&self) -> Result<Vec<Session>, LedgerError> {
        self.rows(
            "SELECT d.server, d.app, d.name, d.session FROM actions a JOIN decisions d ON d.id = a.decision
             WHERE a.state = 'pending' AND a.kind = 'kick'",
            params![],
            rows::session,
        )
    }

    /// All rows that `sql` gives.
    fn rows<T>(
        &self,
        sql: &str,
        params: impl rusqlite::Params,
        read: impl FnMut(&rusqlite::Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Vec<T>, LedgerError> {
        self.lock()
            .connection
            .prepare_cached(sql)
            .and_then(|mut statement| statement.query_map(params, read)?.collect())
            .map_err(|error| self.failed(error))
    }

    /// The connection. A thread that died holding it left no half-done transaction: SQLite rolled it back.
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn failed(&self, error: rusqlite::Error) -> LedgerError {
        LedgerError::of(&self.path, error)
    }
}

/// Takes the lock that says which process has the ledger. Two would carry out the same action twice.
fn lock(path: &Path) -> Result<File, LedgerError> {
    let mut name = path.as_os_str().to_owned();
    name.push(".lock");
    let file = private()
        .write(true)
        .create(true)
        .truncate(false)
        .open(PathBuf::from(name))
        .map_err(|error| cannot_open(path, &error))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(LedgerError::InUse { path: path.into() }),
        Err(TryLockError::Error(error)) => Err(cannot_open(path, &error)),
    }
}

/// Makes the file before SQLite does, so that only its owner may read it.
fn create_private(path: &Path) -> Result<(), LedgerError> {
    private().append(true).create(true).open(path).map(drop).map_err(|error| cannot_open(path, &error))
}

fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.mode(0o600);
    options
}

fn cannot_open(path: &Path, error: &io::Error) -> LedgerError {
    match error.kind() {
        io::ErrorKind::NotFound => LedgerError::NoFolder { path: path.into() },
        io::ErrorKind::StorageFull => LedgerError::Full { path: path.into() },
        _ => LedgerError::CannotOpen { path: path.into(), reason: error.to_string() },
    }
}

#[cfg(test)]
mod tests;
