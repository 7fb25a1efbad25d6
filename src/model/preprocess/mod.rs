//! From a decoded picture to a model's input, straight from the planes: no full-size RGB picture in between.
//!
//! Each plane is stretched to the input's size by a triangle filter that widens as it shrinks ("antialiased bilinear",
//! what Pillow's `BILINEAR` does), and only the small result is turned into RGB. Both steps are linear but for the
//! clamping at black and full light, so the order makes no visible difference, and it is several times cheaper.
//!
//! Two conventions, for a picture does not say: BT.709 colours from 720 rows on and BT.601 below, as players assume for
//! unmarked video; and chroma samples centred on their four pixels (the true siting differs by half a pixel at most,
//! which shrinking hides).

use super::{Input, ModelError, Tensor};
use crate::picture::{ColourRange, Picture, Plane};

/// Rows from which on video is taken to be BT.709.
const HD_ROWS: usize = 720;

/// Turns pictures into a model's input. Keeps what one picture after the other needs again: one per worker and model.
#[derive(Debug)]
pub struct Preprocessor {
    input: Input,
}

impl Preprocessor {
    /// For pictures that become what `input` describes.
    pub fn new(input: &Input) -> Self {
        Self { input: input.clone() }
    }

    /// The picture as the input describes it, as a batch of one.
    ///
    /// # Errors
    /// [`ModelError::Picture`] when the picture is empty, cut short, or has no colour planes of the right size.
    pub fn tensor(&mut self, picture: &Picture) -> Result<Tensor, ModelError> {
        warp(picture, &self.input)
    }
}

/// The picture as `f32 [1, 3, height, width]`, RGB, stretched to the input's size and scaled to its range.
///
/// # Errors
/// [`ModelError::Picture`] when the picture is empty, cut short, or has no colour planes of the right size.
fn warp(picture: &Picture, input: &Input) -> Result<Tensor, ModelError> {
    let refused = |problem| ModelError::Picture { problem };
    let (columns, rows) = (picture.luma.width, picture.luma.height);
    let chroma = picture.chroma.as_ref().ok_or_else(|| refused("it has no colour planes"))?;
    if columns == 0 || rows == 0 {
        return Err(refused("it is empty"));
    }
    if chroma.iter().any(|plane| (plane.width, plane.height) != (columns.div_ceil(2), rows.div_ceil(2))) {
        return Err(refused("its colour planes are not half its size"));
    }
    let (width, height) = (input.width, input.height);
    let scaled = |plane: &Plane, across: f64, down: f64| {
        stretch(plane, &windows(plane.width, across, width), &windows(plane.height, down, height))
            .ok_or_else(|| refused("a plane is cut short"))
    };
    // An odd side's last chroma sample reaches half beyond the picture: half the side is what counts.
    let (across, down) = (columns as f64, rows as f64);
    let luma = scaled(&picture.luma, across, down)?;
    let [blue, red] = chroma;
    let blue = scaled(blue, across / 2.0, down / 2.0)?;
    let red = scaled(red, across / 2.0, down / 2.0)?;

    let colours = Colours::of(picture);
    let (lowest, span) = (input.range.0, (input.range.1 - input.range.0) / 255.0);
    let size = width * height;
    let mut values = vec![0.0; 3 * size];
    for (at, ((&y, &cb), &cr)) in luma.iter().zip(&blue).zip(&red).enumerate() {
        for (channel, light) in colours.rgb(y, cb, cr).into_iter().enumerate() {
            if let Some(value) = values.get_mut(channel * size + at) {
                *value = lowest + span * light;
            }
        }
    }
    let array = ndarray::Array4::from_shape_vec((1, 3, height, width), values);
    Ok(Tensor::F32(array.map_err(|_mismatch| refused("its tensor has another size"))?))
}

