//! One decoder for all streams in turn: a run of access units goes in, the pictures asked for come out, and the
//! decoder is drained so that it keeps nothing back.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
use gst::prelude::*;
use gstreamer as gst;
use gstreamer_app as gst_app;

use super::codec::chain;
use super::coded::largest;
use super::planes::planes;
use super::spare::Spare;
use super::{Config, DecodeError, element, size, start_gstreamer, tear_down};
use crate::clock::{Clock, Timestamp};
use crate::picture::Picture;
use crate::stream::{AccessUnit, Codec};

/// Decodes runs of access units, of any streams, codecs and sizes in turn. One a worker thread; not shared.
#[derive(Debug)]
pub struct Decoder {
    config: Config,
    /// One a codec, started when its first unit comes.
    lines: Vec<(Codec, Line)>,
}

impl Decoder {
    /// A decoder that has started for H.264, which nearly all streams are in.
    ///
    /// # Errors
    /// When GStreamer or one of its elements is missing. Those for other codecs are not missed before a stream needs them.
    pub fn new(config: &Config) -> Result<Self, DecodeError> {
        let lines = vec![(Codec::H264, Line::start(config, Codec::H264)?)];
        Ok(Self { config: config.clone(), lines })
    }

    /// What it was made with.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Decodes `units`, which start at a keyframe, and gives the pictures of those whose sequence number is in
    /// `inspect` to `each`, in the order of presentation, each at most once. Units that give no picture are left out.
    ///
    /// What no other picture refers to is not decoded unless it is asked for.
    ///
    /// The decoder waits for `each` after a frame or two, so a run may ask for any number of pictures and never holds
    /// more than a few: a minute-long look back would otherwise be gigabytes.
    ///
    /// # Errors
    /// When none of the units asked for gave a picture, none came in time, they are too large, or nothing here decodes their
    /// codec. `each` may have had some until then. The next call finds a fresh decoder.
    pub fn decode(
        &mut self,
        units: &[AccessUnit],
        inspect: &[u64],
        each: &mut dyn FnMut(Picture),
    ) -> Result<(), DecodeError> {
        let codec = units.first().map_or(Codec::H264, |unit| unit.codec);
        let kept = self.lines.iter().position(|(of, _)| *of == codec).map(|at| self.lines.swap_remove(at).1);
        let mut line = match kept.filter(Line::is_idle) {
            Some(line) => line,
            None => Line::start(&self.config, codec)?,
        };
        let given = line.run(units, inspect, self.config.timeout, each)?;
        if given == 0 && !inspect.is_empty() {
            return Err(DecodeError::Undecodable(inspect.len()));
        }
        self.lines.push((codec, line));
        Ok(())
    }
}

/// `appsrc ! parser ! decoder ! videoconvert ! appsink`, running, for one codec: what a [`Decoder`] and a
/// [`Continuous`](super::Continuous) one are made of.
///
/// The parser is there for its caps, which tell a picture's size before anything is allocated for it; `videoconvert`
/// passes I420 through untouched, and brings ten bits down to eight.
#[derive(Debug)]
pub(super) struct Line {
    pipeline: gst::Pipeline,
    entry: gst_app::AppSrc,
    outputs: Receiver<Output>,
    label: gst::Caps,
    clock: Clock,
    fed: u64,
    spare: Spare,
    /// The decoder's entry, where draining does not make it forget its reference pictures.
    remembers: Option<gst::Pad>,
}

#[derive(Debug)]
enum Output {
    Frame(gst::Sample),
    Done,
    Failed(DecodeError),
}

/// Decoded frames in flight between the decoder and the worker, which takes them at once.
const IN_FLIGHT: usize = 2;

/// Pictures that are to come, by the sequence number of their unit: when each is shown, and when it arrived.
pub(super) type Awaited = BTreeMap<u64, (Option<Duration>, Timestamp)>;

/// What the decoder may take for each unit, on top of the timeout that the whole run has: what a large picture takes where
/// the machine has other things to do as well.
const PER_UNIT: Duration = Duration::from_millis(15);

