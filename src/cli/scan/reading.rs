//! Reads one recording and makes work of it for the workers: groups of pictures where that can be done, decoded pictures
//! where not.

use std::fs::File;
use std::io::{self, Read as _};
use std::num::NonZeroUsize;
use std::path::Path;
use std::time::Duration;

use crossbeam_channel::{SendError, Sender};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::download::download;
use super::input::Input;
use super::line::Glance;
use super::picks::{Every, Picks};
use crate::clock::Timestamp;
use crate::decode::DecodeError;
use crate::decode::file::{Video, expect_whole};
use crate::decode::groups::{Groups, Ungrouped};
use crate::picture::Picture;
use crate::stream::AccessUnit;

/// How recordings are read.
#[derive(Debug, Clone, Copy)]
pub(super) struct Terms {
    pub(super) every: Every,
    pub(super) max_download: u64,
}

/// Something to be done by any worker, for the input of this number.
pub(super) struct Job {
    pub(super) input: usize,
    pub(super) work: Work,
}

pub(super) enum Work {
    /// To be decoded: the pictures of those units that have these sequence numbers.
    Group { units: Vec<AccessUnit>, inspect: Vec<u64>, end: Option<Duration> },
    /// Decoded already.
    Picture(Picture),
}

/// What is said of the input of this number.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Told {
    /// It is about to be read.
    Taken {
        input: usize,
    },
    /// So many bytes of it are there, of as many as the server says.
    Downloaded {
        input: usize,
        bytes: u64,
        of: Option<u64>,
    },
    /// Which bytes are being looked at.
    Begun {
        input: usize,
        sha256: String,
        bytes: u64,
    },
    /// How long it says it is.
    Length {
        input: usize,
        duration: Duration,
    },
    Glance {
        input: usize,
        glance: Glance,
    },
    /// A part could not be decoded.
    Missed {
        input: usize,
        from: Duration,
        to: Duration,
        reason: String,
    },
    /// What it has is left out.
    LeftOut {
        input: usize,
        reason: String,
    },
    /// It cannot be read, or not to its end.
    Broken {
        input: usize,
        reason: String,
    },
    /// All of it was read, as far as it goes.
    Read {
        input: usize,
    },
}

/// Why reading ended early.
enum Ended {
    Broken(String),
    /// Nobody listens any more.
    Alone,
}

impl<T> From<SendError<T>> for Ended {
    fn from(_: SendError<T>) -> Self {
        Self::Alone
    }
}

/// Reads an input.
pub(super) struct Reader<'a> {
    pub(super) terms: &'a Terms,
    pub(super) arrived: Timestamp,
    /// For what is decoded here.
    pub(super) threads: NonZeroUsize,
    pub(super) jobs: &'a Sender<Job>,
    pub(super) told: &'a Sender<Told>,
}

