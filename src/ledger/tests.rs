//! The ledger over restarts, crashes, full disks and damaged files.

mod versions;

use std::fs;
use std::time::Duration;

use tempfile::TempDir;

use super::*;
use crate::decision::{
    Actor, Context, Earlier, Ended, Ending, Job, Lane, Lowered, LoweredBecause, Mode, Outbox, Outcome, Target, Verdict,
};
use crate::finding::{Finding, Match, Observation, Opinion};
use crate::stream::StreamId;

fn at(millis: u64) -> Timestamp {
    Timestamp::from_millis(millis)
}

fn open(dir: &TempDir) -> Ledger {
    try_open(&dir.path().join("ledger.sqlite")).unwrap()
}

fn try_open(path: &Path) -> Result<Ledger, LedgerError> {
    Ledger::open(&Config { path: path.into() })
}

fn session(name: &str) -> Session {
    Session { stream: StreamId::new("main", "live", name), id: "17".into() }
}

fn decision(name: &str, decided: Timestamp) -> Decision {
    let evidence = Finding {
        session: session(name),
        sequence: 42,
        pts: Some(Duration::from_millis(1400)),
        arrived: at(900),
        found: at(950),
        observation: Observation::Match(Match {
            bank: "propaganda".into(),
            bank_revision: 3,
            signal: 9,
            distance: 12,
            quality: 98,
            opinion: Opinion::Positive,
            provenance: "added by hand".into(),
            banked_at: None,
            quorum: 2,
            at_most: Verdict::Hold,
            quarantined: true,
        }),
    };
    Decision {
        policy: "0123".into(),
        evidence: vec![evidence],
        ..Decision::new(session(name), Verdict::Cut, "known content", decided)
    }
}

fn deny(decision: &Decision, until: Option<Timestamp>) -> Deny {
    Deny {
        stream: decision.session.stream.clone(),
        target: Target::Name,
        decision: decision.id,
        since: decision.decided,
        until,
    }
}

fn entry(decision: &Decision, denies: &[&Deny], actions: &[(Uuid, Action)]) -> Entry {
    let denies = denies.iter().copied().cloned().collect();
    Entry { denies, actions: actions.to_vec(), ..Entry::from(decision.clone()) }
}

fn released(millis: u64) -> Ended {
    let by = Actor::Operator { name: "ann".into(), reason: "a rehearsal".into() };
    Ended { at: at(millis), because: Ending::Released { by } }
}

fn kick(decision: &Decision) -> (Uuid, Action) {
    (Uuid::now_v7(), Action::Kick { session: decision.session.clone() })
}

fn notify() -> (Uuid, Action) {
    (Uuid::now_v7(), Action::Notify { webhook: "ops".into(), body: "{\"a\":1}".into() })
}

#[test]
fn what_is_recorded_reads_back_after_a_restart() {
    let dir = TempDir::new().unwrap();
    let decision = decision("a&b \u{0} é\n", at(1000));
    let deny = deny(&decision, Some(at(5000)));
    open(&dir).record(&entry(&decision, &[&deny], &[kick(&decision), notify()])).unwrap();

    let ledger = open(&dir);
    assert_eq!(ledger.decisions(10).unwrap(), std::slice::from_ref(&decision));
    assert_eq!(ledger.decision(decision.id).unwrap(), Some(decision));
    assert_eq!(ledger.decision(Uuid::now_v7()).unwrap(), None);
    assert_eq!(ledger.denies(at(2000)).unwrap(), [deny]);
    assert_eq!(ledger.pending().unwrap(), 2);
}

#[test]
fn recording_twice_is_recording_once() {
    let dir = TempDir::new().unwrap();
    let ledger = open(&dir);
    let decision = decision("a", at(1000));
    let (deny, actions) = (deny(&decision, None), [kick(&decision)]);
    for _ in 0..2 {
        ledger.record(&entry(&decision, &[&deny], &actions)).unwrap();
    }
    assert_eq!((ledger.denies(at(1000)).unwrap().len(), ledger.pending().unwrap()), (1, 1));
}