/// What tells the worker that the decoder has had all units before it.
const MARK: &str = "sluicegate-mark";

impl Line {
    pub(super) fn start(config: &Config, codec: Codec) -> Result<Self, DecodeError> {
        start_gstreamer()?;
        let chain = chain(codec);
        let start = |error: gst::glib::BoolError| DecodeError::Start(error.to_string());
        let (sender, outputs) = bounded(IN_FLIGHT);
        let entry = gst_app::AppSrc::builder()
            .caps(&chain.caps.parse().map_err(start)?)
            .format(gst::Format::Time)
            .max_bytes(0)
            .build();
        let parser = element(chain.parser)?;
        let decoder = element(chain.decoder)?;
        // One thread: more would hold frames back, and the workers already use every core. A damaged frame is still
        // shown to viewers, so it is inspected, and no number of them stops the decoder.
        if decoder.find_property("max-threads").is_some() {
            decoder.set_property("max-threads", 1_i32);
            decoder.set_property("output-corrupt", true);
        }
        decoder.set_property("max-errors", -1_i32);
        let converter = element("videoconvert")?;
        let exit = gst_app::AppSink::builder()
            .caps(&gst::Caps::builder("video/x-raw").field("format", "I420").build())
            .sync(false)
            .async_(false)
            .enable_last_sample(false)
            .callbacks(hand_over(&sender))
            .build();
        if let Some(pad) = entry.static_pad("src") {
            report_marks(&pad, sender.clone());
        }
        if let Some(pad) = parser.static_pad("src") {
            refuse_large(&pad, codec, config.max_pixels, sender.clone());
        }
        if let Some(pad) = decoder.static_pad("src") {
            refuse_grown(&pad, config.max_pixels, sender.clone());
        }

        let pipeline = gst::Pipeline::new();
        let elements = [entry.upcast_ref(), &parser, &decoder, &converter, exit.upcast_ref()];
        pipeline.add_many(elements).map_err(start)?;
        gst::Element::link_many(elements).map_err(start)?;
        if let Some(bus) = pipeline.bus() {
            report_errors(&bus, sender);
        }
        let label = gst::Caps::builder("timestamp/x-sluicegate-access-unit").build();
        let remembers = decoder.static_pad("sink").filter(|_| chain.remembers);
        let line = Self {
            pipeline,
            entry,
            outputs,
            label,
            clock: Clock::system(),
            fed: 0,
            spare: Spare::default(),
            remembers,
        };
        line.pipeline.set_state(gst::State::Playing).map_err(|error| DecodeError::Start(error.to_string()))?;
        Ok(line)
    }

    /// False when something came out between two runs, which only an error can be.
    pub(super) fn is_idle(&self) -> bool {
        self.outputs.is_empty()
    }

    /// Decodes a run, and has nothing left of it afterwards. How many pictures `each` was given.
    fn run(
        &mut self,
        units: &[AccessUnit],
        inspect: &[u64],
        timeout: Duration,
        each: &mut dyn FnMut(Picture),
    ) -> Result<usize, DecodeError> {
        self.forget();
        self.spare = Spare::default();
        let mut pictures = awaited(units, inspect);
        let fed = self.feed(units, |sequence| pictures.contains_key(&sequence))?;
        // Without this the decoder sits on its last pictures until the next units arrive, which may be another
        // stream's. It also makes most decoders forget their reference pictures.
        self.entry.send_event(gst::event::SegmentDone::new(gst::ClockTime::ZERO));
        self.take(&mut pictures, timeout, fed, each)
    }

    /// Decodes units that follow on those before. What is shown only after units still to come stays in the decoder, and in
    /// `pictures`. How many pictures `each` was given.
    pub(super) fn go_on(
        &mut self,
        units: &[AccessUnit],
        pictures: &mut Awaited,
        timeout: Duration,
        each: &mut dyn FnMut(Picture),
    ) -> Result<usize, DecodeError> {
        // A picture comes out behind those that are shown before it, or when so many came that none of these can follow: to leave
        // any out behind it would delay it.
        let fed = self.feed(units, |sequence| pictures.range(..=sequence).next().is_some())?;
        self.entry.send_event(gst::event::CustomDownstream::new(gst::Structure::new_empty(MARK)));
        self.take(pictures, timeout, fed, each)
    }

