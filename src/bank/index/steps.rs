//! How a query goes through the bands.
//!
//! Nearly all its time goes into waiting for memory: it needs some hundreds of buckets from all over the index. So it has several
//! bands under way at once, each a step further than the one after it, and every step has the processor fetch what the next one reads.

use super::bands::{BANDS, Banded, Limits, band, changes};
use super::simd::{Bucket, PADDING, fetch, sift};
use super::{Band, Index};

/// What to look for.
pub(super) struct Wanted {
    pub(super) hash: Banded,
    pub(super) limits: Limits,
}

/// An entry that a band shows.
pub(super) struct Met<'a> {
    /// For which of those wanted.
    pub(super) query: usize,
    pub(super) band: usize,
    pub(super) place: u32,
    pub(super) hash: &'a Banded,
}

/// A band is asked for the bounds of its buckets, then for what is in the buckets, for the places of what is near, for their hashes.
const STEPS: usize = 5;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Ask,
    Find,
    Sift,
    Place,
    Compare,
}

/// What is fetched of a bucket beforehand; the processor sees by itself what a longer one needs.
const FETCHED: usize = 8 * PADDING;

/// A band for one of those wanted, on its way.
#[derive(Default)]
struct Job {
    query: usize,
    band: usize,
    buckets: Vec<Bucket>,
    near: Vec<u32>,
}

impl Index {
    /// Gives every entry that some band and the one after it do not rule out, as often as there are such bands.
    pub(super) fn look_through_bands(&self, wanted: &mut [Wanted], mut met: impl FnMut(Met<'_>, &mut Wanted)) {
        let hashes = self.hashes();
        let jobs = BANDS * wanted.len();
        let mut under_way: [Job; STEPS] = Default::default();
        for turn in 0..jobs + STEPS - 1 {
            // The one that is furthest gives its slot to the next.
            for (behind, step) in (0..STEPS).rev().zip([Step::Compare, Step::Place, Step::Sift, Step::Find, Step::Ask])
            {
                let Some(number) = turn.checked_sub(behind).filter(|number| *number < jobs) else { continue };
                let Some(job) = under_way.get_mut(number % STEPS) else { continue };
                if step == Step::Ask {
                    (job.band, job.query) = (number / wanted.len(), number % wanted.len());
                }
                let Some(one) = wanted.get_mut(job.query) else { continue };
                match step {
                    Step::Ask => self.ask(job, one),
                    Step::Find => self.find(job, one),
                    Step::Sift => self.sift(job, one),
                    Step::Place => self.place(job),
                    Step::Compare => {
                        for &place in &job.near {
                            if let Some(hash) = hashes.get(place as usize) {
                                met(Met { query: job.query, band: job.band, place, hash }, one);
                            }
                        }
                    }
                }
            }
        }
    }

    fn ask(&self, job: &Job, wanted: &Wanted) {
        let Band { bounds, .. } = self.band(job.band);
        let key = band(&wanted.hash, job.band);
        for change in changes(wanted.limits.one(job.band)) {
            fetch(bounds, usize::from(key ^ change));
        }
    }

    fn find(&self, job: &mut Job, wanted: &Wanted) {
        let Band { bounds, next, .. } = self.band(job.band);
        let key = band(&wanted.hash, job.band);
        let limit = wanted.limits.two(job.band);
        job.buckets.clear();
        for change in changes(wanted.limits.one(job.band)) {
            let bucket = usize::from(key ^ change);
            if let Some(&[start, end]) = bounds.get(bucket..bucket + 2)
                && start < end
            {
                let (first, last) = (start as usize, (end as usize).min(start as usize + FETCHED));
                (first..last).step_by(PADDING).for_each(|at| fetch(next, at));
                fetch(next, last - 1);
                job.buckets.push(Bucket { start, end, limit: limit - 1 - change.count_ones() });
            }
        }
    }

    fn sift(&self, job: &mut Job, wanted: &Wanted) {
        let Band { next, places, .. } = self.band(job.band);
        job.near.clear();
        sift(next, &job.buckets, band(&wanted.hash, job.band + 1), &mut job.near);
        job.near.iter().for_each(|entry| fetch(places, *entry as usize));
    }

    fn place(&self, job: &mut Job) {
        let Band { places, .. } = self.band(job.band);
        let hashes = self.hashes();
        for entry in &mut job.near {
            *entry = places.get(*entry as usize).copied().unwrap_or(u32::MAX);
            fetch(hashes, *entry as usize);
        }
    }
}
