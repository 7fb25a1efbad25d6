//! Keyframes of H.264 and H.265 as byte streams (ITU-T H.264 and H.265, 7.3 and Annex B of each). Pure.

use bytes::{BufMut, Bytes, BytesMut};

/// Which of the two; they share all but the numbers of their NAL units.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Syntax {
    H264,
    H265,
}

/// What a NAL unit is to us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Nal {
    Parameters(Set),
    /// A part of a picture from which decoding can start.
    Start,
    /// A part of a picture of which the slice type must tell.
    Slice,
    /// A part of any other picture.
    Other,
    /// What accompanies pictures.
    Aside,
}

/// The kinds of parameter sets; each refers to the one before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Set {
    Video,
    Sequence,
    Picture,
}

impl Syntax {
    fn nal(self, tail: &[u8]) -> Nal {
        let Some(&header) = tail.first() else { return Nal::Aside };
        match self {
            Self::H264 => match header & 0x1f {
                1 => Nal::Slice,
                // Data partitioning.
                2..=4 => Nal::Other,
                5 => Nal::Start,
                7 => Nal::Parameters(Set::Sequence),
                8 => Nal::Parameters(Set::Picture),
                _ => Nal::Aside,
            },
            Self::H265 => match header >> 1 & 0x3f {
                // A broken link, an instantaneous refresh or a clean random access. What of the pictures after the last
                // needs older ones (RASL) is left out by a decoder that starts there.
                16..=21 => Nal::Start,
                0..=31 => Nal::Other,
                32 => Nal::Parameters(Set::Video),
                33 => Nal::Parameters(Set::Sequence),
                34 => Nal::Parameters(Set::Picture),
                _ => Nal::Aside,
            },
        }
    }

    /// Whether a slice is the first of its picture: `first_mb_in_slice` is 0, which is written as the single bit 1, or
    /// `first_slice_segment_in_pic_flag` is set; either is the first bit behind the header.
    fn is_top(self, tail: &[u8]) -> bool {
        let header = match self {
            Self::H264 => 1,
            Self::H265 => 2,
        };
        tail.get(header).is_some_and(|byte| byte & 0x80 != 0)
    }

    /// What must have come before a picture.
    const fn sets(self) -> &'static [Set] {
        match self {
            Self::H264 => &[Set::Sequence, Set::Picture],
            Self::H265 => &[Set::Video, Set::Sequence, Set::Picture],
        }
    }
}

/// Remembers a stream's parameter sets, to put them in front of keyframes that come without.
#[derive(Debug)]
pub(in crate::source) struct Framing {
    syntax: Syntax,
    parameters: Vec<(Set, Bytes)>,
}

/// Parameter sets beyond this are not real, and are not kept.
const MAX_PARAMETERS: usize = 64 * 1024;

impl Framing {
    pub(super) const fn new(syntax: Syntax) -> Self {
        Self { syntax, parameters: Vec::new() }
    }

    /// Whether `unit` is a keyframe, and its bytes: those of a keyframe start with parameter sets. `intra` is the
    /// parser's guess; where it is false, nothing beyond the unit's head is read.
    pub(super) fn admit(&mut self, unit: Bytes, intra: bool) -> (bool, Bytes) {
        let brought = self.learn(&unit);
        let complete = |known: &dyn Fn(Set) -> bool| self.syntax.sets().iter().all(|&set| known(set));
        if !intra || !self.is_start(&unit) || !complete(&|set| self.parameters.iter().any(|(kept, _)| *kept == set)) {
            return (false, unit);
        }
        if complete(&|set| brought.contains(&set)) {
            return (true, unit);
        }
        let mut whole = BytesMut::with_capacity(self.size() + unit.len());
        for set in self.syntax.sets() {
            for (_, nal) in self.parameters.iter().filter(|(kept, _)| kept == set) {
                whole.put_slice(&[0, 0, 0, 1]);
                whole.put_slice(nal);
            }
        }
        whole.put_slice(&unit);
        (true, whole.freeze())
    }

