//! Compares what each media server lists with what is attached: hooks get lost and reordered, the list does not.
//!
//! A session that no hook announced is attached, one that is no longer listed is detached, and one that is listed
//! although a deny stands against it is cut, so that the gate holds even where a server asks nobody. A server may lose
//! sight of a publisher who is still on the air, as nginx does when it is reloaded: as long as video of a session arrives
//! that nobody else can be sending, it is kept, so that it is inspected and a kick of it is seen not to have worked.
//!
//! What the first list has and no hook announced was on the air before Sluicegate was: to the breaker it is an established
//! stream, or a wrong bank could cut a whole platform in the first minute after a start.

use std::collections::{HashMap, HashSet};
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
use crate::stream::{Session, StreamId};

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
        let mut flows = Flows::default();
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
                    tokio::task::block_in_place(|| self.compare(&listed, asked, &mut flows));
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

    fn compare(&self, listed: &[Listed], asked: Timestamp, flows: &mut Flows) {
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
        let ours = self.streams.sessions().into_iter().filter(|session| session.stream.server == *self.server.name());
        let attached = ours.filter_map(|session| {
            let stream = self.streams.get(&session)?;
            Some((session, now.since(stream.since()) < GRACE, stream.received()))
        });
        for session in flows.over(attached.collect(), &there) {
            self.streams.detach(&session);
        }
    }
}

/// How much had arrived of each session at the last look.
#[derive(Debug, Default)]
struct Flows(HashMap<Session, u64>);

impl Flows {
    /// Which of the sessions that are attached (with whether each is young, and what has arrived of it) are over: they are
    /// not listed, and nothing more has arrived since the last look. What is pulled is pulled by name, so where the name is
    /// listed as another session's, what arrives is that one's.
    fn over(&mut self, attached: Vec<(Session, bool, u64)>, listed: &HashSet<&Session>) -> Vec<Session> {
        let names: HashSet<&StreamId> = listed.iter().map(|session| &session.stream).collect();
        let before = std::mem::take(&mut self.0);
        let mut over = Vec::new();
        for (session, young, received) in attached {
            let flows = before.get(&session).is_none_or(|before| received > *before);
            if young || listed.contains(&session) || (flows && !names.contains(&session.stream)) {
                self.0.insert(session, received);
            } else {
                over.push(session);
            }
        }
        over
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_that_is_no_longer_listed_is_over_when_nothing_more_arrives_of_it() {
        let session = |name: &str, id: &str| Session { stream: StreamId::new("main", "live", name), id: id.into() };
        let (lost, other) = (session("lost", "1"), session("other", "2"));
        let mut flows = Flows::default();
        for (received, listed, over, why) in [
            (10, &[&lost][..], false, "listed"),
            (20, &[&other], false, "its video still arrives"),
            (30, &[&other], false, "and goes on"),
            (30, &[&lost], false, "listed, whatever arrives"),
            (31, &[], false, "nobody is listed, and it still arrives"),
            (31, &[&other], true, "it has stopped"),
        ] {
            let listed = listed.iter().copied().collect();
            let expected = if over { vec![lost.clone()] } else { Vec::new() };
            assert_eq!(flows.over(vec![(lost.clone(), false, received)], &listed), expected, "{why}");
        }
        assert!(flows.0.is_empty(), "what is over is forgotten");

        let (again, none) = (session("lost", "3"), HashSet::new());
        flows.over(vec![(lost.clone(), false, 40)], &HashSet::from([&lost]));
        assert_eq!(
            flows.over(vec![(lost.clone(), false, 50)], &HashSet::from([&again])),
            std::slice::from_ref(&lost),
            "what arrives under the name is another's now"
        );
        for (young, over) in [(true, 0), (true, 0), (false, 1)] {
            assert_eq!(flows.over(vec![(again.clone(), young, 0)], &none).len(), over, "a server lists late");
        }
    }
}
