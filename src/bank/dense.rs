//! Which pictures of a video are worth banking: enough that a stream caught at any phase comes near one of them, and not
//! every one of a still scene. Pure.

use std::collections::BTreeMap;
use std::time::Duration;

use super::Refusal;
use crate::hash::{Pdq, PdqHash};

/// Bits that a picture must differ by from the last one kept, unless told otherwise. It keeps as much of hand-held video
/// findable as banking every picture does, with a sixth to a third fewer signals.
pub const EVERY_BITS: u32 = 16;

/// Whether to keep a picture: unless it is within `every_bits` of the last one kept.
pub fn keep(last_kept: Option<&PdqHash>, hash: &PdqHash, every_bits: u32) -> bool {
    last_kept.is_none_or(|last| last.distance(hash) > every_bits)
}

/// One picture of the content to be banked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frame {
    /// What it looks like, and how much it shows.
    pub pdq: Pdq,
    /// Where in the video it lies; none for a picture.
    pub at: Option<Duration>,
}

/// A file's pictures, told apart.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Chosen {
    /// Worth banking, in order.
    pub kept: Vec<Frame>,
    /// How many were left out as too like the one kept before.
    pub alike: usize,
    /// Not fit to be signals.
    pub refused: Vec<(Frame, Refusal)>,
}

impl Chosen {
    /// Why pictures were refused, counted: `12 low quality, 1 degenerate hash`.
    pub fn reasons(&self) -> String {
        let mut counts = BTreeMap::<Refusal, usize>::new();
        for (_, refusal) in &self.refused {
            *counts.entry(*refusal).or_default() += 1;
        }
        let words: Vec<_> = counts.iter().map(|(refusal, count)| format!("{count} {}", refusal.words())).collect();
        words.join(", ")
    }
}

/// Chooses what to bank of a file's pictures, which come in order.
pub fn choose(frames: &[Frame], min_quality: u8, every_bits: u32) -> Chosen {
    let mut chosen = Chosen::default();
    for frame in frames {
        let Pdq { hash, quality } = &frame.pdq;
        if let Some(refusal) = Refusal::of(hash, Some(*quality), min_quality) {
            chosen.refused.push((*frame, refusal));
        } else if keep(chosen.kept.last().map(|last| &last.pdq.hash), hash, every_bits) {
            chosen.kept.push(*frame);
        } else {
            chosen.alike += 1;
        }
    }
    chosen
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    /// A balanced hash `steps` swaps of a set and an unset bit away from the first: twice as many bits.
    fn swapped(steps: u32) -> PdqHash {
        let mask = (1u64 << steps) - 1;
        PdqHash::from_words([u64::MAX, u64::MAX ^ mask, mask, 0])
    }

    fn frame(steps: u32, quality: u8) -> Frame {
        Frame { pdq: Pdq { hash: swapped(steps), quality }, at: Some(Duration::from_millis(u64::from(steps))) }
    }

    #[test]
    fn a_picture_is_kept_once_it_left_the_last_one_kept_behind() {
        // Each step is 2 bits: 16 bits is still alike, 18 is not; and it is the last one *kept* that counts.
        let frames: Vec<_> = [0, 4, 8, 9, 12, 17, 18, 0].map(|steps| frame(steps, 100)).into();
        let chosen = choose(&frames, 50, 16);
        let kept: Vec<_> = chosen.kept.iter().map(|kept| kept.at.unwrap().as_millis()).collect();
        assert_eq!(kept, [0, 9, 18, 0]);
        assert_eq!(chosen.alike, 4);
    }

    #[test]
    fn a_refused_picture_is_no_measure_for_the_next() {
        let frames = [frame(0, 100), frame(20, 10), frame(2, 100)];
        let chosen = choose(&frames, 50, 16);
        assert_eq!(chosen.kept, [frames[0]]);
        assert_eq!(chosen.refused, [(frames[1], Refusal::LowQuality)]);
        assert_eq!(chosen.alike, 1);
    }

    #[test]
    fn zero_bits_keeps_all_but_repeats() {
        let frames = [frame(0, 100), frame(0, 100), frame(1, 100)];
        assert_eq!(choose(&frames, 50, 0).kept, [frames[0], frames[2]]);
    }

    proptest! {
        #[test]
        fn none_is_lost_and_each_is_near_one_kept(steps in vec((0u32..40, 40u8..60), 0..60), every in 0u32..40) {
            let frames: Vec<_> = steps.iter().map(|(steps, quality)| frame(*steps, *quality)).collect();
            let chosen = choose(&frames, 50, every);
            prop_assert_eq!(chosen.kept.len() + chosen.alike + chosen.refused.len(), frames.len());
            for frame in frames.iter().filter(|frame| frame.pdq.quality >= 50) {
                prop_assert!(chosen.kept.iter().any(|kept| kept.pdq.hash.distance(&frame.pdq.hash) <= every));
            }
            for pair in chosen.kept.windows(2) {
                prop_assert!(pair[0].pdq.hash.distance(&pair[1].pdq.hash) > every);
            }
        }
    }
}
