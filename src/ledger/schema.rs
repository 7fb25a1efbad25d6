//! The shape of the ledger's file and how an older one is brought up to date: forwards only, one transaction a step, so
//! that a file is never left between two versions.

use std::path::Path;

use rusqlite::{Connection, TransactionBehavior};

use super::LedgerError;

/// Step `n` takes a file from version `n` to version `n + 1`. Steps are only ever added.
pub(super) const STEPS: &[&str] = &[
    include_str!("schema.sql"),
    include_str!("alerts.sql"),
    concat!(include_str!("policy.sql"), include_str!("webhooks.sql")),
];

/// Brings the file up to the newest version in `steps`.
///
/// # Errors
/// When the file is newer than this program, or is a database of something else.
pub(super) fn migrate(connection: &mut Connection, path: &Path, steps: &[&str]) -> Result<(), LedgerError> {
    let failed = |error| LedgerError::of(path, error);
    let version: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0)).map_err(failed)?;
    let done = usize::try_from(version).ok().filter(|done| *done <= steps.len()).ok_or_else(|| LedgerError::Newer {
        path: path.into(),
        found: version,
        known: steps.len(),
    })?;
    if done == 0 {
        let tables: i64 = connection
            .query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))
            .map_err(|error| LedgerError::of(path, error))?;
        if tables > 0 {
            return Err(LedgerError::NotALedger { path: path.into() });
        }
    }
    for (version, step) in (1_i64..).zip(steps).skip(done) {
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(failed)?;
        transaction.execute_batch(step).map_err(failed)?;
        transaction.pragma_update(None, "user_version", version).map_err(failed)?;
        transaction.commit().map_err(failed)?;
        tracing::info!(path = %path.display(), version, "brought the ledger up to date");
    }
    Ok(())
}
