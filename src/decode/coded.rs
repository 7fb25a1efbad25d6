//! How large the pictures of H.264 and H.265 are that a decoder will take memory for, and of H.264 how they are numbered, read from
//! the sequence parameter sets themselves (ITU-T H.264, 7.3.2.1.1 and E.1.1; H.265, 7.3.2.2.1). Pure.
//!
//! The parsers' caps say how large a picture is *shown*: a stream of a few hundred bytes may crop one of 16000x16000 to a
//! corner, and libav decodes all of it, in gigabytes.

use crate::stream::Codec;

/// Parameter sets are shorter; what lies behind is not needed here.
const MOST: usize = 1024;

/// Width and height as coded of the largest picture that the parameter sets in `unit`, in Annex B, declare; none where there are none,
/// or none that makes sense.
pub(super) fn largest(codec: Codec, unit: &[u8]) -> Option<(u32, u32)> {
    let of = |tail: &[u8]| match codec {
        Codec::H264 if tail.first()? & 0x1f == 7 => Sequence::read(tail).map(|sequence| sequence.size),
        Codec::H265 if tail.first()? >> 1 & 0x3f == 33 => h265(tail),
        _ => None,
    };
    tails(unit).filter_map(of).max_by_key(|&size| area(size))
}

/// The same of the parameter sets that a container keeps beside the frames (ISO/IEC 14496-15, 5.3.3 and 8.3.3), each
/// behind its length.
pub(super) fn largest_in_configuration(codec: Codec, configuration: &[u8]) -> Option<(u32, u32)> {
    let mut sets = Vec::new();
    let mut rest = match codec {
        Codec::H264 => configuration.get(6..)?,
        Codec::H265 => configuration.get(23..)?,
        Codec::Vp9 | Codec::Av1 => return None,
    };
    let mut take = |rest: &mut &[u8], count: u16| {
        for _ in 0..count {
            let Some((length, tail)) = split_u16(rest) else { return };
            let Some((set, tail)) = tail.split_at_checked(length.into()) else { return };
            sets.push(set.to_vec());
            *rest = tail;
        }
    };
    match codec {
        Codec::H264 => take(&mut rest, u16::from(configuration.get(5)? & 0x1f)),
        _ => {
            for _ in 0..*configuration.get(22)? {
                let Some((count, tail)) = rest.get(1..).and_then(split_u16) else { break };
                rest = tail;
                take(&mut rest, count);
            }
        }
    }
    let unit: Vec<u8> = sets.into_iter().flat_map(|set| [vec![0, 0, 1], set].concat()).collect();
    largest(codec, &unit)
}

fn split_u16(bytes: &[u8]) -> Option<(u16, &[u8])> {
    let (head, tail) = bytes.split_first_chunk::<2>()?;
    Some((u16::from_be_bytes(*head), tail))
}

fn area((width, height): (u32, u32)) -> u64 {
    u64::from(width) * u64::from(height)
}

/// For each NAL unit of a byte stream, everything from its header on.
pub(super) fn tails(stream: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = stream;
    std::iter::from_fn(move || {
        let at = rest.windows(3).position(|window| window == [0, 0, 1])?;
        rest = rest.get(at + 3..)?;
        Some(rest)
    })
}

/// Profiles whose parameter sets tell the chroma format.
const HIGH: [u64; 13] = [100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134, 135];

/// What a sequence parameter set of H.264 declares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Sequence {
    /// Width and height as coded.
    pub(super) size: (u32, u32),
    /// Bits of a slice's `frame_num`.
    pub(super) number: usize,
    /// Each colour is coded as a picture of its own.
    pub(super) planes: bool,
    /// No picture is a field, or may have fields in it.
    pub(super) frames_only: bool,
    /// It says how far pictures are reordered, so that a decoder has nothing to learn about that from the pictures themselves.
    pub(super) order_is_told: bool,
}

impl Sequence {
    /// From a NAL unit; none where the size is not in it.
    pub(super) fn read(nal: &[u8]) -> Option<Self> {
        let mut bits = Bits::of(nal.get(1..)?);
        let profile = bits.take(8)?;
        bits.take(16)?;
        bits.ue()?;
        let mut planes = false;
        if HIGH.contains(&profile) {
            let chroma = bits.ue()?;
            if chroma == 3 {
                planes = bits.take(1)? == 1;
            }
            bits.ue()?;
            bits.ue()?;
            bits.take(1)?;
            if bits.take(1)? == 1 {
                for list in 0..if chroma == 3 { 12 } else { 8 } {
                    if bits.take(1)? == 1 {
                        bits.skip_scaling_list(if list < 6 { 16 } else { 64 })?;
                    }
                }
            }
        }
        let number = bits.ue()? as usize + 4;
        match bits.ue()? {
            0 => drop(bits.ue()?),
            1 => {
                bits.take(1)?;
                bits.ue()?;
                bits.ue()?;
                for _ in 0..bits.ue()?.min(255) {
                    bits.ue()?;
                }
            }
            _ => {}
        }
        bits.ue()?;
        bits.take(1)?;
        let (across, down) = (bits.ue()? + 1, bits.ue()? + 1);
        let frames_only = bits.take(1)? == 1;
        // Of two fields, each is half as high.
        let fields = if frames_only { 1 } else { 2 };
        let size = side(16 * across).zip(side(16 * down * fields))?;
        let order_is_told = bits.order_is_told(frames_only).unwrap_or(false);
        Some(Self { size, number, planes, frames_only, order_is_told })
    }
}

