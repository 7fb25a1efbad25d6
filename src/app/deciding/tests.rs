//! What is cut, once and again, and what its deny is: notices in, decisions out, without the thread.

use crossbeam_channel::bounded;
use tempfile::TempDir;
use tokio::sync::oneshot;

use super::super::ordering::OPERATOR;
use super::*;
use crate::api;
use crate::decision::{DenyBy, Lowered, LoweredBecause, Outbox as _};
use crate::finding::{Match, Observation, Opinion};
use crate::media_server::Pull;
use crate::metrics::Metrics;
use crate::stream::StreamId;
use crate::{judge, ledger};

/// A judge's thread that is not started, and the folder of its ledger.
fn deciding() -> (Deciding, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    (started(&folder), folder)
}

/// A judge's thread that is not started, with what the ledger in `folder` has from before.
fn started(folder: &TempDir) -> Deciding {
    let clock = Clock::system();
    let ledger = Arc::new(Ledger::open(&ledger::Config { path: folder.path().join("ledger.sqlite") }).unwrap());
    let telling = Telling::new(Arc::new(Metrics::new().unwrap()));
    // Of the rules that are built in, the one that cuts.
    let rule = judge::Config::default().rule.into_iter().take(1).collect();
    let policy = Arc::new(Policy::parse(judge::Config { rule, ..judge::Config::default() }).unwrap());
    let streams = Streams {
        config: crate::app::StreamsConfig::default(),
        max_gap: Duration::from_secs(2),
        places: 9,
        inspection: std::sync::OnceLock::new(),
        notices: bounded(1).0,
        telling: telling.clone(),
        clock,
        classes: crate::app::classes::Classes::default(),
        publishers: crate::app::publishers::Publishers::default(),
        suspicions: crate::app::suspicions::Suspicions::default(),
        entries: std::sync::RwLock::default(),
    };
    Deciding {
        judge: Judge::new(Arc::clone(&policy)),
        ward: Ward::new(quarantine()),
        alarms: Alarms::new(bounded(2).0),
        policy,
        gate: Arc::new(Gate::new(ledger.denies(clock.now()).unwrap())),
        servers: Vec::new(),
        webhooks: Vec::new(),
        source: "/test".to_owned(),
        streams: Arc::new(streams),
        telling,
        bell: Arc::default(),
        clock,
        closed: HashMap::new(),
        breaking: Breaking::new(&breaker(), Breaking::kept(&ledger).unwrap().as_deref()),
        history: History::new(ledger.standing(history::MOST).unwrap()),
        unrecorded: Unrecorded::default(),
        ledger,
    }
}

/// Two cuts.
fn breaker() -> judge::breaker::Config {
    judge::breaker::Config { cuts: 2, ..judge::breaker::Config::default() }
}

