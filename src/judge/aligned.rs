//! Which matches follow one banked video in step: the same pictures, in the same order, at about the same pace.
//!
//! A match says when its picture is shown (`pts`, on the stream's clock) and where in the banked video its signal lies
//! (`banked_at`). Where a stream shows the video, these points lie on a line, `banked_at = start + speed * pts`; matches
//! by chance are scattered. So a line is looked for that most distinct pictures lie on:
//!
//! - of one video: the same bank (a rule counts one at a time) and the same provenance, which names the file;
//! - at a speed from 0.5 to 2 in steps of 1/64: normal speed and every usual faster or slower one exactly, any other
//!   within 1/128, which over a minute is a quarter of a second on either side;
//! - with every picture within [`TOLERANCE`] of it.
//!
//! A picture without either time lies on no line. Played backwards, a video is not in step with itself. Played in a
//! loop, each round is a line of its own: rounds do not add up. Neither do the two sides of a gap, such as an
//! attachment after which the stream's clock starts anew.
//!
//! The most over all lines can only grow with more matches, and depends neither on their order nor on anything else.
//! For n matches it takes 97 sorts of n numbers; n is at most the judge's limit of evidence.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use super::rule::matched;
use crate::finding::Finding;

/// How far a match may lie from its line: a dense bank leaves out frames that look like the last one kept, so the signal
/// of a slow scene may lie some frames before the picture that matches it.
pub(super) const TOLERANCE: Duration = Duration::from_millis(500);

/// A speed of 1, in steps.
const STEPS: i128 = 64;

/// 0.5 to 2.
const SPEEDS: RangeInclusive<i128> = STEPS / 2..=STEPS * 2;

/// From the lowest to the highest offset on one line.
const WIDTH: i128 = 2 * STEPS * TOLERANCE.as_micros() as i128;

/// A match with both times. Units and signals are numbered from zero, for counting.
#[derive(Debug)]
struct Point {
    /// On the line of the speed that is tried just now.
    offset: i128,
    pts: i128,
    banked_at: i128,
    unit: usize,
    signal: usize,
}

/// Those of `counted`, matches of one bank, that lie on the line with the most distinct pictures, in the same order.
pub(super) fn aligned<'finding>(counted: &[&'finding Finding]) -> Vec<&'finding Finding> {
    let mut videos: BTreeMap<&Arc<str>, Vec<&'finding Finding>> = BTreeMap::new();
    for finding in counted {
        if let Some(seen) = matched(finding).filter(|_| times(finding).is_some()) {
            videos.entry(&seen.provenance).or_default().push(finding);
        }
    }
    let lines = videos.into_values().filter_map(|findings| {
        let mut points = points(&findings);
        let lines = SPEEDS.map(|speed| (most(&mut points, speed), speed));
        let ((pictures, Reverse(low)), speed) = lines.max()?;
        Some((pictures, low, speed, findings))
    });
    let Some((_, low, speed, mut findings)) = lines.max_by_key(|(pictures, ..)| *pictures) else { return Vec::new() };
    let on_it = |offset| (low..=low + WIDTH).contains(&offset);
    findings.retain(|finding| times(finding).is_some_and(|(pts, banked_at)| on_it(offset(pts, banked_at, speed))));
    findings
}

/// `pts` and `banked_at` in microseconds. What a duration can hold is far from what overflows here.
fn times(finding: &Finding) -> Option<(i128, i128)> {
    let micros = |time: Duration| time.as_micros() as i128;
    Some((micros(finding.pts?), micros(matched(finding)?.banked_at?)))
}

/// Where the line of this speed through the point starts, in 64ths of a microsecond.
const fn offset(pts: i128, banked_at: i128, speed: i128) -> i128 {
    STEPS * banked_at - speed * pts
}

fn points(findings: &[&Finding]) -> Vec<Point> {
    let signal = |finding: &&Finding| matched(finding).map(|seen| seen.signal);
    let units = ranks(findings.iter().map(|finding| finding.sequence));
    let signals = ranks(findings.iter().filter_map(signal));
    let point = |finding: &&Finding| {
        let (pts, banked_at) = times(finding)?;
        let (unit, signal) = (*units.get(&finding.sequence)?, *signals.get(&signal(finding)?)?);
        Some(Point { offset: 0, pts, banked_at, unit, signal })
    };
    findings.iter().filter_map(point).collect()
}

/// Numbers the distinct ones of `numbers` from zero.
fn ranks(numbers: impl Iterator<Item = u64>) -> BTreeMap<u64, usize> {
    let mut ranks = BTreeMap::new();
    for number in numbers {
        let next = ranks.len();
        ranks.entry(number).or_insert(next);
    }
    ranks
}

/// How many distinct pictures one line of this speed holds at most, and the lowest offset on that line: the smallest of
/// several, which `Reverse` makes the greatest.
fn most(points: &mut [Point], speed: i128) -> (usize, Reverse<i128>) {
    for point in points.iter_mut() {
        point.offset = offset(point.pts, point.banked_at, speed);
    }
    points.sort_unstable_by_key(|point| point.offset);
    let (mut units, mut signals) = (Tally::of(points.len()), Tally::of(points.len()));
    let mut lows = points.iter().peekable();
    let mut best = (0, Reverse(0));
    for high in points.iter() {
        units.add(high.unit);
        signals.add(high.signal);
        while let Some(low) = lows.next_if(|low| high.offset - low.offset > WIDTH) {
            units.remove(low.unit);
            signals.remove(low.signal);
        }
        if let Some(low) = lows.peek() {
            best = best.max((units.distinct.min(signals.distinct), Reverse(low.offset)));
        }
    }
    best
}

/// How often each of some numbers is there, and how many are.
#[derive(Debug)]
struct Tally {
    counts: Vec<usize>,
    distinct: usize,
}

impl Tally {
    fn of(numbers: usize) -> Self {
        Self { counts: vec![0; numbers], distinct: 0 }
    }

    fn add(&mut self, number: usize) {
        if let Some(count) = self.counts.get_mut(number) {
            *count += 1;
            self.distinct += usize::from(*count == 1);
        }
    }

    fn remove(&mut self, number: usize) {
        if let Some(count) = self.counts.get_mut(number) {
            *count -= 1;
            self.distinct -= usize::from(*count == 0);
        }
    }
}
