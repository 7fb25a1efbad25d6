//! Finds signals that fire where they should not, and sets them aside before they do harm.
//!
//! A title card, a test pattern or a game's display that slipped into a harmful bank matches in many unrelated streams. So
//! does a video that many people upload again; but there *different* signals of the bank match in each stream, while a
//! signal that has no business in the bank fires alone. So a stream is a witness against a signal when
//!
//! - the signal matched in it during the last [`Config::within`],
//! - fewer than [`Config::signals`] different signals of the bank did, in that long a time before its latest match,
//! - and it went on for [`Config::alone_for`] since: enough for others to follow, had there been any. A stream that ended
//!   sooner, because it was cut for instance, says nothing.
//!
//! From [`Config::streams`] witnesses on the signal is set aside: its matches count as disputed, at once. Streams of one
//! name on one server are one, in whatever application: they are somebody who comes back, or copies.
//!
//! What was released was found right by a person: the streams that spoke against it, and those in which it was seen when it was
//! released, do not count against it again for [`REMEMBERED`].
//!
//! Whoever publishes under many names could so disarm a bank signal by signal. So no more than [`Config::most`] signals of one
//! bank are set aside within [`Config::per`]; that there would be more is told once in that time, and people decide.
//!
//! Memory is bounded: [`SIGHTINGS`] pairs of bank and stream, [`CROWD`] signals each, [`HELD`] signals set aside, [`SPENT`]
//! streams that do not count against one. What the bank in force says itself is forgotten once it is not seen any more, and the
//! oldest of the spent streams where there are too many.
//!
//! Pure: time is an argument.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;

use crate::clock::Timestamp;
use crate::config::duration;
use crate::decision::SetAside;
use crate::finding::{Finding, Match, Observation, Opinion};
use crate::stream::{Session, StreamId};

/// Pairs of bank and stream that are kept in mind; further streams are no witnesses.
pub const SIGHTINGS: usize = 16_384;

/// Different signals of one bank that are kept in mind of one stream: the latest.
pub const CROWD: usize = 16;

/// Signals that are set aside in memory at most; no further one is.
pub const HELD: usize = 4096;

/// Pairs of signal and stream that are kept in mind because the stream does not count against the signal again.
pub const SPENT: usize = 16_384;

/// For how long: somebody looks at what was set aside within a day or a weekend.
pub const REMEMBERED: Duration = Duration::from_hours(7 * 24);

/// The section `[banks.quarantine]`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Whether signals are set aside by themselves.
    pub enabled: bool,
    /// In how many unrelated streams a signal must have fired alone.
    pub streams: usize,
    /// Fewer different signals of the bank than this in one stream are alone.
    pub signals: usize,
    /// How long a stream must have gone on with nothing else of the bank in it.
    #[serde(with = "duration")]
    pub alone_for: Duration,
    /// The time within which all this is counted.
    #[serde(with = "duration")]
    pub within: Duration,
    /// How many signals of one bank are set aside by themselves at most.
    pub most: usize,
    /// Within which time no more than that are.
    #[serde(with = "duration")]
    pub per: Duration,
    /// Banks whose signals are never set aside by themselves.
    pub except: Vec<Arc<str>>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            enabled: true,
            streams: 5,
            signals: 2,
            alone_for: Duration::from_secs(10),
            within: Duration::from_mins(10),
            most: 5,
            per: Duration::from_hours(1),
            except: Vec::new(),
        }
    }
}

impl Config {
    /// What makes no sense: the key, and what to do.
    pub fn problems(&self) -> Vec<(&'static str, String)> {
        let mut problems = Vec::new();
        if self.streams < 2 {
            problems.push(("streams", "one stream is not many: write 2 or more, or `enabled = false`".to_owned()));
        }
        if !(2..=CROWD).contains(&self.signals) {
            problems.push(("signals", format!("must be from 2 to {CROWD}")));
        }
        if self.alone_for >= self.within {
            problems.push(("alone_for", "must be shorter than `within`: no stream could ever count".to_owned()));
        }
        if !(1..=HELD).contains(&self.most) {
            problems.push(("most", format!("must be from 1 to {HELD}; `enabled = false` sets nothing aside")));
        }
        if self.per.is_zero() {
            problems.push(("per", "must be longer than nothing: `most` would never hold anything back".to_owned()));
        }
        problems
    }
}

