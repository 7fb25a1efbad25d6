//! The clusters of an index: entries so many of which are near one another that bands, in most of which a query would meet each of
//! them, do not help. They lie side by side, in no band.
//!
//! A cluster has a centre, and its members lie in *shells*: those that are `n` bits from the centre, for every `n`. An entry that
//! is within a distance of the query is, by the triangle inequality, in a shell whose number is within that
//! distance of the query's own distance to the centre; all others are passed over. So it does not matter for what is found
//! which entries are in a cluster, or where its centre is: only for how soon.

use std::ops::Range;

use super::Index;
use super::bands::Banded;
use super::query::Nearest;
use super::simd::{BLOCK, Block, Near, compare};

/// Members are at most this far from their centre. What is farther is met in so few bands that it is better off there.
pub(super) const RADIUS: u32 = 48;

/// Numbers that say where the shells of a cluster end, and before them where the first begins.
pub(super) const SHELLS: usize = RADIUS as usize + 2;

/// The members of one cluster, and how far its centre is from the query.
pub(super) struct Cluster<'a> {
    apart: u32,
    /// Where shell `n` begins is number `n`, and where it ends is the one after.
    shells: &'a [u32],
}

impl Cluster<'_> {
    /// Where the members lie that can be within `distance`: on both sides of the query's own distance to the centre.
    fn reach(&self, distance: u32) -> Range<usize> {
        self.between(self.apart.saturating_sub(distance), self.apart.saturating_add(distance))
    }

    /// Where the shells from `first` to `last` lie, the outermost one at most.
    fn between(&self, first: u32, last: u32) -> Range<usize> {
        let bound = |n: u32| self.shells.get(n as usize).map_or(0, |bound| *bound as usize);
        bound(first)..bound(last.min(RADIUS) + 1)
    }
}

impl Index {
    /// The clusters that have shells within `distance` of a hash.
    pub(super) fn clusters_near(&self, hash: &Banded, distance: u32) -> Vec<Cluster<'_>> {
        let [centres, shells, ..] = self.shape.cluster();
        let (centres, shells) = (self.section::<Block>(centres), self.section::<u32>(shells));
        let mut near = Vec::new();
        compare(centres, hash, distance.saturating_add(RADIUS), &mut near);
        // The last block may not be full.
        let near = near.iter().filter(|near| (near.at as usize) < self.shape.clusters());
        let shells = |number: u32| shells.chunks_exact(SHELLS).nth(number as usize).unwrap_or_default();
        near.map(|near| Cluster { apart: near.apart, shells: shells(near.at) }).collect()
    }

    pub(super) fn within_clusters(&self, hash: &Banded, distance: u32, mut found: impl FnMut(u32, u32)) {
        let mut near = Vec::new();
        for cluster in self.clusters_near(hash, distance) {
            self.compare_members(hash, cluster.reach(distance), distance, &mut near, &mut found);
        }
    }

    pub(super) fn nearest_in_clusters(
        &self,
        hash: &Banded,
        distance: u32,
        nearest: &mut Nearest,
        kept: &impl Fn(u32) -> bool,
    ) {
        let mut near = Vec::new();
        for cluster in self.clusters_near(hash, distance) {
            // From the query's own shell outwards: once there is something as near as the next shells can be at best, they need
            // not be looked at.
            for away in 0..=cluster.apart + RADIUS {
                let limit = nearest.limit(distance);
                if away > limit {
                    break;
                }
                let above = cluster.apart + away;
                let below = cluster.apart.checked_sub(away).filter(|_| away > 0);
                for shell in [Some(above), below].into_iter().flatten().filter(|shell| *shell <= RADIUS) {
                    let members = cluster.between(shell, shell);
                    let limit = nearest.limit(distance);
                    self.compare_members(hash, members, limit, &mut near, |place, apart| {
                        nearest.offer(place, apart, kept);
                    });
                }
            }
        }
    }

    /// Compares the members that lie there, some hundreds at a time.
    fn compare_members(
        &self,
        hash: &Banded,
        members: Range<usize>,
        distance: u32,
        near: &mut Vec<Near>,
        mut found: impl FnMut(u32, u32),
    ) {
        const AT_ONCE: usize = 64;
        let [.., hashes, places] = self.shape.cluster();
        let (blocks, places) = (self.section::<Block>(hashes), self.section::<u32>(places));
        if members.is_empty() {
            return;
        }
        let (first, end) = (members.start / BLOCK, members.end.div_ceil(BLOCK));
        for start in (first..end).step_by(AT_ONCE) {
            let some = start..(start + AT_ONCE).min(end);
            let slots = some.start * BLOCK..some.end * BLOCK;
            let (Some(blocks), Some(places)) = (blocks.get(some), places.get(slots.clone())) else { return };
            near.clear();
            compare(blocks, hash, distance, near);
            for Near { at, apart } in near.iter() {
                // The first and the last block may reach into other shells.
                if members.contains(&(slots.start + *at as usize))
                    && let Some(place) = places.get(*at as usize)
                {
                    found(*place, *apart);
                }
            }
        }
    }
}
