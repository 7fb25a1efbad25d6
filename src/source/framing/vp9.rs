//! Keyframes of VP9 (VP9 Bitstream & Decoding Process Specification 0.6: 6.2 and Annex B). Pure.

const KEY_FRAME: u8 = 0;
const SYNC_CODE: [u8; 3] = [0x49, 0x83, 0x42];

/// Whether `unit`, a frame or a superframe, starts with a keyframe and shows a picture.
///
/// A frame that shows one decoded earlier is none, whatever that one was; nor is an intra-only frame, which leaves the
/// references of those after it as they were.
pub(super) fn is_keyframe(unit: &[u8]) -> bool {
    let mut frames = frames(unit).map(Head::read);
    let Some(Some(first @ Head::Frame { key: true, .. })) = frames.next() else { return false };
    first.shows() || frames.flatten().any(Head::shows)
}

#[derive(Debug, Clone, Copy)]
enum Head {
    /// A frame decoded earlier is shown.
    Existing,
    Frame {
        key: bool,
        shown: bool,
    },
}

impl Head {
    /// The start of `uncompressed_header`, and the sync code that follows it in a keyframe.
    fn read(frame: &[u8]) -> Option<Self> {
        let (&first, rest) = frame.split_first()?;
        if first >> 6 != 0b10 {
            return None;
        }
        // The two bits of the profile, low one first; a reserved bit follows in profile 3 alone.
        let reserved = u32::from(first >> 4 & 0b11 == 0b11);
        let bit = |at: u32| {
            (u16::from_be_bytes([first, rest.first().copied().unwrap_or_default()]) >> (11 - at - reserved)) & 1
        };
        if bit(0) == 1 {
            return Some(Self::Existing);
        }
        let key = u8::try_from(bit(1)) == Ok(KEY_FRAME);
        let shown = bit(2) == 1;
        // In profile 3 the sync code starts a bit later.
        let synced = || match rest {
            [a, b, c, ..] if reserved == 0 => [*a, *b, *c] == SYNC_CODE,
            [a, b, c, d, ..] => {
                let shifted = u32::from_be_bytes([*a, *b, *c, *d]) << reserved;
                shifted.to_be_bytes().starts_with(&SYNC_CODE)
            }
            _ => false,
        };
        (!key || synced()).then_some(Self::Frame { key, shown })
    }

    const fn shows(self) -> bool {
        matches!(self, Self::Existing | Self::Frame { shown: true, .. })
    }
}

/// The frames of a superframe, whose index stands at its end; or the one that `unit` is.
fn frames(unit: &[u8]) -> impl Iterator<Item = &[u8]> {
    let index = index(unit).unwrap_or_default();
    let whole = index.is_empty().then_some(unit);
    let mut rest = unit;
    let parts = index.into_iter().map_while(move |size| {
        let (frame, after) = rest.split_at_checked(size)?;
        rest = after;
        Some(frame)
    });
    whole.into_iter().chain(parts)
}

/// The sizes of the frames that a superframe holds.
fn index(unit: &[u8]) -> Option<Vec<usize>> {
    let &marker = unit.last()?;
    if marker >> 5 != 0b110 {
        return None;
    }
    let (frames, width) = (usize::from(marker & 0b111) + 1, usize::from(marker >> 3 & 0b11) + 1);
    let start = unit.len().checked_sub(2 + frames * width)?;
    let sizes = unit.get(start..)?.strip_prefix(&[marker])?;
    let little_endian = |bytes: &[u8]| bytes.iter().rev().fold(0, |size, &byte| size << 8 | usize::from(byte));
    Some(sizes.chunks_exact(width).take(frames).map(little_endian).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A frame of `profile`: `k` key, `i` inter, `h` a hidden keyframe, `a` a hidden inter frame, `s` shows an existing
    /// one, `x` a keyframe without its sync code.
    fn frame(letter: char, profile: u8) -> Vec<u8> {
        let mut bits = format!("10{}{}{}", profile & 1, profile >> 1, if profile == 3 { "0" } else { "" });
        bits += match letter {
            'k' | 'x' => "0010",
            'h' => "0000",
            'i' => "0110",
            'a' => "0100",
            _ => "1010",
        };
        if "kh".contains(letter) {
            // The sync code, 0x498342.
            bits += "010010011000001101000010";
        }
        bits += "000100110";
        while bits.len() % 8 != 0 {
            bits.push('0');
        }
        (0..bits.len() / 8).map(|at| u8::from_str_radix(&bits[8 * at..8 * at + 8], 2).unwrap()).collect()
    }

    fn superframe(letters: &str, width: usize) -> Vec<u8> {
        let frames: Vec<Vec<u8>> = letters.chars().map(|letter| frame(letter, 0)).collect();
        let marker = 0b1100_0000 | (width as u8 - 1) << 3 | (frames.len() as u8 - 1);
        let sizes = frames.iter().flat_map(|frame| frame.len().to_le_bytes()[..width].to_vec());
        [frames.concat(), vec![marker], sizes.collect(), vec![marker]].concat()
    }

    #[test]
    fn a_keyframe_is_what_decodes_alone_and_shows_something() {
        for (letter, keyframe) in [('k', true), ('i', false), ('h', false), ('a', false), ('s', false), ('x', false)] {
            for profile in 0..4 {
                assert_eq!(is_keyframe(&frame(letter, profile)), keyframe, "{letter} of profile {profile}");
            }
        }
        for (letters, keyframe, story) in [
            ("k", true, "alone in its superframe"),
            ("ki", true, "with a second layer"),
            ("hi", true, "hidden, and what is shown builds on it"),
            ("hs", true, "hidden, and shown at once"),
            ("ha", false, "nothing is shown"),
            ("ak", false, "a keyframe behind what needs older frames"),
            ("ai", false, "the usual superframe"),
        ] {
            for width in 1..=4 {
                assert_eq!(is_keyframe(&superframe(letters, width)), keyframe, "{story}: {letters}");
            }
        }
    }

    #[test]
    fn an_index_that_lies_is_none() {
        let good = superframe("hi", 2);
        assert!(is_keyframe(&good));
        // Larger than what there is, or with two markers that differ: then the whole is one frame, and that is hidden.
        let sizes = good.len() - 5;
        for (at, value) in [(sizes, 0xff), (sizes + 1, 0xff), (sizes - 1, 0)] {
            let mut bytes = good.clone();
            bytes[at] = value;
            assert!(!is_keyframe(&bytes), "{at}");
        }
        for empty in [&[][..], &[0xc1], &[0xdf, 0xdf]] {
            assert!(!is_keyframe(empty));
        }
    }
}
