//! Streams told as sequences of access units, and what of them is chosen, looked at continuously, and looked back at.

use std::collections::BTreeSet;

use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use crate::sample::ring::MOST_UNITS;
use crate::stream::Codec;

const STEP: Duration = Duration::from_millis(100);

fn unit(sequence: u64, keyframe: bool, millis: u64, bytes: usize) -> AccessUnit {
    AccessUnit {
        sequence,
        codec: Codec::H264,
        keyframe,
        pts: Some(Duration::from_millis(millis)),
        arrived: Timestamp::from_millis(1_000_000 + millis),
        data: Bytes::from(vec![0; bytes]),
    }
}

/// A sampler of a stream that has `places` to be promoted to; chance always gives `chance`.
fn sampler(config: &Config, chance: f64, places: usize) -> Sampler {
    Sampler::new(config, move || chance, &Arc::new(Pool::new(places).holding(config.lookback_total_bytes)))
}

/// `7` for a picture that decodes alone, `3-7:5,7` for a run and the pictures wanted of it; in brackets where it begins to
/// be decoded continuously, with a plus where it goes on, with `=` for what is decoded aside meanwhile.
fn shown(work: &Work) -> String {
    let wanted: Vec<String> = work.inspect.iter().map(u64::to_string).collect();
    let shown = match work.units.as_slice() {
        [only] => only.sequence.to_string(),
        [first, .., last] => format!("{}-{}:{}", first.sequence, last.sequence, wanted.join(",")),
        [] => "nothing".to_owned(),
    };
    match work.course {
        Course::Alone => shown,
        Course::Aside => format!("={shown}"),
        Course::Begun => format!("[{shown}]"),
        Course::Continued => format!("+{shown}"),
    }
}

/// Plays a timeline of 100 ms a step: `k` a keyframe, `.` another frame, `-` no frame, `~` a frame that is lost on the way,
/// `r` a new attachment; `!` behind a frame: people look closely. From `(` to `)` the work given out waits. Continued work
/// without a picture is not shown.
fn play(sampler: &mut Sampler, timeline: &str) -> String {
    let mut chosen = Vec::new();
    let mut sequence = 0;
    let (mut busy, mut waiting) = (false, Vec::new());
    let mut step: u32 = 0;
    for token in timeline.split_whitespace() {
        let attention = if token.ends_with('!') { Attention::Suspicious } else { Attention::Calm };
        let at = (STEP * step).as_millis() as u64;
        step += 1;
        match token.trim_end_matches('!') {
            frame @ ("k" | ".") => {
                let work = sampler.offer(unit(sequence, frame == "k", at, 100), attention);
                chosen.extend(work.as_ref().filter(|work| !work.inspect.is_empty()).map(shown));
                sequence += 1;
                waiting.extend(work.filter(|_| busy));
            }
            "~" => sequence += 1,
            "r" => sampler.reset(),
            bracket @ ("(" | ")") => {
                busy = bracket == "(";
                waiting.clear();
                step -= 1;
            }
            _ => {}
        }
    }
    chosen.join(" ")
}

#[test]
fn looks_become_stale_and_evidence_does_not() {
    let config = Config { max_gap: Duration::from_secs(1), inside_groups: Duration::ZERO, ..Config::default() };
    let mut sampler = sampler(&config, 0.0, 1);
    let max_age = Duration::from_millis(750);
    for (units, attention, fresh, story) in [
        (0..=0, Attention::Calm, false, "a keyframe"),
        (1..=10, Attention::Calm, false, "a picture that fills a gap"),
        (11..=12, Attention::Suspicious, true, "a look back"),
    ] {
        let offered = units.filter_map(|n: u64| sampler.offer(unit(n, n == 0, n * 100, 100), attention));
        let work = offered.last().unwrap();
        let came = work.units.last().unwrap().arrived;
        assert!(work.is_fresh(came + max_age, max_age), "{story}");
        assert_eq!(work.is_fresh(came + max_age + Duration::from_millis(1), max_age), fresh, "{story}");
    }
}

