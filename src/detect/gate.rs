//! The change gate: a picture that looks like the one scored last is not scored again.
//!
//! A static scene, a paused game, a title card: what a model said of it a moment ago it would say again. The gate of one
//! stream and one model knows the picture that the model was last asked about, by its perceptual hash. Pictures within a
//! few bits of it get its scores, and where those are still to come, they wait for them.
//!
//! - Only pictures really scored are compared with, so a slow change adds up until it counts.
//! - What was scored long ago is scored anew, whatever it looks like: the hash sees neither colour nor small detail.
//! - Pictures that show too little for their hash to mean anything always pass.
//! - Memory is bounded: the last scores, and [`MOST_WAITING`] waiting pictures for each picture that the model has yet to
//!   answer.
//!
//! Pure: time is when pictures arrived.

use std::sync::Arc;
use std::time::Duration;

use crate::clock::Timestamp;
use crate::finding::Scores;
use crate::hash::{Pdq, USEFUL_QUALITY};

/// Pictures that may wait for the scores of one other; a model that is so late sheds the rest.
pub const MOST_WAITING: usize = 64;

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
}

/// What is to be done with a picture.
#[derive(Debug, Clone, PartialEq)]
pub enum Passage<T> {
    /// Score it. Where there is a mark, say with it what came of that: [`Gate::scored`] or [`Gate::unscored`].
    Score(T, Option<Mark>),
    /// It looks like one whose scores these are.
    Same(T, Again),
    /// It looks like one that is being scored, and waits for that one's scores.
    Waits,
    /// It looks like one that is being scored, and too many wait for that one already.
    Full(T),
}

/// Identifies a picture that a gate let through.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mark(u64);

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

/// The gate of one stream and one model. `T` stands for a picture that waits.
#[derive(Debug)]
pub struct Gate<T> {
    /// The picture scored last, and what the model said of it.
    last: Option<(Asked, Again)>,
    /// Pictures that the model has yet to answer, in the order in which they were let through, and who waits for each.
    awaited: Vec<(Asked, Vec<T>)>,
    marks: u64,
}

/// A picture that the model was asked about.
#[derive(Debug, Clone, Copy)]
struct Asked {
    mark: Mark,
    seen: Seen,
}

impl<T> Default for Gate<T> {
    fn default() -> Self {
        Self { last: None, awaited: Vec::new(), marks: 0 }
    }
}

impl<T> Gate<T> {
    /// Takes in a picture, `ticket`, and says what is to be done with it.
    pub fn pass(&mut self, seen: &Seen, terms: &Terms, ticket: T) -> Passage<T> {
        if terms.within == 0 || seen.pdq.quality < USEFUL_QUALITY {
            return Passage::Score(ticket, None);
        }
        let scored = self.last.as_ref().map(|(asked, _)| asked.mark);
        match (self.awaited.last_mut().filter(|(asked, _)| Some(asked.mark) > scored), &self.last) {
            (Some((asked, waiting)), _) if asked.looks_like(seen, terms) => {
                if waiting.len() == MOST_WAITING {
                    return Passage::Full(ticket);
                }
                waiting.push(ticket);
                return Passage::Waits;
            }
            (None, Some((asked, again))) if asked.looks_like(seen, terms) => {
                return Passage::Same(ticket, again.clone());
            }
            _ => {}
        }
        self.marks += 1;
        let mark = Mark(self.marks);
        self.awaited.push((Asked { mark, seen: *seen }, Vec::new()));
        Passage::Score(ticket, Some(mark))
    }

    /// Says what the model made of the picture let through as `mark`. Gives the pictures that waited for that, and what
    /// they are to be given; nothing where the picture was answered before.
    pub fn scored(&mut self, mark: Mark, scores: &[Scores]) -> Option<(Vec<T>, Again)> {
        let (asked, waiting) = self.answered(mark)?;
        let again = Again { scores: scores.into(), same_as: asked.seen.sequence };
        if self.last.as_ref().is_none_or(|(last, _)| last.mark < mark) {
            self.last = Some((asked, again.clone()));
        }
        Some((waiting, again))
    }

    /// Says that the picture let through as `mark` was not scored after all. Gives the pictures that waited for that:
    /// nothing is known of them either.
    pub fn unscored(&mut self, mark: Mark) -> Vec<T> {
        self.answered(mark).map(|(_, waiting)| waiting).unwrap_or_default()
    }

