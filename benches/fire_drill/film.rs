//! Benign films for the fire drill, cut by chance from a few clips and photographs: every shot is another piece of one of them,
//! moving, graded, spoilt and encoded anew. The same seed gives the same films.

use std::path::{Path, PathBuf};
use std::process::Command;

/// Frames a second. Few: the line looks at keyframes, and those come every 2 s however many frames lie between.
pub(crate) const RATE: u32 = 10;

const SIZES: [(u32, u32); 5] = [(640, 360), (854, 480), (480, 270), (360, 640), (960, 540)];

/// What films are cut from.
#[derive(Debug, Clone)]
pub(crate) enum Footage {
    /// A video, and how many seconds of it there are.
    Clip(PathBuf, f64),
    /// A picture.
    Photograph(PathBuf),
}

impl Footage {
    /// Its file.
    pub(crate) fn path(&self) -> &Path {
        match self {
            Self::Clip(path, _) | Self::Photograph(path) => path,
        }
    }
}

/// What becomes of footage on its way into a film.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Care {
    /// Panned, graded, spoilt, put together with other footage: what it was is not to be recognised.
    None,
    /// Only encoded anew.
    Whole,
}

/// Chance that is the same every time: `SplitMix64` (Steele, Lea and Flood, OOPSLA 2014).
#[derive(Debug, Clone)]
pub(crate) struct Chance(pub(crate) u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// From `low` to `high`.
    fn between(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    fn one_in(&mut self, many: u64) -> bool {
        self.next().is_multiple_of(many)
    }

    fn of<'all, X>(&mut self, all: &'all [X]) -> &'all X {
        &all[(self.next() % all.len() as u64) as usize]
    }
}

/// A film that goes on: each shot is one run of ffmpeg.
#[derive(Debug)]
pub(crate) struct Film<'all> {
    footage: &'all [Footage],
    care: Care,
    chance: Chance,
    size: (u32, u32),
    quality: u32,
    seconds_left: f64,
}

impl<'all> Film<'all> {
    /// A film of so many seconds.
    pub(crate) fn new(footage: &'all [Footage], care: Care, seed: u64, seconds: f64) -> Self {
        let mut chance = Chance(seed);
        let size = *chance.of(&SIZES);
        let quality = chance.between(18.0, 38.0) as u32;
        Self { footage, care, chance, size, quality, seconds_left: seconds }
    }

    fn arguments(&mut self, seconds: f64) -> Vec<String> {
        let mut inputs = Vec::new();
        let graph = match self.care {
            Care::None => self.mix(seconds, &mut inputs),
            Care::Whole => self.whole(&mut inputs),
        };
        let mut arguments = inputs;
        arguments.extend(["-filter_complex".to_owned(), format!("{graph},fps={RATE},format=yuv420p[out]")]);
        let encode = format!(
            "-map [out] -t {seconds:.1} -an -c:v libx264 -threads 1 -preset veryfast -crf {} -g {gap} -keyint_min {gap} \
             -sc_threshold 0 -aud 1 -f h264 -",
            self.quality,
            gap = 2 * RATE
        );
        arguments.extend(encode.split_whitespace().map(str::to_owned));
        arguments
    }

    /// The filter graph of footage shown as it is.
    fn whole(&mut self, inputs: &mut Vec<String>) -> String {
        let footage = self.chance.of(self.footage);
        let again = if matches!(footage, Footage::Clip(..)) { "-stream_loop -1 -i" } else { "-loop 1 -i" };
        inputs.extend(again.split(' ').map(str::to_owned));
        inputs.push(footage.path().display().to_string());
        let (width, height) = self.size;
        format!("[0:v]scale={width}:{height},setsar=1")
    }

    /// The filter graph of a shot like no other.
    fn mix(&mut self, seconds: f64, inputs: &mut Vec<String>) -> String {
        let first = self.source(0, self.size, seconds, inputs);
        let (width, height) = self.size;
        let graph = match self.chance.next() % 12 {
            // Two at once, side by side or one in a corner of the other.
            0 => {
                let half = ((width / 2) & !1, height);
                let other = self.source(1, half, seconds, inputs);
                format!("{first},scale={}:{height}[a];{other}[b];[a][b]hstack[v]", width - half.0)
            }
            1 => {
                let corner = ((width / 3) & !1, (height / 3) & !1);
                let other = self.source(1, corner, seconds, inputs);
                format!("{first}[a];{other}[b];[a][b]overlay=W-w-8:8[v]")
            }
            _ => format!("{first}[v]"),
        };
        format!("{graph};[v]{}", self.spoil(seconds))
    }

