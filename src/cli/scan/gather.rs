//! All recordings at once on all cores: threads that read, threads that look, and one that gathers what they tell.

use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use anyhow::{Context, bail};
use crossbeam_channel::bounded;

use super::asked::Asked;
use super::input::Input;
use super::inspection::Inspection;
use super::line;
use super::reading::{Reader, Terms, Told};
use crate::cli::bank::progress::{Progress, VideoProgress};

/// So many things said may wait to be gathered.
const UNHEARD: usize = 256;

/// Inspects `inputs` and says of each, in their order, what came of it.
///
/// # Errors
/// When no thread can be started.
pub(super) fn all(
    inputs: &[Input],
    asked: &Asked,
    terms: &Terms,
    cores: NonZeroUsize,
) -> anyhow::Result<Vec<Inspection>> {
    let progress = Progress::of(inputs.len());
    let readers = cores.get().min(inputs.len());
    let threads = NonZeroUsize::new(cores.get() / readers.max(1)).unwrap_or(NonZeroUsize::MIN);
    let next = AtomicUsize::new(0);
    let inspections = thread::scope(|scope| {
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
            let (jobs, told, next, progress) = (jobs.clone(), told.clone(), &next, &progress);
            let reads = move || {
                let reader = Reader { terms, threads, progress, jobs: &jobs, told: &told };
                // Each takes the next one that nobody has taken.
                while let Some((number, input)) = taken(next, inputs) {
                    reader.read(number, input);
                }
            };
            thread::Builder::new().name("scan-reads".to_owned()).spawn_scoped(scope, reads).context(short)?;
        }
        drop((jobs, told));
        let mut gathered = Gathered::new(inputs, &progress);
        heard.iter().for_each(|told| gathered.hear(told));
        anyhow::Ok(gathered.inspections)
    })?;
    drop(progress);
    if inspections.iter().any(|inspection| !inspection.is_over()) {
        bail!("a recording was not read to its end, which is a bug: please report it with the recording's kind");
    }
    Ok(inspections.into_iter().map(|inspection| inspection.settled(asked, terms.every)).collect())
}

fn taken<'a>(next: &AtomicUsize, inputs: &'a [Input]) -> Option<(usize, &'a Input)> {
    let number = next.fetch_add(1, Ordering::Relaxed);
    Some((number, inputs.get(number)?))
}

/// What is known so far.
struct Gathered<'a> {
    progress: &'a Progress,
    inspections: Vec<Inspection>,
    bars: Vec<Option<VideoProgress>>,
}

impl<'a> Gathered<'a> {
    fn new(inputs: &[Input], progress: &'a Progress) -> Self {
        let inspections = inputs.iter().map(|input| Inspection::of(input.to_string())).collect();
        Self { progress, inspections, bars: inputs.iter().map(|_| None).collect() }
    }

    fn hear(&mut self, told: Told) {
        let number = told.input();
        let (Some(inspection), Some(bar)) = (self.inspections.get_mut(number), self.bars.get_mut(number)) else {
            return;
        };
        match &told {
            Told::Begun { .. } => *bar = Some(self.progress.video(Path::new(&inspection.shown))),
            Told::Glance { glance, .. } => {
                if let Some(bar) = bar {
                    bar.picture(Some(glance.at), inspection.duration);
                }
            }
            Told::Broken { .. } | Told::Read { .. } => {
                *bar = None;
                self.progress.file_done();
            }
            _ => {}
        }
        inspection.hear(told);
    }
}
