//! The way to work with AVX2: sixteen 16-bit values a register.
#![allow(unsafe_code, reason = "instructions that not every machine has; `Avx2` proves that this one has them")]
#![allow(clippy::cast_ptr_alignment, clippy::unused_self, reason = "loads that may be unaligned; `self` is the proof")]

use std::arch::x86_64::{
    __m256i, _mm256_add_epi16, _mm256_add_epi32, _mm256_cvtepi32_ps, _mm256_hadd_epi32, _mm256_loadu_si256,
    _mm256_madd_epi16, _mm256_mul_ps, _mm256_mulhi_epi16, _mm256_permute2x128_si256, _mm256_set1_epi8,
    _mm256_set1_epi16, _mm256_set1_ps, _mm256_setzero_si256, _mm256_storeu_ps, _mm256_storeu_si256,
    _mm256_unpackhi_epi8, _mm256_unpacklo_epi8, _mm256_xor_si256,
};

use super::{BLOCK, GROUP, Rows, UNIT, Windows, scalar};

/// Bytes in a register.
const WIDTH: usize = 32;

/// Columns that are worked on together: a cache line's.
const COLUMNS: usize = 2 * WIDTH;

/// A proof that the machine has AVX2.
#[derive(Debug, Clone, Copy)]
pub(in crate::model::preprocess) struct Avx2(());

impl Avx2 {
    pub(super) fn found() -> Option<Self> {
        is_x86_feature_detected!("avx2").then_some(Self(()))
    }

    pub(super) fn down(self, rows: Rows<'_>, sums: &mut [i16]) -> Option<()> {
        // SAFETY: `self` proves AVX2.
        unsafe { down(rows, sums) }
    }

    pub(super) fn across(self, row: &[i16], windows: &Windows, out: &mut [f32]) -> Option<()> {
        // SAFETY: `self` proves AVX2.
        unsafe { across(row, windows, out) }
    }
}

#[target_feature(enable = "avx2")]
fn down(rows: Rows<'_>, sums: &mut [i16]) -> Option<()> {
    let Some(last) = sums.len().checked_sub(COLUMNS) else { return scalar::down(rows, sums) };
    for x in (0..last).step_by(COLUMNS) {
        columns(rows, x, sums)?;
    }
    // The last columns overlap with those before them, which come out the same again.
    columns(rows, last, sums)
}

#[target_feature(enable = "avx2")]
fn columns(rows: Rows<'_>, x: usize, sums: &mut [i16]) -> Option<()> {
    let (zero, flip) = (_mm256_setzero_si256(), _mm256_set1_epi8(-128));
    let lost = _mm256_set1_epi16(rows.lost());
    let mut totals = [[lost; 2]; COLUMNS / WIDTH];
    let mut at = x;
    for &weight in rows.weights {
        let bytes = rows.data.get(at..)?.first_chunk::<COLUMNS>()?;
        let weight = _mm256_set1_epi16(weight);
        let (halves, _) = bytes.as_chunks::<WIDTH>();
        for (total, half) in totals.iter_mut().zip(halves) {
            // Flipping the highest bit takes 128 away; a byte above a zero is moved up by eight bits.
            let centred = _mm256_xor_si256(load_bytes(half), flip);
            let low = _mm256_mulhi_epi16(_mm256_unpacklo_epi8(zero, centred), weight);
            let high = _mm256_mulhi_epi16(_mm256_unpackhi_epi8(zero, centred), weight);
            *total = [_mm256_add_epi16(total[0], low), _mm256_add_epi16(total[1], high)];
        }
        at += rows.stride;
    }
    let (to, _) = sums.get_mut(x..)?.first_chunk_mut::<COLUMNS>()?.as_chunks_mut::<BLOCK>();
    for ([low, high], to) in totals.into_iter().zip(to.as_chunks_mut::<2>().0) {
        // Unpacking took the two halves of the register apart, each into two.
        store(_mm256_permute2x128_si256::<0x20>(low, high), &mut to[0]);
        store(_mm256_permute2x128_si256::<0x31>(low, high), &mut to[1]);
    }
    Some(())
}

