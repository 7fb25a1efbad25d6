//! The streams under inspection: attached and detached by session, each wired from its source to its mailbox.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use crossbeam_channel::Sender;
use serde::{Deserialize, Serialize};
use tracing::{info, warn};

use super::attached::Attached;
use super::deciding::Notice;
use super::telling::Telling;
use crate::act::ActError;
use crate::api::{Happening, StreamView};
use crate::clock::{Clock, Timestamp};
use crate::media_server::Pull;
use crate::metrics::{PictureOutcome, Stage};
use crate::sample::{self, Sampler, Work};
use crate::source::{SourceEvent, SourceHandle, Sources};
use crate::stream::{Session, StreamState, UninspectableReason};

/// The section `[streams]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// How long without an inspected picture until a stream counts as blind.
    #[serde(with = "crate::config::duration")]
    pub blind_after: Duration,
    /// How often each server's own list is compared with what is attached.
    #[serde(with = "crate::config::duration")]
    pub reconcile_every: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self { blind_after: Duration::from_secs(5), reconcile_every: Duration::from_secs(2) }
    }
}

/// The mailboxes of all streams.
pub(super) type Queue = sample::queue::Queue<Arc<Attached>, Work>;

/// See the module.
pub(super) struct Streams {
    pub(super) config: Config,
    pub(super) sampling: sample::Config,
    pub(super) sources: Sources,
    pub(super) queue: Arc<Queue>,
    pub(super) notices: Sender<Notice>,
    pub(super) telling: Telling,
    pub(super) clock: Clock,
    pub(super) entries: RwLock<HashMap<Session, Entry>>,
}

/// A stream, its state as last shown, and its source.
pub(super) struct Entry {
    stream: Arc<Attached>,
    shown: (StreamState, Timestamp),
    /// Dropping it stops the source.
    _source: SourceHandle,
}

impl Streams {
    /// Puts a session under inspection, unless it is already.
    pub(super) fn attach(&self, session: &Session, pull: Result<Pull, ActError>) {
        let now = self.clock.now();
        let mut entries = self.entries.write().unwrap_or_else(PoisonError::into_inner);
        if entries.contains_key(session) {
            return;
        }
        let pull = match pull {
            Ok(pull) => pull,
            Err(error) => return self.not_inspected(session, error.kind(), &error),
        };
        let stream = Arc::new(Attached::new(session.clone(), now));
        let mailbox = match self.queue.open(Arc::clone(&stream)) {
            Ok(mailbox) => mailbox,
            Err(error) => return self.not_inspected(session, error.kind(), &error),
        };
        let phase = self.sampling.min_interval.mul_f64(rand::random::<f64>());
        let mut sampler = Sampler::new(&self.sampling, phase);
        let (watched, metrics) = (Arc::clone(&stream), Arc::clone(&self.telling.metrics));
        let on_event = move |event: SourceEvent| match event {
            SourceEvent::Unit(unit) => {
                watched.receive();
                metrics.access_unit(unit.keyframe);
                let attention = watched.attention.level(unit.arrived);
                if let Some(work) = sampler.offer(unit, attention) {
                    metrics.pictures(PictureOutcome::Offered, work.inspect.len() as u64);
                    if let Some(older) = mailbox.offer(work) {
                        metrics.pictures(PictureOutcome::Superseded, older.inspect.len() as u64);
                    }
                }
            }
            SourceEvent::Attached => sampler.reset(),
            SourceEvent::Reconnecting { reason, error, after } => {
                metrics.reconnect(reason.word());
                if let Some(error) = error {
                    metrics.error(Stage::Source, error.kind());
                    info!(session = %watched.session, %error, ?after, "the source failed and is attached again");
                }
            }
            SourceEvent::NoVideo => watched.hinder(UninspectableReason::NoVideo),
            SourceEvent::UnsupportedCodec(codec) => {
                warn!(session = %watched.session, codec, "the codec cannot be inspected");
                watched.hinder(UninspectableReason::UnsupportedCodec);
            }
        };
        let source = match self.sources.add(pull, Box::new(on_event)) {
            Ok(source) => source,
            Err(error) => return self.not_inspected(session, error.kind(), &error),
        };
        info!(%session, "attached");
        let shown = (StreamState::Connecting, now);
        entries.insert(session.clone(), Entry { stream, shown, _source: source });
        drop(entries);
        let happening = Happening::StreamAttached { session: session.id.clone() };
        self.telling.tell(now, &session.stream, happening);
    }

