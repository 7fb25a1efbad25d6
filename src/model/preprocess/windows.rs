//! Where each output looks: resize rules and filters, as Pillow has them.
//!
//! Pillow scales by convolution: an output's centre has a place in the picture, and the samples around it are weighted by
//! a filter that is as wide as an output when the picture shrinks, and as wide as a sample when it grows. Cropping
//! after scaling is the same as computing fewer outputs, so no more is computed than the model takes in.

use super::kernel::{BLOCK, GROUP, ONE, Windows};
use crate::model::{Filter, Resize};

/// The outputs along one side of a picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Outputs {
    /// The scaled picture's side.
    pub(super) of: usize,
    /// The first that is taken.
    pub(super) from: usize,
    /// How many are taken.
    pub(super) count: usize,
}

/// The outputs across and down of a picture of `width` times `height`, of which the model takes `(columns, rows)`.
pub(super) fn outputs(
    resize: Resize,
    (width, height): (usize, usize),
    (columns, rows): (usize, usize),
) -> (Outputs, Outputs) {
    let (across, down) = match resize {
        Resize::Warp => (columns, rows),
        Resize::WarpCrop(side) => (side, side),
        Resize::Crop(side) if width < height => (side, side * height / width.max(1)),
        Resize::Crop(side) => (side * width / height.max(1), side),
    };
    let centre = |of: usize, count: usize| {
        let left = of.saturating_sub(count);
        // Half of it, and a half of one to the even side: torchvision's CenterCrop.
        let from = left / 2 + usize::from(left % 4 == 3);
        Outputs { of, from, count }
    };
    (centre(across, columns), centre(down, rows))
}

/// The part of a plane's side that is looked at.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Span {
    /// Where it starts, in samples; an odd place in luma is half a sample in chroma.
    pub(super) start: f64,
    /// Where it ends, in samples.
    pub(super) end: f64,
}

/// The samples that one output is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Window {
    pub(super) start: usize,
    /// Together [`ONE`].
    pub(super) weights: Vec<i16>,
}

/// A window for each output.
pub(super) fn windows(filter: Filter, span: Span, outputs: Outputs) -> Vec<Window> {
    let scale = (span.end - span.start) / outputs.of as f64;
    let (first, last) = (span.start.floor() as usize, span.end.ceil() as usize);
    let width = scale.max(1.0);
    let reach = width * support(filter);
    (outputs.from..outputs.from + outputs.count)
        .map(|output| {
            let centre = span.start + (output as f64 + 0.5) * scale;
            let start = ((centre - reach).max(0.0) as usize).max(first);
            let end = ((centre + reach).ceil() as usize).min(last).max(start + 1);
            let weights = (start..end).map(|sample| weight(filter, (sample as f64 + 0.5 - centre) / width)).collect();
            trimmed(start, &whole(weights))
        })
        .collect()
}

/// Half a filter's width.
const fn support(filter: Filter) -> f64 {
    match filter {
        Filter::Bilinear => 1.0,
        Filter::Bicubic => 2.0,
    }
}

/// A filter's value at a distance from its centre. The cubic is Keys', "Cubic convolution interpolation for digital image
/// processing", 1981, equation 4 with a = -1/2.
fn weight(filter: Filter, distance: f64) -> f64 {
    let x = distance.abs();
    match filter {
        Filter::Bilinear => (1.0 - x).max(0.0),
        Filter::Bicubic if x < 1.0 => (1.5 * x - 2.5) * x * x + 1.0,
        Filter::Bicubic if x < 2.0 => ((-0.5 * x + 2.5) * x - 4.0) * x + 2.0,
        Filter::Bicubic => 0.0,
    }
}

/// Weights as whole numbers that add up to [`ONE`]: what rounding takes from one it gives to the next.
fn whole(weights: Vec<f64>) -> Vec<i16> {
    let total: f64 = weights.iter().sum();
    let (mut exact, mut given) = (0.0, 0.0);
    weights
        .into_iter()
        .map(|weight| {
            exact += weight / total * ONE;
            let whole = (exact - given).round();
            given += whole;
            whole as i16
        })
        .collect()
}

/// Without weights of nothing at its ends.
fn trimmed(start: usize, weights: &[i16]) -> Window {
    let something = |weight: &i16| *weight != 0;
    let from = weights.iter().position(something).unwrap_or(0);
    let to = weights.iter().rposition(something).map_or(weights.len(), |last| last + 1);
    Window { start: start + from, weights: weights.get(from..to).unwrap_or(weights).to_vec() }
}

/// The windows as the kernel takes them, over a row that starts with sample `origin`; and how long the row must be.
pub(super) fn packed(windows: &[Window], origin: usize) -> (Windows, usize) {
    let blocks = windows.iter().map(|window| window.weights.len().div_ceil(BLOCK)).max().unwrap_or(0);
    let mut packed = Windows { blocks, ..Windows::default() };
    for window in windows {
        packed.starts.push(window.start.saturating_sub(origin));
        let mut weights = window.weights.chunks(BLOCK);
        for _ in 0..blocks {
            let mut block = [0; BLOCK];
            for (to, from) in block.iter_mut().zip(weights.next().unwrap_or_default()) {
                *to = *from;
            }
            packed.weights.push(block);
        }
    }
    let outputs = windows.len().next_multiple_of(GROUP);
    packed.starts.resize(outputs, 0);
    packed.weights.resize(outputs * blocks, [0; BLOCK]);
    let length = packed.starts.iter().max().map_or(0, |last| last + blocks * BLOCK);
    (packed, length)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_is_scaled_and_cropped_as_the_rule_says() {
        let taken = |of, from, count| Outputs { of, from, count };
        for (resize, size, expected) in [
            (Resize::Warp, (1920, 1080), (taken(224, 0, 224), taken(192, 0, 192))),
            (Resize::WarpCrop(256), (1920, 1080), (taken(256, 16, 224), taken(256, 32, 192))),
            (Resize::Crop(256), (1920, 1080), (taken(455, 116, 224), taken(256, 32, 192))),
            (Resize::Crop(256), (1080, 1920), (taken(256, 16, 224), taken(455, 132, 192))),
            (Resize::Crop(256), (500, 500), (taken(256, 16, 224), taken(256, 32, 192))),
        ] {
            assert_eq!(outputs(resize, size, (224, 192)), expected, "{resize:?} of {size:?}");
        }
    }

    #[test]
    fn weights_add_up_to_one_and_stay_inside() {
        for filter in [Filter::Bilinear, Filter::Bicubic] {
            for (start, end, of) in
                [(0.0, 1080.0, 224), (6.0, 17.0, 224), (2.5, 40.5, 3), (0.0, 1.0, 9), (0.0, 4320.0, 16)]
            {
                let all = windows(filter, Span { start, end }, Outputs { of, from: 0, count: of });
                assert_eq!(all.len(), of);
                for Window { start: first, weights } in all {
                    let total: i32 = weights.iter().map(|weight| i32::from(*weight)).sum();
                    assert_eq!(total, ONE as i32, "{filter:?}: {weights:?}");
                    assert!(first >= start as usize && first + weights.len() <= end.ceil() as usize, "{filter:?}");
                }
            }
        }
    }
}
