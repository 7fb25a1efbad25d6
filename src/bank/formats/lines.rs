//! Lists of one thing a line.
//!
//! *Plain lists*: one hash a line, as `pdq-photo-hasher` and spreadsheets give them. Empty lines and lines that begin with
//! `#` mean nothing.
//!
//! *Signal files* of python-threatexchange: `pdq f8f8f0...`, a kind of signal, a space and the signal, one a line; a signal
//! of the kind `vpdq` is a JSON text. The shape is that of `LocalFileSignalExchangeAPI` in
//! `python-threatexchange/threatexchange/exchanges/impl/file_api.py` of github.com/facebook/ThreatExchange.

use std::io;

use super::{Item, Listed, Place, Read, hash, vpdq};
use crate::bank::Signal;

/// The lines that mean something, with their numbers.
pub(super) fn lines(text: &str) -> impl Iterator<Item = (Place, &str)> {
    let numbered = (1..).zip(text.lines().map(str::trim));
    numbered
        .filter(|(_, line)| !line.is_empty() && !line.starts_with('#'))
        .map(|(number, line)| (Place::Line(number), line))
}

pub(super) fn read_hashes(text: &str) -> Read {
    let mut read = Read::default();
    for (place, line) in lines(text) {
        match hash(line) {
            Ok(hash) => read.items.push(Item::Signal(Listed::bare(place, hash))),
            Err(reason) => read.fault(place, reason),
        }
    }
    read
}

pub(super) fn write_hashes(mut signals: impl Iterator<Item = Signal>, out: &mut dyn io::Write) -> io::Result<()> {
    signals.try_for_each(|signal| writeln!(out, "{}", signal.hash))
}

pub(super) fn read_signals(text: &str) -> Read {
    let mut read = Read::default();
    for (place, line) in lines(text) {
        match line.split_once(' ') {
            Some(("pdq", signal)) => match hash(signal.trim()) {
                Ok(hash) => read.items.push(Item::Signal(Listed::bare(place, hash))),
                Err(reason) => read.fault(place, reason),
            },
            Some(("vpdq", signal)) => vpdq::read_signal(signal, place, None, &mut read),
            Some(_) => read.other += 1,
            None => read.fault(place, "it is not a kind of signal, a space and a signal"),
        }
    }
    read
}

pub(super) fn write_signals(mut signals: impl Iterator<Item = Signal>, out: &mut dyn io::Write) -> io::Result<()> {
    signals.try_for_each(|signal| writeln!(out, "pdq {}", signal.hash))
}
