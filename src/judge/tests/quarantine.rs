//! Signals that fire alone in many streams, and videos that many upload.

use std::collections::BTreeMap;

use super::*;
use crate::decision::SetAside;
use crate::finding::Match;
use crate::judge::quarantine::{CROWD, Config, HELD, REMEMBERED, SIGHTINGS, SPENT, Ward};
use crate::stream::StreamId;

/// Three streams, alone for two seconds, within a minute.
fn config() -> Config {
    let (alone_for, within) = (Duration::from_secs(2), Duration::from_mins(1));
    Config { streams: 3, alone_for, within, ..Config::default() }
}

fn at(millis: u64) -> Timestamp {
    START + Duration::from_millis(millis)
}

fn on(stream: &str) -> Session {
    let (server, name) = stream.split_once('/').unwrap_or(("main", stream));
    Session { stream: StreamId::new(server, "live", name), id: "1".into() }
}

fn seen(stream: &str, token: &str, millis: u64) -> Finding {
    Finding { session: on(stream), ..finding(millis, millis, observed(token)) }
}

fn ids(set_aside: &[SetAside]) -> Vec<(String, u64)> {
    set_aside.iter().map(|said| (said.bank.to_string(), said.signal)).collect()
}

/// A second a step. `a:m1`: stream a shows signal 1 of `demo`; `a:m1+m2`: two; `a:end`: it is over; several streams
/// joined by `,`. Gives what was set aside: `demo1@5`.
fn told(config: Config, text: &str) -> String {
    let mut ward = Ward::new(config);
    let mut said = Vec::new();
    for (step, tokens) in text.split_whitespace().enumerate() {
        let now = step as u64 * 1000;
        for (stream, shown) in tokens.split(',').filter_map(|token| token.split_once(':')) {
            for token in shown.split('+') {
                match token {
                    "end" => ward.end(&on(stream), at(now)),
                    token => ward.admit(&mut seen(stream, token, now)),
                }
            }
        }
        said.extend(ids(&ward.tick(at(now))).into_iter().map(|(bank, signal)| format!("{bank}{signal}@{step}")));
    }
    said.join(" ")
}

#[test]
fn stories_of_signals_that_fire_alone() {
    for (story, text, said) in [
        ("a title card in three streams", "a:m1,b:m1,c:m1 . . .", "demo1@2"),
        ("only when the last has gone on for long enough", "a:m1 b:m1 . . . c:m1 . .", "demo1@7"),
        ("it stands still, or comes and goes", "a:m1,b:m1,c:m1 a:m1 b:m1,c:m1 .", "demo1@2"),
        ("in two streams it may be chance", "a:m1,b:m1 . . . . . .", ""),
        ("somebody who comes back is one stream", "a:m1 . . a:end a:m1 . . a:end a:m1 . . .", ""),
        ("a copy on another application is no other", "a:m1,b:m1 . . .", ""),
        ("the same name on another server is", "x/a:m1,y/a:m1,z/a:m1 . . .", "demo1@2"),
        ("a video that many upload", "a:m1,b:m1,c:m1 a:m2,b:m2,c:m2 a:m3,b:m3,c:m3 . . .", ""),
        ("though each comes to another part of it", "a:m1 a:m2 b:m1 b:m3 c:m1 c:m4 . . . . .", ""),
        ("a storm that was cut at once is not alone later", "a:m1+m2,b:m1+m2,c:m1+m2 a:end,b:end,c:end . . . .", ""),
        ("streams cut at the first picture say nothing", "a:m1,b:m1,c:m1 a:end,b:end,c:end . . . .", ""),
        ("those that ended later do", "a:m1,b:m1,c:m1 . a:end,b:end,c:end .", "demo1@2"),
        ("one that shows the video is no witness", "a:m1,b:m1,c:m1+m2 . . . . d:m1 . .", "demo1@7"),
        ("another bank's signals do not count", "a:m1,b:m1+o1,c:m1+o1 . . .", "demo1@2"),
        ("each bank for itself", "a:m1+o1,b:m1+o1,c:m1+o1 . . .", "demo1@2 other1@2"),
        ("what nobody vouches for cuts nobody", "a:d1,b:s1,c:x1,d:d1,e:d1 . . .", ""),
        ("it is set aside once", "a:m1,b:m1,c:m1 . . d:m1,e:m1,f:m1 . . . .", "demo1@2"),
    ] {
        assert_eq!(told(config(), text), said, "{story}: {text}");
    }
    let minute = ". ".repeat(61);
    assert_eq!(told(config(), &format!("a:m1,b:m1 {minute} c:m1 . . .")), "", "too long ago");
    let third = Config { signals: 3, ..config() };
    assert_eq!(told(third, "a:m1+m2,b:m1+m2,c:m1 . . ."), "demo1@2", "two are alone where three are asked for");
    for off in [Config { enabled: false, ..config() }, Config { except: vec!["demo".into()], ..config() }] {
        assert_eq!(told(off, "a:m1,b:m1,c:m1 . . . ."), "");
    }
}

