//! What is taken back, runs out or waits: what of it still counts, and who is told.

use super::*;

impl Deciding {
    /// Gives out what the outbox has to kick, and lets every attempt fail.
    fn kick_in_vain(&self) -> Vec<crate::decision::Job> {
        let now = self.clock.now();
        let jobs = self.ledger.claim(crate::decision::Lane::Kick, now, 9).unwrap();
        for job in &jobs {
            let again = crate::decision::Outcome::Retry { detail: "still there".into(), due: now };
            self.ledger.finish(job.id, now, now, &again, &[]).unwrap();
        }
        jobs
    }

    /// What the policy would say of itself, with an action that is in the outbox already: it can never be recorded.
    fn unrecorded(&mut self, session: &Session, verdict: Verdict) -> Entry {
        let (id, other) = (Uuid::now_v7(), Action::Notify { webhook: "ops".into(), body: "{}".into() });
        self.ledger.announce(&[(id, other.clone())], self.clock.now()).unwrap();
        let mut entry = self.decide(Judgement::bare(session.clone(), verdict, "test", self.clock.now()), Actor::Policy);
        entry.actions.push((id, other));
        assert!(!self.put(entry.clone()));
        entry
    }
}

#[test]
fn a_session_is_shown_again_when_its_last_hold_is_over() {
    let (mut deciding, _folder) = deciding();
    deciding.webhooks = told();
    let first = deciding.judged(&session("7"), Verdict::Hold, Some(Duration::ZERO));
    let second = deciding.judged(&session("7"), Verdict::Hold, None);
    deciding.judged(&session("8"), Verdict::Hold, None);
    assert_eq!(deciding.events().len(), 6);
    deciding.tick(deciding.clock.now());
    assert!(deciding.ledger.ended(first.id).unwrap().is_some());
    assert!(deciding.events().is_empty(), "it is held still");
    assert!(deciding.let_go(second.id));
    assert_eq!(deciding.events(), ["stream.released"]);
}

#[test]
fn no_hold_that_ends_shows_a_session_that_is_closed() {
    let (mut deciding, _folder) = deciding();
    deciding.webhooks = told();
    let cut = deciding.judged(&session("7"), Verdict::Cut, Some(Duration::from_hours(1)));
    deciding.judged(&session("7"), Verdict::Hold, Some(Duration::ZERO));
    assert_eq!(deciding.events(), ["stream.quarantine", "decision.cut", "decision.hold", "stream.held"]);
    deciding.tick(deciding.clock.now());
    assert!(deciding.events().is_empty(), "the cut stands");
    assert!(deciding.let_go(cut.id));
    assert_eq!(deciding.events(), ["stream.released"]);
}

#[test]
fn nobody_is_told_to_hide_what_is_shown_again() {
    let (mut deciding, _folder) = deciding();
    deciding.webhooks = told();
    let held = deciding.judged(&session("7"), Verdict::Hold, None);
    assert!(deciding.let_go(held.id));
    assert_eq!(deciding.events(), ["decision.hold", "stream.released"]);
    assert!(deciding.ledger.dead_letters("ops", 9).unwrap().is_empty(), "or it would be replayed");
}

#[test]
fn a_cut_that_was_released_is_carried_out_no_further() {
    let (mut deciding, _folder) = deciding();
    let cut = deciding.judged(&session("7"), Verdict::Cut, None);
    let ban = deciding.judged(&session("7"), Verdict::Ban, None);
    let [job] = deciding.kick_in_vain().try_into().unwrap();
    assert!(deciding.let_go(cut.id));
    assert_eq!(deciding.kick_in_vain().len(), 1, "the ban relies on the same kick");
    assert!(deciding.ledger.stands(job.id).unwrap());
    assert!(deciding.let_go(ban.id));
    assert!(!deciding.ledger.stands(job.id).unwrap());
    assert_eq!((deciding.kicks(), deciding.closed.len()), (0, 0));
    let outcomes = deciding.ledger.outcomes(cut.id).unwrap();
    assert_eq!(outcomes.last().unwrap().outcome.word(), "gave_up");
    assert_eq!(deciding.judged(&session("7"), Verdict::Cut, None).verdict, Verdict::Cut);
    assert_eq!(deciding.kicks(), 1, "and a new cut is carried out");
}

#[test]
fn a_wrong_verdict_can_be_taken_back_when_nothing_of_it_stands_any_more() {
    let (mut deciding, folder) = deciding();
    let cut = deciding.judged(&session("7"), Verdict::Cut, Some(Duration::ZERO));
    let held = deciding.judged(&session("7"), Verdict::Hold, Some(Duration::ZERO));
    deciding.tick(deciding.clock.now());
    assert_eq!(deciding.context(&session("8")).earlier.len(), 2);
    for decision in [cut.id, held.id] {
        assert!(deciding.let_go(decision) && !deciding.let_go(decision));
    }
    assert_eq!(deciding.context(&session("8")).earlier, []);
    drop(deciding);
    assert_eq!(started(&folder).context(&session("8")).earlier, []);
}

#[test]
fn enforcing_a_deny_is_no_verdict_of_its_own() {
    let (mut deciding, folder) = deciding();
    let ban = deciding.judged(&session("7"), Verdict::Ban, None);
    assert!(deciding.listed(&session("8"), deciding.clock.now()).is_some());
    let earlier = |deciding: &Deciding| -> Vec<Uuid> {
        deciding.context(&session("9")).earlier.into_iter().map(|earlier| earlier.decision).collect()
    };
    assert_eq!(earlier(&deciding), [ban.id]);
    drop(deciding);
    assert_eq!(earlier(&started(&folder)), [ban.id]);
}

#[test]
fn what_waits_to_be_recorded_can_be_taken_back() {
    let (mut deciding, _folder) = deciding();
    let cut = deciding.unrecorded(&session("7"), Verdict::Cut);
    let ban = deciding.unrecorded(&session("7"), Verdict::Ban);
    assert_eq!((cut.actions.len(), ban.actions.len()), (2, 1), "the cut kicks");
    assert!(deciding.let_go(cut.decision.id) && !deciding.let_go(cut.decision.id));
    let waits = deciding.unrecorded.closing(&session("7")).unwrap();
    assert_eq!((waits.decision.id, waits.actions.len()), (ban.decision.id, 2), "the ban does now");
    assert!(deciding.let_go(ban.decision.id));
    assert_eq!((deciding.unrecorded.len(), deciding.closed.len()), (0, 0));
    assert_eq!(deciding.ledger.decisions(9).unwrap(), []);
}

#[test]
fn one_that_can_never_be_recorded_delays_no_other() {
    let (mut deciding, _folder) = deciding();
    let never = [Verdict::Cut, Verdict::Ban].map(|verdict| deciding.unrecorded(&session("7"), verdict).decision.id);
    let cut = deciding.judged(&session("8"), Verdict::Cut, None);
    deciding.tick(deciding.clock.now());
    assert_eq!(deciding.ledger.decisions(9).unwrap(), [cut]);
    assert!(never.iter().all(|id| deciding.unrecorded.take(*id).is_some()));
}