    /// Feeds those of `units` that the decoder needs where some are `wanted`; how many that were.
    fn feed(&mut self, units: &[AccessUnit], wanted: impl Fn(u64) -> bool) -> Result<usize, DecodeError> {
        let needed = self.spare.needed(units, wanted);
        for unit in &needed {
            let buffer = self.buffer(unit);
            let pushed = self.entry.push_buffer(buffer);
            pushed.map_err(|_error| DecodeError::Failed("it takes no more units".to_owned()))?;
        }
        Ok(needed.len())
    }

    /// Takes what comes out until the decoder is done with what went in, which were so many units that were `fed`. Frames that nobody asked
    /// for are no reason to wait on: what is waited for all of them together is bounded too.
    fn take(
        &mut self,
        pictures: &mut Awaited,
        timeout: Duration,
        fed: usize,
        each: &mut dyn FnMut(Picture),
    ) -> Result<usize, DecodeError> {
        let (mut given, mut waited) = (0, Duration::ZERO);
        let allowed = timeout.saturating_add(PER_UNIT.saturating_mul(u32::try_from(fed).unwrap_or(u32::MAX)));
        loop {
            let began = self.clock.now();
            let output = self.outputs.recv_timeout(timeout.min(allowed.saturating_sub(waited)));
            // Not what `each` takes: that is not the decoder's doing.
            waited += self.clock.now().since(began);
            match output {
                Ok(Output::Frame(sample)) => {
                    let label = sequence(&sample);
                    if let Some((sequence, (pts, arrived))) = label.and_then(|label| pictures.remove_entry(&label)) {
                        each(picture(sequence, pts, arrived, &sample)?);
                        given += 1;
                    }
                }
                Ok(Output::Done) => return Ok(given),
                Ok(Output::Failed(error)) => return Err(error),
                Err(RecvTimeoutError::Timeout) => return Err(DecodeError::TimedOut(waited)),
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(DecodeError::Failed("its pipeline is gone".to_owned()));
                }
            }
        }
    }

    /// Makes a decoder forget its reference pictures that draining leaves with them: a flush, of the decoder alone. It takes the
    /// segment away too, which comes again.
    fn forget(&self) {
        let Some(entry) = &self.remembers else { return };
        let Some(segment) = entry.sticky_event::<gst::event::Segment>(0) else { return };
        entry.send_event(gst::event::FlushStart::new());
        entry.send_event(gst::event::FlushStop::new(false));
        entry.send_event(segment);
    }

    /// `unit` as a buffer labelled with its sequence number.
    ///
    /// The label travels with the frame through reordering. A timestamp would not do: the decoder base class "repairs"
    /// timestamps that decrease in the order of presentation. The ones given here only count up.
    fn buffer(&mut self, unit: &AccessUnit) -> gst::Buffer {
        let mut buffer = gst::Buffer::from_slice(unit.data.clone());
        self.fed += 1;
        if let Some(buffer) = buffer.get_mut() {
            buffer.set_pts(gst::ClockTime::from_mseconds(self.fed));
            let sequence = gst::ClockTime::from_nseconds(unit.sequence);
            gst::ReferenceTimestampMeta::add(buffer, &self.label, sequence, None);
        }
        buffer
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        tear_down(self.pipeline.clone());
    }
}

fn sequence(sample: &gst::Sample) -> Option<u64> {
    let label = sample.buffer()?.meta::<gst::ReferenceTimestampMeta>()?;
    Some(label.timestamp().nseconds())
}

/// The pictures of `units` that `inspect` names.
pub(super) fn awaited(units: &[AccessUnit], inspect: &[u64]) -> Awaited {
    let asked: BTreeSet<u64> = inspect.iter().copied().collect();
    let asked = units.iter().filter(|unit| asked.contains(&unit.sequence));
    asked.map(|unit| (unit.sequence, (unit.pts, unit.arrived))).collect()
}

