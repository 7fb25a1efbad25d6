//! What is known of every recording so far, and what whoever waits sees of it.

use std::path::Path;

use indicatif::ProgressBar;

use super::input::Input;
use super::inspection::Inspection;
use super::reading::Told;
use crate::cli::bank::progress::{Progress, VideoProgress};

/// All recordings, each as far as it was heard of.
pub(super) struct Gathered<'a> {
    progress: &'a Progress,
    entries: Vec<Entry>,
}

struct Entry {
    inspection: Inspection,
    taken: bool,
    bar: Bar,
}

enum Bar {
    None,
    Download(ProgressBar),
    Video(VideoProgress),
}

impl<'a> Gathered<'a> {
    /// Of `inputs`, of which nothing is known yet.
    pub(super) fn new(inputs: &[Input], progress: &'a Progress) -> Self {
        Self { progress, entries: inputs.iter().map(|input| Entry::of(input.to_string())).collect() }
    }

    /// Hears what is said of one of them.
    pub(super) fn hear(&mut self, told: Told) {
        let Some(entry) = self.entries.get_mut(told.input()) else { return };
        match (&told, &mut entry.bar) {
            (Told::Taken { .. }, _) => entry.taken = true,
            (Told::Downloaded { bytes, of, .. }, Bar::Download(bar)) => show(bar, *bytes, *of),
            (Told::Downloaded { bytes, of, .. }, place) => {
                let bar = self.progress.download(&entry.inspection.shown);
                show(&bar, *bytes, *of);
                *place = Bar::Download(bar);
            }
            (Told::Begun { .. }, place) => {
                place.clear();
                *place = Bar::Video(self.progress.video(Path::new(&entry.inspection.shown)));
            }
            (Told::Glance { glance, .. }, Bar::Video(bar)) => bar.picture(Some(glance.at), entry.inspection.duration),
            (Told::Broken { .. } | Told::Read { .. }, place) => {
                place.clear();
                self.progress.file_done();
            }
            _ => {}
        }
        entry.inspection.hear(told);
    }

    /// Of those with these `numbers`, the ones that are not over: those that were begun with, and the others.
    pub(super) fn open(&self, numbers: &[usize]) -> (Vec<usize>, Vec<usize>) {
        let open = numbers.iter().filter(|number| {
            let entry = self.entries.get(**number);
            entry.is_some_and(|entry| !entry.inspection.is_over())
        });
        open.partition(|number| self.entries.get(**number).is_some_and(|entry| entry.taken))
    }

    /// Takes back all that was heard of this one: it will be read again from its beginning.
    pub(super) fn forget(&mut self, number: usize) {
        if let Some(entry) = self.entries.get_mut(number) {
            entry.bar.clear();
            *entry = Entry::of(std::mem::take(&mut entry.inspection.shown));
        }
    }

    /// What came of each, in their order.
    pub(super) fn done(self) -> Vec<Inspection> {
        self.entries.into_iter().map(|entry| entry.inspection).collect()
    }
}

impl Entry {
    fn of(shown: String) -> Self {
        Self { inspection: Inspection::of(shown), taken: false, bar: Bar::None }
    }
}

impl Bar {
    fn clear(&mut self) {
        if let Self::Download(bar) = std::mem::replace(self, Self::None) {
            bar.finish_and_clear();
        }
    }
}

fn show(bar: &ProgressBar, bytes: u64, of: Option<u64>) {
    if let Some(of) = of {
        bar.set_length(of);
    }
    bar.set_position(bytes);
}
