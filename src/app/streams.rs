//! The streams under inspection: attached and detached by session, each handed to whoever inspects.
//!
//! Beside findings the judge weighs what is known here: the class of a stream, and that it cannot be inspected, which is
//! told when it changes and every [`AGAIN`] while it lasts.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock, PoisonError, RwLock};
use std::time::Duration;

use crossbeam_channel::Sender;
use serde::{Deserialize, Serialize};
use tracing::{info, warn};

use super::attached::Attached;
use super::classes::Classes;
use super::deciding::Notice;
use super::publishers::Publishers;
use super::reporting::{Bucket, TOLD};
use super::suspicions::Suspicions;
use super::telling::Telling;
use crate::act::ActError;
use crate::api::{Happening, StreamView};
use crate::clock::{Clock, Timestamp};
use crate::decision::Context;
use crate::finding::{Finding, Observation};
use crate::inspector::{Event, Inspection, Refusal};
use crate::media_server::Pull;
use crate::metrics::Stage;
use crate::stream::{Attention, Publisher, Session, StreamId, StreamState, UninspectableReason};

/// How often the judge is told that a stream still cannot be inspected.
const AGAIN: Duration = Duration::from_secs(5);

/// How long the judge's hearing of one session's reports takes to be as good as new.
const HEARING: Duration = Duration::from_mins(10);

/// A stream's state is looked at twice a second: so much later than the gap a picture may still be counted as in time.
const SLACK: Duration = Duration::from_millis(500);

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

/// See the module.
pub(super) struct Streams {
    pub(super) config: Config,
    /// The longest time between two pictures of a stream that is inspected as it should be.
    pub(super) max_gap: Duration,
    /// How many streams may be inspected at once.
    pub(super) places: usize,
    /// Who inspects; set once, when that has started.
    pub(super) inspection: OnceLock<Arc<dyn Inspection>>,
    pub(super) notices: Sender<Notice>,
    pub(super) telling: Telling,
    pub(super) clock: Clock,
    pub(super) classes: Classes,
    pub(super) publishers: Publishers,
    pub(super) suspicions: Suspicions,
    pub(super) entries: RwLock<HashMap<Session, Entry>>,
}

/// A stream, and its state as last shown.
pub(super) struct Entry {
    stream: Arc<Attached>,
    publisher: Publisher,
    class: Option<Arc<str>>,
    shown: (StreamState, Timestamp),
    /// What the judge was told last of its state.
    told: Option<(StreamState, Timestamp)>,
    /// How many of its reports the judge still hears.
    hearing: Bucket,
    reports: u64,
    /// Up to when its time is counted as inspected or missed.
    counted: Timestamp,
}

impl Streams {
    /// Notes who was let publish to `stream` before there was a session.
    pub(super) fn asked(&self, stream: &StreamId, publisher: &Publisher) {
        self.publishers.asked(stream, publisher, self.clock.now());
    }

    /// Puts a session under inspection, unless it is already; then only what is new of its publisher is noted.
    pub(super) fn attach(&self, session: &Session, publisher: &Publisher, pull: Result<Pull, ActError>) {
        let now = self.clock.now();
        let mut entries = self.entries.write().unwrap_or_else(PoisonError::into_inner);
        let room = |entries: &HashMap<Session, Entry>| {
            entries.values().filter(|entry| entry.stream.barred().is_none()).count() < self.places
        };
        if let Some(entry) = entries.get_mut(session) {
            let known = std::mem::take(&mut entry.publisher);
            entry.publisher = if known.may_be(publisher) { known.or(publisher) } else { known };
            let stream = Arc::clone(&entry.stream);
            if stream.barred() == Some(UninspectableReason::NoPlace)
                && room(&entries)
                && let Ok(pull) = pull
            {
                stream.bar(None);
                drop(entries);
                self.inspect(session, pull);
            }
            return;
        }
        let room = room(&entries);
        let pull = match pull {
            Ok(pull) => pull,
            Err(error) => {
                self.telling.metrics.error(Stage::Source, error.kind());
                return warn!(%session, %error, "a stream is not inspected; it is tried again as long as its server lists it");
            }
        };
        let stream = Arc::new(Attached::new(session.clone(), now));
        if room {
            info!(%session, "attached");
        } else {
            stream.bar(Some(UninspectableReason::NoPlace));
            let max_streams = self.places;
            warn!(%session, max_streams, "all places for streams are taken: it is not inspected until one is free");
        }
        let entry = Entry {
            stream,
            publisher: self.publishers.complete(&session.stream, publisher, now),
            class: self.classes.of(&session.stream),
            shown: (StreamState::Connecting, now),
            told: None,
            hearing: Bucket::new(TOLD, f64::from(TOLD) / HEARING.as_secs_f64(), now),
            reports: 0,
            counted: now,
        };
        entries.insert(session.clone(), entry);
        drop(entries);
        if room {
            self.inspect(session, pull);
        }
        if let Some((level, until)) = self.suspicions.of(&session.stream, now) {
            self.raise(session, level, now, until.since(now));
        }
        let happening = Happening::StreamAttached { session: session.id.clone() };
        self.telling.tell(now, &session.stream, happening);
    }

