//! What a model is given is what the definitions say: filters, resize rules, bars and colours, each written out slowly.

use proptest::prelude::*;

use super::kernel::Kernel;
use super::*;
use crate::clock::Timestamp;
use crate::model::{Colour, Dtype, Filter, Layout, Rect, Resize};
use crate::picture::ColourRange;

/// How far a channel may be from the exact value, in levels of 255.
const TOLERANCE: f64 = 0.25;

fn floats(tensor: Tensor) -> Array4<f32> {
    let Tensor::F32(values) = tensor else { panic!("floats were asked for") };
    values
}

fn tensor(picture: &Picture, input: &Input) -> Array4<f32> {
    floats(Preprocessor::new(input).tensor(picture).unwrap())
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

fn noise(seed: u64) -> impl Fn(usize, usize, usize) -> u8 {
    move |which, x, y| {
        let mixed = (seed ^ ((which * 7919 + x * 104_729 + y * 1_299_709) as u64)).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        (mixed >> 56) as u8
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

/// A filter's value, by its definition.
fn slow_filter(filter: Filter, x: f64) -> f64 {
    let x = x.abs();
    match filter {
        Filter::Bilinear => (1.0 - x).max(0.0),
        Filter::Bicubic if x < 1.0 => 1.5 * x.powi(3) - 2.5 * x.powi(2) + 1.0,
        Filter::Bicubic if x < 2.0 => -0.5 * x.powi(3) + 2.5 * x.powi(2) - 4.0 * x + 2.0,
        Filter::Bicubic => 0.0,
    }
}

/// Each output along a side as a weight for every sample of it: `(start, end)` is what is scaled to `of` outputs, of which
/// `count` in the middle are taken.
fn slow_weights(filter: Filter, samples: usize, (start, end): (f64, f64), of: usize, count: usize) -> Vec<Vec<f64>> {
    let scale = (end - start) / of as f64;
    let from = ((of - count) as f64 / 2.0).round_ties_even() as usize;
    (from..from + count)
        .map(|output| {
            let centre = start + (output as f64 + 0.5) * scale;
            let weight = |sample: usize| {
                let inside = sample as f64 + 1.0 > start && (sample as f64) < end;
                if inside { slow_filter(filter, (sample as f64 + 0.5 - centre) / scale.max(1.0)) } else { 0.0 }
            };
            let weights: Vec<f64> = (0..samples).map(weight).collect();
            let total: f64 = weights.iter().sum();
            weights.into_iter().map(|weight| weight / total).collect()
        })
        .collect()
}

fn slow_plane(plane: &Plane, across: &[Vec<f64>], down: &[Vec<f64>]) -> Vec<f64> {
    let rows: Vec<&[u8]> = plane.rows().collect();
    let weighted = |row: &[u8], weights: &[f64]| -> f64 {
        row.iter().zip(weights).map(|(&value, weight)| f64::from(value) * weight).sum()
    };
    let sums: Vec<Vec<f64>> =
        rows.iter().map(|row| across.iter().map(|weights| weighted(row, weights)).collect()).collect();
    let column = |weights: &[f64], x: usize| sums.iter().zip(weights).map(|(row, weight)| row[x] * weight).sum();
    down.iter().flat_map(|weights| (0..across.len()).map(|x| column(weights, x)).collect::<Vec<f64>>()).collect()
}

/// RGB by the equations of the standards, solved for RGB with their printed coefficients.
fn slow_rgb(range: ColourRange, rows: usize, [y, u, v]: [f64; 3]) -> [f64; 3] {
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

/// Red, green and blue, one plane after the other, of what is inside `inside`.
fn slow(picture: &Picture, inside: Rect, input: &Input) -> Vec<f64> {
    let Rect { left, top, width, height } = inside;
    let (of_width, of_height) = match input.resize {
        Resize::Warp => (input.width, input.height),
        Resize::WarpCrop(side) => (side, side),
        Resize::Crop(side) if width < height => (side, side * height / width),
        Resize::Crop(side) => (side * width / height, side),
    };
    let [blue, red] = picture.chroma.as_ref().unwrap();
    let planes = [(&picture.luma, 1.0), (blue, 0.5), (red, 0.5)].map(|(plane, share)| {
        let span = |start: usize, length: usize| (start as f64 * share, (start + length) as f64 * share);
        let across = slow_weights(input.filter, plane.width, span(left, width), of_width, input.width);
        let down = slow_weights(input.filter, plane.height, span(top, height), of_height, input.height);
        slow_plane(plane, &across, &down)
    });
    let size = input.width * input.height;
    let mut values = vec![0.0; 3 * size];
    for at in 0..size {
        let yuv = planes.each_ref().map(|plane| plane[at]);
        for (channel, light) in slow_rgb(picture.range, picture.luma.height, yuv).into_iter().enumerate() {
            values[channel * size + at] = light;
        }
    }
    values
}

fn agrees_with_its_twin(picture: &Picture, input: &Input) {
    let expected = slow(picture, inside_bars(picture), input);
    for kernel in Kernel::found() {
        let mut preprocessor = Preprocessor::new(input);
        preprocessor.scaler.kernel = kernel;
        for (fast, slow) in floats(preprocessor.tensor(picture).unwrap()).iter().zip(&expected) {
            assert!((f64::from(*fast) - slow).abs() < TOLERANCE, "{kernel:?}: {fast} instead of {slow}");
        }
    }
}

fn rule(which: usize, (width, height): (usize, usize)) -> Resize {
    let side = width.max(height) + which % 7;
    [Resize::Warp, Resize::WarpCrop(side), Resize::Crop(side)][which % 3]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]
    #[test]
    fn the_fast_way_agrees_with_the_slow_one(
        (width, height) in (1_usize..150, 1_usize..90),
        size in (1_usize..40, 1_usize..40),
        which in 0_usize..1000,
        cubic in any::<bool>(),
        full in any::<bool>(),
        seed in any::<u64>(),
    ) {
        let range = if full { ColourRange::Full } else { ColourRange::Limited };
        let filter = if cubic { Filter::Bicubic } else { Filter::Bilinear };
        let input = Input { resize: rule(which, size), filter, ..input(size.0, size.1) };
        agrees_with_its_twin(&picture(width, height, range, noise(seed)), &input);
    }
}

#[test]
fn large_pictures_are_scaled_as_closely() {
    for (size, filter) in [((1280, 720), Filter::Bilinear), ((1921, 1081), Filter::Bicubic)] {
        let input = Input { filter, ..input(24, 32) };
        agrees_with_its_twin(&picture(size.0, size.1, ColourRange::Limited, noise(7)), &input);
    }
}

#[test]
fn bars_are_not_looked_at() {
    let inside = |x: usize, y: usize| (12..52).contains(&x) && (8..40).contains(&y);
    let content = noise(3);
    let barred = picture(64, 48, ColourRange::Limited, |which, x, y| {
        let full = if which == 0 { (x, y) } else { (2 * x, 2 * y) };
        if inside(full.0, full.1) { content(which, x, y) } else { [16, 128, 128][which] }
    });
    let bare = picture(40, 32, ColourRange::Limited, |which, x, y| {
        if which == 0 { content(which, x + 12, y + 8) } else { content(which, x + 6, y + 4) }
    });
    for resize in [Resize::Warp, Resize::WarpCrop(20), Resize::Crop(20)] {
        let input = Input { resize, ..input(16, 12) };
        assert_eq!(tensor(&barred, &input), tensor(&bare, &input), "{resize:?}");
    }
}

#[test]
fn sizes_and_bars_that_take_turns_do_not_disturb_each_other() {
    let input = input(9, 7);
    let mut one_for_all = Preprocessor::new(&input);
    for round in 0..3 {
        for turn in 0..24 {
            let (size, bar) = (turn / 2, 8 * (turn % 2));
            let content = noise(round);
            let picture = picture(30 + 7 * size, 90 - 3 * size, ColourRange::Full, |which, x, y| {
                let above = if which == 0 { bar } else { bar / 2 };
                if y < above { [16, 128, 128][which] } else { content(which, x, y) }
            });
            let expected = tensor(&picture, &input);
            assert_eq!(floats(one_for_all.tensor(&picture).unwrap()), expected, "round {round}, turn {turn}");
        }
    }
}

/// Smooth ones too, where roundings do not cancel out as they do in noise.
#[test]
fn an_hd_picture_has_other_colours() {
    for (rows, of) in [(719, 224), (720, 224), (720, 40), (2160, 224)] {
        let smooth = |which: usize, x: usize, y: usize| (40 * which + x + y % 100) as u8;
        agrees_with_its_twin(&picture(4, rows, ColourRange::Limited, smooth), &input(3, of));
    }
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
        let tensor = tensor(&picture(16, 16, ColourRange::Limited, |which, _, _| yuv[which]), &input(4, 4));
        for (channel, expected) in rgb.iter().enumerate() {
            let got = tensor[[0, channel, 2, 1]];
            assert!((got - expected).abs() < 2.0, "{name}: channel {channel} is {got}");
        }
    }
}

/// A picture of one orange.
fn orange() -> Picture {
    picture(16, 16, ColourRange::Full, |which, _, _| [169, 33, 189][which])
}

#[test]
fn range_mean_and_deviation_are_the_inputs() {
    let plain = tensor(&orange(), &input(2, 2));
    let [red, green, blue] = [0, 1, 2].map(|channel| plain[[0, channel, 0, 0]]);
    assert!(red > green + 50.0 && green > blue + 50.0, "orange, not {red} {green} {blue}");

    let (mean, deviation) = ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]);
    for (input, expected) in [
        (Input { range: (-1.0, 1.0), ..input(2, 2) }, [red, green, blue].map(|level| level / 127.5 - 1.0)),
        (
            Input { range: (0.0, 1.0), mean, deviation, ..input(2, 2) },
            [(red, 0), (green, 1), (blue, 2)].map(|(level, at)| (level / 255.0 - mean[at]) / deviation[at]),
        ),
        (
            Input { colour: Colour::Bgr, mean: [104.0, 117.0, 123.0], ..input(2, 2) },
            [blue - 104.0, green - 117.0, red - 123.0],
        ),
    ] {
        let tensor = tensor(&orange(), &input);
        for (channel, expected) in expected.into_iter().enumerate() {
            let got = tensor[[0, channel, 1, 1]];
            assert!((got - expected).abs() < 1e-4, "channel {channel}: {got} instead of {expected}");
        }
    }
}

