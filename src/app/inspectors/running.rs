//! One inspector process and the two threads that talk with it.
//!
//! Whoever commands it never waits: commands go through a bounded channel to a thread that writes, and where that is full the
//! process does not listen and is as good as dead. What it says is read by another thread, which may wait for the judge.

use std::io::{self, BufReader};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::Builder;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded};
use tracing::warn;

use super::{Plan, Program};
use crate::clock::{Clock, Timestamp};
use crate::inspector::wire::{self, Command, Message};
use crate::inspector::{Event, process};
use crate::stream::Session;

/// For how long a process that lives may leave unanswered that it is asked twice a second whether it listens.
const SILENCE: Duration = Duration::from_millis(2500);

/// For how long one that was told to end may take to finish what it has in hand.
const LEAVING: Duration = Duration::from_secs(5);

/// For how long it may take to be ready: models are loaded meanwhile.
const GETTING_READY: Duration = Duration::from_mins(2);

/// Commands that may wait beside one to attach and one to detach each stream.
const COMMANDS: usize = 1024;

/// How glibc keeps memory. Each stream has threads of its own, and by default memory comes from up to eight heaps a core, of which
/// each keeps what its largest frames once took: that was a quarter of what a stream cost. Two heaps are enough for what is allocated
/// here, and frames above the threshold, which glibc would raise by itself, go back to the system when they are freed.
const ALLOCATOR: [(&str, &str); 3] =
    [("MALLOC_ARENA_MAX", "2"), ("MALLOC_MMAP_THRESHOLD_", "131072"), ("MALLOC_TRIM_THRESHOLD_", "131072")];

/// What of the environment an inspector needs: where libraries, plugins and models lie, how it logs, and how it
/// reaches servers. Everything else stays here, secrets of webhooks among it.
const ENVIRONMENT: [&str; 22] = [
    "HOME",
    "XDG_CACHE_HOME",
    "LD_LIBRARY_PATH",
    "ORT_DYLIB_PATH",
    "SLUICEGATE_ASSETS",
    "SLUICEGATE_LOG",
    "LANG",
    "TZ",
    "RUST_BACKTRACE",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "http_proxy",
    "https_proxy",
    "no_proxy",
    "all_proxy",
    "CUDA_VISIBLE_DEVICES",
    "NVIDIA_VISIBLE_DEVICES",
    "NVIDIA_DRIVER_CAPABILITIES",
    "LIBVA_DRIVER_NAME",
    "LIBVA_DRIVERS_PATH",
    "GIO_EXTRA_MODULES",
    "GIO_MODULE_DIR",
];

/// What a process says to whoever looks after it.
#[derive(Debug)]
pub(super) enum Said {
    /// It is ready; this its sandbox lacks.
    Ready(Vec<String>),
    /// It cannot begin.
    Failed(String),
    /// It does not inspect that.
    Refused(Session),
    /// It is gone, and everything that it said was heard.
    Gone,
}

/// Why a process that was not told to stop is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// It broke.
    Crashed,
    /// Somebody killed it.
    Killed,
    /// It was silent for too long, and killed for it.
    Stalled,
    /// It took too much memory, and was killed for it.
    Memory,
    /// It was told to end, so that another begins in its place.
    Renewed,
    /// It ended by itself.
    Failed,
}

impl End {
    /// A bounded word for metrics.
    pub(super) const fn word(self) -> &'static str {
        match self {
            Self::Crashed => "crashed",
            Self::Killed => "killed",
            Self::Stalled => "stalled",
            Self::Memory => "memory",
            Self::Renewed => "renewed",
            Self::Failed => "failed",
        }
    }

    fn of(status: ExitStatus) -> Self {
        match status.signal() {
            None => Self::Failed,
            // Abort, bad instruction, trap, bus, arithmetic, segment, system call: what a program does to itself.
            Some(4 | 5 | 6 | 7 | 8 | 11 | 31) => Self::Crashed,
            Some(_) => Self::Killed,
        }
    }
}

/// See the module.
#[derive(Debug)]
pub(super) struct Running {
    /// Tells it from every other process there ever was.
    pub(super) number: u64,
    pub(super) since: Timestamp,
    child: Child,
    commands: Sender<Command>,
    pulse: Arc<Pulse>,
    /// Why we killed it, or told it to end.
    put_down: Option<End>,
}

/// How long it left us waiting, and what it has in hand.
#[derive(Debug, Default)]
struct Pulse {
    silence: Mutex<Silence>,
    hands: Mutex<Vec<Option<Session>>>,
}

/// For how long we have listened to a process without an answer. The time that hearing it takes, which is as long as the judge
/// takes, does not count: its answer may lie behind all that it said before.
#[derive(Debug, Default, Clone, Copy)]
struct Silence {
    /// Since when we listen; nothing while we hear.
    listening: Option<Timestamp>,
    /// How long we listened before, since the last answer.
    before: Duration,
}

