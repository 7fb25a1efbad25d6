//! The real line, from access units to verdicts, in virtual time: sampler, decoder, hash and banks, model and change gate,
//! judge with the policy that holds where nobody wrote one. Nothing is shed, for the next unit comes when the last was dealt
//! with.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use crossbeam_channel::Receiver;
use sluicegate::bank::{Bank, InForce, Provenance, Refusal, Settings, Signal};
use sluicegate::clock::{Clock, Timestamp};
use sluicegate::decision::{Context, Verdict};
use sluicegate::decode::file::Video;
use sluicegate::decode::{self, Decoder};
use sluicegate::detect::classify::{Classify, Gates, Scorer, Submitted};
use sluicegate::detect::gate::Terms;
use sluicegate::detect::known::Known;
use sluicegate::detect::{Detector, Look};
use sluicegate::finding::{Finding, Observation, Opinion, Scores};
use sluicegate::hash::Hasher;
use sluicegate::judge::{self, Judge, Policy};
use sluicegate::metrics::Metrics;
use sluicegate::model;
use sluicegate::picture::Picture;
use sluicegate::sample::{self, Pool, Sampler};
use sluicegate::stream::{AccessUnit, Attention, AttentionCell, Codec, Session, StreamId};

use crate::film::{Film, Footage, RATE, units};

const PATIENCE: Duration = Duration::from_mins(2);
/// Every so many frames of a clip are banked.
const BANKED_EVERY: usize = 5;

/// What came of films.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tally {
    pub(crate) seconds: f64,
    pub(crate) pictures: u64,
    pub(crate) scored: u64,
    pub(crate) unchanged: u64,
    pub(crate) flat: u64,
    pub(crate) matches: u64,
    /// How often each verdict was come to by each rule.
    pub(crate) verdicts: BTreeMap<(Verdict, Arc<str>), u64>,
    /// What the model really said of pictures, by label.
    pub(crate) scores: BTreeMap<Arc<str>, Vec<f32>>,
}

impl Tally {
    /// How often something of at least this verdict was decided.
    pub(crate) fn at_least(&self, verdict: Verdict) -> u64 {
        self.verdicts.iter().filter(|((reached, _), _)| *reached >= verdict).map(|(_, count)| count).sum()
    }

    /// Adds what came of other films.
    pub(crate) fn add(&mut self, other: Self) {
        self.seconds += other.seconds;
        self.pictures += other.pictures;
        self.scored += other.scored;
        self.unchanged += other.unchanged;
        self.flat += other.flat;
        self.matches += other.matches;
        for (reached, count) in other.verdicts {
            *self.verdicts.entry(reached).or_default() += count;
        }
        for (label, scores) in other.scores {
            self.scores.entry(label).or_default().extend(scores);
        }
    }
}

/// A line for one stream after the other.
pub(crate) struct Line {
    decoder: Decoder,
    known: Known,
    classify: Classify<u64>,
    scored: Receiver<(u64, Scores)>,
    policy: Arc<Policy>,
}

/// One stream on the line.
struct Stream {
    session: Session,
    sampler: Sampler,
    attention: AttentionCell,
    gates: Arc<Gates>,
    judge: Judge,
    tally: Tally,
}

impl Line {
    /// A line with the shipped model, the default policy and these banks.
    pub(crate) fn new(banks: &[Arc<Bank>], config: &model::Config) -> Self {
        let opened = model::open(config).expect("the configuration is right");
        assert!(opened.broken.is_empty(), "{:?}: run `make setup`", opened.broken);
        let (results, scored) = crossbeam_channel::bounded(4096);
        let metrics = Arc::new(Metrics::new().expect("metrics have names of their own"));
        let terms = Terms { within: config.unchanged_within, rescore_after: config.rescore_after };
        let start = |session| {
            let results = results.clone();
            let on_scores = move |sequence: &u64, observation| {
                if let Observation::Scores(scores) = observation {
                    results.send((*sequence, scores)).expect("the line is there as long as its model");
                }
            };
            let queue = NonZeroUsize::new(4096).expect("it is more than none");
            let scorer = Scorer::start(session, queue, terms, Clock::system(), Arc::clone(&metrics), on_scores);
            Arc::new(scorer.expect("there is a thread for it"))
        };
        let scorers: Vec<_> = opened.sessions.into_iter().map(start).collect();
        let policy = Policy::parse(judge::Config::default()).expect("the default policy makes sense");
        Self {
            decoder: Decoder::new(&decode::Config::default()).expect("GStreamer is there"),
            known: Known::new(Arc::new(InForce::new(banks.into()))),
            classify: Classify::new(&scorers),
            scored,
            policy: Arc::new(policy),
        }
    }

