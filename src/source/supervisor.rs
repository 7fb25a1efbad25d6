//! Keeps sources attached: one thread that watches over all of them, detaches what gives no video, and attaches again.
//!
//! The thread itself never waits for a stream. Pipelines are stopped on threads of their own, because stopping one joins
//! its streaming thread, and a network element that hangs would take all other sources with it.

use std::collections::HashMap;
use std::sync::Arc;
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
use gst::prelude::*;
use gstreamer as gst;

use super::attachment::{Attachment, attach, follow};
use super::hls;
use super::launch::{Launch, load};
use super::outlet::Outlet;
use super::pace::Pace;
use super::progress::Ending;
use super::watch::{Call, judge, was_healthy};
use super::workshop::Workshop;
use super::{Config, Reason, SourceError, SourceEvent, backoff};
use crate::clock::{Clock, Timestamp};
use crate::media_server::{Protocol, Pull};

/// How often all sources are looked at when none asks for it.
const TICK: Duration = Duration::from_millis(50);

/// Commands in flight to the supervisor, which takes them at once.
const COMMANDS: usize = 64;

/// How long a shutdown waits for pipelines to stop. What hangs longer is left behind.
const FAREWELL: Duration = Duration::from_secs(2);

/// All sources of a process. Dropping it detaches them all, within about two seconds at most.
#[derive(Debug)]
pub struct Sources {
    commands: Sender<Command>,
    protocols: Vec<Protocol>,
    thread: Option<JoinHandle<()>>,
}

/// Keeps one source attached; dropping it detaches the source, without waiting for that.
#[derive(Debug)]
#[must_use = "dropping the handle detaches the source"]
pub struct SourceHandle {
    outlet: Arc<Outlet>,
    commands: Sender<Command>,
}

#[derive(Debug)]
enum Command {
    Add(Source),
    Look,
    Stop,
}

impl Sources {
    /// Starts the supervisor.
    ///
    /// # Errors
    /// When GStreamer cannot start, a launch description is wrong, or an element that one names is missing.
    pub fn new(config: Config, clock: Clock) -> Result<Self, SourceError> {
        let launches: Arc<[Launch]> = load(config.pipelines.as_deref())?.into();
        let protocols = launches.iter().map(Launch::protocol).collect();
        let (commands, inbox) = bounded(COMMANDS);
        let workshop = Arc::new(Workshop::default());
        let hls = hls::Engine::new(Arc::clone(&launches), config.min_height, clock, Arc::clone(&workshop));
        let supervisor = Supervisor {
            config,
            launches,
            hls,
            workshop,
            clock,
            sources: Vec::new(),
            paces: HashMap::new(),
            commands: commands.clone(),
        };
        let thread = Builder::new().name("sources".to_owned()).spawn(move || supervisor.run(&inbox));
        let thread = thread.map_err(|_error| SourceError::Stopped)?;
        Ok(Self { commands, protocols, thread: Some(thread) })
    }

    /// Attaches to a stream, and keeps attached until the handle is dropped.
    ///
    /// `on_event` is called from the streaming thread and from the supervisor's, never at the same time, and must not
    /// wait for anything. After the handle is dropped, at most the call under way is finished.
    ///
    /// # Errors
    /// When there is no launch description for the protocol.
    pub fn add(&self, pull: Pull, on_event: Box<dyn FnMut(SourceEvent) + Send>) -> Result<SourceHandle, SourceError> {
        if !self.protocols.contains(&pull.protocol) {
            let known: Vec<&str> = self.protocols.iter().map(|protocol| protocol.word()).collect();
            let reason = format!("there is none; there are: {}", known.join(", "));
            return Err(SourceError::Description { origin: format!("`{}`", pull.protocol.word()), reason });
        }
        let outlet = Arc::new(Outlet::new(on_event));
        let source = Source {
            pull,
            outlet: Arc::clone(&outlet),
            phase: Phase::Due(Timestamp::ZERO),
            failures: 0,
            memory: hls::Memory::default(),
        };
        self.commands.send(Command::Add(source)).map_err(|_error| SourceError::Stopped)?;
        Ok(SourceHandle { outlet, commands: self.commands.clone() })
    }
}

