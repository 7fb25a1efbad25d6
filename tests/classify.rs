//! Models at work, on the shipped model and real video: what becomes of every picture given to them, what the change gate
//! saves, and that the rules weigh what it gives again as if every picture had been scored.

#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "what is not as expected fails the test")]

use std::fs;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::Duration;

use crossbeam_channel::Receiver;
use sluicegate::clock::{Clock, Timestamp};
use sluicegate::decision::{Context, Verdict};
use sluicegate::decode::file::Video;
use sluicegate::detect::classify::{Classify, Gates, Scorer, Submitted};
use sluicegate::detect::gate::Terms;
use sluicegate::finding::{Finding, Observation, Scores};
use sluicegate::hash::Hasher;
use sluicegate::judge::{self, Judge, Policy};
use sluicegate::metrics::Metrics;
use sluicegate::model::{self, Config, Manifest, Runtime, Session};
use sluicegate::picture::{ColourRange, Picture, Plane};
use sluicegate::stream::{Attention, StreamId};

const SHIPPED: &str = include_str!("../models/safety.toml");
const PATIENCE: Duration = Duration::from_mins(1);
const GATE: Terms = Terms { within: 6, rescore_after: Duration::from_secs(30) };

fn assets() -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("assets");
    assert!(folder.join("runtime/libonnxruntime.so").is_file(), "no ONNX Runtime in assets/: run `make setup` first");
    folder
}

fn config() -> Config {
    Config { assets: Some(assets()), ..Config::default() }
}

/// The shipped model by a manifest of which `from` is changed to `to`.
fn session(from: &str, to: &str) -> Session {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("mine.toml");
    assert!(SHIPPED.contains(from), "{from}");
    fs::write(&path, SHIPPED.replace(from, to)).unwrap();
    let file = "image-safety-classifier-s.onnx";
    fs::copy(assets().join("models/safety").join(file), folder.path().join(file)).unwrap();
    let runtime = Runtime::load(&model::find_runtime(&config()).unwrap()).unwrap();
    Session::load(&runtime, Manifest::read(&path).unwrap(), &config()).unwrap()
}

fn shipped() -> Session {
    session("", "")
}

/// Frames of a film, a second apart: no two look the same.
fn frames() -> &'static [Picture] {
    static ONCE: OnceLock<Vec<Picture>> = OnceLock::new();
    ONCE.get_or_init(|| {
        let film = Video::open_in_colour(&assets().join("clips/bigbuckbunny.mp4"), NonZeroUsize::MIN).unwrap();
        film.step_by(25).map(Result::unwrap).collect()
    })
}

/// A scene in which nothing happens, as a codec shows it: every picture has another noise. Pictures 2 s apart.
fn still(count: u64) -> Vec<Picture> {
    let Picture { luma, chroma, range, .. } = frames()[0].clone();
    let noisy = |sequence: u64| {
        let noise = |at: usize| (((at as u64 + 1) * (sequence + 7)).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 62) as u8;
        let data: Vec<u8> = luma.data.iter().enumerate().map(|(at, value)| value.saturating_add(noise(at))).collect();
        let (luma, chroma) = (Plane { data: data.into(), ..luma.clone() }, chroma.clone());
        let arrived = Timestamp::from_millis(1_000_000 + 2000 * sequence);
        Picture { sequence, pts: None, arrived, luma, chroma, range }
    };
    (0..count).map(noisy).collect()
}

fn black() -> Picture {
    let plane = |side: usize, value: u8| Plane {
        data: vec![value; side * side].into(),
        width: side,
        height: side,
        stride: side,
    };
    let (luma, chroma) = (plane(64, 16), Some([plane(32, 128), plane(32, 128)]));
    Picture { sequence: 0, pts: None, arrived: Timestamp::ZERO, luma, chroma, range: ColourRange::Limited }
}

/// Models at work as one worker has them, for one stream.
struct Work {
    classify: Classify<u64>,
    gates: Arc<Gates>,
    hasher: Hasher,
    scored: Receiver<(u64, Scores)>,
    metrics: Arc<Metrics>,
}

impl Work {
    fn new(sessions: Vec<Session>, queue: usize, terms: Terms) -> Self {
        Self::with_room(1000, sessions, queue, terms)
    }

