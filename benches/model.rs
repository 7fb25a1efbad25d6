//! Our side of `make bench-model`: scores the pictures that `scripts/bench_model.py` prepared, and prints one JSON object a
//! line. The script runs the peers on the same pictures in the same run and draws the comparison.
//!
//! Arguments: what to measure, and what on. One thread; times of pictures are CPU time of that thread, of streams CPU time of
//! the process, of waiting wall time. Without arguments (as `cargo test` and `cargo bench --no-run` have it) it does nothing.
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a bench that cannot go on should say so at once")]

use std::fs;
use std::hint::black_box;
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use rustix::time::{ClockId, clock_gettime};
use serde_json::{Value, json};
use sluicegate::clock::{Clock, Timestamp};
use sluicegate::decode::{self, Decoder};
use sluicegate::detect::gate::{Gate, Seen, Terms};
use sluicegate::hash::Hasher;
use sluicegate::model::{self, Config, Outputs, Owner, Preprocessor, Runtime, Session, Tensor};
use sluicegate::picture::{ColourRange, Picture, Plane};
use sluicegate::stream::{AccessUnit, Attention, Codec};

/// What the pictures in `frames.yuv` are.
const SIZE: (usize, usize) = (1920, 1080);

/// From one of the prepared access units to the next.
const STEP: Duration = Duration::from_millis(250);

/// Of those, how many from one picture that a stream gives to the next: two seconds.
const APART: usize = 8;

/// How often what never changes is scored anew in the streams.
const RESCORED: f64 = 3.0;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
    match &arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["speed", frames] => speed(Path::new(frames)),
        ["waiting", frames] => waiting(Path::new(frames)),
        ["memory", name] => memory(name),
        ["streams", units @ ..] => units.iter().for_each(|units| streams(Path::new(units))),
        _ => {}
    }
}

fn session(name: &str) -> Session {
    let opened = model::open(&Config { load: vec![name.to_owned()], ..Config::default() }).unwrap();
    if let Some(broken) = opened.broken.first() {
        println!("{}", broken.error);
    }
    opened.sessions.into_iter().next().unwrap()
}

/// Preprocessing, inference alone and both together, of each picture in turn.
fn speed(frames: &Path) {
    let frames = read(frames);
    let mut session = session("safety");
    let mut preprocessor = Preprocessor::new(&session.manifest().input);
    let tensors: Vec<Tensor> = frames.iter().map(|frame| preprocessor.tensor(frame).unwrap()).collect();
    let scores: Vec<Vec<f32>> = tensors.iter().map(|tensor| scored(&mut session, tensor)).collect();
    let (mut prepare, mut run, mut whole) = (Vec::new(), Vec::new(), Vec::new());
    for (frame, tensor) in frames.iter().zip(&tensors) {
        prepare.push(spent(|| prepared(&mut preprocessor, frame)));
        run.push(spent(|| scored(&mut session, tensor)));
        whole.push(spent(|| {
            let tensor = prepared(&mut preprocessor, frame);
            scored(&mut session, &tensor)
        }));
    }
    say("prepare_ms", milliseconds(prepare), &Value::Null);
    say("run_ms", milliseconds(run), &Value::Null);
    say("picture_ms", milliseconds(whole), &json!({ "scores": scores }));
}

/// How long a picture waits for its scores where nothing else waits: asked of the session itself, and of its thread.
fn waiting(frames: &Path) {
    let frames = read(frames);
    let mut direct = session("safety");
    let mut preprocessor = Preprocessor::new(&direct.manifest().input);
    let tensors: Vec<Tensor> = frames.iter().map(|frame| preprocessor.tensor(frame).unwrap()).collect();
    let (done, answered) = crossbeam_channel::bounded(1);
    let on_result = move |(), outputs: Result<Outputs, _>| done.send(outputs.unwrap()).unwrap();
    let owner = Owner::start(session("safety"), Config::default().queue, Clock::system(), on_result).unwrap();
    let (mut alone, mut queued) = (Vec::new(), Vec::new());
    for tensor in tensors.iter().chain(&tensors) {
        alone.push(waited(|| scored(&mut direct, tensor)));
        let given = tensor.clone();
        queued.push(waited(|| {
            owner.submit(given, ()).unwrap();
            answered.recv().unwrap()
        }));
    }
    say("alone_ms", milliseconds(alone), &Value::Null);
    say("queued_ms", milliseconds(queued), &Value::Null);
}

