//! Reads playlists (RFC 8216, section 4): the few tags that matter to somebody who looks at the pictures. Pure.
//!
//! It promises to take whatever servers write in the wild, and to never take longer than the text is long: a tag that it
//! does not know, or cannot make sense of, is passed over. What it must not pass over is encryption: any key but `NONE`
//! counts, however it is written.

use std::sync::Arc;
use std::time::Duration;

use crate::source::http::Range;

/// Longer segments, and longer target durations, are not believed: they would put off every decision that is counted in
/// them.
const LONGEST: Duration = Duration::from_mins(1);

/// No segment has a higher number, so that there is always room to count on.
const HIGHEST: u64 = u64::MAX / 2;

/// A playlist of either kind.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Playlist {
    /// Names renditions.
    Master(Vec<Variant>),
    /// Names segments.
    Media(Media),
}

/// One rendition of a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Variant {
    pub(super) uri: String,
    /// Bits a second at its peak; the highest number where it is not said.
    pub(super) bandwidth: u64,
    /// Lines of a picture.
    pub(super) height: Option<u32>,
    /// Whether it says that it has codecs, and none for video.
    pub(super) sound_only: bool,
}

/// The segments that a server has of a stream now.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Media {
    /// From one second to a minute.
    pub(super) target: Duration,
    /// The number of the first segment.
    pub(super) sequence: u64,
    /// Whether no segment will be added.
    pub(super) ended: bool,
    pub(super) segments: Vec<Segment>,
}

/// A piece of a stream.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Segment {
    pub(super) part: Part,
    /// At most a minute.
    pub(super) duration: Duration,
    /// Whether its timestamps or its encoding have nothing to do with those of the segment before.
    pub(super) discontinuity: bool,
    /// What a demuxer needs to make sense of it.
    pub(super) map: Option<Arc<Part>>,
    pub(super) encrypted: bool,
    /// Whether the server says that it does not have it.
    pub(super) missing: bool,
}

/// A resource, or some bytes of one.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Part {
    /// As the playlist has it: may be relative to the playlist's own address.
    pub(super) uri: String,
    pub(super) range: Option<Range>,
}

/// What stands before a segment's address, and holds for that segment.
#[derive(Default)]
struct Heading {
    duration: Duration,
    range: Option<(u64, Option<u64>)>,
    discontinuity: bool,
    missing: bool,
}

/// Reads a playlist. `None` when it is none.
pub(super) fn parse(text: &[u8]) -> Option<Playlist> {
    let text = String::from_utf8_lossy(text);
    let mut lines = text.trim_start_matches('\u{feff}').lines().map(str::trim);
    if !lines.next()?.starts_with("#EXTM3U") {
        return None;
    }
    let lines: Vec<&str> = lines.filter(|line| !line.is_empty()).collect();
    if lines.iter().any(|line| line.starts_with("#EXT-X-STREAM-INF:")) {
        return Some(Playlist::Master(master(&lines)));
    }
    let is_media = |line: &&str| line.starts_with("#EXTINF") || line.starts_with("#EXT-X-TARGETDURATION");
    lines.iter().any(is_media).then(|| Playlist::Media(media(&lines)))
}

fn master(lines: &[&str]) -> Vec<Variant> {
    let mut variants = Vec::new();
    let mut announced = None;
    for line in lines {
        if let Some(said) = line.strip_prefix("#EXT-X-STREAM-INF:") {
            announced = Some(said);
        } else if !line.starts_with('#')
            && let Some(said) = announced.take()
        {
            variants.push(variant(said, line));
        }
    }
    variants
}

fn variant(said: &str, uri: &str) -> Variant {
    let mut variant = Variant { uri: uri.to_owned(), bandwidth: u64::MAX, height: None, sound_only: false };
    for (name, value) in attributes(said) {
        match name {
            "BANDWIDTH" => variant.bandwidth = value.parse().unwrap_or(u64::MAX),
            "RESOLUTION" => variant.height = value.split_once(['x', 'X']).and_then(|(_, lines)| lines.parse().ok()),
            "CODECS" => variant.sound_only = !value.split(',').any(is_video),
            _ => {}
        }
    }
    variant.sound_only &= variant.height.is_none();
    variant
}

