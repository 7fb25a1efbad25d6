//! What an inspector process may not do, whatever it is made to do by what strangers send.

use std::io;

use rustix::process::{Resource, Rlimit, Signal, getrlimit, set_parent_process_death_signal, setrlimit};

use super::Setup;
use super::wire::Limits;

/// Address space that each stream's threads may reserve for their stacks: reserved, and hardly used.
const STACKS: u64 = 16 * 1024 * 1024;

/// Has the kernel end this process when the thread that started it ends.
pub(super) fn end_with_parent() -> io::Result<()> {
    Ok(set_parent_process_death_signal(Some(Signal::KILL))?)
}

/// What can be given up before anything starts. What this machine cannot enforce is said.
pub(super) fn before(setup: &Setup, limits: Limits) -> io::Result<Vec<String>> {
    let streams = setup.sample.max_streams.get() as u64;
    limit(Resource::Nofile, limits.open_files)?;
    limit(Resource::Data, limits.memory.saturating_add(STACKS.saturating_mul(streams)))?;
    limit(Resource::Core, 0)?;
    Ok(Vec::new())
}

/// What can be given up once everything has started.
pub(super) fn after() -> Vec<String> {
    Vec::new()
}

/// Never more than is allowed already.
fn limit(what: Resource, most: u64) -> io::Result<()> {
    let allowed = getrlimit(what).maximum;
    let most = Some(allowed.map_or(most, |allowed| allowed.min(most)));
    Ok(setrlimit(what, Rlimit { current: most, maximum: most })?)
}
