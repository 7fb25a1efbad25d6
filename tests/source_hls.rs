//! A source against real HLS in MPEG-TS: pictures come a segment at a time and the playlist is fetched again and again,
//! and neither is taken for the end of the stream.

use std::path::Path;
use std::time::Duration;

use crossbeam_channel::bounded;
use rig::process::{Output, Process};
use sluicegate::clock::Clock;
use sluicegate::media_server::{Protocol, Pull};
use sluicegate::source::{Config, SourceEvent, Sources};
use sluicegate::stream::StreamId;

const PATIENCE: Duration = Duration::from_secs(30);

#[test]
fn pictures_arrive_for_longer_than_a_playlist_lasts_and_their_end_is_noticed() {
    let folder = tempfile::tempdir().unwrap();
    let (root, port) = (folder.path().display(), rig::free_port().unwrap());
    let conf = format!(
        "daemon off; master_process off; pid {root}/pid; error_log {root}/error.log; events {{ worker_connections 64; }}
         http {{ access_log off; server {{ listen 127.0.0.1:{port}; root {root}; }} }}"
    );
    std::fs::write(folder.path().join("nginx.conf"), conf).unwrap();
    let start = |program: &str, args: String| {
        let args: Vec<String> = args.split_whitespace().map(str::to_owned).collect();
        Process::start(Path::new(program), &args, &folder.path().join("log"), Output::Logged).unwrap()
    };
    let _nginx = start("nginx", format!("-p {root} -c nginx.conf"));
    let publisher = start(
        "ffmpeg",
        format!(
            "-v error -nostdin -re -f lavfi -i testsrc2=size=320x180:rate=15 -f lavfi -i sine -c:v libx264 -preset ultrafast \
             -g 30 -c:a aac -f hls -hls_time 2 -hls_list_size 4 -hls_flags delete_segments {root}/cam.m3u8"
        ),
    );
    let segments =
        || std::fs::read_to_string(folder.path().join("cam.m3u8")).unwrap_or_default().matches(".ts").count();
    rig::until("three segments", PATIENCE, || (segments() >= 3).then_some(())).unwrap();

    let sources = Sources::new(Config::default(), Clock::system()).unwrap();
    let (sender, events) = bounded(100_000);
    let url = format!("http://127.0.0.1:{port}/cam.m3u8");
    let pull = Pull { stream: StreamId::new("test", "live", "cam"), protocol: Protocol::Hls, url };
    let _source = sources.add(pull, Box::new(move |event| drop(sender.try_send(event)))).unwrap();
    let (mut keyframes, mut units) = (0, 0);
    // Sixteen seconds of video: twice what the playlist holds.
    while units < 16 * 15 {
        match events.recv_timeout(PATIENCE).unwrap() {
            SourceEvent::Unit(unit) => {
                assert!(units > 0 || unit.keyframe, "the first unit stands alone");
                (units, keyframes) = (units + 1, keyframes + usize::from(unit.keyframe));
            }
            SourceEvent::Attached => assert_eq!(units, 0, "attached once"),
            other => panic!("after {units} units: {other:?}"),
        }
    }
    assert!(keyframes >= 8, "{keyframes}");

    publisher.signal("STOP").unwrap();
    let ends = std::iter::repeat_with(|| events.recv_timeout(PATIENCE).unwrap());
    assert!(ends.take(16 * 15).any(|event| matches!(event, SourceEvent::Reconnecting { .. })), "it has gone silent");
}
