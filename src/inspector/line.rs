//! The line itself, in this process: sources, samplers, the queue, workers, models, and the wiring between them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
use tracing::{info, warn};

use super::banks::Banks;
use super::pulled::{Pulled, Told};
use super::worker::{Detecting, Ticket, Worker};
use super::{Event, Inspection, InspectorError, Refusal, Report, Setup, building};
use crate::clock::{Clock, Timestamp};
use crate::detect::classify::{Classify, Scorer};
use crate::detect::gate::Terms;
use crate::detect::known::Known;
use crate::media_server::Pull;
use crate::metrics::{Metrics, PictureOutcome, Stage};
use crate::sample::queue::Priority;
use crate::sample::{self, Pool, Sampler, Work};
use crate::source::{Room, SourceEvent, SourceHandle, Sources, make_room};
use crate::stream::{Attention, Session, UninspectableReason};

/// How often it is told how streams are doing.
const BEAT: Duration = Duration::from_millis(100);

/// Streams told of at once.
const TOGETHER: usize = 256;

/// The mailboxes of all streams.
pub(super) type Queue = sample::queue::Queue<Arc<Pulled>, Work>;

/// See the module.
pub struct Line {
    sampling: sample::Config,
    /// None once it was stopped.
    sources: Mutex<Option<Sources>>,
    queue: Arc<Queue>,
    pool: Arc<Pool>,
    entries: Arc<Entries>,
    threads: Mutex<Threads>,
    report: Report,
    metrics: Arc<Metrics>,
}

type Entries = Mutex<HashMap<Session, Entry>>;

struct Entry {
    stream: Arc<Pulled>,
    told: Told,
    /// Dropping it stops the source.
    _source: SourceHandle,
}

#[derive(Default)]
struct Threads {
    workers: Vec<JoinHandle<()>>,
    scorers: Vec<Arc<Scorer<Ticket>>>,
    /// Those that end when `stop` is dropped.
    others: Vec<JoinHandle<()>>,
    stop: Option<Sender<()>>,
}

impl Line {
    /// Starts every stage.
    ///
    /// # Errors
    /// When one of them cannot work on this machine.
    pub fn start(setup: &Setup, clock: Clock, metrics: &Arc<Metrics>, report: Report) -> Result<Self, InspectorError> {
        if let Room::Short { limit, needed } = make_room(setup.sample.max_streams) {
            warn!(
                limit,
                needed, "not every stream can be pulled: raise the limit of open files (`LimitNOFILE` of the unit)"
            );
        }
        let banks = Banks::open(&setup.banks, metrics)?;
        let models = building::models(&setup.model, metrics)?;
        let decoders = building::decoders(setup)?;
        let sources = Sources::new(setup.source.clone(), clock)?;
        let queue = Arc::new(Queue::new(setup.sample.max_streams));
        let terms = Terms { within: setup.model.unchanged_within, rescore_after: setup.model.rescore_after };
        let start_model = |session| {
            let report = Arc::clone(&report);
            let on_scores = move |ticket: &Ticket, seen| report(Event::Found(ticket.finding(seen, clock.now())));
            Scorer::start(session, setup.model.queue, terms, clock, Arc::clone(metrics), on_scores).map(Arc::new)
        };
        let scorers = models.into_iter().map(start_model).collect::<Result<Vec<_>, _>>()?;
        let start_worker = |(number, decoder)| {
            let detecting = Detecting {
                known: Known::new(banks.in_force()),
                classify: Classify::new(&scorers),
                report: Arc::clone(&report),
                metrics: Arc::clone(metrics),
                clock,
            };
            let (metrics, max_age) = (Arc::clone(metrics), setup.sample.max_age);
            let worker = Worker { number, decoder, detecting, metrics, clock, max_age };
            let queue = Arc::clone(&queue);
            start("inspect", move || worker.run(&queue))
        };
        let workers = decoders.into_iter().enumerate().map(start_worker).collect::<Result<_, _>>()?;
        let entries = Arc::new(Entries::default());
        let pool = Pool::new(setup.sample.max_promoted.unwrap_or_else(two_a_core));
        let pool = Arc::new(pool.holding(setup.sample.lookback_total_bytes));
        let (stop, stopped) = bounded(0);
        let telling = Telling {
            entries: Arc::clone(&entries),
            queue: Arc::clone(&queue),
            pool: Arc::clone(&pool),
            report: Arc::clone(&report),
            metrics: Arc::clone(metrics),
        };
        let until = stopped.clone();
        let others =
            vec![start("progress", move || telling.run(&until))?, start("banks", move || banks.follow(&stopped))?];
        Ok(Self {
            sampling: setup.sample.clone(),
            sources: Mutex::new(Some(sources)),
            queue,
            pool,
            entries,
            threads: Mutex::new(Threads { workers, scorers, others, stop: Some(stop) }),
            report,
            metrics: Arc::clone(metrics),
        })
    }

