//! Fetches segments and hands them to a demuxer, at the pace at which they were taken.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use gst::prelude::*;
use gstreamer as gst;
use gstreamer_app as gst_app;
use tokio::sync::mpsc::Receiver;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use url::Url;

use super::boxes::are_bottomless;
use super::{Pipe, pace, retire};
use crate::source::attachment::Wiring;
use crate::source::branch::Feed;
use crate::source::http::{Http, Limits, Range, Trouble};
use crate::source::launch::Launch;
use crate::source::outlet::Attempt;
use crate::source::progress::Ending;
use crate::source::{Reason, SourceError};

/// What a segment may cost. Its time is what is left before the stream would count as stopped, and this at least.
const SEGMENT: Limits = Limits { bytes: 64 << 20, time: Duration::from_secs(5) };

/// What a segment's map may cost.
const MAP: Limits = Limits { bytes: 1 << 20, time: Duration::from_secs(5) };

/// How many segments in a row may be lost before the rendition counts as failed.
const LOST: u32 = 3;

/// Bytes that may wait for the demuxer. It takes them as they come; this holds only where something is stuck.
const AHEAD: u64 = 4 << 20;

/// How long the last pictures of a timeline may take to come out.
const FAREWELL: Duration = Duration::from_secs(1);

/// A segment to be fetched.
pub(super) struct Job {
    pub(super) media: Resource,
    pub(super) map: Option<Resource>,
    pub(super) duration: Duration,
    /// The playlist's target duration.
    pub(super) target: Duration,
    /// Whether a demuxer may take it for the continuation of the one before.
    pub(super) follows: bool,
    pub(super) unfed: Unfed,
}

/// A segment that is counted as missed when it is given up: wherever it then is, whoever gives it up.
pub(super) struct Unfed(Option<Wiring>);

impl Unfed {
    pub(super) fn new(wiring: &Wiring) -> Self {
        Self(Some(wiring.clone()))
    }

    fn fed(&mut self) {
        self.0 = None;
    }
}

impl Drop for Unfed {
    fn drop(&mut self) {
        if let Some(wiring) = &self.0 {
            wiring.miss(1);
        }
    }
}

/// Something to fetch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Resource {
    pub(super) url: Url,
    pub(super) range: Option<Range>,
}

/// What a segment is wrapped in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Container {
    Ts,
    Fmp4,
}

impl Container {
    /// The name of its launch description.
    const fn launch(self) -> &'static str {
        match self {
            Self::Ts => "hls",
            Self::Fmp4 => "hls-fmp4",
        }
    }
}

/// What a segment turned out to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Content {
    Video(Container),
    /// Packed audio (RFC 8216, 3.4).
    Sound,
    Unknown,
}

/// Feeds one stream's pipelines, one after the other.
pub(super) struct Feeder {
    http: Http,
    wiring: Wiring,
    launches: Arc<[Launch]>,
    pipe: Arc<Pipe>,
    attempt: Attempt,
    line: Option<Line>,
    /// Whether something went out under `attempt`.
    used: bool,
    /// Segments lost in a row.
    lost: u32,
    /// When the next piece is due.
    due: Instant,
}

/// A pipeline and how far it was fed.
struct Line {
    src: gst_app::AppSrc,
    output: Arc<Feed>,
    container: Container,
    map: Option<Resource>,
    /// Media time fed so far.
    fed: Duration,
}

impl Feeder {
    pub(super) fn new(http: Http, wiring: Wiring, launches: Arc<[Launch]>, pipe: Arc<Pipe>, attempt: Attempt) -> Self {
        Self { http, wiring, launches, pipe, attempt, line: None, used: false, lost: 0, due: Instant::now() }
    }

