//! What a bank's signals were taken from, counted.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{Bank, Provenance};
use crate::clock::Timestamp;

/// What a bank has of one file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Source {
    /// How many signals.
    pub signals: usize,
    /// Where in the video the last of them lies.
    pub last: Duration,
    /// When the first of them was added.
    pub added: Timestamp,
}

impl Source {
    fn with(source: Option<Self>, banked_at: Option<Duration>, added: Timestamp) -> Self {
        let Self { signals, last, added } = source.unwrap_or(Self { signals: 0, last: Duration::ZERO, added });
        Self { signals: signals + 1, last: last.max(banked_at.unwrap_or_default()), added }
    }
}

impl Bank {
    /// The files that its signals were taken from, by name.
    pub fn sources(&self) -> BTreeMap<Provenance, Source> {
        // By number first: texts are dear to compare ten million times.
        let mut by_number = BTreeMap::<u32, Source>::new();
        for row in self.rows() {
            let source = by_number.get(&row.provenance).copied();
            by_number.insert(row.provenance, Source::with(source, row.banked_at, row.added));
        }
        let named = by_number.into_iter().filter_map(|(number, source)| Some((self.provenance(number)?, source)));
        let mut sources: BTreeMap<Provenance, Source> = named.collect();
        for signal in self.tail() {
            let source = sources.get(&*signal.provenance).copied();
            let source = Source::with(source, signal.banked_at, signal.added);
            sources.insert(signal.provenance.as_ref().clone(), source);
        }
        sources
    }
}