#[test]
fn a_decision_whose_actions_cannot_be_written_is_not_written_either() {
    let dir = TempDir::new().unwrap();
    let ledger = open(&dir);
    let first = decision("a", at(1000));
    let action = kick(&first);
    ledger.record(&entry(&first, &[], std::slice::from_ref(&action))).unwrap();
    let second = decision("b", at(2000));
    ledger.record(&entry(&second, &[&deny(&second, None)], &[action])).unwrap_err();
    assert_eq!(ledger.decisions(10).unwrap(), [first]);
    assert_eq!(ledger.denies(at(2000)).unwrap(), []);
}

#[test]
fn a_deny_ends_by_itself_or_is_lifted() {
    let dir = TempDir::new().unwrap();
    let ledger = open(&dir);
    let (brief, lasting) = (decision("brief", at(1000)), decision("lasting", at(1000)));
    let (first, second) = (deny(&brief, Some(at(2000))), deny(&lasting, None));
    ledger.record(&entry(&brief, &[&first], &[])).unwrap();
    ledger.record(&entry(&lasting, &[&second], &[])).unwrap();
    assert_eq!(ledger.denies(at(1999)).unwrap(), [first, second.clone()]);
    assert_eq!(ledger.denies(at(2000)).unwrap(), std::slice::from_ref(&second));

    assert_eq!(ledger.end(brief.id, &released(3000), &[]).unwrap().unwrap().lifted, [], "it had ended");
    assert_eq!(ledger.end(lasting.id, &released(3000), &[notify()]).unwrap().unwrap().lifted, [second]);
    assert_eq!(ledger.end(lasting.id, &released(3001), &[notify()]).unwrap(), None, "it was lifted");
    assert_eq!(ledger.ended(lasting.id).unwrap(), Some(released(3000)));
    assert_eq!(ledger.pending().unwrap(), 1, "and it is told once");
    assert_eq!(ledger.denies(at(3001)).unwrap(), []);
}

#[test]
fn a_decision_keeps_who_made_it_and_all_that_explains_it() {
    let dir = TempDir::new().unwrap();
    let plain = decision("a", at(1000));
    let decision = Decision {
        until: Some(at(9000)),
        actor: Actor::Operator { name: "ann".into(), reason: "court order".into() },
        mode: Mode::Shadow,
        lowered: Some(Lowered { from: Verdict::Ban, because: LoweredBecause::ReviewFirst { class: "news".into() } }),
        before: Verdict::Hold,
        context: Context {
            class: Some("news".into()),
            earlier: vec![Earlier { decision: plain.id, verdict: Verdict::Cut, decided: at(500) }],
            ..Context::default()
        },
        ..plain
    };
    let timeline = [decision.evidence.clone(), decision.evidence.clone()].concat();
    let key = Deny { target: Target::key("secret"), ..deny(&decision, None) };
    let denies = vec![Deny { target: Target::address("[2001:DB8::1]"), ..key.clone() }, key];
    let entry = Entry { timeline: timeline.clone(), denies: denies.clone(), ..Entry::from(decision.clone()) };
    open(&dir).record(&entry).unwrap();

    let ledger = open(&dir);
    assert_eq!(ledger.decision(decision.id).unwrap(), Some(decision.clone()));
    assert_eq!(ledger.timeline(decision.id).unwrap(), timeline);
    assert_eq!(ledger.denies(at(2000)).unwrap(), denies);
    assert_eq!(denies[0].target, Target::Address("2001:db8::1".into()));
    let raw = [fs::read(&ledger.path).unwrap(), fs::read(dir.path().join("ledger.sqlite-wal")).unwrap()].concat();
    assert!(!raw.windows(6).any(|window| window == b"secret"), "a key is kept as its digest");
    ledger.keep_policy("0123", "[policy]", at(1)).unwrap();
    ledger.keep_policy("0123", "[policy] # again", at(2)).unwrap();
    assert_eq!(ledger.policy("0123").unwrap().as_deref(), Some("[policy]"));
    ledger.keep("breaker", Some("open")).unwrap();
    ledger.keep("breaker", Some("wide open")).unwrap();
    assert_eq!(ledger.kept("breaker").unwrap().as_deref(), Some("wide open"));
    ledger.keep("breaker", None).unwrap();
    assert_eq!(ledger.kept("breaker").unwrap(), None);
}