/// How planes become RGB (ITU-R BT.601 and BT.709, section 3 each), for one picture.
struct Colours {
    black: f32,
    luma_gain: f32,
    chroma_gain: f32,
    /// Share of red in luma.
    kr: f32,
    /// Share of blue in luma.
    kb: f32,
}

impl Colours {
    fn of(picture: &Picture) -> Self {
        let (kr, kb) = if picture.luma.height >= HD_ROWS { (0.2126, 0.0722) } else { (0.299, 0.114) };
        match picture.range {
            ColourRange::Full => Self { black: 0.0, luma_gain: 1.0, chroma_gain: 1.0, kr, kb },
            ColourRange::Limited => Self { black: 16.0, luma_gain: 255.0 / 219.0, chroma_gain: 255.0 / 224.0, kr, kb },
        }
    }

    /// Red, green and blue light, 0 to 255.
    fn rgb(&self, y: f32, cb: f32, cr: f32) -> [f32; 3] {
        let y = (y - self.black) * self.luma_gain;
        let (cb, cr) = ((cb - 128.0) * self.chroma_gain, (cr - 128.0) * self.chroma_gain);
        let red = y + 2.0 * (1.0 - self.kr) * cr;
        let blue = y + 2.0 * (1.0 - self.kb) * cb;
        let green = (y - self.kr * red - self.kb * blue) / (1.0 - self.kr - self.kb);
        [red, green, blue].map(|light| light.clamp(0.0, 255.0))
    }
}

/// The input values that one output value is made of: from `start` on, one weight each; the weights add up to 1.
struct Window {
    start: usize,
    weights: Vec<f32>,
}

/// A window for each of `outputs` values over `samples` values of which `extent` count.
fn windows(samples: usize, extent: f64, outputs: usize) -> Vec<Window> {
    let scale = extent / outputs as f64;
    // Half the triangle's base: a sample when enlarging, an output when shrinking.
    let reach = scale.max(1.0);
    (0..outputs)
        .map(|output| {
            let centre = (output as f64 + 0.5) * scale;
            let start = (centre - reach).floor().max(0.0) as usize;
            let end = ((centre + reach).ceil() as usize).min(samples);
            let weight = |sample: usize| (1.0 - (sample as f64 + 0.5 - centre).abs() / reach).max(0.0);
            let total: f64 = (start..end).map(weight).sum();
            Window { start, weights: (start..end).map(|sample| (weight(sample) / total) as f32).collect() }
        })
        .collect()
}

/// The plane at the size of the windows, row by row; nothing when the plane has fewer rows than it says.
fn stretch(plane: &Plane, across: &[Window], down: &[Window]) -> Option<Vec<f32>> {
    let rows: Vec<&[u8]> = plane.rows().collect();
    let mut out = Vec::with_capacity(across.len() * down.len());
    // Down first: whole rows are added up, which the compiler turns into wide instructions.
    let mut sums = vec![0.0_f32; plane.width];
    for window in down {
        sums.fill(0.0);
        for (offset, &weight) in window.weights.iter().enumerate() {
            let row = rows.get(window.start + offset)?;
            for (sum, &value) in sums.iter_mut().zip(*row) {
                *sum += weight * f32::from(value);
            }
        }
        for Window { start, weights } in across {
            let part = sums.get(*start..)?;
            out.push(dot(part, weights));
        }
    }
    Some(out)
}

