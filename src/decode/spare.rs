//! Units that a decoder can do without, because their pictures are not asked for and nothing refers to them. Pure.
//!
//! Most encoders make every second or third picture of H.264 such that no other refers to it (`nal_ref_idc` 0 in all of its
//! slices; ITU-T H.264, 7.4.1), and no decoder keeps one to be referred to. What is left out here changes nothing in what comes
//! out of the others, whatever a publisher writes: where that is not certain, nothing is left out. In particular
//!
//! - numbers (`frame_num`) must go on as they would with it (7.4.3): a decoder fills gaps with copies, which shifts what others refer to;
//! - the sequence must say how far pictures are reordered: a decoder that has to learn that from the pictures, and sees fewer of
//!   them, drops some that come out late;
//! - fields are not told apart from one another, so where there may be any, all are decoded.
//!
//! Not of H.265: its decoders honour references to pictures whose kind says that there are none, so whoever refers to one
//! all the same would show viewers what is not looked at here.

use super::coded::{Bits, Sequence, tails};
use crate::stream::{AccessUnit, Codec};

/// Goes through the units of one stream in the order of decoding.
#[derive(Debug, Default)]
pub(super) struct Spare {
    sequence: Option<Sequence>,
    /// More than one kind of sequence was met: which is in force is not known here.
    mixed: bool,
    /// The number of the last picture that others may refer to.
    number: Option<u64>,
    /// Units to be left out if the next that is not goes on as it should.
    held: Vec<AccessUnit>,
}

/// What a unit is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Nothing refers to it.
    Spare,
    /// To be decoded; it would not be decoded otherwise were those that are held decoded too.
    Follows,
    /// To be decoded, and so is what is held.
    Unsure,
}

/// More units in a row are not left out.
const MOST_HELD: usize = 16;

/// Bytes of a slice in which its number stands.
const SLICE_HEAD: usize = 32;

impl Spare {
    /// Those of `units`, and of some before, that a decoder has to have now, where pictures of those that are `wanted` are.
    pub(super) fn needed(&mut self, units: &[AccessUnit], wanted: impl Fn(u64) -> bool) -> Vec<AccessUnit> {
        let mut needed = Vec::with_capacity(units.len());
        for unit in units {
            match self.kind(unit) {
                Kind::Spare if !wanted(unit.sequence) => {
                    self.held.push(unit.clone());
                    if self.held.len() > MOST_HELD {
                        needed.append(&mut self.held);
                    }
                    continue;
                }
                Kind::Spare | Kind::Follows => self.held.clear(),
                Kind::Unsure => needed.append(&mut self.held),
            }
            needed.push(unit.clone());
        }
        needed
    }

    fn kind(&mut self, unit: &AccessUnit) -> Kind {
        if unit.codec != Codec::H264 {
            return Kind::Unsure;
        }
        let mut slices = Vec::new();
        let mut plain = true;
        for tail in tails(&unit.data) {
            match tail.first().map_or(0, |header| header & 0x9f) {
                1 | 5 => slices.push(tail),
                // What accompanies pictures, marks where units begin, or fills them up.
                6 | 9 | 12 => {}
                7 => {
                    self.learn(tail);
                    plain = false;
                }
                // What later pictures may need is kept, whatever it comes with.
                _ => plain = false,
            }
        }
        let mut numbers = slices.iter().map(|slice| self.number_of(slice));
        let number = numbers.next().flatten().filter(|number| numbers.all(|other| other == Some(*number)));
        // With an IDR picture numbers begin anew.
        let anew =
            !slices.is_empty() && slices.iter().all(|slice| slice.first().is_some_and(|header| header & 0x1f == 5));
        let follows = anew || number.is_some() && number == self.next();
        if anew || slices.iter().any(|slice| is_referred_to(slice)) {
            self.number = number;
        } else if !follows {
            self.number = None;
        } else if plain {
            return Kind::Spare;
        }
        if follows { Kind::Follows } else { Kind::Unsure }
    }

    fn learn(&mut self, tail: &[u8]) {
        let read = Sequence::read(tail);
        self.mixed |= read.is_none() || self.sequence.is_some_and(|known| Some(known) != read);
        self.sequence = read;
    }

    /// The number of the picture behind the last that others may refer to.
    fn next(&self) -> Option<u64> {
        self.number.zip(self.sequence).map(|(number, sequence)| (number + 1) % (1 << sequence.number))
    }

