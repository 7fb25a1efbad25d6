//! Keyframes of AV1 (AV1 Bitstream & Decoding Process Specification 1.0.0, 5.3 to 5.9), in the low-overhead format. Pure.

use std::ops::Range;

use bytes::{BufMut, Bytes, BytesMut};

const SEQUENCE_HEADER: u8 = 1;
const TEMPORAL_DELIMITER: u8 = 2;
const FRAME_HEADER: u8 = 3;
const FRAME: u8 = 6;

/// Sequence headers beyond this are not real, and are not kept.
const MAX_SEQUENCE_HEADER: usize = 4096;

/// What a container puts in front of the sequence header that it keeps for the whole stream (`AV1CodecConfigurationRecord`).
const CONFIGURATION: usize = 4;

/// Remembers a stream's sequence header, to put it in front of keyframes that come without.
#[derive(Debug, Default)]
pub(in crate::source) struct Framing {
    sequence: Bytes,
    still: bool,
}

impl Framing {
    /// Takes what the container has for all keyframes.
    pub(super) fn new(codec_data: &[u8]) -> Self {
        let mut framing = Self::default();
        framing.learn(codec_data.get(CONFIGURATION..).unwrap_or_default());
        framing
    }

    /// Whether the temporal unit `unit` is a keyframe, and its bytes with a sequence header.
    ///
    /// The first frame of a unit decides. One that only shows a frame decoded earlier is no keyframe, whatever that one
    /// was; nor is one that is hidden, for what is shown instead may need older frames.
    pub(super) fn admit(&mut self, unit: Bytes) -> (bool, Bytes) {
        let brings_sequence = self.learn(&unit);
        let first = obus(&unit).find(|obu| matches!(obu.kind, FRAME_HEADER | FRAME));
        let starts = first.and_then(|frame| unit.get(frame.body)).is_some_and(|body| self.is_keyframe(body));
        if !starts || self.sequence.is_empty() {
            return (false, unit);
        }
        if brings_sequence {
            return (true, unit);
        }
        let delimiter = obus(&unit).next().filter(|obu| obu.kind == TEMPORAL_DELIMITER);
        let (head, tail) = unit.split_at(delimiter.map_or(0, |obu| obu.body.end));
        let mut whole = BytesMut::with_capacity(unit.len() + self.sequence.len());
        whole.put_slice(head);
        whole.put_slice(&self.sequence);
        whole.put_slice(tail);
        (true, whole.freeze())
    }

    /// The start of `uncompressed_header`: shows no existing frame, type 0, shown. A sequence of one still picture has none
    /// of these bits.
    fn is_keyframe(&self, body: &[u8]) -> bool {
        self.still || body.first().is_some_and(|bits| bits >> 4 == 0b0001)
    }

    /// Keeps the sequence header in front of the first frame of `unit`; whether there was one.
    fn learn(&mut self, unit: &[u8]) -> bool {
        let head = obus(unit).take_while(|obu| !matches!(obu.kind, FRAME_HEADER | FRAME));
        let Some(found) = head.filter(|obu| obu.kind == SEQUENCE_HEADER).last() else { return false };
        let Some(whole) = unit.get(found.start..found.body.end).filter(|whole| whole.len() <= MAX_SEQUENCE_HEADER)
        else {
            return false;
        };
        if *whole != *self.sequence {
            self.sequence = Bytes::copy_from_slice(whole);
            // `seq_profile` of three bits, `still_picture`, and `reduced_still_picture_header`.
            self.still = unit.get(found.body).and_then(<[u8]>::first).is_some_and(|bits| bits & 0b1000 != 0);
        }
        true
    }
}

/// One open bitstream unit: where it starts, and where its body lies.
#[derive(Debug)]
struct Obu {
    kind: u8,
    start: usize,
    body: Range<usize>,
}

/// The units of `bytes`, up to the first that is not whole.
fn obus(bytes: &[u8]) -> impl Iterator<Item = Obu> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let start = at;
        let &header = bytes.get(start)?;
        let (kind, extended, sized) = (header >> 3 & 0b1111, header & 0b100 != 0, header & 0b10 != 0);
        if header & 0x80 != 0 {
            return None;
        }
        let after_header = start + 1 + usize::from(extended);
        let body = if sized {
            let (size, length) = leb128(bytes.get(after_header..)?)?;
            let from = after_header + length;
            from..from.checked_add(size)?
        } else {
            after_header..bytes.len()
        };
        bytes.get(body.clone())?;
        at = body.end;
        Some(Obu { kind, start, body })
    })
}

