//! A picture turned and mirrored in each of the eight ways.

use super::filter::{SIDE, Small};
use super::tents::Order;

/// One of the eight ways: first the ends of sides change places, then sides do.
#[derive(Debug, Clone, Copy)]
pub(super) struct Turn {
    down: Order,
    across: Order,
    sides: Sides,
}

/// What becomes of rows and columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sides {
    Stay,
    Change,
}

/// In the order that [`Hasher::dihedral`](super::Hasher::dihedral) tells.
pub(super) const TURNS: [Turn; 8] = {
    use Order::{Ahead, Back};
    use Sides::{Change, Stay};
    [
        Turn { down: Ahead, across: Ahead, sides: Stay },
        Turn { down: Ahead, across: Back, sides: Change },
        Turn { down: Back, across: Back, sides: Stay },
        Turn { down: Back, across: Ahead, sides: Change },
        Turn { down: Back, across: Ahead, sides: Stay },
        Turn { down: Ahead, across: Back, sides: Stay },
        Turn { down: Ahead, across: Ahead, sides: Change },
        Turn { down: Back, across: Back, sides: Change },
    ]
};

/// The 64x64 of a picture as it lies in memory, and with the ends of its sides changed: by what was done down, then
/// across.
pub(super) type Mirrored = [[Small; 2]; 2];

impl Turn {
    /// The 64x64 of the turned picture.
    pub(super) fn small(self, mirrored: &Mirrored) -> Small {
        let small = &mirrored[usize::from(self.down == Order::Back)][usize::from(self.across == Order::Back)];
        match self.sides {
            Sides::Stay => *small,
            Sides::Change => std::array::from_fn(|y| std::array::from_fn(|x| small[x][y])),
        }
    }

    /// Writes the turned pixels, row by row; returns their width and height.
    pub(super) fn pixels<'a, T: Copy + 'a>(
        self,
        (width, height): (usize, usize),
        row: impl Fn(usize) -> &'a [T],
        to: &mut Vec<T>,
    ) -> (usize, usize) {
        let (w, h) = match self.sides {
            Sides::Stay => (width, height),
            Sides::Change => (height, width),
        };
        let place = |at: usize, len: usize, order: Order| if order == Order::Back { len - 1 - at } else { at };
        to.clear();
        to.reserve_exact(w * h);
        for y in 0..h {
            match self.sides {
                Sides::Stay => {
                    let row = row(place(y, height, self.down));
                    to.extend((0..w).map(|x| row[place(x, width, self.across)]));
                }
                Sides::Change => {
                    let column = place(y, width, self.across);
                    to.extend((0..w).map(|x| row(place(x, height, self.down))[column]));
                }
            }
        }
        (w, h)
    }
}
