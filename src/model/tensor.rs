//! A picture as a model takes it in.

use ndarray::Array4;

/// One picture in the form that the manifest's [`Input`](super::Input) describes, as a batch of one: `[1, 3, height,
/// width]` or `[1, height, width, 3]`.
#[derive(Debug, Clone, PartialEq)]
pub enum Tensor {
    /// Floats.
    F32(Array4<f32>),
    /// Whole numbers, 0 to 255.
    U8(Array4<u8>),
}
