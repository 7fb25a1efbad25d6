//! `sluicegate init`: a commented configuration to start from.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow};

use super::failure::{Exit, OrExit, Outcome};
use super::say;
use crate::config::TEMPLATE;

/// Write a commented configuration with every key and its default.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Examples:
  sluicegate init
  sluicegate init --output /etc/sluicegate/sluicegate.toml
  sluicegate init --output - | less")]
pub(super) struct Args {
    /// Where to write it; `-` is standard output.
    #[arg(long, short, value_name = "FILE", default_value = "sluicegate.toml")]
    output: PathBuf,
    /// Replace a file that is there already.
    #[arg(long)]
    force: bool,
}

pub(super) fn run(args: &Args) -> Outcome {
    let path = &args.output;
    if path == Path::new("-") {
        return say(TEMPLATE);
    }
    let mut options = OpenOptions::new();
    options.write(true);
    if args.force {
        options.create(true).truncate(true)
    } else {
        options.create_new(true)
    };
    let written = options.open(path).and_then(|mut file| file.write_all(TEMPLATE.as_bytes()));
    let shown = path.display();
    match written {
        Ok(()) => say(&format!("wrote {shown}; set its [[server]], then: sluicegate check-config {shown}\n")),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            Err(anyhow!("{shown} exists already; choose another --output, or replace it with --force"))
                .or_exit(Exit::Usage)
        }
        Err(error) => Err(error).context(format!("cannot write {shown}")).or_exit(Exit::Usage),
    }
}