#[test]
fn copies_in_other_applications_are_the_same_stream() {
    let mut ward = Ward::new(config());
    for app in ["live", "hls", "low"] {
        let session = Session { stream: StreamId::new("main", app, "a"), id: "1".into() };
        ward.admit(&mut Finding { session, ..seen("a", "m1", 0) });
    }
    assert_eq!(ward.tick(at(5000)), []);
}

/// Whether a match is marked on its way in.
fn marked(ward: &mut Ward, revision: u64, quarantined: bool, stream: &str, millis: u64) -> bool {
    let mut finding = seen(stream, "m1", millis);
    if let Observation::Match(seen) = &mut finding.observation {
        (seen.bank_revision, seen.quarantined) = (revision, quarantined);
    }
    ward.admit(&mut finding);
    matches!(finding.observation, Observation::Match(Match { quarantined: true, .. }))
}

fn alarmed() -> Ward {
    let mut ward = Ward::new(config());
    for stream in ["a", "b", "c"] {
        assert!(!marked(&mut ward, 1, false, stream, 0));
    }
    let said = ward.tick(at(2000));
    assert_eq!(said.len(), 1);
    assert_eq!(said[0].streams.iter().map(|stream| &*stream.name).collect::<Vec<_>>(), ["a", "b", "c"]);
    assert_eq!((&*said[0].provenance, said[0].within), ("test", Duration::from_mins(1)));
    ward
}

#[test]
fn from_then_on_its_matches_are_marked_and_cut_nobody() {
    let mut ward = alarmed();
    assert!(marked(&mut ward, 1, false, "d", 2001));
    assert!(marked(&mut ward, 7, false, "d", 2001), "whatever else changes in a bank that could not be written");
    ward.kept(&"demo".into(), &[1], 8);
    assert!(marked(&mut ward, 7, false, "d", 2002), "the bank before is still in force for a moment");
    assert!(marked(&mut ward, 8, true, "d", 2003));
    let mut judge = Judge::new(policy("[[rule]]\nname='a'\nbank='*'\npictures=1\nwithin='4s'\nverdict='cut'"));
    let mut finding = seen("d", "m1", 2004);
    if let Observation::Match(seen) = &mut finding.observation {
        seen.quarantined = true;
    }
    assert_eq!(judge.observe(&finding, &Context::default()), None);
}

#[test]
fn what_was_released_is_not_set_aside_again_by_the_same_streams() {
    for confirmed in [false, true] {
        let mut ward = alarmed();
        ward.kept(&"demo".into(), &[1], 2);
        if confirmed {
            assert!(marked(&mut ward, 2, true, "d", 3000));
        }
        assert!(!marked(&mut ward, 3, false, "a", 4000), "released");
        for stream in ["a", "b", "c", "e", "f"] {
            marked(&mut ward, 3, false, stream, 5000);
        }
        assert_eq!(ward.tick(at(9000)), [], "two others are too few, the three are spent");
        marked(&mut ward, 3, false, "g", 9000);
        assert_eq!(ids(&ward.tick(at(11_000))), [("demo".to_owned(), 1)], "three others are new evidence");
    }
}

#[test]
fn a_late_match_of_an_older_revision_releases_nothing() {
    let mut ward = alarmed();
    ward.kept(&"demo".into(), &[1], 5);
    assert!(marked(&mut ward, 6, true, "d", 3000), "the bank says so itself");
    assert!(marked(&mut ward, 5, true, "d", 3001), "and said so before");
    for late in [4, 5, 6] {
        assert!(marked(&mut ward, late, false, "e", 3002), "looked up before that, in revision {late}");
    }
    assert!(!marked(&mut ward, 7, false, "e", 3003), "released");
}

#[test]
fn a_bank_made_anew_under_the_old_name_starts_afresh() {
    let mut ward = alarmed();
    let mut other = seen("d", "m1", 3000);
    if let Observation::Match(seen) = &mut other.observation {
        seen.provenance = "another file".into();
    }
    ward.admit(&mut other);
    assert!(matches!(other.observation, Observation::Match(Match { quarantined: false, .. })));
}

