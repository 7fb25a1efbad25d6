//! All recordings at once on all cores: threads that read, threads that look, and one that passes on what they tell.

use std::io;
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use anyhow::Context;
use crossbeam_channel::bounded;

use super::asked::Asked;
use super::input::Input;
use super::line;
use super::reading::{Reader, Terms, Told};
use crate::clock::Timestamp;

/// So many things said may wait to be passed on.
const UNHEARD: usize = 256;

/// How many threads look at pictures.
pub(super) fn cores() -> NonZeroUsize {
    thread::available_parallelism().unwrap_or(NonZeroUsize::MIN)
}

/// Inspects `inputs`, each of which has its number, as of now, and passes on all that there is to tell.
///
/// # Errors
/// When no thread can be started, or nobody hears what is told.
pub(super) fn inspect(
    inputs: &[(usize, &Input)],
    asked: &Asked,
    (terms, now): (&Terms, Timestamp),
    cores: NonZeroUsize,
    mut tell: impl FnMut(Told) -> io::Result<()>,
) -> anyhow::Result<()> {
    let readers = cores.get().min(inputs.len());
    let threads = NonZeroUsize::new(cores.get() / readers.max(1)).unwrap_or(NonZeroUsize::MIN);
    let next = AtomicUsize::new(0);
    thread::scope(|scope| {
        let (jobs, work) = bounded(cores.get());
        let (told, heard) = bounded(UNHEARD);
        let short = "no thread could be started: free some memory";
        for worker in 0..cores.get() {
            let (work, told) = (work.clone(), told.clone());
            let name = format!("scan-{worker}");
            let looks = move || line::work(worker, asked, &work, &told);
            thread::Builder::new().name(name).spawn_scoped(scope, looks).context(short)?;
        }
        drop(work);
        for _ in 0..readers {
            let (jobs, told, next) = (jobs.clone(), told.clone(), &next);
            let reads = move || {
                let reader = Reader { terms, arrived: now, threads, jobs: &jobs, told: &told };
                // Each takes the next one that nobody has taken.
                while let Some((number, input)) = inputs.get(next.fetch_add(1, Ordering::Relaxed)) {
                    reader.read(*number, input);
                }
            };
            thread::Builder::new().name("scan-reads".to_owned()).spawn_scoped(scope, reads).context(short)?;
        }
        drop((jobs, told));
        // Those who tell end when nobody listens.
        heard.into_iter().try_for_each(&mut tell)?;
        Ok(())
    })
}