impl Silence {
    fn listen(&mut self, now: Timestamp) {
        self.listening = Some(now);
    }

    fn hear(&mut self, now: Timestamp) {
        self.before = self.lasts(now);
        self.listening = None;
    }

    fn answered(&mut self) {
        self.before = Duration::ZERO;
    }

    /// Forgets what was until now.
    fn begin_anew(&mut self, now: Timestamp) {
        self.before = Duration::ZERO;
        self.listening = self.listening.map(|_since| now);
    }

    fn lasts(&self, now: Timestamp) -> Duration {
        self.before + self.listening.map_or(Duration::ZERO, |since| now.since(since))
    }
}

impl Running {
    /// Starts a process. What it says is said to `on_said`, and its events to whoever the plan says.
    pub(super) fn start(plan: &Arc<Plan>, number: u64, on_said: impl Fn(Said) + Send + 'static) -> io::Result<Self> {
        let now = plan.clock.now();
        let (ours, theirs) = UnixStream::pair()?;
        let (commands, waiting) = bounded(COMMANDS + 2 * plan.setup.sample.max_streams.get());
        let begin =
            Command::Begin { setup: Box::new(plan.setup.clone()), anchor: plan.clock.anchor(), limits: plan.limits };
        // There is room: it is the first.
        drop(commands.try_send(begin));
        let pulse = Arc::new(Pulse::default());
        pulse.silence().listen(now);
        // First all that can fail here, so that there is no process that nobody looks after. The threads end by themselves where
        // there is none at the other end.
        let writing = ours.try_clone()?;
        Builder::new().name("to-inspector".to_owned()).spawn(move || write(&writing, &waiting))?;
        let (reading, heard) = (Arc::clone(&pulse), Arc::clone(plan));
        let read = move || reading.read(&ours, number, &heard, on_said);
        Builder::new().name("from-inspector".to_owned()).spawn(read)?;
        let child = spawn(&plan.program, theirs)?;
        Ok(Self { number, since: now, child, commands, pulse, put_down: None })
    }

    /// Tells it something. One that does not listen is put down.
    pub(super) fn tell(&mut self, command: Command) {
        if self.commands.try_send(command).is_err() {
            self.put_down(End::Stalled);
        }
    }

    /// Looks whether it is well; one that is not is put down.
    pub(super) fn look(&mut self, ready: bool, memory: u64, now: Timestamp) {
        let silent = match self.put_down {
            Some(_) => LEAVING,
            None if ready => SILENCE,
            None => GETTING_READY,
        };
        if self.pulse.silence().lasts(now) > silent {
            self.put_down(End::Stalled);
        } else if own_memory(self.child.id()).is_some_and(|own| own > memory) {
            self.put_down(End::Memory);
        }
    }

    /// From now on it is expected to speak: it has become ready, or whoever looks could not look for a while, and it may have
    /// been kept from answering by the same.
    pub(super) fn begin_anew(&self, now: Timestamp) {
        self.pulse.silence().begin_anew(now);
    }

    /// Tells it to finish what it has in hand and end; once is enough.
    pub(super) fn leave(&mut self, now: Timestamp) {
        if self.put_down.is_none() {
            self.begin_anew(now);
            self.tell(Command::Stop);
            self.put_down.get_or_insert(End::Renewed);
        }
    }

    /// Kills it.
    pub(super) fn put_down(&mut self, why: End) {
        self.put_down.get_or_insert(why);
        // Fails only when it is gone already.
        drop(self.child.kill());
    }

    /// What it had in hand when it was heard last.
    pub(super) fn in_hand(&self) -> Vec<Session> {
        self.pulse.hands.lock().unwrap_or_else(PoisonError::into_inner).iter().flatten().cloned().collect()
    }

    /// Why it is gone, once it is.
    pub(super) fn end(mut self) -> End {
        // It has let go of its socket and so is gone, or may as well be.
        drop(self.child.kill());
        let status = self.child.wait();
        self.put_down.unwrap_or_else(|| status.map_or(End::Failed, End::of))
    }
}

impl Pulse {
    fn silence(&self) -> MutexGuard<'_, Silence> {
        self.silence.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Hears everything that a process says, until it says no more.
    fn read(&self, from: &UnixStream, number: u64, plan: &Plan, on_said: impl Fn(Said)) {
        let clock: Clock = plan.clock;
        let mut from = BufReader::new(from);
        loop {
            match wire::read(&mut from) {
                Ok(Some(message)) => {
                    self.silence().hear(clock.now());
                    self.hear(message, number, plan, &on_said);
                    self.silence().listen(clock.now());
                }
                Ok(None) => break,
                Err(error) => {
                    warn!(number, %error, "what an inspector says makes no sense, or broke off");
                    break;
                }
            }
        }
        on_said(Said::Gone);
    }

