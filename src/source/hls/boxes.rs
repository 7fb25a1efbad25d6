//! How deep the boxes of fragmented MP4 may lie in one another. Pure.
//!
//! GStreamer 1.22 reads boxes within boxes by recursion without a limit: three megabytes of nothing else spend the stack and end
//! the process. What is deep needs many headers of boxes that hold others, so these are counted, wherever they stand:
//! media data, in which they may stand by chance, is not read for boxes and is left out.
//! Nobody needs eight megabytes of anything else.

/// Boxes that hold others in one box of the file, at most. A track has a dozen.
const MOST: usize = 4096;

/// Bytes that are no media data, at most: to count takes time that all streams share.
const MOST_BYTES: usize = 8 << 20;

/// Types of boxes that GStreamer looks into, or that lead to some (ISO/IEC 14496-12, `QuickTime` file format).
const HOLDERS: [&[u8; 4]; 35] = [
    b"moov", b"trak", b"mdia", b"minf", b"stbl", b"stsd", b"dinf", b"edts", b"udta", b"meta", b"ilst", b"mvex",
    b"moof", b"traf", b"mfra", b"sinf", b"schi", b"wave", b"tref", b"gmhd", b"rmra", b"rmda", b"rdrf", b"skip",
    b"cmov", b"mp4a", b"mp4v", b"mp4s", b"avc1", b"hvc1", b"hev1", b"enca", b"encv", b"iprp", b"ipco",
];

/// Whether boxes in `media` may lie in one another without end.
pub(super) fn are_bottomless(media: &[u8]) -> bool {
    let (mut rest, mut bytes) = (media, 0);
    while let Some((size, kind)) = header(rest) {
        let (one, behind) = rest.split_at(size);
        rest = behind;
        if kind != *b"mdat" {
            bytes += size;
            if bytes > MOST_BYTES || holders(one) > MOST {
                return true;
            }
        }
    }
    // Where that can be followed no further, whatever it is.
    bytes + rest.len() > MOST_BYTES || holders(rest) > MOST
}

/// The size of the box that begins here, where it is whole, and its type.
fn header(bytes: &[u8]) -> Option<(usize, [u8; 4])> {
    let (size, rest) = bytes.split_first_chunk::<4>()?;
    let (kind, rest) = rest.split_first_chunk::<4>()?;
    let size = match u32::from_be_bytes(*size) {
        0 => bytes.len(),
        1 => usize::try_from(u64::from_be_bytes(*rest.first_chunk::<8>()?)).ok().filter(|size| *size >= 16)?,
        size => size as usize,
    };
    (8..=bytes.len()).contains(&size).then_some((size, *kind))
}

fn holders(bytes: &[u8]) -> usize {
    bytes.windows(4).filter(|window| HOLDERS.iter().any(|holder| *window == **holder)).count()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn boxed(kind: [u8; 4], body: &[u8]) -> Vec<u8> {
        [&(body.len() as u32 + 8).to_be_bytes()[..], &kind, body].concat()
    }

    fn nested(depth: usize) -> Vec<u8> {
        let header = |level: usize| [((depth - level) as u32 * 8).to_be_bytes(), *b"trak"].concat();
        (0..depth).flat_map(header).collect()
    }

    #[test]
    fn boxes_within_boxes_without_end_are_told_and_others_are_not() {
        let fragment = [boxed(*b"moof", &boxed(*b"traf", &[0; 90])), boxed(*b"mdat", &nested(9000))].concat();
        let wide = [&[0, 0, 0, 1][..], b"mdat", &(16 + 72_000_u64).to_be_bytes(), &nested(9000)].concat();
        for (story, media, bottomless) in [
            ("nothing", vec![], false),
            ("ten fragments", fragment.repeat(10), false),
            ("media data with a size of 64 bits", wide, false),
            ("media data to the end", [&[0, 0, 0, 0][..], b"mdat", &nested(9000)].concat(), false),
            ("deep", nested(9000), true),
            ("deep, behind fragments", [fragment.clone(), boxed(*b"moov", &nested(9000))].concat(), true),
            ("deep, in a box that is cut short", [fragment, nested(9000)[..60_000].to_vec()].concat(), true),
            ("deep, behind what is no box", [vec![0, 0, 0, 3, 1, 2, 3, 4], nested(9000)].concat(), true),
            ("a little deep", nested(4096), false),
        ] {
            assert_eq!(are_bottomless(&media), bottomless, "{story}");
        }
    }

    proptest! {
        #[test]
        fn nothing_that_strangers_send_breaks_it(pieces in prop::collection::vec(prop::collection::vec(prop_oneof![Just(0_u8), Just(1), Just(8), any::<u8>()], 0..40), 0..20)) {
            let media = pieces.iter().flat_map(|piece| boxed(*b"mdat", piece)).chain(pieces.concat()).collect::<Vec<u8>>();
            prop_assert!(!are_bottomless(&media), "it is too short to be deep");
        }
    }
}
