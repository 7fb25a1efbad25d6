//! Which access units can be decoded alone, read from the encoded bytes themselves. Pure.
//!
//! The parser's own word is not enough. It also calls a frame without DELTA flag where decoding merely *recovers* after
//! some more frames (periodic intra refresh), and it puts no parameter sets in front of the intra frames of an open
//! group of pictures. A decoder shared by all streams would make grey mush of the first and nothing of the second. So each
//! codec has a reader of its own here, and what the shared decoder cannot start from is no keyframe.

mod annexb;
mod av1;
mod vp9;

use bytes::Bytes;

use crate::stream::Codec;

/// What is remembered of a stream, to tell its keyframes and to make them complete.
#[derive(Debug)]
pub(super) enum Framing {
    /// H.264 and H.265.
    AnnexB(annexb::Framing),
    Vp9,
    Av1(av1::Framing),
}

impl Framing {
    /// For a stream in `codec`, of which the container says `codec_data`.
    pub(super) fn new(codec: Codec, codec_data: Option<&[u8]>) -> Self {
        match codec {
            Codec::H264 => Self::AnnexB(annexb::Framing::new(annexb::Syntax::H264)),
            Codec::H265 => Self::AnnexB(annexb::Framing::new(annexb::Syntax::H265)),
            Codec::Vp9 => Self::Vp9,
            Codec::Av1 => Self::Av1(av1::Framing::new(codec_data.unwrap_or_default())),
        }
    }

    /// Whether `unit` is a keyframe, and its bytes: a keyframe brings all that a decoder must know before it. `intra` is the
    /// parser's guess, whose no is final where telling would take reading more than the unit's head.
    pub(super) fn admit(&mut self, unit: Bytes, intra: bool) -> (bool, Bytes) {
        match self {
            Self::AnnexB(framing) => framing.admit(unit, intra),
            Self::Vp9 => (vp9::is_keyframe(&unit), unit),
            Self::Av1(framing) => framing.admit(unit),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn nothing_that_strangers_send_breaks_it(
            units in proptest::collection::vec(
                (proptest::collection::vec(prop_oneof![3 => Just(0_u8), 1 => Just(1), 4 => any::<u8>()], 0..200), any::<bool>()),
                1..6,
            ),
            codec_data in proptest::collection::vec(any::<u8>(), 0..60),
        ) {
            for codec in Codec::ALL {
                let mut framing = Framing::new(codec, Some(&codec_data));
                for (unit, intra) in &units {
                    let unit = Bytes::from(unit.clone());
                    let (keyframe, data) = framing.admit(unit.clone(), *intra);
                    prop_assert!(data.len() >= unit.len());
                    prop_assert!(keyframe || data == unit, "only a keyframe is completed");
                }
            }
        }
    }
}