    /// Keeps the parameter sets at the head of `unit`; which kinds were among them.
    fn learn(&mut self, unit: &[u8]) -> Vec<Set> {
        let mut brought = Vec::new();
        for tail in tails(unit) {
            let set = match self.syntax.nal(tail) {
                Nal::Parameters(set) => set,
                Nal::Aside => continue,
                Nal::Start | Nal::Slice | Nal::Other => break,
            };
            let nal = without_trailing_zeros(tail.get(..start_code(tail).unwrap_or(tail.len())).unwrap_or_default());
            let first = !brought.contains(&set);
            if first {
                brought.push(set);
            }
            // What is sent again stands behind what came since: sets of one number follow in the order in which they came,
            // and a decoder heeds the last.
            if let Some(known) = self.parameters.iter().position(|(kept, known)| *kept == set && *known == nal) {
                let known = self.parameters.remove(known);
                self.parameters.push(known);
                continue;
            }
            // A new sequence makes what referred to the old one void. A picture set may be one of several.
            if first && set != Set::Picture {
                self.parameters.retain(|(kept, _)| *kept < set);
            }
            self.keep(set, nal);
        }
        brought
    }

    /// Keeps a set that is not known yet; where there is no room, the oldest of its kind make some.
    fn keep(&mut self, set: Set, nal: &[u8]) {
        while self.size() + nal.len() > MAX_PARAMETERS {
            let Some(oldest) = self.parameters.iter().position(|(kept, _)| *kept == set) else { return };
            self.parameters.remove(oldest);
        }
        self.parameters.push((set, Bytes::copy_from_slice(nal)));
    }

    /// Bytes that the kept sets take as a stream.
    fn size(&self) -> usize {
        self.parameters.iter().map(|(_, nal)| nal.len() + 4).sum()
    }

    /// Whether decoding can start at `unit`: the first slice of H.265 tells, and of H.264 every one must. The first is at
    /// the top of the picture, or a part of it is not there.
    fn is_start(&self, unit: &[u8]) -> bool {
        let mut slices = false;
        for tail in tails(unit) {
            let nal = self.syntax.nal(tail);
            if matches!(nal, Nal::Start | Nal::Slice) && !slices && !self.syntax.is_top(tail) {
                return false;
            }
            match nal {
                Nal::Start => return true,
                Nal::Slice if slice_is_intra(tail) => slices = true,
                Nal::Slice | Nal::Other => return false,
                Nal::Parameters(_) | Nal::Aside => {}
            }
        }
        slices
    }
}