    fn not_inspected(&self, session: &Session, kind: &str, error: &dyn std::error::Error) {
        self.telling.metrics.error(Stage::Source, kind);
        warn!(%session, %error, "a stream is not inspected; it is tried again as long as its server lists it");
    }

    /// Ends the inspection of a session.
    pub(super) fn detach(&self, session: &Session) {
        let Some(entry) = self.entries.write().unwrap_or_else(PoisonError::into_inner).remove(session) else {
            return;
        };
        entry.stream.end();
        drop(entry);
        let now = self.clock.now();
        info!(%session, "ended");
        // Fails only when the judge has ended, at shutdown: there is no evidence left to forget.
        drop(self.notices.send(Notice::Ended(session.clone(), now)));
        let happening = Happening::StreamEnded { session: session.id.clone() };
        self.telling.tell(now, &session.stream, happening);
    }

    /// Ends the inspection of everything.
    pub(super) fn detach_all(&self) {
        for session in self.sessions() {
            self.detach(&session);
        }
    }

    /// One session, if it is under inspection.
    pub(super) fn get(&self, session: &Session) -> Option<Arc<Attached>> {
        let entries = self.entries.read().unwrap_or_else(PoisonError::into_inner);
        entries.get(session).map(|entry| Arc::clone(&entry.stream))
    }

    /// Every session under inspection.
    pub(super) fn sessions(&self) -> Vec<Session> {
        self.entries.read().unwrap_or_else(PoisonError::into_inner).keys().cloned().collect()
    }

    /// Brings each stream's shown state up to date: metrics are set, changes are told.
    pub(super) fn show(&self, servers: &[Arc<str>]) {
        let now = self.clock.now();
        let mut changes = Vec::new();
        let mut states: Vec<(Arc<str>, StreamState)> = Vec::new();
        {
            let mut entries = self.entries.write().unwrap_or_else(PoisonError::into_inner);
            for (session, entry) in entries.iter_mut() {
                let state = entry.stream.state(now, self.config.blind_after);
                if state != entry.shown.0 {
                    entry.shown = (state, now);
                    changes.push((session.clone(), state));
                }
                states.push((Arc::clone(&session.stream.server), state));
            }
        }
        for (session, state) in changes {
            match state {
                StreamState::Blind => warn!(%session, "blind: no inspectable picture arrives"),
                StreamState::Uninspectable(reason) => warn!(%session, reason = reason.word(), "uninspectable"),
                StreamState::Connecting | StreamState::Inspected => info!(%session, state = state.word(), "state"),
            }
            self.telling.tell(now, &session.stream, Happening::StreamState { state });
        }
        let metrics = &self.telling.metrics;
        for server in servers {
            for word in StreamState::WORDS {
                let count = states.iter().filter(|(of, state)| of == server && state.word() == word).count();
                metrics.set_streams(server, word, count);
            }
        }
        for reason in UninspectableReason::ALL {
            let count = states.iter().filter(|(_, state)| *state == StreamState::Uninspectable(reason)).count();
            metrics.set_uninspectable(reason.word(), count);
        }
        metrics.set_queue_ready(self.queue.ready());
    }

    /// Every stream, as the API shows it.
    pub(super) fn views(&self) -> Vec<StreamView> {
        let now = self.clock.now();
        let entries = self.entries.read().unwrap_or_else(PoisonError::into_inner);
        let mut views: Vec<StreamView> = entries.values().map(|entry| view(entry, now)).collect();
        views.sort_by(|a, b| a.stream.cmp(&b.stream));
        views
    }
}

fn view(entry: &Entry, now: Timestamp) -> StreamView {
    let (state, since) = entry.shown;
    StreamView {
        stream: entry.stream.session.stream.full(),
        session: entry.stream.session.id.clone(),
        state,
        since,
        attention: entry.stream.attention.level(now),
        pictures_inspected: entry.stream.pictures_inspected(),
        last_inspected: entry.stream.last_inspected(),
    }
}