/// Adds up the products of `weights` with as many values. In four sums at a time: one sum alone would have every addition
/// wait for the one before it.
fn dot(values: &[f32], weights: &[f32]) -> f32 {
    let (values, values_left) = values.get(..weights.len()).unwrap_or(values).as_chunks::<4>();
    let (weights, weights_left) = weights.as_chunks::<4>();
    let mut sums = [0.0; 4];
    for (values, weights) in values.iter().zip(weights) {
        for ((sum, value), weight) in sums.iter_mut().zip(values).zip(weights) {
            *sum += value * weight;
        }
    }
    let left: f32 = values_left.iter().zip(weights_left).map(|(value, weight)| value * weight).sum();
    sums.iter().sum::<f32>() + left
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::clock::Timestamp;
    use crate::model::{Colour, Dtype, Filter, Layout, Resize};

    fn values(tensor: Tensor) -> ndarray::Array4<f32> {
        let Tensor::F32(values) = tensor else { panic!("floats were asked for") };
        values
    }

    fn plane(width: usize, height: usize, stride: usize, values: impl Fn(usize, usize) -> u8) -> Plane {
        let data: Vec<u8> = (0..height)
            .flat_map(|y| (0..stride).map(move |x| (x, y)))
            .map(|(x, y)| if x < width { values(x, y) } else { 99 })
            .collect();
        Plane { data: data.into(), width, height, stride }
    }

    fn picture(width: usize, height: usize, range: ColourRange, yuv: impl Fn(usize, usize, usize) -> u8) -> Picture {
        let half = |which| plane(width.div_ceil(2), height.div_ceil(2), width.div_ceil(2) + 5, |x, y| yuv(which, x, y));
        Picture {
            sequence: 0,
            pts: None,
            arrived: Timestamp::ZERO,
            luma: plane(width, height, width + 3, |x, y| yuv(0, x, y)),
            chroma: Some([half(1), half(2)]),
            range,
        }
    }

    fn input(width: usize, height: usize) -> Input {
        Input {
            name: "image".to_owned(),
            height,
            width,
            layout: Layout::Nchw,
            dtype: Dtype::F32,
            colour: Colour::Rgb,
            range: (0.0, 255.0),
            mean: [0.0; 3],
            deviation: [1.0; 3],
            resize: Resize::Warp,
            filter: Filter::Bilinear,
        }
    }

    /// One value of a stretched plane by the definition: every sample of the plane, weighted by a triangle around the
    /// place that the output's centre has in the plane.
    fn slow_value(plane: &Plane, extent: (f64, f64), size: (usize, usize), at: (usize, usize)) -> f64 {
        let triangle = |sample: usize, extent: f64, outputs: usize, output: usize| {
            let scale = extent / outputs as f64;
            let centre = (output as f64 + 0.5) * scale;
            (1.0 - (sample as f64 + 0.5 - centre).abs() / scale.max(1.0)).max(0.0)
        };
        let (mut sum, mut total) = (0.0, 0.0);
        for (y, row) in plane.rows().enumerate() {
            for (x, &value) in row.iter().enumerate() {
                let weight = triangle(x, extent.0, size.0, at.0) * triangle(y, extent.1, size.1, at.1);
                sum += weight * f64::from(value);
                total += weight;
            }
        }
        sum / total
    }

    /// RGB by the equations of the standards, solved for RGB with their printed coefficients.
    fn slow_rgb(range: ColourRange, rows: usize, yuv: [f64; 3]) -> [f64; 3] {
        let [y, u, v] = yuv;
        let (y, u, v) = match range {
            ColourRange::Full => (y / 255.0, (u - 128.0) / 255.0, (v - 128.0) / 255.0),
            ColourRange::Limited => ((y - 16.0) / 219.0, (u - 128.0) / 224.0, (v - 128.0) / 224.0),
        };
        let rgb = if rows >= 720 {
            [y + 1.5748 * v, y - 0.187_324 * u - 0.468_124 * v, y + 1.8556 * u]
        } else {
            [y + 1.402 * v, y - 0.344_136 * u - 0.714_136 * v, y + 1.772 * u]
        };
        rgb.map(|light| (light * 255.0).clamp(0.0, 255.0))
    }

    fn slow_warp(picture: &Picture, (width, height): (usize, usize)) -> Vec<f64> {
        let whole = (picture.luma.width as f64, picture.luma.height as f64);
        let half = (whole.0 / 2.0, whole.1 / 2.0);
        let [blue, red] = picture.chroma.as_ref().unwrap();
        let mut values = vec![0.0; 3 * width * height];
        for y in 0..height {
            for x in 0..width {
                let yuv = [(&picture.luma, whole), (blue, half), (red, half)]
                    .map(|(plane, extent)| slow_value(plane, extent, (width, height), (x, y)));
                for (channel, light) in slow_rgb(picture.range, picture.luma.height, yuv).into_iter().enumerate() {
                    values[(channel * height + y) * width + x] = light;
                }
            }
        }
        values
    }

    fn agrees_with_its_twin(picture: &Picture, size: (usize, usize)) {
        let fast = values(warp(picture, &input(size.0, size.1)).unwrap());
        for (fast, slow) in fast.iter().zip(slow_warp(picture, size)) {
            assert!((f64::from(*fast) - slow).abs() < 0.01, "{fast} instead of {slow}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(128))]
        #[test]
        fn the_fast_way_agrees_with_the_slow_one(
            (width, height) in (1_usize..50, 1_usize..50),
            size in (1_usize..20, 1_usize..20),
            full in any::<bool>(),
            seed in any::<u64>(),
        ) {
            let noise = |which: usize, x: usize, y: usize| {
                let mixed = (seed ^ ((which * 7919 + x * 104_729 + y * 1_299_709) as u64)).wrapping_mul(0x9E37_79B9_7F4A_7C15);
                (mixed >> 56) as u8
            };
            let range = if full { ColourRange::Full } else { ColourRange::Limited };
            agrees_with_its_twin(&picture(width, height, range, noise), size);
        }
    }

    #[test]
    fn an_hd_picture_has_other_colours() {
        agrees_with_its_twin(
            &picture(4, 720, ColourRange::Limited, |which, x, y| (40 * which + x + y % 100) as u8),
            (3, 5),
        );
    }

    #[test]
    fn primaries_come_out_as_themselves() {
        // BT.601, limited range: the values of colour bars.
        for (name, yuv, rgb) in [
            ("black", [16, 128, 128], [0.0, 0.0, 0.0]),
            ("white", [235, 128, 128], [255.0, 255.0, 255.0]),
            ("red", [81, 90, 240], [255.0, 0.0, 0.0]),
            ("green", [145, 54, 34], [0.0, 255.0, 0.0]),
            ("blue", [41, 240, 110], [0.0, 0.0, 255.0]),
        ] {
            let tensor =
                values(warp(&picture(16, 16, ColourRange::Limited, |which, _, _| yuv[which]), &input(4, 4)).unwrap());
            for (channel, expected) in rgb.iter().enumerate() {
                let got = tensor[[0, channel, 2, 1]];
                assert!((got - expected).abs() < 2.0, "{name}: channel {channel} is {got}");
            }
        }
    }

    #[test]
    fn the_input_says_what_full_light_is() {
        let unit = Input { range: (-1.0, 1.0), ..input(2, 2) };
        let tensor = warp(&picture(8, 8, ColourRange::Full, |which, _, _| if which == 0 { 255 } else { 128 }), &unit);
        assert!(values(tensor.unwrap()).iter().all(|value| (value - 1.0).abs() < 1e-6));
    }

    #[test]
    fn a_picture_that_cannot_be_used_is_refused() {
        let right = || picture(16, 16, ColourRange::Limited, |_, _, _| 100);
        let colourless = Picture { chroma: None, ..right() };
        let mut short = right();
        short.luma.data = short.luma.data.slice(..40);
        let odd = Picture { luma: plane(18, 16, 18, |_, _| 0), ..right() };
        let empty = Picture { luma: plane(0, 0, 0, |_, _| 0), ..right() };
        for (picture, expected) in
            [(colourless, "no colour planes"), (short, "cut short"), (odd, "half its size"), (empty, "empty")]
        {
            let error = warp(&picture, &input(4, 4)).unwrap_err();
            assert!(error.to_string().contains(expected), "{error}");
            assert_eq!(error.kind(), "picture");
        }
    }
}
