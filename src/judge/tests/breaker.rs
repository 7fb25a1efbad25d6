//! Automatic cuts that are too many, and whose work they were.

use super::*;
use crate::judge::breaker::{Breaker, Config, Cut, Limit, Opening, Suspect};

const MANY: usize = 1_000_000;

fn at(millis: u64) -> Timestamp {
    START + Duration::from_millis(millis)
}

fn config() -> Config {
    Config { cuts: 5, within: Duration::from_secs(10), share: 0.2, share_from: 3, ..Config::default() }
}

/// Of a stream that was on the air for an hour, by a rule, on findings such as `m1+n0.9`.
fn cut(millis: u64, rule: &str, evidence: &str) -> Cut {
    let evidence: Vec<Finding> = timeline(evidence).into_iter().map(|(_, finding)| finding).collect();
    Cut::new(at(millis), Duration::from_hours(1), &rule.into(), &evidence)
}

/// `cuts@3`: opened by the third for their number; `share@3`: for their share. Each cut is a time in seconds.
fn story(config: Config, live: usize, seconds: &[u64]) -> String {
    let mut breaker = Breaker::new(config);
    let opened = seconds.iter().enumerate().filter_map(|(number, second)| {
        let opening = breaker.count(cut(second * 1000, "r", "m1"), live)?;
        let limit = if opening.limit == Limit::Cuts { "cuts" } else { "share" };
        Some(format!("{limit}@{}", number + 1))
    });
    opened.collect::<Vec<_>>().join(" ")
}

#[test]
fn stories_of_the_breaker() {
    let closing = Config { close_after: Some(Duration::from_secs(11)), ..config() };
    for (told, config, live, seconds, said) in [
        ("few cuts", config(), MANY, vec![0, 1, 2, 3], ""),
        ("many at once", config(), MANY, vec![0, 0, 0, 0, 0, 0, 0], "cuts@5"),
        ("many, but slowly", config(), MANY, vec![0, 3, 6, 9, 12, 15, 18, 21], ""),
        ("just within the time", config(), MANY, vec![0, 3, 6, 9, 10], "cuts@5"),
        ("just outside", config(), MANY, vec![0, 3, 6, 9, 11], ""),
        ("a fifth of the streams", config(), 12, vec![0, 1, 2], ""),
        ("more than a fifth", config(), 11, vec![0, 1, 2], "share@3"),
        ("two of two streams are no large share", config(), 0, vec![0, 1], ""),
        ("it stays open", config(), MANY, vec![0, 0, 0, 0, 0, 500, 500, 500, 500, 500, 500], "cuts@5"),
        ("unless it closes by itself", closing, MANY, vec![0, 0, 0, 0, 0, 11, 11, 11, 11, 11], "cuts@5 cuts@10"),
        ("there is none", Config { enabled: false, ..config() }, 0, vec![0; 50], ""),
    ] {
        assert_eq!(story(config, live, &seconds), said, "{told}");
    }
}

#[test]
fn a_bank_that_matches_everything_opens_it_on_a_platform_of_any_size() {
    for (streams, carried_out) in [(1, 1), (2, 2), (3, 3), (4, 3), (10, 5), (19, 9), (40, 20), (80, 21), (99, 25)] {
        let mut breaker = Breaker::new(Config::default());
        let opened = (1..=streams).find(|_| breaker.count(cut(0, "r", "m1"), streams).is_some());
        assert_eq!(opened.unwrap_or(streams), carried_out, "of {streams} streams");
        assert_eq!(opened.is_some(), streams > 2, "of {streams} streams");
        if let Some(opening) = breaker.opening(at(0)) {
            assert_eq!(opening.limit, Limit::Share);
        }
    }
}

#[test]
fn copies_that_are_cut_as_they_come_are_no_share_of_the_streams() {
    for (on_air, opened) in [(59, 0), (60, 1)] {
        let mut breaker = Breaker::new(config());
        let fresh = |millis| Cut::new(at(millis), Duration::from_secs(on_air), &"r".into(), &[]);
        let opened_by = (0..4).filter(|number| breaker.count(fresh(*number), 2).is_some()).count();
        assert_eq!(opened_by, opened, "{on_air} s on the air");
    }
}

