//! What Sluicegate says as it happens: its event stream, read on a thread and kept.

use std::io::{BufRead, BufReader};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::Value;

/// The events received so far, and the wait for the next.
#[derive(Debug, Clone)]
pub struct Events {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    events: Mutex<Vec<Value>>,
    more: Condvar,
}

impl Events {
    /// Subscribes to `GET /v1/events` at `api`.
    ///
    /// # Errors
    /// When the API does not answer.
    pub fn subscribe(api: &str) -> Result<Self> {
        let response = ureq::get(format!("{api}/v1/events")).call().context("the event stream does not open")?;
        let shared = Arc::new(Shared::default());
        let writer = Arc::clone(&shared);
        // Ends with the connection: Sluicegate closes it when it stops.
        std::thread::spawn(move || {
            let lines = BufReader::new(response.into_body().into_reader()).lines();
            for line in lines.map_while(Result::ok) {
                let Some(event) = line.strip_prefix("data:").and_then(|json| serde_json::from_str(json).ok()) else {
                    continue;
                };
                if let Ok(mut events) = writer.events.lock() {
                    events.push(event);
                    writer.more.notify_all();
                }
            }
        });
        Ok(Self { shared })
    }

    /// All events so far.
    pub fn all(&self) -> Vec<Value> {
        self.shared.events.lock().map(|events| events.clone()).unwrap_or_default()
    }

    /// The first event from number `from` on that `wanted` accepts, waiting for it at most `limit`; with its number.
    ///
    /// # Errors
    /// When none comes in time: the message says what was waited for.
    pub fn wait(
        &self,
        from: usize,
        what: &str,
        limit: Duration,
        wanted: impl Fn(&Value) -> bool,
    ) -> Result<(usize, Value)> {
        let deadline = Instant::now() + limit;
        let mut events = self.shared.events.lock().ok().context("the event reader panicked")?;
        let mut next = from;
        loop {
            while let Some(event) = events.get(next) {
                if wanted(event) {
                    return Ok((next, event.clone()));
                }
                next += 1;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                bail!("waited {limit:?} in vain for {what}; the events were {:#?}", events.last_chunk::<5>());
            }
            events = self.shared.more.wait_timeout(events, left).ok().context("the event reader panicked")?.0;
        }
    }
}

/// Whether `event` is of type `kind` and about the stream called `name`.
pub fn is(event: &Value, kind: &str, name: &str) -> bool {
    event["type"] == kind && event["stream"].as_str().is_some_and(|stream| stream.ends_with(&format!("/{name}")))
}