/// What the process grows by when it loads a model and scores its first picture.
fn memory(name: &str) {
    Runtime::load(&model::find_runtime(&Config::default()).unwrap()).unwrap();
    let before = resident();
    let mut session = session(name);
    let loaded = resident() - before;
    let picture = model::reference(model::references().next().unwrap()).unwrap();
    let tensor = Preprocessor::new(&session.manifest().input).tensor(&picture).unwrap();
    black_box(session.run(&[tensor]).unwrap());
    let more = json!({ "model": name, "loaded_mb": loaded, "file_bytes": session.manifest().file.bytes });
    say("memory_mb", resident() - before, &more);
}

/// A stream that gives a picture every two seconds: decoding, hashing and scoring, with and without the change gate. The clip
/// is played to its end, backwards, and so on, until what looks unchanged has been scored anew a few times because it was
/// scored long ago. The first two pictures of a stream are always scored, and are not counted: streams are long.
fn streams(path: &Path) {
    let (units, apart) = (units(path), STEP * APART as u32);
    let gate_on = Terms { within: Config::default().unchanged_within, rescore_after: Config::default().rescore_after };
    let mut line = Line {
        decoder: Decoder::new(&decode::Config::default()).unwrap(),
        hasher: Hasher::new(),
        session: session("safety"),
        preprocessor: None,
    };
    for (what, terms) in [("gate_off", Terms::OFF), ("gate_on", gate_on)] {
        let (mut pictures, mut scored, mut cpu) = (0_u32, 0_u32, Duration::ZERO);
        for phase in 0..APART {
            let mut gate = Gate::default();
            let once: Vec<&AccessUnit> = units.iter().skip(phase).step_by(APART).collect();
            for (at, unit) in back_and_forth(&once, &gate_on).enumerate() {
                let unit =
                    &AccessUnit { sequence: at as u64, arrived: Timestamp::ZERO + apart * at as u32, ..unit.clone() };
                let before = now(ClockId::ProcessCPUTime);
                let was_scored = line.take(unit, &mut gate, &terms);
                if at > 1 {
                    cpu += now(ClockId::ProcessCPUTime).saturating_sub(before);
                    pictures += 1;
                    scored += u32::from(was_scored);
                }
            }
        }
        let each = cpu.as_secs_f64() / f64::from(pictures);
        let more = json!({
            "clip": path.file_stem().unwrap().to_string_lossy(), "pictures": pictures, "scored": scored, "cpu_ms": each * 1e3,
        });
        say(what, apart.as_secs_f64() / each, &more);
    }
}

/// The pictures of a stream that shows `once` forwards and backwards, until everything has been due to be scored anew
/// [`RESCORED`] times, and one more.
fn back_and_forth<'a>(once: &'a [&AccessUnit], gate: &Terms) -> impl Iterator<Item = &'a AccessUnit> {
    let apart = STEP * APART as u32;
    let pictures = RESCORED * gate.rescore_after.as_secs_f64() / apart.as_secs_f64();
    // The first and the last are not shown twice running.
    let back = once.iter().rev().skip(1).take(once.len().saturating_sub(2));
    once.iter().chain(back).copied().cycle().take(pictures.ceil() as usize + 1)
}

/// One worker of one stream.
struct Line {
    decoder: Decoder,
    hasher: Hasher,
    session: Session,
    preprocessor: Option<Preprocessor>,
}

