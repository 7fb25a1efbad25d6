//! Follows one stream: which playlist, which segments of it, and when that is over.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc::{Sender, channel};
use tokio::time::{Instant, sleep_until, timeout};
use url::Url;

use super::feed::{Feeder, Job, Resource, Unfed};
use super::playlist::{Media, Part, Playlist, Variant, parse};
use super::window::{Planned, Window, has_stopped, reload_after};
use super::{Memory, Pipe, rendition};
use crate::clock::Clock;
use crate::source::attachment::Wiring;
use crate::source::http::{Http, Limits, Trouble};
use crate::source::launch::Launch;
use crate::source::outlet::Attempt;
use crate::source::progress::Ending;
use crate::source::{Reason, SourceError};

/// What a playlist may cost.
const PLAYLIST: Limits = Limits { bytes: 1 << 20, time: Duration::from_secs(5) };

/// The least time that a playlist may take. Once a target duration is known, it may take no longer than that.
const QUICK: Duration = Duration::from_secs(1);

/// Segments that are known and not fetched yet. A playlist that lists more is not fetched again before they are.
const KNOWN: usize = 64;

/// In how many target durations everything that was found before the end is fed.
const BACKLOG: u32 = 4;

/// How many renditions of a stream are considered.
const RENDITIONS: usize = 64;

/// Everything that a stream's loop needs.
pub(super) struct Session {
    pub(super) url: Url,
    pub(super) http: Http,
    pub(super) min_height: u32,
    pub(super) launches: Arc<[Launch]>,
    pub(super) memory: Memory,
    pub(super) clock: Clock,
    pub(super) wiring: Wiring,
    pub(super) pipe: Arc<Pipe>,
    pub(super) attempt: Attempt,
}

/// A playlist of segments as it was fetched.
struct Fetched {
    asked: Instant,
    /// Where it came from, which is what its own addresses are relative to.
    from: Url,
    media: Media,
}

impl Session {
    /// Plays the stream until it is over, and says how that came about.
    pub(super) async fn run(self) -> Ending {
        let asked = Instant::now();
        let (from, playlist) = match self.playlist(&self.url, PLAYLIST.time).await {
            Ok(answered) => answered,
            Err(trouble) => return self.failed(Reason::Error, trouble),
        };
        match playlist {
            Playlist::Media(media) => self.play(&self.url, Fetched { asked, from, media }).await,
            Playlist::Master(variants) => self.play_one_of(variants, &from).await,
        }
    }

    /// Plays the rendition of choice. One that fails is the last choice when the stream is attached to again.
    async fn play_one_of(&self, variants: Vec<Variant>, from: &Url) -> Ending {
        let variants = rendition::in_order(variants, self.min_height);
        let urls: Vec<Url> = variants.iter().take(RENDITIONS).filter_map(|one| from.join(&one.uri).ok()).collect();
        let trusted = {
            let memory = self.memory.lock();
            urls.iter().find(|url| !memory.is_distrusted(url)).cloned()
        };
        let Some(url) = trusted.or_else(|| urls.into_iter().next()) else {
            return self.failed(Reason::Error, Trouble::Garbage("its playlist names no rendition"));
        };
        let asked = Instant::now();
        let ending = match self.playlist(&url, PLAYLIST.time).await {
            Ok((from, Playlist::Media(media))) => self.play(&url, Fetched { asked, from, media }).await,
            Ok((_, Playlist::Master(_))) => {
                self.failed(Reason::Error, Trouble::Garbage("the playlist of a rendition names renditions"))
            }
            Err(trouble) => self.failed(Reason::Error, trouble),
        };
        if ending.reason != Reason::Ended || ending.error.is_some() {
            self.memory.lock().distrust(&url, self.clock.now());
        }
        ending
    }

    async fn play(&self, url: &Url, first: Fetched) -> Ending {
        let (jobs, known) = channel(KNOWN);
        let feeder = Feeder::new(
            self.http.clone(),
            self.wiring.clone(),
            Arc::clone(&self.launches),
            Arc::clone(&self.pipe),
            self.attempt,
        );
        let target = first.media.target;
        let mut feed = pin!(feeder.run(known));
        tokio::select! {
            // What was found before the end is still to be looked at, but for what is stuck on the way.
            ending = self.follow(url, first, jobs) => {
                let left = if ending.error.is_none() { BACKLOG * target } else { target };
                timeout(left, feed).await.ok();
                ending
            }
            // What cannot be looked at is an end by itself.
            fed = &mut feed => fed.err().unwrap_or(Ending { reason: Reason::Ended, error: None }),
        }
    }

