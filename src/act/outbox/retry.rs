//! When a failed attempt is made again, and when it is not. Pure: time and chance come in as arguments.

use std::time::Duration;

use crate::act::ActError;
use crate::clock::Timestamp;
use crate::decision::{Action, Job, Outcome};

/// After a kick that failed: pauses that begin short because the stream is on the air. After the last attempt of these,
/// whoever can be asked next is asked at once, in the same way; after all were, people are told, and they are asked in turn
/// every [`KICK_PAUSE`].
const KICK_PAUSES: [Duration; 5] = [
    Duration::from_millis(200),
    Duration::from_millis(500),
    Duration::from_secs(1),
    Duration::from_secs(2),
    Duration::from_secs(4),
];
const KICK_PAUSE: Duration = Duration::from_secs(10);
/// Attempts with each of those who can be asked, before people are told.
const RUNGS: usize = KICK_PAUSES.len() + 1;
/// Attempts after people were told: ten minutes in all, if the server refuses at once.
const MORE: usize = 59;

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
/// `actuators` is how many can be asked to end a session, one at least. Where asking one of them again is of no use, the
/// others still are asked: its turns pass at once.
pub(super) fn outcome(job: &Job, error: &ActError, now: Timestamp, jitter: f64, actuators: usize) -> Outcome {
    let detail = error.to_string();
    let pause = pause(&job.action, job.attempts as usize, actuators);
    let pause = if error.is_retryable() {
        pause
    } else if turn(job.attempts, actuators) + 1 < actuators {
        pause.map(|pause| if (job.attempts as usize) < RUNGS * actuators { Duration::ZERO } else { pause })
    } else {
        None
    };
    match pause {
        Some(pause) => {
            let pause = pause.mul_f64(jitter).max(error.retry_after().unwrap_or_default());
            Outcome::Retry { detail, due: now + pause }
        }
        None => Outcome::GaveUp { detail },
    }
}

/// The pause after an attempt that `before` others came before; `None`: it was the last.
fn pause(action: &Action, before: usize, actuators: usize) -> Option<Duration> {
    let ladder = RUNGS * actuators;
    match action {
        // At the foot of the next one's ladder.
        Action::Kick { .. } if before + 1 < ladder => {
            Some(KICK_PAUSES.get(before % RUNGS).copied().unwrap_or_default())
        }
        Action::Kick { .. } if before + 1 < ladder + MORE => Some(KICK_PAUSE),
        Action::Kick { .. } => None,
        // Given up and replayed, it begins again: what is replayed is tried for as long as what is new.
        Action::Notify { .. } => NOTIFY_PAUSES.get(before % (NOTIFY_PAUSES.len() + 1)).copied(),
        Action::Quarantine { .. } => QUARANTINE_PAUSES.get(before).copied(),
    }
}

/// Whose turn it is after `before` attempts: 0 is the server itself, then what it falls back on.
pub(super) fn turn(before: u32, actuators: usize) -> usize {
    let (before, ladder) = (before as usize, RUNGS * actuators);
    if before < ladder { before / RUNGS } else { (before - ladder) % actuators.max(1) }
}

/// Whether a kick that ended so is the one after which people must be told: all were asked in vain, or there is no use in
/// asking. Told once.
pub(super) fn is_time_for_alarm(job: &Job, outcome: &Outcome, actuators: usize) -> bool {
    let (done, ladder) = (job.attempts as usize + 1, RUNGS * actuators);
    match outcome {
        Outcome::Done { .. } => false,
        Outcome::Retry { .. } => done == ladder,
        Outcome::GaveUp { .. } => done <= ladder,
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
        (0..).map_while(|before| pause(action, before, 1)).collect()
    }

    #[test]
    fn each_who_can_be_asked_is_asked_six_times_and_then_people_are_told() {
        for actuators in 1..4 {
            let mut told = Vec::new();
            let mut turns = Vec::new();
            let mut at = Duration::ZERO;
            for before in 0.. {
                turns.push(turn(before, actuators));
                let job = Job { id: Uuid::nil(), decision: None, action: kick(), attempts: before };
                let error = ActError::StillFlowing { server: "main".into() };
                let outcome = outcome(&job, &error, Timestamp::ZERO, 1.0, actuators);
                if is_time_for_alarm(&job, &outcome, actuators) {
                    told.push(at);
                }
                match outcome {
                    Outcome::Retry { due, .. } => at += due.since(Timestamp::ZERO),
                    _ => break,
                }
            }
            assert_eq!(told, [Duration::from_millis(7700) * actuators as u32], "once, and after everybody was asked");
            for (turn, rungs) in turns.chunks(RUNGS).take(actuators).enumerate() {
                assert_eq!(rungs, [turn; RUNGS]);
            }
            let mut later = turns[RUNGS * actuators..][..actuators].to_vec();
            later.sort_unstable();
            assert_eq!(later, (0..actuators).collect::<Vec<_>>(), "then all of them in turn");
        }
        let job = Job { id: Uuid::nil(), decision: None, action: kick(), attempts: 0 };
        let lost = outcome(&job, &ActError::UnknownServer { name: "x".into() }, Timestamp::ZERO, 1.0, 1);
        assert!(is_time_for_alarm(&job, &lost, 1), "there is nobody to ask");
        assert!(!is_time_for_alarm(&job, &Outcome::Done { detail: String::new() }, 1));
    }

    #[test]
    fn where_asking_the_server_again_is_of_no_use_the_next_is_asked_at_once() {
        let job = |attempts| Job { id: Uuid::nil(), decision: None, action: kick(), attempts };
        let error = ActError::BadSession { server: "main".into() };
        for (attempts, actuators, due) in [
            (0, 1, None),
            (0, 2, Some(Duration::ZERO)),
            (5, 2, Some(Duration::ZERO)),
            (6, 2, None),
            (6, 3, Some(Duration::ZERO)),
            (12, 2, Some(KICK_PAUSE)),
        ] {
            let after = outcome(&job(attempts), &error, Timestamp::ZERO, 1.0, actuators);
            let found = match &after {
                Outcome::Retry { due, .. } => Some(due.since(Timestamp::ZERO)),
                _ => None,
            };
            assert_eq!(found, due, "attempt {attempts} with {actuators} to ask");
            assert_eq!(is_time_for_alarm(&job(attempts), &after, actuators), due.is_none(), "attempt {attempts}");
        }
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
        let due = |job: &Job, error: &ActError, jitter| match outcome(job, error, Timestamp::ZERO, jitter, 1) {
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
