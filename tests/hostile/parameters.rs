//! Parameter sets of H.264 and H.265 as no encoder writes them, bit by bit (ITU-T H.264, 7.3.2; H.265, 7.3.2).

/// Writes bits, most significant first.
#[derive(Default)]
struct Bits {
    bits: Vec<bool>,
}

impl Bits {
    fn put(&mut self, value: u64, count: usize) -> &mut Self {
        self.bits.extend((0..count).rev().map(|at| value >> at & 1 == 1));
        self
    }

    /// Exp-Golomb.
    fn ue(&mut self, value: u64) -> &mut Self {
        let length = 64 - (value + 1).leading_zeros() as usize;
        self.put(0, length - 1).put(value + 1, length)
    }

    /// The bytes, ended and with emulation prevention.
    fn nal(&mut self, header: &[u8]) -> Vec<u8> {
        self.put(1, 1);
        while !self.bits.len().is_multiple_of(8) {
            self.put(0, 1);
        }
        let mut nal = header.to_vec();
        for byte in self.bits.chunks(8) {
            let byte = byte.iter().fold(0, |sum, bit| sum << 1 | u8::from(*bit));
            if byte <= 3 && nal.ends_with(&[0, 0]) {
                nal.push(3);
            }
            nal.push(byte);
        }
        nal
    }
}

/// A sequence parameter set of H.264.
#[derive(Clone)]
pub(crate) struct Sps {
    pub(crate) id: u64,
    pub(crate) profile: u64,
    pub(crate) references: u64,
    /// In pixels, as coded.
    pub(crate) width: u64,
    pub(crate) height: u64,
    /// In units of two pixels: left, right, top, bottom.
    pub(crate) cropped: Option<[u64; 4]>,
    pub(crate) bit_depth: u64,
    pub(crate) chroma: u64,
    pub(crate) frame_number_bits: u64,
}

impl Sps {
    pub(crate) const fn usual() -> Self {
        Self {
            id: 0,
            profile: 100,
            references: 1,
            width: 320,
            height: 176,
            cropped: None,
            bit_depth: 8,
            chroma: 1,
            frame_number_bits: 4,
        }
    }

    pub(crate) fn nal(&self) -> Vec<u8> {
        let mut bits = Bits::default();
        bits.put(self.profile, 8).put(0, 8).put(62, 8).ue(self.id);
        if self.profile == 100 {
            bits.ue(self.chroma);
            if self.chroma == 3 {
                bits.put(0, 1);
            }
            bits.ue(self.bit_depth - 8).ue(self.bit_depth - 8).put(0, 2);
        }
        // Order count type 2: none but the frame's number.
        bits.ue(self.frame_number_bits - 4).ue(2).ue(self.references).put(0, 1);
        bits.ue((self.width / 16).saturating_sub(1)).ue((self.height / 16).saturating_sub(1)).put(1, 1).put(1, 1);
        match self.cropped {
            Some(edges) => {
                bits.put(1, 1);
                for edge in edges {
                    bits.ue(edge);
                }
            }
            None => {
                bits.put(0, 1);
            }
        }
        bits.put(0, 1);
        bits.nal(&[0x67])
    }
}

/// A picture parameter set, of sequence parameter set 0.
pub(crate) fn pps() -> Vec<u8> {
    pps_of(0, 0)
}

pub(crate) fn pps_of(id: u64, sps: u64) -> Vec<u8> {
    let mut bits = Bits::default();
    bits.ue(id).ue(sps).put(0, 2).ue(0).ue(0).ue(0).put(0, 3).ue(0).ue(0).ue(0).put(0, 3);
    bits.nal(&[0x68])
}

/// The slice of an IDR frame, whose macroblocks are noise.
pub(crate) fn idr() -> Vec<u8> {
    let mut bits = Bits::default();
    bits.ue(0).ue(7).ue(0).put(0, 4).ue(0).put(0, 2).ue(0);
    for n in 0..400_u64 {
        bits.put(n.wrapping_mul(0x9e37_79b9) >> 7 & 0xff, 8);
    }
    bits.nal(&[0x65])
}

/// An access unit in the form that decoders are given: start codes, delimiter first.
pub(crate) fn unit(nals: &[Vec<u8>]) -> Vec<u8> {
    nals.iter().fold(vec![0, 0, 0, 1, 9, 0xf0], |mut unit, nal| {
        unit.extend([0, 0, 0, 1]);
        unit.extend(nal);
        unit
    })
}

