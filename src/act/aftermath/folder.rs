//! Folders that strangers have a hand in: names of streams become names of files in them.
//!
//! A folder is opened once and everything in it is reached through what was opened, one step at a time; a step is never a
//! symbolic link and never climbs. So whatever is put in the way meanwhile, nothing outside the folder is listed or moved.

use std::io;
use std::os::fd::OwnedFd;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, RenameFlags};
use rustix::io::Errno;

use super::names::is_file_name;
use crate::clock::Timestamp;

/// What stands for the application in a folder's path.
pub(super) const APP: &str = "{app}";

/// A folder, open.
#[derive(Debug)]
pub(super) struct Folder {
    fd: OwnedFd,
    /// For people, and to find the way back.
    pub(super) path: PathBuf,
}

/// A regular file in a folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) name: String,
    pub(super) bytes: u64,
    pub(super) modified: Timestamp,
}

/// What became of a move to another place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Moved {
    /// It is there, and no longer here.
    Whole,
    /// It would have to be copied, and somebody may still write to it: later.
    Growing,
}

impl Folder {
    /// The operator's own folder: wherever its path leads.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let fd = rustix::fs::openat(CWD, path, flags(OFlags::empty()), Mode::empty())?;
        Ok(Self { fd, path: path.to_owned() })
    }

    /// The folder that `template` names for an application; what is behind [`APP`] is no longer only the operator's.
    /// `None`: there is none, or the application's name leads nowhere.
    pub(super) fn of(template: &Path, app: &str) -> io::Result<Option<Self>> {
        let steps: Vec<Component<'_>> = template.components().collect();
        let place = steps.iter().position(|step| step.as_os_str() == APP);
        let (own, rest) = steps.split_at(place.unwrap_or(steps.len()));
        let Some(mut folder) = present(Self::open(&own.iter().collect::<PathBuf>()))? else { return Ok(None) };
        let behind = rest.iter().skip(1).filter_map(|step| step.as_os_str().to_str());
        let names = app.split('/').filter(|_| place.is_some()).chain(behind);
        for name in names {
            match folder.below(name)? {
                Some(next) => folder = next,
                None => return Ok(None),
            }
        }
        Ok(Some(folder))
    }

    /// A folder in this one; `None`: there is none of this name that is a folder itself.
    pub(super) fn below(&self, name: &str) -> io::Result<Option<Self>> {
        if !is_file_name(name) {
            return Ok(None);
        }
        match rustix::fs::openat(&self.fd, name, flags(OFlags::NOFOLLOW), Mode::empty()) {
            Ok(fd) => Ok(Some(Self { fd, path: self.path.join(name) })),
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::NAMETOOLONG) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// The regular files whose names `wanted` accepts. Names that are no UTF-8 are nobody's here.
    pub(super) fn files(&self, wanted: impl Fn(&str) -> bool) -> io::Result<Vec<Entry>> {
        let mut files = Vec::new();
        for entry in Dir::read_from(&self.fd)? {
            let entry = entry?;
            let Ok(name) = entry.file_name().to_str() else { continue };
            if !wanted(name) {
                continue;
            }
            if let Some(file) = self.file(name)? {
                files.push(file);
            }
        }
        files.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(files)
    }

    /// One regular file; `None`: there is none, or it is something else, such as a link to one.
    pub(super) fn file(&self, name: &str) -> io::Result<Option<Entry>> {
        let stat = match rustix::fs::statat(&self.fd, name, AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::NOENT) => return Ok(None),
            stat => stat?,
        };
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Ok(None);
        }
        let seconds = u64::try_from(stat.st_mtime).unwrap_or_default();
        let micros = seconds.saturating_mul(1_000_000).saturating_add(stat.st_mtime_nsec as u64 / 1000);
        let bytes = u64::try_from(stat.st_size).unwrap_or_default();
        Ok(Some(Entry { name: name.to_owned(), bytes, modified: Timestamp::from_micros(micros) }))
    }

    /// Moves a file of this folder into `to`, where nothing may be called `as_name` yet. Where it cannot be moved as it is,
    /// as between file systems or mounts, it is copied once it is `settled`, that is: whoever wrote it is gone. It is taken
    /// away here only when the copy is on the disk and nothing was added to the file meanwhile.
    pub(super) fn give(&self, name: &str, to: &Self, as_name: &str, settled: bool) -> io::Result<Moved> {
        match rustix::fs::renameat_with(&self.fd, name, &to.fd, as_name, RenameFlags::NOREPLACE) {
            Err(Errno::XDEV) if settled => self.copy(name, to, as_name),
            Err(Errno::XDEV) => Ok(Moved::Growing),
            moved => Ok(moved.map(|()| Moved::Whole)?),
        }
    }

    fn copy(&self, name: &str, to: &Self, as_name: &str) -> io::Result<Moved> {
        let from_flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let mut source = std::fs::File::from(rustix::fs::openat(&self.fd, name, from_flags, Mode::empty())?);
        let before = source.metadata()?;
        if !before.is_file() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no longer a regular file"));
        }
        let partial = format!("{as_name}.part");
        let to_flags = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mode = Mode::RUSR | Mode::WUSR;
        let mut target = std::fs::File::from(rustix::fs::openat(&to.fd, &partial, to_flags, mode)?);
        io::copy(&mut source, &mut target)?;
        target.sync_all()?;
        let after = source.metadata()?;
        if (before.len(), before.modified()?) != (after.len(), after.modified()?) {
            rustix::fs::unlinkat(&to.fd, &partial, AtFlags::empty())?;
            return Ok(Moved::Growing);
        }
        target.set_permissions(after.permissions())?;
        target.set_modified(after.modified()?)?;
        rustix::fs::renameat_with(&to.fd, &partial, &to.fd, as_name, RenameFlags::NOREPLACE)?;
        to.sync()?;
        rustix::fs::unlinkat(&self.fd, name, AtFlags::empty())?;
        Ok(Moved::Whole)
    }

    /// Whether files are moved to `other` as they are, even while they are written to. Two mounts of one file system are
    /// as far apart as two file systems, and nothing but the system's own answer tells: a folder's `.` can never be
    /// renamed, and is refused as too far away before it is refused as that.
    pub(super) fn moves_whole_to(&self, other: &Self) -> io::Result<bool> {
        let near = rustix::fs::fstat(&self.fd)?.st_dev == rustix::fs::fstat(&other.fd)?.st_dev;
        let probed = rustix::fs::renameat_with(&self.fd, ".", &other.fd, ".", RenameFlags::NOREPLACE);
        Ok(near && probed != Err(Errno::XDEV))
    }

    /// Everything that was moved here stays after a power cut.
    pub(super) fn sync(&self) -> io::Result<()> {
        Ok(rustix::fs::fsync(&self.fd)?)
    }
}

