//! Looks after the inspector processes: starts them, gives each stream to the one with the fewest, and when one is gone
//! or silent gives its streams to the others and starts it again.
//!
//! Promises: whoever attaches or detaches a stream never waits for a process; a stream that was attached is inspected as
//! long as any process lives; what brings processes down is found (see [`suspects`]) and not inspected again.

mod renewing;
mod running;
mod sharing;
mod suspects;

use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
use tracing::{error, info, warn};

use self::renewing::Renewing;
use self::running::{End, Running, Said};
use self::sharing::{Phase, Slot, State};
use self::suspects::How;
use crate::clock::{Clock, Timestamp};
use crate::inspector::wire::{Command, Limits};
use crate::inspector::{Event, Inspection, InspectorError, Refusal, Report, Setup};
use crate::media_server::Pull;
use crate::metrics::Metrics;
use crate::stream::{Attention, Session, StreamId};

/// How often all processes are looked at.
const TICK: Duration = Duration::from_millis(100);

/// When they were not looked at for longer than this, the machine stood still, or this process did: that nobody answered
/// says nothing of them.
const STOOD_STILL: Duration = Duration::from_secs(1);

/// How often each is asked whether it listens.
const PING_EVERY: Duration = Duration::from_millis(500);

/// What processes say, on its way; when it is this much, they wait.
const SAYINGS: usize = 256;

/// How long they may take to come to an end.
const GRACE: Duration = Duration::from_secs(5);

/// The longest wait before one is started again.
const LONGEST_WAIT: Duration = Duration::from_secs(2);

/// One that has lived for so long is well again.
const WELL: Duration = Duration::from_mins(1);

/// How to start an inspector process.
#[derive(Debug, Clone)]
pub struct Program {
    /// The file to be executed.
    pub path: PathBuf,
    /// Its arguments.
    pub arguments: Vec<OsString>,
}

/// What every process is started with, and whom its events are told.
pub(super) struct Plan {
    pub(super) program: Program,
    pub(super) processes: usize,
    pub(super) setup: Setup,
    pub(super) limits: Limits,
    pub(super) clock: Clock,
    pub(super) metrics: Arc<Metrics>,
    pub(super) report: Report,
}

/// See the module.
pub(super) struct Inspectors {
    shared: Arc<Shared>,
    sayings: Sender<Saying>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

struct Shared {
    plan: Arc<Plan>,
    state: Mutex<State>,
}

/// What the supervising thread hears.
enum Saying {
    /// A process in a slot says something.
    Of(usize, u64, Said),
    /// Everything is to come to its end.
    Stop,
}

impl Inspectors {
    /// Starts all processes, and waits until they are ready.
    ///
    /// # Errors
    /// When one cannot begin.
    pub(super) fn start(plan: Plan) -> Result<Self, InspectorError> {
        let state = Mutex::new(State::new(plan.processes));
        let shared = Arc::new(Shared { plan: Arc::new(plan), state });
        let (sayings, heard) = bounded(SAYINGS);
        let (began, beginning) = bounded(1);
        let renewing = Renewing::new(&shared.plan.setup);
        let (looked_after, sending) = (Arc::clone(&shared), sayings.clone());
        let supervisor =
            Supervisor { shared: looked_after, sayings: sending, began: Some(began), renewing, stopping: false };
        let thread = Builder::new().name("inspectors".to_owned()).spawn(move || supervisor.run(&heard))?;
        let inspectors = Self { shared, sayings, thread: Mutex::new(Some(thread)) };
        match beginning.recv() {
            Ok(Ok(())) => Ok(inspectors),
            Ok(Err(reason)) => {
                inspectors.stop();
                Err(InspectorError::Process { reason })
            }
            Err(_gone) => Err(InspectorError::Process { reason: "their supervisor is gone".to_owned() }),
        }
    }
}

impl Inspection for Inspectors {
    fn attach(&self, session: &Session, pull: Pull) {
        let attached = self.shared.state().attach(session, pull, self.shared.plan.clock.now());
        if !attached {
            warn!(%session, "a stream of this name brought inspectors down a short time ago: it is not inspected");
            (self.shared.plan.report)(Event::Refused { session: session.clone(), why: Refusal::Crashed });
        }
    }

