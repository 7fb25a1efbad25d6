//! FLV over HTTP: fetched by the one thread that fetches for all streams, and handed to a demuxer as it comes.
//!
//! GStreamer's own element for HTTP has a thread of its own for each stream, and hands over every few kilobytes from that to
//! the streaming thread; together they cost more than demuxing and parsing.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use gstreamer as gst;
use gstreamer_app as gst_app;
use tokio::task::AbortHandle;
use tokio::time::{sleep, timeout};
use url::Url;

use super::branch::Feed;
use super::http::{Body, Http, Trouble};
use super::workshop::Tools;
use super::{Reason, SourceError};
use crate::media_server::Pull;

/// Bytes that may wait for the demuxer. It takes them as they come; this holds only where something is stuck.
const AHEAD: u64 = 4 << 20;

/// Bytes handed over at once, or one chunk more.
const BURST: usize = 256 << 10;

/// How long the last pictures of a stream that broke off may take to come out.
const FAREWELL: Duration = Duration::from_secs(1);

/// How long to wait for what is stuck, before looking again.
const STUCK: Duration = Duration::from_millis(20);

/// Fetches what is at the address of `pull` and hands it to `src`, until it ends or the handle is used. That nothing comes is
/// for whoever watches over all sources to notice.
///
/// # Errors
/// When the address is none of http or https, or everything is coming to its end.
pub(super) fn fetch(
    tools: &Tools,
    pull: &Pull,
    src: gst_app::AppSrc,
    feed: Arc<Feed>,
) -> Result<AbortHandle, SourceError> {
    let stream = pull.stream.to_string();
    let failed = |reason: &str| SourceError::Failed { stream: stream.clone(), reason: reason.to_owned() };
    let url = Url::parse(&pull.url).map_err(|_error| failed("its address cannot be read"))?;
    let http = tools.direct().clone();
    if !http.allows(&url) {
        return Err(failed("its address is not one of http or https"));
    }
    let runtime = tools.runtime().ok_or(SourceError::Stopped)?;
    let task = runtime.spawn(async move {
        let mut begun = false;
        if let Err(trouble) = hand_on(&http, url, &src, &mut begun).await {
            // What came before it still comes out.
            feed.leave.begin();
            if begun && src.end_of_stream().is_ok() {
                timeout(FAREWELL, feed.leave.through()).await.ok();
            }
            feed.progress.end(Reason::Error, Some(trouble.told(stream)));
        }
    });
    Ok(task.abort_handle())
}

/// Hands on what is at `url`; notes in `begun` that something was.
async fn hand_on(http: &Http, url: Url, src: &gst_app::AppSrc, begun: &mut bool) -> Result<(), Trouble> {
    let mut body = http.open(url).await?;
    while let Some(first) = body.next().await? {
        *begun = true;
        let (burst, rest) = burst(first, &mut body).await;
        // It refuses them only while it ends, and then there is nobody to tell.
        if src.push_buffer_list(burst).is_err() {
            return Ok(());
        }
        match rest {
            Rest::Later => {}
            Rest::End => break,
            Rest::Trouble(trouble) => return Err(trouble),
        }
        while src.current_level_bytes() > AHEAD {
            sleep(STUCK).await;
        }
    }
    // Told by way of the demuxer, behind all that came before.
    src.end_of_stream().ok();
    Ok(())
}

/// What is known to come behind a burst.
enum Rest {
    Later,
    End,
    Trouble(Trouble),
}

/// `first` and all that is there by now: to hand it over at once wakes the streaming thread once.
async fn burst(first: Bytes, body: &mut Body) -> (gst::BufferList, Rest) {
    let mut burst = gst::BufferList::new();
    let (mut bytes, mut next, mut rest) = (0, Some(first), Rest::Later);
    while let Some(chunk) = next.take() {
        bytes += chunk.len();
        if let Some(burst) = burst.get_mut() {
            burst.add(gst::Buffer::from_slice(chunk));
        }
        if bytes >= BURST {
            break;
        }
        tokio::select! {
            biased;
            more = body.next() => match more {
                Ok(Some(more)) => next = Some(more),
                Ok(None) => rest = Rest::End,
                Err(trouble) => rest = Rest::Trouble(trouble),
            },
            () = std::future::ready(()) => {}
        }
    }
    (burst, rest)
}
