//! The change gate: a picture that looks like those scored last is not scored again.
//!
//! A static scene, a paused game, a title card: what a model said of it a moment ago it would say again. The gate of one
//! stream and one model knows what the picture scored last looked like, by its perceptual hash, and what the model said of
//! it and of the one before. Pictures within a few bits of it get its scores.
//!
//! - Scores are given again only once they are settled: the model was really asked about two pictures in a row that look
//!   alike, and said nearly the same of both ([`AGREEMENT`]). One inference that goes astray therefore stays the evidence of
//!   one picture, whether it is too high or too low, and a scene that the model is unsure of is scored picture by picture.
//! - While a stream is looked at closely, each of its pictures is scored: a score that a rule would count raises attention, so
//!   what a rule counts is what the model really said.
//! - Only pictures really scored are compared with, so a slow change adds up until it counts.
//! - What was scored long ago is scored anew, whatever it looks like: the hash sees neither colour nor small detail. Where
//!   the model still says the same, that settles it again.
//! - Pictures that show too little for their hash to mean anything always pass.
//! - Nothing waits: a picture that looks like one still being scored is scored too. Memory is the last scores.
//!
//! Pure: time is when pictures arrived.

use std::sync::Arc;
use std::time::Duration;

use crate::clock::Timestamp;
use crate::finding::Scores;
use crate::hash::{Pdq, USEFUL_QUALITY};
use crate::stream::Attention;

/// How far apart a label's scores of two pictures may lie for the model to have said the same of both. More than the noise of
/// an encoder does to a picture that stands still (.03), and little beside what a rule's bound is chosen by.
pub const AGREEMENT: f32 = 0.05;

/// Which pictures count as unchanged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Terms {
    /// The largest distance, in bits, from the picture scored last. 0: every picture is scored.
    pub within: u32,
    /// How far apart two pictures may have arrived for one to be given the other's scores.
    pub rescore_after: Duration,
}

impl Terms {
    /// Every picture is scored.
    pub const OFF: Self = Self { within: 0, rescore_after: Duration::ZERO };
}

/// A picture before the gate.
#[derive(Debug, Clone, Copy)]
pub struct Seen {
    /// The access unit that it was decoded from.
    pub sequence: u64,
    /// When it reached us.
    pub arrived: Timestamp,
    /// What it looks like.
    pub pdq: Pdq,
    /// How closely its stream is looked at.
    pub attention: Attention,
}

/// Scores to be given again.
#[derive(Debug, Clone, PartialEq)]
pub struct Again {
    scores: Arc<[Scores]>,
    same_as: u64,
}

impl Again {
    /// The scores, each with the picture that they are really of.
    pub fn scores(&self) -> impl Iterator<Item = Scores> {
        self.scores.iter().map(|scores| Scores { same_as: Some(self.same_as), ..scores.clone() })
    }
}

/// The gate of one stream and one model.
#[derive(Debug, Default)]
pub struct Gate {
    last: Option<Scored>,
}

/// The picture scored last.
#[derive(Debug)]
struct Scored {
    seen: Seen,
    scores: Arc<[Scores]>,
    /// Whether the one scored before it looked the same and was given nearly the same scores.
    settled: bool,
}

impl Gate {
    /// The scores to give a picture that need not be scored; none where it must be. Say with [`Gate::scored`] what came of
    /// that, if anything did.
    pub fn pass(&self, seen: &Seen, terms: &Terms) -> Option<Again> {
        if seen.attention > Attention::Calm {
            return None;
        }
        let last = self.last.as_ref().filter(|last| last.settled && last.seen.looks_like(seen, terms))?;
        // Look-back brings pictures out of order: one may have arrived before the other or after it.
        let apart = seen.arrived.since(last.seen.arrived).max(last.seen.arrived.since(seen.arrived));
        (apart < terms.rescore_after).then(|| Again { scores: Arc::clone(&last.scores), same_as: last.seen.sequence })
    }

