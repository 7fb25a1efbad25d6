//! Whether a loaded model says of the reference pictures what its manifest records: a wrong range, layout, colour order or
//! resize rule in a manifest makes no error, only wrong scores.

use std::sync::Arc;

use super::references::{reference, references};
use super::scoring::unit;
use super::{Manifest, ModelError, OutputOf, Preprocessor, Reference, Session};

/// What a model says of one reference picture, beside what its manifest records.
#[derive(Debug, Clone, PartialEq)]
pub struct Agreement {
    /// The picture's name.
    pub picture: String,
    /// Which output was looked at.
    pub of: OutputOf,
    /// The largest distance between a value and the recorded one.
    pub off: f32,
    /// How far it may be.
    pub within: f32,
}

/// Looks at every reference picture that the session's manifest records, through the same preprocessing as any picture;
/// nothing comes back where it records none.
///
/// # Errors
/// [`ModelError::Reference`] with the first value that is too far from the recorded one, and whatever goes wrong on the way.
pub fn agreement(session: &mut Session) -> Result<Vec<Agreement>, ModelError> {
    let manifest = session.manifest().clone();
    let mut preprocessor = Preprocessor::new(&manifest.input);
    manifest.references.iter().map(|recorded| one(session, &manifest, &mut preprocessor, recorded)).collect()
}

fn one(
    session: &mut Session,
    manifest: &Manifest,
    preprocessor: &mut Preprocessor,
    recorded: &Reference,
) -> Result<Agreement, ModelError> {
    let Reference { picture: name, of, values, within } = recorded;
    let failed = |problem: String| ModelError::Reference { model: Arc::clone(&manifest.name), problem };
    let Some(picture) = reference(name) else {
        let known = references().collect::<Vec<_>>().join(", ");
        return Err(failed(format!("there is no reference picture `{name}`, only {known}")));
    };
    let tensor = preprocessor.tensor(&picture)?;
    let outputs = session.run(&[tensor])?.pop().unwrap_or_else(|| Err(failed("it gives nothing".to_owned())))?;
    // What a value is of, for people, and the value.
    let said: Vec<(String, f32)> = match of {
        OutputOf::Scores => {
            let scores = outputs.scores.into_iter().find(|scores| scores.model == manifest.name).unwrap_or_default();
            let labels = scores.scores.iter().map(|(label, _)| format!("`{label}`"));
            // What the manifest records is what the model itself says.
            let values = scores.scores.iter().map(|(_, score)| *score);
            let values = if scores.raw.is_empty() { values.collect() } else { scores.raw.clone() };
            labels.zip(values).collect()
        }
        OutputOf::Embedding => {
            let values = unit(&outputs.embedding.unwrap_or_default()).map_err(&failed)?;
            values.into_iter().enumerate().map(|(at, value)| (format!("value {at} of its embedding"), value)).collect()
        }
    };
    if said.len() < values.len() {
        return Err(failed(format!("of `{name}` it gives {} values, and {} are recorded", said.len(), values.len())));
    }
    let each =
        said.into_iter().zip(values).map(|((what, said), recorded)| ((said - recorded).abs(), what, said, recorded));
    let worst = each.max_by(|one, other| one.0.total_cmp(&other.0));
    let Some((off, what, said, recorded)) = worst else {
        return Err(failed(format!("nothing is recorded of `{name}`")));
    };
    if off > *within {
        return Err(failed(format!(
            "of the reference picture `{name}` it says {said:.3} for {what}, and its manifest records {recorded:.3}, give \
             or take {within}"
        )));
    }
    Ok(Agreement { picture: name.clone(), of: *of, off, within: *within })
}
