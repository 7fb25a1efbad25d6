//! What is cut, once and again, and what its deny is: notices in, decisions out, without the thread.

use std::num::NonZeroUsize;

use crossbeam_channel::bounded;
use tempfile::TempDir;

use super::*;
use crate::finding::{Match, Opinion};
use crate::metrics::Metrics;
use crate::sample::queue::Queue;
use crate::source::Sources;
use crate::stream::StreamId;
use crate::{judge, ledger, sample, source};

/// A judge's thread that is not started, and the folder of its ledger.
fn deciding() -> (Deciding, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let clock = Clock::system();
    let telling = Telling::new(Arc::new(Metrics::new().unwrap()));
    let policy = Arc::new(Policy::parse(judge::Config::default()).unwrap());
    let streams = Streams {
        config: crate::app::StreamsConfig::default(),
        sampling: sample::Config::default(),
        sources: Sources::new(source::Config::default(), clock).unwrap(),
        queue: Arc::new(Queue::new(NonZeroUsize::MIN)),
        notices: bounded(1).0,
        telling: telling.clone(),
        clock,
        entries: std::sync::RwLock::default(),
    };
    let deciding = Deciding {
        judge: Judge::new(Arc::clone(&policy)),
        policy,
        ledger: Arc::new(Ledger::open(&ledger::Config { path: folder.path().join("ledger.sqlite") }).unwrap()),
        gate: Arc::new(Gate::default()),
        webhooks: Vec::new(),
        source: "/test".to_owned(),
        streams: Arc::new(streams),
        telling,
        bell: Arc::default(),
        clock,
        closed: HashMap::new(),
    };
    (deciding, folder)
}

fn session(id: &str) -> Session {
    Session { stream: StreamId::new("main", "live", "cam"), id: id.into() }
}

/// A finding of the banked picture number `signal`.
fn found(session: Session, signal: u64, at: Timestamp) -> Notice {
    let observation = Observation::Match(Match {
        bank: "demo".into(),
        bank_revision: 1,
        signal,
        distance: 0,
        quality: 100,
        opinion: Opinion::Positive,
        provenance: "clip".into(),
        banked_at: None,
        quorum: 1,
        at_most: Verdict::Ban,
        quarantined: false,
    });
    Notice::Found(Finding { session, sequence: signal, pts: None, arrived: at, found: at, observation })
}

impl Deciding {
    /// Weighs a notice and records what follows from it.
    fn settle(&mut self, notice: Notice) -> Option<Unrecorded> {
        let decided = self.weigh(notice)?;
        assert!(self.record(&decided));
        Some(decided)
    }

    /// Three banked pictures in a row: the default policy cuts.
    fn cut(&mut self, session: &Session) -> Unrecorded {
        let now = self.clock.now();
        (1..=3).find_map(|signal| self.settle(found(session.clone(), signal, now))).unwrap()
    }

    fn listed(&mut self, session: &Session, asked: Timestamp) -> Option<Unrecorded> {
        self.settle(Notice::Denied { session: session.clone(), asked })
    }
}

#[test]
fn a_session_is_cut_once_however_late_a_list_shows_it() {
    let (mut deciding, _folder) = deciding();
    let before = deciding.clock.now();
    assert_eq!(deciding.cut(&session("7")).actions.len(), 1);
    assert!(deciding.listed(&session("7"), before).is_none(), "its kick is under way");
    // The server says that it is gone before the kick has seen it, and a list asked for earlier comes in last.
    deciding.settle(Notice::Ended(session("7"), deciding.clock.now()));
    assert!(deciding.listed(&session("7"), before).is_none(), "its kick is under way still");
    deciding.settle(Notice::Kicked { session: session("7"), at: deciding.clock.now() });
    assert!(deciding.listed(&session("7"), before).is_none(), "the list is older than its end");
    assert_eq!(deciding.ledger.decisions(9).unwrap().len(), 1);
}

#[test]
fn a_denied_session_that_is_listed_after_its_end_is_cut_again() {
    let (mut deciding, _folder) = deciding();
    deciding.cut(&session("7"));
    let ended = deciding.clock.now();
    deciding.settle(Notice::Kicked { session: session("7"), at: ended });
    // A restarted nginx counts its connections anew; and a kick that was given up has ended nothing.
    let again = deciding.listed(&session("7"), ended + Duration::from_micros(1)).unwrap();
    assert_eq!((&*again.decision.rule, again.actions.len()), (STANDING_DENY, 1));
}

#[test]
fn enforcing_a_deny_neither_prolongs_it_nor_outlives_its_lifting() {
    let (mut deciding, _folder) = deciding();
    let cut = deciding.cut(&session("7"));
    for id in ["8", "9"] {
        assert!(deciding.listed(&session(id), deciding.clock.now()).is_some(), "{id}");
    }
    assert_eq!(deciding.ledger.denies(deciding.clock.now()).unwrap(), [cut.deny.unwrap()]);
    deciding.gate.lift_decision(cut.decision.id);
    assert!(deciding.listed(&session("10"), deciding.clock.now()).is_none(), "nothing stands against it any more");
}

#[test]
fn a_severer_verdict_does_not_kick_a_second_time_while_the_first_kick_is_under_way() {
    let (mut deciding, _folder) = deciding();
    let Unrecorded { decision, .. } = deciding.cut(&session("7"));
    let Decision { session, rule, capped_by, decided, evidence, .. } = decision;
    let ban = deciding.decide(Judgement { session, verdict: Verdict::Ban, rule, capped_by, decided, evidence });
    assert!(ban.actions.is_empty() && ban.deny.unwrap().until.is_none());
}
