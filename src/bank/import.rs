//! Takes a list from elsewhere into a bank: what is fit and new is added, what is degenerate is refused and listed, what
//! the provider withdrew disappears. Pure.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::formats::{Item, Listed, Place, Read};
use super::store::Draft;
use super::{BankError, Provenance, Refusal, Signal};
use crate::clock::Timestamp;
use crate::finding::Opinion;
use crate::hash::PdqHash;

/// A list to be taken in.
#[derive(Debug, Clone)]
pub struct Import {
    /// The list's file: where signals come from that do not say so themselves.
    pub provenance: Provenance,
    /// How far signals are vouched for that do not say so themselves.
    pub opinion: Opinion,
    /// What the file says.
    pub list: Read,
    /// Whether it is all that its provider has, so that what it no longer names is withdrawn.
    pub whole: Option<&'static str>,
}

/// What became of a list.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Imported {
    /// Signals added.
    pub added: usize,
    /// Signals that the bank had already, or that the list names twice.
    pub already: usize,
    /// Signals of the bank that the provider withdrew or replaced.
    pub removed: usize,
    /// Not fit to be signals.
    pub refused: Vec<(Place, Refusal)>,
}

impl Import {
    pub(super) fn apply(self, draft: &mut Draft, now: Timestamp) -> Result<Imported, BankError> {
        let Self { provenance, opinion, list, whole } = self;
        if whole.is_some() && !list.faults.is_empty() {
            return Err(BankError::NotWhole { file: provenance.file, faults: list.faults.len() });
        }
        let mut imported = Imported::default();
        let (listed, renewed) = newest(list.items);
        let (fit, refused): (Vec<_>, Vec<_>) = listed
            .into_iter()
            .map(|listed| (Refusal::of(&listed.hash, listed.quality, draft.settings().min_quality), listed))
            .partition(|(refusal, _)| refusal.is_none());
        imported.refused = refused.into_iter().filter_map(|(refusal, listed)| Some((listed.place, refusal?))).collect();
        let fit: Vec<Listed> = fit.into_iter().map(|(_, listed)| listed).collect();

        let named: HashSet<(&Arc<str>, PdqHash)> =
            fit.iter().filter_map(|listed| Some((listed.record.as_ref()?, listed.hash))).collect();
        let is_named = |record: &Arc<str>, hash: &PdqHash| named.contains(&(record, *hash));
        imported.removed = draft.withdraw(&renewed, whole, is_named);

        let mut known: HashMap<PdqHash, HashSet<Option<Arc<str>>>> = HashMap::new();
        for signal in draft.tail() {
            known.entry(signal.hash).or_default().insert(signal.record.clone());
        }
        for listed in &fit {
            known.entry(listed.hash).or_default().extend(draft.records_in_base(&listed.hash));
        }
        let list_itself = Arc::new(provenance);
        let mut new = Vec::new();
        for listed in fit {
            // A hash that two providers vouch for stays when one of them withdraws it: it is kept once for each.
            let records = known.entry(listed.hash).or_default();
            if records.contains(&listed.record) || listed.record.is_none() && !records.is_empty() {
                imported.already += 1;
                continue;
            }
            records.insert(listed.record.clone());
            new.push(Signal {
                id: 0,
                hash: listed.hash,
                quality: listed.quality,
                opinion: listed.opinion.unwrap_or(opinion),
                provenance: listed.source.map_or_else(|| Arc::clone(&list_itself), Arc::new),
                banked_at: listed.at,
                record: listed.record,
                added: now,
            });
        }
        imported.added = new.len();
        draft.extend(new);
        Ok(imported)
    }
}

/// The signals that still stand at the end of a list, and the records of which it says all there is. What a list says of
/// such a record takes the place of what it said before.
fn newest(items: Vec<Item>) -> (Vec<Listed>, HashSet<Arc<str>>) {
    let mut standing: Vec<Option<Listed>> = Vec::new();
    let mut of_record: HashMap<Arc<str>, Vec<usize>> = HashMap::new();
    let mut renewed = HashSet::new();
    for item in items {
        match item {
            Item::Anew(record) => {
                for place in of_record.remove(&record).unwrap_or_default() {
                    if let Some(listed) = standing.get_mut(place) {
                        *listed = None;
                    }
                }
                renewed.insert(record);
            }
            Item::Signal(listed) => {
                if let Some(record) = &listed.record {
                    of_record.entry(Arc::clone(record)).or_default().push(standing.len());
                }
                standing.push(Some(listed));
            }
        }
    }
    (standing.into_iter().flatten().collect(), renewed)
}

#[cfg(test)]
mod tests;