    /// Feeds what comes until no more will, and waits until all of it is through.
    pub(super) async fn run(mut self, mut jobs: Receiver<Job>) -> Result<(), Ending> {
        while let Some(mut job) = jobs.recv().await {
            match self.fetch(&job).await {
                Ok((media, map)) => {
                    self.lost = 0;
                    self.feed(&job, &media, map, &jobs).await?;
                    job.unfed.fed();
                }
                Err(trouble) => {
                    self.lost += 1;
                    if self.lost >= LOST {
                        return Err(self.failed(Reason::Error, trouble));
                    }
                    tracing::info!(stream = %self.wiring.pull().stream, "a segment could not be fetched");
                    self.finish().await;
                }
            }
        }
        self.finish().await;
        Ok(())
    }

    /// The segment, and its map where the demuxer does not have it yet. Tried twice: a segment can be listed a moment
    /// before it is there.
    async fn fetch(&self, job: &Job) -> Result<(Bytes, Option<Bytes>), Trouble> {
        let limits = Limits { time: SEGMENT.time.max(2 * job.target), ..SEGMENT };
        let media = match self.http.get(&job.media.url, job.media.range, limits).await {
            Ok(answer) => answer,
            Err(_first) => {
                sleep(job.target / 4).await;
                self.http.get(&job.media.url, job.media.range, limits).await?
            }
        };
        let map = match &job.map {
            Some(map) if self.needs_new_line(job, Container::Fmp4) => {
                Some(self.http.get(&map.url, map.range, MAP).await?.body)
            }
            _ => None,
        };
        Ok((media.body, map))
    }

    fn needs_new_line(&self, job: &Job, container: Container) -> bool {
        !job.follows || self.line.as_ref().is_none_or(|line| line.container != container || line.map != job.map)
    }

    async fn feed(&mut self, job: &Job, media: &Bytes, map: Option<Bytes>, jobs: &Receiver<Job>) -> Result<(), Ending> {
        let container = match content(media, job.map.is_some()) {
            Content::Video(container) => container,
            Content::Sound => return Err(Ending { reason: Reason::NoVideo, error: None }),
            Content::Unknown => {
                return Err(self.failed(Reason::Error, Trouble::Garbage("its segments are of an unknown kind")));
            }
        };
        if container == Container::Fmp4
            && [Some(media), map.as_ref()].into_iter().flatten().any(|part| are_bottomless(part))
        {
            let trouble = Trouble::Garbage("its segments hold boxes within boxes without end");
            return Err(self.failed(Reason::Error, trouble));
        }
        if self.needs_new_line(job, container) {
            self.renew(container, job.map.clone()).await?;
        }
        let Some(line) = &mut self.line else { return Ok(()) };
        let began = line.fed;
        if let Some(map) = map {
            push(&line.src, map, began);
        }
        self.due = self.due.max(Instant::now());
        let mut last = Duration::ZERO;
        for (range, at) in pace::pieces(media.len(), job.duration) {
            self.due += pace::takes(at.saturating_sub(last), jobs.len());
            last = at;
            sleep_until(self.due).await;
            while line.src.current_level_bytes() > AHEAD {
                sleep(Duration::from_millis(20)).await;
            }
            push(&line.src, media.slice(range), began + at);
        }
        self.due += pace::takes(job.duration.saturating_sub(last), jobs.len());
        line.fed = began + job.duration;
        Ok(())
    }

    /// Lets the last pictures out, and starts a pipeline for a timeline of its own.
    async fn renew(&mut self, container: Container, map: Option<Resource>) -> Result<(), Ending> {
        self.finish().await;
        if std::mem::replace(&mut self.used, true) {
            // What comes now has timestamps of its own.
            self.attempt = self.wiring.renew(self.attempt).ok_or(Ending { reason: Reason::Ended, error: None })?;
        }
        let line = self.start(container, map).map_err(|error| Ending { reason: Reason::Error, error: Some(error) })?;
        self.line = Some(line);
        Ok(())
    }

