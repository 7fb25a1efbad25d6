//! How closely streams are looked at, kept over their sessions: whoever publishes next under a name that is suspected is
//! looked at as closely, for the time that was left. Their evidence starts anew.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use crate::clock::Timestamp;
use crate::stream::{Attention, AttentionCell, StreamId};

/// Streams kept in mind; when there are more, those that nobody suspects any more go, and then whichever comes.
const MOST: usize = 4096;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Suspicions(Mutex<HashMap<StreamId, AttentionCell>>);

impl Suspicions {
    /// Keeps in mind that `stream` is looked at so closely from `now` until `until`.
    pub(super) fn keep(&self, stream: &StreamId, level: Attention, now: Timestamp, until: Timestamp) {
        let mut streams = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if streams.len() >= MOST && !streams.contains_key(stream) {
            streams.retain(|_, kept| kept.standing(now).is_some());
            if streams.len() >= MOST
                && let Some(any) = streams.keys().next().cloned()
            {
                streams.remove(&any);
            }
        }
        streams.entry(stream.clone()).or_default().raise(level, now, until);
    }

    /// How closely `stream` is to be looked at, and until when.
    pub(super) fn of(&self, stream: &StreamId, now: Timestamp) -> Option<(Attention, Timestamp)> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(stream)?.standing(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suspicion_is_kept_for_its_time_and_never_for_another_stream() {
        let at = Timestamp::from_millis;
        let name = |name: &str| StreamId::new("main", "live", name);
        let suspicions = Suspicions::default();
        suspicions.keep(&name("cam"), Attention::Reported, at(0), at(5000));
        suspicions.keep(&name("cam"), Attention::Suspicious, at(1000), at(9000));
        assert_eq!(suspicions.of(&name("cam"), at(4999)), Some((Attention::Reported, at(5000))));
        assert_eq!(suspicions.of(&name("cam"), at(5000)), None);
        assert_eq!(suspicions.of(&name("other"), at(0)), None);
    }

    #[test]
    fn it_does_not_grow_without_end() {
        let suspicions = Suspicions::default();
        for number in 0..MOST as u64 + 100 {
            let stream = StreamId::new("main", "live", &number.to_string());
            suspicions.keep(&stream, Attention::Suspicious, Timestamp::from_millis(0), Timestamp::from_millis(1000));
            assert!(suspicions.of(&stream, Timestamp::ZERO).is_some());
        }
        assert_eq!(suspicions.0.lock().unwrap().len(), MOST);
    }
}
