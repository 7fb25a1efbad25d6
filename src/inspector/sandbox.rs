//! What an inspector process may not do, whatever it is made to do by what strangers send.
//!
//! - It ends with the core, and may take no more memory and no more files than it was given.
//! - Landlock: it may write no file and run none, open no port, signal nobody outside, and read only where libraries, plugins,
//!   banks and models lie; so neither the ledger nor a token nor a key on this machine. In force before anything is started.
//! - Seccomp: no new program or process, no look into other processes, no mount, no module, no key ring, no `io_uring`, no bpf.
//!   In force once everything has started, for then nothing of that is wanted any more.
//!
//! Where the kernel has one of the last two not, the inspector works without it and says so.

mod files;
mod syscalls;

use std::fs::{self, File};
use std::io;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::process::{
    Resource, Rlimit, Signal, getppid, getrlimit, set_parent_process_death_signal, setrlimit, test_kill_process,
};
use serde::Serialize;

pub use self::files::Reached;
use super::wire::Limits;
use super::{Config, Setup};

/// Address space that each stream's threads may reserve for their stacks: reserved, and hardly used.
const STACKS: u64 = 16 * 1024 * 1024;

/// Has the kernel end this process when the thread that started it ends.
pub fn end_with_parent() -> io::Result<()> {
    Ok(set_parent_process_death_signal(Some(Signal::KILL))?)
}

/// Gives up what can be given up before anything starts: to be called while there is one thread. What this machine cannot
/// enforce is said.
pub(super) fn before(setup: &Setup, limits: Limits) -> io::Result<Vec<String>> {
    let streams = setup.sample.max_streams.get() as u64;
    let data = limits.memory.saturating_add(STACKS.saturating_mul(streams));
    let limits = [
        limit("open files", Resource::Nofile, limits.open_files),
        limit("memory", Resource::Data, data),
        limit("core dumps", Resource::Core, 0),
    ];
    rustix::thread::set_no_new_privs(true)?;
    Ok(limits.into_iter().flatten().chain(files::restrict(setup)).collect())
}

/// Gives up what is not wanted any more once everything has started, in all threads.
pub(super) fn after() -> Vec<String> {
    syscalls::restrict().into_iter().collect()
}

/// Never more than is allowed already; what is lacking, where something is.
fn limit(what: &str, of: Resource, most: u64) -> Option<String> {
    let allowed = getrlimit(of).maximum;
    let most = Some(allowed.map_or(most, |allowed| allowed.min(most)));
    let set = setrlimit(of, Rlimit { current: most, maximum: most });
    set.err().map(|error| format!("no limit can be set on {what}: {error}"))
}

/// What a process in the sandbox found when it tried what it may not do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SelfCheck {
    /// What this machine cannot enforce.
    pub lacks: Vec<String>,
    /// What was tried, and whether it was refused.
    pub tried: Vec<(&'static str, bool)>,
    /// What the configuration needs and can be read outside, but not by it.
    pub unread: Vec<PathBuf>,
}

impl SelfCheck {
    /// Whether it is as it should be.
    pub fn is_well(&self) -> bool {
        self.lacks.is_empty() && self.unread.is_empty() && self.tried.iter().all(|(_, refused)| *refused)
    }
}

/// Folders within folders that are looked into, and files that are tried.
const DEEP: usize = 3;
const FILES: usize = 1000;

/// Files below `path` that can be read, or itself.
fn below(path: PathBuf, deep: usize, found: &mut Vec<PathBuf>) {
    if found.len() >= FILES {
        return;
    }
    if !path.is_dir() {
        return found.extend(is_read(&path).then_some(path));
    }
    let Ok(inside) = fs::read_dir(&path) else { return };
    found.push(path);
    if deep > 0 {
        inside.flatten().for_each(|entry| below(entry.path(), deep - 1, found));
    }
}

fn is_read(path: &Path) -> bool {
    if path.is_dir() { fs::read_dir(path).is_ok() } else { path.is_file() && File::open(path).is_ok() }
}

/// Puts this process into the sandbox, and tries to break out, and to read what inspecting takes.
///
/// # Errors
/// When the kernel does not even let it give up what it may become.
pub fn self_check(setup: &Setup) -> io::Result<SelfCheck> {
    let Config { memory, max_open_files, .. } = Config::default();
    let mut needed = Vec::new();
    for path in files::needed(setup) {
        below(path, DEEP, &mut needed);
    }
    let mut lacks = before(setup, Limits { open_files: max_open_files, memory })?;
    lacks.extend(after());
    let temporary = std::env::temp_dir().join(format!("sluicegate-self-check-{}", std::process::id()));
    let refused = |outcome: io::Result<()>| outcome.is_err();
    let written = fs::write(&temporary, "x");
    // Only where the sandbox let it be made.
    drop(fs::remove_file(&temporary));
    let tried = vec![
        ("write a file", refused(written)),
        ("make a folder", refused(fs::create_dir(&temporary).and_then(|()| fs::remove_dir(&temporary)))),
        ("list /etc", refused(fs::read_dir("/etc").map(drop))),
        ("list /var", refused(fs::read_dir("/var").map(drop))),
        ("run a program", refused(Command::new("/bin/true").status().map(drop))),
        ("open a port", refused(TcpListener::bind("127.0.0.1:0").map(drop))),
        (
            "signal another process",
            getppid().is_none_or(|parent| refused(test_kill_process(parent).map_err(io::Error::from))),
        ),
        ("leave a core dump", getrlimit(Resource::Core).maximum == Some(0)),
    ];
    let unread = needed.into_iter().filter(|path| !is_read(path)).collect();
    Ok(SelfCheck { lacks, tried, unread })
}
