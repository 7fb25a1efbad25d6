//! Makes a model of what a package holds, by a script of ours that needs Python and nothing else.
//!
//! The scripts are `models/convert/*.py`, held in the program. They run isolated (`-I`): no module of the working folder,
//! of the environment or of the user is found.

use std::path::Path;
use std::process::{Command, Stdio};

use super::{FetchError, place};

const SCRIPTS: [(&str, &str); 1] = [("efficientnet_lite0", include_str!("../../models/convert/efficientnet_lite0.py"))];

/// How much of what a script says at its end is told.
const LINES: usize = 4;

/// The script called `by`.
pub(super) fn script(by: &str) -> Result<&'static str, FetchError> {
    let found = SCRIPTS.iter().find(|(name, _)| *name == by).map(|(_, text)| *text);
    found.ok_or_else(|| {
        let known = SCRIPTS.map(|(name, _)| name).join(", ");
        FetchError::UnknownConversion { by: by.to_owned(), known }
    })
}

/// Runs `script`, called `by`, on the file `from`; it writes the file `to`.
pub(super) fn run(python: &Path, by: &str, script: &str, from: &Path, to: &Path) -> Result<(), FetchError> {
    let at = to.with_extension("py");
    place::put(script.as_bytes(), &at)?;
    let output = Command::new(python).arg("-I").arg(&at).arg(from).arg(to).stdin(Stdio::null()).output();
    // What stays behind would be a script of ours, which says itself what it is.
    std::fs::remove_file(&at).ok();
    let output = output.map_err(|reason| FetchError::NoPython { python: python.to_owned(), reason })?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let lines: Vec<&str> = said.trim().lines().collect();
    let end = lines.get(lines.len().saturating_sub(LINES)..).unwrap_or_default().join("\n");
    Err(FetchError::Conversion {
        by: by.to_owned(),
        said: if end.is_empty() { output.status.to_string() } else { end },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Manifest;

    #[test]
    fn every_conversion_that_a_shipped_manifest_names_is_here() {
        for name in Manifest::shipped() {
            if let Some(conversion) = Manifest::named(name).unwrap().source.and_then(|source| source.converted) {
                script(&conversion.by).unwrap();
            }
        }
        let message = script("other").unwrap_err().to_string();
        assert!(message.contains("`other`") && message.contains("efficientnet_lite0"), "{message}");
    }

    #[test]
    fn without_python_or_with_other_weights_the_message_says_so() {
        let folder = tempfile::tempdir().unwrap();
        let (from, to) = (folder.path().join("in"), folder.path().join("out.onnx"));
        std::fs::write(&from, "no weights").unwrap();
        let script = script("efficientnet_lite0").unwrap();
        let message =
            run(Path::new("/nowhere/python3"), "efficientnet_lite0", script, &from, &to).unwrap_err().to_string();
        assert!(message.contains("/nowhere/python3") && message.contains("--python"), "{message}");
        let message = run(Path::new("python3"), "efficientnet_lite0", script, &from, &to).unwrap_err().to_string();
        assert!(message.contains("cannot be converted"), "{message}");
    }
}
