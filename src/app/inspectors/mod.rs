//! Looks after the inspector processes: starts them, gives each stream to the one with the fewest, and when one is gone
//! or silent gives its streams to the others and starts it again.
//!
//! Promises: whoever attaches or detaches a stream never waits for a process; a stream that was attached is inspected as
//! long as any process lives; what brings processes down is found (see [`suspects`]) and not inspected again.

mod renewing;
mod running;
mod suspects;

use std::collections::HashMap;
use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
use tracing::{error, info, warn};

use self::renewing::Renewing;
use self::running::{End, Running, Said};
use self::suspects::Suspects;
use crate::clock::{Clock, Timestamp};
use crate::inspector::wire::{Command, Limits};
use crate::inspector::{Event, Inspection, InspectorError, Refusal, Report, Setup};
use crate::media_server::Pull;
use crate::metrics::Metrics;
use crate::stream::{Attention, Session};

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
const LONGEST_WAIT: Duration = Duration::from_secs(10);

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

struct State {
    slots: Vec<Slot>,
    streams: HashMap<Session, Stream>,
    suspects: Suspects<Session>,
    numbers: u64,
}

/// The place of one process.
struct Slot {
    phase: Phase,
    streams: usize,
    /// How often in a row it was gone soon.
    failures: u32,
    pinged: Timestamp,
}

enum Phase {
    /// To be started at this time.
    Down(Timestamp),
    Starting(Running),
    Up(Running),
}

