//! FLV, read beside the demuxer for two things that it gets wrong: which codec the video is in, where it does not know that,
//! and what must not reach it. Pure.
//!
//! FLV was never meant for newer codecs. "Enhanced" FLV, as encoders write it since 2023, names them with four letters; before
//! that, numbers of one's own were in use. GStreamer 1.22 knows neither, calls both a failure and does not say which it was;
//! and servers relay both.
//!
//! Script tags hold metadata as objects within objects, which GStreamer 1.22 reads by recursion without a limit: a few
//! megabytes of them spend the stack and end the process. Nothing here needs metadata, so their first byte is blotted out, and
//! they are skipped. So that nothing else is ever taken for one, tags of unknown kinds are made script tags, and what does not
//! begin as FLV is refused: of both the demuxer would go on to read what stands where.

/// Walks along, from tag to tag, whatever pieces the stream comes in.
#[derive(Debug)]
pub(super) struct Walker {
    stage: Stage,
    /// Bytes before the next that matter.
    skip: usize,
    gathered: Vec<u8>,
    /// Bytes of the body that has begun.
    body: usize,
    /// No codec was named so far.
    looking: bool,
    /// There was H.264 already.
    was_h264: bool,
}

/// What there is to say and to do about some bytes.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Walked {
    /// The codec, once, where it is one that no demuxer here takes out of FLV.
    pub(super) codec: Option<String>,
    /// Which bytes are to be replaced before the demuxer gets them, and by what.
    pub(super) edits: Vec<(usize, u8)>,
}

/// It is something else.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct NotFlv;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    FileHeader,
    TagHeader,
    Video,
    Script,
}

impl Stage {
    /// Bytes that tell what comes next.
    const fn length(self) -> usize {
        match self {
            // The demuxer never looks at where the header says that it ends.
            Self::FileHeader => 9 + BETWEEN,
            Self::TagHeader => 11,
            // Kind of frame and codec, and the four letters where there are some.
            Self::Video => 5,
            Self::Script => 1,
        }
    }
}

/// Sizes stand before and behind each tag: four bytes.
const BETWEEN: usize = 4;
const AUDIO: u8 = 8;
const VIDEO: u8 = 9;
const SCRIPT: u8 = 18;
const H264: u8 = 7;

impl Walker {
    pub(super) const fn new() -> Self {
        Self { stage: Stage::FileHeader, skip: 0, gathered: Vec::new(), body: 0, looking: true, was_h264: false }
    }

    /// Walks on over the next `bytes`.
    ///
    /// # Errors
    /// Where they do not begin as FLV does.
    pub(super) fn walk(&mut self, bytes: &[u8]) -> Result<Walked, NotFlv> {
        let (mut walked, mut at) = (Walked::default(), 0);
        while let Some((&byte, rest)) = bytes.get(at..).and_then(<[u8]>::split_first) {
            if self.skip > 0 {
                let skipped = self.skip.min(rest.len() + 1);
                self.skip -= skipped;
                at += skipped;
                continue;
            }
            match (self.stage, self.gathered.is_empty()) {
                (Stage::TagHeader, true) if !matches!(byte, AUDIO | VIDEO | SCRIPT) => walked.edits.push((at, SCRIPT)),
                // The first byte of metadata says that a name follows: 2.
                (Stage::Script, _) if byte != 0 => walked.edits.push((at, 0)),
                _ => {}
            }
            let taken = (self.stage.length() - self.gathered.len()).min(rest.len() + 1);
            self.gathered.extend_from_slice(bytes.get(at..at + taken).unwrap_or_default());
            at += taken;
            if self.gathered.len() == self.stage.length() {
                let gathered = std::mem::take(&mut self.gathered);
                walked.codec = self.step(&gathered)?.or(walked.codec);
            }
        }
        Ok(walked)
    }

