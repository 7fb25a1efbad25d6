//! What strangers may send, on purpose or not: damaged and hostile media, fed to sources, decoders and `sluicegate scan`, and
//! published to a real server. Nothing hangs, nothing ends the process, memory stays bounded, and a good stream is inspected
//! afterwards as if nothing had been.

#![expect(clippy::print_stdout, clippy::unwrap_used, clippy::panic, reason = "a test may fail anywhere")]

#[cfg(test)]
#[path = "hostile/corpus.rs"]
mod corpus;
#[cfg(test)]
#[path = "hostile/parameters.rs"]
mod parameters;
#[cfg(test)]
mod support;

use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use corpus::{H264, H265, Morsel};
use crossbeam_channel::{Receiver, RecvTimeoutError, bounded};
use rig::nginx::Nginx;
use serde_json::Value;
use sluicegate::clock::{Clock, Timestamp};
use sluicegate::decode::file::Video;
use sluicegate::decode::groups::Groups;
use sluicegate::decode::{Config as DecodeConfig, DecodeError, Decoder};
use sluicegate::media_server::{Protocol, Pull};
use sluicegate::source::{Config, SourceEvent, SourceHandle, Sources};
use sluicegate::stream::{AccessUnit, Codec, StreamId};

/// What this process has taken of memory at most may grow by so much, however much it is fed: decoders of the largest
/// allowed pictures are in it, bombs are not.
const ROOM: u64 = 600 << 20;

/// One of these tests at a time, so that each answers for its own memory.
static ALONE: Mutex<()> = Mutex::new(());

/// Memory of a process in bytes: `VmRSS` now, `VmHWM` at most so far.
fn memory(process: &str, field: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
    line.and_then(|line| line.trim().trim_end_matches("kB").trim().parse::<u64>().ok()).unwrap_or_default() << 10
}

/// Runs `feed`, and checks that memory did not grow by more than `room` meanwhile.
fn within<T>(what: &str, room: u64, feed: impl FnOnce() -> T) -> T {
    let before = memory("self", "VmRSS");
    // Where the kernel lets it be reset, the peak is that of this feed alone.
    let reset = fs::write("/proc/self/clear_refs", "5").is_ok();
    let fed = feed();
    let peak = memory("self", if reset { "VmHWM" } else { "VmRSS" });
    println!("{what}: {} MiB before, {} MiB at most", before >> 20, peak >> 20);
    assert!(peak.saturating_sub(before) < room, "{what}: {} MiB more", peak.saturating_sub(before) >> 20);
    fed
}

/// Access units of a stream in Annex B, cut at its delimiters.
fn units(codec: Codec, stream: &[u8]) -> Vec<AccessUnit> {
    let delimiter: &[u8] = if codec == Codec::H265 { &[0, 0, 0, 1, 0x46, 1] } else { &[0, 0, 0, 1, 9] };
    let mut starts: Vec<usize> =
        (0..stream.len()).filter(|at| stream.get(*at..*at + delimiter.len()) == Some(delimiter)).collect();
    starts.push(stream.len());
    let whole = Bytes::copy_from_slice(stream);
    let of = |(sequence, window): (usize, &[usize])| unit(sequence as u64, codec, whole.slice(window[0]..window[1]));
    starts.windows(2).enumerate().map(of).collect()
}

fn unit(sequence: u64, codec: Codec, data: Bytes) -> AccessUnit {
    AccessUnit { sequence, codec, keyframe: sequence == 0, pts: None, arrived: Timestamp::ZERO, data }
}

/// How many pictures `units` give, all asked for.
fn pictures(decoder: &mut Decoder, units: &[AccessUnit]) -> Result<usize, DecodeError> {
    let inspect: Vec<u64> = units.iter().map(|unit| unit.sequence).collect();
    let mut count = 0;
    decoder.decode(units, &inspect, &mut |_picture| count += 1).map(|()| count)
}