#[test]
fn what_stands_is_what_was_carried_out_and_nobody_took_back() {
    let dir = TempDir::new().unwrap();
    let ledger = open(&dir);
    let hold = |name: &str, second: u64, until: u64| Decision {
        verdict: Verdict::Hold,
        until: Some(at(until)),
        ..decision(name, at(second))
    };
    let (first, second, taken_back) = (hold("a", 1000, 2000), decision("b", at(2000)), hold("c", 3000, 99_000));
    let shadow = Decision { mode: Mode::Shadow, ..hold("d", 3000, 4000) };
    let watched = Decision { verdict: Verdict::Watch, ..decision("e", at(3000)) };
    let known_as = vec![Target::Account("ann".into())];
    let enforcing = decision("b", at(4000));
    for decision in [&first, &second, &taken_back, &shadow, &watched, &enforcing] {
        let denies = if decision.id == second.id { vec![deny(decision, Some(at(2001)))] } else { Vec::new() };
        ledger.record(&Entry { known_as: known_as.clone(), denies, ..Entry::from(decision.clone()) }).unwrap();
    }
    assert!(ledger.end(taken_back.id, &released(4000), &[]).unwrap().is_some());
    assert_eq!(ledger.end(shadow.id, &released(3500), &[]).unwrap(), None, "nothing of it ever stood");
    assert_eq!(ledger.run_out(at(1999), 9).unwrap(), []);
    assert_eq!(ledger.run_out(at(5000), 9).unwrap(), std::slice::from_ref(&first));
    let expired = Ended { at: at(5000), because: Ending::Expired };
    assert!(ledger.end(first.id, &expired, &[]).unwrap().is_some());
    assert_eq!(ledger.run_out(at(5000), 9).unwrap(), []);

    let standing = ledger.standing(9).unwrap();
    let ids: Vec<_> = standing.iter().map(|standing| standing.verdict.decision).collect();
    assert_eq!(ids, [first.id, second.id], "also what ran out, and not what only enforced a deny");
    assert!(standing.iter().all(|standing| standing.known_as == known_as));
    assert_eq!(ledger.standing(1).unwrap()[0].verdict.decision, second.id, "the newest");
}

#[test]
fn decisions_come_newest_first() {
    let dir = TempDir::new().unwrap();
    let ledger = open(&dir);
    let all: Vec<Decision> = [3000, 1000, 2000].map(|millis| decision("a", at(millis))).into();
    for decision in &all {
        ledger.record(&decision.clone().into()).unwrap();
    }
    assert_eq!(ledger.decisions(2).unwrap(), [all[0].clone(), all[2].clone()]);
}

#[test]
fn a_claimed_job_is_given_out_once_and_again_after_a_restart() {
    let dir = TempDir::new().unwrap();
    let decision = decision("a", at(1000));
    let kick = kick(&decision);
    {
        let ledger = open(&dir);
        ledger.record(&entry(&decision, &[], std::slice::from_ref(&kick))).unwrap();
        assert_eq!(ledger.claim(Lane::Kick, at(999), 10).unwrap(), [], "not due yet");
        assert_eq!(ledger.next_due(Lane::Kick, at(900)).unwrap(), Some(Duration::from_millis(100)));
        assert_eq!(ledger.claim(Lane::Notify, at(1000), 10).unwrap(), [], "another lane");
        let jobs = ledger.claim(Lane::Kick, at(1000), 10).unwrap();
        assert_eq!(jobs, [Job { id: kick.0, decision: Some(decision.id), action: kick.1.clone(), attempts: 0 }]);
        assert_eq!(ledger.claim(Lane::Kick, at(1000), 10).unwrap(), []);
        assert_eq!(ledger.next_due(Lane::Kick, at(1000)).unwrap(), None);
    }
    assert_eq!(open(&dir).claim(Lane::Kick, at(1000), 10).unwrap().len(), 1);
}

#[test]
fn claimed_jobs_do_not_hide_the_ones_behind_them() {
    let dir = TempDir::new().unwrap();
    let ledger = open(&dir);
    let decision = decision("a", at(1000));
    let actions: Vec<_> = (0..3).map(|_| kick(&decision)).collect();
    ledger.record(&entry(&decision, &[], &actions)).unwrap();
    for (id, _) in &actions {
        let claimed = ledger.claim(Lane::Kick, at(1000), 1).unwrap();
        assert_eq!(claimed.iter().map(|job| job.id).collect::<Vec<_>>(), [*id], "oldest first");
    }
}

