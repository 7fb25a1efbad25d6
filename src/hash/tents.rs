//! The two passes of the box along one dimension, as one: a tent.
//!
//! A box of `w` values blurred by the same box again weighs `2 w - 1` values by 1, 2, .. `w` .. 2, 1, and the sum of the
//! weights is `w * w`. Of all places only 64 are kept, and no box of theirs leaves the picture but one: where `w` is even, the
//! last box of the last tent reaches one place beyond, and its mean is over the `w - 1` values that there are. So the
//! last tent is *cut*: what lies beyond counts as zero, and the sum of the last `w - 1` values, the *brim*, is added to
//! it once more, divided by `w - 1`.

use std::ops::Range;

use super::filter::SIDE;

/// One dimension of pictures of one size.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Tents {
    len: usize,
    /// How many values the box holds.
    box_size: usize,
}

/// From which end the places of a dimension are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    /// As they lie in memory.
    Ahead,
    /// From the last to the first: the picture is mirrored.
    Back,
}

impl Tents {
    /// Of a dimension of `len` places, at least one.
    pub(super) const fn new(len: usize) -> Self {
        Self { len, box_size: len.div_ceil(2 * SIDE) }
    }

    pub(super) const fn len(&self) -> usize {
        self.len
    }

    /// How many values the box holds: the weight at the top.
    pub(super) const fn top(&self) -> usize {
        self.box_size
    }

    /// How many values a tent weighs.
    pub(super) const fn width(&self) -> usize {
        2 * self.box_size - 1
    }

    /// The `k`th weight of a tent.
    pub(super) fn weight(&self, k: usize) -> usize {
        (k + 1).min(self.width() - k)
    }

    /// The place in memory of the first weight of the `i`th tent; the cut one may begin at -1 or end at `len`.
    pub(super) const fn first(&self, i: usize, order: Order) -> isize {
        let kept = (2 * i + 1) * self.len / (2 * SIDE);
        // A box reaches `w / 2` values ahead, and so what is left of `w - 1` back.
        let first = kept - 2 * ((self.box_size - 1) / 2);
        match order {
            Order::Ahead => first as isize,
            Order::Back => self.len as isize - first as isize - self.width() as isize,
        }
    }

    /// The places in memory of the brim, where the last tent is cut.
    pub(super) fn brim(&self, order: Order) -> Option<Range<usize>> {
        let size = self.box_size - 1;
        self.box_size.is_multiple_of(2).then_some(match order {
            Order::Ahead => self.len - size..self.len,
            Order::Back => 0..size,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The weight of each place in the `i`th value that is kept, from the box as the algorithm tells it.
    fn two_boxes(len: usize, i: usize) -> Vec<f64> {
        let size = len.div_ceil(128);
        let reach = |place: usize| (place + size / 2 + 1).saturating_sub(size)..(place + size / 2 + 1).min(len);
        let mut weights = vec![0.0; len];
        let outer = reach((2 * i + 1) * len / 128);
        for middle in outer.clone() {
            let inner = reach(middle);
            for place in inner.clone() {
                weights[place] += 1.0 / (outer.len() * inner.len()) as f64;
            }
        }
        weights
    }

    fn one_tent(tents: &Tents, i: usize, order: Order) -> Vec<f64> {
        let mut weights = vec![0.0; tents.len];
        let whole = (tents.top() * tents.top()) as f64;
        for k in 0..tents.width() {
            let place = tents.first(i, order) + k as isize;
            match usize::try_from(place).ok().and_then(|place| weights.get_mut(place)) {
                Some(weight) => *weight += tents.weight(k) as f64 / whole,
                None => assert!(i == SIDE - 1 && tents.brim(order).is_some(), "{tents:?} leaves the picture at {i}"),
            }
        }
        if i == SIDE - 1
            && let Some(brim) = tents.brim(order)
        {
            let size = brim.len() as f64;
            weights[brim].iter_mut().for_each(|weight| *weight += 1.0 / (whole * size));
        }
        weights
    }

    #[test]
    fn a_tent_is_two_boxes_for_every_length() {
        for len in (5..1300).chain([1919, 1920, 2160, 2161, 3840, 4000, 8192]) {
            let tents = Tents::new(len);
            for i in 0..SIDE {
                let expected = two_boxes(len, i);
                let mut mirrored = one_tent(&tents, i, Order::Back);
                mirrored.reverse();
                for got in [one_tent(&tents, i, Order::Ahead), mirrored] {
                    let apart = expected.iter().zip(&got).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
                    assert!(apart < 1e-15, "{len}, value {i}: {apart}");
                }
            }
        }
    }
}
