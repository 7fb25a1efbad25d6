//! What can go wrong with the ledger, told so that whoever reads it knows which file and what to do.

use std::path::{Path, PathBuf};

use rusqlite::ErrorCode;

use crate::decision::OutboxError;

/// The ledger could not be opened, read or written.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// The folder does not exist.
    #[error("the folder of the ledger `{}` does not exist: create it, or set `path` in [ledger] to another place", .path.display())]
    NoFolder {
        /// The file.
        path: PathBuf,
    },
    /// The file cannot be opened.
    #[error("could not open the ledger `{}`: {reason}; check the path and that this user may read and write it and its folder", .path.display())]
    CannotOpen {
        /// The file.
        path: PathBuf,
        /// What the system said.
        reason: String,
    },
    /// Another process holds it.
    #[error("the ledger `{}` is in use by another Sluicegate: stop that one, or give this one a `path` of its own in [ledger]", .path.display())]
    InUse {
        /// The file.
        path: PathBuf,
    },
    /// Somebody else had it locked for longer than we wait.
    #[error("the ledger `{}` was locked by another program for more than {} s: close the program that has it open (sqlite3, a backup)", .path.display(), super::BUSY_TIMEOUT.as_secs())]
    Busy {
        /// The file.
        path: PathBuf,
    },
    /// No room.
    #[error("the disk of the ledger `{}` is full: free some space; no verdict can be acted on until then", .path.display())]
    Full {
        /// The file.
        path: PathBuf,
    },
    /// It may not be written.
    #[error("the ledger `{}` cannot be written: make the file and its folder writable for this user", .path.display())]
    ReadOnly {
        /// The file.
        path: PathBuf,
    },
    /// The file is something else.
    #[error("`{}` is not a SQLite database: set `path` in [ledger] to the ledger's file, or move this one away to start a new ledger", .path.display())]
    NotADatabase {
        /// The file.
        path: PathBuf,
    },
    /// A database, but not ours.
    #[error("`{}` is a SQLite database, but not a ledger: set `path` in [ledger] to another file", .path.display())]
    NotALedger {
        /// The file.
        path: PathBuf,
    },
    /// Damaged or cut short.
    #[error("the ledger `{}` is damaged or cut short ({reason}): restore it from a backup, or move it away to start a new one", .path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// Written by a newer Sluicegate.
    #[error("the ledger `{}` has version {found}, and this Sluicegate knows versions up to {known}: run the newer Sluicegate", .path.display())]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: i64,
        /// The newest version this program knows.
        known: usize,
    },
    /// A job that the ledger has never heard of.
    #[error("the ledger `{}` has no action {id}: its outcome is not recorded", .path.display())]
    NoSuchAction {
        /// The file.
        path: PathBuf,
        /// The action.
        id: uuid::Uuid,
    },
    /// Anything else that SQLite says.
    #[error("the ledger `{}` failed: {reason}; check the disk and the system's log", .path.display())]
    Failed {
        /// The file.
        path: PathBuf,
        /// What SQLite said.
        reason: String,
    },
}

impl LedgerError {
    /// A bounded word for metrics.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::NoFolder { .. } => "no_folder",
            Self::CannotOpen { .. } => "cannot_open",
            Self::InUse { .. } => "in_use",
            Self::Busy { .. } => "busy",
            Self::Full { .. } => "full",
            Self::ReadOnly { .. } => "read_only",
            Self::NotADatabase { .. } => "not_a_database",
            Self::NotALedger { .. } => "not_a_ledger",
            Self::Damaged { .. } => "damaged",
            Self::Newer { .. } => "newer",
            Self::NoSuchAction { .. } => "no_such_action",
            Self::Failed { .. } => "failed",
        }
    }

    /// Whether the same call may work later without a restart.
    pub const fn is_retryable(&self) -> bool {
        matches!(self, Self::Busy { .. } | Self::Full { .. } | Self::ReadOnly { .. } | Self::Failed { .. })
    }

    /// Says what an error of SQLite means for the file at `path`.
    #[expect(clippy::needless_pass_by_value, reason = "so that it fits map_err")]
    pub(super) fn of(path: &Path, error: rusqlite::Error) -> Self {
        let path = path.to_path_buf();
        let reason = error.to_string();
        match error {
            rusqlite::Error::SqliteFailure(failure, _) => match failure.code {
                ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked => Self::Busy { path },
                ErrorCode::DiskFull => Self::Full { path },
                ErrorCode::ReadOnly => Self::ReadOnly { path },
                ErrorCode::NotADatabase => Self::NotADatabase { path },
                ErrorCode::DatabaseCorrupt => Self::Damaged { path, reason },
                ErrorCode::CannotOpen | ErrorCode::PermissionDenied => Self::CannotOpen { path, reason },
                _ => Self::Failed { path, reason },
            },
            // A value that does not read back as what was written.
            rusqlite::Error::FromSqlConversionFailure(..)
            | rusqlite::Error::InvalidColumnType(..)
            | rusqlite::Error::IntegralValueOutOfRange(..) => Self::Damaged { path, reason },
            _ => Self::Failed { path, reason },
        }
    }
}

impl From<LedgerError> for OutboxError {
    fn from(error: LedgerError) -> Self {
        Self(error.to_string())
    }
}