#[test]
fn an_action_is_tried_until_it_is_done_and_every_attempt_is_remembered() {
    let dir = TempDir::new().unwrap();
    let ledger = open(&dir);
    let decision = decision("a", at(1000));
    let (id, action) = kick(&decision);
    ledger.record(&entry(&decision, &[], &[(id, action)])).unwrap();

    ledger.claim(Lane::Kick, at(1000), 1).unwrap();
    let retry = Outcome::Retry { detail: "refused".into(), due: at(1500) };
    ledger.finish(id, at(1000), at(1100), &retry, &[]).unwrap();
    assert_eq!(ledger.claim(Lane::Kick, at(1499), 1).unwrap(), []);
    assert_eq!(ledger.claim(Lane::Kick, at(1500), 1).unwrap()[0].attempts, 1);
    let done = Outcome::Done { detail: "gone".into() };
    ledger.finish(id, at(1500), at(1600), &done, &[]).unwrap();
    ledger.finish(id, at(1500), at(1700), &Outcome::GaveUp { detail: "late".into() }, &[]).unwrap();

    let seen: Vec<_> =
        ledger.outcomes(decision.id).unwrap().into_iter().map(|a| (a.attempt, a.ended, a.outcome)).collect();
    assert_eq!(seen, [(1, at(1100), retry), (2, at(1600), done)], "the first ending stands");
    assert_eq!(ledger.pending().unwrap(), 0);
    assert_eq!(open_fails_and_says(&ledger.path), "in_use");
    let unknown =
        ledger.finish(Uuid::now_v7(), at(0), at(0), &Outcome::Done { detail: String::new() }, &[]).unwrap_err();
    assert!(unknown.to_string().contains("has no action"));
}

fn open_fails_and_says(path: &Path) -> &'static str {
    let error = try_open(path).unwrap_err();
    let message = error.to_string();
    assert!(message.contains(&path.display().to_string()), "{message}");
    assert!(!message.ends_with('.') && message.contains(": "), "{message}");
    error.kind()
}

#[test]
fn a_bad_file_is_refused_with_its_name_and_the_next_step() {
    let dir = TempDir::new().unwrap();
    let path = |name: &str| dir.path().join(name);

    assert_eq!(open_fails_and_says(&path("no/such/folder.sqlite")), "no_folder");
    fs::create_dir(path("folder")).unwrap();
    assert_eq!(open_fails_and_says(&path("folder")), "cannot_open");
    fs::write(path("text"), "this is not a database, but a letter to somebody ".repeat(100)).unwrap();
    assert_eq!(open_fails_and_says(&path("text")), "not_a_database");
    Connection::open(path("other")).unwrap().execute_batch("CREATE TABLE t (a)").unwrap();
    assert_eq!(open_fails_and_says(&path("other")), "not_a_ledger");
    drop(try_open(&path("newer")).unwrap());
    Connection::open(path("newer")).unwrap().pragma_update(None, "user_version", 99).unwrap();
    assert_eq!(open_fails_and_says(&path("newer")), "newer");
}

#[test]
fn a_file_cut_short_or_overwritten_is_refused() {
    let dir = TempDir::new().unwrap();
    let whole = dir.path().join("whole");
    {
        let ledger = try_open(&whole).unwrap();
        for _ in 0..50 {
            ledger.record(&decision("a", at(1000)).into()).unwrap();
        }
    }
    let bytes = fs::read(&whole).unwrap();
    assert!(bytes.len() > 40_000, "the log was written back: {}", bytes.len());
    let damaged = dir.path().join("damaged");
    for length in [bytes.len() / 2, bytes.len() - 4096, 4096] {
        fs::write(&damaged, &bytes[..length]).unwrap();
        assert_eq!(open_fails_and_says(&damaged), "damaged", "{length} bytes");
    }
    let mut scribbled = bytes;
    scribbled[4096..20_000].fill(0xA5);
    fs::write(&damaged, scribbled).unwrap();
    assert_eq!(open_fails_and_says(&damaged), "damaged");
}

