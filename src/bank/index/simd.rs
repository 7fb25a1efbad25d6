//! The inner loops of every query: looking through buckets for the few entries whose next bits are near enough, comparing hashes that
//! lie side by side, and asking the processor to fetch what is needed soon.
//!
//! One body each, compiled for what the processor has: AVX-512 counts the bits of 32 values in one instruction. The choice is made at
//! run time, and the only unsafe things are the call across it and the fetching, which reads nothing.
#![allow(unsafe_code)]

use super::bands::Banded;

/// A bucket and how many bits the sixteen that follow the band may differ by in it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bucket {
    pub(super) start: u32,
    pub(super) end: u32,
    pub(super) limit: u32,
}

/// Compared at a time by [`sift`].
const LANES: usize = 32;

/// Values that [`sift`] reads past the last entry.
pub(super) const PADDING: usize = LANES;

/// Hashes in a [`Block`].
pub(super) const BLOCK: usize = 8;

/// Eight hashes, word by word: the first words of all, then the second words, and so on.
pub(super) type Block = [[u64; BLOCK]; 4];

/// What [`compare`] finds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Near {
    /// Its number, counted from the first hash of the first block.
    pub(super) at: u32,
    /// Bits that differ.
    pub(super) apart: u32,
}

type Sift = fn(&[u16], &[Bucket], u16, &mut Vec<u32>);
type Compare = fn(&[Block], &Banded, u32, &mut Vec<Near>);

/// Appends to `near` the number of every entry in `buckets` whose value in `next` is within the bucket's limit of `word`.
/// There are [`PADDING`] values in `next` behind the last entry.
pub(super) fn sift(next: &[u16], buckets: &[Bucket], word: u16, near: &mut Vec<u32>) {
    best().0(next, buckets, word, near);
}

/// Appends to `near` every hash of `blocks` that is at most `distance` bits from `hash`.
pub(super) fn compare(blocks: &[Block], hash: &Banded, distance: u32, near: &mut Vec<Near>) {
    best().1(blocks, hash, distance, near);
}