fn h265(nal: &[u8]) -> Option<(u32, u32)> {
    const PROFILE: usize = 88;
    const LEVEL: usize = 8;
    let mut bits = Bits::of(nal.get(2..)?);
    bits.take(4)?;
    let layers = bits.take(3)? as usize;
    bits.take(1)?;
    bits.skip(PROFILE + LEVEL)?;
    let mut more = 0;
    for _ in 0..layers {
        more += PROFILE * bits.take(1)? as usize + LEVEL * bits.take(1)? as usize;
    }
    if layers > 0 {
        bits.skip(2 * (8 - layers))?;
    }
    bits.skip(more)?;
    bits.ue()?;
    if bits.ue()? == 3 {
        bits.take(1)?;
    }
    side(bits.ue()?).zip(side(bits.ue()?))
}

/// What no number holds is too large all the same.
fn side(size: u64) -> Option<u32> {
    (size > 0).then(|| u32::try_from(size).unwrap_or(u32::MAX))
}

/// Reads bits, most significant first, past the bytes that keep start codes out.
pub(super) struct Bits {
    bytes: Vec<u8>,
    at: usize,
}

impl Bits {
    pub(super) fn of(escaped: &[u8]) -> Self {
        let mut bytes = Vec::with_capacity(escaped.len().min(MOST));
        let mut zeros = 0;
        for &byte in escaped.iter().take(MOST) {
            if zeros >= 2 && byte == 3 {
                zeros = 0;
                continue;
            }
            zeros = if byte == 0 { zeros + 1 } else { 0 };
            bytes.push(byte);
        }
        Self { bytes, at: 0 }
    }

    pub(super) fn take(&mut self, count: usize) -> Option<u64> {
        let mut value = 0;
        for _ in 0..count {
            let byte = self.bytes.get(self.at / 8)?;
            value = value << 1 | u64::from(byte >> (7 - self.at % 8) & 1);
            self.at += 1;
        }
        Some(value)
    }

    fn skip(&mut self, count: usize) -> Option<()> {
        self.at += count;
        (self.at <= 8 * self.bytes.len()).then_some(())
    }

    /// Exp-Golomb, of at most 32 bits.
    pub(super) fn ue(&mut self) -> Option<u64> {
        let mut zeros = 0;
        while self.take(1)? == 0 {
            zeros += 1;
        }
        (zeros <= 32).then(|| self.take(zeros).map(|rest| (1 << zeros) - 1 + rest))?
    }

    /// Reads what follows `frame_mbs_only_flag` to its end: whether it tells how far pictures are reordered, in numbers that can be.
    fn order_is_told(&mut self, frames_only: bool) -> Option<bool> {
        self.skip(if frames_only { 1 } else { 2 })?;
        if self.take(1)? == 1 {
            // What is cropped.
            for _ in 0..4 {
                self.ue()?;
            }
        }
        // Whether there is anything about how it is shown, and the shape of a pixel.
        if self.take(1)? == 0 {
            return Some(false);
        }
        if self.take(1)? == 1 && self.take(8)? == 255 {
            self.skip(32)?;
        }
        // What lies outside the picture; colours; where they lie; time.
        if self.take(1)? == 1 {
            self.skip(1)?;
        }
        if self.take(1)? == 1 {
            self.skip(4)?;
            if self.take(1)? == 1 {
                self.skip(24)?;
            }
        }
        if self.take(1)? == 1 {
            self.ue()?;
            self.ue()?;
        }
        if self.take(1)? == 1 {
            self.skip(65)?;
        }
        let mut buffered = false;
        for _ in 0..2 {
            if self.take(1)? == 1 {
                buffered = true;
                let count = self.ue()?;
                self.skip(8)?;
                for _ in 0..=count.min(31) {
                    self.ue()?;
                    self.ue()?;
                    self.skip(1)?;
                }
                self.skip(20)?;
            }
        }
        self.skip(1 + usize::from(buffered))?;
        if self.take(1)? == 0 {
            return Some(false);
        }
        self.skip(1)?;
        for _ in 0..4 {
            self.ue()?;
        }
        let (reordered, held) = (self.ue()?, self.ue()?);
        Some(reordered <= held && held <= 16)
    }