/// Whether a name of RFC 6381 is that of a codec for video: everything but what is known to be sound or text.
fn is_video(codec: &str) -> bool {
    let known = ["mp4a", "ac-3", "ec-3", "ac-4", "opus", "Opus", "flac", "fLaC", "alac", "vorbis", "stpp", "wvtt"];
    let name = codec.trim().split('.').next().unwrap_or_default();
    !name.is_empty() && !known.contains(&name)
}

fn media(lines: &[&str]) -> Media {
    let mut media = Media { target: Duration::ZERO, sequence: 0, ended: false, segments: Vec::new() };
    let mut heading = Heading::default();
    let (mut map, mut encrypted) = (None, false);
    // Where a range begins that does not say so: behind the range before it.
    let mut behind = 0;
    for line in lines {
        let Some(tag) = line.strip_prefix('#') else {
            let heading = std::mem::take(&mut heading);
            let range = heading.range.map(|(length, start)| Range { start: start.unwrap_or(behind), length });
            behind = range.map_or(0, |range| range.start.saturating_add(range.length));
            media.segments.push(Segment {
                part: Part { uri: (*line).to_owned(), range },
                duration: heading.duration,
                discontinuity: heading.discontinuity,
                map: Option::clone(&map),
                encrypted,
                missing: heading.missing,
            });
            continue;
        };
        let (name, value) = tag.split_once(':').unwrap_or((tag, ""));
        match name {
            "EXTINF" => heading.duration = seconds(value.split(',').next().unwrap_or_default()),
            "EXT-X-BYTERANGE" => heading.range = range(value),
            "EXT-X-DISCONTINUITY" => heading.discontinuity = true,
            "EXT-X-GAP" => heading.missing = true,
            "EXT-X-KEY" => encrypted = attribute(value, "METHOD") != Some("NONE"),
            "EXT-X-MAP" => map = map_of(value).map(Arc::new),
            "EXT-X-TARGETDURATION" => media.target = seconds(value),
            "EXT-X-MEDIA-SEQUENCE" => media.sequence = value.trim().parse::<u64>().unwrap_or_default().min(HIGHEST),
            "EXT-X-ENDLIST" => media.ended = true,
            _ => {}
        }
    }
    let longest = media.segments.iter().map(|segment| segment.duration).max();
    if media.target.is_zero() {
        media.target = longest.unwrap_or_default();
    }
    media.target = media.target.max(Duration::from_secs(1));
    media
}

fn map_of(said: &str) -> Option<Part> {
    let uri = attribute(said, "URI")?.to_owned();
    let range = attribute(said, "BYTERANGE").and_then(range);
    Some(Part { uri, range: range.map(|(length, start)| Range { start: start.unwrap_or(0), length }) })
}

/// `LENGTH` or `LENGTH@START`.
fn range(said: &str) -> Option<(u64, Option<u64>)> {
    match said.split_once('@') {
        Some((length, start)) => Some((length.trim().parse().ok()?, Some(start.trim().parse().ok()?))),
        None => Some((said.trim().parse().ok()?, None)),
    }
}

/// Nothing where it is no number of seconds, and a minute where it is more than that.
fn seconds(said: &str) -> Duration {
    let seconds = said.trim().parse::<f64>().unwrap_or_default().clamp(0.0, LONGEST.as_secs_f64());
    Duration::try_from_secs_f64(seconds).unwrap_or_default()
}

fn attribute<'a>(said: &'a str, name: &str) -> Option<&'a str> {
    attributes(said).find(|(found, _)| *found == name).map(|(_, value)| value)
}