/// Has the processor fetch the memory in which `values[at]` lies, if there is such a value, without waiting for it.
#[inline]
pub(super) fn fetch<T>(values: &[T], at: usize) {
    #[cfg(target_arch = "x86_64")]
    if let Some(value) = values.get(at) {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: it is a hint that reads and writes nothing; the address is that of a value.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(std::ptr::from_ref(value).cast()) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = (values, at);
}

/// What this processor runs quickest. That it was asked is what makes the calls sound.
fn best() -> (Sift, Compare) {
    #[cfg(target_arch = "x86_64")]
    {
        if has_avx512() {
            return (
                // SAFETY: the processor has what the function is compiled for.
                |next, buckets, word, near| unsafe { sift_avx512(next, buckets, word, near) },
                // SAFETY: the same.
                |blocks, hash, distance, near| unsafe { compare_avx512(blocks, hash, distance, near) },
            );
        }
        if has_avx2() {
            return avx2();
        }
    }
    (sift_scalar, compare_scalar)
}

#[cfg(target_arch = "x86_64")]
fn has_avx512() -> bool {
    is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx512vl")
        && is_x86_feature_detected!("avx512bitalg")
        && is_x86_feature_detected!("avx512vpopcntdq")
        && is_x86_feature_detected!("popcnt")
}

#[cfg(target_arch = "x86_64")]
fn has_avx2() -> bool {
    is_x86_feature_detected!("avx2") && is_x86_feature_detected!("popcnt")
}

/// Only where [`has_avx2`].
#[cfg(target_arch = "x86_64")]
fn avx2() -> (Sift, Compare) {
    (
        // SAFETY: the processor has what the function is compiled for.
        |next, buckets, word, near| unsafe { sift_avx2(next, buckets, word, near) },
        // SAFETY: the same.
        |blocks, hash, distance, near| unsafe { compare_avx2(blocks, hash, distance, near) },
    )
}

/// All that this processor can run.
#[cfg(test)]
pub(super) fn kernels() -> Vec<(Sift, Compare)> {
    let mut kernels: Vec<(Sift, Compare)> = vec![(sift, compare), (sift_scalar, compare_scalar)];
    #[cfg(target_arch = "x86_64")]
    if has_avx2() {
        kernels.push(avx2());
    }
    kernels
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512bitalg,popcnt")]
fn sift_avx512(next: &[u16], buckets: &[Bucket], word: u16, near: &mut Vec<u32>) {
    use std::arch::x86_64::{
        _mm512_cmple_epu16_mask, _mm512_loadu_epi16, _mm512_popcnt_epi16, _mm512_set1_epi16, _mm512_xor_si512,
    };
    let word = _mm512_set1_epi16(word as i16);
    for &Bucket { start, end, limit } in buckets {
        let limit = _mm512_set1_epi16(limit as i16);
        for at in (start..end).step_by(LANES) {
            let Some(group) = next.get(at as usize..).and_then(<[u16]>::first_chunk::<LANES>) else { break };
            // SAFETY: a group is as long as what is read.
            let values = unsafe { _mm512_loadu_epi16(group.as_ptr().cast()) };
            let apart = _mm512_popcnt_epi16(_mm512_xor_si512(values, word));
            let mut within = _mm512_cmple_epu16_mask(apart, limit);
            // A group may reach into the next bucket.
            if end - at < LANES as u32 {
                within &= (1 << (end - at)) - 1;
            }
            while within != 0 {
                near.push(at + within.trailing_zeros());
                within &= within - 1;
            }
        }
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,popcnt")]
fn sift_avx2(next: &[u16], buckets: &[Bucket], word: u16, near: &mut Vec<u32>) {
    sift_scalar(next, buckets, word, near);
}

#[inline(always)]
#[expect(clippy::inline_always, reason = "its body has to be compiled with the caller's instructions")]
fn sift_scalar(next: &[u16], buckets: &[Bucket], word: u16, near: &mut Vec<u32>) {
    for &Bucket { start, end, limit } in buckets {
        let mut at = start as usize;
        while at < end as usize {
            let last = (at + LANES).min(end as usize);
            // A group may reach into the next bucket, which costs nothing; what it finds there is left out below.
            let Some(group) = next.get(at..).and_then(<[u16]>::first_chunk::<LANES>) else { break };
            if group.iter().fold(false, |any, value| any | ((value ^ word).count_ones() <= limit)) {
                let within = group[..last - at].iter().zip(at as u32..);
                near.extend(within.filter(|(value, _)| (*value ^ word).count_ones() <= limit).map(|(_, entry)| entry));
            }
            at = last;
        }
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vpopcntdq,popcnt")]
fn compare_avx512(blocks: &[Block], hash: &Banded, distance: u32, near: &mut Vec<Near>) {
    compare_scalar(blocks, hash, distance, near);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,popcnt")]
fn compare_avx2(blocks: &[Block], hash: &Banded, distance: u32, near: &mut Vec<Near>) {
    compare_scalar(blocks, hash, distance, near);
}

#[inline(always)]
#[expect(clippy::inline_always, reason = "its body has to be compiled with the caller's instructions")]
fn compare_scalar(blocks: &[Block], hash: &Banded, distance: u32, near: &mut Vec<Near>) {
    let distance = u64::from(distance);
    for (number, block) in (0..).zip(blocks) {
        let mut apart = [0; BLOCK];
        for (words, word) in block.iter().zip(hash) {
            for (apart, other) in apart.iter_mut().zip(words) {
                *apart += u64::from((other ^ word).count_ones());
            }
        }
        let first = number * BLOCK as u32;
        if apart.iter().fold(true, |all, apart| all & (*apart <= distance)) {
            let (mut found, mut at) = ([Near::default(); BLOCK], first);
            for (found, apart) in found.iter_mut().zip(apart) {
                *found = Near { at, apart: apart as u32 };
                at += 1;
            }
            near.extend_from_slice(&found);
        } else if apart.iter().fold(false, |any, apart| any | (*apart <= distance)) {
            // Written whether near or not, and kept if it is: in a cluster no branch could tell beforehand.
            let (mut found, mut count) = ([Near::default(); BLOCK], 0);
            for (at, apart) in (first..).zip(apart) {
                found[count % BLOCK] = Near { at, apart: apart as u32 };
                count += usize::from(apart <= distance);
            }
            near.extend_from_slice(&found[..count]);
        }
    }
}
