//! Reports from the desk to the ledger, the sampler and the judge; the stream is pulled from where nothing is.

use std::sync::RwLock;

use crossbeam_channel::{Receiver, bounded};
use tempfile::TempDir;

use super::*;
use crate::app::classes::Classes;
use crate::app::publishers::Publishers;
use crate::app::streams::Config as StreamsConfig;
use crate::app::suspicions::Suspicions;
use crate::ledger;
use crate::media_server::{Protocol, Pull};
use crate::metrics::Metrics;
use crate::report::Category;
use crate::stream::Publisher;

struct House {
    desk: Desk,
    streams: Arc<Streams>,
    ledger: Arc<Ledger>,
    judge: Receiver<Notice>,
    clock: Clock,
    _folder: TempDir,
}

fn house(config: Config) -> House {
    let folder = tempfile::tempdir().unwrap();
    let clock = Clock::system();
    let telling = Telling::new(Arc::new(Metrics::new().unwrap()));
    let (notices, judge) = bounded(1024);
    let streams = Arc::new(Streams {
        config: StreamsConfig::default(),
        max_gap: Duration::from_secs(2),
        places: 9,
        inspection: std::sync::OnceLock::new(),
        notices,
        telling: telling.clone(),
        clock,
        classes: Classes::default(),
        publishers: Publishers::default(),
        suspicions: Suspicions::default(),
        entries: RwLock::default(),
    });
    let ledger = Arc::new(Ledger::open(&ledger::Config { path: folder.path().join("ledger.sqlite") }).unwrap());
    let servers = HashSet::from(["main".into()]);
    let key = ledger.reporters_key().unwrap();
    let (desk, coming) = Desk::new(config.clone(), key, servers, Arc::clone(&streams), telling.clone(), clock);
    let reporting = Reporting {
        config,
        ledger: Arc::clone(&ledger),
        streams: Arc::clone(&streams),
        webhooks: Vec::new(),
        source: "/test".to_owned(),
        telling,
        bell: Arc::default(),
    };
    tokio::spawn(reporting.run(coming));
    House { desk, streams, ledger, judge, clock, _folder: folder }
}

impl House {
    fn attach(&self, name: &str) -> Session {
        let session = Session { stream: StreamId::new("main", "live", name), id: "7".into() };
        let pull = Pull {
            stream: session.stream.clone(),
            protocol: Protocol::Rtmp,
            url: "rtmp://127.0.0.1:1/live/nothing".to_owned(),
        };
        self.streams.attach(&session, &Publisher::default(), Ok(pull));
        session
    }

    fn attention(&self, session: &Session) -> Attention {
        self.streams.get(session).unwrap().attention.level(self.clock.now())
    }
}

fn filed(from: &str, name: &str) -> Filed {
    let notifier = Notifier { name: "Ann".to_owned(), email: format!("{from}@example.org"), account: None };
    Filed {
        stream: format!("main/live/{name}"),
        session: None,
        category: Category::Violence,
        imminent: false,
        explanation: "somebody is beaten".to_owned(),
        good_faith: true,
        notifier: Some(notifier),
    }
}

#[tokio::test]
async fn a_report_is_kept_raises_attention_and_reaches_the_judge() {
    let house = house(Config::default());
    let session = house.attach("cam");
    let receipt = house.desk.take(filed("ann", "cam")).await.unwrap();
    assert!(receipt.live && !receipt.repeated);
    assert_eq!(house.attention(&session), Attention::Reported);
    assert_eq!(house.streams.views()[0].reports, 1);
    let Ok(Notice::Found(finding)) = house.judge.try_recv() else { panic!("the judge was not told") };
    let Observation::Report(report) = finding.observation else { panic!("{:?}", finding.observation) };
    assert_eq!((report.id, &*report.category, report.imminent), (receipt.id, "violence", false));
    let kept = house.ledger.report(receipt.id).unwrap().unwrap().report;
    assert_eq!((kept.session, kept.explanation.as_str()), (Some("7".into()), "somebody is beaten"));
    assert!(!kept.reporter.word().contains("ann"), "a name in the ledger");

    let again = house.desk.take(filed("ANN", "cam")).await.unwrap();
    assert!(again.repeated && again.id == receipt.id);
    assert!(house.judge.try_recv().is_err(), "it was told twice");
    house.desk.take(Filed { imminent: true, ..filed("ann", "cam") }).await.unwrap();
    assert_eq!(house.attention(&session), Attention::Imminent);
}