#[test]
fn stories() {
    let config = || Config { max_gap: Duration::from_secs(1), inside_groups: Duration::ZERO, ..Config::default() };
    let small = || Config { lookback_bytes: 3 * (100 + 200), ..config() };
    for (story, config, timeline, chosen) in [
        ("keyframes are chosen", config(), "k . . . . . k . . . . . k", "0 6 12"),
        ("but not too close", config(), "k . k . k . k . k . k", "0 6"),
        ("nothing before the first keyframe", config(), ". . . . . . . k", "7"),
        ("unless none comes", config(), ". . . . . . . . . . . . k . k", "[0-10:10] +11 +12 +13 +14"),
        ("a long group is looked into", config(), "k . . . . . . . . . . . . k", "0 0-10:10 13"),
        ("and its keyframe is due as ever", config(), "k . . . . . . . . . . k . . . .", "0 0-10:10 11"),
        (
            "a keyframe that is a little late is waited for",
            Config { max_gap: Duration::from_millis(590), ..config() },
            "k . . . . . k . . . . . k . . . . . k . . . . . . . . .",
            "0 6 12 18 18-25:25",
        ),
        (
            "a longer one promotes the stream",
            config(),
            "k . . . . . . . . . . . . . . . . . . . . .",
            "0 0-10:10 [0-20:20]",
        ),
        (
            "so does the next long one",
            config(),
            "k . . . . . . . . . . k . . . . . . . . . . . . . . . . . . . . . .",
            "0 0-10:10 11 [11-21:21] +31",
        ),
        (
            "until two groups are short again",
            config(),
            "k . . . . . . . . . . . . . . . . . . . . k . . . . . . k . . . . . k . . . . . . k",
            "0 0-10:10 [0-20:20] +21 +28 34 41",
        ),
        ("a frame that is lost", config(), "k . . . . ~ . . . . . . . . k", "0 [0-10:10] +11 +12 +13 +14"),
        ("a group that outgrows the ring before the gap", small(), "k . . . . . . . . . . . . k", "0 +10"),
        (
            "attachments without a keyframe, each too short",
            config(),
            ". . . . . . r . . . . . . . r . .",
            "[6-9:9] +10 +11 +12",
        ),
        (
            "attention where nothing is held",
            Config { lookback_bytes: 0, ..config() },
            "k . .! .! .! .!",
            "0 [0-2:2] +3 +4 +5",
        ),
        ("a new attachment waits for a keyframe", config(), "k . . . . r . . . . . . . . k . .", "0 13"),
        ("and does not come round sooner", config(), "k r k . . . . . . . . .", "0 1-9:9"),
        (
            "look at once, look often, look back",
            config(),
            "k . . . . . k . . .! .! .! .! .!",
            "0 6 [6-9:8,9] +10 =0-4:2,4 +11-12:12",
        ),
        ("look back without repeating", config(), "k . . . . . k .! .", "0 6 [6-7:7]"),
        ("a look back with nothing to see", config(), ".! .! k! .! .! .! k!", "[2] +3 +5"),
        ("only what is held counts", small(), "k . k . k . k . k . k . k .! .! .!", "0 6 12 [12-13:13] +14"),
        (
            "what comes while the decoder is busy waits for it",
            config(),
            "k . . ( .! .! .! .! .! .! ) .! .!",
            "0 [0-3:2,3] +4-9:4,6,8 +10",
        ),
    ] {
        assert_eq!(play(&mut sampler(&config, 0.0, 1), timeline), chosen, "{story}: {timeline}");
    }
}