    /// A model stands still when it has `room` results that nobody takes.
    fn with_room(room: usize, sessions: Vec<Session>, queue: usize, terms: Terms) -> Self {
        let metrics = Arc::new(Metrics::new().unwrap());
        let (results, scored) = crossbeam_channel::bounded(room);
        let start = |session| {
            let results = results.clone();
            let on_scores = move |sequence: &u64, observation| match observation {
                Observation::Scores(scores) => results.send_timeout((*sequence, scores), PATIENCE).unwrap(),
                other => panic!("a classifier scores, and this is {other:?}"),
            };
            let queue = NonZeroUsize::new(queue).unwrap();
            Arc::new(Scorer::start(session, queue, terms, Clock::system(), Arc::clone(&metrics), on_scores).unwrap())
        };
        let scorers: Vec<_> = sessions.into_iter().map(start).collect();
        Self { classify: Classify::new(&scorers), gates: Arc::default(), hasher: Hasher::new(), scored, metrics }
    }

    fn give(&mut self, picture: &Picture) -> Vec<Submitted> {
        let pdq = self.hasher.picture(picture).unwrap();
        self.classify.inspect(picture, Some(pdq), Attention::Calm, &self.gates, &picture.sequence)
    }

    /// Gives each picture when the one before it was answered, and says what was answered.
    fn one_by_one(&mut self, pictures: &[Picture]) -> Vec<(u64, Scores)> {
        let mut all = Vec::new();
        for picture in pictures {
            let expected = self.give(picture).len();
            all.extend((0..expected).map(|_| self.scored.recv_timeout(PATIENCE).expect("scores come")));
        }
        all
    }

    /// Lets the models come to their end.
    fn end(self) -> (Vec<(u64, Scores)>, String) {
        let Self { classify, scored, metrics, .. } = self;
        let taken = thread::spawn(move || scored.iter().collect());
        drop(classify);
        (taken.join().unwrap(), metrics.render().unwrap())
    }
}

fn counted(metrics: &str, model: &str, outcome: &str) -> usize {
    let series = format!("sluicegate_scores_total{{model=\"{model}\",outcome=\"{outcome}\"}} ");
    metrics.lines().find_map(|line| line.strip_prefix(&series)).map_or(0, |count| count.parse().unwrap())
}

#[test]
fn every_picture_that_waits_is_scored_in_order_and_flat_ones_are_not() {
    let mut work = Work::new(vec![shipped()], 64, GATE);
    let mut outcomes: Vec<Submitted> = frames().iter().flat_map(|picture| work.give(picture)).collect();
    outcomes.extend(work.give(&black()));
    let (scores, metrics) = work.end();
    let mut expected = vec![Submitted::Waiting; frames().len()];
    expected.push(Submitted::Flat);
    assert_eq!(outcomes, expected);
    let given: Vec<u64> = scores.iter().map(|(sequence, _)| *sequence).collect();
    assert_eq!(given, frames().iter().map(|picture| picture.sequence).collect::<Vec<_>>());
    assert_eq!((counted(&metrics, "safety", "scored"), counted(&metrics, "safety", "flat")), (frames().len(), 1));
}

#[test]
fn a_model_that_cannot_keep_up_sheds_and_every_picture_is_accounted_for() {
    let mut work = Work::with_room(0, vec![shipped()], 1, Terms::OFF);
    let outcomes: Vec<Submitted> = frames().iter().flat_map(|picture| work.give(picture)).collect();
    let (scores, metrics) = work.end();
    let count = |wanted| outcomes.iter().filter(|&&outcome| outcome == wanted).count();
    assert!((1..=2).contains(&scores.len()), "one is held up and one may wait: {outcomes:?}");
    assert_eq!((count(Submitted::Waiting), count(Submitted::Shed)), (scores.len(), outcomes.len() - scores.len()));
    assert_eq!(counted(&metrics, "safety", "shed"), count(Submitted::Shed));
}

