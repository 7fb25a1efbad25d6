//! What happened, told as it happens and kept as moments.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use rig::events::{Events, is};
use serde_json::Value;

/// Prints each event on a line of its own while it happens.
pub(crate) struct Narrator {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl Narrator {
    /// Starts telling, with times counted from `started`.
    pub(crate) fn start(events: &Events, started: SystemTime) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (events, ended) = (events.clone(), Arc::clone(&stop));
        let thread = std::thread::spawn(move || {
            let mut next = 0;
            loop {
                let last = ended.load(Ordering::Acquire);
                for event in crate::follow(&events, next) {
                    next += 1;
                    if let Some(line) = sentence(&event) {
                        let at = at(&event).map_or(0.0, |at| seconds(started, at));
                        let name = event["stream"].as_str().and_then(|full| full.rsplit('/').next()).unwrap_or("");
                        println!("  {at:6.2} s  {name:<13} {line}");
                    }
                }
                if last {
                    return;
                }
                std::thread::sleep(Duration::from_millis(50));
            }
        });
        Self { stop, thread }
    }

    /// Tells what is left to tell, and ends.
    pub(crate) fn finish(self) {
        self.stop.store(true, Ordering::Release);
        drop(self.thread.join());
    }
}

fn sentence(event: &Value) -> Option<String> {
    let text = |key: &str| event[key].as_str().unwrap_or("?").to_owned();
    Some(match event["type"].as_str()? {
        "stream_attached" => "attached: Sluicegate pulls it as a viewer would".to_owned(),
        "stream_state" => format!("is now {}", event["state"].as_str().unwrap_or("?")),
        "finding" => observed(&event["observation"])?,
        "verdict" => format!("VERDICT {} by rule `{}`", text("verdict").to_uppercase(), text("rule")),
        "action" => match event["progress"].as_str()? {
            "asked" => "the server is asked to drop the publisher".to_owned(),
            "observed_gone" => "the publisher is observed gone".to_owned(),
            other => format!("action: {other}"),
        },
        "admission" if event["answer"] == "refuse" => "came back under the same name: REFUSED".to_owned(),
        "stream_ended" => "ended".to_owned(),
        _ => return None,
    })
}

fn observed(observation: &Value) -> Option<String> {
    if observation["kind"] == "match" {
        let at = &observation["banked_at"];
        let banked = at["secs"].as_f64().unwrap_or(0.0) + at["nanos"].as_f64().unwrap_or(0.0) / 1e9;
        let (bank, distance) = (observation["bank"].as_str()?, &observation["distance"]);
        return Some(format!("picture matches bank `{bank}` at {banked:.2} s: {distance} of 256 bits differ"));
    }
    let scores = observation["scores"].as_array()?.iter();
    let scores =
        scores.map(|pair| format!("{} {:.2}", pair[0].as_str().unwrap_or("?"), pair[1].as_f64().unwrap_or(0.0)));
    Some(format!("scored: {}", scores.collect::<Vec<_>>().join(", ")))
}

/// The moments of the story, on the wall clock.
#[derive(Debug)]
pub(crate) struct Moments {
    /// The publisher was started.
    pub(crate) started: SystemTime,
    /// Its first banked frame left it.
    pub(crate) published: SystemTime,
    /// The first access unit that matched reached Sluicegate.
    pub(crate) received: SystemTime,
    /// Its finding.
    pub(crate) found: SystemTime,
    /// The verdict.
    pub(crate) decided: SystemTime,
    /// The server was asked.
    pub(crate) asked: SystemTime,
    /// Sluicegate saw that the server no longer lists the session.
    pub(crate) gone: SystemTime,
    /// The publisher's process ended.
    pub(crate) exited: SystemTime,
    /// The publisher tried again.
    pub(crate) retried: SystemTime,
    /// That ended, refused.
    pub(crate) refused: SystemTime,
}

impl Moments {
    /// Picks the moments out of the events about `name`.
    pub(crate) fn of(
        events: &[Value],
        name: &str,
        started: SystemTime,
        published: SystemTime,
        [exited, retried, refused]: [SystemTime; 3],
    ) -> Result<Self> {
        let matched =
            first(events, "a finding", |event| is(event, "finding", name) && event["observation"]["kind"] == "match")?;
        let verdict = first(events, "a verdict", |event| is(event, "verdict", name))?;
        let progress = |stage: &'static str| {
            first(events, stage, move |event| is(event, "action", name) && event["progress"] == stage)
        };
        Ok(Self {
            started,
            published,
            received: time(&matched["arrived"]).context("a finding without arrival")?,
            found: at(matched).context("a finding without time")?,
            decided: at(verdict).context("a verdict without time")?,
            asked: at(progress("asked")?).context("an action without time")?,
            gone: at(progress("observed_gone")?).context("an action without time")?,
            exited,
            retried,
            refused,
        })
    }

    /// From the first banked frame published to the publisher observed gone.
    pub(crate) fn cut_off(&self) -> Result<Duration> {
        Ok(self.gone.duration_since(self.published)?)
    }

    /// From the first banked keyframe received to the publisher observed gone.
    pub(crate) fn after_banked_keyframe(&self) -> Duration {
        self.gone.duration_since(self.received).unwrap_or_default()
    }
}

fn first<'a>(events: &'a [Value], what: &str, wanted: impl Fn(&Value) -> bool) -> Result<&'a Value> {
    events.iter().find(|event| wanted(event)).with_context(|| format!("no event tells of {what}"))
}

/// The time of an event.
pub(crate) fn at(event: &Value) -> Option<SystemTime> {
    time(&event["at"])
}

fn time(micros: &Value) -> Option<SystemTime> {
    micros.as_u64().map(|micros| UNIX_EPOCH + Duration::from_micros(micros))
}

/// Seconds from `earlier` to `later`, negative when it is the other way round.
pub(crate) fn seconds(earlier: SystemTime, later: SystemTime) -> f64 {
    match later.duration_since(earlier) {
        Ok(span) => span.as_secs_f64(),
        Err(error) => -error.duration().as_secs_f64(),
    }
}
