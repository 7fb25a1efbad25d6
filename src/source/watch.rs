//! The watchdog's judgement: what to do about an attachment that does not give video. Pure.
//!
//! It looks at the last *video* access unit only. A connection can be open, and even carry sound, while nothing comes
//! that could be inspected, and no protocol reports that.

use std::time::Duration;

use super::{Config, Reason};
use crate::clock::Timestamp;

/// What an attachment has given so far.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Observed {
    /// When it was started.
    pub(super) since: Timestamp,
    /// The first and the last bytes from the server.
    pub(super) data: Option<(Timestamp, Timestamp)>,
    /// Whether the demuxer has found video.
    pub(super) has_video: bool,
    /// The first and the last access unit.
    pub(super) units: Option<(Timestamp, Timestamp)>,
    /// How long it may be silent, where that is longer than for others.
    pub(super) patience: Duration,
}

/// What to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Call {
    /// It does well, or not badly for long enough.
    Wait,
    /// Say that there is no video, and stay: the server sends, and the next keyframe may be far away.
    SayNoVideo,
    /// Give it up and attach again.
    Reattach(Reason),
}

/// What to do at `now` about an attachment of which `observed` is known.
pub(super) fn judge(observed: &Observed, config: &Config, now: Timestamp) -> Call {
    let last_sign = match (observed.units, observed.data) {
        (Some((_, last)), _) | (None, Some((_, last))) => last,
        (None, None) => observed.since,
    };
    if now.since(last_sign) >= config.stall_after.max(observed.patience) {
        return Call::Reattach(Reason::Stalled);
    }
    match (observed.units, observed.data) {
        (None, Some((first, _))) if now.since(first) >= config.no_video_after => {
            // A demuxer that gave up looking for video ignores it when it comes, so only a new one will see it.
            if observed.has_video { Call::SayNoVideo } else { Call::Reattach(Reason::NoVideo) }
        }
        _ => Call::Wait,
    }
}

/// Whether video flowed for long enough to call the next failure the first of a new series.
pub(super) fn was_healthy(observed: &Observed, config: &Config) -> bool {
    observed.units.is_some_and(|(first, last)| last.since(first) >= config.stall_after)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A timeline of half-second letters: `d` data, `p` the demuxer finds video, `v` an access unit with data, `.`
    /// nothing. Gives the call at its end.
    fn at_the_end_of(timeline: &str) -> Call {
        let at = |step: usize| Timestamp::from_millis(100_000 + 500 * step as u64);
        let mut observed = Observed { since: at(0), ..Observed::default() };
        for (step, letter) in timeline.chars().enumerate() {
            let mark = |span: &mut Option<(Timestamp, Timestamp)>| {
                *span = Some((span.map_or(at(step), |(first, _)| first), at(step)));
            };
            match letter {
                'd' => mark(&mut observed.data),
                'p' => observed.has_video = true,
                'v' => {
                    observed.has_video = true;
                    mark(&mut observed.data);
                    mark(&mut observed.units);
                }
                _ => {}
            }
        }
        judge(&observed, &Config::default(), at(timeline.len() - 1))
    }

    #[test]
    fn an_attachment_is_judged_by_its_video() {
        use Call::{Reattach, SayNoVideo, Wait};
        for (timeline, call, story) in [
            (".", Wait, "just started"),
            ("..........", Wait, "4.5 s without an answer"),
            ("...........", Reattach(Reason::Stalled), "5 s without an answer"),
            ("dvvvvvvvvvvvvvvvv", Wait, "video flows"),
            ("dvv..........", Reattach(Reason::Stalled), "video stops, and everything with it"),
            ("dvvdddddddddd", Reattach(Reason::Stalled), "video stops, and the sound goes on"),
            ("dvvdddddddddv", Wait, "video comes back just in time"),
            ("dddddddddddd", Wait, "5.5 s of sound alone"),
            ("ddddddddddddd", Reattach(Reason::NoVideo), "6 s of sound alone"),
            ("....ddddddddddddd", Reattach(Reason::NoVideo), "a slow server, then sound alone"),
            ("dpddddddddddd", SayNoVideo, "video announced, and none comes"),
            ("dpddddddddddddddddddddddv", Wait, "a keyframe at last"),
            ("dpdddd..........", Reattach(Reason::Stalled), "video announced, then silence"),
        ] {
            assert_eq!(at_the_end_of(timeline), call, "{story}: {timeline}");
        }
    }

    #[test]
    fn a_source_that_is_silent_for_good_reasons_is_given_time() {
        let at = Timestamp::from_millis;
        let patience = Duration::from_secs(18);
        let observed = Observed { units: Some((at(0), at(1000))), patience, ..Observed::default() };
        assert_eq!(judge(&observed, &Config::default(), at(18_999)), Call::Wait);
        assert_eq!(judge(&observed, &Config::default(), at(19_000)), Call::Reattach(Reason::Stalled));
    }

    #[test]
    fn a_source_is_healthy_once_video_flowed_for_a_while() {
        let at = Timestamp::from_millis;
        let config = Config::default();
        for (units, healthy) in [
            (None, false),
            (Some((at(0), at(0))), false),
            (Some((at(0), at(4999))), false),
            (Some((at(0), at(5000))), true),
        ] {
            assert_eq!(was_healthy(&Observed { units, ..Observed::default() }, &config), healthy, "{units:?}");
        }
    }
}
