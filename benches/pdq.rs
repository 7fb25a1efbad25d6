//! How long one PDQ hash takes, without decoding a file. `benches/pdq_peer.py` asks the same of PyPI's `pdqhash`.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use sluicegate::hash::{Hasher, Luma, Rgb};

fn noise(len: usize) -> Vec<u8> {
    let mut state = 1u64;
    let next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        state.to_be_bytes()[0]
    };
    std::iter::repeat_with(next).take(len).collect()
}

fn pdq(c: &mut Criterion) {
    let mut group = c.benchmark_group("pdq");
    let mut hasher = Hasher::new();
    for (name, width, height) in [("1080p luma", 1920, 1080), ("512x512 grey", 512, 512)] {
        let pixels = noise(width * height);
        group.throughput(Throughput::Elements((width * height) as u64));
        group.bench_function(BenchmarkId::from_parameter(name), |b| {
            b.iter(|| Luma::new(black_box(&pixels), width, height, width).map(|luma| hasher.luma(luma)));
        });
    }
    let pixels = noise(1920 * 1080 * 3);
    group.throughput(Throughput::Elements(1920 * 1080));
    group.bench_function(BenchmarkId::from_parameter("1080p RGB"), |b| {
        b.iter(|| Rgb::new(black_box(&pixels), 1920, 1080).map(|rgb| hasher.rgb(rgb)));
    });
    let pixels = noise(512 * 512);
    group.throughput(Throughput::Elements(512 * 512));
    group.bench_function(BenchmarkId::from_parameter("512x512 grey, dihedral"), |b| {
        b.iter(|| Luma::new(black_box(&pixels), 512, 512, 512).map(|luma| hasher.dihedral(luma)));
    });
    group.finish();
}

criterion_group!(benches, pdq);
criterion_main!(benches);