    fn hear(&self, message: Message, number: u64, plan: &Plan, on_said: &impl Fn(Said)) {
        match message {
            Message::Ready { lacks } => on_said(Said::Ready(lacks)),
            Message::Failed { reason } => on_said(Said::Failed(reason)),
            Message::Here => self.silence().answered(),
            Message::Counted(families) => plan.metrics.absorb(number, families),
            Message::Event(Event::InHand { worker, session }) => {
                let mut hands = self.hands.lock().unwrap_or_else(PoisonError::into_inner);
                if worker < plan.setup.workers.max(1) {
                    hands.resize(plan.setup.workers.max(1), None);
                    if let Some(hand) = hands.get_mut(worker) {
                        *hand = session;
                    }
                }
            }
            Message::Event(Event::Refused { session, why }) => {
                on_said(Said::Refused(session.clone()));
                (plan.report)(Event::Refused { session, why });
            }
            Message::Event(event) => (plan.report)(event),
            Message::Done => {}
        }
    }
}

/// Starts the program, with its end of the socket as standard input.
fn spawn(program: &Program, theirs: UnixStream) -> io::Result<Child> {
    let kept = |name: &&str| Some((name.to_string(), std::env::var_os(name)?));
    let gstreamer = std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value)));
    std::process::Command::new(&program.path)
        .args(&program.arguments)
        .env_clear()
        .envs(gstreamer.filter(|(name, _)| name.starts_with("GST_")))
        .envs(ENVIRONMENT.iter().filter_map(kept))
        .envs([process::ABORT_ON].iter().filter(|_| cfg!(debug_assertions)).filter_map(kept))
        // The list of plugins was made before: a process that may write nothing and start nothing takes it as it is.
        .env("GST_REGISTRY_FORK", "no")
        .env("GST_REGISTRY_UPDATE", "no")
        .envs(ALLOCATOR)
        .stdin(Stdio::from(OwnedFd::from(theirs)))
        .stdout(Stdio::null())
        .spawn()
}

/// Writes commands until there is nobody left to write them, or to read them.
fn write(to: &UnixStream, commands: &Receiver<Command>) {
    for command in commands {
        if wire::write(to, &command).is_err() {
            return;
        }
    }
}

/// How much memory a process has for itself alone, in bytes: without the files that it maps.
fn own_memory(process: u32) -> Option<u64> {
    let facts = std::fs::read_to_string(format!("/proc/{process}/statm")).ok()?;
    let mut pages = facts.split(' ').skip(1).map(|pages| pages.parse::<u64>().ok());
    let (resident, shared) = (pages.next()??, pages.next()??);
    Some(resident.saturating_sub(shared) * rustix::param::page_size() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn how_a_process_ended_says_whether_it_broke() {
        for (status, end) in
            [(11, End::Crashed), (6, End::Crashed), (9, End::Killed), (15, End::Killed), (0, End::Failed)]
        {
            assert_eq!(End::of(ExitStatus::from_raw(status)), end, "{status}");
        }
        assert_eq!(End::of(ExitStatus::from_raw(69 << 8)), End::Failed);
    }

    #[test]
    fn only_the_time_that_we_listen_in_vain_is_silence() {
        let at = Timestamp::from_millis;
        let mut silence = Silence::default();
        silence.listen(at(0));
        assert_eq!(silence.lasts(at(1200)).as_millis(), 1200);
        // What it said is heard for a minute, again and again: its answer lies behind all that.
        for (from, to) in [(1200, 61_200), (61_201, 121_201), (121_202, 181_202)] {
            silence.hear(at(from));
            assert_eq!(silence.lasts(at(to)).as_millis(), 1200 + u128::from(from - 1200) % 60_000);
            silence.listen(at(to));
        }
        // It speaks, and does not answer.
        for spoke in [182_202, 183_202] {
            silence.hear(at(spoke));
            silence.listen(at(spoke));
        }
        assert_eq!(silence.lasts(at(184_202)).as_millis(), 1202 + 3000);
        silence.hear(at(184_202));
        silence.answered();
        silence.listen(at(184_300));
        assert_eq!(silence.lasts(at(184_400)).as_millis(), 100);
        silence.begin_anew(at(190_000));
        assert_eq!(silence.lasts(at(190_000)).as_millis(), 0);
    }

    #[test]
    fn a_process_s_own_memory_is_known() {
        assert!(own_memory(std::process::id()).unwrap() > 100_000);
        assert_eq!(own_memory(u32::MAX), None);
    }
}