/// A number in seven bits a byte, lowest first, and how many bytes it took.
fn leb128(bytes: &[u8]) -> Option<(usize, usize)> {
    let mut value = 0;
    for (at, &byte) in bytes.iter().take(5).enumerate() {
        value |= usize::from(byte & 0x7f) << (7 * at);
        if byte & 0x80 == 0 {
            return Some((value, at + 1));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A temporal unit: `t` the delimiter, `s` a sequence header, `S` another, `p` one of a still picture, `m` metadata;
    /// frames: `k` key, `h` a hidden key, `i` inter, `e` shows an existing one; `K` a key frame as a header alone.
    fn unit(letters: &str) -> Bytes {
        let mut bytes = BytesMut::new();
        for letter in letters.chars() {
            let (kind, body): (u8, &[u8]) = match letter {
                't' => (2, &[]),
                's' => (1, &[0b0000_0000, 7]),
                'S' => (1, &[0b0000_0000, 8, 8]),
                'p' => (1, &[0b0001_1000, 9]),
                'm' => (5, &[1, 2, 3]),
                'k' => (6, &[0b0001_0000, 5, 5]),
                'h' => (6, &[0b0000_0000, 5]),
                'i' => (6, &[0b0011_0000, 5]),
                'e' => (3, &[0b1010_0000]),
                _ => (3, &[0b0001_0000]),
            };
            bytes.put_u8(kind << 3 | 0b10);
            bytes.put_u8(body.len() as u8);
            bytes.put_slice(body);
        }
        bytes.freeze()
    }

    #[test]
    fn a_keyframe_is_what_decodes_alone() {
        for (letters, keyframe, story) in [
            ("tsk", true, "a key frame with its sequence header"),
            ("tsmk", true, "with metadata between"),
            ("tsK", true, "as a header, with its tiles behind"),
            ("ti", false, "an inter frame"),
            ("tsi", false, "behind a sequence header"),
            ("tse", false, "one that is shown again"),
            ("tshi", false, "hidden, and another shown instead"),
            ("tsik", false, "a key frame behind what needs older frames"),
            ("tk", false, "without a sequence header, ever"),
            ("tks", false, "with one behind it"),
            ("tpi", true, "a still picture has no type"),
            ("ts", false, "no frame at all"),
            ("", false, "nothing"),
        ] {
            assert_eq!(Framing::default().admit(unit(letters)).0, keyframe, "{story}: {letters}");
        }
    }

    #[test]
    fn a_keyframe_without_a_sequence_header_gets_the_latest() {
        let mut framing = Framing::default();
        framing.admit(unit("tsk"));
        assert_eq!(framing.admit(unit("tmk")), (true, unit("tsmk")), "behind the delimiter");
        assert_eq!(framing.admit(unit("k")), (true, unit("sk")));
        framing.admit(unit("tSi"));
        assert_eq!(framing.admit(unit("tk")).1, unit("tSk"));
        let whole = unit("tsk");
        assert_eq!(framing.admit(whole.clone()).1.as_ptr(), whole.as_ptr(), "one that has it is not copied");
    }

    #[test]
    fn the_container_s_sequence_header_counts() {
        let codec_data = [&[0x81, 4, 12, 0][..], &unit("s")].concat();
        assert_eq!(Framing::new(&codec_data).admit(unit("tk")), (true, unit("tsk")));
        for broken in [&[][..], &[0x81, 4], &[0x81, 4, 12, 0], &[0x81, 4, 12, 0, 0x0a, 200, 1]] {
            assert!(!Framing::new(broken).admit(unit("tk")).0);
        }
    }

    #[test]
    fn units_without_a_size_or_with_layers_are_read_too() {
        // The last one may leave its size out; an extension says which layer it is of.
        let unsized_frame = [&unit("ts")[..], &[6 << 3, 0b0001_0000, 1]].concat();
        assert!(Framing::default().admit(unsized_frame.into()).0);
        let layered = [&unit("ts")[..], &[6 << 3 | 0b110, 0x20, 1, 0b0001_0000]].concat();
        assert!(Framing::default().admit(layered.into()).0);
        let cut_short = [&unit("ts")[..], &[6 << 3 | 0b10, 9, 0b0001_0000]].concat();
        assert!(!Framing::default().admit(cut_short.into()).0);
        let endless = [&unit("ts")[..], &[6 << 3 | 0b10, 0xff, 0xff, 0xff, 0xff, 0xff, 0]].concat();
        assert!(!Framing::default().admit(endless.into()).0);
    }
}
