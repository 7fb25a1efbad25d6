//! Pictures that follow a banked video in step, and pictures that do not.

use super::*;
use crate::judge::aligned::{TOLERANCE, aligned};
use crate::judge::rule::distinct_pictures;

/// A rule named after what it asks for.
fn rule(asks: &str, verdict: &str) -> String {
    let keys = asks.replace(", ", "\n");
    format!("[[rule]]\nname = \"{asks}\"\nbank = \"*\"\n{keys}\nwithin = \"10s\"\nverdict = \"{verdict}\"\n")
}

#[test]
fn stories_of_a_rule_about_pictures_in_step() {
    let three = policy(&rule("aligned = 3", "cut"));
    for (story, text, said) in [
        ("at its own speed", "a10 a11 a12", "cut@2"),
        ("at half of it", "a10 . a11 . a12 . a13", "cut@4"),
        ("at twice", "a10 a12 a14", "cut@2"),
        ("a bit off, as banks leave out like frames", "a10.4 a10.6 a12.4", "cut@2"),
        ("from the start", "a0 a1 a2", "cut@2"),
        ("with gaps", "a10 . . a13 . . . a17", "cut@7"),
        ("a detector that is late", "k k k a10@0 a12@2 a11@1", "cut@5"),
        ("at four times its speed", "a10 a14 a18 a22 a26", ""),
        ("at a quarter", "a10 . . . a11 . . . a12 . . . a13", ""),
        ("backwards", "a14 a12 a10 a8 a6", ""),
        ("scattered", "a10 a300 a77 a5 a1000 a600", ""),
        ("scattered between what is in step", "a10 a300 a11 b7 a12", "cut@4"),
        ("a still picture", "a10 a10 a10 a10", ""),
        ("a still picture near three signals", "a10+a10.1+a10.2 a300", ""),
        ("two videos of one bank", "a10 b11 a12 b13", ""),
        ("two banks that hold one video", "a10 A11 a12 A13", ""),
        ("pictures of no video", "m10 m11 m12 m13", ""),
        ("longer ago than the rule looks back", "a10 a11 . . . . . . . . . . a22 a23", ""),
    ] {
        assert_eq!(judged(&three, text), said, "{story}: {text}");
    }
    let four = policy(&rule("aligned = 4", "cut"));
    assert_eq!(judged(&four, "a10 a12 a14 a10 a12 a14"), "", "rounds of a loop do not add up");
    assert_eq!(judged(&four, "a10 a12 a14 a10 a12 a14 a16"), "cut@6", "but the video may go on");
}

#[test]
fn it_stands_beside_other_rules_and_together_with_their_keys() {
    let beside = policy(&(rule("aligned = 2", "cut") + &rule("pictures = 3", "hold")));
    let both = policy(&rule("pictures = 4, aligned = 2", "cut"));
    let more = policy(&rule("pictures = 2, aligned = 3", "cut"));
    for (story, policy, text, said) in [
        ("scattered pictures hold, and two in step cut", &beside, "a10 a300 a77 a78", "hold@2 cut@3"),
        ("two in step are enough", &beside, "a10 a11", "cut@1"),
        ("not without the others", &both, "a10 a11 a12", ""),
        ("with the others", &both, "a10 m7 m8 a13", "cut@3"),
        ("not the others alone", &both, "a10 m7 m8 a300 a77", ""),
        ("the greater number counts", &more, "a10 a11 m7 a13", "cut@3"),
    ] {
        assert_eq!(judged(policy, text), said, "{story}: {text}");
    }
}

#[test]
fn the_evidence_is_what_the_rule_counted() {
    let told = "a10 a300 m7 b11 a14+a10 a15";
    for (asks, evidence) in [
        ("aligned = 3", "a10 . . . a14 a15"),
        ("pictures = 4, aligned = 3", "a10 a300 m7 b11 a14+a10 a15"),
        ("pictures = 3, aligned = 3", "a10 . . . a14 a15"),
    ] {
        let judgements = judge_all(&policy(&rule(asks, "cut")), &findings_of(told));
        let [judgement] = judgements.as_slice() else { panic!("{asks}: {judgements:?}") };
        assert_eq!(judgement.evidence, findings_of(evidence), "{asks}");
    }
}

fn findings_of(text: &str) -> Vec<Finding> {
    timeline(text).into_iter().map(|(_, finding)| finding).collect()
}