    fn answered(&mut self, mark: Mark) -> Option<(Asked, Vec<T>)> {
        let at = self.awaited.iter().position(|(asked, _)| asked.mark == mark)?;
        Some(self.awaited.remove(at))
    }
}

impl Asked {
    fn looks_like(&self, seen: &Seen, terms: &Terms) -> bool {
        // Look-back brings pictures out of order: one may have arrived before the other or after it.
        let apart = seen.arrived.since(self.seen.arrived).max(self.seen.arrived.since(seen.arrived));
        apart < terms.rescore_after && self.seen.pdq.hash.distance(&seen.pdq.hash) <= terms.within
    }
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
        Seen { sequence, arrived: Timestamp::from_millis(1_000_000 + 1000 * seconds), pdq }
    }

    fn scores(value: f32) -> Vec<Scores> {
        vec![Scores { model: "safety".into(), scores: vec![("nsfl".into(), value)], ..Scores::default() }]
    }

    fn word(passage: &Passage<u64>) -> String {
        match passage {
            Passage::Score(..) => "score".to_owned(),
            Passage::Same(_, again) => format!("as {}", again.scores().next().unwrap().same_as.unwrap()),
            Passage::Waits => "wait".to_owned(),
            Passage::Full(_) => "full".to_owned(),
        }
    }

    /// Shows pictures, each given by its second and its bits, to a gate whose model answers at once.
    fn check(what: &str, terms: Terms, pictures: &[(u64, u32, &str)]) {
        let mut gate = Gate::default();
        for (sequence, &(seconds, bits, expected)) in (0..).zip(pictures) {
            let passage = gate.pass(&seen(sequence, seconds, bits), &terms, sequence);
            assert_eq!(word(&passage), expected, "{what}: picture {sequence}");
            if let Passage::Score(_, Some(mark)) = passage {
                assert!(gate.scored(mark, &scores(0.5)).unwrap().0.is_empty());
            }
        }
    }

    #[test]
    fn a_picture_is_scored_once_for_as_long_as_it_stays_nearly_the_same() {
        check("a still picture", TERMS, &[(0, 0, "score"), (2, 0, "as 0"), (4, 3, "as 0"), (6, 0, "as 0")]);
        check("a cut", TERMS, &[(0, 0, "score"), (2, 90, "score"), (4, 92, "as 1"), (6, 0, "score")]);
        check("the bound is within", TERMS, &[(0, 0, "score"), (1, 6, "as 0"), (2, 7, "score")]);
        check("slow change adds up", TERMS, &[(0, 0, "score"), (1, 4, "as 0"), (2, 8, "score"), (3, 12, "as 2")]);
        check("old scores", TERMS, &[(0, 0, "score"), (29, 0, "as 0"), (30, 0, "score"), (59, 0, "as 2")]);
        check("out of order", TERMS, &[(40, 0, "score"), (38, 0, "as 0"), (10, 0, "score")]);
        check("off", Terms { within: 0, ..TERMS }, &[(0, 0, "score"), (1, 0, "score")]);
        check("off altogether", Terms::OFF, &[(0, 0, "score"), (1, 0, "score")]);
    }

    #[test]
    fn a_picture_that_shows_too_little_passes_and_is_not_compared_with() {
        let dim = |sequence, quality| {
            let seen = seen(sequence, sequence, 0);
            Seen { pdq: Pdq { quality, ..seen.pdq }, ..seen }
        };
        let mut gate = Gate::default();
        for (sequence, quality, expected) in
            [(0, 49, Some(false)), (1, 50, Some(true)), (2, 49, Some(false)), (3, 50, None)]
        {
            let marked = match gate.pass(&dim(sequence, quality), &TERMS, sequence) {
                Passage::Score(_, mark) => Some(mark.map(|mark| gate.scored(mark, &scores(0.1))).is_some()),
                _ => None,
            };
            assert_eq!(marked, expected, "picture {sequence}");
        }
    }

    #[test]
    fn what_is_the_same_as_a_picture_being_scored_waits_for_its_scores() {
        let mut gate = Gate::default();
        let Passage::Score(0, Some(mark)) = gate.pass(&seen(0, 0, 0), &TERMS, 0) else { panic!() };
        for sequence in 1..=MOST_WAITING as u64 {
            assert_eq!(gate.pass(&seen(sequence, 1, 2), &TERMS, sequence), Passage::Waits);
        }
        assert_eq!(gate.pass(&seen(99, 1, 2), &TERMS, 99), Passage::Full(99));
        let (waiting, again) = gate.scored(mark, &scores(0.9)).unwrap();
        assert_eq!(waiting, (1..=MOST_WAITING as u64).collect::<Vec<_>>(), "in their order");
        let [given] = again.scores().collect::<Vec<_>>().try_into().unwrap();
        assert_eq!(given, Scores { same_as: Some(0), ..scores(0.9).remove(0) });
        assert_eq!(gate.scored(mark, &scores(0.1)), None, "a picture is answered once");
    }

    #[test]
    fn what_comes_of_one_picture_reaches_those_who_wait_for_it_and_no_others() {
        let mut gate = Gate::default();
        let Passage::Score(_, Some(first)) = gate.pass(&seen(0, 0, 0), &TERMS, 0) else { panic!() };
        assert_eq!(gate.pass(&seen(1, 0, 1), &TERMS, 1), Passage::Waits);
        let Passage::Score(_, Some(second)) = gate.pass(&seen(2, 1, 90), &TERMS, 2) else { panic!() };
        assert_eq!(gate.pass(&seen(3, 1, 91), &TERMS, 3), Passage::Waits);
        // The second is answered first: it is the later picture, so it is what is compared with.
        assert_eq!(gate.scored(second, &scores(0.2)).unwrap().0, [3]);
        assert_eq!(gate.scored(first, &scores(0.1)).unwrap().0, [1]);
        assert_eq!(word(&gate.pass(&seen(4, 2, 90), &TERMS, 4)), "as 2");
    }

    #[test]
    fn what_was_not_scored_is_not_compared_with() {
        let mut gate = Gate::default();
        let Passage::Score(_, Some(mark)) = gate.pass(&seen(0, 0, 0), &TERMS, 0) else { panic!() };
        gate.scored(mark, &scores(0.1)).unwrap();
        let Passage::Score(_, Some(mark)) = gate.pass(&seen(1, 1, 90), &TERMS, 1) else { panic!() };
        assert_eq!(gate.pass(&seen(2, 1, 90), &TERMS, 2), Passage::Waits);
        assert_eq!(gate.unscored(mark), [2]);
        assert_eq!(word(&gate.pass(&seen(3, 2, 0), &TERMS, 3)), "as 0", "the last that was scored stands");
        assert_eq!(word(&gate.pass(&seen(4, 2, 90), &TERMS, 4)), "score");
    }

    /// Which pictures are scored, by the definition: one is not if the last before it that was lies near enough in looks
    /// and time.
    fn slow(pictures: &[Seen], terms: &Terms) -> Vec<Option<u64>> {
        let mut given: Vec<Option<u64>> = Vec::new();
        for (at, seen) in pictures.iter().enumerate() {
            let compared = |other: &&Seen| other.pdq.quality >= 50 && given[other.sequence as usize].is_none();
            let last = pictures[..at].iter().rev().find(compared);
            let same = last.filter(|last| {
                let apart = last.arrived.as_micros().abs_diff(seen.arrived.as_micros());
                seen.pdq.quality >= 50
                    && terms.within > 0
                    && apart < terms.rescore_after.as_micros() as u64
                    && last.pdq.hash.distance(&seen.pdq.hash) <= terms.within
            });
            given.push(same.map(|last| last.sequence));
        }
        given
    }

    proptest! {
        #[test]
        fn the_gate_agrees_with_its_slow_twin(
            facts in proptest::collection::vec((0_u64..80, 0_u32..20, 45_u8..55), 0..40),
            within in 0_u32..8,
            after in 0_u64..60,
        ) {
            let terms = Terms { within, rescore_after: Duration::from_secs(after) };
            let seen = |(sequence, &(seconds, bits, quality)): (u64, &(u64, u32, u8))| {
                let seen = seen(sequence, seconds, bits);
                Seen { pdq: Pdq { quality, ..seen.pdq }, ..seen }
            };
            let pictures: Vec<Seen> = (0..).zip(&facts).map(seen).collect();
            let mut gate = Gate::default();
            let given: Vec<Option<u64>> = pictures.iter().map(|seen| match gate.pass(seen, &terms, seen.sequence) {
                Passage::Score(_, mark) => {
                    drop(mark.map(|mark| gate.scored(mark, &scores(0.5))));
                    None
                }
                Passage::Same(_, again) => again.scores().next().unwrap().same_as,
                Passage::Waits | Passage::Full(_) => panic!("every answer comes at once"),
            }).collect();
            prop_assert_eq!(given, slow(&pictures, &terms));
        }
    }
}