#[test]
fn it_names_whose_work_it_was() {
    let mut breaker = Breaker::new(config());
    for (rule, evidence) in [("a", "m1+n0.9"), ("b", "m1"), ("b", "m2"), ("a", "o1+N0.9")] {
        assert_eq!(breaker.count(cut(0, rule, evidence), MANY), None);
    }
    let opening = breaker.count(cut(1, "b", "m1 m2 m3 p1"), 70).cloned().unwrap();
    let suspect = |name: &str, cuts| Some(Suspect { name: name.into(), cuts });
    let expected = Opening {
        at: at(1),
        until: None,
        limit: Limit::Cuts,
        cuts: 5,
        live: 70,
        rule: suspect("b", 3),
        bank: suspect("demo", 4),
        model: suspect("one", 1),
    };
    assert_eq!(opening, expected);
    let written = serde_json::to_string(&opening).unwrap();
    assert_eq!(serde_json::from_str::<Opening>(&written).unwrap(), expected);
}

#[test]
fn somebody_or_time_closes_it_and_it_counts_from_nothing() {
    let mut breaker = Breaker::new(Config { close_after: Some(Duration::from_secs(5)), ..config() });
    let open = |breaker: &mut Breaker, millis| {
        (0..5).filter(|_| breaker.count(cut(millis, "r", "m1"), MANY).is_some()).count()
    };
    assert_eq!(open(&mut breaker, 0), 1);
    assert!(breaker.opening(at(4999)).is_some() && breaker.opening(at(5000)).is_none());
    assert_eq!(breaker.close().map(|opening| opening.cuts), Some(5));
    assert!(breaker.opening(at(1)).is_none() && breaker.close().is_none());
    assert_eq!(breaker.count(cut(2, "r", "m1"), MANY), None, "one is not five");
    assert_eq!(open(&mut breaker, 3), 1);
    assert_eq!(breaker.expire(at(5002)), None);
    assert_eq!(breaker.expire(at(5003)).map(|opening| opening.at), Some(at(3)));
    assert_eq!(breaker.expire(at(5003)), None, "once");
}

#[test]
fn it_is_open_again_after_a_restart() {
    let mut first = Breaker::new(config());
    let opening = (0..5).find_map(|_| first.count(cut(0, "r", "m1"), MANY).cloned()).unwrap();
    let mut second = Breaker::new(config());
    second.restore(opening.clone());
    assert_eq!(second.opening(at(9_000_000)), Some(&opening));
    assert_eq!(second.count(cut(1, "r", "m1"), MANY), None);
}

proptest! {
    /// Never more than so many within the time, and the slow way agrees on when it opens.
    #[test]
    fn no_more_than_so_many_are_let_through(
        pauses in prop::collection::vec(0..4000_u64, 0..60), cuts in 1..8_usize, close in prop::option::of(11..30_u64),
    ) {
        let close_after = close.map(Duration::from_secs);
        let config = Config { cuts, share_from: MANY, close_after, ..config() };
        let mut breaker = Breaker::new(config.clone());
        let (mut now, mut carried, mut open_since): (u64, Vec<u64>, Option<u64>) = (0, Vec::new(), None);
        for pause in pauses {
            now += pause;
            let is_open = open_since.is_some_and(|opened| close.is_none_or(|close| now < opened + close * 1000));
            prop_assert_eq!(breaker.opening(at(now)).is_some(), is_open);
            if is_open {
                continue;
            }
            if open_since.take().is_some() {
                breaker.expire(at(now));
            }
            carried.push(now);
            let recent = carried.iter().filter(|one| **one + 10_000 >= now).count();
            let opened = breaker.count(cut(now, "r", "m1"), MANY).is_some();
            prop_assert_eq!(opened, recent >= cuts);
            open_since = opened.then_some(now);
            prop_assert!(recent <= cuts);
        }
    }
}