impl Line {
    /// Whether the picture was scored.
    fn take(&mut self, unit: &AccessUnit, gate: &mut Gate, terms: &Terms) -> bool {
        let mut pictures = Vec::new();
        let one = std::slice::from_ref(unit);
        self.decoder.decode(one, &[unit.sequence], &mut |picture| pictures.push(picture)).unwrap();
        let picture = pictures.pop().unwrap();
        let pdq = self.hasher.picture(&picture).unwrap();
        let seen = Seen { sequence: picture.sequence, arrived: picture.arrived, pdq, attention: Attention::Calm };
        if gate.pass(&seen, terms).is_some() {
            return false;
        }
        let input = &self.session.manifest().input;
        let preprocessor = self.preprocessor.get_or_insert_with(|| Preprocessor::new(input));
        let tensor = prepared(preprocessor, &picture);
        let outputs = self.session.run(&[tensor]).unwrap().pop().unwrap().unwrap();
        gate.scored(&seen, terms, &outputs.scores);
        true
    }
}

/// What a worker does with a picture before a model has it.
fn prepared(preprocessor: &mut Preprocessor, frame: &Picture) -> Tensor {
    assert!(!model::flat(frame), "the clips have no flat picture");
    preprocessor.tensor(frame).unwrap()
}

fn scored(session: &mut Session, tensor: &Tensor) -> Vec<f32> {
    let outputs = session.run(std::slice::from_ref(tensor)).unwrap().pop().unwrap().unwrap();
    outputs.scores[0].scores.iter().map(|(_, score)| *score).collect()
}

/// The pictures of a file of raw I420.
fn read(path: &Path) -> Vec<Picture> {
    let (width, height) = SIZE;
    let (half_width, half_height) = (width / 2, height / 2);
    let data = Bytes::from(fs::read(path).unwrap());
    let size = width * height + 2 * half_width * half_height;
    let picture = |start: usize| {
        let plane = |at: usize, width: usize, height: usize| Plane {
            data: data.slice(start + at..start + at + width * height),
            width,
            height,
            stride: width,
        };
        let chroma = |which: usize| plane(SIZE.0 * SIZE.1 + which * half_width * half_height, half_width, half_height);
        Picture {
            sequence: 0,
            pts: None,
            arrived: Timestamp::ZERO,
            luma: plane(0, width, height),
            chroma: Some([chroma(0), chroma(1)]),
            range: ColourRange::Limited,
        }
    };
    (0..data.len() / size).map(|at| picture(at * size)).collect()
}

/// The access units of a file of H.264 in which each begins with a delimiter and is a keyframe.
fn units(path: &Path) -> Vec<AccessUnit> {
    let data = Bytes::from(fs::read(path).unwrap());
    let delimiter = [0, 0, 0, 1, 9];
    let mut starts: Vec<usize> =
        (0..data.len()).filter(|&at| data.get(at..at + delimiter.len()) == Some(&delimiter[..])).collect();
    starts.push(data.len());
    let unit = |(at, window): (usize, &[usize])| AccessUnit {
        sequence: at as u64,
        codec: Codec::H264,
        keyframe: true,
        pts: None,
        arrived: Timestamp::ZERO + STEP * at as u32,
        data: data.slice(window[0]..window[1]),
    };
    starts.windows(2).enumerate().map(unit).collect()
}

fn spent<T>(work: impl FnOnce() -> T) -> Duration {
    let before = now(ClockId::ThreadCPUTime);
    black_box(work());
    now(ClockId::ThreadCPUTime).saturating_sub(before)
}

fn waited<T>(work: impl FnOnce() -> T) -> Duration {
    let clock = Clock::system();
    let before = clock.now();
    black_box(work());
    clock.now().since(before)
}

fn now(clock: ClockId) -> Duration {
    Duration::try_from(clock_gettime(clock)).unwrap()
}

fn milliseconds(mut spans: Vec<Duration>) -> f64 {
    spans.sort_unstable();
    spans[spans.len() / 2].as_secs_f64() * 1e3
}

/// Megabytes of memory that this process has now.
fn resident() -> f64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.split_whitespace().next().unwrap().parse::<f64>().unwrap() / 1024.0
}

fn say(what: &str, value: f64, more: &Value) {
    println!("{}", json!({ "what": what, "value": value, "more": more }));
}