impl Drop for Sources {
    fn drop(&mut self) {
        let told = self.commands.send(Command::Stop).is_ok();
        let ended = self.thread.take().is_none_or(|thread| thread.join().is_ok());
        if !told || !ended {
            tracing::error!("the supervisor of the sources ended before its time");
        }
    }
}

impl Drop for SourceHandle {
    fn drop(&mut self) {
        self.outlet.close();
        nudge(&self.commands);
    }
}

/// Makes the supervisor look. A full inbox means that it is about to anyway.
fn nudge(commands: &Sender<Command>) {
    if commands.try_send(Command::Look).is_err() {
        tracing::trace!("the supervisor is awake, or gone");
    }
}

#[derive(Debug)]
struct Source {
    pull: Pull,
    outlet: Arc<Outlet>,
    phase: Phase,
    /// Failures since video last flowed for a while.
    failures: u32,
    memory: hls::Memory,
}

impl Source {
    /// From when on it is to be attached, if it is not.
    fn due(&self) -> Option<Timestamp> {
        if let Phase::Due(at) = self.phase { Some(at) } else { None }
    }
}

#[derive(Debug)]
enum Phase {
    /// To be attached at this time.
    Due(Timestamp),
    Attached(Attachment, Video),
    /// A file that was read to its end.
    Finished,
}

/// Whether the lack of video was mentioned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Video {
    Awaited,
    Missed,
}

struct Supervisor {
    config: Config,
    launches: Arc<[Launch]>,
    hls: hls::Engine,
    workshop: Arc<Workshop>,
    clock: Clock,
    sources: Vec<Source>,
    /// How fast each media server is attached to.
    paces: HashMap<Arc<str>, Pace>,
    commands: Sender<Command>,
}

impl Supervisor {
    fn run(mut self, inbox: &Receiver<Command>) {
        let mut reaper = Reaper::new();
        loop {
            let command = match inbox.recv_timeout(TICK) {
                Ok(command) => Some(command),
                Err(RecvTimeoutError::Timeout) => None,
                Err(RecvTimeoutError::Disconnected) => break,
            };
            let mut stop = false;
            for command in command.into_iter().chain(inbox.try_iter()) {
                match command {
                    Command::Add(mut source) => {
                        source.phase = Phase::Due(self.clock.now());
                        self.sources.push(source);
                    }
                    Command::Look => {}
                    Command::Stop => stop = true,
                }
            }
            if stop {
                break;
            }
            let mut sources = std::mem::take(&mut self.sources);
            // Whoever has been due for longest comes first: one that fails again and again keeps nobody from a first try.
            sources.sort_by_key(Source::due);
            self.sources = sources.into_iter().filter_map(|source| self.look(source, &mut reaper)).collect();
        }
        for source in self.sources {
            source.outlet.close();
            if let Phase::Attached(attachment, _) = source.phase {
                reaper.stop(attachment);
            }
        }
        reaper.wait(FAREWELL);
    }

    /// Does what is to be done about `source`; nothing is left of one that nobody wants any more.
    fn look(&mut self, mut source: Source, reaper: &mut Reaper) -> Option<Source> {
        if source.outlet.is_closed() {
            if let Phase::Attached(attachment, _) = source.phase {
                reaper.stop(attachment);
            }
            return None;
        }
        let now = self.clock.now();
        source.phase = match source.phase {
            Phase::Finished => Phase::Finished,
            Phase::Due(at) if at > now || !self.may_attach(&source.pull, now) => Phase::Due(at),
            Phase::Due(_) => match self.attach(&source) {
                Ok(attachment) => Phase::Attached(attachment, Video::Awaited),
                Err(error) => {
                    let ending = Ending { reason: Reason::Error, error: Some(error) };
                    self.retry(&source.outlet, &mut source.failures, ending, now)
                }
            },
            Phase::Attached(attachment, video) => match self.verdict(&attachment, now) {
                Ok(Call::SayNoVideo) if video == Video::Awaited => {
                    source.outlet.say(SourceEvent::NoVideo);
                    Phase::Attached(attachment, Video::Missed)
                }
                Ok(_) => Phase::Attached(attachment, video),
                Err(ending) => {
                    if was_healthy(&attachment.observed(), &self.config) {
                        source.failures = 0;
                    }
                    // First of all, nothing more may come of this attachment.
                    source.outlet.supersede();
                    reaper.stop(attachment);
                    if source.pull.protocol == Protocol::File
                        && !source.pull.repeats()
                        && ending.reason == Reason::Ended
                    {
                        source.outlet.say(SourceEvent::Finished);
                        Phase::Finished
                    } else {
                        self.retry(&source.outlet, &mut source.failures, ending, now)
                    }
                }
            },
        };
        Some(source)
    }

