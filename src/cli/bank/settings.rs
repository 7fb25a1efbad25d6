//! The options that say what a bank is: the same wherever one can be made.

use clap::Args;

use crate::bank::{Changes, Kind};
use crate::clock::Timestamp;
use crate::decision::Verdict;
use crate::judge::EVIDENCE_LIMIT;

#[derive(Debug, Args)]
#[command(next_help_heading = "What the bank is")]
pub(super) struct SettingsArgs {
    /// What the bank holds, for people.
    #[arg(long)]
    description: Option<String>,
    /// What its content is called in reports, such as `terrorism`.
    #[arg(long)]
    label: Option<String>,
    /// How many bits a picture may differ from a signal and still match it; 31 in a new bank.
    #[arg(long, value_name = "BITS", value_parser = clap::value_parser!(u32).range(0..=64))]
    max_distance: Option<u32>,
    /// The PDQ quality below which pictures are neither banked nor matched; 50 in a new bank.
    #[arg(long, value_name = "QUALITY", value_parser = clap::value_parser!(u8).range(0..=100))]
    min_quality: Option<u8>,
    /// `harmful`, or `benign`: a picture that matches a benign bank is no evidence. `harmful` in a new bank.
    #[arg(long)]
    kind: Option<Kind>,
    /// How many distinct pictures of a stream must match the bank before any of them is evidence; 1 in a new bank.
    #[arg(long, value_name = "PICTURES", value_parser = clap::value_parser!(u32).range(1..=EVIDENCE_LIMIT as i64))]
    quorum: Option<u32>,
    /// The severest verdict that the bank's matches may lead to, whatever a rule says: `watch`, `hold`, `cut` or `ban`.
    /// `ban` in a new bank, which caps nothing.
    #[arg(long, value_name = "VERDICT", value_parser = at_most)]
    at_most: Option<Verdict>,
    /// From when on streams are no longer compared with the bank: a time such as `2027-01-31T00:00:00Z`, or `never`.
    #[arg(long, value_name = "TIME", value_parser = until)]
    until: Option<Until>,
}

#[derive(Debug, Clone, Copy)]
struct Until(Option<Timestamp>);

fn until(text: &str) -> Result<Until, String> {
    if text == "never" {
        return Ok(Until(None));
    }
    let at = text.parse().ok().and_then(|at: jiff::Timestamp| u64::try_from(at.as_microsecond()).ok());
    let at = at.ok_or("use a time such as 2027-01-31T00:00:00Z, or `never`")?;
    Ok(Until(Some(Timestamp::from_micros(at))))
}

fn at_most(text: &str) -> Result<Verdict, String> {
    let verdicts = [Verdict::Watch, Verdict::Hold, Verdict::Cut, Verdict::Ban];
    let verdict = verdicts.into_iter().find(|verdict| verdict.word() == text);
    verdict.ok_or_else(|| "use watch, hold, cut or ban; `sluicegate bank disable` has it trigger nothing".to_owned())
}

impl SettingsArgs {
    pub(super) fn changes(&self) -> Changes {
        Changes {
            description: self.description.clone(),
            label: self.label.clone(),
            max_distance: self.max_distance,
            min_quality: self.min_quality,
            kind: self.kind,
            quorum: self.quorum,
            at_most: self.at_most,
            enabled: None,
            until: self.until.map(|Until(at)| at),
        }
    }
}