#[tokio::test]
async fn a_report_of_what_is_not_on_the_air_is_kept_and_raises_nothing() {
    let house = house(Config::default());
    let session = house.attach("cam");
    let over = Filed { session: Some("6".into()), ..filed("bob", "cam") };
    for (what, report) in [("another stream", filed("ann", "cam1")), ("a session that is over", over)] {
        let receipt = house.desk.take(report).await.unwrap();
        assert!(!receipt.live, "{what}");
    }
    assert_eq!(house.attention(&session), Attention::Calm);
    assert!(house.judge.try_recv().is_err());
    let elsewhere = Filed { stream: "other/live/cam".to_owned(), ..filed("ann", "cam") };
    assert_eq!(house.desk.take(elsewhere).await, Err(ReportError::NoSuchServer));
}

#[tokio::test]
async fn whoever_was_wrong_too_often_raises_nothing_and_is_kept_all_the_same() {
    let house = house(Config { per_reporter: 100, ..Config::default() });
    for stream in 0..20 {
        let id = house.desk.take(filed("ann", &format!("old{stream}"))).await.unwrap().id;
        house.ledger.judge_report(id, crate::report::Outcome::Unfounded, house.clock.now()).unwrap();
    }
    let session = house.attach("cam");
    let imminent = |from| Filed { imminent: true, ..filed(from, "cam") };
    let receipt = house.desk.take(imminent("ann")).await.unwrap();
    assert_eq!(house.attention(&session), Attention::Calm);
    assert!(house.ledger.report(receipt.id).unwrap().is_some());
    let Ok(Notice::Found(Finding { observation: Observation::Report(report), .. })) = house.judge.try_recv() else {
        panic!("the judge weighs it all the same")
    };
    assert!(report.weight < LEAST, "{}", report.weight);
    house.desk.take(imminent("bob")).await.unwrap();
    assert_eq!(house.attention(&session), Attention::Imminent);
}

#[tokio::test]
async fn there_is_a_limit_for_each_reporter_and_one_for_all() {
    let house = house(Config { per_second: 1, per_reporter: 2, ..Config::default() });
    for stream in ["a", "b"] {
        house.desk.take(filed("ann", stream)).await.unwrap();
    }
    assert_eq!(house.desk.take(filed("ann", "c")).await, Err(ReportError::TooMany { wait: Duration::from_mins(30) }));
    let mut refused = 0;
    for from in 0..20 {
        refused += u32::from(house.desk.take(filed(&format!("crowd{from}"), "c")).await.is_err());
    }
    assert!((12..=13).contains(&refused), "ten at once and one a second, three of them spent: {refused} refused");
}

#[tokio::test]
async fn a_flood_of_reports_of_one_stream_is_kept_and_cannot_drown_the_judge() {
    let house = house(Config { per_second: 100_000, ..Config::default() });
    house.attach("cam");
    for from in 0..3 * TOLD {
        house.desk.take(filed(&format!("crowd{from}"), "cam")).await.unwrap();
    }
    let told = house.judge.try_iter().count();
    assert!((TOLD as usize..TOLD as usize + 3).contains(&told), "{told}");
    assert_eq!(house.streams.views()[0].reports, u64::from(3 * TOLD));
}

#[test]
fn attention_follows_the_reporters_word() {
    for (imminent, weight, level) in [
        (false, 1.0, Some(Attention::Reported)),
        (true, 1.0, Some(Attention::Imminent)),
        (true, 0.5, Some(Attention::Imminent)),
        (true, 0.4, Some(Attention::Reported)),
        (false, 0.25, Some(Attention::Reported)),
        (true, 0.09, None),
    ] {
        assert_eq!(raised(imminent, weight), level, "imminent {imminent}, weight {weight}");
    }
}

#[tokio::test]
async fn a_reporter_is_the_same_by_account_or_address_and_another_with_another_key() {
    let (house, other) = (house(Config::default()), house(Config::default()));
    let by = |email: &str, account: Option<&str>| Notifier {
        name: "Ann".to_owned(),
        email: email.to_owned(),
        account: account.map(str::to_owned),
    };
    let digest = |desk: &Desk, notifier: &Notifier| desk.reporter(Some(notifier)).word();
    let plain = digest(&house.desk, &by("ann@example.org", None));
    assert_eq!(plain, digest(&house.desk, &by("Ann@Example.org", None)));
    assert_ne!(plain, digest(&house.desk, &by("bob@example.org", None)));
    assert_ne!(plain, digest(&house.desk, &by("ann@example.org", Some("ann@example.org"))));
    assert_eq!(digest(&house.desk, &by("a@b.c", Some("7"))), digest(&house.desk, &by("d@e.f", Some("7"))));
    assert_ne!(plain, digest(&other.desk, &by("ann@example.org", None)));
    assert_eq!(house.desk.reporter(None), Reporter::Anonymous);
}
