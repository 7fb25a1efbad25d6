//! Reads members of a wheel, each up to a limit: a wheel is a zip archive, and one may claim to be anything.

use std::fs::File;
use std::io::{self, BufReader, Read, Write};
use std::path::Path;

use zip::ZipArchive;
use zip::result::ZipError;

use super::FetchError;

/// An open wheel.
pub(super) struct Wheel {
    archive: ZipArchive<BufReader<File>>,
    shown: String,
}

impl Wheel {
    /// Opens the wheel at `path`; `shown` is what errors call it.
    pub(super) fn open(path: &Path, shown: &str) -> Result<Self, FetchError> {
        let file =
            File::open(path).map_err(|source| FetchError::Io { doing: "read", path: path.to_owned(), source })?;
        let archive = ZipArchive::new(BufReader::new(file)).map_err(|error| unreadable(shown, &error))?;
        Ok(Self { archive, shown: shown.to_owned() })
    }

    /// Writes a member of at most `limit` bytes to `to`.
    pub(super) fn unpack(&mut self, member: &str, to: &mut dyn Write, limit: u64) -> Result<(), FetchError> {
        let Self { archive, shown } = self;
        let found = archive.by_name(member).map_err(|error| match error {
            ZipError::FileNotFound => FetchError::NoMember { wheel: shown.clone(), member: member.to_owned() },
            other => unreadable(shown, &other),
        })?;
        // The length in the archive may be a lie: what counts is how much comes out.
        let copied = io::copy(&mut found.take(limit + 1), to).map_err(|error| unreadable(shown, &error))?;
        if copied > limit {
            return Err(FetchError::TooLong { what: format!("{member} in the wheel of {shown}"), limit });
        }
        Ok(())
    }

    /// The content of a member of at most `limit` bytes.
    pub(super) fn text(&mut self, member: &str, limit: u64) -> Result<Vec<u8>, FetchError> {
        let mut content = Vec::new();
        self.unpack(member, &mut content, limit)?;
        Ok(content)
    }
}

fn unreadable(shown: &str, error: &dyn std::error::Error) -> FetchError {
    FetchError::Wheel { wheel: shown.to_owned(), reason: error.to_string() }
}
