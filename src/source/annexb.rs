//! Which access units can be decoded alone, read from the H.264 byte stream itself (ITU-T H.264, 7.3 and Annex B). Pure.
//!
//! The parser's own word is not enough. It also calls a frame without DELTA flag where decoding merely *recovers* after
//! some more frames (periodic intra refresh), and it puts no parameter sets in front of the intra frames of an open
//! group of pictures. A decoder shared by all streams would make grey mush of the first and nothing of the second.

use std::ops::Range;

use bytes::{BufMut, Bytes, BytesMut};

const SLICE: u8 = 1;
const SLICE_PARTITIONS: Range<u8> = 2..5;
const IDR: u8 = 5;
const SEQUENCE_PARAMETERS: u8 = 7;
const PICTURE_PARAMETERS: u8 = 8;

/// Remembers a stream's parameter sets, to put them in front of keyframes that come without.
#[derive(Debug, Default)]
pub(super) struct Framing {
    parameters: BytesMut,
}

/// Parameter sets beyond this are not real, and are not kept.
const MAX_PARAMETERS: usize = 64 * 1024;

impl Framing {
    /// Whether `unit` is a keyframe, and its bytes: those of a keyframe start with parameter sets. `intra` is the
    /// parser's guess; where it is false, nothing beyond the unit's head is read.
    pub(super) fn admit(&mut self, unit: Bytes, intra: bool) -> (bool, Bytes) {
        let brings_parameters = self.learn(&unit);
        if !intra || !is_intra(&unit) {
            return (false, unit);
        }
        if brings_parameters {
            return (true, unit);
        }
        if self.parameters.is_empty() {
            return (false, unit);
        }
        let mut whole = BytesMut::with_capacity(self.parameters.len() + unit.len());
        whole.put_slice(&self.parameters);
        whole.put_slice(&unit);
        (true, whole.freeze())
    }

    /// Keeps the parameter sets at the head of `unit`; whether a sequence parameter set was among them.
    fn learn(&mut self, unit: &[u8]) -> bool {
        let mut sequence = false;
        for tail in tails(unit).take_while(|tail| !matches!(kind(tail), SLICE..=IDR)) {
            match kind(tail) {
                SEQUENCE_PARAMETERS if !sequence => {
                    sequence = true;
                    self.parameters.clear();
                }
                SEQUENCE_PARAMETERS | PICTURE_PARAMETERS => {}
                _ => continue,
            }
            let nal = without_trailing_zeros(tail.get(..start_code(tail).unwrap_or(tail.len())).unwrap_or_default());
            if self.parameters.len() + nal.len() <= MAX_PARAMETERS {
                self.parameters.put_slice(&[0, 0, 0, 1]);
                self.parameters.put_slice(nal);
            }
        }
        sequence
    }
}

/// Whether every slice of `unit` is intra coded, and there is one.
fn is_intra(unit: &[u8]) -> bool {
    let mut slices = false;
    for tail in tails(unit) {
        match kind(tail) {
            IDR => return true,
            SLICE if slice_is_intra(tail) => slices = true,
            SLICE => return false,
            partition if SLICE_PARTITIONS.contains(&partition) => return false,
            _ => {}
        }
    }
    slices
}

/// `slice_type` of a slice's header: I and SI are 2 and 4, or 7 and 9 where all slices of the picture are alike.
fn slice_is_intra(tail: &[u8]) -> bool {
    let mut bits = Bits { bytes: tail.get(1..).unwrap_or_default(), at: 0 };
    let slice_type = bits.exp_golomb().and_then(|_first_macroblock| bits.exp_golomb());
    matches!(slice_type, Some(2 | 4 | 7 | 9))
}

fn kind(tail: &[u8]) -> u8 {
    tail.first().map_or(0, |header| header & 0x1f)
}

/// For each NAL unit of a byte stream, everything from its header on: where a unit ends is found only by those who ask.
fn tails(stream: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = stream;
    std::iter::from_fn(move || {
        rest = start_code(rest).and_then(|at| rest.get(at + 3..))?;
        Some(rest)
    })
}

/// No NAL unit ends in a zero byte; one that follows belongs to the next start code.
fn without_trailing_zeros(nal: &[u8]) -> &[u8] {
    let length = nal.iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1);
    nal.get(..length).unwrap_or_default()
}

