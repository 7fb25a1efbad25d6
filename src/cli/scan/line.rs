//! One worker of the line: encoded groups or decoded pictures in, what there is to see in them out.

use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender};
use serde::{Deserialize, Serialize};

use super::asked::Asked;
use super::reading::{Job, Told, Work};
use super::thumbnail::Thumbnail;
use crate::decode::Decoder;
use crate::detect::known::Known;
use crate::detect::{Detector, Look};
use crate::finding::{Match, Observation, Scores};
use crate::model;
use crate::picture::Picture;

/// What there is to see in one picture.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Glance {
    pub(super) at: Duration,
    pub(super) matches: Vec<Match>,
    /// The benign bank for whose sake what matched is none.
    pub(super) vetoed: bool,
    pub(super) scores: Vec<Scores>,
    /// It shows nothing, so no model was asked.
    pub(super) flat: bool,
    /// What could not be found out.
    pub(super) problems: Vec<String>,
    /// Where there is a finding.
    pub(super) thumbnail: Option<Arc<Thumbnail>>,
}

/// Does jobs until there are no more.
pub(super) fn work(worker: usize, asked: &Asked, jobs: &Receiver<Job>, told: &Sender<Told>) {
    let mut line = Line { worker, asked, decoder: None, known: Known::of_all(Arc::clone(&asked.banks)) };
    for Job { input, work } in jobs {
        let mut heard = true;
        let mut tell = |what: Told| heard &= told.send(what).is_ok();
        match work {
            Work::Picture(picture) => tell(Told::Glance { input, glance: line.look(&picture) }),
            Work::Group { units, inspect, end } => {
                let mut seen = Vec::new();
                let mut each = |picture: Picture| seen.push(picture.sequence);
                let problem = match line.decoder() {
                    Ok(mut decoder) => {
                        let done = decoder.decode(&units, &inspect, &mut |picture| {
                            let glance = line.look(&picture);
                            each(picture);
                            tell(Told::Glance { input, glance });
                        });
                        line.decoder = Some(decoder);
                        done.err().map(|error| error.to_string())
                    }
                    Err(error) => Some(error.to_string()),
                };
                let missed =
                    units.iter().filter(|unit| inspect.contains(&unit.sequence) && !seen.contains(&unit.sequence));
                let missed: Vec<Duration> = missed.map(|unit| unit.pts.unwrap_or_default()).collect();
                if let (Some(from), Some(last)) = (missed.iter().min(), missed.iter().max()) {
                    // What was not seen goes on to the next thing that was.
                    let later = units.iter().filter(|unit| seen.contains(&unit.sequence)).filter_map(|unit| unit.pts);
                    let to = later.filter(|at| at > last).min().or(end).unwrap_or(*last);
                    let reason = problem.unwrap_or_else(|| {
                        format!("{} of {} pictures could not be decoded", missed.len(), inspect.len())
                    });
                    tell(Told::Missed { input, from: *from, to, reason });
                }
            }
        }
        if !heard {
            // Whoever asked has gone.
            return;
        }
    }
}

struct Line<'a> {
    worker: usize,
    asked: &'a Asked,
    decoder: Option<Decoder>,
    known: Known,
}

impl Line<'_> {
    /// The decoder, made when it is first needed.
    fn decoder(&mut self) -> Result<Decoder, crate::decode::DecodeError> {
        self.decoder.take().map_or_else(|| Decoder::new(&self.asked.decode), Ok)
    }

    fn look(&mut self, picture: &Picture) -> Glance {
        let mut glance = Glance {
            at: picture.pts.unwrap_or_default(),
            matches: Vec::new(),
            vetoed: false,
            scores: Vec::new(),
            flat: false,
            problems: Vec::new(),
            thumbnail: None,
        };
        match self.known.inspect(picture) {
            Ok(Look { observations, vetoed_by, .. }) => {
                glance.vetoed = vetoed_by.is_some();
                let matches = observations.into_iter().filter_map(|observation| match observation {
                    Observation::Match(found) => Some(found),
                    _ => None,
                });
                glance.matches = matches.collect();
            }
            Err(error) => glance.problems.push(error.to_string()),
        }
        if !self.asked.brief.scorers.is_empty() {
            self.score(picture, &mut glance);
        }
        let exceeds = |scores: &Scores| !self.asked.brief.thresholds.exceeded(scores).is_empty();
        if !glance.matches.is_empty() || glance.scores.iter().any(exceeds) {
            glance.thumbnail = Some(Arc::new(Thumbnail::of(picture)));
        }
        glance
    }

    fn score(&self, picture: &Picture, glance: &mut Glance) {
        glance.flat = model::flat(picture);
        if glance.flat {
            return;
        }
        let Some(mut models) = self.asked.models(self.worker) else { return };
        for (session, preprocessor) in models.iter_mut() {
            let outputs = preprocessor
                .tensor(picture)
                .and_then(|tensor| session.run(&[tensor])?.pop().unwrap_or_else(|| Ok(model::Outputs::default())));
            match outputs {
                Ok(outputs) => {
                    glance.scores.extend(outputs.scores);
                    let failed = outputs.failed.iter().map(|(head, problem)| format!("`{head}` had {problem}"));
                    glance.problems.extend(failed);
                }
                Err(error) => glance.problems.push(error.to_string()),
            }
        }
    }
}