    /// Pulls a session; `None` when there is no place for it.
    fn pull(&self, session: &Session, pull: Pull) -> Option<Result<Entry, crate::source::SourceError>> {
        let stream = Arc::new(Pulled::new(session.clone()));
        let mailbox = self.queue.open(Arc::clone(&stream)).ok()?;
        let mut sampler = Sampler::new(&self.sampling, rand::random::<f64>, &self.pool);
        let (pulled, metrics) = (Arc::clone(&stream), Arc::clone(&self.metrics));
        let on_event = move |event: SourceEvent| match event {
            SourceEvent::Unit(unit) => {
                pulled.receive();
                metrics.access_unit(unit.keyframe);
                let attention = pulled.attention.level(unit.arrived);
                if let Some(work) = sampler.offer(unit, attention) {
                    metrics.pictures(PictureOutcome::Offered, work.inspect.len() as u64);
                    if let Some(older) = mailbox.offer(work, priority(attention)) {
                        metrics.pictures(PictureOutcome::Superseded, older.inspect.len() as u64);
                    }
                }
            }
            SourceEvent::Attached => sampler.reset(),
            SourceEvent::Reconnecting { reason, error, after } => {
                metrics.reconnect(reason.word());
                if let Some(error) = error {
                    metrics.error(Stage::Source, error.kind());
                    info!(session = %pulled.session, %error, ?after, "the source failed and is attached again");
                }
            }
            SourceEvent::Missed(segments) => metrics.segments_missed(segments),
            SourceEvent::Finished => info!(session = %pulled.session, "the file has come to its end"),
            SourceEvent::NoVideo => pulled.hinder(UninspectableReason::NoVideo),
            SourceEvent::UnsupportedCodec(codec) => {
                warn!(session = %pulled.session, codec, "the codec cannot be inspected");
                pulled.hinder(UninspectableReason::UnsupportedCodec);
            }
        };
        let sources = self.sources.lock().unwrap_or_else(PoisonError::into_inner);
        let source = sources.as_ref()?.add(pull, Box::new(on_event));
        Some(source.map(|source| Entry { stream, told: Told::default(), _source: source }))
    }
}

impl Inspection for Line {
    fn attach(&self, session: &Session, pull: Pull) {
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        if entries.contains_key(session) {
            return;
        }
        let why = match self.pull(session, pull) {
            Some(Ok(entry)) => {
                entries.insert(session.clone(), entry);
                return;
            }
            Some(Err(error)) => {
                self.metrics.error(Stage::Source, error.kind());
                warn!(%session, %error, "a stream cannot be pulled");
                Refusal::Unpullable
            }
            None => Refusal::Full,
        };
        drop(entries);
        (self.report)(Event::Refused { session: session.clone(), why });
    }

    fn detach(&self, session: &Session) {
        let entry = self.entries.lock().unwrap_or_else(PoisonError::into_inner).remove(session);
        if let Some(entry) = entry {
            entry.stream.end();
        }
    }

    fn raise(&self, session: &Session, level: Attention, now: Timestamp, until: Timestamp) {
        let entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(entry) = entries.get(session) {
            entry.stream.attention.raise(level, now, until);
        }
    }

    fn stop(&self) {
        let ended = std::mem::take(&mut *self.entries.lock().unwrap_or_else(PoisonError::into_inner));
        for entry in ended.values() {
            entry.stream.end();
        }
        drop(ended);
        self.queue.close();
        let Threads { workers, scorers, others, stop } =
            std::mem::take(&mut *self.threads.lock().unwrap_or_else(PoisonError::into_inner));
        drop(stop);
        for thread in workers.into_iter().chain(others) {
            // A thread that panicked has said so on standard error; the others are still to be taken down.
            drop(thread.join());
        }
        // Scores what still waits, and ends the models' threads.
        drop(scorers);
        drop(self.sources.lock().unwrap_or_else(PoisonError::into_inner).take());
    }
}

/// Tells, beat by beat, how streams are doing.
struct Telling {
    entries: Arc<Entries>,
    queue: Arc<Queue>,
    pool: Arc<Pool>,
    report: Report,
    metrics: Arc<Metrics>,
}

impl Telling {
    /// Works until whoever holds the other end of `stop` lets go of it.
    fn run(self, stop: &Receiver<()>) {
        while stop.recv_timeout(BEAT) == Err(RecvTimeoutError::Timeout) {
            self.metrics.set_queue_ready(self.queue.ready());
            self.metrics.set_promoted(self.pool.promoted());
            self.metrics.set_ring_bytes(self.pool.held());
            self.metrics.sampled(self.pool.take_refused(), self.pool.take_skipped(), self.pool.take_cut());
            let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
            let news: Vec<_> =
                entries.values_mut().filter_map(|entry| entry.stream.progress(&mut entry.told)).collect();
            drop(entries);
            let mut news = news.into_iter().peekable();
            loop {
                (self.report)(Event::Progress(news.by_ref().take(TOGETHER).collect()));
                if news.peek().is_none() {
                    break;
                }
            }
        }
    }
}

/// How soon a stream that is looked at so closely is to be served.
fn priority(attention: Attention) -> Priority {
    match attention {
        Attention::Calm => Priority::Ordinary,
        Attention::Suspicious | Attention::Reported => Priority::Pressing,
        Attention::Imminent => Priority::Imminent,
    }
}

fn two_a_core() -> usize {
    2 * thread::available_parallelism().map_or(1, usize::from)
}

fn start(name: &str, work: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>, InspectorError> {
    Ok(thread::Builder::new().name(name.to_owned()).spawn(work)?)
}