#[test]
fn a_scene_in_which_nothing_happens_is_scored_a_tenth_as_often_and_every_picture_has_scores() {
    let pictures = still(40);
    let inferences = |terms| {
        let mut work = Work::new(vec![shipped()], 8, terms);
        let scores = work.one_by_one(&pictures);
        let (_, metrics) = work.end();
        assert_eq!(scores.iter().map(|(sequence, _)| *sequence).collect::<Vec<_>>(), (0..40).collect::<Vec<_>>());
        let (scored, unchanged) = (counted(&metrics, "safety", "scored"), counted(&metrics, "safety", "unchanged"));
        assert_eq!(scored + unchanged, pictures.len());
        (scored, scores)
    };
    let (each, truth) = inferences(Terms::OFF);
    let (some, given) = inferences(GATE);
    assert_eq!((each, some), (40, 4), "the first two, after 30 s and after 60 s");
    assert!(truth.iter().all(|(_, scores)| scores.same_as.is_none()));
    for ((sequence, given), (_, truth)) in given.iter().zip(&truth) {
        let last = if *sequence == 0 { 0 } else { (sequence - 1) / 15 * 15 + 1 };
        assert_eq!(given.same_as, (last < *sequence).then_some(last));
        for ((_, given), (label, truth)) in given.scores.iter().zip(&truth.scores) {
            assert!((given - truth).abs() < 0.05, "{label} of picture {sequence}: {given} instead of {truth}");
        }
    }
}

#[test]
fn what_looks_like_a_picture_that_was_not_scored_is_tried_by_itself() {
    let mut work = Work::new(vec![shipped()], 8, GATE);
    let colourless = |picture: &Picture| Picture { chroma: None, ..picture.clone() };
    let [first, second] = still(2).try_into().unwrap();
    assert_eq!(work.give(&colourless(&first)), [Submitted::Failed]);
    assert_eq!(work.give(&colourless(&second)), [Submitted::Failed]);
    assert_eq!(work.give(&second), [Submitted::Waiting]);
    let (_, metrics) = work.end();
    assert_eq!((counted(&metrics, "safety", "failed"), counted(&metrics, "safety", "scored")), (2, 1));
}

#[test]
fn another_stream_and_another_model_have_gates_of_their_own() {
    let mut work = Work::new(vec![shipped(), session("name = \"safety\"", "name = \"second\"")], 8, GATE);
    let scene = still(3);
    let both = work.one_by_one(&scene);
    let of = |model: &str| both.iter().filter(|(_, scores)| &*scores.model == model).collect::<Vec<_>>();
    assert_eq!((of("safety").len(), of("second").len()), (3, 3));
    for ((_, safety), (_, second)) in of("safety").iter().zip(of("second")) {
        assert_eq!((&safety.scores, safety.same_as), (&second.scores, second.same_as), "they share one tensor");
    }
    assert_eq!(of("second")[2].1.same_as, Some(1), "by now it is settled");
    work.gates = Arc::default();
    assert_eq!(work.give(&scene[1]), [Submitted::Waiting; 2], "nobody asked about this stream yet");
    let (_, metrics) = work.end();
    assert_eq!((counted(&metrics, "safety", "scored"), counted(&metrics, "second", "scored")), (3, 3));
}

#[test]
fn a_still_picture_of_a_high_score_becomes_a_hold_just_as_if_each_had_been_scored() {
    // Nothing here is graphic: the labels are turned round, so that what is harmless scores high.
    let turned = || session("[\"nsfl\", \"nsfw\", \"sfw\"]", "[\"sfw\", \"nsfw\", \"nsfl\"]");
    let held = |terms| {
        let mut work = Work::new(vec![turned()], 8, terms);
        let mut judge = Judge::new(Arc::new(Policy::parse(judge::Config::default()).unwrap()));
        let session = sluicegate::stream::Session { stream: StreamId::new("main", "live", "still"), id: "7".into() };
        let pictures = still(10);
        let findings = work.one_by_one(&pictures).into_iter().map(|(sequence, scores)| {
            let arrived = pictures[sequence as usize].arrived;
            let observation = Observation::Scores(scores);
            Finding { session: session.clone(), sequence, pts: None, arrived, found: arrived, observation }
        });
        let judged: Vec<_> = findings.filter_map(|finding| judge.observe(&finding, &Context::default())).collect();
        let [hold] = judged.try_into().expect("one judgement");
        let evidence: Vec<u64> = hold.evidence.iter().map(|finding| finding.sequence).collect();
        (hold.verdict, hold.rule, hold.decided, evidence)
    };
    let gated = held(GATE);
    assert_eq!((gated.0, &*gated.1), (Verdict::Hold, "likely-graphic"));
    assert_eq!(gated, held(Terms::OFF));
}
