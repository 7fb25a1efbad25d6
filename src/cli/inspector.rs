//! `sluicegate inspector`: what `run` starts beside itself; not for people.

use std::io;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use super::failure::{Exit, Failure, OrExit, Outcome};
use super::say;
use crate::app;
use crate::config::Config;
use crate::inspector::{process, sandbox};

/// Inspect what the core says over standard input, which is a socket.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Example:\n  sluicegate inspector --self-check")]
pub(super) struct Args {
    /// Instead: try what an inspector may not do, and say as JSON what came of it.
    #[arg(long)]
    self_check: bool,
    /// Try it as with this configuration, and whether what that names can be read.
    #[arg(long, value_name = "FILE", requires = "self_check")]
    config: Option<PathBuf>,
}

pub(super) fn run(args: &Args) -> Outcome {
    if args.self_check {
        return self_check(args.config.as_deref());
    }
    let socket = io::stdin().as_fd().try_clone_to_owned().map(UnixStream::from);
    let socket = socket.and_then(|socket| socket.peer_addr().map(|_address| socket));
    let socket = socket
        .map_err(|error| {
            anyhow::Error::new(error)
                .context("standard input is no socket: `sluicegate run` starts inspectors by itself")
        })
        .or_exit(Exit::Usage)?;
    process::run(socket).or_exit(Exit::Missing)
}

fn self_check(config: Option<&Path>) -> Outcome {
    let config = match config {
        Some(path) => Config::load(path).or_exit(Exit::Usage)?,
        None => Config::default(),
    };
    let found = sandbox::self_check(&app::setup(&config, 1)).or_exit(Exit::Missing)?;
    let text = serde_json::to_string(&found).or_exit(Exit::Bug)?;
    say(&format!("{text}\n"))?;
    if found.is_well() { Ok(()) } else { Err(Failure::told(Exit::Unwell)) }
}
