//! Reads files whose digest is known beforehand.

use std::path::Path;
use std::sync::Arc;

use sha2::{Digest, Sha256};

use super::{ModelError, Sha256Hex};

/// The bytes of the file at `path`, which belongs to `model`, once they are known to be the right ones: what is checked
/// is what is used, for the file is read once.
///
/// # Errors
/// When it cannot be read, or has another digest.
pub(super) fn verified(path: &Path, model: &Arc<str>, expected: &Sha256Hex) -> Result<Vec<u8>, ModelError> {
    let bytes = std::fs::read(path).map_err(|source| ModelError::FileUnreadable {
        model: Arc::clone(model),
        path: path.to_owned(),
        source,
    })?;
    let got = hex::encode(Sha256::digest(&bytes));
    if got == expected.as_str() {
        Ok(bytes)
    } else {
        Err(ModelError::Digest { model: Arc::clone(model), path: path.to_owned(), expected: expected.to_string(), got })
    }
}
