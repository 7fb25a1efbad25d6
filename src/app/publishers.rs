//! Who publishes, kept in mind where it is told at another time than the session.
//!
//! Some servers say who asks before there is a session, and some of a session's findings are weighed after it has ended.
//! Both are kept for a minute, and at most [`MOST`] of each, so that whoever asks and never publishes fills nothing.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::clock::Timestamp;
use crate::stream::{Publisher, Session, StreamId};

/// Publishers kept in mind of each sort; when there are more, the oldest go first.
const MOST: usize = 4096;

/// For how long.
const REMEMBERED: Duration = Duration::from_mins(1);

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Publishers {
    asked: Mutex<Recent<StreamId>>,
    gone: Mutex<Recent<Session>>,
}

/// The latest publishers of something.
#[derive(Debug)]
struct Recent<K>(HashMap<K, (Publisher, Timestamp)>);

impl<K> Default for Recent<K> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

impl<K: Hash + Eq + Clone> Recent<K> {
    fn put(&mut self, key: K, publisher: Publisher, now: Timestamp) {
        if self.0.len() >= MOST {
            self.0.retain(|_, (_, at)| now.since(*at) <= REMEMBERED);
        }
        if self.0.len() >= MOST
            && let Some(oldest) = self.0.iter().min_by_key(|(_, (_, at))| *at).map(|(key, _)| key.clone())
        {
            self.0.remove(&oldest);
        }
        self.0.insert(key, (publisher, now));
    }

    fn get(&self, key: &K, now: Timestamp) -> Option<Publisher> {
        self.0.get(key).filter(|(_, at)| now.since(*at) <= REMEMBERED).map(|(publisher, _)| publisher.clone())
    }
}

impl Publishers {
    /// Somebody was let publish to `stream`; their session is told later.
    pub(super) fn asked(&self, stream: &StreamId, publisher: &Publisher, now: Timestamp) {
        let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        asked.put(stream.clone(), publisher.clone(), now);
    }

    /// What is known of `publisher`, who publishes to `stream` now, with what they said when they asked. Somebody who
    /// asked from another address was somebody else.
    pub(super) fn complete(&self, stream: &StreamId, publisher: &Publisher, now: Timestamp) -> Publisher {
        let asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner).get(stream, now);
        match asked.filter(|asked| asked.may_be(publisher)) {
            Some(asked) => publisher.clone().or(&asked),
            None => publisher.clone(),
        }
    }

    /// A session is over.
    pub(super) fn gone(&self, session: &Session, publisher: Publisher, now: Timestamp) {
        self.gone.lock().unwrap_or_else(PoisonError::into_inner).put(session.clone(), publisher, now);
    }

    /// Who published in a session that is over.
    pub(super) fn of_gone(&self, session: &Session, now: Timestamp) -> Option<Publisher> {
        self.gone.lock().unwrap_or_else(PoisonError::into_inner).get(session, now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_millis(1_000_000 + seconds * 1000)
    }

    fn stream(name: &str) -> StreamId {
        StreamId::new("main", "live", name)
    }

    fn asking() -> Publisher {
        Publisher { key: Some("secret".into()), account: Some("ann".into()), ..Publisher::at(Some("10.0.0.1")) }
    }

    #[test]
    fn who_asked_is_who_publishes_then_unless_the_address_is_another() {
        let publishers = Publishers::default();
        publishers.asked(&stream("cam"), &asking(), at(0));
        for (name, publisher, later, account) in [
            ("cam", Publisher::default(), 1, Some("ann")),
            ("cam", Publisher::at(Some("10.0.0.1")), 60, Some("ann")),
            ("cam", Publisher::at(Some("10.0.0.2")), 1, None),
            ("cam", Publisher::default(), 61, None),
            ("other", Publisher::default(), 1, None),
        ] {
            let known = publishers.complete(&stream(name), &publisher, at(later));
            assert_eq!(known.account.as_deref(), account, "{name} {publisher:?} after {later} s");
        }
    }

    #[test]
    fn what_is_kept_is_bounded_and_the_oldest_goes_first() {
        let mut recent = Recent::default();
        for number in 0..=MOST as u64 {
            recent.put(number, Publisher::default(), at(0) + Duration::from_micros(number));
        }
        assert_eq!(recent.0.len(), MOST);
        assert!(recent.get(&0, at(0)).is_none() && recent.get(&1, at(0)).is_some());
        recent.put(7, asking(), at(120));
        assert_eq!(recent.0.len(), 1, "what is too old makes room");
    }
}