    fn skip_scaling_list(&mut self, size: usize) -> Option<()> {
        let (mut last, mut next) = (8_i64, 8_i64);
        for _ in 0..size {
            if next != 0 {
                let code = self.ue()? as i64;
                let delta = if code % 2 == 1 { (code + 1) / 2 } else { -code / 2 };
                next = (last + delta).rem_euclid(256);
            }
            if next != 0 {
                last = next;
            }
        }
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Parameter sets as x264 and x265 write them, of 1920x1080 and 320x180: coded in macroblocks, and in blocks of 8.
    const X264_1080: &str = "67640028acd940780227e5c044000003000400000300c83c60c658";
    const X264_180: &str = "6764000cacd941419f9f011000000300100000030320f1429960";
    const X265_1080: &str = "420101016000000300900000030000030078a003c08010e596566924caf0168080000003008000000c84";
    const X265_180: &str = "42010101600000030090000003000003003ca00a080b9f796566924caf016808000003000800000300c840";

    fn bytes(hex: &str) -> Vec<u8> {
        hex::decode(hex).unwrap()
    }

    fn unit(nals: &[Vec<u8>]) -> Vec<u8> {
        nals.iter().flat_map(|nal| [&[0, 0, 0, 1][..], nal].concat()).collect()
    }

    #[test]
    fn the_size_as_coded_is_read() {
        let h264 = |hex: &str| largest(Codec::H264, &unit(&[bytes(hex), vec![0x68, 1, 2], vec![0x65, 9, 9]]));
        assert_eq!(h264(X264_1080), Some((1920, 1088)));
        assert_eq!(h264(X264_180), Some((320, 192)));
        for (hex, expected) in [(X265_1080, (1920, 1080)), (X265_180, (320, 184))] {
            assert_eq!(largest(Codec::H265, &unit(&[bytes(hex), vec![0x26, 1, 9]])), Some(expected));
        }
        let both = unit(&[bytes(X264_180), vec![0x65, 9, 9], bytes(X264_1080)]);
        assert_eq!(largest(Codec::H264, &both), Some((1920, 1088)), "the largest, wherever it stands");
        assert_eq!(largest(Codec::H264, &unit(&[vec![0x65, 9, 9]])), None);
        assert_eq!(largest(Codec::Av1, &both), None);
    }

    #[test]
    fn how_pictures_are_numbered_and_ordered_is_read() {
        let sequence = Sequence::read(&bytes(X264_1080)).unwrap();
        let expected =
            Sequence { size: (1920, 1088), number: 4, planes: false, frames_only: true, order_is_told: true };
        assert_eq!(sequence, expected);
        // Whatever is cut off its end leaves the size, and the order untold.
        let set = bytes(X264_1080);
        for cut in 12..set.len() - 1 {
            let sequence = Sequence::read(&set[..cut]).unwrap();
            assert_eq!((sequence.size, sequence.order_is_told), ((1920, 1088), false), "{cut}");
        }
    }

    #[test]
    fn what_a_container_keeps_is_read_too() {
        let set = bytes(X264_1080);
        let length = (set.len() as u16).to_be_bytes();
        let avc = [&[1, 100, 0, 40, 0xff, 0xe1][..], &length, &set, &[1, 0, 2, 0x68, 9]].concat();
        assert_eq!(largest_in_configuration(Codec::H264, &avc), Some((1920, 1088)));
        let set = bytes(X265_1080);
        let array = |kind: u8, set: &[u8]| [&[kind, 0, 1][..], &(set.len() as u16).to_be_bytes(), set].concat();
        let hevc = [vec![1; 22], vec![2], array(0x20, &[0x40, 1, 2]), array(0x21, &set)].concat();
        assert_eq!(largest_in_configuration(Codec::H265, &hevc), Some((1920, 1080)));
        for cut in 0..avc.len() {
            assert!(
                largest_in_configuration(Codec::H264, &avc[..cut]).is_none_or(|size| size == (1920, 1088)),
                "{cut}"
            );
        }
    }

    proptest! {
        #[test]
        fn nothing_that_is_given_is_read_beyond_its_end(noise in proptest::collection::vec(any::<u8>(), 0..300)) {
            for codec in Codec::ALL {
                for head in [&[0, 0, 1, 0x67][..], &[0, 0, 1, 0x42, 1]] {
                    largest(codec, &[head, &noise].concat());
                }
                largest_in_configuration(codec, &noise);
            }
        }
    }
}
