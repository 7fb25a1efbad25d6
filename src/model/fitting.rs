//! Whether a model's own inputs and outputs are those of its manifest.

use ort::value::{Outlet, TensorElementType, ValueType};

use super::{Dtype, Layout, Manifest};

/// Whether a model takes and gives what its manifest says; what differs, otherwise.
pub(super) fn fits(manifest: &Manifest, inputs: &[Outlet], outputs: &[Outlet]) -> Result<(), String> {
    let input = &manifest.input;
    if let Some(other) = inputs.iter().find(|outlet| outlet.name() != input.name) {
        return Err(format!("it has an input `{}` that the manifest does not know", other.name()));
    }
    let sides = match input.layout {
        Layout::Nchw => [3, input.height, input.width],
        Layout::Nhwc => [input.height, input.width, 3],
    };
    outlet_fits("input", &input.name, inputs, input.dtype, &sides)?;
    if let Some(scores) = &manifest.scores {
        outlet_fits("output", &scores.name, outputs, Dtype::F32, &[scores.classes])?;
    }
    if let Some(embedding) = &manifest.embedding {
        outlet_fits("output", &embedding.name, outputs, Dtype::F32, &[embedding.size])?;
    }
    Ok(())
}

/// Whether more than one picture may be given at once. Asked of a model that [`fits`].
pub(super) fn takes_many(manifest: &Manifest, inputs: &[Outlet], outputs: &[Outlet]) -> bool {
    let free = |name: &str, outlets: &[Outlet]| {
        let outlet = outlets.iter().find(|outlet| outlet.name() == name);
        outlet.is_some_and(|outlet| shape(outlet).is_some_and(|(_, shape)| shape.first() == Some(&-1)))
    };
    let given = manifest.scores.iter().map(|output| &output.name);
    let mut given = given.chain(manifest.embedding.iter().map(|output| &output.name));
    free(&manifest.input.name, inputs) && given.all(|name| free(name, outputs))
}

/// `expected` leaves out the batch, which comes first and must be free or 1.
fn outlet_fits(which: &str, name: &str, outlets: &[Outlet], dtype: Dtype, expected: &[usize]) -> Result<(), String> {
    let Some(outlet) = outlets.iter().find(|outlet| outlet.name() == name) else {
        let names: Vec<&str> = outlets.iter().map(Outlet::name).collect();
        return Err(format!("it has no {which} `{name}`, only {}", names.join(", ")));
    };
    let (wanted, word) = match dtype {
        Dtype::F32 => (TensorElementType::Float32, "f32"),
        Dtype::U8 => (TensorElementType::Uint8, "u8"),
    };
    let Some((_, shape)) = shape(outlet).filter(|(of, _)| *of == wanted) else {
        return Err(format!("its {which} `{name}` is {}, not a tensor of {word}", outlet.dtype()));
    };
    let batch_fits = matches!(shape.first(), Some(-1 | 1));
    let rest_fits = shape.len() == expected.len() + 1
        && shape.iter().skip(1).zip(expected).all(|(&has, &want)| has == -1 || usize::try_from(has) == Ok(want));
    if batch_fits && rest_fits {
        Ok(())
    } else {
        Err(format!("its {which} `{name}` has the shape {shape:?}, not [batch, {}]", dimensions(expected)))
    }
}

fn shape(outlet: &Outlet) -> Option<(TensorElementType, &[i64])> {
    match outlet.dtype() {
        ValueType::Tensor { ty, shape, .. } => Some((*ty, shape)),
        _ => None,
    }
}

fn dimensions(sizes: &[usize]) -> String {
    sizes.iter().map(usize::to_string).collect::<Vec<_>>().join(", ")
}
