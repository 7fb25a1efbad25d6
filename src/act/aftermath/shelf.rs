//! Where files are kept that were moved out of reach: a folder for each decision, with a list of what is in it and where
//! it came from, so that everything can be brought back.
//!
//! Nothing is ever deleted. A file's line is on the disk before the file is moved: killed at any moment, no file is where
//! no line names it. A line without its file tells of a move that did not happen, or of a file that was brought back.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::folder::{Entry, Folder, Moved};
use crate::act::webhook::event::LeftoverKind;
use crate::clock::Timestamp;
use crate::stream::Session;

const LIST: &str = "list.jsonl";

/// One line of the list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "line")]
enum Line {
    /// The first: what all this is of.
    Of {
        /// Whose files these were.
        session: Session,
        /// When the first of them was moved.
        at: Timestamp,
    },
    /// A file.
    File(Kept),
    /// Somebody brought the files back: no more are to be moved.
    Restored {
        /// When.
        at: Timestamp,
    },
}

/// A file that was moved.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    /// What it is called here.
    pub name: String,
    /// Where it was.
    pub from: PathBuf,
    /// What it is.
    pub kind: LeftoverKind,
    /// Its length when it was moved.
    pub bytes: u64,
    /// When it was last written to.
    pub modified: Timestamp,
    /// When it was moved.
    pub moved: Timestamp,
}

/// The files of one decision.
#[derive(Debug)]
pub struct Shelf {
    path: PathBuf,
    lines: Vec<Line>,
}

/// What bringing files back came to.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Restored {
    /// Files that are where they were.
    pub back: Vec<PathBuf>,
    /// Files that stay here, because something else is there now or its folder is gone, with the reason.
    pub kept: Vec<(PathBuf, String)>,
}

impl Shelf {
    /// The shelf of `decision` in `folder`; `None`: nothing was moved.
    pub fn open(folder: &Path, decision: Uuid) -> io::Result<Option<Self>> {
        Self::read(folder.join(decision.to_string()))
    }

    /// Every shelf in `folder`, oldest first. A folder that is not there has none.
    pub fn all(folder: &Path) -> io::Result<Vec<(Uuid, Self)>> {
        let mut shelves = Vec::new();
        let entries = match fs::read_dir(folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(shelves),
            entries => entries?,
        };
        for entry in entries {
            let path = entry?.path();
            let decision = path.file_name().and_then(|name| name.to_str()).and_then(|name| name.parse().ok());
            if let Some(decision) = decision
                && let Some(shelf) = Self::read(path)?
            {
                shelves.push((decision, shelf));
            }
        }
        shelves.sort_by_key(|(decision, _)| *decision);
        Ok(shelves)
    }

    /// The shelf of `decision`, made if it is not there. Its folder is its owner's only.
    pub(super) fn make(folder: &Path, decision: Uuid, session: &Session, now: Timestamp) -> io::Result<Self> {
        let path = folder.join(decision.to_string());
        DirBuilder::new().recursive(true).mode(0o700).create(&path)?;
        if let Some(shelf) = Self::read(path.clone())? {
            return Ok(shelf);
        }
        let mut shelf = Self { path, lines: Vec::new() };
        shelf.write(Line::Of { session: session.clone(), at: now })?;
        Ok(shelf)
    }

    fn read(path: PathBuf) -> io::Result<Option<Self>> {
        let text = match fs::read_to_string(path.join(LIST)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            text => text?,
        };
        // The last line may be half written: what it announced was not done yet.
        let lines: Vec<Line> = text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
        Ok((!lines.is_empty()).then_some(Self { path, lines }))
    }

    /// Whose files these are, and since when they are here.
    pub fn of(&self) -> Option<(&Session, Timestamp)> {
        self.lines.iter().find_map(|line| match line {
            Line::Of { session, at } => Some((session, *at)),
            _ => None,
        })
    }

    /// When the files were brought back last, if they were.
    pub fn restored(&self) -> Option<Timestamp> {
        self.lines.iter().rev().find_map(|line| match line {
            Line::Restored { at } => Some(*at),
            _ => None,
        })
    }

    /// The files that are here now, in the order in which they were moved.
    pub fn files(&self) -> Vec<&Kept> {
        self.named().into_iter().filter(|kept| self.path.join(&kept.name).symlink_metadata().is_ok()).collect()
    }

    /// The folder itself.
    pub(super) fn folder(&self) -> io::Result<Folder> {
        Folder::open(&self.path)
    }

    fn named(&self) -> Vec<&Kept> {
        let files = self.lines.iter().filter_map(|line| match line {
            Line::File(kept) => Some(kept),
            _ => None,
        });
        files.collect()
    }

    /// Moves `file` of `folder` here. `settled`: nobody writes to it any more.
    pub(super) fn take(
        &mut self,
        folder: &Folder,
        file: &Entry,
        kind: LeftoverKind,
        settled: bool,
        now: Timestamp,
    ) -> io::Result<Moved> {
        // Announced before, and not done: this is the same move again.
        let announced = self.named().into_iter().rev().find(|kept| kept.from == folder.path.join(&file.name));
        let here = self.folder()?;
        if let Some(kept) = announced.filter(|kept| (kept.bytes, kept.modified) == (file.bytes, file.modified))
            && here.file(&kept.name)?.is_none()
        {
            return folder.give(&file.name, &here, &kept.name, settled);
        }
        // A name of our own: theirs may be as long as a name can be, and the same one comes again.
        let ending = Path::new(&file.name).extension().and_then(|ending| ending.to_str()).unwrap_or("bin");
        let name = format!("{:05}.{ending}", self.named().len() + 1);
        let from = folder.path.join(&file.name);
        let kept = Kept { name, from, kind, bytes: file.bytes, modified: file.modified, moved: now };
        let name = kept.name.clone();
        self.write(Line::File(kept))?;
        folder.give(&file.name, &here, &name, settled)
    }

    /// Brings everything back to where it was, as far as nothing else is there now: of files of the same name, the last.
    pub fn restore(&mut self, now: Timestamp) -> io::Result<Restored> {
        // First: whoever still moves files here is to stop.
        self.write(Line::Restored { at: now })?;
        let here = self.folder()?;
        let mut restored = Restored::default();
        for kept in self.files().into_iter().rev() {
            let gave = kept.from.parent().zip(kept.from.file_name().and_then(|name| name.to_str())).map_or_else(
                || Err(io::ErrorKind::InvalidInput.into()),
                |(folder, name)| here.give(&kept.name, &Folder::open(folder)?, name, true),
            );
            match gave {
                Ok(Moved::Whole) => restored.back.push(kept.from.clone()),
                Ok(Moved::Growing) => restored.kept.push((kept.from.clone(), "somebody writes to it".to_owned())),
                Err(error) => restored.kept.push((kept.from.clone(), error.to_string())),
            }
        }
        here.sync()?;
        Ok(restored)
    }

    /// Adds a line; it is on the disk when this returns.
    fn write(&mut self, line: Line) -> io::Result<()> {
        let mut text = serde_json::to_string(&line)?;
        text.push('\n');
        let mut list = OpenOptions::new().append(true).create(true).mode(0o600).open(self.path.join(LIST))?;
        // Behind a line that was cut short by a crash, begin on a new one.
        if fs::read(self.path.join(LIST))?.last().is_some_and(|last| *last != b'\n') {
            text.insert(0, '\n');
        }
        list.write_all(text.as_bytes())?;
        list.sync_data()?;
        if self.lines.is_empty() {
            // The list itself is new: its name is to stay, too.
            self.folder()?.sync()?;
        }
        self.lines.push(line);
        Ok(())
    }
}