    /// Fetches the playlist again and again, and has new segments fetched, until the stream is over.
    async fn follow(&self, url: &Url, first: Fetched, jobs: Sender<Job>) -> Ending {
        let mut window = self.memory.lock().window(url);
        let (mut moved_at, mut asked, mut target) = (first.asked, first.asked, first.media.target);
        let mut next = Ok(first);
        loop {
            let moved = match next {
                Ok(Fetched { from, media, .. }) => {
                    target = media.target;
                    self.wiring.progress().be_patient(3 * target);
                    match self.take(url, &from, &media, &mut window, &jobs).await {
                        Ok(moved) => moved,
                        Err(ending) => return ending,
                    }
                }
                Err(trouble @ Trouble::Gone(_)) => return self.failed(Reason::Ended, trouble),
                Err(trouble) if has_stopped(target, moved_at.elapsed()) => return self.failed(Reason::Error, trouble),
                Err(_passing) => false,
            };
            if moved {
                moved_at = asked;
            } else if has_stopped(target, asked.duration_since(moved_at)) {
                return Ending { reason: Reason::Stalled, error: None };
            }
            sleep_until(asked + reload_after(target, moved)).await;
            asked = Instant::now();
            next = match self.playlist(url, target.clamp(QUICK, PLAYLIST.time)).await {
                Ok((from, Playlist::Media(media))) => Ok(Fetched { asked, from, media }),
                Ok((_, Playlist::Master(_))) => Err(Trouble::Garbage("its playlist names renditions all of a sudden")),
                Err(trouble) => Err(trouble),
            };
        }
    }

    /// Has what is new in a playlist fetched; whether there was anything.
    async fn take(
        &self,
        url: &Url,
        from: &Url,
        media: &Media,
        window: &mut Window,
        jobs: &Sender<Job>,
    ) -> Result<bool, Ending> {
        let news = window.advance(media);
        self.memory.lock().note(url, window);
        if news.missed > 0 {
            self.wiring.miss(news.missed);
            tracing::info!(stream = %self.wiring.pull().stream, missed = news.missed, "segments passed by unseen");
        }
        if news.planned.iter().any(|planned| planned.segment.encrypted) {
            let stream = self.wiring.pull().stream.to_string();
            let error = SourceError::UnsupportedCodec { stream, codec: "encrypted".to_owned() };
            return Err(Ending { reason: Reason::Error, error: Some(error) });
        }
        for planned in news.planned {
            let job = job(from, planned, media.target, Unfed::new(&self.wiring))
                .ok_or_else(|| self.failed(Reason::Error, Trouble::Garbage("a segment's address cannot be read")))?;
            // Nobody takes it only where feeding ended, and with it this.
            if jobs.send(job).await.is_err() {
                break;
            }
        }
        if media.ended {
            return Err(Ending { reason: Reason::Ended, error: None });
        }
        Ok(news.moved)
    }

    async fn playlist(&self, url: &Url, time: Duration) -> Result<(Url, Playlist), Trouble> {
        let answer = self.http.get(url, None, Limits { time, ..PLAYLIST }).await?;
        let playlist = parse(&answer.body).ok_or(Trouble::Garbage("what should be a playlist is none"))?;
        Ok((answer.url, playlist))
    }

    fn failed(&self, reason: Reason, trouble: Trouble) -> Ending {
        Ending { reason, error: Some(trouble.told(self.wiring.pull().stream.to_string())) }
    }
}

fn job(from: &Url, Planned { segment, follows }: Planned, target: Duration, unfed: Unfed) -> Option<Job> {
    let resource = |part: &Part| from.join(&part.uri).ok().map(|url| Resource { url, range: part.range });
    let map = match &segment.map {
        Some(map) => Some(resource(map)?),
        None => None,
    };
    Some(Job { media: resource(&segment.part)?, map, duration: segment.duration, target, follows, unfed })
}