#[test]
fn where_no_place_is_free_groups_are_decoded_anew_as_far_as_they_are_held() {
    let config = || Config { max_gap: Duration::from_secs(1), inside_groups: Duration::ZERO, ..Config::default() };
    let small = || Config { lookback_bytes: 3 * (100 + 200), ..config() };
    for (story, config, timeline, chosen) in [
        ("again and again", config(), "k . . . . . . . . . . . . . . . . . . . . .", "0 0-10:10 0-20:20"),
        ("unless a frame of it is lost", config(), "k . . . . ~ . . . . . . . . k", "0 14"),
        ("or it outgrows the ring", small(), "k . . . . . . . . . . . . k", "0 13"),
        (
            "or what all may hold",
            Config { lookback_total_bytes: 900, ..config() },
            "k . . . . . . . . . . . . k",
            "0 13",
        ),
        ("look at once and look back", config(), "k . . . . . k .! .! .! .! .!", "0 6 6-7:7 6-8:8 0-4:2,4 6-10:10"),
        ("attention that returns", config(), "k .! .! . . . . .! .! .!", "0 0-1:1 0-2:2 0-6:4,6 0-8:8"),
        (
            "a keyframe does not displace evidence",
            config(),
            "k . . . . ( .! . . . . k . . ) . . k",
            "0 0-4:2,4 10-14:14 15",
        ),
        (
            "nor wait for it for ever",
            config(),
            "k . . . . ( .! . . . . k . . . . . . k . . . . . )",
            "0 0-4:2,4 10-15:15 17",
        ),
    ] {
        let mut sampler = sampler(&config, 0.0, 0);
        assert_eq!(play(&mut sampler, timeline), chosen, "{story}: {timeline}");
        assert_eq!(sampler.pool.promoted(), 0);
        assert!(sampler.pool.take_refused() > 0, "{story}: nobody would know");
    }
}

#[test]
fn no_piece_of_work_is_long_however_long_groups_are() {
    let config = Config { max_gap: Duration::from_mins(1), inside_groups: Duration::ZERO, ..Config::default() };
    let whole = |places, keyframes: u64| {
        let mut sampler = sampler(&config, 0.0, places);
        let mut given = Vec::new();
        for sequence in 0..=420 {
            let attention = if sequence < 415 { Attention::Calm } else { Attention::Suspicious };
            let unit = unit(sequence, sequence % keyframes == 0, sequence * 33, 10);
            let work = sampler.offer(unit, attention).filter(|work| work.units.len() > 1);
            given.extend(work.map(|work| (work.units.len(), shown(&work))));
        }
        let longest = given.iter().map(|(length, _)| *length).max().unwrap_or_default();
        (longest, given.into_iter().map(|(_, shown)| shown).collect::<Vec<_>>())
    };
    // Outgrown at 250 units, and begun by pieces.
    let (longest, given) = whole(1, 1000);
    assert_eq!((longest, given[0].as_str(), given[1].as_str()), (64, "[0-63:]", "+64-127:"));
    // Two groups of 210 are looked back at one after the other.
    let (longest, given) = whole(0, 210);
    assert!(longest <= MOST_UNITS && given.len() == 2, "{given:?}");
    assert!(given.iter().any(|work| work.starts_with("0-20")), "{given:?}");
}

#[test]
fn a_place_is_free_again_when_its_stream_needs_it_no_more() {
    let config = Config { max_gap: Duration::from_secs(1), inside_groups: Duration::ZERO, ..Config::default() };
    let long = "k . . . . . . . . . . . . . . . . . . . .";
    let mut stream = sampler(&config, 0.0, 1);
    play(&mut stream, long);
    let pool = Arc::clone(&stream.pool);
    assert_eq!(pool.promoted(), 1);
    let mut other = Sampler::new(&config, || 0.0, &pool);
    assert_eq!(play(&mut other, long), "0 0-10:10 0-20:20");
    assert!(pool.held() > 0);
    stream.reset();
    assert_eq!(pool.promoted(), 0);
    drop((stream, other));
    assert_eq!(pool.held(), 0);
}

#[test]
fn chance_shifts_later_pictures_but_never_the_first() {
    let config = Config { max_gap: Duration::from_secs(1), inside_groups: Duration::ZERO, ..Config::default() };
    let long = "k . . . . . . . . . . . . . . . . . . . . . . . . . . . . . . .";
    for (story, chance, timeline, chosen) in [
        ("keyframes only", 0.0, "k k k k k k k k k k k k k k", "0 5 10"),
        ("keyframes only, shifted", 0.4, "k k k k k k k k k k k k k k", "0 7 12"),
        ("a long group", 0.0, long, "0 0-10:10 [0-20:20] +30"),
        ("a long group, shifted", 0.4, long, "0 0-10:10 [0-18:18] +26"),
    ] {
        assert_eq!(play(&mut sampler(&config, chance, 1), timeline), chosen, "{story}: {timeline}");
    }
}

