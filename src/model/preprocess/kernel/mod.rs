//! The two passes of scaling, in whole numbers, with the instructions that the machine has.
//!
//! Down first: rows of bytes, weighted and added up, become one row of 16-bit values; then across: windows of that row
//! become floats. A value on the way is a sample less 128, 64 times over, so that it has six bits behind the point and room
//! for what a cubic filter overshoots. Every way to work gives the same bits.

#[cfg(target_arch = "x86_64")]
mod avx2;
mod scalar;
#[cfg(test)]
mod tests;

/// Weights that are worked on together.
pub(super) const BLOCK: usize = 16;

/// Windows that are worked on together.
pub(super) const GROUP: usize = 8;

/// What weights add up to. Half of what there is room for: at an edge, where a cubic filter has lost one of its sides, single
/// weights are above 1.
pub(super) const ONE: f64 = 16384.0;

/// From a weighted sum of weighted sums to a sample less 128.
const UNIT: f32 = 1.0 / (64.0 * ONE as f32);

/// Rows that are weighted and added up.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rows<'a> {
    /// From the first value of the first row to the last value of the last row, at least.
    pub(super) data: &'a [u8],
    /// Values from one row to the next.
    pub(super) stride: usize,
    /// One for each row; together [`ONE`].
    pub(super) weights: &'a [i16],
}

impl Rows<'_> {
    /// Half of what each weighted value loses on average by being cut off.
    fn lost(self) -> i16 {
        i16::try_from(self.weights.len() / 2).unwrap_or(i16::MAX)
    }
}

/// Windows over a row, each with weights in whole blocks.
#[derive(Debug, Default)]
pub(super) struct Windows {
    /// Where each window starts: a multiple of [`GROUP`] of them.
    pub(super) starts: Vec<usize>,
    /// Blocks in each window.
    pub(super) blocks: usize,
    /// The weights of all windows; those of one together [`ONE`], or all 0 behind the last.
    pub(super) weights: Vec<[i16; BLOCK]>,
}

/// The ways to work, chosen when the program runs.
#[derive(Debug, Clone, Copy)]
pub(super) enum Kernel {
    #[cfg(target_arch = "x86_64")]
    Avx2(avx2::Avx2),
    Scalar,
}

impl Kernel {
    /// Every way that this machine can work, the fastest first.
    pub(super) fn found() -> impl Iterator<Item = Self> {
        #[cfg(target_arch = "x86_64")]
        let wide = avx2::Avx2::found().map(Self::Avx2);
        #[cfg(not(target_arch = "x86_64"))]
        let wide = None;
        wide.into_iter().chain([Self::Scalar])
    }

    /// Adds up weighted rows: as many values as `sums` has. Nothing when the rows are shorter.
    pub(super) fn down(self, rows: Rows<'_>, sums: &mut [i16]) -> Option<()> {
        match self {
            #[cfg(target_arch = "x86_64")]
            Self::Avx2(machine) => machine.down(rows, sums),
            Self::Scalar => scalar::down(rows, sums),
        }
    }

    /// What each window sees of a row, a sample less 128: as many values as `out` has, which is a multiple of [`GROUP`].
    /// Nothing when the row ends inside a window.
    pub(super) fn across(self, row: &[i16], windows: &Windows, out: &mut [f32]) -> Option<()> {
        match self {
            #[cfg(target_arch = "x86_64")]
            Self::Avx2(machine) => machine.across(row, windows, out),
            Self::Scalar => scalar::across(row, windows, out),
        }
    }
}

impl Default for Kernel {
    /// The fastest that this machine has.
    fn default() -> Self {
        Self::found().next().unwrap_or(Self::Scalar)
    }
}
