//! Says what happens, to metrics and to the listeners of the event stream.

use std::sync::Arc;

use tokio::sync::broadcast;

use crate::api::{Event, Happening};
use crate::clock::Timestamp;
use crate::metrics::Metrics;
use crate::stream::StreamId;

/// Events kept for a listener that is slow; one that is slower still is told how many it missed.
const BACKLOG: usize = 1024;

/// Cheap to clone; every stage's wiring has one.
#[derive(Debug, Clone)]
pub(super) struct Telling {
    pub(super) metrics: Arc<Metrics>,
    events: broadcast::Sender<Event>,
}

impl Telling {
    pub(super) fn new(metrics: Arc<Metrics>) -> Self {
        Self { metrics, events: broadcast::Sender::new(BACKLOG) }
    }

    /// Tells whoever listens; nobody does most of the time, and that is fine.
    pub(super) fn tell(&self, at: Timestamp, stream: &StreamId, happening: Happening) {
        if self.events.receiver_count() > 0 {
            drop(self.events.send(Event { at, stream: Some(stream.full().into()), happening }));
        }
    }

    /// Tells of something that is about no stream, or several.
    pub(super) fn tell_at_large(&self, at: Timestamp, happening: Happening) {
        drop(self.events.send(Event { at, stream: None, happening }));
    }

    /// What happens from now on.
    pub(super) fn listen(&self) -> broadcast::Receiver<Event> {
        self.events.subscribe()
    }
}