#[target_feature(enable = "avx2")]
fn across(row: &[i16], windows: &Windows, out: &mut [f32]) -> Option<()> {
    // Of a number of blocks that the compiler knows, no loop is left: video of the usual sizes has one or two.
    match windows.blocks {
        1 => across_blocks::<1>(row, windows, out),
        2 => across_blocks::<2>(row, windows, out),
        3 => across_blocks::<3>(row, windows, out),
        _ => across_many(row, windows, out),
    }
}

#[target_feature(enable = "avx2")]
fn across_blocks<const BLOCKS: usize>(row: &[i16], windows: &Windows, out: &mut [f32]) -> Option<()> {
    let (out, _) = out.as_chunks_mut::<GROUP>();
    let (starts, _) = windows.starts.as_chunks::<GROUP>();
    let (weights, _) = windows.weights.as_chunks::<BLOCKS>();
    let (weights, _) = weights.as_chunks::<GROUP>();
    for ((out, starts), weights) in out.iter_mut().zip(starts).zip(weights) {
        let mut sums = [_mm256_setzero_si256(); GROUP];
        for ((sum, &start), weights) in sums.iter_mut().zip(starts).zip(weights) {
            let values = row.get(start..)?.as_chunks::<BLOCK>().0.first_chunk::<BLOCKS>()?;
            for (values, weights) in values.iter().zip(weights) {
                *sum = _mm256_add_epi32(*sum, _mm256_madd_epi16(load(values), load(weights)));
            }
        }
        *out = levels(sums);
    }
    Some(())
}

#[target_feature(enable = "avx2")]
fn across_many(row: &[i16], windows: &Windows, out: &mut [f32]) -> Option<()> {
    let blocks = windows.blocks.max(1);
    let (out, _) = out.as_chunks_mut::<GROUP>();
    let (starts, _) = windows.starts.as_chunks::<GROUP>();
    for ((out, starts), weights) in out.iter_mut().zip(starts).zip(windows.weights.chunks_exact(GROUP * blocks)) {
        let mut sums = [_mm256_setzero_si256(); GROUP];
        for ((sum, &start), weights) in sums.iter_mut().zip(starts).zip(weights.chunks_exact(blocks)) {
            let (values, _) = row.get(start..)?.get(..blocks * BLOCK)?.as_chunks::<BLOCK>();
            for (values, weights) in values.iter().zip(weights) {
                *sum = _mm256_add_epi32(*sum, _mm256_madd_epi16(load(values), load(weights)));
            }
        }
        *out = levels(sums);
    }
    Some(())
}

/// The eight values of each register added up, as levels.
#[target_feature(enable = "avx2")]
fn levels(sums: [__m256i; GROUP]) -> [f32; GROUP] {
    let (low, high) = (halves(&sums, 0), halves(&sums, 4));
    let sums =
        _mm256_add_epi32(_mm256_permute2x128_si256::<0x20>(low, high), _mm256_permute2x128_si256::<0x31>(low, high));
    let mut levels = [0.0; GROUP];
    // SAFETY: they are eight floats.
    unsafe { _mm256_storeu_ps(levels.as_mut_ptr(), _mm256_mul_ps(_mm256_cvtepi32_ps(sums), _mm256_set1_ps(UNIT))) };
    levels
}

/// The values of four registers from `at` on, added up in each half of a register.
#[target_feature(enable = "avx2")]
fn halves(sums: &[__m256i; GROUP], at: usize) -> __m256i {
    _mm256_hadd_epi32(_mm256_hadd_epi32(sums[at], sums[at + 1]), _mm256_hadd_epi32(sums[at + 2], sums[at + 3]))
}

#[target_feature(enable = "avx2")]
fn load_bytes(from: &[u8; WIDTH]) -> __m256i {
    // SAFETY: they are 32 bytes.
    unsafe { _mm256_loadu_si256(from.as_ptr().cast()) }
}

#[target_feature(enable = "avx2")]
fn load(from: &[i16; BLOCK]) -> __m256i {
    // SAFETY: they are 32 bytes.
    unsafe { _mm256_loadu_si256(from.as_ptr().cast()) }
}

#[target_feature(enable = "avx2")]
fn store(values: __m256i, to: &mut [i16; BLOCK]) {
    // SAFETY: they are 32 bytes.
    unsafe { _mm256_storeu_si256(to.as_mut_ptr().cast(), values) };
}