#[test]
fn memory_is_bounded() {
    let mut ward = Ward::new(config());
    for stream in 0..SIGHTINGS + 100 {
        ward.admit(&mut seen(&stream.to_string(), "m1", 0));
    }
    assert_eq!(ward.tick(at(5000))[0].streams.len(), SIGHTINGS);
    let mut ward = Ward::new(config());
    for signal in 0..2000 {
        ward.admit(&mut seen("a", &format!("m{signal}"), signal));
    }
    assert!(format!("{ward:?}").matches("Seen {").count() <= CROWD);
    assert_eq!(ward.tick(at(200_000)), []);
    assert!(!format!("{ward:?}").contains("Seen {"), "what is long ago is forgotten");
}

#[test]
fn what_was_set_aside_and_released_is_not_kept_in_mind_for_ever() {
    let mut ward = Ward::new(config());
    for signal in 0..4 {
        for stream in 0..SIGHTINGS / 2 {
            ward.admit(&mut seen(&format!("{signal}-{stream}"), &format!("m{signal}"), signal * 100_000));
        }
        assert_eq!(ward.tick(at(signal * 100_000 + 5000)).len(), 1);
    }
    assert_eq!(ward.remembered(), (4, SPENT), "the oldest go");
    let week = REMEMBERED.as_millis() as u64 + 400_000;
    ward.tick(at(week));
    assert_eq!(ward.remembered(), (4, 0), "and those that are long ago; what nobody else knows of stays");
    ward.kept(&"demo".into(), &[0, 1, 2, 3], 5);
    marked(&mut ward, 5, true, "z", week);
    ward.tick(at(week + 61_000));
    assert_eq!(ward.remembered(), (0, 0), "the banks know");
    for signal in 0..HELD as u64 + 100 {
        let mut finding = seen("z", &format!("m{signal}"), week);
        if let Observation::Match(seen) = &mut finding.observation {
            seen.quarantined = true;
        }
        ward.admit(&mut finding);
    }
    assert_eq!(ward.remembered(), (HELD, 0));
}

#[test]
fn whoever_has_many_names_cannot_disarm_a_bank() {
    let mut ward = Ward::new(Config { most: 2, per: Duration::from_mins(2), ..config() });
    let wave = |ward: &mut Ward, signals: std::ops::Range<u64>, now: u64| {
        for signal in signals {
            for stream in 0..3 {
                ward.admit(&mut seen(&format!("{now}-{signal}-{stream}"), &format!("m{signal}"), now));
            }
        }
        let said = ids(&ward.tick(at(now + 2000))).len();
        let refused: Vec<u64> = ward.refused().iter().map(|refused| refused.signal).collect();
        (said, refused)
    };
    assert_eq!(wave(&mut ward, 0..4, 0), (2, vec![2]), "two are, and of the others people are told");
    assert_eq!(wave(&mut ward, 4..6, 30_000), (0, vec![]), "once");
    for stream in ["x", "y", "z"] {
        ward.admit(&mut seen(stream, "o1", 31_000));
    }
    assert_eq!(ids(&ward.tick(at(34_000))), [("other".to_owned(), 1)], "each bank for itself");
    assert_eq!(wave(&mut ward, 6..9, 200_000), (2, vec![8]), "later there is room again");
}

#[test]
fn a_configuration_that_makes_no_sense_is_refused() {
    assert_eq!(Config::default().problems(), []);
    for (config, key) in [
        (Config { streams: 1, ..config() }, "streams"),
        (Config { signals: 1, ..config() }, "signals"),
        (Config { signals: CROWD + 1, ..config() }, "signals"),
        (Config { most: 0, ..config() }, "most"),
        (Config { per: Duration::ZERO, ..config() }, "per"),
        (Config { alone_for: config().within, ..config() }, "alone_for"),
    ] {
        assert_eq!(config.problems().iter().map(|(key, _)| *key).collect::<Vec<_>>(), [key]);
    }
}

/// Something that happens in a stream.
#[derive(Debug, Clone, Copy)]
enum Event {
    Shows(u64),
    Ends,
}

