//! From a decoded picture to a model's input, straight from the planes: no full-size RGB picture in between.
//!
//! Bars are left out (see [`inside_bars`]). Each plane is scaled to the input's size, a row of outputs at a time, and only
//! that small row becomes RGB, in the input's range, order and layout. Scaling and colours are both linear but for the
//! clamping at black and full light, so the order makes no visible difference, and it is many times cheaper. A
//! channel of a picture up to 32 times the input's size is within a quarter of a level (of 255) of what the filters give in
//! exact arithmetic; Pillow, whose filters they are, rounds to whole levels after each pass.
//!
//! Two conventions, for a picture does not say: BT.709 colours from 720 rows on and BT.601 below, as players assume for
//! unmarked video; and chroma samples centred on their four pixels (the true siting differs by half a pixel at most,
//! which shrinking hides).

mod colours;
mod kernel;
mod plan;
#[cfg(test)]
mod tests;
mod windows;

use ndarray::Array4;

use self::colours::{Colours, Light, order};
use self::kernel::{GROUP, Kernel, Rows};
use self::plan::{Plan, Plans};
use super::bars::inside_bars;
use super::{Dtype, Input, Layout, ModelError, Tensor};
use crate::picture::{Picture, Plane};

/// Turns pictures into a model's input. Keeps what one picture after the other needs again: one per worker and model.
#[derive(Debug)]
pub struct Preprocessor {
    input: Input,
    plans: Plans,
    scaler: Scaler,
}

impl Preprocessor {
    /// For pictures that become what `input` describes.
    pub fn new(input: &Input) -> Self {
        Self { input: input.clone(), plans: Plans::default(), scaler: Scaler::new(input, Kernel::default()) }
    }

    /// The picture, inside its bars, as the input describes it, as a batch of one.
    ///
    /// # Errors
    /// [`ModelError::Picture`] when the picture is empty, cut short, or has no colour planes of the right size.
    pub fn tensor(&mut self, picture: &Picture) -> Result<Tensor, ModelError> {
        let refused = |problem| ModelError::Picture { problem };
        let planes = planes(picture).map_err(refused)?;
        let Self { input, plans, scaler } = self;
        let plan = plans.get(input, (picture.luma.width, picture.luma.height), inside_bars(picture));
        let source = Source { planes, plan, colours: Colours::of(picture) };
        let light = Light::of(input);
        match input.dtype {
            Dtype::F32 => scaler.tensor(&source, input, |channel| light.of_channel(channel)).map(Tensor::F32),
            Dtype::U8 => scaler.tensor(&source, input, |_| |level: f32| level.round() as u8).map(Tensor::U8),
        }
        .ok_or_else(|| refused("a plane is cut short"))
    }
}

/// Luma and chroma, of sizes that belong together; otherwise, what is wrong.
fn planes(picture: &Picture) -> Result<[&Plane; 3], &'static str> {
    let luma = &picture.luma;
    let [blue, red] = picture.chroma.as_ref().ok_or("it has no colour planes")?;
    if luma.width == 0 || luma.height == 0 {
        return Err("it is empty");
    }
    let half = (luma.width.div_ceil(2), luma.height.div_ceil(2));
    if [blue, red].iter().any(|plane| (plane.width, plane.height) != half) {
        return Err("its colour planes are not half its size");
    }
    let planes = [luma, blue, red];
    if planes.iter().any(|plane| plane.data.len() < plane.stride * (plane.height - 1) + plane.width) {
        return Err("a plane is cut short");
    }
    Ok(planes)
}

/// A picture and how to scale it.
#[derive(Debug)]
struct Source<'a> {
    planes: [&'a Plane; 3],
    plan: &'a Plan,
    colours: Colours,
}

/// Scales row by row, in buffers that it keeps.
#[derive(Debug)]
struct Scaler {
    kernel: Kernel,
    /// Rows of a plane, weighted and added up.
    sums: Vec<i16>,
    /// A row of outputs: Y, Cb and Cr, each less 128, and then red, green and blue, 0 to 255.
    levels: [Vec<f32>; 3],
}

impl Scaler {
    fn new(input: &Input, kernel: Kernel) -> Self {
        let row = || vec![0.0; input.width.next_multiple_of(GROUP)];
        Self { kernel, sums: Vec::new(), levels: [row(), row(), row()] }
    }

    /// The whole picture; `value` says what a level becomes in one of the input's channels.
    fn tensor<T: Clone + Default, V: Fn(f32) -> T>(
        &mut self,
        source: &Source<'_>,
        input: &Input,
        value: impl Fn(usize) -> V,
    ) -> Option<Array4<T>> {
        let (columns, rows) = (input.width, input.height);
        let order = order(input.colour);
        let mut values = vec![T::default(); 3 * columns * rows];
        for row in 0..rows {
            self.row(source, row)?;
            for (channel, colour) in order.into_iter().enumerate() {
                let (levels, value) = (self.levels.get(colour)?.iter(), value(channel));
                match input.layout {
                    Layout::Nchw => {
                        let to = values.get_mut((channel * rows + row) * columns..)?.get_mut(..columns)?;
                        to.iter_mut().zip(levels).for_each(|(to, &level)| *to = value(level));
                    }
                    Layout::Nhwc => {
                        let to = values.get_mut(3 * row * columns..)?.get_mut(..3 * columns)?;
                        let to = to.iter_mut().skip(channel).step_by(3);
                        to.zip(levels).for_each(|(to, &level)| *to = value(level));
                    }
                }
            }
        }
        let shape = match input.layout {
            Layout::Nchw => (1, 3, rows, columns),
            Layout::Nhwc => (1, rows, columns, 3),
        };
        Array4::from_shape_vec(shape, values).ok()
    }

    /// Makes `levels` those of a row of outputs. Nothing when a plane ends before it.
    fn row(&mut self, source: &Source<'_>, row: usize) -> Option<()> {
        let Source { planes, plan, colours } = source;
        let Self { kernel, sums, levels } = self;
        for ((plane, scaling), levels) in planes.iter().zip(plan.scalings()).zip(levels.iter_mut()) {
            let window = scaling.down.get(row)?;
            let data = plane.data.get(window.start * plane.stride + scaling.from..)?;
            if sums.len() < scaling.length {
                sums.resize(scaling.length, 0);
            }
            let rows = Rows { data, stride: plane.stride, weights: &window.weights };
            kernel.down(rows, sums.get_mut(..scaling.columns)?)?;
            // What follows the columns is some other row's, and weighs nothing.
            kernel.across(sums, &scaling.across, levels)?;
        }
        colours.convert(levels);
        Some(())
    }
}
