//! When a failed attempt is made again, and when it is not. Pure: time and chance come in as arguments.

use std::time::Duration;

use crate::act::ActError;
use crate::clock::Timestamp;
use crate::decision::{Action, Job, Outcome};

/// After a kick that failed: pauses that begin short because the stream is on the air, then [`KICK_PAUSE`] each.
const KICK_PAUSES: [Duration; 5] = [
    Duration::from_millis(200),
    Duration::from_millis(500),
    Duration::from_secs(1),
    Duration::from_secs(2),
    Duration::from_secs(4),
];
const KICK_PAUSE: Duration = Duration::from_secs(10);
/// Ten minutes in all, if the server refuses at once.
const KICK_RETRIES: usize = KICK_PAUSES.len() + 59;

/// After a delivery that failed: a little under three days in all.
const NOTIFY_PAUSES: [Duration; 10] = [
    Duration::from_secs(5),
    Duration::from_secs(30),
    Duration::from_mins(2),
    Duration::from_mins(10),
    Duration::from_hours(1),
    Duration::from_hours(3),
    Duration::from_hours(6),
    Duration::from_hours(12),
    Duration::from_hours(24),
    Duration::from_hours(24),
];

/// After leftovers could not be moved: about a quarter of an hour in all, for somebody to correct permissions.
const QUARANTINE_PAUSES: [Duration; 6] = [
    Duration::from_secs(1),
    Duration::from_secs(5),
    Duration::from_secs(30),
    Duration::from_mins(1),
    Duration::from_mins(5),
    Duration::from_mins(10),
];

/// What follows from an attempt at `job` that failed at `now`. `jitter` is 0.8 to 1.2: it keeps the actions of one outage
/// from coming back all at once.
pub(super) fn outcome(job: &Job, error: &ActError, now: Timestamp, jitter: f64) -> Outcome {
    let detail = error.to_string();
    let pause = pause(&job.action, job.attempts as usize).filter(|_| error.is_retryable());
    match pause {
        Some(pause) => {
            let pause = pause.mul_f64(jitter).max(error.retry_after().unwrap_or_default());
            Outcome::Retry { detail, due: now + pause }
        }
        None => Outcome::GaveUp { detail },
    }
}

/// The pause after an attempt that `before` others came before; `None`: it was the last.
fn pause(action: &Action, before: usize) -> Option<Duration> {
    match action {
        Action::Kick { .. } if before < KICK_RETRIES => Some(KICK_PAUSES.get(before).copied().unwrap_or(KICK_PAUSE)),
        Action::Kick { .. } => None,
        // Given up and replayed, it begins again: what is replayed is tried for as long as what is new.
        Action::Notify { .. } => NOTIFY_PAUSES.get(before % (NOTIFY_PAUSES.len() + 1)).copied(),
        Action::Quarantine { .. } => QUARANTINE_PAUSES.get(before).copied(),
    }
}

/// A number for [`outcome`].
pub(super) fn jitter() -> f64 {
    rand::random_range(0.8..1.2)
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::stream::{Session, StreamId};

    fn kick() -> Action {
        Action::Kick { session: Session { stream: StreamId::new("main", "live", "a"), id: "1".into() } }
    }

    fn notify() -> Action {
        Action::Notify { webhook: "ops".into(), body: String::new() }
    }

    fn pauses(action: &Action) -> Vec<Duration> {
        (0..).map_while(|before| pause(action, before)).collect()
    }

    #[test]
    fn a_kick_is_tried_soon_and_for_ten_minutes() {
        let pauses = pauses(&kick());
        assert_eq!(
            pauses[..6].iter().map(Duration::as_millis).collect::<Vec<_>>(),
            [200, 500, 1000, 2000, 4000, 10_000]
        );
        let total: Duration = pauses.iter().sum();
        assert!((590..=610).contains(&total.as_secs()), "{total:?}");
    }

    #[test]
    fn a_delivery_is_tried_for_about_three_days() {
        let pauses = pauses(&notify());
        assert!(pauses.is_sorted());
        let total: Duration = pauses.iter().sum();
        assert!((68..=72).contains(&(total.as_secs() / 3600)), "{total:?}");
    }

    #[test]
    fn what_the_receiver_asks_for_is_honoured() {
        let job = |attempts| Job { id: Uuid::nil(), decision: None, action: notify(), attempts };
        let busy = |wait: Option<u64>| ActError::NotDelivered {
            webhook: "ops".into(),
            reason: "HTTP 503".into(),
            retry_after: wait.map(Duration::from_secs),
        };
        let due = |job: &Job, error: &ActError, jitter| match outcome(job, error, Timestamp::ZERO, jitter) {
            Outcome::Retry { due, .. } => Some(due.as_micros() / 1_000_000),
            _ => None,
        };
        assert_eq!(due(&job(0), &busy(None), 1.0), Some(5));
        assert_eq!(due(&job(0), &busy(None), 1.2), Some(6));
        assert_eq!(due(&job(0), &busy(Some(90)), 1.0), Some(90), "later than we would");
        assert_eq!(due(&job(3), &busy(Some(90)), 1.0), Some(600), "not sooner than we would");
        assert_eq!(due(&job(10), &busy(Some(90)), 1.0), None, "the last attempt");
        assert_eq!(due(&job(11), &busy(None), 1.0), Some(5), "the first after a replay");
        assert_eq!(due(&job(0), &ActError::Gone { webhook: "ops".into() }, 1.0), None);
    }
}