/// A stream that is to be inspected.
struct Stream {
    pull: Pull,
    /// By whom it is.
    at: Option<usize>,
    /// How closely it is looked at: from when, until when.
    raised: Option<(Attention, Timestamp, Timestamp)>,
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
        let slot = || Slot { phase: Phase::Down(Timestamp::ZERO), streams: 0, failures: 0, pinged: Timestamp::ZERO };
        let state = State {
            slots: (0..plan.processes).map(|_| slot()).collect(),
            streams: HashMap::new(),
            suspects: Suspects::new(plan.processes),
            numbers: 0,
        };
        let shared = Arc::new(Shared { plan: Arc::new(plan), state: Mutex::new(state) });
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
        let mut state = self.shared.state();
        if !state.streams.contains_key(session) {
            state.streams.insert(session.clone(), Stream { pull, at: None, raised: None });
            state.give(session, self.shared.plan.clock.now());
        }
    }

    fn detach(&self, session: &Session) {
        let mut state = self.shared.state();
        state.suspects.forget(session);
        let Some(stream) = state.streams.remove(session) else { return };
        if let Some(slot) = stream.at.and_then(|at| state.slots.get_mut(at)) {
            slot.streams = slot.streams.saturating_sub(1);
            slot.tell(Command::Detach { session: session.clone() });
        }
    }

    fn raise(&self, session: &Session, level: Attention, now: Timestamp, until: Timestamp) {
        let mut state = self.shared.state();
        let Some(stream) = state.streams.get_mut(session) else { return };
        if stream.raised.is_none_or(|(held, _, held_until)| held_until <= now || level >= held) {
            stream.raised = Some((level, now, until));
        }
        let at = stream.at;
        if let Some(slot) = at.and_then(|at| state.slots.get_mut(at)) {
            slot.tell(Command::Raise { session: session.clone(), level, now, until });
        }
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

impl Slot {
    fn running(&mut self) -> Option<&mut Running> {
        match &mut self.phase {
            Phase::Down(_) => None,
            Phase::Starting(running) | Phase::Up(running) => Some(running),
        }
    }

    fn is_up(&self) -> bool {
        matches!(self.phase, Phase::Up(_))
    }

    fn tell(&mut self, command: Command) {
        if let Phase::Up(running) = &mut self.phase {
            running.tell(command);
        }
    }
}

impl State {
    /// Gives a stream that nobody inspects to the process with the fewest, a suspect to the one that it is to be on; to
    /// nobody as long as that is not up.
    fn give(&mut self, session: &Session, now: Timestamp) {
        let is_up = |place: &usize| self.slots.get(*place).is_some_and(Slot::is_up);
        let place = if let Some(place) = self.suspects.place(session) {
            Some(place).filter(is_up)
        } else {
            let up = self.slots.iter().enumerate().filter(|(_, slot)| slot.is_up());
            up.min_by_key(|(_, slot)| slot.streams).map(|(place, _)| place)
        };
        let (Some(place), Some(stream)) = (place, self.streams.get_mut(session)) else { return };
        let Some(slot) = self.slots.get_mut(place) else { return };
        stream.at = Some(place);
        slot.streams += 1;
        slot.tell(Command::Attach { session: session.clone(), pull: stream.pull.clone() });
        if let Some((level, from, until)) = stream.raised.filter(|(.., until)| *until > now) {
            slot.tell(Command::Raise { session: session.clone(), level, now: from, until });
        }
    }

    /// Gives all streams that nobody inspects.
    fn give_all(&mut self, now: Timestamp) {
        let mut waiting: Vec<Session> =
            self.streams.iter().filter(|(_, stream)| stream.at.is_none()).map(|(session, _)| session.clone()).collect();
        waiting.sort();
        for session in waiting {
            self.give(&session, now);
        }
    }

    /// Takes suspects away from where they are not to be.
    fn part(&mut self) {
        let mut moved = Vec::new();
        for (session, stream) in &mut self.streams {
            let (Some(at), Some(place)) = (stream.at, self.suspects.place(session)) else { continue };
            if at != place {
                stream.at = None;
                moved.push((at, session.clone()));
            }
        }
        for (at, session) in moved {
            if let Some(slot) = self.slots.get_mut(at) {
                slot.streams = slot.streams.saturating_sub(1);
                slot.tell(Command::Detach { session });
            }
        }
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
                    state.give_all(now);
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
                let culprit = self.gone(&mut state, place, now);
                drop(state);
                if let Some(session) = culprit {
                    error!(%session, "a stream brought inspectors down again and again: it is not inspected any more");
                    (shared.plan.report)(Event::Refused { session, why: Refusal::Crashed });
                }
            }
        }
    }

    /// Takes leave of a process and gives its streams to others; which stream brought it down, where that is clear.
    fn gone(&self, state: &mut State, place: usize, now: Timestamp) -> Option<Session> {
        let slot = state.slots.get_mut(place)?;
        let phase = std::mem::replace(&mut slot.phase, Phase::Down(now));
        slot.streams = 0;
        let (Phase::Starting(running) | Phase::Up(running)) = phase else { return None };
        let (number, since, in_hand) = (running.number, running.since, running.in_hand());
        let end = running.end();
        self.shared.plan.metrics.ended(number);
        let mut theirs: Vec<Session> = Vec::new();
        for (session, stream) in &mut state.streams {
            if stream.at == Some(place) {
                stream.at = None;
                theirs.push(session.clone());
            }
        }
        if self.stopping {
            return None;
        }
        theirs.sort();
        let slot = state.slots.get_mut(place)?;
        slot.failures = if now.since(since) >= WELL { 0 } else { slot.failures + 1 };
        slot.phase = Phase::Down(now + wait(slot.failures));
        self.shared.plan.metrics.inspector_restart(end.word());
        let (why, streams) = (end.word(), theirs.len());
        warn!(
            inspector = number,
            why, streams, "an inspector is gone: its streams go to others, and it is started again"
        );
        let culprit = if end == End::Crashed { state.suspects.crashed(place, &theirs, &in_hand, now) } else { None };
        if let Some(culprit) = &culprit {
            state.streams.remove(culprit);
        }
        state.part();
        state.give_all(now);
        culprit
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
        assert_eq!(waits, [0, 0, 100, 200, 400, 6400, 10_000, 10_000]);
    }
}
