//! A real publisher: ffmpeg sending a clip in real time.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::ExitStatus;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use anyhow::Result;
use tempfile::TempDir;

use crate::process::{Output, Process};

/// ffmpeg, publishing. Ends when dropped.
#[derive(Debug)]
pub struct Publisher {
    process: Process,
    progress: Arc<Mutex<Vec<Progress>>>,
    _folder: TempDir,
}

/// How far the publisher was at a point in time.
#[derive(Debug, Clone, Copy)]
pub struct Progress {
    /// When it said so.
    pub at: SystemTime,
    /// Media time sent so far.
    pub sent: Duration,
}

/// How often a clip is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Times {
    /// Once.
    Once,
    /// Until ended.
    Forever,
}

impl Publisher {
    /// Publishes `clip` to `url` in real time, without encoding it again.
    ///
    /// # Errors
    /// When ffmpeg cannot be started.
    pub fn start(clip: &Path, url: &str, times: Times) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let mut args: Vec<String> = ["-hide_banner", "-loglevel", "warning", "-nostdin"].map(String::from).into();
        if times == Times::Forever {
            args.extend(["-stream_loop", "-1"].map(String::from));
        }
        args.extend(["-re", "-i"].map(String::from));
        args.push(clip.display().to_string());
        args.extend(["-c", "copy", "-progress", "pipe:1", "-stats_period", "0.05", "-f", "flv"].map(String::from));
        args.push(url.to_owned());
        let mut process = Process::start(Path::new("ffmpeg"), &args, &folder.path().join("ffmpeg.log"), Output::Piped)?;
        let progress = Arc::new(Mutex::new(Vec::new()));
        if let Some(stdout) = process.take_stdout() {
            let progress = Arc::clone(&progress);
            // Ends with ffmpeg, whose standard output it reads.
            std::thread::spawn(move || {
                for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                    let micros = line.strip_prefix("out_time_us=").and_then(|text| text.parse::<u64>().ok());
                    if let (Some(micros), Ok(mut progress)) = (micros, progress.lock()) {
                        progress.push(Progress { at: SystemTime::now(), sent: Duration::from_micros(micros) });
                    }
                }
            });
        }
        Ok(Self { process, progress, _folder: folder })
    }

    /// When the media time `at` had left the publisher, to the 50 ms at which ffmpeg reports.
    pub fn sent(&self, at: Duration) -> Option<SystemTime> {
        let progress = self.progress.lock().ok()?;
        progress.iter().find(|progress| progress.sent >= at).map(|progress| progress.at)
    }

    /// Whether it still runs.
    pub fn is_running(&mut self) -> bool {
        self.process.is_running()
    }

    /// The process, to be stopped and continued.
    pub fn process(&self) -> &Process {
        &self.process
    }

    /// Waits for it to end by itself, as it does when the server disconnects it.
    ///
    /// # Errors
    /// When it still runs after `limit`.
    pub fn wait(&mut self, limit: Duration) -> Result<ExitStatus> {
        self.process.wait(limit)
    }

    /// What ffmpeg complained of.
    pub fn log(&self) -> String {
        self.process.log()
    }
}