#[test]
fn pictures_inside_groups_are_looked_at_too_and_nobody_can_tell_which() {
    let config = Config { inside_groups: Duration::from_secs(20), ..Config::default() };
    let mut state = 1_u64;
    let chance = move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 11) as f64 / (1_u64 << 53) as f64
    };
    let mut sampler = Sampler::new(&config, chance, &Arc::new(Pool::new(0)));
    let (mut looks, mut places) = (0, [0; 20]);
    let hours = 2 * 3600 * 10;
    for sequence in 0..hours {
        let work = sampler.offer(unit(sequence, sequence % 20 == 0, sequence * 100, 100), Attention::Calm);
        let Some(work) = work.filter(|work| work.inspect[0] % 20 != 0) else { continue };
        assert!(work.units[0].keyframe && work.course == Course::Alone, "{}", shown(&work));
        looks += 1;
        places[(work.inspect[0] % 20) as usize] += 1;
    }
    // 360 are to be expected; every place of a group has its share of them.
    assert!((280..440).contains(&looks), "{looks}");
    assert!(places[1..].iter().all(|count| (4..=60).contains(count)), "{places:?}");
}

#[test]
fn a_picture_that_is_shown_before_its_keyframe_is_decoded_from_the_group_before() {
    let config = Config { max_gap: Duration::from_millis(550), inside_groups: Duration::ZERO, ..Config::default() };
    let mut sampler = sampler(&config, 0.0, 0);
    let mut chosen = Vec::new();
    // An open group: 6 and 7 come after the keyframe 5 and are shown before it. The keyframe comes too soon to be chosen,
    // and then it is 6 that is due.
    for (sequence, shown_at) in [(0, 0), (1, 100), (2, 200), (3, 300), (4, 400), (5, 700), (6, 500), (7, 600)] {
        let pts = Some(Duration::from_millis(shown_at));
        let unit = AccessUnit { pts, ..unit(sequence, sequence % 5 == 0, sequence * 99, 100) };
        chosen.extend(sampler.offer(unit, Attention::Calm).as_ref().map(shown));
    }
    assert_eq!(chosen, ["0", "0-6:6"]);
}

#[test]
fn timestamps_that_stand_still_or_go_back_hide_nothing() {
    for pts in [|_| Some(Duration::ZERO), |sequence| Some(Duration::from_secs(1000 - sequence)), |_| None] {
        let mut sampler = sampler(&Config::default(), 0.0, 0);
        let frozen =
            |sequence, keyframe| AccessUnit { pts: pts(sequence), ..unit(sequence, keyframe, sequence * 100, 100) };
        let mut asked = sampler.offer(frozen(0, true), Attention::Calm).unwrap().inspect;
        for sequence in 1..=30 {
            let work = sampler.offer(frozen(sequence, false), Attention::Suspicious);
            asked.extend(work.into_iter().flat_map(|work| work.inspect));
        }
        assert!(asked.len() >= 10 && asked.windows(2).all(|pair| pair[1] - pair[0] <= 10), "{asked:?}");
    }
}

#[test]
fn frames_that_arrive_at_once_are_told_apart_by_their_timestamps() {
    let config = Config { inside_groups: Duration::ZERO, ..Config::default() };
    let mut sampler = sampler(&config, 0.0, 0);
    let at_once = |sequence| AccessUnit {
        arrived: Timestamp::from_millis(1_000_000),
        ..unit(sequence, sequence == 0, sequence * 100, 100)
    };
    for sequence in 0..6 {
        sampler.offer(at_once(sequence), Attention::Calm);
    }
    let work = sampler.offer(at_once(6), Attention::Reported).unwrap();
    assert_eq!(shown(&work), "0-6:2,4,6");
}

