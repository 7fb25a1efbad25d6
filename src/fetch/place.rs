//! Puts files in place in one step, so that a file under its own name is always a whole one.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::FetchError;

/// A file under another name, beside where it will be; deleted when it is dropped. The name is always the same, so that what
/// a killed program left is written over by the next. Only one writes at a time: whoever has the download locked.
#[derive(Debug)]
pub(super) struct Unfinished {
    file: File,
    path: PathBuf,
    to: PathBuf,
}

impl Unfinished {
    /// A new, empty one for `to`, whose folder is made.
    pub(super) fn at(to: &Path) -> Result<Self, FetchError> {
        let failed = |source| FetchError::Io { doing: "create", path: to.to_owned(), source };
        let (Some(folder), Some(name)) = (to.parent(), to.file_name()) else {
            return Err(failed(io::ErrorKind::InvalidFilename.into()));
        };
        fs::create_dir_all(folder).map_err(failed)?;
        let path = folder.join(format!(".{}.unfinished", name.to_string_lossy()));
        let file = File::create(&path).map_err(failed)?;
        Ok(Self { file, path, to: to.to_owned() })
    }

    /// Where it is now.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Gives it its name, once its content is on the disk.
    pub(super) fn keep(self) -> Result<(), FetchError> {
        let failed = |source| FetchError::Io { doing: "write", path: self.to.clone(), source };
        // A script may have written it by name: what is synchronised is the file, whoever wrote it.
        self.file.sync_all().map_err(failed)?;
        fs::rename(&self.path, &self.to).map_err(failed)?;
        match self.to.parent().map(File::open) {
            Some(folder) => folder.and_then(|folder| folder.sync_all()).map_err(failed),
            None => Ok(()),
        }
    }
}

impl Write for Unfinished {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        // After `keep` there is nothing under this name.
        fs::remove_file(&self.path).ok();
    }
}

/// Writes a small file in one step.
pub(super) fn put(content: &[u8], to: &Path) -> Result<(), FetchError> {
    let mut unfinished = Unfinished::at(to)?;
    unfinished.write_all(content).map_err(|source| FetchError::Io { doing: "write", path: to.to_owned(), source })?;
    unfinished.keep()
}
