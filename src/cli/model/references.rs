//! `sluicegate model references`: the reference pictures as files, so that others can say what a model makes of them.

use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, anyhow};
use image::RgbImage;

use crate::model::{self, REFERENCE_SIZE};

/// Write the reference pictures as PNG files.
///
/// A manifest records what its model says of them, as found out by other means than Sluicegate's own: the code that the model
/// was published with, for example. `sluicegate model verify` then notices a wrong range, layout or colour order.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  sluicegate model references pictures/")]
pub(super) struct Args {
    /// Folder to write them to; made if it is not there.
    folder: PathBuf,
}

/// Runs `sluicegate model references`.
///
/// # Errors
/// When the folder or `out` cannot be written to.
pub(super) fn run(args: &Args, out: &mut dyn Write) -> anyhow::Result<ExitCode> {
    let shown = args.folder.display();
    fs::create_dir_all(&args.folder).with_context(|| format!("cannot make the folder {shown}: name another"))?;
    let (width, height) = (u32::try_from(REFERENCE_SIZE.0)?, u32::try_from(REFERENCE_SIZE.1)?);
    for name in model::references() {
        let pixels = model::reference_pixels(name, REFERENCE_SIZE);
        let image = pixels.and_then(|pixels| RgbImage::from_raw(width, height, pixels));
        let image = image.ok_or_else(|| anyhow!("the reference picture {name} cannot be made: report it"))?;
        let path = args.folder.join(format!("{name}.png"));
        image.save(&path).with_context(|| format!("cannot write {}: name another folder", path.display()))?;
        writeln!(out, "{}", path.display())?;
    }
    Ok(ExitCode::SUCCESS)
}
