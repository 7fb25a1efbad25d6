//! What making a tensor costs, on one core, for pictures of several sizes and rules: one JSON object a line. (`make bench-model`
//! has the comparison with others.)
//!
//! A picture is told flat or not, its bars are found, and it is scaled and turned into the input of a model, 224 by 224
//! floats. Times are CPU time of this thread, the median of many; the picture is in the cache, as it is for a worker that
//! has just decoded it. Without arguments but `--bench` it measures; as `cargo test` runs it, it does nothing.
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a bench that cannot go on should say so at once")]

use std::hint::black_box;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use serde_json::json;
use sluicegate::clock::Timestamp;
use sluicegate::model::{Colour, Dtype, Filter, Input, Layout, Preprocessor, Resize, flat};
use sluicegate::picture::{ColourRange, Picture, Plane};

/// Pictures that are timed; a tenth as many come first and are not.
const ROUNDS: u32 = 500;

fn main() {
    if !std::env::args().any(|arg| arg == "--bench") {
        return;
    }
    for (name, size, resize, filter) in [
        ("preprocess 1080p", (1920, 1080), Resize::Warp, Filter::Bilinear),
        ("preprocess 720p", (1280, 720), Resize::Warp, Filter::Bilinear),
        ("preprocess 2160p", (3840, 2160), Resize::Warp, Filter::Bilinear),
        ("preprocess 1080p bicubic", (1920, 1080), Resize::Warp, Filter::Bicubic),
        ("preprocess 1080p crop", (1920, 1080), Resize::Crop(256), Filter::Bilinear),
    ] {
        let input = input(resize, filter);
        measure(name, &picture(size, 0), &input);
    }
    let input = input(Resize::Warp, Filter::Bilinear);
    measure("preprocess 1080p letterbox", &picture((1920, 1080), 140), &input);
    let even = picture((1920, 1080), 540);
    tell("flat 1080p", || flat(black_box(&even)));
}

fn measure(name: &str, picture: &Picture, input: &Input) {
    let mut preprocessor = Preprocessor::new(input);
    tell(name, || {
        assert!(!flat(black_box(picture)));
        preprocessor.tensor(black_box(picture)).unwrap()
    });
}

fn tell<T>(name: &str, mut work: impl FnMut() -> T) {
    let mut once = || {
        let began = now();
        black_box(work());
        now().saturating_sub(began).as_secs_f64() * 1e3
    };
    for _ in 0..ROUNDS / 10 {
        once();
    }
    let mut times: Vec<f64> = (0..ROUNDS).map(|_| once()).collect();
    times.sort_by(f64::total_cmp);
    let at = |percent: usize| times.get(times.len() * percent / 100).unwrap();
    println!("{}", json!({ "name": name, "ms": at(50), "p10": at(10), "p99": at(99) }));
}

fn now() -> Duration {
    Duration::try_from(clock_gettime(ClockId::ThreadCPUTime)).unwrap()
}

fn input(resize: Resize, filter: Filter) -> Input {
    Input {
        name: "image".to_owned(),
        height: 224,
        width: 224,
        layout: Layout::Nchw,
        dtype: Dtype::F32,
        colour: Colour::Rgb,
        range: (0.0, 255.0),
        mean: [0.0; 3],
        deviation: [1.0; 3],
        resize,
        filter,
    }
}

/// Something uneven between two black bars of so many rows.
fn picture((width, height): (usize, usize), bar: usize) -> Picture {
    let plane = |width: usize, height: usize, bar: usize, black: u8| {
        let rows = bar..height - bar;
        let data: Vec<u8> = (0..height)
            .flat_map(|y| (0..width).map(move |x| (x, y)))
            .map(|(x, y)| if rows.contains(&y) { ((x * x / 64 + 3 * x * y / 32 + y) % 251) as u8 } else { black })
            .collect();
        Plane { data: data.into(), width, height, stride: width }
    };
    let chroma = || plane(width / 2, height / 2, bar / 2, 128);
    Picture {
        sequence: 0,
        pts: None,
        arrived: Timestamp::ZERO,
        luma: plane(width, height, bar, 16),
        chroma: Some([chroma(), chroma()]),
        range: ColourRange::Limited,
    }
}
