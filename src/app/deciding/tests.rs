//! What is cut, once and again, and what its deny is: notices in, decisions out, without the thread.

use std::num::NonZeroUsize;

use crossbeam_channel::bounded;
use tempfile::TempDir;

use super::*;
use crate::decision::Outbox as _;
use crate::finding::{Match, Observation, Opinion};
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
        classes: crate::app::classes::Classes::default(),
        publishers: crate::app::publishers::Publishers::default(),
        entries: std::sync::RwLock::default(),
    };
    let deciding = Deciding {
        judge: Judge::new(Arc::clone(&policy)),
        ward: Ward::new(quarantine()),
        alarms: Alarms::new(bounded(2).0),
        policy,
        ledger: Arc::new(Ledger::open(&ledger::Config { path: folder.path().join("ledger.sqlite") }).unwrap()),
        gate: Arc::new(Gate::default()),
        servers: Vec::new(),
        webhooks: Vec::new(),
        source: "/test".to_owned(),
        streams: Arc::new(streams),
        telling,
        bell: Arc::default(),
        clock,
        closed: HashMap::new(),
        breaking: Breaking::new(&judge::breaker::Config::default(), None),
        history: History::default(),
        unrecorded: VecDeque::new(),
    };
    (deciding, folder)
}

/// Two streams, at once.
fn quarantine() -> judge::quarantine::Config {
    judge::quarantine::Config { streams: 2, alone_for: Duration::ZERO, ..judge::quarantine::Config::default() }
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
    fn settle(&mut self, notice: Notice) -> Option<Entry> {
        let decided = self.weigh(notice).pop()?;
        assert!(self.record(&decided));
        Some(decided)
    }

    /// Three banked pictures in a row: the default policy cuts.
    fn cut(&mut self, session: &Session) -> Entry {
        let now = self.clock.now();
        (1..=3).find_map(|signal| self.settle(found(session.clone(), signal, now))).unwrap()
    }

    fn listed(&mut self, session: &Session, asked: Timestamp) -> Option<Entry> {
        self.settle(Notice::Denied { session: session.clone(), publisher: Publisher::default(), asked })
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
    assert_eq!(deciding.ledger.denies(deciding.clock.now()).unwrap(), cut.denies);
    deciding.gate.lift_decision(cut.decision.id);
    assert!(deciding.listed(&session("10"), deciding.clock.now()).is_none(), "nothing stands against it any more");
}

/// The same banked picture, alone in another stream.
fn alone(stream: &str, at: Timestamp) -> Notice {
    let Notice::Found(finding) = found(session("1"), 7, at) else { unreachable!() };
    Notice::Found(Finding {
        session: Session { stream: StreamId::new("main", "live", stream), ..session("1") },
        ..finding
    })
}

#[test]
fn a_capped_bank_hides_nobody_from_the_record_and_cuts_nobody() {
    let (mut deciding, _folder) = deciding();
    let now = deciding.clock.now();
    let said = (1..=4).find_map(|signal| {
        let Notice::Found(mut finding) = found(session("7"), signal, now) else { unreachable!() };
        let Observation::Match(seen) = &mut finding.observation else { unreachable!() };
        seen.at_most = Verdict::Hold;
        deciding.settle(Notice::Found(finding))
    });
    let Entry { decision, denies, actions, .. } = said.unwrap();
    assert_eq!((decision.verdict, decision.capped_by.as_deref()), (Verdict::Hold, Some("demo")));
    assert!(denies.is_empty() && actions.is_empty(), "{actions:?}");
    assert_eq!(deciding.ledger.decisions(9).unwrap(), [decision]);
}

#[test]
fn a_signal_set_aside_is_told_everywhere_and_handed_on_to_its_bank() {
    let (mut deciding, _folder) = deciding();
    let (to_keep, kept) = bounded(1);
    deciding.alarms = Alarms::new(to_keep);
    let webhook = "name = 'ops'\nurl = 'http://127.0.0.1:1/'\nsecret = 'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw'\n";
    let quiet = webhook.replace("ops", "quiet") + "events = ['cut']";
    deciding.webhooks = [webhook, &quiet]
        .map(|text| Webhook::new(&toml::from_str(text).unwrap(), &crate::act::Config::default()).unwrap())
        .into();
    let mut told = deciding.telling.listen();
    let now = deciding.clock.now();
    for stream in ["a", "b"] {
        deciding.settle(alone(stream, now));
    }
    deciding.set_aside(now);
    assert_eq!(kept.try_recv().unwrap().signal, 7);
    assert!(
        deciding.telling.metrics.render().unwrap().contains("sluicegate_signals_quarantined_total{bank=\"demo\"} 1")
    );
    let said: Vec<_> = std::iter::from_fn(|| told.try_recv().ok()).map(|event| event.happening.word()).collect();
    assert_eq!(said, ["finding", "finding", "signal_quarantined"]);
    let jobs = deciding.ledger.claim(crate::decision::Lane::Notify, deciding.clock.now(), 9).unwrap();
    let [job] = jobs.as_slice() else { panic!("{jobs:?}") };
    let Action::Notify { webhook, body } = &job.action else { panic!("{job:?}") };
    assert!(&**webhook == "ops" && body.contains("signal.quarantined"), "{body}");
    deciding.settle(alone("c", now));
    let marked = told.try_recv().unwrap().happening;
    let Happening::Finding { observation: Observation::Match(seen), .. } = marked else { panic!("{marked:?}") };
    assert!(seen.quarantined);
    deciding.set_aside(now);
    assert!(kept.try_recv().is_err(), "once");
}

#[test]
fn a_severer_verdict_does_not_kick_a_second_time_while_the_first_kick_is_under_way() {
    let (mut deciding, _folder) = deciding();
    let Entry { decision, .. } = deciding.cut(&session("7"));
    let Decision { session, rule, decided, .. } = decision;
    let ban = deciding.decide(Judgement::bare(session, Verdict::Ban, &rule, decided), Actor::Policy);
    assert!(ban.actions.is_empty() && ban.denies[0].until.is_none());
}
