//! A decoder of one stream's own, which goes on where it left off: for streams whose keyframes are too rare to begin anew at
//! one for every picture.
//!
//! It is never drained, so a picture that is shown after later units comes when those have come. It starts in the middle of a
//! stream where that has to be: the first pictures are then damaged, or missing, until the stream has renewed them.

use super::decoder::{Awaited, Line, awaited};
use super::{Config, DecodeError};
use crate::picture::Picture;
use crate::stream::AccessUnit;

/// Decodes one stream, unit for unit.
#[derive(Debug)]
pub struct Continuous {
    config: Config,
    line: Option<Line>,
    /// Pictures that were asked for and have not come.
    awaited: Awaited,
    /// The last keyframe, or what the stream began with: a decoder that starts afresh learns from it what it must know.
    lead: Option<AccessUnit>,
}

/// How many units later a picture is shown at most, in any codec's highest level; one that takes longer will not come.
const REORDERED: u64 = 32;

impl Continuous {
    /// A decoder that has had nothing yet.
    pub fn new(config: &Config) -> Self {
        Self { config: config.clone(), line: None, awaited: Awaited::new(), lead: None }
    }

    /// Decodes `units`, and gives `each` the pictures that are ready, each once: of those whose sequence number is in
    /// `inspect`, now or in an earlier call.
    ///
    /// # Errors
    /// When nothing came in time, the decoder failed, or the pictures are too large; what was asked for will not come then.
    /// The next call starts afresh, from the last keyframe and the units that it is given.
    pub fn decode(
        &mut self,
        units: &[AccessUnit],
        inspect: &[u64],
        each: &mut dyn FnMut(Picture),
    ) -> Result<(), DecodeError> {
        let Some(first) = units.first() else { return Ok(()) };
        let codec_changed = self.lead.as_ref().is_some_and(|lead| lead.codec != first.codec);
        let mut line = match self.line.take().filter(|line| line.is_idle() && !codec_changed) {
            Some(line) => line,
            None => self.start(first)?,
        };
        self.awaited.extend(awaited(units, inspect));
        if let Err(error) = line.go_on(units, &mut self.awaited, self.config.timeout, each) {
            self.awaited.clear();
            // What it began with may be innocent of it. It is tried once more, alone.
            if self.lead.is_none() {
                self.lead = units.iter().rfind(|unit| unit.keyframe).cloned();
            }
            return Err(error);
        }
        self.line = Some(line);
        // Only now: one that brought the decoder down is not to be met again and again.
        if let Some(lead) = units.iter().rfind(|unit| unit.keyframe).or(units.first().filter(|_| self.lead.is_none())) {
            self.lead = Some(lead.clone());
        }
        // What has not come though later units should have brought it will not come.
        self.awaited = self.awaited.split_off(&units.last().map_or(0, |unit| unit.sequence.saturating_sub(REORDERED)));
        Ok(())
    }

    /// How many pictures were asked for that may still come.
    pub fn owed(&self) -> usize {
        self.awaited.len()
    }

    fn start(&mut self, first: &AccessUnit) -> Result<Line, DecodeError> {
        self.awaited.clear();
        let mut line = Line::start(&self.config, first.codec)?;
        let lead = self.lead.take().filter(|lead| lead.codec == first.codec);
        if let Some(lead) = lead.filter(|_| !first.keyframe) {
            line.go_on(std::slice::from_ref(&lead), &mut Awaited::new(), self.config.timeout, &mut drop)?;
            self.lead = Some(lead);
        }
        Ok(line)
    }
}
