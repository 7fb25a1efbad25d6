//! The hashes of a video's frames, as vPDQ writes them.
//!
//! *Lines* `frame,quality,hash,time` with the time in seconds, as `vpdq-hash-video` writes them
//! (`vpdq/cpp/io/vpdqio.cpp` of github.com/facebook/ThreatExchange), or `frame,hash,quality,time` as the example in
//! `vpdq/python/README.md` prints them.
//!
//! *JSON*, the signal of python-threatexchange (`threatexchange/extensions/vpdq/vpdq_util.py`): a list of
//! `"hash,quality,time"`, or the older object of frame numbers with `quality`, `hash` and `timestamp` each.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use serde::Serializer as _;
use serde_json::Value;

use super::lines::lines;
use super::{Item, Listed, Place, Read, hash, quality, seconds};
use crate::bank::Signal;

const WRONG: &str = "it is not frame, quality, hash and time";
const WRONG_JSON: &str = "it is not hash, quality and time";

/// A signal's quality where its provider did not say: what vPDQ cannot leave out.
const FULL_QUALITY: u8 = 100;

pub(super) fn read_lines(text: &str) -> Read {
    let mut read = Read::default();
    for (place, line) in lines(text) {
        let fields: Vec<&str> = line.split(',').map(str::trim).collect();
        let listed = match fields.as_slice() {
            [frame, ..] if frame.parse::<u64>().is_err() => Err("its frame is no number".to_owned()),
            [_, first, second, time] if first.len() > second.len() => frame(place, first, second, time),
            [_, first, second, time] => frame(place, second, first, time),
            _ => Err(WRONG.to_owned()),
        };
        match listed {
            Ok(listed) => read.items.push(Item::Signal(listed)),
            Err(reason) => read.fault(place, reason),
        }
    }
    read
}

fn frame(place: Place, hash_text: &str, quality_text: &str, time: &str) -> Result<Listed, String> {
    let bare = Listed::bare(place, hash(hash_text)?);
    Ok(Listed { quality: Some(quality(quality_text)?), at: Some(seconds(time)?), ..bare })
}

pub(super) fn write_lines(signals: impl Iterator<Item = Signal>, out: &mut dyn io::Write) -> io::Result<()> {
    (0u64..).zip(signals).try_for_each(|(frame, signal)| {
        let quality = signal.quality.unwrap_or(FULL_QUALITY);
        writeln!(out, "{frame},{quality},{},{:.3}", signal.hash, time(&signal))
    })
}

fn time(signal: &Signal) -> f64 {
    signal.banked_at.map_or(0.0, |at| at.as_secs_f64())
}

pub(super) fn read_json(text: &str) -> Result<Read, String> {
    let signal: Value = serde_json::from_str(text).map_err(|error| error.to_string())?;
    let mut read = Read::default();
    if frames(&signal, |_| {}) == 0 && signal != Value::Array(Vec::new()) {
        return Err("it is neither a list nor an object of frames".to_owned());
    }
    let mut number = 0;
    frames(&signal, |frame| {
        number += 1;
        put(frame, Place::Record(number), None, &mut read);
    });
    Ok(read)
}

/// Reads a vPDQ signal that stands inside another file.
pub(super) fn read_signal(text: &str, place: Place, record: Option<&Arc<str>>, read: &mut Read) {
    match serde_json::from_str::<Value>(text) {
        Ok(signal) => {
            if frames(&signal, |frame| put(frame, place, record, read)) == 0 {
                read.fault(place, "its vPDQ signal has no frames");
            }
        }
        Err(_) => read.fault(place, "its vPDQ signal is not JSON"),
    }
}

fn frames<'a>(signal: &'a Value, mut each: impl FnMut(&'a Value)) -> usize {
    match signal {
        Value::Array(frames) => frames.iter().map(&mut each).count(),
        Value::Object(frames) => frames.values().map(&mut each).count(),
        _ => 0,
    }
}

fn put(frame: &Value, place: Place, record: Option<&Arc<str>>, read: &mut Read) {
    match json_frame(frame, place) {
        Ok(listed) => read.items.push(Item::Signal(Listed { record: record.map(Arc::clone), ..listed })),
        Err(reason) => read.fault(place, reason),
    }
}

fn json_frame(value: &Value, place: Place) -> Result<Listed, String> {
    match value {
        Value::String(text) => match text.split(',').collect::<Vec<_>>().as_slice() {
            [hash, quality, time] => frame(place, hash, quality, time),
            _ => Err(WRONG_JSON.to_owned()),
        },
        Value::Object(fields) => {
            let hash_text = fields.get("hash").and_then(Value::as_str).ok_or(WRONG_JSON)?;
            let quality = fields.get("quality").and_then(Value::as_u64).filter(|quality| *quality <= 100);
            let at = fields.get("timestamp").and_then(Value::as_f64).map(Duration::try_from_secs_f64);
            let (Some(quality), Some(Ok(at))) = (quality, at) else { return Err(WRONG_JSON.to_owned()) };
            Ok(Listed { quality: Some(quality as u8), at: Some(at), ..Listed::bare(place, hash(hash_text)?) })
        }
        _ => Err(WRONG_JSON.to_owned()),
    }
}

pub(super) fn write_json(signals: impl Iterator<Item = Signal>, out: &mut dyn io::Write) -> io::Result<()> {
    let frames = signals
        .map(|signal| format!("{},{},{:.3}", signal.hash, signal.quality.unwrap_or(FULL_QUALITY), time(&signal)));
    serde_json::Serializer::new(&mut *out).collect_seq(frames)?;
    writeln!(out)
}