const fn flags(more: OFlags) -> OFlags {
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC).union(more)
}

/// What is there, if it is.
fn present<T>(opened: io::Result<T>) -> io::Result<Option<T>> {
    match opened {
        Ok(opened) => Ok(Some(opened)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    fn names(folder: &Folder) -> Vec<String> {
        folder.files(|_| true).unwrap().into_iter().map(|file| file.name).collect()
    }

    #[test]
    fn a_name_that_climbs_or_leads_elsewhere_opens_nothing() {
        let home = tempfile::tempdir().unwrap();
        fs::create_dir_all(home.path().join("hls/live/sub")).unwrap();
        fs::create_dir_all(home.path().join("secret")).unwrap();
        symlink("../secret", home.path().join("hls/link")).unwrap();
        let template = home.path().join("hls").join(APP);
        for app in ["..", "../secret", "live/..", "live/../../secret", "link", "", "/", "live/", "none", "live/none"] {
            assert!(Folder::of(&template, app).unwrap().is_none(), "{app}");
        }
        for app in ["live", "live/sub"] {
            assert_eq!(Folder::of(&template, app).unwrap().unwrap().path, home.path().join("hls").join(app));
        }
        let behind = template.join("sub");
        assert!(Folder::of(&behind, "live").unwrap().is_some());
        assert!(Folder::of(&behind, "link").unwrap().is_none());
        assert!(Folder::of(&home.path().join("nowhere"), "live").unwrap().is_none());
        let linked = Folder::of(&home.path().join("hls/link"), "live").unwrap();
        assert!(linked.is_some(), "the operator's own path may be a link");
    }

    #[test]
    fn only_regular_files_are_files() {
        let home = tempfile::tempdir().unwrap();
        let (here, secret) = (home.path().join("here"), home.path().join("secret.flv"));
        fs::create_dir_all(here.join("folder.flv")).unwrap();
        fs::write(&secret, "secret").unwrap();
        symlink(&secret, here.join("link.flv")).unwrap();
        fs::write(here.join("own.flv"), "own").unwrap();
        rustix::fs::mknodat(CWD, here.join("pipe.flv"), FileType::Fifo, Mode::RUSR, 0).unwrap();
        let folder = Folder::open(&here).unwrap();
        assert_eq!(names(&folder), ["own.flv"]);
        assert_eq!(folder.file("own.flv").unwrap().unwrap().bytes, 3);
        assert_eq!(folder.file("../secret.flv").unwrap().map(|_| ()), Some(()), "whoever asks checks the name first");
        assert!(!is_file_name("../secret.flv"));
    }

    #[test]
    fn a_file_is_moved_and_never_put_over_another() {
        let home = tempfile::tempdir().unwrap();
        let (from, to) = (home.path().join("from"), home.path().join("to"));
        fs::create_dir_all(&from).unwrap();
        fs::create_dir_all(&to).unwrap();
        fs::write(from.join("a.ts"), "new").unwrap();
        fs::write(to.join("1.ts"), "old").unwrap();
        let (here, there) = (Folder::open(&from).unwrap(), Folder::open(&to).unwrap());
        assert_eq!(here.give("a.ts", &there, "1.ts", true).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(here.give("a.ts", &there, "2.ts", false).unwrap(), Moved::Whole);
        assert!(here.moves_whole_to(&there).unwrap());
        assert_eq!((names(&here), names(&there)), (vec![], vec!["1.ts".to_owned(), "2.ts".to_owned()]));
        assert_eq!(fs::read_to_string(to.join("1.ts")).unwrap(), "old");
    }

    #[test]
    fn a_file_is_moved_to_another_file_system_whole() {
        let home = tempfile::tempdir().unwrap();
        let memory = tempfile::tempdir_in("/dev/shm").unwrap();
        fs::write(memory.path().join("a.ts"), "video").unwrap();
        let (here, there) = (Folder::open(memory.path()).unwrap(), Folder::open(home.path()).unwrap());
        let modified = here.file("a.ts").unwrap().unwrap().modified;
        assert!(!here.moves_whole_to(&there).unwrap());
        assert_eq!(here.give("a.ts", &there, "1.ts", false).unwrap(), Moved::Growing);
        assert_eq!((names(&here), names(&there)), (vec!["a.ts".to_owned()], vec![]), "somebody may still write to it");
        assert_eq!(here.give("a.ts", &there, "1.ts", true).unwrap(), Moved::Whole);
        assert_eq!((names(&here), names(&there)), (vec![], vec!["1.ts".to_owned()]));
        assert_eq!(fs::read_to_string(home.path().join("1.ts")).unwrap(), "video");
        assert_eq!(there.file("1.ts").unwrap().unwrap().modified, modified);
    }
}