fn picture(
    sequence: u64,
    pts: Option<Duration>,
    arrived: Timestamp,
    sample: &gst::Sample,
) -> Result<Picture, DecodeError> {
    let planes = planes(sample)?;
    Ok(Picture { sequence, pts, arrived, luma: planes.luma, chroma: Some(planes.chroma), range: planes.range })
}

/// Hands each frame, and the end of each run, to the worker. Once the worker has let go of the line, the decoder is
/// told to stop.
fn hand_over(sender: &Sender<Output>) -> gst_app::AppSinkCallbacks {
    let (frames, events) = (sender.clone(), sender.clone());
    gst_app::AppSinkCallbacks::builder()
        .new_sample(move |exit| {
            let sample = exit.pull_sample().map_err(|_error| gst::FlowError::Eos)?;
            frames.send(Output::Frame(sample)).map_err(|_error| gst::FlowError::Flushing)?;
            Ok(gst::FlowSuccess::Ok)
        })
        .new_event(move |exit| {
            let Ok(object) = exit.pull_object() else { return false };
            if object.downcast_ref::<gst::Event>().is_some_and(|event| event.type_() == gst::EventType::SegmentDone) {
                return events.send(Output::Done).is_ok();
            }
            false
        })
        .build()
}

/// Tells the worker when a mark comes by. Everything behind `pad` runs in the thread that hands units to it, so whatever
/// was before the mark has been through the decoder.
fn report_marks(pad: &gst::Pad, sender: Sender<Output>) {
    pad.add_probe(gst::PadProbeType::EVENT_DOWNSTREAM, move |_pad, info| match &info.data {
        Some(gst::PadProbeData::Event(event)) if event.has_name(MARK) => {
            say(&sender, Output::Done);
            gst::PadProbeReturn::Handled
        }
        _ => gst::PadProbeReturn::Ok,
    });
}

/// The largest block that a codec rounds both sides of a picture up to.
const BLOCK: u32 = 64;

/// Pixels of a picture, each side `less` shorter.
fn area(width: u32, height: u32, less: u32) -> u64 {
    u64::from(width.saturating_sub(less)) * u64::from(height.saturating_sub(less))
}

/// Stops a stream that announces pictures of more than `max_pixels` in front of the decoder: shown, as the caps say, or as coded,
/// for all that is cropped away is decoded too.
fn refuse_large(pad: &gst::Pad, codec: Codec, max_pixels: u64, sender: Sender<Output>) {
    let refused = AtomicBool::new(false);
    let mask = gst::PadProbeType::EVENT_DOWNSTREAM | gst::PadProbeType::BUFFER;
    pad.add_probe(mask, move |_pad, info| {
        let announced = match &info.data {
            Some(gst::PadProbeData::Buffer(_)) if refused.load(Ordering::Relaxed) => {
                return gst::PadProbeReturn::Handled;
            }
            Some(gst::PadProbeData::Buffer(buffer)) => {
                let coded = buffer.map_readable().ok().and_then(|unit| largest(codec, &unit));
                // The caps have told the size that is shown, and every picture is coded in whole blocks.
                coded.filter(|&(width, height)| area(width, height, BLOCK - 1) > max_pixels)
            }
            Some(gst::PadProbeData::Event(event)) => match event.view() {
                gst::EventView::Caps(caps) => size(caps.caps()),
                _ => None,
            },
            _ => None,
        };
        match announced {
            Some((width, height)) if area(width, height, 0) > max_pixels => {
                refused.store(true, Ordering::Relaxed);
                say(&sender, Output::Failed(DecodeError::TooLarge { width, height, max_pixels }));
                // Caps may go on: no frame follows them. A buffer counts as handled: the bindings have taken it by the time that
                // GStreamer would drop it, and it complains each time.
                if matches!(info.data, Some(gst::PadProbeData::Buffer(_))) {
                    gst::PadProbeReturn::Handled
                } else {
                    gst::PadProbeReturn::Ok
                }
            }
            _ => gst::PadProbeReturn::Ok,
        }
    });
}