/// A frame as the property tests deal it: whether it is a keyframe, the time since the one before, its size, whether the
/// one before was lost, whether attention turns, and whether the stream was attached again before it.
type Dealt = (bool, u64, usize, bool, bool, bool);

fn frames(keyframes: f64, lost: f64, attached: f64) -> impl Strategy<Value = Vec<Dealt>> {
    let weighted = prop::bool::weighted;
    prop::collection::vec(
        (weighted(keyframes), 1..120_u64, 0..30_000_usize, weighted(lost), weighted(0.05), weighted(attached)),
        1..600,
    )
}

fn config() -> impl Strategy<Value = Config> {
    (0..1500_u64, 1..3000_u64, 0.5..60.0_f64, 0..2_000_000_usize, 0..4_000_000_usize, 0..5000_u64).prop_map(
        |(min, max, fps, lookback_bytes, lookback_total_bytes, inside)| Config {
            min_interval: Duration::from_millis(min),
            max_gap: Duration::from_millis(max),
            burst_fps: fps.try_into().unwrap(),
            lookback_bytes,
            lookback_total_bytes,
            inside_groups: Duration::from_millis(inside),
            ..Config::default()
        },
    )
}

/// A play of chance that is the same for the same seed.
fn chances(mut seed: u64) -> impl FnMut() -> f64 + Send {
    move || {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 11) as f64 / (1_u64 << 53) as f64
    }
}

/// What came of dealing frames to a sampler.
struct Play {
    offered: Vec<AccessUnit>,
    /// The work given out, with the number of frames offered by then.
    chosen: Vec<(usize, Work)>,
    skipped: u64,
    most_held: usize,
}

/// Deals the frames to a sampler. Each piece of work is under way for `slow` frames.
fn deal(config: &Config, seed: u64, places: usize, slow: usize, frames: &[Dealt]) -> Play {
    let pool = Arc::new(Pool::new(places).holding(config.lookback_total_bytes));
    let mut sampler = Sampler::new(config, chances(seed), &pool);
    let mut play = Play { offered: Vec::new(), chosen: Vec::new(), skipped: 0, most_held: 0 };
    let (mut millis, mut sequence, mut attention) = (0, 0, Attention::Calm);
    let mut under_way: Vec<(usize, Work)> = Vec::new();
    for (keyframe, gap, bytes, lost, turn, attached) in frames {
        millis += gap;
        sequence += 1 + u64::from(*lost);
        if *turn {
            attention = if attention == Attention::Calm { Attention::Suspicious } else { Attention::Calm };
        }
        if *attached {
            sampler.reset();
        }
        let unit = unit(sequence, *keyframe, millis, *bytes);
        play.offered.push(unit.clone());
        let seen = play.offered.len();
        under_way.retain(|(since, _)| seen - since <= slow);
        if let Some(work) = sampler.offer(unit, attention) {
            let shadow = Work { _under_way: Arc::new(()), ..work.clone() };
            play.chosen.push((seen, shadow));
            under_way.push((seen, work));
        }
        play.most_held = play.most_held.max(pool.held());
    }
    play.skipped = pool.take_skipped();
    play
}

fn follow_on(units: &[AccessUnit]) -> bool {
    units.windows(2).all(|pair| pair[0].sequence + 1 == pair[1].sequence)
}

