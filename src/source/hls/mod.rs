//! HTTP Live Streaming: a small loop of our own that follows a stream's playlist and feeds its segments to a demuxer.
//!
//! GStreamer's demuxers of playlists join three segments late and notice an end half a minute late, and one of them
//! aborts the process; so nothing of them is used. Each stream is a task on the one thread that fetches for all streams, beside
//! the streaming thread of its pipeline. It promises that
//!
//! - a live stream is joined at its newest segment and looked at one segment late: a segment's bytes are handed on over
//!   about as long as it lasts, so that pictures arrive at the pace at which they were taken, and a segment that came
//!   at once does not count as one moment;
//! - no segment is looked at twice, and where some are missed or a discontinuity is announced, the last pictures before
//!   it still come out, and what follows gets a demuxer of its own;
//! - a playlist that ends, stands still, vanishes or cannot be reached ends the attachment within three target durations;
//! - no more than one segment is held in memory.
//!
//! A playlist is a stranger's text: it may name any host over http and https but for those in `guard`, and nothing of
//! what is configured goes along to them.

mod boxes;
mod feed;
mod follow;
mod pace;
mod playlist;
mod rendition;
mod window;

use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use gst::prelude::*;
use gstreamer as gst;
use tokio::task::{AbortHandle, JoinHandle};
use url::Url;

use self::follow::Session;
use self::window::Window;
use super::SourceError;
use super::attachment::Wiring;
use super::launch::Launch;
use super::outlet::Attempt;
use super::workshop::Workshop;
use crate::clock::{Clock, Timestamp};

/// How long a rendition that failed is the last choice.
const DISTRUST: Duration = Duration::from_mins(1);

/// What all streams share.
#[derive(Debug)]
pub(super) struct Engine {
    launches: Arc<[Launch]>,
    min_height: u32,
    clock: Clock,
    workshop: Arc<Workshop>,
}

impl Engine {
    /// An engine that builds its pipelines from `launches`, and looks at renditions of `min_height` lines where it can.
    pub(super) fn new(launches: Arc<[Launch]>, min_height: u32, clock: Clock, workshop: Arc<Workshop>) -> Self {
        Self { launches, min_height, clock, workshop }
    }

    /// Starts to play a stream. `memory` is what former attachments of the same source left.
    pub(super) fn play(&self, wiring: Wiring, attempt: Attempt, memory: &Memory) -> Result<Player, SourceError> {
        let failed =
            |reason: &str| SourceError::Failed { stream: wiring.pull().stream.to_string(), reason: reason.to_owned() };
        let tools = self.workshop.tools().map_err(|reason| failed(&reason))?;
        let Some(runtime) = tools.runtime() else { return Err(SourceError::Stopped) };
        let url = Url::parse(&wiring.pull().url).map_err(|_error| failed("its address cannot be read"))?;
        let http = tools.following(&url).clone();
        if !http.allows(&url) {
            return Err(failed("its address is not one of http or https"));
        }
        memory.lock().rejoin(self.clock.now());
        let pipe = Arc::new(Pipe::default());
        let session = Session {
            url,
            http,
            min_height: self.min_height,
            launches: Arc::clone(&self.launches),
            memory: memory.clone(),
            clock: self.clock,
            wiring: wiring.clone(),
            pipe: Arc::clone(&pipe),
            attempt,
        };
        let task = runtime.spawn(async move {
            let ending = session.run().await;
            wiring.progress().end(ending.reason, ending.error);
        });
        Ok(Player { pipe, task: task.abort_handle() })
    }
}

/// A stream that is being played.
#[derive(Debug)]
pub(super) struct Player {
    pipe: Arc<Pipe>,
    task: AbortHandle,
}

impl Player {
    /// Ends the loop, and gives the pipeline that ran last, to be stopped by somebody who can wait.
    pub(super) fn into_pipeline(self) -> Option<gst::Pipeline> {
        self.task.abort();
        match std::mem::replace(&mut *self.pipe.held(), Held::Closed) {
            Held::Open(pipeline) => pipeline,
            Held::Closed => None,
        }
    }
}

/// The one pipeline of a player, which the loop exchanges and whoever ends the player takes away.
#[derive(Debug, Default)]
struct Pipe(Mutex<Held>);

#[derive(Debug)]
enum Held {
    Open(Option<gst::Pipeline>),
    Closed,
}

impl Default for Held {
    fn default() -> Self {
        Self::Open(None)
    }
}

impl Pipe {
    fn held(&self) -> MutexGuard<'_, Held> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Exchanges the pipeline, and gives the one that is to be stopped: the old one, or the new one where nobody wants
    /// it any more.
    fn exchange(&self, new: Option<gst::Pipeline>) -> Option<gst::Pipeline> {
        match &mut *self.held() {
            Held::Open(pipeline) => std::mem::replace(pipeline, new),
            Held::Closed => new,
        }
    }
}

/// Stops a pipeline where waiting for it hurts nobody, whether or not the end of that is awaited.
fn retire(pipeline: gst::Pipeline) -> JoinHandle<()> {
    tokio::task::spawn_blocking(move || {
        if let Err(error) = pipeline.set_state(gst::State::Null) {
            tracing::warn!(%error, "a pipeline of segments did not stop cleanly");
        }
    })
}

/// What a source remembers of its stream from one attachment to the next.
#[derive(Debug, Clone, Default)]
pub(super) struct Memory(Arc<Mutex<Remembered>>);

#[derive(Debug, Default)]
struct Remembered {
    /// The rendition that was followed last, and how far.
    place: Option<(u64, Window)>,
    /// Renditions that failed, and when.
    failed: Vec<(u64, Timestamp)>,
}

impl Memory {
    fn lock(&self) -> MutexGuard<'_, Remembered> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Remembered {
    fn rejoin(&mut self, now: Timestamp) {
        self.failed.retain(|(_, at)| now.since(*at) < DISTRUST);
        if let Some((_, window)) = &mut self.place {
            window.rejoin();
        }
    }

    /// Where the playlist at `url` had got to, where it was the last that was followed.
    fn window(&self, url: &Url) -> Window {
        self.place.as_ref().filter(|(of, _)| *of == name(url)).map(|(_, window)| window.clone()).unwrap_or_default()
    }

    fn note(&mut self, url: &Url, window: &Window) {
        self.place = Some((name(url), window.clone()));
    }

    fn distrust(&mut self, url: &Url, now: Timestamp) {
        self.failed.push((name(url), now));
    }

    fn is_distrusted(&self, url: &Url) -> bool {
        self.failed.iter().any(|(failed, _)| *failed == name(url))
    }
}

/// A short name for an address, which itself need not be kept.
fn name(url: &Url) -> u64 {
    BuildHasherDefault::<DefaultHasher>::default().hash_one(url.as_str())
}
