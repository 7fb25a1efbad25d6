//! Damaged and hostile media, the same each time: whole recordings made by ffmpeg, and what becomes of them when they are cut,
//! blotted, flipped at many places, or given headers that no encoder writes.

use std::path::Path;

use crate::parameters::{self, Sps};
use crate::support::ffmpeg;

/// Something to be fed, and what it is called where it does harm.
#[derive(Clone)]
pub(crate) struct Morsel {
    pub(crate) name: String,
    pub(crate) bytes: Vec<u8>,
}

impl Morsel {
    fn new(name: impl Into<String>, bytes: Vec<u8>) -> Self {
        Self { name: name.into(), bytes }
    }
}

/// xorshift64*: the same numbers on every machine.
pub(crate) struct Chance(u64);

impl Chance {
    pub(crate) const fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(crate) fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % bound.max(1)
    }
}

/// Two seconds of picture and sound in `name`, whose ending says the container.
pub(crate) fn whole(folder: &Path, name: &str, codec: &str) -> Vec<u8> {
    let clip = "-f lavfi -i testsrc2=size=320x180:rate=25 -f lavfi -i sine -t 2 -pix_fmt yuv420p";
    let sound = if name.ends_with("264") || name.ends_with("265") { "-map 0:v" } else { "-c:a aac" };
    std::fs::read(ffmpeg(&format!("{clip} {codec} {sound}"), &folder.join(name))).expect("ffmpeg has written it")
}

/// What ffmpeg is told for each codec: a keyframe every half second, parameter sets with each.
pub(crate) const H264: &str =
    "-c:v libx264 -preset veryfast -x264-params keyint=12:scenecut=0:bframes=2:aud=1:repeat-headers=1:threads=1";
pub(crate) const H265: &str = "-c:v libx265 -preset ultrafast -x265-params keyint=12:min-keyint=12:scenecut=0:open-gop=0:aud=1:repeat-headers=1:log-level=none";

/// `bytes` damaged in the ways that networks, disks and people damage them, `each` times by chance in each way.
pub(crate) fn damaged(kind: &str, bytes: &[u8], each: u64) -> Vec<Morsel> {
    let mut morsels = Vec::new();
    for share in [1, 5, 30, 60, 90, 99] {
        morsels.push(Morsel::new(format!("{kind}, cut at {share} %"), bytes[..bytes.len() * share / 100].to_vec()));
    }
    for seed in 0..each {
        let mut chance = Chance::new(seed);
        let few = flipped(bytes, 20, &mut chance);
        morsels.push(Morsel::new(format!("{kind}, a few bits flipped, seed {seed}"), few));
        let many = flipped(bytes, bytes.len() / 200, &mut chance);
        morsels.push(Morsel::new(format!("{kind}, many bits flipped, seed {seed}"), many));
        // Headers are where it hurts.
        let head = bytes.len().min(600);
        let begun = [flipped(&bytes[..head], 12, &mut chance), bytes[head..].to_vec()].concat();
        morsels.push(Morsel::new(format!("{kind}, its head flipped, seed {seed}"), begun));
        morsels.push(Morsel::new(format!("{kind}, pieces out of order, seed {seed}"), shuffled(bytes, &mut chance)));
        morsels.push(Morsel::new(format!("{kind}, blotted, seed {seed}"), blotted(bytes, &mut chance)));
    }
    morsels.push(Morsel::new(format!("{kind}, twice over"), [bytes, bytes].concat()));
    morsels.push(Morsel::new(format!("{kind}, backwards"), bytes.iter().rev().copied().collect()));
    morsels
}

fn flipped(bytes: &[u8], bits: usize, chance: &mut Chance) -> Vec<u8> {
    let mut flipped = bytes.to_vec();
    for _ in 0..bits {
        let at = chance.below(flipped.len());
        flipped[at] ^= 1 << chance.below(8);
    }
    flipped
}

fn shuffled(bytes: &[u8], chance: &mut Chance) -> Vec<u8> {
    let mut pieces: Vec<&[u8]> = bytes.chunks(bytes.len() / 16 + 1).collect();
    for at in (1..pieces.len()).rev() {
        pieces.swap(at, chance.below(at + 1));
    }
    pieces.concat()
}

fn blotted(bytes: &[u8], chance: &mut Chance) -> Vec<u8> {
    let mut blotted = bytes.to_vec();
    for value in [0, 0xff] {
        let (from, long) = (chance.below(blotted.len()), chance.below(blotted.len() / 8));
        let to = (from + long).min(blotted.len());
        blotted[from..to].fill(value);
    }
    blotted
}

