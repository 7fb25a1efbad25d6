//! The decoder and every codec that it knows: single keyframes come out at once, nothing of one run shows in the next, and
//! neither damage nor an enormous picture does any harm.

#![expect(clippy::unwrap_used, reason = "a test may fail anywhere")]

#[cfg(test)]
mod support;

use bytes::Bytes;
use sluicegate::clock::{Clock, Timestamp};
use sluicegate::decode::{Config, DecodeError, Decoder};
use sluicegate::picture::{Picture, Plane};
use sluicegate::stream::{AccessUnit, Codec, UninspectableReason};
use support::ffmpeg;

/// A second of `picture` (ffmpeg's words for a source and its filters) in `codec`: keyframes every half second, as pairs of
/// whether it is one and its bytes.
fn clip(codec: Codec, picture: &str) -> Vec<AccessUnit> {
    let folder = tempfile::tempdir().unwrap();
    let (encoder, name) = match codec {
        Codec::H264 => {
            ("libx264 -preset ultrafast -bf 2 -x264-params keyint=15:scenecut=0:aud=1:repeat-headers=1", "a.h264")
        }
        Codec::H265 => (
            "libx265 -preset ultrafast -x265-params keyint=15:min-keyint=15:open-gop=1:bframes=3:aud=1:repeat-headers=1:log-level=none",
            "a.h265",
        ),
        Codec::Vp9 => ("libvpx-vp9 -deadline realtime -cpu-used 8 -g 15 -lag-in-frames 8 -auto-alt-ref 1", "a.ivf"),
        Codec::Av1 => ("libaom-av1 -usage realtime -cpu-used 8 -g 15", "a.ivf"),
    };
    let path = ffmpeg(&format!("-f lavfi -i {picture} -r 30 -t 1 -c:v {encoder}"), &folder.path().join(name));
    let data = Bytes::from(std::fs::read(path).unwrap());
    let parts = match codec {
        Codec::H264 => split(&data, &[0, 0, 0, 1, 9]),
        Codec::H265 => split(&data, &[0, 0, 0, 1, 0x46]),
        Codec::Vp9 | Codec::Av1 => ivf(&data),
    };
    let unit = |(sequence, data): (usize, Bytes)| AccessUnit {
        sequence: sequence as u64,
        codec,
        keyframe: sequence == 0,
        pts: None,
        arrived: Timestamp::from_millis(sequence as u64),
        data,
    };
    parts.into_iter().enumerate().map(unit).collect()
}

/// Where each access unit begins with `delimiter`.
fn split(data: &Bytes, delimiter: &[u8]) -> Vec<Bytes> {
    let mut starts: Vec<usize> = (0..data.len()).filter(|&at| data[at..].starts_with(delimiter)).collect();
    starts.push(data.len());
    starts.windows(2).map(|pair| data.slice(pair[0]..pair[1])).collect()
}

/// A header of 32 bytes, then of each frame its length in four bytes, its time in eight, and itself.
fn ivf(data: &Bytes) -> Vec<Bytes> {
    let (mut frames, mut at) = (Vec::new(), 32);
    while at < data.len() {
        let length = u32::from_le_bytes(data[at..at + 4].try_into().unwrap()) as usize;
        frames.push(data.slice(at + 12..at + 12 + length));
        at += 12 + length;
    }
    frames
}

fn decoder() -> Decoder {
    Decoder::new(&Config::default()).unwrap()
}

fn pictures_of(decoder: &mut Decoder, units: &[AccessUnit], inspect: &[u64]) -> Result<Vec<Picture>, DecodeError> {
    let mut pictures = Vec::new();
    decoder.decode(units, inspect, &mut |picture| pictures.push(picture)).map(|()| pictures)
}

fn mean(plane: &Plane) -> f64 {
    let sum: u64 = plane.rows().flatten().map(|&value| u64::from(value)).sum();
    sum as f64 / (plane.width * plane.height) as f64
}

#[test]
fn a_keyframe_alone_comes_out_at_once_whatever_was_decoded_before() {
    let clips = Codec::ALL.map(|codec| clip(codec, "testsrc2=size=640x360,format=yuv420p"));
    let mut decoder = decoder();
    let clock = Clock::system();
    for round in 0..3 {
        for clip in &clips {
            let keyframe = &clip[0];
            let start = clock.now();
            let pictures = pictures_of(&mut decoder, std::slice::from_ref(keyframe), &[0]).unwrap();
            println!("round {round}: {:?} in {:?}", keyframe.codec, clock.now().since(start));
            assert_eq!(pictures.len(), 1, "{:?}", keyframe.codec);
            assert_eq!((pictures[0].luma.width, pictures[0].luma.height), (640, 360));
            assert_eq!((pictures[0].sequence, pictures[0].arrived), (0, keyframe.arrived));
        }
    }
}

