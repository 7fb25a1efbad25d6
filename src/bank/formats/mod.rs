//! The forms in which hashes of known content are passed on: reads them into a bank, and writes a bank in them.
//!
//! One file a form, each with where its shape is described. What they promise: a line or record that is not understood is
//! told with its number and costs no other; what is of another kind than PDQ is counted, not mistaken; what is written in
//! a form reads back from it. Pure but for where it writes to: time is an argument.

mod hma;
mod json;
mod lines;
mod ncmec;
mod stopncii;
mod table;
mod tat;
mod vpdq;

use std::fmt;
use std::io;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use super::{Bank, Provenance};
use crate::clock::Timestamp;
use crate::finding::Opinion;
use crate::hash::PdqHash;

/// A form.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Format {
    /// One hash a line.
    Hashes,
    /// A table with a heading, which keeps all that a bank knows of a signal.
    Csv,
    /// Lines of frame, quality, hash and time, as vPDQ's tools write them.
    Vpdq,
    /// The JSON text that is a vPDQ signal in python-threatexchange.
    VpdqJson,
    /// Lines of a kind of signal and the signal, as python-threatexchange reads them from a file.
    ThreatExchange,
    /// Contents of a bank of Hasher-Matcher-Actioner, as its API gives them.
    Hma,
    /// Entries of NCMEC's hash sharing API, as XML.
    Ncmec,
    /// Records of StopNCII.org's API.
    StopNcii,
    /// Tech Against Terrorism's hash list.
    Tat,
}

impl Format {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::Hashes,
        Self::Csv,
        Self::Vpdq,
        Self::VpdqJson,
        Self::ThreatExchange,
        Self::Hma,
        Self::Ncmec,
        Self::StopNcii,
        Self::Tat,
    ];

    /// Its name.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Hashes => "hashes",
            Self::Csv => "csv",
            Self::Vpdq => "vpdq",
            Self::VpdqJson => "vpdq-json",
            Self::ThreatExchange => "threatexchange",
            Self::Hma => "hma",
            Self::Ncmec => "ncmec",
            Self::StopNcii => "stopncii",
            Self::Tat => "tat",
        }
    }

    /// Whether banks are written in it. The records of NCMEC, StopNCII and Tech Against Terrorism are theirs to write.
    pub const fn is_written(self) -> bool {
        !matches!(self, Self::Ncmec | Self::StopNcii | Self::Tat)
    }

    /// What the names of its records begin with, where a file of it can be all that its provider has.
    pub const fn provider(self) -> Option<&'static str> {
        match self {
            Self::Hma => Some("hma:"),
            Self::Ncmec => Some("ncmec:"),
            Self::StopNcii => Some("stopncii:"),
            Self::Tat => Some("tat:"),
            Self::Hashes | Self::Csv | Self::Vpdq | Self::VpdqJson | Self::ThreatExchange => None,
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// A text that names no form.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{}` is no format: use one of {}", .0.escape_debug(), words())]
pub struct BadFormat(String);

fn words() -> String {
    Format::ALL.map(Format::word).join(", ")
}

impl FromStr for Format {
    type Err = BadFormat;

    fn from_str(text: &str) -> Result<Self, BadFormat> {
        Self::ALL.into_iter().find(|format| format.word() == text).ok_or_else(|| BadFormat(text.to_owned()))
    }
}

/// Where in a file something is, counted from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Place {
    /// A line.
    Line(u64),
    /// A record, where lines mean nothing.
    Record(u64),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Line(number) => write!(f, "line {number}"),
            Self::Record(number) => write!(f, "record {number}"),
        }
    }
}

/// A hash that a file gives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Where.
    pub place: Place,
    /// The hash.
    pub hash: PdqHash,
    /// The quality of the picture that it was taken of.
    pub quality: Option<u8>,
    /// Where that picture lies in its video.
    pub at: Option<Duration>,
    /// How far it is vouched for.
    pub opinion: Option<Opinion>,
    /// What it was taken of.
    pub source: Option<Provenance>,
    /// What its provider calls the record that it belongs to: `ncmec:42/image1`.
    pub record: Option<Arc<str>>,
}

