//! An index as a file that processes map and share.
//!
//! A file is replaced whole or not at all, whenever the writer is killed; one that is cut short, altered or not ours is refused by
//! name. It holds nothing that the bank does not: whoever finds it unfit builds it again.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use super::index::{Built, Fault, Index};
use super::mmap;

/// As confidential as the banks: the owner and their group only.
const MODE: u32 = 0o640;

const REBUILD: &str = "remove it and build it again from its bank";

/// Why there is no index in a file, or it could not be written.
#[derive(Debug, thiserror::Error)]
pub enum IndexError {
    /// The end of the file is missing.
    #[error("index file {} is cut short: {REBUILD}", path.display())]
    CutShort {
        /// The file.
        path: PathBuf,
    },
    /// The file does not hold what was written.
    #[error("index file {} was altered or damaged after it was written: {REBUILD}", path.display())]
    Altered {
        /// The file.
        path: PathBuf,
    },
    /// The file is something else.
    #[error("{} is not an index file: move it away and build the index again from its bank", path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
    },
    /// The file was written by a later release.
    #[error("index file {} is of format version {version}, newer than this release reads: update, or {REBUILD}", path.display())]
    Newer {
        /// The file.
        path: PathBuf,
        /// The version it says.
        version: u32,
    },
    /// The operating system refused.
    #[error("cannot {doing} index file {}: check the folder's permissions and free space", path.display())]
    Io {
        /// What was tried.
        doing: &'static str,
        /// On which file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
}

impl IndexError {
    /// A bounded word for metrics.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::CutShort { .. } => "cut_short",
            Self::Altered { .. } => "altered",
            Self::Foreign { .. } => "foreign",
            Self::Newer { .. } => "newer",
            Self::Io { .. } => "io",
        }
    }

    /// Whether the same call may succeed later without anybody changing anything.
    pub const fn is_retryable(&self) -> bool {
        matches!(self, Self::Io { .. })
    }
}

/// Maps the index at `path`, compares every checksum and says what it was built from.
///
/// # Errors
/// When the file cannot be read, or is not exactly what [`save`] wrote.
pub fn open(path: &Path) -> Result<(Index, Built), IndexError> {
    let path_of = || path.to_owned();
    let file = File::open(path).and_then(|file| Ok((file.metadata()?.len(), file)));
    let read = |source| IndexError::Io { doing: "read", path: path_of(), source };
    let (length, file) = file.map_err(read)?;
    // Nothing can be mapped of an empty file.
    let bytes = if length == 0 { bytes::Bytes::new() } else { mmap::map(&file).map_err(read)? };
    Index::read(&bytes).map_err(|fault| match fault {
        Fault::CutShort => IndexError::CutShort { path: path_of() },
        Fault::Altered => IndexError::Altered { path: path_of() },
        Fault::Foreign => IndexError::Foreign { path: path_of() },
        Fault::Newer(version) => IndexError::Newer { path: path_of(), version },
    })
}

/// Puts a file of `index` in the place of what is at `path`. Whoever has that mapped keeps it as it was. One writer at a
/// time: the caller sees to it.
///
/// # Errors
/// When the file cannot be written; what was there before is still there.
pub fn save(path: &Path, index: &Index, built: Built) -> Result<(), IndexError> {
    let beside = path.with_extension("index.new");
    write(&beside, path, index, built).map_err(|source| {
        // A full disk is not left fuller; that the file is gone already is as good.
        let _gone = fs::remove_file(&beside);
        IndexError::Io { doing: "write", path: path.to_owned(), source }
    })
}

fn write(beside: &Path, path: &Path, index: &Index, built: Built) -> io::Result<()> {
    let mut file = OpenOptions::new().create(true).truncate(true).write(true).mode(MODE).open(beside)?;
    for part in index.file(built) {
        file.write_all(&part)?;
    }
    file.sync_all()?;
    fs::rename(beside, path)?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder)?.sync_all()
}
