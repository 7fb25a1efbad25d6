//! Which codec an FLV stream has its video in, read beside the demuxer: that calls a codec that it does not know a failure, and
//! does not say which. Pure.
//!
//! FLV was never meant for newer codecs. "Enhanced" FLV, as encoders write it since 2023, names them with four letters; before
//! that, numbers of one's own were in use. GStreamer 1.22 knows neither, and servers relay both.

/// Reads along until the first tag with video, whatever pieces the stream comes in; then it knows and reads no more.
#[derive(Debug)]
pub(super) struct Scanner {
    stage: Stage,
    /// Bytes before the next that matter.
    skip: usize,
    gathered: Vec<u8>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    FileHeader,
    TagHeader,
    Video,
    Done,
}

impl Stage {
    /// Bytes that tell what comes next.
    const fn length(self) -> usize {
        match self {
            Self::FileHeader => 9,
            Self::TagHeader => 11,
            // Kind of frame and codec, and the four letters where there are some.
            Self::Video => 5,
            Self::Done => 0,
        }
    }
}

/// Sizes stand before and behind each tag: four bytes.
const BETWEEN: usize = 4;
const VIDEO: u8 = 9;
const H264: u8 = 7;

impl Scanner {
    pub(super) const fn new() -> Self {
        Self { stage: Stage::FileHeader, skip: 0, gathered: Vec::new() }
    }

    pub(super) fn is_done(&self) -> bool {
        self.stage == Stage::Done
    }

    /// Reads on. The codec, once it is known to be one that no demuxer here takes out of FLV.
    pub(super) fn read(&mut self, mut bytes: &[u8]) -> Option<String> {
        while !self.is_done() && !bytes.is_empty() {
            if self.skip > 0 {
                let skipped = self.skip.min(bytes.len());
                self.skip -= skipped;
                bytes = bytes.get(skipped..).unwrap_or_default();
                continue;
            }
            let missing = self.stage.length().saturating_sub(self.gathered.len());
            let (taken, rest) = bytes.split_at(missing.min(bytes.len()));
            self.gathered.extend_from_slice(taken);
            bytes = rest;
            if self.gathered.len() == self.stage.length() {
                let gathered = std::mem::take(&mut self.gathered);
                if let Some(codec) = self.step(&gathered) {
                    return Some(codec);
                }
            }
        }
        None
    }

    /// Acts on all bytes of a stage.
    fn step(&mut self, bytes: &[u8]) -> Option<String> {
        match (self.stage, bytes) {
            (Stage::FileHeader, [b'F', b'L', b'V', _, _, offset @ ..]) => {
                let offset = number(offset);
                self.skip = offset.saturating_sub(bytes.len()) + BETWEEN;
                self.stage = Stage::TagHeader;
            }
            (Stage::TagHeader, [kind, a, b, c, ..]) => {
                let size = number(&[*a, *b, *c]);
                if kind & 0x1f == VIDEO && size >= Stage::Video.length() {
                    self.stage = Stage::Video;
                } else {
                    self.skip = size + BETWEEN;
                }
            }
            (Stage::Video, [first, letters @ ..]) => {
                self.stage = Stage::Done;
                return codec(*first, letters);
            }
            // Not FLV: the demuxer will say so.
            _ => self.stage = Stage::Done,
        }
        None
    }
}

fn number(bytes: &[u8]) -> usize {
    bytes.iter().fold(0, |number, &byte| number << 8 | usize::from(byte))
}

/// The name of a codec that cannot be taken out of FLV. What is not H.264 and older than it the demuxer names itself.
fn codec(first: u8, letters: &[u8]) -> Option<String> {
    if first & 0x80 == 0 {
        return (first & 0x0f > H264).then(|| format!("FLV codec {}", first & 0x0f));
    }
    let name = match letters {
        b"hvc1" | b"hev1" => "H.265",
        b"av01" => "AV1",
        b"vp09" => "VP9",
        b"vp08" => "VP8",
        b"vvc1" => "H.266",
        b"avc1" => "H.264",
        _ => "unknown",
    };
    Some(format!("{name} in enhanced FLV"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn stream(tags: &[(u8, &[u8])]) -> Vec<u8> {
        let mut bytes = b"FLV\x01\x05\0\0\0\x09\0\0\0\0".to_vec();
        for (kind, body) in tags {
            bytes.push(*kind);
            bytes.extend(&(body.len() as u32).to_be_bytes()[1..]);
            bytes.extend([0; 7]);
            bytes.extend(*body);
            bytes.extend((body.len() as u32 + 11).to_be_bytes());
        }
        bytes
    }

    const SOUND: (u8, &[u8]) = (8, &[0xaf, 1, 2, 3, 4, 5, 6]);
    const DATA: (u8, &[u8]) = (18, b"\x02\0\x0aonMetaData");

    #[test]
    fn the_first_tag_with_video_tells() {
        for (tag, said) in [
            (&b"\x17\0\0\0\0\x01"[..], None),
            (b"\x12\0\0\0\0\x01", None),
            (b"\x1c\0\0\0\0\x01", Some("FLV codec 12")),
            (b"\x90hvc1\x01", Some("H.265 in enhanced FLV")),
            (b"\x90av01\x81", Some("AV1 in enhanced FLV")),
            (b"\x90vp09\x01", Some("VP9 in enhanced FLV")),
            (b"\x90avc1\x01", Some("H.264 in enhanced FLV")),
            (b"\x90xxxx", Some("unknown in enhanced FLV")),
        ] {
            // Too short to be video, and behind sound: neither hides it.
            let bytes = stream(&[DATA, SOUND, (9, b"\x17"), (9, tag), (9, b"\x90av01\x81")]);
            let mut scanner = Scanner::new();
            assert_eq!(scanner.read(&bytes).as_deref(), said);
            assert!(scanner.is_done());
            assert_eq!(scanner.read(&bytes), None);
        }
    }

    #[test]
    fn what_is_no_flv_is_left_alone() {
        let mut scanner = Scanner::new();
        assert_eq!(scanner.read(&[0x5a; 100]), None);
        assert!(scanner.is_done());
        assert!(!{
            let mut silent = Scanner::new();
            silent.read(&stream(&[SOUND, SOUND]));
            silent.is_done()
        });
    }

    proptest! {
        #[test]
        fn how_the_stream_is_cut_makes_no_difference(
            sizes in proptest::collection::vec(0_usize..40, 0..6), cut in 1_usize..30, enhanced: bool
        ) {
            let bodies: Vec<Vec<u8>> = sizes.iter().map(|&size| vec![0x90; size]).collect();
            let mut tags: Vec<(u8, &[u8])> = bodies.iter().map(|body| (8, &**body)).collect();
            tags.push((9, if enhanced { b"\x90hvc1" } else { b"\x17\0\0\0\0" }));
            let bytes = stream(&tags);
            let mut scanner = Scanner::new();
            let said: Vec<String> = bytes.chunks(cut).filter_map(|chunk| scanner.read(chunk)).collect();
            prop_assert_eq!(said.len(), usize::from(enhanced));
            prop_assert!(scanner.is_done());
        }

        #[test]
        fn nothing_that_strangers_send_breaks_it(pieces in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..60), 0..20)) {
            let mut scanner = Scanner::new();
            scanner.read(b"FLV\x01\x05");
            for piece in pieces {
                scanner.read(&piece);
                prop_assert!(scanner.gathered.len() <= 11);
            }
        }
    }
}