/// Access units of H.264 that begin with parameter sets out of all bounds.
pub(crate) fn absurd() -> Vec<(String, Vec<u8>)> {
    let usual = Sps::usual();
    let with = |name: &str, sps: Sps| (format!("sps: {name}"), unit(&[sps.nal(), pps(), idr()]));
    let mut units = vec![
        with("4294967295 reference frames", Sps { references: 0xffff_fffe, ..usual.clone() }),
        with("17 reference frames", Sps { references: 17, ..usual.clone() }),
        with("cropped to less than nothing", Sps { cropped: Some([100, 100, 100, 100]), ..usual.clone() }),
        with("cropped by 2^32", Sps { cropped: Some([0xffff_fffe; 4]), ..usual.clone() }),
        with("of the highest number", Sps { id: 31, ..usual.clone() }),
        with("of a number out of range", Sps { id: 32, ..usual.clone() }),
        with("of a number far out of range", Sps { id: 0xffff_fffe, ..usual.clone() }),
        with("of 14 bits", Sps { bit_depth: 14, ..usual.clone() }),
        with("of 200 bits", Sps { bit_depth: 200, ..usual.clone() }),
        with("4:4:4", Sps { chroma: 3, ..usual.clone() }),
        with("of a chroma format that is none", Sps { chroma: 9, ..usual.clone() }),
        with("frame numbers of 60 bits", Sps { frame_number_bits: 60, ..usual.clone() }),
        with("of an unknown profile", Sps { profile: 255, ..usual.clone() }),
        with("a macroblock wide and 65535 high", Sps { width: 16, height: 65_536, ..usual.clone() }),
        with("65535 wide and a macroblock high", Sps { width: 65_536, height: 16, ..usual.clone() }),
        with("2^31 macroblocks wide", Sps { width: 16 << 31, height: 16, ..usual.clone() }),
        ("pps: of a number out of range".to_owned(), unit(&[usual.nal(), pps_of(256, 0), idr()])),
        ("pps: of a sequence that is not there".to_owned(), unit(&[usual.nal(), pps_of(0, 7), idr()])),
        ("pps: of a sequence out of range".to_owned(), unit(&[usual.nal(), pps_of(0, 0xffff_fffe), idr()])),
        ("no parameter sets".to_owned(), unit(&[idr()])),
        ("a slice alone, a thousand times".to_owned(), unit(&vec![idr(); 1000])),
        ("ten thousand parameter sets".to_owned(), unit(&[vec![usual.nal(); 10_000], vec![pps(), idr()]].concat())),
        ("nothing but start codes".to_owned(), [0, 0, 1].repeat(50_000)),
        ("nothing but zeros".to_owned(), vec![0; 200_000]),
        ("a header and no more".to_owned(), vec![0, 0, 0, 1, 0x65]),
        ("no bytes".to_owned(), Vec::new()),
    ];
    for kind in 0..32 {
        let nal = |seed: u8| [vec![0x60 | kind], (0..200_u8).map(|n| n.wrapping_mul(seed) ^ 0x5a).collect()].concat();
        units.push((format!("noise in a unit of type {kind}"), unit(&[usual.nal(), pps(), nal(37), nal(101), idr()])));
    }
    units
}

/// Bombs of H.264: tiny, and said to be `side` wide and high, whole or cropped so that only a corner is to be shown.
pub(crate) fn bombs(side: u64) -> Vec<(String, Vec<u8>)> {
    let (width, height) = (side, side);
    let whole = Sps { width, height, references: 16, ..Sps::usual() };
    // In units of two pixels: 160x160 of it are left.
    let cropped = Sps { cropped: Some([0, (width - 160) / 2, 0, (height - 160) / 2]), ..whole.clone() };
    let of = |sps: &Sps| unit(&[sps.nal(), pps(), idr()]);
    vec![
        (format!("h264 of {side}x{side}"), of(&whole)),
        (format!("h264 of {side}x{side}, cropped to a corner"), of(&cropped)),
    ]
}

/// The same of H.265.
pub(crate) fn bombs_of_h265(side: u64) -> Vec<(String, Vec<u8>)> {
    let unit_of = |cropped: bool| {
        let level = |bits: &mut Bits| {
            // Main profile, no constraints, level 8.5 so that nothing speaks against the size.
            bits.put(1, 8).put(0x6000_0000, 32).put(0, 48).put(255, 8);
        };
        let mut vps = Bits::default();
        vps.put(0, 4).put(3, 2).put(0, 6).put(0, 3).put(1, 1).put(0xffff, 16);
        level(&mut vps);
        vps.put(1, 1).ue(4).ue(0).ue(0).put(0, 6).ue(0).put(0, 2);
        let mut sps = Bits::default();
        sps.put(0, 4).put(0, 3).put(1, 1);
        level(&mut sps);
        sps.ue(0).ue(1).ue(side).ue(side);
        if cropped {
            sps.put(1, 1).ue(0).ue((side - 160) / 2).ue(0).ue((side - 160) / 2);
        } else {
            sps.put(0, 1);
        }
        sps.ue(0).ue(0).ue(4).put(1, 1).ue(4).ue(0).ue(0).ue(0).ue(2).ue(0).ue(2).ue(0).ue(0).put(0, 4).ue(0).put(0, 5);
        let mut pps = Bits::default();
        pps.ue(0).ue(0).put(0, 7).ue(0).ue(0).ue(0).put(0, 3).ue(0).ue(0).put(0, 10).ue(0).put(0, 2);
        let mut slice = Bits::default();
        slice.put(1, 1).put(0, 1).ue(0).ue(2).ue(0);
        for n in 0..300_u64 {
            slice.put(n.wrapping_mul(0x9e37_79b9) >> 5 & 0xff, 8);
        }
        [
            vec![0, 0, 0, 1, 0x46, 1, 0x50],
            [vec![0, 0, 0, 1], vps.nal(&[0x40, 1])].concat(),
            [vec![0, 0, 0, 1], sps.nal(&[0x42, 1])].concat(),
            [vec![0, 0, 0, 1], pps.nal(&[0x44, 1])].concat(),
            [vec![0, 0, 0, 1], slice.nal(&[0x26, 1])].concat(),
        ]
        .concat()
    };
    vec![
        (format!("h265 of {side}x{side}"), unit_of(false)),
        (format!("h265 of {side}x{side}, cropped to a corner"), unit_of(true)),
    ]
}
