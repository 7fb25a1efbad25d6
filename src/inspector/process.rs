//! An inspector process: its short main loop, between the core's commands and its own [`Line`].
//!
//! It promises not to outlive the core: the kernel ends it with the core, and so does the end of their socket. Nothing else
//! does: what asks all processes of a service or a terminal to end asks the core, which has this one finish first.

use std::io::{self, BufReader};
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use crossbeam_channel::{RecvTimeoutError, bounded};
use tokio::signal::unix::{SignalKind, signal};

use super::wire::{self, Command, Message};
use super::{Event, Inspection, InspectorError, Line, sandbox};
use crate::clock::Clock;
use crate::metrics::Metrics;

/// How often the core is told what was counted.
const COUNTED_EVERY: Duration = Duration::from_secs(1);

/// Names a stream that brings inspectors down, in builds for tests.
pub const ABORT_ON: &str = "SLUICEGATE_TEST_ABORT_ON";

/// Inspects what the core says over `socket`, until it says that that is enough, or is gone.
///
/// # Errors
/// When it cannot begin, which the core is told too, or the core says what makes no sense.
pub fn run(socket: UnixStream) -> Result<(), InspectorError> {
    ignore_requests_to_end()?;
    sandbox::end_with_parent()?;
    let mut commands = BufReader::new(socket.try_clone()?);
    let said = Arc::new(Mutex::new(socket));
    let say = move |message: &Message| wire::write(&*said.lock().unwrap_or_else(PoisonError::into_inner), message);
    let Some(Command::Begin { setup, anchor, limits }) = wire::read(&mut commands)? else {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "the core does not begin as it should").into());
    };
    let metrics = Arc::new(Metrics::new().map_err(io::Error::other)?);
    let telling = say.clone();
    // Fails only when the core is gone: then the main loop ends too.
    let report = Arc::new(move |event| {
        let breaking = breaks(&event);
        drop(telling(&Message::Event(event)));
        if breaking {
            std::process::abort();
        }
    });
    let begin = || -> Result<(Line, Vec<String>), InspectorError> {
        let mut lacks = sandbox::before(&setup, limits)?;
        let line = Line::start(&setup, Clock::anchored(anchor), &metrics, report)?;
        lacks.extend(sandbox::after());
        Ok((line, lacks))
    };
    let line = match begin() {
        Ok((line, lacks)) => {
            say(&Message::Counted(metrics.snapshot()))?;
            say(&Message::Ready { lacks })?;
            line
        }
        Err(error) => {
            say(&Message::Failed { reason: error.to_string() })?;
            return Err(error);
        }
    };
    let (stop, stopped) = bounded::<()>(0);
    let (counting, counted) = (say.clone(), Arc::clone(&metrics));
    let counting = thread::Builder::new().name("counted".to_owned()).spawn(move || {
        while stopped.recv_timeout(COUNTED_EVERY) == Err(RecvTimeoutError::Timeout) {
            drop(counting(&Message::Counted(counted.snapshot())));
        }
    })?;
    loop {
        match wire::read(&mut commands)? {
            Some(Command::Attach { session, pull }) => line.attach(&session, pull),
            Some(Command::Detach { session }) => line.detach(&session),
            Some(Command::Raise { session, level, now, until }) => line.raise(&session, level, now, until),
            Some(Command::Ping) => say(&Message::Here)?,
            // Nobody is left to tell anything: what is under way is let fall, without waiting for it.
            None => {
                std::mem::forget(line);
                return Ok(());
            }
            Some(Command::Stop) => break,
            Some(Command::Begin { .. }) => {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "the core begins twice").into());
            }
        }
    }
    line.stop();
    drop(stop);
    // A thread that panicked has said so on standard error.
    drop(counting.join());
    say(&Message::Counted(metrics.snapshot()))?;
    Ok(say(&Message::Done)?)
}

/// Lets the signals pass by that ask a process to end.
fn ignore_requests_to_end() -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    let _entered = runtime.enter();
    // What handles them stays for as long as the process lives, and that nobody waits for it makes it nothing.
    for kind in [SignalKind::terminate(), SignalKind::interrupt()] {
        drop(signal(kind)?);
    }
    Ok(())
}

/// Whether to break off in the middle of a stream as a broken decoder would: only in builds for tests, and only for the
/// stream that they name.
fn breaks(event: &Event) -> bool {
    let Event::InHand { session: Some(session), .. } = event else { return false };
    cfg!(debug_assertions)
        && std::env::var_os(ABORT_ON).is_some_and(|name| name.to_str() == Some(&*session.stream.name))
}