#[test]
fn a_look_back_run_gives_each_picture_its_own_access_unit() {
    for codec in Codec::ALL {
        // The picture grows lighter with time, so brightness tells which frame a picture is.
        let clip = clip(codec, "color=black:size=320x180:rate=30,format=yuv420p,geq=lum=16+6*N:cb=128:cr=128");
        assert_eq!(clip.len(), 30, "{codec:?}");
        let inspect: Vec<u64> = (0..30).step_by(4).collect();
        let pictures = pictures_of(&mut decoder(), &clip, &inspect).unwrap();
        let mut sequences: Vec<u64> = pictures.iter().map(|picture| picture.sequence).collect();
        let brightness: Vec<f64> = pictures.iter().map(|picture| mean(&picture.luma)).collect();
        assert!(brightness.windows(2).all(|pair| pair[0] + 3.0 < pair[1]), "{codec:?}: {brightness:?}");
        sequences.sort_unstable();
        assert_eq!(sequences, inspect, "{codec:?}");
    }
}

#[test]
fn nothing_of_one_stream_shows_in_the_next() {
    for codec in Codec::ALL {
        let of = |colour: &str| clip(codec, &format!("color={colour}:size=320x180,noise=alls=9,format=yuv420p"));
        let (white, black) = (of("white"), of("black"));
        let mut decoder = decoder();
        for run in [&white[..1], &white[..]] {
            pictures_of(&mut decoder, run, &[0]).unwrap();
            // The second stream's units without their keyframe: whatever comes out, it is not the first stream's white.
            let inspect: Vec<u64> = (1..12).collect();
            for picture in pictures_of(&mut decoder, &black[1..12], &inspect).unwrap_or_default() {
                let light = mean(&picture.luma);
                assert!(light < 180.0, "{codec:?}: unit {} has a lightness of {light}", picture.sequence);
            }
            assert!(mean(&pictures_of(&mut decoder, &white[..1], &[0]).unwrap()[0].luma) > 200.0, "{codec:?}");
        }
    }
}

#[test]
fn damaged_units_never_stop_the_decoder() {
    for codec in Codec::ALL {
        let clip = clip(codec, "testsrc2=size=320x180,format=yuv420p");
        let good = &clip[0];
        let mut random = 0x2545_f491_4f6c_dd1d_u64;
        let mut next = move || {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            random
        };
        let mut damaged: Vec<Vec<u8>> = vec![
            Vec::new(),
            vec![0; 4096],
            vec![0xff; 99],
            good.data[..40].to_vec(),
            good.data[..good.data.len() / 2].to_vec(),
        ];
        for flips in 0..40 {
            let mut bytes = good.data.to_vec();
            for _ in 0..=flips {
                let at = next() as usize % bytes.len();
                bytes[at] ^= 1 << (next() % 8);
            }
            damaged.push(bytes);
        }
        let mut decoder = decoder();
        for bytes in damaged {
            let unit = AccessUnit { data: Bytes::from(bytes), ..good.clone() };
            if let Err(error) = pictures_of(&mut decoder, &[unit], &[0]) {
                assert!(
                    ["undecodable", "too_large", "failed", "timed_out"].contains(&error.kind()),
                    "{codec:?}: {error}"
                );
            }
            let pictures = pictures_of(&mut decoder, std::slice::from_ref(good), &[0]).unwrap();
            assert_eq!(pictures[0].luma.width, 320, "{codec:?}");
        }
    }
}

#[test]
fn ten_bits_arrive_as_eight() {
    for codec in [Codec::H264, Codec::H265, Codec::Vp9, Codec::Av1] {
        let clip = clip(codec, "color=red:size=320x180,format=yuv420p10le");
        let pictures = pictures_of(&mut decoder(), &clip[..1], &[0]).unwrap();
        let [blue, red] = pictures[0].chroma.as_ref().unwrap();
        assert_eq!((pictures[0].luma.data.len() >= 320 * 180, blue.width, red.height), (true, 160, 90), "{codec:?}");
        let means = [&pictures[0].luma, blue, red].map(mean);
        for (mean, expected) in means.into_iter().zip([81.0, 90.0, 240.0]) {
            assert!((mean - expected).abs() < 3.0, "{codec:?}: {means:?}");
        }
    }
}

