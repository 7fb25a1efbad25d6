//! What can go wrong with a bank.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::file::Fault;
use super::mapped::IndexError;
use super::{BadName, BankName};

const RESTORE: &str = "restore it from a backup, or remove it and add its content again";

/// What can go wrong with a bank.
#[derive(Debug, thiserror::Error)]
pub enum BankError {
    /// The folder of banks is not there.
    #[error("there is no folder of banks at {}: make it (mkdir -p), or name another", folder.display())]
    NoFolder {
        /// Where it should be.
        folder: PathBuf,
    },
    /// No bank of that name.
    #[error("there is no bank `{name}` in {}: add content to it, or name another", folder.display())]
    NoBank {
        /// The name asked for.
        name: BankName,
        /// Where it was looked for.
        folder: PathBuf,
    },
    /// There is a bank of that name.
    #[error("there is a bank `{name}` already: name another, or `sluicegate bank add` to it")]
    Exists {
        /// The name.
        name: BankName,
    },
    /// Nothing in the bank is what was named.
    #[error("nothing in `{bank}` is {what}: `sluicegate bank show {bank}` lists what there is")]
    NotInBank {
        /// The bank.
        bank: BankName,
        /// What was named.
        what: String,
    },
    /// A list that has faults cannot stand for the provider's whole list.
    #[error(
        "{file} was not understood in {faults} places, so what it does not name may still be in force: \
         mend it, or import it without --whole"
    )]
    NotWhole {
        /// The file.
        file: String,
        /// How many places.
        faults: usize,
    },
    /// A file ends in `.bank`, but no bank can be called so.
    #[error("{} is not named as a bank can be: rename it, or move it out of the folder", path.display())]
    NotABankName {
        /// The file.
        path: PathBuf,
        /// What is wrong with its name.
        source: BadName,
    },
    /// The end of the file is missing.
    #[error("bank file {} is cut short: {RESTORE}", path.display())]
    CutShort {
        /// The file.
        path: PathBuf,
    },
    /// The file does not hold what was written.
    #[error("bank file {} was altered or damaged after it was written: {RESTORE}", path.display())]
    Altered {
        /// The file.
        path: PathBuf,
    },
    /// The file is something else.
    #[error("{} is not a bank file: {RESTORE}", path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
    },
    /// The file was written by a later release.
    #[error("bank file {} is of format version {version}, newer than this release reads: update, or {RESTORE}", path.display())]
    Newer {
        /// The file.
        path: PathBuf,
        /// The version it says.
        version: u64,
    },
    /// The file holds a bank of another name.
    #[error("bank file {} holds the bank `{holds}`: rename it back, or {RESTORE}", path.display())]
    Misnamed {
        /// The file.
        path: PathBuf,
        /// The name inside.
        holds: BankName,
    },
    /// The base that the bank's file builds on is not there.
    #[error("bank file {} is missing, on which its bank builds: {RESTORE}", path.display())]
    NoBase {
        /// The file that should be there.
        path: PathBuf,
    },
    /// The base that is there is another one than the bank's file builds on.
    #[error("bank file {} is not the one that its bank builds on: restore both from the same backup", path.display())]
    OtherBase {
        /// The file of the base.
        path: PathBuf,
    },
    /// The index of a base is not fit to be used: the bank is in force all the same, with an index built in memory.
    #[error(transparent)]
    Index(Arc<IndexError>),
    /// No picture of a file can be told apart from others.
    #[error("none of the {pictures} pictures of {file} is worth banking for `{bank}` ({reasons}): add a clearer copy")]
    NothingUseful {
        /// The bank that it was for.
        bank: BankName,
        /// The file.
        file: String,
        /// How many pictures it gave.
        pictures: usize,
        /// Why they were refused, counted.
        reasons: String,
    },
    /// The operating system refused.
    #[error("cannot {doing} {}: check the folder's permissions and free space", path.display())]
    Io {
        /// What was tried.
        doing: &'static str,
        /// On which file.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
}

impl BankError {
    /// What is wrong with the file at `path`.
    pub(super) fn of_file(fault: Fault, path: &Path) -> Self {
        let path = path.to_owned();
        match fault {
            Fault::CutShort => Self::CutShort { path },
            Fault::Altered => Self::Altered { path },
            Fault::Foreign => Self::Foreign { path },
            Fault::Newer(version) => Self::Newer { path, version },
        }
    }

    /// A bounded word for metrics.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::NoFolder { .. } => "no_folder",
            Self::NoBank { .. } => "no_bank",
            Self::Exists { .. } => "exists",
            Self::NotInBank { .. } => "not_in_bank",
            Self::NotWhole { .. } => "not_whole",
            Self::NotABankName { .. } => "not_a_bank_name",
            Self::CutShort { .. } => "cut_short",
            Self::Altered { .. } => "altered",
            Self::Foreign { .. } => "foreign",
            Self::Newer { .. } => "newer",
            Self::Misnamed { .. } => "misnamed",
            Self::NoBase { .. } => "no_base",
            Self::OtherBase { .. } => "other_base",
            Self::Index(_) => "index",
            Self::NothingUseful { .. } => "nothing_useful",
            Self::Io { .. } => "io",
        }
    }

    /// Whether the same call may succeed later without anybody changing anything.
    pub const fn is_retryable(&self) -> bool {
        matches!(self, Self::Io { .. })
    }
}
