//! What decodes each codec.
//!
//! All were measured with single keyframes: each comes out at once when the decoder is drained behind it. libav's decoders
//! then also forget their reference pictures; the one of AV1 does not, and has to be told.

use crate::stream::Codec;

/// The elements that decode one codec.
#[derive(Debug)]
pub(super) struct Chain {
    /// What goes in.
    pub(super) caps: &'static str,
    /// It is there for its caps, which tell a picture's size before anything is allocated for it.
    pub(super) parser: &'static str,
    pub(super) decoder: &'static str,
    /// What is drained keeps its reference pictures.
    pub(super) remembers: bool,
}

/// The elements for `codec`.
pub(super) const fn chain(codec: Codec) -> Chain {
    let (caps, parser, decoder) = match codec {
        Codec::H264 => ("video/x-h264,stream-format=byte-stream,alignment=au", "h264parse", "avdec_h264"),
        Codec::H265 => ("video/x-h265,stream-format=byte-stream,alignment=au", "h265parse", "avdec_h265"),
        Codec::Vp9 => ("video/x-vp9,alignment=super-frame", "vp9parse", "avdec_vp9"),
        Codec::Av1 => ("video/x-av1,stream-format=obu-stream,alignment=tu", "av1parse", "av1dec"),
    };
    Chain { caps, parser, decoder, remembers: matches!(codec, Codec::Av1) }
}
