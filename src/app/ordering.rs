//! What people order of the judge's thread: to cut, to hold, to let go, to close the breaker. Each order is answered when
//! what follows from it is in the ledger.

use tokio::sync::oneshot;
use tracing::{info, warn};
use uuid::Uuid;

use super::deciding::Deciding;
use crate::act::webhook::Topic;
use crate::act::webhook::event::{self, Released};
use crate::api::{self, BreakerView, Happening};
use crate::clock::Timestamp;
use crate::decision::{Action, Actor, Decision, Ended, Ending};
use crate::judge::{Judgement, Scope};
use crate::ledger::{Entry, LedgerError, Over};
use crate::metrics::Stage;
use crate::stream::{Session, SessionId, StreamId};

/// The rule named in a decision that a person made.
pub(super) const OPERATOR: &str = "operator";

/// Holds that are ended at a time; the others follow a second later.
const AT_A_TIME: usize = 200;

/// Somebody orders something, and waits for the answer.
#[derive(Debug)]
pub(super) enum Order {
    /// To decide on a stream; answered with the decisions, and whether they are in the ledger.
    Decide(api::Order, oneshot::Sender<(Vec<Decision>, bool)>),
    /// To take a decision back; answered with whether there was something to take back.
    Release(Uuid, Actor, oneshot::Sender<Result<bool, LedgerError>>),
    /// To say how the breaker is.
    Breaker(oneshot::Sender<BreakerView>),
    /// To close the breaker; answered with how it was.
    CloseBreaker(Actor, oneshot::Sender<BreakerView>),
}

impl Deciding {
    /// Carries out an order. Nobody may be waiting for the answer any more; it is carried out all the same.
    pub(super) fn carry_out(&mut self, order: Order) {
        match order {
            Order::Decide(order, answer) => drop(answer.send(self.decide_on(&order))),
            Order::Release(decision, by, answer) => drop(answer.send(self.release(decision, by))),
            Order::Breaker(answer) => drop(answer.send(self.breaking.view(self.clock.now()))),
            Order::CloseBreaker(by, answer) => {
                let was = self.breaking.close(&by, self.clock.now(), &self.telling);
                self.keep_breaker();
                drop(answer.send(was));
            }
        }
    }

    /// Decides on every session of the stream that is live; where none is, on the stream alone.
    fn decide_on(&mut self, order: &api::Order) -> (Vec<Decision>, bool) {
        let decided = self.clock.now();
        let live = self.streams.sessions().into_iter();
        let mut sessions: Vec<Session> = live.filter(|session| session.stream == order.stream).collect();
        if sessions.is_empty() {
            sessions.push(nobody(&order.stream));
        }
        let (mut decisions, mut recorded) = (Vec::new(), true);
        for session in sessions {
            let lasts = order.lasts.or_else(|| self.policy.lasts(order.verdict));
            let scope = if order.deny.is_empty() { Scope::default() } else { order.deny.iter().copied().collect() };
            let context = self.context(&session);
            let judgement =
                Judgement { context, lasts, scope, ..Judgement::bare(session, order.verdict, OPERATOR, decided) };
            let entry = self.decide(judgement, order.actor.clone());
            decisions.push(entry.decision.clone());
            recorded &= self.put(entry);
        }
        (decisions, recorded)
    }

    /// Takes a decision back: its denies are lifted, its hold is over, and rules no longer count it.
    fn release(&mut self, id: Uuid, by: Actor) -> Result<bool, LedgerError> {
        let decision = match self.take_back(id) {
            Some(waiting) => waiting,
            None => match self.release_recorded(id, by.clone())? {
                Some(recorded) => recorded,
                None => return Ok(false),
            },
        };
        if let (Actor::Policy, Some(until)) = (&decision.actor, decision.until) {
            self.judge.released(&decision.session, until);
        }
        self.history.forget(decision.id);
        if let Actor::Operator { name, reason } = by {
            info!(session = %decision.session, decision = %decision.id, %name, %reason, "released");
        }
        Ok(true)
    }

    /// Takes a decision out of those that wait to be recorded: nothing was done about it, and nothing will be.
    fn take_back(&mut self, id: Uuid) -> Option<Decision> {
        let Entry { decision, actions, .. } = self.unrecorded.take(id)?;
        self.telling.metrics.set_unrecorded(self.unrecorded.len());
        let to_do = |(_, action): &(Uuid, Action)| !matches!(action, Action::Notify { .. });
        let to_do: Vec<(Uuid, Action)> = actions.into_iter().filter(to_do).collect();
        if !to_do.is_empty() {
            // A severer one that waits behind it relies on its kick.
            match self.unrecorded.closing(&decision.session) {
                Some(other) => other.actions.extend(to_do),
                None => drop(self.closed.remove(&decision.session)),
            }
        }
        Some(decision)
    }

    fn release_recorded(&mut self, id: Uuid, by: Actor) -> Result<Option<Decision>, LedgerError> {
        let Some(decision) = self.ledger.decision(id)? else { return Ok(None) };
        let ended = Ended { at: self.clock.now(), because: Ending::Released { by } };
        let Some(over) = self.end(std::slice::from_ref(&decision), &ended)?.pop().flatten() else { return Ok(None) };
        if over.spared && self.closed.get(&decision.session) == Some(&None) {
            self.closed.remove(&decision.session);
        }
        Ok(Some(decision))
    }

    /// Ends the holds that have run out. Call it every second; what cannot be written is tried again.
    pub(super) fn end_holds(&self, now: Timestamp) {
        let ended = Ended { at: now, because: Ending::Expired };
        let run_out = self.ledger.run_out(now, AT_A_TIME).and_then(|holds| {
            if holds.is_empty() {
                return Ok(());
            }
            for (hold, over) in holds.iter().zip(self.end(&holds, &ended)?) {
                if over.is_some() {
                    info!(session = %hold.session, decision = %hold.id, "a hold ran out");
                }
            }
            Ok(())
        });
        if let Err(error) = run_out {
            self.telling.metrics.error(Stage::Ledger, error.kind());
            warn!(%error, "holds that ran out wait to be ended");
        }
    }

    /// What came of ending each of them; `None` where nothing of it stood.
    fn end(&self, decisions: &[Decision], ended: &Ended) -> Result<Vec<Option<Over>>, LedgerError> {
        let because = if ended.because == Ending::Expired { Released::Expired } else { Released::Operator };
        let with_actions = |decision: &Decision| {
            let body = event::released(Uuid::now_v7(), decision.id, &decision.session, because, ended.at, &self.source);
            let mut actions: Vec<(Uuid, Action)> = Vec::new();
            self.notify(&mut actions, Topic::StreamReleased, &body);
            (decision.id, actions)
        };
        let to_end: Vec<_> = decisions.iter().map(with_actions).collect();
        let all = self.ledger.end_all(&to_end, ended)?;
        for (decision, _) in decisions.iter().zip(&all).filter(|(_, over)| over.is_some()) {
            self.gate.lift_decision(decision.id);
            let happening = Happening::Released { decision: decision.id, verdict: decision.verdict };
            self.telling.tell(ended.at, &decision.session.stream, happening);
        }
        if all.iter().flatten().any(|over| over.told) {
            self.bell.ring();
        }
        Ok(all)
    }
}

/// The session of a stream that nobody publishes.
fn nobody(stream: &StreamId) -> Session {
    Session { stream: stream.clone(), id: SessionId::from("") }
}