/// The names and values of `A=1,B="x,y"`, without the quotes.
fn attributes(said: &str) -> impl Iterator<Item = (&str, &str)> {
    let mut rest = said;
    std::iter::from_fn(move || {
        let (name, behind) = rest.split_once('=')?;
        let (value, behind) = match behind.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"').unwrap_or((quoted, "")),
            None => behind.find(',').map_or((behind, ""), |comma| behind.split_at(comma)),
        };
        rest = behind.trim_start_matches([',', ' ']);
        Some((name.trim(), value.trim()))
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn listed(text: &str) -> Media {
        match parse(text.as_bytes()) {
            Some(Playlist::Media(media)) => media,
            other => panic!("{other:?}"),
        }
    }

    fn shown(segment: &Segment) -> String {
        let range =
            |part: &Part| part.range.map_or(String::new(), |range| format!("[{}+{}]", range.start, range.length));
        let map = segment.map.as_ref().map_or(String::new(), |map| format!(" map {}{}", map.uri, range(map)));
        let marks = [(segment.discontinuity, " !"), (segment.encrypted, " encrypted"), (segment.missing, " missing")];
        let marks: String = marks.iter().filter(|(on, _)| *on).map(|(_, mark)| *mark).collect();
        format!("{}{} {}{map}{marks}", segment.part.uri, range(&segment.part), segment.duration.as_secs_f64())
    }

    #[test]
    fn the_segments_of_a_live_playlist() {
        for (story, lines, sequence, segments) in [
            (
                "as nginx-rtmp writes it",
                "#EXT-X-VERSION:3|#EXT-X-MEDIA-SEQUENCE:7|#EXT-X-TARGETDURATION:2|#EXT-X-DISCONTINUITY|#EXTINF:2.000,|a-7.ts|#EXTINF:1.5,|a-8.ts",
                7,
                "a-7.ts 2 ! / a-8.ts 1.5",
            ),
            (
                "windows line ends, a title, an unknown tag, a date with an odd zone",
                "#EXT-X-TARGETDURATION:2\r|#EXT-X-PROGRAM-DATE-TIME:2026-11-22T12:00:00.1+0000\r|#EXT-X-NEW:1\r|#EXTINF:2,a, b\r|\r|x.ts?a=1\r",
                0,
                "x.ts?a=1 2",
            ),
            (
                "a map with a range, and ranges that follow one another",
                "#EXT-X-TARGETDURATION:2|#EXT-X-MAP:URI=\"i,1.mp4\",BYTERANGE=\"800@0\"|#EXTINF:2,|#EXT-X-BYTERANGE:100@800|m.mp4|#EXTINF:2,|#EXT-X-BYTERANGE:50|m.mp4|#EXTINF:2,|n.mp4",
                0,
                "m.mp4[800+100] 2 map i,1.mp4[0+800] / m.mp4[900+50] 2 map i,1.mp4[0+800] / n.mp4 2 map i,1.mp4[0+800]",
            ),
            (
                "a key holds until the next",
                "#EXT-X-TARGETDURATION:2|#EXTINF:2,|a|#EXT-X-KEY:METHOD=AES-128,URI=\"k\"|#EXTINF:2,|b|#EXTINF:2,|c|#EXT-X-KEY:METHOD=NONE|#EXTINF:2,|d|#EXT-X-KEY:whatever|#EXTINF:2,|e",
                0,
                "a 2 / b 2 encrypted / c 2 encrypted / d 2 / e 2 encrypted",
            ),
            (
                "a segment that the server does not have",
                "#EXT-X-TARGETDURATION:2|#EXT-X-GAP|#EXTINF:2,|a|#EXTINF:2,|b",
                0,
                "a 2 missing / b 2",
            ),
            (
                "nonsense for numbers",
                "#EXT-X-MEDIA-SEQUENCE:-1|#EXTINF:nan,|a|#EXTINF:-1,|b|#EXTINF:1e30,|c|#EXT-X-BYTERANGE:x@y|#EXTINF:inf,|d",
                0,
                "a 0 / b 0 / c 60 / d 60",
            ),
            ("a young one", "#EXT-X-TARGETDURATION:2", 0, ""),
        ] {
            let media = listed(&format!("#EXTM3U|{lines}").replace('|', "\n"));
            assert_eq!(media.segments.iter().map(shown).collect::<Vec<_>>().join(" / "), segments, "{story}");
            assert_eq!(media.sequence, sequence, "{story}");
        }
    }

    #[test]
    fn how_long_a_segment_is_meant_to_be() {
        for (lines, target, ended) in [
            ("#EXT-X-TARGETDURATION:2\n#EXT-X-ENDLIST", 2, true),
            ("#EXTINF:3.5,\na\n#EXTINF:4,\nb", 4, false),
            ("#EXT-X-TARGETDURATION:0", 1, false),
            ("#EXT-X-TARGETDURATION:86400", 60, false),
        ] {
            let media = listed(&format!("\u{feff}#EXTM3U\n{lines}\n"));
            assert_eq!((media.target.as_secs(), media.ended), (target, ended), "{lines}");
        }
    }

    #[test]
    fn the_renditions_of_a_master_playlist() {
        let text = "#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=800000,CODECS=\"avc1.4d401f,mp4a.40.2\",RESOLUTION=640x360\n360.m3u8\n\
                    #EXT-X-I-FRAME-STREAM-INF:BANDWIDTH=1,URI=\"i.m3u8\"\n\
                    #EXT-X-STREAM-INF:BANDWIDTH=64000,CODECS=\"mp4a.40.2\"\n# a comment\nsound.m3u8\n\
                    #EXT-X-STREAM-INF:PROGRAM-ID=1\nplain.m3u8\nstray.m3u8\n";
        let variant =
            |uri: &str, bandwidth, height, sound_only| Variant { uri: uri.to_owned(), bandwidth, height, sound_only };
        let expected = vec![
            variant("360.m3u8", 800_000, Some(360), false),
            variant("sound.m3u8", 64_000, None, true),
            variant("plain.m3u8", u64::MAX, None, false),
        ];
        assert_eq!(parse(text.as_bytes()), Some(Playlist::Master(expected)));
    }

    #[test]
    fn what_is_no_playlist() {
        for text in ["", "\n", "<html>", "#EXTM3U", "#EXTM3U\nhello\n", "EXTM3U\n#EXTINF:1,\na"] {
            assert_eq!(parse(text.as_bytes()), None, "{text}");
        }
    }

    fn line() -> impl Strategy<Value = String> {
        const TAGS: [&str; 10] = [
            "#EXTM3U",
            "#EXTINF:",
            "#EXT-X-KEY:",
            "#EXT-X-MAP:",
            "#EXT-X-BYTERANGE:",
            "#EXT-X-STREAM-INF:",
            "#EXT-X-MEDIA-SEQUENCE:",
            "#EXT-X-TARGETDURATION:",
            "#EXT-X-GAP",
            "",
        ];
        let values =
            prop_oneof!["[0-9@.]{0,30}", "[A-Z]{1,9}=\"?[a-z0-9,@]{0,9}\"?,?[A-Z]{0,9}=?[0-9x]{0,9}", "\\PC{0,20}",];
        (prop::sample::select(&TAGS[..]), values).prop_map(|(tag, value)| format!("{tag}{value}"))
    }

    proptest! {
        #[test]
        fn nothing_that_strangers_write_breaks_it(lines in proptest::collection::vec(line(), 0..60)) {
            if let Some(Playlist::Media(media)) = parse(format!("#EXTM3U\n{}", lines.join("\n")).as_bytes()) {
                prop_assert!((1..=60).contains(&media.target.as_secs()));
                prop_assert!(media.segments.iter().all(|segment| segment.duration <= LONGEST));
            }
        }

        #[test]
        fn nor_anything_else(bytes: Vec<u8>) {
            prop_assert_eq!(parse(&bytes), None);
        }
    }
}