#[test]
fn without_the_streams_time_nothing_is_in_step() {
    let policy = policy(&rule("aligned = 2", "cut"));
    let timeless = |told: &str| -> Vec<Finding> {
        findings_of(told).into_iter().map(|finding| Finding { pts: None, ..finding }).collect()
    };
    assert_eq!(judge_all(&policy, &timeless("a10 a11 a12 a13")), []);
    let mixed: Vec<Finding> = timeless("a10 a11").into_iter().chain(findings_of(". . a12")).collect();
    assert_eq!(judge_all(&policy, &mixed), []);
}

#[test]
fn times_that_make_no_sense_are_only_far_away() {
    let far = |seconds| Some(Duration::from_secs(seconds));
    let mut findings = findings_of("a10 a11 a12");
    for (finding, pts) in findings.iter_mut().zip([0, u64::MAX, 2]) {
        finding.pts = far(pts);
    }
    assert_eq!(distinct_pictures(&aligned(&findings.iter().collect::<Vec<_>>())), 2);
}

/// A picture each: shown at, and banked at, in milliseconds.
fn shown(places: &[(u64, u64)]) -> Vec<Finding> {
    let told = (0..)
        .zip(places)
        .map(|(sequence, (pts, banked_at))| finding(sequence, *pts, filmed("demo", "a", *banked_at as f64 / 1000.0)));
    told.collect()
}

fn in_step(findings: &[Finding]) -> usize {
    distinct_pictures(&aligned(&findings.iter().collect::<Vec<_>>()))
}

proptest! {
    #[test]
    fn as_many_lie_on_a_line_as_the_slow_twin_finds(findings in findings(80)) {
        let all: Vec<&Finding> = findings.iter().collect();
        let found = aligned(&all);
        prop_assert_eq!(distinct_pictures(&found), slow::aligned(&all));
        prop_assert_eq!(distinct_pictures(&found), slow::aligned(&found));
    }

    #[test]
    fn the_order_does_not_matter_and_more_is_never_less(
        findings in findings(80), more in findings(80), keys in prop::collection::vec(any::<u32>(), 60),
    ) {
        let all: Vec<&Finding> = findings.iter().collect();
        let mut shuffled: Vec<(u32, &Finding)> = keys.into_iter().zip(all.clone()).collect();
        shuffled.sort_by_key(|(key, _)| *key);
        let shuffled: Vec<&Finding> = shuffled.into_iter().map(|(_, finding)| finding).collect();
        let mut again = aligned(&shuffled);
        let found = aligned(&all);
        again.sort_by_key(|finding| all.iter().position(|other| std::ptr::eq(*other, *finding)));
        prop_assert!(again.iter().zip(&found).all(|(one, other)| std::ptr::eq(*one, *other)) && again.len() == found.len());
        let union: Vec<&Finding> = findings.iter().chain(&more).collect();
        prop_assert!(distinct_pictures(&aligned(&union)) >= distinct_pictures(&found));
    }

    /// Also between the speeds that are tried, and where the bank kept a neighbour of the frame.
    #[test]
    fn a_video_shown_for_a_minute_at_any_speed_is_in_step(
        speed in 0.5..=2.0_f64, from in 0.0..1000.0_f64,
        shown_at in prop::collection::btree_map(0..60_000_u64, -0.5..0.5_f64, 1..30),
    ) {
        let banked = |pts: u64, off: f64| {
            let off = off * TOLERANCE.as_secs_f64();
            1000 + ((from + speed * pts as f64 / 1000.0 + off) * 1000.0) as u64
        };
        let places: Vec<(u64, u64)> = shown_at.into_iter().map(|(pts, off)| (pts, banked(pts, off))).collect();
        let findings = shown(&places);
        prop_assert_eq!(aligned(&findings.iter().collect::<Vec<_>>()).len(), places.len());
    }

    #[test]
    fn what_is_scattered_by_more_than_a_line_is_wide_is_not(
        gaps in prop::collection::vec(3_000..100_000_u64, 2..30),
    ) {
        // A second between pictures that lie more than 2 s and the line's width apart, forwards; or backwards.
        let mut at = 0;
        let forwards: Vec<(u64, u64)> =
            (0..).zip(&gaps).map(|(second, gap)| { at += gap + 1; (second * 1000, at) }).collect();
        prop_assert_eq!(in_step(&shown(&forwards)), 1);
        let backwards: Vec<(u64, u64)> = forwards.iter().map(|(pts, banked_at)| (*pts, at - banked_at)).collect();
        prop_assert_eq!(in_step(&shown(&backwards)), 1);
    }
}
