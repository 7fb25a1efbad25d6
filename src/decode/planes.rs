//! GStreamer's video frames as the house's planes, without a copy: the bytes stay where the decoder put them, and the
//! last plane to go gives the frame back.

use std::sync::Arc;

use bytes::Bytes;
use gstreamer as gst;
use gstreamer_video::prelude::*;
use gstreamer_video::video_frame::Readable;
use gstreamer_video::{VideoColorRange, VideoColorimetry, VideoFrame, VideoInfo};

use super::DecodeError;
use crate::picture::{ColourRange, Plane};

/// The three planes of an I420 frame and the range of their values.
pub(super) struct Planes {
    pub(super) luma: Plane,
    pub(super) chroma: [Plane; 2],
    pub(super) range: ColourRange,
}

/// Maps `sample`, which holds one I420 frame.
pub(super) fn planes(sample: &gst::Sample) -> Result<Planes, DecodeError> {
    let (frame, range) = map(sample)?;
    if frame.n_planes() != 3 {
        return Err(failed("does not have three planes"));
    }
    Ok(Planes { luma: plane(&frame, 0), chroma: [plane(&frame, 1), plane(&frame, 2)], range })
}

/// The luma of `sample`, which holds one frame whose first plane is luma in 8 bits.
pub(super) fn luma(sample: &gst::Sample) -> Result<(Plane, ColourRange), DecodeError> {
    let (frame, range) = map(sample)?;
    Ok((plane(&frame, 0), range))
}

fn map(sample: &gst::Sample) -> Result<(Arc<VideoFrame<Readable>>, ColourRange), DecodeError> {
    let caps = sample.caps().ok_or_else(|| failed("has no format"))?;
    let info = VideoInfo::from_caps(caps).map_err(|_error| failed("has an unknown format"))?;
    let buffer = sample.buffer_owned().ok_or_else(|| failed("is empty"))?;
    let frame = VideoFrame::from_buffer_readable(buffer, &info).map_err(|_buffer| failed("cannot be mapped"))?;
    Ok((Arc::new(frame), range(caps)))
}

fn failed(what: &str) -> DecodeError {
    DecodeError::Failed(format!("a decoded frame {what}"))
}

fn plane(frame: &Arc<VideoFrame<Readable>>, index: u32) -> Plane {
    Plane {
        data: Bytes::from_owner(Mapped { frame: Arc::clone(frame), index }),
        width: frame.comp_width(index) as usize,
        height: frame.comp_height(index) as usize,
        stride: usize::try_from(frame.comp_stride(index)).unwrap_or_default(),
    }
}

/// Unknown is limited: what nearly all video is, and what players assume.
///
/// Read from the caps themselves: `VideoInfo` puts defaults in the place of a colorimetry of which only the range is
/// known, and that is what phones and screen recorders send.
fn range(caps: &gst::CapsRef) -> ColourRange {
    let colorimetry = caps.structure(0).and_then(|structure| structure.get::<String>("colorimetry").ok());
    match colorimetry.and_then(|text| text.parse::<VideoColorimetry>().ok()).map(|parsed| parsed.range()) {
        Some(VideoColorRange::Range0_255) => ColourRange::Full,
        _ => ColourRange::Limited,
    }
}

struct Mapped {
    frame: Arc<VideoFrame<Readable>>,
    index: u32,
}

impl AsRef<[u8]> for Mapped {
    fn as_ref(&self) -> &[u8] {
        self.frame.plane_data(self.index).unwrap_or_default()
    }
}