    fn start(&self, container: Container, map: Option<Resource>) -> Result<Line, SourceError> {
        let failed = |reason: &str| SourceError::Failed {
            stream: self.wiring.pull().stream.to_string(),
            reason: reason.to_owned(),
        };
        let launch = self.launches.iter().find(|launch| launch.name() == container.launch());
        let parts = launch.ok_or_else(|| failed("there is no launch description for its segments"))?.build()?;
        let src = parts.src.clone().downcast::<gst_app::AppSrc>();
        let src = src.map_err(|_element| failed("its launch description takes no segments"))?;
        let (pipeline, output) = self.wiring.connect(parts, self.attempt);
        let started = pipeline.set_state(gst::State::Playing);
        if let Some(unwanted) = self.pipe.exchange(Some(pipeline)) {
            drop(retire(unwanted));
        }
        started.map_err(|_error| failed("the pipeline does not start"))?;
        Ok(Line { src, output, container, map, fed: Duration::ZERO })
    }

    /// Ends the pipeline there is, once what it holds is out.
    async fn finish(&mut self) {
        let Some(line) = self.line.take() else { return };
        let leave = &line.output.leave;
        leave.begin();
        if line.src.end_of_stream().is_ok() && self.wiring.progress().observed().has_video {
            // Late is as good as never: what is stuck stays in.
            timeout(FAREWELL, leave.through()).await.ok();
        }
        if let Some(old) = self.pipe.exchange(None) {
            // What it still finds must not be taken for what the next one finds.
            timeout(FAREWELL, retire(old)).await.ok();
        }
    }

    fn failed(&self, reason: Reason, trouble: Trouble) -> Ending {
        Ending { reason, error: Some(trouble.told(self.wiring.pull().stream.to_string())) }
    }
}

/// Hands bytes to the demuxer. It refuses them only while it ends, and then there is nobody to tell.
fn push(src: &gst_app::AppSrc, bytes: Bytes, at: Duration) {
    let mut buffer = gst::Buffer::from_slice(bytes);
    if let Some(buffer) = buffer.get_mut() {
        buffer.set_pts(gst::ClockTime::try_from(at).ok());
    }
    src.push_buffer(buffer).ok();
}

/// What a segment is, by its first bytes: what a playlist or a server says of it is not to be relied on.
fn content(media: &[u8], has_map: bool) -> Content {
    const BOXES: [&[u8]; 8] = [b"ftyp", b"styp", b"moof", b"moov", b"sidx", b"emsg", b"prft", b"free"];
    let is_box = media.get(4..8).is_some_and(|name| BOXES.contains(&name));
    match media {
        [0x47, ..] if media.get(188).is_none_or(|sync| *sync == 0x47) => Content::Video(Container::Ts),
        _ if is_box || has_map => Content::Video(Container::Fmp4),
        [b'I', b'D', b'3', ..] | [0xff, 0xf0..=0xff, ..] | [0x0b, 0x77, ..] => Content::Sound,
        _ => Content::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_segment_is_known_by_its_first_bytes() {
        use Container::{Fmp4, Ts};
        use Content::{Sound, Unknown, Video};
        let packets = [[0x47; 188], [0x47; 188]].concat();
        for (story, media, has_map, content_is) in [
            ("two packets", packets.as_slice(), false, Video(Ts)),
            ("a packet and something else", &[packets[..188].to_vec(), vec![0; 188]].concat(), false, Unknown),
            ("packets behind a map", packets.as_slice(), true, Video(Ts)),
            ("a fragment", b"\0\0\0\x18styp....", false, Video(Fmp4)),
            ("whatever comes behind a map", b"\0\0\0\x18abcd....", true, Video(Fmp4)),
            ("packed audio", b"ID3.........", false, Sound),
            ("ADTS", &[0xff, 0xf1, 0x50], false, Sound),
            ("a page that says sorry", b"<html><body>", false, Unknown),
            ("nothing", b"", false, Unknown),
        ] {
            assert_eq!(content(media, has_map), content_is, "{story}");
        }
    }
}