    /// `frame_num` of a slice (7.3.3), where all is as it has to be for its unit to be left out.
    fn number_of(&self, slice: &[u8]) -> Option<u64> {
        let known = self.sequence.filter(|_| !self.mixed);
        let sequence =
            known.filter(|sequence| sequence.frames_only && sequence.order_is_told && sequence.number <= 16)?;
        let mut bits = Bits::of(slice.get(1..)?.get(..SLICE_HEAD).or(slice.get(1..))?);
        for _first_macroblock_type_and_picture_set in 0..3 {
            bits.ue()?;
        }
        if sequence.planes {
            bits.take(2)?;
        }
        bits.take(sequence.number)
    }
}

fn is_referred_to(slice: &[u8]) -> bool {
    slice.first().is_some_and(|header| header & 0x60 != 0)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use proptest::prelude::*;

    use super::*;
    use crate::clock::Timestamp;

    /// What x264 writes for 1920x1080: numbers of four bits, frames only, its order told.
    const SET: &str = "67640028acd940780227e5c044000003000400000300c83c60c658";

    /// A slice: its NAL unit's header, and its number.
    fn slice(header: u8, number: u32) -> Vec<u8> {
        // First macroblock 0, slice type 0 and picture set 0 are a single bit 1 each.
        let bits = 0b111 << 29 | (number & 15) << 25 | 0x01ff_ffff;
        [&[header][..], &u32::to_be_bytes(bits)].concat()
    }

    /// Units, of which each is written as its NAL units, joined by `+`: `S` a sequence set, `s` another, `P` a picture set,
    /// `A` what stands beside pictures; `I` an IDR slice, `r` one that others refer to and `b` one that none does, each with its number.
    fn units(text: &str) -> Vec<AccessUnit> {
        let nal = |nal: &str| {
            let number = nal[1..].parse().unwrap_or(0);
            match &nal[..1] {
                "S" => hex::decode(SET).unwrap(),
                "s" => hex::decode(SET.replace("940780", "940740")).unwrap(),
                "P" => vec![0x68, 0xee],
                "A" => vec![6, 5, 1, 0x80],
                "I" => slice(0x65, number),
                "r" => slice(0x41, number),
                _ => slice(0x01, number),
            }
        };
        let data =
            |unit: &str| -> Bytes { unit.split('+').flat_map(|one| [vec![0, 0, 1], nal(one)].concat()).collect() };
        let unit = |(sequence, unit): (usize, &str)| AccessUnit {
            sequence: sequence as u64,
            codec: Codec::H264,
            keyframe: unit.contains('I'),
            pts: None,
            arrived: Timestamp::ZERO,
            data: data(unit),
        };
        text.split_whitespace().enumerate().map(unit).collect()
    }

    fn needed(units: &[AccessUnit], wanted: &[u64]) -> Vec<u64> {
        let needed = Spare::default().needed(units, |sequence| wanted.contains(&sequence));
        needed.iter().map(|unit| unit.sequence).collect()
    }

    #[test]
    fn what_nothing_refers_to_is_left_out_where_that_changes_nothing() {
        for (text, wanted, expected, story) in [
            ("S+P+I0 r1 b2 b2 r2 b3 r3", vec![6], vec![0, 1, 4, 6], "two of them in a row, and one"),
            (
                "S+P+I0 r1 b2 b2 r2 b3",
                vec![3],
                vec![0, 1, 3, 4],
                "not the one that is wanted; nothing comes of the last",
            ),
            ("S+P+I0 b1+b1 A+b1 r1", vec![], vec![0, 3], "in several slices, with company"),
            ("S+P+I0 b1+r1 r2", vec![], vec![0, 1, 2], "others refer to a part of it"),
            ("S+P+I0 b1+P r1", vec![], vec![0, 1, 2], "it brings a picture set"),
            ("S+P+I0 b1 I0 b1 r1", vec![], vec![0, 2, 4], "numbers begin anew"),
            ("S+P+I15 b0 r0", vec![], vec![0, 2], "numbers go round"),
            ("S+P+I0 b1 r3", vec![], vec![0, 1, 2], "behind it numbers are missing"),
            ("S+P+I0 b3 r1", vec![], vec![0, 1, 2], "before it numbers are missing"),
            ("S+P+I0 b3 b1 r1", vec![], vec![0, 1, 2, 3], "and whoever follows it is not sure either"),
            ("S+P+I0 b1+b2 r1", vec![], vec![0, 1, 2], "its slices do not agree"),
            ("I0 b1 r1", vec![], vec![0, 1, 2], "no sequence is known"),
            ("S+P+I0 s+r1 b2 r2", vec![], vec![0, 1, 2, 3], "more than one is"),
            ("S+P+I0 A b1 r1", vec![], vec![0, 1, 2, 3], "something that is no picture"),
        ] {
            assert_eq!(needed(&units(text), &wanted), expected, "{story}: {text}");
        }
        let many = format!("S+P+I0 {} r1", "b1 ".repeat(40));
        assert_eq!(needed(&units(&many), &[]).len(), 42 - 6, "what is held is bounded");
    }

    #[test]
    fn pieces_leave_out_what_the_whole_leaves_out() {
        let units = units("S+P+I0 r1 b2 b2 r2 b3 b3 r3 b4 b4 r5 b6 I0");
        let mut spare = Spare::default();
        let pieces: Vec<u64> = units
            .iter()
            .flat_map(|unit| spare.needed(std::slice::from_ref(unit), |_| false))
            .map(|unit| unit.sequence)
            .collect();
        assert_eq!(pieces, needed(&units, &[]));
        assert_eq!(pieces, [0, 1, 4, 7, 8, 9, 10, 12]);
    }

    #[test]
    fn of_other_codecs_nothing_is_left_out() {
        for codec in Codec::ALL {
            let mut units = units("S+P+I0 b1 r1");
            for unit in &mut units {
                unit.codec = codec;
            }
            assert_eq!(needed(&units, &[]).len(), if codec == Codec::H264 { 2 } else { 3 }, "{codec:?}");
        }
    }

    /// A slow twin: the pictures that a decoder of `units` has to refer to at each that is not left out later, gaps filled with copies
    /// (7.4.3, 8.2.5.2, as libav does), by the number and the unit that each copy comes from.
    fn references(units: &[(AccessUnit, char, u64)]) -> Vec<(u64, Vec<(u64, u64)>)> {
        let (mut kept, mut before, mut seen) = (Vec::<(u64, u64)>::new(), None, Vec::new());
        for (unit, kind, number) in units {
            if *kind == 'I' {
                (kept, before) = (Vec::new(), None);
            }
            while let Some(last) = before.filter(|last| last != number && (last + 1) % 16 != *number) {
                let gap = (last + 1) % 16;
                let copied = kept.last().map_or(u64::MAX, |(_, from)| *from);
                kept.push((gap, copied));
                before = Some(gap);
            }
            seen.push((unit.sequence, kept.clone()));
            if *kind != 'b' {
                kept.push((*number, unit.sequence));
            }
            before = Some(*number);
        }
        seen
    }

    proptest! {
        #[test]
        fn what_is_left_out_changes_nothing_for_the_others(
            steps in proptest::collection::vec((0..12_u8, 0..8_u64, any::<bool>()), 0..60),
        ) {
            let (mut last, mut text, mut kinds) = (0, vec![String::from("S+P+I0")], vec![('I', 0)]);
            let mut wanted = Vec::new();
            for (at, (kind, odd, is_wanted)) in steps.into_iter().enumerate() {
                let kind = match kind { 0 => 'I', 1..=4 => 'r', _ => 'b' };
                // Mostly as it should be; now and then of any number.
                let number = if kind == 'I' { 0 } else if odd == 0 { (last + at as u64) % 16 } else { (last + 1) % 16 };
                last = if kind == 'b' { last } else { number };
                text.push(format!("{kind}{number}"));
                kinds.push((kind, number));
                if is_wanted && odd == 1 {
                    wanted.push(at as u64 + 1);
                }
            }
            let text = text.join(" ");
            let all: Vec<_> = units(&text).into_iter().zip(kinds).map(|(unit, (kind, number))| (unit, kind, number)).collect();
            let just: Vec<AccessUnit> = all.iter().map(|(unit, ..)| unit.clone()).collect();
            let needed = needed(&just, &wanted);
            prop_assert!(needed.is_sorted());
            for (unit, kind, _) in &all {
                let must = *kind != 'b' || wanted.contains(&unit.sequence);
                prop_assert!(!must || needed.contains(&unit.sequence), "{text}");
            }
            let less: Vec<_> = all.iter().filter(|(unit, ..)| needed.contains(&unit.sequence)).cloned().collect();
            let mut whole = references(&all);
            whole.retain(|(sequence, _)| needed.contains(sequence));
            prop_assert_eq!(references(&less), whole, "{}: {:?}", text, needed);
        }

        #[test]
        fn noise_is_no_trouble(noise in proptest::collection::vec(any::<u8>(), 0..200)) {
            for head in [&[0, 0, 1, 1][..], &[0, 0, 1, 0x67], &[]] {
                let mut units = units("S+P+I0 b1 r1");
                units[1].data = [head, &noise].concat().into();
                prop_assert!(needed(&units, &[]).contains(&2));
            }
        }
    }
}
