//! What is worked out once for all pictures of a size: where each output looks in each plane.

use super::kernel::Windows;
use super::windows::{Outputs, Span, Window, outputs, packed, windows};
use crate::model::Input;
use crate::model::bars::Rect;

/// Sizes that are kept in mind: a worker looks at many streams in turn.
const KEPT: usize = 16;

/// The plans for the sizes that came last, the last used first.
#[derive(Debug, Default)]
pub(super) struct Plans(Vec<Plan>);

/// For pictures of one size with bars in the same places.
#[derive(Debug)]
pub(super) struct Plan {
    /// Columns and rows of the picture, and what is inside its bars.
    of: ((usize, usize), Rect),
    luma: Scaling,
    chroma: Scaling,
}

/// For one plane.
#[derive(Debug)]
pub(super) struct Scaling {
    /// The first column that is looked at.
    pub(super) from: usize,
    /// How many are.
    pub(super) columns: usize,
    /// Values in the row that `across` is for: as many as the columns, or some more that weigh nothing.
    pub(super) length: usize,
    /// One for each row of outputs.
    pub(super) down: Vec<Window>,
    /// One for each output in a row, from column `from` on.
    pub(super) across: Windows,
}

impl Plans {
    /// The plan for a picture of `size` with bars around `inside`.
    pub(super) fn get(&mut self, input: &Input, size: (usize, usize), inside: Rect) -> &Plan {
        let Self(kept) = self;
        let plan = match kept.iter().position(|plan| plan.of == (size, inside)) {
            Some(at) => kept.remove(at),
            None => Plan::new(input, size, inside),
        };
        kept.truncate(KEPT - 1);
        kept.insert(0, plan);
        &kept[0]
    }
}

impl Plan {
    fn new(input: &Input, size: (usize, usize), inside: Rect) -> Self {
        let (across, down) = outputs(input.resize, (inside.width, inside.height), (input.width, input.height));
        let scaling = |share: f64| {
            let windows = |start: usize, length: usize, outputs: Outputs| {
                // An odd side's last chroma sample reaches half beyond the picture: half the side is what counts.
                let (start, end) = (start as f64 * share, (start + length) as f64 * share);
                windows(input.filter, Span { start, end }, outputs)
            };
            Scaling::new(&windows(inside.left, inside.width, across), windows(inside.top, inside.height, down))
        };
        Self { of: (size, inside), luma: scaling(1.0), chroma: scaling(0.5) }
    }

    /// For luma, Cb and Cr.
    pub(super) fn scalings(&self) -> [&Scaling; 3] {
        [&self.luma, &self.chroma, &self.chroma]
    }
}

impl Scaling {
    fn new(across: &[Window], down: Vec<Window>) -> Self {
        let from = across.iter().map(|window| window.start).min().unwrap_or(0);
        let end = across.iter().map(|window| window.start + window.weights.len()).max().unwrap_or(0);
        let columns = end - from;
        let (across, needed) = packed(across, from);
        Self { from, columns, length: columns.max(needed), down, across }
    }
}
