//! Stories of playlists that grow, stand still, jump and begin anew, and the slow twin that plans by remembering all.

use std::collections::HashSet;

use proptest::prelude::*;

use super::super::playlist::Part;
use super::*;

const TARGET: Duration = Duration::from_secs(2);

/// A playlist: `7: a b !c -d`, the number of the first segment and the names of all, `!` for a discontinuity, `-` for one
/// that the server does not have, `.` at the end for the end of the stream.
fn media(text: &str) -> Media {
    let (sequence, names) = text.split_once(':').unwrap();
    let segment = |name: &str| Segment {
        part: Part { uri: name.trim_start_matches(['!', '-']).to_owned(), range: None },
        duration: TARGET,
        discontinuity: name.starts_with('!'),
        map: None,
        encrypted: false,
        missing: name.starts_with('-'),
    };
    Media {
        target: TARGET,
        sequence: sequence.parse().unwrap(),
        ended: names.ends_with('.'),
        segments: names.trim_end_matches('.').split_whitespace().map(segment).collect(),
    }
}

/// `a` for a segment that follows the one before, `|a` for one that does not.
fn shown(planned: &[Planned]) -> String {
    let name = |planned: &Planned| {
        let mark = if planned.follows { "" } else { "|" };
        format!("{mark}{}", planned.segment.part.uri)
    };
    planned.iter().map(name).collect::<Vec<_>>().join(" ")
}

#[test]
fn stories() {
    // Playlists, one after the other; `again` is another attachment. What is planned for each.
    for (story, playlists, planned) in [
        ("joined at the newest, then one by one", "5: a b c; 5: a b c; 6: b c d; 7: c d e", "|c; ; d; e"),
        ("two at once", "5: a b; 6: b c d", "|b; c d"),
        ("a young playlist", "0:; 0: a; 0: a b", "; |a; b"),
        ("a discontinuity", "0: a; 0: a !b; 1: !b c", "|a; |b; c"),
        ("joined at a discontinuity", "0: a !b; 0: a !b c", "|b; c"),
        ("the server went on without us", "0: a; 5: f g", "|a; |f g"),
        ("far on: only what is live", "0: a; 5: f g h i j", "|a; |h i j"),
        ("a missing segment", "0: a; 0: a -b c; 1: -b c d", "|a; |c; d"),
        ("a missing segment is the newest", "0: a; 0: a -b; 1: -b c", "|a; ; |c"),
        ("an older list from a cache", "5: a b c; 5: a b; 5: a b c d", "|c; ; d"),
        ("a new publisher: the count begins anew", "5: a b c; 0: a; 0: a b", "|c; |a; b"),
        ("under other names", "5: a b c; 5: x y; 5: x y z", "|c; |y; z"),
        ("the same count, another segment", "5: a b c; 5: a b x; 6: b x y", "|c; |x; y"),
        ("a server that does not count", "0: a b c; 0: b c d; 0: c d e; 0: c d e; 0: e f g", "|c; d; e; ; f g"),
        ("an end", "5: a b; 5: a b c.", "|b; c"),
        ("what has ended is not joined", "5: a b c.", ""),
        ("attached again, and nothing new", "5: a b c; again 5: a b c; 6: b c d", "|c; ; |d"),
        ("attached again, and something new", "5: a b c; again 6: b c d; 7: c d e", "|c; |d; e"),
        ("attached again to a new publisher", "0: a b c; again 0: a; 0: a b", "|c; |a; b"),
        ("attached again to what has ended", "5: a b c; again 5: a b c.", "|c; "),
    ] {
        let mut window = Window::default();
        let mut got = Vec::new();
        for playlist in playlists.split("; ") {
            let again = playlist.strip_prefix("again ");
            if again.is_some() {
                window.rejoin();
            }
            got.push(shown(&window.advance(&media(again.unwrap_or(playlist))).planned));
        }
        assert_eq!(got.join("; "), planned, "{story}: {playlists}");
    }
}

#[test]
fn what_passed_by_is_counted() {
    let mut window = Window::default();
    let mut missed = |playlist| window.advance(&media(playlist)).missed;
    assert_eq!(missed("0: a b c"), 0, "what came before us was not missed");
    assert_eq!(missed("5: f g"), 2, "d and e");
    assert_eq!(missed("5: f g -h"), 1, "h");
    assert_eq!(missed("8: i j k l m"), 2, "i and j, which are too old by now");
}

#[test]
fn a_stream_that_stands_still_has_stopped_after_two_target_durations() {
    let at = Duration::from_secs;
    assert!(!has_stopped(at(6), at(11)) && has_stopped(at(6), at(12)));
    assert_eq!((reload_after(at(6), true), reload_after(at(6), false)), (at(6), at(3)));
    // Seen late by one at most, and then asked for at 1, 1.5 and 2: three target durations from the last segment on.
    let (mut asked, mut moved) = (Duration::ZERO, true);
    while !has_stopped(at(6), asked) {
        asked += reload_after(at(6), moved);
        moved = false;
    }
    assert_eq!(asked, at(12));
}

/// The twin: it keeps all that was ever planned, and looks at every segment of a list by itself.
#[derive(Default)]
struct Twin {
    seen: HashSet<u64>,
    last: Option<u64>,
}

impl Twin {
    fn advance(&mut self, list: &[(u64, bool, bool)]) -> Vec<(u64, bool)> {
        let Some(&(newest, ..)) = list.last() else { return Vec::new() };
        let mut planned = Vec::new();
        for &(number, discontinuity, missing) in list {
            let joins = self.last.is_none() && self.seen.is_empty();
            let wanted = if joins { number == newest } else { !self.seen.contains(&number) && number + 3 > newest };
            if !wanted || missing {
                continue;
            }
            // It follows when the one before it was planned as well, last of all.
            planned.push((number, !discontinuity && number > 0 && self.last == Some(number - 1)));
            self.last = Some(number);
        }
        self.seen.extend(0..=newest);
        planned
    }
}

proptest! {
    /// A server that adds segments, shows the last few of them, and is asked at odd times.
    #[test]
    fn it_plans_what_the_twin_plans(
        segments in prop::collection::vec((prop::bool::weighted(0.1), prop::bool::weighted(0.1)), 1..60),
        asked in prop::collection::vec((0..5_usize, 1..8_usize), 1..40),
    ) {
        let (mut window, mut twin) = (Window::default(), Twin::default());
        let mut there = 0;
        for (more, shown) in asked {
            there = (there + more).min(segments.len());
            let first = there.saturating_sub(shown);
            let list: Vec<_> = segments[..there].iter().enumerate().skip(first)
                .map(|(number, &(discontinuity, missing))| (number as u64, discontinuity, missing)).collect();
            let names: Vec<String> = list.iter()
                .map(|(number, discontinuity, missing)| match (discontinuity, missing) {
                    (_, true) => format!("-{number}"),
                    (true, false) => format!("!{number}"),
                    (false, false) => number.to_string(),
                }).collect();
            let news = window.advance(&media(&format!("{first}: {}", names.join(" "))));
            let planned: Vec<(u64, bool)> = news.planned.iter()
                .map(|planned| (planned.segment.part.uri.parse().unwrap(), planned.follows)).collect();
            prop_assert_eq!(planned, twin.advance(&list));
        }
    }
}