proptest! {
    #[test]
    fn work_can_always_be_decoded_and_asks_for_nothing_twice(
        config in config(), seed: u64, places in 0..2_usize, slow in 0..40_usize, frames in frames(0.05, 0.01, 0.01),
    ) {
        let play = deal(&config, seed, places, slow, &frames);
        let mut asked = BTreeSet::new();
        for (seen, work) in &play.chosen {
            prop_assert!(work.units.len() <= MOST_UNITS + 8);
            let run: Vec<u64> = work.units.iter().map(|unit| unit.sequence).collect();
            prop_assert!(work.inspect.windows(2).all(|pair| pair[0] < pair[1]), "{:?}", work.inspect);
            prop_assert!(work.inspect.iter().all(|sequence| run.contains(sequence)));
            prop_assert!(work.inspect.iter().all(|sequence| asked.insert(*sequence)), "twice: {:?}", work.inspect);
            prop_assert!(play.offered[..*seen].iter().any(|unit| Some(&unit.sequence) == run.last()));
            match work.course {
                Course::Alone | Course::Aside => {
                    prop_assert!(work.units[0].keyframe && follow_on(&work.units), "{:?}", run);
                    prop_assert_eq!(work.inspect.last(), run.last());
                    let held: usize = work.units.iter().map(|unit| unit.data.len()).sum();
                    prop_assert!(work.units.len() == 1 || held <= config.lookback_bytes);
                }
                Course::Begun => {
                    prop_assert!(follow_on(&work.units) || (run.len() == 2 && follow_on(&work.units[1..])), "{:?}", run);
                    prop_assert!(places > 0);
                }
                Course::Continued => prop_assert!(follow_on(&work.units) && places > 0, "{:?}", run),
            }
        }
    }

    #[test]
    fn the_gap_between_chosen_pictures_is_bounded_however_rare_keyframes_are(
        config in config(), seed: u64, keyframes in 0.0..0.1_f64, lost in 0.0..0.02_f64, more in any::<u64>(),
    ) {
        let mut runner = chances(more);
        let frames: Vec<Dealt> = (0..600).map(|_| (
            runner() < keyframes, 1 + (runner() * 119.0) as u64, (runner() * 30_000.0) as usize, runner() < lost, runner() < 0.05, false,
        )).collect();
        let play = deal(&config, seed, 1, 0, &frames);
        let asked: BTreeSet<u64> = play.chosen.iter().flat_map(|(_, work)| work.inspect.clone()).collect();
        let mut since = play.offered[0].arrived;
        let mut before = since;
        for unit in &play.offered {
            let frame = unit.arrived.since(before);
            let jitter = config.max_gap / JITTER;
            prop_assert!(unit.arrived.since(since) <= config.max_gap + jitter + frame, "{}", unit.sequence);
            before = unit.arrived;
            if asked.contains(&unit.sequence) {
                since = unit.arrived;
            }
        }
    }

    #[test]
    fn continued_work_leaves_nothing_out_but_what_is_lost_or_counted(
        config in config(), seed: u64, slow in 0..120_usize, frames in frames(0.01, 0.01, 0.01),
    ) {
        let play = deal(&config, seed, 1, slow, &frames);
        let (mut left_out, mut last) = (0, None::<u64>);
        for (_, work) in &play.chosen {
            let Some((first, newest)) = work.units.first().zip(work.units.last()) else { continue };
            if let (Course::Continued, Some(last)) = (work.course, last) {
                let between = play.offered.iter().filter(|unit| unit.sequence > last && unit.sequence < first.sequence);
                left_out += between.count() as u64;
            }
            if matches!(work.course, Course::Begun | Course::Continued) {
                last = Some(newest.sequence);
            }
        }
        // What was skipped and never followed by another piece is counted as well.
        prop_assert!(left_out <= play.skipped, "{} left out, {} counted", left_out, play.skipped);
        let most = config.lookback_bytes.max(LEAST_WAITING);
        prop_assert!(play.most_held <= most, "{} held, {} allowed", play.most_held, most);
    }

    #[test]
    fn calm_keyframes_keep_their_distance(config in config(), seed: u64, frames in frames(0.6, 0.05, 0.05)) {
        let config = Config { max_gap: Duration::from_hours(1), inside_groups: Duration::ZERO, ..config };
        let calm: Vec<Dealt> = frames.iter().map(|&(key, gap, bytes, lost, _, again)| (key, gap, bytes, lost, false, again)).collect();
        let play = deal(&config, seed, 0, 0, &calm);
        let times: Vec<Timestamp> = play.chosen.iter().map(|(_, work)| work.units[0].arrived).collect();
        prop_assert!(play.chosen.iter().all(|(_, work)| work.units.len() == 1));
        prop_assert!(times.windows(2).all(|pair| pair[1].since(pair[0]) >= config.min_interval));
    }
}