/// FLV that no encoder writes (Adobe's specification, version 10.1, annex E). `whole` is a whole one, to follow.
pub(crate) fn absurd_flv(whole: &[u8]) -> Vec<Morsel> {
    let head = [b"FLV\x01\x05\0\0\0\x09", &[0; 4][..]].concat();
    let tag = |kind: u8, size: u32, body: &[u8]| {
        let size = size.to_be_bytes();
        let mut tag = vec![kind, size[1], size[2], size[3], 0, 0, 0, 0, 0, 0, 0];
        tag.extend(body);
        tag.extend((11 + body.len() as u32).to_be_bytes());
        tag
    };
    let sized = |kind: u8, body: &[u8]| tag(kind, body.len() as u32, body);
    let rest = whole.get(13..).unwrap_or_default();
    // AMF0: `onMetaData` and objects in objects in objects.
    let mut nested = vec![2, 0, 10];
    nested.extend(b"onMetaData");
    nested.extend([3, 0, 1, b'a'].repeat(100_000));
    let mut huge_array = vec![2, 0, 10];
    huge_array.extend(b"onMetaData");
    huge_array.extend([8, 0xff, 0xff, 0xff, 0xff, 0, 1, b'a', 10, 0xff, 0xff, 0xff, 0xff]);
    let configuration = |sps: &[u8], pps: &[u8]| {
        let mut body = vec![0x17, 0, 0, 0, 0, 1, 100, 0, 51, 0xff, 0xe1];
        body.extend((sps.len() as u16).to_be_bytes());
        body.extend(sps);
        body.push(1);
        body.extend((pps.len() as u16).to_be_bytes());
        body.extend(pps);
        body
    };
    let frame = |nal: &[u8]| {
        let mut body = vec![0x17, 1, 0, 0, 0];
        body.extend((nal.len() as u32).to_be_bytes());
        body.extend(nal);
        body
    };
    let bomb = Sps { width: 16_384, height: 16_384, ..Sps::usual() };
    let bomb =
        [sized(9, &configuration(&bomb.nal(), &parameters::pps())), sized(9, &frame(&parameters::idr()))].concat();
    let lying_length = {
        let mut body = vec![0x17, 1, 0, 0, 0, 0xff, 0xff, 0xff, 0xff];
        body.extend(parameters::idr());
        body
    };
    let many_sets = {
        // Says that 31 parameter sets follow, and that each is 64 KiB long.
        let mut body = vec![0x17, 0, 0, 0, 0, 1, 100, 0, 51, 0xff, 0xff];
        body.extend([0xff, 0xff].repeat(31));
        body
    };
    let parts: Vec<(&str, Vec<u8>)> = vec![
        ("a tag of 16 MiB that never comes", tag(9, 0xff_ffff, &[0x17; 64])),
        ("a script of 16 MiB that never comes", tag(18, 0xff_ffff, b"\x02\0\x0aonMetaData")),
        ("tags of no length", [sized(9, &[]), sized(8, &[]), sized(18, &[])].concat().repeat(5000)),
        ("tags of one byte", [sized(9, &[0x17]), sized(8, &[0xaf]), sized(18, &[2])].concat().repeat(1000)),
        ("objects in objects", sized(18, &nested)),
        ("an array of four thousand million", sized(18, &huge_array)),
        ("unknown tags", (0..=255_u8).flat_map(|kind| sized(kind, &[kind; 9])).collect()),
        ("a picture of 16384x16384", bomb),
        (
            "a frame longer than its tag",
            [sized(9, &configuration(&Sps::usual().nal(), &parameters::pps())), sized(9, &lying_length)].concat(),
        ),
        ("parameter sets that are not there", sized(9, &many_sets)),
        (
            "a codec changed with each tag",
            (0..16_u8).flat_map(|codec| sized(9, &[0x10 | codec, 0, 0, 0, 0, 1, 2, 3])).collect(),
        ),
    ];
    let mut morsels = Vec::new();
    for (name, part) in parts {
        morsels.push(Morsel::new(format!("flv: {name}"), [&head[..], &part].concat()));
        morsels.push(Morsel::new(format!("flv: {name}, before a whole one"), [&head[..], &part, rest].concat()));
    }
    morsels.push(Morsel::new("flv: nothing", Vec::new()));
    morsels.push(Morsel::new("flv: a head alone", head.clone()));
    morsels.push(Morsel::new("flv: a head of 4 GiB", [b"FLV\x01\x05\xff\xff\xff\xff", rest].concat()));
    morsels
}