/// A webhook that is told of everything.
fn told() -> Vec<Webhook> {
    let text = "name = 'ops'\nurl = 'http://127.0.0.1:1/'\nallow_private = true\nsecret = 'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw'\n";
    vec![Webhook::new(&toml::from_str(text).unwrap(), &crate::act::Config::default()).unwrap()]
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

    /// Three banked pictures in a row: the policy cuts.
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
    let webhook = "name = 'ops'\nurl = 'http://127.0.0.1:1/'\nallow_private = true\nsecret = 'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw'\n";
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

impl Deciding {
    /// Which events are in the outbox, and in it no more.
    fn events(&self) -> Vec<String> {
        let jobs = self.ledger.claim(crate::decision::Lane::Notify, self.clock.now(), 99).unwrap();
        let kind = |job: &crate::decision::Job| {
            let Action::Notify { body, .. } = &job.action else { unreachable!() };
            let body: serde_json::Value = serde_json::from_str(body).unwrap();
            body["type"].as_str().unwrap().trim_start_matches("org.sluicegate.").to_owned()
        };
        jobs.iter().map(kind).collect()
    }

    /// What the policy would say of itself.
    fn judged(&mut self, session: &Session, verdict: Verdict, lasts: Option<Duration>) -> Decision {
        let judgement = Judgement { lasts, ..Judgement::bare(session.clone(), verdict, "test", self.clock.now()) };
        let entry = self.decide(judgement, Actor::Policy);
        assert!(self.put(entry.clone()));
        entry.decision
    }

    fn order(&mut self, stream: &StreamId, verdict: Verdict, deny: Vec<DenyBy>) -> Vec<Decision> {
        let (answer, mut answered) = oneshot::channel();
        let order = api::Order { stream: stream.clone(), verdict, actor: ann(), lasts: None, deny };
        self.weigh(Notice::Ordered(Order::Decide(order, answer)));
        let (decisions, recorded) = answered.try_recv().unwrap();
        assert!(recorded);
        decisions
    }

    fn let_go(&mut self, decision: Uuid) -> bool {
        let (answer, mut answered) = oneshot::channel();
        self.weigh(Notice::Ordered(Order::Release(decision, ann(), answer)));
        answered.try_recv().unwrap().unwrap()
    }

    fn kicks(&self) -> usize {
        self.ledger.claim(crate::decision::Lane::Kick, self.clock.now(), 99).unwrap().len()
    }
}

fn ann() -> Actor {
    Actor::Operator { name: "ann".into(), reason: "court order".into() }
}

#[test]
fn a_hold_ends_when_it_runs_out_also_after_a_restart_and_is_told_once() {
    let (mut deciding, folder) = deciding();
    deciding.webhooks = told();
    let brief = deciding.judged(&session("7"), Verdict::Hold, Some(Duration::ZERO));
    let long = deciding.judged(&session("8"), Verdict::Hold, Some(Duration::from_hours(1)));
    assert_eq!(deciding.events(), ["decision.hold", "stream.held", "decision.hold", "stream.held"]);
    drop(deciding);

    let mut again = started(&folder);
    again.webhooks = told();
    assert_eq!(again.events().len(), 4, "nobody has delivered them");
    for _ in 0..2 {
        again.tick(again.clock.now());
    }
    assert_eq!(again.events(), ["stream.released"]);
    let ended = again.ledger.ended(brief.id).unwrap().unwrap();
    assert_eq!(ended.because, crate::decision::Ending::Expired);
    assert_eq!(again.ledger.ended(long.id).unwrap(), None);
    assert!(again.let_go(brief.id) && !again.let_go(brief.id), "that it ran out did not make it right");
    assert!(again.let_go(long.id) && !again.let_go(long.id));
    assert_eq!(again.events(), ["stream.released"]);
}

#[test]
fn a_cut_takes_the_place_of_a_hold_and_nothing_is_shown_again() {
    let (mut deciding, _folder) = deciding();
    deciding.webhooks = told();
    let held = deciding.judged(&session("7"), Verdict::Hold, Some(Duration::ZERO));
    let cut = deciding.judged(&session("7"), Verdict::Cut, None);
    deciding.tick(deciding.clock.now());
    assert_eq!(deciding.events(), ["decision.hold", "stream.held", "stream.quarantine", "decision.cut"]);
    let ended = deciding.ledger.ended(held.id).unwrap().unwrap();
    assert_eq!(ended.because, crate::decision::Ending::Superseded { decision: cut.id });
}

#[test]
fn a_person_cuts_who_is_live_and_refuses_who_is_not() {
    let (mut deciding, _folder) = deciding();
    let live = session("7");
    let publisher = Publisher { account: Some("mallory".into()), ..Publisher::default() };
    let pull = Pull {
        stream: live.stream.clone(),
        protocol: crate::media_server::Protocol::Rtmp,
        url: "rtmp://127.0.0.1:1/live/cam".to_owned(),
    };
    deciding.streams.attach(&live, &publisher, Ok(pull));

    let [cut] = deciding.order(&live.stream, Verdict::Cut, vec![DenyBy::Account, DenyBy::Key]).try_into().unwrap();
    assert_eq!((&cut.session, &*cut.rule, &cut.actor), (&live, OPERATOR, &ann()));
    assert_eq!(deciding.kicks(), 1);
    let denies = deciding.ledger.denies(deciding.clock.now()).unwrap();
    assert_eq!(denies.iter().map(|deny| &deny.target).collect::<Vec<_>>(), [&Target::Account("mallory".into())]);
    let elsewhere = StreamId::new("other", "live", "b");
    assert_eq!(deciding.gate.admit(&elsewhere, &publisher, deciding.clock.now()), Admission::Refuse);
    deciding.streams.detach_all();

    let [ban] = deciding.order(&elsewhere, Verdict::Ban, Vec::new()).try_into().unwrap();
    assert_eq!((&*ban.session.id.0, ban.until), ("", None));
    assert_eq!(deciding.kicks(), 0, "there is nobody to kick");
    assert_eq!(deciding.gate.admit(&elsewhere, &Publisher::default(), deciding.clock.now()), Admission::Refuse);
    assert!(deciding.let_go(ban.id) && deciding.let_go(cut.id));
    assert_eq!(deciding.gate.count(), 0);
    assert_eq!(deciding.gate.admit(&elsewhere, &publisher, deciding.clock.now()), Admission::Allow);
}

#[test]
fn an_earlier_verdict_is_known_of_the_next_session_until_it_is_taken_back() {
    let (mut deciding, folder) = deciding();
    let cut = deciding.judged(&session("7"), Verdict::Cut, None);
    assert_eq!(deciding.context(&session("7")).earlier, [], "it is no earlier one");
    let earlier = |deciding: &Deciding| -> Vec<Uuid> {
        deciding.context(&session("8")).earlier.into_iter().map(|earlier| earlier.decision).collect()
    };
    assert_eq!(earlier(&deciding), [cut.id]);
    drop(deciding);
    let mut again = started(&folder);
    assert_eq!(earlier(&again), [cut.id], "after a restart too");
    assert!(again.let_go(cut.id));
    assert!(earlier(&again).is_empty());
    drop(again);
    assert!(earlier(&started(&folder)).is_empty());
}

#[test]
fn a_verdict_in_the_shadow_is_recorded_and_nothing_follows() {
    let (mut deciding, _folder) = deciding();
    deciding.webhooks = told();
    let judgement =
        Judgement { mode: Mode::Shadow, ..Judgement::bare(session("7"), Verdict::Ban, "trial", deciding.clock.now()) };
    let entry = deciding.decide(judgement, Actor::Policy);
    assert!(deciding.put(entry));
    assert_eq!(deciding.ledger.decisions(9).unwrap()[0].mode, Mode::Shadow);
    assert_eq!((deciding.kicks(), deciding.events().len(), deciding.gate.count()), (0, 0, 0));
    assert_eq!(deciding.context(&session("8")).earlier, []);
    let metrics = deciding.telling.metrics.render().unwrap();
    assert!(metrics.contains("sluicegate_shadow_verdicts_total{rule=\"trial\",verdict=\"ban\"} 1"), "{metrics}");
}

#[test]
fn the_breaker_turns_cuts_into_holds_until_somebody_closes_it_also_after_a_restart() {
    let (mut deciding, folder) = deciding();
    deciding.webhooks = told();
    for id in ["1", "2"] {
        assert_eq!(deciding.cut(&session(id)).decision.verdict, Verdict::Cut);
    }
    deciding.keep_breaker();
    let events = deciding.events();
    assert_eq!(events.last().map(String::as_str), Some("breaker.opened"), "{events:?}");
    let metrics = deciding.telling.metrics.render().unwrap();
    assert!(metrics.contains("sluicegate_breaker_open 1"), "{metrics}");
    drop(deciding);

    let mut again = started(&folder);
    let held = again.cut(&session("3")).decision;
    let lowered = Some(Lowered { from: Verdict::Cut, because: LoweredBecause::Breaker });
    assert_eq!((held.verdict, held.lowered), (Verdict::Hold, lowered));
    assert_eq!(
        again.order(&session("4").stream, Verdict::Cut, Vec::new())[0].verdict,
        Verdict::Cut,
        "people still cut"
    );
    let (answer, mut answered) = oneshot::channel();
    again.weigh(Notice::Ordered(Order::CloseBreaker(ann(), answer)));
    let was = answered.try_recv().unwrap();
    assert_eq!((was.open, was.cuts, was.bank.as_deref()), (true, 2, Some("demo")));
    assert_eq!(again.cut(&session("5")).decision.verdict, Verdict::Cut);
    drop(again);
    let open = started(&folder);
    assert!(!open.breaking.is_open(open.clock.now()));
}

#[test]
fn a_breaker_that_is_not_wanted_any_more_is_not_open_either_and_does_not_come_back() {
    let (mut deciding, folder) = deciding();
    for id in ["1", "2"] {
        deciding.cut(&session(id));
    }
    deciding.keep_breaker();
    drop(deciding);
    let mut without = started(&folder);
    let kept = Breaking::kept(&without.ledger).unwrap();
    assert!(kept.is_some());
    let none = judge::breaker::Config { enabled: false, ..breaker() };
    without.breaking = Breaking::new(&none, kept.as_deref());
    assert_eq!(without.cut(&session("3")).decision.verdict, Verdict::Cut);
    without.keep_breaker();
    assert_eq!(Breaking::kept(&without.ledger).unwrap(), None);
}

mod letting_go;
