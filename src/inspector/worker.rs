//! The workers, one a core: take a stream's newest work, decode it, hash and match the pictures, and hand them on to
//! the models.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, PoisonError, TryLockError};
use std::time::Duration;

use tracing::{debug, error, warn};

use super::line::Queue;
use super::pulled::Pulled;
use super::{Event, Report};
use crate::clock::{Clock, Timestamp};
use crate::decode::{Continuous, DecodeError, Decoder};
use crate::detect::classify::Classify;
use crate::detect::known::Known;
use crate::detect::{Detector, Look};
use crate::finding::{Finding, Observation};
use crate::metrics::{Metrics, PictureOutcome, Stage};
use crate::picture::Picture;
use crate::sample::queue::Taken;
use crate::sample::{Course, Work, Worth};
use crate::stream::Session;

/// How long a worker waits for work before it looks whether the queue is closed.
const PATIENCE: Duration = Duration::from_millis(500);

/// What a finding needs to know of the picture, kept while a model looks at it.
#[derive(Debug, Clone)]
pub(super) struct Ticket {
    stream: Arc<Pulled>,
    sequence: u64,
    pts: Option<Duration>,
    arrived: Timestamp,
}

impl Ticket {
    /// Makes the finding that `observation` on this picture is.
    pub(super) fn finding(&self, observation: Observation, found: Timestamp) -> Finding {
        Finding {
            session: self.stream.session.clone(),
            sequence: self.sequence,
            pts: self.pts,
            arrived: self.arrived,
            found,
            observation,
        }
    }
}

/// What one worker owns.
pub(super) struct Worker {
    /// From 0.
    pub(super) number: usize,
    pub(super) decoder: Decoder,
    pub(super) detecting: Detecting,
    pub(super) metrics: Arc<Metrics>,
    pub(super) clock: Clock,
    /// How long work may have waited.
    pub(super) max_age: Duration,
}

/// What looks at a worker's pictures.
pub(super) struct Detecting {
    pub(super) known: Known,
    pub(super) classify: Classify<Ticket>,
    pub(super) report: Report,
    pub(super) metrics: Arc<Metrics>,
    pub(super) clock: Clock,
}

impl Worker {
    /// Works until the queue is closed.
    pub(super) fn run(mut self, queue: &Queue) {
        while !queue.is_closed() {
            let fresh = |work: &Work| work.is_fresh(self.clock.now(), self.max_age);
            let (stream, work) = match queue.take(PATIENCE, fresh) {
                None => continue,
                Some(Taken::Fresh(stream, work)) => (stream, work),
                Some(Taken::Stale(_, work)) => {
                    self.metrics.pictures(PictureOutcome::Stale, work.inspect.len() as u64);
                    continue;
                }
            };
            // Strangers' media goes through here. Should it ever bring down what looks at it, one piece of work is lost:
            // a worker that ended would be missed by every stream. Whatever was cut short is made anew or overwritten.
            self.in_hand(Some(stream.session.clone()));
            let inspected = catch_unwind(AssertUnwindSafe(|| self.inspect(&stream, &work)));
            self.in_hand(None);
            if inspected.is_err() {
                self.metrics.error(Stage::Decode, "panicked");
                error!(session = %stream.session, "the inspection of a stream panicked; report this");
                self.metrics.pictures(PictureOutcome::Failed, work.inspect.len() as u64);
            }
        }
    }

    fn in_hand(&self, session: Option<Session>) {
        (self.detecting.report)(Event::InHand { worker: self.number, session });
    }

    fn inspect(&mut self, stream: &Arc<Pulled>, work: &Work) {
        let wanted = work.inspect.len() as u64;
        if stream.has_ended() {
            self.metrics.pictures(PictureOutcome::Failed, wanted);
            return;
        }
        let began = self.clock.now();
        let (mut inspected, mut looking) = (0, Duration::ZERO);
        let Self { decoder, detecting, metrics, clock, .. } = self;
        let mut look = |picture: Picture| {
            let given = clock.now();
            inspected += u64::from(detecting.detect(stream, &picture));
            let seen = clock.now();
            looking += seen.since(given);
            if work.worth == Worth::WhileFresh {
                metrics.inspection_latency(seen.since(picture.arrived));
            }
        };
        let (outcome, owed) = decode(decoder, metrics, stream, work, &mut look);
        if let Err(error) = &outcome {
            self.metrics.error(Stage::Decode, error.kind());
            debug!(session = %stream.session, %error, "pictures could not be decoded");
        }
        self.metrics.stage(Stage::Decode, self.clock.now().since(began).saturating_sub(looking));
        let failed = (wanted + owed.0).saturating_sub(inspected + owed.1);
        if inspected > 0 {
            if let Some(interval) = stream.inspected(inspected, self.clock.now()) {
                self.metrics.inspection_interval(interval);
            }
        } else if let Some(reason) = outcome.as_ref().err().and_then(DecodeError::hindrance) {
            stream.hinder(reason);
        } else if failed > 0 {
            stream.undecoded();
        }
        self.metrics.pictures(PictureOutcome::Inspected, inspected);
        self.metrics.pictures(PictureOutcome::Failed, failed);
    }
}