/// MPEG transport streams that no multiplexer writes (ISO/IEC 13818-1).
pub(crate) fn absurd_ts(whole: &[u8]) -> Vec<Morsel> {
    let packet = |pid: u16, flags: u8, payload: &[u8]| {
        let [high, low] = pid.to_be_bytes();
        let mut packet = vec![0x47, 0x40 | high, low, flags];
        packet.extend(payload);
        packet.resize(188, 0xff);
        packet
    };
    let out_of_step: Vec<u8> = whole.chunks(188).flat_map(|packet| [packet, &[0x47, 0, 0x47]].concat()).collect();
    let no_sync: Vec<u8> =
        whole.chunks(188).flat_map(|packet| [&[0x48], packet.get(1..).unwrap_or_default()].concat()).collect();
    // A table of programs that names itself, and one longer than any may be.
    let itself = packet(0, 0x10, &[0, 0, 0xb0, 13, 0, 1, 0xc1, 0, 0, 0, 1, 0xe0, 0, 1, 2, 3, 4]);
    let long = packet(0, 0x10, &[0, 0, 0xbf, 0xff, 0, 1, 0xc1, 0, 0]);
    let adaptation = packet(256, 0x30, &[0xff, 0xff]);
    let every_pid: Vec<u8> =
        (0..0x1fff).flat_map(|pid| packet(pid, 0x10, &[0, 0, 1, 0xe0, 0, 0, 0x80, 0, 0])).collect();
    let parts = [
        ("out of step", out_of_step),
        ("without its sync byte", no_sync),
        ("a program table that names itself", [itself.repeat(50), whole.to_vec()].concat()),
        ("a section longer than any", [long.repeat(50), whole.to_vec()].concat()),
        ("adaptation fields longer than packets", [adaptation.repeat(500), whole.to_vec()].concat()),
        ("something of every packet identifier", [every_pid, whole.to_vec()].concat()),
        ("null packets alone", packet(0x1fff, 0x10, &[]).repeat(5000)),
    ];
    parts.into_iter().map(|(name, bytes)| Morsel::new(format!("ts: {name}"), bytes)).collect()
}

/// MP4 that no multiplexer writes (ISO/IEC 14496-12).
pub(crate) fn absurd_mp4(whole: &[u8]) -> Vec<Morsel> {
    let boxed = |size: u32, kind: &[u8; 4], body: &[u8]| [&size.to_be_bytes()[..], kind, body].concat();
    let sized = |kind: &[u8; 4], body: &[u8]| boxed(8 + body.len() as u32, kind, body);
    let large = |size: u64, kind: &[u8; 4]| [&1_u32.to_be_bytes()[..], kind, &size.to_be_bytes()].concat();
    let start = sized(b"ftyp", b"isom\0\0\x02\0isomiso2avc1mp41");
    let mut nested = Vec::new();
    for _ in 0..5000 {
        nested = sized(b"moov", &nested);
    }
    // Every table of the whole one, said to have four thousand million entries.
    let counted = |table: &[u8; 4]| {
        let mut bytes = whole.to_vec();
        for at in 4..bytes.len().saturating_sub(20) {
            if &bytes[at..at + 4] == table {
                let count = if table == b"stsz" { at + 12 } else { at + 8 };
                bytes[count..count + 4].fill(0xff);
            }
        }
        bytes
    };
    // As wide and high as can be said, in the track and in the sample entry.
    let enormous = {
        let mut bytes = whole.to_vec();
        for at in 4..bytes.len().saturating_sub(90) {
            if &bytes[at..at + 4] == b"avc1" && &bytes[at - 4..at] != b"ftyp" {
                bytes[at + 28..at + 32].fill(0xff);
            }
        }
        bytes
    };
    let mut parts: Vec<(String, Vec<u8>)> = vec![
        ("a box to the end".to_owned(), [start.clone(), boxed(0, b"moov", &[0; 64])].concat()),
        ("a box of 2^63".to_owned(), [start.clone(), large(1 << 63, b"moov")].concat()),
        ("a box of 2^64 - 1".to_owned(), [start.clone(), large(u64::MAX, b"mdat"), whole.to_vec()].concat()),
        ("a box of 4 GiB of headers".to_owned(), [start.clone(), boxed(u32::MAX, b"moov", &[0; 64])].concat()),
        ("a box shorter than its own head".to_owned(), [start.clone(), boxed(3, b"moov", &[0; 64])].concat()),
        ("boxes in boxes".to_owned(), [start.clone(), nested].concat()),
        ("boxes of no length".to_owned(), [start, sized(b"free", &[]).repeat(20_000), whole.to_vec()].concat()),
        ("a sample entry of 65535x65535".to_owned(), enormous),
    ];
    for table in [b"stsz", b"stco", b"stsc", b"stts", b"ctts", b"stss", b"elst", b"stsd"] {
        parts.push((format!("endless {}", String::from_utf8_lossy(table)), counted(table)));
    }
    parts.into_iter().map(|(name, bytes)| Morsel::new(format!("mp4: {name}"), bytes)).collect()
}

/// Files that name other files, or themselves.
pub(crate) fn playlists() -> Vec<Morsel> {
    let of = |body: &str| format!("#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:2\n{body}").into_bytes();
    let parts = [
        ("itself", of("#EXTINF:2,\nplaylist.m3u8\n")),
        ("itself as a variant", of("#EXT-X-STREAM-INF:BANDWIDTH=1\nplaylist.m3u8\n")),
        ("a file of the machine", of("#EXTINF:2,\nfile:///etc/passwd\n")),
        ("a server of the machine", of("#EXTINF:2,\nhttp://127.0.0.1:9/x.ts\n")),
        ("a hundred thousand segments", of(&"#EXTINF:2,\nx.ts\n".repeat(100_000))),
        ("a segment of 10^300 seconds", of("#EXTINF:1e300,\nx.ts\n")),
    ];
    parts.into_iter().map(|(name, bytes)| Morsel::new(format!("playlist: {name}"), bytes)).collect()
}