/// `slice_type` of a slice's header: I and SI are 2 and 4, or 7 and 9 where all slices of the picture are alike.
fn slice_is_intra(tail: &[u8]) -> bool {
    let mut bits = Bits { bytes: tail.get(1..).unwrap_or_default(), at: 0 };
    let slice_type = bits.exp_golomb().and_then(|_first_macroblock| bits.exp_golomb());
    matches!(slice_type, Some(2 | 4 | 7 | 9))
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

    /// A byte stream of H.264 NAL units, each `kind` or `kind:slice_type`.
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

    /// A byte stream of H.265 NAL units, each `kind` or `kind.variant`.
    fn stream_265(units: &str) -> Bytes {
        let mut bytes = BytesMut::new();
        for unit in units.split_whitespace() {
            let (kind, variant) = unit.split_once('.').unwrap_or((unit, "1"));
            bytes.put_slice(&[0, 0, 0, 1, kind.parse::<u8>().unwrap() << 1, 1]);
            bytes.put_slice(&[0xaa, variant.parse().unwrap(), 0x80]);
        }
        bytes.freeze()
    }

    fn h264() -> Framing {
        Framing::new(Syntax::H264)
    }

    fn h265() -> Framing {
        Framing::new(Syntax::H265)
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
            ("9 7 5:7", false, "a parameter set short"),
            ("9 7 8", false, "no slice at all"),
            ("", false, "nothing"),
        ] {
            assert_eq!(h264().admit(stream(units), true).0, keyframe, "{story}: {units}");
        }
    }

    #[test]
    fn a_keyframe_starts_at_the_top_of_its_picture() {
        // Slices of the second macroblock: `first_mb_in_slice` 1, then an I slice of either writing.
        for lower in
            [&[0, 0, 1, 0x65, 0b0100_1100][..], &[0, 0, 1, 0x61, 0b0100_1100], &[0, 0, 1, 0x61, 0b0100_0010, 0x3f]]
        {
            for (top, keyframe) in [("7 8", false), ("7 8 5:7", true), ("7 8 1:7", true)] {
                let unit = [&stream(top)[..], lower].concat();
                assert_eq!(h264().admit(unit.into(), true).0, keyframe, "{top} {lower:x?}");
            }
        }
        let lower = [0, 0, 1, 19 << 1, 1, 0x40];
        assert!(!h265().admit([&stream_265("32 33 34")[..], &lower].concat().into(), true).0);
        assert!(h265().admit([&stream_265("32 33 34 19")[..], &lower].concat().into(), true).0);
    }

    #[test]
    fn a_keyframe_of_h265_is_a_random_access_point() {
        for (units, keyframe, story) in [
            ("35 32 33 34 39 19", true, "an IDR picture with parameter sets"),
            ("35 32 33 34 20 20 20", true, "without leading pictures, in several slices"),
            ("32 33 34 21", true, "clean random access in an open group"),
            ("32 33 34 16", true, "a broken link"),
            ("32 33 34 18", true, "a broken link without leading pictures"),
            ("32 33 34 1", false, "a trailing picture"),
            ("32 33 34 9", false, "a leading picture that needs older ones"),
            ("32 33 34 7", false, "a leading picture that does not"),
            ("32 33 34 22", false, "a kind that nobody has defined"),
            ("32 33 34 1 19", false, "a trailing picture with a random access point as a disguise"),
            ("33 34 19", false, "a parameter set short"),
            ("32 33 34", false, "no slice at all"),
        ] {
            assert_eq!(h265().admit(stream_265(units), true).0, keyframe, "{story}: {units}");
        }
    }

    #[test]
    fn the_parser_s_no_is_final() {
        assert!(!h264().admit(stream("9 7 8 1:7"), false).0);
        assert!(!h265().admit(stream_265("32 33 34 19"), false).0);
    }

    #[test]
    fn a_keyframe_without_parameter_sets_gets_the_latest() {
        let mut framing = h264();
        assert_eq!(framing.admit(stream("9 1:7"), true), (false, stream("9 1:7")), "nothing to put in front yet");
        framing.admit(stream("9 7 8 5:7"), true);
        framing.admit(stream("9 8:3 1:5"), false);
        let (keyframe, data) = framing.admit(stream("9 1:7"), true);
        assert!(keyframe);
        assert_eq!(data, stream("7 8 8:3 9 1:7"), "a later picture parameter set is not forgotten");
        framing.admit(stream("9 7 5:7"), true);
        assert_eq!(
            framing.admit(stream("9 1:7"), true).1,
            stream("7 8 8:3 9 1:7"),
            "nor is it for a repeated sequence"
        );
        framing.admit(stream("9 7:2 8 5:7"), true);
        assert_eq!(framing.admit(stream("9 1:7"), true).1, stream("7:2 8 9 1:7"), "a new sequence starts over");
    }

    #[test]
    fn a_set_that_is_sent_again_is_in_force_again() {
        let mut framing = h264();
        for unit in ["9 7 8 5:7", "9 8:3 1:5", "9 8 1:5"] {
            framing.admit(stream(unit), true);
        }
        assert_eq!(framing.admit(stream("9 1:7"), true).1, stream("7 8:3 8 9 1:7"));
        framing.admit(stream("9 7 8:3 1:5"), true);
        assert_eq!(framing.admit(stream("9 1:7"), true).1, stream("7 8 8:3 9 1:7"));
    }

    #[test]
    fn a_keyframe_of_h265_gets_all_three_kinds() {
        let mut framing = h265();
        framing.admit(stream_265("32 33 34 19"), true);
        assert_eq!(framing.admit(stream_265("35 21"), true), (true, stream_265("32 33 34 35 21")));
        // The sequence set changes alone: the video set stands, what referred to the old sequence does not.
        assert!(!framing.admit(stream_265("33.2 1"), true).0);
        assert!(!framing.admit(stream_265("21"), true).0);
        framing.admit(stream_265("34.3 1"), false);
        assert_eq!(framing.admit(stream_265("21"), true), (true, stream_265("32 33.2 34.3 21")));
    }

    #[test]
    fn a_keyframe_with_parameter_sets_is_not_copied() {
        let unit = stream("9 7 8 5:7");
        assert_eq!(h264().admit(unit.clone(), true).1.as_ptr(), unit.as_ptr());
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let mut framing = h264();
        framing.admit(stream("7 8 5:7"), true);
        for number in 0..20_000_u32 {
            let mut unit = BytesMut::from(&[0, 0, 0, 1, 0x68][..]);
            unit.put_u32(number | 0x8080_8080);
            framing.admit(unit.freeze(), false);
        }
        assert!(framing.size() <= MAX_PARAMETERS + 4);
        framing.admit(stream("8 1:5"), false);
        assert!(framing.size() <= MAX_PARAMETERS + 4);
        let (keyframe, data) = framing.admit(stream("1:7"), true);
        assert!(keyframe && data.starts_with(&stream("7")), "the sequence set is still there");
        assert!(data.ends_with(&stream("8 1:7")), "and what came last is kept");
    }
}