    fn detach(&self, session: &Session) {
        self.shared.state().detach(session);
    }

    fn raise(&self, session: &Session, level: Attention, now: Timestamp, until: Timestamp) {
        self.shared.state().raise(session, level, now, until);
    }

    fn stop(&self) {
        // Fails only when the supervisor is gone.
        drop(self.sayings.send(Saying::Stop));
        if let Some(thread) = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take() {
            // One that panicked has said so on standard error.
            drop(thread.join());
        }
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Supervisor {
    shared: Arc<Shared>,
    sayings: Sender<Saying>,
    /// Who waits for all to be ready.
    began: Option<Sender<Result<(), String>>>,
    renewing: Renewing,
    stopping: bool,
}

impl Supervisor {
    /// Works until told to stop. Processes are started in this thread, which must outlive them: the kernel ends them with
    /// it.
    fn run(mut self, heard: &Receiver<Saying>) {
        let mut until = None;
        let mut looked = self.shared.plan.clock.now();
        loop {
            match heard.recv_timeout(TICK) {
                Ok(Saying::Of(place, number, said)) => self.hear(place, number, said),
                Ok(Saying::Stop) => {
                    self.stopping = true;
                    until = Some(self.shared.plan.clock.now() + GRACE);
                    for slot in &mut self.shared.state().slots {
                        match &mut slot.phase {
                            Phase::Up(running) => running.tell(Command::Stop),
                            Phase::Starting(running) => running.put_down(End::Failed),
                            Phase::Down(_) => {}
                        }
                    }
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            let now = self.shared.plan.clock.now();
            if self.stopping {
                let mut state = self.shared.state();
                let mut left = state.slots.iter_mut().filter_map(Slot::running).peekable();
                if left.peek().is_none() {
                    return;
                }
                if until.is_some_and(|until| now > until) {
                    warn!("inspectors that did not end in time are killed: what they had in hand is lost");
                    left.for_each(|running| running.put_down(End::Stalled));
                }
            } else {
                if now.since(looked) > STOOD_STILL {
                    self.shared
                        .state()
                        .slots
                        .iter_mut()
                        .filter_map(Slot::running)
                        .for_each(|each| each.begin_anew(now));
                }
                looked = now;
                self.look(now);
                self.renewing.look(&mut self.shared.state().slots, now);
            }
        }
    }

    /// Starts what is due, and looks whether the others are well.
    fn look(&mut self, now: Timestamp) {
        let plan = Arc::clone(&self.shared.plan);
        let shared = Arc::clone(&self.shared);
        let mut state = shared.state();
        let State { slots, numbers, .. } = &mut *state;
        let mut counts = [0; 3];
        for (place, slot) in slots.iter_mut().enumerate() {
            let ready = slot.is_up();
            match &mut slot.phase {
                Phase::Down(due) if *due <= now => {
                    *numbers += 1;
                    let (number, sayings) = (*numbers, self.sayings.clone());
                    // Fails only when nobody looks after processes any more.
                    let on_said = move |said| drop(sayings.send(Saying::Of(place, number, said)));
                    match Running::start(&plan, number, on_said) {
                        Ok(running) => slot.phase = Phase::Starting(running),
                        Err(error) => {
                            error!(%error, "an inspector cannot be started");
                            slot.failures += 1;
                            slot.phase = Phase::Down(now + wait(slot.failures));
                            if let Some(began) = self.began.take() {
                                drop(began.send(Err(error.to_string())));
                            }
                        }
                    }
                }
                Phase::Down(_) => {}
                Phase::Starting(running) | Phase::Up(running) => {
                    if ready && now.since(slot.pinged) >= PING_EVERY {
                        slot.pinged = now;
                        running.tell(Command::Ping);
                    }
                    running.look(ready, plan.limits.memory, now);
                }
            }
            match slot.phase {
                Phase::Starting(_) => counts[0] += 1,
                Phase::Up(_) => counts[1] += 1,
                Phase::Down(_) => counts[2] += 1,
            }
        }
        plan.metrics.set_inspectors(counts);
        state.give_all(now);
        state.even_out(now);
    }

    fn hear(&mut self, place: usize, number: u64, said: Said) {
        let shared = Arc::clone(&self.shared);
        let now = shared.plan.clock.now();
        let mut state = shared.state();
        let Some(slot) = state.slots.get_mut(place) else { return };
        if slot.running().is_none_or(|running| running.number != number) {
            return;
        }
        match said {
            Said::Ready(lacks) => {
                if let Phase::Starting(running) = std::mem::replace(&mut slot.phase, Phase::Down(now)) {
                    running.begin_anew(now);
                    slot.pinged = now;
                    slot.phase = Phase::Up(running);
                }
                info!(inspector = number, "an inspector is ready");
                if number == 1 {
                    for lack in lacks {
                        warn!("the inspectors' sandbox is not whole: {lack}");
                    }
                }
                if !self.stopping {
                    state.is_ready(place, now);
                }
                if state.slots.iter().all(Slot::is_up)
                    && let Some(began) = self.began.take()
                {
                    drop(began.send(Ok(())));
                }
            }
            Said::Failed(reason) => {
                if let Some(began) = self.began.take() {
                    drop(began.send(Err(reason)));
                } else {
                    error!(inspector = number, reason, "an inspector cannot begin");
                }
            }
            Said::Refused(session) => {
                if let Some(at) = state.streams.remove(&session).and_then(|stream| stream.at)
                    && let Some(slot) = state.slots.get_mut(at)
                {
                    slot.streams = slot.streams.saturating_sub(1);
                }
            }
            Said::Gone => {
                let culprits = self.gone(&mut state, place, now);
                drop(state);
                for session in culprits {
                    error!(%session, "a stream brought inspectors down again and again: it is not inspected any more");
                    (shared.plan.report)(Event::Refused { session, why: Refusal::Crashed });
                }
            }
        }
    }

    /// Takes leave of a process and gives its streams to others; the sessions of the stream that brought it down, where
    /// that is clear.
    fn gone(&mut self, state: &mut State, place: usize, now: Timestamp) -> Vec<Session> {
        let Some(slot) = state.slots.get_mut(place) else { return Vec::new() };
        let (running, ready) = match std::mem::replace(&mut slot.phase, Phase::Down(now)) {
            Phase::Down(_) => return Vec::new(),
            Phase::Starting(running) => (running, false),
            Phase::Up(running) => (running, true),
        };
        let (number, since) = (running.number, running.since);
        let in_hand: Vec<StreamId> = running.in_hand().into_iter().map(|session| session.stream).collect();
        let end = running.end();
        self.shared.plan.metrics.ended(number);
        let streams = state.orphans(place);
        if self.stopping {
            return Vec::new();
        }
        if !ready && let Some(began) = self.began.take() {
            drop(began.send(Err(format!("one was gone before it was ready ({}); the log may say why", end.word()))));
        }
        if let Some(slot) = state.slots.get_mut(place) {
            slot.failures = if now.since(since) >= WELL { 0 } else { slot.failures + 1 };
            slot.phase = Phase::Down(now + wait(slot.failures));
        }
        self.shared.plan.metrics.inspector_restart(end.word());
        let (why, count) = (end.word(), streams.len());
        warn!(
            inspector = number,
            why,
            streams = count,
            "an inspector is gone: its streams go to others, and it is started again"
        );
        let how = match end {
            End::Crashed => Some(How::Broke),
            End::Memory => Some(How::TookMemory),
            End::Stalled => Some(How::FellSilent),
            End::Killed | End::Renewed | End::Failed => None,
        };
        let culprit = how.and_then(|how| state.suspects.ended(place, how, (&streams, &in_hand), now));
        let sessions = culprit.map(|culprit| state.remove(&culprit)).unwrap_or_default();
        state.part(now);
        state.give_all(now);
        sessions
    }
}

/// How long to wait before a process is started that was gone soon so many times in a row: nothing at first.
fn wait(failures: u32) -> Duration {
    let grown = Duration::from_millis(100).saturating_mul(1 << failures.saturating_sub(2).min(10));
    if failures < 2 { Duration::ZERO } else { grown.min(LONGEST_WAIT) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_that_is_gone_again_and_again_is_started_ever_later() {
        let waits: Vec<u128> = [0, 1, 2, 3, 4, 8, 9, 40].map(|failures| wait(failures).as_millis()).into();
        assert_eq!(waits, [0, 0, 100, 200, 400, 2000, 2000, 2000]);
    }
}
