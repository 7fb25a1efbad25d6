//! Compares what each media server lists with what is attached: hooks get lost and reordered, the list does not.
//!
//! A session that no hook announced is attached, one that is no longer listed is detached, and one that is listed
//! although a deny stands against it is cut, so that the gate holds even where a server asks nobody.
//!
//! What the first list has and no hook announced was on the air before Sluicegate was: to the breaker it is an established
//! stream, or a wrong bank could cut a whole platform in the first minute after a start.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::Sender;
use tracing::{info, warn};

use super::deciding::Notice;
use super::streams::Streams;
use crate::act::Gate;
use crate::act::servers::MediaServer;
use crate::clock::{Clock, Timestamp};
use crate::media_server::{Admission, Listed};
use crate::metrics::{Metrics, Stage};
use crate::stream::Session;

/// A session announced by a hook may take this long to be listed.
const GRACE: Duration = Duration::from_secs(3);

/// Keeps one media server's streams in step.
pub(super) struct Reconciling {
    pub(super) server: Arc<dyn MediaServer>,
    pub(super) streams: Arc<Streams>,
    pub(super) gate: Arc<Gate>,
    pub(super) notices: Sender<Notice>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) clock: Clock,
    pub(super) every: Duration,
}

impl Reconciling {
    /// Works until it is dropped.
    pub(super) async fn run(self) {
        let mut beat = tokio::time::interval(self.every);
        beat.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let (mut reachable, mut first) = (true, true);
        loop {
            beat.tick().await;
            let asked = self.clock.now();
            match self.server.list().await {
                Ok(listed) => {
                    if !reachable {
                        info!(server = %self.server.name(), "the media server answers again");
                    }
                    reachable = true;
                    // Detaching waits when the judge is behind; the hooks must not wait with it.
                    let found = if first { self.unknown(&listed) } else { Vec::new() };
                    first = false;
                    tokio::task::block_in_place(|| self.compare(&listed, asked));
                    for stream in found.iter().filter_map(|session| self.streams.get(session)) {
                        stream.was_found();
                    }
                }
                Err(error) => {
                    self.metrics.error(Stage::Act, error.kind());
                    if reachable {
                        warn!(server = %self.server.name(), %error, "the media server cannot be asked for its streams");
                    }
                    reachable = false;
                }
            }
        }
    }

    /// What is listed and was announced by no hook.
    fn unknown(&self, listed: &[Listed]) -> Vec<Session> {
        let listed = listed.iter().map(|publisher| &publisher.session);
        listed.filter(|session| self.streams.get(session).is_none()).cloned().collect()
    }

    fn compare(&self, listed: &[Listed], asked: Timestamp) {
        let now = self.clock.now();
        let there: HashSet<&Session> = listed.iter().map(|publisher| &publisher.session).collect();
        for Listed { session, publisher, .. } in listed {
            // A hook may have told more of them than the list does.
            let known = self.streams.publisher(session);
            let publisher = if known.may_be(publisher) { &known.or(publisher) } else { publisher };
            if self.gate.admit(&session.stream, publisher, now) == Admission::Refuse {
                let denied = Notice::Denied { session: session.clone(), publisher: publisher.clone(), asked };
                // Refused only when the judge has ended; a full queue is tried again at the next beat.
                drop(self.notices.try_send(denied));
            } else {
                self.streams.attach(session, publisher, self.server.pull(&session.stream));
            }
        }
        for session in self.streams.sessions() {
            let ours = session.stream.server == *self.server.name();
            let young = self.streams.get(&session).is_some_and(|stream| now.since(stream.since()) < GRACE);
            if ours && !young && !there.contains(&session) {
                self.streams.detach(&session);
            }
        }
    }
}
