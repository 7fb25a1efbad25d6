//! False alarms on benign video: how often somebody would be called to look at nothing.

use std::time::Duration;

/// The scores of one benign video, in the order of their pictures.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Watched {
    /// How much of a stream it stands for.
    pub length: Duration,
    /// Each scored picture: when in the video, and its score.
    pub scores: Vec<(Duration, f64)>,
}

/// How many alarms `watched` raises at `threshold`: scores at or above it that are at most `apart` from the one before are one
/// alarm.
pub fn alarms(watched: &Watched, threshold: f64, apart: Duration) -> usize {
    let mut last: Option<Duration> = None;
    let mut alarms = 0;
    for (at, _) in watched.scores.iter().filter(|(_, score)| *score >= threshold) {
        if last.is_none_or(|last| at.saturating_sub(last) > apart) {
            alarms += 1;
        }
        last = Some(*at);
    }
    alarms
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scores_one_after_another_are_one_alarm() {
        let at = |second: u64, score: f64| (Duration::from_secs(second), score);
        let scores = vec![at(0, 0.9), at(2, 0.1), at(4, 0.9), at(30, 0.5), at(40, 0.5), at(50, 0.5), at(61, 0.9)];
        let watched = Watched { length: Duration::from_secs(62), scores };
        for (threshold, apart, expected) in [(0.5, 10, 3), (0.9, 10, 2), (0.5, 0, 6), (0.5, 60, 1), (0.95, 10, 0)] {
            assert_eq!(alarms(&watched, threshold, Duration::from_secs(apart)), expected, "{threshold} {apart}");
        }
    }
}