impl Listed {
    /// A hash of which nothing else is known.
    const fn bare(place: Place, hash: PdqHash) -> Self {
        Self { place, hash, quality: None, at: None, opinion: None, source: None, record: None }
    }
}

/// One thing that a file says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Item {
    /// There is this signal.
    Signal(Listed),
    /// All signals of this record are void but those that follow: it was withdrawn, or is given in its newest form.
    Anew(Arc<str>),
}

/// What was not understood.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Fault {
    /// Where.
    pub place: Place,
    /// Why. Never shows the hash.
    pub reason: String,
}

/// What a file says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Read {
    /// In the order of the file.
    pub items: Vec<Item>,
    /// What was not understood.
    pub faults: Vec<Fault>,
    /// How many signals were of another kind than PDQ.
    pub other: usize,
}

impl Read {
    fn fault(&mut self, place: Place, reason: impl Into<String>) {
        self.faults.push(Fault { place, reason: reason.into() });
    }
}

/// A file that is not in the form it was said to be in.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FormatError {
    /// The bytes are no text.
    #[error("it is not UTF-8 text: is it `{format}`?")]
    NotText {
        /// What it was said to be.
        format: Format,
    },
    /// The text as a whole is of another form.
    #[error("it is not `{format}`: {reason}")]
    Other {
        /// What it was said to be.
        format: Format,
        /// How that shows.
        reason: String,
    },
}

/// Why a bank was not written in a form.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// Banks are not written in it.
    #[error("`{format}` is only read: its provider takes reports through an interface of its own")]
    NotWritten {
        /// The form.
        format: Format,
    },
    /// Nothing more can be written.
    #[error("cannot write any further: check the free space")]
    Io(#[from] io::Error),
}

/// Reads a file. `now` decides what is in force.
///
/// # Errors
/// When the file as a whole is something else.
pub fn read(format: Format, bytes: &[u8], now: Timestamp) -> Result<Read, FormatError> {
    // Spreadsheets put a mark in front.
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let text = std::str::from_utf8(bytes).or(Err(FormatError::NotText { format }))?;
    let read = match format {
        Format::Hashes => Ok(lines::read_hashes(text)),
        Format::Csv => table::read(text),
        Format::Vpdq => Ok(vpdq::read_lines(text)),
        Format::VpdqJson => vpdq::read_json(text),
        Format::ThreatExchange => Ok(lines::read_signals(text)),
        Format::Hma => hma::read(text, now),
        Format::Ncmec => ncmec::read(text),
        Format::StopNcii => stopncii::read(text),
        Format::Tat => tat::read(text),
    };
    read.map_err(|reason| FormatError::Other { format, reason })
}

/// Writes a bank, signal by signal.
///
/// # Errors
/// When banks are not written in that form, or `out` takes no more.
pub fn write(format: Format, bank: &Bank, out: &mut dyn io::Write) -> Result<(), WriteError> {
    let signals = bank.signals();
    match format {
        Format::Hashes => lines::write_hashes(signals, out)?,
        Format::Csv => table::write(signals, out)?,
        Format::Vpdq => vpdq::write_lines(signals, out)?,
        Format::VpdqJson => vpdq::write_json(signals, out)?,
        Format::ThreatExchange => lines::write_signals(signals, out)?,
        Format::Hma => hma::write(bank, out)?,
        Format::Ncmec | Format::StopNcii | Format::Tat => return Err(WriteError::NotWritten { format }),
    }
    Ok(())
}

/// Seconds as they stand in files.
fn seconds(text: &str) -> Result<Duration, String> {
    let seconds = text.parse().ok().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    seconds.ok_or_else(|| "its time is no number of seconds".to_owned())
}

fn quality(text: &str) -> Result<u8, String> {
    text.parse().ok().filter(|quality| *quality <= 100).ok_or_else(|| "its quality is not 0 to 100".to_owned())
}

fn hash(text: &str) -> Result<PdqHash, String> {
    text.parse().map_err(|error: crate::hash::ParseHashError| error.to_string())
}

#[cfg(test)]
mod tests;
