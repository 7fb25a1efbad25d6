//! Whether the end of a video file is missing, by what its container says of its own length.
//!
//! Demuxers read what there is of a copy that was broken off and say nothing, so half a video would be taken for the whole.
//! The ISO family (MP4, MOV), Matroska (`WebM`) and AVI announce their parts with their sizes; MPEG transport streams, FLV and
//! others do not, and are taken as they are. A file is only called cut short when it says itself that it should be longer.

use std::io::{self, Read, Seek, SeekFrom};

/// Boxes looked at: a fragmented file has two a fragment.
const BOXES: usize = 1 << 20;

/// Types of the box that an ISO file begins with.
const FIRST: [&[u8; 4]; 7] = [b"ftyp", b"styp", b"moov", b"mdat", b"wide", b"free", b"skip"];

const EBML: u32 = 0x1a45_dfa3;
const SEGMENT: u32 = 0x1853_8067;

/// Whether `file`, which is `length` bytes long, announces more bytes than it has. Reads headers only, from the start.
///
/// # Errors
/// When the file cannot be read.
pub(super) fn is_cut_short(file: &mut (impl Read + Seek), length: u64) -> io::Result<bool> {
    let mut start = [0; 8];
    if length < start.len() as u64 {
        return Ok(false);
    }
    file.seek(SeekFrom::Start(0))?;
    file.read_exact(&mut start)?;
    let [a, b, c, d, kind @ ..] = start;
    if u32::from_be_bytes([a, b, c, d]) == EBML {
        match matroska(file, length) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(true),
            told => told,
        }
    } else if FIRST.contains(&&kind) {
        boxes(file, length)
    } else if [a, b, c, d] == *b"RIFF" {
        // The first chunk of several in a large file; 0 where it was never closed, all ones where nobody could go back to say.
        let size = u32::from_le_bytes(kind);
        Ok(size != u32::MAX && u64::from(size) + 8 > length)
    } else {
        Ok(false)
    }
}

/// ISO/IEC 14496-12, 4.2: a box begins with its size in 32 bits and its type; size 1 means that 64 bits follow, size 0
/// that it goes to the end of the file.
fn boxes(file: &mut (impl Read + Seek), length: u64) -> io::Result<bool> {
    let mut at = 0_u64;
    for _ in 0..BOXES {
        // What is too short for a header is padding.
        if length.saturating_sub(at) < 8 {
            return Ok(false);
        }
        file.seek(SeekFrom::Start(at))?;
        let mut header = [0; 8];
        file.read_exact(&mut header)?;
        let [a, b, c, d, kind @ ..] = header;
        // No box but what somebody put behind the last one.
        if !kind.iter().all(|letter| matches!(letter, b' '..=b'~' | 0xa9)) {
            return Ok(false);
        }
        let (size, smallest) = match u32::from_be_bytes([a, b, c, d]) {
            0 => return Ok(false),
            1 if length - at < 16 => return Ok(true),
            1 => {
                let mut size = [0; 8];
                file.read_exact(&mut size)?;
                (u64::from_be_bytes(size), 16)
            }
            size => (u64::from(size), 8),
        };
        at = at.saturating_add(size);
        if at > length {
            return Ok(true);
        }
        // No box: whatever this is, the demuxer will say so.
        if size < smallest {
            return Ok(false);
        }
    }
    Ok(false)
}

/// RFC 9559: a header and one segment, each an identifier, a length and a body.
fn matroska(file: &mut (impl Read + Seek), length: u64) -> io::Result<bool> {
    let mut at = 4;
    let (Some(header), after) = element_length(file, at)? else { return Ok(false) };
    at = after.saturating_add(header);
    if length.saturating_sub(at) < 5 {
        return Ok(true);
    }
    file.seek(SeekFrom::Start(at))?;
    let mut id = [0; 4];
    file.read_exact(&mut id)?;
    if u32::from_be_bytes(id) != SEGMENT {
        return Ok(false);
    }
    match element_length(file, at + 4)? {
        (Some(segment), after) => Ok(after.saturating_add(segment) > length),
        // Written live: of unknown length.
        (None, _) => Ok(false),
    }
}