impl Reader<'_> {
    /// Reads `input`, which has this number, to its end.
    pub(super) fn read(&self, number: usize, input: &Input) {
        let taken = self.told.send(Told::Taken { input: number }).map_err(Ended::from);
        let ended = taken.and_then(|()| match input {
            Input::File(path) => self.file(number, path),
            Input::Address(url) => {
                let tell = |bytes, of| drop(self.told.send(Told::Downloaded { input: number, bytes, of }));
                match download(url, self.terms.max_download, tell) {
                    Ok(downloaded) => self.file(number, &downloaded.path()),
                    Err(error) => Err(Ended::Broken(format!("{error:#}"))),
                }
            }
        });
        let last = match ended {
            Ok(()) => Told::Read { input: number },
            Err(Ended::Broken(reason)) => Told::Broken { input: number, reason },
            Err(Ended::Alone) => return,
        };
        if self.told.send(last).is_err() {
            tracing::debug!("nobody waits for a recording any more");
        }
    }

    fn file(&self, input: usize, path: &Path) -> Result<(), Ended> {
        // What is no file with an end is refused before it is read.
        let whole = match expect_whole(path) {
            Err(damaged @ DecodeError::Damaged { .. }) => Err(Ended::Broken(said(&damaged, path))),
            other => other.map_err(|error| Ended::Broken(said(&error, path))).map(Ok)?,
        };
        let (sha256, bytes) = digest(path).map_err(|error| Ended::Broken(format!("cannot be read: {error}")))?;
        self.told.send(Told::Begun { input, sha256, bytes })?;
        match self.terms.every {
            Every::Frame => self.pictures(input, path, Duration::ZERO, |_| true)?,
            Every::Span(span) => {
                let mut picks = Picks::new(span);
                if !self.groups(input, path, &mut picks)? {
                    let read = picks.wanted();
                    self.pictures(input, path, read, |at| picks.take(at))?;
                }
            }
        }
        whole
    }

    /// Whether all could be read in groups.
    fn groups(&self, input: usize, path: &Path, picks: &mut Picks) -> Result<bool, Ended> {
        let broken = |error: DecodeError| Ended::Broken(said(&error, path));
        let mut groups = Groups::open(path, self.arrived).map_err(broken)?;
        let mut known = false;
        while let Some(group) = groups.next() {
            let group = match group {
                Ok(group) => group,
                Err(Ungrouped::Unsuited) => return Ok(false),
                Err(Ungrouped::Failed(error)) => return Err(broken(error)),
            };
            if !known {
                known = true;
                self.length(input, groups.duration())?;
                self.tracks(input, groups.further_tracks())?;
            }
            let inspect = picks.of_group(&group.units, group.end);
            // What comes after the last picture wanted, none of them needs.
            let needed = group.units.iter().rposition(|unit| inspect.contains(&unit.sequence));
            let Some(needed) = needed else { continue };
            let mut units = group.units;
            units.truncate(needed + 1);
            self.jobs.send(Job { input, work: Work::Group { units, inspect, end: group.end } })?;
        }
        Ok(true)
    }

    /// Decodes all and hands on, from `read` on, what is `wanted`.
    fn pictures(
        &self,
        input: usize,
        path: &Path,
        read: Duration,
        mut wanted: impl FnMut(Duration) -> bool,
    ) -> Result<(), Ended> {
        let broken = |error: DecodeError| Ended::Broken(said(&error, path));
        let mut video = Video::open_as_far_as_it_goes(path, self.threads).map_err(broken)?;
        let mut known = false;
        while let Some(picture) = video.next() {
            let mut picture = picture.map_err(broken)?;
            if !known {
                known = true;
                self.length(input, video.duration())?;
                self.tracks(input, video.further_tracks())?;
            }
            let at = picture.pts.unwrap_or_default();
            if at >= read && wanted(at) {
                picture.arrived = self.arrived;
                self.jobs.send(Job { input, work: Work::Picture(picture) })?;
            }
        }
        Ok(())
    }

    fn length(&self, input: usize, duration: Option<Duration>) -> Result<(), Ended> {
        duration.map_or(Ok(()), |duration| Ok(self.told.send(Told::Length { input, duration })?))
    }

    fn tracks(&self, input: usize, further: usize) -> Result<(), Ended> {
        if further == 0 {
            return Ok(());
        }
        let reason = format!("it has {} video tracks, and only the first was inspected", further + 1);
        Ok(self.told.send(Told::LeftOut { input, reason })?)
    }
}

/// What an error says of the file, whose name stands before it wherever it is shown.
fn said(error: &DecodeError, path: &Path) -> String {
    let text = error.to_string();
    let named = format!("`{}` ", path.display());
    text.strip_prefix(&named).map_or(text.clone(), str::to_owned)
}

/// SHA-256 of a file, hexadecimal, and how long it is.
fn digest(path: &Path) -> io::Result<(String, u64)> {
    let mut file = File::open(path)?;
    let (mut sha, mut bytes, mut part) = (Sha256::new(), 0, vec![0; 1 << 20]);
    loop {
        match file.read(&mut part)? {
            0 => return Ok((hex::encode(sha.finalize()), bytes)),
            read => {
                sha.update(part.get(..read).unwrap_or_default());
                bytes += read as u64;
            }
        }
    }
}