/// The slow and obvious twin: all that ever happened, looked through from scratch.
fn slow(config: &Config, told: &[(u64, usize, Event)], now: u64, held: &[u64]) -> Vec<u64> {
    let (within, alone_for) = (config.within.as_millis() as u64, config.alone_for.as_millis() as u64);
    let mut against: BTreeMap<u64, usize> = BTreeMap::new();
    for stream in 0..6 {
        let events: Vec<(u64, Event)> =
            told.iter().filter(|(_, of, _)| *of == stream).map(|(at, _, event)| (*at, *event)).collect();
        let matches = |signal: Option<u64>| {
            let shown = events.iter().filter_map(|(at, event)| match event {
                Event::Shows(shown) if signal.is_none_or(|signal| signal == *shown) => Some((*at, *shown)),
                _ => None,
            });
            shown.collect::<Vec<_>>()
        };
        let Some((last, _)) = matches(None).last().copied() else { continue };
        let present: std::collections::BTreeSet<u64> =
            matches(None).into_iter().filter(|(at, _)| at + within >= last).map(|(_, signal)| signal).collect();
        if present.len() >= config.signals {
            continue;
        }
        for signal in present {
            let (mut since, mut before) = (None, None);
            for (at, event) in &events {
                match event {
                    Event::Shows(shown) if *shown == signal => {
                        if before.is_some_and(|before| before + within < *at) || since.is_none() {
                            since = Some(*at);
                        }
                        before = Some(*at);
                    }
                    Event::Ends if since.is_some_and(|since| since + alone_for > *at) => since = None,
                    _ => {}
                }
            }
            let recent = before.is_some_and(|before| before + within >= now);
            if recent && since.is_some_and(|since| since + alone_for <= now) && !held.contains(&signal) {
                *against.entry(signal).or_default() += 1;
            }
        }
    }
    against.into_iter().filter(|(_, streams)| *streams >= config.streams).map(|(signal, _)| signal).collect()
}

/// What happens, at times in milliseconds, in six streams.
fn events() -> impl Strategy<Value = Vec<(u64, usize, Event)>> {
    let event = prop_oneof![6 => (0..5_u64).prop_map(Event::Shows), 1 => Just(Event::Ends)];
    prop::collection::vec((0..4000_u64, 0..6_usize, event), 0..80).prop_map(|steps| {
        let mut now = 0;
        steps
            .into_iter()
            .map(|(pause, stream, event)| {
                now += pause;
                (now, stream, event)
            })
            .collect()
    })
}

proptest! {
    #[test]
    fn finds_what_the_slow_twin_finds(
        events in events(), streams in 2..5_usize, signals in 2..4_usize, alone_for in 0..8_u64, within in 9..60_u64,
    ) {
        let (alone_for, within) = (Duration::from_secs(alone_for), Duration::from_secs(within));
        let config = Config { streams, signals, alone_for, within, ..Config::default() };
        let mut ward = Ward::new(config.clone());
        let mut held = Vec::new();
        for (count, (now, stream, event)) in events.iter().enumerate() {
            match event {
                Event::Shows(signal) => ward.admit(&mut seen(&stream.to_string(), &format!("m{signal}"), *now)),
                Event::Ends => ward.end(&on(&stream.to_string()), at(*now)),
            }
            let expected = slow(&config, &events[..=count], *now, &held);
            let found: Vec<u64> = ward.tick(at(*now)).iter().map(|said| said.signal).collect();
            prop_assert_eq!(&found, &expected, "at {}", now);
            held.extend(found);
        }
    }

    /// However many upload a video, in step or not, whatever part of it: where every stream shows two of its signals
    /// before it could be alone, none of them is ever set aside.
    #[test]
    fn a_storm_sets_nothing_aside(
        shown in prop::collection::vec((0..30_000_u64, 0..20_u64, 1..20_u64, 0..2000_u64, any::<bool>()), 1..40),
        later in 0..200_000_u64,
    ) {
        let mut told: Vec<(u64, Option<u64>, usize)> = Vec::new();
        for (stream, (start, first, step, pause, ends)) in shown.into_iter().enumerate() {
            told.push((start, Some(first), stream));
            told.push((start + pause.min(1999), Some(first + step), stream));
            if ends {
                told.push((start + 2000, None, stream));
            }
        }
        told.sort_unstable();
        let mut ward = Ward::new(config());
        for (now, signal, stream) in told {
            match signal {
                Some(signal) => ward.admit(&mut seen(&stream.to_string(), &format!("m{signal}"), now)),
                None => ward.end(&on(&stream.to_string()), at(now)),
            }
            prop_assert_eq!(ward.tick(at(now)), []);
        }
        prop_assert_eq!(ward.tick(at(32_000 + later)), []);
    }
}