/// A bank of which a signal would be set aside, had not enough been already.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// The bank.
    pub bank: Arc<str>,
    /// The first signal that was not set aside.
    pub signal: u64,
    /// Where it comes from.
    pub provenance: Arc<str>,
    /// In how many streams it fired alone.
    pub streams: usize,
}

/// Streams of one name on one server are one: the server and the name.
type Name = (Arc<str>, Arc<str>);

/// A bank and a signal of it.
type Key = (Arc<str>, u64);

/// Keeps in mind which signals matched in which streams, and which of them are set aside.
#[derive(Debug)]
pub struct Ward {
    config: Config,
    sightings: BTreeMap<(Arc<str>, Name), Sighting>,
    held: BTreeMap<Key, Held>,
    /// Streams that do not count against a signal again, and since when.
    spent: BTreeMap<(Key, Name), Timestamp>,
    /// When signals of a bank were set aside, no longer than [`Config::per`] ago.
    recent: BTreeMap<Arc<str>, Vec<Timestamp>>,
    /// When it was last told that there would be more of a bank.
    refused_at: BTreeMap<Arc<str>, Timestamp>,
    /// Not fetched yet.
    refused: Vec<Refused>,
}

/// What was seen of one bank in one stream.
#[derive(Debug)]
struct Sighting {
    session: Session,
    /// The latest match. Never goes back, in whatever order findings come.
    last: Timestamp,
    /// By first match.
    signals: Vec<Seen>,
}

#[derive(Debug)]
struct Seen {
    signal: u64,
    provenance: Arc<str>,
    /// Since when the stream has gone on with the signal in it; `None`: it ended too soon to tell.
    since: Option<Timestamp>,
    last: Timestamp,
    /// Whether somebody vouches for it: otherwise it cuts nobody and nothing needs to be done.
    vouched: bool,
}

/// A signal that is set aside.
#[derive(Debug)]
struct Held {
    state: State,
    provenance: Arc<str>,
    /// When a match of it was marked last.
    last: Timestamp,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// In memory only, as far as is known.
    Here,
    /// The bank of this revision says so; matches may still be on their way from one before it.
    Kept(u64),
    /// The bank in force said so itself in this revision; older matches may still be on their way.
    Confirmed(u64),
}

impl State {
    /// What it is once the bank of `revision` said so itself: findings come in any order, so the newest one counts.
    fn confirmed(self, revision: u64) -> Self {
        match self {
            Self::Confirmed(known) => Self::Confirmed(known.max(revision)),
            Self::Here | Self::Kept(_) => Self::Confirmed(revision),
        }
    }
}

impl Ward {
    /// A ward that has seen nothing yet.
    pub const fn new(config: Config) -> Self {
        Self {
            config,
            sightings: BTreeMap::new(),
            held: BTreeMap::new(),
            spent: BTreeMap::new(),
            recent: BTreeMap::new(),
            refused_at: BTreeMap::new(),
            refused: Vec::new(),
        }
    }

    /// Takes note of a finding before it is weighed, and marks it where its signal is set aside.
    pub fn admit(&mut self, finding: &mut Finding) {
        let Observation::Match(seen) = &mut finding.observation else { return };
        if !self.config.enabled || self.config.except.contains(&seen.bank) {
            return;
        }
        self.mark(seen, finding.arrived);
        let (stream, arrived) = (&finding.session.stream, finding.arrived);
        let place = (Arc::clone(&seen.bank), name(stream));
        let full = self.sightings.len() >= SIGHTINGS;
        let sighting = match self.sightings.entry(place) {
            std::collections::btree_map::Entry::Vacant(_) if full => return,
            entry => entry.or_insert_with(|| Sighting {
                session: finding.session.clone(),
                last: arrived,
                signals: Vec::new(),
            }),
        };
        if sighting.session != finding.session {
            sighting.session = finding.session.clone();
        }
        sighting.note(seen, arrived, self.config.within);
    }