/// Stops a stream whose pictures turn out larger than `max_pixels` only in the decoder, as they do where a codec lets them
/// grow between keyframes: before it takes memory for them.
fn refuse_grown(pad: &gst::Pad, max_pixels: u64, sender: Sender<Output>) {
    pad.add_probe(gst::PadProbeType::EVENT_DOWNSTREAM, move |_pad, info| {
        let Some(gst::PadProbeData::Event(event)) = &info.data else { return gst::PadProbeReturn::Ok };
        let gst::EventView::Caps(caps) = event.view() else { return gst::PadProbeReturn::Ok };
        match size(caps.caps()) {
            Some((width, height)) if u64::from(width) * u64::from(height) > max_pixels => {
                info.flow_res = Err(gst::FlowError::NotSupported);
                say(&sender, Output::Failed(DecodeError::TooLarge { width, height, max_pixels }));
                gst::PadProbeReturn::Handled
            }
            _ => gst::PadProbeReturn::Ok,
        }
    });
}

fn report_errors(bus: &gst::Bus, sender: Sender<Output>) {
    bus.set_sync_handler(move |_bus, message| {
        if let gst::MessageView::Error(error) = message.view() {
            say(&sender, Output::Failed(DecodeError::Failed(error.error().to_string())));
        }
        gst::BusSyncReply::Drop
    });
}

fn say(sender: &Sender<Output>, output: Output) {
    if sender.send(output).is_err() {
        tracing::trace!("a decoder speaks, and its worker is gone");
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use bytes::Bytes;

    use super::*;

    /// Two seconds as x264 makes them by default: three B pictures in a row, to the middle one of which the others refer.
    fn clip() -> Vec<AccessUnit> {
        let made = Command::new("ffmpeg")
            .args("-v error -f lavfi -i testsrc2=size=320x180:rate=30 -t 2 -pix_fmt yuv420p -c:v libx264".split(' '))
            .args("-x264-params keyint=60:scenecut=0:b-adapt=0:bframes=3:aud=1:threads=1 -f h264 -".split(' '))
            .output()
            .unwrap();
        assert!(made.status.success());
        let data = Bytes::from(made.stdout);
        let mut starts: Vec<usize> =
            data.windows(5).enumerate().filter(|(_, head)| *head == [0, 0, 0, 1, 9]).map(|(at, _)| at).collect();
        starts.push(data.len());
        let unit = |(at, window): (usize, &[usize])| AccessUnit {
            sequence: at as u64,
            codec: Codec::H264,
            keyframe: at == 0,
            pts: None,
            arrived: Timestamp::ZERO,
            data: data.slice(window[0]..window[1]),
        };
        starts.windows(2).enumerate().map(unit).collect()
    }

    #[test]
    fn half_of_what_a_run_passes_by_is_not_decoded() {
        let clip = clip();
        let (mut decoder, mut given) = (Decoder::new(&Config::default()).unwrap(), Vec::new());
        decoder.decode(&clip, &[57], &mut |picture| given.push(picture.sequence)).unwrap();
        assert_eq!(given, [57]);
        let fed = decoder.lines[0].1.fed;
        assert!((28..=34).contains(&fed), "{fed} of {}", clip.len());
    }

    #[test]
    fn of_one_stream_all_is_decoded_only_while_a_picture_is_waited_for() {
        let mut line = Line::start(&Config::default(), Codec::H264).unwrap();
        let (mut pictures, mut given) = (Awaited::new(), 0);
        for piece in clip().chunks(3) {
            let before = line.fed;
            pictures.extend(awaited(piece, &[30]));
            let waits = !pictures.is_empty();
            given += line.go_on(piece, &mut pictures, Duration::from_secs(9), &mut drop).unwrap();
            assert!(!waits || line.fed >= before + 3, "{} behind {before}", line.fed);
        }
        assert_eq!((given, pictures.len()), (1, 0));
        assert!((30..=42).contains(&line.fed), "{}", line.fed);
    }
}
