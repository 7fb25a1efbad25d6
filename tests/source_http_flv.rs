//! Sources over HTTP-FLV: what a server answers is told and got over, and whoever has a description of their own keeps it.
//!
//! The server is a few lines here, for no real one gives every wrong answer; `tests/node_media_server.rs` and
//! `tests/blind_spots.rs` pull from a real one.

#![expect(clippy::unwrap_used, reason = "a test may fail anywhere")]

#[cfg(test)]
mod support;
#[cfg(test)]
#[path = "support/watched.rs"]
mod watched;

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use rig::free_port;
use sluicegate::clock::Clock;
use sluicegate::media_server::Protocol;
use sluicegate::source::{Config, Reason, SourceEvent, Sources};
use support::ffmpeg;
use watched::{Watched, sources};

fn clip(folder: &Path) -> Vec<u8> {
    let how = "-f lavfi -i testsrc2=size=320x180:rate=30 -f lavfi -i sine -t 3 -pix_fmt yuv420p -c:v libx264 -preset ultrafast -g 30 -c:a aac";
    std::fs::read(ffmpeg(how, &folder.join("clip.flv"))).unwrap()
}

/// Asks `answer` what to do for each path that is asked for; it has the connection, and leaves it when it is done.
fn serve(answer: impl Fn(&str, &mut TcpStream) + Send + Sync + 'static) -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let answer = Arc::new(answer);
    std::thread::spawn(move || {
        for mut peer in listener.incoming().flatten() {
            let answer = Arc::clone(&answer);
            std::thread::spawn(move || {
                let mut request = [0; 4096];
                let length = peer.read(&mut request).unwrap_or_default();
                let request = String::from_utf8_lossy(&request[..length]).into_owned();
                answer(request.split(' ').nth(1).unwrap_or_default(), &mut peer);
            });
        }
    });
    port
}

const OK: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Type: video/x-flv\r\nConnection: close\r\n\r\n";

#[test]
fn what_a_server_answers_is_told_without_the_address() {
    let elsewhere = Arc::new(AtomicUsize::new(0));
    let asked = Arc::clone(&elsewhere);
    let port = serve(move |path, peer| {
        let status = match path {
            "/missing?token=5ecret" => "404 Not Found",
            "/forbidden?token=5ecret" => "403 Forbidden",
            "/moved?token=5ecret" => "302 Found\r\nLocation: /elsewhere",
            "/page?token=5ecret" => "200 OK",
            _ => {
                asked.fetch_add(1, Ordering::Relaxed);
                return;
            }
        };
        let page = "<html>sorry</html>";
        drop(write!(peer, "HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{page}", page.len()));
    });
    let sources = sources();
    for (path, kind) in [
        ("missing", "refused"),
        ("forbidden", "refused"),
        ("moved", "refused"),
        ("page", "garbage"),
        ("", "unreachable"),
    ] {
        let port = if path.is_empty() { free_port().unwrap() } else { port };
        let watched =
            Watched::add(&sources, Protocol::HttpFlv, &format!("http://127.0.0.1:{port}/{path}?token=5ecret"));
        let (reason, told, text) = watched.reconnecting();
        assert_eq!((reason, told), (Reason::Error, Some(kind)), "{path}: {text}");
        assert!(!text.contains("5ecret") && !text.contains("127.0.0.1"), "{path}: {text}");
    }
    assert_eq!(elsewhere.load(Ordering::Relaxed), 0, "a stream is asked for where it is configured, and nowhere else");
}

#[test]
fn a_stream_that_ends_breaks_off_or_falls_silent_is_attached_again() {
    let folder = tempfile::tempdir().unwrap();
    let whole = clip(folder.path());
    let port = serve(move |path, peer| {
        match path {
            "/ends" => drop(peer.write_all(&[OK, &whole].concat())),
            // Says how much there is, and hangs up before.
            "/breaks" => {
                let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", whole.len());
                drop(peer.write_all(&[head.as_bytes(), &whole[..whole.len() / 2]].concat()));
            }
            _ => {
                drop(peer.write_all(&[OK, &whole[..whole.len() / 2]].concat()));
                // Until the other side has had enough.
                drop(peer.read(&mut [0]));
            }
        }
    });
    let sources = sources();
    for (path, expected, error) in [
        ("ends", Reason::Ended, None),
        ("breaks", Reason::Error, Some("unreachable")),
        ("silent", Reason::Stalled, None),
    ] {
        let watched = Watched::add(&sources, Protocol::HttpFlv, &format!("http://127.0.0.1:{port}/{path}"));
        for _ in 0..2 {
            watched.attached();
            watched.units(20);
            let (reason, told, _) = watched.reconnecting();
            assert_eq!((reason, told), (expected, error), "{path}");
        }
    }
}

#[test]
fn who_has_had_enough_hangs_up() {
    let folder = tempfile::tempdir().unwrap();
    let whole = clip(folder.path());
    let (told, gone) = crossbeam_channel::bounded(1);
    let port = serve(move |_path, peer| {
        drop(peer.write_all(&[OK, &whole].concat()));
        // Nothing more comes, and the connection stays: its end is the other side's doing.
        let ended = peer.read(&mut [0]);
        told.send(ended.is_err() || ended.is_ok_and(|read| read == 0)).ok();
    });
    let sources = sources();
    let watched = Watched::add(&sources, Protocol::HttpFlv, &format!("http://127.0.0.1:{port}/a"));
    watched.attached();
    watched.units(20);
    drop(watched);
    assert_eq!(gone.recv_timeout(std::time::Duration::from_secs(20)), Ok(true), "the connection is left open");
}

#[test]
fn a_description_of_ones_own_may_fetch_by_itself() {
    let folder = tempfile::tempdir().unwrap();
    let whole = clip(folder.path());
    let port = serve(move |_path, peer| drop(peer.write_all(&[OK, &whole].concat())));
    let text = "souphttpsrc name=src is-live=true timeout=5 retries=0 automatic-redirect=false ! flvdemux name=demux";
    std::fs::write(folder.path().join("http-flv.launch"), text).unwrap();
    let config = Config { pipelines: Some(folder.path().to_owned()), ..Config::default() };
    let sources = Sources::new(config, Clock::system()).unwrap();
    let watched = Watched::add(&sources, Protocol::HttpFlv, &format!("http://127.0.0.1:{port}/a"));
    let units = watched.wait("units", {
        let mut units = 0;
        move |event| {
            units += usize::from(matches!(event, SourceEvent::Unit(_)));
            (units == 60).then_some(units)
        }
    });
    assert_eq!(units, 60);
}