    /// Whether the server of `pull` may be attached to once more now; it is counted then.
    fn may_attach(&mut self, pull: &Pull, now: Timestamp) -> bool {
        let rate = self.config.attach_per_second;
        self.paces.entry(Arc::clone(&pull.stream.server)).or_insert_with(|| Pace::new(rate, now)).allows(now)
    }

    fn attach(&self, source: &Source) -> Result<Attachment, SourceError> {
        let pull = &source.pull;
        let launch = self.launches.iter().find(|launch| launch.protocol() == pull.protocol);
        let launch = launch.ok_or(SourceError::Stopped)?;
        let commands = self.commands.clone();
        let outlet = (Arc::clone(&source.outlet), source.outlet.supersede());
        let wake = move || nudge(&commands);
        match pull.protocol {
            Protocol::Hls => follow(pull, (&self.hls, &source.memory), self.clock, outlet, wake),
            _ => attach(pull, (launch, &self.workshop), self.clock, outlet, wake),
        }
    }

    /// What the watchdog says, or how the attachment ended.
    fn verdict(&self, attachment: &Attachment, now: Timestamp) -> Result<Call, Ending> {
        if let Some(ending) = attachment.ending() {
            return Err(ending.clone());
        }
        match judge(&attachment.observed(), &self.config, now) {
            Call::Reattach(reason) => Err(Ending { reason, error: None }),
            call => Ok(call),
        }
    }

    /// Says why, and when the source is to be attached again.
    fn retry(&self, outlet: &Outlet, failures: &mut u32, Ending { reason, error }: Ending, now: Timestamp) -> Phase {
        match &error {
            Some(SourceError::UnsupportedCodec { codec, .. }) => {
                outlet.say(SourceEvent::UnsupportedCodec(codec.clone()));
            }
            _ if reason == Reason::NoVideo => outlet.say(SourceEvent::NoVideo),
            _ => {}
        }
        if reason == Reason::NoVideo {
            // The server does well. A longer wait would only make it likelier to miss the keyframe that starts the
            // video, where keyframes are rare.
            *failures = 0;
        }
        let (min, max) = (self.config.reconnect_min, self.config.reconnect_max);
        let after = backoff::delay(*failures, min, max, rand::random());
        *failures = failures.saturating_add(1);
        outlet.say(SourceEvent::Reconnecting { reason, error, after });
        Phase::Due(now + after)
    }
}

/// Stops pipelines on threads of their own, and knows when all are stopped.
struct Reaper {
    token: Sender<()>,
    all_done: Receiver<()>,
}

impl Reaper {
    fn new() -> Self {
        let (token, all_done) = bounded(0);
        Self { token, all_done }
    }

    fn stop(&mut self, attachment: Attachment) {
        let Some(pipeline) = attachment.into_pipeline() else { return };
        let token = self.token.clone();
        let stop = move || {
            if let Err(error) = pipeline.set_state(gst::State::Null) {
                tracing::warn!(%error, "a source did not stop cleanly");
            }
            drop(pipeline);
            drop(token);
        };
        if let Err(error) = Builder::new().name("source-reaper".to_owned()).spawn(stop) {
            tracing::error!(%error, "no thread to stop a source with: it stays");
        }
    }

    /// Waits until all pipelines are stopped, and no longer than `patience`.
    fn wait(self, patience: Duration) {
        drop(self.token);
        if self.all_done.recv_timeout(patience) == Err(RecvTimeoutError::Timeout) {
            tracing::warn!("a source does not stop: it is left behind");
        }
    }
}
