//! An index as a file that processes map and share.
//!
//! A file is replaced whole or not at all, whenever the writer is killed; one that is cut short, altered or not ours is refused by
//! name. It holds nothing that the bank's base does not: whoever finds it unfit builds it again.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use super::index::{Built, Fault, Index};
use super::mmap;

/// As confidential as the banks: the owner and their group only.
const MODE: u32 = 0o640;

const REBUILD: &str = "`sluicegate bank compact` builds it again from its bank";

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
    #[error("{} is not an index file: {REBUILD}", path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
    },
    /// The file was written by an earlier release.
    #[error("index file {} is of format version {version}, older than this release reads: {REBUILD}", path.display())]
    Older {
        /// The file.
        path: PathBuf,
        /// The version it says.
        version: u32,
    },
    /// The file was written by a later release.
    #[error("index file {} is of format version {version}, newer than this release reads: update, or {REBUILD}", path.display())]
    Newer {
        /// The file.
        path: PathBuf,
        /// The version it says.
        version: u32,
    },
    /// The file is the index of other signals.
    #[error("index file {} was built from other signals: {REBUILD}", path.display())]
    Other {
        /// The file.
        path: PathBuf,
    },
    /// There is no such file.
    #[error("index file {} is missing: {REBUILD}", path.display())]
    Missing {
        /// The file that should be there.
        path: PathBuf,
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
            Self::Older { .. } => "older",
            Self::Newer { .. } => "newer",
            Self::Other { .. } => "other",
            Self::Missing { .. } => "missing",
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
    let read = |source: io::Error| match source.kind() {
        io::ErrorKind::NotFound => IndexError::Missing { path: path_of() },
        _ => IndexError::Io { doing: "read", path: path_of(), source },
    };
    let (length, file) = file.map_err(read)?;
    // Nothing can be mapped of an empty file.
    let bytes = if length == 0 { bytes::Bytes::new() } else { mmap::map(&file).map_err(read)? };
    Index::read(&bytes).map_err(|fault| match fault {
        Fault::CutShort => IndexError::CutShort { path: path_of() },
        Fault::Altered => IndexError::Altered { path: path_of() },
        Fault::Foreign => IndexError::Foreign { path: path_of() },
        Fault::Older(version) => IndexError::Older { path: path_of(), version },
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hash::PdqHash;

    fn index(seed: u64, count: u64) -> Index {
        let spread = |n: u64| (n + seed).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        Index::build((0..count as u32).map(|n| PdqHash::from_words([spread(n.into()), seed, 0, 0]))).unwrap()
    }

    fn same(a: &Index, b: &Index) -> bool {
        a.iter().eq(b.iter())
    }

    #[test]
    fn what_was_saved_is_found_in_the_map() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("demo.index");
        for (seed, count) in [(1, 0), (2, 1), (3, 500)] {
            save(&path, &index(seed, count), [seed as u8; 32]).unwrap();
            let (found, built) = open(&path).unwrap();
            assert!(same(&found, &index(seed, count)));
            assert_eq!(built, [seed as u8; 32]);
        }
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing is left beside it");
    }

    #[test]
    fn a_map_stays_as_it_was_when_the_file_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("demo.index");
        save(&path, &index(1, 300), [1; 32]).unwrap();
        let (before, _) = open(&path).unwrap();
        save(&path, &index(2, 20), [2; 32]).unwrap();
        fs::remove_file(&path).unwrap();
        assert!(same(&before, &index(1, 300)));
    }

    #[test]
    fn whoever_opens_while_it_is_replaced_finds_the_old_or_the_new() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("demo.index");
        save(&path, &index(0, 200), [0; 32]).unwrap();
        std::thread::scope(|scope| {
            let writer =
                scope.spawn(|| (1..20).for_each(|seed| save(&path, &index(seed, 200), [seed as u8; 32]).unwrap()));
            while !writer.is_finished() {
                let (found, built) = open(&path).unwrap();
                assert!(same(&found, &index(u64::from(built[0]), 200)));
            }
        });
    }

    #[test]
    fn a_writer_killed_half_way_leaves_the_old_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("demo.index");
        save(&path, &index(1, 300), [1; 32]).unwrap();
        let half = fs::read(&path).unwrap();
        fs::write(folder.path().join("demo.index.new"), &half[..half.len() / 2]).unwrap();
        assert!(same(&open(&path).unwrap().0, &index(1, 300)));
        save(&path, &index(2, 300), [2; 32]).unwrap();
        assert!(same(&open(&path).unwrap().0, &index(2, 300)));
    }

    #[test]
    fn what_is_no_index_is_refused_by_name_with_the_next_step() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("demo.index");
        save(&path, &index(1, 300), [1; 32]).unwrap();
        let good = fs::read(&path).unwrap();
        let mut altered = good.clone();
        altered[9000] ^= 1;
        for (bytes, kind) in [
            (&good[..good.len() - 1], "cut_short"),
            (&good[..100], "cut_short"),
            (&[], "cut_short"),
            (&altered, "altered"),
            (b"\x7fELF and so on", "foreign"),
        ] {
            fs::write(&path, bytes).unwrap();
            let refused = open(&path).unwrap_err();
            assert_eq!((refused.kind(), refused.is_retryable()), (kind, false));
            let message = refused.to_string();
            assert!(
                message.contains("demo.index") && message.contains("`sluicegate bank compact` builds it again"),
                "{message}"
            );
        }
        fs::remove_file(&path).unwrap();
        assert_eq!(open(&path).unwrap_err().kind(), "missing");
        assert_eq!(save(&path.join("x"), &index(1, 1), [0; 32]).unwrap_err().kind(), "io");
    }
}
