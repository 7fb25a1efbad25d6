//! A source under test: its events, in order, and whatever it is waited for to say.

use std::time::Duration;

use crossbeam_channel::{Receiver, bounded};
use sluicegate::clock::Clock;
use sluicegate::media_server::{Protocol, Pull};
use sluicegate::source::{Config, Reason, SourceEvent, SourceHandle, Sources};
use sluicegate::stream::{AccessUnit, StreamId};

const PATIENCE: Duration = Duration::from_secs(30);

/// See the module.
pub(crate) struct Watched {
    _handle: SourceHandle,
    events: Receiver<SourceEvent>,
}

/// Sources that give up soon what does not come.
pub(crate) fn sources() -> Sources {
    let config = Config {
        stall_after: Duration::from_secs(3),
        no_video_after: Duration::from_secs(3),
        reconnect_max: Duration::from_secs(1),
        ..Config::default()
    };
    Sources::new(config, Clock::system()).unwrap()
}

impl Watched {
    pub(crate) fn add(sources: &Sources, protocol: Protocol, url: &str) -> Self {
        let (sender, events) = bounded(100_000);
        let pull = Pull { stream: StreamId::new("test", "live", "secret-key"), protocol, url: url.to_owned() };
        let handle = sources.add(pull, Box::new(move |event| drop(sender.try_send(event)))).unwrap();
        Self { _handle: handle, events }
    }

    /// The next event that `wanted` takes; those before it are passed over.
    pub(crate) fn wait<T>(&self, what: &str, mut wanted: impl FnMut(SourceEvent) -> Option<T>) -> T {
        let clock = Clock::system();
        let start = clock.now();
        let mut seen = Vec::new();
        loop {
            let left = PATIENCE.saturating_sub(clock.now().since(start));
            let event = self.events.recv_timeout(left).unwrap_or_else(|error| panic!("{what}: {error} after {seen:?}"));
            if !matches!(event, SourceEvent::Unit(_)) {
                seen.push(format!("{event:?}"));
            }
            if let Some(found) = wanted(event) {
                return found;
            }
        }
    }

    pub(crate) fn attached(&self) {
        self.wait("attached", |event| matches!(event, SourceEvent::Attached).then_some(()));
    }

    /// The next `number` units of one attachment.
    pub(crate) fn units(&self, number: usize) -> Vec<AccessUnit> {
        let unit = |event| match event {
            SourceEvent::Unit(unit) => Some(unit),
            SourceEvent::Attached => None,
            other => panic!("instead of units: {other:?}"),
        };
        (0..number).map(|_| self.wait("a unit", unit)).collect()
    }

    /// The reason of the next reconnection, and the kind and the text of its error.
    pub(crate) fn reconnecting(&self) -> (Reason, Option<&'static str>, String) {
        self.wait("reconnecting", |event| match event {
            SourceEvent::Reconnecting { reason, error, .. } => {
                let text = error.as_ref().map(ToString::to_string).unwrap_or_default();
                Some((reason, error.map(|error| error.kind()), text))
            }
            _ => None,
        })
    }
}
