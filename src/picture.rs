//! A decoded picture: planes, colour range, timestamps. No GStreamer type leaks past here.

use std::time::Duration;

use bytes::Bytes;

use crate::clock::Timestamp;

/// How sample values map to light.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ColourRange {
    /// 0-255.
    Full,
    /// 16-235 for luma, 16-240 for chroma: nearly all video.
    Limited,
}

/// One plane of 8-bit values: `height` rows, `stride` bytes apart, the first `width` bytes of each being picture.
#[derive(Debug, Clone)]
pub struct Plane {
    /// At least `stride * (height - 1) + width` bytes.
    pub data: Bytes,
    /// Values in a row.
    pub width: usize,
    /// Rows.
    pub height: usize,
    /// Bytes from one row to the next.
    pub stride: usize,
}

impl Plane {
    /// The rows from top to bottom, each `width` bytes. A plane whose data are too short gives fewer rows.
    pub fn rows(&self) -> impl Iterator<Item = &[u8]> {
        let Self { data, width, height, stride } = self;
        (0..*height).map_while(move |y| data.get(y * stride..y * stride + width))
    }
}

/// A decoded picture, YUV 4:2:0 in three planes; the chroma planes are absent where only luma was asked for.
#[derive(Debug, Clone)]
pub struct Picture {
    /// The access unit that it was decoded from.
    pub sequence: u64,
    /// Presentation timestamp on the stream's own clock.
    pub pts: Option<Duration>,
    /// When its access unit reached us.
    pub arrived: Timestamp,
    /// Luma, full resolution.
    pub luma: Plane,
    /// Cb and Cr, each half the width and height, rounded up.
    pub chroma: Option<[Plane; 2]>,
    /// The range of all planes.
    pub range: ColourRange,
}