    /// Says what the model made of a picture.
    pub fn scored(&mut self, seen: &Seen, terms: &Terms, scores: &[Scores]) {
        if seen.pdq.quality < USEFUL_QUALITY {
            return;
        }
        let like = |last: &Scored| last.seen.looks_like(seen, terms) && agree(&last.scores, scores);
        let settled = self.last.as_ref().is_some_and(like);
        self.last = Some(Scored { seen: *seen, scores: scores.into(), settled });
    }
}

impl Seen {
    fn looks_like(&self, other: &Self, terms: &Terms) -> bool {
        let shows = |seen: &Self| seen.pdq.quality >= USEFUL_QUALITY;
        terms.within > 0 && shows(self) && shows(other) && self.pdq.hash.distance(&other.pdq.hash) <= terms.within
    }
}

/// Whether a model said nearly the same of two pictures. What is no number agrees with nothing.
fn agree(one: &[Scores], other: &[Scores]) -> bool {
    let same = |one: &Scores, other: &Scores| {
        let mut pairs = one.scores.iter().zip(&other.scores);
        one.model == other.model
            && one.scores.len() == other.scores.len()
            && pairs.all(|((label, one), (with, other))| label == with && (one - other).abs() <= AGREEMENT)
    };
    one.len() == other.len() && one.iter().zip(other).all(|(one, other)| same(one, other))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::hash::PdqHash;

    const TERMS: Terms = Terms { within: 6, rescore_after: Duration::from_secs(30) };

    /// A picture that differs from picture 0 in its first `bits` bits.
    fn seen(sequence: u64, seconds: u64, bits: u32) -> Seen {
        let words = [0, 1, 2, 3].map(|word: u32| match bits.saturating_sub(64 * word) {
            64.. => u64::MAX,
            left => (1 << left) - 1,
        });
        let pdq = Pdq { hash: PdqHash::from_words(words), quality: 100 };
        let arrived = Timestamp::from_millis(1_000_000 + 1000 * seconds);
        Seen { sequence, arrived, pdq, attention: Attention::Calm }
    }

    fn scores(value: f32) -> Vec<Scores> {
        let scores = vec![("nsfl".into(), value), ("sfw".into(), 1.0 - value)];
        vec![Scores { model: "safety".into(), scores, ..Scores::default() }]
    }

    /// Which of `pictures` are given the scores of which, by a gate whose model answers at once.
    fn given(terms: Terms, pictures: impl IntoIterator<Item = (Seen, f32)>) -> Vec<Option<u64>> {
        let mut gate = Gate::default();
        let show = |(seen, score)| {
            if let Some(again) = gate.pass(&seen, &terms) {
                return again.scores().next().unwrap().same_as;
            }
            gate.scored(&seen, &terms, &scores(score));
            None
        };
        pictures.into_iter().map(show).collect()
    }

    /// Shows pictures, each by its second and its bits, all of one score. `-`: it is scored; else whose scores it is given.
    fn check(what: &str, terms: Terms, pictures: &[(u64, u32, &str)]) {
        let shown = (0..).zip(pictures).map(|(sequence, &(seconds, bits, _))| (seen(sequence, seconds, bits), 0.5));
        let got: Vec<String> =
            given(terms, shown).iter().map(|same| same.map_or("-".to_owned(), |same| same.to_string())).collect();
        assert_eq!(got, pictures.iter().map(|(.., expected)| *expected).collect::<Vec<_>>(), "{what}");
    }

    #[test]
    fn a_picture_is_scored_twice_and_then_no_more_for_as_long_as_it_stays_nearly_the_same() {
        check("a still picture", TERMS, &[(0, 0, "-"), (2, 0, "-"), (4, 3, "1"), (6, 0, "1")]);
        check("a cut", TERMS, &[(0, 0, "-"), (2, 0, "-"), (4, 90, "-"), (6, 92, "-"), (8, 90, "3"), (9, 0, "-")]);
        check("the bound is within", TERMS, &[(0, 0, "-"), (1, 6, "-"), (2, 12, "1"), (3, 13, "-")]);
        check("slow change adds up", TERMS, &[(0, 0, "-"), (1, 4, "-"), (2, 8, "1"), (3, 12, "-"), (4, 16, "-")]);
        check("old scores", TERMS, &[(0, 0, "-"), (2, 0, "-"), (31, 0, "1"), (32, 0, "-"), (61, 0, "3"), (62, 0, "-")]);
        check("out of order", TERMS, &[(40, 0, "-"), (41, 0, "-"), (38, 0, "1"), (10, 0, "-")]);
        check("to and fro", TERMS, &[(0, 0, "-"), (2, 90, "-"), (4, 0, "-"), (6, 90, "-"), (8, 0, "-")]);
        check("off", Terms { within: 0, ..TERMS }, &[(0, 0, "-"), (1, 0, "-"), (2, 0, "-")]);
        check("off altogether", Terms::OFF, &[(0, 0, "-"), (1, 0, "-"), (2, 0, "-")]);
    }

    /// A scene that stands still, a picture every 2 s. How many of its scores are above .8 and how many below, of all and
    /// of those that the model really gave.
    fn scene(scores: &[f32]) -> [[usize; 2]; 2] {
        let shown = (0..).zip(scores).map(|(at, score)| (seen(at, 2 * at, 0), *score));
        let given = given(TERMS, shown);
        let all = (0..).zip(&given).map(|(at, same)| scores[same.unwrap_or(at) as usize]);
        let real = scores.iter().zip(&given).filter(|(_, same)| same.is_none()).map(|(score, _)| *score);
        let split = |scores: Vec<f32>| {
            let high = scores.iter().filter(|score| **score > 0.8).count();
            [high, scores.len() - high]
        };
        [split(all.collect()), split(real.collect())]
    }

    #[test]
    fn one_inference_that_goes_astray_speaks_for_one_picture() {
        let with = |at: usize, outlier: f32, else_: f32| {
            let mut scores = vec![else_; 15];
            scores[at] = outlier;
            scene(&scores)
        };
        for at in [0, 1, 2] {
            let [[high, low], [really_high, _]] = with(at, 0.95, 0.3);
            assert!(
                (high, really_high) == (1, 1) || (high, really_high) == (0, 0),
                "an outlier at {at}: {high}, {low}"
            );
            let [[high, low], _] = with(at, 0.3, 0.95);
            assert!(low <= 1 && high >= 14, "a scene is not hidden by its picture {at}: {high}, {low}");
        }
        assert_eq!(with(0, 0.95, 0.3), [[1, 14], [1, 2]]);
        // The outlier is the one that is asked about anew after 30 s: what follows is asked about until it is settled.
        let mut scores = vec![0.3; 30];
        scores[16] = 0.95;
        assert_eq!(scene(&scores), [[1, 29], [1, 4]]);
    }

    #[test]
    fn a_scene_that_the_model_is_unsure_of_is_scored_picture_by_picture() {
        let swings: Vec<f32> = (0..30).map(|at| if at % 2 == 0 { 0.82 } else { 0.58 }).collect();
        assert_eq!(scene(&swings), [[15, 15], [15, 15]], "just as without a gate");
        assert_eq!(scene(&[f32::NAN; 4])[1], [0, 4], "what is no number agrees with nothing");
    }

    #[test]
    fn every_label_and_every_head_has_to_agree() {
        let of = |model: &str, nsfl| Scores { model: model.into(), ..scores(nsfl).remove(0) };
        let [one, near, far, head] = [of("safety", 0.5), of("safety", 0.54), of("safety", 0.56), of("probe", 0.5)];
        for (what, last, now, expected) in [
            ("the same", vec![one.clone()], vec![one.clone()], true),
            ("nearly", vec![one.clone()], vec![near], true),
            ("not nearly", vec![one.clone()], vec![far.clone()], false),
            ("both", vec![one.clone(), head.clone()], vec![one.clone(), head.clone()], true),
            ("one of two", vec![head.clone(), one.clone()], vec![head.clone(), far], false),
            ("a head more", vec![one.clone()], vec![one.clone(), head.clone()], false),
            ("another", vec![one], vec![head], false),
        ] {
            assert_eq!(agree(&last, &now), expected, "{what}");
        }
    }

    #[test]
    fn a_picture_that_shows_too_little_passes_and_is_not_compared_with() {
        let dim = |(sequence, quality): (u64, u8)| {
            let seen = seen(sequence, sequence, 0);
            (Seen { pdq: Pdq { quality, ..seen.pdq }, ..seen }, 0.1)
        };
        let shown = (0..).zip([49, 50, 49, 50, 49, 50]).map(dim);
        assert_eq!(given(TERMS, shown), [None, None, None, None, None, Some(3)]);
    }

    #[test]
    fn a_stream_that_is_looked_at_closely_has_every_picture_scored_and_they_are_what_is_given_later() {
        let levels = [Attention::Calm, Attention::Calm, Attention::Calm, Attention::Suspicious, Attention::Reported];
        let levels = levels.into_iter().chain([Attention::Imminent, Attention::Calm]);
        let shown = (0..).zip(levels).map(|(at, attention)| (Seen { attention, ..seen(at, 2 * at, 0) }, 0.7));
        assert_eq!(given(TERMS, shown), [None, None, Some(1), None, None, None, Some(5)]);
    }

    #[test]
    fn scores_are_given_as_they_were_with_the_picture_that_they_are_of() {
        let mut gate = Gate::default();
        for (sequence, score) in [(0, 0.52), (1, 0.5)] {
            gate.scored(&seen(sequence, sequence, 0), &TERMS, &scores(score));
        }
        let again: Vec<Scores> = gate.pass(&seen(2, 2, 0), &TERMS).unwrap().scores().collect();
        assert_eq!(again, [Scores { same_as: Some(1), ..scores(0.5).remove(0) }]);
    }

    /// Which pictures are scored, by the definition: one is not if the last two before it that were look alike and were
    /// given nearly the same scores, and the later lies near enough in looks and time.
    fn slow(pictures: &[(Seen, f32)], terms: &Terms) -> Vec<Option<u64>> {
        let mut given: Vec<Option<u64>> = Vec::new();
        for (at, (seen, _)) in pictures.iter().enumerate() {
            let compared =
                |other: &&(Seen, f32)| other.0.pdq.quality >= 50 && given[other.0.sequence as usize].is_none();
            let mut before = pictures[..at].iter().rev().filter(compared);
            let same = before.next().zip(before.next()).filter(|((last, score), (earlier, other))| {
                let apart = last.arrived.as_micros().abs_diff(seen.arrived.as_micros());
                seen.pdq.quality >= 50
                    && terms.within > 0
                    && apart < terms.rescore_after.as_micros() as u64
                    && last.pdq.hash.distance(&seen.pdq.hash) <= terms.within
                    && last.pdq.hash.distance(&earlier.pdq.hash) <= terms.within
                    && (score - other).abs() <= 0.05
            });
            given.push(same.map(|((last, _), _)| last.sequence));
        }
        given
    }

    proptest! {
        #[test]
        fn the_gate_agrees_with_its_slow_twin(
            facts in proptest::collection::vec((0_u64..80, 0_u32..12, 45_u8..70, 0_u8..3), 0..40),
            within in 0_u32..10,
            after in 0_u64..60,
        ) {
            let terms = Terms { within, rescore_after: Duration::from_secs(after) };
            let seen = |(sequence, &(seconds, bits, quality, score)): (u64, &(u64, u32, u8, u8))| {
                let seen = seen(sequence, seconds, bits);
                (Seen { pdq: Pdq { quality, ..seen.pdq }, ..seen }, f32::from(score) * 0.03)
            };
            let pictures: Vec<(Seen, f32)> = (0..).zip(&facts).map(seen).collect();
            prop_assert_eq!(given(terms, pictures.iter().copied()), slow(&pictures, &terms));
        }
    }
}