    fn inspect(&self, session: &Session, pull: Pull) {
        let Some(inspection) = self.inspection.get() else { return };
        inspection.attach(session, pull);
        // Who detached it in the meantime did so before there was anything to detach. Nobody attaches it again while it is looked at.
        let entries = self.entries.read().unwrap_or_else(PoisonError::into_inner);
        if !entries.contains_key(session) {
            inspection.detach(session);
        }
    }

    /// Takes in what is said of the inspection. Waits when the judge is behind: evidence is never dropped.
    pub(super) fn hear(&self, event: Event) {
        match event {
            // Fails only when the judge has ended.
            Event::Found(finding) => drop(self.notices.send(Notice::Found(finding))),
            Event::Progress(news) => {
                let entries = self.entries.read().unwrap_or_else(PoisonError::into_inner);
                for progress in &news {
                    if let Some(entry) = entries.get(&progress.session) {
                        entry.stream.got_on(progress);
                    }
                }
            }
            Event::Refused { session, why } => {
                let reason = match why {
                    Refusal::Full => UninspectableReason::NoPlace,
                    Refusal::Crashed => UninspectableReason::Crashed,
                    // Told by whoever could not; as nothing comes, it is blind.
                    Refusal::Unpullable => return,
                };
                if let Some(stream) = self.get(&session) {
                    stream.bar(Some(reason));
                }
            }
            Event::InHand { .. } => {}
        }
    }