    /// Shows a film, as a stream of its own.
    pub(crate) fn show(&mut self, name: &str, film: Film<'_>) -> Tally {
        // As it happens, and the same each time: no chance, and one decoder for all.
        let sampling = sample::Config { inside_groups: Duration::ZERO, ..sample::Config::default() };
        let mut stream = Stream {
            session: Session { stream: StreamId::new("drill", "live", name), id: name.into() },
            sampler: Sampler::new(&sampling, || 0.0, &Arc::new(Pool::new(0))),
            attention: AttentionCell::default(),
            gates: Arc::default(),
            judge: Judge::new(Arc::clone(&self.policy)),
            tally: Tally::default(),
        };
        let start = Timestamp::from_millis(1_700_000_000_000);
        let mut sequence = 0;
        for shot in film {
            let shot = Bytes::from(shot);
            for (keyframe, data) in units(&shot) {
                let time = Duration::from_secs(sequence) / RATE;
                let data = shot.slice_ref(data);
                let arrived = start + time;
                let unit = AccessUnit { sequence, codec: Codec::H264, keyframe, pts: Some(time), arrived, data };
                self.take_in(&mut stream, unit);
                sequence += 1;
            }
        }
        stream.tally.seconds = sequence as f64 / f64::from(RATE);
        stream.tally
    }

    fn take_in(&mut self, stream: &mut Stream, unit: AccessUnit) {
        let now = unit.arrived;
        let level = stream.attention.level(now);
        let Some(work) = stream.sampler.offer(unit, level) else { return };
        let mut pictures = Vec::new();
        self.decoder
            .decode(&work.units, &work.inspect, &mut |picture| pictures.push(picture))
            .expect("ffmpeg's video decodes");
        assert_eq!(pictures.len(), work.inspect.len(), "every picture asked for comes");
        for picture in pictures {
            let finding = |observation| Finding {
                session: stream.session.clone(),
                sequence: picture.sequence,
                pts: picture.pts,
                arrived: picture.arrived,
                found: now,
                observation,
            };
            let attention = stream.attention.level(picture.arrived);
            let findings: Vec<Finding> =
                self.look(&picture, attention, &stream.gates, &mut stream.tally).map(finding).collect();
            for finding in findings {
                stream.weigh(&finding, now);
            }
        }
    }

    /// What the detectors say of a picture.
    fn look(
        &mut self,
        picture: &Picture,
        attention: Attention,
        gates: &Arc<Gates>,
        tally: &mut Tally,
    ) -> impl Iterator<Item = Observation> {
        tally.pictures += 1;
        let Look { mut observations, pdq, .. } = self.known.inspect(picture).expect("a whole picture");
        tally.matches += observations.len() as u64;
        for outcome in self.classify.inspect(picture, pdq, attention, gates, &picture.sequence) {
            match outcome {
                Submitted::Waiting => tally.scored += 1,
                Submitted::Unchanged => tally.unchanged += 1,
                Submitted::Flat => {
                    tally.flat += 1;
                    continue;
                }
                Submitted::Shed | Submitted::Failed => panic!("picture {} was lost: {outcome:?}", picture.sequence),
            }
            let (sequence, scores) = self.scored.recv_timeout(PATIENCE).expect("scores come");
            assert_eq!(sequence, picture.sequence);
            // What is given again is no answer of the model's.
            for (label, score) in scores.scores.iter().filter(|_| scores.same_as.is_none()) {
                tally.scores.entry(Arc::clone(label)).or_default().push(*score);
            }
            observations.push(Observation::Scores(scores));
        }
        observations.into_iter()
    }
}

impl Stream {
    fn weigh(&mut self, finding: &Finding, now: Timestamp) {
        if let Some((level, span)) = self.judge.attention(finding) {
            self.attention.raise(level, now, now + span);
        }
        if let Some(judged) = self.judge.observe(finding, &Context::default()) {
            *self.tally.verdicts.entry((judged.verdict, judged.rule)).or_default() += 1;
        }
    }
}

/// A bank of what is in `footage`, vouched for, so that it may cut.
pub(crate) fn bank(name: &str, footage: &[Footage]) -> Arc<Bank> {
    let mut hasher = Hasher::new();
    let mut signals = Vec::new();
    for footage in footage {
        let file = footage.path().file_name().unwrap_or_default().to_string_lossy().into_owned();
        let provenance = Arc::new(Provenance { file, sha256: "0".repeat(64) });
        let pictures: Vec<Picture> = match footage {
            Footage::Photograph(path) => vec![decode::still(path).expect("a photograph")],
            Footage::Clip(path, _) => {
                let video = Video::open(path, NonZeroUsize::MIN).expect("a clip");
                video.step_by(BANKED_EVERY).map(|picture| picture.expect("a frame")).collect()
            }
        };
        for picture in pictures {
            let pdq = hasher.picture(&picture).expect("a whole picture");
            if Refusal::of(&pdq.hash, Some(pdq.quality), Settings::default().min_quality).is_some() {
                continue;
            }
            signals.push(Signal {
                id: signals.len() as u64 + 1,
                hash: pdq.hash,
                quality: Some(pdq.quality),
                opinion: Opinion::Positive,
                provenance: Arc::clone(&provenance),
                banked_at: picture.pts,
                record: None,
                added: Timestamp::ZERO,
            });
        }
    }
    let name = name.parse().expect("a name for a bank");
    Arc::new(Bank::new(name, Settings::default(), 1, Timestamp::ZERO, signals))
}