/// An element's length at `at`, none where it is unknown, and where the body begins. RFC 8794, 4: the zeros before the
/// first one tell how many bytes follow, and all ones mean unknown.
fn element_length(file: &mut (impl Read + Seek), at: u64) -> io::Result<(Option<u64>, u64)> {
    file.seek(SeekFrom::Start(at))?;
    let mut first = [0];
    file.read_exact(&mut first)?;
    let [first] = first;
    let more = first.leading_zeros();
    if more > 7 {
        return Ok((None, at));
    }
    let mut value = u64::from(first) & (0x7f >> more);
    for _ in 0..more {
        let mut next = [0];
        file.read_exact(&mut next)?;
        value = value << 8 | u64::from(next[0]);
    }
    let unknown = (1 << (7 * (more + 1))) - 1;
    Ok(((value != unknown).then_some(value), at + 1 + u64::from(more)))
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    fn cut(bytes: &[u8]) -> bool {
        is_cut_short(&mut Cursor::new(bytes), bytes.len() as u64).unwrap()
    }

    fn boxed(kind: [u8; 4], body: &[u8]) -> Vec<u8> {
        [&(8 + body.len() as u32).to_be_bytes(), &kind[..], body].concat()
    }

    #[test]
    fn boxes_tell_where_the_file_should_end() {
        let large = [&1_u32.to_be_bytes()[..], b"mdat", &24_u64.to_be_bytes(), &[7; 8]].concat();
        let whole = [boxed(*b"ftyp", b"isom"), boxed(*b"moov", &[1; 40]), large].concat();
        assert!(!cut(&whole));
        // Cut anywhere but between two boxes, where nothing says that another should follow, or in a header's first bytes.
        for end in 0..whole.len() {
            let between = [12, 60].iter().any(|edge| (*edge..edge + 8).contains(&end)) || end < 8;
            assert_eq!(cut(&whole[..end]), !between, "{end}");
        }
        let to_the_end = [boxed(*b"ftyp", b"isom"), [&[0; 4][..], b"mdat", &[7; 90]].concat()].concat();
        assert!(!cut(&to_the_end) && !cut(&to_the_end[..50]));
        let with_a_signature = [&whole[..], &[0x7f, 1, 2, 3, 0xff, 0, 1, 2, 3]].concat();
        assert!(!cut(&with_a_signature), "what lies behind the last box is no box");
        // Nonsense is for the demuxer to name.
        assert!(!cut(&[&[0, 0, 0, 3][..], b"ftyp", &[9; 30]].concat()));
        assert!(!cut(b"") && !cut(b"ftyp") && !cut(b"something else, of any length"));
    }

    #[test]
    fn a_chunk_tells_how_long_it_is() {
        let avi = b"RIFF\x0c\0\0\0AVI LIST and more";
        assert!(!cut(avi) && !cut(&avi[..20]) && cut(&avi[..19]) && cut(&avi[..8]));
        assert!(!cut(b"RIFF\0\0\0\0AVI LIST") && !cut(b"RIFF\xff\xff\xff\xffAVI LIST"));
    }

    #[test]
    fn a_segment_tells_how_long_it_is() {
        let header = [&EBML.to_be_bytes()[..], &[0x84, 1, 2, 3, 4]].concat();
        let segment = |length: &[u8]| [&header[..], &SEGMENT.to_be_bytes(), length, &[5; 300]].concat();
        let whole = segment(&[0x41, 0x2c]);
        assert!(!cut(&whole));
        assert!((9..whole.len()).all(|end| cut(&whole[..end])));
        for unknown in [&[0xff][..], &[0x01, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]] {
            assert!(!cut(&segment(unknown)) && !cut(&segment(unknown)[..40]));
        }
        assert!(!cut(&[&header[..], b"something else"].concat()));
    }
}