#[test]
fn a_decoder_outlives_whatever_it_is_given() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let folder = tempfile::tempdir().unwrap();
    for (codec, name, how, seeds) in [(Codec::H264, "a.h264", H264, 24), (Codec::H265, "a.h265", H265, 8)] {
        let whole = corpus::whole(folder.path(), name, how);
        let good = units(codec, &whole);
        let mut decoder = Decoder::new(&DecodeConfig::default()).unwrap();
        let expected = pictures(&mut decoder, &good).unwrap();
        assert_eq!(expected, 50, "{name}");
        let damaged =
            corpus::damaged(name, &whole, seeds).into_iter().map(|Morsel { name, bytes }| (name, units(codec, &bytes)));
        let absurd = parameters::absurd().into_iter().map(|(name, bytes)| (name, vec![unit(0, codec, bytes.into())]));
        let mut outcomes = std::collections::BTreeMap::<&str, usize>::new();
        let mut feed = |decoder: &mut Decoder, name: &str, fed: &[AccessUnit]| {
            println!("feeding {name}: {} units", fed.len());
            let outcome = match pictures(decoder, fed) {
                Ok(_) => "pictures",
                Err(error) => error.kind(),
            };
            *outcomes.entry(outcome).or_default() += 1;
        };
        within(name, ROOM, || {
            for (at, (name, fed)) in damaged.chain(absurd).enumerate() {
                feed(&mut decoder, &name, &fed);
                if at % 16 == 0 {
                    assert_eq!(pictures(&mut decoder, &good).unwrap(), expected, "after {name}");
                }
            }
        });
        println!("{name}: {outcomes:?}");
        assert_eq!(pictures(&mut decoder, &good).unwrap(), expected);
        assert!(outcomes["pictures"] > 20, "most of what is damaged a little is still looked at: {outcomes:?}");
    }
}

#[test]
fn a_decoder_bomb_is_refused_before_memory_is_taken_for_it() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    // The larger is more than libav itself takes, the smaller would be gigabytes there.
    let both = |side| {
        let h264 = parameters::bombs(side).into_iter().map(|bomb| (Codec::H264, bomb));
        h264.chain(parameters::bombs_of_h265(side).into_iter().map(|bomb| (Codec::H265, bomb)))
    };
    let folder = tempfile::tempdir().unwrap();
    for (codec, (name, bytes)) in both(16_384).chain(both(16_000)) {
        let mut decoder = Decoder::new(&DecodeConfig::default()).unwrap();
        // A quarter of what one frame of it takes.
        let error =
            within(&name, 100 << 20, || pictures(&mut decoder, &[unit(0, codec, bytes.clone().into())])).unwrap_err();
        println!("{name}: {error}");
        assert_eq!(error.kind(), "too_large", "{name}: {error}");
        let path = folder.path().join(format!("bomb.{}", codec.word()));
        fs::write(&path, bytes.repeat(40)).unwrap();
        within(&format!("{name}, as a file"), 100 << 20, || {
            let outcome = Video::open(&path, NonZeroUsize::MIN)
                .unwrap()
                .map(|picture| picture.map(drop))
                .collect::<Result<Vec<_>, _>>();
            println!("{name}, as a file: {outcome:?}");
            // GStreamer takes what is made up here of H.265 for sound.
            let kind = if codec == Codec::H265 { "not_video" } else { "too_large" };
            assert_eq!(outcome.unwrap_err().kind(), kind, "{name}, as a file");
        });
    }
}

/// Recordings of every container, damaged and absurd, by file name.
fn recordings(folder: &Path, seeds: u64) -> Vec<Morsel> {
    let whole = |name: &str, how: &str| corpus::whole(folder, name, how);
    let (flv, ts) = (whole("whole.flv", H264), whole("whole.ts", H264));
    let mp4 = whole("whole.mp4", &format!("{H264} -movflags +faststart"));
    let fragments = whole("fragments.mp4", &format!("{H264} -movflags frag_keyframe+empty_moov"));
    let others = [
        corpus::damaged("flv", &flv, seeds),
        corpus::damaged("ts", &ts, seeds),
        corpus::damaged("mp4", &mp4, seeds),
        corpus::damaged("fragments", &fragments, seeds),
        corpus::damaged("h265 in mp4", &whole("h265.mp4", H265), seeds),
        corpus::absurd_flv(&flv),
        corpus::absurd_ts(&ts),
        corpus::absurd_mp4(&mp4),
        corpus::playlists(),
    ];
    let named = |(name, bytes): (String, Vec<u8>)| Morsel { name: format!("raw: {name}"), bytes };
    let raw = parameters::absurd().into_iter().chain(parameters::bombs(16_000)).map(named);
    others.concat().into_iter().chain(raw).collect()
}

/// A child that is ended with its owner.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

