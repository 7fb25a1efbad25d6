//! Maps a file into memory, read-only: the only place that does.
#![allow(unsafe_code)]

use std::fs::File;
use std::io;

use bytes::Bytes;

/// The bytes of `file`, which processes that map it share. They live as long as anybody holds them, the file's name or not.
pub(super) fn map(file: &File) -> io::Result<Bytes> {
    // SAFETY: mapped bytes must not change, nor the file become shorter, while they are held. Nobody writes into a file that
    // this crate maps: `mapped::save` and `base::write` write a new file that is then put in its place, and an old one lives on
    // unchanged until the last map of it is gone. The mapping is private and read-only. Whoever else may write the folder is trusted
    // not to write into the file itself; if they did, the checksums that were compared when it was opened could be outdated, every access
    // stays in bounds all the same (nothing read from a map is used as an index without a check), and a file made shorter ends the
    // process with SIGBUS.
    let map = unsafe { memmap2::MmapOptions::new().map_copy_read_only(file)? };
    Ok(Bytes::from_owner(map))
}