    /// A piece of some footage that fills `size`, moving or still, as the beginning of a filter graph.
    fn source(&mut self, input: usize, size: (u32, u32), seconds: f64, inputs: &mut Vec<String>) -> String {
        let chance = &mut self.chance;
        let footage = chance.of(self.footage);
        let time = match footage {
            Footage::Clip(_, long) => {
                inputs.extend(["-stream_loop", "-1", "-ss"].map(str::to_owned));
                inputs.push(format!("{:.2}", chance.between(0.0, long * 0.8)));
                format!("setpts=PTS*{:.2},", chance.between(0.6, 2.0))
            }
            Footage::Photograph(_) => {
                inputs.extend(["-loop", "1", "-framerate"].map(str::to_owned));
                inputs.push(RATE.to_string());
                String::new()
            }
        };
        inputs.extend(["-i".to_owned(), footage.path().display().to_string()]);
        let part = chance.between(0.4, 1.0);
        let mut pan = |side: &str, out: &str| {
            let (from, to) = (chance.between(0.0, 1.0), chance.between(0.0, 1.0));
            // A third of the shots does not move.
            let slope = if chance.one_in(3) { 0.0 } else { to - from };
            format!("({side}-{out})*({from:.3}+{slope:.3}*t/{seconds:.1})")
        };
        let (x, y) = (pan("iw", "ow"), pan("ih", "oh"));
        let (width, height) = size;
        format!(
            "[{input}:v]{time}crop=iw*{part:.3}:ih*{part:.3}:'{x}':'{y}',\
             scale={width}:{height}:force_original_aspect_ratio=increase,crop={width}:{height},setsar=1,fps={RATE}"
        )
    }

    /// Grading, and what happens to videos on their way.
    fn spoil(&mut self, seconds: f64) -> String {
        let (width, height) = self.size;
        let chance = &mut self.chance;
        let grade = format!(
            "eq=brightness={:.2}:contrast={:.2}:saturation={:.2}:gamma={:.2}",
            chance.between(-0.25, 0.2),
            chance.between(0.6, 1.5),
            chance.between(0.0, 2.2),
            chance.between(0.6, 1.6)
        );
        let more = match chance.next() % 16 {
            0 => format!("hue=h={:.0}", chance.between(-60.0, 60.0)),
            1 => "colorbalance=rs=.5:rm=.3".to_owned(),
            2 => "hflip".to_owned(),
            3 => "boxblur=3".to_owned(),
            4 => "noise=alls=25:allf=t".to_owned(),
            5 => format!("fade=in:0:{}", (seconds * f64::from(RATE) / 2.0) as u32),
            6 => format!("fade=out:0:{}", (seconds * f64::from(RATE)) as u32),
            7 => {
                let rows = (f64::from(height) * chance.between(0.6, 0.9)) as u32 & !1;
                format!("scale={width}:{rows},pad={width}:{height}:0:(oh-ih)/2")
            }
            8 => {
                let columns = (f64::from(width) * chance.between(0.5, 0.9)) as u32 & !1;
                format!("scale={columns}:{height},pad={width}:{height}:(ow-iw)/2:0")
            }
            9 => "vignette".to_owned(),
            10 => format!("rotate={:.2}", chance.between(-0.3, 0.3)),
            11 => "colorchannelmixer=.393:.769:.189:0:.349:.686:.168:0:.272:.534:.131".to_owned(),
            _ => "null".to_owned(),
        };
        format!("{grade},{more}")
    }
}

/// The shots, each as H.264 in Annex B with delimiters.
impl Iterator for Film<'_> {
    type Item = Vec<u8>;

    fn next(&mut self) -> Option<Vec<u8>> {
        if self.seconds_left <= 0.0 {
            return None;
        }
        let seconds = self.chance.between(2.0, 16.0).min(self.seconds_left.max(1.0));
        self.seconds_left -= seconds;
        let arguments = self.arguments(seconds);
        let made = Command::new("ffmpeg")
            .args(["-hide_banner", "-loglevel", "error", "-nostdin"])
            .args(&arguments)
            .output()
            .expect("ffmpeg runs: run `make setup`");
        assert!(made.status.success(), "ffmpeg {arguments:?}: {}", String::from_utf8_lossy(&made.stderr));
        Some(made.stdout)
    }
}

/// The access units of H.264 in Annex B that begins each with a delimiter (ITU-T H.264, 7.3.2.4), and whether each is an
/// IDR picture.
pub(crate) fn units(film: &[u8]) -> Vec<(bool, &[u8])> {
    const DELIMITER: [u8; 5] = [0, 0, 0, 1, 9];
    let mut starts: Vec<usize> = (0..film.len()).filter(|at| film[*at..].starts_with(&DELIMITER)).collect();
    starts.push(film.len());
    let unit = |ends: &[usize]| {
        let unit = &film[ends[0]..ends[1]];
        (unit.windows(4).any(|bytes| bytes[..3] == [0, 0, 1] && bytes[3] & 31 == 5), unit)
    };
    starts.windows(2).map(unit).collect()
}
