//! The way to work on any machine: the definition that the others are held to.

use super::{BLOCK, Rows, UNIT, Windows};

pub(super) fn down(rows: Rows<'_>, sums: &mut [i16]) -> Option<()> {
    sums.fill(rows.lost());
    for (at, &weight) in rows.weights.iter().enumerate() {
        let row = rows.data.get(at * rows.stride..)?.get(..sums.len())?;
        for (sum, &value) in sums.iter_mut().zip(row) {
            *sum = sum.wrapping_add(weighted(value, weight));
        }
    }
    Some(())
}

/// The upper half of the product of a sample less 128, moved up by eight bits, and a weight.
#[inline]
pub(super) fn weighted(value: u8, weight: i16) -> i16 {
    let centred = (i32::from(value) - 128) << 8;
    ((centred * i32::from(weight)) >> 16) as i16
}

pub(super) fn across(row: &[i16], windows: &Windows, out: &mut [f32]) -> Option<()> {
    let weights = windows.weights.chunks_exact(windows.blocks.max(1));
    for ((out, &start), weights) in out.iter_mut().zip(&windows.starts).zip(weights) {
        let values = row.get(start..)?.get(..windows.blocks * BLOCK)?;
        let sum: i32 = values.iter().zip(weights.as_flattened()).map(|(&a, &b)| i32::from(a) * i32::from(b)).sum();
        *out = sum as f32 * UNIT;
    }
    Some(())
}
