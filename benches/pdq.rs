//! How long one PDQ hash takes, without decoding a file. `benches/pdq_peer.py` asks the same of PyPI's `pdqhash`.
//!
//! Pictures take different times, as a few have to be hashed again the long way: so each time is of eight pictures in
//! turn, and how many of them were hashed again is printed. Waves of many lengths under grain stand for photographs.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use sluicegate::hash::{Hasher, Luma, Pixels, Rgb};
use sluicegate::picture::ColourRange;

const PICTURES: usize = 8;

fn pictures(width: usize, height: usize, channels: usize) -> Vec<Vec<u8>> {
    let picture = |number: usize| {
        let mut state = number as u64 + 1;
        let mut grain = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            f64::from(state.to_be_bytes()[0]) / 16.0
        };
        let waves = move |x: f64, y: f64| -> f64 {
            let wave = |n: usize| {
                let (frequency, angle) = (1.7f64.powi(n as i32), (number * 7 + n * n) as f64);
                (frequency * (x * angle.cos() + y * angle.sin()) + angle).sin() / frequency.sqrt()
            };
            (1..9).map(wave).sum()
        };
        let pixel =
            |at: usize| 110.0 + 45.0 * waves((at % width) as f64 / height as f64, (at / width) as f64 / height as f64);
        let mut luma = (0..width * height).map(|at| pixel(at) + grain()).collect::<Vec<_>>().into_iter();
        let mut value = 0.0;
        (0..width * height * channels)
            .map(|at| {
                if at % channels == 0 {
                    value = luma.next().unwrap_or_default();
                }
                (value - 20.0 * (at % channels) as f64) as u8
            })
            .collect()
    };
    (0..PICTURES).map(picture).collect()
}

fn hash(hasher: &mut Hasher, pixels: Pixels<'_>) {
    black_box(match pixels {
        Pixels::Luma(luma) => hasher.luma(luma),
        Pixels::Rgb(rgb) => hasher.rgb(rgb),
    });
}

fn pdq(c: &mut Criterion) {
    let mut group = c.benchmark_group("pdq");
    group.sample_size(20).throughput(Throughput::Elements(PICTURES as u64));
    let cases = [
        ("1080p RGB", 1920, 1080, 3, ColourRange::Full),
        ("1080p luma", 1920, 1080, 1, ColourRange::Full),
        ("1080p video luma", 1920, 1080, 1, ColourRange::Limited),
        ("512x512 grey", 512, 512, 1, ColourRange::Full),
    ];
    for (name, width, height, channels, range) in cases {
        let pictures = pictures(width, height, channels);
        let views: Vec<Pixels<'_>> = if channels == 3 {
            pictures.iter().filter_map(|data| Rgb::new(data, width, height).ok()).map(Pixels::Rgb).collect()
        } else {
            let luma = pictures.iter().filter_map(|data| Luma::new(data, width, height, width).ok());
            luma.map(|luma| Pixels::Luma(luma.in_range(range))).collect()
        };
        for (way, mut hasher) in Hasher::every_way() {
            let before = hasher.retaken();
            views.iter().for_each(|pixels| hash(&mut hasher, *pixels));
            println!(
                "{name}, {way}: {} of {PICTURES} pictures are hashed again the long way",
                hasher.retaken() - before
            );
            group.bench_function(BenchmarkId::new(name, way), |b| {
                b.iter(|| views.iter().for_each(|pixels| hash(&mut hasher, black_box(*pixels))));
            });
        }
        let mut hasher = Hasher::new();
        group.bench_function(BenchmarkId::new(name, "all eight variants"), |b| {
            b.iter(|| views.iter().for_each(|pixels| drop(black_box(hasher.dihedral(*pixels)))));
        });
    }
    group.finish();
}

criterion_group!(benches, pdq);
criterion_main!(benches);