#[test]
fn a_full_disk_is_an_error_that_passes() {
    let dir = TempDir::new().unwrap();
    let ledger = open(&dir);
    ledger.lock().connection.execute_batch("PRAGMA max_page_count = 20").unwrap();
    let error = (0..100).find_map(|_| ledger.record(&decision("a", at(1000)).into()).err()).unwrap();
    assert_eq!((error.kind(), error.is_retryable()), ("full", true));
    ledger.lock().connection.execute_batch("PRAGMA max_page_count = 10000").unwrap();
    ledger.record(&decision("b", at(1000)).into()).unwrap();
}

#[test]
fn a_file_locked_by_another_program_is_an_error_that_passes() {
    let dir = TempDir::new().unwrap();
    let ledger = open(&dir);
    ledger.lock().connection.busy_timeout(Duration::ZERO).unwrap();
    let other = Connection::open(&ledger.path).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let error = ledger.record(&decision("a", at(1000)).into()).unwrap_err();
    assert_eq!((error.kind(), error.is_retryable()), ("busy", true));
    other.execute_batch("ROLLBACK").unwrap();
    ledger.record(&decision("a", at(1000)).into()).unwrap();
}

#[test]
fn somebody_can_be_told_without_a_decision() {
    let dir = TempDir::new().unwrap();
    let told = notify();
    let ledger = open(&dir);
    ledger.announce(std::slice::from_ref(&told), at(1000)).unwrap();
    let jobs = ledger.claim(Lane::Notify, at(1000), 9).unwrap();
    assert_eq!(jobs, [Job { id: told.0, decision: None, action: told.1, attempts: 0 }]);
    let done = Outcome::Done { detail: "HTTP 204".to_owned() };
    ledger.finish(told.0, at(1000), at(1100), &done, &[]).unwrap();
    drop(ledger);
    assert_eq!(open(&dir).pending().unwrap(), 0);
}

#[test]
fn what_follows_from_an_ending_is_written_with_it_and_once() {
    let dir = TempDir::new().unwrap();
    let ledger = open(&dir);
    let decision = decision("a", at(1000));
    let (id, action) = kick(&decision);
    ledger.record(&entry(&decision, &[], &[(id, action)])).unwrap();
    let (first, second) = (notify(), notify());
    let gave_up = Outcome::GaveUp { detail: "it stays".into() };
    ledger.finish(id, at(1000), at(1100), &gave_up, std::slice::from_ref(&first)).unwrap();
    ledger.finish(id, at(1000), at(1200), &gave_up, &[second]).unwrap();
    assert_eq!(ledger.claim(Lane::Notify, at(1099), 9).unwrap(), [], "due when the attempt had ended");
    let jobs = ledger.claim(Lane::Notify, at(1100), 9).unwrap();
    assert_eq!(jobs, [Job { id: first.0, decision: Some(decision.id), action: first.1, attempts: 0 }]);
}

#[test]
fn a_decision_says_which_bank_capped_it() {
    let dir = TempDir::new().unwrap();
    let capped = Decision { capped_by: Some("propaganda".into()), ..decision("a", at(1000)) };
    let ledger = open(&dir);
    ledger.record(&capped.clone().into()).unwrap();
    assert_eq!(ledger.decision(capped.id).unwrap(), Some(capped.clone()));
    assert_eq!(ledger.decisions(9).unwrap(), [capped]);
}

#[test]
fn only_its_owner_may_read_it_and_every_commit_reaches_the_disk() {
    use std::os::unix::fs::PermissionsExt as _;
    let dir = TempDir::new().unwrap();
    let ledger = open(&dir);
    let mode = fs::metadata(&ledger.path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let inner = ledger.lock();
    let pragma = |name| inner.connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0)).unwrap();
    assert_eq!((pragma("synchronous"), pragma("foreign_keys")), (2, 1));
}

#[test]
fn a_kick_is_due_at_once_after_a_restart_even_if_the_clock_was_set_back() {
    let dir = tempfile::tempdir().unwrap();
    let decision = decision("a", at(9_000_000));
    let kick = (Uuid::now_v7(), Action::Kick { session: session("a") });
    open(&dir).record(&entry(&decision, &[], &[kick])).unwrap();
    let ledger = open(&dir);
    assert_eq!(ledger.claim(Lane::Kick, at(1000), 9).unwrap().len(), 1);
}