    /// Ends the inspection of a session.
    pub(super) fn detach(&self, session: &Session) {
        let Some(entry) = self.entries.write().unwrap_or_else(PoisonError::into_inner).remove(session) else {
            return;
        };
        if let Some(inspection) = self.inspection.get() {
            inspection.detach(session);
        }
        let now = self.clock.now();
        self.publishers.gone(session, entry.publisher.clone(), now);
        drop(entry);
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

    /// What the judge is to know of a session beside its findings, as far as it is known here: its class. Verdicts on
    /// earlier sessions are known to whoever decides.
    pub(super) fn context(&self, session: &Session) -> Context {
        let entries = self.entries.read().unwrap_or_else(PoisonError::into_inner);
        let class = match entries.get(session) {
            Some(entry) => entry.class.clone(),
            None => self.classes.of(&session.stream),
        };
        Context { class, ..Context::default() }
    }

    /// Who publishes in a session, or did until a minute ago.
    pub(super) fn publisher(&self, session: &Session) -> Publisher {
        let entries = self.entries.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(entry) = entries.get(session) {
            return entry.publisher.clone();
        }
        drop(entries);
        self.publishers.of_gone(session, self.clock.now()).unwrap_or_default()
    }

    /// The sessions under inspection that publish to `stream`.
    pub(super) fn sessions_of(&self, stream: &StreamId) -> Vec<Session> {
        let entries = self.entries.read().unwrap_or_else(PoisonError::into_inner);
        let mut sessions: Vec<Session> = entries.keys().filter(|session| session.stream == *stream).cloned().collect();
        sessions.sort();
        sessions
    }

    /// Notes that a session was reported, and looks at it as closely as is said, for as long; whether the judge is to hear
    /// of it.
    pub(super) fn reported(&self, session: &Session, raised: Option<(Attention, Duration)>, now: Timestamp) -> bool {
        let mut entries = self.entries.write().unwrap_or_else(PoisonError::into_inner);
        let Some(entry) = entries.get_mut(session) else { return false };
        entry.reports += 1;
        let heard = entry.hearing.take(now).is_ok();
        drop(entries);
        if let Some((level, span)) = raised {
            self.raise(session, level, now, span);
        }
        heard
    }

    /// Looks at a session as closely as is said, for as long.
    pub(super) fn raise(&self, session: &Session, level: Attention, now: Timestamp, span: Duration) {
        self.suspicions.keep(&session.stream, level, now, now + span);
        if let Some(stream) = self.get(session) {
            stream.attention.raise(level, now, now + span);
            if let Some(inspection) = self.inspection.get() {
                inspection.raise(session, level, now, now + span);
            }
        }
    }

    /// How many sessions have been on the air for `span` at `now`, as far as is known.
    pub(super) fn established(&self, now: Timestamp, span: Duration) -> usize {
        let entries = self.entries.read().unwrap_or_else(PoisonError::into_inner);
        entries.values().filter(|entry| entry.stream.on_air(now) >= span).count()
    }

    /// Every session under inspection.
    pub(super) fn sessions(&self) -> Vec<Session> {
        self.entries.read().unwrap_or_else(PoisonError::into_inner).keys().cloned().collect()
    }

    /// Brings each stream's shown state up to date: metrics are set, changes are told, the judge hears of what cannot be
    /// inspected.
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
                let inspected = entry.stream.last_inspected().is_some_and(|at| now.since(at) <= self.max_gap + SLACK);
                self.telling.metrics.stream_time(inspected, now.since(entry.counted));
                entry.counted = now;
                if is_due(entry.told, state, now) && self.notices.try_send(state_of(session, state, now)).is_ok() {
                    // A judge who is behind hears of it at the next beat.
                    entry.told = Some((state, now));
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

/// Whether the judge is to be told that a stream is in this state.
fn is_due(told: Option<(StreamState, Timestamp)>, state: StreamState, now: Timestamp) -> bool {
    let hindered = matches!(state, StreamState::Blind | StreamState::Uninspectable(_));
    match told {
        None => hindered,
        Some((before, at)) => before != state || (hindered && now.since(at) >= AGAIN),
    }
}

fn state_of(session: &Session, state: StreamState, now: Timestamp) -> Notice {
    let observation = Observation::State(state);
    Notice::Found(Finding { session: session.clone(), sequence: 0, pts: None, arrived: now, found: now, observation })
}

fn view(entry: &Entry, now: Timestamp) -> StreamView {
    let (state, since) = entry.shown;
    StreamView {
        stream: entry.stream.session.stream.full(),
        session: entry.stream.session.id.clone(),
        state,
        since,
        class: entry.class.clone(),
        reports: entry.reports,
        attention: entry.stream.attention.level(now),
        pictures_inspected: entry.stream.pictures_inspected(),
        last_inspected: entry.stream.last_inspected(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_judge_hears_of_what_cannot_be_inspected_when_it_changes_and_while_it_lasts() {
        let at = Timestamp::from_millis;
        let no_video = StreamState::Uninspectable(UninspectableReason::NoVideo);
        let mut told = None;
        for (millis, state, due) in [
            (0, StreamState::Connecting, false),
            (500, StreamState::Inspected, false),
            (1000, StreamState::Blind, true),
            (1500, StreamState::Blind, false),
            (5999, StreamState::Blind, false),
            (6000, StreamState::Blind, true),
            (6500, no_video, true),
            (7000, StreamState::Inspected, true),
            (60_000, StreamState::Inspected, false),
            (60_500, StreamState::Blind, true),
        ] {
            assert_eq!(is_due(told, state, at(millis)), due, "{state:?} at {millis} ms");
            if due {
                told = Some((state, at(millis)));
            }
        }
    }
}
