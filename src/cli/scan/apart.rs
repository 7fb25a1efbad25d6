//! Recordings are inspected in a process of its own, which tells this one what it sees. One that brings that process down is
//! found, by inspecting those under way once more, each alone; it is said not to be inspected, and the others are.

use std::ffi::OsString;
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::{env, mem};

use anyhow::{Context, anyhow, bail};
use serde::{Deserialize, Serialize};

use super::Args;
use super::asked::Asked;
use super::brief::Brief;
use super::gather::Gathered;
use super::input::Input;
use super::inspection::Inspection;
use super::reading::{Terms, Told};
use super::workers;
use crate::cli::bank::progress::Progress;
use crate::clock::Timestamp;
use crate::inspector::{sandbox, wire};

/// What the process that inspects says, in this order.
#[derive(Debug, Serialize, Deserialize)]
enum Said {
    /// It cannot begin: why, in words for people.
    Failed(String),
    /// What it looks for.
    Brief(Brief),
    /// What it sees.
    Told(Told),
    /// That was all.
    Done,
}

/// Inspects `inputs`, and says of each, in their order, what came of it; and what all were inspected for.
///
/// # Errors
/// When what is to be looked for cannot be had, or no process can be started.
pub(super) fn all(inputs: &[Input]) -> anyhow::Result<(Brief, Vec<Inspection>)> {
    let progress = Progress::of(inputs.len());
    let mut gathered = Gathered::new(inputs, &progress);
    let (mut waiting, mut suspects): (Vec<usize>, Vec<usize>) = ((0..inputs.len()).collect(), Vec::new());
    let mut brief = None;
    loop {
        let alone = suspects.pop();
        let numbers = alone.map_or_else(|| mem::take(&mut waiting), |suspect| vec![suspect]);
        if numbers.is_empty() {
            break;
        }
        let mut process = Process::start(&numbers)?;
        let told = process.hear(&mut brief, &mut gathered);
        let status = process.end()?;
        let (begun, untouched) = gathered.open(&numbers);
        match (told?, alone) {
            (true, _) if begun.is_empty() && untouched.is_empty() => {}
            (true, _) => bail!("a recording was not read to its end, which is a bug: please report it with its kind"),
            (false, Some(input)) => {
                let reason = format!("it brings down what inspects it ({}): convert it first", cause(status));
                gathered.hear(Told::Broken { input, reason });
            }
            (false, None) => {
                // Where it ended before it said what it had begun with, any of them may be it.
                let any = begun.is_empty();
                (suspects, waiting) = if any { (untouched, begun) } else { (begun, untouched) };
                for suspect in &suspects {
                    gathered.forget(*suspect);
                }
            }
        }
    }
    let inspections = gathered.done();
    drop(progress);
    Ok((brief.context("there is nothing to inspect")?, inspections))
}

/// Inspects those of `inputs` that `args` says by number, and tells `out` all about it.
///
/// # Errors
/// When nobody hears it.
pub(super) fn work(
    args: &Args,
    inputs: &[Input],
    terms: &Terms,
    now: Timestamp,
    out: &mut dyn Write,
) -> anyhow::Result<()> {
    sandbox::end_with_parent()?;
    let mut out = BufWriter::new(out);
    let mut say = move |said: &Said| wire::write(&mut out, said).and_then(|()| out.flush());
    let cores = workers::cores();
    let asked = match Asked::new(args, now, cores) {
        Ok(asked) => asked,
        Err(error) => return Ok(say(&Said::Failed(format!("{error:#}")))?),
    };
    say(&Said::Brief(asked.brief.clone()))?;
    let numbered = args.apart.iter().filter_map(|number| Some((*number, inputs.get(*number)?)));
    let numbered: Vec<(usize, &Input)> = numbered.collect();
    workers::inspect(&numbered, &asked, (terms, now), cores, |told| say(&Said::Told(told)))?;
    Ok(say(&Said::Done)?)
}

/// A process that inspects.
struct Process(Child);

impl Process {
    /// One for the recordings of these `numbers` on this process's command line.
    fn start(numbers: &[usize]) -> anyhow::Result<Self> {
        let numbers: Vec<String> = numbers.iter().map(usize::to_string).collect();
        let said: Vec<OsString> = env::args_os().skip(1).collect();
        // Behind the name of the command: what comes later may be meant for a name of a file, whatever it looks like.
        let name = said.iter().position(|word| word == "scan").context("the command line has no `scan`")?;
        let (before, after) = said.split_at(name + 1);
        let mut command = Command::new(crate::cli::ITSELF);
        command.args(before).arg(format!("--apart={}", numbers.join(","))).args(after);
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        Ok(Self(command.spawn().context("no process can be started: free some memory")?))
    }

    /// Whether it said all that there is, down to its end.
    fn hear(&mut self, brief: &mut Option<Brief>, gathered: &mut Gathered<'_>) -> anyhow::Result<bool> {
        let mut said = BufReader::new(self.0.stdout.take().context("a process says nothing")?);
        loop {
            match next(&mut said) {
                Some(Said::Failed(reason)) => return Err(anyhow!(reason)),
                Some(Said::Brief(all)) => *brief = Some(all),
                Some(Said::Told(told)) => gathered.hear(told),
                Some(Said::Done) => return Ok(true),
                None => return Ok(false),
            }
        }
    }

    fn end(mut self) -> io::Result<ExitStatus> {
        self.0.wait()
    }
}

/// A process that is let go of is ended: nothing may stay behind.
impl Drop for Process {
    fn drop(&mut self) {
        // Fails where it has ended already.
        drop(self.0.kill().and_then(|()| self.0.wait()));
    }
}

/// What is said next; nothing by a process that has ended, or makes no sense any more.
fn next(said: &mut impl Read) -> Option<Said> {
    wire::read(said).unwrap_or_else(|error| {
        tracing::debug!(%error, "a process ended while it said something");
        None
    })
}

fn cause(status: ExitStatus) -> String {
    status.signal().map_or_else(|| status.to_string(), |signal| format!("signal {signal}"))
}