/// Bits from words of 0 and 1, and `u<value>:<bits>` and `e<value>` (Exp-Golomb) for numbers; then a one, and zeros to a byte.
fn bits(words: &str) -> Vec<u8> {
    let mut bits = String::new();
    for word in words.split_whitespace() {
        if let Some((value, width)) = word.strip_prefix('u').and_then(|word| word.split_once(':')) {
            bits.extend(format!("{:0width$b}", value.parse::<u64>().unwrap(), width = width.parse().unwrap()).chars());
        } else if let Some(value) = word.strip_prefix('e') {
            let code = format!("{:b}", value.parse::<u32>().unwrap() + 1);
            bits += &"0".repeat(code.len() - 1);
            bits += &code;
        } else {
            bits += word;
        }
    }
    bits.push('1');
    bits += &"0".repeat(bits.len().next_multiple_of(8) - bits.len());
    (0..bits.len() / 8).map(|at| u8::from_str_radix(&bits[8 * at..8 * at + 8], 2).unwrap()).collect()
}

/// A real keyframe that now says that its picture has 16384 by 16384 pixels.
fn enormous(codec: Codec) -> Bytes {
    let mut real = clip(codec, "testsrc2=size=320x180,format=yuv420p")[0].data.to_vec();
    match codec {
        Codec::H264 | Codec::H265 => {
            let at = |nal: &[u8]| real.windows(nal.len()).position(|window| window == nal).unwrap() - 1;
            let (from, to) = (at(&[0, 0, 1, 0x42]), at(&[0, 0, 1, 0x44]));
            let sequence = bits(
                "u0:4 000 1 00 0 u1:5 u1610612736:32 1001 u17:44 u186:8 e0 e1 e16384 e16384 0 e0 e0 e4 1 e4 e0 e0 e0 e3 e0 e3 \
                 e0 e0 0 0 0 0 e0 0 0 0 0 0",
            );
            [&real[..from], &[0, 0, 0, 1, 0x42, 1], &sequence, &real[to..]].concat().into()
        }
        Codec::Vp9 => {
            // From byte 4: three bits of colour space, one of range; then both sides, less one.
            let sides = (u64::from(real[4] >> 4) << 32 | 16383 << 16 | 16383) << 4 | u64::from(real[8] & 15);
            real[4..9].copy_from_slice(&sides.to_be_bytes()[3..]);
            real.into()
        }
        Codec::Av1 => {
            // A delimiter, then the sequence header: 29 bits of profile and level, how many bits each side has (here nine
            // and eight), and both, less one.
            let length = usize::from(real[3]);
            let old: Vec<String> = real[4..4 + length].iter().map(|byte| format!("{byte:08b}")).collect();
            let old = old.concat();
            assert_eq!(&old[29..54], "1000011110011111110110011", "320 by 180");
            let rest = old[54..].trim_end_matches('0').strip_suffix('1').unwrap();
            let new = bits(&format!("{} u15:4 u15:4 u16383:16 u16383:16 {rest}", &old[..29]));
            [&real[..3], &[new.len() as u8], &new, &real[4 + length..]].concat().into()
        }
    }
}

fn memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() << 10
}

#[test]
fn an_enormous_picture_is_refused_before_memory_is_taken() {
    for codec in [Codec::H265, Codec::Vp9, Codec::Av1] {
        let unit =
            AccessUnit { data: enormous(codec), ..clip(codec, "color=red:size=64x64,format=yuv420p")[0].clone() };
        let mut decoder = decoder();
        let before = memory();
        let error = pictures_of(&mut decoder, std::slice::from_ref(&unit), &[0]).unwrap_err();
        match codec {
            // Its parser finds that the rest of the frame's header does not fit, and lets nothing pass.
            Codec::Av1 => assert_eq!(error.kind(), "undecodable"),
            _ => assert!(
                matches!(error, DecodeError::TooLarge { width: 16384, height: 16384, .. }),
                "{codec:?}: {error}"
            ),
        }
        assert!(memory().saturating_sub(before) < 150 << 20, "{codec:?}: {} bytes more", memory() - before);
        // And the next stream decodes.
        let small = clip(codec, "color=red:size=64x64,format=yuv420p");
        assert_eq!(pictures_of(&mut decoder, &small[..1], &[0]).unwrap().len(), 1, "{codec:?}");
    }
}

#[test]
fn the_limit_holds_for_every_codec_and_the_next_stream_decodes() {
    for codec in Codec::ALL {
        let of = |size: &str| clip(codec, &format!("testsrc2=size={size},format=yuv420p"));
        let (large, small) = (of("322x180"), of("320x180"));
        let mut decoder = Decoder::new(&Config { max_pixels: 320 * 180, ..Config::default() }).unwrap();
        for _ in 0..2 {
            let error = pictures_of(&mut decoder, &large[..1], &[0]).unwrap_err();
            assert!(matches!(error, DecodeError::TooLarge { width: 322, height: 180, .. }), "{codec:?}: {error}");
            assert_eq!((error.is_retryable(), error.hindrance()), (false, Some(UninspectableReason::TooLarge)));
            assert_eq!(pictures_of(&mut decoder, &small[..1], &[0]).unwrap().len(), 1, "{codec:?}");
        }
    }
}