#[test]
fn a_scan_of_everything_hostile_says_of_each_what_came_of_it() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    fs::create_dir(path("banks")).unwrap();
    let scan = |arguments: &[String]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_sluicegate"));
        command.args(arguments).current_dir(folder.path()).env_remove("SLUICEGATE_LOG");
        command
    };
    let words = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
    let banked = rig::clips::banked().unwrap().display().to_string();
    let made = scan(&[words("bank add demo --banks banks"), vec![banked]].concat()).output().unwrap();
    assert!(made.status.success());

    // As somebody who uploads them names them: the ending says nothing.
    let mut names = vec![("whole.mp4".to_owned(), "a whole one".to_owned())];
    for (at, Morsel { name, bytes }) in recordings(folder.path(), 1).into_iter().enumerate() {
        fs::write(path(&format!("{at}.mp4")), bytes).unwrap();
        names.push((format!("{at}.mp4"), name));
    }
    // Brings down what inspects it: GStreamer 1.22 reads metadata by recursion without a limit.
    let flv = corpus::absurd_flv(&corpus::whole(folder.path(), "whole.flv", H264));
    for (at, Morsel { name, bytes }) in flv.into_iter().enumerate() {
        fs::write(path(&format!("{at}.flv")), bytes).unwrap();
        names.push((format!("{at}.flv"), name));
    }
    let files: Vec<String> = names.iter().map(|(file, _)| file.clone()).collect();
    let (output, said) = (fs::File::create(path("answer.json")).unwrap(), fs::File::create(path("said")).unwrap());
    let mut command = scan(&[words("scan --json --banks banks --report report.html"), files].concat());
    let mut child = Running(command.stdout(output).stderr(said).spawn().unwrap());
    let (id, mut peak) = (child.0.id().to_string(), 0);
    let status = rig::until("the scan to end", Duration::from_mins(15), || {
        let inspects = fs::read_to_string(format!("/proc/{id}/task/{id}/children")).unwrap_or_default();
        peak = inspects.split_whitespace().map(|id| memory(id, "VmHWM")).fold(peak, u64::max);
        child.0.try_wait().unwrap()
    });
    let status = status.unwrap();
    println!("{} recordings, {} MiB at most, {status}", names.len(), peak >> 20);
    assert!(peak > 0, "the process that inspects was never met");
    assert_eq!(status.code(), Some(2), "it ends by itself, and not all could be inspected");
    assert!(peak < 2 << 30, "{} MiB", peak >> 20);
    // GStreamer complains of a buffer that it is to drop and has no more: whoever sends many could fill disks with that. Where
    // it knows no name for what libav decodes to, it complains of itself, once.
    let said = fs::read_to_string(path("said")).unwrap();
    let complaints = |of: &str| said.matches(of).count();
    assert!(complaints("gst_mini_object_unref") <= complaints("gst_video_info_to_caps"), "{said}");
    let answer: Value = serde_json::from_slice(&fs::read(path("answer.json")).unwrap()).unwrap();
    let results = answer["results"].as_array().unwrap();
    assert_eq!(results.len(), names.len());
    assert_eq!(results[0]["outcome"], "clear", "{}", results[0]);
    let mut inspected = 0;
    for (result, (file, name)) in results.iter().zip(&names) {
        assert_eq!(result["recording"].as_str(), Some(file.as_str()));
        let nothing = result["pictures"] == 0;
        assert!(
            !nothing || result["outcome"] == "not_inspected",
            "{name} is called clear, and was not looked at: {result}"
        );
        inspected += usize::from(!nothing);
    }
    println!("{inspected} of {} could be inspected in part", names.len());
    assert!(inspected > names.len() / 4);
    assert!(fs::read_to_string(path("report.html")).unwrap().ends_with("</html>\n"));
}

/// Serves what `morsels` holds at `/0`, `/1`, ..., to whoever asks, and then hangs up.
fn serve(morsels: Arc<Vec<Morsel>>) -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for peer in listener.incoming().flatten() {
            let (mut peer, morsels) = (peer, Arc::clone(&morsels));
            std::thread::spawn(move || {
                let mut request = [0; 2048];
                let length = peer.read(&mut request).unwrap_or_default();
                let request = String::from_utf8_lossy(&request[..length]).into_owned();
                let wanted =
                    request.split_whitespace().nth(1).and_then(|path| path.trim_start_matches('/').parse().ok());
                let Some(morsel) = wanted.and_then(|at: usize| morsels.get(at)) else { return };
                let head = "HTTP/1.1 200 OK\r\nContent-Type: video/x-flv\r\nConnection: close\r\n\r\n";
                // Whoever has had enough hangs up first.
                drop(peer.write_all(head.as_bytes()).and_then(|()| peer.write_all(&morsel.bytes)));
            });
        }
    });
    port
}

