//! What whoever waits sees: bars on standard error, if that is a terminal, and nothing anywhere else.

use std::path::Path;
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

/// A bar of files read, and below it, while a video is read, one of its pictures.
pub(in crate::cli) struct Progress {
    bars: MultiProgress,
    files: ProgressBar,
}

impl Progress {
    /// Of `files` files, none of which is read yet.
    pub(in crate::cli) fn of(files: usize) -> Self {
        let bars = MultiProgress::new();
        // One file needs no count.
        let files = if files > 1 { ProgressBar::new(files as u64) } else { ProgressBar::hidden() };
        let files = bars.add(files.with_style(style("{bar:30} {pos}/{len} files, {elapsed}")));
        files.tick();
        Self { bars, files }
    }

    /// A video of which nothing is read yet.
    pub(in crate::cli) fn video(&self, path: &Path) -> VideoProgress {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let bar = ProgressBar::no_length().with_style(style("{spinner} {elapsed}, {msg}"));
        VideoProgress { bar: self.bars.add(bar), name, pictures: 0 }
    }

    /// A download of which nothing is there yet, to be told its length and position.
    pub(in crate::cli) fn download(&self, shown: &str) -> ProgressBar {
        let bar = ProgressBar::no_length().with_style(style("{bar:30} {bytes} of {total_bytes}, {eta} left, {msg}"));
        self.bars.add(bar.with_message(shown.to_owned()))
    }

    /// One more file is done.
    pub(in crate::cli) fn file_done(&self) {
        self.files.inc(1);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.files.finish_and_clear();
    }
}

/// The bar of one video.
pub(in crate::cli) struct VideoProgress {
    bar: ProgressBar,
    name: String,
    pictures: u64,
}

impl VideoProgress {
    /// One more picture was decoded; it lies at `at` in a video of length `duration`, where that is known.
    pub(in crate::cli) fn picture(&mut self, at: Option<Duration>, duration: Option<Duration>) {
        self.pictures += 1;
        if let (Some(at), Some(duration)) = (at, duration) {
            if self.bar.length().is_none() {
                self.bar.set_length(duration.as_millis() as u64);
                self.bar.set_style(style("{bar:30} {percent}%, {elapsed}, {eta} left, {msg}"));
            }
            self.bar.set_position(at.as_millis() as u64);
        }
        self.bar.set_message(format!("{}: {} pictures", self.name, self.pictures));
    }
}

impl Drop for VideoProgress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_error| ProgressStyle::default_bar())
}
