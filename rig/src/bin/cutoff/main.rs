//! What `make bench-cutoff` measures from outside, on a real nginx with real publishers: how long cutting off takes, whether
//! a storm of copies is held down, and how fast a media server is answered.
//!
//! `cutoff runs COUNT`, `cutoff storm SECONDS`, `cutoff admission SECONDS`: tells how it gets on on standard error, and
//! prints one line of JSON with what was measured.

mod admission;
mod house;
mod runs;
mod storm;

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::Value;

fn main() -> ExitCode {
    match measured() {
        Ok(measured) => {
            println!("{measured}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("\nthe bench failed: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn measured() -> Result<Value> {
    let mut args = std::env::args().skip(1);
    let usage = "usage: cutoff runs COUNT | storm SECONDS | admission SECONDS";
    let what = args.next().context(usage)?;
    let count: u32 = args.next().and_then(|count| count.parse().ok()).context(usage)?;
    match what.as_str() {
        "runs" => runs::measure(count),
        "storm" => storm::measure(count),
        "admission" => admission::measure(Duration::from_secs(count.into())),
        _ => bail!(usage),
    }
}