    /// Acts on all bytes of a stage.
    fn step(&mut self, bytes: &[u8]) -> Result<Option<String>, NotFlv> {
        match (self.stage, bytes) {
            (Stage::FileHeader, [b'F', b'L', b'V', ..]) => self.stage = Stage::TagHeader,
            (Stage::TagHeader, [kind, a, b, c, ..]) => {
                self.body = u32::from_be_bytes([0, *a, *b, *c]) as usize;
                match *kind {
                    VIDEO if self.looking && self.body >= Stage::Video.length() => self.stage = Stage::Video,
                    AUDIO | VIDEO => self.skip = self.body + BETWEEN,
                    _ if self.body > 0 => self.stage = Stage::Script,
                    _ => self.skip = BETWEEN,
                }
            }
            (stage @ (Stage::Video | Stage::Script), [first, letters @ ..]) => {
                self.skip = self.body - stage.length() + BETWEEN;
                self.stage = Stage::TagHeader;
                if stage == Stage::Video {
                    let named = self.codec(*first, letters);
                    self.looking = named.is_none();
                    return Ok(named);
                }
            }
            _ => return Err(NotFlv),
        }
        Ok(None)
    }

    /// The name of a codec that cannot be taken out of FLV. What is older than H.264 the demuxer names itself, unless it comes
    /// behind H.264: then it calls that a failure too. It may be the first frame that is behind it, as servers send viewers the
    /// configuration of H.264 that they have kept when the publisher has long gone over to something else.
    fn codec(&mut self, first: u8, letters: &[u8]) -> Option<String> {
        if first & 0x80 == 0 {
            let number = first & 0x0f;
            self.was_h264 |= number == H264;
            return (number > H264 || self.was_h264 && number != H264).then(|| format!("FLV codec {number}"));
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
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HEADER: &[u8] = b"FLV\x01\x05\0\0\0\x09\0\0\0\0";

    fn stream(tags: &[(u8, &[u8])]) -> Vec<u8> {
        let mut bytes = HEADER.to_vec();
        for (kind, body) in tags {
            bytes.push(*kind);
            bytes.extend(&(body.len() as u32).to_be_bytes()[1..]);
            bytes.extend([0; 7]);
            bytes.extend(*body);
            bytes.extend((body.len() as u32 + 11).to_be_bytes());
        }
        bytes
    }

    /// Walks over all of `bytes` in pieces of `size`: the codecs said, and what the demuxer gets.
    fn passed(bytes: &[u8], size: usize) -> Result<(Vec<String>, Vec<u8>), NotFlv> {
        let (mut walker, mut said, mut got) = (Walker::new(), Vec::new(), Vec::new());
        for piece in bytes.chunks(size) {
            let walked = walker.walk(piece)?;
            said.extend(walked.codec);
            let mut piece = piece.to_vec();
            for (at, byte) in walked.edits {
                piece[at] = byte;
            }
            got.extend(piece);
        }
        Ok((said, got))
    }

    const SOUND: (u8, &[u8]) = (8, &[0xaf, 1, 2, 3, 4, 5, 6]);
    const DATA: (u8, &[u8]) = (18, b"\x02\0\x0aonMetaData");
    const BLOTTED: (u8, &[u8]) = (18, b"\0\0\x0aonMetaData");
    const FRAME: (u8, &[u8]) = (9, b"\x17\x01\0\0\0picture");

    #[test]
    fn the_first_tag_of_a_codec_that_cannot_be_taken_out_tells() {
        for (tag, said) in [
            (&b"\x17\0\0\0\0\x01"[..], Some("VP8 in enhanced FLV")),
            (b"\x12\0\0\0\0\x01", Some("VP8 in enhanced FLV")),
            (b"\x1c\0\0\0\0\x01", Some("FLV codec 12")),
            (b"\x90hvc1\x01", Some("H.265 in enhanced FLV")),
            (b"\x90av01\x81", Some("AV1 in enhanced FLV")),
            (b"\x90vp09\x01", Some("VP9 in enhanced FLV")),
            (b"\x90avc1\x01", Some("H.264 in enhanced FLV")),
            (b"\x90xxxx", Some("unknown in enhanced FLV")),
        ] {
            // Too short to be video, and behind sound: neither hides it.
            let bytes = stream(&[DATA, SOUND, (9, b"\x17"), (9, tag), (9, b"\x90vp08\x81"), FRAME]);
            let (codecs, _) = passed(&bytes, bytes.len()).unwrap();
            assert_eq!(codecs.first().map(String::as_str), said);
            assert!(codecs.len() <= 1, "it is said once");
        }
    }

    #[test]
    fn what_is_older_than_h264_is_named_behind_it_alone() {
        let old: (u8, &[u8]) = (9, b"\x22\0\0\0\x84\0");
        for (tags, said) in [
            (vec![old, old], vec![]),
            (vec![FRAME, SOUND, FRAME], vec![]),
            (vec![FRAME, SOUND, old, old, FRAME], vec!["FLV codec 2".to_owned()]),
        ] {
            let bytes = stream(&tags);
            assert_eq!(passed(&bytes, bytes.len()).unwrap().0, said);
        }
    }

    #[test]
    fn what_is_no_flv_is_refused() {
        assert_eq!(passed(&[0x5a; 100], 7), Err(NotFlv));
        assert!(passed(&[0x5a; 12], 7).is_ok(), "too little to tell");
    }

    #[test]
    fn metadata_is_blotted_out_and_nothing_else_can_be_taken_for_it() {
        // What an unknown tag holds looks like a script tag where a demuxer goes on that does not know its size.
        let hidden = stream(&[DATA]);
        let unknown = (0x55, hidden.get(HEADER.len()..).unwrap_or_default());
        let mut blotted = unknown.1.to_vec();
        blotted[0] = 0;
        let bytes = stream(&[SOUND, DATA, FRAME, unknown, (0x29, b"sealed"), (18, b""), FRAME]);
        let expected = stream(&[SOUND, BLOTTED, FRAME, (18, &blotted), (18, b"\0ealed"), (18, b""), FRAME]);
        for size in [1, 4, 11, bytes.len()] {
            assert_eq!(passed(&bytes, size), Ok((vec![], expected.clone())), "in pieces of {size}");
        }
        // A header that claims to be longer does not shift what is read.
        let mut longer = bytes;
        longer[8] = 0xff;
        let (_, got) = passed(&longer, 3).unwrap();
        assert_eq!(got.get(HEADER.len()..), expected.get(HEADER.len()..));
    }

    /// What a demuxer takes for script tags: walks from tag to tag, all bytes at hand.
    fn scripts(bytes: &[u8]) -> Vec<&[u8]> {
        let (mut at, mut found) = (HEADER.len(), Vec::new());
        while let Some([kind, a, b, c, ..]) = bytes.get(at..) {
            let size = u32::from_be_bytes([0, *a, *b, *c]) as usize;
            assert!(matches!(kind, 8 | 9 | 18), "a tag of kind {kind} is left");
            if *kind == 18 {
                found.push(bytes.get(at + 11..bytes.len().min(at + 11 + size)).unwrap_or_default());
            }
            at += 11 + size + 4;
        }
        found
    }

    proptest! {
        #[test]
        fn how_the_stream_is_cut_makes_no_difference(
            sizes in proptest::collection::vec((any::<u8>(), 0_usize..40), 0..6), cut in 1_usize..30, enhanced: bool
        ) {
            let bodies: Vec<(u8, Vec<u8>)> = sizes.iter().map(|&(kind, size)| (kind, vec![0x90; size])).collect();
            let mut tags: Vec<(u8, &[u8])> =
                bodies.iter().filter(|(kind, _)| *kind != 9).map(|(kind, body)| (*kind, &**body)).collect();
            tags.push((9, if enhanced { b"\x90hvc1" } else { b"\x17\0\0\0\0" }));
            let bytes = stream(&tags);
            let (said, got) = passed(&bytes, cut).unwrap();
            prop_assert_eq!(said.len(), usize::from(enhanced));
            prop_assert_eq!((said, got), passed(&bytes, bytes.len()).unwrap());
        }

        #[test]
        fn nothing_that_strangers_send_is_ever_read_as_metadata(
            pieces in proptest::collection::vec(proptest::collection::vec(prop_oneof![Just(18_u8), Just(2), 0_u8..12, any::<u8>()], 0..60), 0..20)
        ) {
            let mut bytes = HEADER.to_vec();
            bytes.extend(pieces.concat());
            let (mut walker, mut got) = (Walker::new(), Vec::new());
            for piece in [HEADER.to_vec()].iter().chain(&pieces) {
                let mut piece = piece.clone();
                for (at, byte) in walker.walk(&piece).unwrap().edits {
                    piece[at] = byte;
                }
                prop_assert!(walker.gathered.len() <= 13);
                got.extend(piece);
            }
            for body in scripts(&got) {
                prop_assert!(body.first().is_none_or(|first| *first == 0));
            }
        }
    }
}