/// A source and what it says.
struct Watched {
    _handle: SourceHandle,
    events: Receiver<SourceEvent>,
}

impl Watched {
    fn add(sources: &Sources, protocol: Protocol, name: &str, url: String) -> Self {
        let (sender, events) = bounded(10_000);
        let pull = Pull { stream: StreamId::new("test", "live", name), protocol, url };
        let handle = sources.add(pull, Box::new(move |event| drop(sender.try_send(event)))).unwrap();
        Self { _handle: handle, events }
    }

    /// The units until the source is detached, for whatever reason, or says that there is nothing to inspect.
    fn until_it_ends(&self, name: &str) -> Vec<AccessUnit> {
        let mut units = Vec::new();
        loop {
            match self.events.recv_timeout(Duration::from_mins(1)) {
                Ok(SourceEvent::Unit(unit)) => units.push(unit),
                Ok(SourceEvent::Attached) => {}
                Ok(_) => return units,
                Err(RecvTimeoutError::Timeout) => panic!("{name}: the source hangs"),
                Err(RecvTimeoutError::Disconnected) => panic!("{name}: the source is gone"),
            }
        }
    }

    /// So many units, however often it has to attach for them.
    fn units(&self, number: usize) -> Vec<AccessUnit> {
        let mut units = Vec::new();
        while units.len() < number {
            match self.events.recv_timeout(Duration::from_mins(1)).unwrap() {
                SourceEvent::Unit(unit) => units.push(unit),
                _ => units.clear(),
            }
        }
        units
    }
}

fn sources() -> Sources {
    let config = Config {
        stall_after: Duration::from_secs(3),
        no_video_after: Duration::from_secs(3),
        reconnect_max: Duration::from_millis(500),
        ..Config::default()
    };
    Sources::new(config, Clock::system()).unwrap()
}

/// What a sampler would have of a source's units: from a keyframe on.
fn looked_at(decoder: &mut Decoder, units: &[AccessUnit]) -> Result<usize, DecodeError> {
    let begin = units.iter().position(|unit| unit.keyframe).unwrap_or_default();
    pictures(decoder, units.get(begin..).unwrap_or_default())
}

#[test]
fn a_source_outlives_whatever_a_server_sends_over_http_flv() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let folder = tempfile::tempdir().unwrap();
    let good = corpus::whole(folder.path(), "whole.flv", H264);
    let (ts, mp4) = (corpus::whole(folder.path(), "whole.ts", H264), corpus::whole(folder.path(), "whole.mp4", H264));
    let of = |name: &str, bytes: Vec<u8>| Morsel { name: name.to_owned(), bytes };
    let others =
        [of("ts where flv should be", ts), of("mp4 where flv should be", mp4), of("noise", vec![0x5a; 300_000])];
    let hostile =
        [corpus::absurd_flv(&good), corpus::damaged("flv", &good, 8), others.to_vec(), corpus::playlists()].concat();
    let morsels = Arc::new([vec![of("good", good)], hostile].concat());
    let port = serve(Arc::clone(&morsels));
    let sources = sources();
    let add =
        |at: usize| Watched::add(&sources, Protocol::HttpFlv, &at.to_string(), format!("http://127.0.0.1:{port}/{at}"));
    let mut decoder = Decoder::new(&DecodeConfig::default()).unwrap();
    let mut with_units = 0;
    within("http-flv", ROOM, || {
        let all: Vec<usize> = (1..morsels.len()).collect();
        for some in all.chunks(24) {
            let watched: Vec<(usize, Watched)> = some.iter().map(|at| (*at, add(*at))).collect();
            for (at, watched) in watched {
                let name = &morsels[at].name;
                let units = watched.until_it_ends(name);
                with_units += usize::from(!units.is_empty());
                let outcome = looked_at(&mut decoder, &units);
                println!("{name}: {} units, {outcome:?}", units.len());
            }
            let units = add(0).units(50);
            assert_eq!(looked_at(&mut decoder, &units).unwrap(), 50, "a good stream is inspected in the midst of it");
        }
    });
    assert!(with_units > morsels.len() / 3, "of {} only {with_units} gave units", morsels.len());
}