/// How many pictures a stream's own decoder owed before, and owes now.
type Owed = (u64, u64);

/// Decodes `work`: alone, or where it is continued by the decoder of the stream's own, which is made and given up as it is
/// needed.
///
/// Work may overtake older work of its stream that another worker took before it. So the decoder of the stream's own is given up
/// only by what is newer than all that it has had, and has nothing to do with what is older; and while work is decoded alone it
/// is free for the work that comes behind. A worker that panicked with it in hand leaves it fit for use: it starts afresh.
fn decode(
    decoder: &mut Decoder,
    metrics: &Arc<Metrics>,
    stream: &Pulled,
    work: &Work,
    look: &mut dyn FnMut(Picture),
) -> (Result<(), DecodeError>, Owed) {
    let newest = work.units.last().map_or(0, |unit| unit.sequence);
    if matches!(work.course, Course::Alone | Course::Aside) {
        if work.course == Course::Alone {
            let own = match stream.own.try_lock() {
                Ok(own) => Some(own),
                Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
                // The stream's last continued work: its next work alone gives the decoder up.
                Err(TryLockError::WouldBlock) => None,
            };
            drop(own.and_then(|mut own| own.take_if(|own| own.last < newest)));
        }
        return (decoder.decode(&work.units, &work.inspect, look), (0, 0));
    }
    // Whoever holds it is done in bounded time.
    let mut own = stream.own.lock().unwrap_or_else(PoisonError::into_inner);
    if own.as_ref().is_some_and(|own| own.last >= newest) {
        return (Err(DecodeError::Failed("newer units have been through it".to_owned())), (0, 0));
    }
    if work.course == Course::Begun {
        *own = None;
    }
    let fresh = || Own { decoder: Continuous::new(decoder.config()), metrics: Arc::clone(metrics), last: newest };
    let Own { decoder, last, .. } = own.get_or_insert_with(fresh);
    *last = newest;
    let before = decoder.owed() as u64;
    let outcome = decoder.decode(&work.units, &work.inspect, look);
    (outcome, (before, decoder.owed() as u64))
}

/// A stream's own decoder. What it still owes when it is given up has failed.
#[derive(Debug)]
pub(super) struct Own {
    decoder: Continuous,
    metrics: Arc<Metrics>,
    /// The last unit that it had.
    last: u64,
}

impl Drop for Own {
    fn drop(&mut self) {
        self.metrics.pictures(PictureOutcome::Failed, self.decoder.owed() as u64);
    }
}

impl Detecting {
    /// Shows a picture to every detector; whether it was inspected.
    fn detect(&mut self, stream: &Arc<Pulled>, picture: &Picture) -> bool {
        let ticket = Ticket {
            stream: Arc::clone(stream),
            sequence: picture.sequence,
            pts: picture.pts,
            arrived: picture.arrived,
        };
        let began = self.clock.now();
        let Look { observations, vetoed_by, pdq } = match self.known.inspect(picture) {
            Ok(look) => look,
            Err(error) => {
                self.metrics.error(Stage::Known, error.kind());
                warn!(session = %stream.session, %error, "a picture could not be matched");
                return false;
            }
        };
        let found = self.clock.now();
        self.metrics.stage(Stage::Known, found.since(began));
        if let Some(bank) = vetoed_by {
            self.metrics.veto(&bank);
        }
        for observation in observations {
            (self.report)(Event::Found(ticket.finding(observation, found)));
        }
        // A stream may end while its pictures are being decoded: nobody wants to know any more.
        if !stream.has_ended() {
            let attention = stream.attention.level(picture.arrived);
            self.classify.inspect(picture, pdq, attention, &stream.gates, &ticket);
        }
        true
    }
}