#[test]
fn layouts_and_whole_numbers_hold_the_same_picture() {
    let picture = picture(40, 30, ColourRange::Limited, noise(11));
    for colour in [Colour::Rgb, Colour::Bgr] {
        let plain = Input { colour, ..input(5, 3) };
        let planes = tensor(&picture, &plain);
        let pixels = tensor(&picture, &Input { layout: Layout::Nhwc, ..plain.clone() });
        assert_eq!(pixels.dim(), (1, 3, 5, 3));
        assert_eq!(pixels.permuted_axes([0, 3, 1, 2]), planes);
        let whole = Input { dtype: Dtype::U8, ..plain };
        let Tensor::U8(whole) = Preprocessor::new(&whole).tensor(&picture).unwrap() else {
            panic!("not whole numbers")
        };
        assert_eq!(whole.mapv(f32::from), planes.mapv(f32::round));
    }
}

#[test]
fn a_picture_that_cannot_be_used_is_refused() {
    let right = || picture(16, 16, ColourRange::Limited, |_, x, y| (x * y) as u8);
    let colourless = Picture { chroma: None, ..right() };
    let mut short = right();
    short.luma.data = short.luma.data.slice(..40);
    let odd = Picture { luma: plane(18, 16, 18, |_, _| 0), ..right() };
    let empty = Picture { luma: plane(0, 0, 0, |_, _| 0), ..right() };
    for (picture, expected) in
        [(colourless, "no colour planes"), (short, "cut short"), (odd, "half its size"), (empty, "empty")]
    {
        let error = Preprocessor::new(&input(4, 4)).tensor(&picture).unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
        assert_eq!(error.kind(), "picture");
    }
}