fn start_code(bytes: &[u8]) -> Option<usize> {
    bytes.windows(3).position(|window| window == [0, 0, 1])
}

/// Reads Exp-Golomb codes. The few bits read here lie in front of any emulation prevention byte that could matter: a
/// slice header's first two numbers have no room for two zero bytes unless a picture has 2^16 macroblocks.
struct Bits<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Bits<'_> {
    fn bit(&mut self) -> Option<u32> {
        let byte = self.bytes.get(self.at / 8)?;
        let bit = byte >> (7 - self.at % 8) & 1;
        self.at += 1;
        Some(bit.into())
    }

    fn exp_golomb(&mut self) -> Option<u32> {
        let mut zeros = 0;
        while self.bit()? == 0 {
            zeros += 1;
            if zeros > 31 {
                return None;
            }
        }
        let mut value = 1_u32;
        for _ in 0..zeros {
            value = value << 1 | self.bit()?;
        }
        Some(value - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A byte stream of NAL units, each `kind` or `kind:slice_type`.
    fn stream(units: &str) -> Bytes {
        let mut bytes = BytesMut::new();
        for unit in units.split_whitespace() {
            let (kind, slice_type) = unit.split_once(':').unwrap_or((unit, "0"));
            let code: u32 = slice_type.parse::<u32>().unwrap() + 1;
            let length = code.ilog2();
            // first_mb_in_slice 0 is the single bit 1; then slice_type, then ones for a payload.
            let rest = 31 - (2 * length + 1);
            let bits = 1_u32 << 31 | code << rest | ((1 << rest) - 1);
            bytes.put_slice(&[0, 0, 0, 1, 0x60 | kind.parse::<u8>().unwrap()]);
            bytes.put_u32(bits);
        }
        bytes.freeze()
    }

    #[test]
    fn a_keyframe_is_what_decodes_alone() {
        for (units, keyframe, story) in [
            ("9 7 8 6 5:7", true, "an IDR frame with parameter sets"),
            ("9 7 8 6 5:7 5:7 5:7", true, "in several slices"),
            ("9 7 8 1:7", true, "an intra frame of an open group"),
            ("9 7 8 1:2 1:2", true, "the same in two slices"),
            ("9 7 8 1:5", false, "a P frame that is called a keyframe"),
            ("9 7 8 6 1:0", false, "intra refresh: recovers, but not at once"),
            ("9 7 8 1:7 1:5", false, "an intra slice as a disguise for a P frame"),
            ("9 7 8 2:7", false, "data partitioning"),
            ("9 7 8", false, "no slice at all"),
            ("", false, "nothing"),
        ] {
            assert_eq!(Framing::default().admit(stream(units), true).0, keyframe, "{story}: {units}");
        }
    }

    #[test]
    fn the_parser_s_no_is_final() {
        assert!(!Framing::default().admit(stream("9 7 8 1:7"), false).0);
    }

    #[test]
    fn a_keyframe_without_parameter_sets_gets_the_latest() {
        let mut framing = Framing::default();
        assert_eq!(framing.admit(stream("9 1:7"), true), (false, stream("9 1:7")), "nothing to put in front yet");
        framing.admit(stream("9 7 8 5:7"), true);
        framing.admit(stream("9 8 1:5"), false);
        let (keyframe, data) = framing.admit(stream("9 1:7"), true);
        assert!(keyframe);
        assert_eq!(data, stream("7 8 8 9 1:7"), "a later picture parameter set is not forgotten");
        framing.admit(stream("9 7 8 5:7"), true);
        assert_eq!(framing.admit(stream("9 1:7"), true).1, stream("7 8 9 1:7"), "a new sequence starts over");
    }

    #[test]
    fn a_keyframe_with_parameter_sets_is_not_copied() {
        let unit = stream("9 7 8 5:7");
        assert_eq!(Framing::default().admit(unit.clone(), true).1.as_ptr(), unit.as_ptr());
    }

    proptest! {
        #[test]
        fn nothing_that_strangers_send_breaks_it(bytes in proptest::collection::vec(prop_oneof![4 => Just(0_u8), 1 => Just(1), 4 => any::<u8>()], 0..400), intra: bool) {
            let mut framing = Framing::default();
            let unit = Bytes::from(bytes);
            let (keyframe, data) = framing.admit(unit.clone(), intra);
            prop_assert!(intra || !keyframe);
            prop_assert!(data.ends_with(&unit));
        }
    }
}
