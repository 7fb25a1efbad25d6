//! Looks through buckets for the few entries whose next band is near enough: the inner loop of every query.
//!
//! One body, compiled for what the processor has: AVX-512 counts the bits of 32 values in one instruction. The choice is made at run
//! time, and the only unsafe thing is the call across it.
#![allow(unsafe_code)]

/// A bucket and how many bits the next band may differ by in it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bucket {
    pub(super) start: u32,
    pub(super) end: u32,
    pub(super) limit: u32,
}

/// Compared at a time.
const LANES: usize = 32;

type Kernel = fn(&[u16], &[Bucket], u16, &mut Vec<u32>);

/// Appends to `near` the number of every entry in `buckets` whose value in `next` is within the bucket's limit of `word`.
/// There are [`PADDING`] values in `next` behind the last entry.
pub(super) fn sift(next: &[u16], buckets: &[Bucket], word: u16, near: &mut Vec<u32>) {
    best()(next, buckets, word, near);
}

/// What this processor runs quickest. That it was asked is what makes the calls sound.
fn best() -> Kernel {
    #[cfg(target_arch = "x86_64")]
    {
        if has_avx512() {
            // SAFETY: the processor has what the function is compiled for.
            return |next, buckets, word, near| unsafe { sift_avx512(next, buckets, word, near) };
        }
        if has_avx2() {
            // SAFETY: the processor has what the function is compiled for.
            return |next, buckets, word, near| unsafe { sift_avx2(next, buckets, word, near) };
        }
    }
    sift_scalar
}

#[cfg(target_arch = "x86_64")]
fn has_avx512() -> bool {
    is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx512vl")
        && is_x86_feature_detected!("avx512bitalg")
        && is_x86_feature_detected!("popcnt")
}

#[cfg(target_arch = "x86_64")]
fn has_avx2() -> bool {
    is_x86_feature_detected!("avx2") && is_x86_feature_detected!("popcnt")
}

/// All that this processor can run.
#[cfg(test)]
pub(super) fn kernels() -> Vec<Kernel> {
    let mut kernels: Vec<Kernel> = vec![sift, sift_scalar];
    #[cfg(target_arch = "x86_64")]
    if has_avx2() {
        // SAFETY: the processor has what the function is compiled for.
        kernels.push(|next, buckets, word, near| unsafe { sift_avx2(next, buckets, word, near) });
    }
    kernels
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512bitalg,popcnt")]
fn sift_avx512(next: &[u16], buckets: &[Bucket], word: u16, near: &mut Vec<u32>) {
    sift_scalar(next, buckets, word, near);
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

/// Values that [`sift`] reads past the last entry.
pub(super) const PADDING: usize = LANES;