    /// Says that a session was over at `at`.
    pub fn end(&mut self, session: &Session, at: Timestamp) {
        let alone_for = self.config.alone_for;
        for sighting in self.sightings.values_mut().filter(|sighting| sighting.session == *session) {
            for seen in &mut sighting.signals {
                seen.since = seen.since.filter(|since| *since + alone_for <= at);
            }
        }
    }

    /// Forgets what is too long ago at `now`, and sets aside every signal against which enough streams speak. Call it about
    /// every second.
    pub fn tick(&mut self, now: Timestamp) -> Vec<SetAside> {
        let Config { streams, signals, alone_for, within, .. } = self.config;
        self.forget(now);
        let mut against: BTreeMap<Key, (Arc<str>, BTreeMap<Name, StreamId>)> = BTreeMap::new();
        for ((bank, name), sighting) in &self.sightings {
            if sighting.signals.len() >= signals {
                continue;
            }
            for seen in &sighting.signals {
                let key = (Arc::clone(bank), seen.signal);
                let long_enough = seen.since.is_some_and(|since| since + alone_for <= now);
                let fresh = seen.vouched && now.since(seen.last) <= within && !self.held.contains_key(&key);
                if fresh && long_enough && !self.spent.contains_key(&(key.clone(), name.clone())) {
                    let (_, streams) =
                        against.entry(key).or_insert_with(|| (Arc::clone(&seen.provenance), BTreeMap::new()));
                    streams.insert(name.clone(), sighting.session.stream.clone());
                }
            }
        }
        let mut set_aside = Vec::new();
        for (key, (provenance, witnesses)) in against {
            if witnesses.len() < streams {
                continue;
            }
            let (bank, signal) = key.clone();
            let recent = self.recent.entry(Arc::clone(&bank)).or_default();
            if recent.len() >= self.config.most || self.held.len() >= HELD {
                self.refused_at.entry(Arc::clone(&bank)).or_insert_with(|| {
                    self.refused.push(Refused { bank, signal, provenance, streams: witnesses.len() });
                    now
                });
                continue;
            }
            recent.push(now);
            let (names, streams): (Vec<Name>, Vec<StreamId>) = witnesses.into_iter().unzip();
            self.held.insert(key.clone(), Held { state: State::Here, provenance: Arc::clone(&provenance), last: now });
            // Should a person release it, these have had their say.
            self.spend(&key, names, now);
            set_aside.push(SetAside { bank, signal, provenance, streams, within });
        }
        set_aside
    }

    /// The banks of which more would have been set aside, since this was last asked: each once in [`Config::per`].
    pub fn refused(&mut self) -> Vec<Refused> {
        std::mem::take(&mut self.refused)
    }

    /// How many signals are set aside, and how many pairs of signal and stream are spent.
    #[cfg(test)]
    pub(super) fn remembered(&self) -> (usize, usize) {
        (self.held.len(), self.spent.len())
    }

    /// Forgets what is too long ago at `now`.
    fn forget(&mut self, now: Timestamp) {
        let Config { within, per, .. } = self.config;
        self.sightings.retain(|_, sighting| now.since(sighting.last) <= within);
        self.spent.retain(|_, since| now.since(*since) <= REMEMBERED.max(within));
        self.held.retain(|_, held| match held.state {
            // Nobody else knows of it.
            State::Here => true,
            // The bank's file has it, but the bank in force may not for as long as it cannot be loaded.
            State::Kept(_) => now.since(held.last) <= REMEMBERED.max(within),
            State::Confirmed(_) => now.since(held.last) <= within,
        });
        self.recent.retain(|_, times| {
            times.retain(|at| now.since(*at) < per);
            !times.is_empty()
        });
        self.refused_at.retain(|_, at| now.since(*at) < per);
    }