#[test]
fn what_a_real_server_passes_on_is_outlived_too() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let folder = tempfile::tempdir().unwrap();
    let good = corpus::whole(folder.path(), "whole.flv", H264);
    let nginx = Nginx::start(None).unwrap();
    let publish = |name: &str, path: PathBuf| {
        let mut ffmpeg = Command::new("ffmpeg");
        ffmpeg.args(["-v", "error", "-nostdin", "-re", "-stream_loop", "4", "-i"]).arg(path);
        ffmpeg.args(["-c", "copy", "-f", "flv"]).arg(format!("{}/live/{name}", nginx.rtmp()));
        Running(ffmpeg.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap())
    };
    let sources = sources();
    let watch = |name: &str| Watched::add(&sources, Protocol::Rtmp, name, format!("{}/live/{name}", nginx.rtmp()));
    let mut decoder = Decoder::new(&DecodeConfig::default()).unwrap();
    let hostile: Vec<Morsel> = corpus::damaged("flv", &good, 3)
        .into_iter()
        .chain(corpus::absurd_flv(&good))
        .filter(|morsel| !morsel.bytes.is_empty())
        .collect();
    let mut passed_on = 0;
    within("rtmp", ROOM, || {
        for (round, some) in hostile.chunks(24).enumerate() {
            let mut under_way: Vec<_> = some
                .iter()
                .enumerate()
                .map(|(at, morsel)| {
                    let name = format!("s{round}-{at}");
                    let path = folder.path().join(format!("{name}.flv"));
                    fs::write(&path, &morsel.bytes).unwrap();
                    let publisher = publish(&name, path);
                    (morsel, publisher, watch(&name))
                })
                .collect();
            // ffmpeg gives up on some of them, sends others to their end, and waits for what never comes in others: those end
            // when they are dropped, one for all after the longest that any of the others takes.
            let runs = |publisher: &mut Running| publisher.0.try_wait().unwrap().is_none();
            let all = rig::until("the publishers to end", Duration::from_secs(15), || {
                let running =
                    under_way.iter_mut().filter_map(|(_, publisher, _)| runs(publisher).then_some(())).count();
                (running == 0).then_some(())
            });
            println!("round {round}: {}", if all.is_ok() { "all publishers have ended" } else { "some are ended" });
            for (morsel, publisher, watched) in under_way {
                drop(publisher);
                let events = watched.events.try_iter();
                let units: Vec<AccessUnit> = events
                    .filter_map(|event| if let SourceEvent::Unit(unit) = event { Some(unit) } else { None })
                    .collect();
                passed_on += usize::from(!units.is_empty());
                let outcome = looked_at(&mut decoder, &units);
                println!("{}: {} units, {outcome:?}", morsel.name, units.len());
            }
        }
    });
    println!("{passed_on} of {} were passed on", hostile.len());
    assert!(passed_on >= 8, "{passed_on} of {}", hostile.len());
    let path = folder.path().join("whole.flv");
    let _publisher = publish("good", path);
    let units = watch("good").units(30);
    assert!(looked_at(&mut decoder, &units).unwrap() >= 12, "a good stream is inspected afterwards");
}

/// Every group of a recording, or why there are no more.
fn groups(path: &Path) -> Result<usize, String> {
    let mut count = 0;
    for group in Groups::open(path, Timestamp::ZERO).map_err(|error| error.to_string())? {
        group.map_err(|ungrouped| format!("{ungrouped:?}"))?;
        count += 1;
    }
    Ok(count)
}

#[test]
fn groups_end_where_they_should_and_nothing_endless_is_waited_for() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    // 50 frames of which each twelfth begins a group.
    for (name, how) in [("a.mp4", H264), ("a.ts", H264), ("a.flv", H264), ("b.mp4", H265), ("b.mkv", H265)] {
        corpus::whole(folder.path(), name, how);
        assert_eq!(groups(&path(name)), Ok(5), "{name}");
    }
    corpus::whole(folder.path(), "c.mp4", &H264.replace("keyint=12", "keyint=infinite"));
    assert_eq!(groups(&path("c.mp4")), Ok(1), "a short one of one group is one");
    corpus::whole(folder.path(), "d.mkv", "-c:v mpeg4");
    assert_eq!(groups(&path("d.mkv")), Err("Unsuited".to_owned()));
    let frames = corpus::whole(folder.path(), "e.h264", &H264.replace("keyint=12", "keyint=infinite"));
    fs::write(path("f.h264"), [&frames[..], &frames[frames.len() / 8..].repeat(60)].concat()).unwrap();
    assert_eq!(groups(&path("f.h264")), Err("Unsuited".to_owned()), "more frames than a group may have");
}
