//! A list from elsewhere: the first byte says of which format, the rest is the file.
#![no_main]

use sluicegate::bank::formats::{self, Format};
use sluicegate::clock::Timestamp;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let Some((first, file)) = bytes.split_first() else { return };
    let format = Format::ALL[usize::from(*first) % Format::ALL.len()];
    let _ = formats::read(format, file, Timestamp::from_millis(1_800_000_000_000));
});