    /// Says that the bank's file has it: from `revision` on the bank itself marks matches of these signals.
    pub fn kept(&mut self, bank: &Arc<str>, signals: &[u64], revision: u64) {
        for signal in signals {
            if let Some(held) = self.held.get_mut(&(Arc::clone(bank), *signal))
                && held.state == State::Here
            {
                held.state = State::Kept(revision);
            }
        }
    }

    /// Marks a match whose signal is set aside in memory only, and notices when a person has released it.
    fn mark(&mut self, seen: &mut Match, arrived: Timestamp) {
        let key = (Arc::clone(&seen.bank), seen.signal);
        let room = self.held.len() < HELD;
        match self.held.get_mut(&key) {
            Some(held) if seen.quarantined => {
                held.state = held.state.confirmed(seen.bank_revision);
                held.last = held.last.max(arrived);
            }
            None if seen.quarantined && room => {
                let (state, provenance) = (State::Confirmed(seen.bank_revision), Arc::clone(&seen.provenance));
                self.held.insert(key, Held { state, provenance, last: arrived });
            }
            // A bank made anew under the old name: its numbers mean something else.
            Some(held) if held.provenance != seen.provenance => {
                self.held.remove(&key);
                self.spent.retain(|(of, _), _| *of != key);
            }
            Some(held) => match held.state {
                State::Here => {
                    seen.quarantined = true;
                    held.last = held.last.max(arrived);
                }
                State::Kept(revision) if seen.bank_revision < revision => {
                    seen.quarantined = true;
                    held.last = held.last.max(arrived);
                }
                State::Confirmed(revision) if seen.bank_revision <= revision => seen.quarantined = true,
                State::Kept(_) | State::Confirmed(_) => self.release(&key, arrived),
            },
            None => {}
        }
    }

    fn release(&mut self, key: &Key, now: Timestamp) {
        let (bank, signal) = key;
        let showing = self.sightings.iter().filter(|((of, _), sighting)| of == bank && sighting.shows(*signal));
        let showing: Vec<Name> = showing.map(|((_, name), _)| name.clone()).collect();
        self.spend(key, showing, now);
        self.held.remove(key);
    }

    /// Has these streams not count against a signal again.
    fn spend(&mut self, key: &Key, names: Vec<Name>, now: Timestamp) {
        self.spent.extend(names.into_iter().map(|name| ((key.clone(), name), now)));
        let over = self.spent.len().saturating_sub(SPENT);
        if over > 0 {
            let mut oldest: Vec<_> = self.spent.iter().map(|(pair, since)| (*since, pair.clone())).collect();
            oldest.sort_unstable();
            for (_, pair) in oldest.into_iter().take(over) {
                self.spent.remove(&pair);
            }
        }
    }
}

impl Sighting {
    fn note(&mut self, seen: &Match, arrived: Timestamp, within: Duration) {
        let at = arrived.max(self.last);
        self.last = at;
        self.signals.retain(|other| at.since(other.last) <= within);
        let vouched = seen.opinion == Opinion::Positive;
        if let Some(known) = self.signals.iter_mut().find(|known| known.signal == seen.signal) {
            known.last = at;
            known.since.get_or_insert(at);
            known.vouched = vouched;
            return;
        }
        if self.signals.len() >= CROWD
            && let Some(oldest) = (0..self.signals.len()).min_by_key(|at| self.signals.get(*at).map(|seen| seen.last))
        {
            self.signals.remove(oldest);
        }
        let provenance = Arc::clone(&seen.provenance);
        self.signals.push(Seen { signal: seen.signal, provenance, since: Some(at), last: at, vouched });
    }

    fn shows(&self, signal: u64) -> bool {
        self.signals.iter().any(|seen| seen.signal == signal)
    }
}

fn name(stream: &StreamId) -> Name {
    (Arc::clone(&stream.server), Arc::clone(&stream.name))
}
